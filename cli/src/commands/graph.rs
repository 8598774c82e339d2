//! `kiln graph [BUILD]`

use crate::exit::Exit;
use crate::explain::graph;
use crate::failure::Failure;
use crate::session::Session;
use kiln_engine::manage::Which;

/// How the graph is written.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Language {
    /// For Graphviz
    Dot,
    /// For a Markdown page
    Mermaid,
    /// The steps with their inputs, as `kiln explain --json` has them
    Json,
}

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A build's id or its beginning, an image's name, or a target of kiln.ron [default: the last build]
    build: Option<String>,
    /// How the graph is written
    #[arg(long, value_enum, default_value_t = Language::Dot)]
    format: Language,
}

impl Args {
    /// Prints the graph of a build's steps with their verdicts.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let here = std::env::current_dir().ok();
        // What means no build is told by its own name.
        let named = self.build.as_deref().map(|word| super::explain::named(session, word)).transpose()?.flatten();
        let which = Which { name: named.as_deref().or(self.build.as_deref()), directory: here.as_deref() };
        let report = session.engine.explain(&session.store()?, which)?;
        session.print(&graph::drawn(&report, self.format))?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn the_steps_are_drawn_with_their_verdicts() {
        insta::assert_snapshot!(kiln(["graph"]) + &kiln(["graph", "--format", "mermaid"]));
    }
}
