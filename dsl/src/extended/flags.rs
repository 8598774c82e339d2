//! The flags that the extended language adds to plain instructions: `--key=EXPR`.
//!
//! A value reaches as far as the longest key expression, so it needs no quotes. Knows nothing of which instruction
//! the flags are for.

use super::Line;
use crate::diagnostic::Diagnostic;
use crate::key::{self, Expr};
use crate::span::{Span, Spanned};
use crate::suggest;

const KEY: &str = "--key=";

/// The flags of one instruction.
#[derive(Default)]
pub(crate) struct Flags {
    /// `--key`; `None` in it where its expression is wrong, which was told.
    pub key: Option<Spanned<Option<Expr>>>,
}

/// The length of the extended flag at the start of `text`; `None` if there is none. Where its value is wrong, the
/// flag ends with its word.
pub(crate) fn length(text: &str) -> Option<usize> {
    let value = text.strip_prefix(KEY)?;
    let nowhere = |_, _| Span::default();
    Some(match key::parse_prefix(value, &nowhere) {
        Ok(parsed) => KEY.len() + parsed.length,
        Err(_) => text.find(char::is_whitespace).unwrap_or(text.len()),
    })
}

impl Flags {
    /// Reads a line of nothing but flags.
    pub fn read(&mut self, line: &Line, out: &mut Vec<Diagnostic>) {
        let mut at = 0;
        loop {
            let rest = &line.text[at..];
            at += rest.len() - rest.trim_start().len();
            if at == line.text.len() {
                return;
            }
            match self.one(line, at) {
                Ok(end) => at = end,
                Err(diagnostic) => {
                    out.push(*diagnostic);
                    return;
                }
            }
        }
    }

    /// Reads the flag at `at`; gives its end.
    fn one(&mut self, line: &Line, at: usize) -> Result<usize, Box<Diagnostic>> {
        let text = &line.text[at..];
        let word = text.split_whitespace().next().unwrap_or_default();
        let span = |length: usize| line.place(at, at + length);
        let Some(value) = text.strip_prefix(KEY) else {
            let bare = word.split('=').next().unwrap_or_default();
            let error = |code, message: String| Diagnostic::error(code, span(word.len()), message);
            return Err(Box::new(match bare.strip_prefix("--") {
                Some("key") => error("MissingFlagValue", "missing a value on flag: --key".to_owned())
                    .with_help("write --key=NAME, or --key= and a key expression"),
                Some(name) => error("UnknownFlag", format!("unknown flag: {bare}")).with_help(
                    match suggest::nearest(name, ["key"]) {
                        Some(near) => format!("did you mean --{near}?"),
                        None => "behind # kiln: stands --key=…; write other flags on the instruction itself".to_owned(),
                    },
                ),
                None => error("InvalidKey", format!("{word:?} is no flag"))
                    .with_help("parts of a key are joined with +, and flags begin with --"),
            }));
        };
        let shift = at + KEY.len();
        let parsed = key::parse_prefix(value, &|from, to| line.place(shift + from, shift + to));
        let (expr, length, wrong) = match parsed {
            Ok(parsed) => (Some(parsed.expr), KEY.len() + parsed.length, None),
            Err(diagnostic) => (None, word.len(), Some(diagnostic)),
        };
        if let Some(first) = &self.key {
            let error = Diagnostic::error("DuplicateFlag", span(length), "duplicate flag specified: --key");
            return Err(Box::new(
                error.with_related(first.span, "first written here").with_help("join the keys with +"),
            ));
        }
        self.key = Some(Spanned::new(expr, span(length)));
        match wrong {
            Some(diagnostic) => Err(diagnostic),
            None => Ok(at + length),
        }
    }
}
