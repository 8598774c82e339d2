//! A layer as the store hands it out: directories for the overlay, a listing for everything else.
//!
//! One layer may lie in several directories: a COPY of 20,000 files of which one changed is a
//! small directory above the earlier one. Knows nothing of how a layer came to be.

use super::{StoreError, io_at};
use crate::digest::LayerId;
use crate::tree::{Tree, TreePath, codec};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// An immutable layer.
#[derive(Debug)]
pub struct Layer {
    id: LayerId,
    dirs: Vec<PathBuf>,
    tree_path: Option<PathBuf>,
    tree: OnceLock<Tree>,
    host_dirs: Vec<PathBuf>,
    is_planned: bool,
    /// Whether the listing is small.
    is_small: OnceLock<bool>,
}

/// A listing of at most so many bytes is small: about 150 entries, which are read in a few microseconds.
const SMALL_BYTES: u64 = 16 << 10;

impl Layer {
    /// A layer of the store.
    pub(crate) fn stored(id: LayerId, dirs: Vec<PathBuf>, tree_path: PathBuf) -> Self {
        Layer {
            id,
            dirs,
            tree_path: Some(tree_path),
            tree: OnceLock::new(),
            host_dirs: Vec::new(),
            is_planned: false,
            is_small: OnceLock::new(),
        }
    }

    /// The same layer, whose listing is at hand.
    #[must_use]
    pub(super) fn listed(self, tree: Tree) -> Self {
        Layer { tree: OnceLock::from(tree), ..self }
    }

    /// A layer that is only planned: its listing, and directories that hold most of it.
    pub(crate) fn planned(tree: Tree, dirs: Vec<PathBuf>) -> Self {
        let id = tree.id();
        let (tree_path, tree) = (Some(PathBuf::new()), OnceLock::from(tree));
        Layer { id, dirs, tree_path, tree, host_dirs: Vec::new(), is_planned: true, is_small: OnceLock::new() }
    }

    /// The host's own files as a layer: there is no listing, and it is packed into no image.
    /// `host_dirs` are top-level directories of the host that lie under the step's root where the
    /// layer's own directory has empty ones.
    pub(crate) fn host(id: LayerId, dirs: Vec<PathBuf>, host_dirs: Vec<PathBuf>) -> Self {
        Layer {
            id,
            dirs,
            tree_path: None,
            tree: OnceLock::new(),
            host_dirs,
            is_planned: false,
            is_small: OnceLock::new(),
        }
    }

    /// Top-level directories of the host that belong to this layer.
    pub fn host_dirs(&self) -> &[PathBuf] {
        &self.host_dirs
    }

    /// Its identity.
    pub fn id(&self) -> LayerId {
        self.id
    }

    /// The directories for the overlay, the topmost first; none for an empty layer.
    pub fn dirs(&self) -> &[PathBuf] {
        &self.dirs
    }

    /// Whether this is the host's own files.
    pub fn is_host(&self) -> bool {
        self.tree_path.is_none()
    }

    /// Whether it is only planned: its listing is what counts, and the directories are those of an earlier one.
    pub fn is_planned(&self) -> bool {
        self.is_planned
    }

    /// The listing, read at the first call; empty for the host's files.
    pub fn tree(&self) -> Result<&Tree, StoreError> {
        if let Some(tree) = self.tree.get() {
            return Ok(tree);
        }
        let tree = match &self.tree_path {
            Some(path) => read_tree(path, self.id)?.ok_or_else(|| StoreError::Damaged {
                what: format!("layer {}", self.id),
                detail: "its listing is missing".to_owned(),
            })?,
            None => Tree::default(),
        };
        Ok(self.tree.get_or_init(|| tree))
    }

    /// The listing, if it is small or the layer is only planned: reading it costs no more than asking the disk for a few
    /// paths. It depends on the listing alone which it is.
    pub fn small_listing(&self) -> Result<Option<&Tree>, StoreError> {
        let size = |path: &PathBuf| fs::metadata(path).map_or(u64::MAX, |found| found.len());
        let is_small = || self.is_planned || self.tree_path.as_ref().is_some_and(|path| size(path) <= SMALL_BYTES);
        match *self.is_small.get_or_init(is_small) {
            true => self.tree().map(Some),
            false => Ok(None),
        }
    }

    /// Opens a regular file of the layer for reading; no symbolic link is followed.
    pub fn open(&self, path: &TreePath) -> io::Result<File> {
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for dir in &self.dirs {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let top = rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
            match rustix::fs::openat2(&top, path.as_bytes(), flags, Mode::empty(), resolve) {
                Ok(file) => return Ok(file.into()),
                Err(errno) => last = errno.into(),
            }
        }
        Err(last)
    }
}

/// Reads the listing at `path`, which must be that of `id`; `None` where it is not there.
pub(super) fn read_tree(path: &Path, id: LayerId) -> Result<Option<Tree>, StoreError> {
    let data = match fs::read(path) {
        Ok(data) => data,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io_at("failed to read", path)(error)),
    };
    codec::decode(&data)
        .map(Some)
        .map_err(|error| StoreError::Damaged { what: format!("the listing of {id}"), detail: error.to_string() })
}

/// A directory in a session that will become a layer, or be removed.
#[derive(Debug)]
pub struct Staged {
    path: Option<PathBuf>,
}

impl Staged {
    /// Takes charge of the directory at `path`.
    pub fn new(path: PathBuf) -> Self {
        Staged { path: Some(path) }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.path.as_deref().expect("only `renamed` takes the path, and it consumes")
    }

    /// Gives up charge: the directory has found its place.
    pub(super) fn renamed(mut self) {
        self.path = None;
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = &self.path {
            // What cannot be removed now goes with the session.
            let _ = fs::remove_dir_all(path);
        }
    }
}
