//! Sizes, durations and ages: as people read them, and as they type them.
//!
//! Pure: the present is a parameter.

use std::time::Duration;

/// `1.2s`, `340ms`, `2m05s`, `1h02m`: three figures are enough for a person.
pub fn duration(seconds: f64) -> String {
    if seconds.is_nan() || seconds <= 0.0 {
        return "0ms".into();
    }
    let millis = (seconds * 1000.0).round() as u64;
    let whole = millis.div_ceil(1000).max(1);
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..59_950 => format!("{:.1}s", millis as f64 / 1000.0),
        _ if whole < 3600 => format!("{}m{:02}s", whole / 60, whole % 60),
        _ => format!("{}h{:02}m", whole / 3600, whole % 3600 / 60),
    }
}

/// `0B`, `12.3MB`: decimal units and three figures, as docker writes them.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value {
        _ if unit == 0 => 0,
        value if value < 9.995 => 2,
        value if value < 99.95 => 1,
        _ => 0,
    };
    let number = format!("{value:.decimals$}");
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { &number };
    format!("{number}{}", UNITS[unit])
}

/// How long ago `then` was, both in seconds since 1970: `5 minutes ago`.
pub fn age(then: i64, now: i64) -> String {
    let seconds = now.saturating_sub(then);
    if seconds < 0 {
        return "in the future".into();
    }
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    // Like docker, a unit is used until two of the next would do, years from two on.
    let (count, unit) = match seconds {
        0 => return "just now".into(),
        s if s < 2 * MINUTE => (s, "second"),
        s if s < 2 * HOUR => (s / MINUTE, "minute"),
        s if s < 2 * DAY => (s / HOUR, "hour"),
        s if s < 14 * DAY => (s / DAY, "day"),
        s if s < 60 * DAY => (s / (7 * DAY), "week"),
        s if s < 730 * DAY => (s / (30 * DAY), "month"),
        s => (s / (365 * DAY), "year"),
    };
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{plural} ago")
}

/// Why a quantity means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum QuantityError {
    /// Not a number and a unit.
    #[error("it must be a number and a unit, as in {example}")]
    Malformed {
        /// One that is right.
        example: &'static str,
    },
    /// More than can be counted.
    #[error("it is too large")]
    TooLarge,
}

/// Reads `64m`, `1GB`, `512KiB`, `4096`: powers of 1024, whatever the unit's case and form, which
/// is what docker takes for `--shm-size`.
pub fn parse_binary_size(text: &str) -> Result<u64, QuantityError> {
    parse_size(text, 1024, "64m")
}

/// Reads `10GB`, `500mb`, `4096`: powers of 1000, or of 1024 where the unit is one of `KiB`, `MiB`, ….
pub fn parse_decimal_size(text: &str) -> Result<u64, QuantityError> {
    let base = if text.to_ascii_lowercase().ends_with("ib") { 1024 } else { 1000 };
    parse_size(text, base, "10GB")
}

fn parse_size(text: &str, base: u64, example: &'static str) -> Result<u64, QuantityError> {
    let malformed = QuantityError::Malformed { example };
    let (number, unit) = split_unit(text.trim());
    let unit = unit.to_ascii_lowercase();
    let power = match unit.strip_suffix("ib").or_else(|| unit.strip_suffix('b')).unwrap_or(&unit) {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        _ => return Err(malformed),
    };
    scale(number, base.pow(power)).ok_or(malformed)?
}

/// Reads `90s`, `15m`, `24h`, `7d`, `2w` and sums of them (`1h30m`).
pub fn parse_duration(text: &str) -> Result<Duration, QuantityError> {
    let malformed = QuantityError::Malformed { example: "24h or 7d" };
    let mut rest = text.trim();
    let mut total = 0u64;
    if rest.is_empty() {
        return Err(malformed);
    }
    while !rest.is_empty() {
        let (number, tail) = split_unit(rest);
        let unit_len = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let seconds = match &tail[..unit_len] {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            _ => return Err(malformed),
        };
        let part = scale(number, seconds).ok_or(malformed)??;
        total = total.checked_add(part).ok_or(QuantityError::TooLarge)?;
        rest = &tail[unit_len..];
    }
    Ok(Duration::from_secs(total))
}

/// Reads what [`parse_duration`] reads, and `30ms`.
pub fn parse_short_duration(text: &str) -> Result<Duration, QuantityError> {
    match text.trim().strip_suffix("ms") {
        Some(number) => match number.trim().parse() {
            Ok(milliseconds) => Ok(Duration::from_millis(milliseconds)),
            Err(_) => Err(QuantityError::Malformed { example: "30ms or 2s" }),
        },
        None => parse_duration(text),
    }
}

/// The number at the beginning, and what follows it.
fn split_unit(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    (number, unit.trim_start())
}

/// `number` times `factor`, rounded down; `None` for what is no number.
fn scale(number: &str, factor: u64) -> Option<Result<u64, QuantityError>> {
    if let Ok(whole) = number.parse::<u64>() {
        return Some(whole.checked_mul(factor).ok_or(QuantityError::TooLarge));
    }
    if number.bytes().all(|b| b.is_ascii_digit()) && !number.is_empty() {
        return Some(Err(QuantityError::TooLarge));
    }
    let value = number.parse::<f64>().ok()? * factor as f64;
    Some(if value < u64::MAX as f64 { Ok(value as u64) } else { Err(QuantityError::TooLarge) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_figures() {
        let all = [0.0, 0.0004, 0.012, 0.9994, 0.9996, 1.0, 1.26, 59.94, 59.96, 125.0, 3599.0, 3720.0, f64::NAN, -1.0];
        let shown: Vec<_> = all.into_iter().map(duration).collect();
        assert_eq!(
            shown,
            [
                "0ms", "0ms", "12ms", "999ms", "1.0s", "1.0s", "1.3s", "59.9s", "1m00s", "2m05s", "59m59s", "1h02m",
                "0ms", "0ms"
            ]
        );
    }

    #[test]
    fn sizes_are_those_of_docker() {
        let all = [0, 999, 1000, 1234, 12_300_000, 100_000_000, 999_600, u64::MAX];
        let shown: Vec<_> = all.into_iter().map(size).collect();
        assert_eq!(shown, ["0B", "999B", "1kB", "1.23kB", "12.3MB", "100MB", "1MB", "18.4EB"]);
    }

    #[test]
    fn ages_change_their_unit_when_two_of_the_next_would_do() {
        let shown: Vec<_> = [0, 1, 119, 120, 7_199, 7_200, 172_800, 1_209_600, 5_184_000, 63_072_000]
            .into_iter()
            .map(|seconds| age(1_000_000_000 - seconds, 1_000_000_000))
            .collect();
        assert_eq!(
            shown,
            [
                "just now",
                "1 second ago",
                "119 seconds ago",
                "2 minutes ago",
                "119 minutes ago",
                "2 hours ago",
                "2 days ago",
                "2 weeks ago",
                "2 months ago",
                "2 years ago"
            ]
        );
        assert_eq!(age(10, 5), "in the future");
        assert_eq!(age(i64::MIN, i64::MAX), "292471208677 years ago");
    }

    #[test]
    fn typed_sizes_mean_what_docker_says() {
        assert_eq!(parse_binary_size("64m"), Ok(64 << 20));
        assert_eq!(parse_binary_size("1 GB"), Ok(1 << 30));
        assert_eq!(parse_binary_size("4096"), Ok(4096));
        assert_eq!(parse_decimal_size("10GB"), Ok(10_000_000_000));
        assert_eq!(parse_decimal_size("1.5kb"), Ok(1500));
        assert_eq!(parse_decimal_size("1GiB"), Ok(1 << 30));
        assert_eq!(parse_decimal_size("99999999999g"), Err(QuantityError::TooLarge));
        assert_eq!(parse_decimal_size("99999999999999999999999"), Err(QuantityError::TooLarge));
        for wrong in ["", "m", "-1m", "1x", "1.2.3m", "1mm"] {
            assert!(matches!(parse_decimal_size(wrong), Err(QuantityError::Malformed { .. })), "{wrong}");
        }
    }

    #[test]
    fn typed_durations_add_up() {
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_duration("0.5h"), Ok(Duration::from_secs(1800)));
        assert_eq!(parse_duration("99999999999999999w"), Err(QuantityError::TooLarge));
        for wrong in ["", "5", "h", "1y", "-1h", "1h-"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
