//! Any text as an ignore file, as patterns of `--exclude` and as a source pattern, each asked about any path.

#![no_main]

use kiln_dsl::ignore::Ignore;
use kiln_dsl::pattern::Pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &str)| {
    let (patterns, path) = input;
    let lists = [Ignore::parse(patterns), Ignore::from_patterns(patterns.lines())];
    for ignore in lists.into_iter().flatten() {
        let excluded = ignore.excluded(path.as_bytes(), false);
        assert_eq!(excluded, ignore.matching_line(path.as_bytes()).is_some());
        ignore.may_reinclude_below(path.as_bytes());
        ignore.excludes_everything();
    }
    if let Ok(pattern) = Pattern::parse(patterns) {
        let matches = pattern.matches(path.as_bytes());
        if let Some(literal) = pattern.literal() {
            assert_eq!(matches, literal == path.as_bytes());
        }
    }
});
