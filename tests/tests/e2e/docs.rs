//! The documentation tells the truth: every path it names is there, every test it names exists.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(root().join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<PathBuf> = docs.filter(|path| path.extension().is_some_and(|end| end == "md")).collect();
    pages.push(root().join("README.md"));
    pages
}

/// The texts between single backticks, outside of code blocks.
fn quoted(page: &str) -> Vec<String> {
    let mut inside_block = false;
    let mut all = Vec::new();
    for line in page.lines() {
        if line.trim_start().starts_with("```") {
            inside_block = !inside_block;
        } else if !inside_block {
            all.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    all
}

/// Whether a text can only be a path of this repository.
fn is_path(text: &str) -> bool {
    let tops = ["cli/", "docs/", "dsl/", "engine/", "examples/", "fuzz/", "tests/"];
    tops.iter().any(|top| text.starts_with(top)) && !text.contains([' ', '*', '<', '{'])
}

#[test]
fn every_path_that_a_page_names_is_there() {
    let mut missing = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        let beside = page.parent().unwrap();
        let local = links.filter(|link| !link.contains("://") && !link.starts_with('#'));
        let local = local.map(|link| beside.join(link.split('#').next().unwrap_or(link)));
        let named = quoted(&text).into_iter().filter(|text| is_path(text)).map(|path| root().join(path));
        let gone = named.chain(local).filter(|path| !path.exists());
        missing.extend(gone.map(|path| format!("{}: {}", page.display(), path.display())));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

fn sources(dir: &Path, text: &mut String) {
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let path = entry.path();
        // A link is not followed: the conformance cases hold some that lead in circles.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir && !path.ends_with("target") {
            sources(&path, text);
        } else if path.extension().is_some_and(|end| end == "rs") {
            text.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_test_that_a_page_names_exists() {
    let mut code = String::new();
    for top in ["cli", "dsl", "engine", "tests"] {
        sources(&root().join(top), &mut code);
    }
    let mut missing = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        // A sentence in snake case is a test's name; nothing else here has so many words.
        let names = quoted(&text).into_iter().filter(|name| {
            name.matches('_').count() >= 4
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        });
        missing.extend(names.filter(|name| !code.contains(&format!("fn {name}("))));
    }
    assert!(missing.is_empty(), "{missing:#?}");
}
