//! ONBUILD: an instruction kept for the images built on this one.
//!
//! The trigger is checked here although BuildKit checks it only where it fires: a trigger that can never run is an
//! error of the file that holds it.

use super::{config, flags};
use crate::ast::OnBuild;
use crate::diagnostic::Diagnostic;
use crate::extended::Dialect;
use crate::keyword::Keyword;
use crate::raw::Node;

/// `ONBUILD INSTRUCTION`; takes the trigger out of `node`.
pub(super) fn onbuild(node: &mut Node, out: &mut Vec<Diagnostic>) -> Option<OnBuild> {
    flags::read(&node.flags, Keyword::OnBuild, &[], out)?;
    let Some(mut trigger) = node.trigger.take() else {
        out.push(config::at_least_one(node, Keyword::OnBuild));
        return None;
    };
    let refused = match trigger.kind {
        Some(Keyword::OnBuild) => Some("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        Some(kind @ (Keyword::Maintainer | Keyword::From)) => {
            Some(format!("{kind} isn't allowed as an ONBUILD trigger"))
        }
        _ => None,
    };
    if let Some(message) = refused {
        out.push(Diagnostic::error("InvalidTrigger", trigger.keyword.span, message));
        return None;
    }
    let mut text = without_keyword(&node.original).to_owned();
    for heredoc in &node.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    node.json = trigger.json;
    node.values.clone_from(&trigger.values);
    trigger.heredocs.clone_from(&node.heredocs);
    (trigger.first_line, trigger.last_line) = (node.first_line, node.last_line);
    trigger.span.end = node.span.end;
    let instruction = Box::new(super::instruction(*trigger, Dialect::Dockerfile, out)?);
    Some(OnBuild { text, instruction })
}

/// The line behind `ONBUILD` and its blanks.
fn without_keyword(line: &str) -> &str {
    let line = line.trim_start();
    line.get(Keyword::OnBuild.name().len()..).unwrap_or_default().trim_start()
}
