//! Why the engine could not do what it was asked for.
//!
//! A message says what is wrong, [`BuildError::advice`] says the way out; how either is shown is
//! the command line's.

use super::Source;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::source::Sources;
use kiln_dsl::span::Span;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use thiserror::Error;

/// A place in a file that the reader can be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Place {
    /// The file as the reader knows it.
    pub file: String,
    /// Its whole text.
    pub text: Arc<str>,
    /// The part that is meant.
    pub span: Span,
    /// How the text came to be read, where it is not that of the file that was asked for: the INCLUDE or USE that named
    /// it, and so on, each with a word on it.
    pub trail: Vec<(String, Place)>,
}

impl Place {
    /// The line on which the place begins, counted from 1.
    pub fn line(&self) -> usize {
        let start = (self.span.start as usize).min(self.text.len());
        1 + self.text.as_bytes()[..start].iter().filter(|&&b| b == b'\n').count()
    }
}

/// How a step's command ended badly.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// With this status.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Exit::Code(code) => write!(f, "exit code {code}"),
            Exit::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal}, {name}"),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

/// The names of the signals that end a command in practice.
fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        _ => return None,
    })
}

/// Why a build gave no result.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The file cannot be built as it is written; at least one of the findings is an error.
    #[error("{} cannot be built", sources.name())]
    Diagnostics {
        /// The file with its text and what it includes, which the spans count in.
        sources: Box<Sources>,
        /// All findings, warnings included, in the order of the file.
        diagnostics: Vec<Diagnostic>,
    },
    /// The file says that no build check may find anything, and some do; their findings have left as events.
    #[error("{file}: lint violation found for rules: {}", rules.join(", "))]
    Violations {
        /// The file as the reader knows it.
        file: String,
        /// The checks that found something.
        rules: Vec<&'static str>,
    },
    /// The context is not there or is no directory.
    #[error("failed to read the context {}", path.display())]
    Context {
        /// As asked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The Dockerfile is not there or cannot be read.
    #[error("failed to read the Dockerfile {}", path.display())]
    Dockerfile {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `--target`, or another flag that takes a stage, names none.
    #[error("there is no stage {name:?} in {file}")]
    UnknownTarget {
        /// As asked for.
        name: String,
        /// The file as the reader knows it.
        file: String,
        /// The stages that have a name, in their order.
        stages: Vec<String>,
    },
    /// An image name that no registry could have.
    #[error("{name:?} is no image name: {reason}")]
    InvalidName {
        /// As asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A platform that kiln cannot build for.
    #[error("cannot build for platform {platform:?}: {reason}")]
    Platform {
        /// As asked for.
        platform: String,
        /// Why not.
        reason: String,
    },
    /// A step would have had to run, and was not to.
    #[error("{step} missed: {reason}")]
    Missed {
        /// The step as it was announced.
        step: String,
        /// The instruction, where a line states one.
        place: Option<Box<Place>>,
        /// Why it missed.
        reason: String,
    },
    /// Commands gave another output than before under the same key.
    #[error("not deterministic: {}", steps.join("; "))]
    NotDeterministic {
        /// Each step with the first path that differs.
        steps: Vec<String>,
    },
    /// A step's command ended badly; its output has left as events.
    #[error("{step} failed: {exit}")]
    StepFailed {
        /// The step as it was announced: `[build 2/5] RUN make`.
        step: String,
        /// The instruction, where a line states one.
        place: Option<Box<Place>>,
        /// How the command ended.
        exit: Exit,
    },
    /// COPY or ADD names something that is not there.
    #[error("{step} failed: {path} is not in {root}")]
    MissingSource {
        /// The step as it was announced.
        step: String,
        /// The word that names it.
        place: Option<Box<Place>>,
        /// The source as expanded.
        path: String,
        /// Where it was looked for: `the context`, `stage "build"`, `image busybox`.
        root: String,
        /// The ignore file and its pattern that hide it, if it is there but excluded.
        excluded: Option<Box<(String, String)>>,
        /// A path that is there and looks like it.
        similar: Option<String>,
    },
    /// Stages that are merged changed the same paths differently.
    #[error("{step} failed: {conflicts}")]
    MergeConflict {
        /// The step as it was announced.
        step: String,
        /// The instruction, where a line states one.
        place: Option<Box<Place>>,
        /// The paths, each with the two stages.
        conflicts: String,
    },
    /// A step needs a secret that was not given.
    #[error("{step} needs the secret {id:?}, which was not given")]
    MissingSecret {
        /// The step as it was announced.
        step: String,
        /// The mount that names it.
        place: Option<Box<Place>>,
        /// The secret's name.
        id: String,
    },
    /// A step needs an ssh agent that was not given.
    #[error("{step} needs the ssh agent {id:?}, which was not given")]
    MissingAgent {
        /// The step as it was announced.
        step: String,
        /// The mount that names it.
        place: Option<Box<Place>>,
        /// The agent's name.
        id: String,
    },
    /// A step could not be run or its result not be kept, for a reason outside its command.
    #[error("{step} could not be run")]
    Step {
        /// The step as it was announced.
        step: String,
        /// The instruction, where a line states one.
        place: Option<Box<Place>>,
        /// What the module that ran it says.
        source: Source,
    },
    /// What a step reads from elsewhere could not be had.
    #[error("{step} failed")]
    Fetch {
        /// The step as it was announced.
        step: String,
        /// The word that names it.
        place: Option<Box<Place>>,
        /// What the module that fetches says.
        source: Source,
    },
    /// A part of the key that the file states for a step could not be evaluated.
    #[error("the key of {step} could not be evaluated")]
    Key {
        /// The step as it was announced.
        step: String,
        /// The part of the key.
        place: Option<Box<Place>>,
        /// The part, and what is wrong with it.
        source: Source,
        /// The way out, if one is known.
        advice: Option<String>,
    },
    /// A step read files that its stated key does not cover, and the build is a strict one.
    #[error("{step} read {paths}, which its key does not cover")]
    Uncovered {
        /// The step as it was announced.
        step: String,
        /// The key.
        place: Option<Box<Place>>,
        /// The files, in words.
        paths: String,
    },
    /// An image could not be had from its registry.
    #[error("failed to pull {image}")]
    Pull {
        /// The completed name.
        image: String,
        /// The FROM that names it.
        place: Option<Box<Place>>,
        /// A stage of the file that is called nearly so.
        near: Option<String>,
        /// What the registry's side says.
        source: Source,
    },
    /// An output could not be written.
    #[error("failed to write the output {dest}")]
    Export {
        /// As asked for.
        dest: String,
        /// What the writer says.
        source: Source,
    },
    /// The store could not be used.
    #[error("failed to use the store {}", path.display())]
    Store {
        /// Its directory.
        path: PathBuf,
        /// What the store says.
        source: Source,
    },
    /// Two things that were asked for exclude each other.
    #[error("{what}")]
    Conflict {
        /// What they are.
        what: String,
        /// What to do in its place.
        advice: String,
    },
    /// Something that kiln cannot do yet.
    #[error("{what} is not supported yet")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Where it was asked for, if in a file.
        place: Option<Box<Place>>,
        /// What to do in its place.
        advice: Option<String>,
    },
    /// The build was stopped from outside; nothing half-made stays.
    #[error("the build was interrupted")]
    Cancelled,
}

impl BuildError {
    /// The way out, if one is known.
    pub fn advice(&self) -> Option<String> {
        match self {
            BuildError::Context { source, .. } if source.kind() == io::ErrorKind::NotADirectory => {
                Some("the context must be a directory".into())
            }
            BuildError::Violations { .. } => {
                Some("mend the findings above, or take error=true out of the # check= line".into())
            }
            BuildError::Dockerfile { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("name another file with -f/--file".into())
            }
            BuildError::UnknownTarget { stages, .. } if stages.is_empty() => {
                Some("no stage of the file has a name: leave it out, or write FROM … AS NAME".into())
            }
            BuildError::UnknownTarget { stages, .. } => Some(format!("the stages are {}", stages.join(", "))),
            BuildError::Missed { .. } => Some("kiln explain says what changed".into()),
            BuildError::NotDeterministic { .. } => {
                Some("kiln explain shows the paths; the earlier results stay the ones that are used, but for those that a trace gave".into())
            }
            BuildError::StepFailed { exit: Exit::Code(126), .. } => {
                Some("126 means that the file was found and cannot be executed: see its mode and its first line".into())
            }
            BuildError::StepFailed { exit: Exit::Code(127), .. } => {
                Some("127 means that a command was not found in the image".into())
            }
            BuildError::StepFailed { exit: Exit::Signal(9), .. } => {
                Some("SIGKILL often means that memory ran out".into())
            }
            BuildError::MissingAgent { id, .. } => {
                Some(format!("give it with --ssh {id}, or as a key with --ssh {id}=FILE"))
            }
            BuildError::MissingSource { excluded: Some(rule), .. } => {
                let (file, pattern) = rule.as_ref();
                Some(format!("it is there, but {file} excludes it with the pattern {pattern:?}"))
            }
            BuildError::MissingSource { similar: Some(similar), .. } => Some(format!("did you mean {similar}?")),
            BuildError::MergeConflict { .. } => Some(
                "change the path in one of the two only, or write ON CONFLICT LAST behind the FROM to take what the \
                 later one has"
                    .into(),
            ),
            BuildError::MissingSecret { id, .. } => {
                Some(format!("give it with --secret id={id},src=FILE or --secret id={id},env=NAME"))
            }
            BuildError::Uncovered { .. } => {
                Some("name them in the key with files(…), or build without --strict if they do not matter".into())
            }
            BuildError::Conflict { advice, .. } => Some(advice.clone()),
            BuildError::Unsupported { advice, .. } | BuildError::Key { advice, .. } => advice.clone(),
            BuildError::Pull { near: Some(near), .. } => Some(format!("it is no stage of the file; did you mean {near}?")),
            BuildError::Pull { source, .. } => match source.downcast_ref::<crate::build::OtherPlatform>() {
                Some(other) => Some(other.advice()),
                None => source.downcast_ref::<crate::registry::Error>()?.advice(),
            },
            BuildError::Fetch { source, .. } => source.downcast_ref::<crate::source::SourceError>()?.advice(),
            _ => None,
        }
    }

    /// A stable name of its kind, as diagnostics have one.
    pub fn code(&self) -> &'static str {
        match self {
            BuildError::Diagnostics { .. } => "Diagnostics",
            BuildError::Violations { .. } => "Violations",
            BuildError::Context { .. } => "Context",
            BuildError::Dockerfile { .. } => "Dockerfile",
            BuildError::UnknownTarget { .. } => "UnknownTarget",
            BuildError::InvalidName { .. } => "InvalidName",
            BuildError::Platform { .. } => "Platform",
            BuildError::Missed { .. } => "Missed",
            BuildError::NotDeterministic { .. } => "NotDeterministic",
            BuildError::StepFailed { .. } => "StepFailed",
            BuildError::MissingSource { .. } => "MissingSource",
            BuildError::MergeConflict { .. } => "MergeConflict",
            BuildError::MissingSecret { .. } => "MissingSecret",
            BuildError::MissingAgent { .. } => "MissingAgent",
            BuildError::Step { .. } => "Step",
            BuildError::Fetch { .. } => "Fetch",
            BuildError::Key { .. } => "Key",
            BuildError::Uncovered { .. } => "Uncovered",
            BuildError::Pull { .. } => "Pull",
            BuildError::Export { .. } => "Export",
            BuildError::Store { .. } => "Store",
            BuildError::Conflict { .. } => "Conflict",
            BuildError::Unsupported { .. } => "Unsupported",
            BuildError::Cancelled => "Cancelled",
        }
    }

    /// The place in a file that it is about, if there is one.
    pub fn place(&self) -> Option<&Place> {
        match self {
            BuildError::StepFailed { place, .. }
            | BuildError::Missed { place, .. }
            | BuildError::MissingSource { place, .. }
            | BuildError::MergeConflict { place, .. }
            | BuildError::MissingSecret { place, .. }
            | BuildError::MissingAgent { place, .. }
            | BuildError::Step { place, .. }
            | BuildError::Fetch { place, .. }
            | BuildError::Key { place, .. }
            | BuildError::Uncovered { place, .. }
            | BuildError::Pull { place, .. }
            | BuildError::Unsupported { place, .. } => place.as_deref(),
            _ => None,
        }
    }
}

/// Why a command on images or the store failed.
#[derive(Debug, Error)]
pub enum ManageError {
    /// The store knows no such image.
    #[error("there is no image {name:?} in the store")]
    UnknownImage {
        /// As asked for.
        name: String,
        /// A name that is there and looks like it.
        similar: Option<String>,
    },
    /// A name stands for images of several platforms, and none of them is this machine's.
    #[error("{name} is there for {}, and not for this machine", platforms.join(", "))]
    OtherPlatforms {
        /// As asked for.
        name: String,
        /// The platforms that there are.
        platforms: Vec<String>,
        /// The images of these platforms, by their ids.
        images: Vec<String>,
    },
    /// An image belongs to a name that stands for several platforms.
    #[error("{image} belongs to {names}, which is for several platforms")]
    InIndex {
        /// As asked for.
        image: String,
        /// The names.
        names: String,
    },
    /// A shortened id fits several images.
    #[error("{name:?} fits several images")]
    AmbiguousImage {
        /// As asked for.
        name: String,
        /// All that it fits, as full ids.
        fits: Vec<String>,
    },
    /// An image name that no registry could have.
    #[error("{name:?} is no image name: {reason}")]
    InvalidName {
        /// As asked for.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An image could not be run.
    #[error("failed to run {image}")]
    Run {
        /// As asked for.
        image: String,
        /// Why not.
        source: Source,
    },
    /// The store remembers no such build, or none at all.
    #[error("{}", match name { Some(name) => format!("there is no build {name:?} in the store"), None => "the store remembers no build".to_owned() })]
    UnknownBuild {
        /// As asked for; none was asked for by name where it is absent.
        name: Option<String>,
    },
    /// A build has no such step.
    #[error("build {build} has no step {name:?}")]
    UnknownStep {
        /// The build.
        build: String,
        /// As asked for.
        name: String,
        /// Its steps by name.
        steps: Vec<String>,
    },
    /// A step left no files that are known: it began nothing of its own.
    #[error("{step} has no files of its own")]
    NoFiles {
        /// What it is called.
        step: String,
    },
    /// A word fits several steps.
    #[error("{name:?} fits several steps of build {build}")]
    AmbiguousStep {
        /// The build.
        build: String,
        /// As asked for.
        name: String,
        /// All that it fits, by name.
        fits: Vec<String>,
    },
    /// No output of a step is kept.
    #[error("no output of {step} is kept")]
    NoLog {
        /// The step by name.
        step: String,
    },
    /// A root file system could not be imported.
    #[error("failed to import {from}")]
    Import {
        /// The file, or `standard input`.
        from: String,
        /// What the reader says.
        source: Source,
    },
    /// The store could not be used.
    #[error("failed to use the store {}", path.display())]
    Store {
        /// Its directory.
        path: PathBuf,
        /// What the store says.
        source: Source,
    },
}

impl ManageError {
    /// The way out, if one is known.
    pub fn advice(&self) -> Option<String> {
        match self {
            ManageError::UnknownImage { similar: Some(similar), .. } => Some(format!("did you mean {similar}?")),
            ManageError::UnknownImage { similar: None, .. } => Some("kiln images lists what is there".into()),
            ManageError::OtherPlatforms { images, .. } => Some(format!("name one by its id: {}", images.join(", "))),
            ManageError::InIndex { names, .. } => Some(format!("kiln rmi {names} takes all of them away")),
            ManageError::UnknownBuild { name: Some(_) } => Some("kiln builds lists what is there".into()),
            ManageError::UnknownBuild { name: None } => Some("run kiln build first".into()),
            ManageError::UnknownStep { steps, .. } => Some(format!("its steps are: {}", steps.join("; "))),
            ManageError::AmbiguousStep { fits, .. } => {
                Some(format!("write more of it, or its number in the build: {}", fits.join("; ")))
            }
            ManageError::NoLog { .. } => Some("only RUN steps that wrote something have one".into()),
            ManageError::AmbiguousImage { fits, .. } => Some(format!("write more of it: {}", fits.join(", "))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_its_line_and_survives_a_span_beyond_the_text() {
        let place = |start| Place {
            file: "Dockerfile".into(),
            text: "FROM a\nRUN b\n".into(),
            span: Span::new(start, start),
            trail: Vec::new(),
        };
        assert_eq!(place(0).line(), 1);
        assert_eq!(place(7).line(), 2);
        assert_eq!(place(900).line(), 3);
    }

    #[test]
    fn a_missing_source_says_which_pattern_hides_it() {
        let error = BuildError::MissingSource {
            step: "[2/2] COPY dist /".into(),
            place: None,
            path: "dist".into(),
            root: "the context".into(),
            excluded: Some(Box::new((".dockerignore".into(), "di*".into()))),
            similar: Some("dist2".into()),
        };
        assert_eq!(error.to_string(), "[2/2] COPY dist / failed: dist is not in the context");
        assert_eq!(error.advice().unwrap(), "it is there, but .dockerignore excludes it with the pattern \"di*\"");
    }

    #[test]
    fn an_exit_names_its_signal() {
        assert_eq!(Exit::Signal(9).to_string(), "signal 9, SIGKILL");
        assert_eq!(Exit::Signal(64).to_string(), "signal 64");
        assert_eq!(Exit::Code(2).to_string(), "exit code 2");
    }
}
