//! How long to wait before trying again, and when to stop.
//!
//! Knows nothing of what failed: the caller decides what is worth another try.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    time::Duration,
};

/// The bounds of trying again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    /// How often one thing may fail in a row without any progress before the failure is final. At least 1.
    pub attempts: u32,
    /// The wait after the first failure; it doubles with each further one.
    pub first_delay: Duration,
    /// The longest wait. A server that asks for more is not waited for.
    pub longest_delay: Duration,
}

impl Default for Retry {
    fn default() -> Self {
        Retry { attempts: 5, first_delay: Duration::from_millis(250), longest_delay: Duration::from_secs(30) }
    }
}

impl Retry {
    /// No more than so many attempts.
    pub(super) fn at_most(self, attempts: u32) -> Self {
        Retry { attempts: self.attempts.min(attempts), ..self }
    }

    /// How long to wait after `failures` failures in a row, of which there is at least one; `None` means give up.
    ///
    /// `asked` is what the server asked for in `Retry-After`. Otherwise the wait is drawn from the upper half of an
    /// exponentially growing span, so that clients that failed together do not come back together.
    pub(super) fn delay(&self, failures: u32, asked: Option<Duration>) -> Option<Duration> {
        if failures >= self.attempts.max(1) {
            return None;
        }
        if let Some(asked) = asked {
            return (asked <= self.longest_delay).then_some(asked);
        }
        let doublings = failures.saturating_sub(1).min(16);
        let span = self.first_delay.saturating_mul(1 << doublings).min(self.longest_delay);
        Some(span / 2 + span.mul_f64(random_fraction() / 2.0))
    }
}

/// Reads `Retry-After` in its usual form, whole seconds. A date is taken as not given: the usual waits then apply.
pub(super) fn parse_retry_after(value: &str) -> Option<Duration> {
    value.trim().parse().ok().map(Duration::from_secs)
}

/// A number from 0 to 1. Not for secrets: the seeds of the standard library's hash maps are random enough to spread waits.
fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from((bits >> 32) as u32) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_their_limit_and_end() {
        let retry =
            Retry { attempts: 8, first_delay: Duration::from_millis(100), longest_delay: Duration::from_secs(1) };
        for (failures, span) in [(1, 100), (2, 200), (3, 400), (4, 800), (5, 1000), (7, 1000)] {
            let delay = retry.delay(failures, None).unwrap();
            assert!(delay >= Duration::from_millis(span / 2) && delay <= Duration::from_millis(span), "{delay:?}");
        }
        assert_eq!(retry.delay(8, None), None);
        assert_eq!(retry.at_most(1).delay(1, None), None);
    }

    #[test]
    fn a_server_is_waited_for_as_it_asks_but_not_too_long() {
        let retry = Retry::default();
        assert_eq!(retry.delay(1, parse_retry_after(" 7 ")), Some(Duration::from_secs(7)));
        assert_eq!(retry.delay(1, parse_retry_after("3600")), None);
        assert_eq!(parse_retry_after("Wed, 21 Oct 2026 07:28:00 GMT"), None);
    }
}
