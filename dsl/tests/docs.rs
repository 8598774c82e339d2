//! `docs/language.md` names every code of a diagnostic, and no other.

use std::collections::BTreeSet;
use std::path::Path;

/// The sources below `folder`, tests beside the code included.
fn sources(folder: &Path, out: &mut String) {
    for entry in std::fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, out);
        } else {
            out.push_str(&std::fs::read_to_string(&path).expect("a source file"));
        }
    }
}

#[test]
fn the_page_lists_exactly_the_codes_that_the_sources_use() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    sources(&root.join("src"), &mut code);
    let is_code = |word: &&str| {
        word.starts_with(|c: char| c.is_ascii_uppercase())
            && word.chars().all(|c| c.is_ascii_alphabetic())
            && word.chars().filter(char::is_ascii_uppercase).count() > 1
            && word.chars().any(|c| c.is_ascii_lowercase())
    };
    let used: BTreeSet<&str> = code.split('"').filter(is_code).collect();
    let page = std::fs::read_to_string(root.join("../docs/language.md")).expect("the page");
    let (_, list) = page.split_once("## Checks").expect("the list");
    let listed: BTreeSet<&str> = list.split('`').filter(is_code).collect();
    assert_eq!(listed, used);
    assert!(used.len() > 20, "{used:?}");
}
