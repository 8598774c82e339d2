//! Unpacks an OCI layer's tar into a directory of overlay form and lists what it holds.
//!
//! `.wh.NAME` becomes a whiteout and `.wh..wh..opq` an opaque directory; both speak of lower layers
//! only, wherever they stand. Of several members with one path the last wins. A path that leads
//! through a symbolic link of the same layer is resolved inside the root, from the entries read so far
//! and never by the kernel; a path or hard link that climbs out of the root is refused. Character
//! devices 0:0 are whiteouts to overlayfs and are read as such. Hard links take everything from the
//! file they name. Knows nothing of digests, compression or stores.

mod tree;

use super::disk::{self, DirWriter};
use super::entry::{Entry, TreePath};
use super::tar::read::{self, Reader};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
pub(super) use tree::{Semantics, Unpacker};

/// The longest path or link target: the kernel's own limit (`PATH_MAX`).
pub const MAX_PATH_BYTES: usize = 4096;

/// Why an archive could not be unpacked. What was written stays in the directory, for the caller to
/// discard.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The archive is damaged or not one.
    #[error(transparent)]
    Tar(#[from] read::Error),
    /// An entry could not be written.
    #[error(transparent)]
    Write(#[from] disk::Error),
    /// Content could not be copied.
    #[error("cannot write the content of /{}", path.display())]
    Content {
        /// Where it goes.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A path with `..` that leads above the root.
    #[error("the archive's member {path:?} leads outside of its root")]
    Escapes {
        /// As stored; invalid UTF-8 is replaced.
        path: String,
    },
    /// A path or link target longer than the kernel takes.
    #[error("the archive's member {path:?}… is {length} bytes long; {MAX_PATH_BYTES} are allowed")]
    TooLong {
        /// Its beginning.
        path: String,
        /// Its length.
        length: usize,
    },
    /// A hard link to nothing, to a directory or to itself.
    #[error("the archive's hard link /{} names no file: /{}", path.display(), target.display())]
    LinkTarget {
        /// The link.
        path: TreePath,
        /// What it names.
        target: TreePath,
    },
    /// The links on the way to a member form a circle.
    #[error("the way to the archive's member /{} is a circle of symbolic links", path.display())]
    SymlinkLoop {
        /// The member.
        path: TreePath,
    },
    /// A member lies below something that is no directory.
    #[error("the archive's member /{} lies below /{}, which is not a directory", path.display(), parent.display())]
    NotADirectory {
        /// The member.
        path: TreePath,
        /// What is in its way.
        parent: TreePath,
    },
    /// A whiteout for no valid name, or a directory called like one.
    #[error("the archive's member /{} is no valid whiteout", path.display())]
    Whiteout {
        /// The member.
        path: TreePath,
    },
    /// Something that cannot stand in a layer.
    #[error("the archive's member /{} is {what}, which no layer can hold", path.display())]
    Unsupported {
        /// The member.
        path: TreePath,
        /// What it is.
        what: &'static str,
    },
}

/// What lies below the layer that is being written. Paths are exact: links are not followed here.
pub trait Lower {
    /// The entry that a step on top of the lower layers would see at `path`; `None` where there is none.
    fn entry(&self, path: &TreePath) -> Option<Entry>;

    /// Opens the regular file at `path`, for which [`Lower::entry`] returned a file.
    fn open(&self, path: &TreePath) -> io::Result<File>;
}

/// Nothing below.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLower;

impl Lower for NoLower {
    fn entry(&self, _: &TreePath) -> Option<Entry> {
        None
    }

    fn open(&self, _: &TreePath) -> io::Result<File> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// Unpacks the uncompressed layer `reader` into the empty directory `dir`; returns its entries, sorted.
///
/// From `lower` come the attributes of directories that the layer leaves out on the way to its members
/// (0755 root:root without one), and the files that hard links name but the layer does not hold (they
/// are copied). The reader is read to its end, what follows the archive included. A whiteout of the
/// whole root makes the root entry opaque: overlayfs does not read that mark there, so whoever stacks
/// layers leaves the lower ones out.
pub fn unpack(reader: impl Read, dir: &Path, lower: &dyn Lower) -> Result<Vec<Entry>, Error> {
    let mut writer = DirWriter::new(dir)?;
    let mut unpacker = Unpacker::new(&mut writer, lower, Semantics::Layer);
    let mut reader = Reader::new(reader);
    while let Some(member) = reader.next_member()? {
        unpacker.member(member, &mut reader)?;
    }
    reader.drain()?;
    let entries = unpacker.finish();
    writer.finish()?;
    Ok(entries)
}

#[cfg(test)]
mod tests;
