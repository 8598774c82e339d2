//! The wildcards of COPY and ADD: Go's `filepath.Match`, component by component.
//!
//! `*` and `?` never cross a `/`, nor does a class; there is no `**`. Knows nothing of directories on disk.

use crate::nfa::{self, Class, Run, Token};

/// A source of COPY or ADD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern {
    tokens: Vec<Token>,
}

/// Why text is no pattern.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PatternError {
    /// A `[` without its `]`, an empty class, or a `-` or `]` that begins or ends a range.
    #[error("syntax error in pattern: a class like [a-z] is not well formed")]
    Class,
    /// A `\` with nothing behind it.
    #[error("syntax error in pattern: nothing stands behind the last \\")]
    Escape,
}

impl Pattern {
    /// Reads `text`: `*`, `?`, `[a-z]`, `[^a-z]`, and `\` before any character that is to mean itself.
    ///
    /// # Errors
    /// Where Go's function says `ErrBadPattern`.
    pub fn parse(text: &str) -> Result<Pattern, PatternError> {
        let mut tokens = Vec::with_capacity(text.len());
        let mut rest = text.chars();
        while let Some(c) = rest.next() {
            tokens.push(match c {
                '*' => Token::ManyBut('/'),
                '?' => Token::AnyBut('/'),
                '[' => Token::Class(Class { but: Some('/'), ..class(&mut rest, false)? }),
                '\\' => Token::Char(rest.next().ok_or(PatternError::Escape)?),
                c => Token::Char(c),
            });
        }
        Ok(Pattern { tokens })
    }

    /// Whether the whole of `path` matches.
    pub fn matches(&self, path: &[u8]) -> bool {
        let mut run = Run::new(&self.tokens);
        for c in nfa::chars(path) {
            run.step(c);
            if run.is_dead() {
                return false;
            }
        }
        run.accepts()
    }

    /// Whether it has no wildcard and so matches one path only.
    pub fn is_literal(&self) -> bool {
        self.tokens.iter().all(|token| matches!(token, Token::Char(_)))
    }

    /// That path, escapes removed.
    pub fn literal(&self) -> Option<Vec<u8>> {
        let character = |token: &Token| match token {
            Token::Char(c) => Some(*c),
            _ => None,
        };
        let text: Option<String> = self.tokens.iter().map(character).collect();
        text.map(String::into_bytes)
    }
}

/// The class behind a `[`, up to and including its `]`.
///
/// `strict` refuses a range that runs backwards, which `filepath.Match` takes as an empty one.
pub(crate) fn class(rest: &mut std::str::Chars<'_>, strict: bool) -> Result<Class, PatternError> {
    let mut class = Class::default();
    if rest.as_str().starts_with('^') {
        class.negated = true;
        rest.next();
    }
    loop {
        if rest.as_str().starts_with(']') && !class.ranges.is_empty() {
            rest.next();
            return Ok(class);
        }
        let low = class_character(rest)?;
        let high = if rest.as_str().starts_with('-') {
            rest.next();
            class_character(rest)?
        } else {
            low
        };
        if strict && low > high {
            return Err(PatternError::Class);
        }
        class.ranges.push((low, high));
    }
}

fn class_character(rest: &mut std::str::Chars<'_>) -> Result<char, PatternError> {
    match rest.next() {
        None | Some('-' | ']') => Err(PatternError::Class),
        Some('\\') => rest.next().ok_or(PatternError::Escape),
        Some(c) => Ok(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, path: &str) -> bool {
        Pattern::parse(pattern).expect(pattern).matches(path.as_bytes())
    }

    #[test]
    fn wildcards_match_as_filepath_match_does() {
        for (pattern, path, want) in [
            ("*", "abc", true),
            ("*", "a/b", false),
            ("a*/b", "abc/b", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[^e-g]", "abc", true),
            ("ab[^c]", "abc", false),
            ("a[^b]c", "a/c", false),
            ("a\\*b", "a*b", true),
            ("a\\*b", "axb", false),
            ("[\\-x]", "-", true),
            ("a?b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[b-a]", "a", false),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, path), want, "{pattern} on {path}");
        }
    }

    #[test]
    fn bad_patterns_are_refused() {
        for pattern in ["[]a]", "[-]", "[x-]", "[-x]", "\\", "[a-b-c]", "[", "[^", "[^bc", "a[", "[]"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_literal_knows_its_path() {
        let pattern = Pattern::parse("a\\*b/[").map(|_| ()).expect_err("an error");
        assert_eq!(pattern, PatternError::Class);
        let pattern = Pattern::parse("a\\*b/c").expect("valid");
        assert!(pattern.is_literal());
        assert_eq!(pattern.literal(), Some(b"a*b/c".to_vec()));
        assert_eq!(Pattern::parse("a*").expect("valid").literal(), None);
    }

    proptest! {
        #[test]
        fn no_pattern_panics_and_an_escaped_text_matches_itself(text in "[-a-c*?^/\\[\\]\\\\é]{0,9}", path in "[a-c/é]{0,9}") {
            if let Ok(pattern) = Pattern::parse(&text) {
                let _ = pattern.matches(path.as_bytes());
            }
            let escaped: String = text.chars().flat_map(|c| ['\\', c]).collect();
            prop_assert!(Pattern::parse(&escaped).expect("escapes are valid").matches(text.as_bytes()));
        }
    }
}
