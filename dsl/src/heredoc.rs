//! The heads of heredocs in a logical line: `<<EOF`, `3<<-"END"`.
//!
//! Knows nothing of bodies. A head is a whole word of the line as a shell would split it, so `cat <<A` has one and
//! `a<<A` or `<<<A` has none.

use crate::expand::heads;
use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::digit0;
use nom::combinator::{opt, rest, verify};
use nom::{IResult, Parser};

/// A heredoc announced by a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub name: String,
    pub descriptor: u64,
    pub expand: bool,
    pub chomp: bool,
}

/// The heads in `line`, in their order. A line whose quotes do not pair has none.
pub(crate) fn in_line(line: &str) -> Vec<Head> {
    heads::shell_words(line).iter().filter_map(|word| parse(word)).collect()
}

/// Reads one word as a head.
pub(crate) fn parse(word: &str) -> Option<Head> {
    let (_, (digits, _, dash, name)) = parts(word).ok()?;
    let (unquoted, raw) = heads::name(name)?;
    let quotes = |text: &str| text.bytes().filter(|b| matches!(b, b'\'' | b'"')).count();
    Some(Head {
        expand: quotes(&unquoted) == quotes(&raw),
        name: unquoted,
        // Go's parser clamps a number that is too large.
        descriptor: if digits.is_empty() { 0 } else { digits.parse().unwrap_or(u64::MAX) },
        chomp: dash.is_some(),
    })
}

fn parts(word: &str) -> IResult<&str, (&str, &str, Option<&str>, &str)> {
    let name = verify(rest.map(|text: &str| text.trim_start_matches([' ', '\t', '\r', '\n', '\x0c'])), |name: &str| {
        !name.is_empty() && !name.contains('<')
    });
    (digit0, tag("<<"), opt(alt((tag("-"),))), name).parse(word)
}

/// `content` without the tabs that begin its lines.
pub(crate) fn chomp(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, descriptor: u64, expand: bool, chomp: bool) -> Head {
        Head { name: name.into(), descriptor, expand, chomp }
    }

    #[test]
    fn heads_are_words_of_the_line() {
        assert_eq!(
            in_line("RUN cat <<A 3<<-'B' && x << C"),
            [head("A", 0, true, false), head("B", 3, false, true), head("C", 0, true, false)]
        );
        for line in ["RUN a<<A", "RUN <<<A", "RUN echo \"<<A\"", "RUN echo '<<A", "RUN 1 << ", "RUN \"x\" <<''"] {
            assert_eq!(in_line(line), [], "{line}");
        }
    }

    #[test]
    fn quoting_any_part_of_the_name_turns_expansion_off() {
        assert_eq!(parse("<<E\"O\"F"), Some(head("EOF", 0, false, false)));
        assert_eq!(parse("<<$EOF"), Some(head("$EOF", 0, true, false)));
    }

    #[test]
    fn chomping_strips_leading_tabs_only() {
        assert_eq!(chomp("\t\ta\n \tb\n\t\n"), "a\n \tb\n\n");
    }
}
