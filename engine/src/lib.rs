//! Everything between a parsed Dockerfile and an image.
//!
//! Nothing here prints, and nothing here parses arguments: progress leaves through [`event`].

#![deny(unsafe_code)]

pub mod api;
pub mod digest;
pub mod event;
pub mod graph;
pub mod key;
pub mod snapshot;
pub mod store;
pub mod sandbox;
pub mod registry;
pub mod tree;
