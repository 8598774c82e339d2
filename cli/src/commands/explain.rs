//! `kiln explain [BUILD] [STEP]`

use super::format::ProseArgs;
use crate::exit::Exit;
use crate::explain::{self, Detail};
use crate::failure::Failure;
use crate::project::{Project, Target};
use crate::session::Session;
use kiln_engine::explain::report::BuildRow;
use kiln_engine::manage::Which;
use std::path::Path;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A build's id or its beginning, an image's name, or a target of kiln.ron [default: the last build]
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
        let which = Which { name: build.as_deref(), directory: here.as_deref() };
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
) -> Result<(Option<String>, Option<&'a str>), Failure> {
    let Some(word) = first else { return Ok((None, second)) };
    let named = named(session, word)?;
    Ok(match (named, second) {
        (None, None) => (None, Some(word)),
        (found, step) => (Some(found.unwrap_or_else(|| word.to_owned())), step),
    })
}

/// The build that a word means: its id, the name of an image, or the last build of a target of the project file.
pub fn named(session: &Session<'_>, word: &str) -> Result<Option<String>, Failure> {
    let store = session.store()?;
    if session.engine.is_build(&store, word)? {
        return Ok(Some(word.to_owned()));
    }
    let project = Project::of(Path::new("."))?;
    if !project.has(word) {
        return Ok(None);
    }
    let wanted: Vec<Target> = project
        .members(&[word.to_owned()])?
        .iter()
        .map(|name| project.resolved(name, session.environment))
        .collect::<Result<_, _>>()?;
    let rows = session.engine.builds(&store)?;
    let found = rows.iter().find(|row| wanted.iter().any(|target| is_of(row, target)));
    Ok(found.map(|row| row.build.clone()))
}

/// Whether a build was one of a target: by its context, its file and its stage.
fn is_of(build: &BuildRow, target: &Target) -> bool {
    let is_at = |path: &str, other: &str| std::fs::canonicalize(path).is_ok_and(|path| path == Path::new(other));
    let mut stages = build.target.iter().flat_map(|stages| stages.split(','));
    let has_stage = match &target.stage {
        // The stages of a build of several say nothing of one that had none.
        None => build.target.is_none(),
        Some(stage) => stages.any(|other| other.eq_ignore_ascii_case(stage)),
    };
    has_stage
        && is_at(target.context.as_deref().unwrap_or("."), &build.context)
        && target.file.as_ref().is_none_or(|file| is_at(file, &build.dockerfile))
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
