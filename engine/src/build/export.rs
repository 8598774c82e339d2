//! EXPORT: files of a stage, written into the project once all else went well.
//!
//! Everything is first written beside its place, and then renamed: a failure changes nothing. A file whose content and
//! mode are the same stays as it is, so that nobody who watches the project wakes. No symbolic link of the project is
//! followed, so that nothing is written outside of it.

use super::boxed;
use super::steps::Steps;
use crate::api::{BuildError, Context, Request};
use crate::plan::{Export, Plan};
use crate::snapshot::Snapshot;
use crate::tree::TreePath;
use crate::tree::disk::copy_file;
use crate::tree::entry::{Entry, Kind};
use rustix::fs::{AtFlags, Mode, OFlags, ResolveFlags, mkdirat, openat2, renameat, statat, symlinkat, unlinkat};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// One thing to write.
struct Item {
    entry: Entry,
    snapshot: Snapshot,
    export: usize,
}

/// A file that is written and not yet in its place.
struct Staged {
    directory: OwnedFd,
    temporary: String,
    name: Vec<u8>,
}

/// Why a file cannot be written.
#[derive(Debug, thiserror::Error)]
enum ExportError {
    #[error("{0} is not there")]
    NotFound(String),
    #[error("two EXPORTs write {0}, and not the same")]
    Clash(String),
    #[error("failed to write {path}")]
    Io { path: String, source: io::Error },
    #[error("{0} is a directory, and a file is to be written there")]
    IsDirectory(String),
}

/// All that a plan exports, by its place in the project.
pub(super) struct Exports(BTreeMap<TreePath, Item>);

fn failed(plan: &Plan, steps: &Steps<'_>, export: &Export, error: ExportError) -> BuildError {
    let shown = plan.shown.iter().find(|shown| shown.span == export.span);
    let step = shown.map_or_else(|| "EXPORT".to_owned(), |shown| shown.name.clone());
    BuildError::Step { step, place: Some(steps.file.place(export.span)), source: boxed(error) }
}

/// Finds what the plan exports, before anything of the build's results is written.
pub(super) fn find(plan: &Plan, steps: &Steps<'_>) -> Result<Exports, BuildError> {
    let mut items = BTreeMap::new();
    for (index, export) in plan.exports.iter().enumerate() {
        let found = gather(index, export, &steps.snapshot(export.node), &mut items);
        found.map_err(|error| failed(plan, steps, export, error))?;
    }
    Ok(Exports(items))
}

/// Writes what was found.
pub(super) fn write(
    request: &Request,
    plan: &Plan,
    steps: &Steps<'_>,
    Exports(items): &Exports,
) -> Result<(), BuildError> {
    let (Some(first), Context::Directory(root)) = (plan.exports.first(), &request.context) else { return Ok(()) };
    let failed = |export: &Export, error: ExportError| failed(plan, steps, export, error);
    let open = || {
        std::fs::create_dir_all(root)?;
        File::open(root).map(OwnedFd::from)
    };
    let io_failed = |source: io::Error| ExportError::Io { path: root.display().to_string(), source };
    let project = open().map_err(|error| failed(first, io_failed(error)))?;
    let mut staged: Vec<Staged> = Vec::new();
    for (path, item) in items {
        if let Err(error) = stage(&project, path, item, &mut staged) {
            for one in &staged {
                // What is left of a failure is nobody's; the failure itself is what is told.
                let _ = unlinkat(&one.directory, one.temporary.as_str(), AtFlags::empty());
            }
            return Err(failed(&plan.exports[item.export], error));
        }
    }
    for one in staged {
        let renamed = renameat(&one.directory, one.temporary.as_str(), &one.directory, OsStr::from_bytes(&one.name));
        renamed.map_err(|error| failed(first, io_failed(error.into())))?;
    }
    Ok(())
}

/// Notes all that an EXPORT takes, by its place in the project.
fn gather(
    index: usize,
    export: &Export,
    snapshot: &Snapshot,
    items: &mut BTreeMap<TreePath, Item>,
) -> Result<(), ExportError> {
    let missing = || ExportError::NotFound(export.path.clone());
    let links = |error: crate::snapshot::LookupError| ExportError::Io {
        path: export.path.clone(),
        source: io::Error::other(error),
    };
    let real = snapshot.resolve(&TreePath::new(&export.path), true).map_err(links)?;
    let merged = snapshot.tree_below(&real).map_err(links)?;
    let target = TreePath::new(&export.directory);
    let found = merged.tree.get(&real);
    let is_dir = real.is_root() || found.ok_or_else(missing).map(|entry| matches!(entry.kind, Kind::Dir { .. }))?;
    for entry in merged.tree.below(&real) {
        let inside = match is_dir {
            true => entry.path.strip_prefix(&real).unwrap_or_else(TreePath::root),
            false => TreePath::new(TreePath::new(&export.path).file_name().unwrap_or_default()),
        };
        if inside.is_root() {
            continue;
        }
        let place = target.join(inside.as_bytes());
        let item = Item { entry: entry.clone(), snapshot: snapshot.clone(), export: index };
        if let Some(other) = items.get(&place)
            && (&other.entry.kind, other.entry.mode) != (&item.entry.kind, item.entry.mode)
        {
            return Err(ExportError::Clash(place.display().to_string()));
        }
        items.insert(place, item);
    }
    Ok(())
}

/// Writes one entry beside its place, or makes its directory.
fn stage(project: &OwnedFd, path: &TreePath, item: &Item, staged: &mut Vec<Staged>) -> Result<(), ExportError> {
    let shown = path.display().to_string();
    let failed = |source: io::Error| ExportError::Io { path: shown.clone(), source };
    let of_errno = |error: Errno| failed(error.into());
    let mode = Mode::from_raw_mode(item.entry.mode & 0o777);
    if matches!(item.entry.kind, Kind::Dir { .. }) {
        return directory(project, path, mode).map(drop).map_err(of_errno);
    }
    let parent = path.parent().unwrap_or_else(TreePath::root);
    let directory = directory(project, &parent, Mode::from_raw_mode(0o755)).map_err(of_errno)?;
    let name = path.file_name().unwrap_or_default().to_vec();
    let temporary = format!(".kiln-export-{}-{}", std::process::id(), staged.len());
    if let Ok(there) = statat(&directory, OsStr::from_bytes(&name), AtFlags::SYMLINK_NOFOLLOW)
        && rustix::fs::FileType::from_raw_mode(there.st_mode) == rustix::fs::FileType::Directory
    {
        return Err(ExportError::IsDirectory(shown));
    }
    match &item.entry.kind {
        Kind::File { size, content } => {
            if is_same(&directory, &name, *size, content.as_bytes(), mode) {
                return Ok(());
            }
            let source = item.snapshot.open(&item.entry.path).map_err(failed)?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let file = rustix::fs::openat(&directory, temporary.as_str(), flags, mode).map_err(of_errno)?;
            staged.push(Staged { directory, temporary, name });
            let file = File::from(file);
            copy_file(&source, &file).map_err(failed)?;
            rustix::fs::fchmod(&file, mode).map_err(of_errno)
        }
        Kind::Symlink { target } => {
            symlinkat(OsStr::from_bytes(target), &directory, temporary.as_str()).map_err(of_errno)?;
            staged.push(Staged { directory, temporary, name });
            Ok(())
        }
        // Sockets, pipes and devices are no files that anybody could read.
        _ => Ok(()),
    }
}

/// The directory at `path`, made with those above it where they are not there.
fn directory(project: &OwnedFd, path: &TreePath, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let within = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut current = openat2(project, ".", flags, Mode::empty(), within)?;
    let count = path.parts().count();
    for (index, part) in path.parts().enumerate() {
        let name = OsStr::from_bytes(part);
        let mode = if index + 1 == count { mode | Mode::RWXU } else { Mode::from_raw_mode(0o755) };
        match mkdirat(&current, name, mode) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error),
        }
        current = openat2(&current, Path::new(name), flags, Mode::empty(), within)?;
    }
    Ok(current)
}

/// Whether a file is there already.
fn is_same(directory: &OwnedFd, name: &[u8], size: u64, content: &[u8; 32], mode: Mode) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let Ok(file) = rustix::fs::openat(directory, OsStr::from_bytes(name), flags, Mode::empty()) else { return false };
    let mut file = File::from(file);
    let Ok(meta) = file.metadata() else { return false };
    let own = Mode::from_raw_mode(std::os::unix::fs::MetadataExt::mode(&meta) & 0o777);
    if !meta.is_file() || meta.len() != size || own != mode {
        return false;
    }
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return hasher.finalize().as_bytes() == content,
            Ok(read) => drop(hasher.update(&buffer[..read])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return false,
        }
    }
}
