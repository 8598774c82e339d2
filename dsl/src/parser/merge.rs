//! What FROM may say of more than one stage: `FROM a + b + c` and `ON CONFLICT LAST`.
//!
//! Takes these words out, so that the rest reads as every FROM does. Whether the names are stages is the plan's question.

use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use std::borrow::Cow;

/// The words of a FROM, parted.
pub(super) struct Merge<'w> {
    /// Those that every FROM has: the first stage, its name, a matrix.
    pub rest: Cow<'w, [Word]>,
    /// The stages behind `+`.
    pub merged: Vec<Word>,
    /// Whether `ON CONFLICT LAST` stands there.
    pub last_wins: bool,
    /// The first word that only the extended language has.
    pub mark: Option<&'w Word>,
}

const FORM: &str = "write FROM stage + stage AS name, and ON CONFLICT LAST behind it if the last one is to win";

fn is(word: Option<&Word>, keyword: &str) -> bool {
    word.is_some_and(|word| word.value.eq_ignore_ascii_case(keyword))
}

/// Parts the words; `None` where they are wrong, which is told.
pub(super) fn take<'w>(words: &'w [Word], out: &mut Vec<Diagnostic>) -> Option<Merge<'w>> {
    let conflict = words.iter().zip(words.iter().skip(1));
    let conflict =
        conflict.enumerate().skip(1).find(|(_, (on, word))| is(Some(on), "on") && is(Some(word), "conflict"));
    let conflict = conflict.map(|(at, _)| at);
    if !is(words.get(1), "+") && conflict.is_none() {
        return Some(Merge { rest: Cow::Borrowed(words), merged: Vec::new(), last_wins: false, mark: None });
    }
    let error =
        |word: &Word, message: &str| Diagnostic::error("InvalidMerge", word.span, message.to_owned()).with_help(FORM);
    let mut merged = Vec::new();
    let mut at = 1;
    while is(words.get(at), "+") {
        match words.get(at + 1) {
            Some(stage) if stage.value != "+" && !is(Some(stage), "as") => merged.push(stage.clone()),
            _ => {
                out.push(error(&words[at], "no stage stands behind this +"));
                return None;
            }
        }
        at += 2;
    }
    let mut rest = vec![words[0].clone()];
    match conflict {
        None => rest.extend_from_slice(&words[at..]),
        Some(on) if merged.is_empty() || on < at => {
            out.push(error(&words[on], "ON CONFLICT is for stages that are merged"));
            return None;
        }
        Some(on) if !is(words.get(on + 2), "last") => {
            out.push(error(words.get(on + 2).unwrap_or(&words[on]), "ON CONFLICT is followed by LAST"));
            return None;
        }
        Some(on) => {
            rest.extend_from_slice(&words[at..on]);
            rest.extend_from_slice(&words[on + 3..]);
        }
    }
    let mark = words.get(1).filter(|_| !merged.is_empty());
    Some(Merge { rest: Cow::Owned(rest), merged, last_wins: conflict.is_some(), mark })
}
