//! The listings that were used last, kept for the builds of one process. Knows nothing of what they list.
//!
//! A listing is named by its digest, which leaves times out: what is kept is the one that was written, so it is
//! never stale and never another than that on the disk.

use crate::digest::LayerId;
use crate::tree::Tree;

/// So many entries are kept: a selection and a layer of 100,000 files, and some smaller ones. About 30 MB.
const MOST_ENTRIES: usize = 250_000;

/// Listings by their digests, the one that was used last at the end.
#[derive(Default)]
pub(super) struct Recent {
    trees: Vec<(LayerId, Tree)>,
}

impl Recent {
    /// The listing with this digest, if it is kept.
    pub fn get(&mut self, id: LayerId) -> Option<Tree> {
        let at = self.trees.iter().position(|(known, _)| *known == id)?;
        let found = self.trees.remove(at);
        let tree = found.1.clone();
        self.trees.push(found);
        Some(tree)
    }

    /// Keeps this one no longer.
    pub fn forget(&mut self, id: LayerId) {
        self.trees.retain(|(known, _)| *known != id);
    }

    /// Keeps a listing; those that were not used for longest go for it.
    pub fn put(&mut self, id: LayerId, tree: &Tree) {
        if self.get(id).is_some() {
            return;
        }
        self.trees.push((id, tree.clone()));
        let mut count: usize = self.trees.iter().map(|(_, tree)| tree.len()).sum();
        while count > MOST_ENTRIES {
            count -= self.trees.remove(0).1.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Entry, Kind, Mtime, TreePath};

    fn tree(name: &str, count: usize) -> Tree {
        let entry = |number| Entry {
            path: TreePath::new(format!("{name}{number:06}")),
            kind: Kind::Fifo,
            mode: 0,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        };
        Tree::new((0..count).map(entry).collect())
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let third = MOST_ENTRIES / 3;
        let trees = ["a", "b", "c", "d"].map(|name| tree(name, third));
        let mut recent = Recent::default();
        for tree in &trees[..3] {
            recent.put(tree.id(), tree);
        }
        assert!(recent.get(trees[0].id()).is_some());
        recent.put(trees[3].id(), &trees[3]);
        let kept: Vec<bool> = trees.iter().map(|tree| recent.get(tree.id()).is_some()).collect();
        assert_eq!(kept, [true, false, true, true]);
        recent.forget(trees[3].id());
        assert!(recent.get(trees[3].id()).is_none());
        let huge = tree("e", MOST_ENTRIES + 1);
        recent.put(huge.id(), &huge);
        assert!(recent.get(huge.id()).is_none());
    }
}
