//! Images: their configuration, their layers as blobs, and the forms in which they leave.
//!
//! - [`time`]: moments as Go writes them.
//! - [`config`]: the image configuration, byte for byte as BuildKit writes it.
//! - [`history`]: the text that each instruction leaves in it.
//! - [`mod@reference`]: full and familiar names of images.
//! - [`layer`]: a tree becomes a blob: tar, diff id and compression in one pass; [`gzip`] in parallel.
//! - [`manifest`]: configuration and blobs become an image with an id and a manifest.
//! - [`flatten`]: all layers as one tree.
//! - [`output`]: OCI layout, docker archive, root file system as a tar or a directory.
//!
//! Knows nothing of steps, keys, registries or the store's layout.

pub mod config;
pub mod flatten;
pub mod gzip;
pub mod history;
pub mod layer;
pub mod manifest;
pub mod output;
pub mod reference;
pub mod time;
