//! A handle by which another thread stops running steps at once.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Stops every step that was started with it or a clone of it. Once cancelled, always cancelled.
#[derive(Clone, Debug)]
pub struct Cancel(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    cancelled: AtomicBool,
    /// Becomes readable on the first cancellation and is never read, so that it wakes all who wait.
    wake: OwnedFd,
}

impl Cancel {
    /// A handle that has not been used.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub fn new() -> io::Result<Cancel> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Cancel(Arc::new(Inner { cancelled: AtomicBool::new(false), wake })))
    }

    /// Kills what runs under this handle, and refuses what would start. Repeating it does nothing.
    pub fn cancel(&self) {
        if !self.0.cancelled.swap(true, Ordering::SeqCst) {
            // The counter starts at 0 and is written once: it cannot be full, so this cannot fail.
            let _ = rustix::io::write(&self.0.wake, &1u64.to_ne_bytes());
        }
    }

    /// Whether [`Cancel::cancel`] was called.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }
}

impl AsFd for Cancel {
    /// Readable from the cancellation on.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_is_cancelled_with_its_original() {
        let one = Cancel::new().unwrap();
        let other = one.clone();
        assert!(!other.is_cancelled());
        one.cancel();
        one.cancel();
        assert!(other.is_cancelled());
        let mut count = [0; 8];
        rustix::io::read(&other, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 1);
    }
}
