//! The comments at the head of a file that direct its reading: `# syntax=`, `# escape=`, `# check=`.
//!
//! Knows nothing of instructions. One line at a time is read; the lexer says when the zone is over.

use nom::bytes::complete::{take_till, take_while};
use nom::character::complete::{char, satisfy};
use nom::combinator::{recognize, verify};
use nom::sequence::{pair, preceded, separated_pair};
use nom::{IResult, Parser};

/// Which directive a line is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Syntax,
    Escape,
    Check,
}

/// A directive: its name in lower case, its value and the value's offset in the line.
pub(crate) struct Directive<'a> {
    pub kind: Kind,
    pub name: &'static str,
    pub value: &'a str,
    pub offset: usize,
}

/// Reads `line` (without line end and leading blanks) as a directive behind `comment`, the comment's opening word.
///
/// `None` ends the zone of directives: an ordinary comment, an unknown name, an instruction, a blank line.
pub(crate) fn read<'a>(line: &'a str, comment: &str) -> Option<Directive<'a>> {
    let body = line.strip_prefix(comment)?.trim_start();
    let (_, (name, value)) = assignment(body).ok()?;
    let (kind, name) = match name.to_ascii_lowercase().as_str() {
        "syntax" => (Kind::Syntax, "syntax"),
        "escape" => (Kind::Escape, "escape"),
        "check" => (Kind::Check, "check"),
        _ => return None,
    };
    // The value reaches to the last byte that is no blank.
    let offset = line.trim_end_matches(blank).len() - value.len();
    Some(Directive { kind, name, value, offset })
}

/// The blanks that may stand around `=` and behind the value.
fn blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}

/// `name = value`, the value not empty and without blanks behind it.
fn assignment(text: &str) -> IResult<&str, (&str, &str)> {
    let name = recognize(pair(satisfy(|c| c.is_ascii_alphabetic()), take_while(|c: char| c.is_ascii_alphanumeric())));
    let value = take_till(|c| c == '\n').map(|text: &str| text.trim_end_matches(blank));
    separated_pair(
        name,
        preceded(take_while(blank), char('=')),
        preceded(take_while(blank), verify(value, |v: &str| !v.is_empty())),
    )
    .parse(text)
}

/// The front end that a file asks for with `# syntax=`, `// syntax=` or a JSON object's `"syntax"`; the value ends
/// at its first space. A first line that begins with `#!` is passed over.
pub fn detect_syntax(text: &str) -> Option<String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let text = if text.starts_with("#!") { text.split_once('\n').map_or("", |(_, rest)| rest) } else { text };
    let in_comments = |comment: &str| {
        text.lines()
            .map_while(|line| read(line, comment))
            .find(|directive| directive.kind == Kind::Syntax)
            .map(|directive| directive.value.split(' ').next().unwrap_or_default().to_owned())
    };
    in_comments("#").or_else(|| in_comments("//")).or_else(|| crate::json::string_member(text, "syntax"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_is_read_with_blanks_around_its_parts() {
        let line = "#  EsCape \t=  `  ";
        let directive = read(line, "#").expect("a directive");
        assert_eq!((directive.kind, directive.value), (Kind::Escape, "`"));
        assert_eq!(&line[directive.offset..=directive.offset], "`");
    }

    #[test]
    fn comments_unknown_names_and_empty_values_end_the_zone() {
        for line in ["# a comment", "# other=1", "# escape=", "FROM a", "", "#escape"] {
            assert!(read(line, "#").is_none(), "{line:?}");
        }
    }

    #[test]
    fn the_syntax_is_found_behind_each_kind_of_comment_and_in_json() {
        assert_eq!(
            detect_syntax("#!/bin/x\n# syntax=docker/dockerfile:1 --x\n").as_deref(),
            Some("docker/dockerfile:1")
        );
        assert_eq!(detect_syntax("// syntax = a/b\n").as_deref(), Some("a/b"));
        assert_eq!(detect_syntax(r#"{"x": [1, {"syntax": "no"}], "syntax": "a/b"}"#).as_deref(), Some("a/b"));
        assert_eq!(detect_syntax("FROM a\n# syntax=x\n"), None);
    }
}
