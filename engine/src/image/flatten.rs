//! All layers as one tree: what a container of the image would see.
//!
//! Pure. Knows nothing of files.

use crate::tree::entry::{Entry, Kind, TreePath};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

/// An entry of the flattened tree, and the layer that it comes from, counted from the lowest. A file's
/// bytes are in that layer at the entry's own path.
pub type Flat<'a> = (usize, Cow<'a, Entry>);

/// Applies `layers`, the lowest first: an upper entry replaces a lower one, a whiteout removes it with all
/// below it, an opaque directory hides what lower layers have in it, a directory over a directory leaves
/// that. Each layer is sorted by path and holds the directories of its entries. The result is sorted, has
/// neither whiteouts nor opaque directories, and its hard links name files of the result.
pub fn flatten<'a>(layers: &[&'a [Entry]]) -> Vec<Flat<'a>> {
    let mut tree: BTreeMap<&'a TreePath, (usize, &'a Entry)> = BTreeMap::new();
    for (at, layer) in layers.iter().enumerate() {
        for entry in *layer {
            // What nothing describes below is a directory too, the root first of all.
            let merges = entry.kind == (Kind::Dir { opaque: false })
                && tree.get(&entry.path).is_none_or(|(_, below)| matches!(below.kind, Kind::Dir { .. }));
            if !merges {
                remove(&mut tree, &entry.path);
            }
            if entry.kind != Kind::Whiteout {
                tree.insert(&entry.path, (at, entry));
            }
        }
    }
    let mut files: HashMap<(usize, &TreePath), &TreePath> = HashMap::new();
    let mut flat = Vec::with_capacity(tree.len());
    for (path, (at, entry)) in tree {
        let entry = match &entry.kind {
            Kind::File { .. } => {
                files.insert((at, path), path);
                Cow::Borrowed(entry)
            }
            Kind::Hardlink { to } => match files.get(&(at, to)) {
                Some(first) if *first == to => Cow::Borrowed(entry),
                Some(first) => Cow::Owned(Entry { kind: Kind::Hardlink { to: (*first).clone() }, ..entry.clone() }),
                // The first name is gone: this one takes its place.
                None => match file_of(layers[at], to) {
                    Some(kind) => {
                        files.insert((at, to), path);
                        Cow::Owned(Entry { kind: kind.clone(), ..entry.clone() })
                    }
                    None => Cow::Borrowed(entry),
                },
            },
            Kind::Dir { opaque: true } => Cow::Owned(Entry { kind: Kind::Dir { opaque: false }, ..entry.clone() }),
            _ => Cow::Borrowed(entry),
        };
        flat.push((at, entry));
    }
    flat
}

/// Removes `path` and all below it, which the order keeps together.
fn remove<'a>(tree: &mut BTreeMap<&'a TreePath, (usize, &'a Entry)>, path: &'a TreePath) {
    let gone: Vec<&TreePath> = tree
        .range::<&TreePath, _>(path..)
        .map(|(below, _)| *below)
        .take_while(|below| below.starts_with(path))
        .collect();
    for path in gone {
        tree.remove(path);
    }
}

fn file_of<'a>(layer: &'a [Entry], path: &TreePath) -> Option<&'a Kind> {
    let at = layer.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
    matches!(layer[at].kind, Kind::File { .. }).then_some(&layer[at].kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::ContentId;
    use crate::tree::entry::Mtime;

    fn entry(path: &str, kind: Kind) -> Entry {
        let (xattrs, mtime) = (Vec::new(), Mtime::default());
        Entry { path: TreePath::new(path), kind, mode: 0o755, uid: 0, gid: 0, xattrs, mtime }
    }

    fn dir(path: &str) -> Entry {
        entry(path, Kind::Dir { opaque: false })
    }

    fn opaque(path: &str) -> Entry {
        entry(path, Kind::Dir { opaque: true })
    }

    fn file(path: &str) -> Entry {
        entry(path, Kind::File { size: 0, content: ContentId::from(blake3::hash(b"")) })
    }

    fn gone(path: &str) -> Entry {
        entry(path, Kind::Whiteout)
    }

    fn link(path: &str, to: &str) -> Entry {
        entry(path, Kind::Hardlink { to: TreePath::new(to) })
    }

    fn listing(layers: &[&[Entry]]) -> Vec<String> {
        flatten(layers)
            .iter()
            .map(|(at, entry)| {
                let path = entry.path.display();
                match &entry.kind {
                    Kind::Hardlink { to } => format!("{at} {path} = {}", to.display()),
                    Kind::Dir { opaque: false } => format!("{at} {path}/"),
                    Kind::File { .. } => format!("{at} {path}"),
                    kind => format!("{at} {path} {kind:?}"),
                }
            })
            .collect()
    }

    #[test]
    fn the_upper_entry_wins_and_directories_merge() {
        let lower = [dir("a"), file("a/x"), file("a/y"), file("b")];
        let upper = [dir("a"), file("a/x"), file("a/z"), dir("b"), file("b/in")];
        assert_eq!(listing(&[&lower, &upper]), ["1 a/", "1 a/x", "0 a/y", "1 a/z", "1 b/", "1 b/in"]);
    }

    #[test]
    fn whiteouts_and_opaque_directories_hide_lower_layers_only() {
        let lower = [dir("a"), dir("a/d"), file("a/d/f"), file("a-"), dir("o"), file("o/old"), file("z")];
        let middle = [dir("a"), gone("a/d"), opaque("o"), file("o/new")];
        let upper = [gone("o"), gone("never"), file("p")];
        assert_eq!(listing(&[&lower, &middle]), ["1 a/", "0 a-", "1 o/", "1 o/new", "0 z"]);
        assert_eq!(listing(&[&lower, &middle, &upper]), ["1 a/", "0 a-", "2 p", "0 z"]);
    }

    #[test]
    fn a_file_over_a_directory_takes_its_place_and_an_opaque_root_that_of_all() {
        let lower = [dir("a"), file("a/x"), file("ab")];
        assert_eq!(listing(&[&lower, &[file("a")]]), ["1 a", "0 ab"]);
        assert_eq!(listing(&[&lower, &[opaque(""), file("n")]]), ["1 /", "1 n"]);
        assert_eq!(listing(&[&lower, &[dir("")]]), ["1 /", "0 a/", "0 a/x", "0 ab"]);
    }

    #[test]
    fn a_hard_link_whose_file_is_gone_becomes_the_file() {
        let lower = [file("a"), link("b", "a"), link("c", "a"), link("d", "a")];
        assert_eq!(listing(&[&lower]), ["0 a", "0 b = a", "0 c = a", "0 d = a"]);
        assert_eq!(listing(&[&lower, &[gone("a")]]), ["0 b", "0 c = b", "0 d = b"]);
        assert_eq!(listing(&[&lower, &[file("a"), file("c")]]), ["1 a", "0 b", "1 c", "0 d = b"]);
    }
}
