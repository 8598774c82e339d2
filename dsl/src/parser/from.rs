//! FROM and ARG: what opens a stage, and what may stand before the first one.
//!
//! Knows nothing of other stages: whether a name is known is the plan's question.

use super::flags::{self, Takes};
use super::{matrix, merge, wrong_count};
use crate::ast::{ArgDecl, From};
use crate::diagnostic::Diagnostic;
use crate::extended::Dialect;
use crate::keyword::Keyword;
use crate::raw::Node;
use crate::span::{Span, Spanned};

/// `FROM [--platform=P] IMAGE [AS NAME]`, in the extended language with stages merged into it and a matrix behind it.
pub(super) fn from(node: &Node, dialect: Dialect, out: &mut Vec<Diagnostic>) -> Option<From> {
    let flags = flags::read(&node.flags, Keyword::From, &[("platform", Takes::One)], out);
    let merge = merge::take(&node.values, out)?;
    let (plain, clauses) = merge.rest.split_at(matrix::begin(&merge.rest));
    if let (Dialect::Dockerfile, Some(first)) = (dialect, merge.mark.or(clauses.first())) {
        let word = first.value.to_ascii_uppercase();
        let message = format!("{word} changes the image, and Docker cannot read it");
        out.push(Diagnostic::error("NeedsKilnFile", first.span, message).with_help("call the file *.kiln"));
        return None;
    }
    let matrix = matrix::read(clauses, out);
    let (image, name) = match plain {
        [image] => (image, None),
        [image, as_word, name] if as_word.value.eq_ignore_ascii_case("as") => (image, Some((as_word, name))),
        values => {
            let error = wrong_count(node, "FROM requires either one or three arguments".to_owned());
            let with_name = values.len() == 2 || values.get(1).is_some_and(|word| word.value.len() == 2);
            let help = if with_name { "write FROM image AS name" } else { "write FROM image, or FROM image AS name" };
            out.push(error.with_help(help));
            return None;
        }
    };
    if let Some((_, name)) = name
        && !is_stage_name(&name.value)
    {
        let message = format!(
            "invalid name for build stage: {:?}, name can't start with a number or contain symbols",
            name.value
        );
        let help = "use letters, digits, `-`, `_` and `.`, and begin with a letter";
        out.push(Diagnostic::error("InvalidStageName", name.span, message).with_help(help));
        return None;
    }
    let matrix = matrix?;
    if let (Some(axis), None) = (matrix.axes.first(), name) {
        let message = "a stage with FOR needs a name, by which its branches are called";
        let help = format!("write FROM {} AS name FOR {} IN …", image.value, axis.name.value);
        out.push(Diagnostic::error("InvalidMatrix", axis.name.span, message).with_help(help));
        return None;
    }
    Some(From {
        platform: flags?.one("platform"),
        image: image.clone(),
        merged: merge.merged,
        last_wins: merge.last_wins,
        name: name.map(|(_, name)| name.clone()),
        axes: matrix.axes,
        exceptions: matrix.exceptions,
        bindings: Vec::new(),
    })
}

/// `^[a-z][a-z0-9-_.]*$` once in lower case.
fn is_stage_name(name: &str) -> bool {
    let lower = name.to_lowercase();
    lower.starts_with(|c: char| c.is_ascii_lowercase())
        && lower.chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.'))
}

/// `ARG NAME[=DEFAULT] …`; flags are ignored, as BuildKit does.
pub(super) fn arg(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Vec<ArgDecl>> {
    warn_of_flags(node, Keyword::Arg, out);
    if node.values.is_empty() {
        out.push(wrong_count(node, "ARG requires at least one argument".to_owned()));
        return None;
    }
    let mut declarations = Vec::with_capacity(node.values.len());
    for word in &node.values {
        let Some((name, default)) = word.value.split_once('=') else {
            declarations.push(ArgDecl { name: word.clone(), default: None });
            continue;
        };
        if name.is_empty() {
            out.push(Diagnostic::error("BlankName", word.span, "ARG names can not be blank"));
            return None;
        }
        let start = word.span.start as usize;
        let middle = start + name.len();
        declarations.push(ArgDecl {
            name: Spanned::new(name.to_owned(), Span::new(start, middle)),
            default: Some(Spanned::new(default.to_owned(), Span::new(middle + 1, word.span.end as usize))),
        });
    }
    Some(declarations)
}

/// Says that flags have no effect where BuildKit takes and ignores them.
pub(super) fn warn_of_flags(node: &Node, keyword: Keyword, out: &mut Vec<Diagnostic>) {
    for flag in &node.flags {
        let message = format!("{keyword} takes no flags; {} has no effect", flag.value);
        out.push(Diagnostic::warning("IgnoredFlag", flag.span, message));
    }
}
