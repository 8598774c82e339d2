//! Variables, quotes and escapes of a word: `${dir:-/srv}/"a b"` to its value.
//!
//! Follows BuildKit's shell lexer. Knows nothing of where variables come from ([`Variables`]) nor of which instruction
//! expands what. Time is linear in the text and the values, and nesting costs heap, not call stack.

pub(crate) mod heads;
mod lex;
mod operator;

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::ops::Range;

/// The longest value that an expansion may have: values that are made of each other grow without bound otherwise, and no
/// command takes a variable of more than 128 KiB.
const MAX_EXPANDED_BYTES: usize = 16 << 20;

/// The variables in sight.
pub trait Variables {
    /// The value of `name`; `None` if it is not set, `Some("")` if it is set and empty.
    fn get(&self, name: &str) -> Option<&str>;
}

impl<S: BuildHasher> Variables for HashMap<String, String, S> {
    fn get(&self, name: &str) -> Option<&str> {
        HashMap::get(self, name).map(String::as_str)
    }
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Option<&str> {
        BTreeMap::get(self, name).map(String::as_str)
    }
}

/// Variables that go before those below them.
pub struct Layered<'a> {
    /// The names and values that go first.
    pub first: &'a [(String, String)],
    /// The others.
    pub below: &'a dyn Variables,
}

impl Variables for Layered<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let first = self.first.iter().find(|(other, _)| other == name);
        first.map(|(_, value)| value.as_str()).or_else(|| self.below.get(name))
    }
}

/// No variable at all.
#[derive(Clone, Copy, Default, Debug)]
pub struct Empty;

impl Variables for Empty {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
}

/// A word's value and the variables that decided it, each name once, in the order of reading.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Expanded {
    /// The value.
    pub value: String,
    /// The names that were read and not set, also in operands that the value does not show.
    pub unset: Vec<String>,
    /// All names that were read.
    pub used: Vec<String>,
}

/// Why a word has no value.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ExpandErrorKind {
    /// A `'` or `"` without its partner.
    #[error("unexpected end of statement while looking for matching {}", if *.0 == '"' { "double-quote" } else { "single-quote" })]
    UnterminatedQuote(char),
    /// `${…` without its `}`, or `${v/…` without its second `/`.
    #[error("syntax error: missing '{0}' in substitution")]
    Unterminated(char),
    /// `${}`, `${:…}`, `${{…}`.
    #[error("syntax error: bad substitution")]
    BadSubstitution,
    /// `${v=…}` and the like.
    #[error("unsupported modifier ({0}) in substitution")]
    UnsupportedModifier(String),
    /// A value longer than any file or variable needs.
    #[error("the value is longer than {} MiB", MAX_EXPANDED_BYTES >> 20)]
    TooLong,
    /// A pattern with an escape that means nothing.
    #[error("invalid pattern ({pattern}) in substitution: invalid escape '\\{escape}'")]
    InvalidPattern {
        /// The pattern.
        pattern: String,
        /// The escaped character, empty at the end of the pattern.
        escape: String,
    },
    /// `${v?message}` or `${v:?message}` of a variable that is not set (or empty).
    #[error("{name}: {message}")]
    Required {
        /// The variable.
        name: String,
        /// The message, the author's or the default one.
        message: String,
    },
}

/// An error and its place.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{kind}")]
pub struct ExpandError {
    /// What is wrong.
    pub kind: ExpandErrorKind,
    /// The byte range in the text.
    pub range: Range<usize>,
}

/// Expands `text` as one word: quotes and escapes are removed, blanks stay.
///
/// # Errors
/// On text that is not well formed, and where `${v:?}` asks for a variable that is not set.
pub fn word(text: &str, escape: char, vars: &dyn Variables) -> Result<Expanded, ExpandError> {
    let lexed = lex::run(text, lex::Mode { escape, ..lex::Mode::default() }, vars)?;
    Ok(Expanded { value: lexed.value, unset: lexed.unset, used: lexed.used })
}

/// Expands `text` and splits the result at its unquoted white space, that of unquoted values included.
///
/// # Errors
/// As [`word`].
pub fn words(text: &str, escape: char, vars: &dyn Variables) -> Result<Vec<String>, ExpandError> {
    Ok(lex::run(text, lex::Mode { escape, split: true, ..lex::Mode::default() }, vars)?.words)
}

/// Expands the body of a heredoc: quotes are ordinary characters, `escape` takes the next one as it is.
///
/// BuildKit escapes with `\` here whatever the file's directive says.
///
/// # Errors
/// As [`word`], quotes apart.
pub fn heredoc(text: &str, vars: &dyn Variables) -> Result<Expanded, ExpandError> {
    let lexed = lex::run(text, lex::Mode { quotes: lex::Quotes::Ordinary, ..lex::Mode::default() }, vars)?;
    Ok(Expanded { value: lexed.value, unset: lexed.unset, used: lexed.used })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars() -> BTreeMap<String, String> {
        [("v", "a-b-c"), ("empty", ""), ("path", "/x/y.tar.gz")].map(|(k, v)| (k.to_owned(), v.to_owned())).into()
    }

    fn value(text: &str) -> Result<String, String> {
        word(text, '\\', &vars()).map(|w| w.value).map_err(|e| e.to_string())
    }

    #[test]
    fn patterns_trim_and_replace_as_in_a_shell() {
        for (text, want) in [
            ("${v#*-}", "b-c"),
            ("${v##*-}", "c"),
            ("${v%-*}", "a-b"),
            ("${v%%-*}", "a"),
            ("${v/-/+}", "a+b-c"),
            ("${v//-/+}", "a+b+c"),
            ("${path%.tar.gz}", "/x/y"),
            ("${path##*/}", "y.tar.gz"),
            ("${path//\\//_}", "_x_y.tar.gz"),
            ("${v//?/x}", "xxxxx"),
            ("${v/*/x}", "x"),
            ("${v//*/x}", "x"),
            ("${v#\\*}", "a-b-c"),
            ("${v//-/$empty}", "abc"),
            ("${v///.}", ".a.-.b.-.c."),
            ("${none#x}", ""),
            ("${none:-${v#*-}}", "b-c"),
        ] {
            assert_eq!(value(text).as_deref(), Ok(want), "{text}");
        }
        assert!(value("${v#\\a}").is_err());
        assert!(value("${v:#a}").is_err());
    }

    #[test]
    fn the_names_that_were_read_and_the_unset_ones_are_told() {
        let got = word("$v${x:-$y}${x}", '\\', &vars()).expect("well formed");
        assert_eq!(got.used, ["v", "y", "x"]);
        assert_eq!(got.unset, ["y", "x"]);
    }

    #[test]
    fn a_default_within_a_word_goes_on_with_it() {
        assert_eq!(words("80${x:-90} a${x:-b c}d", '\\', &vars()), Ok(["8090", "ab", "cd"].map(String::from).to_vec()));
    }

    #[test]
    fn errors_say_where() {
        let error = |text: &str| word(text, '\\', &vars()).expect_err("an error");
        assert_eq!(error("ab${").range, 2..4);
        assert_eq!(error("ab'c").range, 2..4);
        assert_eq!(error("x${none:?no such thing}y").to_string(), "none: no such thing");
        assert_eq!(error("x${none:?no such thing}y").range, 1..23);
    }

    #[test]
    fn a_heredoc_keeps_its_quotes_and_loses_its_escapes() {
        let text = "'$v' \"${none:-'d'}\" \\$v \\n\n";
        assert_eq!(heredoc(text, &vars()).expect("well formed").value, "'a-b-c' \"'d'\" $v n\n");
    }

    #[test]
    fn nesting_of_any_depth_is_read_in_linear_time() {
        let depth = 200_000;
        let text = "x${n:-".repeat(depth) + "end" + &"}".repeat(depth);
        assert_eq!(value(&text).map(|v| v.len()), Ok(depth + 3));
        assert!(value(&"${n:-".repeat(depth)).is_err());
        assert!(value(&"${n/".repeat(depth)).is_err());
    }

    #[test]
    fn the_replacement_of_all_matches_is_a_template_as_in_go() {
        let vars: BTreeMap<_, _> =
            [("v", "a.b"), ("d", "<$0${0}$1$$>")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        let value = |text| word(text, '\\', &vars).map(|w| w.value);
        assert_eq!(value("${v//./$d}").as_deref(), Ok("a<..$>b"));
        assert_eq!(value("${v/./$d}").as_deref(), Ok("a<$0${0}$1$$>b"));
    }
}
