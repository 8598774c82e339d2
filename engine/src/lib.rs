//! Everything between a parsed Dockerfile and an image.
//!
//! Nothing here prints, and nothing here parses arguments: progress leaves through [`event`].

#![deny(unsafe_code)]

pub mod agent;
pub mod api;
pub mod build;
pub mod cancel;
pub mod check;
pub mod container;
pub mod convert;
pub mod copy;
pub mod digest;
pub mod event;
pub mod explain;
pub mod graph;
pub mod image;
pub mod key;
pub mod manage;
mod merge;
pub mod plan;
pub mod registry;
#[expect(unsafe_code, reason = "a step begins between fork and exec, where there are only system calls")]
pub mod sandbox;
pub mod schedule;
pub mod snapshot;
pub mod source;
pub mod stack;
pub mod store;
pub mod trace;
pub mod tree;
pub mod watch;
