//! The private directory of one running process, and the removal of those that died.
//!
//! A session is a directory in `tmp` whose lock its process holds; the kernel drops the lock when
//! the process ends in whatever way, and the next session removes what it left.

use super::{StoreError, io_at};
use rustix::fs::{FlockOperation, Mode, OFlags};
use std::fs;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// A locked directory of this process.
pub struct Session {
    path: PathBuf,
    next: AtomicU64,
    /// Held for its lock.
    _lock: OwnedFd,
}

fn open(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

impl Session {
    /// Makes a session below `tmp` and removes those whose process is gone.
    pub fn begin(tmp: &Path) -> Result<Self, StoreError> {
        sweep(tmp);
        loop {
            let directory = tempname(tmp);
            fs::create_dir(&directory).map_err(io_at("failed to make", &directory))?;
            // Between making and locking it, another process may take it for a dead one's.
            let Ok(lock) = open(&directory) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() && directory.exists() {
                return Ok(Session { path: directory, next: AtomicU64::new(0), _lock: lock });
            }
        }
    }

    /// A path in the session that nothing else uses; nothing is there yet.
    pub fn unique(&self, what: &str) -> PathBuf {
        self.path.join(format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed)))
    }

    /// Makes a fresh directory in the session.
    pub fn directory(&self, what: &str) -> Result<PathBuf, StoreError> {
        let path = self.unique(what);
        fs::create_dir(&path).map_err(io_at("failed to make", &path))?;
        Ok(path)
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // What cannot be removed now is removed by the next session.
        let _ = fs::remove_dir_all(&self.path);
    }
}

fn tempname(tmp: &Path) -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
    tmp.join(format!("{}-{count}-{time:x}", std::process::id()))
}

/// Removes the sessions that no process holds.
fn sweep(tmp: &Path) {
    let Ok(entries) = fs::read_dir(tmp) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(lock) = open(&path) else { continue };
        if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(&path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_session_is_removed_and_a_living_one_is_not() {
        let tmp = tempfile::tempdir().unwrap();
        let living = Session::begin(tmp.path()).unwrap();
        let file = living.unique("file");
        fs::write(&file, "x").unwrap();
        let dead = tmp.path().join("1-0-0");
        fs::create_dir(&dead).unwrap();
        fs::write(dead.join("left"), "x").unwrap();
        let other = Session::begin(tmp.path()).unwrap();
        assert!(file.exists());
        assert!(!dead.exists());
        drop((living, other));
        assert_eq!(fs::read_dir(tmp.path()).unwrap().count(), 0);
    }
}
