//! `kiln plan`: what a build would do, before it is done.

use super::build::{self, request};
use super::check::Call;
use super::format::ProseArgs;
use super::graph::Language;
use crate::exit::Exit;
use crate::explain::{self, Detail, graph, outline};
use crate::failure::{Failure, UsageError};
use crate::render::LineSink;
use crate::render::plain::Plain;
use crate::session::Session;
use kiln_engine::api::{Cancel, Request, Target};
use kiln_engine::event::Sink;
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
    /// Show the stages and steps with their values expanded, from the Dockerfile alone; in another language than
    /// text, the steps with what would happen to them
    #[arg(
        long,
        value_enum,
        value_name = "LANGUAGE",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "text"
    )]
    graph: Option<Drawing>,
    #[command(flatten)]
    prose: ProseArgs,
}

/// How a plan is drawn.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
enum Drawing {
    /// Stages and steps for people, or with --json or --format for programs
    Text,
    /// For Graphviz, with verdicts
    Dot,
    /// For a Markdown page, with verdicts
    Mermaid,
    /// The steps with their inputs and verdicts, as `kiln explain --json` has them
    Json,
}

impl Drawing {
    /// The language of a drawing with verdicts.
    fn language(self) -> Option<Language> {
        match self {
            Drawing::Text => None,
            Drawing::Dot => Some(Language::Dot),
            Drawing::Mermaid => Some(Language::Mermaid),
            Drawing::Json => Some(Language::Json),
        }
    }
}

impl Args {
    /// Plans, and says what would run and why.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        if self.build.call()? != Call::Build {
            let (first, second) = ("kiln plan".to_owned(), "--check or --call".to_owned());
            return Err(UsageError::Conflict { first, second, reason: "both say what a build would do" }.into());
        }
        let meaning = request::resolve(self.build.clone(), session)?;
        let is_for_people = matches!(self.graph, None | Some(Drawing::Text)) && self.prose.is_text();
        if !meaning.rest.is_empty() && !is_for_people {
            return Err(UsageError::Several {
                what: "a plan for programs is one of one build".into(),
                commands: meaning.commands("plan", &self.build),
            }
            .into());
        }
        let cancel = (session.catch_interrupts)().map_err(Failure::Signals)?;
        // Warnings of the plan stay out of the answer.
        let sink = LineSink::new(Plain::default(), session.err.clone());
        for (at, request) in meaning.requests().enumerate() {
            let heading = match meaning.rest.is_empty() {
                true => String::new(),
                false => {
                    let names: Vec<&str> = request.targets.iter().filter_map(Target::called).collect();
                    format!("{}{}\n\n", if at > 0 { "\n" } else { "" }, names.join(", "))
                }
            };
            let text = self.planned(request, session, &sink, &cancel)?;
            session.print(&(heading + &text))?;
        }
        Ok(Exit::Success)
    }

    /// What one build would do.
    fn planned(
        &self,
        request: &Request,
        session: &Session<'_>,
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<String, Failure> {
        if self.graph == Some(Drawing::Text) {
            let outline = session.engine.outline(request)?;
            return Ok(self.prose.data(&outline).unwrap_or_else(|| outline::text(&outline)));
        }
        let report = session.engine.plan(request, &self.changed, sink, cancel)?;
        let detail = Detail { all: self.prose.all, now: session.now };
        Ok(match self.graph.and_then(Drawing::language) {
            Some(language) => graph::drawn(&report, language),
            None => self.prose.data(&report).unwrap_or_else(|| explain::build(&report, detail)),
        })
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
        insta::assert_snapshot!(kiln(["plan", "--graph=mermaid", "."]));
    }
}
