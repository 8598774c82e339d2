//! What differs between two keys of one step, and the few words that a line of progress has for it.
//!
//! Plain data, kept with each build. Values whose names speak of secrets are never in it.

use serde::{Deserialize, Serialize};

/// One difference between two keys, from the older to the newer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Change {
    /// A text differs, or is on one side only.
    Text {
        /// The component.
        label: String,
        /// Before, if it was there.
        old: Option<String>,
        /// Now, if it is there.
        new: Option<String>,
    },
    /// A value that is shown to nobody differs, or is on one side only.
    Hidden {
        /// The component.
        label: String,
        /// What happened to it.
        how: Presence,
    },
    /// Files differ.
    Files {
        /// The component.
        label: String,
        /// What differs.
        set: FileSet,
    },
    /// The instruction stands in another place of its stage.
    Moved {
        /// Its number in the stage before, from 1.
        old: usize,
        /// Its number now.
        new: usize,
    },
}

/// What happened to a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Presence {
    /// Only the newer side has it.
    Added,
    /// Only the older side has it.
    Removed,
    /// Both have it, and it differs.
    Changed,
}

impl Presence {
    /// The word that is printed.
    pub fn word(self) -> &'static str {
        match self {
            Presence::Added => "added",
            Presence::Removed => "removed",
            Presence::Changed => "changed",
        }
    }

    /// What happened to a value that was `old` and is `new`.
    pub fn of<T>(old: Option<&T>, new: Option<&T>) -> Self {
        match (old, new) {
            (None, _) => Presence::Added,
            (_, None) => Presence::Removed,
            _ => Presence::Changed,
        }
    }
}

/// The differences between two sets of files.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct FileSet {
    /// Whether both listings were there to be compared; without them nothing below is known.
    pub known: bool,
    /// How many paths only the newer side has, renamed ones not counted.
    pub added: usize,
    /// How many paths only the older side has, renamed ones not counted.
    pub removed: usize,
    /// How many paths differ.
    pub changed: usize,
    /// How many paths have another name and the same content.
    pub renamed: usize,
    /// The first of them by path, at most [`FILES_MAX`].
    pub files: Vec<FileDiff>,
    /// The ignore file, where it is not what it was: then it decided over what was added and removed.
    pub ignore_file: Option<String>,
}

/// How many paths of one component are kept with a build.
pub const FILES_MAX: usize = 1000;

/// One path that differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileDiff {
    /// The path, relative to what was read.
    pub path: String,
    /// How it differs.
    pub change: FileChange,
}

/// How a file differs.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FileChange {
    /// Only the newer side has it.
    Added,
    /// Only the older side has it.
    Removed,
    /// The older side has it under this name.
    RenamedFrom(String),
    /// Its content.
    Content,
    /// What it is: a file became a directory.
    Type {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// Where the symbolic link leads.
    Target {
        /// Before.
        old: String,
        /// Now.
        new: String,
    },
    /// Only its mode.
    Mode {
        /// Before.
        old: u32,
        /// Now.
        new: u32,
    },
    /// Only its owner.
    Owner {
        /// User and group before.
        old: (u32, u32),
        /// And now.
        new: (u32, u32),
    },
    /// Only its extended attributes.
    Attributes,
}

impl FileSet {
    /// How many paths differ in any way.
    pub fn len(&self) -> usize {
        self.added + self.removed + self.changed + self.renamed
    }

    /// Whether nothing is known to differ.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether only modes differ: another umask is then the likely cause.
    pub fn only_modes(&self) -> bool {
        !self.files.is_empty() && self.files.iter().all(|file| matches!(file.change, FileChange::Mode { .. }))
    }
}

impl FileDiff {
    /// The path and what happened to it: `src/a.js changed`.
    pub fn words(&self) -> String {
        let path = &self.path;
        match &self.change {
            FileChange::Added => format!("{path} added"),
            FileChange::Removed => format!("{path} removed"),
            FileChange::RenamedFrom(old) => format!("{old} renamed to {path}"),
            FileChange::Content => format!("{path} changed"),
            FileChange::Type { old, new } => format!("{path} was a {old}, is a {new}"),
            FileChange::Target { old, new } => format!("link {path} changed from {old} to {new}"),
            FileChange::Mode { old, new } => format!("mode of {path} changed from {old:o} to {new:o}"),
            FileChange::Owner { old, new } => {
                format!("owner of {path} changed from {}:{} to {}:{}", old.0, old.1, new.0, new.1)
            }
            FileChange::Attributes => format!("attributes of {path} changed"),
        }
    }
}

impl Change {
    /// The component's name.
    pub fn label(&self) -> &str {
        match self {
            Change::Text { label, .. } | Change::Hidden { label, .. } | Change::Files { label, .. } => label,
            Change::Moved { .. } => "the place",
        }
    }

    /// The change in a few words, for a line of progress: `src/index.js changed`, `ENV A changed`. Values are
    /// not repeated, so that it may be logged anywhere.
    pub fn words(&self) -> String {
        match self {
            Change::Text { label, old, new } => {
                format!("{label} {}", Presence::of(old.as_ref(), new.as_ref()).word())
            }
            Change::Hidden { label, how } => format!("{label} {}", how.word()),
            Change::Files { label, set } => set.words(label),
            Change::Moved { old, new } => format!("moved from place {old} to {new}"),
        }
    }
}

impl FileSet {
    fn words(&self, label: &str) -> String {
        // What was edited says more than what came with it.
        let first = self.files.iter().find(|file| file.change == FileChange::Content).or(self.files.first());
        let Some(first) = first else { return format!("{label} changed") };
        let mut words = match &self.ignore_file {
            Some(name) if !matches!(first.change, FileChange::Content) => format!("{name} changed: {}", first.words()),
            _ => first.words(),
        };
        if self.only_modes() {
            words += " (another umask?)";
        }
        match self.len().saturating_sub(1) {
            0 => words,
            more => format!("{words} and {more} more"),
        }
    }
}
