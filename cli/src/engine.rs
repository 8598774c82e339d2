//! The seam between the commands and the engine.
//!
//! Commands know this trait only, so that their tests drive them with an engine that replays a
//! script. Knows nothing of arguments and nothing of how results are shown.

use kiln_engine::api::{
    BuildError, Cancel, CheckReport, CheckRequest, Exit, FsckReport, HistoryRow, ImageDetail, ImageSummary,
    ImportRequest, ManageError, Outcome, PruneReport, PruneRequest, Removal, Request,
};
use kiln_engine::build::Outline;
use kiln_engine::container::{RunRequest, Runner};
use kiln_engine::event::{Sink, Stream};
use kiln_engine::explain::report::{BuildReport, BuildRow, StepDetail};
use kiln_engine::manage::{self, Which};
use kiln_engine::sandbox::Attached;
use kiln_engine::watch::{Driver, Options};
use std::path::{Path, PathBuf};

/// What the commands need done. `store` is the store's directory; where it does not exist, it is
/// an empty one. `image` is a name, an id or the beginning of an id, as typed.
pub trait Engine {
    /// Builds; everything that happens on the way goes to `sink`, from any thread. Returns
    /// [`BuildError::Cancelled`] soon after `cancel` was used.
    fn build(&self, request: &Request, sink: &dyn Sink, cancel: &Cancel) -> Result<Outcome, BuildError>;

    /// Checks a Dockerfile without building it.
    fn check(&self, request: &CheckRequest) -> Result<CheckReport, BuildError>;

    /// Builds, and builds again whenever something has changed that is built from. Returns when `cancel` is
    /// used, or where `options` say so after the first rebuild.
    fn watch(&self, driver: &dyn Driver, options: &Options, cancel: &Cancel) -> Result<(), BuildError>;

    /// What a build would do if these paths of its context were edited too; runs and writes nothing.
    fn plan(
        &self,
        request: &Request,
        changed: &[PathBuf],
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<BuildReport, BuildError>;

    /// The stages and steps of what a build would build; reads the Dockerfile and what it includes alone.
    fn outline(&self, request: &Request) -> Result<Outline, BuildError>;

    /// All builds that the store remembers, the newest first.
    fn builds(&self, store: &Path) -> Result<Vec<BuildRow>, ManageError>;

    /// Whether a word means a build.
    fn is_build(&self, store: &Path, name: &str) -> Result<bool, ManageError>;

    /// A build explained.
    fn explain(&self, store: &Path, which: Which<'_>) -> Result<BuildReport, ManageError>;

    /// One step of a build, by its number from 1 or a part of its name.
    fn explain_step(&self, store: &Path, which: Which<'_>, step: &str) -> Result<StepDetail, ManageError>;

    /// What a step wrote, piece by piece.
    fn log(&self, store: &Path, which: Which<'_>, step: &str) -> Result<Vec<(Stream, String)>, ManageError>;

    /// What differs between two builds.
    fn diff(&self, store: &Path, old: &str, new: &str) -> Result<BuildReport, ManageError>;

    /// Runs a command in an image of the store. With `terminate` it gets SIGTERM.
    fn run(
        &self,
        store: &Path,
        request: &RunRequest,
        streams: Attached,
        terminate: &Cancel,
    ) -> Result<Exit, ManageError>;

    /// Runs a command in what a step of a build left behind. With `terminate` it gets SIGTERM.
    fn run_step(
        &self,
        store: &Path,
        step: (Which<'_>, &str),
        request: &RunRequest,
        streams: Attached,
        terminate: &Cancel,
    ) -> Result<Exit, ManageError>;

    /// The instructions that made an image, the newest first.
    fn history(&self, store: &Path, image: &str) -> Result<Vec<HistoryRow>, ManageError>;

    /// All images, the newest first.
    fn images(&self, store: &Path) -> Result<Vec<ImageSummary>, ManageError>;

    /// All that is known of one image.
    fn inspect(&self, store: &Path, image: &str) -> Result<ImageDetail, ManageError>;

    /// Collects what nothing needs.
    fn prune(&self, request: &PruneRequest) -> Result<PruneReport, ManageError>;

    /// Makes a base image from a root file system.
    fn import(&self, request: &ImportRequest) -> Result<ImageSummary, ManageError>;

    /// Gives an image one more name, taking it from the image that had it. Returns the completed name.
    fn tag(&self, store: &Path, image: &str, name: &str) -> Result<String, ManageError>;

    /// Takes a name away, or all names where `image` is an id.
    fn remove(&self, store: &Path, image: &str) -> Result<Removal, ManageError>;

    /// Reads all of the store again and compares it with its digests.
    fn fsck(&self, store: &Path, repair: bool) -> Result<FsckReport, ManageError>;
}

/// The engine of this program.
#[derive(Debug)]
pub struct Local;

impl Engine for Local {
    fn build(&self, request: &Request, sink: &dyn Sink, cancel: &Cancel) -> Result<Outcome, BuildError> {
        kiln_engine::build::build(request, sink, cancel)
    }

    fn check(&self, request: &CheckRequest) -> Result<CheckReport, BuildError> {
        kiln_engine::check::check(request)
    }

    fn watch(&self, driver: &dyn Driver, options: &Options, cancel: &Cancel) -> Result<(), BuildError> {
        kiln_engine::watch::watch(driver, options, cancel)
    }

    fn plan(
        &self,
        request: &Request,
        changed: &[PathBuf],
        sink: &dyn Sink,
        cancel: &Cancel,
    ) -> Result<BuildReport, BuildError> {
        kiln_engine::build::plan(request, changed, sink, cancel)
    }

    fn outline(&self, request: &Request) -> Result<Outline, BuildError> {
        kiln_engine::build::outline(request)
    }

    fn builds(&self, store: &Path) -> Result<Vec<BuildRow>, ManageError> {
        manage::builds(store)
    }

    fn is_build(&self, store: &Path, name: &str) -> Result<bool, ManageError> {
        manage::is_build(store, name)
    }

    fn explain(&self, store: &Path, which: Which<'_>) -> Result<BuildReport, ManageError> {
        manage::explain(store, which)
    }

    fn explain_step(&self, store: &Path, which: Which<'_>, step: &str) -> Result<StepDetail, ManageError> {
        manage::explain_step(store, which, step)
    }

    fn log(&self, store: &Path, which: Which<'_>, step: &str) -> Result<Vec<(Stream, String)>, ManageError> {
        manage::log(store, which, step)
    }

    fn diff(&self, store: &Path, old: &str, new: &str) -> Result<BuildReport, ManageError> {
        manage::diff(store, old, new)
    }

    fn run(
        &self,
        store: &Path,
        request: &RunRequest,
        streams: Attached,
        terminate: &Cancel,
    ) -> Result<Exit, ManageError> {
        let failed =
            |source: std::io::Error| ManageError::Run { image: request.image.clone(), source: Box::new(source) };
        Runner::new(store).prepare(request)?.run(streams, terminate, &Cancel::new().map_err(failed)?)
    }

    fn run_step(
        &self,
        store: &Path,
        (which, step): (Which<'_>, &str),
        request: &RunRequest,
        streams: Attached,
        terminate: &Cancel,
    ) -> Result<Exit, ManageError> {
        let failed = |source: std::io::Error| ManageError::Run { image: step.to_owned(), source: Box::new(source) };
        let cancel = Cancel::new().map_err(failed)?;
        Runner::new(store).prepare_step(which, step, request)?.run(streams, terminate, &cancel)
    }

    fn history(&self, store: &Path, image: &str) -> Result<Vec<HistoryRow>, ManageError> {
        manage::history(store, image)
    }

    fn images(&self, store: &Path) -> Result<Vec<ImageSummary>, ManageError> {
        manage::images(store)
    }

    fn inspect(&self, store: &Path, image: &str) -> Result<ImageDetail, ManageError> {
        manage::inspect(store, image)
    }

    fn prune(&self, request: &PruneRequest) -> Result<PruneReport, ManageError> {
        manage::prune(request)
    }

    fn import(&self, request: &ImportRequest) -> Result<ImageSummary, ManageError> {
        manage::import(request)
    }

    fn tag(&self, store: &Path, image: &str, name: &str) -> Result<String, ManageError> {
        manage::tag(store, image, name)
    }

    fn remove(&self, store: &Path, image: &str) -> Result<Removal, ManageError> {
        manage::remove(store, image)
    }

    fn fsck(&self, store: &Path, repair: bool) -> Result<FsckReport, ManageError> {
        manage::fsck(store, repair)
    }
}
