//! COPY and ADD: their flags, sources and destination.
//!
//! Knows nothing of contexts or stages; a source is a word or a heredoc, whatever it names.

use super::flags::{self, Takes};
use super::wrong_count;
use crate::ast::{Add, Copy, Heredoc, Source, Word};
use crate::diagnostic::Diagnostic;
use crate::heredoc;
use crate::keyword::Keyword;
use crate::raw::Node;

/// `COPY [FLAGS] SRC… DST`
pub(super) fn copy(node: &Node, heredocs: &mut Vec<Heredoc>, out: &mut Vec<Diagnostic>) -> Option<Copy> {
    let known = [
        ("from", Takes::One),
        ("chown", Takes::One),
        ("chmod", Takes::One),
        ("link", Takes::Bool),
        ("parents", Takes::Bool),
        ("exclude", Takes::Many),
    ];
    let flags = flags::read(&node.flags, Keyword::Copy, &known, out);
    let (sources, destination) = paths(node, Keyword::Copy, heredocs, out)?;
    let mut flags = flags?;
    Some(Copy {
        sources,
        destination,
        link: flags.boolean("link").unwrap_or(false),
        parents: flags.boolean("parents").unwrap_or(false),
        excludes: flags.many("exclude"),
        from: flags.one("from"),
        chown: flags.one("chown"),
        chmod: flags.one("chmod"),
    })
}

/// `ADD [FLAGS] SRC… DST`
pub(super) fn add(node: &Node, heredocs: &mut Vec<Heredoc>, out: &mut Vec<Diagnostic>) -> Option<Add> {
    let known = [
        ("chown", Takes::One),
        ("chmod", Takes::One),
        ("link", Takes::Bool),
        ("checksum", Takes::One),
        ("keep-git-dir", Takes::Bool),
        ("unpack", Takes::Bool),
        ("exclude", Takes::Many),
    ];
    let flags = flags::read(&node.flags, Keyword::Add, &known, out);
    let (sources, destination) = paths(node, Keyword::Add, heredocs, out)?;
    let mut flags = flags?;
    Some(Add {
        sources,
        destination,
        link: flags.boolean("link").unwrap_or(false),
        keep_git_dir: flags.boolean("keep-git-dir"),
        unpack: flags.boolean("unpack"),
        excludes: flags.many("exclude"),
        chown: flags.one("chown"),
        chmod: flags.one("chmod"),
        checksum: flags.one("checksum"),
    })
}

/// Sources and destination; a source that names a heredoc is its index.
fn paths(
    node: &Node,
    keyword: Keyword,
    heredocs: &mut Vec<Heredoc>,
    out: &mut Vec<Diagnostic>,
) -> Option<(Vec<Source>, Word)> {
    let Some((destination, sources @ [_, ..])) = node.values.split_last() else {
        let message = format!(
            "{keyword} requires at least two arguments, but only {} provided. Destination could not be determined",
            if node.values.is_empty() { "none was" } else { "one was" }
        );
        out.push(wrong_count(node, message).with_help(format!("write {keyword} source destination")));
        return None;
    };
    if heredoc::parse(&destination.value).is_some() {
        let message = format!("{keyword} cannot accept a heredoc as a destination");
        out.push(Diagnostic::error("HeredocDestination", destination.span, message));
        return None;
    }
    let sources = sources.iter().map(|word| match heredoc::parse(&word.value) {
        None => Source::Path(word.clone()),
        Some(head) => {
            // Of two heredocs with one name the later one's body counts for both.
            let index = heredocs.iter().rposition(|heredoc| heredoc.name == head.name).unwrap_or_else(|| {
                // The JSON form opens no heredoc, and BuildKit then makes an empty file of it.
                let (name, descriptor) = (head.name, head.descriptor);
                let (expand, chomp, content) = (head.expand, head.chomp, String::new());
                heredocs.push(Heredoc { name, descriptor, expand, chomp, content, span: word.span });
                heredocs.len() - 1
            });
            Source::Heredoc(index)
        }
    });
    Some((sources.collect(), destination.clone()))
}
