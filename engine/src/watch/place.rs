//! A context that is watched: where it is, what of it may have changed, and what is known of it.

use crate::build::{Change, Memory};
use crate::store::Store;
use crate::tree::refresh::{Depth, Dirty};
use crate::tree::scan::Choice;
use crate::tree::{Kind, TreePath};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A context.
pub(super) struct Place {
    /// As it was asked for.
    given: PathBuf,
    /// The same without links, as events name it.
    root: PathBuf,
    /// Its paths are told with where they are.
    is_named: bool,
    memory: Memory,
    dirty: Dirty,
    all_dirty: bool,
}

fn below(path: &TreePath) -> &Path {
    Path::new(OsStr::from_bytes(path.as_bytes()))
}

impl Place {
    /// The context in a directory.
    pub fn new(given: &Path, is_named: bool, memory: Memory) -> Self {
        let root = std::fs::canonicalize(given).unwrap_or_else(|_| given.to_path_buf());
        Place { given: given.to_path_buf(), root, is_named, memory, dirty: Dirty::new(), all_dirty: false }
    }

    /// Its directory, without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path of it is.
    pub fn at(&self, path: &TreePath) -> PathBuf {
        self.root.join(below(path))
    }

    /// A path of it as people know it.
    pub fn shown(&self, path: &TreePath) -> PathBuf {
        if self.is_named { self.given.join(below(path)) } else { below(path).to_path_buf() }
    }

    /// Everything of it may have changed.
    pub fn mark_all(&mut self) {
        self.all_dirty = true;
    }

    /// Marks a path dirty; says whether it may matter at all. After a failed build more does.
    pub fn mark(&mut self, path: &Path, depth: Depth, has_failed: bool) -> bool {
        if path == self.root {
            // Deleted, or made again; of its own attributes nothing is built.
            self.all_dirty |= depth == Depth::All;
            return depth == Depth::All;
        }
        let Ok(below) = path.strip_prefix(&self.root) else { return false };
        let path = TreePath::new(below.as_os_str().as_bytes());
        let kept = self.memory.lock();
        let Some(kept) = kept.as_ref() else {
            // A build that failed to read the context is tried again with whatever happens in it.
            self.all_dirty |= has_failed;
            return has_failed;
        };
        let out = |dir: &TreePath| kept.walk.choose(dir, true) == Choice::Skip;
        if path.ancestors().iter().filter(|dir| !dir.is_root()).any(out) {
            return false;
        }
        if out(&path) && kept.walk.choose(&path, false) == Choice::Skip {
            return false;
        }
        let known = self.dirty.entry(path).or_insert(depth);
        *known = (*known).max(depth);
        true
    }

    /// A directory is watched from now on: what happened there before was not seen.
    pub fn mark_new(&mut self, dir: &Path) {
        if self.memory.lock().is_none() {
            // Nothing is known of the context that could have changed.
            return;
        }
        match dir.strip_prefix(&self.root) {
            Ok(below) if below.as_os_str().is_empty() => self.all_dirty = true,
            Ok(below) => drop(self.dirty.insert(TreePath::new(below.as_os_str().as_bytes()), Depth::All)),
            Err(_) => {}
        }
    }

    /// Reads again what may have changed; says what has.
    pub fn look(&mut self, store: Option<&Store>, has_failed: bool) -> Change {
        let dirty = std::mem::take(&mut self.dirty);
        if !std::mem::take(&mut self.all_dirty) {
            return if dirty.is_empty() { Change::Paths(Vec::new()) } else { self.memory.refresh(&dirty) };
        }
        if self.memory.lock().is_none() {
            // Nothing of it was built from, unless that was what failed.
            return if has_failed { Change::Lost } else { Change::Paths(Vec::new()) };
        }
        store.map_or(Change::Lost, |store| self.memory.rescan(store))
    }

    /// The directories to watch, where that is known: all that were walked.
    pub fn directories(&self) -> Option<Vec<PathBuf>> {
        let kept = self.memory.lock();
        let kept = kept.as_ref()?;
        Some(std::iter::once(self.root.clone()).chain(kept.dirs.iter().map(|dir| self.at(dir))).collect())
    }

    /// Whether it has symbolic links, or may have.
    pub fn has_links(&self) -> bool {
        let is_link = |kind: &Kind| matches!(kind, Kind::Symlink { .. });
        let kept = self.memory.lock();
        kept.as_ref().is_none_or(|kept| kept.source.tree.entries().iter().any(|entry| is_link(&entry.kind)))
    }
}
