//! What differs between two keys of one step, in words.
//!
//! Pure: listings are handed in by a closure. Values of `ENV` and `ARG` are not repeated here, so
//! that a reason may be logged anywhere.

use super::{Component, Value};
use crate::digest::LayerId;
use crate::tree::{Entry, Kind, Tree, TreePath};

/// How a file differs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileChange {
    /// Only the new side has it.
    Added,
    /// Only the old side has it.
    Removed,
    /// Its content, type or link target differs.
    Changed,
    /// Only its mode differs.
    Mode {
        /// Before.
        old: u32,
        /// Now.
        new: u32,
    },
    /// Only its owner or extended attributes differ.
    Attributes,
}

/// One difference between two keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// A text differs, or is on one side only.
    Text {
        /// The component.
        label: String,
        /// Before, if it was there.
        old: Option<String>,
        /// Now, if it is there.
        new: Option<String>,
    },
    /// Files differ.
    Files {
        /// The component.
        label: String,
        /// What differs, by path; empty where a listing is no longer there.
        files: Vec<(TreePath, FileChange)>,
    },
    /// The snapshot below the step differs from this layer on, counted from the bottom.
    Parent {
        /// The first layer that differs.
        first: usize,
    },
}

/// The differences from `old` to `new`, the ones that people cause themselves first.
pub fn changes(old: &[Component], new: &[Component], tree: &dyn Fn(LayerId) -> Option<Tree>) -> Vec<Change> {
    let find = |list: &[Component], label: &str| list.iter().find(|other| other.label == label).cloned();
    let mut all = Vec::new();
    for component in new {
        let before = find(old, &component.label).map(|other| other.value);
        if before.as_ref() == Some(&component.value) {
            continue;
        }
        all.push(change(&component.label, before, Some(component.value.clone()), tree));
    }
    for component in old {
        if find(new, &component.label).is_none() {
            all.push(change(&component.label, Some(component.value.clone()), None, tree));
        }
    }
    // A changed parent is somebody else's change: it comes last.
    all.sort_by_key(|change| matches!(change, Change::Parent { .. }));
    all
}

fn change(label: &str, old: Option<Value>, new: Option<Value>, tree: &dyn Fn(LayerId) -> Option<Tree>) -> Change {
    match (&old, &new) {
        (Some(Value::Files { tree: a, .. }), Some(Value::Files { tree: b, .. })) => {
            let files = match (tree(*a), tree(*b)) {
                (Some(a), Some(b)) => diff(&a, &b),
                _ => Vec::new(),
            };
            Change::Files { label: label.to_owned(), files }
        }
        (Some(Value::Layers(a)), Some(Value::Layers(b))) => {
            Change::Parent { first: a.iter().zip(b).take_while(|(x, y)| x == y).count() }
        }
        _ => {
            let text = |value: Option<Value>| match value {
                Some(Value::Text(text)) => Some(text),
                _ => None,
            };
            Change::Text { label: label.to_owned(), old: text(old), new: text(new) }
        }
    }
}

/// The differences between two trees, by path.
pub fn diff(old: &Tree, new: &Tree) -> Vec<(TreePath, FileChange)> {
    let (mut a, mut b) = (old.entries().iter().peekable(), new.entries().iter().peekable());
    let mut all = Vec::new();
    loop {
        match (a.peek(), b.peek()) {
            (None, None) => return all,
            (Some(x), Some(y)) if x.path == y.path => {
                if let Some(change) = file_change(x, y) {
                    all.push((y.path.clone(), change));
                }
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x.path > y.path => {
                all.push((y.path.clone(), FileChange::Added));
                b.next();
            }
            (Some(x), _) => {
                all.push((x.path.clone(), FileChange::Removed));
                a.next();
            }
            (None, Some(y)) => {
                all.push((y.path.clone(), FileChange::Added));
                b.next();
            }
        }
    }
}

fn file_change(old: &Entry, new: &Entry) -> Option<FileChange> {
    let dir_to_dir = matches!((&old.kind, &new.kind), (Kind::Dir { .. }, Kind::Dir { .. }));
    if old.kind != new.kind && !dir_to_dir {
        Some(FileChange::Changed)
    } else if old.mode != new.mode {
        Some(FileChange::Mode { old: old.mode, new: new.mode })
    } else if (old.uid, old.gid, &old.xattrs) != (new.uid, new.gid, &new.xattrs) {
        Some(FileChange::Attributes)
    } else {
        None
    }
}

impl Change {
    /// The change in words: `src/index.js changed`, `ENV NODE_ENV changed`. A changed parent needs
    /// to be told which step made the layer, which only the build knows.
    pub fn words(&self, step_of_layer: &dyn Fn(usize) -> Option<String>) -> String {
        match self {
            Change::Text { label, old: None, .. } => format!("{label} added"),
            Change::Text { label, new: None, .. } => format!("{label} removed"),
            Change::Text { label, .. } => format!("{label} changed"),
            Change::Files { label, files } if files.is_empty() => format!("{label} changed"),
            Change::Files { files, .. } => files_words(files),
            Change::Parent { first } => match step_of_layer(*first) {
                Some(step) => format!("{step} made a new layer"),
                None => "the layers below changed".to_owned(),
            },
        }
    }
}

fn files_words(files: &[(TreePath, FileChange)]) -> String {
    // A directory appears with its contents; the file says more.
    let only_mode = files.iter().all(|(_, change)| matches!(change, FileChange::Mode { .. }));
    let Some((path, change)) = files.iter().find(|(_, change)| *change == FileChange::Changed).or(files.last()) else {
        return String::new();
    };
    let removed = files.iter().find(|(_, change)| *change == FileChange::Removed);
    let added = files.iter().find(|(_, change)| *change == FileChange::Added);
    let first = match (change, removed, added) {
        (FileChange::Changed, _, _) => format!("{} changed", path.display()),
        (_, Some((old, _)), Some((new, _))) => format!("{} removed, {} added", old.display(), new.display()),
        (FileChange::Added, ..) => format!("{} added", path.display()),
        (FileChange::Removed, ..) => format!("{} removed", path.display()),
        (FileChange::Mode { old, new }, ..) => {
            let cause = if only_mode { " (another umask?)" } else { "" };
            format!("mode of {} changed from {old:o} to {new:o}{cause}", path.display())
        }
        (FileChange::Attributes, ..) => format!("owner or attributes of {} changed", path.display()),
    };
    let told = if removed.is_some() && added.is_some() && *change != FileChange::Changed { 2 } else { 1 };
    match files.len().saturating_sub(told) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Mtime;

    fn file(path: &str, content: &str, mode: u32) -> Entry {
        let kind = Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() };
        Entry { path: TreePath::new(path), kind, mode, uid: 0, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() }
    }

    fn words(old: &[Entry], new: &[Entry]) -> String {
        let trees = [Tree::new(old.to_vec()), Tree::new(new.to_vec())];
        let component = |tree: &Tree| Component {
            label: "files".into(),
            value: Value::Files { tree: tree.id(), count: tree.len() as u64 },
        };
        let lookup = |id: LayerId| trees.iter().find(|tree| tree.id() == id).cloned();
        let all = changes(&[component(&trees[0])], &[component(&trees[1])], &lookup);
        all.first().map(|change| change.words(&|_| None)).unwrap_or_default()
    }

    #[test]
    fn files_are_named_with_what_happened_to_them() {
        let a = file("src/a.js", "1", 0o644);
        assert_eq!(words(std::slice::from_ref(&a), &[file("src/a.js", "2", 0o644)]), "src/a.js changed");
        assert_eq!(words(std::slice::from_ref(&a), &[a.clone(), file("b", "", 0o644)]), "b added");
        assert_eq!(words(&[a.clone(), file("b", "", 0o644)], std::slice::from_ref(&a)), "b removed");
        assert_eq!(
            words(std::slice::from_ref(&a), &[file("src/b.js", "1", 0o644)]),
            "src/a.js removed, src/b.js added"
        );
        assert_eq!(
            words(std::slice::from_ref(&a), &[file("src/a.js", "1", 0o664)]),
            "mode of src/a.js changed from 644 to 664 (another umask?)"
        );
        assert_eq!(
            words(&[a, file("b", "1", 0o644)], &[file("src/a.js", "2", 0o644), file("b", "2", 0o644)]),
            "b changed and 1 more"
        );
    }

    #[test]
    fn what_people_changed_comes_before_what_it_dragged_along() {
        let parent = |n: u8| Component {
            label: "parent".into(),
            value: Value::Layers(vec![LayerId::from_bytes([9; 32]), LayerId::from_bytes([n; 32])]),
        };
        let old = [parent(1), Component::text("ENV A", "1"), Component::text("ENV C", "1")];
        let new = [parent(2), Component::text("ENV A", "2"), Component::text("ENV B", "1")];
        let all = changes(&old, &new, &|_| None);
        let step = |layer: usize| Some(format!("step {layer}"));
        let words: Vec<String> = all.iter().map(|change| change.words(&step)).collect();
        assert_eq!(words, ["ENV A changed", "ENV B added", "ENV C removed", "step 1 made a new layer"]);
    }
}
