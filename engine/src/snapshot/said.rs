//! What one layer says of a path: that it has it, that it hides what is below, or nothing.
//!
//! A small listing is read once and searched, which costs nothing then; a large one is not worth reading, and the disk is
//! asked. Which of the two depends on the layer alone, so that a key never depends on what happens to be in memory.
//! Knows nothing of stacks.

use super::{Found, LookupError, Type, c_name, found_at, is_whiteout, open_top};
use crate::store::Layer;
use crate::tree::entry::path_cmp;
use crate::tree::union::{self, Peek};
use crate::tree::{Entry, Kind, Mtime, TreePath, scan, stat};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::cmp::Ordering;
use std::convert::Infallible;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;

/// What a layer says of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Said {
    /// Nothing: it is as the layers below have it.
    Nothing,
    /// That nothing is there, whatever is below.
    Hidden,
    /// What is there.
    Is(Found),
}

/// What a layer says of the names in a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Names {
    /// Whether the names of lower layers do not count.
    pub hides: bool,
    /// Each name, and whether it is there or was removed.
    pub names: Vec<(Box<[u8]>, bool)>,
}

/// What `layer` says of `path`, which is not the root.
pub(super) fn of(layer: &Layer, path: &TreePath) -> Result<Said, LookupError> {
    match layer.small_listing()? {
        Some(tree) => Ok(listed(tree.entries(), path)),
        None => on_disk(layer, path),
    }
}

/// What `layer` says of the names in `directory`.
pub(super) fn names(layer: &Layer, directory: &TreePath) -> Result<Names, LookupError> {
    match layer.small_listing()? {
        Some(tree) => Ok(listed_names(tree.entries(), directory)),
        None => names_on_disk(layer, directory),
    }
}

fn listed(entries: &[Entry], path: &TreePath) -> Said {
    let bytes = path.as_bytes();
    let at = entries.partition_point(|entry| path_cmp(entry.path.as_bytes(), bytes) == Ordering::Less);
    let next = entries.get(at);
    if let Some(own) = next.filter(|entry| entry.path == *path) {
        let first = match &own.kind {
            Kind::Hardlink { to } => entries.binary_search_by(|other| other.path.cmp(to)).ok(),
            _ => None,
        };
        return is(first.map_or(own, |first| &entries[first]));
    }
    if next.is_some_and(|entry| entry.path.starts_with(path)) {
        return Said::Is(implied());
    }
    // All that is above the path in the order of paths comes before it.
    let before = &entries[..at];
    let is_hidden = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'/').any(|(end, _)| {
        let own = before.binary_search_by(|entry| path_cmp(entry.path.as_bytes(), &bytes[..end]));
        own.is_ok_and(|at| !matches!(before[at].kind, Kind::Dir { opaque: false }))
    });
    if is_hidden { Said::Hidden } else { Said::Nothing }
}

fn is(entry: &Entry) -> Said {
    let (file_type, xattrs) = match &entry.kind {
        Kind::Whiteout => return Said::Hidden,
        Kind::Dir { .. } => (Type::Dir, entry.xattrs.clone()),
        Kind::Symlink { target } => (Type::Symlink(target.clone()), Vec::new()),
        Kind::File { .. } | Kind::Hardlink { .. } => (Type::File, Vec::new()),
        _ => (Type::Other, Vec::new()),
    };
    let Entry { mode, uid, gid, mtime, .. } = *entry;
    Said::Is(Found { file_type, mode, uid, gid, mtime, xattrs })
}

/// A directory that no entry describes is made with the usual attributes: see [`crate::tree::disk::DirWriter`].
fn implied() -> Found {
    Found { file_type: Type::Dir, mode: 0o755, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: Vec::new() }
}

fn listed_names(entries: &[Entry], directory: &TreePath) -> Names {
    let mut parts = vec![(0, union::root_range(entries))];
    let mut hides = false;
    for path in directory.ancestors().iter().skip(1).chain((!directory.is_root()).then_some(directory)) {
        let peek = |_| Ok::<_, Infallible>(Peek::Nothing);
        let Ok((found, below)) = union::step(&parts, path.as_bytes(), |_| Some(entries), peek);
        let own = entries.binary_search_by(|entry| entry.path.cmp(path)).ok();
        hides |= own.is_some_and(|at| !matches!(entries[at].kind, Kind::Dir { opaque: false }));
        parts = below;
        if parts.is_empty() || found == union::Found::Nothing {
            return Names { hides, names: Vec::new() };
        }
    }
    let within = parts.first().map_or(&[][..], |(_, range)| &entries[range.clone()]);
    let is_there = |number: Option<usize>| number.is_none_or(|number| within[number].kind != Kind::Whiteout);
    let names = union::names(within, directory.as_bytes().len());
    Names { hides, names: names.map(|(name, number)| (name.into(), is_there(number))).collect() }
}

fn on_disk(layer: &Layer, path: &TreePath) -> Result<Said, LookupError> {
    let failed = |errno: Errno| LookupError::Io { path: path.clone(), source: errno.into() };
    let parent = path.parent().unwrap_or_default();
    let name = c_name(path.file_name().unwrap_or_default());
    let (dirs, hides) = directories(layer, &parent)?;
    for dir in dirs {
        match stat::stat_at(dir.as_fd(), &name) {
            Ok(found) if is_whiteout(&found) => return Ok(Said::Hidden),
            Ok(found) => return found_at(&dir, &name, &found).map(Said::Is).map_err(failed),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(errno)),
        }
    }
    Ok(if hides { Said::Hidden } else { Said::Nothing })
}

fn names_on_disk(layer: &Layer, directory: &TreePath) -> Result<Names, LookupError> {
    let (dirs, hides) = directories(layer, directory)?;
    let mut names: Vec<(Box<[u8]>, bool)> = Vec::new();
    let mut known = std::collections::HashSet::new();
    for dir in dirs {
        for name in scan::list(&dir, directory)? {
            let bytes: Box<[u8]> = name.to_bytes().into();
            if known.contains(&bytes) {
                continue;
            }
            match stat::stat_at(dir.as_fd(), &name) {
                Ok(found) => names.push((bytes.clone(), !is_whiteout(&found))),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(LookupError::Io { path: directory.clone(), source: errno.into() }),
            }
            known.insert(bytes);
        }
    }
    Ok(Names { hides, names })
}

/// The directories of a layer that together are its part of the directory `path`, the topmost first; and whether what
/// lower layers have there is hidden.
pub(super) fn directories(layer: &Layer, path: &TreePath) -> Result<(Vec<OwnedFd>, bool), LookupError> {
    let failed = |errno: Errno| LookupError::Io { path: path.clone(), source: errno.into() };
    let mut dirs: Vec<OwnedFd> =
        layer.dirs().iter().map(|dir| open_top(dir)).collect::<Result<_, _>>().map_err(failed)?;
    let mut hides = false;
    for (depth, part) in path.parts().enumerate() {
        let name = c_name(part);
        let mut below = Vec::new();
        let mut hidden = false;
        for dir in &dirs {
            let found = match stat::stat_at(dir.as_fd(), &name) {
                Ok(found) => found,
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed(errno)),
            };
            if found.file_type != FileType::Directory {
                hidden = true;
                break;
            }
            let child = stat::open_dir_at(dir.as_fd(), &name).map_err(failed)?;
            let opaque = stat::is_opaque(&child);
            below.push(child);
            if opaque {
                hidden = true;
                break;
            }
        }
        let host = |dir: &&std::path::PathBuf| dir.file_name().is_some_and(|name| name.as_bytes() == part);
        if depth == 0
            && !hidden
            && let Some(dir) = layer.host_dirs().iter().find(host)
        {
            below.push(open_top(dir).map_err(failed)?);
        }
        hides |= hidden;
        dirs = below;
        if dirs.is_empty() {
            break;
        }
    }
    Ok((dirs, hides))
}
