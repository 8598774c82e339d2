//! A logical line in its parts: keyword, flags, and the arguments by each instruction's own rule.
//!
//! Ranges are byte offsets in the logical line. Knows nothing of which flag or argument is allowed. Quotes and escapes
//! are looked at only to find where a word ends; they stay in it (flags excepted, which lose them).

use std::ops::Range;

/// Text with its range in the logical line.
pub(crate) type Piece = (String, Range<usize>);

/// The blanks that part words (a line holds no line feed).
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0b' | '\x0c' | '\r')
}

/// The keyword's range and the range of what follows it, both without blanks around.
pub(crate) fn keyword(line: &str, range: Range<usize>) -> (Range<usize>, Range<usize>) {
    let range = trimmed(line, range);
    let text = &line[range.clone()];
    let end = text.find(is_blank).unwrap_or(text.len());
    let next = text[end..].trim_start_matches(is_blank);
    (range.start..range.start + end, range.end - next.len()..range.end)
}

/// `range` without Unicode white space at its ends.
pub(crate) fn trimmed(line: &str, range: Range<usize>) -> Range<usize> {
    let text = &line[range.clone()];
    let start = range.end - text.trim_start().len();
    start..(start + text.trim().len())
}

/// The flags at the start of `range`, unquoted, and the range of the arguments behind them.
///
/// `--` ends the flags and is dropped; so does the first word that does not begin with `--`. `take` is asked at each
/// flag's start, and gives the end of one that it took for itself.
pub(crate) fn flags(
    line: &str,
    range: Range<usize>,
    escape: char,
    take: &mut dyn FnMut(usize) -> Option<usize>,
) -> (Vec<Piece>, Range<usize>) {
    let mut found = Vec::new();
    let mut rest = range;
    loop {
        rest = trimmed(line, rest);
        if !line[rest.clone()].starts_with("--") {
            return (found, rest);
        }
        if let Some(end) = take(rest.start) {
            rest = end.min(rest.end)..rest.end;
            continue;
        }
        let (word, end) = flag(line, rest.clone(), escape);
        let start = rest.start;
        rest = end..rest.end;
        if word == "--" {
            return (found, trimmed(line, rest));
        }
        found.push((word, start..end));
    }
}

/// The word at the start of `range` without its quotes and escapes, and its end.
fn flag(line: &str, range: Range<usize>, escape: char) -> (String, usize) {
    let mut word = String::new();
    let mut quote = None;
    let mut chars = line[range.clone()].char_indices();
    while let Some((at, c)) = chars.next() {
        match quote {
            None if c.is_whitespace() => return (word, range.start + at),
            None if c == '\'' || c == '"' => quote = Some(c),
            Some(open) if c == open => quote = None,
            _ if c == escape => word.extend(chars.next().map(|(_, c)| c)),
            _ => word.push(c),
        }
    }
    (word, range.end)
}

/// Words parted by blanks alone: quotes do not hold them together.
pub(crate) fn blank_delimited(line: &str, range: Range<usize>) -> Vec<Piece> {
    let mut found = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let text = &line[start..range.end];
        let length = text.find(is_blank).unwrap_or(text.len());
        found.push((text[..length].to_owned(), start..start + length));
        start = range.end - text[length..].trim_start_matches(is_blank).len();
    }
    found
}

/// Words parted by white space outside of quotes; quotes and escapes stay. An escape character that ends the text is
/// dropped.
pub(crate) fn quoted(line: &str, range: Range<usize>, escape: char) -> Vec<Piece> {
    let text = &line[range.clone()];
    let mut found = Vec::new();
    let mut start = None;
    let mut quote = None;
    let mut end = text.len();
    let mut chars = text.char_indices();
    let mut push = |start: usize, end: usize| {
        if start < end {
            found.push((text[start..end].to_owned(), range.start + start..range.start + end));
        }
    };
    while let Some((at, c)) = chars.next() {
        let Some(begin) = start else {
            // A word begins; its first character is read again below.
            if !c.is_whitespace() {
                start = Some(at);
                quote = (c == '\'' || c == '"').then_some(c);
                if c == escape && chars.next().is_none() {
                    end = at;
                }
            }
            continue;
        };
        if quote == Some(c) {
            quote = None;
        } else if c == escape && quote != Some('\'') {
            if chars.next().is_none() {
                end = at;
            }
        } else if quote.is_none() {
            if c.is_whitespace() {
                push(begin, at);
                start = None;
            } else if c == '\'' || c == '"' {
                quote = Some(c);
            }
        }
    }
    if let Some(begin) = start {
        push(begin, end);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(pieces: &[Piece]) -> Vec<&str> {
        pieces.iter().map(|piece| piece.0.as_str()).collect()
    }

    #[test]
    fn keyword_and_arguments_are_parted_by_any_blanks() {
        let line = " COPY \t a b ";
        let (word, rest) = keyword(line, 0..line.len());
        assert_eq!((&line[word], &line[rest]), ("COPY", "a b"));
        assert_eq!(keyword("RUN", 0..3), (0..3, 3..3));
    }

    #[test]
    fn flags_lose_their_quotes_and_end_at_a_bare_double_dash() {
        let line = r#"--a=1 --b="x y" --c=\ z -- --d e"#;
        let (found, rest) = flags(line, 0..line.len(), '\\', &mut |_| None);
        assert_eq!(texts(&found), ["--a=1", "--b=x y", "--c= z"]);
        assert_eq!(&line[rest], "--d e");
        assert_eq!(&line[found[1].1.clone()], r#"--b="x y""#);
    }

    #[test]
    fn quoted_words_keep_quotes_and_escapes() {
        let line = r#"a="b c" d=e\ f 'g\' h"#;
        assert_eq!(texts(&quoted(line, 0..line.len(), '\\')), [r#"a="b c""#, r"d=e\ f", r"'g\'", "h"]);
        assert_eq!(texts(&quoted("a b\\", 0..4, '\\')), ["a", "b"]);
        assert_eq!(texts(&quoted("\\", 0..1, '\\')), [""; 0]);
    }

    #[test]
    fn blanks_alone_part_words_where_quotes_do_not_count() {
        assert_eq!(texts(&blank_delimited("\"a  b\" c", 0..8)), ["\"a", "b\"", "c"]);
    }
}
