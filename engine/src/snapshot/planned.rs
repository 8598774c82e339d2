//! A stack in which a layer is only planned: what is where is known from the listings, and a file can be read only
//! where an earlier layer has the very same content.

use super::{Found, LookupError, Snapshot, Type};
use crate::tree::union::{self, Parts, Peek};
use crate::tree::{Entry, Kind, TreePath, stat};
use std::collections::HashSet;
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

/// What the listings have at a path.
enum Listed<'a> {
    Nothing,
    Entry(&'a Entry),
    /// A directory that no entry describes.
    Implied,
    /// The host's own files have it, or what is above them.
    Host,
}

impl Snapshot {
    /// The listings, the topmost first; `None` for the host's files.
    fn listings(&self) -> Result<Vec<Option<&[Entry]>>, LookupError> {
        let mut all = Vec::with_capacity(self.count());
        for layer in self.from_top() {
            all.push(if !layer.is_host() { Some(layer.tree()?.entries()) } else { None });
        }
        Ok(all)
    }

    /// What is at a path, and where its contents lie.
    fn walk<'a>(listings: &[Option<&'a [Entry]>], path: &TreePath) -> (Listed<'a>, Parts) {
        let mut parts: Parts = listings
            .iter()
            .enumerate()
            .map(|(number, listing)| (number, listing.map_or(0..0, union::root_range)))
            .collect();
        let mut listed = Listed::Implied;
        for above in path.ancestors().iter().skip(1).chain((!path.is_root()).then_some(path)) {
            let peek = |_| Ok::<_, std::convert::Infallible>(Peek::Anything);
            let Ok((found, below)) = union::step(&parts, above.as_bytes(), |layer| listings[layer], peek);
            parts = below;
            listed = match found {
                union::Found::Nothing => Listed::Nothing,
                union::Found::Entry(layer, number) => {
                    let entries = listings[layer].unwrap_or_default();
                    let own = &entries[number];
                    let first = match &own.kind {
                        Kind::Hardlink { to } => entries.binary_search_by(|other| other.path.cmp(to)).ok(),
                        _ => None,
                    };
                    Listed::Entry(first.map_or(own, |first| &entries[first]))
                }
                union::Found::Implied(_) => Listed::Implied,
                union::Found::Unlisted(..) => Listed::Host,
            };
        }
        (listed, parts)
    }

    pub(super) fn lookup_planned(&self, path: &TreePath) -> Result<Option<Found>, LookupError> {
        let listings = self.listings()?;
        let entry = match Self::walk(&listings, path).0 {
            Listed::Nothing => return Ok(None),
            Listed::Host => return self.host_only().lookup(path),
            Listed::Implied => return self.host_or_implied(path),
            Listed::Entry(entry) => entry,
        };
        let (file_type, xattrs) = match &entry.kind {
            Kind::Dir { .. } => (Type::Dir, entry.xattrs.clone()),
            Kind::Symlink { target } => (Type::Symlink(target.clone()), Vec::new()),
            Kind::File { .. } | Kind::Hardlink { .. } => (Type::File, Vec::new()),
            _ => (Type::Other, Vec::new()),
        };
        let Entry { mode, uid, gid, mtime, .. } = *entry;
        Ok(Some(Found { file_type, mode, uid, gid, mtime, xattrs }))
    }

    /// A directory that stands in no listing has the usual attributes, as the disk has it.
    fn host_or_implied(&self, path: &TreePath) -> Result<Option<Found>, LookupError> {
        if let Some(found) = self.host_only().lookup(path)? {
            return Ok(Some(found));
        }
        let (file_type, mtime, xattrs) = (Type::Dir, crate::tree::Mtime::default(), Vec::new());
        Ok(Some(Found { file_type, mode: 0o755, uid: 0, gid: 0, mtime, xattrs }))
    }

    /// The host's own files alone.
    fn host_only(&self) -> Snapshot {
        match self.has_host() {
            true => Snapshot::of(self.layers().into_iter().filter(|layer| layer.is_host()).cloned()),
            false => Snapshot::empty(),
        }
    }

    pub(super) fn names_planned(&self, path: &TreePath) -> Result<HashSet<Box<[u8]>>, LookupError> {
        let listings = self.listings()?;
        let (mut names, mut hidden) = (HashSet::<Box<[u8]>>::new(), HashSet::<Box<[u8]>>::new());
        for (layer, range) in Self::walk(&listings, path).1 {
            let Some(entries) = listings[layer] else {
                names.extend(self.host_only().names(path)?.into_iter().filter(|name| !hidden.contains(name)));
                continue;
            };
            let entries = &entries[range];
            for (name, number) in union::names(entries, path.as_bytes().len()) {
                let is_whiteout = number.is_some_and(|number| entries[number].kind == Kind::Whiteout);
                match is_whiteout && !names.contains(name) {
                    true => hidden.insert(name.into()),
                    false if hidden.contains(name) => false,
                    false => names.insert(name.into()),
                };
            }
        }
        Ok(names)
    }

    /// Opens a file whose content is known: one that an earlier layer has as it will be.
    pub(super) fn open_planned(&self, path: &TreePath) -> io::Result<File> {
        let not_yet = || io::Error::other(NotMadeYet { path: path.clone() });
        let listings = self.listings().map_err(io::Error::other)?;
        let wanted = match Self::walk(&listings, path).0 {
            Listed::Entry(Entry { kind: Kind::File { content, .. }, .. }) => *content,
            Listed::Host => return self.host_only().open_on_disk(path),
            _ => return Err(io::ErrorKind::NotFound.into()),
        };
        let file: OwnedFd = self.open_on_disk(path).map_err(|_| not_yet())?.into();
        let (_, content) = stat::hash_file(&file, 0)?;
        if content != wanted {
            return Err(not_yet());
        }
        let mut file = File::from(file);
        file.rewind()?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Layer;
    use crate::tree::{Mtime, Tree};
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
