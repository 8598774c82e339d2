//! A refreshed tree is the one that a fresh scan gives, whatever was done.

use super::*;
use crate::tree::scan::Owner;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

/// Like an ignore file with `out`, `!out/keep*` and `*.log`.
fn choose(path: &TreePath, is_dir: bool) -> Choice {
    let bytes = path.as_bytes();
    match bytes {
        b"out" if is_dir => Choice::Enter,
        _ if bytes.starts_with(b"out/keep") => Choice::Keep,
        _ if bytes.starts_with(b"out") => Choice::Skip,
        _ if bytes.ends_with(b".log") => Choice::Skip,
        _ => Choice::Keep,
    }
}

const OPTIONS: Options<'static> = Options { filter: &choose, owner: Owner::Root, cache: None, overlay: false };

fn fresh(root: &Path) -> Scanned {
    whole(root, &OPTIONS).unwrap().0
}

/// Refreshes, then compares with a fresh scan; gives what is said to have changed.
fn check(scanned: &mut Scanned, root: &Path, dirty: &[(&str, Depth)]) -> Vec<String> {
    let before = scanned.tree.clone();
    let dirty: Dirty = dirty.iter().map(|(path, depth)| (TreePath::new(path), *depth)).collect();
    let refreshed = refresh(scanned, root, &OPTIONS, &dirty).unwrap();
    let expected = fresh(root);
    let Refreshed::Changed(changed) = refreshed else {
        *scanned = expected;
        return vec!["unclear".to_owned()];
    };
    // A directory has another time for whatever came or went in it, and no event of its own.
    assert_eq!(difference(scanned.tree.entries(), expected.tree.entries()), []);
    assert_eq!(scanned.dirs, expected.dirs);
    let several = |links: &HashMap<TreePath, (u64, u64)>| -> BTreeMap<TreePath, (u64, u64)> {
        let count = |file: &(u64, u64)| links.values().filter(|other| *other == file).count();
        links.iter().filter(|(_, file)| count(file) > 1).map(|(path, file)| (path.clone(), *file)).collect()
    };
    assert_eq!(several(&scanned.links), several(&expected.links));
    assert_eq!(changed, difference(before.entries(), expected.tree.entries()));
    changed.iter().map(|path| path.display().to_string()).collect()
}

fn place() -> (tempfile::TempDir, Scanned) {
    let dir = tempfile::tempdir().unwrap();
    for path in ["a/b", "out/deep", "src"] {
        fs::create_dir_all(dir.path().join(path)).unwrap();
    }
    for path in ["a/b/f", "a/g", "out/drop", "src/main", "top"] {
        fs::write(dir.path().join(path), path).unwrap();
    }
    let scanned = fresh(dir.path());
    (dir, scanned)
}

#[test]
fn an_edit_changes_its_file_and_a_touch_nothing() {
    let (dir, mut scanned) = place();
    fs::write(dir.path().join("a/g"), "other").unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("a/g", Depth::Own)]), ["a/g"]);
    fs::write(dir.path().join("a/g"), "other").unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("a/g", Depth::Own)]), [""; 0]);
}

#[test]
fn what_comes_goes_or_becomes_another_thing_is_seen_with_all_below_it() {
    let (dir, mut scanned) = place();
    let at = |path: &str| dir.path().join(path);
    fs::rename(at("a"), at("z")).unwrap();
    let dirty = [("a", Depth::All), ("z", Depth::All)];
    assert_eq!(check(&mut scanned, dir.path(), &dirty), ["a", "a/b", "a/b/f", "a/g", "z", "z/b", "z/b/f", "z/g"]);
    fs::remove_dir_all(at("src")).unwrap();
    symlink("z", at("src")).unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("src", Depth::All)]), ["src", "src/main"]);
    // An event of a file that came with its directory, and one below something that is gone.
    fs::create_dir_all(at("new/deep")).unwrap();
    fs::write(at("new/deep/f"), "x").unwrap();
    let dirty = [("new", Depth::All), ("new/deep/f", Depth::Own), ("a/g", Depth::Own)];
    assert_eq!(check(&mut scanned, dir.path(), &dirty), ["new", "new/deep", "new/deep/f"]);
}

#[test]
fn a_directorys_own_mode_is_seen_without_walking_it() {
    let (dir, mut scanned) = place();
    fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("a", Depth::Own)]), ["a"]);
}

#[test]
fn what_is_left_out_changes_nothing_and_a_directory_comes_with_what_is_kept_in_it() {
    let (dir, mut scanned) = place();
    let at = |path: &str| dir.path().join(path);
    fs::write(at("x.log"), "x").unwrap();
    fs::write(at("out/drop"), "y").unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("x.log", Depth::All), ("out/drop", Depth::Own)]), [""; 0]);
    fs::write(at("out/keep"), "x").unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("out/keep", Depth::All)]), ["out", "out/keep"]);
    fs::remove_file(at("out/keep")).unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("out/keep", Depth::All)]), ["out", "out/keep"]);
}

#[test]
fn a_file_changes_under_all_its_names() {
    let (dir, mut scanned) = place();
    let at = |path: &str| dir.path().join(path);
    fs::hard_link(at("top"), at("a/top")).unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("a/top", Depth::All)]), ["unclear"]);
    fs::write(at("top"), "changed").unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("top", Depth::Own)]), ["a/top", "top"]);
    fs::remove_file(at("a/top")).unwrap();
    assert_eq!(check(&mut scanned, dir.path(), &[("a/top", Depth::All)]), ["a/top"]);
}

#[test]
fn a_digest_that_was_taken_before_a_change_is_not_the_changed_trees() {
    let (dir, mut scanned) = place();
    for (path, content) in [("a/g", "other"), ("new", "x"), ("new", "y")] {
        let before = scanned.tree.id();
        fs::write(dir.path().join(path), content).unwrap();
        check(&mut scanned, dir.path(), &[(path, Depth::All)]);
        assert_ne!(scanned.tree.id(), before, "{path}");
        assert_eq!(scanned.tree.id(), fresh(dir.path()).tree.id(), "{path}");
    }
    let before = scanned.tree.id();
    fs::remove_dir_all(dir.path().join("a")).unwrap();
    check(&mut scanned, dir.path(), &[("a", Depth::All)]);
    assert_ne!(scanned.tree.id(), before);
    assert_eq!(scanned.tree.id(), fresh(dir.path()).tree.id());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn after_any_operations_the_tree_is_that_of_a_fresh_scan(
        operations in proptest::collection::vec((0u8..8, 0usize..8, 0usize..8, any::<u8>()), 1..24),
        batch in 1usize..5,
    ) {
        const PATHS: [&str; 8] = ["f", "d", "d/f", "d/e", "d/e/f", "out", "out/keep", "out/x.log"];
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        let mut scanned = fresh(dir.path());
        for operations in operations.chunks(batch) {
            let mut dirty: Vec<(&str, Depth)> = Vec::new();
            for (what, one, two, byte) in operations {
                let (one, two) = (PATHS[*one], PATHS[*two]);
                // Through a linked directory something else would change than what is told below.
                let top = dir.path().canonicalize().unwrap();
                let is_direct = |path: &str| {
                    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
                    at(above).canonicalize().is_ok_and(|real| real == top.join(above))
                };
                if !is_direct(one) || !is_direct(two) {
                    continue;
                }
                // What is done to a link is done to the file beside it that it names.
                dirty.push((one.rsplit_once('/').map_or("f", |(dir, _)| if dir == "d" { "d/f" } else { "d/e/f" }), Depth::All));
                match what {
                    0 | 1 => drop(fs::write(at(one), [*byte])),
                    2 => drop(fs::create_dir(at(one))),
                    3 => drop(fs::remove_file(at(one))),
                    4 => drop(fs::remove_dir_all(at(one))),
                    5 => drop(fs::rename(at(one), at(two))),
                    6 => drop(symlink("f", at(one))),
                    _ => {
                        let mode = 0o700 | u32::from(*byte) & 0o77;
                        drop(fs::set_permissions(at(one), fs::Permissions::from_mode(mode)));
                        dirty.push((one, Depth::Own));
                        continue;
                    }
                }
                dirty.push((one, Depth::All));
                if *what == 5 {
                    dirty.push((two, Depth::All));
                }
            }
            check(&mut scanned, dir.path(), &dirty);
        }
    }
}
