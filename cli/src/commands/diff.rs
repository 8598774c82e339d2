//! `kiln diff BUILD BUILD`

use super::format::ProseArgs;
use crate::exit::Exit;
use crate::explain::{self, Detail};
use crate::failure::Failure;
use crate::session::Session;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The earlier build: its id or the beginning of it, or an image's name
    #[arg(value_name = "BUILD")]
    old: String,
    /// The later one
    #[arg(value_name = "BUILD")]
    new: String,
    #[command(flatten)]
    prose: ProseArgs,
}

impl Args {
    /// Prints what differs.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let report = session.engine.diff(&session.store()?, &self.old, &self.new)?;
        let detail = Detail { all: self.prose.all, now: session.now };
        let text = self.prose.data(&report).unwrap_or_else(|| explain::build(&report, detail));
        session.print(&text)?;
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn two_builds_are_compared_as_if_one_had_been_made_after_the_other() {
        insta::assert_snapshot!(kiln(["diff", "0123", "4567"]));
    }
}
