//! Text to an [`Expr`], with nom.
//!
//! Reads the longest expression at the start of a text, so that a flag's value needs no quotes. A call's parenthesis
//! stands right behind its word; that is what ends `--key=default (cd x && make)` where it should. One error is told:
//! the first; what follows it in the same expression cannot be trusted.

use super::ast::{Expr, Factor, Normaliser, Sign, Term};
use super::atoms::{self, Arg, OPTIONAL, Shape};
use crate::diagnostic::Diagnostic;
use crate::fault::{Fault, Read};
use crate::span::{Span, Spanned};
use crate::suggest;
use nom::Parser;
use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{anychar, char, none_of};
use nom::combinator::{map, not, opt, peek, recognize, value};
use nom::multi::fold_many0;
use nom::sequence::{delimited, pair, preceded, terminated};

/// Parentheses inside each other; more are no slip of the pen, and every one costs call stack.
const MAX_DEPTH: usize = 64;

/// Where a range of bytes of the read text stands in the source.
pub type Locate<'a> = &'a dyn Fn(usize, usize) -> Span;

/// An expression and where it ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// The expression.
    pub expr: Expr,
    /// The number of bytes read, blanks behind it not included.
    pub length: usize,
}

/// Reads the whole of `text`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(text: &str, locate: Locate<'_>) -> Result<Expr, Box<Diagnostic>> {
    let parsed = parse_prefix(text, locate)?;
    let rest = text[parsed.length..].trim_start_matches(is_blank);
    if rest.is_empty() {
        return Ok(parsed.expr);
    }
    let reader = Reader { text, locate };
    Err(reader.stray(rest))
}

/// Reads the longest expression at the start of `text`.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse_prefix(text: &str, locate: Locate<'_>) -> Result<Parsed, Box<Diagnostic>> {
    let reader = Reader { text, locate };
    match reader.expr(text, 0) {
        Ok((rest, expr)) => Ok(Parsed { expr, length: text.len() - rest.len() }),
        Err(nom::Err::Error(Fault::Wrong(diagnostic)) | nom::Err::Failure(Fault::Wrong(diagnostic))) => Err(diagnostic),
        Err(_) => Err(reader.expected(text)),
    }
}

/// Whether `text` can be bound by `KEY` or be the name of a variable: a letter or `_`, then letters, digits, `_`.
pub fn is_name(text: &str) -> bool {
    matches!(word(text), Ok(("", _)))
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r' | '\n')
}

fn blanks(text: &str) -> Read<'_, &str> {
    take_while(is_blank).parse(text)
}

fn word(text: &str) -> Read<'_, &str> {
    recognize(pair(
        take_while1(|c: char| c.is_ascii_alphabetic() || c == '_'),
        take_while(|c: char| c.is_ascii_alphanumeric() || c == '_'),
    ))
    .parse(text)
}

/// `+`, or a `-` that does not begin a flag.
fn sign(text: &str) -> Read<'_, Sign> {
    let minus = terminated(char('-'), peek(not(char('-'))));
    delimited(blanks, alt((value(Sign::Plus, char('+')), value(Sign::Minus, minus))), blanks).parse(text)
}

/// A text in double quotes; `\"` and `\\` are the characters themselves, any other `\` stays, for the sake of regular
/// expressions.
fn quoted(text: &str) -> Read<'_, String> {
    let escaped = alt((value('"', tag("\\\"")), value('\\', tag("\\\\"))));
    let piece = alt((map(escaped, |c| c), none_of("\"")));
    delimited(
        char('"'),
        fold_many0(piece, String::new, |mut text, c| {
            text.push(c);
            text
        }),
        char('"'),
    )
    .parse(text)
}

/// An argument without quotes: up to a comma, a parenthesis or a blank.
fn unquoted(text: &str) -> Read<'_, &str> {
    take_while1(|c: char| !is_blank(c) && !matches!(c, ',' | '(' | ')' | '"' | '+' | '|')).parse(text)
}

struct Reader<'a> {
    text: &'a str,
    locate: Locate<'a>,
}

impl<'a> Reader<'a> {
    fn offset(&self, rest: &str) -> usize {
        self.text.len() - rest.len()
    }

    /// The place from `from` up to `to`, both rests of the text.
    fn span(&self, from: &str, to: &str) -> Span {
        (self.locate)(self.offset(from), self.offset(to))
    }

    /// The place of the next word or character.
    fn here(&self, rest: &str) -> Span {
        let length = match word(rest) {
            Ok((_, word)) => word.len(),
            Err(_) => rest.chars().next().map_or(0, char::len_utf8),
        };
        (self.locate)(self.offset(rest), self.offset(rest) + length)
    }

    fn wrong<T>(diagnostic: Diagnostic) -> Read<'a, T> {
        Err(nom::Err::Failure(Fault::Wrong(Box::new(diagnostic))))
    }

    /// What should stand at `rest` and does not: a term.
    fn expected(&self, rest: &str) -> Box<Diagnostic> {
        let rest = rest.trim_start_matches(is_blank);
        let message = match rest.chars().next() {
            None => "a key expression is missing here".to_owned(),
            Some('"') => "a text alone is no key: it needs the word of an atom before it".to_owned(),
            Some(c) => format!("a key expression cannot begin with {c:?}"),
        };
        let help = "for example: json(\"package.json\", \".dependencies\") + files(\"yarn.lock\")";
        Box::new(Diagnostic::error("InvalidKey", self.here(rest), message).with_help(help))
    }

    /// What stands behind a whole expression and is no part of it.
    fn stray(&self, rest: &str) -> Box<Diagnostic> {
        let error = |message: &str| Diagnostic::error("InvalidKey", self.here(rest), message);
        Box::new(match rest.chars().next() {
            Some(')') => error("there is no ( for this )"),
            Some('(') => error("a ( stands right behind the word that it belongs to, without a blank"),
            Some(',') => error("a comma parts the arguments of an atom; atoms are joined with +").with_help("write +"),
            Some('&') => error("atoms are joined with +").with_help("write +"),
            _ => error("two terms stand side by side").with_help("join them with +"),
        })
    }

    /// `term (sign term)*`
    fn expr(&self, input: &'a str, depth: usize) -> Read<'a, Expr> {
        let (start, _) = blanks(input)?;
        let (mut rest, first) = self.term(start, depth)?;
        let mut terms = vec![(Sign::Plus, first)];
        while let Ok((behind, sign)) = sign(rest) {
            let (next, term) = match self.term(behind, depth) {
                Err(nom::Err::Error(_)) => {
                    let shown = self.here(behind);
                    let message = "a term is missing behind the sign";
                    return Self::wrong(Diagnostic::error("InvalidKey", shown, message));
                }
                other => other?,
            };
            terms.push((sign, term));
            rest = next;
        }
        let span = self.span(start, rest);
        Ok((rest, Expr { terms, span }))
    }

    /// `factor ("|" normaliser)*`
    fn term(&self, input: &'a str, depth: usize) -> Read<'a, Term> {
        let (mut rest, factor) = self.factor(input, depth)?;
        let mut normalisers: Vec<Spanned<Normaliser>> = Vec::new();
        // Two bars are the shell's, behind a flag.
        let mut bar = delimited(blanks, terminated(char('|'), peek(not(char('|')))), blanks);
        while let Ok((behind, _)) = bar.parse(rest) as Read<'a, char> {
            let (next, normaliser) = self.normaliser(behind, &factor, &normalisers)?;
            normalisers.push(normaliser);
            rest = next;
        }
        Ok((rest, Term { factor, normalisers, span: self.span(input, rest) }))
    }

    fn normaliser(
        &self,
        input: &'a str,
        factor: &Factor,
        before: &[Spanned<Normaliser>],
    ) -> Read<'a, Spanned<Normaliser>> {
        let names: Vec<&str> = Normaliser::ALL.iter().map(|one| one.word()).collect();
        let (rest, found) = opt(word).parse(input)?;
        let span = self.here(input);
        let Some(normaliser) = Normaliser::ALL.into_iter().find(|one| Some(one.word()) == found) else {
            let (message, near) = match found {
                Some(word) => (format!("there is no normaliser {word}"), suggest::nearest(word, names.iter().copied())),
                None => ("a normaliser is missing behind the bar".to_owned(), None),
            };
            let help = match near {
                Some(near) => format!("did you mean {near}?"),
                None => format!("the normalisers are {}", names.join(", ")),
            };
            return Self::wrong(Diagnostic::error("UnknownNormaliser", span, message).with_help(help));
        };
        let word = normaliser.word();
        let Factor::Atom(atom) = factor else {
            let message = "a normaliser belongs to one atom";
            let help = format!("write | {word} behind each atom that it is meant for");
            return Self::wrong(Diagnostic::error("InvalidNormaliser", span, message).with_help(help));
        };
        if !atom.takes(normaliser) {
            let message = format!("{word} says nothing about {}", atom.word());
            let taken: Vec<&str> =
                Normaliser::ALL.iter().filter(|one| atom.takes(**one)).map(|one| one.word()).collect();
            let help = match taken.is_empty() {
                true => format!("{} takes no normalisers", atom.word()),
                false => format!("{} takes {}", atom.word(), taken.join(", ")),
            };
            return Self::wrong(Diagnostic::error("InvalidNormaliser", span, message).with_help(help));
        }
        if let Some(first) = before.iter().find(|one| one.value == normaliser) {
            let error = Diagnostic::error("InvalidNormaliser", span, format!("{word} is written twice"));
            return Self::wrong(error.with_related(first.span, "first written here"));
        }
        Ok((rest, Spanned::new(normaliser, span)))
    }

    /// `atom | name | (expr) | optional(expr)`
    fn factor(&self, input: &'a str, depth: usize) -> Read<'a, Factor> {
        if let Some(inner) = input.strip_prefix('(') {
            let (rest, expr) = self.inside(input, inner, depth)?;
            return Ok((rest, Factor::Group(Box::new(expr))));
        }
        let (rest, word) = word(input)?;
        let span = self.span(input, rest);
        let open = rest.strip_prefix('(');
        if word == OPTIONAL {
            let Some(inner) = open else {
                let error = Diagnostic::error("InvalidKey", span, "optional stands around what need not be there");
                return Self::wrong(error.with_help("for example: optional(files(\"yarn.lock\"))"));
            };
            let (rest, expr) = self.inside(rest, inner, depth)?;
            return Ok((rest, Factor::Optional(Box::new(expr))));
        }
        match (atoms::shape(word), open) {
            (Some(Shape::Call(_)), Some(inner)) => {
                let (rest, args) = self.args(rest, inner)?;
                match atoms::call(word, args, self.span(input, rest)) {
                    Ok(atom) => Ok((rest, Factor::Atom(atom))),
                    Err(diagnostic) => Err(nom::Err::Failure(Fault::Wrong(diagnostic))),
                }
            }
            (Some(Shape::Call(example)), None) => {
                let error = Diagnostic::error("InvalidKey", span, format!("{word} needs arguments right behind it"));
                Self::wrong(error.with_help(format!("for example: {example}")))
            }
            (Some(Shape::Bare), Some(_)) => {
                let error = Diagnostic::error("InvalidKey", span, format!("{word} takes no arguments"));
                Self::wrong(error.with_help(format!("write {word} alone")))
            }
            (Some(Shape::Bare), None) => match atoms::bare(word) {
                Some(atom) => Ok((rest, Factor::Atom(atom))),
                None => Err(nom::Err::Error(Fault::Elsewhere)),
            },
            (None, Some(_)) => {
                let error = Diagnostic::error("UnknownKeyAtom", span, format!("there is no atom {word}"));
                Self::wrong(match suggest::nearest(word, atoms::words()) {
                    Some(near) => error.with_help(format!("did you mean {near}?")),
                    None => error.with_help(format!("the atoms are {}", atoms::words().collect::<Vec<_>>().join(", "))),
                })
            }
            (None, None) => Ok((rest, Factor::Name(word.to_owned()))),
        }
    }

    /// `expr)`, the `(` before it being at `open`.
    fn inside(&self, open: &'a str, inner: &'a str, depth: usize) -> Read<'a, Expr> {
        let paren = self.here(open);
        if depth == MAX_DEPTH {
            let message = format!("more than {MAX_DEPTH} parentheses inside each other");
            return Self::wrong(Diagnostic::error("InvalidKey", paren, message));
        }
        let (rest, expr) = match self.expr(inner, depth + 1) {
            Err(nom::Err::Error(_)) => return Err(nom::Err::Failure(Fault::Wrong(self.expected(inner)))),
            other => other?,
        };
        let (rest, _) = blanks(rest)?;
        match rest.strip_prefix(')') {
            Some(rest) => Ok((rest, expr)),
            None if rest.is_empty() => Self::wrong(Diagnostic::error("InvalidKey", paren, "there is no ) for this (")),
            None => Err(nom::Err::Failure(Fault::Wrong(self.stray(rest)))),
        }
    }

    /// `arg, …)`, the `(` before it being at `open`.
    fn args(&self, open: &'a str, inner: &'a str) -> Read<'a, Vec<Arg>> {
        let mut args = Vec::new();
        let (mut rest, _) = blanks(inner)?;
        if let Some(rest) = rest.strip_prefix(')') {
            return Ok((rest, args));
        }
        loop {
            let start = rest;
            let (behind, arg) = match opt(quoted).parse(start)? {
                (behind, Some(text)) => (behind, (text, true)),
                (_, None) => match opt(unquoted).parse(start)? {
                    (behind, Some(text)) => (behind, (text.to_owned(), false)),
                    (_, None) => return Self::wrong(self.no_argument(open, start)),
                },
            };
            args.push(Arg { text: arg.0, quoted: arg.1, span: self.span(start, behind) });
            let (behind, next) = preceded(blanks, opt(anychar)).parse(behind)?;
            match next {
                Some(')') => return Ok((behind, args)),
                Some(',') => rest = blanks(behind)?.0,
                Some(c) => {
                    let at = &start[start.len() - behind.len() - c.len_utf8()..];
                    let message = "arguments are parted by commas";
                    return Self::wrong(
                        Diagnostic::error("InvalidKey", self.here(at), message).with_help("write a comma"),
                    );
                }
                None => {
                    let paren = self.here(open);
                    return Self::wrong(Diagnostic::error("InvalidKey", paren, "there is no ) for this ("));
                }
            }
        }
    }

    fn no_argument(&self, open: &str, at: &str) -> Diagnostic {
        let wrong = |span, message| Diagnostic::error("InvalidKey", span, message);
        match at.chars().next() {
            None => wrong(self.here(open), "there is no ) for this ("),
            Some('"') => wrong(self.here(at), "the text that begins here has no second quote"),
            Some('(') => wrong(self.here(at), "an argument is a text in double quotes or a name, no expression"),
            Some(_) => {
                wrong(self.here(at), "an argument is missing here").with_help("remove the comma, or write the argument")
            }
        }
    }
}
