//! The atoms by name: what arguments each takes, and what is wrong with others.
//!
//! Knows nothing of how arguments are written; they come in as values with their places.

use super::ast::{Atom, DataFormat, Files, Git, Glob, PathArg, Place};
use super::period::Period;
use super::selector::Selector;
use crate::diagnostic::Diagnostic;
use crate::ignore::Ignore;
use crate::span::{Span, Spanned};

/// An argument as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Arg {
    /// Its value, quotes removed.
    pub text: String,
    /// Whether it stood in quotes.
    pub quoted: bool,
    pub span: Span,
}

/// How an atom is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `word`
    Bare,
    /// `word(…)`; a full example for help texts.
    Call(&'static str),
}

/// All atoms, in the order in which they are listed for people.
const ATOMS: [(&str, Shape); 20] = [
    ("files", Shape::Call(r#"files("src/**", "!src/gen/**")"#)),
    ("absent", Shape::Call(r#"absent("yarn.lock")"#)),
    ("json", Shape::Call(r#"json("package.json", ".dependencies")"#)),
    ("toml", Shape::Call(r#"toml("Cargo.toml", ".dependencies")"#)),
    ("yaml", Shape::Call(r#"yaml("config.yml", ".build")"#)),
    ("lines", Shape::Call(r#"lines("requirements.txt", "^[a-z]")"#)),
    ("env", Shape::Call("env(NODE_ENV)")),
    ("arg", Shape::Call("arg(VERSION)")),
    ("secret", Shape::Call("secret(token)")),
    ("run", Shape::Call(r#"run("node --version")"#)),
    ("image", Shape::Call(r#"image("node:22")"#)),
    ("http", Shape::Call(r#"http("https://example.com/index.json")"#)),
    ("git", Shape::Call(r#"git("head")"#)),
    ("time", Shape::Call(r#"time("1d")"#)),
    ("platform", Shape::Bare),
    ("parent", Shape::Bare),
    ("traced", Shape::Bare),
    ("default", Shape::Bare),
    ("always", Shape::Bare),
    ("never", Shape::Bare),
];

/// The word that is no atom and yet no name.
pub(super) const OPTIONAL: &str = "optional";

/// How the atom `word` is written; `None` for no atom.
pub(super) fn shape(word: &str) -> Option<Shape> {
    ATOMS.iter().find(|(name, _)| *name == word).map(|&(_, shape)| shape)
}

/// The words of all atoms, and `optional`.
pub(super) fn words() -> impl Iterator<Item = &'static str> {
    ATOMS.iter().map(|&(name, _)| name).chain([OPTIONAL])
}

/// Whether `word` means something in every key, so that no name can be called so.
pub fn is_reserved(word: &str) -> bool {
    words().any(|known| known == word)
}

/// The atom `word` without arguments, for the words that take none.
pub(super) fn bare(word: &str) -> Option<Atom> {
    Some(match word {
        "platform" => Atom::Platform,
        "parent" => Atom::Parent,
        "traced" => Atom::Traced,
        "default" => Atom::Default,
        "always" => Atom::Always,
        "never" => Atom::Never,
        _ => return None,
    })
}

/// The atom `word` with these arguments, which stand at `span`.
pub(super) fn call(word: &str, args: Vec<Arg>, span: Span) -> Result<Atom, Box<Diagnostic>> {
    let example = match shape(word) {
        Some(Shape::Call(example)) => example,
        _ => "",
    };
    let reader = Reader { word, example, span };
    match word {
        "files" => reader.files(args),
        "absent" => reader.one(args, true).and_then(|arg| Ok(Atom::Absent(reader.path(arg)?))),
        "json" => reader.data(DataFormat::Json, args),
        "toml" => reader.data(DataFormat::Toml, args),
        "yaml" => reader.data(DataFormat::Yaml, args),
        "lines" => reader.lines(args),
        "env" => reader.names(args).map(Atom::Env),
        "arg" => reader.names(args).map(Atom::Arg),
        "secret" => reader.one(args, false).map(|arg| Atom::Secret(arg.spanned())),
        "run" => reader.one(args, true).map(|arg| Atom::Run(arg.spanned())),
        "image" => reader.one(args, true).map(|arg| Atom::Image(arg.spanned())),
        "http" => reader.http(args),
        "git" => reader.git(args),
        _ => reader.time(args),
    }
}

impl Arg {
    fn spanned(self) -> Spanned<String> {
        Spanned::new(self.text, self.span)
    }
}

struct Reader<'a> {
    word: &'a str,
    example: &'static str,
    span: Span,
}

impl Reader<'_> {
    fn fail(&self, span: Span, message: impl Into<String>) -> Box<Diagnostic> {
        Box::new(
            Diagnostic::error("InvalidKeyArgument", span, message).with_help(format!("for example: {}", self.example)),
        )
    }

    /// An argument that is not empty, in quotes where it has to be.
    fn checked(&self, arg: Arg, needs_quotes: bool) -> Result<Arg, Box<Diagnostic>> {
        if needs_quotes && !arg.quoted {
            return Err(self.fail(arg.span, format!("{} takes a text in double quotes, not {}", self.word, arg.text)));
        }
        if arg.text.is_empty() {
            return Err(self.fail(arg.span, format!("an argument of {} is empty", self.word)));
        }
        Ok(arg)
    }

    fn one(&self, args: Vec<Arg>, needs_quotes: bool) -> Result<Arg, Box<Diagnostic>> {
        match <[Arg; 1]>::try_from(args) {
            Ok([arg]) => self.checked(arg, needs_quotes),
            Err(args) => {
                let span = args.get(1).map_or(self.span, |extra| extra.span);
                Err(self.fail(span, format!("{} takes one argument, not {}", self.word, args.len())))
            }
        }
    }

    fn at_least(&self, least: usize, what: &str, args: &[Arg]) -> Result<(), Box<Diagnostic>> {
        match args.len() < least {
            true => Err(self.fail(self.span, format!("{} takes {what}", self.word))),
            false => Ok(()),
        }
    }

    /// `[context: | stage:NAME:] path`
    fn place(arg: &Arg) -> Result<PathArg, Box<Diagnostic>> {
        let at = |from: usize, length: usize| {
            // Inside the quotes, if nothing in them was escaped; else the whole argument.
            let (start, end) = (arg.span.start as usize, arg.span.end as usize);
            match end.checked_sub(start) == Some(arg.text.len() + 2) {
                true => Span::new(start + 1 + from, start + 1 + from + length),
                false => arg.span,
            }
        };
        if let Some(rest) = arg.text.strip_prefix("context:") {
            let path = Spanned::new(rest.to_owned(), at(8, rest.len()));
            return Ok(PathArg { place: Place::Context, path });
        }
        if let Some(rest) = arg.text.strip_prefix("stage:") {
            let Some((name, path)) = rest.split_once(':').filter(|(name, _)| !name.is_empty()) else {
                let message = format!("{:?} names no stage and path", arg.text);
                let help = "write stage:NAME:PATH, for example \"stage:build:/out/app\"";
                return Err(Box::new(Diagnostic::error("InvalidKeyArgument", arg.span, message).with_help(help)));
            };
            let stage = Spanned::new(name.to_owned(), at(6, name.len()));
            let path = Spanned::new(path.to_owned(), at(7 + name.len(), path.len()));
            return Ok(PathArg { place: Place::Stage(stage), path });
        }
        let path = Spanned::new(arg.text.clone(), at(0, arg.text.len()));
        Ok(PathArg { place: Place::Snapshot, path })
    }

    fn path(&self, arg: Arg) -> Result<PathArg, Box<Diagnostic>> {
        let path = Self::place(&self.checked(arg, true)?)?;
        match path.path.value.is_empty() {
            true => Err(self.fail(path.path.span, format!("an argument of {} has no path", self.word))),
            false => Ok(path),
        }
    }

    fn files(&self, args: Vec<Arg>) -> Result<Atom, Box<Diagnostic>> {
        self.at_least(1, "at least one pattern", &args)?;
        let mut files = Files { place: Place::Snapshot, globs: Vec::with_capacity(args.len()) };
        for (index, arg) in args.into_iter().enumerate() {
            let mut arg = self.checked(arg, true)?;
            let negated = arg.text.starts_with('!');
            if negated {
                arg.text.remove(0);
                arg.span.start = (arg.span.start + 1).min(arg.span.end);
            }
            let path = self.path(arg)?;
            if index == 0 {
                files.place = path.place;
            } else if path.place != Place::Snapshot && !same_place(&path.place, &files.place) {
                let message = "one files(…) reads one place: the first pattern's";
                let help = "write a files(…) for each place, and join them with +";
                return Err(Box::new(Diagnostic::error("InvalidKeyArgument", path.path.span, message).with_help(help)));
            }
            let pattern = path.path;
            if let Err(error) = Ignore::from_patterns(std::iter::once(pattern.value.as_str())) {
                return Err(self.fail(pattern.span, format!("{:?} is no pattern: {}", pattern.value, error.reason)));
            }
            files.globs.push(Glob { negated, pattern });
        }
        if files.globs.iter().all(|glob| glob.negated) {
            return Err(self.fail(self.span, "files with nothing but ! patterns selects nothing"));
        }
        Ok(Atom::Files(files))
    }

    fn data(&self, format: DataFormat, args: Vec<Arg>) -> Result<Atom, Box<Diagnostic>> {
        self.at_least(2, "a path and at least one selector", &args)?;
        let mut args = args.into_iter();
        let path = args.next().map(|arg| self.path(arg)).transpose()?;
        let mut selectors = Vec::new();
        for arg in args {
            let arg = self.checked(arg, true)?;
            match Selector::parse(&arg.text) {
                Ok(selector) => selectors.push(Spanned::new(selector, arg.span)),
                Err(error) => return Err(self.fail(arg.span, format!("{:?} is no selector: {error}", arg.text))),
            }
        }
        match path {
            Some(path) => Ok(Atom::Data { format, path, selectors }),
            None => Err(self.fail(self.span, format!("{} takes a path", self.word))),
        }
    }

    fn lines(&self, args: Vec<Arg>) -> Result<Atom, Box<Diagnostic>> {
        match <[Arg; 2]>::try_from(args) {
            Ok([path, pattern]) => {
                let path = self.path(path)?;
                Ok(Atom::Lines { path, pattern: self.checked(pattern, true)?.spanned() })
            }
            Err(args) => Err(self
                .fail(self.span, format!("lines takes a path and a regular expression, not {} arguments", args.len()))),
        }
    }

    fn names(&self, args: Vec<Arg>) -> Result<Vec<Spanned<String>>, Box<Diagnostic>> {
        self.at_least(1, "at least one name", &args)?;
        args.into_iter()
            .map(|arg| {
                let arg = self.checked(arg, false)?;
                match super::parser::is_name(&arg.text) {
                    true => Ok(arg.spanned()),
                    false => Err(self.fail(arg.span, format!("{:?} is no name of a variable", arg.text))),
                }
            })
            .collect()
    }

    fn http(&self, args: Vec<Arg>) -> Result<Atom, Box<Diagnostic>> {
        let arg = self.one(args, true)?;
        if !(arg.text.starts_with("http://") || arg.text.starts_with("https://")) {
            return Err(self.fail(arg.span, format!("{:?} is no http or https address", arg.text)));
        }
        Ok(Atom::Http(arg.spanned()))
    }

    fn git(&self, args: Vec<Arg>) -> Result<Atom, Box<Diagnostic>> {
        let arg = self.one(args, true)?;
        Ok(Atom::Git(match arg.text.as_str() {
            "head" => Git::Head,
            "dirty" => Git::Dirty,
            _ => Git::Path(arg.spanned()),
        }))
    }

    fn time(&self, args: Vec<Arg>) -> Result<Atom, Box<Diagnostic>> {
        let arg = self.one(args, true)?;
        match Period::parse(&arg.text) {
            Some(period) => Ok(Atom::Time(period)),
            None => {
                let message = format!("{:?} is no period: a number above 0 and one of s, m, h, d, w", arg.text);
                Err(self.fail(arg.span, message))
            }
        }
    }
}

/// Equality of places without regard to where they are written.
fn same_place(a: &Place, b: &Place) -> bool {
    match (a, b) {
        (Place::Stage(a), Place::Stage(b)) => a.value.eq_ignore_ascii_case(&b.value),
        _ => std::mem::discriminant(a) == std::mem::discriminant(b),
    }
}
