//! Amounts of memory as Docker writes them: `64m`, `1.5GiB`, `100`.
//!
//! Knows nothing of what the memory is for.

/// Text that is no size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid size: '{0}'")]
pub struct SizeError(pub String);

/// Reads `text` as a number of bytes; units are powers of 1024 in any case, `b` and `ib` behind them mean nothing.
///
/// # Errors
/// On anything else, negative sizes and those beyond 63 bits included.
pub fn parse(text: &str) -> Result<u64, SizeError> {
    let error = || SizeError(text.to_owned());
    let last = text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(error)?;
    let (number, unit) = text.split_at(last + 1);
    let number = number.strip_suffix(' ').unwrap_or(number);
    if number.starts_with(' ') || number.is_empty() || !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return Err(error());
    }
    let number: f64 = number.parse().map_err(|_| error())?;
    let unit = unit.to_ascii_lowercase();
    let power = match unit.as_bytes() {
        [] | [b'b'] => 0,
        [letter] | [letter, b'b'] | [letter, b'i', b'b'] => {
            1 + b"kmgtp".iter().position(|known| known == letter).ok_or_else(error)?
        }
        _ => return Err(error()),
    };
    let bytes = (0..power).fold(number, |bytes, _| bytes * 1024.0);
    // 2^63 is exact as a float, so the comparison is too.
    if bytes < 9_223_372_036_854_775_808.0 { Ok(bytes as u64) } else { Err(error()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_binary_and_in_any_case() {
        for (text, want) in
            [("100", 100), ("1k", 1024), ("1.5 KiB", 1536), ("2MB", 2 << 20), ("3g", 3 << 30), ("7b", 7)]
        {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
        for text in ["", "k", "-1", "1x", "1kk", "1kib2", "1e3", "99999999999p", ". ", "bb"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
