//! Changes by hand, and the laws that stacking keeps.

use super::*;
use crate::tree::Mtime;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::convert::Infallible;

fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
    Entry { path: TreePath::new(path), kind, mode, uid: 0, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() }
}

fn dir(path: &str, mode: u32) -> Entry {
    entry(path, Kind::Dir { opaque: false }, mode)
}

fn file(path: &str, content: &str) -> Entry {
    let kind = Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() };
    entry(path, kind, 0o644)
}

fn gone(path: &str) -> Entry {
    entry(path, Kind::Whiteout, 0)
}

fn change(entries: Vec<Entry>) -> Change {
    Change::of([&Tree::new(entries)])
}

/// What `own` comes to on `other`, where the ancestor has `d` of mode 0755.
fn on(own: Vec<Entry>, other: Vec<Entry>) -> (Vec<String>, Vec<String>) {
    let ancestor = |path: &TreePath| {
        let d = Attributes { mode: 0o755, uid: 0, gid: 0, xattrs: Vec::new() };
        Ok::<_, Infallible>((*path == TreePath::new("d")).then_some(d))
    };
    let Ok(stacked) = change(own).stacked_on(&[change(other)], ancestor);
    let path = |path: &TreePath| path.display().to_string();
    (
        stacked.conflicts.iter().map(|conflict| path(&conflict.path)).collect(),
        stacked.repeated.iter().map(|entry| format!("{} {:o}", path(&entry.path), entry.mode)).collect(),
    )
}

const NONE: [String; 0] = [];

#[test]
fn what_two_branches_change_alike_or_apart_contradicts_nothing() {
    let (conflicts, repeated) = on(
        vec![dir("d", 0o755), file("d/a", "a"), file("same", "s"), gone("old")],
        vec![dir("d", 0o755), file("d/b", "b"), file("same", "s"), gone("old")],
    );
    assert_eq!((conflicts, repeated), (NONE.to_vec(), NONE.to_vec()));
}

#[test]
fn what_two_branches_change_differently_is_a_conflict() {
    for (own, other, path) in [
        (vec![file("f", "1")], vec![file("f", "2")], "f"),
        (vec![gone("f")], vec![file("f", "2")], "f"),
        (vec![dir("d", 0o755), file("d/f", "1")], vec![gone("d")], "d"),
        (vec![dir("d", 0o700)], vec![dir("d", 0o711)], "d"),
        (vec![dir("new", 0o700)], vec![dir("new", 0o711)], "new"),
        (vec![entry("d", Kind::Dir { opaque: true }, 0o755)], vec![dir("d", 0o755), file("d/f", "1")], "d"),
        (vec![dir("x", 0o755), file("x/y", "1")], vec![file("x", "1")], "x"),
    ] {
        assert_eq!(on(own.clone(), other.clone()).0, [path], "{own:?} on {other:?}");
        assert_eq!(on(other.clone(), own.clone()).0, [path], "{other:?} on {own:?}");
    }
}

#[test]
fn a_directory_that_only_one_branch_changed_has_what_that_one_gave_it_whatever_the_order() {
    let (changed, passed) = (vec![dir("d", 0o700)], vec![dir("d", 0o755), file("d/f", "1")]);
    assert_eq!(on(passed.clone(), changed.clone()), (NONE.to_vec(), vec!["d 700".to_owned()]));
    assert_eq!(on(changed, passed), (NONE.to_vec(), NONE.to_vec()));
}

#[test]
fn the_sum_of_layers_hides_what_its_parts_hide() {
    let first = Tree::new(vec![dir("a", 0o755), file("a/x", "x"), gone("b"), file("c", "c")]);
    let second = Tree::new(vec![gone("a"), dir("b", 0o755), file("b/y", "y"), dir("c", 0o755)]);
    let sum = Change::of([&first, &second]);
    let shown: Vec<String> =
        sum.entries().iter().map(|entry| format!("{} {:?}", entry.path.display(), entry.kind)).collect();
    assert_eq!(shown[0], "a Whiteout");
    assert_eq!(shown[1], "b Dir { opaque: true }");
    assert!(shown[2].starts_with("b/y File"));
    assert_eq!(shown[3], "c Dir { opaque: true }");
    assert_eq!(shown.len(), 4);
}

/// A root file system: what is at each path, a directory as `None`.
type Root = BTreeMap<String, Option<String>>;

/// What an overlay shows of these changes over `root`, as RUN steps in that root make them.
fn shown(root: &Root, changes: &[&Change]) -> Root {
    let mut out = root.clone();
    for change in changes {
        for entry in change.entries() {
            let path = entry.path.display().to_string();
            let below = format!("{path}/");
            match &entry.kind {
                Kind::Dir { opaque: false } => {
                    if out.insert(path, None).is_some_and(|old| old.is_some()) {
                        out.retain(|other, _| !other.starts_with(&below));
                    }
                }
                Kind::Dir { opaque: true } => {
                    out.retain(|other, _| !other.starts_with(&below));
                    out.insert(path, None);
                }
                Kind::Whiteout => out.retain(|other, _| *other != path && !other.starts_with(&below)),
                kind => {
                    out.retain(|other, _| !other.starts_with(&below));
                    out.insert(path, Some(format!("{kind:?}")));
                }
            }
        }
    }
    out
}

/// One edit of a root: a directory, one of four places in it, and what becomes of it.
type Edit = (u8, u8, u8);

/// The layer of some edits of a root with the directories `d0` and `d1`, each with a file `f0`.
fn edited(edits: &[Edit]) -> Change {
    let layers: Vec<Tree> = edits
        .iter()
        .map(|(top, name, what)| {
            let top = format!("d{top}");
            let path = format!("{top}/f{name}");
            Tree::new(match what {
                0 => vec![dir(&top, 0o755), gone(&path)],
                1 => vec![gone(&top)],
                2 => vec![entry(&top, Kind::Dir { opaque: true }, 0o755)],
                what => vec![dir(&top, 0o755), file(&path, &what.to_string())],
            })
        })
        .collect();
    Change::of(&layers)
}

proptest! {
    #[test]
    fn without_a_conflict_the_order_of_branches_does_not_matter(
        a in prop::collection::vec((0_u8..2, 0_u8..4, 0_u8..6), 0..4),
        b in prop::collection::vec((0_u8..2, 0_u8..4, 0_u8..6), 0..4),
    ) {
        let (a, b) = (edited(&a), edited(&b));
        let none = |_: &TreePath| Ok::<_, Infallible>(Some(Attributes { mode: 0o755, uid: 0, gid: 0, xattrs: Vec::new() }));
        let Ok(ab) = b.stacked_on(std::slice::from_ref(&a), none);
        let Ok(ba) = a.stacked_on(std::slice::from_ref(&b), none);
        prop_assert_eq!(ab.conflicts.is_empty(), ba.conflicts.is_empty());
        if ab.conflicts.is_empty() {
            let root: Root = ["d0", "d0/f0", "d1", "d1/f0"]
                .into_iter()
                .map(|path| (path.to_owned(), path.contains('/').then(|| "old".to_owned())))
                .collect();
            prop_assert_eq!(shown(&root, &[&a, &b]), shown(&root, &[&b, &a]));
        }
    }

    #[test]
    fn the_sum_of_layers_shows_what_they_show(
        a in prop::collection::vec((0_u8..2, 0_u8..4, 0_u8..6), 0..6),
        cut in 0_usize..6,
    ) {
        let cut = cut.min(a.len());
        let root: Root = [("d0".to_owned(), None), ("d0/f0".to_owned(), Some("old".to_owned()))].into();
        prop_assert_eq!(shown(&root, &[&edited(&a)]), shown(&root, &[&edited(&a[..cut]), &edited(&a[cut..])]));
    }
}
