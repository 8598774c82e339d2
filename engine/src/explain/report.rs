//! What an explanation looks like to a program: the shapes of `--json` and `--format ron`.
//!
//! Made of what is kept with a build, with the same words as the text. Documented in `docs/explain.md`.

use super::causes::{self, CauseRoot};
use super::change::{Change, FileChange, FileDiff, FileSet, Presence};
use super::critical;
use super::record::{Asked, Build, BuildStep, Compared, End, Made, Why};
use super::verdict::{self, Verdict};
use serde::{Deserialize, Serialize};

/// A build explained: what began it, what that cost, and how each step ended.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BuildReport {
    /// Its name; absent for a build that was only planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// How long it took, or is expected to take, in seconds.
    pub duration: f64,
    /// `built`, `failed`, `interrupted` or `planned`.
    pub end: &'static str,
    /// What went wrong, if it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The context.
    pub context: String,
    /// The Dockerfile.
    pub dockerfile: String,
    /// The stage, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The platform.
    pub platform: String,
    /// Kiln's name of the image, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The names that the image got.
    pub names: Vec<String>,
    /// The build that it is compared with as a whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared_with: Option<BuildRef>,
    /// The changes and circumstances that began it all, what cost most first.
    pub causes: Vec<CauseReport>,
    /// What else is worth knowing, in words.
    pub notes: Vec<String>,
    /// What the hits saved, in seconds.
    pub saved: f64,
    /// The steps of the longest chain that ran, by their places.
    pub critical_path: Vec<usize>,
    /// The length of that chain, in seconds.
    pub critical_seconds: f64,
    /// All steps.
    pub steps: Vec<StepReport>,
}

/// A build's name and time.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BuildRef {
    /// Its name.
    pub build: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
}

/// A root cause.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct CauseReport {
    /// `changed`, `removed`, or the kind of a miss that no change explains.
    pub kind: &'static str,
    /// The step that changed, by its place.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    /// What that step is or was called.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The steps that ran because of it, by their places.
    pub ran: Vec<usize>,
    /// The time of these, in seconds.
    pub seconds: f64,
}

/// One step.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepReport {
    /// Its place, from 0.
    pub step: usize,
    /// What people see: `[build 2/5] RUN make`.
    pub name: String,
    /// The stage's name, or its number.
    pub stage: String,
    /// Its platform: `linux/amd64`, or `linux/amd64->arm64` where it runs on one and its result depends on another that
    /// is built for; empty where it has none.
    pub platform: String,
    /// The instruction with all values expanded.
    pub instruction: String,
    /// First line in the Dockerfile, counted from 1; 0 for a trigger of a base image.
    pub line: u32,
    /// The file that the line is of, where that is an included one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The steps whose results it needs, by their places.
    pub inputs: Vec<usize>,
    /// How it ended.
    #[serde(flatten, serialize_with = "verdict::as_fields")]
    pub verdict: Verdict,
    /// The same in words.
    pub reason: String,
    /// How long it ran, in seconds.
    pub duration: f64,
    /// The digest of its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The layer that it made or found.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Why.
    pub why: WhyReport,
}

impl BuildReport {
    /// The report of a build that was made.
    pub fn new(build: &Build) -> Self {
        let steps: Vec<StepReport> =
            build.steps.iter().enumerate().map(|(index, step)| StepReport::new(index, step)).collect();
        let chain: Vec<(&[usize], f64)> =
            build.steps.iter().map(|step| (step.inputs.as_slice(), step.duration)).collect();
        let (critical_path, critical_seconds) = critical::path(&chain);
        BuildReport {
            build: Some(build.id.to_string()),
            started: seconds(build.started_nanos),
            duration: build.duration,
            end: build.end.word(),
            error: match &build.end {
                End::Failed(error) => Some(error.clone()),
                End::Built | End::Interrupted => None,
            },
            context: build.asked.context.clone(),
            dockerfile: build.asked.dockerfile.clone(),
            target: build.asked.target.clone(),
            platform: build.asked.platform.clone(),
            image: build.image.map(|image| image.to_string()),
            names: build.names.clone(),
            compared_with: build
                .before
                .as_ref()
                .map(|before| BuildRef { build: before.id.to_string(), started: seconds(before.started_nanos) }),
            causes: cause_reports(build),
            notes: notes(build),
            saved: build.steps.iter().filter_map(saved).fold(0.0, |sum, one| sum + one),
            critical_path,
            critical_seconds,
            steps,
        }
    }

    /// The report of a build that was only planned: it has no name yet.
    #[must_use]
    pub fn planned(self) -> Self {
        BuildReport { build: None, end: "planned", duration: self.critical_seconds, ..self }
    }
}

/// What a hit saved, in seconds.
fn saved(step: &BuildStep) -> Option<f64> {
    step.earlier.filter(|_| matches!(step.verdict, Verdict::Hit(_)))
}

fn seconds(nanos: i64) -> i64 {
    nanos.div_euclid(1_000_000_000)
}

fn cause_reports(build: &Build) -> Vec<CauseReport> {
    let all = causes::causes(build).into_iter().map(|cause| {
        let seconds = cause.seconds(build);
        let (kind, step, name) = match cause.root {
            CauseRoot::Step(step) => ("changed", Some(step), build.steps.get(step).map(|step| step.name.clone())),
            CauseRoot::Gone(name) => ("removed", None, Some(name)),
            CauseRoot::Circumstance(miss) => (miss.word(), None, None),
        };
        CauseReport { kind, step, name, ran: cause.ran, seconds }
    });
    all.collect()
}

/// What no step tells: changes of what was asked for that nothing depends on.
fn notes(build: &Build) -> Vec<String> {
    let Some(before) = &build.before else { return Vec::new() };
    let (old, new): (&Asked, &Asked) = (&before.asked, &build.asked);
    let mut notes = Vec::new();
    if before.stages_moved {
        notes.push("the stages stand in another order; no step depends on that".to_owned());
    }
    let labels: Vec<&str> = build.steps.iter().flat_map(|step| &step.why.changes).map(Change::label).collect();
    let mut names: Vec<&String> = old.build_args.iter().chain(&new.build_args).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    for name in names {
        let find = |asked: &Asked| asked.build_args.iter().find(|(other, _)| other == name).map(|(_, digest)| *digest);
        let (a, b) = (find(old), find(new));
        let is_told = labels.iter().any(|label| *label == format!("ARG {name}") || *label == format!("ENV {name}"));
        if a != b && !is_told {
            let how = Presence::of(a.as_ref(), b.as_ref()).word();
            notes.push(format!("--build-arg {name} {how}; no step depends on it"));
        }
    }
    let told_by_files = build.steps.iter().flat_map(|step| &step.why.changes).any(|change| match change {
        Change::Files { set, .. } => set.ignore_file.is_some(),
        _ => false,
    });
    if old.ignore != new.ignore && !told_by_files {
        let name = new.ignore.as_ref().or(old.ignore.as_ref()).map_or(".dockerignore", |(name, _)| name);
        notes.push(format!("{name} changed; no step reads anything else because of it"));
    }
    if old.target != new.target {
        let word = |target: &Option<String>| target.clone().unwrap_or_else(|| "the last stage".to_owned());
        notes.push(format!("the target was {}, is {}", word(&old.target), word(&new.target)));
    }
    if old.platform != new.platform {
        notes.push(format!("the platform was {}, is {}", old.platform, new.platform));
    }
    if old.labels != new.labels {
        notes.push("the labels given with --label changed; they are in the image only".to_owned());
    }
    if old.text != new.text && notes.is_empty() && causes::causes(build).is_empty() {
        notes.push("the Dockerfile changed in nothing that a step depends on".to_owned());
    }
    notes
}

impl StepReport {
    /// The report of the step in this place.
    pub fn new(index: usize, step: &BuildStep) -> Self {
        StepReport {
            step: index,
            name: step.name.clone(),
            stage: step.stage.clone(),
            platform: step.platform.clone(),
            instruction: step.instruction.clone(),
            line: step.line,
            file: step.file.clone(),
            inputs: step.inputs.clone(),
            verdict: step.verdict,
            reason: step.reason.clone(),
            duration: step.duration,
            key: step.key.map(|key| key.to_string()),
            layer: step.layer.map(|layer| layer.to_string()),
            why: WhyReport::new(&step.why, step.earlier),
        }
    }
}

/// A build in a list of builds.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct BuildRow {
    /// Its name.
    pub build: String,
    /// When it began, in seconds since 1970.
    pub started: i64,
    /// How long it took, in seconds.
    pub duration: f64,
    /// `built`, `failed` or `interrupted`.
    pub end: &'static str,
    /// How many steps hit.
    pub hits: usize,
    /// How many steps ran.
    pub ran: usize,
    /// The context.
    pub context: String,
    /// The Dockerfile.
    pub dockerfile: String,
    /// The stage, if one was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// The names that the image got.
    pub names: Vec<String>,
    /// What began it, in a few words: the change that cost most.
    pub cause: String,
}

/// What a row says of a build's steps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct BuildTotals {
    /// How many steps hit.
    pub hits: usize,
    /// How many steps ran.
    pub ran: usize,
    /// What began it, in a few words: the change that cost most.
    pub cause: String,
}

impl BuildTotals {
    /// Those of a build with its steps.
    pub fn new(build: &Build) -> Self {
        let all = cause_reports(build);
        let words = |cause: &CauseReport| match (&cause.name, cause.step.and_then(|step| build.steps.get(step))) {
            (_, Some(step)) => match step.why.changes.first() {
                Some(change) if change.label() != "the instruction" => change.words(),
                _ => step.name.clone(),
            },
            (Some(name), None) => format!("{name} removed"),
            (None, None) => cause.kind.to_owned(),
        };
        let cause = all.first().map_or_else(
            || NOTHING_CHANGED.to_owned(),
            |first| match all.len() - 1 {
                0 => words(first),
                1 => format!("{}; 1 other cause", words(first)),
                more => format!("{}; {more} other causes", words(first)),
            },
        );
        BuildTotals {
            hits: build.steps.iter().filter(|step| matches!(step.verdict, Verdict::Hit(_))).count(),
            ran: build.steps.iter().filter(|step| step.verdict.ran()).count(),
            cause,
        }
    }

    /// Those of a build of so many steps in which nothing had changed.
    pub fn unchanged(steps: usize) -> Self {
        BuildTotals { hits: steps, ran: 0, cause: NOTHING_CHANGED.to_owned() }
    }
}

impl BuildRow {
    /// The row of a build, whose steps are not asked for.
    pub fn new(build: &Build, totals: &BuildTotals) -> Self {
        BuildRow {
            build: build.id.to_string(),
            started: seconds(build.started_nanos),
            duration: build.duration,
            end: build.end.word(),
            hits: totals.hits,
            ran: totals.ran,
            context: build.asked.context.clone(),
            dockerfile: build.asked.dockerfile.clone(),
            target: build.asked.target.clone(),
            names: build.names.clone(),
            cause: totals.cause.clone(),
        }
    }
}

/// What is said of a build without a cause.
const NOTHING_CHANGED: &str = "nothing changed";

/// One component of a step's key.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct ComponentReport {
    /// What it is called.
    pub component: String,
    /// Its value, or what stands for it.
    pub value: String,
}

impl ComponentReport {
    /// The report of a component.
    pub fn new(component: &crate::key::Component) -> Self {
        use crate::key::Value;
        let value = match &component.value {
            Value::Text(text) => text.clone(),
            Value::Files { tree, count } => format!("{count} entries, {tree}"),
            Value::Layers(layers) => match layers.last() {
                Some(top) => format!("{} layers, the last {top}", layers.len()),
                None => "no layers".to_owned(),
            },
            Value::Stack(stack) => match stack.top() {
                Some(top) => format!("{} layers, the last {top}", stack.count()),
                None => "no layers".to_owned(),
            },
            Value::Hidden(_) => "(hidden)".to_owned(),
        };
        ComponentReport { component: component.label.clone(), value }
    }
}

/// One step with its whole key.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct StepDetail {
    /// The build.
    pub build: String,
    /// The step.
    #[serde(flatten)]
    pub step: StepReport,
    /// Its key, component by component.
    pub components: Vec<ComponentReport>,
    /// Whether the output of the execution is kept.
    pub has_log: bool,
}

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
    /// Why it ran although nothing that an earlier execution was seen to read is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unskipped: Option<UnskippedReport>,
    /// How long the earlier execution ran, in seconds: for a hit, what it saved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub earlier_duration: Option<f64>,
}

/// Why a step ran although nothing that an earlier execution was seen to read is another.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct UnskippedReport {
    /// `networked` (`--trace=all`, or a key that says `traced`, takes its result all the same) or `incomplete`.
    pub because: &'static str,
    /// In words.
    pub words: String,
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
            unskipped: why
                .unskipped
                .as_ref()
                .map(|unskipped| UnskippedReport { because: unskipped.word(), words: unskipped.words() }),
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

impl From<Made> for ComparedReport {
    fn from(made: Made) -> Self {
        ComparedReport {
            build: Some(made.build.to_string()),
            time: made.nanos.div_euclid(1_000_000_000),
            step: made.name,
            failed: false,
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
