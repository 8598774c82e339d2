//! What each instruction adds to its stage: a step, or a change of the configuration.
//!
//! Follows BuildKit's dispatch in what is expanded with which variables and in what the history
//! says. Pure.

use super::Planner;
use super::scope::set_in_config;
use super::sources::{RemoteFlags, Sources};
use super::stages::{self, StageText};
use super::state::StageState;
use super::step::{Base, CopyStep, Export, Origin, RunMount, RunStep, Step, StepKind, WorkdirStep};
use crate::copy::select::Matching;
use crate::graph::NodeId;
use crate::image::config::Healthcheck as HealthcheckConfig;
use crate::image::history;
use kiln_dsl::ast::{self, Command, CommandLine, Healthcheck, Instruction, Source, Word};
use kiln_dsl::chmod::Mode;
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::expand::{self, Variables as _};
use kiln_dsl::mount::{Mount, MountKind};
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;
use kiln_dsl::{expose, shell, signal};

/// Where the content of a script heredoc appears in the step's root.
pub const SCRIPT_DIR: &str = "/dev/pipes";

/// The build argument that names the host that steps see.
const HOSTNAME: &str = "BUILDKIT_SANDBOX_HOSTNAME";

/// Where the socket of an ssh agent appears, its number behind it, as in BuildKit.
const SSH_SOCKET: &str = "/run/buildkit/ssh_agent.";

/// Arguments that every RUN sees as variables without being declared, and that no key holds.
const PROXY_ARGS: [&str; 10] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "FTP_PROXY",
    "ftp_proxy",
    "NO_PROXY",
    "no_proxy",
    "ALL_PROXY",
    "all_proxy",
];

/// The `from` of a mount as written; it may hold no variable.
pub fn mount_from(text: &str) -> Option<String> {
    Mount::parse(text, &mut |value| Ok(value.to_owned())).ok().and_then(|mount| mount.from)
}

impl Planner<'_> {
    /// Plans one instruction of `stage`.
    pub(super) fn instruction(
        &mut self,
        instruction: &Instruction,
        stage: &StageText<'_>,
        state: &mut StageState,
        is_trigger: bool,
    ) {
        let before = state.node;
        self.line = if is_trigger { stage.from.first_line } else { instruction.first_line };
        self.is_tainted = state.is_tainted;
        let text = self.dispatch(instruction, stage, state);
        state.is_tainted = self.is_tainted;
        let node = state.node.filter(|node| before != Some(*node));
        let line = if is_trigger { 0 } else { instruction.first_line };
        let values = match &instruction.command {
            Command::Arg(declarations) => {
                declarations.iter().map(|one| state.scope.get(&one.name.value).map(str::to_owned)).collect()
            }
            _ => Vec::new(),
        };
        self.show(state, stage, (text, values), (line, instruction.span), node);
    }

    /// Gives a branch its variables, as an ARG right behind its FROM would whose values no build changes.
    pub(super) fn bind(&mut self, bindings: &[(String, String)], stage: &StageText<'_>, state: &mut StageState) {
        for (name, value) in bindings {
            state.scope.set(name, value.clone());
            state.args.push((name.clone(), Some(value.clone())));
        }
        let pairs: Vec<_> = bindings.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect();
        let text = history::arg(&pairs);
        state.commit(text.clone(), None);
        self.line = stage.from.first_line;
        let values = bindings.iter().map(|(_, value)| Some(value.clone())).collect();
        self.show(state, stage, (text, values), (stage.from.first_line, stage.from.span), None);
    }

    /// Expands a word; what is wrong is noted, and stands for itself unexpanded.
    fn word(&mut self, word: &Word, state: &StageState) -> String {
        stages::word(&word.value, word.span, self.escape, &state.scope, &mut self.problems)
            .unwrap_or_else(|| word.value.clone())
    }

    fn error(&mut self, code: &'static str, word: &Word, message: impl Into<String>) {
        self.problems.push(Diagnostic::error(code, word.span, message));
    }

    /// Whether the build's owner allows what a flag asks for; refuses it if not.
    fn allow(&mut self, flag: &str, entitlement: &str, allowed: bool, word: &Word) -> bool {
        if !allowed {
            let message = format!("RUN {flag} needs the entitlement {entitlement}, which the build was not given");
            let help = format!("if you trust this file, build with --allow {entitlement}");
            self.problems.push(Diagnostic::error("NotAllowed", word.span, message).with_help(help));
        }
        allowed
    }

    fn add(
        &mut self,
        kind: StepKind,
        inputs: Vec<NodeId>,
        (stage, span): (&StageText<'_>, Span),
        state: &mut StageState,
    ) -> NodeId {
        let step = Step {
            kind,
            parent: state.node,
            shown: self.interned.shown.len(),
            stage: stage.label(),
            ordinal: state.ordinal + 1,
        };
        let node = self.interned.step(span, step, state.node.into_iter().chain(inputs).collect());
        state.node = Some(node);
        node
    }

    /// Carries the instruction out on the state; gives its text with values expanded.
    fn dispatch(&mut self, instruction: &Instruction, stage: &StageText<'_>, state: &mut StageState) -> String {
        match &instruction.command {
            // A FROM begins a stage and stands in none.
            Command::From(_) => instruction.original.clone(),
            Command::Arg(declarations) => self.arg(declarations, state),
            Command::Env(assignments) => {
                let pairs = self.assignments(assignments, state);
                for (name, value) in &pairs {
                    state.scope.set(name, value.clone());
                    set_in_config(&mut state.config.config.env, name, value);
                }
                let text = history::env(&pairs);
                state.commit(text.clone(), None);
                text
            }
            Command::Label(assignments) => {
                let pairs = self.assignments(assignments, state);
                for (name, value) in &pairs {
                    state.config.config.labels.insert(name.clone(), value.clone());
                }
                let text = history::label(&pairs);
                state.commit(text.clone(), None);
                text
            }
            Command::Run(run) => self.run(run, instruction, stage, state),
            Command::Copy(copy) => self.copy(copy, instruction, stage, state),
            Command::Add(add) => self.add_files(add, instruction, stage, state),
            Command::Workdir(path) => self.workdir(path, (stage, instruction.span), state),
            Command::User(user) => {
                let user = self.word(user, state);
                state.config.config.user = user.clone();
                let text = history::user(&user);
                state.commit(text.clone(), None);
                text
            }
            Command::Cmd(line) => {
                let argv = with_shell(line, state);
                state.config.config.cmd = argv.clone();
                state.config.config.args_escaped = true;
                state.cmd_set = true;
                let text = history::cmd(&argv);
                state.commit(text, None);
                one_line(&instruction.original)
            }
            Command::Entrypoint(line) => {
                let argv = with_shell(line, state);
                state.config.config.entrypoint = argv.clone();
                if !state.cmd_set {
                    state.config.config.cmd.clear();
                }
                state.commit(history::entrypoint(&argv), None);
                one_line(&instruction.original)
            }
            Command::Shell(argv) => {
                state.config.config.shell = argv.clone();
                state.commit(history::shell(argv), None);
                one_line(&instruction.original)
            }
            Command::Expose(words) => self.expose(words, state),
            Command::Volume(paths) => {
                let words = paths;
                let paths: Vec<String> = words.iter().map(|path| self.word(path, state)).collect();
                for (word, _) in words.iter().zip(&paths).filter(|(_, path)| path.is_empty()) {
                    self.error("BlankVolume", word, "a volume cannot be an empty path");
                }
                state.config.config.volumes.extend(paths.iter().cloned());
                let text = history::volume(&paths);
                state.commit(text.clone(), None);
                text
            }
            Command::StopSignal(word) => {
                let name = self.word(word, state);
                if let Err(error) = signal::validate(&name) {
                    self.error("InvalidSignal", word, error.to_string());
                }
                state.config.config.stop_signal = name.clone();
                let text = history::stopsignal(&name);
                state.commit(text.clone(), None);
                text
            }
            Command::Healthcheck(check) => {
                let config = healthcheck(check);
                state.commit(history::healthcheck(&config), None);
                state.config.config.healthcheck = Some(config);
                one_line(&instruction.original)
            }
            Command::OnBuild(trigger) => {
                state.config.config.on_build.push(trigger.text.clone());
                one_line(&instruction.original)
            }
            Command::Export(export) => self.export(export, instruction, state),
            Command::Maintainer(name) => {
                state.config.author = name.value.clone();
                let text = history::maintainer(&name.value);
                state.commit(text.clone(), None);
                text
            }
        }
    }

    fn assignments(&mut self, assignments: &ast::Assignments, state: &StageState) -> Vec<(String, String)> {
        assignments.pairs.iter().map(|(name, value)| (self.word(name, state), self.word(value, state))).collect()
    }

    fn arg(&mut self, declarations: &[ast::ArgDecl], state: &mut StageState) -> String {
        // All defaults see the values from before the instruction, and the history shows them whatever the
        // build gave.
        let texts: Vec<(String, Option<String>)> = declarations
            .iter()
            .map(|one| (one.name.value.clone(), one.default.as_ref().map(|default| self.word(default, state))))
            .collect();
        for (name, default) in &texts {
            let given = self.options.build_arg(name).map(str::to_owned).or_else(|| default.clone());
            self.is_tainted |= given.is_none() && self.globals.is_tainted(name);
            let value = given.or_else(|| self.globals.scope.get(name).map(str::to_owned));
            if let Some(value) = &value {
                state.scope.set(name, value.clone());
            }
            state.args.push((name.clone(), value));
        }
        let text = history::arg(&texts);
        state.commit(text.clone(), None);
        text
    }

    fn export(&mut self, export: &ast::Export, instruction: &Instruction, state: &StageState) -> String {
        let path = join(state.workdir(), &self.word(&export.path, state), false);
        let written = self.word(&export.directory, state);
        if !matches!(self.options.main, super::ContextBase::Local(_)) {
            let message = "EXPORT writes into the context, and this one is no directory of the host";
            let finding = Diagnostic::error("InvalidExport", instruction.span, message);
            self.problems.push(finding.with_help("build from a directory, or take the files with --output"));
        }
        let parts: Vec<&str> = written.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        if written.starts_with('/') || parts.contains(&"..") {
            let message = format!("EXPORT writes into the project only, and {written:?} leads out of it");
            let finding = Diagnostic::error("InvalidExport", export.directory.span, message);
            self.problems.push(finding.with_help("name a directory below the context: AS \"dist\""));
        }
        let text = format!("EXPORT {path} AS {written:?}");
        let found = Export { node: state.node, path, directory: parts.join("/"), span: instruction.span };
        if !self.exports.contains(&found) {
            self.exports.push(found);
        }
        text
    }

    fn expose(&mut self, words: &[Word], state: &mut StageState) -> String {
        let mut ports = Vec::new();
        for word in words {
            match expand::words(&word.value, self.escape, &state.scope) {
                Ok(texts) => {
                    for text in texts {
                        match expose::ports(&text) {
                            Ok(found) => ports.extend(found),
                            Err(error) => self.error("InvalidPort", word, error.to_string()),
                        }
                    }
                }
                Err(error) => self.error("InvalidExpansion", word, error.to_string()),
            }
        }
        ports.sort();
        ports.dedup();
        state.config.config.exposed_ports.extend(ports.iter().cloned());
        state.commit(history::expose(&ports), None);
        format!("EXPOSE {}", ports.join(" "))
    }

    fn workdir(&mut self, path: &Word, place: (&StageText<'_>, Span), state: &mut StageState) -> String {
        let written = self.word(path, state);
        let path = join(state.workdir(), &written, false);
        // The configuration has an absolute path as it is written.
        state.config.config.working_dir = if written.starts_with('/') { written } else { path.clone() };
        let text = history::workdir(&state.config.config.working_dir);
        let node = (path != "/").then(|| {
            let user = state.config.config.user.clone();
            self.add(StepKind::Workdir(WorkdirStep { path, user }), Vec::new(), place, state)
        });
        state.commit(text.clone(), node);
        text
    }

    /// What `--from` or `from=` means: an earlier stage or an image.
    fn origin(&mut self, from: &Word, by_number: bool, stage: &StageText<'_>, state: &StageState) -> Option<Origin> {
        let name = from.value.clone();
        if from.value.contains('$') && self.word(from, state) != name {
            let message = format!("variables are not expanded here: {name}");
            let help = "name a stage made by FROM with the variable, and read from that stage";
            self.problems.push(Diagnostic::error("VariableInFrom", from.span, message).with_help(help));
            return None;
        }
        if let Some(index) = self.stage_named(&name, stage.index, by_number) {
            self.stage(index);
            let source = self.done[index].as_ref()?;
            self.is_tainted |= source.is_tainted;
            return Some(Origin::Step { node: source.node, name: format!("stage {:?}", self.stages[index].label()) });
        }
        let later = stages::by_name(self.stages, &name)
            .or_else(|| name.parse().ok().filter(|&index: &usize| by_number && index < self.stages.len()));
        if let Some(index) = later {
            let other = &self.stages[index];
            let (message, label) = if index == stage.index {
                (format!("circular dependency: stage {name:?} reads from itself"), "the stage begins here")
            } else {
                (format!("stage {name:?} is defined after it is used here"), "defined here")
            };
            let finding = Diagnostic::error("ForwardReference", from.span, message)
                .with_related(other.from.span, label)
                .with_help("move the stage above the one that uses it");
            self.problems.push(finding);
            return None;
        }
        if by_number && name.bytes().all(|b| b.is_ascii_digit()) {
            let message = format!("there is no stage {name}: the file has {}", self.stages.len());
            self.problems.push(Diagnostic::error("UnknownStage", from.span, message));
            return None;
        }
        if name == "scratch" {
            return Some(Origin::Step { node: None, name });
        }
        let platform = state.platform.clone();
        if let Some(base) = self.context_named(&name, &platform) {
            return self.context_origin(&base, &name, stage, &platform, from.span);
        }
        let node = self.image_node(&name, &platform, stage, from.span)?;
        Some(Origin::Step { node: Some(node), name: format!("image {name}") })
    }

    /// The step that takes an image for COPY or a mount, once for each; `None` while its configuration is not known.
    pub(super) fn image_node(
        &mut self,
        name: &str,
        platform: &Platform,
        stage: &StageText<'_>,
        span: Span,
    ) -> Option<NodeId> {
        let known = self.image(name, platform, span)?;
        let key = (name.to_owned(), platform.clone());
        if let Some(node) = self.pulled.get(&key) {
            return Some(*node);
        }
        let base = Base::Image { key: known.key, name: name.to_owned() };
        let text = (format!("FROM {name}"), platform.to_string());
        let node = self.helper(StepKind::Base(base), None, Vec::new(), text, stage, span);
        self.pulled.insert(key, node);
        Some(node)
    }

    pub(super) fn near_stage(&self, name: &str) -> Option<String> {
        let names = self.stages.iter().filter_map(|stage| stage.name.as_deref());
        kiln_dsl::suggest::nearest(name, names).map(str::to_owned)
    }

    fn copy(
        &mut self,
        copy: &ast::Copy,
        instruction: &Instruction,
        stage: &StageText<'_>,
        state: &mut StageState,
    ) -> String {
        let mut flags = Vec::new();
        let origin = match &copy.from {
            None => self.main_context(stage, instruction.span),
            Some(from) => {
                flags.push(format!("--from={}", from.value));
                match self.origin(from, true, stage, state) {
                    Some(origin) => origin,
                    None => return one_line(&instruction.original),
                }
            }
        };
        let parts = Parts {
            keyword: "COPY",
            sources: &copy.sources,
            destination: &copy.destination,
            chown: copy.chown.as_ref(),
            chmod: copy.chmod.as_ref(),
            link: copy.link,
            excludes: &copy.excludes,
            unpack: false,
            matching: if copy.parents { Matching::Parents } else { Matching::Patterns },
            remote: None,
        };
        self.copy_step(&parts, origin, flags, instruction, stage, state)
    }

    fn add_files(
        &mut self,
        add: &ast::Add,
        instruction: &Instruction,
        stage: &StageText<'_>,
        state: &mut StageState,
    ) -> String {
        let checksum = add.checksum.as_ref().map(|word| Word::new(self.word(word, state), word.span));
        let mut flags: Vec<String> = checksum.iter().map(|word| format!("--checksum={}", word.value)).collect();
        flags.extend(add.keep_git_dir.map(|yes| format!("--keep-git-dir={yes}")));
        flags.extend(add.unpack.map(|yes| format!("--unpack={yes}")));
        let remote = RemoteFlags { checksum, keep_git_dir: add.keep_git_dir };
        let parts = Parts {
            keyword: "ADD",
            sources: &add.sources,
            destination: &add.destination,
            chown: add.chown.as_ref(),
            chmod: add.chmod.as_ref(),
            link: add.link,
            excludes: &add.excludes,
            unpack: add.unpack.unwrap_or(true),
            matching: Matching::Patterns,
            remote: Some((remote, add.unpack.unwrap_or(false))),
        };
        let origin = self.main_context(stage, instruction.span);
        self.copy_step(&parts, origin, flags, instruction, stage, state)
    }

    fn copy_step(
        &mut self,
        parts: &Parts<'_>,
        origin: Origin,
        mut flags: Vec<String>,
        instruction: &Instruction,
        stage: &StageText<'_>,
        state: &mut StageState,
    ) -> String {
        let chown = parts.chown.map(|word| self.word(word, state)).filter(|value| !value.is_empty());
        let chmod_text = parts.chmod.map(|word| self.word(word, state)).filter(|value| !value.is_empty());
        let chmod = match (&chmod_text, parts.chmod) {
            (Some(text), Some(word)) => {
                Mode::parse(text).map_err(|error| self.error("InvalidChmod", word, error.to_string())).ok()
            }
            _ => None,
        };
        let mut sources = Sources::default();
        let mut inline = Vec::new();
        let mut shown_sources = Vec::new();
        let problems = self.problems.len();
        let checksum = parts.remote.as_ref().and_then(|(flags, _)| flags.checksum.as_ref());
        if let (Some(word), [_, _, ..]) = (checksum, parts.sources) {
            self.error("InvalidChecksum", word, "--checksum is for one source, and there are several");
        }
        for source in parts.sources {
            match source {
                Source::Path(word) => {
                    let path = self.word(word, state);
                    let flags = parts.remote.as_ref().map(|(flags, _)| flags);
                    match self.remote_source(&path, word, flags) {
                        Some(remote) => {
                            shown_sources.push(kiln_dsl::remote::redact(&path));
                            sources.remotes.push((remote, word.span));
                        }
                        None => {
                            shown_sources.push(path.clone());
                            sources.paths.push((path, word.span));
                        }
                    }
                }
                Source::Heredoc(index) => {
                    let Some(heredoc) = instruction.heredocs.get(*index) else { continue };
                    let content = if heredoc.expand {
                        match expand::heredoc(&heredoc.content, &state.scope) {
                            Ok(expanded) => expanded.value,
                            Err(error) => {
                                let finding = Diagnostic::error("InvalidExpansion", heredoc.span, error.to_string());
                                self.problems.push(finding);
                                String::new()
                            }
                        }
                    } else {
                        heredoc.content.clone()
                    };
                    inline.push((heredoc.name.clone(), content));
                }
            }
        }
        if let (Some(word), [], true) = (checksum, sources.remotes.as_slice(), problems == self.problems.len()) {
            self.error("InvalidChecksum", word, "--checksum is for a URL or a git repository");
        }
        let written = self.word(parts.destination, state);
        let workdir = state.workdir();
        let destination = join(workdir, if matches!(&*written, "" | ".") { "./" } else { &written }, true);
        shown_sources.extend(inline.iter().map(|(name, _)| format!("<<{name}")));
        let told = history::CopyFlags { chown: chown.as_deref(), chmod: chmod_text.as_deref(), ..Default::default() };
        let created_by = match parts.keyword {
            "ADD" => history::add(told, &shown_sources, &written),
            _ => history::copy(told, &shown_sources, &written),
        };
        flags.extend(chown.iter().map(|value| format!("--chown={value}")));
        flags.extend(chmod_text.iter().map(|value| format!("--chmod={value}")));
        flags.extend(parts.link.then(|| "--link".to_owned()));
        flags.extend((parts.matching == Matching::Parents).then(|| "--parents".to_owned()));
        flags.extend(parts.excludes.iter().map(|word| format!("--exclude={}", word.value)));
        let text = [parts.keyword.to_owned()]
            .into_iter()
            .chain(flags)
            .chain(shown_sources)
            .chain([written])
            .collect::<Vec<_>>();
        let (mut unpack, mut matching, mut from, mut taken) =
            (parts.unpack, parts.matching, origin, sources.paths.clone());
        if let (Some((_, unpacks)), false) = (&parts.remote, sources.remotes.is_empty()) {
            (from, taken) = self.stack(&sources, parts, from, stage);
            (unpack, matching) = (*unpacks, Matching::Literal);
        }
        let inputs = from.node().into_iter().collect();
        let step = CopyStep {
            origin: from,
            sources: taken,
            inline,
            destination,
            chown,
            // As in BuildKit, a --chmod undoes --link.
            link: parts.link && chmod.is_none(),
            chmod,
            excludes: parts.excludes.iter().map(|word| word.value.clone()).collect(),
            unpack,
            matching,
        };
        let node = self.add(StepKind::Copy(Box::new(step)), inputs, (stage, instruction.span), state);
        state.commit(created_by, Some(node));
        text.join(" ")
    }

    fn run(
        &mut self,
        run: &ast::Run,
        instruction: &Instruction,
        stage: &StageText<'_>,
        state: &mut StageState,
    ) -> String {
        if let Some(device) = run.devices.first() {
            let message = format!("--device={}: steps of a build get no devices of the host", device.value);
            let help = "remove the flag; docker knows it in its labs channel only";
            self.problems.push(Diagnostic::error("NoDevices", device.span, message).with_help(help));
        }
        let insecure = match run.security.as_ref().filter(|word| word.value != "sandbox") {
            None => false,
            Some(word) => self.allow("--security=insecure", "security.insecure", self.options.allowed.insecure, word),
        };
        let offline = match run.network.as_ref().map(|word| (word.value.as_str(), word)) {
            None | Some(("default", _)) => self.options.offline,
            Some(("none", _)) => true,
            Some((_, word)) => {
                self.allow("--network=host", "network.host", self.options.allowed.network_host, word);
                false
            }
        };
        let (argv, script) = command(run, instruction, state);
        let mut inputs = Vec::new();
        let mut mounts = Vec::new();
        let mut agents = 0;
        for word in &run.mounts {
            mounts.extend(self.mount(word, stage, state, &mut inputs, &mut agents));
        }
        let key = instruction.key.as_ref().and_then(|key| self.declared(key, stage, state, &mut inputs)).map(Box::new);
        // Outer mounts first, so that none hides another.
        mounts.sort_by_key(|mount| mount.target.matches('/').count());
        let declared: Vec<String> = state.args.iter().map(|(name, _)| name.clone()).collect();
        let proxies = PROXY_ARGS
            .iter()
            .filter(|name| state.scope.get(name).is_none())
            .filter_map(|name| Some(((*name).to_owned(), self.options.build_arg(name)?.to_owned())))
            .collect();
        let step = RunStep {
            argv: argv.clone(),
            env: state.scope.pairs().to_vec(),
            args: declared,
            proxies,
            workdir: join("/", state.workdir(), false),
            user: state.config.config.user.clone(),
            mounts,
            script,
            offline,
            insecure,
            hostname: self.options.build_arg(HOSTNAME).filter(|name| is_host_name(name)).map(str::to_owned),
            platform: state.platform.clone(),
            shell: shell_of(state),
            key,
        };
        let args: Vec<(String, String)> = state
            .args
            .iter()
            .map(|(name, value)| {
                let value = state.scope.get(name).map(str::to_owned).or_else(|| value.clone());
                (name.clone(), value.unwrap_or_default())
            })
            .collect();
        let created_by = history::run(&args, &argv);
        let node = self.add(StepKind::Run(Box::new(step)), inputs, (stage, instruction.span), state);
        state.commit(created_by, Some(node));
        one_line(&instruction.original)
    }

    fn mount(
        &mut self,
        word: &Word,
        stage: &StageText<'_>,
        state: &StageState,
        inputs: &mut Vec<NodeId>,
        agents: &mut usize,
    ) -> Option<RunMount> {
        let escape = self.escape;
        let mut expand = |value: &str| {
            expand::word(value, escape, &state.scope).map(|found| found.value).map_err(|error| error.to_string())
        };
        let mount = match Mount::parse(&word.value, &mut expand) {
            Ok(mount) => mount,
            Err(error) => {
                self.error("InvalidMount", word, error.to_string());
                return None;
            }
        };
        let workdir = state.workdir();
        let default = match mount.kind {
            MountKind::Ssh => {
                let number = *agents;
                *agents += 1;
                Some(format!("{SSH_SOCKET}{number}"))
            }
            MountKind::Secret => secret_target(&mount),
            _ => None,
        };
        let target = mount.target.clone().or(default).unwrap_or_default();
        let target = join(workdir, &target, false);
        if target == "/" && (mount.kind != MountKind::Secret || mount.target.is_some()) {
            self.error("InvalidMount", word, "a mount needs a target, and it cannot be /");
            return None;
        }
        let origin = match (&mount.from, &mount.kind) {
            (Some(from), _) => {
                let origin = self.origin(&Word::new(from.clone(), word.span), false, stage, state)?;
                if let Origin::Step { node: Some(node), .. } = &origin {
                    inputs.push(*node);
                }
                Some(origin)
            }
            (None, MountKind::Bind) => Some(self.main_context(stage, word.span)),
            _ => None,
        };
        Some(RunMount { mount, target, origin, span: word.span })
    }
}

/// Whether a text can be a host name; it becomes a line of a file too.
fn is_host_name(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.'))
}

/// The common parts of COPY and ADD.
pub(super) struct Parts<'a> {
    keyword: &'static str,
    sources: &'a [Source],
    destination: &'a Word,
    chown: Option<&'a Word>,
    chmod: Option<&'a Word>,
    link: bool,
    pub(super) excludes: &'a [Word],
    pub(super) unpack: bool,
    matching: Matching,
    /// What ADD says of sources that are elsewhere, and whether it unpacks them too.
    remote: Option<(RemoteFlags, bool)>,
}

/// Where a secret without a target appears; nowhere if it is a variable.
fn secret_target(mount: &Mount) -> Option<String> {
    if mount.env.is_some() {
        return None;
    }
    let id = mount.id.as_deref().or(mount.source.as_deref()).unwrap_or_default();
    let base = id.rsplit('/').next().unwrap_or_default();
    Some(format!("/run/secrets/{base}"))
}

/// The command of a RUN and the script that it names, if the whole command is a heredoc with `#!`.
fn command(run: &ast::Run, instruction: &Instruction, state: &StageState) -> (Vec<String>, Option<(String, String)>) {
    let CommandLine::Shell(line) = &run.line else { return (with_shell(&run.line, state), None) };
    let mut line = line.clone();
    let mut script = None;
    match instruction.heredocs.as_slice() {
        [] => {}
        [only] if is_heredoc_alone(&line) => {
            line = if only.content.starts_with("#!") {
                script = Some((only.name.clone(), only.content.clone()));
                format!("{SCRIPT_DIR}/{}", only.name)
            } else {
                only.content.clone()
            };
        }
        several => {
            for heredoc in several {
                line += &format!("\n{}{}", heredoc.content, heredoc.name);
            }
        }
    }
    (with_shell(&CommandLine::Shell(line), state), script)
}

/// Whether a command is nothing but `<<WORD`.
fn is_heredoc_alone(line: &str) -> bool {
    let rest = line.trim().trim_start_matches(|c: char| c.is_ascii_digit());
    rest.strip_prefix("<<").is_some_and(|word| !word.is_empty() && !word.contains(char::is_whitespace))
}

fn with_shell(line: &CommandLine, state: &StageState) -> Vec<String> {
    match line {
        CommandLine::Exec(argv) => argv.clone(),
        CommandLine::Shell(text) => {
            let mut argv = shell_of(state);
            argv.push(text.clone());
            argv
        }
    }
}

fn shell_of(state: &StageState) -> Vec<String> {
    match state.config.config.shell.as_slice() {
        [] => shell::DEFAULT.map(str::to_owned).to_vec(),
        argv => argv.to_vec(),
    }
}

fn healthcheck(check: &Healthcheck) -> HealthcheckConfig {
    match check {
        Healthcheck::None => HealthcheckConfig { test: vec!["NONE".to_owned()], ..HealthcheckConfig::default() },
        Healthcheck::Cmd { line, interval, timeout, start_period, start_interval, retries } => {
            let test = match line {
                CommandLine::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                CommandLine::Exec(argv) => [vec!["CMD".to_owned()], argv.clone()].concat(),
            };
            HealthcheckConfig {
                test,
                interval: nanos(*interval),
                timeout: nanos(*timeout),
                start_period: nanos(*start_period),
                start_interval: nanos(*start_interval),
                retries: i64::from(retries.unwrap_or(0)),
            }
        }
    }
}

/// A duration as the configuration keeps it; the parser allows none that does not fit.
fn nanos(duration: Option<u64>) -> i64 {
    i64::try_from(duration.unwrap_or(0)).unwrap_or(i64::MAX)
}

/// `path` as seen from the directory `base`, cleaned; a trailing slash is kept on request.
fn join(base: &str, path: &str, keep_slash: bool) -> String {
    let whole = if path.starts_with('/') { path.to_owned() } else { format!("{base}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in whole.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let mut clean = format!("/{}", parts.join("/"));
    let says_dir = path.ends_with('/') || path.ends_with("/.") || path == ".";
    if keep_slash && says_dir && clean != "/" {
        clean.push('/');
    }
    clean
}

/// An instruction's text for a list of steps: one line.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_cleanly_and_keep_the_slash_that_matters() {
        assert_eq!(join("/app", "src/", true), "/app/src/");
        assert_eq!(join("/app", "./", true), "/app/");
        assert_eq!(join("/", "./", true), "/");
        assert_eq!(join("/app", "../x/./y", false), "/x/y");
        assert_eq!(join("/app", "/abs//z/", false), "/abs/z");
        assert_eq!(join("/a", "../../..", false), "/");
    }

    #[test]
    fn a_command_that_is_only_a_heredoc_is_told_from_one_that_has_one() {
        assert!(is_heredoc_alone("<<EOF"));
        assert!(is_heredoc_alone(" <<-'EOF' "));
        assert!(is_heredoc_alone("3<<EOF"));
        assert!(!is_heredoc_alone("<<EOF bash"));
        assert!(!is_heredoc_alone("cat <<EOF"));
    }
}
