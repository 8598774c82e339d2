//! The one stream of what happens in a build: for progress, tests and explanations.
//!
//! `kiln build --progress json` prints these, one object a line; their names and fields are stable.
//! Knows nothing of how they are shown.

pub use crate::explain::verdict::{Hit, Miss, Verdict};

use crate::explain::report::WhyReport;
use crate::explain::verdict;
use serde::Serialize;

/// Something that happened.
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The plan is made; always the first.
    BuildStarted {
        /// Names this build in the store.
        build: String,
        /// All steps that the targets need, in an order in which they could run.
        steps: Vec<StepInfo>,
    },
    /// A step's inputs are ready and its cache missed: it runs now.
    StepStarted {
        /// The step's place in `BuildStarted::steps`.
        step: usize,
        /// Why it runs.
        reason: String,
    },
    /// Output of a running step.
    StepLog {
        /// The step's place in `BuildStarted::steps`.
        step: usize,
        /// Where the step wrote it.
        stream: Stream,
        /// What it wrote: whole lines with their newlines, but for the last; invalid UTF-8 is replaced.
        text: String,
    },
    /// A step has its result. A hit has no `StepStarted` before it.
    StepFinished {
        /// The step's place in `BuildStarted::steps`.
        step: usize,
        /// How it ended: the fields `verdict` and `kind`, each a word of a closed list.
        #[serde(flatten, serialize_with = "verdict::as_fields")]
        verdict: Verdict,
        /// On a miss or failure, why, in words; on a hit, what kind of hit.
        reason: String,
        /// Wall time in seconds, its queueing not included.
        duration: f64,
        /// The same for a program: with what it was compared, what changed, what dragged it along.
        why: Box<WhyReport>,
    },
    /// A finding that does not stop the build (an unconsumed build argument, a portability note).
    Warning {
        /// In words.
        message: String,
    },
    /// Always the last.
    BuildFinished {
        /// Whether every target was built.
        ok: bool,
        /// Kiln's name of the image (`b3:…`); absent when there is none.
        image: Option<String>,
        /// The OCI image id (`sha256:…`), where it was asked for or is already known; of images for several platforms the
        /// digest of their index.
        image_id: Option<String>,
        /// What was built, where that is more than one thing; then `image` and `image_id` are absent.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        results: Vec<BuiltInfo>,
        /// How many steps there were, by verdict.
        counts: Counts,
        /// Wall time in seconds.
        duration: f64,
        /// What went wrong, if it did.
        error: Option<String>,
    },
}

/// A step as it is announced.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepInfo {
    /// What people see: `[build 2/5] RUN make`.
    pub name: String,
    /// The stage's name, or its number where it has none.
    pub stage: String,
    /// The instruction with all values expanded.
    pub instruction: String,
    /// First line in the Dockerfile, counted from 1; 0 for a step that no line states.
    pub line: u32,
    /// The file that the line is of, where that is an included one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Its platform: `linux/amd64`, or `linux/amd64->arm64` where it runs on one and its result depends on another that
    /// is built for; empty where it has none.
    pub platform: String,
}

/// One of several things that were built.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct BuiltInfo {
    /// What it is called: the target's name, or the stage's.
    pub name: String,
    /// Kiln's name of the image (`b3:…`).
    pub image: String,
    /// The OCI image id, or the digest of the index, where it is known.
    pub image_id: Option<String>,
}

/// Where a step wrote its output.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How many steps ended in which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Counts {
    /// All steps of the plan.
    pub steps: usize,
    /// Results that were known.
    pub hits: usize,
    /// Steps that ran.
    pub misses: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that did not run.
    pub cancelled: usize,
}

/// Takes events as they happen, from any thread.
pub trait Sink: Sync {
    /// Takes one event. Must not block for long: steps wait for it.
    fn emit(&self, event: Event);
}
