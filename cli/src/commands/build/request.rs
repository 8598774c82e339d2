//! From arguments as typed to what they mean: a request for the engine and a way to show it.
//!
//! Reads the environment through its one door, and nothing else but whether secrets are there.

use super::words::{self, Words};
use super::{Args, Progress, output, progress_of, secret, selected};
use crate::environment::{self, Environment};
use crate::failure::UsageError;
use crate::project::{self, Project};
use crate::session::Session;
use crate::text::quantity;
use kiln_dsl::remote::Remote;
use kiln_engine::api::{
    CheckRequest, Context, Entitlement, NamedContext, NetworkMode, Output, Request, Secret, Ssh, Target, TraceMode,
};
use kiln_engine::registry::Options;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

/// What the arguments mean.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Meaning {
    /// For the engine.
    pub request: Request,
    /// More builds, one after the other: targets of other files, contexts or arguments.
    pub rest: Vec<Request>,
    /// The targets of the project file that were named, with all that they inherit.
    pub targets: Vec<project::Target>,
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
pub fn resolve(mut args: Args, session: &Session<'_>) -> Result<Meaning, UsageError> {
    args.docker_only.check()?;
    let mode = mode(&args, session)?;
    let Words { context, project, targets: names, stages } = words::tell(&args)?;
    let base = context.clone().unwrap_or_else(|| ".".into());
    args.words = context.into_iter().collect();
    args.targets.extend(stages);
    let (iidfile, metadata_file) = (args.iidfile.clone(), args.metadata_file.clone());
    let wants_id = mode == Mode::Quiet || iidfile.is_some() || metadata_file.is_some();
    let mut requests: Vec<Request> = Vec::new();
    let mut targets = Vec::with_capacity(names.len());
    for name in &names {
        let target = project.resolved(name, session.environment)?;
        let request = selected(&args, name, &target, &base, &project, session);
        let request = request.map_err(|error| project.placed(name, error))?;
        targets.push(target);
        // What differs in its targets only is one graph.
        let alone = |request: &Request| Request { targets: Vec::new(), ..request.clone() };
        match requests.iter_mut().find(|known| alone(known) == alone(&request)) {
            Some(known) => known.targets.extend(request.targets),
            None => requests.push(request),
        }
    }
    if names.is_empty() {
        requests.push(request(args, &project, session)?);
    }
    for request in &mut requests {
        request.want_image_id = wants_id;
    }
    let outputs = requests
        .iter()
        .flat_map(|request| request.outputs.iter().chain(request.targets.iter().flat_map(|target| &target.outputs)));
    check_stdout(outputs, mode, session)?;
    let rest = requests.split_off(1);
    let request = requests.remove(0);
    let is_shared = !request.tags.is_empty() || !request.outputs.is_empty();
    if is_shared && !rest.is_empty() {
        return Err(UsageError::Conflict {
            first: "-t or -o".into(),
            second: format!("the targets {}", names.join(", ")),
            reason: "they are several builds; give each its tags and outputs in kiln.ron",
        });
    }
    Ok(Meaning { request, rest, targets, mode, iidfile, metadata_file })
}

impl Meaning {
    /// All builds, one after the other.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        std::iter::once(&self.request).chain(&self.rest)
    }

    /// The commands `kiln verb …` of which each has one of these builds, for what several cannot have at once.
    pub fn commands(&self, verb: &str, typed: &Args) -> String {
        let place = words::tell(typed).ok().and_then(|words| words.context).filter(|place| place != Path::new("."));
        let place = place.map(|place| format!(" {}", place.display())).unwrap_or_default();
        let names = |request: &Request| request.targets.iter().filter_map(Target::called).collect::<Vec<_>>().join(" ");
        let all: Vec<String> =
            self.requests().map(|request| format!("kiln {verb}{place} {}", names(request))).collect();
        all.join(", ")
    }
}

/// The request for one target of the project file.
fn selected(
    args: &Args,
    name: &str,
    target: &project::Target,
    base: &Path,
    project: &Project,
    session: &Session<'_>,
) -> Result<Request, UsageError> {
    let mut found = request(selected::arguments(args, target, base), project, session)?;
    for (name, context) in &mut found.contexts {
        *context = selected::context(name, context.clone(), target, args, base);
    }
    let mut own = Target { stage: target.stage.clone(), name: Some(name.to_owned()), ..Target::default() };
    own.tags.clone_from(&target.tags);
    let is_given = |name: &String| found.labels.iter().any(|(other, _)| other == name);
    own.labels = target.labels.clone().into_iter().filter(|(name, _)| !is_given(name)).collect();
    if args.platforms.is_empty() {
        own.platforms.clone_from(&target.platforms);
    }
    // Who says where to, says it for all.
    let outputs: &[String] = if args.outputs.is_empty() { &target.outputs } else { &[] };
    for text in outputs {
        let typed = output::parse(text)?;
        own.tags.extend(typed.names);
        own.outputs.push(selected::output(typed.output, base));
    }
    found.targets = vec![own];
    Ok(found)
}

/// The request of arguments without targets of a project file.
fn request(args: Args, project: &Project, session: &Session<'_>) -> Result<Request, UsageError> {
    let environment = session.environment;
    let (mut tags, targets) = targets(args.tags, args.targets)?;
    let mut outputs = Vec::new();
    for text in &args.outputs {
        let typed = output::parse(text)?;
        tags.extend(typed.names);
        outputs.push(typed.output);
    }
    let context = context(args.words.into_iter().next().unwrap_or_else(|| ".".into()))?;
    let mut registry = registry(environment)?;
    if matches!(context, Context::Directory(_)) {
        project.complete(&mut registry);
    }
    Ok(Request {
        context,
        contexts: named_contexts(&args.build_contexts)?,
        dockerfile: args.file.map(|file| if file.as_os_str() == "-" { "/dev/stdin".into() } else { file }),
        targets,
        build_args: build_args(&args.build_args, environment)?,
        labels: labels(&args.labels)?,
        tags,
        outputs,
        no_cache: args.no_cache,
        no_cache_filter: stages(&args.no_cache_filter),
        strict: args.strict,
        fail_on_miss: args.fail_on_miss.as_deref().map(stages),
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
        want_image_id: false,
        on_error_shell: args.on_error.is_some(),
        by_record: true,
        registry,
        store: environment.store().ok_or(UsageError::NoStore)?,
    })
}

/// What `--check` checks.
pub fn check(mut args: Args, session: &Session<'_>) -> Result<CheckRequest, UsageError> {
    args.docker_only.check()?;
    let Words { context: place, project, targets, stages } = words::tell(&args)?;
    let base = place.clone().unwrap_or_else(|| ".".into());
    args.words = place.into_iter().collect();
    args.targets.extend(stages);
    match targets.as_slice() {
        [] => {}
        [name] => {
            let target = project.resolved(name, session.environment)?;
            args = selected::arguments(&args, &target, &base);
            args.targets.extend(target.stage);
        }
        _ => {
            return Err(UsageError::Unsupported {
                what: "checking several targets at once".into(),
                advice: format!("check one of {}", targets.join(", ")),
            });
        }
    }
    let Context::Directory(context) = context(args.words.into_iter().next().unwrap_or_else(|| ".".into()))? else {
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

/// Names of stages, some with commas between them. The commas in the brackets of a branch are its own.
fn stages(texts: &[String]) -> Vec<String> {
    let mut all = Vec::new();
    for text in texts {
        let mut depth = 0_usize;
        let parts = text.split(|c| {
            match c {
                '[' => depth += 1,
                ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            c == ',' && depth == 0
        });
        all.extend(parts.map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned));
    }
    all
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
fn check_stdout<'o>(
    outputs: impl Iterator<Item = &'o Output>,
    mode: Mode,
    session: &Session<'_>,
) -> Result<(), UsageError> {
    const REASON: &str = "both write to standard output";
    const OUTPUT: &str = "an output to standard output";
    let conflict = |second: &str| UsageError::Conflict { first: OUTPUT.into(), second: second.into(), reason: REASON };
    match outputs.filter(|output| output.is_stdout()).count() {
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
            &["./a", "./b"],
        ];
        let mut shown = String::new();
        for args in all {
            let typed = args.join(" ");
            let text = kiln_with(&[HOME], std::iter::once(&"build").chain(*args).copied());
            shown.push_str(&format!("$ kiln build {typed}\n{text}\n"));
        }
        insta::assert_snapshot!(shown);
    }

    const PROJECT: &str = r#"(
  defaults: (args: {"V": "1"}),
  default: ["all"],
  targets: {
    "web": (stage: "web", tags: ["web:1"], outputs: ["type=local,dest=out"], labels: {"a": "b"}, contexts: {"lib": "lib"}),
    "api": (stage: "api", platforms: ["linux/amd64", "linux/arm64"], contexts: {"lib": "lib"}),
    "docs": (context: "docs", file: "docs/Dockerfile", args: {"V": "2"}, secrets: {"s": env("TOKEN")}),
    "bad": (outputs: ["type=oci,dest=x,compression=lz4"]),
    "lost": (secrets: {"s": env("NOT_SET")}),
  },
  groups: {"all": ["web", "api", "docs"]},
)
"#;

    /// The requests that a build of words and flags in a project comes to.
    fn project_requests(args: &[&str]) -> String {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("kiln.ron"), PROJECT).unwrap();
        let fake = Fake::default();
        let path = dir.path().to_str().unwrap();
        let all = [&["build", "--iidfile", "/dev/null", path], args].concat();
        let text = output_in(&fake, &[HOME, ("TOKEN", "t")], all);
        let requests = fake.all_requested.borrow();
        let shown = requests.iter().map(|request| {
            let Request { context, contexts, dockerfile, targets, build_args, tags, outputs, platforms, .. } = request;
            format!("{context:?}\n  contexts {contexts:?}\n  file {dockerfile:?}\n  args {build_args:?}\n  tags {tags:?} outputs {outputs:?} platforms {platforms:?}\n  targets {targets:#?}\n")
        });
        let shown = shown.collect::<String>();
        if shown.is_empty() { text.replace(path, "DIR") } else { shown.replace(path, "DIR") }
    }

    #[test]
    fn targets_with_the_same_file_context_and_arguments_are_one_graph() {
        insta::assert_snapshot!(project_requests(&[]));
    }

    #[test]
    fn flags_go_before_the_project_file() {
        let flags = ["web", "api", "--build-arg", "V=3", "--platform", "linux/arm64", "-o", "x", "--label", "a=c"];
        insta::assert_snapshot!(project_requests(&flags));
    }

    #[test]
    fn targets_that_cannot_be_built_so_are_told_with_their_place() {
        let mut shown = String::new();
        for args in [&["wbe"][..], &["web", "--target", "x"], &["web", "docs", "-t", "x"], &["bad"], &["lost"]] {
            shown.push_str(&format!("$ kiln build {}\n{}\n", args.join(" "), project_requests(args)));
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
