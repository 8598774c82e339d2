//! `kiln explain [BUILD] [STEP]`

use super::format::ProseArgs;
use crate::exit::Exit;
use crate::explain::{self, Detail};
use crate::failure::Failure;
use crate::session::Session;
use kiln_engine::manage::Which;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A build's id or its beginning, or an image's name [default: the last build]
    #[arg(value_name = "BUILD")]
    first: Option<String>,
    /// A step of it: its number, or a part of its name
    #[arg(value_name = "STEP")]
    second: Option<String>,
    #[command(flatten)]
    prose: ProseArgs,
}

impl Args {
    /// Prints the explanation.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let store = session.store()?;
        let (build, step) = selection(session, self.first.as_deref(), self.second.as_deref())?;
        let here = std::env::current_dir().ok();
        let which = Which { name: build, directory: here.as_deref() };
        let detail = Detail { all: self.prose.all, now: session.now };
        let text = match step {
            None => {
                let report = session.engine.explain(&store, which)?;
                self.prose.data(&report).unwrap_or_else(|| explain::build(&report, detail))
            }
            Some(step) => {
                let report = session.engine.explain_step(&store, which, step)?;
                self.prose.data(&report).unwrap_or_else(|| explain::step::step(&report, detail))
            }
        };
        session.print(&text)?;
        Ok(Exit::Success)
    }
}

/// Which of two words is the build and which the step: one alone that names no build is a step of the last.
pub fn selection<'a>(
    session: &Session<'_>,
    first: Option<&'a str>,
    second: Option<&'a str>,
) -> Result<(Option<&'a str>, Option<&'a str>), Failure> {
    Ok(match (first, second) {
        (Some(word), None) if !session.engine.is_build(&session.store()?, word)? => (None, Some(word)),
        both => both,
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn a_build_is_explained_by_its_root_causes() {
        insta::assert_snapshot!(kiln(["explain"]));
    }

    #[test]
    fn everything_is_shown_with_all() {
        insta::assert_snapshot!(kiln(["explain", "0123", "--all"]));
    }

    #[test]
    fn a_step_is_explained_with_its_key() {
        insta::assert_snapshot!(kiln(["explain", "2"]));
    }

    #[test]
    fn an_explanation_as_json_has_the_same_words() {
        insta::assert_snapshot!(kiln(["explain", "--json"]));
    }

    #[test]
    fn an_explanation_as_ron_has_the_same_fields() {
        insta::assert_snapshot!(kiln(["explain", "0123", "2", "--format", "ron"]));
    }

    #[test]
    fn an_unknown_build_or_step_is_named() {
        insta::assert_snapshot!(kiln(["explain", "ffff", "1"]) + &kiln(["explain", "npm"]));
    }
}
