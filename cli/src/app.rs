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

/// Help is never wider, whatever the terminal.
const HELP_COLUMNS: usize = 100;

/// Builds container images from Dockerfiles, without a daemon, and never runs a step again whose
/// inputs did not change.
#[derive(Parser, Debug)]
#[command(name = "kiln", version, propagate_version = false, max_term_width = HELP_COLUMNS)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[cfg(test)]
impl Cli {
    /// What is to be done.
    pub fn into_command(self) -> Command {
        self.command
    }
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
                if let (Failure::Build(_) | Failure::Manage(_), Some(identity)) = (&failure, session.identity.get()) {
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
    let variables: Vec<(&str, &str)> = VARIABLES.iter().map(|variable| (variable.name, variable.doc.trim())).collect();
    let codes: Vec<(String, &str)> = Exit::ALL.iter().map(|exit| (exit.code().to_string(), exit.doc())).collect();
    let mut text = String::from("Environment variables:\n");
    text.push_str(&explained(&variables));
    text.push_str("\nExit codes:\n");
    text.push_str(&explained(&codes));
    Cli::command().after_long_help(text)
}

/// Words with their explanations beside them, in a column of its own.
fn explained(rows: &[(impl AsRef<str>, &str)]) -> String {
    let width = rows.iter().map(|(word, _)| word.as_ref().len()).max().unwrap_or_default();
    let mut text = String::new();
    for (word, explanation) in rows {
        let mut line = format!("  {:<width$} ", word.as_ref());
        for part in explanation.split_whitespace() {
            if line.len() + 1 + part.len() > HELP_COLUMNS {
                let _infallible = writeln!(text, "{line}");
                line = format!("  {:width$} ", "");
            }
            line.push(' ');
            line.push_str(part);
        }
        let _infallible = writeln!(text, "{line}");
    }
    text
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
