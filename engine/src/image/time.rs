//! Moments in an image's configuration: RFC 3339 as Go's `time.Time` reads and writes it.
//!
//! Nanoseconds without trailing zeros; an offset that was read is written again, so that a base image's
//! history keeps its bytes. Knows nothing of clocks and time zones.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// A moment with the offset in which it was written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Timestamp {
    seconds: i64,
    nanos: u32,
    offset_minutes: i16,
}

/// The first second of the year 0 and the last of 9999: what RFC 3339 can say.
const MIN_SECONDS: i64 = -62_167_219_200;
const MAX_SECONDS: i64 = 253_402_300_799;

const DAY_SECONDS: i64 = 86_400;

impl Timestamp {
    /// The moment so many seconds and nanoseconds after 1970, in UTC. What the format cannot say is
    /// moved to the nearest moment that it can; nanoseconds are below 1,000,000,000.
    pub fn new(seconds: i64, nanos: u32) -> Self {
        Timestamp { seconds: seconds.clamp(MIN_SECONDS, MAX_SECONDS), nanos: nanos.min(999_999_999), offset_minutes: 0 }
    }

    /// Seconds since 1970.
    pub fn seconds(&self) -> i64 {
        self.seconds
    }

    /// The moment now, by the system's clock.
    pub fn now() -> Self {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => Timestamp::new(i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos()),
            Err(_) => Timestamp::new(0, 0),
        }
    }

    /// The earlier of this and the whole second `epoch`.
    #[must_use]
    pub fn clamped(self, epoch: i64) -> Self {
        if (self.seconds, self.nanos) > (epoch, 0) { Timestamp::new(epoch, 0) } else { self }
    }

    /// Reads `2024-01-02T03:04:05.6Z` or the same with an offset like `+02:00`.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let number = |range: std::ops::Range<usize>| -> Option<i64> {
            let digits = bytes.get(range)?;
            digits.iter().all(u8::is_ascii_digit).then_some(())?;
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        let mark = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte)).then_some(());
        let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
        mark(4, b"-")?;
        mark(7, b"-")?;
        mark(10, b"Tt")?;
        mark(13, b":")?;
        mark(16, b":")?;
        let in_range = (1..=12).contains(&month) && hour < 24 && minute < 60 && second < 60;
        if !in_range || day < 1 || day > days_in_month(year, month) {
            return None;
        }
        let mut at = 19;
        let mut nanos = 0u32;
        if bytes.get(at) == Some(&b'.') {
            let digits = bytes[at + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            if digits == 0 {
                return None;
            }
            for place in 0..9 {
                let digit = if place < digits { bytes[at + 1 + place] - b'0' } else { 0 };
                nanos = nanos * 10 + u32::from(digit);
            }
            at += 1 + digits;
        }
        let offset_minutes = match (bytes.get(at)?, bytes.len() - at) {
            (b'Z' | b'z', 1) => 0,
            (sign @ (b'+' | b'-'), 6) => {
                mark(at + 3, b":")?;
                let (hours, minutes) = (number(at + 1..at + 3)?, number(at + 4..at + 6)?);
                if hours > 23 || minutes > 59 {
                    return None;
                }
                let minutes = (hours * 60 + minutes) as i16;
                if *sign == b'-' { -minutes } else { minutes }
            }
            _ => return None,
        };
        let local = days_from_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        Some(Timestamp { seconds: local - i64::from(offset_minutes) * 60, nanos, offset_minutes })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let local = (self.seconds + i64::from(self.offset_minutes) * 60).clamp(MIN_SECONDS, MAX_SECONDS);
        let (year, month, day) = civil_from_days(local.div_euclid(DAY_SECONDS));
        let second = local.rem_euclid(DAY_SECONDS);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)?;
        if self.nanos > 0 {
            write!(f, ".{}", format!("{:09}", self.nanos).trim_end_matches('0'))?;
        }
        if self.offset_minutes == 0 {
            return f.write_str("Z");
        }
        let sign = if self.offset_minutes < 0 { '-' } else { '+' };
        let minutes = self.offset_minutes.unsigned_abs();
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Timestamp::parse(&text).ok_or_else(|| serde::de::Error::custom("no RFC 3339 time"))
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 => 28 + i64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970 to a date of the Gregorian calendar. A year is taken to begin in March, so that the
/// leap day is its last; 400 of them have 146,097 days, and a month's start is 153 days for each five.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month = (month + 9) % 12;
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year * 365 + year / 4 - year / 100 + (153 * month + 2) / 5 + day - 1 - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (year * 365 + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (year, month) = (era * 400 + year, if month < 10 { month + 3 } else { month - 9 });
    (if month <= 2 { year + 1 } else { year }, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn times_are_written_as_go_writes_them() {
        let shown = |seconds, nanos| Timestamp::new(seconds, nanos).to_string();
        assert_eq!(shown(0, 0), "1970-01-01T00:00:00Z");
        assert_eq!(shown(1_704_164_645, 678_901_234), "2024-01-02T03:04:05.678901234Z");
        assert_eq!(shown(1_704_164_645, 600_000_000), "2024-01-02T03:04:05.6Z");
        assert_eq!(shown(951_782_400, 0), "2000-02-29T00:00:00Z");
        assert_eq!(shown(-1, 0), "1969-12-31T23:59:59Z");
        assert_eq!(shown(i64::MAX, 0), "9999-12-31T23:59:59Z");
        assert_eq!(shown(i64::MIN, 0), "0000-01-01T00:00:00Z");
    }

    #[test]
    fn an_offset_is_kept_and_counted() {
        let time = Timestamp::parse("2024-01-02T05:04:05.5+02:00").unwrap();
        assert_eq!((time.seconds(), time.to_string().as_str()), (1_704_164_645, "2024-01-02T05:04:05.5+02:00"));
        assert_eq!(time.clamped(1_704_164_645).to_string(), "2024-01-02T03:04:05Z");
        assert_eq!(time.clamped(1_704_164_646), time);
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        let bad = [
            "",
            "2024-01-02",
            "2024-13-02T00:00:00Z",
            "2023-02-29T00:00:00Z",
            "2024-01-02T24:00:00Z",
            "2024-01-02T00:00:00",
        ];
        for text in
            bad.into_iter().chain(["2024-01-02T00:00:00.Z", "2024-01-02T00:00:00Zx", "2024-01-02T00:00:00+99:00", "é"])
        {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_moment_reads_as_it_was_written(seconds in MIN_SECONDS..=MAX_SECONDS, nanos in 0u32..1_000_000_000) {
            let time = Timestamp::new(seconds, nanos);
            prop_assert_eq!(Timestamp::parse(&time.to_string()), Some(time));
        }

        #[test]
        fn reading_anything_never_panics(text in "\\PC{0,40}") {
            let _ = Timestamp::parse(&text);
        }
    }
}
