//! The key language: what a step's cache key is made of, as its author states it.
//!
//! [`parse`] reads an expression to an [`Expr`], whose text form reads back as itself; [`set`] resolves the names in
//! it and does its sums. Knows nothing of files, environments or clocks: what an atom stands for is the engine's.

mod ast;
mod atoms;
mod parser;
mod period;
mod print;
mod selector;
pub mod set;
#[cfg(test)]
mod tests;

pub use ast::{Atom, DataFormat, Expr, Factor, Files, Git, Glob, Normaliser, PathArg, Place, Sign, Term};
pub use atoms::is_reserved;
pub use parser::{Parsed, is_name, parse, parse_prefix};
pub use period::{Period, Unit};
pub use selector::{Selector, SelectorError, SelectorPart};
