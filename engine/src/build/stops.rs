//! Stops single steps of a running build: what a newer state of the context has made worthless.

use crate::cancel::Cancel;
use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Mutex, PoisonError};

/// The steps of one build that run, each with its handle; by their places in the plan's list.
#[derive(Default)]
pub(crate) struct Stops {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// No step begins any more.
    closed: bool,
    running: HashMap<usize, Cancel>,
}

impl Stops {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of a step that begins; `None` where none begins any more.
    pub fn begin(&self, step: usize) -> io::Result<Option<Cancel>> {
        let mut state = self.lock();
        if state.closed {
            return Ok(None);
        }
        let cancel = Cancel::new()?;
        state.running.insert(step, cancel.clone());
        Ok(Some(cancel))
    }

    /// A step that has ended.
    pub fn end(&self, step: usize) {
        self.lock().running.remove(&step);
    }

    /// Whether no step begins any more.
    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Lets no step begin any more and stops those of `worthless` that run; gives these. The others end as
    /// they will.
    pub fn supersede(&self, worthless: &dyn Fn(usize) -> bool) -> HashSet<usize> {
        let mut state = self.lock();
        state.closed = true;
        let stopped = state.running.iter().filter(|(step, _)| worthless(**step));
        stopped.map(|(step, cancel)| (*step, cancel.cancel()).0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_worthless_steps_are_stopped_and_none_begins_after_that() {
        let stops = Stops::default();
        let (one, two) = (stops.begin(1).unwrap().unwrap(), stops.begin(2).unwrap().unwrap());
        stops.begin(3).unwrap().unwrap();
        stops.end(3);
        assert_eq!(stops.supersede(&|step| step != 2), HashSet::from([1]));
        assert!(one.is_cancelled() && !two.is_cancelled() && stops.is_closed());
        assert!(stops.begin(4).unwrap().is_none());
    }
}
