//! One pattern of an ignore file to the way it is compared.
//!
//! The choice among the kinds is part of the language: a leading `**` with nothing else special is a plain suffix, so
//! `**x` matches `ax`, and a trailing one a plain prefix, so `a/**` matches all below `a` but not `a`.

use super::Kind;
use crate::nfa::{Class, Token};
use crate::pattern::{self, Pattern, PatternError};
use std::borrow::Cow;

/// Why a pattern cannot be compiled.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum CompileError {
    /// `filepath.Match` refuses it.
    #[error(transparent)]
    Pattern(#[from] PatternError),
    /// An escape to which regular expressions give a meaning that file names have no use for, or none at all.
    #[error("\\{0} has no meaning here; only characters that are special need a \\")]
    Escape(char),
    /// A named class.
    #[error("classes by name, like [:alpha:], are not supported; write the ranges")]
    NamedClass,
}

/// Compiles a cleaned pattern without its `!`.
pub(super) fn kind(pattern: &str) -> Result<Kind, CompileError> {
    // Checks the whole pattern as Docker does, whatever kind it turns out to be.
    Pattern::parse(pattern)?;
    let mut tokens = Vec::new();
    // Whether anything special was met behind a leading `**`.
    let mut special = false;
    let leading = pattern.starts_with("**");
    let mut rest = pattern.chars();
    while let Some(c) = rest.next() {
        let before = tokens.len();
        match c {
            '*' if rest.as_str().starts_with('*') => {
                rest.next();
                // `**/` is one mark.
                if rest.as_str().starts_with('/') {
                    rest.next();
                }
                let at_start = before == 0;
                if !rest.as_str().is_empty() {
                    tokens.extend([Token::Directories, Token::Within]);
                    special |= !at_start;
                } else if at_start {
                    return Ok(Kind::Suffix(pattern[2..].to_owned()));
                } else if !special && !leading {
                    return Ok(Kind::Prefix(pattern[..pattern.len() - 2].to_owned()));
                } else {
                    tokens.push(Token::ManyBut('\n'));
                    special = true;
                }
                continue;
            }
            '*' => tokens.push(Token::ManyBut('/')),
            '?' => tokens.push(Token::AnyBut('/')),
            '[' => {
                if named_class(rest.as_str()) {
                    return Err(CompileError::NamedClass);
                }
                tokens.push(Token::Class(pattern::class(&mut rest, true)?));
            }
            ']' => {
                tokens.push(Token::Char(']'));
                special = true;
            }
            '\\' => {
                tokens.push(escape(rest.next().ok_or(PatternError::Escape)?)?);
                special = true;
            }
            '^' => tokens.push(Token::Start),
            c => tokens.push(Token::Char(c)),
        }
        special |= !matches!(tokens[before], Token::Char(_) | Token::Start);
    }
    Ok(match (special, leading) {
        (true, _) => {
            let prefix = plain(tokens.iter());
            let suffix = plain(tokens.iter().rev()).chars().rev().collect();
            Kind::Tokens { tokens, prefix, suffix }
        }
        (false, true) => Kind::Suffix(pattern[2..].to_owned()),
        (false, false) => Kind::Exact(pattern.to_owned()),
    })
}

/// The plain characters up to the first token that is none.
fn plain<'t>(tokens: impl Iterator<Item = &'t Token>) -> String {
    let character = |token: &Token| if let Token::Char(c) = token { Some(*c) } else { None };
    tokens.map_while(character).collect()
}

/// Whether a class whose inside begins `inside` has a `[:name:]` in it.
fn named_class(inside: &str) -> bool {
    inside.split_once(']').is_some_and(|(class, _)| class.contains("[:"))
}

/// What Docker's translation to regular expressions makes of an escaped character.
fn escape(c: char) -> Result<Token, CompileError> {
    let class = |negated, ranges: &[(char, char)]| Token::Class(Class { negated, ranges: ranges.to_vec(), but: None });
    const DIGITS: &[(char, char)] = &[('0', '9')];
    const WORD: &[(char, char)] = &[('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')];
    const SPACE: &[(char, char)] = &[('\t', '\n'), ('\x0c', '\r'), (' ', ' ')];
    Ok(match c {
        'd' => class(false, DIGITS),
        'D' => class(true, DIGITS),
        'w' => class(false, WORD),
        'W' => class(true, WORD),
        's' => class(false, SPACE),
        'S' => class(true, SPACE),
        'a' => Token::Char('\x07'),
        'f' => Token::Char('\x0c'),
        'n' => Token::Char('\n'),
        'r' => Token::Char('\r'),
        't' => Token::Char('\t'),
        'v' => Token::Char('\x0b'),
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => Token::Char(c),
        c => return Err(CompileError::Escape(c)),
    })
}

/// Go's `path.Clean`: no empty or `.` components, `..` resolved where something stands before it.
pub(super) fn clean(path: &str) -> Cow<'_, str> {
    let rooted = path.starts_with('/');
    let needs = path.split('/').skip(usize::from(rooted)).any(|part| matches!(part, "" | "." | ".."));
    if !needs {
        return Cow::Borrowed(path);
    }
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    Cow::Owned(match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    })
}
