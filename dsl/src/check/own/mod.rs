//! What only kiln says: files copied too early, parts of keys that decide nothing, cache mounts, arguments and stages that
//! nothing uses.
//!
//! These are advice: they read commands as text and guess what programs do, and each stays silent where it is not sure.

mod cache;
mod install;
mod key;
mod shell;
mod unused;

use super::stages::Stages;
use super::{Options, Out};
use crate::ast::{CommandLine, Document, Instruction, Run};
use std::borrow::Cow;

pub(super) fn check(document: &Document, stages: &Stages<'_>, options: &Options<'_>, out: &mut Out) {
    for stage in &stages.list {
        install::check(stage, out);
        cache::check(stage, out);
        key::check(stage, out);
    }
    unused::arguments(document, stages, out);
    unused::stages(document, stages, options, out);
}

/// All that a RUN gives to the shell, as text.
fn text_of<'a>(run: &'a Run, at: &'a Instruction) -> Cow<'a, str> {
    match &run.line {
        CommandLine::Exec(argv) => argv.join(" ").into(),
        CommandLine::Shell(line) if at.heredocs.is_empty() => line.as_str().into(),
        CommandLine::Shell(line) => {
            at.heredocs.iter().fold(line.clone(), |text, heredoc| text + "\n" + &heredoc.content).into()
        }
    }
}
