//! JSON as the exec forms need it: an array of strings, with the one distinction that matters.
//!
//! `["a"]` is an exec form, `['a']` is no JSON and falls back to the shell form, `["a", 1]` is JSON and an error.
//! Accepts exactly RFC 8259 as Go's decoder does (lone surrogates become U+FFFD), and tells where text follows the
//! array: what that makes of it is the caller's choice. Nesting costs a stack on the heap, never the call stack.

use nom::bytes::complete::{tag, take_while};
use nom::character::complete::{char, digit0, one_of, satisfy};
use nom::combinator::{opt, recognize};
use nom::sequence::{pair, preceded};
use nom::{IResult, Parser};

/// Nesting that the decoder refuses, as Go's does.
const MAX_DEPTH: usize = 10_000;

/// What an argument is when read as a JSON array.
pub(crate) enum Array {
    /// An array of strings, each with its byte range in the text, quotes included, and where the array ends.
    Strings(Vec<(String, usize, usize)>, usize),
    /// A valid array that holds something else, and nothing behind it.
    NotStrings,
    /// No JSON array at all.
    NotJson,
}

/// Reads `text` as a JSON array.
pub(crate) fn array(text: &str) -> Array {
    let start = text.trim_start();
    if !start.starts_with('[') {
        return Array::NotJson;
    }
    let mut strings = Some(Vec::new());
    let mut on_value = |depth: usize, value: Value<'_>| {
        if depth == 1 {
            match (value, &mut strings) {
                (Value::String(decoded, rest), Some(list)) => {
                    let end = text.len() - rest.len();
                    list.push((decoded, end, end));
                }
                (Value::Other, list) => *list = None,
                (Value::String(..), None) => {}
            }
        }
    };
    let Some((starts, rest)) = scan(start, &mut on_value) else { return Array::NotJson };
    match strings {
        None if rest.trim().is_empty() => Array::NotStrings,
        None => Array::NotJson,
        Some(mut list) => {
            let shift = text.len() - start.len();
            for (item, begin) in list.iter_mut().zip(starts) {
                item.1 = begin + shift;
            }
            Array::Strings(list, text.len() - rest.len())
        }
    }
}

/// The string member `name` of the JSON object that `text` is.
pub(crate) fn string_member(text: &str, name: &str) -> Option<String> {
    let start = text.trim_start();
    if !start.starts_with('{') {
        return None;
    }
    let (mut key, mut found) = (None, None);
    let mut on_value = |depth: usize, value: Value<'_>| {
        if depth == 1 {
            match (key.take(), value) {
                (None, Value::String(decoded, _)) => key = Some(decoded),
                (Some(k), Value::String(decoded, _)) if k == name => found = Some(decoded),
                _ => {}
            }
        }
    };
    let (_, rest) = scan(start, &mut on_value)?;
    if blanks(rest).is_empty() { found } else { None }
}

/// What the scanner meets: a string with what follows it, or anything else that is complete at its depth.
enum Value<'a> {
    String(String, &'a str),
    Other,
}

/// Checks that `text` begins with an array or object and reports the values (and keys) at each depth. Gives back the
/// offsets at which the strings of depth 1 begin, and what follows the value.
fn scan<'a>(text: &'a str, on_value: &mut dyn FnMut(usize, Value<'a>)) -> Option<(Vec<usize>, &'a str)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Open {
        Array,
        Object,
    }
    #[derive(Clone, Copy, PartialEq)]
    enum Expect {
        /// A value; `true` where the container may also close at once.
        Value(bool),
        Key(bool),
        Colon,
        CommaOrEnd,
    }
    let mut stack: Vec<Open> = Vec::new();
    let mut starts = Vec::new();
    let mut expect = Expect::Value(false);
    let mut rest = blanks(text);
    loop {
        let depth = stack.len();
        if depth == 0 && expect == Expect::CommaOrEnd {
            return Some((starts, rest));
        }
        let mut chars = rest.chars();
        let c = chars.next()?;
        match (expect, c) {
            (Expect::CommaOrEnd | Expect::Value(true), ']') if stack.last() == Some(&Open::Array) => {
                stack.pop();
                on_value(depth - 1, Value::Other);
                (rest, expect) = (chars.as_str(), Expect::CommaOrEnd);
            }
            (Expect::CommaOrEnd | Expect::Key(true), '}') if stack.last() == Some(&Open::Object) => {
                stack.pop();
                on_value(depth - 1, Value::Other);
                (rest, expect) = (chars.as_str(), Expect::CommaOrEnd);
            }
            (Expect::CommaOrEnd, ',') => {
                expect = if *stack.last()? == Open::Array { Expect::Value(false) } else { Expect::Key(false) };
                rest = chars.as_str();
            }
            (Expect::Colon, ':') => (rest, expect) = (chars.as_str(), Expect::Value(false)),
            (Expect::Value(_), '[' | '{') => {
                if depth == MAX_DEPTH {
                    return None;
                }
                stack.push(if c == '[' { Open::Array } else { Open::Object });
                expect = if c == '[' { Expect::Value(true) } else { Expect::Key(true) };
                rest = chars.as_str();
            }
            (Expect::Value(_) | Expect::Key(_), '"') => {
                if depth == 1 {
                    starts.push(text.len() - rest.len());
                }
                let (after, decoded) = string(rest).ok()?;
                on_value(depth, Value::String(decoded, after));
                expect = if matches!(expect, Expect::Key(_)) { Expect::Colon } else { Expect::CommaOrEnd };
                rest = after;
            }
            (Expect::Value(_), _) => {
                rest = scalar(rest).ok()?.0;
                on_value(depth, Value::Other);
                expect = Expect::CommaOrEnd;
            }
            _ => return None,
        }
        if !stack.is_empty() {
            rest = blanks(rest);
        }
    }
}

fn blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t', '\r', '\n'])
}

/// A number, `true`, `false` or `null`.
fn scalar(text: &str) -> IResult<&str, &str> {
    let whole = tag("0").or(recognize(pair(one_of("123456789"), digit0)));
    let digits = || recognize(pair(satisfy(|c| c.is_ascii_digit()), digit0));
    let fraction = opt(preceded(char('.'), digits()));
    let exponent = opt((one_of("eE"), opt(one_of("+-")), digits()));
    recognize((opt(char('-')), whole, fraction, exponent)).or(tag("true")).or(tag("false")).or(tag("null")).parse(text)
}

/// A string with its quotes, decoded.
fn string(text: &str) -> IResult<&str, String> {
    let mut out = String::new();
    let (mut rest, _) = char('"').parse(text)?;
    loop {
        let (after, plain) = take_while(|c: char| c != '"' && c != '\\' && c >= ' ').parse(rest)?;
        out.push_str(plain);
        let (after, c) = one_of("\"\\").parse(after)?;
        if c == '"' {
            return Ok((after, out));
        }
        let (after, escaped) = one_of("\"\\/bfnrtu").parse(after)?;
        rest = after;
        match escaped {
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            'n' => out.push('\n'),
            'r' => out.push('\r'),
            't' => out.push('\t'),
            'u' => {
                let (after, first) = hex4(rest)?;
                rest = after;
                let low: IResult<&str, u32> = preceded(tag("\\u"), hex4).parse(rest);
                match (first, low) {
                    (0xD800..=0xDBFF, Ok((after, low @ 0xDC00..=0xDFFF))) => {
                        rest = after;
                        let code = 0x1_0000 + ((first - 0xD800) << 10) + (low - 0xDC00);
                        out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    }
                    _ => out.push(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER)),
                }
            }
            c => out.push(c),
        }
    }
}

fn hex4(text: &str) -> IResult<&str, u32> {
    let digit = || satisfy(|c| c.is_ascii_hexdigit()).map(|c| c.to_digit(16).unwrap_or_default());
    (digit(), digit(), digit(), digit()).map(|(a, b, c, d)| a << 12 | b << 8 | c << 4 | d).parse(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(text: &str) -> Option<Vec<String>> {
        match array(text) {
            Array::Strings(list, end) if text[end..].trim().is_empty() => {
                for (_, start, end) in &list {
                    assert!(text[*start..*end].starts_with('"') && text[*start..*end].ends_with('"'));
                }
                Some(list.into_iter().map(|item| item.0).collect())
            }
            _ => None,
        }
    }

    #[test]
    fn arrays_of_strings_are_decoded() {
        assert_eq!(strings("[]"), Some(vec![]));
        assert_eq!(strings(r#"  [ "a" , "\u00e9\n\ud83d\ude00" ] "#), Some(vec!["a".into(), "é\n😀".into()]));
        assert_eq!(strings(r#"["\ud800x"]"#), Some(vec!["\u{fffd}x".into()]));
    }

    #[test]
    fn what_is_no_json_differs_from_json_of_another_shape() {
        for text in ["[", "['a']", r#"["a",]"#, "[1] x", r#"["a\x"]"#, "[01]", "[\"a\nb\"]", "a", "[+1]"] {
            assert!(matches!(array(text), Array::NotJson), "{text}");
        }
        for text in ["[1]", "[null]", r#"["a", ["b"]]"#, r#"[{"a": [1.5e-3, true]}]"#, r#"["a", {}]"#] {
            assert!(matches!(array(text), Array::NotStrings), "{text}");
        }
    }

    #[test]
    fn what_follows_an_array_is_found() {
        for (text, rest) in [(r#"["a"] x"#, " x"), (r#" ["a", "b"]]"#, "]"), (r#"["a"]  "#, "  "), ("[]#", "#")] {
            let Array::Strings(_, end) = array(text) else { panic!("{text}") };
            assert_eq!(&text[end..], rest);
        }
    }

    #[test]
    fn deep_nesting_neither_recurses_nor_is_accepted_without_bound() {
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(matches!(array(&nested(MAX_DEPTH)), Array::NotStrings));
        assert!(matches!(array(&nested(100_000)), Array::NotJson));
    }
}
