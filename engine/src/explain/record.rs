//! What is kept of one build: how each step ended, why, and with what it was compared.
//!
//! A build explains itself from its record alone, whatever was pruned since. Values of build arguments are
//! kept as digests, values of secrets not at all. Knows nothing of where records are.

use super::change::{Change, FileChange, FileSet};
use super::secrecy::SecretArguments;
use super::verdict::{Hit, Verdict};
use crate::digest::{ContentId, ImageKey, KeyId, LayerId, SnapshotId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Names a build: 12 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct BuildId([u8; 6]);

impl BuildId {
    /// The name with these bytes.
    pub const fn from_bytes(bytes: [u8; 6]) -> Self {
        BuildId(bytes)
    }

    /// The name that 12 hexadecimal digits spell; `None` for anything else.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 6];
        if text.len() != 12 || !text.is_ascii() {
            return None;
        }
        for (byte, at) in bytes.iter_mut().zip((0..12).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
        }
        Some(BuildId(bytes))
    }
}

impl fmt::Display for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Written as one piece: a hundred thousand steps may name one.
        let mut text = [0; 12];
        for (digits, byte) in text.chunks_exact_mut(2).zip(self.0) {
            let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
            (digits[0], digits[1]) = (digit(byte >> 4), digit(byte & 15));
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for BuildId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BuildId({self})")
    }
}

/// One build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Build {
    /// Its name.
    pub id: BuildId,
    /// When it began, in nanoseconds since 1970.
    pub started_nanos: i64,
    /// How long it took, in seconds.
    pub duration: f64,
    /// What it was asked for.
    pub asked: Asked,
    /// How it ended.
    pub end: End,
    /// The image that it gave.
    pub image: Option<ImageKey>,
    /// The names that the image got.
    pub names: Vec<String>,
    /// The build that its instructions were compared with.
    pub before: Option<Before>,
    /// All instructions that the target needed, in the order in which they were shown.
    pub steps: Vec<BuildStep>,
}

/// What a build was asked for, as far as it decides anything.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Asked {
    /// The context.
    pub context: String,
    /// The Dockerfile.
    pub dockerfile: String,
    /// The Dockerfile's content.
    pub text: Option<ContentId>,
    /// The ignore file with its content, if there was one.
    pub ignore: Option<(String, ContentId)>,
    /// The stages, if some were named, with commas between them.
    pub target: Option<String>,
    /// The platforms, with commas between them.
    pub platform: String,
    /// The names of build arguments with digests of their values.
    pub build_args: Vec<(String, ContentId)>,
    /// The labels given beside the Dockerfile's.
    pub labels: Vec<(String, String)>,
    /// The ids of the secrets.
    pub secrets: Vec<String>,
    /// Whether RUN steps had no network.
    pub offline: bool,
    /// Whether no earlier result was to be looked up.
    pub no_cache: bool,
}

/// How a build ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum End {
    /// With an image.
    Built,
    /// With this error.
    Failed(String),
    /// It was stopped.
    Interrupted,
}

impl End {
    /// The word that is printed.
    pub fn word(&self) -> &'static str {
        match self {
            End::Built => "built",
            End::Failed(_) => "failed",
            End::Interrupted => "interrupted",
        }
    }
}

/// The build that a build as a whole is compared with.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Before {
    /// Its name.
    pub id: BuildId,
    /// When it began, in nanoseconds since 1970.
    pub started_nanos: i64,
    /// What it had been asked for.
    pub asked: Asked,
    /// The instructions that only it has, each by its name.
    pub removed: Vec<String>,
    /// Whether stages stand in another order than there.
    pub stages_moved: bool,
}

/// One instruction of a build.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct BuildStep {
    /// What people see: `[build 2/5] RUN make`.
    pub name: String,
    /// The stage's name, or its number.
    pub stage: String,
    /// Its platform: `linux/amd64`, or `linux/amd64->arm64`; empty where it has none.
    pub platform: String,
    /// The instruction with all values expanded.
    pub instruction: String,
    /// The instruction as it is written.
    pub written: String,
    /// First line in the Dockerfile, counted from 1; 0 for a trigger of a base image.
    pub line: u32,
    /// The file that the line is of, where that is an included one.
    pub file: Option<String>,
    /// The instructions whose results it needs, by their places in the build.
    pub inputs: Vec<usize>,
    /// How it ended.
    pub verdict: Verdict,
    /// The same in words, as the build said it.
    pub reason: String,
    /// Its key, if it has one and got so far.
    pub key: Option<KeyId>,
    /// The layer that it made or found.
    pub layer: Option<LayerId>,
    /// The snapshot that is its result, whose layers the store knows; `None` where it has no layers.
    pub stack: Option<SnapshotId>,
    /// How long it ran, in seconds; 0 for a hit.
    pub duration: f64,
    /// How long the execution ran whose result it is, or that it was compared with, in seconds.
    pub earlier: Option<f64>,
    /// Why.
    pub why: Why,
    /// The execution whose result it has, as the store told of it; none for what is no execution.
    pub made: Option<Made>,
}

/// An execution, as the store tells of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Made {
    /// The build in which it ran.
    pub build: BuildId,
    /// When it ran, in nanoseconds since 1970.
    pub nanos: i64,
    /// What the step was called there.
    pub name: String,
    /// How long it ran, in milliseconds.
    pub millis: u64,
}

impl Made {
    /// As what a hit is compared with.
    pub fn compared(&self) -> Compared {
        Compared { build: Some(self.build), nanos: self.nanos, name: self.name.clone(), failed: false }
    }

    /// How long it ran, in seconds.
    pub fn seconds(&self) -> f64 {
        self.millis as f64 / 1000.0
    }
}

impl BuildStep {
    /// How the step ends in a build that follows at once and in which nothing has changed.
    pub fn unchanged_verdict(key: Option<KeyId>) -> Verdict {
        Verdict::Hit(if key.is_some() { Hit::Local } else { Hit::Configuration })
    }

    /// The step as such a build has it.
    #[must_use]
    pub fn unchanged(self) -> Self {
        let verdict = BuildStep::unchanged_verdict(self.key);
        BuildStep {
            verdict,
            reason: verdict.kind().unwrap_or_default().to_owned(),
            duration: 0.0,
            earlier: self.made.as_ref().map(Made::seconds),
            why: Why { compared: self.made.as_ref().map(Made::compared), ..Why::default() },
            ..self
        }
    }
}

/// Why a step ended as it did.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Why {
    /// With what it was compared.
    pub compared: Option<Compared>,
    /// What of its own is not what it was there.
    pub changes: Vec<Change>,
    /// What it needs from other instructions and is not what it was.
    pub dragged: Vec<Dragged>,
    /// Whether it ran and made exactly what the execution had made that it was compared with.
    pub same_output: bool,
    /// For a step that ran and made something else than the execution it was compared with: the paths that
    /// differ, and so kept what is after it from hitting.
    pub output: Option<FileSet>,
    /// Whether that other output came from the same key: the step is not deterministic.
    pub unstable: bool,
    /// For a step that ran although nothing that an earlier execution was seen to read is another: why that one's
    /// result was not taken.
    pub unskipped: Option<Unskipped>,
}

/// Why a step ran although nothing that an earlier execution was seen to read is another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Unskipped {
    /// It used the network: what it made is no function of files.
    Networked,
    /// What it was seen to read may not be all, for this reason.
    Incomplete(String),
}

impl Unskipped {
    /// The word for programs.
    pub fn word(&self) -> &'static str {
        match self {
            Unskipped::Networked => "networked",
            Unskipped::Incomplete(_) => "incomplete",
        }
    }

    /// What is said of it in a line of progress.
    pub fn words(&self) -> String {
        match self {
            Unskipped::Networked => "read nothing that changed, but used the network".to_owned(),
            Unskipped::Incomplete(reason) => {
                format!("was seen to read nothing that changed, but that may not be all: {reason}")
            }
        }
    }
}

impl Why {
    /// Puts the names of secret arguments in the place of their values: a path may be made of one.
    pub fn name_secrets(&mut self, secrets: &SecretArguments) {
        let sets = self.changes.iter_mut().filter_map(|change| match change {
            Change::Files { set, .. } => Some(set),
            _ => None,
        });
        for file in sets.chain(&mut self.output).flat_map(|set| &mut set.files) {
            file.path = secrets.named_in(&file.path).into_owned();
            if let FileChange::RenamedFrom(old) = &mut file.change {
                *old = secrets.named_in(old).into_owned();
            }
        }
    }
}

/// An earlier execution of a step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Compared {
    /// The build in which it ran, where that is known.
    pub build: Option<BuildId>,
    /// When it ran, in nanoseconds since 1970.
    pub nanos: i64,
    /// What the step was called there.
    pub name: String,
    /// Whether it failed.
    pub failed: bool,
}

/// Something that a step needs from another instruction and that is not what it was.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Dragged {
    /// What it is in the step's key: `parent`.
    pub label: String,
    /// The instruction with which it began, by its place in the build; `None` where that one is gone.
    pub root: Option<usize>,
    /// The name of that instruction, or what is known where it is gone.
    pub name: String,
}
