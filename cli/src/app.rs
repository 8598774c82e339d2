//! The program as a whole: reads the arguments, runs the command, reports its failure.

use crate::commands::Command;
use crate::environment::VARIABLES;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::report;
use crate::session::Session;
use clap::error::ErrorKind;
use clap::{CommandFactory as _, FromArgMatches as _, Parser};
use std::ffi::OsString;
use std::fmt::Write as _;

/// Builds container images from Dockerfiles, without a daemon, and never runs a step again whose
/// inputs did not change.
#[derive(Parser, Debug)]
#[command(name = "kiln", version, propagate_version = false, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// Runs the program with these arguments, the first of them its own name.
pub fn run(args: impl IntoIterator<Item = OsString>, session: &Session<'_>) -> Exit {
    let parsed = command().try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let result = match parsed {
        Ok(cli) => cli.command.run(session),
        Err(error) => return help_or_usage(&error, session),
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => {
            if !failure.is_reader_gone() {
                let mut text = report::failure(&failure, session.look());
                if let (Failure::Build(_), Some(identity)) = (&failure, session.identity.get()) {
                    text.push_str(&report::notes(identity));
                }
                session.err.write_or_forget(text.as_bytes());
            }
            failure.exit()
        }
    }
}

/// The program's arguments, with what its long help says below them.
fn command() -> clap::Command {
    let mut text = String::from("Environment variables:\n");
    for variable in VARIABLES {
        let _infallible = writeln!(text, "  {:<21} {}", variable.name, variable.doc.trim());
    }
    text.push_str("\nExit codes:\n");
    for exit in Exit::ALL {
        let _infallible = writeln!(text, "  {:<3} {}", exit.code(), exit.doc());
    }
    Cli::command().after_long_help(text)
}

/// Help and version were asked for and are data; everything else is an error.
fn help_or_usage(error: &clap::Error, session: &Session<'_>) -> Exit {
    let is_asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
    let stream = if is_asked_for { &session.out } else { &session.err };
    let text = error.render();
    let colour = stream.is_terminal() && !session.environment.refuses_colour();
    let text = if colour { text.ansi().to_string() } else { text.to_string() };
    match stream.write(text.as_bytes()).map_err(Failure::stdout) {
        Ok(()) if is_asked_for => Exit::Success,
        Err(failure) if is_asked_for => failure.exit(),
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests;
