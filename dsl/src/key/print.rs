//! The text of an expression, which reads back as the same expression.
//!
//! Knows nothing of the text that an expression was read from: one form for each meaning.

use super::ast::{Atom, Expr, Factor, Git, PathArg, Place, Sign, Term};
use std::fmt::{self, Display, Formatter};

/// A text in double quotes.
struct Quoted<'a>(&'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, (sign, term)) in self.terms.iter().enumerate() {
            match (index, sign) {
                (0, _) => write!(f, "{term}")?,
                (_, Sign::Plus) => write!(f, " + {term}")?,
                (_, Sign::Minus) => write!(f, " - {term}")?,
            }
        }
        Ok(())
    }
}

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.factor {
            Factor::Atom(atom) => write!(f, "{atom}")?,
            Factor::Group(expr) => write!(f, "({expr})")?,
            Factor::Optional(expr) => write!(f, "optional({expr})")?,
            Factor::Name(name) => f.write_str(name)?,
        }
        self.normalisers.iter().try_for_each(|normaliser| write!(f, " | {}", normaliser.value.word()))
    }
}

impl Display for Place {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Place::Snapshot => Ok(()),
            Place::Context => f.write_str("context:"),
            Place::Stage(name) => write!(f, "stage:{}:", name.value),
        }
    }
}

impl Display for PathArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.place, self.path.value)
    }
}

impl Display for Atom {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let quoted =
            |texts: Vec<String>| texts.iter().map(|text| Quoted(text).to_string()).collect::<Vec<_>>().join(", ");
        let word = self.word();
        match self {
            Atom::Files(files) => {
                let globs = files.globs.iter().enumerate().map(|(index, glob)| {
                    let place = if index == 0 { files.place.to_string() } else { String::new() };
                    format!("{}{place}{}", if glob.negated { "!" } else { "" }, glob.pattern.value)
                });
                write!(f, "{word}({})", quoted(globs.collect()))
            }
            Atom::Absent(path) => write!(f, "{word}({})", Quoted(&path.to_string())),
            Atom::Data { path, selectors, .. } => {
                let selectors = selectors.iter().map(|selector| selector.value.to_string());
                write!(f, "{word}({})", quoted(std::iter::once(path.to_string()).chain(selectors).collect()))
            }
            Atom::Lines { path, pattern } => {
                write!(f, "{word}({}, {})", Quoted(&path.to_string()), Quoted(&pattern.value))
            }
            Atom::Env(names) | Atom::Arg(names) => {
                let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
                write!(f, "{word}({})", names.join(", "))
            }
            // An id of a secret may hold anything.
            Atom::Secret(text)
            | Atom::Run(text)
            | Atom::Image(text)
            | Atom::Http(text)
            | Atom::Git(Git::Path(text)) => {
                write!(f, "{word}({})", Quoted(&text.value))
            }
            Atom::Git(Git::Head) => write!(f, "{word}(\"head\")"),
            Atom::Git(Git::Dirty) => write!(f, "{word}(\"dirty\")"),
            Atom::Time(period) => write!(f, "{word}(\"{period}\")"),
            Atom::Platform | Atom::Parent | Atom::Traced | Atom::Default | Atom::Always | Atom::Never => {
                f.write_str(word)
            }
        }
    }
}
