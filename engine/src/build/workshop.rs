//! What the builds of one process share: the open store, and what is known of the context.

use super::includes::Asked;
use super::reads::Reads;
use super::walk::Memory;
use crate::store::{Store, StoreError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Shared by builds that come one after the other; each of them uses the same store.
pub(crate) struct Workshop {
    path: PathBuf,
    store: OnceLock<Store>,
    pub memory: Memory,
    /// Builds follow each other in it.
    is_lasting: bool,
    /// What the newest plan reads.
    reads: Mutex<Option<Arc<Reads>>>,
    /// The files that the newest build's Dockerfile included.
    included: Mutex<Vec<Asked>>,
}

impl Workshop {
    /// One for the store at `path`, which is opened when it is needed.
    pub fn new(path: &Path, memory: Memory) -> Self {
        Workshop {
            path: path.to_path_buf(),
            store: OnceLock::new(),
            memory,
            is_lasting: false,
            reads: Mutex::new(None),
            included: Mutex::default(),
        }
    }

    /// The same for builds that follow each other: what one has read is kept for the next.
    #[must_use]
    pub fn lasting(self) -> Self {
        Workshop { is_lasting: true, ..self }
    }

    /// Where the store is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The store.
    pub fn store(&self) -> Result<&Store, StoreError> {
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open(&self.path)?;
        if self.is_lasting {
            store.keep_recent();
        }
        Ok(self.store.get_or_init(|| store))
    }

    /// Remembers what a plan reads.
    pub fn set_reads(&self, reads: Reads) {
        *self.reads.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(reads));
    }

    /// Remembers the files that a Dockerfile includes, as they were read.
    pub fn set_included(&self, files: Vec<Asked>) {
        *self.included.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// The files that the newest build's Dockerfile included, as they were read.
    pub fn included(&self) -> Vec<Asked> {
        self.included.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the newest plan reads, once there was one.
    pub fn reads(&self) -> Option<Arc<Reads>> {
        self.reads.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
