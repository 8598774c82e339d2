//! The one interface of what watches a step: which stacks of directories, and what was seen in each.
//!
//! Knows nothing of how it is done; [`super::fuse`] does it.

use super::fuse::Watch;
use crate::trace::Observed;
use std::os::fd::RawFd;

pub use super::fuse::{CannotWatch, Listing, Lower};

/// One of a step's stacks of directories.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Stack {
    /// Its root: [`Spec::lowers`](super::Spec::lowers).
    Root,
    /// The overlay that is the mount with this index in [`Spec::mounts`](super::Spec::mounts).
    Mount(usize),
}

/// What watches a step that is about to run.
#[derive(Debug)]
pub struct Tracer {
    stacks: Vec<(Stack, Watch)>,
}

/// What was seen while a step ran.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Traced {
    /// By stack, in the order in which they were asked for.
    pub stacks: Vec<(Stack, Observed)>,
    /// Whom it talked to.
    pub reached: Reached,
}

/// Whom a step talked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reached {
    /// Itself at most.
    #[default]
    Nobody,
    /// Another machine, or perhaps: see [`super::network`].
    Others,
    /// The kernel refused to tell, so it may be anybody.
    Unknown,
}

impl Reached {
    /// Whether another machine may have been among them.
    pub fn may_be_others(self) -> bool {
        self != Reached::Nobody
    }
}

impl Tracer {
    /// Prepares to watch these stacks of a step: each with the layers that its directories are, the topmost first, and
    /// whether any file in those without a listing may have extended attributes.
    ///
    /// # Errors
    /// Where the kernel or its owner does not allow it; the step can run unwatched.
    pub fn new(stacks: &[(Stack, Vec<Lower>, bool)]) -> Result<Tracer, CannotWatch> {
        let watch =
            |(stack, lowers, attributes): &(Stack, Vec<Lower>, bool)| Ok((*stack, Watch::new(lowers, *attributes)?));
        Ok(Tracer { stacks: stacks.iter().map(watch).collect::<Result<_, _>>()? })
    }

    /// The mounts that a sandbox's first process inherits, each under its number here.
    pub(super) fn descriptors(&self) -> Vec<(Stack, RawFd)> {
        self.stacks.iter().filter_map(|(stack, watch)| Some((*stack, watch.descriptor()?))).collect()
    }

    /// What was seen, once the step has ended.
    pub(super) fn finish(self, reached: Reached) -> Traced {
        Traced { stacks: self.stacks.into_iter().map(|(stack, watch)| (stack, watch.finish())).collect(), reached }
    }
}
