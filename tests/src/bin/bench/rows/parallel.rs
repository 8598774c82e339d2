//! Whether independent branches keep all cores busy.

use super::build::unique;
use crate::context::dockerfile;
use crate::frame::{Bound, Contest, Contestant, FLOOR, Result, Row, Sample, Section};
use crate::lab::{Build, Lab};
use crate::process;
use std::cell::Cell;
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

/// Stages that do not need each other.
const BRANCHES: usize = 32;

/// How much longer than with cores that are never idle it may take: they are busy for nine tenths of the time.
const MOST_TIMES: f64 = 1.11;

/// The section.
pub fn section() -> Section {
    Section {
        name: "parallel",
        title: "Parallel branches",
        intro: "The floor is not another run: it is the processor time of kiln's own, of all its processes, divided by the \
                number of cores. What is above it is cores that had nothing to do.",
        rows: vec![Row {
            name: "branches-32",
            work: "32 stages, each a shell's loop of a third of a second",
            rounds: 3,
            bound: Some(Bound::TimesFloor(MOST_TIMES)),
            setup: Box::new(setup),
        }],
    }
}

fn setup(lab: &Lab, place: &Path) -> Result<Contest> {
    let context = place.join("context");
    std::fs::create_dir(&context)?;
    let mut text = String::new();
    for stage in 0..BRANCHES {
        let command = "i=0; while [ $i -lt 400000 ]; do i=$((i+1)); done";
        writeln!(text, "FROM BASE AS s{stage}\nARG SALT\nRUN {command}; echo {stage} $SALT > /out{stage}")?;
    }
    text.push_str("FROM BASE\n");
    for stage in 0..BRANCHES {
        writeln!(text, "COPY --from=s{stage} /out{stage} /out{stage}")?;
    }
    dockerfile(&context, &text)?;
    let kiln = lab.kiln().clone();
    let processor = Rc::new(Cell::new(0.0));
    let cores = std::thread::available_parallelism()?.get() as f64;
    let spent = Rc::clone(&processor);
    let run = move |_| {
        let arguments = vec!["--build-arg".to_owned(), format!("SALT={}", unique())];
        let build = Build { arguments, tag: "kiln-bench-branches-32:latest".to_owned() };
        let (sample, processor) = process::run_counted(&mut kiln.build(&context, &build))?;
        spent.set(processor);
        Ok(sample)
    };
    let floor = move |_| Ok(Sample { seconds: processor.get() / cores, resident: 0 });
    let contestants = vec![
        Contestant { name: "kiln".to_owned(), every: 1, run: Box::new(run) },
        Contestant { name: FLOOR.to_owned(), every: 1, run: Box::new(floor) },
    ];
    Ok(Contest { edit: Box::new(|_| Ok(())), contestants })
}
