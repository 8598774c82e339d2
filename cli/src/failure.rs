//! Why a command gives up: what it is, which exit code it has, what the way out is.
//!
//! Knows nothing of how it is drawn.

use crate::exit::Exit;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_engine::api::{BuildError, ManageError};
use kiln_engine::sandbox::NamespaceError;
use std::io;
use thiserror::Error;

/// A command's failure.
#[derive(Debug, Error)]
pub enum Failure {
    /// What was typed means nothing.
    #[error(transparent)]
    Usage(#[from] UsageError),
    /// The build gave no result.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A command on images or the store failed.
    #[error(transparent)]
    Manage(#[from] ManageError),
    /// Something that the command writes itself could not be written.
    #[error("failed to write {to}")]
    Write {
        /// The file, or `standard output`.
        to: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file that the command reads itself could not be read.
    #[error("failed to read {from}")]
    Read {
        /// The file as typed.
        from: String,
        /// What the system said.
        source: io::Error,
    },
    /// A command of the host could not be started.
    #[error("failed to run {command:?}")]
    Command {
        /// As typed.
        command: String,
        /// What the system said.
        source: io::Error,
    },
    /// Signals cannot be handled.
    #[error("failed to set up the handling of Ctrl-C")]
    Signals(#[source] io::Error),
    /// An ordinary user cannot be given what running steps needs.
    #[error("failed to become root in a user namespace")]
    Namespace(#[source] NamespaceError),
}

/// What is wrong with what was typed, or with a variable that stands for it.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum UsageError {
    /// Something that docker has and kiln does not.
    #[error("{what} is not supported by kiln yet")]
    Unsupported {
        /// The flag or the kind of context, as typed.
        what: String,
        /// What to do in its place.
        advice: String,
    },
    /// Targets that are several builds, where there can be one only.
    #[error("{what}, and these targets are several: they differ in their files, contexts or arguments")]
    Several {
        /// What can be had of one build only.
        what: String,
        /// The commands of which each has one.
        commands: String,
    },
    /// The value of a flag.
    #[error("invalid value {value:?} for {flag}: {reason}")]
    Value {
        /// The flag with its dashes, or the argument's name.
        flag: &'static str,
        /// As typed.
        value: String,
        /// What is wrong with it.
        reason: String,
        /// A value that would do.
        help: Option<String>,
    },
    /// The value of a variable.
    #[error("invalid value {value:?} of the variable {name}: {reason}")]
    Variable {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Two things that both write to standard output, or both want the last word.
    #[error("{first} and {second} cannot be used together: {reason}")]
    Conflict {
        /// One, as typed.
        first: String,
        /// The other, as typed.
        second: String,
        /// Why not.
        reason: &'static str,
    },
    /// An archive would be written to, or read from, a person.
    #[error("refusing to use a terminal for the archive of {what}")]
    Terminal {
        /// The flag or argument, as typed.
        what: String,
        /// What to do in its place.
        advice: &'static str,
    },
    /// The project file means nothing.
    #[error("{file} cannot be used")]
    Project {
        /// The file.
        file: String,
        /// Its whole text.
        text: String,
        /// What is wrong with it.
        finding: Box<Diagnostic>,
    },
    /// A file that is read before anything is done.
    #[error("failed to read {file}: {reason}")]
    Unreadable {
        /// The file.
        file: String,
        /// What the system said.
        reason: String,
    },
    /// Nothing says where the store is.
    #[error("there is no place for the store: neither KILN_STORE nor XDG_DATA_HOME nor HOME is set")]
    NoStore,
}

impl Failure {
    /// What could not be written to standard output.
    pub fn stdout(source: io::Error) -> Self {
        Failure::Write { to: "standard output".into(), source }
    }

    /// How the program ends with it.
    pub fn exit(&self) -> Exit {
        match self {
            Failure::Usage(_) => Exit::Usage,
            Failure::Build(BuildError::Cancelled) => Exit::Interrupted,
            Failure::Build(BuildError::Missed { .. }) => Exit::Missed,
            Failure::Build(BuildError::NotDeterministic { .. }) => Exit::NotDeterministic,
            failure if failure.is_reader_gone() => Exit::Success,
            _ => Exit::Failure,
        }
    }

    /// Whether it only means that who read standard output wants no more (`kiln images | head -1`).
    pub fn is_reader_gone(&self) -> bool {
        matches!(self, Failure::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// The way out, if one is known.
    pub fn advice(&self) -> Option<String> {
        match self {
            Failure::Usage(usage) => usage.advice(),
            Failure::Build(build) => build.advice(),
            Failure::Manage(manage) => manage.advice(),
            Failure::Namespace(error) => Some(error.help().to_owned()),
            Failure::Write { .. } | Failure::Read { .. } | Failure::Command { .. } | Failure::Signals(_) => None,
        }
    }
}

impl UsageError {
    /// A bad value without a better one to offer.
    pub fn value(flag: &'static str, value: &str, reason: impl Into<String>) -> Self {
        UsageError::Value { flag, value: value.to_owned(), reason: reason.into(), help: None }
    }

    /// The same with advice, where advice has a place.
    #[must_use]
    pub fn with_help(self, advice: impl Into<String>) -> Self {
        match self {
            UsageError::Value { flag, value, reason, help: _ } => {
                UsageError::Value { flag, value, reason, help: Some(advice.into()) }
            }
            other => other,
        }
    }

    fn advice(&self) -> Option<String> {
        match self {
            UsageError::Unsupported { advice, .. } => Some(advice.clone()),
            UsageError::Several { commands, .. } => Some(format!("run them one by one: {commands}")),
            UsageError::Value { help, .. } => help.clone(),
            UsageError::Terminal { advice, .. } => Some((*advice).to_owned()),
            UsageError::NoStore => Some("set KILN_STORE to a directory".into()),
            UsageError::Project { finding, .. } => finding.help.clone(),
            UsageError::Variable { .. } | UsageError::Conflict { .. } | UsageError::Unreadable { .. } => None,
        }
    }
}
