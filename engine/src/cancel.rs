//! The handle that stops a build from outside: a flag and a descriptor to wait on.
//!
//! Both ends are safe to use from a signal handler. Knows nothing of signals itself.

use rustix::event::{EventfdFlags, eventfd};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops what it was given to; clones are the same handle.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancelled: AtomicBool,
    wake: OwnedFd,
}

impl Cancel {
    /// A handle that nobody has used yet. Fails where no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Cancel(Arc::new(Inner { cancelled: AtomicBool::new(false), wake })))
    }

    /// Asks for the stop; says whether this was the first time. Neither allocates nor blocks nor
    /// takes a lock, so a signal handler may call it.
    pub fn cancel(&self) -> bool {
        let first = !self.0.cancelled.swap(true, Ordering::SeqCst);
        // A full counter is readable too, so a failed write changes nothing for who waits.
        let _readable_anyway = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
        first
    }

    /// Whether the stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

impl AsFd for Cancel {
    /// A descriptor that becomes readable with the stop and stays so: poll it beside a step's pipes,
    /// and never read from it.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn readable(cancel: &Cancel) -> bool {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut [PollFd::new(cancel, PollFlags::IN)], Some(&now)).unwrap() == 1
    }

    #[test]
    fn a_stop_is_seen_by_every_clone_and_by_every_poll() {
        let cancel = Cancel::new().unwrap();
        let clone = cancel.clone();
        assert!(!clone.is_cancelled());
        assert!(!readable(&clone));
        assert!(cancel.cancel(), "the first call says so");
        assert!(!cancel.cancel(), "the second is another answer");
        assert!(clone.is_cancelled());
        assert!(readable(&clone));
        assert!(readable(&clone), "a poll takes nothing away");
    }
}
