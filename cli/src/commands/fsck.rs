//! `kiln fsck`

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use kiln_engine::api::FsckReport;
use std::fmt::Write as _;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Remove what is damaged, so that the next build makes it again
    #[arg(long)]
    repair: bool,
}

impl Args {
    /// Checks, and prints each problem; fails where one is left.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let report = session.engine.fsck(&session.store()?, self.repair)?;
        session.print(&drawn(&report))?;
        let is_sound = report.problems.iter().all(|problem| problem.repaired);
        Ok(if is_sound { Exit::Success } else { Exit::Failure })
    }
}

fn drawn(report: &FsckReport) -> String {
    let mut out = String::new();
    for problem in &report.problems {
        let repaired = if problem.repaired { " (repaired)" } else { "" };
        let _infallible = writeln!(out, "{}: {}{repaired}", problem.name, problem.message);
    }
    let FsckReport { images, layers, records, blobs, problems } = report;
    let found = match problems.len() {
        0 => "no problems".into(),
        1 => "1 problem".into(),
        count => format!("{count} problems"),
    };
    let _infallible =
        writeln!(out, "checked {images} images, {layers} layers, {records} records, {blobs} blobs: {found}");
    out
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn a_problem_that_is_left_fails_the_check() {
        insta::assert_snapshot!(kiln(["fsck"]));
    }

    #[test]
    fn a_repaired_problem_does_not() {
        insta::assert_snapshot!(kiln(["fsck", "--repair"]));
    }
}
