//! A walk through each stage with the values that its variables have, as a build would see them.
//!
//! What is expanded, with which variables and in which order, is BuildKit's dispatch. Knows nothing of files.

use super::bases::{self, Globals};
use super::env::Env;
use super::stages::{self, Stage, Stages};
use super::{Options, Out, Rule, secrets};
use crate::ast::{self, Command, CommandLine, Document, Instruction, Source, Word};
use crate::expand::{self, Expanded};
use crate::mount::Mount;
use crate::span::Span;
use crate::{expose, parser};
use std::collections::HashSet;

/// Build arguments that are no variables.
const NO_VARIABLES: [&str; 2] = ["BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"];

/// What image the variables of a stage begin with if nobody says otherwise.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage has come to.
#[derive(Clone, Default)]
struct State {
    env: Env,
    /// Names that an ARG of the stage declares.
    args: HashSet<String>,
    workdir_set: bool,
    has_shell: bool,
    triggers: Vec<Instruction>,
}

/// Walks through the stages that are asked for.
pub(super) fn check(stages: &Stages<'_>, globals: &Globals, document: &Document, options: &Options<'_>, out: &mut Out) {
    let Some(target) = stages::target(stages, options.target) else { return };
    let all = options.all_stages && options.target.is_none();
    let wanted = if all { vec![true; stages.list.len()] } else { stages::reachable(stages, target) };
    // A state is moved to its last heir: a long chain of stages copies none.
    let mut heirs = vec![0_usize; stages.list.len()];
    for parent in stages.list.iter().zip(&wanted).filter(|(_, wanted)| **wanted).filter_map(|(stage, _)| stage.parent) {
        heirs[parent] += 1;
    }
    let mut states: Vec<Option<State>> = Vec::with_capacity(stages.list.len());
    for (index, stage) in stages.list.iter().enumerate() {
        if !wanted[index] {
            states.push(None);
            continue;
        }
        let state = match stage.parent {
            Some(parent) => {
                heirs[parent] -= 1;
                let state = if heirs[parent] == 0 { states[parent].take() } else { states[parent].clone() };
                state.unwrap_or_default()
            }
            None => begin(stage, options),
        };
        let walk = Walk { globals, options, escape: document.directives.escape, from: stage.from };
        let state = walk.stage(stage, state, out);
        states.push((heirs[index] > 0).then_some(state));
    }
}

/// The state in which a stage begins that is made from an image.
fn begin(stage: &Stage<'_>, options: &Options<'_>) -> State {
    let mut state = State::default();
    let platform = stage.platform.as_ref().unwrap_or(options.platform);
    let known = if stage.base == "scratch" { None } else { (options.base)(&stage.base, platform) };
    if let Some(base) = known {
        for (name, value) in &base.env {
            state.env.set(name, value.as_str());
        }
        state.has_shell = base.has_shell;
        // A trigger that cannot be read is the base's fault, and the build tells it.
        state.triggers = base.on_build.iter().filter_map(|text| parser::parse_trigger(text).ok()).collect();
    }
    if expand::Variables::get(&state.env, "PATH").is_none() && platform.os != "windows" {
        state.env.set("PATH", DEFAULT_PATH);
    }
    state
}

struct Walk<'a> {
    globals: &'a Globals,
    options: &'a Options<'a>,
    escape: char,
    from: &'a Instruction,
}

/// The last instruction of each kind of which only one counts.
#[derive(Default)]
struct Seen<'a> {
    cmd: Option<&'a Instruction>,
    entrypoint: Option<&'a Instruction>,
    healthcheck: Option<&'a Instruction>,
}

impl Walk<'_> {
    fn stage(&self, stage: &Stage<'_>, mut state: State, out: &mut Out) -> State {
        for (name, value) in &stage.head.bindings {
            state.env.set(name, value.as_str());
            state.args.insert(name.clone());
        }
        let triggers = std::mem::take(&mut state.triggers);
        let mut seen = Seen::default();
        for trigger in &triggers {
            // A trigger has no place of its own: it stands where it fires.
            let mut placed = trigger.clone();
            (placed.first_line, placed.last_line) = (self.from.first_line, self.from.last_line);
            placed.span = self.from.span;
            self.instruction(&placed, true, &mut state, out);
        }
        for instruction in stage.instructions {
            once(instruction, &mut seen, out);
            if !self.instruction(instruction, false, &mut state, out) {
                break;
            }
        }
        state
    }

    /// Checks one instruction and carries it out on the state; `false` where a word of it has no value, with which
    /// BuildKit's walk ends.
    fn instruction(&self, at: &Instruction, fired: bool, state: &mut State, out: &mut Out) -> bool {
        let errors = out.errors.len();
        match &at.command {
            Command::Env(assignments) => {
                let pairs = self.assignments(assignments, at, fired, state, out);
                for (word, name, value) in pairs {
                    secret("ENV", &name, word.span, at, fired, out);
                    state.env.set(&name, value);
                }
            }
            Command::Label(assignments) => {
                self.assignments(assignments, at, fired, state, out);
            }
            Command::Arg(declarations) => self.arg(declarations, at, fired, state, out),
            Command::Run(run) => self.run(run, at, fired, state, out),
            Command::Copy(copy) => {
                let flags = [&copy.chown, &copy.chmod];
                let ignored = copy.from.is_none().then_some("Copy");
                self.files(&flags, &copy.sources, &copy.destination, ignored, at, fired, state, out);
            }
            Command::Add(add) => {
                let flags = [&add.chown, &add.chmod, &add.checksum];
                self.files(&flags, &add.sources, &add.destination, Some("Add"), at, fired, state, out);
            }
            Command::Workdir(path) => self.workdir(path, at, fired, state, out),
            Command::User(word) | Command::StopSignal(word) => {
                self.word(word, at, fired, state, out);
            }
            Command::Volume(words) => {
                for word in words {
                    self.word(word, at, fired, state, out);
                }
            }
            Command::Expose(words) => self.expose(words, at, fired, state, out),
            Command::Cmd(line) | Command::Entrypoint(line) => shell_form(line, at, fired, state, out),
            Command::Shell(_) => state.has_shell = true,
            Command::OnBuild(trigger) => state.triggers.push(trigger.instruction.as_ref().clone()),
            Command::From(_) | Command::Healthcheck(_) | Command::Maintainer(_) => {}
            Command::Export(export) => {
                for word in [&export.path, &export.directory] {
                    self.word(word, at, fired, state, out);
                }
            }
        }
        out.errors.len() == errors
    }

    /// Expands a word; `None` where it has no value, which is noted.
    fn word(&self, word: &Word, at: &Instruction, fired: bool, state: &State, out: &mut Out) -> Option<String> {
        match expand::word(&word.value, self.escape, &state.env) {
            Ok(expanded) => {
                self.undefined(&expanded, place(word.span, at, fired), at, state, out);
                Some(expanded.value)
            }
            Err(error) => {
                out.errors.push(bases::failed(&Word::new(String::new(), place(word.span, at, fired)), &error));
                None
            }
        }
    }

    fn undefined(&self, expanded: &Expanded, span: Span, at: &Instruction, state: &State, out: &mut Out) {
        for name in &expanded.unset {
            if state.args.contains(name) || NO_VARIABLES.contains(&name.as_str()) || !out.wants(Rule::UndefinedVar, at)
            {
                continue;
            }
            let mut message = format!("Usage of undefined variable '${name}'");
            let help = match state.env.nearest(name) {
                Some(guess) => {
                    message += &format!(" (did you mean ${guess}?)");
                    format!("write ${guess}, or declare ARG {name} or ENV {name}=… above")
                }
                None if self.globals.declared.contains(name) => {
                    format!("an ARG before the first FROM is seen by FROM only: repeat ARG {name} in this stage")
                }
                // An ARG without a value is none of the variables that Docker guesses from.
                None => match crate::suggest::nearest(name, state.args.iter().map(String::as_str)) {
                    Some(guess) => format!("did you mean ${guess}? Else declare ARG {name} or ENV {name}=… above"),
                    None => format!("declare ARG {name} or ENV {name}=… above"),
                },
            };
            out.report(Rule::UndefinedVar, at, span, message, help);
        }
    }

    fn assignments<'w>(
        &self,
        assignments: &'w ast::Assignments,
        at: &Instruction,
        fired: bool,
        state: &State,
        out: &mut Out,
    ) -> Vec<(&'w Word, String, String)> {
        let mut pairs = Vec::with_capacity(assignments.pairs.len());
        for (key, value) in &assignments.pairs {
            let (Some(name), Some(text)) =
                (self.word(key, at, fired, state, out), self.word(value, at, fired, state, out))
            else {
                return Vec::new();
            };
            if assignments.legacy {
                let keyword = &at.keyword.value;
                let message =
                    format!("\"{keyword} key=value\" should be used instead of legacy \"{keyword} key value\" format");
                let span = place(Span { start: key.span.start, end: value.span.end }, at, fired);
                out.report(Rule::LegacyKeyValueFormat, at, span, message, modern(keyword, &key.value, &value.value));
            }
            pairs.push((key, name, text));
        }
        pairs
    }

    fn arg(&self, declarations: &[ast::ArgDecl], at: &Instruction, fired: bool, state: &mut State, out: &mut Out) {
        for declaration in declarations {
            let name = &declaration.name.value;
            secret("ARG", name, declaration.name.span, at, fired, out);
            let value = match (bases::build_arg(self.options, name), &declaration.default) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(default)) => match self.word(default, at, fired, state, out) {
                    Some(value) => Some(value),
                    None => return,
                },
                (None, None) => expand::Variables::get(&self.globals.env, name).map(str::to_owned),
            };
            if let Some(value) = value
                && !NO_VARIABLES.contains(&name.as_str())
            {
                state.env.set(name, value);
            }
            state.args.insert(name.clone());
        }
    }

    fn run(&self, run: &ast::Run, at: &Instruction, fired: bool, state: &State, out: &mut Out) {
        for word in &run.mounts {
            let mut undefined = Vec::new();
            let mut expand = |value: &str| {
                let expanded = expand::word(value, self.escape, &state.env).map_err(|error| error.to_string())?;
                undefined.push(Expanded { value: String::new(), ..expanded.clone() });
                Ok(expanded.value)
            };
            let mount = Mount::parse(&word.value, &mut expand);
            let span = place(word.span, at, fired);
            for expanded in &undefined {
                self.undefined(expanded, span, at, state, out);
            }
            if let Err(error) = mount {
                out.errors.push(crate::diagnostic::Diagnostic::error("InvalidMount", span, error.to_string()));
                return;
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "COPY and ADD differ in these parts only")]
    fn files(
        &self,
        flags: &[&Option<Word>],
        sources: &[Source],
        destination: &Word,
        reads_context: Option<&str>,
        at: &Instruction,
        fired: bool,
        state: &State,
        out: &mut Out,
    ) {
        for flag in flags.iter().copied().flatten() {
            self.word(flag, at, fired, state, out);
        }
        let mut paths = Vec::with_capacity(sources.len());
        for source in sources {
            if let Source::Path(word) = source {
                paths.extend(self.word(word, at, fired, state, out).map(|path| (word, path)));
            }
        }
        self.word(destination, at, fired, state, out);
        for source in sources {
            let Source::Heredoc(index) = source else { continue };
            let Some(heredoc) = at.heredocs.get(*index).filter(|heredoc| heredoc.expand) else { continue };
            match expand::heredoc(&heredoc.content, &state.env) {
                Ok(expanded) => self.undefined(&expanded, place(heredoc.span, at, fired), at, state, out),
                Err(error) => {
                    let word = Word::new(String::new(), place(heredoc.span, at, fired));
                    out.errors.push(bases::failed(&word, &error));
                }
            }
        }
        if let Some(verb) = reads_context {
            for (word, path) in paths {
                self.ignored(verb, word, &path, at, fired, out);
            }
        }
    }

    /// Whether a source is excluded from the context.
    fn ignored(&self, verb: &str, word: &Word, path: &str, at: &Instruction, fired: bool, out: &mut Out) {
        let Some(ignore) = self.options.ignore else { return };
        // Which of the files below a directory an exception takes back cannot be said from the list alone.
        if ignore.is_empty() || ignore.has_negated() || is_remote(path) {
            return;
        }
        let path = clean(path);
        let is_root = path == "." || path == "/";
        let (excluded, line) = match ignore.matching_line(path.as_bytes()) {
            _ if is_root => (ignore.excludes_everything(), None),
            found => (ignore.excluded(path.as_bytes(), false), found),
        };
        if excluded {
            let message = format!(
                "Attempting to {verb} file {} that is excluded by .dockerignore",
                crate::quote::go_quote(&path)
            );
            let help = match line {
                Some((line, pattern)) => format!(
                    "line {line} of the ignore file, {pattern:?}, excludes it: change that line, or remove the source"
                ),
                None => {
                    "the ignore file excludes everything: take the file back with a line that begins with !".to_owned()
                }
            };
            out.report(Rule::CopyIgnoredFile, at, place(word.span, at, fired), message, help);
        }
    }

    fn workdir(&self, path: &Word, at: &Instruction, fired: bool, state: &mut State, out: &mut Out) {
        let Some(value) = self.word(path, at, fired, state, out) else { return };
        let is_drive = |text: &str| {
            text.as_bytes().get(1) == Some(&b':') && text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        };
        let windows = self.options.platform.os == "windows" && (value.starts_with('\\') || is_drive(&value));
        if !state.workdir_set && !value.starts_with('/') && !windows {
            let message = format!(
                "Relative workdir {} can have unexpected results if the base image changes",
                crate::quote::go_quote(&value)
            );
            let help = format!("write an absolute path: WORKDIR /{}", value.trim_start_matches("./"));
            out.report(Rule::WorkdirRelativePath, at, place(path.span, at, fired), message, help);
        }
        state.workdir_set = true;
    }

    fn expose(&self, words: &[Word], at: &Instruction, fired: bool, state: &State, out: &mut Out) {
        for word in words {
            let span = place(word.span, at, fired);
            let ports = match expand::words(&word.value, self.escape, &state.env) {
                Ok(ports) => ports,
                Err(error) => {
                    out.errors.push(bases::failed(&Word::new(String::new(), span), &error));
                    return;
                }
            };
            for port in ports {
                if let Err(error) = expose::ports(&port) {
                    out.errors.push(crate::diagnostic::Diagnostic::error("InvalidPort", span, error.to_string()));
                    return;
                }
                let (has_host, has_upper) = expose::is_odd(&port);
                if has_upper {
                    let message = format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
                    let help = format!("write {}", port.to_lowercase());
                    out.report(Rule::ExposeProtoCasing, at, span, message, help);
                }
                if has_host {
                    let message = format!(
                        "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
                    );
                    let container = port.rsplit(':').next().unwrap_or_default();
                    let help = format!("write EXPOSE {container}; the mapping is made by docker run -p");
                    out.report(Rule::ExposeInvalidFormat, at, span, message, help);
                }
            }
        }
    }
}

/// The place of a word; one of a trigger stands where the trigger fires.
fn place(span: Span, at: &Instruction, fired: bool) -> Span {
    if fired { at.span } else { span }
}

fn secret(keyword: &str, name: &str, span: Span, at: &Instruction, fired: bool, out: &mut Out) {
    if secrets::is_secret(name) {
        let message = format!(
            "Do not use ARG or ENV instructions for sensitive data ({keyword} {})",
            crate::quote::go_quote(name)
        );
        let help = "give it to the command that needs it: RUN --mount=type=secret,id=…,env=…";
        out.report(Rule::SecretsUsedInArgOrEnv, at, place(span, at, fired), message, help);
    }
}

/// The instruction in the form with `=`.
fn modern(keyword: &str, key: &str, value: &str) -> String {
    let special = |c: char| matches!(c, '"' | '\'' | '\\');
    let is_quoted = ['"', '\''].iter().any(|quote| {
        let inner = value.strip_prefix(*quote).and_then(|rest| rest.strip_suffix(*quote));
        inner.is_some_and(|inner| !inner.contains(special))
    });
    let value = match (value.contains(special), value.contains(char::is_whitespace)) {
        (false, true) => format!("\"{value}\""),
        (false, false) => value.to_owned(),
        (true, _) if is_quoted => value.to_owned(),
        _ => "\"…\"".to_owned(),
    };
    format!("write {keyword} {key}={value}")
}

/// Of CMD, ENTRYPOINT and HEALTHCHECK only the last in a stage counts.
fn once<'a>(at: &'a Instruction, seen: &mut Seen<'a>, out: &mut Out) {
    let slot = match &at.command {
        Command::Cmd(_) => &mut seen.cmd,
        Command::Entrypoint(_) => &mut seen.entrypoint,
        Command::Healthcheck(_) => &mut seen.healthcheck,
        _ => return,
    };
    if let Some(before) = slot.replace(at)
        && out.wants(Rule::MultipleInstructionsDisallowed, at)
    {
        let keyword = &at.keyword.value;
        let message = format!(
            "Multiple {keyword} instructions should not be used in the same stage because only the last one will be used"
        );
        let help = format!("remove this {keyword}");
        let finding = out.report(Rule::MultipleInstructionsDisallowed, before, before.keyword.span, message, help);
        if let Some(finding) = finding {
            finding.related.push((at.keyword.span, "this one is used".to_owned()));
        }
    }
}

fn shell_form(line: &CommandLine, at: &Instruction, fired: bool, state: &State, out: &mut Out) {
    let CommandLine::Shell(text) = line else { return };
    if state.has_shell {
        return;
    }
    let keyword = &at.keyword.value;
    let message =
        format!("JSON arguments recommended for {keyword} to prevent unintended behavior related to OS signals");
    let help = match exec_form(text) {
        Some(array) => format!("write {keyword} {array}"),
        None => format!("write {keyword} [\"executable\", \"argument\"], or set SHELL if a shell is wanted"),
    };
    out.report(Rule::JSONArgsRecommended, at, place(at.keyword.span, at, fired), message, help);
}

/// The exec form of a command that needs no shell.
fn exec_form(text: &str) -> Option<String> {
    let needs_shell = |c: char| "$`\"'\\|&;<>()*?[]{}~#!=\n".contains(c);
    if text.trim().is_empty() || text.contains(needs_shell) {
        return None;
    }
    let words: Vec<String> = text.split_whitespace().map(|word| format!("\"{word}\"")).collect();
    Some(format!("[{}]", words.join(", ")))
}

fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@"].iter().any(|prefix| path.starts_with(prefix))
}

/// Go's `path.Clean`.
fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if rooted => {}
            part => parts.push(part),
        }
    }
    match (rooted, parts.join("/")) {
        (true, rest) => format!("/{rest}"),
        (false, rest) if rest.is_empty() => ".".to_owned(),
        (false, rest) => rest,
    }
}
