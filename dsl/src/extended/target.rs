//! `TARGET name = stage + …`, `CHECK stage …` and `EXPORT path AS "directory"`: what is built, what must succeed, and what
//! leaves a build as files.
//!
//! Docker builds the same image without them. Knows nothing of which stages there are.

use super::Line;
use crate::ast::{Export, TargetDecl, Word};
use crate::diagnostic::Diagnostic;
use crate::span::{Span, Spanned};
use nom::branch::alt;
use nom::bytes::complete::{is_not, tag_no_case, take_while, take_while1};
use nom::character::complete::char;
use nom::combinator::{all_consuming, opt};
use nom::multi::{many1, separated_list1};
use nom::sequence::{delimited, preceded, separated_pair};
use nom::{IResult, Parser};

fn blanks(text: &str) -> IResult<&str, &str> {
    take_while(char::is_whitespace).parse(text)
}

/// The name of a stage, of branches, or of a target.
fn name(text: &str) -> IResult<&str, &str> {
    take_while1(|c: char| !c.is_whitespace() && !matches!(c, '+' | '=' | '"' | '\'')).parse(text)
}

/// A text in double quotes, or one without blanks.
fn path(text: &str) -> IResult<&str, &str> {
    let quoted = delimited(char('"'), is_not("\""), char('"'));
    alt((quoted, take_while1(|c: char| !c.is_whitespace() && c != '"'))).parse(text)
}

/// The arguments of a line, which begin at `start`, and where parts of them stand.
struct Arguments<'l> {
    line: &'l Line,
    text: &'l str,
}

impl<'l> Arguments<'l> {
    fn of(line: &'l Line, start: usize) -> Self {
        Arguments { line, text: line.text[start..].trim() }
    }

    fn span(&self, part: &str) -> Span {
        let at = part.as_ptr() as usize - self.line.text.as_ptr() as usize;
        self.line.place(at, at + part.len())
    }

    fn word(&self, part: &str) -> Word {
        Spanned::new(part.to_owned(), self.span(part))
    }

    fn error(&self, code: &'static str, message: &str, help: &str) -> Box<Diagnostic> {
        let span = if self.text.is_empty() { self.line.span } else { self.span(self.text) };
        Box::new(Diagnostic::error(code, span, message).with_help(help))
    }
}

/// Reads a TARGET.
pub(crate) fn target(line: &Line, start: usize, comments: Vec<Word>) -> Result<TargetDecl, Box<Diagnostic>> {
    let arguments = Arguments::of(line, start);
    let members = separated_list1(delimited(blanks, char('+'), blanks), name);
    let mut form = all_consuming(separated_pair(name, delimited(blanks, char('='), blanks), members));
    let read: IResult<&str, (&str, Vec<&str>)> = form.parse(arguments.text);
    let Ok((_, (name, members))) = read else {
        let help = "write TARGET name = stage + other[*] + target";
        return Err(arguments.error("InvalidTarget", "TARGET needs a name and what it is made of", help));
    };
    if name.contains('[') {
        let help = "write TARGET name = …; the name is what --target says";
        return Err(Box::new(
            Diagnostic::error("InvalidTarget", arguments.span(name), "the name of a target has no brackets")
                .with_help(help),
        ));
    }
    let members = members.into_iter().map(|member| arguments.word(member)).collect();
    Ok(TargetDecl { name: arguments.word(name), members, comments, span: line.span })
}

/// Reads a CHECK.
pub(crate) fn check(line: &Line, start: usize) -> Result<Vec<Word>, Box<Diagnostic>> {
    let arguments = Arguments::of(line, start);
    let mut form = all_consuming(many1(preceded(blanks, name)));
    let read: IResult<&str, Vec<&str>> = form.parse(arguments.text);
    match read {
        Ok((_, names)) => Ok(names.into_iter().map(|name| arguments.word(name)).collect()),
        Err(_) => Err(arguments.error("InvalidTarget", "CHECK needs the names of stages", "write CHECK lint test[*]")),
    }
}

/// Reads an EXPORT.
pub(crate) fn export(line: &Line, start: usize) -> Result<Export, Box<Diagnostic>> {
    let arguments = Arguments::of(line, start);
    let directory =
        preceded((take_while1(char::is_whitespace), tag_no_case("as"), take_while1(char::is_whitespace)), path);
    let mut form = all_consuming((path, opt(directory)));
    let read: IResult<&str, (&str, Option<&str>)> = form.parse(arguments.text);
    const HELP: &str = "write EXPORT /path/in/the/stage AS \"directory/of/the/project\"";
    let Ok((_, (path, Some(directory)))) = read else {
        return Err(arguments.error("InvalidExport", "EXPORT needs a path and a directory", HELP));
    };
    Ok(Export { path: arguments.word(path), directory: arguments.word(directory) })
}
