//! A Dockerfile to its [`Document`]: the typed layer over the nodes of the raw one.
//!
//! Never stops at the first error; an instruction that has one is left out of the document. Rules of one instruction
//! are in the file of its family; rules between instructions (what may stand before the first FROM) are here. What
//! depends on variables, on other stages or on files is the engine's plan.

mod config;
mod files;
mod flags;
mod from;
mod matrix;
mod merge;
mod onbuild;
mod reader;
mod run;

use crate::ast::{Command, Directives, Document, Heredoc, Instruction, KeyFlag};
use crate::check::{Config, Rule};
use crate::diagnostic::{Diagnostic, Severity};
use crate::extended::{self, Dialect, include};
use crate::heredoc;
use crate::keyword::Keyword;
use crate::raw::{self, Node};
use crate::source::Sources;
use crate::suggest;

/// A file as it was read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parsed {
    /// What is right in it.
    pub document: Document,
    /// What is wrong with it, in the order of the file, and then of those that it includes.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that all spans count in.
    pub sources: Sources,
}

impl Parsed {
    /// Whether any diagnostic is an error; then the document must not be built.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// An instruction by the rules of lines alone, as BuildKit's parser reports it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawInstruction {
    /// The keyword as written.
    pub cmd: String,
    /// The keyword of ONBUILD's trigger.
    pub sub: Option<String>,
    /// Whether the arguments (the trigger's for ONBUILD) are a JSON array.
    pub json: bool,
    /// The flags, unquoted; for ONBUILD its own.
    pub flags: Vec<String>,
    /// The flags of ONBUILD's trigger, unquoted.
    pub sub_flags: Vec<String>,
    /// The arguments (the trigger's for ONBUILD); keys and values of ENV and LABEL alternate.
    pub value: Vec<String>,
    /// Whether ENV or LABEL was written without `=`.
    pub legacy: bool,
    /// First line, counted from 1.
    pub first_line: u32,
    /// Last line, heredoc terminators included.
    pub last_line: u32,
    /// The heredocs, bodies as written.
    pub heredocs: Vec<Heredoc>,
}

/// A file at the level of lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RawParsed {
    /// The parser directives.
    pub directives: Directives,
    /// The instructions, unknown ones included.
    pub instructions: Vec<RawInstruction>,
    /// What BuildKit's parser refuses or warns of.
    pub diagnostics: Vec<Diagnostic>,
}

/// Reads a file to what BuildKit's parser makes of it, before its instructions are checked.
pub fn parse_raw(text: &str) -> RawParsed {
    let read = raw::read(text, Dialect::Dockerfile);
    let instructions = read.nodes.into_iter().map(|node| {
        let sub = node.trigger.as_ref().map(|trigger| trigger.keyword.value.clone());
        let (heredocs, first_line, last_line) = (node.heredocs, node.first_line, node.last_line);
        let cmd = node.keyword.value;
        let flags = node.flags;
        let (json, legacy, sub_flags, values) = match node.trigger {
            Some(inner) => (inner.json, inner.legacy, inner.flags, inner.values),
            None => (node.json, node.legacy, Vec::new(), node.values),
        };
        let texts = |words: Vec<crate::ast::Word>| words.into_iter().map(|word| word.value).collect();
        RawInstruction {
            cmd,
            sub,
            json,
            flags: texts(flags),
            sub_flags: texts(sub_flags),
            value: texts(values),
            legacy,
            first_line,
            last_line,
            heredocs,
        }
    });
    RawParsed { directives: read.directives, instructions: instructions.collect(), diagnostics: read.diagnostics }
}

/// Reads a Dockerfile.
pub fn parse(text: &str) -> Parsed {
    parse_as(text, Dialect::Dockerfile)
}

/// Reads a text of this dialect, beside which there are no files.
pub fn parse_as(text: &str, dialect: Dialect) -> Parsed {
    parse_file("Dockerfile", text, dialect, &mut include::nothing)
}

/// Reads the file called `name`, whose text this is, and what it includes, which `load` gives.
pub fn parse_file(name: &str, text: &str, dialect: Dialect, load: &mut include::Loader<'_>) -> Parsed {
    reader::read(name, text, dialect, load)
}

/// Whether the settings of the build checks can be read, and name checks that there are.
fn check_directive(directives: &Directives, diagnostics: &mut Vec<Diagnostic>) {
    let Some(word) = &directives.check else { return };
    match Config::of_directive(&word.value) {
        Ok(config) => {
            for name in config.unknown_names() {
                let warning = Diagnostic::warning("UnknownCheck", word.span, format!("there is no check {name:?}"));
                diagnostics.push(match suggest::nearest(name, Rule::all().map(Rule::name)) {
                    Some(near) => warning.with_help(format!("did you mean {near}?")),
                    None => {
                        warning.with_help("the names of the checks are in their findings; names have no blanks between")
                    }
                });
            }
        }
        Err(error) => diagnostics.push(
            Diagnostic::error("InvalidCheck", word.span, error.to_string())
                .with_help("write # check=skip=NAME,NAME;error=true;experimental=NAME, without blanks"),
        ),
    }
}

/// Reads the text of a trigger, as an image's config keeps it, with the default escape character.
///
/// Heredocs are part of the text. Spans and lines count within the text.
///
/// # Errors
/// All that is wrong with it; a text that holds no instruction or more than one is wrong too.
pub fn parse_trigger(text: &str) -> Result<Instruction, Vec<Diagnostic>> {
    let read = raw::read(text, Dialect::Dockerfile);
    let mut diagnostics = read.diagnostics;
    let mut found: Vec<Instruction> = Vec::new();
    for node in read.nodes {
        found.extend(instruction(node, Dialect::Dockerfile, &mut diagnostics));
    }
    diagnostics.retain(|diagnostic| diagnostic.severity == Severity::Error);
    match (found.pop(), found.is_empty(), diagnostics.is_empty()) {
        (Some(one), true, true) => Ok(one),
        (Some(extra), false, true) => {
            Err(vec![Diagnostic::error("InvalidTrigger", extra.span, "an ONBUILD trigger holds one instruction")])
        }
        _ => Err(diagnostics),
    }
}

/// Whether an instruction has a key that can be stated.
fn takes_key(key: &KeyFlag, name: &str, command: &Command, out: &mut Vec<Diagnostic>) -> bool {
    if matches!(command, Command::Run(_)) {
        return true;
    }
    let error = Diagnostic::error("UnknownFlag", key.span, format!("{name} takes no --key"));
    out.push(error.with_help("a key is stated for RUN; what other instructions depend on is exact already"));
    false
}

/// The typed form of a node; `None` if it is wrong, which is then among the diagnostics.
fn instruction(mut node: Node, dialect: Dialect, diagnostics: &mut Vec<Diagnostic>) -> Option<Instruction> {
    let Some(kind) = node.kind else {
        let name = &node.keyword.value;
        let error = Diagnostic::error("UnknownInstruction", node.keyword.span, format!("unknown instruction: {name}"));
        diagnostics.push(match suggestion(&node) {
            None if name.is_empty() => {
                let message = "this line says nothing: it holds the escape character alone";
                Diagnostic::error("UnknownInstruction", node.span, message)
                    .with_help("remove the line, or put it behind the instruction that it should continue")
            }
            _ if extended::Keyword::parse(name).is_some() => {
                error.with_help(format!("write # kiln: {name} …, or call the file *.kiln"))
            }
            Some(nearest) => error.with_help(format!("did you mean {nearest}?")),
            None if name.contains('=') || name.starts_with('-') || name.contains("&&") => {
                error.with_help("if this line continues the one above, that one must end in the escape character")
            }
            None => error,
        });
        return None;
    };
    if let Some(span) = node.behind_array {
        let message = format!("text behind the JSON array of {kind} is ignored");
        diagnostics.push(Diagnostic::warning("TextBehindArray", span, message).with_help(
            "remove it: Docker from 27 on takes such a line for a shell form; a comment needs its own line",
        ));
    }
    if kind == Keyword::OnBuild {
        let command = onbuild::onbuild(&mut node, diagnostics).map(Command::OnBuild)?;
        let heredocs = chomped(std::mem::take(&mut node.heredocs));
        return Some(finish(node, heredocs, command));
    }
    let mut heredocs = chomped(std::mem::take(&mut node.heredocs));
    let command = match kind {
        Keyword::From => from::from(&node, dialect, diagnostics).map(Command::From),
        Keyword::Arg => from::arg(&node, diagnostics).map(Command::Arg),
        Keyword::Env => config::assignments(&node, kind, diagnostics).map(Command::Env),
        Keyword::Label => config::assignments(&node, kind, diagnostics).map(Command::Label),
        Keyword::Run => run::run(&node, diagnostics).map(Command::Run),
        Keyword::Copy => files::copy(&node, &mut heredocs, diagnostics).map(Command::Copy),
        Keyword::Add => files::add(&node, &mut heredocs, diagnostics).map(Command::Add),
        Keyword::Workdir => config::single(&node, kind, diagnostics).map(Command::Workdir),
        Keyword::User => config::single(&node, kind, diagnostics).map(Command::User),
        Keyword::Maintainer => config::maintainer(&node, diagnostics).map(Command::Maintainer),
        Keyword::StopSignal => config::stop_signal(&node, diagnostics).map(Command::StopSignal),
        Keyword::Cmd => run::plain(&node, kind, diagnostics).map(Command::Cmd),
        Keyword::Entrypoint => run::plain(&node, kind, diagnostics).map(Command::Entrypoint),
        Keyword::Shell => run::shell(&node, diagnostics).map(Command::Shell),
        Keyword::Expose => config::expose(&node, diagnostics).map(Command::Expose),
        Keyword::Volume => config::volume(&node, diagnostics).map(Command::Volume),
        Keyword::Healthcheck => run::healthcheck(&node, diagnostics).map(Command::Healthcheck),
        Keyword::OnBuild => None,
    }?;
    Some(finish(node, heredocs, command))
}

fn finish(node: Node, heredocs: Vec<Heredoc>, command: Command) -> Instruction {
    Instruction {
        span: node.span,
        first_line: node.first_line,
        last_line: node.last_line,
        keyword: node.keyword,
        original: node.original,
        flags: node.flags,
        value: node.values.into_iter().map(|word| word.value).collect(),
        json: node.json,
        heredocs,
        comments: node.comments,
        key: None,
        command,
    }
}

/// The heredocs with the tabs of `<<-` stripped.
fn chomped(mut heredocs: Vec<Heredoc>) -> Vec<Heredoc> {
    for heredoc in heredocs.iter_mut().filter(|heredoc| heredoc.chomp) {
        heredoc.content = heredoc::chomp(&heredoc.content);
    }
    heredocs
}

fn suggestion(node: &Node) -> Option<&'static str> {
    suggest::nearest(&node.keyword.value, Keyword::names())
}

/// Reports that an instruction has too few or too many arguments.
fn wrong_count(node: &Node, message: String) -> Diagnostic {
    let span = node.values.first().map_or(node.keyword.span, |first| first.span);
    Diagnostic::error("WrongArgumentCount", span, message)
}
