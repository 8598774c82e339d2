//! File trees as values: what a layer, a context or a base image contains.
//!
//! - [`archive`]: recognises archives and unpacks them as ADD does.
//! - [`disk`]: writes entries below a directory, as overlayfs keeps a layer.
//! - [`entry`]: one path with everything that an image keeps of it.
//! - [`pack`], [`unpack`]: a layer as the tar that OCI describes, in both directions, over [`mod@tar`].
//!
//! Knows nothing of steps, keys or graphs.

pub mod archive;
pub mod disk;
pub mod entry;
pub mod pack;
pub mod tar;
pub mod unpack;

pub use entry::{Entry, Kind, Mtime, TreePath, Xattrs};
