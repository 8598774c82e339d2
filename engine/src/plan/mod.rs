//! From a document to a graph: arguments expanded, stages resolved, everything that the target does
//! not need left out.
//!
//! Pure. What an image's configuration says must be known before its stage can be planned (it sets
//! PATH, and may hold ONBUILD triggers), so a plan that lacks one says which, and is made again.

mod branches;
mod contexts;
mod instruction;
mod intern;
mod key;
mod matrix;
mod merge;
mod scope;
mod sources;
mod stages;
mod state;
pub mod step;
mod targets;

pub use branches::{Unroll, choose};
pub use contexts::{ContextBase, context_key};
pub use stages::label as stage_label;
pub use step::{
    Base, ContextId, CopyStep, Export, MergeStep, Origin, Plan, RunMount, RunStep, Shown, SourceStep, Step, StepKind,
    Target, WorkdirStep,
};

pub use targets::{Goals, goals};

use crate::digest::ImageKey;
use crate::explain::secrecy::SecretArguments;
use crate::graph::NodeId;
use crate::image::config::ImageConfig;
use intern::Interned;
use kiln_dsl::ast::{Command, Document};
use kiln_dsl::diagnostic::Diagnostic;
use kiln_dsl::platform::Platform;
use kiln_dsl::span::Span;
use stages::{Globals, StageText};
use state::StageState;
use std::collections::{BTreeSet, HashMap, HashSet};

/// The name of the built-in base: the host's own files.
pub const HOST_BASE: &str = "kiln/host";

/// What a plan depends on beside the document.
#[derive(Clone, Debug)]
pub struct Options {
    /// The stage or target that is asked for, as TARGETSTAGE says it; `None` is none.
    pub target: Option<String>,
    /// `--build-arg` values, each name once.
    pub build_args: Vec<(String, String)>,
    /// `--label` values.
    pub labels: Vec<(String, String)>,
    /// What the image is built for.
    pub platform: Platform,
    /// Whether instructions are told with their platforms even where there is one.
    pub is_multi: bool,
    /// What the build runs on.
    pub build_platform: Platform,
    /// Whether RUN steps have no network unless they say so.
    pub offline: bool,
    /// What COPY and ADD read.
    pub main: ContextBase,
    /// Named contexts, by the names that [`context_key`] gives.
    pub contexts: Vec<(String, ContextBase)>,
    /// What steps may do beyond the usual.
    pub allowed: Allowed,
}

/// What steps may do beyond the usual, if they ask for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Allowed {
    /// `RUN --network=host`
    pub network_host: bool,
    /// `RUN --security=insecure`
    pub insecure: bool,
}

impl Options {
    /// The options of a build on and for `platform` that says nothing else and has one local context.
    pub fn new(platform: Platform) -> Self {
        Options {
            target: None,
            is_multi: false,
            build_args: Vec::new(),
            labels: Vec::new(),
            build_platform: platform.clone(),
            platform,
            offline: false,
            main: ContextBase::Local(ContextId(0)),
            contexts: Vec::new(),
            allowed: Allowed::default(),
        }
    }

    fn build_arg(&self, name: &str) -> Option<&str> {
        self.build_args.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }
}

/// An image whose configuration the plan needs.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct ImageNeed {
    /// As the file names it, expanded.
    pub name: String,
    /// For which platform.
    pub platform: Platform,
    /// Where the file names it.
    pub span: Span,
    /// A stage that is called nearly so: a misspelt stage looks like an image that nobody has.
    pub near: Option<String>,
}

/// What is known of an image.
#[derive(Clone, Debug)]
pub struct KnownImage {
    /// The image in the store.
    pub key: ImageKey,
    /// Its configuration.
    pub config: ImageConfig,
}

/// The images known so far.
pub type Images = HashMap<(String, Platform), KnownImage>;

/// A plan, or what is missing for one.
#[derive(Debug)]
pub enum Planned {
    /// The plan, with findings that do not stop it.
    Plan(Box<Plan>, Vec<Diagnostic>),
    /// These images must be known first.
    Needs(Vec<ImageNeed>),
}

/// What is wanted of a file for one platform.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The file, its alternatives decided for the platform.
    pub document: &'a Document,
    /// For what: the platform is in them.
    pub options: &'a Options,
    /// The stages, by their names or numbers; `None` is the last one.
    pub stages: &'a [Option<String>],
}

/// Why there is no plan.
#[derive(Debug)]
pub enum PlanError {
    /// The file is wrong; at least one finding is an error.
    Findings(Vec<Diagnostic>),
    /// No stage has the target's name.
    UnknownTarget {
        /// The name.
        name: String,
        /// The stages that have a name.
        stages: Vec<String>,
    },
}

/// Plans all that is wanted into one graph, in which a step that is the same for two results is there once.
pub fn plan(wanted: &[Wanted<'_>], images: &Images) -> Result<Planned, PlanError> {
    let mut problems = Vec::new();
    let sheets: Vec<Sheet<'_>> = wanted.iter().map(|one| Sheet::new(one, &mut problems)).collect::<Result<_, _>>()?;
    let platforms: BTreeSet<&Platform> = wanted.iter().map(|one| &one.options.platform).collect();
    let is_multi = platforms.len() > 1 || wanted.iter().any(|one| one.options.is_multi);
    let mut shared = Shared { interned: Interned::new(sheets.len() > 1), problems, is_multi, ..Shared::default() };
    let mut results = Vec::new();
    for sheet in &sheets {
        let mut planner = Planner::new(sheet, images, shared);
        for &target in &sheet.targets {
            for index in planner.reachable(target) {
                planner.stage(index);
            }
            if let Some(state) = &planner.done[target] {
                let (label, options) = (sheet.stages[target].label(), sheet.options);
                results.push(state.clone().finish(label, options.platform.clone(), &options.labels));
            }
        }
        shared = planner.shared;
    }
    let mut problems = shared.problems;
    let mut told = HashSet::new();
    // What is wrong for two results is wrong once.
    problems.retain(|one| sheets.len() == 1 || told.insert((one.span, one.message.clone())));
    for secrets in sheets.iter().map(|sheet| &sheet.secrets) {
        for problem in &mut problems {
            problem.message = secrets.named_in(&problem.message).into_owned();
        }
    }
    let has_error = problems.iter().any(|one| one.severity == kiln_dsl::diagnostic::Severity::Error);
    if has_error {
        return Err(PlanError::Findings(problems));
    }
    if !shared.needs.is_empty() {
        return Ok(Planned::Needs(shared.needs));
    }
    if results.len() < sheets.iter().map(|sheet| sheet.targets.len()).sum() {
        return Err(PlanError::Findings(problems));
    }
    let Interned { graph, shown, .. } = shared.interned;
    Ok(Planned::Plan(Box::new(Plan { graph, shown, results, exports: shared.exports, is_multi }), problems))
}

/// A file as one platform sees it.
struct Sheet<'a> {
    options: &'a Options,
    globals: Globals,
    escape: char,
    stages: Vec<StageText<'a>>,
    /// The stages that are wanted, by their numbers.
    targets: Vec<usize>,
    /// The values that are told by the names of their arguments.
    secrets: SecretArguments,
}

impl<'a> Sheet<'a> {
    fn new(wanted: &Wanted<'a>, problems: &mut Vec<Diagnostic>) -> Result<Self, PlanError> {
        let Wanted { document, options, stages: names } = *wanted;
        let globals = stages::globals(document, options, problems);
        let stages = stages::split(document, &globals, problems);
        let target = |name: &Option<String>| match name {
            None => stages.len().checked_sub(1),
            Some(name) => {
                stages::by_name(&stages, name).or_else(|| name.parse().ok().filter(|&index| index < stages.len()))
            }
        };
        let mut targets = Vec::with_capacity(names.len());
        for name in names {
            let Some(found) = target(name) else {
                let stages = stages.into_iter().filter_map(|stage| stage.name).collect();
                return Err(PlanError::UnknownTarget { name: name.clone().unwrap_or_default(), stages });
            };
            targets.push(found);
        }
        let secrets = SecretArguments::of(&options.build_args);
        Ok(Sheet { options, globals, escape: document.directives.escape, stages, targets, secrets })
    }
}

/// What the sheets of one plan add to.
#[derive(Default)]
struct Shared {
    interned: Interned,
    problems: Vec<Diagnostic>,
    needs: Vec<ImageNeed>,
    /// The node of each image that COPY or a mount reads, so that each is taken once.
    pulled: HashMap<(String, Platform), NodeId>,
    /// The node of each source from elsewhere that a context is.
    fetched: Vec<(ContextBase, NodeId)>,
    /// What leaves the build as files.
    exports: Vec<Export>,
    /// Whether instructions are told with their platforms.
    is_multi: bool,
}

struct Planner<'a> {
    shared: Shared,
    options: &'a Options,
    images: &'a Images,
    globals: &'a Globals,
    escape: char,
    stages: &'a [StageText<'a>],
    secrets: &'a SecretArguments,
    done: Vec<Option<StageState>>,
    /// The stages that are being planned: one that is met again stands on itself.
    open: Vec<usize>,
    /// The line of the instruction that is being planned.
    line: u32,
    /// Whether it depends on the platform that is built for.
    is_tainted: bool,
}

impl std::ops::Deref for Planner<'_> {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

impl std::ops::DerefMut for Planner<'_> {
    fn deref_mut(&mut self) -> &mut Shared {
        &mut self.shared
    }
}

impl<'a> Planner<'a> {
    fn new(sheet: &'a Sheet<'a>, images: &'a Images, shared: Shared) -> Self {
        Planner {
            shared,
            options: sheet.options,
            images,
            globals: &sheet.globals,
            escape: sheet.escape,
            stages: &sheet.stages,
            secrets: &sheet.secrets,
            done: sheet.stages.iter().map(|_| None).collect(),
            open: Vec::new(),
            line: 0,
            is_tainted: false,
        }
    }
}

impl Planner<'_> {
    /// The stages that `target` needs as far as the file says, in their order.
    fn reachable(&self, target: usize) -> BTreeSet<usize> {
        let mut all = BTreeSet::new();
        let mut next = vec![target];
        while let Some(index) = next.pop() {
            if !all.insert(index) {
                continue;
            }
            let stage = &self.stages[index];
            if self.replacement(stage).is_some() {
                continue;
            }
            let below = [&stage.base].into_iter().chain(stage.merged.iter().map(|(name, _)| name));
            next.extend(below.filter_map(|name| stages::by_name(&self.stages[..index], name)));
            for instruction in stage.instructions {
                next.extend(key::stages_read(instruction).filter_map(|name| self.stage_named(name, index, true)));
                match &instruction.command {
                    Command::Copy(copy) => {
                        next.extend(copy.from.as_ref().and_then(|from| self.stage_named(&from.value, index, true)));
                    }
                    Command::Run(run) => {
                        for mount in &run.mounts {
                            let from = instruction::mount_from(&mount.value);
                            next.extend(from.and_then(|from| self.stage_named(&from, index, false)));
                        }
                    }
                    _ => {}
                }
            }
        }
        all
    }

    /// The earlier stage that `name` means in stage `user`.
    fn stage_named(&self, name: &str, user: usize, by_number: bool) -> Option<usize> {
        let found = stages::by_name_before(self.stages, name, user);
        let found = found.or_else(|| if by_number { name.parse().ok() } else { None });
        found.filter(|&index| index < user)
    }

    /// Plans one stage, once.
    fn stage(&mut self, index: usize) {
        if self.done[index].is_some() {
            return;
        }
        let stage = &self.stages[index];
        if self.open.contains(&index) {
            let message = format!("circular dependency: stage {:?} stands on itself", stage.label());
            self.problems.push(Diagnostic::error("CircularStages", stage.from.span, message));
            return;
        }
        self.open.push(index);
        let (line, is_tainted) = (self.line, self.is_tainted);
        let state = self.whole_stage(stage);
        (self.line, self.is_tainted) = (line, is_tainted);
        self.open.pop();
        self.done[index] = state;
    }

    fn whole_stage(&mut self, stage: &StageText<'_>) -> Option<StageState> {
        self.is_tainted = stage.is_tainted;
        let mut state = self.begin(stage)?;
        // What says no platform of its own is for the one that is built for.
        state.is_tainted |= self.is_tainted || (!state.inherits && stage.platform.is_none());
        if !stage.merged.is_empty() && self.replacement(stage).is_none() {
            state = self.merged(stage, state)?;
        }
        let replaced = self.replacement(stage).is_some();
        let triggers = self.triggers(stage, &mut state);
        let instructions = if replaced { &[] } else { stage.instructions };
        let bindings = if replaced { &[][..] } else { stage.bindings };
        let total = 1 + usize::from(!bindings.is_empty()) + triggers.len() + instructions.len();
        let label = if self.stages.len() == 1 && stage.name.is_none() { String::new() } else { stage.label() + " " };
        state.prefix = (label, total);
        self.show_from(stage, &mut state);
        if !bindings.is_empty() {
            self.bind(bindings, stage, &mut state);
        }
        for trigger in &triggers {
            self.instruction(trigger, stage, &mut state, true);
        }
        let bound = stage.bound_behind.filter(|_| !replaced);
        for (before, instruction) in instructions.iter().enumerate() {
            state.is_tainted |= bound == Some(before);
            self.instruction(instruction, stage, &mut state, false);
        }
        state.is_tainted |= bound.is_some();
        Some(state)
    }

    /// The state in which a stage begins; `None` where its base is not known yet or is wrong.
    fn begin(&mut self, stage: &StageText<'_>) -> Option<StageState> {
        let platform = stage.platform.clone().unwrap_or_else(|| self.options.platform.clone());
        if let Some(base) = self.replacement(stage) {
            return self.begin_with_context(&base, stage, platform);
        }
        if let Some(base) = stages::by_name(&self.stages[..stage.index], &stage.base) {
            self.stage(base);
            return self.done[base].as_ref().map(StageState::inherited);
        }
        if let Some(base) = self.context_named(&stage.base, &platform) {
            return self.begin_with_context(&base, stage, platform);
        }
        if stage.base == "scratch" {
            return Some(StageState::new(scratch(&platform), Base::Scratch, None, platform));
        }
        if stage.base == HOST_BASE {
            let node = self.base_node(Base::Host, stage);
            return Some(StageState::new(scratch(&platform), Base::Host, Some(node), platform));
        }
        let known = self.image(&stage.base, &platform, stage.from.span)?;
        let base = Base::Image { key: known.key, name: stage.base.clone() };
        let node = self.base_node(base.clone(), stage);
        Some(StageState::new(known.config, base, Some(node), platform))
    }

    fn image(&mut self, name: &str, platform: &Platform, span: Span) -> Option<KnownImage> {
        let key = (name.to_owned(), platform.clone());
        if let Some(known) = self.images.get(&key) {
            return Some(known.clone());
        }
        let near = self.near_stage(name);
        let need = ImageNeed { name: name.to_owned(), platform: platform.clone(), span, near };
        if !self.needs.iter().any(|other| (&other.name, &other.platform) == (&need.name, &need.platform)) {
            self.needs.push(need);
        }
        None
    }

    fn base_node(&mut self, base: Base, stage: &StageText<'_>) -> NodeId {
        let shown = self.interned.shown.len();
        let step = Step { kind: StepKind::Base(base), parent: None, shown, stage: stage.label(), ordinal: 1 };
        self.interned.step(stage.from.span, step, Vec::new())
    }

    fn show_from(&mut self, stage: &StageText<'_>, state: &mut StageState) {
        let node = match state.base {
            Some(Base::Scratch) | None => None,
            Some(_) => state.node,
        };
        let mut text = String::from("FROM ");
        if let Some(platform) = &stage.platform {
            text += &format!("--platform={platform} ");
        }
        text += &stage.base;
        text.extend(stage.merged.iter().map(|(name, _)| format!(" + {name}")));
        if let Command::From(kiln_dsl::ast::From { name: Some(name), .. }) = &stage.from.command {
            text += &format!(" AS {}", name.value);
        }
        if stage.last_wins {
            text += " ON CONFLICT LAST";
        }
        // A stage made from another one begins with that stage's last step, which is shown there.
        let own = node.filter(|&node| match self.interned.graph.get(node).kind {
            StepKind::Base(_) => !state.inherits,
            StepKind::Merge(_) => !stage.merged.is_empty(),
            _ => false,
        });
        self.show(state, stage, (text, Vec::new()), (stage.from.first_line, stage.from.span), own);
    }

    fn show(
        &mut self,
        state: &mut StageState,
        stage: &StageText<'_>,
        (mut instruction, mut values): (String, Vec<Option<String>>),
        (line, span): (u32, Span),
        node: Option<NodeId>,
    ) {
        if self.secrets.are_in(&instruction) {
            let told = self.secrets.named_in(&instruction).into_owned();
            values.push(Some(std::mem::replace(&mut instruction, told)));
        }
        state.ordinal += 1;
        let lane = state.lane(&self.options.platform);
        let (label, total) = &state.prefix;
        let name = match self.is_multi {
            true => format!("[{lane} {label}{}/{total}] {instruction}", state.ordinal),
            false => format!("[{label}{}/{total}] {instruction}", state.ordinal),
        };
        let (previous, begins) = (state.last, state.ordinal == 1);
        let stage = stage.label();
        let shown = Shown { name, stage, instruction, line, span, node, lane, previous, begins };
        state.last = Some(self.interned.show(shown, values));
    }

    /// The ONBUILD triggers that the stage's base leaves to it.
    fn triggers(&mut self, stage: &StageText<'_>, state: &mut StageState) -> Vec<kiln_dsl::ast::Instruction> {
        let mut all = Vec::new();
        for text in state.take_triggers() {
            match kiln_dsl::parser::parse_trigger(&text) {
                Ok(mut instruction) => {
                    instruction.span = stage.from.span;
                    (instruction.first_line, instruction.last_line) = (stage.from.first_line, stage.from.last_line);
                    all.push(instruction);
                }
                Err(findings) => {
                    let why = findings.first().map(|finding| finding.message.clone()).unwrap_or_default();
                    let message = format!("the base's ONBUILD trigger {text:?} is wrong: {why}");
                    self.problems.push(Diagnostic::error("InvalidTrigger", stage.from.span, message));
                }
            }
        }
        all
    }
}

/// The configuration of a stage that begins with nothing.
fn scratch(platform: &Platform) -> ImageConfig {
    ImageConfig::scratch(&platform.arch, &platform.os, platform.variant.as_deref().unwrap_or_default())
}

#[cfg(test)]
mod tests;
