//! `kiln watch`: builds, and builds again whenever something has changed that the image is built from.
//!
//! The loop is the engine's; here is what it is told and how it is shown.

mod container;
mod exec;

use super::build::request::{self, Meaning, Mode};
use super::build::{self, Closing};
use super::check::Call;
use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::project;
use crate::render::LineSink;
use crate::render::block::Block;
use crate::render::json::Json;
use crate::render::plain::Plain;
use crate::render::quiet::Quiet;
use crate::render::tty::TtySink;
use crate::report;
use crate::session::Session;
use crate::text::{clean, quantity};
use kiln_engine::api::{BuildError, Built, Context, Outcome, Request, Target};
use kiln_engine::container::{RunRequest, Runner};
use kiln_engine::event::{Event, Sink};
use kiln_engine::watch::{Driver, Ended, Options};
use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Its arguments.
#[derive(clap::Args, Clone, Debug)]
#[group(skip)]
pub struct Args {
    #[command(flatten)]
    build: build::Args,
    /// Run a command of the host after each good build, with KILN_IMAGE and KILN_CHANGED set; the next build ends it
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Run the image's command, or the one after --, after each good build, on the host's network; the next build
    /// restarts it
    #[arg(long)]
    run: bool,
    /// How long the command of --run has to end after SIGTERM [default: 10s]
    #[arg(long, value_name = "DURATION", requires = "run")]
    stop_timeout: Option<String>,
    /// How long nothing has to change before what changed is built [default: 30ms]
    #[arg(long, value_name = "DURATION")]
    debounce: Option<String>,
    /// Look for changes so often, where the file system does not tell of them
    #[arg(long, value_name = "DURATION", num_args = 0..=1, default_missing_value = "1s", require_equals = true)]
    poll: Option<String>,
    /// End after the first rebuild, with its result
    #[arg(long)]
    once: bool,
    /// Print each event as a JSON object on a line, as --progress json does
    #[arg(long)]
    json: bool,
    /// What --run runs in place of the image's CMD
    #[arg(last = true, requires = "run", value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    /// Watches until Ctrl-C.
    pub fn run(mut self, session: &Session<'_>) -> Result<Exit, Failure> {
        let meaning = self.meaning(session)?;
        // Of several targets those that say how they are watched say it, the first one before the others.
        for target in &meaning.targets {
            self.settings(&target.watch);
        }
        let runs = meaning.targets.iter().position(|target| target.watch.run == Some(true)).unwrap_or_default();
        let options = self.options()?;
        let stop_timeout = match &self.stop_timeout {
            Some(text) => duration("--stop-timeout", text)?,
            None => STOP_TIMEOUT,
        };
        if self.build.call()? != Call::Build {
            let reason = "watching is building";
            let (first, second) = ("kiln watch".to_owned(), "--check or --call".to_owned());
            return Err(UsageError::Conflict { first, second, reason }.into());
        }
        if meaning.request.dockerfile.as_deref() == Some(Path::new("/dev/stdin")) {
            let reason = "standard input cannot be watched";
            return Err(UsageError::value("-f/--file", "-", reason).into());
        }
        let cancel = (session.catch_interrupts)().map_err(Failure::Signals)?;
        let watching = Watching {
            args: &self,
            session,
            meaning: RefCell::new(meaning),
            first: Cell::new(true),
            sink: RefCell::new(None),
            command: RefCell::new(exec::Command::default()),
            container: RefCell::new(container::Container::default()),
            runs,
            stop_timeout,
            changed: RefCell::new(Vec::new()),
        };
        let result = session.engine.watch(&watching, &options, &cancel);
        let mut command = watching.command.borrow_mut();
        match self.once && result.is_ok() && !cancel.is_cancelled() {
            true => watching.container.borrow_mut().wait(),
            false => watching.container.borrow_mut().stop(stop_timeout),
        }
        if self.once && result.is_ok() && !cancel.is_cancelled() {
            return Ok(if command.wait() { Exit::Success } else { Exit::Failure });
        }
        command.stop();
        match result {
            // Ctrl-C is how watching ends.
            Ok(()) => Ok(Exit::Success),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes what the project file says of how its target is watched; flags go before it.
    fn settings(&mut self, watch: &project::Watch) {
        self.run |= watch.run.unwrap_or(false);
        self.exec = self.exec.take().or_else(|| watch.exec.clone());
        self.debounce = self.debounce.take().or_else(|| watch.debounce.clone());
    }

    fn options(&self) -> Result<Options, UsageError> {
        let mut options = Options { once: self.once, ..Options::default() };
        if let Some(text) = &self.debounce {
            options.debounce = duration("--debounce", text)?;
        }
        options.poll = self.poll.as_deref().map(|text| duration("--poll", text)).transpose()?;
        Ok(options)
    }

    /// What the arguments mean now: the project file may have changed.
    fn meaning(&self, session: &Session<'_>) -> Result<Meaning, UsageError> {
        let mut meaning = request::resolve(self.build.clone(), session)?;
        if !meaning.rest.is_empty() {
            let commands = meaning.commands("watch", &self.build);
            return Err(UsageError::Several { what: "one build is watched at a time".to_owned(), commands });
        }
        if !matches!(meaning.request.context, Context::Directory(_)) {
            let what = "watching a context that is no directory".to_owned();
            return Err(UsageError::Unsupported { what, advice: "clone or unpack it, and watch the directory".into() });
        }
        if self.json {
            meaning.mode = Mode::Json;
        }
        Ok(meaning)
    }
}

fn duration(flag: &'static str, text: &str) -> Result<Duration, UsageError> {
    quantity::parse_short_duration(text).map_err(|error| UsageError::value(flag, text, error.to_string()))
}

/// One run of the command.
struct Watching<'a> {
    args: &'a Args,
    session: &'a Session<'a>,
    meaning: RefCell<Meaning>,
    /// No build has begun yet.
    first: Cell<bool>,
    /// Where the events of the build that runs go.
    sink: RefCell<Option<(Arc<dyn Sink + Send + Sync>, Instant)>>,
    command: RefCell<exec::Command>,
    container: RefCell<container::Container>,
    /// Which of several targets is run: the first that says so.
    runs: usize,
    stop_timeout: Duration,
    /// What has changed since the last good build.
    changed: RefCell<Vec<String>>,
}

/// As docker waits.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// How many changed paths a line names.
const SHOWN_PATHS: usize = 3;

impl Watching<'_> {
    fn mode(&self) -> Mode {
        self.meaning.borrow().mode
    }

    /// A line for people.
    fn say(&self, text: &str) {
        if matches!(self.mode(), Mode::Tty | Mode::Plain) {
            self.session.err.write_or_forget(format!("{text}\n").as_bytes());
        }
    }

    fn show(&self, failure: &Failure) {
        self.session.err.write_or_forget(report::failure(failure, self.session.look()).as_bytes());
    }

    /// How the build that begins is shown: the first as any build, the others as one block each.
    fn new_sink(&self) -> Arc<dyn Sink + Send + Sync> {
        let err = self.session.err.clone();
        match (self.mode(), self.first.replace(false)) {
            (Mode::Json, _) => Arc::new(LineSink::new(Json, self.session.out.clone())),
            (Mode::Quiet, _) => Arc::new(LineSink::new(Quiet::default(), err)),
            (Mode::Tty, true) => {
                let colour = !self.session.environment.refuses_colour();
                Arc::new(TtySink::new(err, colour, self.session.measure))
            }
            (Mode::Plain, true) => Arc::new(LineSink::new(Plain::default(), err)),
            (_, false) => Arc::new(LineSink::new(Block::default(), err)),
        }
    }

    /// Ends the events of the build that has ended.
    fn close(&self, result: &Result<Outcome, BuildError>) {
        if let Some((sink, began)) = self.sink.take() {
            Closing::new(&*sink, began).close(result);
        }
    }

    /// Runs the image that was built, unless it runs already. One that cannot be run leaves the old one running.
    fn restart(&self, outcome: &Outcome, runner: &Runner) {
        let Some(image) = self.result(outcome).map(|built| built.image.to_string()) else { return };
        let mut container = self.container.borrow_mut();
        if container.is_settled(&image) {
            return;
        }
        let request = RunRequest { image, command: self.args.command.clone(), ..RunRequest::default() };
        match container.start(runner, &request, self.stop_timeout, &self.session.err) {
            Ok(()) => {}
            Err(container::StartError::Engine(error)) => self.show(&error.into()),
            Err(container::StartError::System(source)) => {
                self.show(&Failure::Command { command: request.command.join(" "), source });
            }
        }
    }

    /// The result that is run and told of: of the target that says so, else the first one.
    fn result<'o>(&self, outcome: &'o Outcome) -> Option<&'o Built> {
        let meaning = self.meaning.borrow();
        let name = meaning.request.targets.get(self.runs).and_then(Target::called);
        let named = name.and_then(|name| outcome.results.iter().find(|built| built.name == name));
        named.or(outcome.results.first())
    }

    /// What follows a good build.
    fn follow(&self, outcome: &Outcome, runner: &Runner) {
        if let Err(failure) = build::write_results(&self.meaning.borrow(), outcome, self.session) {
            self.show(&failure);
        }
        let changed = self.changed.take();
        if self.args.run {
            self.restart(outcome, runner);
        }
        let Some(line) = &self.args.exec else { return };
        let image =
            self.result(outcome).map(|built| built.names.first().cloned().unwrap_or_else(|| built.image.to_string()));
        let started = self.command.borrow_mut().start(line, &image.unwrap_or_default(), &changed);
        if let Err(source) = started {
            self.show(&Failure::Command { command: line.clone(), source });
        }
    }
}

/// Events that a build's thread hands on, but for the last, which is made when the build has ended.
struct Handed(Arc<dyn Sink + Send + Sync>);

impl Sink for Handed {
    fn emit(&self, event: Event) {
        if !matches!(event, Event::BuildFinished { .. }) {
            self.0.emit(event);
        }
    }
}

impl Driver for Watching<'_> {
    fn request(&self) -> Option<Request> {
        match self.args.meaning(self.session) {
            Ok(meaning) => {
                let request = meaning.request.clone();
                *self.meaning.borrow_mut() = meaning;
                Some(request)
            }
            Err(error) => {
                self.show(&error.into());
                None
            }
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        match &self.meaning.borrow().request.context {
            Context::Directory(root) => vec![root.join(project::FILE)],
            Context::Stdin | Context::Remote(_) => Vec::new(),
        }
    }

    fn written(&self) -> Vec<PathBuf> {
        let meaning = self.meaning.borrow();
        meaning.iidfile.iter().chain(&meaning.metadata_file).cloned().collect()
    }

    fn begin(&self) -> Box<dyn Sink + Send> {
        let sink = self.new_sink();
        *self.sink.borrow_mut() = Some((sink.clone(), Instant::now()));
        Box::new(Handed(sink))
    }

    fn changed(&self, paths: &[PathBuf]) {
        let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
        if self.mode() == Mode::Json {
            let line = serde_json::json!({ "event": "change_seen", "paths": paths });
            self.session.out.write_or_forget(format!("{line}\n").as_bytes());
        }
        let named: Vec<String> = paths.iter().take(SHOWN_PATHS).map(|path| clean::one_line(path)).collect();
        let more = paths.len() - named.len();
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        match named.is_empty() {
            true => self.say("changed: looking at everything again"),
            false => self.say(&format!("changed: {}{more}", named.join(", "))),
        }
        self.changed.borrow_mut().extend(paths);
    }

    fn ended(&self, ended: Ended, runner: &Runner) {
        match ended {
            Ended::Superseded => {
                self.close(&Err(BuildError::Cancelled));
                self.say("given up for a newer change");
            }
            Ended::Whole(result) => {
                self.close(&result);
                match result {
                    Ok(outcome) => self.follow(&outcome, runner),
                    Err(error) => self.show(&error.into()),
                }
            }
        }
    }

    fn note(&self, message: &str) {
        self.session.err.write_or_forget(format!("note: {message}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests;
