//! `kiln build`: its arguments as typed, and the run from the request to the last line.
//!
//! What the arguments mean is [`request`]'s; how events look is the renderers'.

mod csv;
pub mod docker_only;
mod metadata;
pub mod output;
pub mod request;
mod secret;
mod selected;
pub mod words;

use super::check::Call;
use crate::environment;
use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::render::json::Json;
use crate::render::plain::Plain;
use crate::render::quiet::Quiet;
use crate::render::tty::TtySink;
use crate::render::{LineSink, Render};
use crate::session::Session;
use docker_only::DockerOnly;
use kiln_engine::api::{BuildError, Built, Outcome, Request};
use kiln_engine::event::{BuiltInfo, Counts, Event, Sink, Verdict};
pub use request::build_args;
use request::{Meaning, Mode};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Its arguments, as typed.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What COPY and ADD read: a directory, a URL or git repository, or `-` for a tar or a Dockerfile on standard input
    /// [default: .]; and the targets to build, by their names in kiln.ron or as stages of the Dockerfile. A name is a
    /// directory only where no target has it; write ./NAME for a directory that shares one
    #[arg(value_name = "CONTEXT|TARGET")]
    words: Vec<PathBuf>,
    /// The Dockerfile; `-` is standard input [default: CONTEXT/Dockerfile]
    #[arg(short, long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Another context for FROM, COPY --from and mounts: `NAME=DIRECTORY`, a URL, a git repository,
    /// docker-image://IMAGE, oci-layout://PATH or target:STAGE (repeatable)
    #[arg(long = "build-context", value_name = "NAME=WHERE")]
    build_contexts: Vec<String>,
    /// A name for the image in the store; where several stages are built, STAGE=NAME says for which (repeatable)
    #[arg(short, long = "tag", value_name = "[STAGE=]NAME[:TAG]")]
    tags: Vec<String>,
    /// The stage to build; several are built together, each step once (repeatable) [default: the last]
    #[arg(long = "target", value_name = "STAGE")]
    targets: Vec<String>,
    /// A build argument; a bare name takes the environment's value (repeatable)
    #[arg(long = "build-arg", value_name = "NAME[=VALUE]")]
    build_args: Vec<String>,
    /// A label for the image (repeatable)
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Where the result goes beside the store: `type=oci|docker|local|tar,dest=PATH`, a directory, or `-` for a tar
    /// on standard output (repeatable)
    #[arg(short, long = "output", value_name = "OUTPUT")]
    outputs: Vec<String>,
    /// Look up no earlier result
    #[arg(long)]
    no_cache: bool,
    /// Look up no earlier result in these stages
    #[arg(long, value_name = "STAGE")]
    no_cache_filter: Vec<String>,
    /// Fail where a step misses, before it runs, with an exit code of its own: in any stage, or in these
    #[arg(long, value_name = "STAGE", num_args = 0..=1, require_equals = true)]
    fail_on_miss: Option<Vec<String>>,
    /// Run the commands of hits again, and fail where one makes something else than before
    #[arg(long)]
    verify: bool,
    /// Which RUN steps may be skipped by what they were seen to depend on: auto (those that used no network), all or off
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = Trace::Auto)]
    trace: Trace,
    /// Fail where a step read a file that its `--key` does not cover, instead of warning
    #[arg(long)]
    strict: bool,
    /// Ask the registry even for images that the store knows
    #[arg(long)]
    pull: bool,
    /// The platforms to build for, with commas between them; several make an index of images (repeatable)
    /// [default: the host's]
    #[arg(long = "platform", value_name = "OS/ARCH", value_delimiter = ',')]
    platforms: Vec<String>,
    /// How many steps may run at once [default: KILN_JOBS, else one for each core]
    #[arg(short, long, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    /// The network of RUN steps: default, host or none
    #[arg(long, value_name = "MODE", default_value = "default")]
    network: String,
    /// A secret for `RUN --mount=type=secret`: `id=NAME,src=FILE` or `id=NAME,env=VARIABLE` (repeatable)
    #[arg(long = "secret", value_name = "SECRET")]
    secrets: Vec<String>,
    /// An ssh agent for `RUN --mount=type=ssh` and for git: `default`, or `ID=SOCKET`, or `ID=KEY[,KEY…]` (repeatable)
    #[arg(long = "ssh", value_name = "AGENT")]
    ssh: Vec<String>,
    /// What RUN steps may do beyond the usual if they ask for it: network.host, security.insecure (repeatable)
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',')]
    allow: Vec<String>,
    /// A line for /etc/hosts of RUN steps: `NAME:ADDRESS` (repeatable)
    #[arg(long = "add-host", value_name = "HOST")]
    add_hosts: Vec<String>,
    /// The size of /dev/shm in RUN steps [default: 64m]
    #[arg(long, value_name = "SIZE")]
    shm_size: Option<String>,
    /// What happens when a RUN fails: `shell` opens a shell on the terminal in its root, before anything is removed
    #[arg(long, value_name = "ACTION", value_parser = ["shell"])]
    on_error: Option<String>,
    /// How progress is shown [default: KILN_PROGRESS, else auto]
    #[arg(long, value_enum)]
    progress: Option<Progress>,
    /// Show no progress, print only the image id
    #[arg(short, long)]
    quiet: bool,
    /// Write the image id to a file, of several platforms the digest of their index; of several stages a line each, with
    /// two blanks and the name behind it
    #[arg(long, value_name = "FILE")]
    iidfile: Option<PathBuf>,
    /// Write what the build gave to a file, as JSON
    #[arg(long, value_name = "FILE")]
    metadata_file: Option<PathBuf>,
    /// Check the Dockerfile in place of building
    #[arg(long)]
    check: bool,
    /// What is done: build or check[,format=json|sarif]
    #[arg(long, value_name = "METHOD", default_value = "build", hide_default_value = true)]
    call: String,
    #[command(flatten)]
    docker_only: DockerOnly,
}

/// Which RUN steps are traced, as typed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trace {
    /// Those that used no network
    Auto,
    /// All of them
    All,
    /// None: every RUN depends on all that is below it
    Off,
}

/// How progress is shown, as typed.
#[derive(clap::ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// tty on a terminal, else plain
    Auto,
    /// Running steps with their last lines, on standard error
    Tty,
    /// Lines for pipes and logs, on standard error
    Plain,
    /// Each event as a JSON object on a line, on standard output
    #[value(alias = "rawjson")]
    Json,
    /// Nothing but a failed step's output; prints the image id
    Quiet,
}

impl Args {
    /// What is to be done with the Dockerfile.
    pub fn call(&self) -> Result<Call, UsageError> {
        Ok(match super::check::call(&self.call)? {
            Call::Build if self.check => Call::Check(super::check::Format::Text),
            call => call,
        })
    }

    /// Builds.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        if let Call::Check(format) = self.call()? {
            return super::check::check(&request::check(self, session)?, format, session);
        }
        let meaning = request::resolve(self, session)?;
        if let Some(path) = &meaning.iidfile {
            forget_file(path)?;
        }
        let outcome = build(&meaning, session)?;
        write_results(&meaning, &outcome, session)?;
        Ok(Exit::Success)
    }
}

/// What a script finds after a failed build must not be the id of an earlier one. Only a file is removed:
/// `/dev/null` and `/dev/stdout` stay what they are.
fn forget_file(path: &Path) -> Result<(), Failure> {
    if !std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file()) {
        return Ok(());
    }
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Failure::Write { to: path.display().to_string(), source: error })
        }
        _ => Ok(()),
    }
}

/// Builds all that is asked for, one graph after the other.
fn build(meaning: &Meaning, session: &Session<'_>) -> Result<Outcome, Failure> {
    let mut whole = build_one(meaning.mode, &meaning.request, session)?;
    for request in &meaning.rest {
        let Outcome { results, counts, duration } = build_one(meaning.mode, request, session)?;
        whole.results.extend(results);
        whole.counts = Counts {
            steps: whole.counts.steps + counts.steps,
            hits: whole.counts.hits + counts.hits,
            misses: whole.counts.misses + counts.misses,
            failed: whole.counts.failed + counts.failed,
            cancelled: whole.counts.cancelled + counts.cancelled,
        };
        whole.duration += duration;
    }
    Ok(whole)
}

/// Builds one graph under the renderer that the mode asks for.
fn build_one(mode: Mode, request: &Request, session: &Session<'_>) -> Result<Outcome, Failure> {
    match mode {
        Mode::Tty => {
            let colour = !session.environment.refuses_colour();
            engine_build(request, session, &TtySink::new(session.err.clone(), colour, session.measure))
        }
        Mode::Plain => in_lines(request, session, LineSink::new(Plain::default(), session.err.clone())).0,
        Mode::Quiet => in_lines(request, session, LineSink::new(Quiet::default(), session.err.clone())).0,
        Mode::Json => {
            let (result, written) = in_lines(request, session, LineSink::new(Json, session.out.clone()));
            match (result, written) {
                // Events are data: a build whose log has a hole is not a success, unless nobody wanted the rest.
                (Ok(_), Err(error)) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::stdout(error)),
                (result, _) => result,
            }
        }
    }
}

fn in_lines<R: Render>(
    request: &Request,
    session: &Session<'_>,
    sink: LineSink<R>,
) -> (Result<Outcome, Failure>, std::io::Result<()>) {
    (engine_build(request, session, &sink), sink.finish())
}

fn engine_build(request: &Request, session: &Session<'_>, sink: &dyn Sink) -> Result<Outcome, Failure> {
    let cancel = (session.catch_interrupts)().map_err(Failure::Signals)?;
    let sink = Closing::new(sink, Instant::now());
    let result = session.engine.build(request, &sink, &cancel);
    sink.close(&result);
    Ok(result?)
}

/// Makes sure that `build_finished` is the last event and comes once, also where the engine failed before it had a plan.
pub struct Closing<'a> {
    sink: &'a dyn Sink,
    began: Instant,
    is_closed: AtomicBool,
    /// How far a build that fails has come.
    counts: Mutex<Counts>,
}

impl Sink for Closing<'_> {
    fn emit(&self, event: Event) {
        let is_last = matches!(event, Event::BuildFinished { .. });
        let was_closed =
            if is_last { self.is_closed.swap(true, Ordering::SeqCst) } else { self.is_closed.load(Ordering::SeqCst) };
        if !was_closed {
            self.count(&event);
            self.sink.emit(event);
        }
    }
}

impl<'a> Closing<'a> {
    /// Passes on to `sink` the events of a build that began then.
    pub fn new(sink: &'a dyn Sink, began: Instant) -> Self {
        Closing { sink, began, is_closed: AtomicBool::new(false), counts: Mutex::default() }
    }

    fn count(&self, event: &Event) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::BuildStarted { steps, .. } => counts.steps = steps.len(),
            Event::StepFinished { verdict, .. } => match verdict {
                Verdict::Hit(_) => counts.hits += 1,
                Verdict::Miss(_) => counts.misses += 1,
                Verdict::Failed(_) => counts.failed += 1,
                Verdict::Cancelled => counts.cancelled += 1,
            },
            _ => {}
        }
    }

    /// Emits the last event, if that was not done.
    pub fn close(&self, result: &Result<Outcome, BuildError>) {
        let event = match result {
            Ok(outcome) => Event::BuildFinished {
                ok: true,
                image: outcome.only().map(|built| built.image.to_string()),
                image_id: outcome.only().and_then(|built| built.image_id).map(|id| id.to_string()),
                results: match outcome.results.as_slice() {
                    [_] => Vec::new(),
                    several => several.iter().map(info).collect(),
                },
                counts: outcome.counts,
                duration: outcome.duration,
                error: None,
            },
            Err(error) => Event::BuildFinished {
                ok: false,
                image: None,
                image_id: None,
                results: Vec::new(),
                counts: *self.counts.lock().unwrap_or_else(PoisonError::into_inner),
                duration: self.began.elapsed().as_secs_f64(),
                error: Some(error.to_string()),
            },
        };
        self.emit(event);
    }
}

fn info(built: &Built) -> BuiltInfo {
    BuiltInfo {
        name: built.name.clone(),
        image: built.image.to_string(),
        image_id: built.image_id.map(|id| id.to_string()),
    }
}

/// The ids of what was built: of one thing alone, of several a line each as `sha256sum` writes them.
fn ids(outcome: &Outcome) -> Option<String> {
    if let Some(built) = outcome.only() {
        return built.image_id.map(|id| id.to_string());
    }
    if outcome.results.is_empty() {
        return None;
    }
    let line = |built: &Built| Some(format!("{}  {}", built.image_id?, built.name));
    let lines: Vec<String> = outcome.results.iter().map(line).collect::<Option<_>>()?;
    Some(lines.join("\n"))
}

/// Writes what was asked for beside the image.
pub fn write_results(meaning: &Meaning, outcome: &Outcome, session: &Session<'_>) -> Result<(), Failure> {
    let id = ids(outcome);
    if let (Some(path), Some(id)) = (&meaning.iidfile, &id) {
        write_file(path, id.as_bytes())?;
    }
    if let Some(path) = &meaning.metadata_file {
        write_file(path, metadata::json(outcome).as_bytes())?;
    }
    if meaning.mode == Mode::Quiet
        && !meaning.request.outputs.iter().any(kiln_engine::api::Output::is_stdout)
        && let Some(id) = id
    {
        session.print(&format!("{id}\n"))?;
    }
    Ok(())
}

fn write_file(path: &Path, content: &[u8]) -> Result<(), Failure> {
    std::fs::write(path, content).map_err(|source| Failure::Write { to: path.display().to_string(), source })
}

/// The progress that a variable asks for.
fn progress_of(session: &Session<'_>) -> Result<Option<Progress>, UsageError> {
    let Some(value) = session.environment.text(environment::KILN_PROGRESS) else { return Ok(None) };
    <Progress as clap::ValueEnum>::from_str(&value, true).map(Some).map_err(|_| UsageError::Variable {
        name: environment::KILN_PROGRESS,
        value,
        reason: "it must be auto, tty, plain, json or quiet".into(),
    })
}

#[cfg(test)]
mod tests;
