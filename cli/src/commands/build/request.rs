//! From arguments as typed to what they mean: a request for the engine and a way to show it.
//!
//! Reads the environment through its one door, and nothing else but whether secrets are there.

use super::{Args, Progress, output, progress_of, secret};
use crate::environment::{self, Environment};
use crate::failure::UsageError;
use crate::project::Project;
use crate::session::Session;
use crate::text::quantity;
use kiln_dsl::remote::Remote;
use kiln_engine::api::{
    CheckRequest, Context, Entitlement, NamedContext, NetworkMode, Output, Request, Secret, Ssh, Target, TraceMode,
};
use kiln_engine::registry::Options;
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// What the arguments mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// For the engine.
    pub request: Request,
    /// How progress is shown.
    pub mode: Mode,
    /// Where the image id is written.
    pub iidfile: Option<PathBuf>,
    /// Where the rest of what is known is written.
    pub metadata_file: Option<PathBuf>,
}

/// How progress is shown, once it is decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Painted on standard error.
    Tty,
    /// Lines on standard error.
    Plain,
    /// Events on standard output.
    Json,
    /// Nothing; the image id goes to standard output.
    Quiet,
}

/// Finds the meaning, or the first thing that has none.
pub fn resolve(args: Args, session: &Session<'_>) -> Result<Meaning, UsageError> {
    args.docker_only.check()?;
    let environment = session.environment;
    let mode = mode(&args, session)?;
    let (mut tags, targets) = targets(args.tags, args.targets)?;
    let mut outputs = Vec::new();
    for text in &args.outputs {
        let typed = output::parse(text)?;
        tags.extend(typed.names);
        outputs.push(typed.output);
    }
    check_stdout(&outputs, mode, session)?;
    let context = context(args.context)?;
    let mut registry = registry(environment)?;
    if let Context::Directory(directory) = &context {
        Project::of(directory)?.complete(&mut registry);
    }
    let wants_id = mode == Mode::Quiet || args.iidfile.is_some() || args.metadata_file.is_some();
    let request = Request {
        context,
        contexts: named_contexts(&args.build_contexts)?,
        dockerfile: args.file.map(|file| if file.as_os_str() == "-" { "/dev/stdin".into() } else { file }),
        targets,
        build_args: build_args(&args.build_args, environment)?,
        labels: labels(&args.labels)?,
        tags,
        outputs,
        no_cache: args.no_cache,
        no_cache_filter: args.no_cache_filter,
        strict: args.strict,
        fail_on_miss: args.fail_on_miss,
        verify: args.verify,
        trace: match args.trace {
            super::Trace::Auto => TraceMode::Auto,
            super::Trace::All => TraceMode::All,
            super::Trace::Off => TraceMode::Off,
        },
        jobs: jobs(args.jobs, environment)?,
        network: network(&args.network)?,
        pull: args.pull,
        platforms: args.platforms,
        secrets: secrets(&args.secrets, environment)?,
        ssh: agents(&args.ssh, environment)?,
        allow: args.allow.iter().map(|text| allow(text)).collect::<Result<_, _>>()?,
        add_hosts: args.add_hosts.iter().map(|text| secret::host(text)).collect::<Result<_, _>>()?,
        shm_size: args.shm_size.as_deref().map(shm_size).transpose()?,
        source_date_epoch: source_date_epoch(environment)?,
        want_image_id: wants_id,
        on_error_shell: args.on_error.is_some(),
        registry,
        store: environment.store().ok_or(UsageError::NoStore)?,
    };
    Ok(Meaning { request, mode, iidfile: args.iidfile, metadata_file: args.metadata_file })
}

/// What `--check` checks.
pub fn check(args: Args, session: &Session<'_>) -> Result<CheckRequest, UsageError> {
    args.docker_only.check()?;
    let Context::Directory(context) = context(args.context)? else {
        return Err(UsageError::Unsupported {
            what: "checking a context that is no directory".into(),
            advice: "clone or unpack it, and give the directory".into(),
        });
    };
    Ok(CheckRequest {
        context,
        dockerfile: args.file.map(|file| if file.as_os_str() == "-" { "/dev/stdin".into() } else { file }),
        target: args.targets.into_iter().next(),
        build_args: build_args(&args.build_args, session.environment)?,
        platform: args.platforms.into_iter().next(),
        store: session.environment.store(),
    })
}

/// The stages with the tags that name them, and the other tags.
fn targets(typed: Vec<String>, stages: Vec<String>) -> Result<(Vec<String>, Vec<Target>), UsageError> {
    let mut targets: Vec<Target> = Vec::new();
    for stage in stages {
        if !targets.iter().any(|target| target.stage.as_deref() == Some(stage.as_str())) {
            targets.push(Target::stage(stage));
        }
    }
    let mut tags = Vec::new();
    for text in typed {
        // No image has a name with an equals sign.
        let Some((stage, tag)) = text.split_once('=') else {
            tags.push(text);
            continue;
        };
        let known = targets.iter_mut().find(|target| target.stage.as_deref() == Some(stage));
        match known {
            Some(target) => target.tags.push(tag.to_owned()),
            None => {
                let error = UsageError::value("-t/--tag", &text, format!("{stage:?} is no stage that is built"));
                return Err(error.with_help(format!("add --target {stage}, or leave {stage}= out")));
            }
        }
    }
    Ok((tags, targets))
}

fn registry(environment: &Environment) -> Result<Options, UsageError> {
    Options::from_environment(|name| environment.text(name)).map_err(|error| UsageError::Variable {
        name: environment::KILN_REGISTRY_MIRROR,
        value: environment.text(environment::KILN_REGISTRY_MIRROR).unwrap_or_default(),
        reason: error.to_string(),
    })
}

fn mode(args: &Args, session: &Session<'_>) -> Result<Mode, UsageError> {
    let progress = match (args.quiet, args.progress) {
        (true, None | Some(Progress::Auto | Progress::Quiet)) => return Ok(Mode::Quiet),
        (true, Some(_)) => {
            return Err(UsageError::Conflict {
                first: "-q/--quiet".into(),
                second: "--progress".into(),
                reason: "quiet shows no progress",
            });
        }
        (false, Some(progress)) => progress,
        (false, None) => progress_of(session)?.unwrap_or(Progress::Auto),
    };
    let can_paint = session.err.is_terminal() && !session.environment.is_dumb();
    Ok(match progress {
        // A shell has the terminal for itself.
        Progress::Auto | Progress::Tty if args.on_error.is_some() => Mode::Plain,
        Progress::Auto if can_paint => Mode::Tty,
        Progress::Auto | Progress::Plain => Mode::Plain,
        Progress::Tty if session.err.is_terminal() => Mode::Tty,
        Progress::Tty => {
            return Err(UsageError::value("--progress", "tty", "standard error is not a terminal")
                .with_help("use --progress plain or auto"));
        }
        Progress::Json => Mode::Json,
        Progress::Quiet => Mode::Quiet,
    })
}

/// Standard output takes one thing, and no archive goes to a person.
fn check_stdout(outputs: &[Output], mode: Mode, session: &Session<'_>) -> Result<(), UsageError> {
    const REASON: &str = "both write to standard output";
    const OUTPUT: &str = "an output to standard output";
    let conflict = |second: &str| UsageError::Conflict { first: OUTPUT.into(), second: second.into(), reason: REASON };
    match outputs.iter().filter(|output| output.is_stdout()).count() {
        0 => Ok(()),
        1 if mode == Mode::Json => Err(conflict("--progress json")),
        1 if session.out.is_terminal() => Err(UsageError::Terminal {
            what: "-o/--output".into(),
            advice: "redirect standard output, or add dest=FILE",
        }),
        1 => Ok(()),
        _ => Err(conflict("another")),
    }
}

fn context(path: PathBuf) -> Result<Context, UsageError> {
    let Some(text) = path.to_str() else { return Ok(Context::Directory(path)) };
    if text == "-" {
        return Ok(Context::Stdin);
    }
    // As docker does it, what is there as a directory is one, whatever it is called.
    match is_remote("CONTEXT", text)? && !path.is_dir() {
        true => Ok(Context::Remote(text.to_owned())),
        false => Ok(Context::Directory(path)),
    }
}

fn is_remote(flag: &'static str, text: &str) -> Result<bool, UsageError> {
    match Remote::parse_context(text) {
        Ok(remote) => Ok(remote.is_some()),
        Err(error) => {
            let shown = kiln_dsl::remote::redact(text);
            let wrong = UsageError::value(flag, &shown, error.to_string());
            Err(match error.help() {
                Some(help) => wrong.with_help(help),
                None => wrong,
            })
        }
    }
}

fn named_contexts(all: &[String]) -> Result<Vec<(String, NamedContext)>, UsageError> {
    const FLAG: &str = "--build-context";
    let mut contexts: Vec<(String, NamedContext)> = Vec::new();
    for text in all {
        let wrong = |reason: &str| UsageError::value(FLAG, text, reason);
        let Some((name, place)) = text.split_once('=').filter(|(name, place)| !name.is_empty() && !place.is_empty())
        else {
            return Err(
                wrong("it needs a name and a place").with_help("use NAME=DIRECTORY, or NAME=docker-image://IMAGE")
            );
        };
        if matches!(name, "scratch" | "context") {
            return Err(wrong("the name is kept for what it always means"));
        }
        let context = match place.split_once(':') {
            Some(("docker-image", image)) => NamedContext::Image(image.trim_start_matches("//").to_owned()),
            Some(("oci-layout", _)) => NamedContext::Image(place.to_owned()),
            Some(("target", stage)) => NamedContext::Stage(stage.to_owned()),
            Some(("local", path)) => NamedContext::Directory(path.into()),
            _ if is_remote(FLAG, place)? && !PathBuf::from(place).is_dir() => NamedContext::Remote(place.to_owned()),
            _ => NamedContext::Directory(place.into()),
        };
        match contexts.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known = context,
            None => contexts.push((name.to_owned(), context)),
        }
    }
    Ok(contexts)
}

/// The last value of a name wins, in the place of the first.
fn put(pairs: &mut Vec<(String, String)>, name: &str, value: String) {
    match pairs.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => pairs.push((name.to_owned(), value)),
    }
}

/// The values of `--build-arg`; a bare name has the environment's, and none where that has none.
pub fn build_args(all: &[String], environment: &Environment) -> Result<Vec<(String, String)>, UsageError> {
    let mut pairs = Vec::new();
    for text in all {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text.as_str(), environment.any_text(text)),
        };
        if name.is_empty() {
            return Err(UsageError::value("--build-arg", text, "the name is missing"));
        }
        if let Some(value) = value {
            put(&mut pairs, name, value);
        }
    }
    Ok(pairs)
}

fn labels(all: &[String]) -> Result<Vec<(String, String)>, UsageError> {
    let mut pairs = Vec::new();
    for text in all {
        // Docker takes a bare name as a label with an empty value.
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        if name.is_empty() {
            return Err(UsageError::value("--label", text, "the name is missing"));
        }
        put(&mut pairs, name, value.to_owned());
    }
    Ok(pairs)
}

fn secrets(all: &[String], environment: &Environment) -> Result<Vec<Secret>, UsageError> {
    let mut secrets: Vec<Secret> = Vec::new();
    for text in all {
        let secret = secret::secret(text, environment)?;
        if secrets.iter().any(|known| known.id == secret.id) {
            return Err(UsageError::value("--secret", text, format!("the id {:?} is given twice", secret.id)));
        }
        secrets.push(secret);
    }
    Ok(secrets)
}

fn agents(all: &[String], environment: &Environment) -> Result<Vec<Ssh>, UsageError> {
    let mut agents: Vec<Ssh> = Vec::new();
    for text in all {
        let agent = secret::ssh(text, environment)?;
        if agents.iter().any(|known| known.id == agent.id) {
            return Err(UsageError::value("--ssh", text, format!("the id {:?} is given twice", agent.id)));
        }
        agents.push(agent);
    }
    Ok(agents)
}

fn allow(text: &str) -> Result<Entitlement, UsageError> {
    match text {
        "network.host" => Ok(Entitlement::NetworkHost),
        "security.insecure" => Ok(Entitlement::SecurityInsecure),
        _ => Err(UsageError::value("--allow", text, "it must be network.host or security.insecure")),
    }
}

fn network(text: &str) -> Result<NetworkMode, UsageError> {
    match text {
        "default" => Ok(NetworkMode::Default),
        "host" => Ok(NetworkMode::Host),
        "none" => Ok(NetworkMode::None),
        _ => Err(UsageError::value("--network", text, "it must be default, host or none")),
    }
}

fn shm_size(text: &str) -> Result<u64, UsageError> {
    quantity::parse_binary_size(text).map_err(|error| UsageError::value("--shm-size", text, error.to_string()))
}

fn jobs(typed: Option<NonZeroUsize>, environment: &Environment) -> Result<Option<NonZeroUsize>, UsageError> {
    let Some(value) = environment.text(environment::KILN_JOBS).filter(|_| typed.is_none()) else { return Ok(typed) };
    match value.parse() {
        Ok(jobs) => Ok(Some(jobs)),
        Err(_) => {
            let reason = "it must be a number above 0".into();
            Err(UsageError::Variable { name: environment::KILN_JOBS, value, reason })
        }
    }
}

fn source_date_epoch(environment: &Environment) -> Result<Option<i64>, UsageError> {
    let Some(value) = environment.text(environment::SOURCE_DATE_EPOCH) else { return Ok(None) };
    match value.parse() {
        Ok(seconds) if seconds >= 0 => Ok(Some(seconds)),
        _ => {
            let reason = "it must be seconds since 1970".into();
            Err(UsageError::Variable { name: environment::SOURCE_DATE_EPOCH, value, reason })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::docker_only;
    use crate::testing::{Fake, kiln_with, output_in};

    /// The request that reaches the engine.
    fn request(variables: &[(&str, &str)], args: &[&str]) -> Request {
        let fake = Fake::default();
        let shown = output_in(&fake, variables, std::iter::once(&"build").chain(args).copied());
        fake.requested.borrow().clone().unwrap_or_else(|| panic!("{shown}"))
    }

    const HOME: (&str, &str) = ("HOME", "/home/me");

    #[test]
    fn a_build_without_arguments_asks_for_the_last_stage_of_the_directory() {
        insta::assert_debug_snapshot!(request(&[HOME], &[]));
    }

    #[test]
    fn every_argument_reaches_the_engine() {
        let variables = [HOME, ("VERSION", "1.2"), ("SOURCE_DATE_EPOCH", "1700000000"), ("KILN_JOBS", "7"), ("T", "t")];
        let args = "-f dir/Dockerfile -t app -t app:1 --target web --build-arg VERSION --build-arg UNSET \
                    --build-arg A=1 --build-arg B= --build-arg A=2=3 --label l=v --label bare -o type=oci,dest=a.tar \
                    -o out --no-cache --no-cache-filter a,b --strict --pull --platform linux/arm64 --network none \
                    --secret id=s,env=T --add-host db:10.0.0.1 --ssh key=/dev/null \
                    --build-context lib=../lib --build-context base=docker-image://alpine:3 \
                    --build-context src=https://example.com/a.git#v1 --build-context x=target:y \
                    --allow network.host --allow security.insecure --shm-size 128m --iidfile /dev/null -j 3 ctx";
        insta::assert_debug_snapshot!(request(&variables, &args.split_whitespace().collect::<Vec<_>>()));
    }

    #[test]
    fn what_means_nothing_is_refused_with_the_name_of_its_flag() {
        let all: &[&[&str]] = &[
            &["https://example.com/repo.git?depth=1"],
            &["https://me:secret@example.com/repo.git#-x"],
            &["--build-context", "lib"],
            &["--build-context", "=lib"],
            &["--build-context", "scratch=lib"],
            &["--check", "-"],
            &["--network", "bridge"],
            &["--allow", "device"],
            &["--ssh", "default"],
            &["--ssh", "=x"],
            &["--ssh", "default=/does/not/exist"],
            &["--ssh", "default=/etc"],
            &["--ssh", "a=/dev/null", "--ssh", "a=/dev/null"],
            &["--shm-size", "big"],
            &["--build-arg", "=1"],
            &["--label", "=1"],
            &["--add-host", "db"],
            &["--secret", "src=x"],
            &["--jobs", "0"],
            &["--progress", "tty"],
            &["--progress", "dots"],
            &["-q", "--progress", "plain"],
            &["-o", "-", "--progress", "json"],
            &["-o", "-", "-o", "type=oci"],
            &["--lables", "x"],
            &["a", "b"],
        ];
        let mut shown = String::new();
        for args in all {
            let typed = args.join(" ");
            let text = kiln_with(&[HOME], std::iter::once(&"build").chain(*args).copied());
            shown.push_str(&format!("$ kiln build {typed}\n{text}\n"));
        }
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn a_variable_that_means_nothing_is_named() {
        let mut shown = String::new();
        for variable in [("KILN_PROGRESS", "loud"), ("KILN_JOBS", "0"), ("SOURCE_DATE_EPOCH", "yesterday")] {
            shown.push_str(&kiln_with(&[HOME, variable], ["build"]));
        }
        insta::assert_snapshot!(shown);
    }

    #[test]
    fn every_flag_of_docker_is_either_kilns_or_answered() {
        use clap::CommandFactory as _;
        let command = crate::app::Cli::command();
        let build = command.find_subcommand("build").unwrap();
        let known: Vec<&str> = build.get_arguments().filter_map(clap::Arg::get_long).collect();
        for flag in docker_only::FLAGS {
            assert_eq!(known.iter().filter(|name| **name == flag.name).count(), 1, "--{}", flag.name);
        }
    }
}
