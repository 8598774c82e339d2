//! Why a step has to run: with which earlier execution it is compared, what differs, and which instruction
//! began it.
//!
//! The look-ups stand here, the comparison itself in [`crate::explain`]. Nothing of this is done for a hit.

use super::bind_mount::binds;
use super::steps::{Input, Steps};
use super::traced::Unlike;
use super::{declared, keys};
use crate::api::BuildError;
use crate::digest::{LayerId, StepId};
use crate::explain::align::Origin as From;
use crate::explain::compare::{self, Differing};
use crate::explain::diff::sets as sets_name;
use crate::explain::{Change, Compared, Dragged, FileChange, Miss, Verdict, Why};
use crate::graph::NodeId;
use crate::key::{Component, Key, Value};
use crate::plan::{Origin, Step, StepKind};
use crate::store::{Record, StoreError};

/// What a step was seen to depend on, as a component of a difference.
const READS: &str = "what it read below";

/// The same of what a bind mount shows: the mount's target comes behind.
const MOUNT_READS: &str = "what it read in the mount ";

/// Whether a label is one of those.
fn is_reads(label: &str) -> bool {
    label == READS || label.starts_with(MOUNT_READS)
}

/// Why a step has to run.
#[derive(Clone, Debug)]
pub(crate) struct Reason {
    pub cause: Miss,
    /// In words, for a line of progress.
    pub words: String,
    pub why: Why,
    /// The execution that it was compared with, if that one succeeded.
    pub previous: Option<Previous>,
    /// What the same key gave before, where it is known and was not to be used.
    pub same_key: Option<LayerId>,
}

/// An earlier execution that succeeded.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Previous {
    pub layer: LayerId,
    pub created_nanos: i64,
    /// In seconds.
    pub duration: f64,
}

/// An instruction with which a change began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Root {
    /// Its place in this build; `None` where only the earlier build has it.
    pub shown: Option<usize>,
    pub name: String,
}

/// Something that a step may be compared with.
struct Candidate {
    components: Vec<Component>,
    compared: Compared,
    previous: Option<Previous>,
}

impl Reason {
    /// One that has nothing to compare.
    pub fn plain(cause: Miss) -> Self {
        Reason { cause, words: cause.word().to_owned(), why: Why::default(), previous: None, same_key: None }
    }
}

impl Steps<'_> {
    /// Why a step with this key has to run. `gone` says that its record is there and its layer is not.
    pub(super) fn reason(
        &self,
        step: &Step,
        key: &Key,
        ids: &[StepId],
        gone: bool,
        input: &Input,
    ) -> Result<Reason, StoreError> {
        let forced = self.no_cache(step);
        let always = declared::runs_always(step);
        let same_key =
            if forced || always { self.store.db().record(key.id())?.map(|record| record.layer) } else { None };
        let mut why = Why::default();
        let nearest = self.nearest(step, key, ids)?;
        let previous = nearest.as_ref().and_then(|nearest| nearest.previous);
        if let Some(nearest) = nearest {
            self.name_differences(step, &nearest.components, key, input, &mut why);
            for component in &nearest.components {
                if let Value::Files { tree, .. } = component.value
                    && !key.components().contains(component)
                {
                    self.store.supersede(tree);
                }
            }
            why.compared = Some(nearest.compared);
            self.name_reads(step, key, &mut why)?;
        } else if self.baseline.is_new_or_moved(step.shown) {
            let new = Some(self.plan.shown[step.shown].instruction.clone());
            why.changes.push(Change::Text { label: "the instruction".to_owned(), old: None, new });
        }
        let own = own_change(&why);
        let cause = match &why.compared {
            _ if forced => Miss::Forced,
            _ if always => Miss::Uncacheable,
            _ if gone => Miss::Evicted,
            None => Miss::FirstTime,
            Some(compared) if why.changes.is_empty() && why.dragged.is_empty() => match compared.failed {
                true => Miss::PreviousFailed,
                false => Miss::Evicted,
            },
            Some(_) if declared::is_time_alone(step, &why) => Miss::Expired,
            Some(_) if own.is_some() => Miss::Changed,
            Some(_) => Miss::ParentChanged,
        };
        let unskipped = why.unskipped.as_ref().map_or_else(String::new, |unskipped| format!(", {}", unskipped.words()));
        let words = match (cause, own, why.dragged.first()) {
            (Miss::Forced, ..) => "--no-cache".to_owned(),
            (Miss::Uncacheable, ..) => "uncacheable: its key says always".to_owned(),
            (Miss::FirstTime, Some(_), _) => format!("{}: a new instruction", cause.word()),
            (Miss::Evicted, ..) => "evicted: its layer is no longer in the store".to_owned(),
            (Miss::Changed, Some(change), _) => format!("{}{unskipped}", change.words()),
            (Miss::ParentChanged, _, Some(dragged)) => {
                let read = why.changes.iter().find(|change| is_reads(change.label()));
                let read = read.map_or(unskipped, |change| format!(": {}", change.words()));
                format!("{} ← {}{read}", cause.word(), dragged.name)
            }
            _ => cause.word().to_owned(),
        };
        Ok(Reason { cause, words, why, previous, same_key })
    }

    /// Names what a hit differs in from the last build, where it has another key than then: an edit that was undone, or
    /// that another step met first, is what began all that runs behind it.
    pub(super) fn name_changes(&self, step: &Step, key: &Key, layer: LayerId, input: &Input, why: &mut Why) {
        if self.baseline.old(step.shown).is_none_or(|old| old.key.is_none_or(|old| old == key.id())) {
            return;
        }
        let old = self.baseline.components(self.store, step.shown);
        if old.is_empty() {
            return;
        }
        self.name_differences(step, old, key, input, why);
        if let StepKind::Run(run) = &step.kind
            && self.baseline.old(step.shown).is_some_and(|old| old.layer == Some(layer))
        {
            // It did not look at what of its mounts is not what it was: nothing came of it.
            let is_mounted = |label: &str| binds(run).any(|(mount, _)| keys::is_of_mount(label, &mount.target));
            why.changes.retain(|change| !is_mounted(change.label()));
            why.dragged.retain(|dragged| !is_mounted(&dragged.label));
        }
    }

    /// Names what differs between an earlier key and this one, and what of it other instructions began.
    fn name_differences(&self, step: &Step, old: &[Component], key: &Key, input: &Input, why: &mut Why) {
        // The new side's listings are not in the store before the step has run.
        let listing = |id| input.trees().find(|tree| tree.id() == id).cloned().or_else(|| self.store.tree(id).ok()?);
        let found = compare::compare(old, key.components(), &listing, &self.stacks);
        why.changes = found.changes;
        self.name_ignore_file(&mut why.changes);
        why.dragged = self.dragged(step, &why.changes, &found.stacks);
    }

    /// What of a step's own inputs is not what it was, where its result cannot be looked up yet.
    pub(super) fn own_reason(&self, step: &Step) -> Result<Why, BuildError> {
        let (key, input) = match &step.kind {
            StepKind::Run(run) => {
                let (components, prepared) = self.prepare_run(step, run)?;
                (self.key("RUN", components), Input::Run(prepared))
            }
            StepKind::Copy(copy) => {
                let (components, prepared) = self.prepare_copy(step, copy)?;
                (self.key("COPY", components), Input::Copy(prepared))
            }
            _ => return Ok(Why::default()),
        };
        let failed = |error| super::store_error(&self.request.store, error);
        let reason = self.reason(step, &key, &self.step_ids(step), false, &input).map_err(failed)?;
        // What earlier steps would make is not known: only the step's own differences are.
        let mut why = reason.why;
        let is_dragged = |label: &str| why.dragged.iter().any(|dragged| dragged.label == label);
        why.changes.retain(|change| !(is_reads(change.label()) && is_dragged(change.label())));
        why.unskipped = None;
        why.dragged.retain(|dragged| why.changes.iter().any(|change| change.label() == dragged.label));
        Ok(why)
    }

    /// The earlier execution that has most in common with `key`; of several the newest.
    fn nearest(&self, step: &Step, key: &Key, ids: &[StepId]) -> Result<Option<Candidate>, StoreError> {
        let mut candidates: Vec<Candidate> = Vec::new();
        let last = self.baseline.components(self.store, step.shown);
        if let Some(old) = self.baseline.old(step.shown).filter(|_| !last.is_empty())
            && let Some(build) = &self.baseline.build
        {
            let failed = matches!(old.verdict, Verdict::Failed(_));
            let (build, nanos) = match &old.why.compared {
                // A hit is the result of an execution before that build.
                Some(compared) if matches!(old.verdict, Verdict::Hit(_)) => (compared.build, compared.nanos),
                _ => (Some(build.id), build.started_nanos),
            };
            candidates.push(Candidate {
                components: last.to_vec(),
                compared: Compared { build, nanos, name: old.name.clone(), failed },
                previous: old.layer.filter(|_| !failed).map(|layer| Previous {
                    layer,
                    created_nanos: nanos,
                    duration: if old.verdict.ran() { old.duration } else { old.earlier.unwrap_or(0.0) },
                }),
            });
        }
        if let Some(earlier) = self.baseline.with_key(self.store, key.id()) {
            candidates.push(Candidate { components: key.components().to_vec(), compared: earlier, previous: None });
        }
        for (number, id) in ids.iter().enumerate() {
            // A step in the same place is another one where the earlier build is known and does not have it there.
            let is_place = number == 1;
            if is_place && self.baseline.is_new_or_moved(step.shown) {
                continue;
            }
            for other in self.store.db().step_keys(*id)? {
                if let Some(record) = self.store.db().record(other)? {
                    candidates.push(Candidate::of(record));
                }
            }
            if candidates.iter().any(|candidate| candidate.previous.is_some()) {
                break;
            }
        }
        let mut nearest: Option<(usize, Candidate)> = None;
        for candidate in candidates {
            let same = compare::sameness(&candidate.components, key.components());
            if nearest.as_ref().is_none_or(|(most, _)| same > *most) {
                nearest = Some((same, candidate));
            }
        }
        // The delta of a copy, and the time that an unchanged layer keeps, are the record's.
        let Some((_, mut nearest)) = nearest else { return Ok(None) };
        if let Some(previous) = &mut nearest.previous
            && let Some(record) = self.store.db().record(Key::id_of(&nearest.components))?
            && record.layer == previous.layer
        {
            previous.created_nanos = record.created_nanos;
        }
        Ok(Some(nearest))
    }

    /// Names what of all that the step was seen to depend on is not what it was, where layers below are others or bind
    /// mounts show something else. What of a mount the step did not look at is no reason.
    fn name_reads(&self, step: &Step, key: &Key, why: &mut Why) -> Result<(), StoreError> {
        let StepKind::Run(run) = &step.kind else { return Ok(()) };
        let targets: Vec<&str> = binds(run).map(|(mount, _)| mount.target.as_str()).collect();
        let mut labels = why.changes.iter().map(Change::label).chain(why.dragged.iter().map(|one| one.label.as_str()));
        let is_traced =
            |label: &str| label == "parent" || targets.iter().any(|target| keys::is_of_mount(label, target));
        if !labels.any(is_traced) {
            return Ok(());
        }
        let (root, mounts, is_usable) = match self.unlike(step, run, key)? {
            Unlike::Files { root, mounts, is_usable } => (root, mounts, is_usable),
            Unlike::Nothing(unskipped) => {
                why.unskipped = Some(unskipped);
                return Ok(());
            }
            Unlike::Unknown => return Ok(()),
        };
        let mut is_in_mount = false;
        for (target, set) in targets.into_iter().zip(mounts).filter(|_| is_usable) {
            let is_of = |label: &str| keys::is_of_mount(label, target);
            let label = format!("{MOUNT_READS}{target}");
            let at = why.changes.iter().position(|change| is_of(change.label())).unwrap_or(why.changes.len());
            why.changes.retain(|change| !is_of(change.label()));
            if set.is_empty() {
                why.dragged.retain(|dragged| !is_of(&dragged.label));
                continue;
            }
            is_in_mount = true;
            let from = why.dragged.iter().find(|dragged| is_of(&dragged.label)).cloned();
            why.dragged.extend(from.map(|dragged| Dragged { label: label.clone(), ..dragged }));
            why.changes.insert(at.min(why.changes.len()), Change::Files { label, set });
        }
        let Some(parent) = why.dragged.iter().find(|dragged| dragged.label == "parent").cloned() else { return Ok(()) };
        if !root.is_empty() {
            why.changes.push(Change::Files { label: READS.to_owned(), set: root });
            why.dragged.push(Dragged { label: READS.to_owned(), ..parent });
        } else if is_in_mount {
            why.dragged.retain(|dragged| dragged.label != "parent");
        }
        Ok(())
    }

    /// Says of files that came or went whether the ignore file is another.
    fn name_ignore_file(&self, changes: &mut [Change]) {
        let Some(before) = self.baseline.build.as_ref() else { return };
        let now = self.contexts.first().and_then(|context| context.ignore_file());
        let old = before.asked.ignore.as_ref();
        if old.map(|(_, digest)| *digest) == now.map(|(_, digest)| digest) {
            return;
        }
        let name = now.map(|(name, _)| name.to_owned()).or_else(|| old.map(|(name, _)| name.clone()));
        for change in changes {
            if let Change::Files { set, .. } = change
                && set.files.iter().any(|file| matches!(file.change, FileChange::Added | FileChange::Removed))
            {
                set.ignore_file.clone_from(&name);
            }
        }
    }

    /// What of a step's differences other instructions began.
    fn dragged(&self, step: &Step, changes: &[Change], stacks: &[Differing]) -> Vec<Dragged> {
        let dragged = |label: &str, root: Root| Dragged { label: label.to_owned(), root: root.shown, name: root.name };
        let mut all: Vec<Dragged> = Vec::new();
        for change in changes {
            let label = change.label();
            all.extend(self.change_root(step, label).map(|root| dragged(label, root)));
        }
        for stack in stacks {
            let below = mount_origin(step, &stack.label);
            let root = match merged_origin(step, stack) {
                // The step that made the layer is known, whatever is below it.
                Some(maker) => {
                    self.root_of(Some(maker)).unwrap_or_else(|| self.root_at(self.plan.graph.get(maker).shown))
                }
                None => self.stack_root(below, stack),
            };
            all.push(dragged(&stack.label, root));
        }
        all
    }

    /// The instruction with which the difference of one component began, where that is another one.
    fn change_root(&self, step: &Step, label: &str) -> Option<Root> {
        let (keyword, rest) = label.split_once(' ').unwrap_or((label, ""));
        match (keyword, label) {
            ("ENV" | "ARG", _) => self.setting(step, &[keyword], rest),
            (_, "the user") => self.setting(step, &["USER"], ""),
            (_, "the working directory") => self.setting(step, &["WORKDIR"], ""),
            (_, "the command") if self.is_written_as_before(step) => self.setting(step, &["SHELL"], ""),
            (_, "the state of the destination" | "the state of the directories above" | "the owner") => {
                let expanded = || self.is_written_as_before(step).then(|| self.expanded_root(step)).flatten();
                self.root_of(step.parent).or_else(expanded)
            }
            (_, "files") => match &step.kind {
                StepKind::Copy(copy) => match copy.origin {
                    Origin::Step { node, .. } => self.root_of(node),
                    _ => None,
                },
                _ => None,
            },
            _ if self.is_written_as_before(step) => self.expanded_root(step),
            _ => None,
        }
    }

    /// Whether only values in the instruction's text may be others than in the earlier build.
    fn is_written_as_before(&self, step: &Step) -> bool {
        matches!(self.baseline.alignment.origins[step.shown], From::Same(_) | From::Moved(_))
            && self.baseline.build.is_some()
    }

    /// The places of the instructions that `step` builds on, in its stage and those below, the nearest first.
    fn before(&self, step: &Step) -> Vec<usize> {
        std::iter::successors(self.plan.shown[step.shown].previous, |&index| self.plan.shown[index].previous).collect()
    }

    /// The instruction that sets `name` (or, with an empty name, the one thing that its keyword sets), where it
    /// is not what it was.
    fn setting(&self, step: &Step, keywords: &[&str], name: &str) -> Option<Root> {
        let sets = |text: &str| {
            let (keyword, rest) = text.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((text, ""));
            keywords.iter().any(|one| keyword.eq_ignore_ascii_case(one)) && (name.is_empty() || sets_name(rest, name))
        };
        for index in self.before(step) {
            let shown = &self.plan.shown[index];
            let is_base = shown.instruction.starts_with("FROM ");
            if !is_base && !sets(&shown.instruction) {
                continue;
            }
            if let Some(root) = self.own_root(index) {
                return Some(root);
            }
        }
        let build = self.baseline.build.as_ref()?;
        let mut removed = self.baseline.alignment.removed.iter().map(|&old| &build.steps[old]);
        let lane = &self.plan.shown[step.shown].lane;
        let is_here = |old: &&crate::explain::BuildStep| old.stage == step.stage && old.platform == *lane;
        let gone = removed.rfind(|old| is_here(old) && sets(&old.instruction))?;
        Some(Root { shown: None, name: gone.name.clone() })
    }

    /// The instruction that changed a variable that `step` is written with.
    fn expanded_root(&self, step: &Step) -> Option<Root> {
        let text = super::book::written(&self.plan.shown[step.shown], self.file);
        self.before(step).into_iter().find_map(|index| {
            let instruction = &self.plan.shown[index].instruction;
            let rest = instruction.strip_prefix("ARG ").or_else(|| instruction.strip_prefix("ENV "))?;
            let uses = |name: &str| text.contains(&format!("${name}")) || text.contains(&format!("${{{name}"));
            let names = rest.split_ascii_whitespace().map(|word| word.split('=').next().unwrap_or(word));
            names.filter(|name| !name.is_empty()).any(uses).then(|| self.own_root(index)).flatten()
        })
    }

    /// The root of an instruction's own change, if it has one.
    fn own_root(&self, shown: usize) -> Option<Root> {
        self.book.read(shown, |ending| {
            if ending.why.changes.is_empty() && ending.why.dragged.is_empty() {
                return None;
            }
            Some(match ending.why.dragged.first() {
                Some(dragged) if own_change(&ending.why).is_none() => {
                    Root { shown: dragged.root, name: dragged.name.clone() }
                }
                _ => self.root_at(shown),
            })
        })?
    }

    pub(super) fn root_at(&self, shown: usize) -> Root {
        Root { shown: Some(shown), name: self.plan.shown[shown].name.clone() }
    }

    /// With which instruction the first layer that differs began.
    fn stack_root(&self, below: Option<NodeId>, stack: &Differing) -> Root {
        let reaches = |id: NodeId| self.result(id).is_some_and(|done| done.snapshot.count() > stack.first);
        let mut maker = below.filter(|&id| reaches(id));
        while let Some(parent) = maker.and_then(|id| self.plan.graph.get(id).parent).filter(|&id| reaches(id)) {
            maker = Some(parent);
        }
        if let Some(root) = self.root_of(maker) {
            return root;
        }
        let maker = maker.map(|id| self.plan.graph.get(id).shown);
        let ran = maker.is_some_and(|shown| self.book.read(shown, |ending| ending.verdict.ran()).unwrap_or(false));
        if let Some(shown) = maker.filter(|_| ran) {
            return self.root_at(shown);
        }
        // What is there now is as it was; what was there before is gone or elsewhere.
        let build = self.baseline.build.as_ref();
        let old = stack.old.and_then(|layer| self.baseline.maker(layer));
        match (old, build) {
            (Some(old), Some(build)) => match self.baseline.now(old) {
                None => Root { shown: None, name: build.steps[old].name.clone() },
                Some(now) if matches!(self.baseline.alignment.origins[now], From::Moved(_)) => self.root_at(now),
                Some(now) => self.root_at(maker.unwrap_or(now)),
            },
            _ => maker.map_or(Root { shown: None, name: "layers that are no longer below".to_owned() }, |shown| {
                self.root_at(shown)
            }),
        }
    }
}

impl Candidate {
    fn of(record: Record) -> Self {
        Candidate {
            compared: Compared {
                build: Some(record.build),
                nanos: record.created_nanos,
                name: record.name,
                failed: false,
            },
            previous: Some(Previous {
                layer: record.layer,
                created_nanos: record.created_nanos,
                duration: record.duration_ms as f64 / 1000.0,
            }),
            components: record.components,
        }
    }
}

/// The first change that no other instruction began.
pub(crate) fn own_change(why: &Why) -> Option<&Change> {
    why.changes.iter().find(|change| why.dragged.iter().all(|dragged| dragged.label != change.label()))
}

/// The step that made the layer with which a stage that is merged differs.
fn merged_origin(step: &Step, stack: &Differing) -> Option<NodeId> {
    let StepKind::Merge(merge) = &step.kind else { return None };
    let part = merge.parts.iter().find(|part| part.name == stack.label)?;
    part.added.get(stack.first).or(part.added.last()).copied()
}

/// The step whose layers a component of the key of `step` names: what a mount of it reads, else its parent.
fn mount_origin(step: &Step, label: &str) -> Option<NodeId> {
    let StepKind::Run(run) = &step.kind else { return step.parent };
    let Some(mount) = run.mounts.iter().find(|mount| keys::mounted_layers_label(&mount.target) == label) else {
        return step.parent;
    };
    match mount.origin {
        Some(Origin::Step { node, .. }) => node,
        _ => None,
    }
}
