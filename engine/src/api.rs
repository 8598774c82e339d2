//! What the engine is asked for and what it answers: the contract with whoever drives it.
//!
//! Plain data, each verb in a file of its own: a build, an image command, the care of the store.
//! Nothing here runs anything, and nothing here knows of arguments, environment variables or terminals.

mod build;
mod check;
mod error;
mod export;
mod image;
mod upkeep;

pub use crate::cancel::Cancel;
pub use build::{
    Built, Context, Entitlement, HostEntry, NamedContext, NetworkMode, Outcome, Request, Secret, SecretSource, Ssh,
    SshSource, Target, TraceMode,
};
pub use check::{CheckReport, CheckRequest};
pub use error::{BuildError, Exit, ManageError, Place};
pub use export::{Algorithm, Compression, Destination, Output};
pub use image::{HistoryRow, ImageDetail, ImageSummary, ImportRequest, ImportSource, Removal};
pub use upkeep::{FsckReport, Kept, Problem, PruneReport, PruneRequest, Pruned};

/// A cause that another module describes.
pub type Source = Box<dyn std::error::Error + Send + Sync>;
