//! When a burst of events is over. Pure.

use std::time::{Duration, Instant};

/// However long somebody keeps writing, so many quiet times after the first event it is looked at.
const CAP_QUIET_TIMES: u32 = 20;

/// However short the quiet time, a burst has this long to end.
const CAP_LEAST: Duration = Duration::from_millis(500);

/// Waits until nothing has happened for a while.
#[derive(Clone, Copy, Debug)]
pub(super) struct Debounce {
    quiet: Duration,
    burst: Option<(Instant, Instant)>,
}

impl Debounce {
    /// One for which a burst is over after so long a quiet.
    pub fn new(quiet: Duration) -> Self {
        Debounce { quiet, burst: None }
    }

    /// Something happened.
    pub fn event(&mut self, now: Instant) {
        self.burst = Some((self.burst.map_or(now, |(first, _)| first), now));
    }

    /// When the burst will be over, if there is one and nothing more happens.
    pub fn deadline(&self) -> Option<Instant> {
        let (first, last) = self.burst?;
        let cap = (self.quiet * CAP_QUIET_TIMES).max(CAP_LEAST);
        Some((last + self.quiet).min(first + cap))
    }

    /// Whether the burst is over; the next event begins another.
    pub fn is_over(&mut self, now: Instant) -> bool {
        let over = self.deadline().is_some_and(|deadline| deadline <= now);
        if over {
            self.burst = None;
        }
        over
    }

    /// The burst is not over after all, as somebody says that more is to come.
    pub fn hold(&mut self, now: Instant) {
        self.burst = Some((now, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Duration = Duration::from_millis(30);

    #[test]
    fn a_burst_is_over_once_nothing_happens_for_a_while() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debounce = Debounce::new(QUIET);
        assert!(!debounce.is_over(at(1000)) && debounce.deadline().is_none());
        debounce.event(at(0));
        debounce.event(at(20));
        assert!(!debounce.is_over(at(49)));
        assert!(debounce.is_over(at(50)));
        assert!(!debounce.is_over(at(51)), "once");
    }

    #[test]
    fn somebody_who_never_stops_writing_is_looked_at_all_the_same() {
        let start = Instant::now();
        let mut debounce = Debounce::new(QUIET);
        let mut seen = 0;
        for ms in (0..3000).step_by(10) {
            let now = start + Duration::from_millis(ms);
            debounce.event(now);
            seen += u32::from(debounce.is_over(now));
        }
        assert_eq!(seen, 4, "every 600 ms");
    }
}
