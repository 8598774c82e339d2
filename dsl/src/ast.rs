//! What a Dockerfile says: instructions with their spans, nothing expanded.
//!
//! A `Word` is text as written, variables and quotes included; `expand` turns it into a value once
//! the variables are known. Knows nothing of stages as a graph: that is the engine's plan.

use crate::extended::branch::Mark;
use crate::key::{Expr, set::KeySet};
use crate::span::{Span, Spanned};
use std::sync::Arc;

/// Text as written: not yet expanded, quotes and escapes still in it.
pub type Word = Spanned<String>;

/// A whole file: directives and instructions in their order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Document {
    /// The parser directives at the head of the file.
    pub directives: Directives,
    /// All instructions, the ones before the first FROM included. Shared, because the branches of a matrix have most of
    /// theirs in common.
    pub instructions: Vec<Arc<Instruction>>,
    /// The keys that have a name, in the order of the file.
    pub keys: Vec<KeyBinding>,
    /// Where alternatives begin and end, in the order of the file.
    pub marks: Vec<Mark>,
    /// What can be built beside single stages.
    pub targets: Vec<TargetDecl>,
    /// The stages that must succeed and are no image, as written; branches too.
    pub checks: Vec<Word>,
    /// What depends on the platform that is built for by an IF that asked for it; known once alternatives are decided.
    pub bound: Vec<Bound>,
    /// What conditions asked for; known once alternatives are decided.
    pub asked: Vec<Asked>,
}

/// An argument that decided an IF.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Asked {
    /// Its name.
    pub name: String,
    /// What it was; `None` where it was not set.
    pub value: Option<String>,
    /// Whether the build said so, and not the file.
    pub is_given: bool,
}

/// What is there, or is not, because of the platform that is built for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Bound {
    /// The place of a FROM, or of an ARG before the first one, among the instructions.
    pub owner: usize,
    /// From which instruction of the stage on: the place of the owner is all of it, that behind the last one its result.
    pub at: usize,
}

/// `TARGET name = stage + …`, of the extended language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TargetDecl {
    /// The name, which is none of a stage.
    pub name: Word,
    /// Stages, branches and other targets.
    pub members: Vec<Word>,
    /// The comment lines above it.
    pub comments: Vec<Word>,
    /// The whole instruction.
    pub span: Span,
}

/// `EXPORT path AS "directory"`, of the extended language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Export {
    /// A file or directory of the stage as it is here.
    pub path: Word,
    /// A directory of the project.
    pub directory: Word,
}

/// `KEY name = expr`, of the extended language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyBinding {
    /// The name.
    pub name: Word,
    /// What it stands for; `None` where that is wrong.
    pub expr: Option<Expr>,
    /// The whole instruction.
    pub span: Span,
}

/// `--key=expr`, of the extended language.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeyFlag {
    /// As written.
    pub expr: Expr,
    /// What it comes to.
    pub set: KeySet,
    /// The flag.
    pub span: Span,
}

/// The parser directives (`# escape=…`), which may only stand at the head of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directives {
    /// `# syntax=`: the front end that the author asked for; informative only.
    pub syntax: Option<Word>,
    /// `# escape=`: `\` unless the file says otherwise.
    pub escape: char,
    /// `# check=`: settings of the build checks, as written.
    pub check: Option<Word>,
}

/// One instruction with all that stood on its lines.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instruction {
    /// From the first byte of the keyword to the end of the last line, heredoc bodies included.
    pub span: Span,
    /// First line, counted from 1.
    pub first_line: u32,
    /// Last line, heredoc terminators included.
    pub last_line: u32,
    /// The keyword as written (`from`, `FROM`, …).
    pub keyword: Word,
    /// The logical line as BuildKit's parser calls it: continuation lines joined, comments dropped.
    pub original: String,
    /// The flags in their order, as written (`--chown=a:b`), before any check of their names.
    pub flags: Vec<Word>,
    /// The arguments as BuildKit's parser splits them for this instruction.
    pub value: Vec<String>,
    /// Whether the arguments were a JSON array.
    pub json: bool,
    /// The heredocs in the order of their bodies.
    pub heredocs: Vec<Heredoc>,
    /// The comment lines that stand directly above, without `#`, in their order.
    pub comments: Vec<Word>,
    /// What its cache key is made of, where that is stated.
    pub key: Option<KeyFlag>,
    /// The typed meaning.
    pub command: Command,
}

/// A heredoc of RUN, COPY or ADD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heredoc {
    /// The word that ends it, quotes removed.
    pub name: String,
    /// The descriptor before `<<`; 0 unless written.
    pub descriptor: u64,
    /// Whether variables in the body are expanded (no part of the word was quoted).
    pub expand: bool,
    /// Whether it was written `<<-`, which strips leading tabs.
    pub chomp: bool,
    /// The body, with the final newline, tabs already stripped.
    pub content: String,
    /// Where the body stands.
    pub span: Span,
}

/// What an instruction does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// `FROM [--platform=P] IMAGE [AS NAME]`, and what the extended language adds to it.
    From(From),
    /// `ARG NAME[=DEFAULT] …`
    Arg(Vec<ArgDecl>),
    /// `ENV K=V …`
    Env(Assignments),
    /// `LABEL K=V …`
    Label(Assignments),
    /// `RUN [FLAGS] …`
    Run(Run),
    /// `COPY [FLAGS] SRC… DST`
    Copy(Copy),
    /// `ADD [FLAGS] SRC… DST`
    Add(Add),
    /// `WORKDIR PATH`
    Workdir(Word),
    /// `USER NAME[:GROUP]`
    User(Word),
    /// `CMD …`
    Cmd(CommandLine),
    /// `ENTRYPOINT …`
    Entrypoint(CommandLine),
    /// `SHELL ["…"]`
    Shell(Vec<String>),
    /// `EXPOSE PORT …`
    Expose(Vec<Word>),
    /// `VOLUME PATH …`
    Volume(Vec<Word>),
    /// `STOPSIGNAL SIGNAL`
    StopSignal(Word),
    /// `HEALTHCHECK …`
    Healthcheck(Healthcheck),
    /// `ONBUILD INSTRUCTION`
    OnBuild(OnBuild),
    /// `MAINTAINER NAME`
    Maintainer(Word),
    /// `EXPORT PATH AS "DIRECTORY"`, of the extended language
    Export(Export),
}

/// `FROM`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct From {
    /// `--platform`
    pub platform: Option<Word>,
    /// The image or stage.
    pub image: Word,
    /// `+ STAGE …`, of the extended language: stages whose layers are stacked on it.
    pub merged: Vec<Word>,
    /// `ON CONFLICT LAST`: where two of them changed a path differently, the last one's is taken.
    pub last_wins: bool,
    /// The stage's name as written; names compare without regard to case.
    pub name: Option<Word>,
    /// `FOR NAME IN VALUE …`, of the extended language: a stage for each combination of their values.
    pub axes: Vec<Axis>,
    /// `EXCEPT NAME=VALUE …`, of the extended language: combinations that are left out.
    pub exceptions: Vec<Exception>,
    /// The variables of a branch and their values, once the axes are unrolled; none as read.
    pub bindings: Vec<(String, String)>,
}

/// `FOR NAME IN VALUE …`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Axis {
    /// The variable.
    pub name: Word,
    /// Its values as written; each may come to several once it is expanded.
    pub values: Vec<Word>,
}

/// `EXCEPT NAME=VALUE …`: the branches that have all of these values.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Exception {
    /// Variable and value.
    pub pairs: Vec<(Word, Word)>,
    /// From the first pair to the last.
    pub span: Span,
}

/// One name of an `ARG`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ArgDecl {
    /// The variable.
    pub name: Spanned<String>,
    /// Its default, if one is written.
    pub default: Option<Word>,
}

/// The pairs of an `ENV` or `LABEL`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignments {
    /// The pairs in their order.
    pub pairs: Vec<(Word, Word)>,
    /// Whether the old form `KEY VALUE` was used.
    pub legacy: bool,
}

/// A command in shell or exec form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CommandLine {
    /// Text for the shell.
    Shell(String),
    /// The argument vector itself.
    Exec(Vec<String>),
}

/// `RUN`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The command; for a shell form with heredocs the first line only: the bodies are in `Instruction::heredocs`.
    pub line: CommandLine,
    /// The values of `--mount`, as written; `mount::Mount::parse` reads one after expansion.
    pub mounts: Vec<Word>,
    /// `--network`
    pub network: Option<Word>,
    /// `--security`
    pub security: Option<Word>,
    /// `--device`, refused by the plan.
    pub devices: Vec<Word>,
}

/// A source of COPY or ADD.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Source {
    /// A path or pattern (for ADD perhaps a URL), to be expanded.
    Path(Word),
    /// The heredoc with this index in `Instruction::heredocs`.
    Heredoc(usize),
}

/// `COPY`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// What to copy; at least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: Word,
    /// `--from`
    pub from: Option<Word>,
    /// `--chown`
    pub chown: Option<Word>,
    /// `--chmod`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--parents`
    pub parents: bool,
    /// `--exclude`, repeatable
    pub excludes: Vec<Word>,
}

/// `ADD`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Add {
    /// What to add; at least one.
    pub sources: Vec<Source>,
    /// Where to.
    pub destination: Word,
    /// `--chown`
    pub chown: Option<Word>,
    /// `--chmod`
    pub chmod: Option<Word>,
    /// `--link`
    pub link: bool,
    /// `--checksum`
    pub checksum: Option<Word>,
    /// `--keep-git-dir`
    pub keep_git_dir: Option<bool>,
    /// `--unpack`
    pub unpack: Option<bool>,
    /// `--exclude`, repeatable
    pub excludes: Vec<Word>,
}

/// `HEALTHCHECK`
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Healthcheck {
    /// `HEALTHCHECK NONE`
    None,
    /// `HEALTHCHECK [OPTIONS] CMD …`; times in nanoseconds, `None` where not written.
    Cmd {
        /// The command.
        line: CommandLine,
        /// `--interval`
        interval: Option<u64>,
        /// `--timeout`
        timeout: Option<u64>,
        /// `--start-period`
        start_period: Option<u64>,
        /// `--start-interval`
        start_interval: Option<u64>,
        /// `--retries`
        retries: Option<u32>,
    },
}

/// `ONBUILD`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OnBuild {
    /// The trigger's text as the image config keeps it, heredocs included.
    pub text: String,
    /// The trigger as parsed, for its checks.
    pub instruction: Box<Instruction>,
}
