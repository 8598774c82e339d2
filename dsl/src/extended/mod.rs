//! The door to the extended language: `# kiln:` comments in any Dockerfile, bare instructions in `*.kiln` files.
//!
//! The lexer hands in [`Line`]s, one for each comment or bare instruction; here they become typed, each family in a
//! file of its own. A line is an instruction with a [`Keyword`], or flags for the instruction below it. Knows
//! nothing of the plain instructions but their names.

pub mod branch;
pub mod branch_name;
pub mod condition;
pub(crate) mod definition;
mod flags;
pub(crate) mod include;
mod key;
pub(crate) mod target;
mod version;

pub(crate) use flags::{Flags, length as flag_length};
pub(crate) use key::read as key_instruction;

use crate::ast::Word;
use crate::diagnostic::Diagnostic;
use crate::keyword::Keyword as Plain;
use crate::lexer::SourceMap;
use crate::raw::Node;
use crate::span::Span;
use crate::suggest;
use std::fmt;
use std::path::Path;

/// How a file's lines are read.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Dialect {
    /// As Docker reads them: extensions stand behind `# kiln:`.
    #[default]
    Dockerfile,
    /// As in a `*.kiln` file: extensions may stand as they are, too.
    Kiln,
}

impl Dialect {
    /// The dialect of a file with this name: `*.kiln` is the extended language.
    pub fn of_file(path: &Path) -> Dialect {
        match path.extension() {
            Some(extension) if extension.eq_ignore_ascii_case("kiln") => Dialect::Kiln,
            _ => Dialect::Dockerfile,
        }
    }
}

/// An instruction of the extended language.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Keyword {
    /// `KEY name = expr`
    Key,
    /// `IF condition`
    If,
    /// `ELSE`, `ELSE IF condition`
    Else,
    /// `END`
    End,
    /// `INCLUDE "path"`
    Include,
    /// `DEF name(parameter, …)`
    Def,
    /// `USE name(value, …)`
    Use,
    /// `TARGET name = stage + …`
    Target,
    /// `CHECK stage …`
    Check,
    /// `EXPORT path AS "directory"`
    Export,
}

const ALL: [(Keyword, &str); 10] = [
    (Keyword::Key, "KEY"),
    (Keyword::If, "IF"),
    (Keyword::Else, "ELSE"),
    (Keyword::End, "END"),
    (Keyword::Include, "INCLUDE"),
    (Keyword::Def, "DEF"),
    (Keyword::Use, "USE"),
    (Keyword::Target, "TARGET"),
    (Keyword::Check, "CHECK"),
    (Keyword::Export, "EXPORT"),
];

impl Keyword {
    /// The instruction called `word`, in any case.
    pub fn parse(word: &str) -> Option<Keyword> {
        ALL.iter().find(|(_, name)| name.eq_ignore_ascii_case(word)).map(|&(keyword, _)| keyword)
    }

    /// Whether Docker, which does not see it, would build something else: then it stands in `*.kiln` files only.
    pub fn changes_the_image(self) -> bool {
        match self {
            Keyword::Key | Keyword::Target | Keyword::Check | Keyword::Export => false,
            Keyword::If | Keyword::Else | Keyword::End | Keyword::Include | Keyword::Def | Keyword::Use => true,
        }
    }

    /// The keyword in capitals.
    pub fn name(self) -> &'static str {
        ALL.iter().find(|(keyword, _)| *keyword == self).map_or("", |&(_, name)| name)
    }

    /// All keywords in capitals, for suggestions.
    pub fn names() -> impl Iterator<Item = &'static str> {
        ALL.iter().map(|&(_, name)| name)
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One line of the extended language, its continuations joined, `# kiln:` taken off.
#[derive(Debug)]
pub(crate) struct Line {
    pub text: String,
    pub map: SourceMap,
    /// The whole of it, `# kiln:` included.
    pub span: Span,
    /// The comments above it.
    pub comments: Vec<Word>,
    /// The lines that it stands on in its file, from 1.
    pub lines: (u32, u32),
    /// What stands between a DEF and its END.
    pub body: Option<Body>,
}

/// What stands between a DEF and its END.
#[derive(Debug)]
pub(crate) struct Body {
    /// Where its text begins in the source.
    pub start: usize,
    /// Where its text ends.
    pub end: usize,
    /// How many lines stand before it in its file.
    pub lines: u32,
    /// Its instructions as they stand, parameters in them.
    pub nodes: Vec<Node>,
    /// Its lines of the extended language.
    pub extended: Vec<Line>,
}

/// What a line is.
pub(crate) enum Kind {
    /// Flags for the instruction below.
    Flags,
    /// An instruction, and where its arguments begin.
    Instruction(Keyword, usize),
}

impl Line {
    /// The span of a range of its text.
    pub fn place(&self, start: usize, end: usize) -> Span {
        self.map.span(start, end)
    }

    /// Whether it holds flags for the instruction below it.
    pub fn is_flags(&self) -> bool {
        self.text.trim_start().starts_with("--")
    }

    /// What it is.
    pub fn kind(&self) -> Result<Kind, Box<Diagnostic>> {
        if self.is_flags() {
            return Ok(Kind::Flags);
        }
        let start = self.text.len() - self.text.trim_start().len();
        let word = self.text[start..].split_whitespace().next().unwrap_or_default();
        if let Some(keyword) = Keyword::parse(word) {
            return Ok(Kind::Instruction(keyword, start + word.len()));
        }
        let error = |code, message: String| {
            let span = if word.is_empty() { self.span } else { self.place(start, start + word.len()) };
            Diagnostic::error(code, span, message)
        };
        Err(Box::new(if word.is_empty() {
            error("UnknownExtension", "nothing stands behind # kiln:".to_owned())
                .with_help("write KEY name = …, or flags of the instruction below such as --key=…")
        } else if let Some(plain) = Plain::parse(word) {
            error("UnknownExtension", format!("{plain} is an instruction of every Dockerfile"))
                .with_help("write it without # kiln:, so that Docker reads it too")
        } else {
            let near = suggest::nearest(word, Keyword::names());
            error("UnknownExtension", format!("unknown instruction of the extended language: {word}")).with_help(
                match near {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("there is {}", Keyword::names().collect::<Vec<_>>().join(", ")),
                },
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_decides_the_dialect() {
        for (name, dialect) in [
            ("Dockerfile", Dialect::Dockerfile),
            ("build.kiln", Dialect::Kiln),
            ("a/Dockerfile.KILN", Dialect::Kiln),
            ("kiln", Dialect::Dockerfile),
            (".kiln", Dialect::Dockerfile),
            ("x.kiln.bak", Dialect::Dockerfile),
        ] {
            assert_eq!(Dialect::of_file(Path::new(name)), dialect, "{name}");
        }
    }
}
