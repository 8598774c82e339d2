//! The program itself: what no test of its parts can see, pipes and signals.

use std::io::Read as _;
use std::process::{Command, Stdio};

fn kiln() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kiln"));
    command.env_clear().env("HOME", "/nonexistent");
    command
}

#[test]
fn data_is_on_standard_output_and_errors_are_on_standard_error() {
    let output = kiln().arg("--version").output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("kiln {}\n", env!("CARGO_PKG_VERSION")));
    let output = kiln().args(["build", "--load", "."]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(output.stdout, b"");
    let error = "error: --load is not supported by kiln yet\nhelp: use -o type=docker,dest=- | docker load\n";
    assert_eq!(String::from_utf8(output.stderr).unwrap(), error);
}

#[test]
fn a_reader_that_goes_away_is_no_failure_and_no_panic() {
    let mut child = kiln().args(["completions", "zsh"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // More than a pipe holds is written, so the writer meets the closed end whatever the timing.
    drop(child.stdout.take());
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(error, "");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn closed_standard_streams_end_in_a_code_and_not_in_a_panic() {
    let script = format!("{} build --load . >&- 2>&-", env!("CARGO_BIN_EXE_kiln"));
    let status = Command::new("/bin/sh").args(["-c", &script]).status().unwrap();
    assert_eq!(status.code(), Some(2));
}
