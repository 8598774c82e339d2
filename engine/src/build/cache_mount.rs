//! Cache mounts: which directory of the store each one is, what it begins with, and who may use it at once.
//!
//! A directory's name is a digest, so that no id leads anywhere. It is made beside its place with everything that it
//! begins with, and renamed. A lock ends with the process that holds it, however it ends.

use super::copy_step;
use super::run_step::{Held, RunError, io_failed};
use super::steps::Steps;
use crate::copy::layout;
use crate::copy::select::Matching;
use crate::copy::write;
use crate::plan::{Origin, RunMount, RunStep};
use crate::sandbox;
use crate::store::{Staged, Used};
use crate::tree::{Kind, TreePath};
use kiln_dsl::mount::{MountKind, Sharing};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The build argument that separates one project's caches from another's.
const NAMESPACE: &str = "BUILDKIT_CACHE_MOUNT_NS";

/// How often a locked cache is tried again, in nanoseconds: a release tells nobody.
const RETRY_NANOS: i64 = 100_000_000;

/// A private cache that is in use gets a second copy; more than this many are never used at once.
const MOST_COPIES: usize = 1024;

/// Mode of a cache that is made empty.
const CACHE_MODE: u32 = 0o755;

impl Steps<'_> {
    /// The directories of all cache mounts of a command, by target, locked as each asks for. They are locked in the order
    /// of their names, so that no two commands wait for each other.
    pub(super) fn caches(&self, run: &RunStep, held: &mut Held) -> Result<BTreeMap<String, PathBuf>, RunError> {
        let mut wanted: BTreeMap<[u8; 32], Vec<&RunMount>> = BTreeMap::new();
        for mount in run.mounts.iter().filter(|mount| mount.mount.kind == MountKind::Cache) {
            wanted.entry(self.cache_name(mount)?).or_default().push(mount);
        }
        let mut found = BTreeMap::new();
        for (digest, mounts) in wanted {
            self.store.pin(&digest)?;
            self.store.db().mark_used(Used::Cache(digest))?;
            let name = blake3::Hash::from_bytes(digest).to_hex().to_string();
            let strictest = mounts.iter().map(|mount| mount.mount.sharing).find(|one| *one != Sharing::Shared);
            let path = self.cache(&name, strictest.unwrap_or_default(), mounts[0], held)?;
            found.extend(mounts.iter().map(|mount| (mount.target.clone(), path.clone())));
        }
        Ok(found)
    }

    /// The digest that a cache's directory is named by. Another owner, mode or beginning is another cache, as in BuildKit: its files
    /// would not be usable.
    fn cache_name(&self, mount: &RunMount) -> Result<[u8; 32], RunError> {
        let spec = &mount.mount;
        let mut hasher = blake3::Hasher::new_derive_key("kiln cache mount v2");
        let mut put = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        let namespace = self.request.build_args.iter().find(|(name, _)| name == NAMESPACE);
        put(namespace.map_or("", |(_, value)| value).as_bytes());
        put(spec.id.as_deref().unwrap_or(&mount.target).as_bytes());
        match own_metadata(mount) {
            Some((mode, uid, gid)) => put(format!("{mode:o} {uid}:{gid}").as_bytes()),
            None => put(b""),
        }
        match &mount.origin {
            Some(Origin::Step { node, .. }) => put(self.snapshot(*node).id().as_bytes()),
            Some(Origin::Context(id)) => put(self.context(*id).tree(self.store)?.tree.id().as_bytes()),
            None => put(b""),
        }
        // Without a beginning, `source` is a directory inside the cache, which others see as a whole.
        if mount.origin.is_some() {
            put(spec.source.as_deref().unwrap_or_default().as_bytes());
        }
        Ok(*hasher.finalize().as_bytes())
    }

    /// The cache's directory, made if it is not there, and locked.
    fn cache(&self, name: &str, sharing: Sharing, mount: &RunMount, held: &mut Held) -> Result<PathBuf, RunError> {
        let place = self.store.directory("caches");
        let copies = if sharing == Sharing::Private { MOST_COPIES } else { 1 };
        for copy in 0..copies {
            let path = place.join(if copy == 0 { name.to_owned() } else { format!("{name}.{copy}") });
            loop {
                self.make_cache(&path, mount)?;
                let Some(lock) = self.lock(&path, sharing)? else { break };
                // A collection may have taken it away between the two.
                if is_at(&lock, &path) {
                    held.locks.push(lock);
                    return Ok(path);
                }
            }
        }
        Err(io_failed("too many users of the private cache", &place)(io::ErrorKind::ResourceBusy.into()))
    }

    /// Locks a cache; `None` where a private one is in use. Waiting ends with the build.
    fn lock(&self, path: &Path, sharing: Sharing) -> Result<Option<OwnedFd>, RunError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let lock = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| io_failed("failed to open", path)(errno.into()))?;
        let operation = match sharing {
            Sharing::Shared => FlockOperation::NonBlockingLockShared,
            Sharing::Locked | Sharing::Private => FlockOperation::NonBlockingLockExclusive,
        };
        loop {
            match rustix::fs::flock(&lock, operation) {
                Ok(()) => return Ok(Some(lock)),
                Err(rustix::io::Errno::WOULDBLOCK) if sharing == Sharing::Private => return Ok(None),
                Err(rustix::io::Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(io_failed("failed to lock", path)(errno.into())),
            }
            let pause = Timespec { tv_sec: 0, tv_nsec: RETRY_NANOS };
            // An interrupted wait is a short one.
            let _ = poll(&mut [PollFd::new(self.cancel, PollFlags::IN)], Some(&pause));
            if self.cancel.is_cancelled() {
                return Err(sandbox::Error::Cancelled.into());
            }
        }
    }

    fn make_cache(&self, path: &Path, mount: &RunMount) -> Result<(), RunError> {
        if path.is_dir() {
            return Ok(());
        }
        let staged = self.store.stage()?;
        let begun = self.seed(mount, &staged)?;
        let (mode, uid, gid) = own_metadata(mount).or(begun).unwrap_or((CACHE_MODE, 0, 0));
        let at = staged.path();
        std::os::unix::fs::chown(at, Some(uid), Some(gid)).map_err(io_failed("failed to give away", at))?;
        fs::set_permissions(at, fs::Permissions::from_mode(mode))
            .map_err(io_failed("failed to set the mode of", at))?;
        match rustix::fs::renameat_with(CWD, at, CWD, path, RenameFlags::NOREPLACE) {
            // Another process was faster: its directory serves as well.
            Ok(()) | Err(rustix::io::Errno::EXIST) => Ok(()),
            Err(errno) => Err(io_failed("failed to move a cache to", path)(errno.into())),
        }
    }

    /// Writes what a cache begins with; gives the mode and the owner of the directory that was copied.
    fn seed(&self, mount: &RunMount, staged: &Staged) -> Result<Option<(u32, u32, u32)>, RunError> {
        let Some(origin) = &mount.origin else { return Ok(None) };
        let path = mount.mount.source.clone().unwrap_or_else(|| "/".to_owned());
        let missing = || RunError::MissingSource {
            path: path.clone(),
            target: mount.target.clone(),
            root: match origin {
                Origin::Context(id) => self.context(*id).name().to_owned(),
                Origin::Step { name, .. } => name.clone(),
            },
        };
        let copy = copy_step::mounted(&path, origin.clone(), mount.span);
        let source = self.source_tree(&copy)?;
        let selected = source.select(std::slice::from_ref(&path), Matching::Literal).map_err(|_| missing())?;
        let top = selected.first().filter(|one| one.is_dir).ok_or_else(missing)?;
        let metadata = source.tree.get(&top.real).filter(|entry| matches!(entry.kind, Kind::Dir { .. }));
        let metadata = metadata.map(|entry| (entry.mode, entry.uid, entry.gid));
        let layout = layout::at_root(&source, &selected)?;
        let snapshot = self.origin_snapshot(&copy);
        let open = |path: &TreePath| self.open_source(&copy, &snapshot, path);
        let from = write::Source { inline: &[], open: &open, facts: &source.facts };
        write::write(&layout, &from, &|_| true, staged.path())?;
        Ok(metadata)
    }
}

/// The mode and the owner that a mount asks for; those of what it begins with, or the usual, where it asks for none.
/// With `source` they are not looked at, as in BuildKit.
fn own_metadata(mount: &RunMount) -> Option<(u32, u32, u32)> {
    let spec = &mount.mount;
    let asks = spec.mode.is_some() || spec.uid.is_some() || spec.gid.is_some();
    (asks && spec.source.is_none())
        .then(|| (spec.mode.unwrap_or(CACHE_MODE), spec.uid.unwrap_or(0), spec.gid.unwrap_or(0)))
}

/// Whether the open directory is the one at `path`.
fn is_at(open: &OwnedFd, path: &Path) -> bool {
    match (rustix::fs::fstat(open), rustix::fs::lstat(path)) {
        (Ok(one), Ok(other)) => (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}
