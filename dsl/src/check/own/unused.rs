//! Arguments that nothing sees and stages that no image needs.
//!
//! A command may read any variable, so an argument counts as used once a RUN follows it.

use super::super::stages::{self, Stage, Stages};
use super::super::{Options, Out, Rule};
use crate::ast::{Command, Document, Instruction};
use std::collections::HashSet;

/// What every build gives or understands, whether a file uses it or not.
fn is_predefined(name: &str) -> bool {
    let proxy = name.to_ascii_lowercase();
    name.starts_with("BUILDKIT_")
        || proxy.ends_with("_proxy")
        || name == "SOURCE_DATE_EPOCH"
        || ["PLATFORM", "OS", "OSVERSION", "ARCH", "VARIANT", "STAGE"]
            .iter()
            .any(|part| name.strip_prefix("TARGET") == Some(part) || name.strip_prefix("BUILD") == Some(part))
}

/// The names of the variables that `text` holds, whatever the operators.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    text.split('$').skip(1).map(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len());
        &rest[..end]
    })
}

/// What the instructions from some place on can see.
#[derive(Clone, Default)]
struct Uses<'a> {
    any: bool,
    names: HashSet<&'a str>,
}

impl<'a> Uses<'a> {
    fn add(&mut self, at: &'a Instruction) {
        let inner = match &at.command {
            Command::OnBuild(trigger) => &trigger.instruction.command,
            command => command,
        };
        self.any |= matches!(inner, Command::Run(_));
        self.names.extend(variables(&at.original));
        self.names.extend(at.heredocs.iter().flat_map(|heredoc| variables(&heredoc.content)));
    }
}

/// Reports arguments that nothing uses.
pub(in super::super) fn arguments(document: &Document, stages: &Stages<'_>, out: &mut Out) {
    // What each stage's heirs use is added up backwards, which costs a set for each stage.
    const MAX_STAGES: usize = 1_000;
    if stages.list.len() > MAX_STAGES {
        return;
    }
    let mut found: Vec<(&Instruction, &crate::ast::ArgDecl)> = Vec::new();
    let mut heirs: Vec<Uses<'_>> = vec![Uses::default(); stages.list.len()];
    let mut redeclared = HashSet::new();
    for (index, stage) in stages.list.iter().enumerate().rev() {
        let mut uses = std::mem::take(&mut heirs[index]);
        for at in stage.instructions.iter().rev() {
            if let Command::Arg(declarations) = &at.command {
                for declaration in declarations {
                    let name = declaration.name.value.as_str();
                    redeclared.insert(name);
                    if !uses.any && !uses.names.contains(name) && !is_predefined(name) {
                        found.push((at, declaration));
                    }
                }
            }
            uses.add(at);
        }
        if let Some(parent) = stage.parent {
            heirs[parent].any |= uses.any;
            heirs[parent].names.extend(uses.names);
        }
    }
    let mut used: HashSet<&str> = stages.list.iter().flat_map(|stage| variables(&stage.from.original)).collect();
    let head = document.instructions.iter().take_while(|at| !matches!(at.command, Command::From(_)));
    for at in head.collect::<Vec<_>>().into_iter().rev() {
        let Command::Arg(declarations) = &at.command else { continue };
        for declaration in declarations {
            let name = declaration.name.value.as_str();
            if !used.contains(name) && !redeclared.contains(name) && !is_predefined(name) {
                found.push((at, declaration));
            }
        }
        used.extend(variables(&at.original));
    }
    for (at, declaration) in found {
        let name = &declaration.name.value;
        let message = format!("Argument '{name}' is used by nothing");
        let help = match crate::suggest::nearest(name, used.iter().copied()) {
            Some(near) => format!("remove it; did you mean ${near}?"),
            None => "remove it, or move it above the instruction that should use it".to_owned(),
        };
        out.report(Rule::UnusedArg, at, declaration.name.span, message, help);
    }
}

/// Reports stages that are neither built by default nor used by another stage.
///
/// A stage with a name may be there to be built with `--target`. Where several are, the file is plainly made for
/// that; a single one is worth a word.
pub(in super::super) fn stages(document: &Document, stages: &Stages<'_>, options: &Options<'_>, out: &mut Out) {
    let Some(target) = stages::target(stages, options.target) else { return };
    let mut used = stages::reachable(stages, target);
    for (index, stage) in stages.list.iter().enumerate() {
        let read = stage.instructions.iter().flat_map(|at| stages::sources(stages, index, at));
        let below = stage.parent.into_iter().chain(stage.merged.iter().copied());
        for other in below.chain(read).filter(|&other| other != index) {
            used[other] = true;
        }
    }
    // A CHECK, and what a TARGET is made of, are there to be built.
    let is_named = |stage: &Stage<'_>| {
        let words = document.checks.iter().chain(document.targets.iter().flat_map(|target| &target.members));
        let stem = |text: &str| text.split('[').next().unwrap_or_default().to_lowercase();
        let name = stage.name.as_deref().map(stem);
        words.map(|word| stem(&word.value)).any(|word| Some(word) == name)
    };
    for (index, stage) in stages.list.iter().enumerate() {
        used[index] |= is_named(stage);
    }
    let unused: Vec<(usize, &Stage<'_>)> = stages.list.iter().enumerate().filter(|(index, _)| !used[*index]).collect();
    let is_for_targets = unused.iter().filter(|(_, stage)| stage.name.is_some()).count() > 1;
    for (index, stage) in unused {
        let help = match &stage.head.name {
            Some(_) if is_for_targets => continue,
            Some(name) => format!("build it with --target {}, or remove it", name.value),
            None => "remove it, or give it a name and use that".to_owned(),
        };
        let (label, span) = match &stage.head.name {
            Some(name) => (name.value.clone(), name.span),
            None => (index.to_string(), stage.head.image.span),
        };
        let message = format!("Stage '{label}' is no part of the image, and no other stage uses it");
        out.report(Rule::UnusedStage, stage.from, span, message, help);
    }
}
