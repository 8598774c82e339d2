//! The commands: each file has a command's arguments, what it does, and its tests.

mod build;
mod builds;
mod check;
mod completions;
mod convert;
mod diff;
mod explain;
mod format;
mod fsck;
mod graph;
mod history;
mod images;
mod import;
mod import_bake;
mod inspect;
mod log;
mod parse;
mod plan;
mod prune;
mod rmi;
mod run;
mod tag;
mod targets;
mod watch;

pub use graph::Language;

#[cfg(test)]
pub use build::docker_only;

use crate::exit::Exit;
use crate::failure::Failure;
use crate::session::Session;
use clap::Subcommand;

/// Why an output means nothing to a build; `None` where it means something.
pub fn output_error(text: &str) -> Option<String> {
    build::output::parse(text).err().map(|error| match error {
        crate::failure::UsageError::Value { reason, .. } => reason,
        crate::failure::UsageError::Unsupported { advice, .. } => advice,
        other => other.to_string(),
    })
}

/// What is to be done.
#[derive(Subcommand, Debug)]
pub enum Command {
    /// Build an image from a Dockerfile
    Build(Box<build::Args>),
    /// Check a Dockerfile for what is probably not meant
    Check(check::Args),
    /// Show the instructions of Dockerfiles as they are read
    Parse(parse::Args),
    /// Print a file of the extended language as one that Docker reads
    Convert(convert::Args),
    /// List what a project offers to build, with the comments above it
    Targets(targets::Args),
    /// Build, and build again whenever something has changed that the image is built from
    Watch(Box<watch::Args>),
    /// Say what a build would do, and run nothing
    Plan(Box<plan::Args>),
    /// Say why the steps of a build hit or missed
    Explain(explain::Args),
    /// Say what differs between two builds
    Diff(diff::Args),
    /// List the builds that the store remembers, the newest first
    Builds(builds::Args),
    /// Show again what a step wrote when it ran
    Log(log::Args),
    /// Draw the steps of a build with their verdicts
    Graph(graph::Args),
    /// Run a command in an image, in the sandbox of steps; what it changes is thrown away
    Run(run::Args),
    /// Open a shell in an image
    Shell(run::ShellArgs),
    /// Show the instructions that made an image, the newest first
    History(history::Args),
    /// List the images of the store, the newest first
    Images(images::Args),
    /// Show all that is known of images
    Inspect(inspect::Args),
    /// Make a base image from the archive of a root file system
    Import(import::Args),
    /// Make a kiln.ron of a docker bake file or of a compose file's builds
    ImportBake(import_bake::Args),
    /// Give an image another name
    Tag(tag::Args),
    /// Take names away from images
    Rmi(rmi::Args),
    /// Remove from the store what nothing needs
    Prune(prune::Args),
    /// Check everything in the store against its digests
    Fsck(fsck::Args),
    /// Print the completions of a shell
    Completions(completions::Args),
}

impl Command {
    /// Does it.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        if !matches!(
            self,
            Command::Completions(_)
                | Command::Check(_)
                | Command::Convert(_)
                | Command::Parse(_)
                | Command::Targets(_)
                | Command::ImportBake(_)
        ) {
            session.enter()?;
        }
        match self {
            Command::Build(args) => args.run(session),
            Command::Check(args) => args.run(session),
            Command::Parse(args) => args.run(session),
            Command::Convert(args) => args.run(session),
            Command::Targets(args) => args.run(session),
            Command::Watch(args) => args.run(session),
            Command::Plan(args) => args.run(session),
            Command::Explain(args) => args.run(session),
            Command::Diff(args) => args.run(session),
            Command::Builds(args) => args.run(session),
            Command::Log(args) => args.run(session),
            Command::Graph(args) => args.run(session),
            Command::Run(args) => args.run(session),
            Command::Shell(args) => args.run(session),
            Command::History(args) => args.run(session),
            Command::Images(args) => args.run(session),
            Command::Inspect(args) => args.run(session),
            Command::Import(args) => args.run(session),
            Command::ImportBake(args) => args.run(session),
            Command::Tag(args) => args.run(session),
            Command::Rmi(args) => args.run(session),
            Command::Prune(args) => args.run(session),
            Command::Fsck(args) => args.run(session),
            Command::Completions(args) => args.run(session),
        }
    }
}

/// The arguments of a typed `kiln build`, for tests of what they mean.
#[cfg(test)]
pub fn build_args(typed: impl IntoIterator<Item = std::ffi::OsString>) -> build::Args {
    use clap::Parser as _;
    match crate::app::Cli::parse_from(typed).into_command() {
        Command::Build(args) => *args,
        other => panic!("no build: {other:?}"),
    }
}
