//! A stack in which a layer is only planned: what is where is known from the listings, and a file can be read only
//! where an earlier layer has the very same content.

use super::said::{self, Said};
use super::{Snapshot, open_in};
use crate::tree::{Kind, TreePath, stat};
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::fd::OwnedFd;

/// A file that the build would make first, so that nothing can be read from it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("/{} is not made before the build", path.display())]
pub struct NotMadeYet {
    /// The file.
    pub path: TreePath,
}

impl Snapshot {
    /// Opens a file whose content is known: one that an earlier layer has as it will be.
    pub(super) fn open_planned(&self, path: &TreePath) -> io::Result<File> {
        let not_yet = || io::Error::other(NotMadeYet { path: path.clone() });
        for layer in self.from_top() {
            match said::of(layer, path).map_err(io::Error::other)? {
                Said::Nothing => continue,
                Said::Hidden => break,
                Said::Is(_) if !layer.is_planned() => return open_in(layer, path),
                Said::Is(_) => {}
            }
            let tree = layer.tree().map_err(io::Error::other)?;
            let first = |path: &TreePath| tree.get(path).map(|entry| &entry.kind);
            let kind = match first(path) {
                Some(Kind::Hardlink { to }) => first(to),
                kind => kind,
            };
            let Some(Kind::File { content: wanted, .. }) = kind else { break };
            // It may be in the layer that this one stands for, or as well in one below.
            let there = self.from_top().find_map(|layer| open_in(layer, path).ok());
            let file: OwnedFd = there.ok_or_else(not_yet)?.into();
            let (_, content) = stat::hash_file(&file, 0)?;
            if content != *wanted {
                return Err(not_yet());
            }
            let mut file = File::from(file);
            file.rewind()?;
            return Ok(file);
        }
        Err(io::ErrorKind::NotFound.into())
    }
}

#[cfg(test)]
mod tests {
    use super::super::Type;
    use super::*;
    use crate::store::Layer;
    use crate::tree::{Entry, Mtime, Tree};
    use std::fs;
    use std::io::Read as _;
    use std::sync::Arc;

    fn entry(path: &str, kind: Kind) -> Entry {
        let mtime = Mtime::default();
        Entry { path: TreePath::new(path), kind, mode: 0o755, uid: 0, gid: 0, xattrs: Vec::new(), mtime }
    }

    fn file(content: &str) -> Kind {
        Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() }
    }

    #[test]
    fn a_planned_layer_is_what_it_will_be_and_not_what_lies_there() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["same", "changed", "gone"] {
            fs::write(dir.path().join(name), "old").unwrap();
        }
        let all = vec![
            entry("changed", file("new")),
            entry("made", Kind::Dir { opaque: false }),
            entry("made/new", file("new")),
            entry("same", file("old")),
        ];
        let layer = Layer::planned(Tree::new(all), vec![dir.path().to_path_buf()]);
        let snapshot = Snapshot::of([Arc::new(layer)]);
        let path = TreePath::new;
        assert_eq!(snapshot.lookup(&path("gone")).unwrap(), None);
        assert_eq!(snapshot.lookup(&path("made")).unwrap().unwrap().file_type, Type::Dir);
        assert_eq!(snapshot.names(&TreePath::root()).unwrap().len(), 3);
        assert_eq!(snapshot.names(&path("made")).unwrap().len(), 1);
        let mut text = String::new();
        snapshot.open(&path("same")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
        for name in ["changed", "made/new"] {
            let error = snapshot.open(&path(name)).unwrap_err();
            let inner = error.into_inner().unwrap();
            assert_eq!(inner.downcast_ref(), Some(&NotMadeYet { path: path(name) }));
        }
    }
}
