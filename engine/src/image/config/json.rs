//! JSON with the escapes of Go's `encoding/json`: `<`, `>`, `&` and the two line separators as `\uXXXX`.

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter};
use std::collections::BTreeMap;
use std::io::{self, Write};

struct GoFormatter;

impl Formatter for GoFormatter {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices() {
            if matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') {
                writer.write_all(&fragment.as_bytes()[plain..at])?;
                write!(writer, "\\u{:04x}", u32::from(c))?;
                plain = at + c.len_utf8();
            }
        }
        CompactFormatter.write_string_fragment(writer, &fragment[plain..])
    }
}

/// The JSON of a value whose map keys are strings.
pub(in crate::image) fn to_vec(value: &impl Serialize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, GoFormatter);
    value.serialize(&mut serializer).expect("all keys are strings and memory does not fail");
    out
}

/// An object of values that are JSON already, its keys sorted.
pub(super) fn object(fields: &BTreeMap<&str, Vec<u8>>) -> Vec<u8> {
    let mut out = vec![b'{'];
    for (at, (key, value)) in fields.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend(to_vec(key));
        out.push(b':');
        out.extend_from_slice(value);
    }
    out.push(b'}');
    out
}
