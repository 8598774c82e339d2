//! The instructions that only set the image's configuration: ENV, LABEL, EXPOSE, USER, VOLUME, WORKDIR and the like.
//!
//! Values stay as written; whether a port or a signal exists is asked after expansion.

use super::flags;
use super::from::warn_of_flags;
use super::wrong_count;
use crate::ast::{Assignments, Word};
use crate::diagnostic::Diagnostic;
use crate::keyword::Keyword;
use crate::raw::Node;

/// `ENV K=V …`, `LABEL K=V …`
pub(super) fn assignments(node: &Node, keyword: Keyword, out: &mut Vec<Diagnostic>) -> Option<Assignments> {
    flags::read(&node.flags, keyword, &[], out)?;
    if node.values.is_empty() {
        out.push(at_least_one(node, keyword));
        return None;
    }
    let (pairs, _) = node.values.as_chunks::<2>();
    if let Some([key, _]) = pairs.iter().find(|[key, _]| key.value.is_empty()) {
        out.push(Diagnostic::error("BlankName", key.span, format!("{keyword} names can not be blank")));
        return None;
    }
    let pairs = pairs.iter().map(|[key, value]| (key.clone(), value.clone())).collect();
    Some(Assignments { pairs, legacy: node.legacy })
}

/// An instruction with exactly one argument, the rest of its line.
pub(super) fn single(node: &Node, keyword: Keyword, out: &mut Vec<Diagnostic>) -> Option<Word> {
    flags::read(&node.flags, keyword, &[], out)?;
    one(node, keyword, out)
}

fn one(node: &Node, keyword: Keyword, out: &mut Vec<Diagnostic>) -> Option<Word> {
    let [word] = node.values.as_slice() else {
        out.push(wrong_count(node, format!("{keyword} requires exactly one argument")));
        return None;
    };
    Some(word.clone())
}

/// `MAINTAINER NAME`
pub(super) fn maintainer(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Word> {
    single(node, Keyword::Maintainer, out)
}

/// `STOPSIGNAL SIGNAL`; flags are ignored, as BuildKit does.
pub(super) fn stop_signal(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Word> {
    warn_of_flags(node, Keyword::StopSignal, out);
    one(node, Keyword::StopSignal, out)
}

/// `EXPOSE PORT …`, sorted as BuildKit sorts them before expansion.
pub(super) fn expose(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Vec<Word>> {
    let mut ports = at_least_one_word(node, Keyword::Expose, out)?;
    ports.sort_by(|a, b| a.value.cmp(&b.value));
    Some(ports)
}

/// `VOLUME PATH …`
pub(super) fn volume(node: &Node, out: &mut Vec<Diagnostic>) -> Option<Vec<Word>> {
    let mut paths = at_least_one_word(node, Keyword::Volume, out)?;
    for path in &mut paths {
        path.value = path.value.trim().to_owned();
        if path.value.is_empty() {
            out.push(Diagnostic::error("BlankName", path.span, "VOLUME specified can not be an empty string"));
            return None;
        }
    }
    Some(paths)
}

fn at_least_one_word(node: &Node, keyword: Keyword, out: &mut Vec<Diagnostic>) -> Option<Vec<Word>> {
    flags::read(&node.flags, keyword, &[], out)?;
    if node.values.is_empty() {
        out.push(at_least_one(node, keyword));
        return None;
    }
    Some(node.values.clone())
}

pub(super) fn at_least_one(node: &Node, keyword: Keyword) -> Diagnostic {
    wrong_count(node, format!("{keyword} requires at least one argument"))
}
