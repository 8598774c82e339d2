//! One build: everything that decides it, and what comes of it.
//!
//! A request is complete: the engine reads no environment variable and no argument beside it.

use super::Output;
use crate::digest::{ImageKey, Sha256};
use crate::event::Counts;
use std::net::IpAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Everything that one build is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Request {
    /// Where COPY and ADD read.
    pub context: Context,
    /// More contexts, each with the name that FROM, COPY and mounts use, each name once.
    pub contexts: Vec<(String, NamedContext)>,
    /// The Dockerfile, relative to the working directory; `None` is the first in the context of `Dockerfile`, `dockerfile`,
    /// `Dockerfile.kiln` and `build.kiln`.
    pub dockerfile: Option<PathBuf>,
    /// What to build, all of it in one graph in which each step is there once; none is the last stage.
    pub targets: Vec<Target>,
    /// Build arguments, each name once; a bare name has its value from the environment already.
    pub build_args: Vec<(String, String)>,
    /// Labels that are added to the image's, each name once.
    pub labels: Vec<(String, String)>,
    /// Names for the image in the store, as typed; the engine checks and completes them. Only where one stage is built:
    /// of several each has its own, in [`Target::tags`].
    pub tags: Vec<String>,
    /// Where the results go beside the store, at most one of them to standard output. Where several stages are built, each
    /// has a directory of its own in a directory, and its own name in a layout; a file is then refused.
    pub outputs: Vec<Output>,
    /// No record is looked up; results are still recorded.
    pub no_cache: bool,
    /// Stages whose steps look no record up.
    pub no_cache_filter: Vec<String>,
    /// Fail, and do not run it, where a step of these stages misses; of any stage where none is named.
    pub fail_on_miss: Option<Vec<String>>,
    /// Run the commands of hits again and compare what they make.
    pub verify: bool,
    /// Which RUN steps may be skipped by what they were seen to depend on.
    pub trace: TraceMode,
    /// Fail where a step read a file that its stated key does not cover.
    pub strict: bool,
    /// How many steps may run at once; `None` is one for each core.
    pub jobs: Option<NonZeroUsize>,
    /// The network of RUN steps that do not name one themselves.
    pub network: NetworkMode,
    /// Ask the registry even where the store knows the name.
    pub pull: bool,
    /// The platforms to build for, as typed (`linux/arm64`); none is the host's. Several make an index of images.
    pub platforms: Vec<String>,
    /// What `RUN --mount=type=secret` may name, each id once.
    pub secrets: Vec<Secret>,
    /// What `RUN --mount=type=ssh` may name, each id once.
    pub ssh: Vec<Ssh>,
    /// What RUN steps may do beyond the usual, if they ask for it.
    pub allow: Vec<Entitlement>,
    /// Lines for `/etc/hosts` of RUN steps.
    pub add_hosts: Vec<HostEntry>,
    /// Size of `/dev/shm` in RUN steps, in bytes; `None` is 64 MiB.
    pub shm_size: Option<u64>,
    /// Seconds since 1970 that stand for every time in the image.
    pub source_date_epoch: Option<i64>,
    /// Compute the OCI image id even if nothing else needs it: it costs packing the layers once.
    pub want_image_id: bool,
    /// Where a RUN fails, open a shell on the terminal in its root before anything is removed.
    pub on_error_shell: bool,
    /// Whether a build in which nothing changed may be told from the record of the build that it equals. Without, each
    /// step is looked up by itself, which gives the same and takes longer.
    pub by_record: bool,
    /// How registries are reached.
    pub registry: crate::registry::Options,
    /// The store's directory; made if it is not there.
    pub store: PathBuf,
}

impl Request {
    /// A build of `context` with the store at `store` that asks for nothing else.
    pub fn new(context: Context, store: PathBuf) -> Self {
        Request {
            context,
            contexts: Vec::new(),
            dockerfile: None,
            targets: Vec::new(),
            build_args: Vec::new(),
            labels: Vec::new(),
            tags: Vec::new(),
            outputs: Vec::new(),
            no_cache: false,
            no_cache_filter: Vec::new(),
            fail_on_miss: None,
            verify: false,
            trace: TraceMode::default(),
            strict: false,
            jobs: None,
            network: NetworkMode::Default,
            pull: false,
            platforms: Vec::new(),
            secrets: Vec::new(),
            ssh: Vec::new(),
            allow: Vec::new(),
            add_hosts: Vec::new(),
            shm_size: None,
            source_date_epoch: None,
            want_image_id: false,
            on_error_shell: false,
            by_record: true,
            registry: crate::registry::Options::default(),
            store,
        }
    }
}

/// One thing that is to be built of a file.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// The stage; `None` is the last one.
    pub stage: Option<String>,
    /// What the result is called in what is told of it; `None` is the stage's name.
    pub name: Option<String>,
    /// Names for its image in the store, as typed.
    pub tags: Vec<String>,
    /// Labels for its image, each name once; they go before the request's.
    pub labels: Vec<(String, String)>,
    /// Where its result goes beside the store.
    pub outputs: Vec<Output>,
    /// The platforms to build it for, as typed; none is the request's.
    pub platforms: Vec<String>,
}

impl Target {
    /// The stage with this name and nothing else.
    pub fn stage(name: impl Into<String>) -> Self {
        Target { stage: Some(name.into()), ..Target::default() }
    }

    /// What its result is called, if it is more than the last stage.
    pub fn called(&self) -> Option<&str> {
        self.name.as_deref().or(self.stage.as_deref())
    }
}

/// Where COPY and ADD read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Context {
    /// A directory of the host, relative to the working directory.
    Directory(PathBuf),
    /// An archive on standard input, compressed or not, or a Dockerfile alone.
    Stdin,
    /// What a URL or the address of a git repository names: a repository, an archive, or a Dockerfile alone.
    Remote(String),
}

/// What the name of another context stands for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NamedContext {
    /// A directory of the host, relative to the working directory.
    Directory(PathBuf),
    /// What a URL or the address of a git repository names.
    Remote(String),
    /// An image, by its name, or by `oci-layout://` and a path.
    Image(String),
    /// A stage of the same Dockerfile.
    Stage(String),
}

/// What a step may do beyond the usual.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entitlement {
    /// `RUN --network=host`.
    NetworkHost,
    /// `RUN --security=insecure`.
    SecurityInsecure,
}

/// Which RUN steps may be skipped by what they were seen to depend on.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum TraceMode {
    /// Those that talked to no other machine.
    #[default]
    Auto,
    /// All of them.
    All,
    /// None: nothing is watched, and every RUN depends on its whole snapshot.
    Off,
}

/// The network of a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NetworkMode {
    /// The engine's choice: a network that reaches the outside.
    #[default]
    Default,
    /// The host's own.
    Host,
    /// Only loopback.
    None,
}

/// A secret and where its value is read when a step needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Secret {
    /// The name that a mount uses.
    pub id: String,
    /// Where the value is.
    pub source: SecretSource,
}

/// Where a secret's value is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// The content of a file, relative to the working directory.
    File(PathBuf),
    /// The value of a variable of kiln's own environment.
    Env(String),
}

/// An ssh agent that steps may be lent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ssh {
    /// The name that a mount uses; `default` where it names none.
    pub id: String,
    /// Who answers.
    pub source: SshSource,
}

/// Who signs for a step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SshSource {
    /// The agent behind this socket, relative to the working directory.
    Socket(PathBuf),
    /// These private keys, without passphrases; an `ssh-agent` of the build's own holds them.
    Keys(Vec<PathBuf>),
}

/// One name and its address.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostEntry {
    /// The host name.
    pub name: String,
    /// Its address.
    pub address: IpAddr,
}

/// What a build that succeeded gives.
#[derive(Clone, PartialEq, Debug)]
pub struct Outcome {
    /// What was built, in the order asked for; none where nothing but checks was asked for.
    pub results: Vec<Built>,
    /// How the steps ended.
    pub counts: Counts,
    /// Wall time in seconds.
    pub duration: f64,
}

impl Outcome {
    /// The result, where there is only one.
    pub fn only(&self) -> Option<&Built> {
        match self.results.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

/// One result of a build.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Built {
    /// What it is called: the target's name, or the stage's.
    pub name: String,
    /// The image, or the index of the images for several platforms.
    pub image: ImageKey,
    /// Its OCI id, or the digest of the index, where it was asked for or is known anyway.
    pub image_id: Option<Sha256>,
    /// The digest of its OCI manifest or index, where one was made.
    pub manifest: Option<Sha256>,
    /// The names it has now, completed (`docker.io/library/app:latest`).
    pub names: Vec<String>,
    /// The image of each platform.
    pub images: Vec<(String, ImageKey)>,
}
