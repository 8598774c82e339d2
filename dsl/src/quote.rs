//! Go's `%q`: how an image's history shows the arguments of CMD and ENTRYPOINT.
//!
//! Knows nothing of history.

use std::fmt::Write;

/// `text` in double quotes, escaped as Go's `strconv.Quote` does it.
pub fn go_quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            c if is_print(c) => out.push(c),
            c => {
                let code = u32::from(c);
                let written = match code {
                    0..0x20 | 0x7f => write!(out, "\\x{code:02x}"),
                    0..0x1_0000 => write!(out, "\\u{code:04x}"),
                    _ => write!(out, "\\U{code:08x}"),
                };
                written.expect("a String takes all that is written to it");
            }
        }
    }
    out.push('"');
    out
}

/// `[%q %q …]`, Go's `%q` of a list.
pub fn go_quote_list<S: AsRef<str>>(texts: &[S]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| go_quote(text.as_ref())).collect();
    format!("[{}]", quoted.join(" "))
}

/// Go's `unicode.IsPrint`: graphic characters, and of the spaces the ASCII one alone.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    // The standard library knows the same set; behind another character, combining marks are shown too.
    let mut buffer = String::from("a");
    buffer.push(c);
    buffer.escape_debug().nth(1) == Some(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_as_go_does() {
        assert_eq!(go_quote("a \"b\" \\ \n\x00\x7f"), r#""a \"b\" \\ \n\x00\x7f""#);
        assert_eq!(go_quote("é ☃ e\u{301} \u{a0}\u{200b}\u{e0001}"), "\"é ☃ e\u{301} \\u00a0\\u200b\\U000e0001\"");
        assert_eq!(go_quote_list(&["a", "b c"]), r#"["a" "b c"]"#);
    }
}
