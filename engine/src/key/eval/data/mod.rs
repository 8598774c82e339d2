//! JSON, TOML and YAML as one kind of value, for looking things up and comparing them.
//!
//! Scalars stay as they are written: a number that no machine type holds is still another number than its neighbour,
//! and two spellings of one number are at worst a step that runs once more. Members are sorted, comments and layout are
//! gone. Pure.

mod json;
mod toml;
mod yaml;

use kiln_dsl::key::{DataFormat, Selector, SelectorPart};
use std::collections::BTreeMap;
use std::fmt;

/// Values inside each other; deeper ones are refused, because every level costs call stack.
const MAX_DEPTH: usize = 128;

/// Values in one file; aliases of YAML multiply them.
const MAX_VALUES: usize = 4_000_000;

/// A value of any of the formats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Data {
    /// A number, a truth value, a date or nothing, as written.
    Scalar(String),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Data>),
    /// Members by name.
    Map(BTreeMap<String, Data>),
}

/// Why a file cannot be read as its format.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DataError {
    /// It is not well formed.
    #[error("{0}")]
    Syntax(String),
    /// It is too much.
    #[error("it holds more than {MAX_VALUES} values, or {MAX_DEPTH} inside each other")]
    TooMuch,
}

/// Reads a file of this format.
pub fn read(format: DataFormat, bytes: &[u8]) -> Result<Data, DataError> {
    let text = std::str::from_utf8(bytes).map_err(|error| DataError::Syntax(error.to_string()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        DataFormat::Json => json::read(text),
        DataFormat::Toml => toml::read(text),
        DataFormat::Yaml => yaml::read(text),
    }
}

impl Data {
    /// What is where `selector` points; `None` where nothing is.
    pub fn select(&self, selector: &Selector) -> Option<&Data> {
        let mut here = self;
        for part in &selector.parts {
            here = match (here, part) {
                (Data::Map(members), SelectorPart::Member(name)) => members.get(name)?,
                (Data::List(items), SelectorPart::Index(index)) => items.get(*index as usize)?,
                _ => return None,
            };
        }
        Some(here)
    }

    /// The number of values in it, itself included.
    fn count(&self) -> usize {
        match self {
            Data::Scalar(_) | Data::Text(_) => 1,
            Data::List(items) => 1 + items.iter().map(Data::count).sum::<usize>(),
            Data::Map(members) => 1 + members.values().map(Data::count).sum::<usize>(),
        }
    }
}

/// As JSON without blanks, scalars as they are written.
impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Data::Scalar(text) => f.write_str(text),
            Data::Text(text) => quoted(text, f),
            Data::List(items) => {
                f.write_str("[")?;
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
                }
                f.write_str("]")
            }
            Data::Map(members) => {
                f.write_str("{")?;
                for (index, (name, value)) in members.iter().enumerate() {
                    f.write_str(if index == 0 { "" } else { "," })?;
                    quoted(name, f)?;
                    write!(f, ":{value}")?;
                }
                f.write_str("}")
            }
        }
    }
}

fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(&serde_json::Value::from(text).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(format: DataFormat, text: &str) -> String {
        match read(format, text.as_bytes()) {
            Ok(data) => data.to_string(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn layout_order_and_comments_do_not_count_and_values_do() {
        assert_eq!(shown(DataFormat::Json, r#" { "b": [1, 2.0, null], "a": "x" } "#), r#"{"a":"x","b":[1,2.0,null]}"#);
        let toml = "# c\nb = [0x1F, 2.0] # d\n[a.'x.y']\nd = 1979-05-27\nt = true\n";
        assert_eq!(shown(DataFormat::Toml, toml), r#"{"a":{"x.y":{"d":1979-05-27,"t":true}},"b":[0x1F,2.0]}"#);
        let yaml = "# c\nb: [1, '2', ~]\na: &x {k: v}\nc: *x\nd:\n  <<: *x\n  l: |\n    t\n";
        assert_eq!(
            shown(DataFormat::Yaml, yaml),
            r#"{"a":{"k":"v"},"b":[1,"2",~],"c":{"k":"v"},"d":{"k":"v","l":"t\n"}}"#
        );
    }

    #[test]
    fn numbers_that_no_machine_type_tells_apart_differ() {
        for format in [DataFormat::Json, DataFormat::Yaml] {
            let (a, b) = ("[123456789012345678901234567890]", "[123456789012345678901234567891]");
            assert_ne!(shown(format, a), shown(format, b));
            assert_ne!(shown(format, "[1]"), shown(format, "[\"1\"]"));
        }
        assert_ne!(shown(DataFormat::Toml, "a = 0.1"), shown(DataFormat::Toml, "a = 0.1000000000000000055"));
    }

    #[test]
    fn what_is_not_well_formed_is_told() {
        assert_eq!(shown(DataFormat::Json, "{"), "error: EOF while parsing an object at line 1 column 1");
        assert!(shown(DataFormat::Json, "[1] x").starts_with("error: trailing characters"));
        assert!(shown(DataFormat::Toml, "a = ").starts_with("error: "), "{}", shown(DataFormat::Toml, "a = "));
        assert!(shown(DataFormat::Yaml, "a: [").starts_with("error: "), "{}", shown(DataFormat::Yaml, "a: ["));
        assert_eq!(shown(DataFormat::Yaml, "a: 1\n---\nb: 2\n"), "error: it holds more than one document");
        assert_eq!(shown(DataFormat::Yaml, ""), "null");
        assert!(read(DataFormat::Json, b"\xff").is_err());
    }

    #[test]
    fn hostile_files_cost_little_and_are_refused() {
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        for format in [DataFormat::Json, DataFormat::Yaml] {
            assert!(read(format, deep.as_bytes()).is_err());
        }
        assert!(read(DataFormat::Toml, format!("a = {deep}").as_bytes()).is_err());
        let mut laughs = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            laughs += &format!("a{level}: &a{level} [{}]\n", [below.as_str(); 10].join(","));
        }
        assert_eq!(read(DataFormat::Yaml, laughs.as_bytes()), Err(DataError::TooMuch));
    }

    #[test]
    fn a_selector_leads_to_a_value_or_to_none() {
        let data = read(DataFormat::Json, br#"{"a": {"x.y": [1, {"b": 2}]}}"#).unwrap();
        let at = |text: &str| data.select(&Selector::parse(text).unwrap()).map(ToString::to_string);
        assert_eq!(at(".a[\"x.y\"][1].b").as_deref(), Some("2"));
        assert_eq!(at(".").as_deref(), Some(r#"{"a":{"x.y":[1,{"b":2}]}}"#));
        for text in [".b", ".a.b", ".a[0]", ".a[\"x.y\"][2]", ".a[\"x.y\"].b"] {
            assert_eq!(at(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_reader_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            for format in [DataFormat::Json, DataFormat::Toml, DataFormat::Yaml] {
                let _ = read(format, &bytes);
            }
        }

        #[test]
        fn no_text_of_yamls_own_signs_makes_its_reader_panic(
            parts in proptest::collection::vec(
                proptest::sample::select(vec!["a", ":", " ", "\n", "- ", "&x ", "*x", "<<", "? ", "{", "}", "[", "]", ",", "|\n", "!t ", "'", "\"", "---\n", "#"]),
                0..20,
            ),
        ) {
            let _ = read(DataFormat::Yaml, parts.concat().as_bytes());
        }

        #[test]
        fn a_text_is_itself_in_json_and_yaml(text in "[ -~]{0,12}") {
            let json = serde_json::Value::from(text.as_str()).to_string();
            prop_assert_eq!(read(DataFormat::Json, json.as_bytes()), Ok(Data::Text(text.clone())));
            prop_assert_eq!(read(DataFormat::Yaml, json.as_bytes()), Ok(Data::Text(text)));
        }
    }
}
