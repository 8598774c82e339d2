//! Builds again whenever what was built from has changed.
//!
//! Events are hints, content is the truth: an event marks paths dirty, after a burst those are read again and
//! compared with what the last build used, and only a difference that the plan reads is worth a build. So a
//! touch, a file saved again and a branch switched there and back cost nothing, and what a build writes causes
//! no loop. The context is scanned once and then kept in memory ([`crate::build`]'s memory), so the cost of a
//! change follows the change. Lost events, a deleted root and a full kernel mean that everything is looked at
//! again, never that a change is missed.
//!
//! [`debounce`] is pure; [`eyes`] alone knows the kernel's notifications; [`files`] are the Dockerfile and its
//! like; a [`place`] is a context; [`run`] is the loop. Nothing here prints.

mod debounce;
mod eyes;
mod files;
mod place;
mod run;

pub use run::watch;

use crate::api::{BuildError, Outcome, Request};
use crate::container::Runner;
use crate::event::Sink;
use std::path::PathBuf;
use std::time::Duration;

/// How to watch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long nothing has to happen before what happened is looked at.
    pub debounce: Duration,
    /// Look at everything so often, instead of waiting for events.
    pub poll: Option<Duration>,
    /// Return after the first rebuild.
    pub once: bool,
}

impl Default for Options {
    fn default() -> Self {
        /// Longer than an editor takes from its first to its last operation of one save.
        const DEBOUNCE: Duration = Duration::from_millis(30);
        Options { debounce: DEBOUNCE, poll: None, once: false }
    }
}

/// How one build ended.
#[derive(Debug)]
pub enum Ended {
    /// With an image, or with an error to show.
    Whole(Result<Outcome, BuildError>),
    /// It was given up for a newer state, whose build follows at once.
    Superseded,
}

/// Who watches: says what to build, and is told what happens. Called from one thread; only the sinks are used by
/// others.
pub trait Driver {
    /// What to build, asked before each build; `None` where that cannot be said for now (and was told).
    fn request(&self) -> Option<Request>;

    /// Files beside the Dockerfile and its ignore file that decide what [`Driver::request`] says.
    fn files(&self) -> Vec<PathBuf>;

    /// Files and directories that are written after a build: changes there are no changes.
    fn written(&self) -> Vec<PathBuf>;

    /// Where the events of the build that begins go.
    fn begin(&self) -> Box<dyn Sink + Send>;

    /// Something has changed that is built from: paths below the context, and other files. Empty where all that
    /// is known is that something did.
    fn changed(&self, paths: &[PathBuf]);

    /// A build has ended. `runner` makes containers of the images of its store.
    fn ended(&self, ended: Ended, runner: &Runner);

    /// Something that the user should know: that polling has begun, for instance.
    fn note(&self, message: &str);
}
