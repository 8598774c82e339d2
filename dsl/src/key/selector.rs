//! Where in a JSON, TOML or YAML document a value is: `.`, `.a.b`, `.a["x.y"][0]`.
//!
//! Knows nothing of documents.

use crate::json;
use std::fmt;

/// A path of members and positions; without any part it is the whole document.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Selector {
    /// The parts, from the root on.
    pub parts: Vec<SelectorPart>,
}

/// One step into a document.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SelectorPart {
    /// `.name` or `["name"]`
    Member(String),
    /// `[n]`, counted from 0.
    Index(u32),
}

/// Text that is no selector.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SelectorError {
    /// It does not begin with a dot.
    #[error("a selector begins with a dot")]
    NoDot,
    /// Two dots, or a dot at the end.
    #[error("a name is missing behind a dot")]
    NoName,
    /// A bracket with something else in it, or without its end.
    #[error("in brackets stands a number or a text in double quotes")]
    Brackets,
    /// Something else behind a name or bracket.
    #[error("behind a name stands a dot or a bracket")]
    Trailing,
}

impl Selector {
    /// Reads `text`.
    ///
    /// # Errors
    /// When it is no selector.
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut rest = text.strip_prefix('.').ok_or(SelectorError::NoDot)?;
        let mut parts = Vec::new();
        let mut wants_name = !rest.is_empty() && !rest.starts_with('[');
        while wants_name || !rest.is_empty() {
            if wants_name {
                let end = rest.find(['.', '[', ']', '"']).unwrap_or(rest.len());
                if end == 0 {
                    return Err(SelectorError::NoName);
                }
                parts.push(SelectorPart::Member(rest[..end].to_owned()));
                rest = &rest[end..];
            } else {
                let end = end_of_brackets(rest).ok_or(SelectorError::Brackets)?;
                parts.push(bracket(&rest[..end])?);
                rest = &rest[end..];
            }
            wants_name = match rest.strip_prefix('.') {
                Some(after) => {
                    rest = after;
                    true
                }
                None if rest.is_empty() || rest.starts_with('[') => false,
                None => return Err(SelectorError::Trailing),
            };
        }
        Ok(Selector { parts })
    }
}

/// The end of the bracket at the start of `text`, quotes in it respected.
fn end_of_brackets(text: &str) -> Option<usize> {
    let mut in_quotes = false;
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'"' => in_quotes = !in_quotes,
            b'\\' if in_quotes => {
                bytes.next();
            }
            b']' if !in_quotes => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// `[n]` or `["name"]`, which is an array of one text in JSON too.
fn bracket(text: &str) -> Result<SelectorPart, SelectorError> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).ok_or(SelectorError::Brackets)?;
    if let Ok(index) = inner.parse::<u32>() {
        return if index.to_string() == inner { Ok(SelectorPart::Index(index)) } else { Err(SelectorError::Brackets) };
    }
    match json::array(text) {
        json::Array::Strings(mut items, end) if items.len() == 1 && end == text.len() => {
            Ok(SelectorPart::Member(items.remove(0).0))
        }
        _ => Err(SelectorError::Brackets),
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !matches!(self.parts.first(), Some(SelectorPart::Member(name)) if is_plain(name)) {
            f.write_str(".")?;
        }
        for part in &self.parts {
            match part {
                SelectorPart::Member(name) if is_plain(name) => write!(f, ".{name}")?,
                SelectorPart::Member(name) => write!(f, "[{}]", quoted(name))?,
                SelectorPart::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// `name` as a JSON string.
fn quoted(name: &str) -> String {
    let mut text = String::from('"');
    for c in name.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            c if u32::from(c) < 0x20 => text += &format!("\\u{:04x}", u32::from(c)),
            c => text.push(c),
        }
    }
    text.push('"');
    text
}

fn is_plain(name: &str) -> bool {
    !name.is_empty() && !name.contains(['.', '[', ']', '"'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn member(name: &str) -> SelectorPart {
        SelectorPart::Member(name.to_owned())
    }

    #[test]
    fn members_positions_and_quoted_names_are_read() {
        for (text, parts) in [
            (".", vec![]),
            (".a", vec![member("a")]),
            (".a.b-c", vec![member("a"), member("b-c")]),
            (r#".a["x.y"][0].z"#, vec![member("a"), member("x.y"), SelectorPart::Index(0), member("z")]),
            (r#".["]\""]"#, vec![member("]\"")]),
            (".[3]", vec![SelectorPart::Index(3)]),
        ] {
            assert_eq!(Selector::parse(text), Ok(Selector { parts }), "{text}");
        }
    }

    #[test]
    fn what_is_no_selector_says_what_is_missing() {
        for (text, error) in [
            ("", SelectorError::NoDot),
            ("a", SelectorError::NoDot),
            ("..a", SelectorError::NoName),
            (".a.", SelectorError::NoName),
            (".a[", SelectorError::Brackets),
            (".a[x]", SelectorError::Brackets),
            (".a[01]", SelectorError::Brackets),
            (".a[\"b\",\"c\"]", SelectorError::Brackets),
            (".a[0]b", SelectorError::Trailing),
        ] {
            assert_eq!(Selector::parse(text), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_printed_selector_reads_as_itself(
            parts in proptest::collection::vec(
                prop_oneof![any::<u32>().prop_map(SelectorPart::Index), ".{0,6}".prop_map(SelectorPart::Member)],
                0..4,
            ),
        ) {
            let selector = Selector { parts };
            prop_assert_eq!(Selector::parse(&selector.to_string()), Ok(selector.clone()), "{}", selector);
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in any::<String>()) {
            let _ = Selector::parse(&text);
        }
    }
}
