//! Kiln's images against Docker's: always against golden results that a run with Docker wrote, and against
//! Docker itself where `DOCKER` says how to call it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use kiln_tests::conformance::builder::Docker;
use kiln_tests::conformance::busybox;
use kiln_tests::conformance::case::{self, Expect};
use kiln_tests::conformance::run::Verdict;
use kiln_tests::conformance::suite::{self, Options};
use kiln_tests::{kiln_program, skip};
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn run(docker: Option<Docker>, work: &Path) {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        cases: folder("cases"),
        only: Vec::new(),
        kiln: kiln_program().unwrap(),
        store: None,
        docker,
        golden: Some(folder("golden")),
        write_golden: false,
        work: work.to_owned(),
        keep: false,
        jobs,
    };
    let mut wrong = Vec::new();
    suite::run(&options, &mut |case, result| match result {
        Ok(Verdict::Passed) => {}
        Ok(Verdict::Skipped(reason)) => {
            skip(&format!("{}: {reason}", case.name));
        }
        other => wrong.push(format!("{}: {other:#?}", case.name)),
    })
    .unwrap();
    assert!(wrong.is_empty(), "{} cases differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_case_is_the_image_that_docker_built() {
    if !Path::new(busybox::PROGRAM).is_file() {
        skip("/bin/busybox (Debian's package busybox-static)");
        return;
    }
    let work = tempfile::tempdir().unwrap();
    run(None, &work.path().join("work"));
}

#[test]
fn every_case_is_the_image_that_docker_builds_now() {
    // Its absence is no gap in what the tests need: the golden results come from it.
    let Some(docker) = Docker::from_environment() else { return };
    let parent = if docker.shared == Path::new("/") { std::env::temp_dir() } else { docker.shared.clone() };
    let work = tempfile::Builder::new().prefix("conformance-").tempdir_in(parent).unwrap();
    run(Some(docker), &work.path().join("work"));
}

#[test]
fn every_case_has_a_golden_result_and_every_golden_result_a_case() {
    let cases: Vec<String> = case::find(&folder("cases")).unwrap().into_iter().map(|case| case.name).collect();
    let mut golden = Vec::new();
    for group in std::fs::read_dir(folder("golden")).unwrap() {
        let group = group.unwrap();
        for file in std::fs::read_dir(group.path()).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            golden.push(format!("{}/{}", group.file_name().into_string().unwrap(), name.trim_end_matches(".txt")));
        }
    }
    golden.sort();
    assert_eq!(golden, cases);
}

#[test]
fn a_deliberate_difference_says_why() {
    for case in case::find(&folder("cases")).unwrap() {
        if let Expect::Differs(reason) | Expect::Documented(reason) = &case.text.expect {
            assert!(reason.len() > 20, "{}: {reason:?} is no reason", case.name);
        }
    }
}
