//! Whole builds by an engine that replays a script: what is on which stream, and the exit code.

use crate::render::script;
use crate::testing::{Fake, output, output_in, session_on_terminal};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::source::Sources;
use kiln_dsl::span::Span;
use kiln_engine::api::{BuildError, Exit, Place};

fn failing(error: BuildError) -> Fake {
    let fake = Fake::replaying(script::failing());
    *fake.error.borrow_mut() = Some(error);
    fake
}

fn step_failed() -> BuildError {
    let text = "FROM busybox AS build\nRUN make \\\n  -C src\nCOPY out /out\n";
    let place = Place { file: "Dockerfile".into(), text: text.into(), span: Span::new(22, 41), trail: Vec::new() };
    let step = "[build 2/3] RUN make -C src".into();
    BuildError::StepFailed { step, place: Some(Box::new(place)), exit: Exit::Code(2) }
}

#[test]
fn on_a_pipe_progress_is_plain_lines_on_standard_error() {
    insta::assert_snapshot!(output(&Fake::replaying(script::successful()), ["build", "."]));
}

#[test]
fn on_a_terminal_finished_steps_and_the_summary_stay() {
    insta::assert_snapshot!(session_on_terminal(&Fake::replaying(script::unchanged()), ["build", "."]));
}

#[test]
fn json_progress_is_on_standard_output() {
    insta::assert_snapshot!(output(&Fake::replaying(script::unchanged()), ["build", "--progress", "json", "."]));
}

#[test]
fn quiet_prints_the_image_id_and_nothing_else() {
    insta::assert_snapshot!(output(&Fake::replaying(script::successful()), ["build", "-q", "."]));
}

#[test]
fn a_failed_step_ends_with_its_output_its_place_and_code_1() {
    insta::assert_snapshot!(output(&failing(step_failed()), ["build", "."]));
}

#[test]
fn a_quiet_build_that_fails_shows_the_failed_steps_output() {
    insta::assert_snapshot!(output(&failing(step_failed()), ["build", "-q", "."]));
}

#[test]
fn a_bad_dockerfile_is_drawn_and_json_still_ends_with_build_finished() {
    let fake = Fake::default();
    *fake.error.borrow_mut() = Some(BuildError::Diagnostics {
        sources: Box::new(Sources::new("Dockerfile", "FORM busybox\n")),
        diagnostics: vec![
            Diagnostic::error("UnknownInstruction", Span::new(0, 4), "unknown instruction FORM")
                .with_help("did you mean FROM?"),
        ],
    });
    let shown = output(&fake, ["build", "--progress", "json", "."]);
    let duration = shown.find("\"duration\":").unwrap();
    let end = shown[duration..].find(',').unwrap();
    insta::assert_snapshot!(shown.replacen(&shown[duration..duration + end], "\"duration\":0.1", 1));
}

#[test]
fn an_interrupted_build_has_code_130() {
    let shown = output(&failing(BuildError::Cancelled), ["build", "-q", "."]);
    assert!(shown.starts_with("exit 130\n"), "{shown}");
    assert!(shown.ends_with("error: the build was interrupted\n"), "{shown}");
}

#[test]
fn the_progress_variable_is_the_default_and_the_flag_wins() {
    let variables = [("HOME", "/h"), ("KILN_PROGRESS", "json")];
    let json = output_in(&Fake::replaying(script::unchanged()), &variables, ["build"]);
    assert!(json.contains("{\"event\":\"build_started\""), "{json}");
    let plain = output_in(&Fake::replaying(script::unchanged()), &variables, ["build", "--progress", "plain"]);
    assert!(!plain.contains("{\"event\""), "{plain}");
}

#[test]
fn an_id_file_has_the_id_alone_and_a_failed_build_leaves_no_old_one() {
    let dir = tempfile::tempdir().unwrap();
    let (id, metadata) = (dir.path().join("id"), dir.path().join("metadata"));
    let args = ["build", "--iidfile", id.to_str().unwrap(), "--metadata-file", metadata.to_str().unwrap(), "."];
    output(&Fake::default(), args);
    assert_eq!(std::fs::read_to_string(&id).unwrap(), format!("sha256:{}", "ab".repeat(32)));
    assert!(std::fs::read_to_string(&metadata).unwrap().contains("\"containerimage.config.digest\": \"sha256:abab"));
    output(&failing(step_failed()), args);
    assert!(!id.exists());
}

#[test]
fn an_id_file_that_is_no_plain_file_is_written_to_and_never_removed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    output(&failing(step_failed()), ["build", "--iidfile", path.to_str().unwrap(), "."]);
    assert!(path.exists());
}

#[test]
fn an_id_file_that_cannot_be_written_fails_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("missing/id");
    let shown = output(&Fake::default(), ["build", "-q", "--iidfile", path.to_str().unwrap(), "."]);
    assert!(shown.starts_with("exit 1\n"), "{shown}");
    assert!(shown.contains("error: failed to write "), "{shown}");
}

#[test]
fn a_tar_is_not_written_to_a_person() {
    insta::assert_snapshot!(session_on_terminal(&Fake::default(), ["build", "-o", "-", "."]));
}

#[test]
fn a_quiet_build_whose_tar_goes_to_standard_output_prints_no_id_into_it() {
    assert_eq!(output(&Fake::default(), ["build", "-q", "-o", "-", "."]), "exit 0\n");
}

#[test]
fn an_id_file_that_is_no_regular_file_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("target");
    let link = dir.path().join("link");
    std::fs::write(&target, "old").unwrap();
    std::os::unix::fs::symlink(&target, &link).unwrap();
    output(&Fake::default(), ["build", "--iidfile", link.to_str().unwrap(), "."]);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(&target).unwrap(), format!("sha256:{}", "ab".repeat(32)));
}
