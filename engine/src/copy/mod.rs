//! COPY and ADD: which files, to which places, with which metadata.
//!
//! - [`select`]: source patterns against a tree of files;
//! - [`layout`]: what the new layer holds, decided before a byte is copied;
//! - [`mod@write`]: the layer's directory, only what changed if an earlier layer is near.
//!
//! Follows BuildKit's file operations (fsutil's `Copy`), which follow `cp -a` and Docker's rules
//! for destinations. Selecting and laying out are pure but for look-ups in the snapshot below.

pub mod layout;
pub mod select;
pub mod write;

pub use layout::{Layout, LayoutError, LayoutRequest};
pub use select::{SelectError, Selected, SourceTree};
