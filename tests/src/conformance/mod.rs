//! Does kiln build the image that Docker builds? Cases, the two builders, and the comparison.
//!
//! The data goes one way: a folder ([`case`]) is copied and completed ([`setup`]), built by each builder
//! ([`builder`]), what comes out is read ([`image`], [`layer`], [`tree`]) and written down as lines
//! ([`listing`]), and lines are compared. A listing that was kept is a golden result, good without Docker.
//! Reads archives with code of its own, so that a mistake of kiln's reader cannot hide itself.

pub mod builder;
pub mod busybox;
pub mod case;
pub mod image;
pub mod layer;
pub mod listing;
pub mod mirror;
pub mod run;
pub mod setup;
pub mod suite;
pub mod tar;
pub mod tree;
