//! The texts that a document was read from, one behind the other, so that a [`Span`] says the file too.
//!
//! A file that another one includes stands behind it, and so does the body of a DEF each time it is used, its parameters
//! replaced. Knows nothing of what the texts mean, and reads no file.

use crate::span::Span;
use std::borrow::Cow;

/// The texts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sources {
    text: String,
    files: Vec<Source>,
}

/// One text.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Source {
    name: String,
    start: usize,
    end: usize,
    origin: Origin,
}

/// Why a text is read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Origin {
    /// It is the file that was asked for.
    Main,
    /// An INCLUDE at this place names it.
    Included(Span),
    /// A USE at this place takes it from `body`.
    Used {
        /// The DEF's name.
        name: String,
        /// The USE.
        at: Span,
        /// What it stands for in the text of a file.
        body: Span,
    },
}

/// A place as it is shown to people.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown<'a> {
    /// Which of [`Sources::files`] it is.
    pub index: usize,
    /// The file.
    pub name: &'a str,
    /// Its text; where the place is in the body of a DEF that was used, with its parameters replaced.
    pub text: Cow<'a, str>,
    /// The place in this text.
    pub span: Span,
}

impl Sources {
    /// The file that is asked for, alone.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let mut sources = Sources { text: String::new(), files: Vec::new() };
        sources.push(name.into(), &text.into(), Origin::Main);
        sources
    }

    /// Adds a text; gives where it begins and ends in [`Sources::text`].
    pub(crate) fn push(&mut self, name: String, text: &str, origin: Origin) -> (usize, usize) {
        if !self.files.is_empty() {
            // The end of one text is another place than the start of the next.
            self.text.push('\n');
        }
        let start = self.text.len();
        self.text.push_str(text);
        let end = self.text.len();
        self.files.push(Source { name, start, end, origin });
        (start, end)
    }

    /// All texts, one behind the other, as spans count in them.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The name of the file that was asked for.
    pub fn name(&self) -> &str {
        self.files.first().map_or("", |file| &file.name)
    }

    /// The text of the file that was asked for.
    pub fn main(&self) -> &str {
        self.files.first().map_or("", |file| &self.text[file.start..file.end])
    }

    /// The files with their texts, that which was asked for first. One that is included twice is there twice.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        let files = self.files.iter().filter(|file| !matches!(file.origin, Origin::Used { .. }));
        files.map(|file| (file.name.as_str(), &self.text[file.start..file.end]))
    }

    fn position(&self, offset: u32) -> usize {
        self.files.partition_point(|file| file.start <= offset as usize).saturating_sub(1)
    }

    fn at(&self, offset: u32) -> Option<&Source> {
        self.files.get(self.position(offset))
    }

    /// The file in which a place is.
    pub fn file_of(&self, span: Span) -> &str {
        match self.at(span.start) {
            Some(Source { origin: Origin::Used { body, .. }, .. }) => self.file_of(*body),
            Some(file) => &file.name,
            None => "",
        }
    }

    /// Whether two places can be shown in one text.
    pub fn is_one_text(&self, a: Span, b: Span) -> bool {
        match (self.at(a.start), self.at(b.start)) {
            (Some(a), Some(b)) => a.start == b.start,
            _ => true,
        }
    }

    /// A place in the text in which people find it.
    pub fn shown(&self, span: Span) -> Shown<'_> {
        let position = self.position(span.start);
        let Some(file) = self.files.get(position) else {
            return Shown { index: 0, name: "", text: Cow::Borrowed(""), span };
        };
        let own = &self.text[file.start..file.end];
        let local = |at: u32| (at as usize).clamp(file.start, file.end) - file.start;
        let (start, end) = (local(span.start), local(span.end));
        let Origin::Used { body, .. } = &file.origin else {
            let used = |file: &&Source| matches!(file.origin, Origin::Used { .. });
            let index = position - self.files[..position].iter().filter(used).count();
            return Shown { index, name: &file.name, text: Cow::Borrowed(own), span: Span::new(start, end) };
        };
        let around = self.shown(*body);
        let (from, to) = (around.span.start as usize, around.span.end as usize);
        let text = [&around.text[..from], own, &around.text[to..]].concat();
        let span = Span::new(from + start, from + end);
        Shown { index: around.index, name: around.name, text: Cow::Owned(text), span }
    }

    /// The line of a place in its file, from 1.
    pub fn line(&self, span: Span) -> usize {
        let shown = self.shown(span);
        1 + shown.text.as_bytes()[..shown.span.start as usize].iter().filter(|&&byte| byte == b'\n').count()
    }

    /// How the text of a place came to be read: the INCLUDE or USE that named it, the one that named that one's text,
    /// and so on, each with a word on it.
    pub fn trail(&self, span: Span) -> Vec<(Span, String)> {
        let mut all = Vec::new();
        let mut next = span;
        while let Some(file) = self.at(next.start) {
            let (at, words) = match &file.origin {
                Origin::Main => break,
                Origin::Included(at) => (*at, "included here".to_owned()),
                Origin::Used { name, at, .. } => (*at, format!("{name} is used here")),
            };
            all.push((at, words));
            next = at;
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_shown_in_its_own_file_with_the_way_to_it() {
        let mut sources = Sources::new("main", "INCLUDE \"a\"\nUSE f(x)\n");
        let place = |sources: &Sources, text: &str| {
            let at = sources.text().rfind(text).unwrap();
            Span::new(at, at + text.len())
        };
        let include = place(&sources, "INCLUDE");
        sources.push("a".to_owned(), "DEF f(p)\nRUN $p\nEND\n", Origin::Included(include));
        let (body, at) = (place(&sources, "RUN $p\n"), place(&sources, "USE"));
        sources.push("f".to_owned(), "RUN long\n", Origin::Used { name: "f".to_owned(), at, body });
        let span = place(&sources, "long");
        let shown = sources.shown(span);
        assert_eq!((shown.name, &*shown.text), ("a", "DEF f(p)\nRUN long\nEND\n"));
        assert_eq!(&shown.text[shown.span.start as usize..shown.span.end as usize], "long");
        assert_eq!((sources.line(span), sources.file_of(span)), (2, "a"));
        assert_eq!(sources.trail(span), [(at, "f is used here".to_owned())]);
        assert_eq!(sources.trail(body), [(include, "included here".to_owned())]);
        assert!(!sources.is_one_text(span, at) && sources.is_one_text(include, at));
        let end = Span::new(sources.main().len(), sources.main().len());
        assert_eq!(sources.file_of(end), "main");
    }
}
