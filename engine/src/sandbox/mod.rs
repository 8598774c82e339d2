//! Runs one step in a sandbox: namespaces, an overlay as the root, Docker's default confinement.
//!
//! The data passes [`Spec`] → a program (a list of operations, pure) → the sandbox's first process,
//! which interprets it → a report → [`Exit`] or [`Error`]. Works as root, and as any user after
//! [`enter_user_namespace`]; starts no helper but `newuidmap` and `newgidmap`.
//!
//! Knows nothing of Dockerfiles, graphs, keys or the store. It never writes to the host but through
//! `upper`, writable bind mounts and what a [`Stubs`] value is asked to write.

mod bpf;
mod caps;
mod child;
mod error;
mod fuse;
mod host;
mod launch;
mod network;
mod op;
mod overlay;
mod program;
mod report;
mod run;
mod seccomp;
mod spec;
mod stubs;
mod subids;
mod sys;
mod trace;
mod userns;
mod users;

#[cfg(test)]
mod tests;

pub use crate::cancel::Cancel;
pub use error::{Action, Error};
pub use launch::DEFAULT_PATH;
pub use overlay::overlay_mount;
pub use run::{Attached, run, run_attached, run_traced};
pub use spec::{Exit, Ids, Mount, MountSource, Network, SecretBytes, Security, Spec};
pub use stubs::{Existing, ExistingKind, Lookup, StubError, Stubs};
pub use trace::{CannotWatch, Listing, Lower, Reached, Stack, Traced, Tracer};
pub use userns::{Identity, NamespaceError, Warning, enter_user_namespace};
pub use users::{Passwd, UserError, resolve_user};
