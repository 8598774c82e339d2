//! States of stacks, against what a directory would show.

use super::*;
use crate::tree::Mtime;
use proptest::prelude::*;

fn entry(path: &str, kind: Kind) -> Entry {
    Entry { path: TreePath::new(path), kind, mode: 0o755, uid: 0, gid: 0, xattrs: Vec::new(), mtime: Mtime::default() }
}

fn file(content: &str) -> Kind {
    Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() }
}

const DIR: Kind = Kind::Dir { opaque: false };
const OPAQUE: Kind = Kind::Dir { opaque: true };

fn tree(entries: &[(&str, Kind)]) -> Tree {
    Tree::new(entries.iter().map(|(path, kind)| entry(path, kind.clone())).collect())
}

fn view(trees: &[Tree]) -> View<'_> {
    View::new(trees.iter().map(|tree| Stacked::Listed { id: tree.id(), tree }).collect::<Vec<_>>())
}

fn state(trees: &[Tree], path: &str, aspect: Aspect) -> State {
    view(trees).state(&TreePath::new(path), aspect)
}

#[test]
fn a_stack_has_the_states_of_the_one_tree_that_it_makes() {
    let low =
        tree(&[("a", DIR), ("a/x", file("1")), ("a/y", file("2")), ("b", DIR), ("b/z", file("3")), ("c", file("4"))]);
    let high = tree(&[
        ("a", DIR),
        ("a/x", Kind::Whiteout),
        ("b", OPAQUE),
        ("b/w", file("5")),
        ("c", DIR),
        ("c/in", file("6")),
    ]);
    let merged =
        tree(&[("a", DIR), ("a/y", file("2")), ("b", DIR), ("b/w", file("5")), ("c", DIR), ("c/in", file("6"))]);
    let (stack, one) = ([low, high], [merged]);
    for path in ["", "a", "a/x", "a/y", "a/none", "b", "b/z", "b/w", "c", "c/in", "none/below"] {
        for aspect in [Aspect::Entry, Aspect::Listing] {
            assert_eq!(state(&stack, path, aspect), state(&one, path, aspect), "{path} {aspect:?}");
        }
    }
    assert_ne!(state(&stack, "a/y", Aspect::Entry), state(&stack, "a/x", Aspect::Entry));
    assert_ne!(state(&stack, "a", Aspect::Listing), state(&stack, "b", Aspect::Listing));
}

#[test]
fn every_property_of_a_file_is_in_its_state_and_its_time_is_not() {
    let base = entry("f", file("x"));
    let of = |entry: &Entry| state(&[Tree::new(vec![entry.clone()])], "f", Aspect::Entry);
    let mut all = vec![of(&base)];
    let mut other = |edit: &dyn Fn(&mut Entry)| {
        let mut changed = base.clone();
        edit(&mut changed);
        let state = of(&changed);
        assert!(!all.contains(&state), "{changed:?}");
        all.push(state);
    };
    other(&|entry| entry.mode = 0o644);
    other(&|entry| entry.uid = 1);
    other(&|entry| entry.gid = 1);
    other(&|entry| entry.xattrs = vec![(Box::from(*b"user.a"), Box::from(*b"b"))]);
    other(&|entry| entry.kind = file("y"));
    other(&|entry| entry.kind = Kind::Symlink { target: Box::from(*b"x") });
    other(&|entry| entry.kind = Kind::Symlink { target: Box::from(*b"y") });
    other(&|entry| entry.kind = DIR);
    other(&|entry| entry.kind = Kind::Fifo);
    other(&|entry| entry.kind = Kind::CharDevice { major: 1, minor: 3 });
    other(&|entry| entry.path = TreePath::new("g"));
    let later = Entry { mtime: Mtime { seconds: 9, nanos: 9 }, ..base.clone() };
    assert_eq!(of(&later), of(&base));
}

#[test]
fn another_name_of_a_file_is_in_its_state() {
    let link = Kind::Hardlink { to: TreePath::new("a") };
    let linked = [tree(&[("a", file("x")), ("b", link.clone()), ("c", link)])];
    let apart = [tree(&[("a", file("x")), ("b", file("x")), ("c", file("x"))])];
    let two = [tree(&[("a", file("x")), ("b", Kind::Hardlink { to: TreePath::new("a") })])];
    for path in ["a", "b"] {
        let states = [&linked, &apart, &two].map(|trees| state(trees, path, Aspect::Entry));
        assert!(states[0] != states[1] && states[1] != states[2] && states[0] != states[2]);
    }
    assert_eq!(state(&linked, "a", Aspect::Entry), state(&linked, "b", Aspect::Entry));
}

#[test]
fn what_lies_on_the_host_is_as_the_host_is() {
    let (one, two) = (LayerId::from_bytes([1; 32]), LayerId::from_bytes([2; 32]));
    let above = tree(&[("usr", DIR), ("usr/new", file("x"))]);
    let of = |id, path: &str, aspect| {
        let above = Stacked::Listed { id: above.id(), tree: &above };
        View::new(vec![Stacked::Host { id }, above]).state(&TreePath::new(path), aspect)
    };
    for path in ["usr/lib", "usr/lib/deep/er", "etc/passwd"] {
        assert_ne!(of(one, path, Aspect::Entry), of(two, path, Aspect::Entry), "{path}");
    }
    assert_eq!(of(one, "usr/new", Aspect::Entry), of(two, "usr/new", Aspect::Entry));
    assert_ne!(of(one, "usr", Aspect::Listing), of(two, "usr", Aspect::Listing));
    assert_ne!(of(one, "usr", Aspect::Subtree), of(two, "usr", Aspect::Subtree));
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop_oneof![
        2 => Just(DIR),
        1 => Just(OPAQUE),
        1 => Just(Kind::Whiteout),
        2 => "[xy]".prop_map(|content| file(&content)),
    ]
}

/// A layer as they are made: what is below an entry lies in a directory.
fn layers() -> impl Strategy<Value = Tree> {
    let paths = proptest::collection::vec(("[ab](/[ab]){0,2}", kinds()), 0..6);
    paths.prop_map(|list| {
        let mut all = Vec::new();
        for (path, kind) in list {
            let path = TreePath::new(path);
            all.extend(
                path.ancestors()
                    .into_iter()
                    .filter(|dir| !dir.is_root())
                    .map(|dir| entry(&dir.display().to_string(), DIR)),
            );
            all.push(entry(&path.display().to_string(), kind));
        }
        let tree = Tree::new(all);
        let inside = |entry: &Entry| {
            entry
                .path
                .ancestors()
                .iter()
                .filter(|dir| !dir.is_root())
                .all(|dir| tree.get(dir).is_some_and(|above| matches!(above.kind, Kind::Dir { .. })))
        };
        Tree::new(tree.entries().iter().filter(|entry| inside(entry)).cloned().collect())
    })
}

const PATHS: [&str; 15] =
    ["", "a", "a/a", "a/a/a", "a/a/b", "a/b", "a/b/a", "a/b/b", "b", "b/a", "b/a/a", "b/a/b", "b/b", "b/b/a", "c"];

proptest! {
    #[test]
    fn what_is_not_touched_is_the_same(
        common in proptest::collection::vec(layers(), 0..3),
        old in proptest::collection::vec(layers(), 0..3),
        new in proptest::collection::vec(layers(), 0..3),
    ) {
        let old: Vec<Tree> = common.iter().cloned().chain(old).collect();
        let new: Vec<Tree> = common.iter().cloned().chain(new).collect();
        let (old, new) = (view(&old), view(&new));
        let mut dependencies = Vec::new();
        for path in PATHS {
            for aspect in [Aspect::Entry, Aspect::Listing, Aspect::Subtree] {
                let path = TreePath::new(path);
                dependencies.push(Dependency { state: old.state(&path, aspect), path, aspect });
            }
        }
        dependencies.sort_by(|a, b| (&a.path, a.aspect).cmp(&(&b.path, b.aspect)));
        let touched = touched(&dependencies, &old, &new);
        let mut cursor = new.cursor();
        for (dependency, touched) in dependencies.iter().zip(touched) {
            let state = cursor.state(&dependency.path, dependency.aspect);
            prop_assert_eq!(state, new.state(&dependency.path, dependency.aspect), "the cursor remembers rightly");
            if !touched {
                prop_assert_eq!(state, dependency.state, "{:?}", dependency);
            }
        }
    }
}
