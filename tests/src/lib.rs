//! What end-to-end tests of kiln are made of, and the tools that compare it with its peers.
//!
//! Everything here drives the program from outside, as its users do. Knows nothing of the engine's inside.

pub mod conformance;
pub mod program;
pub mod project;
pub mod server;
pub mod skip;

pub use program::{Build, Kiln, Ran, kiln_program};
pub use project::Project;
pub use skip::{Busybox, has_tool, skip, skip_peer};
