//! What can go wrong where an entry is written, and which of the kernel's answers mean what.

use super::super::entry::{Entry, TreePath};
use rustix::io::Errno;
use std::io;

/// Why an entry could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call failed.
    #[error("cannot {action} /{}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: TreePath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The owner has no number in this user namespace.
    #[error("cannot give /{} to {uid}:{gid}: that owner is not mapped in this user namespace", path.display())]
    UnmappedOwner {
        /// Where.
        path: TreePath,
        /// The owner that was asked for.
        uid: u32,
        /// The group that was asked for.
        gid: u32,
    },
    /// Device nodes need privileges that a user namespace does not give.
    #[error("cannot create the device {major}:{minor} at /{}: this needs root", path.display())]
    Device {
        /// Where.
        path: TreePath,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// An extended attribute was refused.
    #[error("cannot set the attribute {name} of /{}", path.display())]
    Xattr {
        /// Where.
        path: TreePath,
        /// Its name; invalid UTF-8 is replaced.
        name: String,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The entry is of a kind that the called function does not write.
    #[error("/{} is not a {wanted}", path.display())]
    Kind {
        /// Where.
        path: TreePath,
        /// What the function writes.
        wanted: &'static str,
    },
}

/// The result of writing.
pub type Result<T> = std::result::Result<T, Error>;

pub(super) fn failed(action: &'static str, path: &TreePath, errno: Errno) -> Error {
    Error::Io { action, path: path.clone(), source: errno.into() }
}

pub(super) fn chown_failed(entry: &Entry, errno: Errno) -> Error {
    match errno {
        Errno::INVAL | Errno::PERM => Error::UnmappedOwner { path: entry.path.clone(), uid: entry.uid, gid: entry.gid },
        errno => failed("set the owner of", &entry.path, errno),
    }
}

pub(super) fn xattr_failed(path: &TreePath, name: &[u8], errno: Errno) -> Error {
    Error::Xattr { path: path.clone(), name: String::from_utf8_lossy(name).into_owned(), source: errno.into() }
}
