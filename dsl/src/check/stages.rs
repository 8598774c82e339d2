//! A file's stages as the checks see them.
//!
//! Knows nothing of what is right or wrong with them.

use crate::ast::{self, Command, Document, Instruction};
use crate::platform::Platform;
use std::collections::HashMap;
use std::sync::Arc;

/// A stage with what its FROM names, expanded.
pub(super) struct Stage<'a> {
    /// Its FROM.
    pub from: &'a Instruction,
    /// The same, typed.
    pub head: &'a ast::From,
    /// Its name in lower case.
    pub name: Option<String>,
    /// What it is made from, expanded; empty where that has no value.
    pub base: String,
    /// The earlier stage that this is.
    pub parent: Option<usize>,
    /// The earlier stages that are merged with it.
    pub merged: Vec<usize>,
    /// `--platform`, expanded.
    pub platform: Option<Platform>,
    /// What follows the FROM.
    pub instructions: &'a [Arc<Instruction>],
}

/// All stages of a file, found by name at once: a file may have very many.
#[derive(Default)]
pub(super) struct Stages<'a> {
    /// In their order.
    pub list: Vec<Stage<'a>>,
    /// The last stage of each name.
    names: HashMap<String, usize>,
}

impl<'a> Stages<'a> {
    /// Adds the next stage.
    pub fn push(&mut self, stage: Stage<'a>) {
        if let Some(name) = &stage.name {
            self.names.insert(name.clone(), self.list.len());
        }
        self.list.push(stage);
    }

    /// The stage of this name, without regard to case; of two with one name the later.
    pub fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(&name.to_lowercase()).copied()
    }
}

/// The FROMs of a file with what follows each.
pub(super) fn split(document: &Document) -> impl Iterator<Item = (&Instruction, &ast::From, &[Arc<Instruction>])> {
    let all = &document.instructions;
    let is_from = |instruction: &Arc<Instruction>| matches!(instruction.command, Command::From(_));
    all.iter().enumerate().filter_map(move |(index, instruction)| {
        let Command::From(head) = &instruction.command else { return None };
        let rest = &all[index + 1..];
        let length = rest.iter().position(is_from).unwrap_or(rest.len());
        Some((&**instruction, head, &rest[..length]))
    })
}

/// The stages that `target` needs, itself included, as far as the file says.
pub(super) fn reachable(stages: &Stages<'_>, target: usize) -> Vec<bool> {
    let mut reached = vec![false; stages.list.len()];
    let mut next = vec![target];
    while let Some(index) = next.pop() {
        let Some(stage) = stages.list.get(index) else { continue };
        if std::mem::replace(&mut reached[index], true) {
            continue;
        }
        next.extend(stage.parent);
        next.extend(&stage.merged);
        for instruction in stage.instructions {
            next.extend(sources(stages, index, instruction));
        }
    }
    reached
}

/// The stages that an instruction of stage `user` reads from.
pub(super) fn sources(stages: &Stages<'_>, user: usize, instruction: &Instruction) -> Vec<usize> {
    match &instruction.command {
        Command::Copy(copy) => copy
            .from
            .iter()
            .filter_map(|from| {
                stages.by_name(&from.value).or_else(|| from.value.parse().ok().filter(|&index| index < user))
            })
            .collect(),
        Command::Run(run) => run
            .mounts
            .iter()
            .filter_map(|mount| crate::mount::Mount::parse(&mount.value, &mut |value| Ok(value.to_owned())).ok()?.from)
            .filter_map(|from| stages.by_name(&from))
            .collect(),
        Command::OnBuild(trigger) => sources(stages, user, &trigger.instruction),
        _ => Vec::new(),
    }
}

/// The stage that is built: `target`, or the last.
pub(super) fn target(stages: &Stages<'_>, target: Option<&str>) -> Option<usize> {
    match target {
        None => stages.list.len().checked_sub(1),
        Some(name) => stages.by_name(name).or_else(|| name.parse().ok().filter(|&index| index < stages.list.len())),
    }
}
