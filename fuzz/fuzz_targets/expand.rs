//! Any text as a word with variables, whose values are the rest of the text.

#![no_main]

use kiln_dsl::expand;
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;

fuzz_target!(|input: (&str, &str, bool)| {
    let (text, value, backtick) = input;
    let escape = if backtick { '`' } else { '\\' };
    let vars: BTreeMap<String, String> =
        [("a".to_owned(), value.to_owned()), ("b".to_owned(), String::new())].into();
    match expand::word(text, escape, &vars) {
        Ok(expanded) => assert!(expanded.unset.iter().all(|name| expanded.used.contains(name))),
        Err(error) => assert!(text.get(error.range.clone()).is_some(), "{error:?}"),
    }
    let _ = expand::words(text, escape, &vars);
    let _ = expand::heredoc(text, &vars);
});
