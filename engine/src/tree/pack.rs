//! Packs a layer's entries as the tar that OCI describes, always with the same bytes.
//!
//! Members are sorted by path; PAX extensions stand only where ustar cannot hold a value; user and
//! group names are left out; times are whole seconds (the fraction is cut, as containerd cuts it, so
//! that most members need no extension); sockets are left out. A removed path is an empty `.wh.NAME`,
//! an opaque directory is followed by an empty `.wh..wh..opq`. Memory does not grow with the layer.
//! Knows nothing of digests and compression.

use super::entry::{Entry, Kind, TreePath, Xattrs};
use super::tar::header::{self, Head};
use super::tar::{BLOCK_BYTES, OPAQUE_NAME, WHITEOUT_PREFIX};
use std::fs::File;
use std::io::{self, Read as _, Write};

/// How a layer is packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PackOptions {
    /// Seconds since 1970: what changed later gets this time (`SOURCE_DATE_EPOCH`).
    pub clamp: Option<i64>,
}

/// Why a layer could not be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the layer could not be read.
    #[error("cannot read /{}", path.display())]
    Read {
        /// Which.
        path: TreePath,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The output failed.
    #[error("cannot write the layer's tar")]
    Write(#[source] io::Error),
    /// A file is shorter or longer than its entry says.
    #[error("/{} is no longer {size} bytes long", path.display())]
    Size {
        /// Which.
        path: TreePath,
        /// What the entry says.
        size: u64,
    },
    /// OCI layers use these names for removed paths: such a file would remove another one.
    #[error("/{} cannot be in an image: names that begin with .wh. mark removed files in a layer", path.display())]
    ReservedName {
        /// Which.
        path: TreePath,
    },
    /// An xattr name with `=` has no form in a tar.
    #[error("/{} cannot be in an image: its attribute {name} has a = in its name", path.display())]
    XattrName {
        /// Which.
        path: TreePath,
        /// Its name; invalid UTF-8 is replaced.
        name: String,
    },
    /// The entries are not in the order of their paths, or a path stands twice.
    #[error("/{} is out of order in its layer", path.display())]
    Order {
        /// The second of the two.
        path: TreePath,
    },
}

/// Writes the tar of `entries`, which are sorted by path; `files` opens a regular file of the layer.
pub fn pack(
    entries: &[Entry],
    files: &dyn Fn(&TreePath) -> io::Result<File>,
    options: &PackOptions,
    out: &mut dyn Write,
) -> Result<(), Error> {
    let mut buffer = vec![0; COPY_BYTES];
    let mut name = Vec::new();
    for (at, entry) in entries.iter().enumerate() {
        if at > 0 && entries[at - 1].path >= entry.path {
            return Err(Error::Order { path: entry.path.clone() });
        }
        check(entry)?;
        member_name(entry, &mut name);
        let mut head = Head {
            path: &name,
            kind: b'0',
            mode: entry.mode,
            uid: entry.uid,
            gid: entry.gid,
            size: 0,
            mtime: entry.mtime.seconds.min(options.clamp.unwrap_or(i64::MAX)),
            link: b"",
            device: (0, 0),
            xattrs: &entry.xattrs,
        };
        match &entry.kind {
            Kind::File { size, .. } => {
                head.size = *size;
                // Opened first: an error should not leave a header without data behind it.
                let file = files(&entry.path).map_err(|source| Error::Read { path: entry.path.clone(), source })?;
                header::write_head(out, &head).map_err(Error::Write)?;
                copy(file, *size, &entry.path, &mut buffer, out)?;
                header::pad(out, *size).map_err(Error::Write)?;
                continue;
            }
            Kind::Dir { .. } => head.kind = b'5',
            Kind::Symlink { target } => (head.kind, head.link) = (b'2', target),
            Kind::Hardlink { to } => (head.kind, head.link) = (b'1', to.as_bytes()),
            Kind::CharDevice { major, minor } => (head.kind, head.device) = (b'3', (*major, *minor)),
            Kind::BlockDevice { major, minor } => (head.kind, head.device) = (b'4', (*major, *minor)),
            Kind::Fifo => head.kind = b'6',
            Kind::Socket => continue,
            Kind::Whiteout => {}
        }
        header::write_head(out, &head).map_err(Error::Write)?;
        if entry.kind == (Kind::Dir { opaque: true }) {
            let marker = entry.path.join(OPAQUE_NAME);
            let head = Head {
                path: marker.as_bytes(),
                kind: b'0',
                mode: 0,
                uid: 0,
                gid: 0,
                mtime: 0,
                xattrs: &NO_XATTRS,
                ..head
            };
            header::write_head(out, &head).map_err(Error::Write)?;
        }
    }
    out.write_all(&[0; 2 * BLOCK_BYTES]).map_err(Error::Write)
}

/// What the mark of an opaque directory has.
static NO_XATTRS: Xattrs = Vec::new();

/// Enough that reading is not many calls, little enough that packing layers side by side is cheap.
const COPY_BYTES: usize = 64 << 10;

fn check(entry: &Entry) -> Result<(), Error> {
    let name = entry.path.file_name();
    let whiteout = entry.kind == Kind::Whiteout;
    if (whiteout && name.is_none()) || name.is_some_and(|name| name.starts_with(WHITEOUT_PREFIX)) {
        return Err(Error::ReservedName { path: entry.path.clone() });
    }
    match entry.xattrs.iter().find(|(name, _)| name.contains(&b'=')) {
        Some((name, _)) => {
            Err(Error::XattrName { path: entry.path.clone(), name: String::from_utf8_lossy(name).into_owned() })
        }
        None => Ok(()),
    }
}

fn member_name(entry: &Entry, name: &mut Vec<u8>) {
    name.clear();
    let path = entry.path.as_bytes();
    match entry.kind {
        Kind::Whiteout => {
            let start = path.iter().rposition(|&b| b == b'/').map_or(0, |slash| slash + 1);
            name.extend_from_slice(&path[..start]);
            name.extend_from_slice(WHITEOUT_PREFIX);
            name.extend_from_slice(&path[start..]);
        }
        Kind::Dir { .. } if entry.path.is_root() => name.extend_from_slice(b"./"),
        Kind::Dir { .. } => {
            name.extend_from_slice(path);
            name.push(b'/');
        }
        _ => name.extend_from_slice(path),
    }
}

fn copy(mut file: File, size: u64, path: &TreePath, buffer: &mut [u8], out: &mut dyn Write) -> Result<(), Error> {
    let mut left = size;
    loop {
        match file.read(buffer) {
            Ok(0) if left == 0 => return Ok(()),
            Ok(read) if read > 0 && read as u64 <= left => {
                out.write_all(&buffer[..read]).map_err(Error::Write)?;
                left -= read as u64;
            }
            Ok(_) => return Err(Error::Size { path: path.clone(), size }),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(source) => return Err(Error::Read { path: path.clone(), source }),
        }
    }
}

#[cfg(test)]
mod tests;
