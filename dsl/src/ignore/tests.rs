//! The matcher against Docker's documented cases and against a naive reference.

use super::*;
use proptest::prelude::*;

fn ignore(text: &str) -> Ignore {
    Ignore::parse(text).expect(text)
}

fn excluded(text: &str, path: &str) -> bool {
    let ignore = ignore(text);
    let excluded = ignore.excluded(path.as_bytes(), false);
    assert_eq!(ignore.matching_line(path.as_bytes()).is_some(), excluded, "{text:?} on {path}");
    excluded
}

#[test]
fn single_patterns_match_as_dockers_do() {
    for (pattern, path, want) in [
        ("**", "file", true),
        ("**", "dir/file", true),
        ("**/", "file", true),
        ("**/**", "dir/file", true),
        ("dir/**", "dir/file", true),
        ("dir/**", "dir", false),
        ("dir/**", "dir2/file", false),
        ("**/dir", "dir", true),
        ("**/dir", "a/b/dir/x", true),
        ("**/dir2/*", "dir/dir2/file", true),
        ("**/dir2/*", "dir2", false),
        ("**/dir2/**", "dir/dir2/dir2/file", true),
        ("**file", "dir/myfile", true),
        ("**/file", "dir/myfile", false),
        ("a**", "ab/c", true),
        ("a**/b", "axx/b", true),
        ("a**/b", "a/b", true),
        ("a**b", "axb", false),
        ("abc/**/def", "abc/def", true),
        ("abc/**/def", "abc/x/y/def/z", true),
        ("*.go", "main.go", true),
        ("*.go", "dir/main.go", false),
        ("*/x", "a/x/y", true),
        ("a?c", "a/c", false),
        ("a[b-d]e", "ace", true),
        ("a[^b]c", "a/c", true),
        ("a\\*b", "a*b", true),
        ("a.b", "axb", false),
        ("a.b", "a.b", true),
        ("/a", "a", true),
        ("./a/../b/", "b", true),
        (" b ", "b", true),
        ("b", "bc", false),
        ("[ab]]", "a]", true),
        ("^a", "^a", true),
        ("**/^a*", "x/^a", false),
        ("\\d.txt", "7.txt", true),
        ("dir", "dir/sub/file", true),
        ("..", "..", true),
        ("/", "a", false),
        (".", "a", false),
    ] {
        assert_eq!(excluded(pattern, path), want, "{pattern} on {path}");
    }
}

#[test]
fn the_last_match_wins_and_parents_count() {
    let text = "docs\n!docs/README.md\n*.md\n!b*.md\n";
    for (path, want) in
        [("docs/x", true), ("docs/README.md", false), ("docs", true), ("a.md", true), ("b.md", false), ("c", false)]
    {
        assert_eq!(excluded(text, path), want, "{path}");
    }
    assert_eq!(ignore(text).matching_line(b"docs/x/y"), Some((1, "docs")));
    assert_eq!(ignore(text).matching_line(b"a.md"), Some((3, "*.md")));
}

#[test]
fn a_repeated_pattern_behind_an_exception_does_not_reach_below_it() {
    // Docker's walk does not remember that the third line matches `d`, for the first one had decided it already.
    assert!(!excluded("d\n!d/x\nd\n", "d/x"));
    assert!(excluded("d\n!d/x\nd/x\n", "d/x"));
}

#[test]
fn comments_begin_in_the_first_column_and_a_byte_order_mark_is_no_pattern() {
    let ignore = ignore("\u{feff}# no\n\n #yes\n!  keep\r\n*\n");
    assert!(ignore.excluded(b"#yes", false));
    assert_eq!(ignore.matching_line(b"keep"), Some((5, "*")));
    assert!(ignore.has_negated());
}

#[test]
fn a_walk_enters_ignored_directories_only_where_an_exception_may_lie() {
    let text = ignore("*\n!src/a/b\n!doc/*/x\n!lib/**\n");
    for (dir, want) in [
        ("src", true),
        ("src/a", true),
        ("src/a/b", true),
        ("src/c", false),
        ("doc", true),
        ("doc/q", true),
        ("doc/q/y", false),
        ("lib", true),
        ("lib/x", true),
        ("other", false),
    ] {
        assert_eq!(text.may_reinclude_below(dir.as_bytes()), want, "{dir}");
    }
    assert!(ignore("*\n!**/keep").may_reinclude_below(b"any/dir"));
    assert!(!ignore("*").may_reinclude_below(b"any"));
}

#[test]
fn what_is_no_pattern_names_its_line() {
    for (text, line) in [("a\n!\n", 2), ("[", 1), ("a\\", 1), ("\n\n[b-a]", 3), ("\\y", 1), ("[[:alpha:]]", 1)] {
        assert_eq!(Ignore::parse(text).expect_err(text).line, line, "{text}");
    }
}

#[test]
fn excludes_are_patterns_without_the_rules_of_a_file() {
    let list = Ignore::from_patterns(["#a", "*.md", "!keep.md", "/b"].into_iter()).expect("valid");
    for (path, want) in [("#a", true), ("x.md", true), ("keep.md", false), ("b", false)] {
        assert_eq!(list.excluded(path.as_bytes(), false), want, "{path}");
    }
}

#[test]
fn a_hostile_pattern_takes_linear_time() {
    let pattern = "**/a".repeat(500) + "*a*a*a*b";
    assert!(!excluded(&pattern, &"a/".repeat(3_000)));
    assert!(!excluded(&("*a".repeat(100) + "b"), &"a".repeat(10_000)));
}

/// The walk with each pattern compared by trying everything.
fn reference(patterns: &[(bool, &str)], path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let mut parent = vec![false; patterns.len()];
    let mut matched = false;
    for level in 1..=parts.len() {
        let path = parts[..level].join("/");
        matched = false;
        for (index, (negated, pattern)) in patterns.iter().enumerate() {
            if !parent[index] && *negated == matched {
                parent[index] = naive(pattern, &path);
            }
            if parent[index] {
                matched = !negated;
            }
        }
    }
    matched
}

/// `**` of a whole component and single stars, by backtracking; no classes, no escapes.
fn naive(pattern: &str, path: &str) -> bool {
    if let Some(prefix) = pattern.strip_suffix("/**").filter(|rest| !rest.contains('*')) {
        return path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
    }
    if pattern == "**" {
        return true;
    }
    if let Some(rest) = pattern.strip_prefix("**/") {
        return naive(rest, path) || path.match_indices('/').any(|(at, _)| naive(rest, &path[at + 1..]));
    }
    let mut chars = pattern.chars();
    match chars.next() {
        None => path.is_empty(),
        Some('*') => {
            let end = path.find('/').unwrap_or(path.len());
            (0..=end).any(|skip| naive(chars.as_str(), &path[skip..]))
        }
        Some(c) => path.strip_prefix(c).is_some_and(|rest| naive(chars.as_str(), rest)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn agrees_with_a_naive_walk(
        patterns in prop::collection::vec((any::<bool>(), "(\\*\\*/)?[ab*]{1,2}(/(\\*\\*/)?[ab]\\*?){0,2}"), 1..5),
        path in "[ab]{1,2}(/[ab]{1,2}){0,3}",
    ) {
        // Two stars that meet are another mark than two single ones.
        prop_assume!(patterns.iter().all(|(_, p)| !p.trim_start_matches("**/").replace("/**/", "/").contains("**")));
        let text: String = patterns.iter().map(|(negated, p)| format!("{}{p}\n", if *negated { "!" } else { "" })).collect();
        let list: Vec<(bool, &str)> = patterns.iter().map(|(negated, p)| (*negated, p.as_str())).collect();
        let ignore = Ignore::parse(&text).expect("valid patterns");
        prop_assert_eq!(ignore.excluded(path.as_bytes(), false), reference(&list, &path), "{} on {}", text, path);
        // An excluded directory that a walk may skip has nothing below it that is not excluded.
        if let Some((dir, _)) = path.rsplit_once('/')
            && ignore.excluded(dir.as_bytes(), true) && !ignore.may_reinclude_below(dir.as_bytes()) {
            prop_assert!(ignore.excluded(path.as_bytes(), false), "{} on {}", text, path);
        }
    }

    #[test]
    fn never_panics(text in "(\\PC|[*?!#/\\[\\]^\\\\\n-]){0,24}", path in prop::collection::vec(any::<u8>(), 0..24)) {
        if let Ok(ignore) = Ignore::parse(&text) {
            let excluded = ignore.excluded(&path, false);
            prop_assert_eq!(ignore.matching_line(&path).is_some(), excluded);
            let _ = ignore.may_reinclude_below(&path);
        }
    }
}
