//! The program under test: run with an environment and a store of its own, its output kept whole.
//!
//! A build is read from its events, so that a test says which steps ran, which hit, and why. After every
//! build the store is left as it is; who wants another one makes another [`Kiln`].

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use tempfile::TempDir;

/// The program `kiln` of this build. Under cargo it is built first, so that it is never an old one.
///
/// # Errors
/// When it cannot be built, or is not there.
pub fn kiln_program() -> io::Result<PathBuf> {
    static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    PROGRAM.get_or_init(|| find_program().map_err(|error| error.to_string())).clone().map_err(io::Error::other)
}

fn find_program() -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    // Tests stand one directory deeper than programs.
    let dir = own.ancestors().skip(1).find(|dir| !dir.ends_with("deps")).unwrap_or(&own);
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args(["build", "--quiet", "--package", "kiln", "--bin", "kiln", "--manifest-path"]);
        command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml"));
        if dir.ends_with("release") {
            command.arg("--release");
        }
        let output = command.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
    }
    let program = dir.join("kiln");
    match program.is_file() {
        true => Ok(program),
        false => {
            Err(io::Error::new(io::ErrorKind::NotFound, format!("there is no {}: run cargo build", program.display())))
        }
    }
}

/// The program with a store of its own.
#[derive(Debug)]
pub struct Kiln {
    dir: TempDir,
    environment: Vec<(OsString, OsString)>,
}

impl Default for Kiln {
    fn default() -> Self {
        Kiln::new()
    }
}

impl Kiln {
    /// One with an empty store.
    ///
    /// # Panics
    /// Where there is no room for the store: no test can go on then.
    #[expect(clippy::expect_used, reason = "a test without a directory has failed")]
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("kiln-e2e-").tempdir().expect("a directory for a store");
        Kiln { dir, environment: Vec::new() }
    }

    /// The same with one more variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The store's directory.
    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// A directory that goes with the store, for outputs.
    pub fn scratch(&self) -> &Path {
        self.dir.path()
    }

    /// A command that runs the program: the environment cleared but for the path and what the test set.
    ///
    /// # Panics
    /// Where the program cannot be built.
    #[expect(clippy::expect_used, reason = "a test without a program has failed")]
    pub fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let program = kiln_program().expect("the program is built");
        let mut command = match ignores_interrupts() {
            false => Command::new(program),
            true => {
                let mut command = Command::new("env");
                command.arg("--default-signal=INT,QUIT").arg(program);
                command
            }
        };
        command.args(args).env_clear().stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("KILN_STORE", self.store()).env("LC_ALL", "C.UTF-8");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[expect(clippy::expect_used, reason = "a test whose program does not start has failed")]
    pub fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Ran {
        Ran::from(self.command(args).output().expect("kiln starts"))
    }

    /// `kiln build` with these arguments, read from its events.
    pub fn build(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Build {
        Build::of(self.run(build_arguments(args)))
    }

    /// The same, started by another program with arguments of its own: one that changes what kiln finds.
    ///
    /// # Panics
    /// Where that program cannot be started.
    #[expect(clippy::expect_used, reason = "a test whose program does not start has failed")]
    pub fn build_below(&self, wrapper: &[String], args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Build {
        let kiln = self.command(build_arguments(args));
        let (first, rest) = wrapper.split_first().expect("a wrapper is a program");
        let mut command = Command::new(first);
        command.args(rest).arg(kiln.get_program()).args(kiln.get_args()).env_clear().stdin(Stdio::null());
        command.envs(kiln.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Build::of(Ran::from(command.output().expect("the wrapper starts")))
    }
}

fn build_arguments(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Vec<OsString> {
    let mut all: Vec<OsString> = vec!["build".into(), "--progress".into(), "json".into()];
    all.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
    all
}

/// Whether this process ignores Ctrl-C, as one does that a shell began in the background. kiln would inherit
/// that, and rightly keep to it; but it is what some tests send.
fn ignores_interrupts() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap_or_default();
    u64::from_str_radix(ignored.trim(), 16).is_ok_and(|set| set & 0b10 != 0)
}

/// How a run ended and what it wrote.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ran {
    /// The exit status; `None` where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// The same, known to have succeeded.
    ///
    /// # Panics
    /// With everything that was written, where it did not succeed.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// A build as its events tell it.
#[derive(Clone, Debug)]
pub struct Build {
    /// The run that they come from.
    pub ran: Ran,
    /// All events in their order.
    pub events: Vec<Value>,
}

impl Build {
    fn of(ran: Ran) -> Self {
        let events = ran.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Build { ran, events }
    }

    /// The same, known to have succeeded.
    ///
    /// # Panics
    /// With everything that was written, where it did not succeed.
    #[must_use]
    pub fn ok(self) -> Self {
        assert_eq!(self.ran.code, Some(0), "{}\n{}", self.ran.stdout, self.ran.stderr);
        self
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Value> {
        let name = name.to_owned();
        self.events.iter().filter(move |event| event["event"] == name.as_str())
    }

    /// The instruction of each step, in the order in which they were announced.
    pub fn instructions(&self) -> Vec<String> {
        let steps = self.named("build_started").next().and_then(|event| event["steps"].as_array());
        let text = |step: &Value| step["instruction"].as_str().unwrap_or_default().to_owned();
        steps.map(|steps| steps.iter().map(text).collect()).unwrap_or_default()
    }

    /// Each step in the announced order: its instruction, its verdict and the reason, as
    /// `COPY . . = miss (src/a.js changed)`.
    pub fn verdicts(&self) -> Vec<String> {
        let instructions = self.instructions();
        let mut all: Vec<(u64, String)> = self
            .named("step_finished")
            .map(|event| {
                let step = event["step"].as_u64().unwrap_or(u64::MAX);
                let instruction = usize::try_from(step).ok().and_then(|step| instructions.get(step));
                let text = |field: &str| event[field].as_str().unwrap_or_default().to_owned();
                let (verdict, reason) = (text("verdict"), text("reason"));
                let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
                (step, format!("{} = {verdict}{reason}", instruction.map_or("?", String::as_str)))
            })
            .collect();
        all.sort();
        all.into_iter().map(|(_, line)| line).collect()
    }

    /// The steps that ran, as [`Build::verdicts`] shows them.
    pub fn ran_steps(&self) -> Vec<String> {
        self.verdicts().into_iter().filter(|line| line.contains(" = miss")).collect()
    }

    /// Everything that the steps wrote.
    pub fn log(&self) -> String {
        self.named("step_log").filter_map(|event| event["text"].as_str()).collect()
    }

    /// A field of the last event.
    pub fn finished(&self, field: &str) -> Value {
        self.named("build_finished").last().map(|event| event[field].clone()).unwrap_or_default()
    }

    /// Kiln's name of the image.
    pub fn image(&self) -> String {
        self.finished("image").as_str().unwrap_or_default().to_owned()
    }
}
