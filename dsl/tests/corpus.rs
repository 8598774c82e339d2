//! Real Dockerfiles and BuildKit's own tables, read where they are (`KILN_CORPUS`); they are not part of the project.
//!
//! Knows the shape of that data only.

use kiln_dsl::ast::{Command, Document};
use kiln_dsl::diagnostic::Severity;
use kiln_dsl::expand;
use kiln_dsl::parser::{self, RawInstruction, RawParsed};
use kiln_dsl::quote::go_quote;
use kiln_dsl::span::Span;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[expect(clippy::print_stdout, reason = "a test that did not run says so")]
fn skipped() {
    println!("skipped: corpus (KILN_CORPUS)");
}

/// The corpus, or `None` after saying that it is not there.
fn corpus() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or_else(beside, PathBuf::from);
    if path.join("dockerfiles.jsonl").exists() {
        return Some(path);
    }
    let required = std::env::var_os("KILN_REQUIRE_TOOLS").is_some_and(|value| value == "1");
    assert!(!required, "no corpus at {}", path.display());
    skipped();
    None
}

fn read(path: &Path) -> String {
    let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    String::from_utf8_lossy(&bytes).into_owned()
}

fn cases(corpus: &Path) -> Vec<Value> {
    let lines = read(&corpus.join("dockerfiles.jsonl"));
    lines.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect()
}

fn rejected(parsed: &RawParsed) -> bool {
    parsed.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
}

/// An instruction in the corpus' own words.
fn as_corpus(instruction: &RawInstruction) -> Value {
    let heredocs: Vec<Value> = instruction
        .heredocs
        .iter()
        .map(|heredoc| serde_json::json!([heredoc.name, heredoc.descriptor, heredoc.content]))
        .collect();
    serde_json::json!({
        "cmd": instruction.cmd,
        "sub": instruction.sub,
        "json": instruction.json,
        "flags": instruction.flags,
        "value": instruction.value,
        "line": [instruction.first_line, instruction.last_line],
        "heredocs": heredocs,
    })
}

/// Where we differ from the recorded answers on purpose: the file, how many of its instructions, and why.
const DIFFERENT: [(&str, usize, &str); 1] =
    [("frontend/dockerfile/parser/testfiles/json/Dockerfile", 1, "the records lost a NUL on their way through C")];

#[test]
fn every_real_dockerfile_is_read_as_buildkit_reads_it() {
    let Some(corpus) = corpus() else { return };
    let (mut files, mut instructions, mut differences) = (0, 0, Vec::new());
    for case in cases(&corpus) {
        let name = format!("{} {}", case["repo"], case["path"]);
        let parsed = parser::parse_raw(case["text"].as_str().expect("text"));
        files += 1;
        if rejected(&parsed) == case["ok"].as_bool().expect("ok") {
            differences.push(format!("{name}: {}, {:?}", case["error"], parsed.diagnostics));
            continue;
        }
        let Some(expected) = case["commands"].as_array() else { continue };
        if expected.len() != parsed.instructions.len() {
            differences.push(format!("{name}: {} instructions, not {}", parsed.instructions.len(), expected.len()));
        }
        let mut here = Vec::new();
        for (want, got) in expected.iter().zip(&parsed.instructions) {
            instructions += 1;
            let got = as_corpus(got);
            if *want != got {
                here.push(format!("{name}:\n  want {want}\n  got  {got}"));
            }
        }
        let on_purpose = DIFFERENT.iter().find(|known| case["path"] == known.0).map_or(0, |known| known.1);
        if here.len() != on_purpose {
            differences.push(format!("{name}: {} differences, {on_purpose} on purpose", here.len()));
            differences.append(&mut here);
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(files >= 448 && instructions > 4_000, "{files} files, {instructions} instructions");
}

/// Files that BuildKit's parser takes and its instructions refuse: all their errors.
const WRONG: [(&str, &[&str]); 4] = [
    ("wrong-composefile/service1/Dockerfile", &["UnknownInstruction"]),
    ("testdata/Dockerfile.badhealthcheck", &["WrongArgumentCount"]),
    // A stage's name may not hold a variable.
    ("testdata/Dockerfile.target", &["InvalidStageName"]),
    ("testdata/Dockerfile.unknown", &["UnknownInstruction", "UnknownInstruction"]),
];

#[test]
fn the_typed_layer_takes_what_is_built_every_day() {
    let Some(corpus) = corpus() else { return };
    let mut errors = Vec::new();
    for case in cases(&corpus) {
        let (path, text) = (case["path"].as_str().expect("path"), case["text"].as_str().expect("text"));
        let parsed = parser::parse(text);
        spans_lie_within(&parsed.document, text);
        // The parser's own test files need not be whole Dockerfiles.
        if case["ok"] == false || path.contains("parser/testfiles") {
            continue;
        }
        let wrong = WRONG.iter().find(|known| path.ends_with(known.0)).map_or(&[][..], |known| known.1);
        let found: Vec<&str> = parsed
            .diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == Severity::Error)
            .map(|diagnostic| diagnostic.code)
            .collect();
        if found != wrong {
            errors.push(format!("{} {path}: {:?}", case["repo"], parsed.diagnostics));
        }
    }
    assert!(errors.is_empty(), "{}", errors.join("\n"));
}

/// Keywords, images and destinations stand where their spans say.
fn spans_lie_within(document: &Document, text: &str) {
    let at = |span: Span| &text[span.start as usize..span.end as usize];
    for instruction in &document.instructions {
        assert_eq!(at(instruction.keyword.span), instruction.keyword.value);
        assert!(at(instruction.span).starts_with(&instruction.keyword.value));
        match &instruction.command {
            Command::From(from) => assert_eq!(at(from.image.span), from.image.value),
            Command::Copy(copy) if !instruction.json => assert_eq!(at(copy.destination.span), copy.destination.value),
            Command::Arg(declarations) => {
                for declaration in declarations {
                    assert_eq!(at(declaration.name.span), declaration.name.value);
                }
            }
            _ => {}
        }
    }
}

/// BuildKit's dump of a file.
fn dump(parsed: &RawParsed) -> String {
    let lines = parsed.instructions.iter().map(|instruction| {
        let inner = instruction.sub.as_deref().unwrap_or(&instruction.cmd);
        let flags = if instruction.sub.is_some() { &instruction.sub_flags } else { &instruction.flags };
        let flags: Vec<String> = flags.iter().map(|flag| go_quote(flag)).collect();
        let flags = if flags.is_empty() { None } else { Some(format!("[{}]", flags.join(" "))) };
        let mut values: Vec<String> = instruction.value.iter().map(|value| go_quote(value)).collect();
        if ["env", "label"].contains(&inner.to_lowercase().as_str()) {
            let separator = if instruction.legacy { "\"\"" } else { "\"=\"" };
            values = values.chunks(2).flat_map(|pair| [&pair[0], &pair[1], separator].map(str::to_owned)).collect();
        }
        let body: Vec<String> = [inner.to_lowercase()].into_iter().chain(flags).chain(values).collect();
        match &instruction.sub {
            Some(_) => format!("({} ({}))", instruction.cmd.to_lowercase(), body.join(" ")),
            None => format!("({})", body.join(" ")),
        }
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn buildkits_parser_tests_pass() {
    let Some(corpus) = corpus() else { return };
    let mut seen = 0;
    for (folder, wrong) in [("testfiles", false), ("testfiles-negative", true)] {
        let entries = std::fs::read_dir(corpus.join("buildkit-parser").join(folder)).expect("a folder");
        for entry in entries {
            let path = entry.expect("an entry").path();
            let parsed = parser::parse_raw(&read(&path.join("Dockerfile")));
            assert_eq!(rejected(&parsed), wrong, "{}: {:?}", path.display(), parsed.diagnostics);
            if !wrong {
                assert_eq!(dump(&parsed), read(&path.join("result")).trim(), "{}", path.display());
            }
            seen += 1;
        }
    }
    assert!(seen > 30, "{seen} files");
}

#[test]
fn buildkits_table_of_expansions_holds() {
    let Some(corpus) = corpus() else { return };
    let vars = [("PWD", "/home"), ("SHELL", "bash"), ("KOREAN", "한국어"), ("NULL", "")];
    let vars: BTreeMap<String, String> = vars.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let (mut seen, mut failed) = (0, Vec::new());
    for line in read(&corpus.join("buildkit-envVarTest.txt")).lines() {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        // The rows of Windows are left out.
        let ["A" | "U", text, want] = cells.as_slice() else { continue };
        seen += 1;
        let got = expand::word(text, '\\', &vars).map_or_else(|_| "error".to_owned(), |expanded| expanded.value);
        if got != *want {
            failed.push(format!("{text}: {got:?}, not {want:?}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(seen > 190, "{seen} rows");
}

#[test]
fn buildkits_table_of_word_splitting_holds() {
    let Some(corpus) = corpus() else { return };
    let (mut seen, mut vars) = (0, BTreeMap::new());
    for line in read(&corpus.join("buildkit-wordsTest.txt")).lines() {
        if let Some(assignment) = line.strip_prefix("ENV ") {
            let (name, value) = assignment.split_once('=').expect("an assignment");
            vars.insert(name.to_owned(), value.to_owned());
        } else if let Some((text, want)) = line.split_once('|') {
            seen += 1;
            let got = expand::words(text.trim(), '\\', &vars);
            let got = got.map_or_else(|_| "error".to_owned(), |words| words.join(","));
            assert_eq!(got, want.trim_start(), "{line}");
        }
    }
    assert!(seen > 20, "{seen} rows");
}
