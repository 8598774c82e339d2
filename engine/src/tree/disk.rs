//! Writes entries below one directory, in the form in which overlayfs keeps a layer on disk: a
//! removed path is a character device 0:0, an opaque directory has the xattr `user.overlay.opaque`.
//!
//! The directory belongs to the writer alone while it writes. Every path is resolved beneath a held
//! descriptor with symbolic links refused, so no entry is ever written outside, whatever its path
//! says. Knows nothing of tar, of contexts or of what a layer is for.

mod copy;
mod error;

pub use copy::{copy_file, copy_file_hashed};
pub use error::{Error, Result};

use super::entry::{Entry, Kind, Mtime, TreePath};
use error::{chown_failed, failed, xattr_failed};
use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// The attribute that makes an overlay directory opaque, where the mount has `userxattr`.
pub const OPAQUE_XATTR: &str = "user.overlay.opaque";

/// Mode of a directory that nothing describes.
pub const IMPLIED_DIR_MODE: u32 = 0o755;

/// What a directory still gets once everything below it is written.
#[derive(Clone, Copy)]
struct Deferred {
    /// Set where the owner could not write into a directory of the final mode.
    mode: Option<u32>,
    mtime: Mtime,
}

/// Whether this process is in a user namespace of its own, where no device node can be made.
pub fn in_user_namespace() -> bool {
    // The first namespace maps every id to itself: 0 0 4294967295.
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    map.split_whitespace().ne(["0", "0", "4294967295"])
}

/// Writes below one directory. The descriptor of the last parent is kept, so entries in the order of
/// a walk cost one look-up a directory.
///
/// Directories that no entry described are made 0755, owner 0:0, as parents of what is written.
/// [`DirWriter::finish`] must be called last: it sets the times of directories.
pub struct DirWriter {
    root: OwnedFd,
    parent: Option<(TreePath, OwnedFd)>,
    deferred: BTreeMap<TreePath, Deferred>,
    set_owner: bool,
}

impl DirWriter {
    /// Writes below `dir`, which exists.
    pub fn new(dir: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(dir, flags, Mode::empty()).map_err(|errno| Error::Io {
            action: "open the directory for",
            path: TreePath::root(),
            source: errno.into(),
        })?;
        Ok(DirWriter { root, parent: None, deferred: BTreeMap::new(), set_owner: true })
    }

    /// Leaves everything to the user who writes: for trees that leave the store for a plain directory.
    #[must_use]
    pub fn ignoring_owners(mut self) -> Self {
        self.set_owner = false;
        self
    }

    /// Makes a directory with the entry's metadata, or gives them to the directory that is there.
    /// The time is set by [`DirWriter::finish`].
    pub fn mkdir(&mut self, entry: &Entry) -> Result<()> {
        let Kind::Dir { opaque } = entry.kind else {
            return Err(Error::Kind { path: entry.path.clone(), wanted: "directory" });
        };
        if !entry.path.is_root() {
            let (parent, name) = self.parent_of(&entry.path)?;
            match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode((entry.mode & 0o7777) | 0o700)) {
                Ok(()) => {}
                Err(Errno::EXIST) if is_dir(parent, name) => {}
                Err(errno) => return Err(failed("create the directory", &entry.path, errno)),
            }
        }
        self.set_metadata(entry)?;
        if opaque { self.set_opaque(&entry.path) } else { Ok(()) }
    }

    /// Makes a symbolic link.
    pub fn symlink(&mut self, entry: &Entry) -> Result<()> {
        let Kind::Symlink { target } = &entry.kind else {
            return Err(Error::Kind { path: entry.path.clone(), wanted: "symbolic link" });
        };
        let (parent, name) = self.parent_of(&entry.path)?;
        rustix::fs::symlinkat(&**target, parent, name)
            .map_err(|errno| failed("create the symbolic link", &entry.path, errno))?;
        self.set_metadata(entry)
    }

    /// Makes a character or block device, a named pipe or a socket.
    pub fn special(&mut self, entry: &Entry) -> Result<()> {
        let (kind, device) = match entry.kind {
            Kind::CharDevice { major, minor } => (FileType::CharacterDevice, Some((major, minor))),
            Kind::BlockDevice { major, minor } => (FileType::BlockDevice, Some((major, minor))),
            Kind::Fifo => (FileType::Fifo, None),
            Kind::Socket => (FileType::Socket, None),
            _ => return Err(Error::Kind { path: entry.path.clone(), wanted: "device, pipe or socket" }),
        };
        let (major, minor) = device.unwrap_or_default();
        let (parent, name) = self.parent_of(&entry.path)?;
        let mode = Mode::from_raw_mode(entry.mode & 0o7777);
        rustix::fs::mknodat(parent, name, kind, mode, rustix::fs::makedev(major, minor)).map_err(|errno| {
            match (errno, device) {
                (Errno::PERM, Some((major, minor))) => Error::Device { path: entry.path.clone(), major, minor },
                _ => failed("create the node", &entry.path, errno),
            }
        })?;
        self.set_metadata(entry)
    }

    /// The same for a layer of the store. In a user namespace nobody can make a device, and one is left out
    /// there, as every builder without root does: the listing has it, and with it the image; a step does
    /// not miss it, because its /dev is its own.
    pub fn special_if_possible(&mut self, entry: &Entry) -> Result<()> {
        match self.special(entry) {
            Err(Error::Device { .. }) if in_user_namespace() => Ok(()),
            done => done,
        }
    }

    /// Marks `path` as removed.
    pub fn whiteout(&mut self, path: &TreePath) -> Result<()> {
        let (parent, name) = self.parent_of(path)?;
        rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
            .map_err(|errno| failed("create the whiteout", path, errno))
    }

    /// Hides what lower layers have in the directory `path`.
    pub fn set_opaque(&mut self, path: &TreePath) -> Result<()> {
        self.xattr(path, FileType::Directory, OPAQUE_XATTR.as_bytes(), b"y")
    }

    /// Makes `to` another name of `from`, which exists.
    pub fn hardlink(&mut self, from: &TreePath, to: &TreePath) -> Result<()> {
        let source = self.open_parent_of(from)?;
        let (parent, name) = self.parent_of(to)?;
        rustix::fs::linkat(&source, file_name(from), parent, name, AtFlags::empty())
            .map_err(|errno| failed("create the hard link", to, errno))
    }

    /// Creates a regular file that must not exist, open for writing. `mode` is what the entry will
    /// have; the umask may still narrow it until [`DirWriter::finish_file`].
    pub fn create(&mut self, path: &TreePath, mode: u32) -> Result<File> {
        let (parent, name) = self.parent_of(path)?;
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(mode & 0o777))
            .map_err(|errno| failed("create", path, errno))?;
        Ok(File::from(fd))
    }

    /// Gives a file that [`DirWriter::create`] opened its owner, xattrs, mode and time. Call it after
    /// the last write. Needs no exclusive access, so files may be finished on other threads.
    pub fn finish_file(&self, file: &File, entry: &Entry) -> Result<()> {
        let path = &entry.path;
        let stat = rustix::fs::fstat(file).map_err(|errno| failed("read the state of", path, errno))?;
        let chowned = self.set_owner && (stat.st_uid != entry.uid || stat.st_gid != entry.gid);
        if chowned {
            let (uid, gid) = owner(entry)?;
            rustix::fs::fchown(file, Some(uid), Some(gid)).map_err(|errno| chown_failed(entry, errno))?;
        }
        for (name, value) in &entry.xattrs {
            rustix::fs::fsetxattr(file, &**name, value, XattrFlags::empty())
                .map_err(|errno| xattr_failed(path, name, errno))?;
        }
        if needs_chmod(&stat, entry, chowned) {
            rustix::fs::fchmod(file, Mode::from_raw_mode(entry.mode & 0o7777))
                .map_err(|errno| failed("set the mode of", path, errno))?;
        }
        rustix::fs::futimens(file, &times(entry.mtime)).map_err(|errno| failed("set the time of", path, errno))
    }

    /// Gives what stands at the entry's path its owner, xattrs, mode and time. Links are not followed.
    /// A directory gets its time, and a mode that would lock its owner out, from [`DirWriter::finish`].
    pub fn set_metadata(&mut self, entry: &Entry) -> Result<()> {
        let path = &entry.path;
        let set_owner = self.set_owner;
        let (parent, name) = self.parent_of(path)?;
        let stat = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("read the state of", path, errno))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        let chowned = set_owner && (stat.st_uid != entry.uid || stat.st_gid != entry.gid);
        if chowned {
            let (uid, gid) = owner(entry)?;
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| chown_failed(entry, errno))?;
        }
        for (name, value) in &entry.xattrs {
            self.xattr(path, kind, name, value)?;
        }
        let late_mode = kind == FileType::Directory && entry.mode & 0o700 != 0o700;
        let (parent, name) = self.parent_of(path)?;
        if kind != FileType::Symlink && !late_mode && needs_chmod(&stat, entry, chowned) {
            // Follows links, but this is none: only the writer changes this directory.
            rustix::fs::chmodat(parent, name, Mode::from_raw_mode(entry.mode & 0o7777), AtFlags::empty())
                .map_err(|errno| failed("set the mode of", path, errno))?;
        }
        if kind == FileType::Directory {
            let deferred = Deferred { mode: late_mode.then_some(entry.mode & 0o7777), mtime: entry.mtime };
            self.deferred.insert(path.clone(), deferred);
            return Ok(());
        }
        rustix::fs::utimensat(parent, name, &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed("set the time of", path, errno))
    }

    /// Removes what stands at `path`, with all below it. Nothing there is no error.
    pub fn remove(&mut self, path: &TreePath) -> Result<()> {
        if self.parent.as_ref().is_some_and(|(parent, _)| parent.starts_with(path)) {
            self.parent = None;
        }
        self.deferred.retain(|dir, _| !dir.starts_with(path));
        let (parent, name) = self.parent_of(path)?;
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            // std removes a tree by descriptors and never follows a link in it.
            Err(Errno::ISDIR) => std::fs::remove_dir_all(proc_path(parent, name)).map_err(|source| Error::Io {
                action: "remove",
                path: path.clone(),
                source,
            }),
            Err(errno) => Err(failed("remove", path, errno)),
        }
    }

    /// Sets the times that writing into directories would have changed again, deepest first.
    pub fn finish(mut self) -> Result<()> {
        let deferred = std::mem::take(&mut self.deferred);
        for (path, Deferred { mode, mtime }) in deferred.into_iter().rev() {
            let (parent, name) = self.parent_of(&path)?;
            rustix::fs::utimensat(parent, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|errno| failed("set the time of", &path, errno))?;
            if let Some(mode) = mode {
                rustix::fs::chmodat(parent, name, Mode::from_raw_mode(mode), AtFlags::empty())
                    .map_err(|errno| failed("set the mode of", &path, errno))?;
            }
        }
        Ok(())
    }

    fn xattr(&mut self, path: &TreePath, kind: FileType, name: &[u8], value: &[u8]) -> Result<()> {
        let (parent, file) = self.parent_of(path)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let done = if matches!(kind, FileType::RegularFile | FileType::Directory) {
            rustix::fs::openat(parent, file, flags, Mode::empty())
                .and_then(|fd| rustix::fs::fsetxattr(fd, name, value, XattrFlags::empty()))
        } else {
            // Links cannot be opened and opening a device may act: name them below their parent.
            rustix::fs::lsetxattr(proc_path(parent, file), name, value, XattrFlags::empty())
        };
        done.map_err(|errno| xattr_failed(path, name, errno))
    }

    /// The directory that holds `path`, made where it is missing, and the last part of `path`. The
    /// root is `.` in itself.
    fn parent_of<'a, 'p>(&'a mut self, path: &'p TreePath) -> Result<(BorrowedFd<'a>, &'p [u8])> {
        let parent = path.parent().unwrap_or_default();
        if parent.is_root() {
            return Ok((self.root.as_fd(), file_name(path)));
        }
        if self.parent.as_ref().is_none_or(|(cached, _)| *cached != parent) {
            let fd = match self.open_dir(&parent) {
                Err(Errno::NOENT) => {
                    self.make_parents(&parent)?;
                    self.open_dir(&parent)
                }
                opened => opened,
            };
            self.parent = Some((parent.clone(), fd.map_err(|errno| failed("open", &parent, errno))?));
        }
        let (_, fd) = self.parent.as_ref().expect("the cache was filled above");
        Ok((fd.as_fd(), file_name(path)))
    }

    fn open_parent_of(&self, path: &TreePath) -> Result<OwnedFd> {
        let parent = path.parent().unwrap_or_default();
        self.open_dir(&parent).map_err(|errno| failed("open", &parent, errno))
    }

    fn open_dir(&self, path: &TreePath) -> std::result::Result<OwnedFd, Errno> {
        let path = if path.is_root() { b"." } else { path.as_bytes() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.root, path, flags, Mode::empty(), resolve)
    }

    fn make_parents(&self, path: &TreePath) -> Result<()> {
        let mut missing = path.ancestors();
        missing.push(path.clone());
        for dir in missing.iter().filter(|dir| !dir.is_root()) {
            let parent = self.open_parent_of(dir)?;
            match rustix::fs::mkdirat(&parent, file_name(dir), Mode::from_raw_mode(IMPLIED_DIR_MODE)) {
                Ok(()) => {}
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(failed("create the directory", dir, errno)),
            }
            rustix::fs::chmodat(&parent, file_name(dir), Mode::from_raw_mode(IMPLIED_DIR_MODE), AtFlags::empty())
                .map_err(|errno| failed("set the mode of", dir, errno))?;
            if self.set_owner && !rustix::process::geteuid().is_root() {
                rustix::fs::chownat(
                    &parent,
                    file_name(dir),
                    Some(Uid::ROOT),
                    Some(Gid::ROOT),
                    AtFlags::SYMLINK_NOFOLLOW,
                )
                .map_err(|_| Error::UnmappedOwner { path: dir.clone(), uid: 0, gid: 0 })?;
            }
        }
        Ok(())
    }
}

fn file_name(path: &TreePath) -> &[u8] {
    let bytes = path.as_bytes();
    match bytes.iter().rposition(|&b| b == b'/') {
        Some(slash) => &bytes[slash + 1..],
        None if bytes.is_empty() => b".",
        None => bytes,
    }
}

fn is_dir(parent: BorrowedFd<'_>, name: &[u8]) -> bool {
    rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}

fn proc_path(parent: BorrowedFd<'_>, name: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt as _;
    Path::new("/proc/self/fd").join(parent.as_raw_fd().to_string()).join(std::ffi::OsStr::from_bytes(name))
}

/// `u32::MAX` means "leave it" to chown, so no file can have it.
fn owner(entry: &Entry) -> Result<(Uid, Gid)> {
    if entry.uid == u32::MAX || entry.gid == u32::MAX {
        return Err(Error::UnmappedOwner { path: entry.path.clone(), uid: entry.uid, gid: entry.gid });
    }
    Ok((Uid::from_raw(entry.uid), Gid::from_raw(entry.gid)))
}

/// chown clears setuid and setgid, so these are set again after it.
fn needs_chmod(stat: &Stat, entry: &Entry, chowned: bool) -> bool {
    stat.st_mode & 0o7777 != entry.mode & 0o7777 || (chowned && entry.mode & 0o6000 != 0)
}

fn times(mtime: Mtime) -> Timestamps {
    let time = Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.min(999_999_999).into() };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
pub(in crate::tree) mod tests;
