//! Every message of the language, as its reader sees it.
//!
//! `cases/*.txt` hold what is wrong, a snapshot for each file what kiln says of it. That none is forgotten is read from the
//! sources: each code of a diagnostic and each text in them must stand in one of the snapshots.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cases;
mod texts;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Where the language says what is wrong with a file: folders and files below the workspace.
const SOURCES: [&str; 6] = [
    "dsl/src",
    "engine/src/plan",
    "engine/src/build/wanted.rs",
    "engine/src/build/includes.rs",
    "cli/src/project.rs",
    "cli/src/bake",
];

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn family(name: &str) {
    let shown = cases::shown(name);
    insta::with_settings!({ prepend_module_to_snapshot => false, snapshot_path => "snapshots" }, {
        insta::assert_snapshot!(name, shown);
    });
}

macro_rules! families {
    ($($name:ident),* $(,)?) => {
        $(#[test] fn $name() { family(stringify!($name)); })*
    };
}

families!(parser, planning, extended, keys, limits, checks, convert, targets, project, bake);

/// Where else whole texts stand: what needs a store or an image with a past is shown where such things are made.
const SNAPSHOTS: [&str; 6] = [
    "tests/tests/messages/snapshots",
    "tests/tests/e2e/snapshots",
    "dsl/src/check/snapshots",
    "dsl/tests/snapshots",
    "engine/src/plan/snapshots",
    "cli/src/bake/snapshots",
];

/// What the snapshots hold, report by report, line breaks and the frame around messages taken out.
fn said() -> Vec<String> {
    let files = SNAPSHOTS.iter().flat_map(|folder| std::fs::read_dir(workspace().join(folder)).unwrap());
    let texts = files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
    let reports = texts.flat_map(|text| {
        let plain = |report: &str| {
            let words = report.split(|c: char| c.is_whitespace() || c == '│').filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(" ")
        };
        text.split("\n\n").map(plain).collect::<Vec<_>>()
    });
    reports.collect()
}

#[test]
fn every_text_in_the_sources_of_the_language_is_in_a_snapshot() {
    let said = said();
    let mut missing = String::new();
    let mut count = 0;
    for root in SOURCES {
        for text in texts::of(&workspace().join(root)) {
            count += 1;
            if !text.is_no_message() && !said.iter().any(|said| text.is_in(said)) {
                let _ = writeln!(missing, "{text}");
            }
        }
    }
    assert!(count > 500, "the sources are read: {count}");
    assert!(missing.is_empty(), "no case shows these texts:\n{missing}");
}

#[test]
fn every_code_in_the_sources_of_the_language_is_in_a_snapshot() {
    let said = said().join(" ");
    let codes: BTreeSet<String> = SOURCES.iter().flat_map(|root| texts::codes(&workspace().join(root))).collect();
    let missing: Vec<&String> = codes.iter().filter(|code| !said.contains(code.as_str())).collect();
    assert!(codes.len() > 80, "the sources are read: {codes:?}");
    assert!(missing.is_empty(), "no case shows these codes: {missing:?}");
}
