//! What the builds of one process share: the open store, and what is known of the contexts.

use super::includes::Asked;
use super::reads::Reads;
use super::walk::Memories;
use crate::digest::KeyId;
use crate::plan::{Images, Options};
use crate::store::{Store, StoreError};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Shared by builds that come one after the other; each of them uses the same store.
pub(crate) struct Workshop {
    path: PathBuf,
    store: OnceLock<Store>,
    /// Held while it is opened, which a process may do only once.
    opening: Mutex<()>,
    pub memories: Memories,
    /// Builds follow each other in it.
    is_lasting: bool,
    /// The newest plan.
    planned: Mutex<Option<Arc<Planned>>>,
    /// Where builds follow each other: the steps that failed.
    pub failures: Option<Failures>,
    /// The files that the newest build's Dockerfile included.
    included: Mutex<Vec<Asked>>,
}

impl Workshop {
    /// One for the store at `path`, which is opened when it is needed.
    pub fn new(path: &Path, memories: Memories) -> Self {
        Workshop {
            path: path.to_path_buf(),
            store: OnceLock::new(),
            opening: Mutex::default(),
            memories,
            is_lasting: false,
            planned: Mutex::new(None),
            failures: None,
            included: Mutex::default(),
        }
    }

    /// The same for builds that follow each other: what one has read is kept for the next.
    #[must_use]
    pub fn lasting(self) -> Self {
        Workshop { is_lasting: true, failures: Some(Failures::default()), ..self }
    }

    /// Whether builds follow each other in it, and know what changed in between.
    pub fn is_lasting(&self) -> bool {
        self.is_lasting
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
        let _turn = self.opening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(store) = self.store.get() {
            return Ok(store);
        }
        let store = Store::open(&self.path)?;
        if self.is_lasting {
            store.keep_recent();
        }
        Ok(self.store.get_or_init(|| store))
    }

    /// Remembers a plan.
    pub fn set_planned(&self, planned: Planned) {
        *self.planned.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(planned));
    }

    /// Remembers the files that a Dockerfile includes, as they were read.
    pub fn set_included(&self, files: Vec<Asked>) {
        *self.included.lock().unwrap_or_else(PoisonError::into_inner) = files;
    }

    /// The files that the newest build's Dockerfile included, as they were read.
    pub fn included(&self) -> Vec<Asked> {
        self.included.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The newest plan, once there was one.
    pub fn planned(&self) -> Option<Arc<Planned>> {
        self.planned.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is kept of a plan.
pub(crate) struct Planned {
    pub reads: Reads,
    pub options: Options,
    pub images: Images,
}

/// The keys under which steps have failed, and how: what is in a key decides how a step ends, so the same is not
/// tried again. Only what a command says of itself counts: not that it was killed, and not what the network gave it.
#[derive(Default)]
pub(crate) struct Failures(Mutex<HashMap<KeyId, i32>>);

impl Failures {
    /// A step has failed with this exit code.
    pub fn add(&self, key: KeyId, code: i32) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, code);
    }

    /// The exit code with which a step failed under this key, if it did.
    pub fn code(&self, key: KeyId) -> Option<i32> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }
}
