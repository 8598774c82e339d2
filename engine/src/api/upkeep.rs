//! The care of the store: what collection took and kept, and what a check found.
//!
//! Knows nothing of how either is done.

use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// What to collect.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PruneRequest {
    /// Take what no named image needs even if a next build would use it.
    pub all: bool,
    /// Take only what was not used for so long.
    pub older_than: Option<Duration>,
    /// Stop when the store is at most so many bytes.
    pub keep_storage: Option<u64>,
    /// Say what would go, and take nothing.
    pub dry_run: bool,
    /// The store's directory.
    pub store: PathBuf,
}

/// What collection did, or would do.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct PruneReport {
    /// What went, in the order in which it went.
    pub removed: Vec<Pruned>,
    /// What stayed, by reason.
    pub kept: Vec<Kept>,
    /// Bytes that are free now.
    pub freed: u64,
    /// Bytes that the store still has.
    pub remaining: u64,
}

/// One thing that went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Pruned {
    /// What it was: `layer`, `record`, `blob`, `cache mount`.
    pub kind: String,
    /// Its name in the store.
    pub name: String,
    /// Its bytes.
    pub size: u64,
    /// What it was of, for people: the instruction or the image.
    pub what: String,
}

/// Things that stayed for the same reason.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    /// Why, as in `needed by app:latest`.
    pub reason: String,
    /// How many.
    pub count: u64,
    /// Their bytes.
    pub size: u64,
}

/// What a check of the store found.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct FsckReport {
    /// Images that were checked.
    pub images: u64,
    /// Layers that were checked.
    pub layers: u64,
    /// Records that were checked.
    pub records: u64,
    /// Blobs that were checked.
    pub blobs: u64,
    /// What is wrong; empty for a sound store.
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with the store.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// What it is about: a path below the store or a digest.
    pub name: String,
    /// What is wrong, as a fragment.
    pub message: String,
    /// Whether it was put right.
    pub repaired: bool,
}
