//! Go's notation of durations: `1h30m`, `1.5s`, `-2ms`, `0`.
//!
//! Knows nothing of clocks.

use nom::branch::alt;
use nom::bytes::complete::tag;
use nom::character::complete::{digit0, one_of};
use nom::combinator::{opt, value};
use nom::multi::fold_many1;
use nom::sequence::preceded;
use nom::{IResult, Parser};

/// Text that is no duration, or one longer than about 292 years.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("invalid duration {0:?}")]
pub struct DurationError(pub String);

/// Reads `text`; the result is in nanoseconds.
///
/// # Errors
/// When it has no number, no unit (except `0`), an unknown unit, or does not fit 64 bits.
pub fn parse(text: &str) -> Result<i64, DurationError> {
    let error = || DurationError(text.to_owned());
    let (negative, magnitude) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    if magnitude == "0" {
        return Ok(0);
    }
    let (rest, total) = terms(magnitude).map_err(|_| error())?;
    let total = total.filter(|_| rest.is_empty()).ok_or_else(error)?;
    let signed = if negative { -i128::from(total) } else { i128::from(total) };
    i64::try_from(signed).map_err(|_| error())
}

/// The sum of all terms; `None` where it does not fit.
fn terms(text: &str) -> IResult<&str, Option<u64>> {
    fold_many1(term, || Some(0u64), |sum, term| sum?.checked_add(term?)).parse(text)
}

fn term(text: &str) -> IResult<&str, Option<u64>> {
    let unit = alt((
        value(1u64, tag("ns")),
        value(1_000, alt((tag("us"), tag("µs"), tag("μs")))),
        value(1_000_000, tag("ms")),
        value(1_000_000_000, one_of("s").map(|_| "")),
        value(60_000_000_000, one_of("m").map(|_| "")),
        value(3_600_000_000_000, one_of("h").map(|_| "")),
    ));
    let (rest, (whole, fraction, unit)) = (digit0, opt(preceded(tag("."), digit0)), unit).parse(text)?;
    let fraction: &str = fraction.unwrap_or_default();
    if whole.is_empty() && fraction.is_empty() {
        return Err(nom::Err::Error(nom::error::Error::new(text, nom::error::ErrorKind::Digit)));
    }
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<u64>().ok() };
    // More digits than these cannot be told apart in nanoseconds.
    let digits = &fraction[..fraction.len().min(15)];
    let scale = 10u128.pow(u32::try_from(digits.len()).unwrap_or(0));
    let part = digits.parse::<u128>().unwrap_or(0) * u128::from(unit) / scale;
    let total = whole
        .and_then(|whole| whole.checked_mul(unit))
        .and_then(|total| total.checked_add(u64::try_from(part).unwrap_or(u64::MAX)));
    Ok((rest, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_add_up() {
        for (text, want) in [
            ("0", 0),
            ("5s", 5_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1.5s", 1_500_000_000),
            (".5ms", 500_000),
            ("5.s", 5_000_000_000),
            ("-2us", -2_000),
            ("1µs1ns", 1_001),
        ] {
            assert_eq!(parse(text), Ok(want), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "5", "s", ".s", "5x", "5s ", "--5s", "9999999999h", "1s.", "99999999999999999999s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
