//! File trees as values: what a layer, a context or a base image contains.
//!
//! - [`archive`]: recognises archives and unpacks them as ADD does.
//! - [`disk`]: writes entries below a directory, as overlayfs keeps a layer.
//! - [`entry`]: one path with everything that an image keeps of it.
//! - [`codec`]: the canonical encoding, which is also what a tree's digest is taken of.
//! - [`pack`], [`unpack`]: a layer as the tar that OCI describes, in both directions, over [`mod@tar`].
//! - [`stat`]: reading an entry's metadata from the disk.
//! - [`scan`]: a directory of the host as a tree, with a cache of digests.
//! - [`refresh`]: a tree that was scanned, brought up to date where it may have changed.
//! - [`union`]: a stack of trees looked into as one.
//! - [`upper`]: what a step left in its overlay, as a tree.
//!
//! Knows nothing of steps, keys or graphs.

pub mod archive;
pub mod codec;
pub mod disk;
pub mod entry;
pub mod pack;
pub mod refresh;
pub mod scan;
pub mod stat;
pub mod statcache;
pub mod tar;
pub mod union;
pub mod unpack;
pub mod upper;

pub use entry::{Entry, Kind, Mtime, TreePath, Xattrs};

use crate::digest::LayerId;
use std::sync::{Arc, OnceLock};

/// A set of entries, sorted by path, no path twice.
///
/// A tree need not hold the directories above its entries: a layer that only changes `a/b` may
/// do so, and the root is usually absent. Copies share their entries until one of them is changed.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: Arc<Vec<Entry>>,
    /// The digest, once it was asked for.
    id: OnceLock<LayerId>,
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

impl Eq for Tree {}

impl Tree {
    /// Sorts `entries`; where a path stands twice, the later one wins.
    pub fn new(mut entries: Vec<Entry>) -> Self {
        if !entries.is_sorted_by(|a, b| a.path < b.path) {
            entries.sort_by(|a, b| a.path.cmp(&b.path));
            entries.reverse();
            entries.dedup_by(|later, kept| later.path == kept.path);
            entries.reverse();
        }
        Tree { entries: Arc::new(entries), id: OnceLock::new() }
    }

    /// The entries in the order of their paths.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries, given away.
    pub fn into_entries(self) -> Vec<Entry> {
        Arc::unwrap_or_clone(self.entries)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The entry at `path`.
    pub fn get(&self, path: &TreePath) -> Option<&Entry> {
        self.entries.binary_search_by(|entry| entry.path.cmp(path)).ok().map(|at| &self.entries[at])
    }

    /// The entry at `path`, if it is there, and all below it.
    pub fn below(&self, path: &TreePath) -> &[Entry] {
        let start = self.entries.partition_point(|entry| entry.path < *path);
        let length = self.entries[start..].partition_point(|entry| entry.path.starts_with(path));
        &self.entries[start..start + length]
    }

    /// The sum of the sizes of all regular files, in bytes; a hard link counts once.
    pub fn size(&self) -> u64 {
        self.entries.iter().map(|entry| if let Kind::File { size, .. } = entry.kind { size } else { 0 }).sum()
    }

    /// The entries, to be changed in their order: the only way to them, because the digest that was taken is
    /// another tree's then.
    fn entries_mut(&mut self) -> &mut Vec<Entry> {
        self.id.take();
        Arc::make_mut(&mut self.entries)
    }

    /// The tree's digest: BLAKE3 over the canonical encoding, times left out. See [`codec`].
    pub fn id(&self) -> LayerId {
        *self.id.get_or_init(|| codec::digest(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(path: &str) -> Entry {
        Entry {
            path: TreePath::new(path),
            kind: Kind::Dir { opaque: false },
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        }
    }

    #[test]
    fn the_later_of_two_entries_wins_and_order_is_by_path() {
        let mut second = dir("b");
        second.mode = 0o700;
        let tree = Tree::new(vec![dir("b"), dir("a/x"), dir("a"), second.clone()]);
        assert_eq!(tree.entries(), [dir("a"), dir("a/x"), second]);
    }

    #[test]
    fn below_gives_a_directory_with_its_contents_only() {
        let tree = Tree::new(["a", "a/x", "a/x/y", "a.b", "b"].map(dir).to_vec());
        let names: Vec<String> =
            tree.below(&TreePath::new("a")).iter().map(|entry| entry.path.display().to_string()).collect();
        assert_eq!(names, ["a", "a/x", "a/x/y"]);
        assert_eq!(tree.below(&TreePath::root()).len(), 5);
        assert!(tree.below(&TreePath::new("c")).is_empty());
    }
}
