//! Text in, [`ast::Document`] out: the language of Dockerfiles.
//!
//! Pure: nothing here reads a file, the environment or the clock.

pub mod ast;
pub mod diagnostic;
pub mod span;
