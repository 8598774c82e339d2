//! Pins: what a process uses, so that no collection takes it away from under it.
//!
//! A pin is a shared lock on one byte of the file `pins`, at an offset that the thing's digest says; the
//! kernel drops it with the process, however that ends. Whoever removes something takes the byte for
//! itself first, and gives up where it is pinned. Two things may share a byte: then one is kept a little
//! longer. Costs one system call a thing, and one descriptor for all of them.

use super::{StoreError, io_at};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

/// The pins of one process, or of one collection.
#[derive(Debug)]
pub struct Pins {
    file: File,
    path: PathBuf,
}

#[derive(Clone, Copy)]
enum Lock {
    Shared,
    Exclusive,
    None,
}

/// The byte that stands for a digest: within what a file offset may be.
fn offset(digest: &[u8; 32]) -> i64 {
    let first = digest.first_chunk::<8>().expect("a digest has 32 bytes");
    (u64::from_le_bytes(*first) >> 2) as i64
}

impl Pins {
    /// Opens the pins of the store at `root`. Each opening is a user of its own.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let path = root.join("pins");
        let mut options = File::options();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(io_at("failed to open", &path))?;
        Ok(Pins { file, path })
    }

    fn lock(&self, lock: Lock, start: i64, length: i64, wait: bool) -> io::Result<()> {
        #[expect(unsafe_code, reason = "locks of a part of a file are in no safe library")]
        // SAFETY: the descriptor is open, and the description is valid for the call; `flock` is plain data for
        // which all zeroes is a valid value.
        unsafe {
            let mut part: libc::flock = std::mem::zeroed();
            let kind = match lock {
                Lock::Shared => libc::F_RDLCK,
                Lock::Exclusive => libc::F_WRLCK,
                Lock::None => libc::F_UNLCK,
            };
            part.l_type = kind as libc::c_short;
            part.l_whence = libc::SEEK_SET as libc::c_short;
            (part.l_start, part.l_len) = (start, length);
            let command = if wait { libc::F_OFD_SETLKW } else { libc::F_OFD_SETLK };
            loop {
                if libc::fcntl(self.file.as_raw_fd(), command, &raw const part) == 0 {
                    return Ok(());
                }
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }

    /// Pins a thing. Where it is being removed at this moment, waits until it is gone: what is there
    /// afterwards stays.
    pub fn pin(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        self.lock(Lock::Shared, offset(digest), 1, true).map_err(io_at("failed to lock", &self.path))
    }

    /// Gives all pins up.
    pub fn release(&self) -> Result<(), StoreError> {
        self.lock(Lock::None, 0, 0, false).map_err(io_at("failed to unlock", &self.path))
    }

    /// Takes a thing for removal; says whether nobody has pinned it.
    pub fn take(&self, digest: &[u8; 32]) -> Result<bool, StoreError> {
        match self.lock(Lock::Exclusive, offset(digest), 1, false) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.raw_os_error() == Some(libc::EACCES) => Ok(false),
            Err(error) => Err(io_at("failed to lock", &self.path)(error)),
        }
    }

    /// Gives back what was taken.
    pub fn give_back(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        self.lock(Lock::None, offset(digest), 1, false).map_err(io_at("failed to unlock", &self.path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_pinned_is_not_taken() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (Pins::open(dir.path()).unwrap(), Pins::open(dir.path()).unwrap());
        let collector = Pins::open(dir.path()).unwrap();
        let (thing, other) = ([7; 32], [8; 32]);
        one.pin(&thing).unwrap();
        two.pin(&thing).unwrap();
        two.pin(&thing).unwrap();
        assert!(!collector.take(&thing).unwrap());
        assert!(collector.take(&other).unwrap());
        collector.give_back(&other).unwrap();
        drop(one);
        assert!(!collector.take(&thing).unwrap());
        two.release().unwrap();
        assert!(collector.take(&thing).unwrap());
    }

    #[test]
    fn a_pin_waits_for_a_removal_that_has_begun() {
        let dir = tempfile::tempdir().unwrap();
        let (user, collector) = (Pins::open(dir.path()).unwrap(), Pins::open(dir.path()).unwrap());
        assert!(collector.take(&[0xff; 32]).unwrap());
        let waiting = std::thread::spawn(move || user.pin(&[0xff; 32]).unwrap());
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert!(!waiting.is_finished());
        collector.give_back(&[0xff; 32]).unwrap();
        waiting.join().unwrap();
    }
}
