//! What an explanation looks like to a program: the shapes of `--json` and `--format ron`.
//!
//! Made of what is kept with a build, with the same words as the text. Documented in `docs/explain.md`.

use super::change::{Change, FileChange, FileDiff, FileSet};
use super::record::{Compared, Why};
use serde::Serialize;

/// Why a step ended as it did.
#[derive(Clone, PartialEq, Debug, Default, Serialize)]
pub struct WhyReport {
    /// With what it was compared; absent where nothing earlier is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<ComparedReport>,
    /// What of its own is not what it was there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<ChangeReport>,
    /// What it needs from other steps and is not what it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dragged_along_by: Vec<DraggedReport>,
    /// Whether it ran and made exactly what the execution had made that it was compared with.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub same_output: bool,
    /// What it made otherwise than the execution it was compared with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<FilesReport>,
    /// Whether the same key gave another output.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub not_deterministic: bool,
    /// How long the earlier execution ran, in seconds: for a hit, what it saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_duration: Option<f64>,
}

/// An earlier execution.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ComparedReport {
    /// The build in which it ran, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// When, in seconds since 1970.
    pub time: i64,
    /// What the step was called there.
    pub step: String,
    /// Whether it failed.
    pub failed: bool,
}

/// One change.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ChangeReport {
    /// The component: `ENV NODE_ENV`, `files`.
    pub component: String,
    /// `added`, `removed`, `changed` or `moved`.
    pub how: &'static str,
    /// Before; absent where it was not there, is no text, or is shown to nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Now; absent for the same reasons.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
    /// Whether the value is shown to nobody.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hidden: bool,
    /// What files differ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub files: Option<FilesReport>,
}

/// Files that differ.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct FilesReport {
    /// Whether both listings were there to be compared.
    pub known: bool,
    /// How many came.
    pub added: usize,
    /// How many went.
    pub removed: usize,
    /// How many differ.
    pub changed: usize,
    /// How many have another name and the same content.
    pub renamed: usize,
    /// The ignore file, where it changed and so may have decided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignore_file: Option<String>,
    /// The first of them by path.
    pub paths: Vec<PathReport>,
}

/// One file that differs.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PathReport {
    /// The path.
    pub path: String,
    /// `added`, `removed`, `renamed`, `content`, `type`, `target`, `mode`, `owner` or `attributes`.
    pub how: &'static str,
    /// Before, for what has a value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old: Option<String>,
    /// Now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub new: Option<String>,
}

/// Something that another step changed.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct DraggedReport {
    /// What it is in the key: `parent`.
    pub component: String,
    /// The step with which it began, by its place in the build; absent where it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What that step is called.
    pub name: String,
}

impl WhyReport {
    /// The report of `why`, beside how long the earlier execution ran, in seconds.
    pub fn new(why: &Why, earlier_duration: Option<f64>) -> Self {
        WhyReport {
            compared_with: why.compared.as_ref().map(ComparedReport::from),
            changes: why.changes.iter().map(ChangeReport::from).collect(),
            dragged_along_by: why
                .dragged
                .iter()
                .map(|one| DraggedReport { component: one.label.clone(), step: one.root, name: one.name.clone() })
                .collect(),
            same_output: why.same_output,
            output: why.output.as_ref().map(FilesReport::from),
            not_deterministic: why.unstable,
            earlier_duration,
        }
    }
}

impl From<&Compared> for ComparedReport {
    fn from(compared: &Compared) -> Self {
        ComparedReport {
            build: compared.build.map(|build| build.to_string()),
            time: compared.nanos.div_euclid(1_000_000_000),
            step: compared.name.clone(),
            failed: compared.failed,
        }
    }
}

impl From<&Change> for ChangeReport {
    fn from(change: &Change) -> Self {
        let component = change.label().to_owned();
        let plain = ChangeReport { component, how: "changed", old: None, new: None, hidden: false, files: None };
        match change {
            Change::Text { old, new, .. } => {
                let how = super::Presence::of(old.as_ref(), new.as_ref()).word();
                ChangeReport { how, old: old.clone(), new: new.clone(), ..plain }
            }
            Change::Hidden { how, .. } => ChangeReport { how: how.word(), hidden: true, ..plain },
            Change::Files { set, .. } => ChangeReport { files: Some(set.into()), ..plain },
            Change::Moved { old, new } => {
                ChangeReport { how: "moved", old: Some(old.to_string()), new: Some(new.to_string()), ..plain }
            }
        }
    }
}

impl From<&FileSet> for FilesReport {
    fn from(set: &FileSet) -> Self {
        FilesReport {
            known: set.known,
            added: set.added,
            removed: set.removed,
            changed: set.changed,
            renamed: set.renamed,
            ignore_file: set.ignore_file.clone(),
            paths: set.files.iter().map(PathReport::from).collect(),
        }
    }
}

impl From<&FileDiff> for PathReport {
    fn from(file: &FileDiff) -> Self {
        let (how, old, new) = match &file.change {
            FileChange::Added => ("added", None, None),
            FileChange::Removed => ("removed", None, None),
            FileChange::RenamedFrom(old) => ("renamed", Some(old.clone()), None),
            FileChange::Content => ("content", None, None),
            FileChange::Type { old, new } => ("type", Some(old.clone()), Some(new.clone())),
            FileChange::Target { old, new } => ("target", Some(old.clone()), Some(new.clone())),
            FileChange::Mode { old, new } => ("mode", Some(format!("{old:o}")), Some(format!("{new:o}"))),
            FileChange::Owner { old, new } => {
                ("owner", Some(format!("{}:{}", old.0, old.1)), Some(format!("{}:{}", new.0, new.1)))
            }
            FileChange::Attributes => ("attributes", None, None),
        };
        PathReport { path: file.path.clone(), how, old, new }
    }
}
