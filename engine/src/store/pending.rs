//! What was sent to the database's writer and is not committed yet, so that whoever wrote reads it at once: the second of
//! two equal steps of a build finds what the first has made.
//!
//! Knows nothing of tables but their numbers.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

type Place = (usize, Box<[u8]>);

/// The newest write to each place, until it is committed.
#[derive(Debug, Default)]
pub(super) struct Pending {
    state: Mutex<State>,
    /// How many places there are: nothing is locked while there is none.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    places: HashMap<Place, (u64, Option<Vec<u8>>)>,
    last: u64,
}

/// A write that is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Ticket(u64);

impl Pending {
    /// Notes a write: the value that `table` is going to have under `key`, `None` where it goes.
    pub fn add(&self, table: usize, key: &[u8], value: Option<Vec<u8>>) -> Ticket {
        let mut state = self.lock();
        state.last += 1;
        let last = state.last;
        state.places.insert((table, key.into()), (last, value));
        self.count.store(state.places.len(), Ordering::Release);
        Ticket(last)
    }

    /// What is going to be there: `None` where nothing is waited for, `Some(None)` where it goes.
    pub fn get(&self, table: usize, key: &[u8]) -> Option<Option<Vec<u8>>> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        self.lock().places.get(&(table, key.into())).map(|(_, value)| value.clone())
    }

    /// Forgets a write that is committed, or has failed, unless a newer one to the same place is waited for.
    pub fn done(&self, table: usize, key: &[u8], ticket: Ticket) {
        let mut state = self.lock();
        let place = (table, key.into());
        if state.places.get(&place).is_some_and(|(number, _)| *number == ticket.0) {
            state.places.remove(&place);
        }
        self.count.store(state.places.len(), Ordering::Release);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_is_seen_until_it_is_done_and_a_newer_one_outlives_it() {
        let pending = Pending::default();
        assert_eq!(pending.get(1, b"a"), None);
        let first = pending.add(1, b"a", Some(vec![1]));
        assert_eq!(pending.get(1, b"a"), Some(Some(vec![1])));
        assert_eq!(pending.get(2, b"a"), None);
        let second = pending.add(1, b"a", None);
        pending.done(1, b"a", first);
        assert_eq!(pending.get(1, b"a"), Some(None));
        pending.done(1, b"a", second);
        assert_eq!(pending.get(1, b"a"), None);
    }
}
