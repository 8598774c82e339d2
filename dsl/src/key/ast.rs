//! The typed form of a key expression.
//!
//! Everything that can be checked without the world is checked once it is in here: selectors and periods are read,
//! each atom has its own arguments. Names are not yet resolved.

use super::period::Period;
use super::selector::Selector;
use crate::span::{Span, Spanned};

/// `term (("+" | "-") term)*`
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Expr {
    /// The terms in their order; the sign of the first one is always [`Sign::Plus`].
    pub terms: Vec<(Sign, Term)>,
    /// The whole of it.
    pub span: Span,
}

/// What a term does to the set before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sign {
    /// `+`: joins it.
    Plus,
    /// `-`: is taken out of it.
    Minus,
}

/// A factor with its normalisers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Term {
    /// What is looked at.
    pub factor: Factor,
    /// How it is looked at, in the order written; only atoms have any.
    pub normalisers: Vec<Spanned<Normaliser>>,
    /// Normalisers included.
    pub span: Span,
}

/// What a term is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Factor {
    /// One atom.
    Atom(Atom),
    /// `(expr)`
    Group(Box<Expr>),
    /// `optional(expr)`: nothing in it has to be there.
    Optional(Box<Expr>),
    /// A name that a `KEY` instruction bound.
    Name(String),
}

/// One thing that a key can depend on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Atom {
    /// `files("glob", …, "!glob")`
    Files(Files),
    /// `absent("path")`: whether nothing is at a path.
    Absent(PathArg),
    /// `json("path", ".a.b", …)`, and the same for `toml` and `yaml`.
    Data {
        /// How the file is written.
        format: DataFormat,
        /// The file.
        path: PathArg,
        /// The values in it; at least one.
        selectors: Vec<Spanned<Selector>>,
    },
    /// `lines("path", "regex")`
    Lines {
        /// The file.
        path: PathArg,
        /// What a line has to match, anywhere in it.
        pattern: Spanned<String>,
    },
    /// `env(NAME, …)`
    Env(Vec<Spanned<String>>),
    /// `arg(NAME, …)`
    Arg(Vec<Spanned<String>>),
    /// `secret(id)`
    Secret(Spanned<String>),
    /// `run("command")`
    Run(Spanned<String>),
    /// `image("ref")`
    Image(Spanned<String>),
    /// `http("url")`
    Http(Spanned<String>),
    /// `git("head" | "dirty" | path)`
    Git(Git),
    /// `time("1d")`
    Time(Period),
    /// `platform`
    Platform,
    /// `parent`
    Parent,
    /// `traced`
    Traced,
    /// `default`
    Default,
    /// `always`
    Always,
    /// `never`
    Never,
}

/// The files of one `files(…)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Files {
    /// Where all of them are.
    pub place: Place,
    /// At least one of them takes files in.
    pub globs: Vec<Glob>,
}

/// One pattern of `files(…)`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    /// `!`: what it matches is left out.
    pub negated: bool,
    /// The pattern, without `!` and without the place.
    pub pattern: Spanned<String>,
}

/// Where a path is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In what the step sees as its root, before it runs.
    Snapshot,
    /// `context:`: in the build context.
    Context,
    /// `stage:NAME:`: in the result of another stage.
    Stage(Spanned<String>),
}

/// One path and where it is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathArg {
    /// Where.
    pub place: Place,
    /// The path without the place.
    pub path: Spanned<String>,
}

/// How a file of values is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum DataFormat {
    /// JSON.
    Json,
    /// TOML.
    Toml,
    /// YAML.
    Yaml,
}

impl DataFormat {
    /// The atom's name.
    pub fn word(self) -> &'static str {
        match self {
            DataFormat::Json => "json",
            DataFormat::Toml => "toml",
            DataFormat::Yaml => "yaml",
        }
    }
}

/// What is asked of the context's git repository.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Git {
    /// The commit that is checked out.
    Head,
    /// Whether the work tree differs from it.
    Dirty,
    /// What the commit has at a path, seen from the context.
    Path(Spanned<String>),
}

/// What counts of an atom, or how its text is read.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Normaliser {
    /// Of files: which there are, and their types.
    Names,
    /// Of files: what they hold.
    Content,
    /// Of files: their permissions.
    Mode,
    /// Of files: their owners.
    Owner,
    /// Of text: any line end is a line feed.
    Eol,
    /// Of text: the order of lines does not count.
    SortedLines,
    /// Of text: lines that are comments do not count.
    StripComments,
}

impl Normaliser {
    /// All of them, in the order in which they are listed for people.
    pub const ALL: [Normaliser; 7] = [
        Normaliser::Names,
        Normaliser::Content,
        Normaliser::Mode,
        Normaliser::Owner,
        Normaliser::Eol,
        Normaliser::SortedLines,
        Normaliser::StripComments,
    ];

    /// As it is written.
    pub fn word(self) -> &'static str {
        match self {
            Normaliser::Names => "names",
            Normaliser::Content => "content",
            Normaliser::Mode => "mode",
            Normaliser::Owner => "owner",
            Normaliser::Eol => "eol",
            Normaliser::SortedLines => "sorted_lines",
            Normaliser::StripComments => "strip_comments",
        }
    }

    /// Whether it says how text is read, rather than what of a file counts.
    pub fn is_about_text(self) -> bool {
        matches!(self, Normaliser::Eol | Normaliser::SortedLines | Normaliser::StripComments)
    }
}

impl Atom {
    /// Its name.
    pub fn word(&self) -> &'static str {
        match self {
            Atom::Files(_) => "files",
            Atom::Absent(_) => "absent",
            Atom::Data { format, .. } => format.word(),
            Atom::Lines { .. } => "lines",
            Atom::Env(_) => "env",
            Atom::Arg(_) => "arg",
            Atom::Secret(_) => "secret",
            Atom::Run(_) => "run",
            Atom::Image(_) => "image",
            Atom::Http(_) => "http",
            Atom::Git(_) => "git",
            Atom::Time(_) => "time",
            Atom::Platform => "platform",
            Atom::Parent => "parent",
            Atom::Traced => "traced",
            Atom::Default => "default",
            Atom::Always => "always",
            Atom::Never => "never",
        }
    }

    /// Whether `normaliser` says anything about it.
    pub fn takes(&self, normaliser: Normaliser) -> bool {
        match self {
            Atom::Files(_) => true,
            Atom::Lines { .. } => normaliser.is_about_text(),
            // Which lines are comments is known by a file's name.
            Atom::Run(_) | Atom::Http(_) => matches!(normaliser, Normaliser::Eol | Normaliser::SortedLines),
            _ => false,
        }
    }

    /// Whether it can find nothing, so that `optional(…)` means something.
    pub fn can_miss(&self) -> bool {
        match self {
            Atom::Absent(_)
            | Atom::Time(_)
            | Atom::Platform
            | Atom::Parent
            | Atom::Traced
            | Atom::Default
            | Atom::Always
            | Atom::Never => false,
            Atom::Files(_)
            | Atom::Data { .. }
            | Atom::Lines { .. }
            | Atom::Env(_)
            | Atom::Arg(_)
            | Atom::Secret(_)
            | Atom::Run(_)
            | Atom::Image(_)
            | Atom::Http(_)
            | Atom::Git(_) => true,
        }
    }
}
