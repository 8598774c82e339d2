//! What a command is given besides its arguments: the streams, the environment, the engine.
//!
//! Everything that a test has to choose is here, so a command is a function of it.

use crate::engine::Engine;
use crate::environment::Environment;
use crate::failure::{Failure, UsageError};
use crate::render::tty::Measure;
use crate::report::Look;
use crate::streams::Stream;
use kiln_engine::api::Cancel;
use kiln_engine::sandbox::{Identity, NamespaceError};
use std::cell::OnceCell;
use std::io;
use std::path::PathBuf;

/// The world of one command.
pub struct Session<'a> {
    /// The variables.
    pub environment: &'a Environment,
    /// What does the work.
    pub engine: &'a dyn Engine,
    /// For data.
    pub out: Stream,
    /// For progress and errors.
    pub err: Stream,
    /// Whether a person would have to type what is read.
    pub stdin_is_terminal: bool,
    /// Seconds since 1970.
    pub now: i64,
    /// Says how large the terminal is now.
    pub measure: Measure,
    /// Makes the handle that Ctrl-C uses from then on.
    pub catch_interrupts: fn() -> io::Result<Cancel>,
    /// Makes the process fit to run steps and to own their files; only before the first thread.
    pub become_root: fn() -> Result<Identity, NamespaceError>,
    /// What that came to, once it was done.
    pub identity: OnceCell<Identity>,
}

impl Session<'_> {
    /// Writes data to standard output.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        self.out.write(text.as_bytes()).map_err(Failure::stdout)
    }

    /// Makes the process fit for the store: an ordinary user becomes root of a user namespace.
    pub fn enter(&self) -> Result<(), Failure> {
        if self.identity.get().is_none() {
            let identity = (self.become_root)().map_err(Failure::Namespace)?;
            self.identity.get_or_init(|| identity);
        }
        Ok(())
    }

    /// The store's directory.
    pub fn store(&self) -> Result<PathBuf, UsageError> {
        self.environment.store().ok_or(UsageError::NoStore)
    }

    /// How errors look.
    pub fn look(&self) -> Look {
        // Only a terminal is asked for its size.
        let width = if self.err.is_terminal() { (self.measure)().columns } else { 0 };
        Look::of(&self.err, self.environment, width)
    }
}
