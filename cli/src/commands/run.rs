//! `kiln run IMAGE [COMMAND…]` and `kiln shell IMAGE|STEP`: a command in an image, or in what a step of a build left
//! behind, with the terminal as its own.

use crate::exit::Exit;
use crate::failure::{Failure, UsageError};
use crate::session::Session;
use crate::sys;
use kiln_engine::api::{self, Cancel, ManageError};
use kiln_engine::container::RunRequest;
use kiln_engine::manage::Which;
use kiln_engine::sandbox::Attached;

/// The arguments of `kiln run`.
#[derive(clap::Args, Debug)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// In place of the image's ENTRYPOINT
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// A name, an id, or the beginning of an id
    image: String,
    /// In place of the image's CMD
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// The arguments of `kiln shell`.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub struct ShellArgs {
    #[command(flatten)]
    place: Place,
    /// An image: a name, an id, or the beginning of an id. Or a step: its number, STAGE:NUMBER, or a part of its name;
    /// with two arguments, the build that it is of
    #[arg(value_name = "IMAGE-OR-STEP")]
    first: String,
    /// A step of the build that the first argument names
    #[arg(value_name = "STEP")]
    second: Option<String>,
}

/// A number that is no longer is a step's, and not the beginning of an image's id.
const NUMBER_MAX_DIGITS: usize = 3;

/// Where and as whom a command runs.
#[derive(clap::Args, Debug)]
#[group(skip)]
struct Place {
    /// A variable for the command; a bare name takes the environment's value (repeatable)
    #[arg(short, long = "env", value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// In place of the image's USER
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// In place of the image's WORKDIR
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The network: host or none
    #[arg(long, value_name = "MODE", default_value = "host")]
    network: String,
}

impl Place {
    fn request(self, image: String, session: &Session<'_>) -> Result<RunRequest, UsageError> {
        let offline = match self.network.as_str() {
            "host" | "default" => false,
            "none" => true,
            other => return Err(UsageError::value("--network", other, "it must be host or none")),
        };
        let mut env = Vec::new();
        for text in &self.env {
            match text.split_once('=') {
                Some(("", _)) => return Err(UsageError::value("-e/--env", text, "the name is missing")),
                Some((name, value)) => env.push((name.to_owned(), value.to_owned())),
                None => env.extend(session.environment.any_text(text).map(|value| (text.clone(), value))),
            }
        }
        let (user, workdir) = (self.user, self.workdir);
        Ok(RunRequest { image, env, user, workdir, offline, ..RunRequest::default() })
    }
}

impl Args {
    /// Runs the command; its exit code is kiln's.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let request = self.place.request(self.image, session)?;
        run(&RunRequest { command: self.command, entrypoint: self.entrypoint, ..request }, session)
    }
}

impl ShellArgs {
    /// Runs a shell.
    pub fn run(self, session: &Session<'_>) -> Result<Exit, Failure> {
        let request = RunRequest { shell: true, ..self.place.request(self.first.clone(), session)? };
        let first = self.first.as_str();
        if let Some(step) = &self.second {
            return run_step((Some(first), step), &request, session);
        }
        let is_number = first.len() <= NUMBER_MAX_DIGITS && first.bytes().all(|b| b.is_ascii_digit());
        if is_number {
            return run_step((None, first), &request, session);
        }
        match run(&request, session) {
            // What is no image may be a step; the word for an image is the better error for one that is neither.
            Err(Failure::Manage(error))
                if matches!(error, ManageError::UnknownImage { .. } | ManageError::InvalidName { .. }) =>
            {
                match run_step((None, first), &request, session) {
                    Err(Failure::Manage(ManageError::UnknownStep { .. } | ManageError::UnknownBuild { .. })) => {
                        Err(Failure::Manage(error))
                    }
                    other => other,
                }
            }
            other => other,
        }
    }
}

fn run(request: &RunRequest, session: &Session<'_>) -> Result<Exit, Failure> {
    let store = session.store()?;
    with_terminal(&|streams, terminate| session.engine.run(&store, request, streams, terminate))
}

fn run_step((build, step): (Option<&str>, &str), request: &RunRequest, session: &Session<'_>) -> Result<Exit, Failure> {
    let (store, here) = (session.store()?, std::env::current_dir().ok());
    let which = Which { name: build, directory: here.as_deref() };
    with_terminal(&|streams, terminate| session.engine.run_step(&store, (which, step), request, streams, terminate))
}

fn with_terminal(run: &dyn Fn(Attached, &Cancel) -> Result<api::Exit, ManageError>) -> Result<Exit, Failure> {
    let terminate = sys::leave_terminal_to_command().map_err(Failure::Signals)?;
    let streams = Attached::standard().map_err(Failure::stdout)?;
    let ended = run(streams, &terminate);
    sys::take_terminal_back();
    Ok(match ended? {
        api::Exit::Code(code) => Exit::Command(u8::try_from(code).unwrap_or(u8::MAX)),
        // As a shell reports it.
        api::Exit::Signal(signal) => Exit::Command(u8::try_from(128 + signal).unwrap_or(u8::MAX)),
    })
}

#[cfg(test)]
mod tests {
    use crate::testing::{Fake, kiln, output};

    #[test]
    fn the_arguments_reach_the_engine_and_the_commands_code_is_kilns() {
        let fake = Fake::default();
        let args = ["run", "-e", "A=b", "-e", "HOME", "-w", "/w", "--network", "none", "app", "ls", "-l"];
        assert_eq!(output(&fake, args), "exit 7\n");
        let request = fake.ran.borrow().clone().unwrap();
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!((request.image.as_str(), request.command), ("app", vec!["ls".to_owned(), "-l".to_owned()]));
        assert_eq!(request.env, [pair("A", "b"), pair("HOME", "/home/me")]);
        assert!(request.offline && !request.shell && request.workdir.as_deref() == Some("/w"));
    }

    #[test]
    fn a_shell_is_a_run_of_its_own_kind() {
        let fake = Fake::default();
        assert_eq!(output(&fake, ["shell", "app"]), "exit 7\n");
        assert!(fake.ran.borrow().as_ref().unwrap().shell);
    }

    #[test]
    fn a_shell_in_a_step_is_asked_for_by_a_number_or_with_its_build() {
        let image_of = |args: &[&str]| {
            let fake = Fake::default();
            assert_eq!(output(&fake, args.iter().copied()), "exit 7\n");
            fake.ran.take().unwrap().image
        };
        assert_eq!(image_of(&["shell", "3"]), "the last build: 3");
        assert_eq!(image_of(&["shell", "0123", "build:3"]), "0123 build:3");
        assert_eq!(image_of(&["shell", "app"]), "app");
    }

    #[test]
    fn what_means_nothing_is_refused() {
        assert!(kiln(["run", "--network", "bridge", "app"]).starts_with("exit 2\n"));
        assert!(kiln(["run", "-e", "=x", "app"]).starts_with("exit 2\n"));
    }
}
