//! What a reader of a file is told about it: message, place, advice.
//!
//! Knows nothing of terminals: rendering is the command line's.

use crate::span::Span;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be built.
    Error,
    /// The file can be built, and probably not as meant.
    Warning,
    /// The file does what is meant, and could do it better.
    Advice,
}

/// One finding in one file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// A stable name (`UnknownInstruction`, or a build check's name such as `StageNameCasing`).
    pub code: &'static str,
    /// What is wrong, as a lower-case fragment that names the thing.
    pub message: String,
    /// Where.
    pub span: Span,
    /// Further places with a word on each (`first defined here`).
    pub related: Vec<(Span, String)>,
    /// The way out, if one is known (`did you mean RUN?`).
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Error, code, message: message.into(), span, related: Vec::new(), help: None }
    }

    /// A warning at `span`.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Self {
        Diagnostic { severity: Severity::Warning, ..Diagnostic::error(code, span, message) }
    }

    /// The same with advice.
    #[must_use]
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with one more place.
    #[must_use]
    pub fn with_related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }
}
