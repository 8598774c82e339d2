//! Brings a scanned tree up to date where something may have changed: the cost follows the change.
//!
//! Whoever calls knows which paths those are; what is there now is read again, and whether it differs is
//! for the content to say. The result is the tree that a fresh scan would give. Knows nothing of events.

use super::scan::{self, Choice, Facts, Options, ScanError};
use super::{Entry, Kind, Tree, TreePath, stat};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::CString;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// How much at a path may have changed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Depth {
    /// A file's content, or anything's own metadata.
    Own,
    /// The path is new, gone or another thing: all below it too.
    All,
}

/// Paths that may have changed.
pub type Dirty = BTreeMap<TreePath, Depth>;

/// A tree with what is known beside it.
#[derive(Clone, Debug, Default)]
pub struct Scanned {
    /// The entries; hard links stand as files.
    pub tree: Tree,
    /// Files with several names: the same number is the same file.
    pub links: HashMap<TreePath, (u64, u64)>,
    /// What spares whoever copies the files from reading them again.
    pub facts: Facts,
    /// All directories that were walked, the root apart, even those that nothing was kept of.
    pub dirs: BTreeSet<TreePath>,
}

/// What a refresh came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refreshed {
    /// The tree is up to date; these paths have changed, times apart.
    Changed(Vec<TreePath>),
    /// It cannot be told without a whole scan: a file has a further name that nobody spoke of.
    Unclear,
}

/// What stands at one dirty path now.
struct Now {
    path: TreePath,
    /// Sorted; the path itself and all below it.
    entries: Vec<Entry>,
    /// Only the path itself was looked at.
    own: bool,
}

/// Scans the whole of `root`. Returns the cache to write beside it, as [`scan::scan`] does.
///
/// # Errors
/// Something cannot be read.
pub fn whole(root: &Path, options: &Options<'_>) -> Result<(Scanned, Option<Vec<u8>>), ScanError> {
    let (found, dirs) = walking(options, |options| scan::scan_to_copy(root, options));
    let found = found?;
    Ok((Scanned { tree: found.tree, links: found.links, facts: found.facts, dirs }, found.cache))
}

/// Does something with the same options, and gives the directories that were walked by it.
fn walking<T>(options: &Options<'_>, act: impl FnOnce(&Options<'_>) -> T) -> (T, BTreeSet<TreePath>) {
    let dirs = Mutex::new(BTreeSet::new());
    let filter = |path: &TreePath, is_dir: bool| {
        let choice = (options.filter)(path, is_dir);
        if is_dir && choice != Choice::Skip {
            dirs.lock().unwrap_or_else(PoisonError::into_inner).insert(path.clone());
        }
        choice
    };
    let done = act(&Options { filter: &filter, ..*options });
    (done, dirs.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Brings `scanned` up to date. The options are those of the scan that made it.
///
/// # Errors
/// Something cannot be read; the tree is as it was.
pub fn refresh(
    scanned: &mut Scanned,
    root: &Path,
    options: &Options<'_>,
    dirty: &Dirty,
) -> Result<Refreshed, ScanError> {
    let dirty = with_other_names(dirty, &scanned.links);
    let top = open_root(root)?;
    let mut all: Vec<Now> = Vec::new();
    let mut links: Vec<(TreePath, (u64, u64))> = Vec::new();
    let (mut dirs, mut facts) = (BTreeSet::new(), Facts::default());
    for (parent, names) in by_parent(&dirty) {
        if is_out(&parent, options) {
            continue;
        }
        let dir = open_below(&top, &parent)?;
        let (mut deep, mut gone) = (Vec::new(), Vec::new());
        for (name, depth) in names {
            let path = parent.join(name.as_bytes());
            let own =
                depth == Depth::Own && matches!(scanned.tree.get(&path), Some(Entry { kind: Kind::Dir { .. }, .. }));
            match &dir {
                None => gone.push(path),
                Some(dir) if own => match stat::open_dir_at(dir.as_fd(), &name) {
                    Ok(child) => {
                        let entries = vec![scan::directory_entry(&child, &path, options)?];
                        all.push(Now { path, entries, own: true });
                    }
                    // It is another thing by now.
                    Err(_) => deep.push(name),
                },
                Some(_) => deep.push(name),
            }
        }
        all.extend(gone.into_iter().map(|path| Now { path, entries: Vec::new(), own: false }));
        if let Some(dir) = dir.filter(|_| !deep.is_empty()) {
            let (found, walked) = walking(options, |options| scan::scan_names(&dir, &parent, &deep, options));
            let found = found?;
            dirs.extend(walked);
            for name in deep {
                let path = parent.join(name.as_bytes());
                let entries = found.entries.iter().filter(|entry| entry.path.starts_with(&path)).cloned().collect();
                all.push(Now { path, entries, own: false });
            }
            links.extend(found.links);
            facts.kept.extend(found.facts.kept);
            facts.settled.extend(found.facts.settled);
        }
    }
    if has_unspoken_name(&links, &scanned.links, &dirty) {
        return Ok(Refreshed::Unclear);
    }
    let changed = apply(scanned, all, options, &top)?;
    scanned.links.retain(|path, _| !is_covered(path, &dirty));
    scanned.facts.settled.retain(|path, _| !is_covered(path, &dirty));
    scanned.facts.settled.extend(facts.settled);
    // The bytes of what was there before have been copied by now.
    scanned.facts.kept = facts.kept;
    scanned.links.extend(links);
    scanned.dirs.extend(dirs);
    Ok(Refreshed::Changed(changed))
}

/// The paths at which two trees differ, times apart.
pub fn difference(old: &[Entry], new: &[Entry]) -> Vec<TreePath> {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    let mut changed = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return changed,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.path.cmp(&b.path),
        };
        let path = match order {
            std::cmp::Ordering::Less => old.next().map(|entry| &entry.path),
            std::cmp::Ordering::Greater => new.next().map(|entry| &entry.path),
            std::cmp::Ordering::Equal => match (old.next(), new.next()) {
                (Some(a), Some(b)) if !is_same(a, b) => Some(&b.path),
                _ => None,
            },
        };
        changed.extend(path.cloned());
    }
}

fn is_same(a: &Entry, b: &Entry) -> bool {
    let rest = |entry: &Entry| (entry.mode, entry.uid, entry.gid);
    a.kind == b.kind && rest(a) == rest(b) && a.xattrs == b.xattrs && a.path == b.path
}

/// A file that changed has changed under all its names.
fn with_other_names(dirty: &Dirty, links: &HashMap<TreePath, (u64, u64)>) -> Dirty {
    let mut all = dirty.clone();
    if links.is_empty() {
        return all;
    }
    let touched: BTreeSet<(u64, u64)> =
        links.iter().filter(|(path, _)| is_covered(path, dirty)).map(|(_, file)| *file).collect();
    for (path, _) in links.iter().filter(|(_, file)| touched.contains(file)) {
        all.entry(path.clone()).or_insert(Depth::Own);
    }
    all
}

/// Whether a dirty path is `path` or, with all below it, above.
fn is_covered(path: &TreePath, dirty: &Dirty) -> bool {
    dirty.contains_key(path) || path.ancestors().iter().any(|dir| dirty.get(dir) == Some(&Depth::All))
}

/// Whether a file turned out to have several names of which not all are known.
fn has_unspoken_name(found: &[(TreePath, (u64, u64))], known: &HashMap<TreePath, (u64, u64)>, dirty: &Dirty) -> bool {
    found.iter().any(|(path, file)| {
        let others = known.iter().filter(|(other, id)| *id == file && !is_covered(other, dirty)).count();
        let fresh = found.iter().filter(|(_, id)| id == file).count();
        others + fresh < 2 && known.get(path) != Some(file)
    })
}

/// The dirty names of each directory, without those that a directory above stands for.
fn by_parent(dirty: &Dirty) -> BTreeMap<TreePath, Vec<(CString, Depth)>> {
    let mut all: BTreeMap<TreePath, Vec<(CString, Depth)>> = BTreeMap::new();
    for (path, depth) in dirty {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let is_below = path.ancestors().iter().any(|dir| dirty.get(dir) == Some(&Depth::All));
        if let Ok(name) = CString::new(name)
            && !is_below
        {
            all.entry(parent).or_default().push((name, *depth));
        }
    }
    all
}

/// Whether the scan left a directory or one above it out.
fn is_out(dir: &TreePath, options: &Options<'_>) -> bool {
    let above = dir.ancestors();
    let all = above.iter().chain([dir]).filter(|dir| !dir.is_root());
    all.into_iter().any(|dir| (options.filter)(dir, true) == Choice::Skip)
}

fn failed(path: &TreePath) -> impl FnOnce(Errno) -> ScanError {
    let path = path.clone();
    move |errno| ScanError::Io { action: "failed to open", path, source: errno.into() }
}

fn open_root(root: &Path) -> Result<OwnedFd, ScanError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(root, flags, Mode::empty()).map_err(failed(&TreePath::root()))
}

/// The directory at `path`; `None` where there is none, or where a link is on the way.
fn open_below(top: &OwnedFd, path: &TreePath) -> Result<Option<OwnedFd>, ScanError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let name = if path.is_root() { b"." } else { path.as_bytes() };
    match rustix::fs::openat2(top, name, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(failed(path)(errno)),
    }
}

/// Puts what was found into the tree; gives the paths that have changed.
fn apply(
    scanned: &mut Scanned,
    all: Vec<Now>,
    options: &Options<'_>,
    top: &OwnedFd,
) -> Result<Vec<TreePath>, ScanError> {
    let mut changed = Vec::new();
    let mut touched: BTreeSet<TreePath> = BTreeSet::new();
    let mut replaced: BTreeMap<TreePath, Vec<Entry>> = BTreeMap::new();
    for Now { path, entries, own } in all {
        if let ([entry], true) = (entries.as_slice(), own) {
            if let Some(old) = scanned.tree.get_mut(&path) {
                if !is_same(old, entry) {
                    changed.push(path);
                }
                *old = entry.clone();
            }
            continue;
        }
        touched.extend(path.ancestors().into_iter().filter(|dir| !dir.is_root()));
        forget_dirs(&mut scanned.dirs, &path);
        let old = scanned.tree.below(&path);
        changed.extend(difference(old, &entries));
        match (old.len(), entries.as_slice()) {
            (0, []) => {}
            (1, [entry]) if old[0].path == entry.path => {
                if let Some(old) = scanned.tree.get_mut(&path) {
                    *old = entry.clone();
                }
            }
            _ => drop(replaced.insert(path, entries)),
        }
    }
    if !replaced.is_empty() {
        scanned.tree.replace_below(replaced);
    }
    // A directory that is kept only for what is below it comes and goes with that.
    let mut framed: BTreeMap<TreePath, Vec<Entry>> = BTreeMap::new();
    for dir in touched.into_iter().rev() {
        let below = scanned.tree.below(&dir);
        let is_there = below.first().is_some_and(|entry| entry.path == dir);
        let holds_more = below.len() > usize::from(is_there);
        match (is_there, holds_more) {
            (false, true) => {
                if let Some(open) = open_below(top, &dir)? {
                    let entry = scan::directory_entry(&open, &dir, options)?;
                    framed.insert(dir.clone(), vec![entry]);
                    changed.push(dir);
                }
            }
            (true, false) if (options.filter)(&dir, true) != Choice::Keep => {
                framed.insert(dir.clone(), Vec::new());
                changed.push(dir);
            }
            _ => {}
        }
    }
    for (dir, entries) in framed {
        match entries.is_empty() {
            true => scanned.tree.replace_below(BTreeMap::from([(dir, entries)])),
            false => scanned.tree.insert(entries),
        }
    }
    changed.sort();
    changed.dedup();
    Ok(changed)
}

/// Forgets the directories at and below a path; those that are there again were walked.
fn forget_dirs(dirs: &mut BTreeSet<TreePath>, path: &TreePath) {
    let gone: Vec<TreePath> = dirs.range(path.clone()..).take_while(|dir| dir.starts_with(path)).cloned().collect();
    for dir in gone {
        dirs.remove(&dir);
    }
}

impl Tree {
    /// The entry at `path`, to be changed but for its path.
    fn get_mut(&mut self, path: &TreePath) -> Option<&mut Entry> {
        let at = self.entries.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
        Some(&mut self.entries_mut()[at])
    }

    /// Replaces all that is at and below each path, in one pass.
    fn replace_below(&mut self, replaced: BTreeMap<TreePath, Vec<Entry>>) {
        let old = std::mem::take(self.entries_mut());
        let extra: usize = replaced.values().map(Vec::len).sum();
        let mut new = Vec::with_capacity(old.len() + extra);
        let mut replaced = replaced.into_iter().peekable();
        // The path whose old entries are being left out.
        let mut leaving: Option<TreePath> = None;
        for entry in old {
            while let Some((path, entries)) = replaced.next_if(|(path, _)| *path <= entry.path) {
                new.extend(entries);
                leaving = Some(path);
            }
            if !leaving.as_ref().is_some_and(|path| entry.path.starts_with(path)) {
                new.push(entry);
            }
        }
        new.extend(replaced.flat_map(|(_, entries)| entries));
        *self.entries_mut() = new;
    }

    /// Adds entries that are not there.
    fn insert(&mut self, entries: Vec<Entry>) {
        for entry in entries {
            let at = self.entries.partition_point(|other| other.path < entry.path);
            self.entries_mut().insert(at, entry);
        }
    }
}

#[cfg(test)]
mod tests;
