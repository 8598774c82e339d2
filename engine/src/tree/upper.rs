//! What a step left in its overlay's upper directory, as a layer's tree.
//!
//! The overlay copies a directory up as soon as something below it changes; where nothing about
//! the directory itself changed and nothing below it remains, it is no part of the layer. Knows
//! nothing of what ran.

use super::Tree;
use super::entry::{Entry, Kind, TreePath};
use super::scan::{self, Choice, Options, Owner, ScanError};
use std::collections::HashMap;
use std::path::Path;

/// Reads the upper directory `dir`. `below` says what the snapshot under the step has at a path.
pub fn read(dir: &Path, below: &dyn Fn(&TreePath) -> Option<Entry>) -> Result<Tree, ScanError> {
    let keep = |_: &TreePath, _: bool| Choice::Keep;
    let found = scan::scan(dir, &Options { filter: &keep, owner: Owner::Kept, cache: None, overlay: true })?;
    let entries = fold_links(found.tree.into_entries(), &found.links);
    Ok(Tree::new(drop_untouched(entries, below)))
}

/// Turns each further name of a file into a hard link to its first name.
pub fn fold_links(mut entries: Vec<Entry>, links: &HashMap<TreePath, (u64, u64)>) -> Vec<Entry> {
    if links.is_empty() {
        return entries;
    }
    let mut first: HashMap<(u64, u64), TreePath> = HashMap::new();
    for entry in &mut entries {
        let Some(file) = links.get(&entry.path) else { continue };
        match first.get(file) {
            Some(to) => entry.kind = Kind::Hardlink { to: to.clone() },
            None => {
                first.insert(*file, entry.path.clone());
            }
        }
    }
    entries
}

/// Leaves out directories that are as they were and hold nothing that changed.
fn drop_untouched(entries: Vec<Entry>, below: &dyn Fn(&TreePath) -> Option<Entry>) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    // From the end, so that what is kept below a directory is known before the directory is judged.
    for entry in entries.into_iter().rev() {
        let holds_change = kept.last().is_some_and(|next| next.path.starts_with(&entry.path));
        let plain_dir = entry.kind == Kind::Dir { opaque: false };
        if plain_dir && !holds_change && below(&entry.path).is_some_and(|old| is_same_dir(&old, &entry)) {
            continue;
        }
        kept.push(entry);
    }
    kept.reverse();
    kept
}

fn is_same_dir(old: &Entry, new: &Entry) -> bool {
    matches!(old.kind, Kind::Dir { .. })
        && (old.mode, old.uid, old.gid, &old.xattrs) == (new.mode, new.uid, new.gid, &new.xattrs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_directory_copied_up_for_nothing_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["same", "parent", "new"] {
            fs::create_dir(dir.path().join(path)).unwrap();
        }
        fs::write(dir.path().join("parent/file"), "x").unwrap();
        let lower = read(dir.path(), &|_| None).unwrap();
        let below = |path: &TreePath| lower.get(path).filter(|_| path.as_bytes() != b"new").cloned();
        let tree = read(dir.path(), &below).unwrap();
        let names: Vec<String> = tree.entries().iter().map(|entry| entry.path.display().to_string()).collect();
        assert_eq!(names, ["new", "parent", "parent/file"]);
    }

    #[test]
    fn further_names_of_a_file_are_links_to_its_first() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("b"), "x").unwrap();
        fs::hard_link(dir.path().join("b"), dir.path().join("a")).unwrap();
        let tree = read(dir.path(), &|_| None).unwrap();
        assert!(matches!(tree.entries()[0].kind, Kind::File { .. }));
        assert_eq!(tree.entries()[1].kind, Kind::Hardlink { to: TreePath::new("a") });
    }
}
