//! The table of large graphs: a rebuild in which nothing changed, beside ninja on a build file of as many edges in the same
//! shape, all of whose outputs are there.
//!
//! Both do everything once in the round that does not count; for 100,000 steps that takes minutes. Without `ninja` there is
//! no such section.

use crate::context::dockerfile_as;
use crate::frame::{Bound, Contest, Contestant, FLOOR, Result, Row, Section};
use crate::lab::{Lab, Tool};
use crate::process;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What kiln has to reach.
const BOUND: Option<Bound> = Some(Bound::TimesFloorWithin { times: 1.5, bytes: 200 << 20 });

/// A graph: so many branches, each with so many instructions of which each needs the one before.
#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    work: &'static str,
    branches: usize,
    steps: usize,
    /// The instruction with this number.
    instruction: fn(usize) -> String,
}

const SHAPES: [Shape; 3] = [
    Shape {
        name: "graph-1000",
        work: "1,000 RUNs in 50 branches",
        branches: 50,
        steps: 20,
        instruction: |at| format!("RUN true {at} $N"),
    },
    Shape { name: "graph-10000", work: "10,000 steps in 100 branches", branches: 100, steps: 100, instruction: cheap },
    Shape {
        name: "graph-100000",
        work: "100,000 steps in 100 branches",
        branches: 100,
        steps: 1000,
        instruction: cheap,
    },
];

/// The section.
pub fn section() -> Section {
    let is_there = Command::new("ninja").arg("--version").stdout(Stdio::null()).status().is_ok_and(|it| it.success());
    let row = |shape: Shape| Row {
        name: shape.name,
        work: shape.work,
        rounds: 7,
        bound: BOUND,
        setup: Box::new(move |lab, place| setup(shape, lab, place)),
    };
    Section {
        name: "graph",
        title: "Large graphs",
        intro: "A rebuild in which nothing changed, each instruction of a branch behind the one before; the floor is `ninja` \
                on a build file of as many edges in the same shape. Seven of ten of the cheap steps are ENV, one is a WORKDIR, \
                one a COPY and one a LABEL.",
        rows: if is_there { SHAPES.map(row).into() } else { Vec::new() },
    }
}

fn cheap(at: usize) -> String {
    match at % 10 {
        3 => format!("WORKDIR /w{at}"),
        6 => format!("COPY file /c{at}"),
        9 => format!("LABEL l{}=$N.{at}", at % 50),
        _ => format!("ENV E{}=$N.{at}", at % 50),
    }
}

fn setup(shape: Shape, lab: &Lab, place: &Path) -> Result<Contest> {
    let Shape { branches, steps, .. } = shape;
    let (context, ninja) = (place.join("context"), place.join("ninja"));
    fs::create_dir(&context)?;
    fs::create_dir(&ninja)?;
    fs::write(context.join("file"), "content\n")?;
    let values: Vec<String> = (0..branches).map(|branch| branch.to_string()).collect();
    let mut text = format!("FROM BASE AS branch FOR N IN {}\n", values.join(" "));
    (0..steps).for_each(|at| text.extend([(shape.instruction)(at), "\n".to_owned()]));
    dockerfile_as(&context, "build.kiln", &text)?;
    let mut edges = String::from("rule step\n  command = :\n");
    for branch in 0..branches {
        let mut before = "source".to_owned();
        for at in 0..steps {
            let output = format!("out-{branch}-{at}");
            let _infallible = writeln!(edges, "build {output}: step {before}");
            before = output;
        }
    }
    fs::write(ninja.join("source"), "")?;
    for output in (0..branches).flat_map(|branch| (0..steps).map(move |at| format!("out-{branch}-{at}"))) {
        fs::write(ninja.join(output), "")?;
    }
    fs::write(ninja.join("build.ninja"), edges)?;
    let Tool::Kiln { program, store } = lab.kiln().clone() else { return Err("kiln is no peer".into()) };
    let build = move |_| {
        let mut command = Command::new(&program);
        command.args(["build", "--progress", "plain"]).env("KILN_STORE", &store).arg(&context);
        process::run(&mut command)
    };
    let edges = move |_| process::run(Command::new("ninja").arg("--quiet").current_dir(&ninja));
    let contestants = vec![
        Contestant { name: lab.kiln().name().to_owned(), every: 1, run: Box::new(build) },
        Contestant { name: FLOOR.to_owned(), every: 1, run: Box::new(edges) },
    ];
    Ok(Contest { edit: Box::new(|_| Ok(())), contestants })
}
