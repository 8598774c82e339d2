//! `kiln log [BUILD] STEP`

use super::explain::selection;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use crate::text::clean;
use kiln_engine::event::Stream;
use kiln_engine::manage::Which;

/// Its arguments.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// A build's id or its beginning, an image's name, or a target of kiln.ron [default: the last build]
    #[arg(value_name = "BUILD")]
    first: String,
    /// A step of it: its number, or a part of its name
    #[arg(value_name = "STEP")]
    second: Option<String>,
    /// Write what the step wrote byte by byte, control characters too
    #[arg(long)]
    raw: bool,
}

impl Args {
    /// Prints what the step wrote: its standard output and its standard error, each to ours.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let (build, step) = match &self.second {
            Some(step) => selection(session, Some(self.first.as_str()), Some(step.as_str()))?,
            None => (None, Some(self.first.as_str())),
        };
        let here = std::env::current_dir().ok();
        let which = Which { name: build.as_deref(), directory: here.as_deref() };
        for (stream, text) in session.engine.log(&session.store()?, which, step.unwrap_or_default())? {
            let text = if self.raw { text } else { clean::lines(&text).map(|line| clean::line(line) + "\n").collect() };
            match stream {
                Stream::Stdout => session.print(&text)?,
                Stream::Stderr => session.err.write_or_forget(text.as_bytes()),
            }
        }
        Ok(Exit::Success)
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::kiln;

    #[test]
    fn a_log_is_shown_clean_and_each_stream_goes_where_it_went() {
        insta::assert_snapshot!(kiln(["log", "2"]));
    }
}
