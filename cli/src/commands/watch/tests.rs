//! What a person and a program see of two builds of an engine that replays a script.

use crate::render::script;
use crate::testing::{Fake, kiln, output};
use kiln_engine::api::{BuildError, Exit};

#[test]
fn the_first_build_is_shown_whole_and_a_rebuild_as_one_block() {
    insta::assert_snapshot!(output(&Fake::replaying(script::successful()), ["watch", "."]));
}

#[test]
fn a_failed_build_shows_its_error_and_watching_goes_on() {
    let fake = Fake::replaying(script::failing());
    let step = "[2/2] RUN make".to_owned();
    *fake.error.borrow_mut() = Some(BuildError::StepFailed { step, place: None, exit: Exit::Code(2) });
    let shown = output(&fake, ["watch", "."]);
    assert!(shown.starts_with("exit 0\n"), "{shown}");
    assert_eq!(shown.matches("error: [2/2] RUN make failed: exit code 2").count(), 1, "{shown}");
    assert!(shown.contains("changed: src/index.js, b"), "{shown}");
}

#[test]
fn json_has_a_line_for_a_change() {
    let shown = output(&Fake::replaying(script::successful()), ["watch", "--json", "."]);
    assert!(shown.contains("\n{\"event\":\"change_seen\",\"paths\":[\"src/index.js\",\"b\"]}\n"), "{shown}");
    assert_eq!(shown.matches("\"event\":\"build_finished\"").count(), 2, "{shown}");
}

#[test]
fn what_cannot_be_watched_is_refused() {
    for args in
        [&["watch", "-f", "-"][..], &["watch", "--debounce", "5"], &["watch", "--poll=x"], &["watch", "--network", "y"]]
    {
        assert!(kiln(args.iter().copied()).starts_with("exit 2\n"), "{args:?}");
    }
}
