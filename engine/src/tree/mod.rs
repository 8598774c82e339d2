//! File trees as values: what a layer, a context or a base image contains.
//!
//! - [`disk`]: writes entries below a directory, as overlayfs keeps a layer.
//! - [`entry`]: one path with everything that an image keeps of it.
//!
//! Knows nothing of steps, keys or graphs.

pub mod disk;
pub mod entry;

pub use entry::{Entry, Kind, Mtime, TreePath, Xattrs};
