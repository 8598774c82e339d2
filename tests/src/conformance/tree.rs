//! The file tree that an image's layers come to, one over the other.
//!
//! Hard links are followed through layers: names of one file share an inode number, and a name that a
//! later layer replaces leaves its group. Knows nothing of archives.

use super::layer::{Kind, Layer, Node, Path};
use std::collections::BTreeMap;

/// A merged tree.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<Path, (Node, usize)>,
    inodes: usize,
}

impl Tree {
    /// The layers' tree, the lowest first.
    pub fn of(layers: &[Layer]) -> Tree {
        let mut tree = Tree::default();
        layers.iter().for_each(|layer| tree.stack(layer));
        tree
    }

    /// Lays a layer over the tree.
    pub fn stack(&mut self, layer: &Layer) {
        for path in &layer.opaque {
            self.remove(path, false);
        }
        for path in &layer.removed {
            self.remove(path, true);
        }
        // A link's target may stand behind it in the order of paths, so files first.
        for (path, node) in &layer.nodes {
            if matches!(node.kind, Kind::Hardlink(_)) {
                continue;
            }
            if !matches!(node.kind, Kind::Dir) || !self.is_dir(path) {
                self.remove(path, true);
            }
            self.inodes += 1;
            self.entries.insert(path.clone(), (node.clone(), self.inodes));
        }
        for (path, node) in &layer.nodes {
            let Kind::Hardlink(target) = &node.kind else { continue };
            let found = self.entries.get(target).cloned();
            self.remove(path, true);
            // A link to nothing is shown as what it is.
            self.entries.insert(path.clone(), found.unwrap_or((node.clone(), 0)));
        }
    }

    fn is_dir(&self, path: &[u8]) -> bool {
        self.entries.get(path).is_some_and(|(node, _)| node.kind == Kind::Dir)
    }

    fn remove(&mut self, path: &[u8], itself: bool) {
        if itself {
            self.entries.remove(path);
        }
        let prefix = if path == b"/" { b"/".to_vec() } else { [path, b"/"].concat() };
        let below: Vec<Path> = self
            .entries
            .range(prefix.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&prefix))
            .filter(|path| path.as_slice() != b"/")
            .cloned()
            .collect();
        below.iter().for_each(|path| drop(self.entries.remove(path)));
    }

    /// All entries by path; with each the first of its file's names, where it has several.
    pub fn entries(&self) -> impl Iterator<Item = (&Path, &Node, Option<&Path>)> {
        let mut names: BTreeMap<usize, (&Path, usize)> = BTreeMap::new();
        for (path, (_, inode)) in &self.entries {
            names.entry(*inode).or_insert((path, 0)).1 += 1;
        }
        self.entries.iter().map(move |(path, (node, inode))| {
            let first = names.get(inode).filter(|(_, count)| *count > 1 && *inode > 0).map(|(first, _)| *first);
            (path, node, first)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(kind: Kind) -> Node {
        Node { kind, mode: 0o644, uid: 0, gid: 0, mtime: 0, xattrs: BTreeMap::new() }
    }

    fn layer(nodes: &[(&str, Kind)], removed: &[&str]) -> Layer {
        Layer {
            nodes: nodes.iter().map(|(path, kind)| (path.as_bytes().to_vec(), node(kind.clone()))).collect(),
            removed: removed.iter().map(|path| path.as_bytes().to_vec()).collect(),
            ..Layer::default()
        }
    }

    fn shown(tree: &Tree) -> Vec<String> {
        let text = |path: &Path| String::from_utf8_lossy(path).into_owned();
        tree.entries()
            .map(|(path, _, first)| {
                format!("{}{}", text(path), first.map_or(String::new(), |first| format!("={}", text(first))))
            })
            .collect()
    }

    #[test]
    fn a_name_that_is_replaced_leaves_its_files_other_names() {
        let below = layer(
            &[("/a", Kind::Fifo), ("/b", Kind::Hardlink(b"/a".to_vec())), ("/c", Kind::Hardlink(b"/a".to_vec()))],
            &[],
        );
        assert_eq!(shown(&Tree::of(std::slice::from_ref(&below))), ["/a=/a", "/b=/a", "/c=/a"]);
        assert_eq!(shown(&Tree::of(&[below, layer(&[("/a", Kind::Fifo)], &[])])), ["/a", "/b=/b", "/c=/b"]);
    }

    #[test]
    fn what_replaces_a_directory_or_removes_it_takes_its_content_along() {
        let below = layer(&[("/d", Kind::Dir), ("/d/x", Kind::Fifo), ("/d-x", Kind::Fifo)], &[]);
        assert_eq!(shown(&Tree::of(&[below.clone(), layer(&[("/d", Kind::Fifo)], &[])])), ["/d", "/d-x"]);
        assert_eq!(shown(&Tree::of(&[below.clone(), layer(&[], &["/d"])])), ["/d-x"]);
        let mut opaque = layer(&[("/d", Kind::Dir), ("/d/y", Kind::Fifo)], &[]);
        opaque.opaque.insert(b"/d".to_vec());
        assert_eq!(shown(&Tree::of(&[below.clone(), opaque])), ["/d", "/d-x", "/d/y"]);
        assert_eq!(shown(&Tree::of(&[below, layer(&[("/d", Kind::Dir)], &[])])), ["/d", "/d-x", "/d/x"]);
    }
}
