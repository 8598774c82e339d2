//! Text in, [`ast::Document`] out: the language of Dockerfiles.
//!
//! Pure: nothing here reads a file, the environment or the clock. [`parser`] reads a Dockerfile,
//! [`key`] reads key expressions, [`expand`] replaces variables, [`ignore`] and [`pattern`] match paths; the other modules read one
//! small notation each (a mount, a mode, a port, a platform), always as text to a typed value or a typed error.

pub mod ast;
pub mod check;
pub mod chmod;
pub mod convert;
mod csv;
pub mod diagnostic;
pub mod directive;
pub mod duration;
pub mod expand;
pub mod expose;
pub mod extended;
mod fault;
mod glob;
mod heredoc;
pub mod ignore;
mod json;
pub mod key;
pub mod keyword;
mod lexer;
pub mod mount;
mod nfa;
pub mod parser;
pub mod pattern;
pub mod platform;
pub mod quote;
mod raw;
pub mod remote;
pub mod shell;
pub mod signal;
pub mod size;
pub mod source;
pub mod span;
mod split;
pub mod suggest;
