//! Look-ups in random stacks, against looking at all layers' directories at once.

use super::*;
use crate::digest::LayerId;
use crate::tree::disk::DirWriter;
use proptest::prelude::*;

/// What is at a path, and the names in it, as all directories together have them, the topmost first.
struct Directories(Vec<PathBuf>);

impl Directories {
    fn merged(&self, path: &TreePath) -> Vec<OwnedFd> {
        let mut dirs: Vec<OwnedFd> = self.0.iter().map(|dir| open_top(dir).unwrap()).collect();
        for part in path.parts() {
            let name = c_name(part);
            let mut below = Vec::new();
            for dir in &dirs {
                let Ok(found) = stat::stat_at(dir.as_fd(), &name) else { continue };
                if found.file_type != FileType::Directory {
                    break;
                }
                let child = stat::open_dir_at(dir.as_fd(), &name).unwrap();
                let opaque = stat::is_opaque(&child);
                below.push(child);
                if opaque {
                    break;
                }
            }
            dirs = below;
        }
        dirs
    }

    fn look_up(&self, path: &TreePath) -> Option<Found> {
        let name = c_name(path.file_name().unwrap());
        let dirs = self.merged(&path.parent().unwrap());
        let (dir, found) = dirs.iter().find_map(|dir| Some((dir, stat::stat_at(dir.as_fd(), &name).ok()?)))?;
        (!is_whiteout(&found)).then(|| found_at(dir, &name, &found).unwrap())
    }

    fn names(&self, path: &TreePath) -> HashSet<Box<[u8]>> {
        let (mut names, mut seen) = (HashSet::new(), HashSet::new());
        for dir in self.merged(path) {
            for name in scan::list(&dir, path).unwrap() {
                let is_there = !is_whiteout(&stat::stat_at(dir.as_fd(), &name).unwrap());
                if seen.insert(name.to_bytes().to_vec()) && is_there {
                    names.insert(name.to_bytes().into());
                }
            }
        }
        names
    }
}

fn kind() -> impl Strategy<Value = Kind> {
    let content = blake3::hash(b"").into();
    let link = |target: &str| Kind::Symlink { target: target.as_bytes().into() };
    prop_oneof![
        4 => Just(Kind::Dir { opaque: false }),
        1 => Just(Kind::Dir { opaque: true }),
        2 => Just(Kind::Whiteout),
        2 => Just(Kind::File { size: 0, content }),
        1 => prop_oneof![Just(link("/a")), Just(link("b")), Just(link("../b/c"))],
        1 => Just(Kind::Hardlink { to: TreePath::root() }),
    ]
}

/// A listing as a layer can have it: below what is no directory there is nothing, and a hard link has a file.
fn listing() -> impl Strategy<Value = Tree> {
    let mode = prop_oneof![Just(0o755), Just(0o700), Just(0o644)];
    prop::collection::vec(("[abc](/[abc]){0,2}", kind(), mode, 0_u32..2), 0..7).prop_map(|all| {
        let made = |(path, kind, mode, uid): (String, Kind, u32, u32)| Entry {
            path: TreePath::new(path),
            mode: if matches!(kind, Kind::Symlink { .. }) { 0o777 } else { mode },
            kind,
            uid,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        };
        let tree = Tree::new(all.into_iter().map(made).collect());
        let mut kept: Vec<Entry> = Vec::new();
        let mut first = None;
        for mut entry in tree.into_entries() {
            let is_inside =
                |above: &Entry| entry.path.starts_with(&above.path) && !matches!(above.kind, Kind::Dir { .. });
            if kept.iter().any(is_inside) {
                continue;
            }
            match (&mut entry.kind, &first) {
                (Kind::Hardlink { to }, Some((path, mode, uid))) => {
                    *to = TreePath::clone(path);
                    (entry.mode, entry.uid) = (*mode, *uid);
                }
                (Kind::Hardlink { .. }, None) => continue,
                (Kind::File { .. }, _) => first = Some((entry.path.clone(), entry.mode, entry.uid)),
                _ => {}
            }
            kept.push(entry);
        }
        Tree::new(kept)
    })
}

fn write(tree: &Tree, dir: &Path) {
    fs_dir(dir);
    let mut writer = DirWriter::new(dir).unwrap();
    for entry in tree.entries() {
        match &entry.kind {
            Kind::Dir { .. } => writer.mkdir(entry).unwrap(),
            Kind::Symlink { .. } => writer.symlink(entry).unwrap(),
            Kind::Whiteout => writer.whiteout(&entry.path).unwrap(),
            Kind::Hardlink { to } => writer.hardlink(to, &entry.path).unwrap(),
            _ => {
                let file = writer.create(&entry.path, entry.mode).unwrap();
                writer.finish_file(&file, entry).unwrap();
            }
        }
    }
    writer.finish().unwrap();
}

fn fs_dir(dir: &Path) {
    std::fs::create_dir_all(dir).unwrap();
}

/// The time of a directory is not its own where others are made in it.
fn timeless(found: Option<Found>) -> Option<Found> {
    found.map(|found| Found { mtime: Mtime::default(), ..found })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_is_looked_up_by_listings_is_what_the_directories_have(
        trees in prop::collection::vec(listing(), 1..7),
        // Which layers have no small listing, how deep the stack is below, and where it forks.
        on_disk in prop::collection::vec(any::<bool>(), 7),
        is_deep in any::<bool>(),
        fork in 0_usize..7,
    ) {
        if !rustix::process::geteuid().is_root() {
            return Ok(());
        }
        let dir = tempfile::tempdir().unwrap();
        let mut snapshot = Snapshot::empty();
        for number in 0..if is_deep { 40 } else { 0 } {
            let id = LayerId::from_bytes([number; 32]);
            snapshot = snapshot.with(Arc::new(Layer::host(id, Vec::new(), Vec::new())));
        }
        let mut dirs = Vec::new();
        let mut forks = Vec::new();
        let paths: Vec<TreePath> =
            ["a", "b", "a/b", "a/c", "b/a", "a/b/c", "b/c/a", "c/c/c", "a/b/c/a"].map(TreePath::new).to_vec();
        for (number, tree) in trees.iter().enumerate() {
            let place = dir.path().join(number.to_string());
            write(tree, &place);
            let layer = match on_disk[number] {
                true => Layer::host(tree.id(), vec![place.clone()], Vec::new()),
                false => Layer::planned(tree.clone(), vec![place.clone()]),
            };
            dirs.insert(0, place);
            if number == fork {
                forks.push((snapshot.with(Arc::new(Layer::planned(tree.clone(), Vec::new()))), dirs.clone()));
            }
            snapshot = snapshot.with(Arc::new(layer));
            forks.push((snapshot.clone(), dirs.clone()));
        }
        // Up the chain, and then all of it again, when others have taken the answers.
        for (snapshot, dirs) in forks.iter().chain(forks.iter().rev()) {
            let directories = Directories(dirs.clone());
            for path in &paths {
                prop_assert_eq!(
                    timeless(snapshot.lookup(path).unwrap()),
                    timeless(directories.look_up(path)),
                    "{} in {:?}", path.display(), trees
                );
                prop_assert_eq!(snapshot.names(path).unwrap(), directories.names(path), "names in {}", path.display());
            }
            prop_assert_eq!(snapshot.names(&TreePath::root()).unwrap(), directories.names(&TreePath::root()));
        }
    }
}
