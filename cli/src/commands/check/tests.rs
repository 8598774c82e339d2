//! `kiln check` as a whole, on files of its own.

use crate::testing::kiln;
use serde_json::Value;

const BROKEN: &str = "FROM alpine AS Build\n\
    ENV greeting grüße\n\
    COPY . .\n\
    RUN apk add git\n\
    COPY $SRC secret.txt /app/\n\
    CMD echo é \\\n  $X\n";

/// A directory with a Dockerfile and an ignore file.
fn context(dockerfile: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("Dockerfile"), dockerfile).unwrap();
    std::fs::write(dir.path().join(".dockerignore"), "secret.*\n").unwrap();
    dir
}

/// The output of a command on such a directory, which is called `ctx`.
fn on(dockerfile: &str, args: &[&str]) -> String {
    let dir = context(dockerfile);
    let path = dir.path().to_str().unwrap();
    let args: Vec<&str> = args.iter().copied().chain([path]).collect();
    kiln(args).replace(path, "ctx")
}

fn data(shown: &str) -> Value {
    let (_, data) = shown.split_once("--- stdout\n").unwrap();
    serde_json::from_str(data).unwrap()
}

#[test]
fn findings_are_drawn_in_their_lines_and_counted() {
    insta::assert_snapshot!(on(BROKEN, &["check"]));
}

#[test]
fn a_clean_file_is_said_to_be_clean() {
    assert_eq!(on("FROM alpine\n", &["check"]), "exit 0\n--- stdout\nCheck complete, no warnings found.\n");
}

#[test]
fn json_is_dockers_with_spans_and_fixes() {
    let shown = on(BROKEN, &["check", "--format", "json"]);
    assert!(shown.starts_with("exit 0\n"), "{shown}");
    insta::assert_snapshot!(shown);
}

#[test]
fn sarif_names_its_rules_places_and_levels() {
    let log = data(&on(BROKEN, &["check", "--format=sarif"]));
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 27);
    for result in run["results"].as_array().unwrap() {
        assert_eq!(rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()]["id"], result["ruleId"]);
    }
    assert_eq!((&log["version"], &run["columnKind"]), (&"2.1.0".into(), &"unicodeCodePoints".into()));
    insta::assert_snapshot!(serde_json::to_string_pretty(&run["results"]).unwrap());
}

#[test]
fn errors_and_findings_that_are_not_allowed_fail() {
    insta::assert_snapshot!(on("# check=error=true\nFROM alpine AS A\n", &["check"]));
    insta::assert_snapshot!(on("FROM alpine\nRNU x\nCOPY ${ /\n", &["check"]));
    let json = data(&on("FROM alpine\nRNU x\nCOPY ${ /\n", &["check", "--format=json"]));
    assert_eq!(json["buildError"]["errors"].as_array().unwrap().len(), 2);
    assert_eq!(json["buildError"]["message"], "unknown instruction: RNU");
    let sarif = data(&on("FROM\n", &["check", "--format=sarif"]));
    assert_eq!(sarif["runs"][0]["results"][0]["level"], "error");
}

#[test]
fn a_build_that_only_checks_says_the_same() {
    let checked = on(BROKEN, &["check"]);
    for args in [&["build", "--check"][..], &["build", "--call=check"], &["build", "--call", "lint"]] {
        assert_eq!(on(BROKEN, args), checked);
    }
    assert_eq!(on(BROKEN, &["build", "--call=check,format=json"]), on(BROKEN, &["check", "--format=json"]));
    insta::assert_snapshot!(on(BROKEN, &["build", "--call=outline"]));
    insta::assert_snapshot!(on(BROKEN, &["build", "--call=check,fmt=json"]));
}

#[test]
fn arguments_and_targets_decide_what_is_seen() {
    let text = "ARG TAG\nFROM alpine:$TAG AS a\nCOPY $A /\nFROM alpine AS b\nCOPY $B /\n";
    assert!(
        on(text, &["check", "--build-arg", "BUILDKIT_DOCKERFILE_CHECK=skip=all", "--build-arg", "TAG=1"])
            .contains("no warnings")
    );
    let shown = on(text, &["check", "--target", "b", "--build-arg", "TAG=1"]);
    assert!(shown.contains("'$B'") && !shown.contains("'$A'"), "{shown}");
    insta::assert_snapshot!(on(text, &["check", "--target", "c"]));
    let shown = on(text, &["check", "--platform", "nonsense"]);
    assert!(shown.starts_with("exit 1\n") && shown.contains("cannot build for platform"), "{shown}");
}

#[test]
fn what_is_not_there_is_named() {
    let shown = kiln(["check", "/nowhere/at/all"]);
    assert!(shown.starts_with("exit 1\n") && shown.contains("failed to read the context /nowhere/at/all"), "{shown}");
}
