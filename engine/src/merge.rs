//! Several branches' changes laid over one another: what stacks by itself, what has to be repeated, what contradicts.
//!
//! Each branch is an effective change: the sum of its layers as one sorted list, whiteouts included. Stacking is what an
//! overlay does anyway, so nothing is copied; only a directory whose attributes one branch changed, and a later one merely
//! passed through, has to be stated once more on top. Pure: knows nothing of layers on disk or of steps.

use crate::tree::{Entry, Kind, Tree, TreePath, Xattrs};

/// What one branch changed.
#[derive(Clone, Debug, Default)]
pub struct Change {
    /// Whiteouts included; hard links stand as the files that they are names of.
    tree: Tree,
}

/// The attributes of a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Attributes {
    /// `mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Its extended attributes.
    pub xattrs: Xattrs,
}

impl Attributes {
    fn of(entry: &Entry) -> Self {
        Attributes { mode: entry.mode, uid: entry.uid, gid: entry.gid, xattrs: entry.xattrs.clone() }
    }
}

/// A path that two branches changed differently.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Conflict {
    /// The path.
    pub path: TreePath,
    /// Which of the changes below it is that contradicts, by its place among them.
    pub with: usize,
}

/// What stacking a change on others comes to.
#[derive(Clone, Debug, Default)]
pub struct Stacked {
    /// Directories that have to be stated again on top, with the attributes that one of the others gave them.
    pub repeated: Vec<Entry>,
    /// What contradicts, sorted by path.
    pub conflicts: Vec<Conflict>,
}

impl Change {
    /// The sum of layers, the bottom one first.
    pub fn of<'t>(layers: impl IntoIterator<Item = &'t Tree>) -> Self {
        let entries = layers.into_iter().fold(Vec::new(), |sum, tree| lay(sum, unfolded(tree)));
        Change { tree: Tree::new(entries) }
    }

    /// The entries, sorted.
    pub fn entries(&self) -> &[Entry] {
        self.tree.entries()
    }

    /// Lays this change on `others`, which lie on a common ancestor: what has the directory at a path there is asked of
    /// `ancestor`.
    pub fn stacked_on<E>(
        &self,
        others: &[Change],
        ancestor: impl Fn(&TreePath) -> Result<Option<Attributes>, E>,
    ) -> Result<Stacked, E> {
        let mut stacked = Stacked::default();
        // A contradiction at a directory is told once, and not for all that is below it.
        let mut told: Option<&TreePath> = None;
        for own in self.entries() {
            if told.is_some_and(|told| own.path.starts_with(told)) {
                continue;
            }
            // The topmost of the others that has the path is the one that shows.
            let found = others.iter().enumerate().rev().find_map(|(with, other)| {
                let entry = other.tree.get(&own.path)?;
                Some((with, other, entry))
            });
            let Some((with, change, other)) = found else { continue };
            let is_conflict = match (&own.kind, &other.kind) {
                (Kind::Dir { opaque: false }, Kind::Dir { opaque: false }) => {
                    let (mine, theirs) = (Attributes::of(own), Attributes::of(other));
                    if mine == theirs {
                        false
                    } else {
                        let before = ancestor(&own.path)?;
                        if before.as_ref() == Some(&mine) {
                            stacked.repeated.push(other.clone());
                        }
                        before.is_none_or(|before| before != mine && before != theirs)
                    }
                }
                (Kind::Dir { .. }, Kind::Dir { .. }) => {
                    !are_same(self.tree.below(&own.path), change.tree.below(&own.path))
                }
                _ => !is_same(own, other),
            };
            if is_conflict {
                told = Some(&own.path);
                stacked.conflicts.push(Conflict { path: own.path.clone(), with });
            }
        }
        Ok(stacked)
    }
}

/// Whether two entries are the same but for their times.
fn is_same(a: &Entry, b: &Entry) -> bool {
    (&a.path, &a.kind) == (&b.path, &b.kind) && (a.kind == Kind::Whiteout || Attributes::of(a) == Attributes::of(b))
}

fn are_same(a: &[Entry], b: &[Entry]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| is_same(a, b))
}

/// The entries of a layer, each hard link as the file that it is a name of.
fn unfolded(tree: &Tree) -> Vec<Entry> {
    let target = |to: &TreePath| tree.get(to).map(|entry| entry.kind.clone());
    let unfold = |entry: &Entry| match &entry.kind {
        Kind::Hardlink { to } => Entry { kind: target(to).unwrap_or_else(|| entry.kind.clone()), ..entry.clone() },
        _ => entry.clone(),
    };
    tree.entries().iter().filter(|entry| !entry.path.is_root()).map(unfold).collect()
}

/// Lays one change over another, both sorted, as one change: what hides what is below it goes on doing so.
fn lay(lower: Vec<Entry>, upper: Vec<Entry>) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::with_capacity(lower.len() + upper.len());
    let mut lower = lower.into_iter().peekable();
    for mut entry in upper {
        while lower.peek().is_some_and(|old| old.path < entry.path) {
            out.extend(lower.next());
        }
        let replaced = lower.next_if(|old| old.path == entry.path).map(|old| old.kind);
        let hides = match &mut entry.kind {
            Kind::Dir { opaque } => {
                let hides_already = *opaque;
                // A directory in the place of something else shows nothing of what was there before that.
                *opaque |= replaced.as_ref().is_some_and(|old| *old != Kind::Dir { opaque: false });
                hides_already || replaced.is_some_and(|old| !matches!(old, Kind::Dir { .. }))
            }
            _ => true,
        };
        if hides {
            while lower.next_if(|old| old.path.starts_with(&entry.path)).is_some() {}
        }
        out.push(entry);
    }
    out.extend(lower);
    out
}

#[cfg(test)]
mod tests;
