//! What it costs to watch a step: the same build with `--trace=auto` and with `--trace=off`, in turn.
//!
//! The base is a Debian root file system with gcc, make and Python, in the directory that `KILN_BENCH_DEBIAN` names:
//! `debootstrap --variant=minbase --include=gcc,libc6-dev,make,python3 bookworm DIR`. Without it there is no such section.

use super::build::unique;
use crate::context::small_files;
use crate::frame::{Bound, Contest, Contestant, FLOOR, Result, Row, Section};
use crate::lab::{Build, Lab, Tool};
use crate::process;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Names the directory of the base.
pub const DEBIAN: &str = "KILN_BENCH_DEBIAN";

/// Files of the archive that is unpacked and of the context that is read.
const FILES: usize = 20_000;

/// One command to be watched.
struct Watched {
    name: &'static str,
    work: &'static str,
    rounds: usize,
    times: f64,
    /// What the image has before.
    before: &'static str,
    /// The step.
    command: &'static str,
    /// Makes what the context has besides.
    make: fn(&Path) -> Result<()>,
}

const WATCHED: [Watched; 6] = [
    Watched {
        name: "trace-gcc",
        work: "gcc -O1 of 60 C files",
        rounds: 7,
        times: 1.10,
        before: "COPY src /src",
        command: "mkdir /o; cd /src; for f in *.c; do gcc -O1 -c $f -o /o/$f.o; done",
        make: c_files,
    },
    Watched {
        name: "trace-python",
        work: "5 × Python with 12 imports",
        rounds: 15,
        times: 1.15,
        before: "",
        command: "for i in 1 2 3 4 5; do PYTHONDONTWRITEBYTECODE=1 python3 -c 'import json, http.client, asyncio, unittest, \
                  decimal, xml.dom.minidom, sqlite3, email.mime.text, logging.config, multiprocessing, urllib.request, \
                  argparse'; done",
        make: nothing,
    },
    Watched {
        name: "trace-forks",
        work: "a shell loop of 2,000 forks",
        rounds: 9,
        times: 1.15,
        before: "",
        command: "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done",
        make: nothing,
    },
    Watched {
        name: "trace-unpack",
        work: "tar that unpacks 20,000 files",
        rounds: 7,
        times: 1.15,
        before: "COPY files.tar /",
        command: "mkdir /u; tar x -C /u -f /files.tar",
        make: archive,
    },
    Watched {
        name: "trace-apt",
        work: "apt-get install git, its packages there already",
        rounds: 5,
        times: 1.10,
        before: "RUN apt-get update && apt-get install -y --no-install-recommends --download-only git",
        command: "apt-get install -y --no-install-recommends --no-download git",
        make: nothing,
    },
    Watched {
        name: "trace-find",
        work: "find -size over the whole root",
        rounds: 15,
        times: 2.0,
        before: "",
        command: "find / -xdev -size +100000k",
        make: nothing,
    },
];

/// The section.
pub fn section() -> Section {
    let mut rows: Vec<Row> = Vec::new();
    if std::env::var_os(DEBIAN).is_some() {
        rows.extend(WATCHED.into_iter().map(row));
        rows.push(Row {
            name: "trace-look-up",
            work: "a RUN that read 20,000 files is found by them after an edit of another",
            rounds: 15,
            bound: Some(Bound::SecondsOverFloor(0.005)),
            setup: Box::new(look_up),
        });
    }
    Section {
        name: "tracing",
        title: "Tracing",
        intro: "Whole builds of one RUN on a Debian root file system (`KILN_BENCH_DEBIAN`), watched; the floor is the same build \
                with `--trace=off`. In the last row the floor is a RUN that read nothing.",
        rows,
    }
}

fn row(watched: Watched) -> Row {
    let Watched { name, work, rounds, times, .. } = watched;
    let bound = Some(Bound::TimesFloor(times));
    Row { name, work, rounds, bound, setup: Box::new(move |lab, place| compare(&watched, lab, place)) }
}

/// Gives the store the base image, once.
fn base(kiln: &Tool, place: &Path) -> Result<()> {
    let debian = PathBuf::from(std::env::var_os(DEBIAN).unwrap_or_default());
    let context = place.join("base");
    fs::create_dir(&context)?;
    fs::write(context.join("Dockerfile"), "FROM scratch\nCOPY --from=debian / /\n")?;
    let arguments = vec!["--build-context".to_owned(), format!("debian={}", debian.display())];
    process::run(&mut kiln.build(&context, &Build { arguments, tag: "kiln-bench-debian:latest".to_owned() }))?;
    Ok(())
}

fn compare(watched: &Watched, lab: &Lab, place: &Path) -> Result<Contest> {
    let kiln = lab.kiln();
    base(kiln, place)?;
    let context = place.join("context");
    fs::create_dir(&context)?;
    (watched.make)(&context)?;
    let Watched { before, command, .. } = watched;
    let text = format!("FROM kiln-bench-debian\n{before}\nARG SALT\nRUN : $SALT; {command}\n");
    fs::write(context.join("Dockerfile"), text)?;
    let contestant = |name: &str, trace: &'static str| {
        let (kiln, context, tag) = (kiln.clone(), context.clone(), format!("kiln-bench-{}:latest", watched.name));
        let run = move |_| {
            let arguments = vec![trace.to_owned(), "--build-arg".to_owned(), format!("SALT={}", unique())];
            process::run(&mut kiln.build(&context, &Build { arguments, tag: tag.clone() }))
        };
        Contestant { name: name.to_owned(), run: Box::new(run), every: 1 }
    };
    let contestants = vec![contestant("watched", "--trace=auto"), contestant(FLOOR, "--trace=off")];
    Ok(Contest { edit: Box::new(|_| Ok(())), contestants })
}

/// Two projects that differ in what their RUN reads; a file that it does not is edited before each round.
fn look_up(lab: &Lab, place: &Path) -> Result<Contest> {
    let kiln = lab.kiln();
    base(kiln, place)?;
    let mut contestants = Vec::new();
    let mut edited = Vec::new();
    for (name, command) in [("watched", "cat /files/d*/f* > /out"), (FLOOR, "echo > /out")] {
        let context = place.join(name);
        fs::create_dir(&context)?;
        small_files(&context.join("files"), FILES, 0)?;
        fs::create_dir(context.join("other"))?;
        fs::write(
            context.join("Dockerfile"),
            format!("FROM kiln-bench-debian\nCOPY files /files\nCOPY other /other\nRUN {command}\n"),
        )?;
        edited.push(context.join("other/file"));
        let (kiln, tag) = (kiln.clone(), format!("kiln-bench-look-up-{name}:latest"));
        let run = move |_| process::run(&mut kiln.build(&context, &Build { arguments: Vec::new(), tag: tag.clone() }));
        contestants.push(Contestant { name: name.to_owned(), run: Box::new(run), every: 1 });
    }
    let edit = move |_| Ok(edited.iter().try_for_each(|file| fs::write(file, format!("{}\n", unique())))?);
    Ok(Contest { edit: Box::new(edit), contestants })
}

fn nothing(_: &Path) -> Result<()> {
    Ok(())
}

fn c_files(context: &Path) -> Result<()> {
    fs::create_dir(context.join("src"))?;
    for number in 0..60 {
        let mut text =
            "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <errno.h>\n#include <unistd.h>\n\
                        #include <sys/stat.h>\n"
                .to_owned();
        for function in 0..60 {
            writeln!(
                text,
                "int f{number}_{function}(int x){{char b[64];snprintf(b,64,\"%d\",x+{function});return (int)strlen(b);}}"
            )?;
        }
        fs::write(context.join(format!("src/f{number}.c")), text)?;
    }
    Ok(())
}

fn archive(context: &Path) -> Result<()> {
    let files = context.join("files");
    small_files(&files, FILES, 0)?;
    process::run(Command::new("tar").arg("cf").arg(context.join("files.tar")).arg("-C").arg(context).arg("files"))?;
    Ok(())
}
