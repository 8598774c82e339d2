//! What builds read from elsewhere, end to end: URLs, repositories, contexts, mounts, platforms.
//!
//! Servers stand on loopback and repositories are made here; what the machine lacks leaves a test out, by name.

#![expect(clippy::unwrap_used, reason = "a test's failure is a panic")]

mod add_git;
mod add_http;
mod arguments;
mod contexts;
mod mounts;
mod repository;
mod support;
