//! Mount points that a step's root lacks, as a layer of their own above the snapshot and below `upper`.
//!
//! So a missing `/proc` or a secret's target never becomes part of what the step changed, and nothing
//! has to be cleaned up after it. Directories on the way repeat the attributes of those they stand for.
//!
//! Knows the snapshot only through a look-up function; resolves symbolic links by itself, inside the root.

use super::spec::Mount;
use crate::tree::{Entry, Kind, Mtime, TreePath, Xattrs};
use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// How many links a path may pass, as in the kernel.
const LONGEST_LINK_CHAIN: usize = 40;

/// What every sandbox mounts, and whether it is a directory. A link or anything else that stands in its
/// place is hidden while the step runs: no image decides where `/proc` goes.
const SYSTEM: [(&str, bool); 5] =
    [("/dev", true), ("/proc", true), ("/sys", true), ("/etc/hosts", false), ("/etc/resolv.conf", false)];

/// What a snapshot has at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Existing {
    /// What it is.
    pub kind: ExistingKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Mtime,
    /// Extended attributes.
    pub xattrs: Xattrs,
}

/// What kind of thing exists.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ExistingKind {
    /// A directory.
    Directory,
    /// A regular file, device, pipe or socket.
    File,
    /// A symbolic link to this.
    Symlink(Box<[u8]>),
}

impl Existing {
    /// What an entry of a merged tree means; `None` for a whiteout.
    pub fn from_entry(entry: &Entry) -> Option<Existing> {
        let kind = match &entry.kind {
            Kind::Whiteout => return None,
            Kind::Dir { .. } => ExistingKind::Directory,
            Kind::Symlink { target } => ExistingKind::Symlink(target.clone()),
            _ => ExistingKind::File,
        };
        let Entry { mode, uid, gid, mtime, .. } = *entry;
        Some(Existing { kind, mode, uid, gid, mtime, xattrs: entry.xattrs.clone() })
    }
}

/// Why mount points cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum StubError {
    /// The snapshot could not be asked.
    #[error("cannot look up {} for a mount", path.display())]
    Lookup {
        /// The path, inside the root.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// A file is where a directory is needed on the way.
    #[error("cannot mount at {}: {} is not a directory", target.display(), at.display())]
    NotADirectory {
        /// The mount's target.
        target: PathBuf,
        /// What is in the way.
        at: PathBuf,
    },
    /// The target exists and is of the other kind.
    #[error("cannot mount a {} at {}: it exists and is none", if *is_dir { "directory" } else { "file" }, target.display())]
    WrongKind {
        /// The mount's target.
        target: PathBuf,
        /// Whether a directory was to be mounted.
        is_dir: bool,
    },
    /// The links on the way go in circles.
    #[error("cannot mount at {}: too many symbolic links", target.display())]
    Loop {
        /// The mount's target.
        target: PathBuf,
    },
    /// The target is the root, or resolves to it.
    #[error("cannot mount at {}: it is the root", target.display())]
    Root {
        /// The mount's target.
        target: PathBuf,
    },
    /// The stub layer could not be written.
    #[error("cannot write the mount point {}", path.display())]
    Write {
        /// The path on the host.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
}

/// One entry of a stub layer.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Stub {
    is_dir: bool,
    mode: u32,
    owner: (u32, u32),
    mtime: Mtime,
    xattrs: Xattrs,
}

/// The mount points to be made: a small tree.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stubs {
    entries: BTreeMap<TreePath, Stub>,
}

/// Asks a snapshot: the state at an absolute path whose parents are no links; `None` for nothing.
pub type Lookup<'a> = dyn Fn(&Path) -> io::Result<Option<Existing>> + 'a;

impl Stubs {
    /// Finds out what the targets of `mounts` and those of every sandbox lack in a snapshot, and replaces
    /// each target by the path to which its links lead. Afterwards outer mounts come before inner ones.
    ///
    /// # Errors
    /// When a target cannot be a mount point, or the snapshot cannot be asked.
    pub fn plan(mounts: &mut [Mount], lookup: &Lookup<'_>) -> Result<Stubs, StubError> {
        let mut planner = Planner { stubs: Stubs::default(), mounted: Vec::new(), lookup };
        for (path, is_dir) in SYSTEM {
            let target = planner.place(Path::new(path), is_dir, true)?;
            planner.mounted.push((target, is_dir));
        }
        for mount in mounts.iter_mut() {
            let target = planner.place(&mount.target, mount.is_dir, false)?;
            mount.target = absolute(&target);
            planner.mounted.push((target, mount.is_dir));
        }
        mounts.sort_by_key(|mount| mount.target.components().count());
        Ok(planner.stubs)
    }

    /// Whether nothing is missing, so that no layer is needed.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The paths of the layer, each with whether it is a directory, outer ones first.
    pub fn paths(&self) -> impl Iterator<Item = (&TreePath, bool)> {
        self.entries.iter().map(|(path, stub)| (path, stub.is_dir))
    }

    /// Writes the layer into `dir`, an empty directory, which then is the topmost lower directory.
    ///
    /// # Errors
    /// When something cannot be created. An owner that is not mapped here is left out.
    pub fn write(&self, dir: &Path) -> Result<(), StubError> {
        let place = |path: &TreePath| dir.join(OsStr::from_bytes(path.as_bytes()));
        for (path, stub) in self.entries.iter().filter(|(path, _)| !path.is_root()) {
            let at = place(path);
            let made = if stub.is_dir { fs::create_dir(&at) } else { fs::File::create_new(&at).map(drop) };
            made.map_err(|source| StubError::Write { path: at, source })?;
        }
        // Inner ones first: what is done in a directory changes its time.
        for (path, stub) in self.entries.iter().rev() {
            let at = place(path);
            stub.apply(&at).map_err(|source| StubError::Write { path: at, source })?;
        }
        Ok(())
    }
}

impl Stub {
    fn apply(&self, at: &Path) -> io::Result<()> {
        let (uid, gid) = self.owner;
        if (uid, gid) != (0, 0) {
            let ids = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
            match rustix::fs::chownat(CWD, at, ids.0, ids.1, AtFlags::SYMLINK_NOFOLLOW) {
                // Not mapped: then the snapshot's own files do not have this owner either.
                Ok(()) | Err(Errno::INVAL) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        for (name, value) in &self.xattrs {
            match rustix::fs::lsetxattr(at, OsStr::from_bytes(name), value, XattrFlags::empty()) {
                // A file system or a user that may not have it cannot have it below either.
                Ok(()) | Err(Errno::PERM | Errno::NOTSUP) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
        fs::set_permissions(at, fs::Permissions::from_mode(self.mode))?;
        let time = Timespec { tv_sec: self.mtime.seconds, tv_nsec: self.mtime.nanos.into() };
        let times = Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, at, &times, AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }
}

struct Planner<'a> {
    stubs: Stubs,
    /// Resolved targets so far: what is below one of them is not in the snapshot.
    mounted: Vec<(TreePath, bool)>,
    lookup: &'a Lookup<'a>,
}

impl Planner<'_> {
    /// Resolves a target and plans what is missing of it. With `hide`, whatever is at its very end and
    /// is not of the right kind, links among it, is covered instead.
    fn place(&mut self, target: &Path, is_dir: bool, hide: bool) -> Result<TreePath, StubError> {
        let mut rest: VecDeque<Vec<u8>> = parts(TreePath::new(target.as_os_str().as_bytes()).as_bytes());
        let mut at = TreePath::root();
        let mut links = 0;
        while let Some(part) = rest.pop_front() {
            if part == b".." {
                at = at.parent().unwrap_or_default();
                continue;
            }
            let next = at.join(&part);
            if let Some((_, is_dir)) = self.mounted.iter().find(|(mounted, _)| *mounted == next) {
                let below: Vec<u8> = rest.make_contiguous().join(&b'/');
                if !is_dir && !below.is_empty() {
                    return Err(StubError::NotADirectory { target: target.to_owned(), at: absolute(&next) });
                }
                return Ok(next.join(below));
            }
            let last = rest.is_empty();
            match self.find(&next)?.map(|existing| existing.kind) {
                Some(ExistingKind::Symlink(to)) if !(last && hide) => {
                    links += 1;
                    if links > LONGEST_LINK_CHAIN {
                        return Err(StubError::Loop { target: target.to_owned() });
                    }
                    if to.starts_with(b"/") {
                        at = TreePath::root();
                    }
                    let mut ahead = parts(&to);
                    ahead.append(&mut rest);
                    rest = ahead;
                }
                Some(ExistingKind::File) if !last => {
                    return Err(StubError::NotADirectory { target: target.to_owned(), at: absolute(&next) });
                }
                _ => at = next,
            }
        }
        if at.is_root() {
            return Err(StubError::Root { target: target.to_owned() });
        }
        let fits = match self.find(&at)?.map(|existing| existing.kind) {
            None => false,
            Some(ExistingKind::Directory) => is_dir,
            Some(ExistingKind::File) => !is_dir,
            Some(ExistingKind::Symlink(_)) => false,
        };
        if !fits {
            if !hide && self.find(&at)?.is_some() {
                return Err(StubError::WrongKind { target: target.to_owned(), is_dir });
            }
            self.add(&at, is_dir)?;
        }
        Ok(at)
    }

    /// What is at a path now: a stub that was planned, or what the snapshot has.
    fn find(&self, path: &TreePath) -> Result<Option<Existing>, StubError> {
        if let Some(stub) = self.stubs.entries.get(path) {
            let kind = if stub.is_dir { ExistingKind::Directory } else { ExistingKind::File };
            let Stub { mode, owner: (uid, gid), mtime, .. } = *stub;
            return Ok(Some(Existing { kind, mode, uid, gid, mtime, xattrs: stub.xattrs.clone() }));
        }
        let path = absolute(path);
        (self.lookup)(&path).map_err(|source| StubError::Lookup { path, source })
    }

    fn add(&mut self, path: &TreePath, is_dir: bool) -> Result<(), StubError> {
        let mut near = Mtime::default();
        for above in path.ancestors() {
            let stub = match self.find(&above)? {
                Some(Existing { mode, uid, gid, mtime, xattrs, .. }) => {
                    near = mtime;
                    Stub { is_dir: true, mode, owner: (uid, gid), mtime, xattrs }
                }
                None => Stub { is_dir: true, mode: 0o755, owner: (0, 0), mtime: near, xattrs: Vec::new() },
            };
            self.stubs.entries.entry(above).or_insert(stub);
        }
        let mode = if is_dir { 0o755 } else { 0o644 };
        let stub = Stub { is_dir, mode, owner: (0, 0), mtime: near, xattrs: Vec::new() };
        self.stubs.entries.insert(path.clone(), stub);
        Ok(())
    }
}

fn parts(path: &[u8]) -> VecDeque<Vec<u8>> {
    let real = |part: &&[u8]| !part.is_empty() && *part != b".";
    path.split(|&byte| byte == b'/').filter(real).map(<[u8]>::to_vec).collect()
}

fn absolute(path: &TreePath) -> PathBuf {
    Path::new("/").join(OsStr::from_bytes(path.as_bytes()))
}

#[cfg(test)]
mod tests;
