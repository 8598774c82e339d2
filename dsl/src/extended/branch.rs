//! `IF … ELSE IF … ELSE … END`: alternatives among instructions and whole stages.
//!
//! Here the lines are read and paired. Which branch is taken is decided where the build arguments are known. Knows
//! nothing of the instructions in between: a mark says only before which of them it stands.

use super::condition::Condition;
use super::{Keyword, Line};
use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// A line that begins, parts or ends alternatives.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mark {
    /// It stands before the instruction with this index, or behind the last one.
    pub at: usize,
    /// What it is.
    pub kind: MarkKind,
    /// The line.
    pub span: Span,
}

/// What a mark is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MarkKind {
    /// `IF condition`
    If(Condition),
    /// `ELSE IF condition`
    ElseIf(Condition),
    /// `ELSE`
    Else,
    /// `END`
    End,
}

/// Reads a line whose arguments begin at `start`; one that is wrong is told, and then stands for a condition that could
/// be read, so that the lines still pair up.
pub(crate) fn read(line: &Line, keyword: Keyword, start: usize, at: usize, out: &mut Vec<Diagnostic>) -> Mark {
    let rest = &line.text[start..];
    let begin = line.text.len() - rest.trim_start().len();
    let mark = |kind| Mark { at, kind, span: line.span };
    let mut condition =
        |begin: usize| match Condition::parse(&line.text[begin..], &|from, to| line.place(begin + from, begin + to)) {
            Ok(condition) => condition,
            Err(diagnostic) => {
                out.push(*diagnostic);
                Condition::All(Vec::new())
            }
        };
    match keyword {
        Keyword::If => mark(MarkKind::If(condition(begin))),
        Keyword::Else => {
            let word = line.text[begin..].split_whitespace().next().unwrap_or_default();
            if word.eq_ignore_ascii_case(Keyword::If.name()) {
                return mark(MarkKind::ElseIf(condition(begin + word.len())));
            }
            extra(line, begin, "ELSE", "write ELSE IF for another condition", out);
            mark(MarkKind::Else)
        }
        _ => {
            extra(line, begin, "END", "write END alone", out);
            mark(MarkKind::End)
        }
    }
}

fn extra(line: &Line, begin: usize, name: &str, help: &str, out: &mut Vec<Diagnostic>) {
    let text = line.text[begin..].trim_end();
    if !text.is_empty() {
        let span = line.place(begin, begin + text.len());
        let message = format!("{name} takes no arguments");
        out.push(Diagnostic::error("WrongArgumentCount", span, message).with_help(help));
    }
}

/// Tells which lines have no partner. Without any such line, marks nest as they should.
pub(crate) fn check(marks: &[Mark], out: &mut Vec<Diagnostic>) {
    // For each open IF: its place, and that of its ELSE.
    let mut open: Vec<(Span, Option<Span>)> = Vec::new();
    let error = |span, message: &str| Diagnostic::error("UnbalancedBranch", span, message);
    for mark in marks {
        match (&mark.kind, open.last_mut()) {
            (MarkKind::If(_), _) => open.push((mark.span, None)),
            (_, None) => {
                let word = match mark.kind {
                    MarkKind::End => "END",
                    _ => "ELSE",
                };
                out.push(error(mark.span, &format!("there is no IF for this {word}")).with_help("remove it"));
            }
            (MarkKind::End, Some(_)) => {
                open.pop();
            }
            (_, Some((_, Some(first)))) => {
                let finding = error(mark.span, "this stands behind the ELSE of its IF");
                out.push(finding.with_related(*first, "the ELSE").with_help("ELSE comes last, and once"));
            }
            (MarkKind::Else, Some((_, slot))) => *slot = Some(mark.span),
            (MarkKind::ElseIf(_), Some(_)) => {}
        }
    }
    for (span, _) in open {
        out.push(error(span, "there is no END for this IF").with_help("write END behind its last instruction"));
    }
}
