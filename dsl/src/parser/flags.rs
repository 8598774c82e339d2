//! The flags of one instruction, checked against those it knows.
//!
//! Knows nothing of what a flag's value means.

use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::keyword::Keyword;
use crate::span::{Span, Spanned};
use crate::suggest;

/// What a flag takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// `--x`, `--x=true`, `--x=false`.
    Bool,
    /// `--x=value`, once.
    One,
    /// `--x=value`, any number of times.
    Many,
}

/// A flag that an instruction knows.
pub(super) type Spec = (&'static str, Takes);

/// The flags that were written.
#[derive(Default)]
pub(super) struct Flags {
    values: Vec<(&'static str, Word)>,
}

impl Flags {
    /// The value of a flag that stands once; an empty one counts as not written.
    pub fn one(&mut self, name: &str) -> Option<Word> {
        self.written(name).filter(|word| !word.value.is_empty())
    }

    /// The same where an empty value is a value too.
    pub fn written(&mut self, name: &str) -> Option<Word> {
        let at = self.values.iter().position(|(known, _)| *known == name)?;
        Some(self.values.swap_remove(at).1)
    }

    /// The values of a repeatable flag, in their order.
    pub fn many(&self, name: &str) -> Vec<Word> {
        self.values.iter().filter(|(known, _)| *known == name).map(|(_, word)| word.clone()).collect()
    }

    /// The value of a Boolean flag, if it is written.
    pub fn boolean(&self, name: &str) -> Option<bool> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, word)| word.value == "true")
    }
}

/// Reads `written` as flags of `keyword`; `None` if one is wrong.
pub(super) fn read(written: &[Word], keyword: Keyword, known: &[Spec], out: &mut Vec<Diagnostic>) -> Option<Flags> {
    let mut flags = Flags::default();
    let mut sound = true;
    for flag in written {
        match one(flag, keyword, known, &flags) {
            Ok(pair) => flags.values.push(pair),
            Err(error) => {
                out.push(*error);
                sound = false;
            }
        }
    }
    sound.then_some(flags)
}

fn one(flag: &Word, keyword: Keyword, known: &[Spec], before: &Flags) -> Result<(&'static str, Word), Box<Diagnostic>> {
    let fail = |code, message: String| Box::new(Diagnostic::error(code, flag.span, message));
    let (written, value) = match flag.value.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag.value.as_str(), None),
    };
    let bare = written.strip_prefix("--").unwrap_or(written);
    let Some(&(name, takes)) = known.iter().find(|(name, _)| *name == bare) else {
        let error = fail("UnknownFlag", format!("unknown flag: {written}"));
        let help = match suggest::nearest(bare, known.iter().map(|spec| spec.0)) {
            Some(nearest) => format!("did you mean --{nearest}?"),
            None if bare == "key" => "write it above the instruction, behind `# kiln:`".to_owned(),
            None if known.is_empty() => format!("{keyword} takes no flags"),
            None => {
                let names: Vec<String> = known.iter().map(|spec| format!("--{}", spec.0)).collect();
                format!("{keyword} takes {}", names.join(", "))
            }
        };
        return Err(Box::new(error.with_help(help)));
    };
    if takes != Takes::Many
        && let Some((_, first)) = before.values.iter().find(|(other, _)| *other == name)
    {
        let error = fail("DuplicateFlag", format!("duplicate flag specified: {written}"));
        return Err(Box::new(error.with_related(first.span, "first written here")));
    }
    let missing = || fail("MissingFlagValue", format!("missing a value on flag: {written}"));
    let value = match (takes, value) {
        (Takes::Bool, None) => "true".to_owned(),
        (Takes::Bool, Some("")) | (Takes::One | Takes::Many, None) => return Err(missing()),
        (Takes::Bool, Some(value)) => match value.to_ascii_lowercase() {
            lower if lower == "true" || lower == "false" => lower,
            _ => {
                let message = format!("expecting boolean value for flag {written}, not: {value}");
                return Err(fail("InvalidFlagValue", message));
            }
        },
        (Takes::One | Takes::Many, Some(value)) => value.to_owned(),
    };
    // Where quotes or escapes were removed, only the flag as a whole has a place.
    let verbatim = (flag.span.end - flag.span.start) as usize == flag.value.len();
    let span = if verbatim {
        Span::new(flag.span.end as usize - value.len().min(flag.value.len()), flag.span.end as usize)
    } else {
        flag.span
    };
    Ok((name, Spanned::new(value, span)))
}
