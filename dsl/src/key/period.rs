//! How long a time bucket lasts: `30s`, `15m`, `12h`, `1d`, `2w`.
//!
//! Knows nothing of clocks.

use nom::Parser as _;
use nom::character::complete::{digit1, one_of};
use nom::combinator::all_consuming;
use std::fmt;

/// A whole number of one unit, above zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Period {
    count: u32,
    unit: Unit,
}

/// A unit of time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Unit {
    /// `s`
    Seconds,
    /// `m`
    Minutes,
    /// `h`
    Hours,
    /// `d`: 24 hours.
    Days,
    /// `w`: 7 days.
    Weeks,
}

impl Unit {
    fn letter(self) -> char {
        match self {
            Unit::Seconds => 's',
            Unit::Minutes => 'm',
            Unit::Hours => 'h',
            Unit::Days => 'd',
            Unit::Weeks => 'w',
        }
    }

    fn seconds(self) -> u64 {
        match self {
            Unit::Seconds => 1,
            Unit::Minutes => 60,
            Unit::Hours => 3_600,
            Unit::Days => 86_400,
            Unit::Weeks => 604_800,
        }
    }
}

impl Period {
    /// `count` units; `None` for zero.
    pub fn new(count: u32, unit: Unit) -> Option<Period> {
        (count > 0).then_some(Period { count, unit })
    }

    /// Reads `text`; `None` if it is no number above zero with a unit behind it.
    pub fn parse(text: &str) -> Option<Period> {
        let read: nom::IResult<&str, (&str, char)> = all_consuming((digit1, one_of("smhdw"))).parse(text);
        let (_, (digits, unit)) = read.ok()?;
        let unit = match unit {
            's' => Unit::Seconds,
            'm' => Unit::Minutes,
            'h' => Unit::Hours,
            'd' => Unit::Days,
            _ => Unit::Weeks,
        };
        Period::new(digits.parse().ok()?, unit)
    }

    /// Its length in seconds.
    pub fn seconds(self) -> u64 {
        u64::from(self.count) * self.unit.seconds()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.count, self.unit.letter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_is_a_number_above_zero_and_a_unit() {
        for (text, seconds) in [("1s", 1), ("90m", 5_400), ("12h", 43_200), ("1d", 86_400), ("2w", 1_209_600)] {
            let period = Period::parse(text).expect(text);
            assert_eq!((period.seconds(), period.to_string().as_str()), (seconds, text));
        }
        for text in ["", "d", "1", "0d", "1.5d", "1 d", "-1d", "1d2h", "9999999999d", "1y"] {
            assert_eq!(Period::parse(text), None, "{text}");
        }
    }
}
