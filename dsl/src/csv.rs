//! One record of comma-separated values, as `--mount` is written in.
//!
//! Knows of what the fields mean one thing only: `from=` may name a branch, `from=test[3.12,alpine]`, whose commas part
//! no fields.

use nom::branch::alt;
use nom::bytes::complete::{is_not, tag, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, recognize, value};
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

/// The branch's name in `from=NAME[…]`.
fn branch(text: &str) -> IResult<&str, &str> {
    let name = take_while1(|c| !matches!(c, ',' | '"' | '[' | ']'));
    let values = take_while1(|c| !matches!(c, '"' | '[' | ']'));
    recognize((tag("from="), name, delimited(char('['), values, char(']')))).parse(text)
}

/// A quoted field, in which `""` is a quote, or a bare one without any quote.
fn field(text: &str) -> IResult<&str, String> {
    if let Ok((rest, field)) = branch(text)
        && (rest.is_empty() || rest.starts_with(','))
    {
        return Ok((rest, field.to_owned()));
    }
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
        assert_eq!(fields("from=t[1,a],target=/x").unwrap(), ["from=t[1,a]", "target=/x"]);
        assert_eq!(fields("from=t[1,a").unwrap(), ["from=t[1", "a"]);
        assert_eq!(fields("from=t[1,a]b,c").unwrap(), ["from=t[1", "a]b", "c"]);
        for text in ["", "\n", "a\"b", "\"a\"b", "\"a"] {
            assert_eq!(fields(text), None, "{text}");
        }
    }
}
