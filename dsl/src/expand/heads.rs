//! The shell lexer as the search for heredocs uses it: unset variables stay as they are written.
//!
//! The escape character is `\` here, whatever the file's directive says: so does BuildKit.

use super::Empty;
use super::lex::{self, Mode, Quotes};

/// The words of `line` with quotes and escapes kept; none at all if the line is not well formed.
pub(crate) fn shell_words(line: &str) -> Vec<String> {
    let mode = Mode { quotes: Quotes::Kept, raw_escapes: true, keep_unset: true, split: true, ..Mode::default() };
    lex::run(line, mode, &Empty).map(|lexed| lexed.words).unwrap_or_default()
}

/// `text` as the one word that a heredoc is named by: without its quotes, and with them.
pub(crate) fn name(text: &str) -> Option<(String, String)> {
    let one = |quotes| {
        let mode = Mode { quotes, keep_unset: true, split: true, ..Mode::default() };
        let words = lex::run(text, mode, &Empty).ok()?.words;
        <[String; 1]>::try_from(words).ok().map(|[word]| word)
    };
    Some((one(Quotes::Removed)?, one(Quotes::Kept)?))
}
