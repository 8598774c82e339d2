//! File trees as values: what a layer, a context or a base image contains.
//!
//! - [`entry`]: one path with everything that an image keeps of it.
//!
//! Knows nothing of steps, keys or graphs.

pub mod entry;

pub use entry::{Entry, Kind, Mtime, TreePath, Xattrs};
