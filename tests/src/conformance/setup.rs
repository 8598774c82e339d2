//! Operations on a copy of a case's folder, for what a repository cannot keep: owners, odd modes,
//! attributes, hard links, special files, archives.
//!
//! Knows nothing of cases.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

/// One operation. Paths are relative to the folder; directories above a path are made.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Operation {
    /// Makes a directory.
    Dir {
        /// Where.
        path: String,
        /// Its mode; 0755 by default.
        #[serde(default)]
        mode: Option<u32>,
    },
    /// Writes a file.
    File {
        /// Where.
        path: String,
        /// What is in it.
        #[serde(default)]
        content: String,
        /// Its mode; 0644 by default.
        #[serde(default)]
        mode: Option<u32>,
    },
    /// Writes a file of so many bytes, all holes.
    Sparse {
        /// Where.
        path: String,
        /// Bytes.
        size: u64,
    },
    /// Makes a symbolic link.
    Symlink {
        /// Where.
        path: String,
        /// Its target as it is.
        target: String,
    },
    /// Gives a file another name.
    Hardlink {
        /// The new name.
        path: String,
        /// The file, relative to the folder.
        target: String,
    },
    /// Makes a named pipe.
    Fifo {
        /// Where.
        path: String,
    },
    /// Makes a socket.
    Socket {
        /// Where.
        path: String,
    },
    /// Makes a character device.
    Char {
        /// Where.
        path: String,
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// Sets a mode.
    Chmod {
        /// Of what.
        path: String,
        /// The mode.
        mode: u32,
    },
    /// Sets owner and group, of a link itself.
    Chown {
        /// Of what.
        path: String,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
    /// Sets an extended attribute, of a link itself.
    Xattr {
        /// Of what.
        path: String,
        /// Its whole name.
        name: String,
        /// Its value.
        value: String,
    },
    /// Sets the time of last change.
    Mtime {
        /// Of what.
        path: String,
        /// Seconds since 1970.
        seconds: u64,
    },
    /// Removes a file, or a directory with all in it.
    Remove {
        /// What.
        path: String,
    },
    /// Writes a tar.
    Archive {
        /// Where.
        path: String,
        /// How it is compressed.
        #[serde(default)]
        compression: Compression,
        /// What is in it, in this order.
        members: Vec<Member>,
    },
}

/// How an archive is compressed.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// With gzip.
    Gzip,
    /// With bzip2.
    Bzip2,
    /// With xz.
    Xz,
    /// With zstd.
    Zstd,
}

/// A member of an archive.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// As it stands in the archive.
    pub path: String,
    /// What it is.
    pub kind: MemberKind,
    /// Its mode; 0755 for directories, 0644 for others by default.
    #[serde(default)]
    pub mode: Option<u32>,
    /// Owner.
    #[serde(default)]
    pub uid: u64,
    /// Group.
    #[serde(default)]
    pub gid: u64,
    /// Seconds since 1970.
    #[serde(default)]
    pub mtime: u64,
    /// Extended attributes.
    #[serde(default)]
    pub xattrs: BTreeMap<String, String>,
}

/// What a member is.
#[derive(Clone, Debug, Deserialize)]
pub enum MemberKind {
    /// A file with this content.
    File(String),
    /// A directory.
    Dir,
    /// A symbolic link to this.
    Symlink(String),
    /// Another name of this.
    Hardlink(String),
    /// A named pipe.
    Fifo,
    /// A character device with its numbers.
    Char(u32, u32),
}

/// An operation that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up {path}")]
pub struct SetupError {
    path: String,
    #[source]
    source: io::Error,
}

/// Whether only root can do one of these.
pub fn needs_root(operations: &[Operation]) -> bool {
    operations.iter().any(|operation| matches!(operation, Operation::Chown { .. } | Operation::Char { .. }))
}

/// Carries the operations out below `folder`, in their order.
pub fn apply(folder: &Path, operations: &[Operation]) -> Result<(), SetupError> {
    operations.iter().try_for_each(|operation| {
        let path = operation.path();
        place(folder, path)
            .and_then(|place| apply_one(folder, &place, operation))
            .map_err(|source| SetupError { path: path.to_owned(), source })
    })
}

impl Operation {
    fn path(&self) -> &str {
        match self {
            Operation::Dir { path, .. }
            | Operation::File { path, .. }
            | Operation::Sparse { path, .. }
            | Operation::Symlink { path, .. }
            | Operation::Hardlink { path, .. }
            | Operation::Fifo { path }
            | Operation::Socket { path }
            | Operation::Char { path, .. }
            | Operation::Chmod { path, .. }
            | Operation::Chown { path, .. }
            | Operation::Xattr { path, .. }
            | Operation::Mtime { path, .. }
            | Operation::Remove { path }
            | Operation::Archive { path, .. } => path,
        }
    }
}

/// A path inside the folder.
fn place(folder: &Path, path: &str) -> io::Result<PathBuf> {
    if Path::new(path).components().any(|part| !matches!(part, Component::Normal(_) | Component::CurDir)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leaves the folder"));
    }
    let place = folder.join(path);
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent)?;
    }
    Ok(place)
}

fn apply_one(folder: &Path, place: &Path, operation: &Operation) -> io::Result<()> {
    let chmod = |mode: u32| fs::set_permissions(place, fs::Permissions::from_mode(mode));
    match operation {
        Operation::Dir { mode, .. } => {
            fs::create_dir_all(place)?;
            chmod(mode.unwrap_or(0o755))
        }
        Operation::File { content, mode, .. } => {
            fs::write(place, content)?;
            chmod(mode.unwrap_or(0o644))
        }
        Operation::Sparse { size, .. } => {
            fs::File::create(place)?.set_len(*size)?;
            chmod(0o644)
        }
        Operation::Symlink { target, .. } => std::os::unix::fs::symlink(target, place),
        Operation::Hardlink { target, .. } => fs::hard_link(self::place(folder, target)?, place),
        Operation::Fifo { .. } => {
            make_node(place, rustix::fs::FileType::Fifo, 0)?;
            chmod(0o644)
        }
        Operation::Socket { .. } => std::os::unix::net::UnixListener::bind(place).map(drop),
        Operation::Char { major, minor, .. } => {
            make_node(place, rustix::fs::FileType::CharacterDevice, rustix::fs::makedev(*major, *minor))?;
            chmod(0o644)
        }
        Operation::Chmod { mode, .. } => chmod(*mode),
        Operation::Chown { uid, gid, .. } => std::os::unix::fs::lchown(place, Some(*uid), Some(*gid)),
        Operation::Xattr { name, value, .. } => {
            let flags = rustix::fs::XattrFlags::empty();
            Ok(rustix::fs::lsetxattr(place, name.as_str(), value.as_bytes(), flags)?)
        }
        Operation::Mtime { seconds, .. } => {
            let time = UNIX_EPOCH + Duration::from_secs(*seconds);
            fs::File::open(place)?.set_times(fs::FileTimes::new().set_modified(time))
        }
        Operation::Remove { .. } if place.is_dir() && !place.is_symlink() => fs::remove_dir_all(place),
        Operation::Remove { .. } => fs::remove_file(place),
        Operation::Archive { compression, members, .. } => {
            fs::write(place, compress(*compression, &archive(members)?)?)?;
            chmod(0o644)
        }
    }
}

fn make_node(place: &Path, kind: rustix::fs::FileType, device: u64) -> io::Result<()> {
    Ok(rustix::fs::mknodat(rustix::fs::CWD, place, kind, rustix::fs::Mode::from_raw_mode(0o644), device)?)
}

fn archive(members: &[Member]) -> io::Result<Vec<u8>> {
    let mut builder = tar::Builder::new(Vec::new());
    for member in members {
        let mut header = tar::Header::new_ustar();
        let (kind, content, link) = match &member.kind {
            MemberKind::File(content) => (tar::EntryType::Regular, content.as_bytes(), None),
            MemberKind::Dir => (tar::EntryType::Directory, &b""[..], None),
            MemberKind::Symlink(target) => (tar::EntryType::Symlink, &b""[..], Some(target)),
            MemberKind::Hardlink(target) => (tar::EntryType::Link, &b""[..], Some(target)),
            MemberKind::Fifo => (tar::EntryType::Fifo, &b""[..], None),
            MemberKind::Char(major, minor) => {
                header.set_device_major(*major)?;
                header.set_device_minor(*minor)?;
                (tar::EntryType::Char, &b""[..], None)
            }
        };
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(member.mode.unwrap_or(if kind.is_dir() { 0o755 } else { 0o644 }));
        header.set_uid(member.uid);
        header.set_gid(member.gid);
        header.set_mtime(member.mtime);
        set_field(&mut header, &member.path, 0..100)?;
        if let Some(link) = link {
            set_field(&mut header, link, 157..257)?;
        }
        header.set_cksum();
        if !member.xattrs.is_empty() {
            let records: Vec<(String, &[u8])> =
                member.xattrs.iter().map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_bytes())).collect();
            builder.append_pax_extensions(records.iter().map(|(name, value)| (name.as_str(), *value)))?;
        }
        builder.append(&header, content)?;
    }
    builder.into_inner()
}

/// Writes a name as it is: the tar crate refuses those that a hostile archive has.
fn set_field(header: &mut tar::Header, text: &str, field: std::ops::Range<usize>) -> io::Result<()> {
    let bytes = Path::new(text).as_os_str().as_bytes();
    if bytes.len() >= field.len() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the member's name is too long"));
    }
    header.as_mut_bytes()[field][..bytes.len()].copy_from_slice(bytes);
    Ok(())
}

fn compress(compression: Compression, bytes: &[u8]) -> io::Result<Vec<u8>> {
    match compression {
        Compression::None => Ok(bytes.to_vec()),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(bytes)?;
            encoder.finish()
        }
        Compression::Zstd => zstd::encode_all(bytes, 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn operations_stay_in_the_folder_and_do_what_they_say() {
        let folder = tempfile::tempdir().expect("a directory");
        let outside = Operation::File { path: "../x".to_owned(), content: String::new(), mode: None };
        assert!(apply(folder.path(), &[outside]).is_err());
        let operations = [
            Operation::File { path: "d/a".to_owned(), content: "x".to_owned(), mode: Some(0o4750) },
            Operation::Hardlink { path: "b".to_owned(), target: "d/a".to_owned() },
            Operation::Mtime { path: "b".to_owned(), seconds: 7 },
        ];
        apply(folder.path(), &operations).expect("done");
        let found = fs::metadata(folder.path().join("d/a")).expect("there");
        assert_eq!((found.mode() & 0o7777, found.nlink(), found.mtime()), (0o4750, 2, 7));
    }

    #[test]
    fn archives_keep_owners_and_attributes_and_every_name() {
        let xattrs = BTreeMap::from([("user.x".to_owned(), "y".to_owned())]);
        let kind = MemberKind::File("text".to_owned());
        let member = Member { path: "../a".to_owned(), kind, mode: Some(0o600), uid: 7, gid: 8, mtime: 9, xattrs };
        let bytes = archive(&[member]).expect("in memory");
        let mut seen = Vec::new();
        crate::conformance::tar::members(&*bytes, &mut |member, _| {
            seen.push((member.path, member.uid, member.xattrs.len()));
            Ok(())
        })
        .expect("valid");
        assert_eq!(seen, [(b"../a".to_vec(), 7, 1)]);
    }
}
