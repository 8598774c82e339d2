//! A key as its author stated it, with all filled in that a plan knows.
//!
//! Plain data between the plan, which makes it, and [`super::eval`], which looks at the world. Variables have their
//! values already, paths know their places.

use crate::graph::NodeId;
use crate::tree::TreePath;
use kiln_dsl::key::{DataFormat, Git, Normaliser, Period, Selector};
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;

/// A stated key.
#[derive(Clone, PartialEq, Debug)]
pub struct Declared {
    /// The things to look at, in the order written.
    pub parts: Vec<Part>,
    /// What of the usual key is in it.
    pub usual: Usual,
    /// When the step runs whatever its key.
    pub rhythm: Rhythm,
    /// The flag.
    pub span: Span,
}

/// What of the key that a step without a stated one has is in a stated one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Usual {
    /// How the layers below count.
    pub parent: Parent,
    /// Whether the environment and what bind mounts show are in it: `default` and `traced`.
    pub environment: bool,
    /// The variables that were taken out again: `ENV` or `ARG`, and the name.
    pub without: Vec<(Variable, String)>,
}

/// How the layers below a step count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Parent {
    /// Not at all: the layer is stacked on whatever is there.
    #[default]
    Ignored,
    /// All of them: `parent`.
    Whole,
    /// As for a step without a stated key: `default`.
    Usual,
    /// As far as the step was seen to read them, networked or not: `traced`.
    Traced,
}

/// Which instruction set a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Variable {
    /// ENV.
    Env,
    /// ARG.
    Arg,
}

impl Variable {
    /// The instruction.
    pub fn word(self) -> &'static str {
        match self {
            Variable::Env => "ENV",
            Variable::Arg => "ARG",
        }
    }
}

/// When a step runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Rhythm {
    /// When its key says so.
    #[default]
    Keyed,
    /// In every build: `always`.
    Always,
}

/// One thing to look at.
#[derive(Clone, PartialEq, Debug)]
pub struct Part {
    /// Its name in explanations: `json package.json .dependencies`.
    pub label: String,
    /// As it was written.
    pub text: String,
    /// Where.
    pub span: Span,
    /// Whether it need not be there.
    pub optional: bool,
    /// How its text is read.
    pub normalisers: Vec<Normaliser>,
    /// What it is.
    pub what: What,
}

/// What a part looks at.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// A variable.
    Variable {
        /// Which instruction is asked for it.
        kind: Variable,
        /// Its name.
        name: String,
        /// Its value; `None` where it is not set.
        value: Option<String>,
    },
    /// Files.
    Files {
        /// Where.
        place: Place,
        /// Patterns in their order.
        globs: Vec<Glob>,
    },
    /// Whether nothing is at a path.
    Absent(PlacedPath),
    /// A value in a file.
    Data {
        /// How the file is written.
        format: DataFormat,
        /// The file.
        path: PlacedPath,
        /// Which value.
        selector: Selector,
    },
    /// Lines of a file.
    Lines {
        /// The file.
        path: PlacedPath,
        /// What a line has to match.
        pattern: LinePattern,
    },
    /// A secret.
    Secret(String),
    /// The output of a command.
    Run(String),
    /// An image.
    Image {
        /// As written.
        name: String,
        /// For which platform.
        platform: Platform,
    },
    /// What an address answers.
    Http(String),
    /// The context's repository.
    Git {
        /// The context's number; `None` where it is no directory of the host.
        context: Option<usize>,
        /// What it is asked.
        what: Git,
    },
    /// A bucket of time.
    Time(Period),
}

/// What lines of a file have to match; two of the same text are one.
#[derive(Clone, Debug)]
pub struct LinePattern(pub regex_lite::Regex);

impl PartialEq for LinePattern {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

/// Where paths are looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// In what the step sees as its root.
    Snapshot,
    /// In the build context with this number.
    Context(usize),
    /// In the result of a step; `None` is an empty stage.
    Step {
        /// The step.
        node: Option<NodeId>,
        /// For people: `stage "build"`.
        name: String,
    },
}

/// A path and where it is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlacedPath {
    /// Where.
    pub place: Place,
    /// From the place's root.
    pub path: TreePath,
}

/// A pattern for files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Glob {
    /// Whether what it matches is left out.
    pub negated: bool,
    /// As written, without the `!`.
    pub text: String,
    /// The directory that it begins in, as far as no wildcard is in it.
    pub base: TreePath,
    /// The rest; empty where the whole pattern is a path.
    pub rest: String,
}

impl Glob {
    /// The pattern `text`, relative to the directory `from` unless it begins with a slash.
    pub fn new(negated: bool, text: &str, from: &TreePath) -> Glob {
        let is_plain = |part: &&str| !part.contains(['*', '?', '[', '\\']);
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        let plain = parts.iter().take_while(|part| is_plain(part)).count();
        let fixed = parts[..plain].join("/");
        let base = match text.starts_with('/') {
            true => TreePath::new(&fixed),
            // Taken together, so that `..` climbs out of `from`.
            false => TreePath::new([from.as_bytes(), b"/", fixed.as_bytes()].concat()),
        };
        Glob { negated, text: text.to_owned(), base, rest: parts[plain..].join("/") }
    }
}

impl Place {
    /// For people.
    pub fn words(&self) -> &str {
        match self {
            Place::Snapshot => "what the step sees",
            Place::Context(_) => "the context",
            Place::Step { name, .. } => name,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_knows_where_its_wildcards_begin() {
        let of = |text: &str| {
            let glob = Glob::new(false, text, &TreePath::new("app"));
            (glob.base.display().to_string(), glob.rest)
        };
        assert_eq!(of("src/**"), ("app/src".into(), "**".into()));
        assert_eq!(of("yarn.lock"), ("app/yarn.lock".into(), String::new()));
        assert_eq!(of("/etc/*.conf"), ("etc".into(), "*.conf".into()));
        assert_eq!(of("../lib/./x"), ("lib/x".into(), String::new()));
        assert_eq!(of("."), ("app".into(), String::new()));
        assert_eq!(of("a\\*/b"), ("app".into(), "a\\*/b".into()));
    }
}
