//! Docker's form for a flag with several attributes: `key=value,key=value`, a field in double
//! quotes where it has a comma in it. Pure.

use crate::failure::UsageError;

/// The attributes in their order, keys in lower case; a field without `=` has no value.
pub fn attributes(flag: &'static str, text: &str) -> Result<Vec<(String, Option<String>)>, UsageError> {
    let fields = fields(text).ok_or_else(|| UsageError::value(flag, text, "a double quote is not closed"))?;
    Ok(fields
        .into_iter()
        .map(|field| match field.split_once('=') {
            Some((key, value)) => (key.trim().to_ascii_lowercase(), Some(value.to_owned())),
            None => (field.trim().to_ascii_lowercase(), None),
        })
        .collect())
}

/// The fields; `None` where a quote is not closed. Two quotes inside quotes are one.
fn fields(text: &str) -> Option<Vec<String>> {
    let mut all = Vec::new();
    let mut field = String::new();
    let mut chars = text.chars().peekable();
    loop {
        match chars.next() {
            Some('"') if field.is_empty() => loop {
                match chars.next()? {
                    '"' if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    '"' => break,
                    c => field.push(c),
                }
            },
            Some(',') => all.push(std::mem::take(&mut field)),
            Some(c) => field.push(c),
            None => {
                all.push(field);
                return Some(all);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_field_may_have_commas_and_quotes() {
        let read = attributes("-o", r#"type=oci,"dest=a,""b""",Tar"#).unwrap();
        let read: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
        assert_eq!(read, [("type", Some("oci")), ("dest", Some("a,\"b\"")), ("tar", None)]);
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(attributes("-o", "\"type=oci").is_err());
    }
}
