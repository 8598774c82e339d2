//! Pulls against servers that misbehave on purpose, and against a real registry.

mod auth;
mod blobs;
mod fake;
mod mirrors;
mod real;
mod resolve;
