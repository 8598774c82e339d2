//! What stands behind the name of a stage in FROM: `FOR NAME IN VALUE …` and `EXCEPT NAME=VALUE …`.
//!
//! Here the words become axes and exceptions. Values are not expanded yet, so which branches there are, and whether an
//! exception means one of them, is decided where the arguments are known.

use crate::ast::{Axis, Exception, Word};
use crate::diagnostic::Diagnostic;
use crate::key::is_name;
use crate::span::{Span, Spanned};
use nom::Parser;
use nom::bytes::complete::{tag, take_until};
use nom::combinator::rest;
use nom::sequence::{separated_pair, terminated};

/// The axes and exceptions of a FROM.
#[derive(Default)]
pub(super) struct Matrix {
    pub axes: Vec<Axis>,
    pub exceptions: Vec<Exception>,
}

/// Where the words of a FROM cease to be those that every Dockerfile has: its first FOR or EXCEPT behind the image, or
/// behind the stage's name.
pub(super) fn begin(words: &[Word]) -> usize {
    let has_name = words.get(1).is_some_and(|word| is(word, "as"));
    let skipped = if has_name { 3 } else { 1 };
    let found = words.iter().skip(skipped).position(begins_clause);
    found.map_or(words.len(), |at| at + skipped)
}

fn is(word: &Word, keyword: &str) -> bool {
    word.value.eq_ignore_ascii_case(keyword)
}

fn begins_clause(word: &Word) -> bool {
    is(word, "for") || is(word, "except")
}

/// Reads the words from the first FOR or EXCEPT on; `None` where they are wrong, which is told.
pub(super) fn read(words: &[Word], out: &mut Vec<Diagnostic>) -> Option<Matrix> {
    let mut matrix = Matrix::default();
    let errors = out.len();
    let mut left = words;
    while let [keyword, behind @ ..] = left {
        let length = behind.iter().position(begins_clause).unwrap_or(behind.len());
        let (clause, next) = behind.split_at(length);
        left = next;
        let result = match is(keyword, "for") {
            true => axis(keyword, clause, &matrix.axes).map(|axis| matrix.axes.push(axis)),
            false => exception(keyword, clause, &matrix.axes).map(|one| matrix.exceptions.push(one)),
        };
        out.extend(result.err().map(|error| *error));
    }
    (out.len() == errors).then_some(matrix)
}

/// `NAME IN VALUE …`
fn axis(keyword: &Word, words: &[Word], known: &[Axis]) -> Result<Axis, Box<Diagnostic>> {
    let error = |span, message: String| Diagnostic::error("InvalidMatrix", span, message);
    const FORM: &str = "write FOR NAME IN value value …";
    let [name, rest @ ..] = words else {
        return Err(Box::new(error(keyword.span, "FOR needs a variable and its values".to_owned()).with_help(FORM)));
    };
    if !is_name(&name.value) {
        let message = format!("{:?} is no name of a variable", name.value);
        return Err(Box::new(
            error(name.span, message).with_help("a name is a letter or _, then letters, digits and _"),
        ));
    }
    if let Some(other) = known.iter().find(|other| other.name.value == name.value) {
        let message = format!("FOR {} stands here twice", name.value);
        let finding = error(name.span, message).with_related(other.name.span, "first here");
        return Err(Box::new(
            finding.with_help("write all its values behind one IN, or give one of them another name"),
        ));
    }
    match rest {
        [word, values @ ..] if is(word, "in") => match values {
            [] => {
                let message = format!("FOR {} IN has no values", name.value);
                Err(Box::new(error(word.span, message).with_help(FORM)))
            }
            values => Ok(Axis { name: name.clone(), values: values.to_vec() }),
        },
        rest => {
            let place = rest.first().unwrap_or(name).span;
            let message = format!("IN is missing behind FOR {}", name.value);
            Err(Box::new(error(place, message).with_help(FORM)))
        }
    }
}

/// `NAME=VALUE …`
fn exception(keyword: &Word, words: &[Word], axes: &[Axis]) -> Result<Exception, Box<Diagnostic>> {
    let error = |span, message: String| Box::new(Diagnostic::error("InvalidMatrix", span, message).with_help(FORM));
    const FORM: &str = "write EXCEPT NAME=value …, with the variables of the FOR before it";
    let mut pairs: Vec<(Word, Word)> = Vec::with_capacity(words.len());
    for word in words {
        let mut pair = separated_pair(terminated(take_until("="), nom::combinator::peek(tag("="))), tag("="), rest);
        let parsed: nom::IResult<&str, (&str, &str)> = pair.parse(&word.value);
        let Ok((_, (name, value))) = parsed else {
            return Err(error(word.span, format!("{:?} is no NAME=value", word.value)));
        };
        if !axes.iter().any(|axis| axis.name.value == name) {
            return Err(error(word.span, format!("no FOR before this has the variable {name:?}")));
        }
        if pairs.iter().any(|(other, _)| other.value == name) {
            return Err(error(word.span, format!("a branch has one value of {name}; write EXCEPT once for each")));
        }
        let middle = word.span.start as usize + name.len();
        pairs.push((
            Spanned::new(name.to_owned(), Span::new(word.span.start as usize, middle)),
            Spanned::new(value.to_owned(), Span::new(middle + 1, word.span.end as usize)),
        ));
    }
    let [first, ..] = words else {
        return Err(error(keyword.span, "EXCEPT says nothing".to_owned()));
    };
    let span = Span { start: first.span.start, end: words.last().unwrap_or(first).span.end };
    Ok(Exception { pairs, span })
}
