//! `INCLUDE "path"`: the lines of another file stand here.
//!
//! Reads the line and joins paths. What is read where, and whether it may be, is asked of a [`Loader`].

use super::Line;
use crate::diagnostic::Diagnostic;
use crate::span::Spanned;
use nom::Parser;
use nom::bytes::complete::take_while1;
use nom::character::complete::char;
use nom::combinator::all_consuming;
use nom::sequence::delimited;

/// Gives the text of an included file by its path, as [`join`] makes it; else why there is none, as words that go on
/// "failed to read it: ".
pub type Loader<'a> = dyn FnMut(&str) -> Result<String, String> + 'a;

/// No file can be included.
pub fn nothing(_: &str) -> Result<String, String> {
    Err("there are no files beside this text".to_owned())
}

/// Reads the arguments, which begin at `start` in the line.
pub(crate) fn read(line: &Line, start: usize) -> Result<Spanned<String>, Box<Diagnostic>> {
    let text = line.text[start..].trim();
    let begin = start + (line.text[start..].len() - line.text[start..].trim_start().len());
    let span = line.place(begin, begin + text.len());
    let error = |message: &str| {
        let finding = Diagnostic::error("InvalidInclude", if text.is_empty() { line.span } else { span }, message);
        Box::new(finding.with_help("write INCLUDE \"common.kiln\", a path from the directory of this file"))
    };
    let mut quoted = all_consuming(delimited(char('"'), take_while1(|c| c != '"' && c != '\n'), char('"')));
    let read: nom::IResult<&str, &str> = quoted.parse(text);
    let Ok((_, path)) = read else { return Err(error("INCLUDE needs the path of a file in double quotes")) };
    if path.contains('$') {
        return Err(error(
            "variables are not expanded in INCLUDE: which files are read is decided before they are known",
        ));
    }
    if path.starts_with('/') {
        return Err(error("INCLUDE takes no absolute path: a project must build wherever it is"));
    }
    Ok(Spanned::new(path.to_owned(), span))
}

/// `path` as seen from the file `from`, cleaned: relative to the directory of the file that was asked for, perhaps with
/// `..` at its head.
pub(crate) fn join(from: &str, path: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_joined_from_the_file_that_names_them() {
        for (from, path, joined) in [
            ("build.kiln", "common.kiln", "common.kiln"),
            ("build.kiln", "./lib/a.kiln", "lib/a.kiln"),
            ("lib/a.kiln", "b.kiln", "lib/b.kiln"),
            ("lib/a.kiln", "../c.kiln", "c.kiln"),
            ("lib/a.kiln", "../../d.kiln", "../d.kiln"),
            ("../d.kiln", "../e.kiln", "../../e.kiln"),
        ] {
            assert_eq!(join(from, path), joined, "{from} {path}");
        }
    }
}
