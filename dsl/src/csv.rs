//! One record of comma-separated values, as `--mount` is written in.
//!
//! Knows nothing of what the fields mean.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while};
use nom::character::complete::char;
use nom::combinator::{all_consuming, value};
use nom::multi::{fold_many0, separated_list1};
use nom::sequence::delimited;
use nom::{IResult, Parser};

/// The fields of `text`, which may end in a line end; `None` if it is empty or its quotes do not pair.
pub(crate) fn fields(text: &str) -> Option<Vec<String>> {
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    if line.is_empty() {
        return None;
    }
    let (_, fields) = all_consuming(separated_list1(char(','), field)).parse(line).ok()?;
    Some(fields)
}

/// A quoted field, in which `""` is a quote, or a bare one without any quote.
fn field(text: &str) -> IResult<&str, String> {
    if !text.starts_with('"') {
        return take_while(|c| c != ',' && c != '"').map(str::to_owned).parse(text);
    }
    let part = alt((is_not("\""), value("\"", tag("\"\""))));
    let inner = fold_many0(part, String::new, |mut field, part: &str| {
        field.push_str(part);
        field
    });
    delimited(char('"'), inner, char('"')).parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_fields_may_hold_commas_and_doubled_quotes() {
        let want = vec!["a".to_owned(), "b,\"c".to_owned(), String::new()];
        assert_eq!(fields("a,\"b,\"\"c\","), Some(want));
        for text in ["", "\n", "a\"b", "\"a\"b", "\"a"] {
            assert_eq!(fields(text), None, "{text}");
        }
    }
}
