//! `kiln plan`: what a build would do, before it is done.

use super::build::{self, request};
use super::check::Call;
use super::format::ProseArgs;
use crate::exit::Exit;
use crate::explain::{self, Detail, graph};
use crate::failure::{Failure, UsageError};
use crate::render::LineSink;
use crate::render::plain::Plain;
use crate::session::Session;
use std::path::PathBuf;

/// Its arguments.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    build: build::Args,
    /// Say what an edit to this file, or to all files of this directory, would cost (repeatable)
    #[arg(long, value_name = "FILE")]
    changed: Vec<PathBuf>,
    /// Draw the steps with what would happen to them
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    graph: Option<super::graph::Language>,
    #[command(flatten)]
    prose: ProseArgs,
}

impl Args {
    /// Plans, and says what would run and why.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        if self.build.call()? != Call::Build {
            let (first, second) = ("kiln plan".to_owned(), "--check or --call".to_owned());
            return Err(UsageError::Conflict { first, second, reason: "both say what a build would do" }.into());
        }
        let meaning = request::resolve(self.build, session)?;
        let cancel = (session.catch_interrupts)().map_err(Failure::Signals)?;
        // Warnings of the plan stay out of the answer.
        let sink = LineSink::new(Plain::default(), session.err.clone());
        if !meaning.rest.is_empty() {
            return Err(UsageError::Unsupported {
                what: "planning targets that are several builds".into(),
                advice: "name one of them, or targets with the same file, context and arguments".into(),
            }
            .into());
        }
        let report = session.engine.plan(&meaning.request, &self.changed, &sink, &cancel)?;
        let detail = Detail { all: self.prose.all, now: session.now };
        let text = match self.graph {
            Some(language) => graph::drawn(&report, language),
            None => self.prose.data(&report).unwrap_or_else(|| explain::build(&report, detail)),
        };
        session.print(&text)?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn a_plan_says_what_would_run_and_how_long() {
        insta::assert_snapshot!(kiln(["plan", "--changed", "src/index.js", "."]));
    }

    #[test]
    fn a_plan_is_drawn() {
        insta::assert_snapshot!(kiln(["plan", "--graph", "mermaid", "."]));
    }
}
