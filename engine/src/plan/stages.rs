//! The stages of a file: their names, what each is made from, and which of them a target needs.
//!
//! Pure. Values of ARGs before the first FROM are decided here, because only FROM sees them.

use super::Options;
use super::scope::Scope;
use kiln_dsl::ast::{Command, Document, From, Instruction};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::expand::{self, Layered, Variables};
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One stage as it stands in the file.
pub struct StageText<'a> {
    /// Its number, from 0.
    pub index: usize,
    /// Its name in lower case.
    pub name: Option<String>,
    /// The FROM.
    pub from: &'a Instruction,
    /// What it is made from, expanded.
    pub base: String,
    /// What is laid on that, expanded, with the place of each.
    pub merged: Vec<(String, Span)>,
    /// Whether the last of them wins where two changed a path differently.
    pub last_wins: bool,
    /// Its platform, if the FROM says one.
    pub platform: Option<Platform>,
    /// The variables of a branch, seen as ARGs right behind the FROM.
    pub bindings: &'a [(String, String)],
    /// What follows the FROM.
    pub instructions: &'a [Arc<Instruction>],
    /// Whether what the FROM says, or that it is there, depends on the platform that is built for.
    pub is_tainted: bool,
    /// Behind how many instructions an IF asked for that platform.
    pub bound_behind: Option<usize>,
}

impl StageText<'_> {
    /// The name, or the number where there is none.
    pub fn label(&self) -> String {
        label(self.name.as_deref(), self.index)
    }
}

/// What a stage is called among the steps: its name, or its number where it has none.
pub fn label(name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| format!("stage-{index}"), str::to_owned)
}

/// The values before the first FROM.
#[derive(Clone, Debug, Default)]
pub struct Globals {
    /// The values.
    pub scope: Scope,
    /// The names whose values depend on the platform that is built for.
    pub(super) tainted: BTreeSet<String>,
}

impl Globals {
    /// Notes a value, and whether it depends on the platform that is built for.
    pub fn set(&mut self, name: &str, value: String, is_tainted: bool) {
        self.scope.set(name, value);
        match is_tainted {
            true => self.tainted.insert(name.to_owned()),
            false => self.tainted.remove(name),
        };
    }

    /// Whether a value depends on the platform that is built for.
    pub fn is_tainted(&self, name: &str) -> bool {
        self.tainted.contains(name)
    }
}

/// The values, noting whether one was asked for that depends on the platform that is built for.
pub(super) struct Watched<'a> {
    globals: &'a Globals,
    pub(super) was_tainted: Cell<bool>,
}

impl<'a> Watched<'a> {
    pub(super) fn new(globals: &'a Globals) -> Self {
        Watched { globals, was_tainted: Cell::new(false) }
    }
}

impl Variables for Watched<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        if self.globals.is_tainted(name) {
            self.was_tainted.set(true);
        }
        self.globals.scope.get(name)
    }
}

/// The values that FROM sees: platform arguments, then the ARGs before the first FROM.
pub fn globals(document: &Document, options: &Options, problems: &mut Vec<Diagnostic>) -> Globals {
    let mut globals = platform_globals(options);
    let above = document.instructions.iter().take_while(|one| !matches!(one.command, Command::From(_)));
    for (at, instruction) in above.enumerate() {
        let Command::Arg(declarations) = &instruction.command else { continue };
        let is_bound = document.bound.iter().any(|bound| bound.owner == at);
        for declaration in declarations {
            let name = &declaration.name.value;
            let watched = Watched::new(&globals);
            let value = match (options.build_arg(name), &declaration.default) {
                (Some(given), _) => Some(given.to_owned()),
                (None, Some(default)) => {
                    word(&default.value, default.span, document.directives.escape, &watched, problems)
                }
                (None, None) => None,
            };
            let was_tainted = watched.was_tainted.get() || (is_bound && options.build_arg(name).is_none());
            if let Some(value) = value {
                globals.set(name, value, was_tainted);
            }
        }
    }
    globals
}

/// The values that are there before the file says any.
pub(super) fn platform_globals(options: &Options) -> Globals {
    let mut globals = Globals::default();
    for (name, value) in platform_args(options) {
        let given = options.build_arg(name).map(str::to_owned);
        // The stage that is asked for has nothing to do with platforms.
        let is_tainted = given.is_none() && name.starts_with("TARGET") && name != "TARGETSTAGE";
        globals.set(name, given.unwrap_or(value), is_tainted);
    }
    globals
}

/// The platform arguments, which every stage may declare.
pub fn platform_args(options: &Options) -> Vec<(&'static str, String)> {
    let parts = |platform: &Platform| {
        (platform.to_string(), platform.os.clone(), platform.arch.clone(), platform.variant.clone().unwrap_or_default())
    };
    let (target, target_os, target_arch, target_variant) = parts(&options.platform);
    let (build, build_os, build_arch, build_variant) = parts(&options.build_platform);
    vec![
        ("TARGETPLATFORM", target),
        ("TARGETOS", target_os),
        ("TARGETOSVERSION", String::new()),
        ("TARGETARCH", target_arch),
        ("TARGETVARIANT", target_variant),
        ("BUILDPLATFORM", build),
        ("BUILDOS", build_os),
        ("BUILDOSVERSION", String::new()),
        ("BUILDARCH", build_arch),
        ("BUILDVARIANT", build_variant),
        ("TARGETSTAGE", options.target.clone().unwrap_or_else(|| "default".to_owned())),
    ]
}

/// Expands one word, noting what is wrong with it.
pub fn word(
    text: &str,
    span: Span,
    escape: char,
    scope: &dyn Variables,
    problems: &mut Vec<Diagnostic>,
) -> Option<String> {
    match expand::word(text, escape, scope) {
        Ok(expanded) => Some(expanded.value),
        Err(error) => {
            problems.push(Diagnostic::error("InvalidExpansion", span, error.to_string()));
            None
        }
    }
}

/// Splits a document into its stages.
pub fn split<'a>(document: &'a Document, globals: &Globals, problems: &mut Vec<Diagnostic>) -> Vec<StageText<'a>> {
    let starts: Vec<usize> = (0..document.instructions.len())
        .filter(|&at| matches!(document.instructions[at].command, Command::From(_)))
        .collect();
    let mut stages = Vec::with_capacity(starts.len());
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(document.instructions.len());
        let instruction = &document.instructions[start];
        let Command::From(from) = &instruction.command else { continue };
        let (watched, escape) = (Watched::new(globals), document.directives.escape);
        let (base, platform) = expand_from(from, escape, &watched, problems);
        let merged = expand_merged(from, escape, &watched, problems);
        let bound = document.bound.iter().filter(|bound| bound.owner == start).map(|bound| bound.at).min();
        stages.push(StageText {
            index,
            name: from.name.as_ref().map(|name| name.value.to_lowercase()),
            from: instruction,
            base,
            merged,
            last_wins: from.last_wins,
            platform,
            bindings: &from.bindings,
            instructions: &document.instructions[start + 1..end],
            is_tainted: watched.was_tainted.get() || bound == Some(start),
            bound_behind: bound.map(|at| at.saturating_sub(start + 1)),
        });
    }
    stages
}

fn expand_from(
    from: &From,
    escape: char,
    globals: &dyn Variables,
    problems: &mut Vec<Diagnostic>,
) -> (String, Option<Platform>) {
    let globals = &Layered { first: &from.bindings, below: globals };
    let base = word(&from.image.value, from.image.span, escape, globals, problems).unwrap_or_default();
    if base.is_empty() && problems.is_empty() {
        let message = format!("base name ({}) is empty once its variables are expanded", from.image.value);
        problems.push(
            Diagnostic::error("BlankBaseName", from.image.span, message)
                .with_help("give the ARG a default before the first FROM, or pass --build-arg"),
        );
    }
    let platform = from.platform.as_ref().and_then(|platform| {
        let text = word(&platform.value, platform.span, escape, globals, problems)?;
        match Platform::parse(&text) {
            Ok(platform) => Some(platform),
            Err(error) => {
                let message = format!("{text:?} is no platform: {error}");
                problems.push(Diagnostic::error("InvalidPlatform", platform.span, message));
                None
            }
        }
    });
    (base, platform)
}

/// The names of the stages that are laid on the first one.
fn expand_merged(
    from: &From,
    escape: char,
    globals: &dyn Variables,
    problems: &mut Vec<Diagnostic>,
) -> Vec<(String, Span)> {
    let globals = &Layered { first: &from.bindings, below: globals };
    let merged = from.merged.iter();
    merged.filter_map(|name| Some((word(&name.value, name.span, escape, globals, problems)?, name.span))).collect()
}

/// The stage with this name, without regard to case; of two with one name the later.
pub fn by_name(stages: &[StageText<'_>], name: &str) -> Option<usize> {
    let name = name.to_lowercase();
    stages.iter().rposition(|stage| stage.name.as_deref() == Some(&name))
}

/// The stage that a name means for an instruction of stage `user`: an earlier one with that name
/// before a later one, because only the earlier can be used.
pub fn by_name_before(stages: &[StageText<'_>], name: &str, user: usize) -> Option<usize> {
    by_name(&stages[..user], name).or_else(|| by_name(stages, name))
}
