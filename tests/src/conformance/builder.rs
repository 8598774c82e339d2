//! The two builders as commands: one case's folder in, an image or an error out.
//!
//! Knows nothing of what is expected.

use super::case::CaseText;
use super::image::{Image, ReadError};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read, Seek as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A build that takes longer is ended and is an error of the run, not of the case.
const LONGEST: Duration = Duration::from_secs(300);

/// What came of a build.
#[derive(Debug)]
pub enum Built {
    /// An image.
    Image(Box<Image>),
    /// The builder refused; what it printed.
    Refused(String),
}

/// A build that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BuilderError {
    /// The command could not be run.
    #[error("cannot run {command}")]
    Run {
        /// Which.
        command: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It took too long.
    #[error("{command} took longer than {} seconds", LONGEST.as_secs())]
    TooLong {
        /// Which.
        command: String,
    },
    /// It failed for a reason that has nothing to do with the Dockerfile.
    #[error("{command} does not work: {output}")]
    Broken {
        /// Which.
        command: String,
        /// What it said.
        output: String,
    },
    /// Docker cannot export an image without layers.
    #[error("docker save cannot write an image without layers")]
    NoLayers,
    /// Its image cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// What is built.
pub struct Job<'a> {
    /// The copy of the case's folder.
    pub folder: &'a Path,
    /// What the case says.
    pub text: &'a CaseText,
    /// A directory for what is written meanwhile.
    pub scratch: &'a Path,
    /// The Dockerfile in place of the case's own.
    pub file: Option<&'a str>,
    /// The name that the image gets, for cases that build on it.
    pub tag: Option<&'a str>,
}

/// Runs `kiln build`.
#[derive(Clone, Debug)]
pub struct Kiln {
    /// The program.
    pub program: PathBuf,
    /// Its store.
    pub store: PathBuf,
    /// `host:port` of what serves base images in place of Docker Hub.
    pub mirror: String,
}

/// Runs `docker build` and `docker save`.
#[derive(Clone, Debug)]
pub struct Docker {
    /// The words of the command, as in `docker -H …`.
    pub words: Vec<String>,
    /// The directory that the daemon's side sees under `prefix`.
    pub shared: PathBuf,
    /// Its name there.
    pub prefix: PathBuf,
}

impl Docker {
    /// As the environment says it: `DOCKER`, `PEERS_DIR` and `DOCKER_PREFIX`; `None` without the first.
    pub fn from_environment() -> Option<Docker> {
        let words: Vec<String> = std::env::var("DOCKER").ok()?.split_whitespace().map(str::to_owned).collect();
        let path = |name| std::env::var_os(name).map(PathBuf::from);
        let (shared, prefix) = path("PEERS_DIR").zip(path("DOCKER_PREFIX")).unwrap_or(("/".into(), "/".into()));
        Some(Docker { words, shared, prefix }).filter(|docker| !docker.words.is_empty())
    }

    /// The command.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]);
        command
    }

    /// A path of this side as the daemon's side sees it.
    fn seen(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.shared).map_or_else(|_| path.to_owned(), |rest| self.prefix.join(rest))
    }

    /// Builds; the image is taken out and its name removed unless the job gives it one.
    pub fn build(&self, job: &Job<'_>) -> Result<Built, BuilderError> {
        let unique = job.scratch.to_string_lossy().replace(|c: char| !c.is_ascii_alphanumeric(), "-").to_lowercase();
        let own = format!("conform{unique}");
        let tag = job.tag.unwrap_or(&own);
        let mut command = self.command();
        command.args(["build", "--progress", "plain", "-t", tag]).env("DOCKER_BUILDKIT", "1");
        arguments(&mut command, job, &job.text.docker_flags, &self.seen(job.folder));
        let done = run(&mut command, job.scratch)?;
        if !done.0.success() {
            const DAEMON: [&str; 3] =
                ["Cannot connect to the Docker daemon", "permission denied while trying to connect", "nsenter:"];
            if DAEMON.iter().any(|sign| done.1.contains(sign)) {
                return Err(BuilderError::Broken { command: "docker build".to_owned(), output: done.1 });
            }
            return Ok(Built::Refused(done.1));
        }
        let archive = job.scratch.join("docker.tar");
        self.save(tag, &archive)?;
        if job.tag.is_none() {
            self.remove(tag)?;
        }
        Ok(Built::Image(Box::new(read_and_remove(&archive)?)))
    }

    /// Writes an image of the daemon as an archive.
    pub fn save(&self, image: &str, archive: &Path) -> Result<(), BuilderError> {
        let fail = |source| BuilderError::Run { command: "docker save".to_owned(), source };
        let file = File::create(archive).map_err(fail)?;
        let mut command = self.command();
        command.args(["save", image]).stdin(Stdio::null()).stdout(file).stderr(Stdio::piped());
        let output = command.output().map_err(fail)?;
        if !output.status.success() {
            let output = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.contains("empty export") {
                return Err(BuilderError::NoLayers);
            }
            return Err(BuilderError::Broken { command: "docker save".to_owned(), output });
        }
        Ok(())
    }

    /// Takes a name away.
    pub fn remove(&self, tag: &str) -> Result<(), BuilderError> {
        let fail = |source| BuilderError::Run { command: "docker rmi".to_owned(), source };
        self.command().args(["rmi", "-f", tag]).output().map(drop).map_err(fail)
    }
}

impl Kiln {
    /// Builds.
    pub fn build(&self, job: &Job<'_>) -> Result<Built, BuilderError> {
        let archive = job.scratch.join("kiln.tar");
        let mut output = OsString::from("type=docker,dest=");
        output.push(&archive);
        let mut command = Command::new(&self.program);
        command.env_clear();
        for name in ["PATH", "TMPDIR"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("HOME", job.scratch).env("LC_ALL", "C.UTF-8").env("KILN_STORE", &self.store);
        command.env("KILN_REGISTRY_MIRROR", format!("docker.io=http://{}", self.mirror));
        command.args(["build", "--progress", "plain", "-o"]).arg(output);
        if let Some(tag) = job.tag {
            command.args(["-t", tag]);
        }
        arguments(&mut command, job, &job.text.kiln_flags, job.folder);
        let (status, output) = run(&mut command, job.scratch)?;
        if status.code().is_none_or(|code| code > 2) {
            return Err(BuilderError::Broken { command: format!("kiln build ({status})"), output });
        }
        if !status.success() {
            return Ok(Built::Refused(output));
        }
        Ok(Built::Image(Box::new(read_and_remove(&archive)?)))
    }
}

/// What both builders spell in the same way.
fn arguments(command: &mut Command, job: &Job<'_>, own_flags: &[String], folder: &Path) {
    let text = job.text;
    if let Some(file) = job.file.or(text.file.as_deref()) {
        command.arg("-f").arg(folder.join(file));
    }
    if let Some(target) = &text.target {
        command.args(["--target", target]);
    }
    for (name, value) in &text.build_args {
        command.args(["--build-arg", &format!("{name}={value}")]);
    }
    for (index, secret) in text.secrets.iter().enumerate() {
        // From the environment, which no context shows.
        let variable = format!("CASE_SECRET_{index}");
        command.args(["--secret", &format!("id={},env={variable}", secret.id)]).env(variable, &secret.value);
    }
    command.envs(&text.environment);
    for flag in text.flags.iter().chain(own_flags) {
        command.arg(flag.replace("{folder}", &folder.to_string_lossy()));
    }
    command.arg(text.context.as_ref().map_or_else(|| folder.to_owned(), |context| folder.join(context)));
}

/// Runs a command to its end; all that it prints goes to one text.
fn run(command: &mut Command, scratch: &Path) -> Result<(ExitStatus, String), BuilderError> {
    let words: Vec<&OsStr> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let name = words.join(OsStr::new(" ")).to_string_lossy().into_owned();
    let fail = |source| BuilderError::Run { command: name.clone(), source };
    let path = scratch.join("output");
    let open = || File::options().create(true).truncate(true).read(true).write(true).open(&path);
    let mut output = open().map_err(fail)?;
    let (out, err) = (output.try_clone().map_err(fail)?, output.try_clone().map_err(fail)?);
    let mut child = command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(fail)?;
    let started = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status = loop {
        if let Some(status) = child.try_wait().map_err(fail)? {
            break status;
        }
        if started.elapsed() > LONGEST {
            child.kill().and_then(|()| child.wait()).map_err(fail)?;
            return Err(BuilderError::TooLong { command: name });
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(10));
    };
    output.rewind().map_err(fail)?;
    let mut bytes = Vec::new();
    output.read_to_end(&mut bytes).map_err(fail)?;
    Ok((status, String::from_utf8_lossy(&bytes).into_owned()))
}

fn read_and_remove(archive: &Path) -> Result<Image, ReadError> {
    let image = Image::read(archive)?;
    std::fs::remove_file(archive).map_err(|source| ReadError::Io { path: archive.to_owned(), source })?;
    Ok(image)
}
