//! Why a step could not be run. A command that runs and fails is no error: see [`super::Exit`].

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a step could not be run, or was stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The caller's [`super::Cancel`] stopped it; everything in it is dead.
    #[error("the step was cancelled")]
    Cancelled,
    /// A value of the [`super::Spec`] cannot be given to the kernel.
    #[error("{what} {value:?} is not usable: {reason}")]
    Invalid {
        /// Which part of the specification.
        what: &'static str,
        /// The value, or its beginning.
        value: String,
        /// Why.
        reason: &'static str,
    },
    /// The user or a group is not mapped into the builder's user namespace.
    #[error("the step runs with {what} {id}, which is not mapped here (only {mapped} are)")]
    UnmappedId {
        /// `uid` or `gid`.
        what: &'static str,
        /// The id that the step wants.
        id: u32,
        /// How many ids are mapped.
        mapped: u64,
    },
    /// Preparing the sandbox failed inside it.
    #[error("cannot {action} {}{}", path.display(), detail.as_deref().map(|d| format!(" ({d})")).unwrap_or_default())]
    Setup {
        /// What was tried.
        action: Action,
        /// On what: a path inside the root unless the action says otherwise.
        path: PathBuf,
        /// What the kernel added in words.
        detail: Option<String>,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// The command could not be started.
    #[error("cannot run {program:?}")]
    Exec {
        /// `argv[0]`.
        program: String,
        /// What the kernel answered: not found, not executable, not a program.
        #[source]
        source: io::Error,
    },
    /// The sandbox's first process died without a word, for instance for want of memory.
    #[error("the sandbox ended without a result")]
    Lost,
    /// A system call of the builder failed outside the sandbox.
    #[error("cannot {doing}")]
    Host {
        /// What was tried.
        doing: &'static str,
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
}

impl Error {
    pub(super) fn host(doing: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
        move |errno| Error::Host { doing, source: errno.into() }
    }
}

/// What is done while a sandbox is prepared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Separate the mounts from the host's.
    Separate,
    /// Make the overlay that is the root, or that a mount shows.
    MakeOverlay,
    /// Make a file system that the kernel provides.
    MakeFilesystem,
    /// Open what a mount shows.
    OpenSource,
    /// Attach a mount to its place.
    Attach,
    /// Make a mount read-only, or mask it.
    Restrict,
    /// Create a file, a directory or a link in the private part of the sandbox.
    Create,
    /// Set the host name.
    SetHostname,
    /// Bring up the loopback device.
    RaiseLoopback,
    /// Change the root.
    EnterRoot,
    /// Enter the working directory.
    EnterWorkdir,
    /// Take the user's ids.
    BecomeUser,
    /// Give up capabilities.
    DropCapabilities,
    /// Load the filter of system calls.
    FilterCalls,
    /// Start the command's process.
    Spawn,
}

impl Action {
    /// The words that are printed after "cannot".
    pub fn words(self) -> &'static str {
        match self {
            Action::Separate => "separate the mounts of",
            Action::MakeOverlay => "make the overlay at",
            Action::MakeFilesystem => "make the file system for",
            Action::OpenSource => "open the mount source",
            Action::Attach => "mount at",
            Action::Restrict => "restrict",
            Action::Create => "create",
            Action::SetHostname => "set the host name",
            Action::RaiseLoopback => "bring up the network device",
            Action::EnterRoot => "enter the root",
            Action::EnterWorkdir => "enter the working directory",
            Action::BecomeUser => "take the ids of user",
            Action::DropCapabilities => "give up capabilities of",
            Action::FilterCalls => "filter the system calls of",
            Action::Spawn => "start a process for",
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}
