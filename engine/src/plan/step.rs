//! What a plan is made of: steps with every value expanded.
//!
//! Plain data. A step says what it does and on which nodes it stands; nothing here does it.

use crate::copy::select::Matching;
use crate::digest::{ImageKey, LayerId};
use crate::graph::{Graph, NodeId};
use crate::image::config::ImageConfig;
use crate::key::declared::Declared;
use crate::source::Source;
use kiln_dsl::chmod::Mode;
use kiln_dsl::mount::Mount;
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;

/// Everything that has to happen, and what comes of it.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The steps.
    pub graph: Graph<Step>,
    /// All instructions that the results need, in the order in which they are shown.
    pub shown: Vec<Shown>,
    /// What is wanted, in the order asked for: the targets of each [`Wanted`](super::Wanted) in their order.
    pub results: Vec<Target>,
    /// What leaves the build as files, in the order of the instructions.
    pub exports: Vec<Export>,
    /// Whether it is for several platforms, or was asked to look so.
    pub is_multi: bool,
}

impl Plan {
    /// The platforms of the results, each once, in the order of the results.
    pub fn platforms(&self) -> Vec<&Platform> {
        let mut all: Vec<&Platform> = Vec::new();
        for result in &self.results {
            if !all.contains(&&result.built_for) {
                all.push(&result.built_for);
            }
        }
        all
    }

    /// The instructions that only change the configuration, by the one before them in their stage.
    pub fn followers(&self) -> Vec<Vec<usize>> {
        let mut all = vec![Vec::new(); self.shown.len()];
        for (index, shown) in self.shown.iter().enumerate().filter(|(_, one)| one.node.is_none() && !one.begins) {
            if let Some(before) = shown.previous {
                all[before].push(index);
            }
        }
        all
    }
}

/// An instruction as it is shown.
#[derive(Clone, Debug)]
pub struct Shown {
    /// `[build 2/5] RUN make`
    pub name: String,
    /// The stage's name, or its number.
    pub stage: String,
    /// The instruction with its values expanded; those of arguments whose names speak of secrets are told by the name.
    pub instruction: String,
    /// First line in the Dockerfile, from 1; 0 for a trigger of a base image.
    pub line: u32,
    /// Where it stands.
    pub span: Span,
    /// The step that carries it out; `None` where it only changes the configuration.
    pub node: Option<NodeId>,
    /// Its platform: `linux/amd64`, or `linux/amd64->arm64` where it runs on one and its result depends on another that
    /// is built for.
    pub lane: String,
    /// The instruction before it: in its stage, or for a FROM the last one of the stage that it continues.
    pub previous: Option<usize>,
    /// Whether it begins a stage.
    pub begins: bool,
}

/// What a stage comes to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The stage's name, or `stage-` and its number.
    pub stage: String,
    /// The platform that was asked for; a stage may have another one of its own.
    pub built_for: Platform,
    /// The last step of the stage; `None` where the stage has no layer at all.
    pub node: Option<NodeId>,
    /// The configuration; `history` holds the entries of all instructions, the times of those of
    /// this build still missing, and `rootfs.diff_ids` those of the base image.
    pub config: ImageConfig,
    /// For each entry of `config.history` behind the base image's: the step that makes its layer.
    pub made_by: Vec<Option<NodeId>>,
    /// The base image, if it is not another stage's or scratch.
    pub base: Option<Base>,
    /// The stage's platform.
    pub platform: Platform,
}

/// EXPORT: files of a stage that are written into the project.
#[derive(Clone, PartialEq, Debug)]
pub struct Export {
    /// The step whose snapshot they are in; `None` is an empty one.
    pub node: Option<NodeId>,
    /// Absolute path in it.
    pub path: String,
    /// The directory of the project, clean and relative; empty is the project itself.
    pub directory: String,
    /// Where it stands.
    pub span: Span,
}

/// Where a chain of steps begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Base {
    /// Nothing: `FROM scratch`.
    Scratch,
    /// An image that the store has.
    Image {
        /// The image.
        key: ImageKey,
        /// Its name for people.
        name: String,
    },
    /// The host's own files: `FROM kiln/host`.
    Host,
}

/// One node of the graph.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it does.
    pub kind: StepKind,
    /// The step whose snapshot it works on; `None` works on an empty one.
    pub parent: Option<NodeId>,
    /// Its place in [`Plan::shown`].
    pub shown: usize,
    /// The stage's name, or its number.
    pub stage: String,
    /// Its number in its stage, from 1.
    pub ordinal: usize,
}

/// What a step does.
#[derive(Clone, PartialEq, Debug)]
pub enum StepKind {
    /// Takes a base.
    Base(Base),
    /// Lays what is read from elsewhere over the parent.
    Source(SourceStep),
    /// Copies files: COPY and ADD.
    Copy(Box<CopyStep>),
    /// Runs a command.
    Run(Box<RunStep>),
    /// Makes a directory: WORKDIR.
    Workdir(WorkdirStep),
    /// Lays the layers of several stages on one another.
    Merge(MergeStep),
}

/// A directory of the host that a build reads: its place among them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ContextId(pub usize);

/// What is read from elsewhere.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SourceStep {
    /// A URL or a repository.
    Remote(Source),
    /// Something that the store has already.
    Layer(LayerId),
}

/// Where COPY, ADD or a mount reads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Origin {
    /// A directory of the host: the build context, or a named one.
    Context(ContextId),
    /// The snapshot of a step: the last one of another stage, or an image.
    Step {
        /// The step; `None` is an empty stage.
        node: Option<NodeId>,
        /// For people: `stage "build"`, `image busybox`.
        name: String,
    },
}

impl Origin {
    /// The step that has to be done before.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Origin::Context(_) => None,
            Origin::Step { node, .. } => *node,
        }
    }
}

/// COPY or ADD.
#[derive(Clone, PartialEq, Debug)]
pub struct CopyStep {
    /// Where the sources are.
    pub origin: Origin,
    /// Paths or patterns inside the origin, expanded, with the place of each.
    pub sources: Vec<(String, Span)>,
    /// Files whose content stands in the Dockerfile: name and content.
    pub inline: Vec<(String, String)>,
    /// Absolute path; a trailing slash says that it is a directory.
    pub destination: String,
    /// `--chown`, expanded.
    pub chown: Option<String>,
    /// `--chmod`, parsed.
    pub chmod: Option<Mode>,
    /// `--link`: the layer does not depend on what is below it.
    pub link: bool,
    /// `--exclude` patterns.
    pub excludes: Vec<String>,
    /// Whether local archives are unpacked: ADD.
    pub unpack: bool,
    /// How the sources are compared with what is there.
    pub matching: Matching,
}

/// RUN.
#[derive(Clone, PartialEq, Debug)]
pub struct RunStep {
    /// The argument vector.
    pub argv: Vec<String>,
    /// The environment in its order, arguments in scope included.
    pub env: Vec<(String, String)>,
    /// The names in `env` that an ARG declared.
    pub args: Vec<String>,
    /// Proxy settings: seen by the command, no part of the key.
    pub proxies: Vec<(String, String)>,
    /// The working directory.
    pub workdir: String,
    /// The user as written, perhaps empty.
    pub user: String,
    /// Mounts, targets absolute, with the origin of those that read one and the place in the file.
    pub mounts: Vec<RunMount>,
    /// A script that the command names: file name below `/dev/pipes` and content.
    pub script: Option<(String, String)>,
    /// Whether the command has no network.
    pub offline: bool,
    /// Whether it runs without the sandbox's limits.
    pub insecure: bool,
    /// The host name that it sees, where the build asks for one.
    pub hostname: Option<String>,
    /// What its programs are made for: the stage's platform.
    pub platform: Platform,
    /// The shell that commands are given to.
    pub shell: Vec<String>,
    /// What its key is made of, where that is stated.
    pub key: Option<Box<Declared>>,
}

/// A mount of a RUN.
#[derive(Clone, PartialEq, Debug)]
pub struct RunMount {
    /// As written, expanded.
    pub mount: Mount,
    /// Absolute path.
    pub target: String,
    /// What a bind mount, or the seed of a cache mount, reads.
    pub origin: Option<Origin>,
    /// Where it stands.
    pub span: Span,
}

/// WORKDIR.
#[derive(Clone, PartialEq, Debug)]
pub struct WorkdirStep {
    /// Absolute path.
    pub path: String,
    /// Whose it becomes where it is made, as written, perhaps empty.
    pub user: String,
}

/// `FROM a + b + c`. The step's parent is the last step of the first stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergeStep {
    /// The first stage's name.
    pub first: String,
    /// The steps that made its layers above its base.
    pub own: Vec<NodeId>,
    /// What is laid on it.
    pub parts: Vec<MergePart>,
    /// Whether the last one wins where two changed a path differently.
    pub last_wins: bool,
}

/// A stage that is laid on others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MergePart {
    /// The stage's name.
    pub name: String,
    /// The steps of its layers that are below already.
    pub known: Vec<NodeId>,
    /// The steps of its other layers, the bottom one first.
    pub added: Vec<NodeId>,
    /// Whether it stands on the first stage's base, and not on nothing.
    pub on_base: bool,
}
