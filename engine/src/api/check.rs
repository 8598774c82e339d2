//! A check of a Dockerfile without building it, and what it finds.

use kiln_dsl::check::Report;
use kiln_dsl::diagnostic::{Diagnostic, Severity};
use kiln_dsl::source::Sources;
use std::path::PathBuf;

/// What is to be checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckRequest {
    /// The context: its ignore file says what COPY cannot reach.
    pub context: PathBuf,
    /// The Dockerfile; `None` is the context's.
    pub dockerfile: Option<PathBuf>,
    /// The stage to check with those that it needs; `None` checks all.
    pub target: Option<String>,
    /// Build arguments, each name once.
    pub build_args: Vec<(String, String)>,
    /// What is built for, as typed; `None` is the host's.
    pub platform: Option<String>,
    /// The store, asked what base images set; nothing is written to it.
    pub store: Option<PathBuf>,
}

/// What a check found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckReport {
    /// The Dockerfile with its text and what it includes, which spans count in.
    pub sources: Sources,
    /// What the reader of the file says that is no check: errors and notes.
    pub diagnostics: Vec<Diagnostic>,
    /// What the checks found.
    pub report: Report,
}

impl CheckReport {
    /// Why the file cannot be built.
    pub fn errors(&self) -> impl Iterator<Item = &Diagnostic> {
        let read = self.diagnostics.iter().filter(|found| found.severity == Severity::Error);
        read.chain(&self.report.errors)
    }

    /// What of the reader's findings does not stop a build.
    pub fn notes(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().filter(|found| found.severity == Severity::Warning)
    }
}
