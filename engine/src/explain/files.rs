//! How two listings differ, in the terms in which people change files.
//!
//! A directory that came or went with its contents is told by the contents, and a file that has another
//! name and the same content is one rename. Pure.

use super::change::{FILES_MAX, FileChange, FileDiff, FileSet};
use crate::digest::ContentId;
use crate::tree::{Entry, Kind, Tree, TreePath};
use std::collections::HashMap;

/// What differs from `old` to `new`.
pub fn diff(old: &Tree, new: &Tree) -> FileSet {
    let mut found = walk(old.entries(), new.entries());
    drop_parents(&mut found);
    let renames = renames(&found);
    let mut set = FileSet { known: true, ..FileSet::default() };
    for (path, change) in found {
        let change = match (change, renames.get(path)) {
            (Difference::Only { is_new: true, .. }, Some(from)) => {
                set.renamed += 1;
                FileChange::RenamedFrom(from.display().to_string())
            }
            (Difference::Only { .. }, Some(_)) => continue,
            (Difference::Only { is_new: true, .. }, None) => {
                set.added += 1;
                FileChange::Added
            }
            (Difference::Only { is_new: false, .. }, None) => {
                set.removed += 1;
                FileChange::Removed
            }
            (Difference::Both(change), _) => {
                set.changed += 1;
                change
            }
        };
        if set.files.len() < FILES_MAX {
            set.files.push(FileDiff { path: path.display().to_string(), change });
        }
    }
    set
}

enum Difference<'a> {
    /// Only one side has it.
    Only { entry: &'a Entry, is_new: bool },
    /// Both have it.
    Both(FileChange),
}

type Found<'a> = Vec<(&'a TreePath, Difference<'a>)>;

/// Goes through both lists, which are sorted by path, side by side.
fn walk<'a>(old: &'a [Entry], new: &'a [Entry]) -> Found<'a> {
    let (mut a, mut b) = (old.iter().peekable(), new.iter().peekable());
    let mut all = Vec::new();
    loop {
        match (a.peek().copied(), b.peek().copied()) {
            (None, None) => return all,
            (Some(x), Some(y)) if x.path == y.path => {
                all.extend(changed(x, y).map(|change| (&y.path, Difference::Both(change))));
                a.next();
                b.next();
            }
            (Some(x), Some(y)) if x.path < y.path => {
                all.push((&x.path, Difference::Only { entry: x, is_new: false }));
                a.next();
            }
            (Some(x), None) => {
                all.push((&x.path, Difference::Only { entry: x, is_new: false }));
                a.next();
            }
            (_, Some(y)) => {
                all.push((&y.path, Difference::Only { entry: y, is_new: true }));
                b.next();
            }
        }
    }
}

fn changed(old: &Entry, new: &Entry) -> Option<FileChange> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match (&old.kind, &new.kind) {
        (Kind::Symlink { target: a }, Kind::Symlink { target: b }) if a != b => {
            return Some(FileChange::Target { old: text(a), new: text(b) });
        }
        (Kind::Dir { .. }, Kind::Dir { .. }) => {}
        (a, b) if a == b => {}
        (a, b) => {
            let (a, b) = (type_word(a), type_word(b));
            return Some(match a == b {
                true => FileChange::Content,
                false => FileChange::Type { old: a.to_owned(), new: b.to_owned() },
            });
        }
    }
    if old.mode != new.mode {
        Some(FileChange::Mode { old: old.mode, new: new.mode })
    } else if (old.uid, old.gid) != (new.uid, new.gid) {
        Some(FileChange::Owner { old: (old.uid, old.gid), new: (new.uid, new.gid) })
    } else if old.xattrs != new.xattrs {
        Some(FileChange::Attributes)
    } else {
        None
    }
}

fn type_word(kind: &Kind) -> &'static str {
    match kind {
        Kind::File { .. } | Kind::Hardlink { .. } => "file",
        Kind::Dir { .. } => "directory",
        Kind::Symlink { .. } => "symbolic link",
        Kind::Fifo => "pipe",
        _ => "special file",
    }
}

/// Leaves a directory out that came or went with something in it: the contents say so.
fn drop_parents(found: &mut Found<'_>) {
    let mut keep = vec![true; found.len()];
    for (index, (path, change)) in found.iter().enumerate() {
        if let Difference::Only { entry, is_new } = change
            && matches!(entry.kind, Kind::Dir { .. })
            && let Some((next, Difference::Only { is_new: next_is_new, .. })) = found.get(index + 1)
        {
            keep[index] = !(is_new == next_is_new && next.starts_with(path));
        }
    }
    let mut keep = keep.into_iter();
    found.retain(|_| keep.next().unwrap_or(true));
}

/// Both ends of each rename, leading to the old name: a content that went away at exactly one path and came at
/// exactly one. An empty file says nothing about where it came from.
fn renames<'a>(found: &Found<'a>) -> HashMap<&'a TreePath, &'a TreePath> {
    let mut ends: HashMap<(ContentId, u32), [Vec<&TreePath>; 2]> = HashMap::new();
    for (path, change) in found {
        if let Difference::Only { entry, is_new } = change
            && let Kind::File { size: 1.., content } = entry.kind
        {
            ends.entry((content, entry.mode)).or_default()[usize::from(*is_new)].push(path);
        }
    }
    let mut all = HashMap::new();
    for [old, new] in ends.into_values() {
        if let ([old], [new]) = (old.as_slice(), new.as_slice()) {
            all.insert(*old, *old);
            all.insert(*new, *old);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Mtime;

    fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
        Entry { path: TreePath::new(path), kind, mode, uid: 0, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() }
    }

    fn file(path: &str, content: &str, mode: u32) -> Entry {
        let kind = Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() };
        entry(path, kind, mode)
    }

    fn link(path: &str, target: &str) -> Entry {
        entry(path, Kind::Symlink { target: target.as_bytes().into() }, 0o777)
    }

    fn dir(path: &str) -> Entry {
        entry(path, Kind::Dir { opaque: false }, 0o755)
    }

    fn words(old: &[Entry], new: &[Entry]) -> Vec<String> {
        let set = diff(&Tree::new(old.to_vec()), &Tree::new(new.to_vec()));
        assert_eq!(set.len(), set.files.len());
        set.files.iter().map(FileDiff::words).collect()
    }

    #[test]
    fn each_kind_of_change_has_words_of_its_own() {
        let a = || file("a", "1", 0o644);
        assert_eq!(words(&[a()], &[file("a", "2", 0o644)]), ["a changed"]);
        assert_eq!(words(&[a()], &[file("a", "1", 0o664)]), ["mode of a changed from 644 to 664"]);
        assert_eq!(words(&[a()], &[link("a", "b")]), ["a was a file, is a symbolic link"]);
        assert_eq!(words(&[link("a", "b")], &[link("a", "c")]), ["link a changed from b to c"]);
        assert_eq!(words(&[a()], &[Entry { uid: 3, ..a() }]), ["owner of a changed from 0:0 to 3:0"]);
        assert_eq!(words(&[a()], &[a(), file("b", "", 0o644)]), ["b added"]);
        assert_eq!(words(&[a(), file("b", "", 0o644)], &[a()]), ["b removed"]);
    }

    #[test]
    fn a_file_under_another_name_is_one_rename_unless_the_content_says_nothing() {
        assert_eq!(words(&[file("a", "1", 0o644)], &[file("b", "1", 0o644)]), ["a renamed to b"]);
        assert_eq!(words(&[file("a", "", 0o644)], &[file("b", "", 0o644)]), ["a removed", "b added"]);
        let twice = [file("b", "1", 0o644), file("c", "1", 0o644)];
        assert_eq!(words(&[file("a", "1", 0o644)], &twice), ["a removed", "b added", "c added"]);
    }

    #[test]
    fn a_directory_that_came_with_contents_is_told_by_them() {
        assert_eq!(words(&[], &[dir("d"), dir("d/e"), file("d/e/f", "1", 0o644)]), ["d/e/f added"]);
        assert_eq!(words(&[], &[dir("d"), dir("e")]), ["d added", "e added"]);
        assert_eq!(words(&[dir("d"), file("d/f", "1", 0o644)], &[]), ["d/f removed"]);
        assert_eq!(
            words(&[dir("d"), file("d/f", "1", 0o644)], &[dir("e"), file("e/f", "1", 0o644)]),
            ["d/f renamed to e/f"]
        );
    }

    proptest::proptest! {
        #[test]
        fn equal_trees_do_not_differ_and_a_difference_counts_the_same_both_ways(
            old in proptest::collection::vec(("[ab]{1,2}", "[xy]{0,1}", 0u32..2), 0..6),
            new in proptest::collection::vec(("[ab]{1,2}", "[xy]{0,1}", 0u32..2), 0..6),
        ) {
            let tree = |list: &[(String, String, u32)]| {
                Tree::new(list.iter().map(|(path, content, mode)| file(path, content, *mode)).collect())
            };
            let (old, new) = (tree(&old), tree(&new));
            proptest::prop_assert_eq!(diff(&old, &new).is_empty(), old == new);
            let (there, back) = (diff(&old, &new), diff(&new, &old));
            proptest::prop_assert_eq!(
                (there.added, there.removed, there.changed, there.renamed),
                (back.removed, back.added, back.changed, back.renamed)
            );
        }
    }
}
