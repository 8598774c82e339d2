//! Layers of other builders: a tar as it is read becomes a layer, and is known again by its diff id.
//!
//! A tar that leaves out the directories above its files, or hard-links a file that it does not hold,
//! takes from what lies below it; such a tar is known again only above the same layers. Knows nothing of
//! registries, compression or images.

use super::{Store, StoreError};
use crate::digest::{LayerId, Sha256};
use crate::tree::unpack::{self, Lower};
use crate::tree::{Entry, Tree, TreePath};
use sha2::Digest as _;
use std::cell::Cell;
use std::fs::File;
use std::io::{self, Read};

/// Why a tar became no layer. Nothing of it stays.
#[derive(Debug, thiserror::Error)]
pub enum AdoptError {
    /// It is damaged, or its files could not be written.
    #[error(transparent)]
    Unpack(#[from] unpack::Error),
    /// It is not the tar that it should be.
    #[error("the layer has the diff id {actual}, not {expected}")]
    DiffId {
        /// What it should be.
        expected: Sha256,
        /// What it is.
        actual: Sha256,
    },
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What lies below a layer that is being adopted.
#[derive(Clone, Copy)]
pub struct Below<'a> {
    /// The diff ids of the layers, the bottom one first.
    pub diff_ids: &'a [Sha256],
    /// What they show.
    pub lower: &'a dyn Lower,
}

impl Below<'_> {
    /// Nothing: for the lowest layer.
    pub const NOTHING: Below<'static> = Below { diff_ids: &[], lower: &unpack::NoLower };
}

/// A layer that was a tar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Adopted {
    /// The layer.
    pub layer: LayerId,
    /// SHA-256 of the tar.
    pub diff_id: Sha256,
    /// How many entries it has.
    pub entries: usize,
}

impl Store {
    /// The layer that the tar with this diff id became above layers with the diff ids `below`, the bottom
    /// one first; `None` where it is not known or no longer there.
    pub fn layer_of_diff_id(&self, diff_id: Sha256, below: &[Sha256]) -> Result<Option<LayerId>, StoreError> {
        for place in [alone(diff_id), above(diff_id, below)] {
            if let Some(id) = self.db().memo::<LayerId>(&place)?
                && self.layer(id)?.is_some()
            {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    /// Reads the uncompressed `tar` to its end and makes a layer of it, which is known by its diff id from
    /// then on. Where `expected` is given, another tar is refused.
    pub fn adopt_layer(
        &self,
        tar: impl Read,
        expected: Option<Sha256>,
        below: Below<'_>,
    ) -> Result<Adopted, AdoptError> {
        let staged = self.stage()?;
        let lower = Watched { lower: below.lower, asked: Cell::new(false) };
        let mut tar = Hashed { inner: tar, hasher: sha2::Sha256::new() };
        let tree = Tree::new(unpack::unpack(&mut tar, staged.path(), &lower)?);
        let diff_id = Sha256::from_bytes(tar.hasher.finalize().into());
        if let Some(expected) = expected.filter(|expected| *expected != diff_id) {
            return Err(AdoptError::DiffId { expected, actual: diff_id });
        }
        let layer = self.commit_layer(&tree, staged, &[])?.id();
        let place = if lower.asked.get() { above(diff_id, below.diff_ids) } else { alone(diff_id) };
        self.db().put_memo(&place, &layer)?;
        Ok(Adopted { layer, diff_id, entries: tree.len() })
    }
}

/// Where a tar that means the same everywhere is remembered.
fn alone(diff_id: Sha256) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("kiln layer of diff id v1");
    hasher.update(diff_id.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Where a tar that takes from below is remembered.
fn above(diff_id: Sha256, below: &[Sha256]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("kiln layer of diff id above others v1");
    for id in below {
        hasher.update(id.as_bytes());
    }
    hasher.update(diff_id.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Notes whether what lies below was asked for.
struct Watched<'a> {
    lower: &'a dyn Lower,
    asked: Cell<bool>,
}

impl Lower for Watched<'_> {
    fn entry(&self, path: &TreePath) -> Option<Entry> {
        self.asked.set(true);
        self.lower.entry(path)
    }

    fn open(&self, path: &TreePath) -> io::Result<File> {
        self.asked.set(true);
        self.lower.open(path)
    }
}

/// Digests what passes.
struct Hashed<R> {
    inner: R,
    hasher: sha2::Sha256,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::{Kind, Mtime};

    /// A directory `etc` as an earlier layer left it.
    struct Private;

    impl Lower for Private {
        fn entry(&self, path: &TreePath) -> Option<Entry> {
            (path.as_bytes() == b"etc").then(|| Entry {
                path: path.clone(),
                kind: Kind::Dir { opaque: false },
                mode: 0o700,
                uid: 0,
                gid: 0,
                xattrs: Vec::new(),
                mtime: Mtime::default(),
            })
        }

        fn open(&self, _: &TreePath) -> io::Result<File> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn tar(paths: &[&str]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for path in paths {
            let mut header = tar::Header::new_gnu();
            let is_dir = path.ends_with('/');
            header.set_entry_type(if is_dir { tar::EntryType::Directory } else { tar::EntryType::Regular });
            header.set_mode(if is_dir { 0o755 } else { 0o644 });
            header.set_uid(u64::from(rustix::process::geteuid().as_raw()));
            header.set_gid(u64::from(rustix::process::getegid().as_raw()));
            header.set_size(0);
            tar.append_data(&mut header, path, io::empty()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn a_tar_becomes_a_layer_and_is_known_again() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let bytes = tar(&["etc/", "etc/passwd"]);
        assert_eq!(store.layer_of_diff_id(Sha256::of(&bytes), &[]).unwrap(), None);
        let adopted = store.adopt_layer(&bytes[..], None, Below::NOTHING).unwrap();
        assert_eq!((adopted.diff_id, adopted.entries), (Sha256::of(&bytes), 2));
        store.flush().unwrap();
        let elsewhere = [Sha256::of(b"another layer")];
        assert_eq!(store.layer_of_diff_id(adopted.diff_id, &elsewhere).unwrap(), Some(adopted.layer));
        let layer = store.layer(adopted.layer).unwrap().unwrap();
        assert!(layer.dirs()[0].join("etc/passwd").is_file());
        std::fs::remove_dir_all(&layer.dirs()[0]).unwrap();
        assert_eq!(store.layer_of_diff_id(adopted.diff_id, &[]).unwrap(), None, "a layer that is gone is not known");
    }

    #[test]
    fn a_tar_that_takes_from_below_is_known_above_the_same_layers_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let bytes = tar(&["etc/passwd"]);
        let base = [Sha256::of(b"base")];
        let above = store.adopt_layer(&bytes[..], None, Below { diff_ids: &base, lower: &Private }).unwrap();
        store.flush().unwrap();
        assert_eq!(store.layer_of_diff_id(above.diff_id, &base).unwrap(), Some(above.layer));
        assert_eq!(store.layer_of_diff_id(above.diff_id, &[]).unwrap(), None);
        let alone = store.adopt_layer(&bytes[..], None, Below::NOTHING).unwrap();
        assert_ne!(above.layer, alone.layer, "etc is 0700 in one and 0755 in the other");
    }

    #[test]
    fn another_tar_than_the_expected_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let expected = Sha256::of(b"something else");
        let error = store.adopt_layer(&tar(&["a"])[..], Some(expected), Below::NOTHING).unwrap_err();
        assert!(matches!(error, AdoptError::DiffId { .. }), "{error}");
        assert!(store.adopt_layer(&b"no tar"[..], None, Below::NOTHING).is_err());
        store.flush().unwrap();
        assert!(store.db().layers().unwrap().is_empty());
        assert_eq!(std::fs::read_dir(dir.path().join("layers")).unwrap().count(), 0);
    }
}
