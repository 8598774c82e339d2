//! Everything between a parsed Dockerfile and an image.
//!
//! Nothing here prints, and nothing here parses arguments: progress leaves through [`event`].

pub mod digest;
pub mod event;
pub mod registry;
pub mod tree;
