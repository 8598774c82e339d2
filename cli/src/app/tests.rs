//! The program's face: help, version, suggestions.

use super::*;
use crate::testing::kiln;

#[test]
fn the_arguments_are_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_lists_the_commands() {
    insta::assert_snapshot!(kiln(["--help"]));
}

#[test]
fn every_command_has_help() {
    let commands: Vec<String> = Cli::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    for command in commands {
        insta::assert_snapshot!(format!("help_{command}"), kiln([command.as_str(), "--help"]));
    }
}

#[test]
fn the_version_is_data() {
    assert_eq!(kiln(["--version"]), format!("exit 0\n--- stdout\nkiln {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn an_unknown_command_gets_a_suggestion_and_code_2() {
    insta::assert_snapshot!(kiln(["buidl", "."]));
}

#[test]
fn no_command_shows_the_help_and_is_an_error() {
    let shown = kiln([]);
    assert!(shown.starts_with("exit 2\n--- stderr\n"), "{shown}");
    assert!(shown.contains("Usage: kiln <COMMAND>"), "{shown}");
}

#[test]
fn a_reader_that_wants_no_more_is_no_failure() {
    use crate::environment::Environment;
    use crate::streams::memory::{Broken, Memory};
    use std::io;
    for (kind, exit, words) in [
        (io::ErrorKind::BrokenPipe, Exit::Success, ""),
        (
            io::ErrorKind::StorageFull,
            Exit::Failure,
            "error: failed to write standard output\n  caused by: no storage space\n",
        ),
    ] {
        let (environment, err) = (Environment::fixed(&[("HOME", "/h")]), Memory::default());
        let session = Session {
            environment: &environment,
            engine: &crate::testing::Fake::default(),
            out: Broken(kind).stream(),
            err: err.stream(false),
            stdin_is_terminal: false,
            now: 0,
            measure: crate::sys::terminal_size,
            catch_interrupts: kiln_engine::api::Cancel::new,
            become_root: || {
                Ok(kiln_engine::sandbox::Identity { rootless: false, mapped_ids: u32::MAX, warnings: Vec::new() })
            },
            identity: std::cell::OnceCell::new(),
        };
        assert_eq!(run(["kiln", "images"].map(OsString::from), &session), exit);
        assert_eq!(err.text(), words);
    }
}
