//! Rows in which every builder builds the same context.

use crate::frame::{Bound, Contest, Contestant, FLOOR, Result, Row};
use crate::lab::{Build, Lab};
use crate::process;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A build to be measured, as data.
#[derive(Clone, Copy)]
pub struct BuildRow {
    /// By which it is asked for.
    pub name: &'static str,
    /// What is done, for the table.
    pub work: &'static str,
    /// How often.
    pub rounds: usize,
    /// What kiln has to reach.
    pub bound: Option<Bound>,
    /// Makes the context; told a number that no other call gets.
    pub make: fn(&Path, u64) -> Result<()>,
    /// What happens to it before each round.
    pub before: Before,
    /// Whether the Dockerfile declares `ARG SALT` and gets another value each time.
    pub salted: bool,
    /// A shell command that does the least that could be done. `$CONTEXT` is the context, `$ROOTFS` the
    /// base's files, `$OUT` a path where nothing is yet.
    pub floor: &'static str,
    /// Whether the peers do it too.
    pub peers: bool,
}

/// What happens before a round. Nothing is ever removed: a file system without a journal is slow to make
/// files for minutes after many were removed (ext4 looks for inodes that were not), and what is measured
/// would be that.
#[derive(Clone, Copy)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// The context is changed; told a number that no other call gets.
    Edit(fn(&Path, u64) -> Result<()>),
    /// Another context is made, with other content.
    Renew,
}

impl From<BuildRow> for Row {
    fn from(row: BuildRow) -> Row {
        let BuildRow { name, work, rounds, bound, .. } = row;
        Row { name, work, rounds, bound, setup: Box::new(move |lab, place| setup(&row, lab, place)) }
    }
}

fn setup(row: &BuildRow, lab: &Lab, place: &Path) -> Result<Contest> {
    let (make, before, salted) = (row.make, row.before, row.salted);
    let of_round = move |place: &Path, round: usize| match before {
        Before::Renew => place.join(format!("context-{round}")),
        _ => place.join("context"),
    };
    let mut contestants = Vec::new();
    let tools = if row.peers { lab.tools() } else { std::slice::from_ref(lab.kiln()) };
    for tool in tools {
        let (tool, place) = (tool.clone(), place.to_path_buf());
        let name = tool.name().to_owned();
        let tag = format!("kiln-bench-{}:latest", row.name);
        let run = move |round| {
            let salt = salted.then(|| ["--build-arg".to_owned(), format!("SALT={}", unique())]);
            let build = Build { arguments: salt.into_iter().flatten().collect(), tag: tag.clone() };
            process::run(&mut tool.build(&of_round(&place, round), &build))
        };
        contestants.push(Contestant { name, every: 1, run: Box::new(run) });
    }
    if !row.floor.is_empty() {
        let (script, place, rootfs) = (row.floor, place.to_path_buf(), lab.rootfs());
        let run = move |round| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).env("ROOTFS", &rootfs).env("CONTEXT", of_round(&place, round));
            process::run(command.env("OUT", place.join(format!("out-{round}"))))
        };
        contestants.push(Contestant { name: FLOOR.to_owned(), every: 1, run: Box::new(run) });
    }
    let place = place.to_path_buf();
    let edit = move |round| {
        let context = of_round(&place, round);
        if !context.exists() {
            std::fs::create_dir(&context)?;
            make(&context, unique())?;
        }
        match before {
            Before::Edit(edit) => edit(&context, unique()),
            Before::Nothing | Before::Renew => Ok(()),
        }
    };
    Ok(Contest { edit: Box::new(edit), contestants })
}

/// A number that was never given before, in this process or an earlier one.
pub fn unique() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(0))
}
