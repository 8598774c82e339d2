//! Looking a step up: by its key, by what it was seen to read, and what is said of a hit. Knows nothing of running a step.

use super::{Input, Missed, Steps, Verified};
use crate::api::{BuildError, Exit};
use crate::build::book::Ending;
use crate::build::traced::TracedHit;
use crate::build::why::Reason;
use crate::build::{declared, store_error};
use crate::explain::diff::instruction_change;
use crate::explain::secrecy::{names_in, sets_secret};
use crate::explain::{Change, Hit, Miss, Presence, Verdict, Why};
use crate::graph::NodeId;
use crate::key::Key;
use crate::plan::{Step, StepKind};
use crate::store::{Record, Used};
use kiln_dsl::mount::MountKind;
use std::sync::PoisonError;

impl Steps<'_> {
    /// Looks a key up: the layer's result, or what running the step needs.
    pub(in crate::build) fn look_up(
        &self,
        id: NodeId,
        step: &Step,
        key: Key,
        input: Input,
    ) -> Result<Option<Missed>, BuildError> {
        let failed = |error| store_error(&self.request.store, error);
        let mut gone = false;
        if !self.no_cache(step)
            && !declared::runs_always(step)
            && let Some(record) = self.store.db().record(key.id()).map_err(failed)?
        {
            if let Some(layer) = self.store.layer(record.layer).map_err(failed)? {
                self.store.db().mark_used(Used::Record(key.id())).map_err(failed)?;
                let hit = match self.is_cut_off(id, step) {
                    _ if declared::ignores_parent(step) => Hit::Declared,
                    true => Hit::EarlyCutoff,
                    false => Hit::Local,
                };
                if self.request.verify && matches!(input, Input::Run(_)) {
                    let traced = self.store.db().derived_from(key.id()).map_err(failed)?;
                    let verified = Verified { hit, record, traced, is_new: false };
                    return Ok(Some(self.tried_again(step, key, input, verified)));
                }
                if self.request.strict
                    && let (StepKind::Run(run), Input::Run(prepared)) = (&step.kind, &input)
                {
                    let trace = self.store.db().trace(key.id()).map_err(failed)?;
                    self.check_coverage(step, run, prepared, trace.as_ref())?;
                }
                let ending = self.hit(step, hit, key, &record, &input);
                self.succeed(id, step, self.done(step, layer, record.created_nanos)?, ending);
                return Ok(None);
            }
            gone = true;
        }
        let ids = self.step_ids(step);
        if !self.no_cache(step)
            && let (StepKind::Run(run), Input::Run(prepared)) = (&step.kind, &input)
        {
            let below = self.parent_done(step);
            let found = self.look_up_traced(step, run, &below.snapshot, &key)?;
            if let Some(found) = found {
                if self.request.verify {
                    let TracedHit { from, record, .. } = found;
                    let verified = Verified { hit: Hit::Traced, record, traced: Some(from), is_new: true };
                    return Ok(Some(self.tried_again(step, key, input, verified)));
                }
                self.keep_traced(&key, ids, &found, &prepared.mounted).map_err(failed)?;
                let TracedHit { record, layer, .. } = found;
                let ending = self.hit(step, Hit::Traced, key, &record, &input);
                self.succeed(id, step, below.with(layer, record.created_nanos), ending);
                return Ok(None);
            }
        }
        let reason = self.reason(step, &key, &ids, gone, &input).map_err(failed)?;
        Ok(Some(Missed { key, ids, reason, input, verify: None }))
    }

    /// A hit as a step that runs, to see whether it makes the same.
    pub(super) fn tried_again(&self, step: &Step, key: Key, input: Input, verified: Verified) -> Missed {
        let reason = Reason { words: "--verify".to_owned(), ..Reason::plain(Miss::Forced) };
        Missed { key, ids: self.step_ids(step), reason, input, verify: Some(Box::new(verified)) }
    }

    /// Why a miss of this step fails the build, where it does. What has to be fetched first is no miss.
    pub(super) fn refused_miss(&self, step: &Step, missed: &Missed) -> Option<BuildError> {
        let stages = self.request.fail_on_miss.as_ref()?;
        let is_meant = stages.is_empty() || stages.contains(&step.stage);
        if !is_meant || missed.verify.is_some() || matches!(step.kind, StepKind::Base(_) | StepKind::Source(_)) {
            return None;
        }
        let shown = &self.plan.shown[step.shown];
        Some(BuildError::Missed {
            step: shown.name.clone(),
            place: Some(self.file.place(shown.span)),
            reason: missed.reason.words.clone(),
        })
    }

    /// The failure of a step that failed under the same key before, which is not run again.
    pub(super) fn failed_before(&self, id: NodeId, step: &Step, missed: &Missed) -> Option<BuildError> {
        if self.no_cache(step) || declared::runs_always(step) {
            return None;
        }
        let exit = Exit::Code(self.failures?.code(missed.key.id())?);
        let reason = format!("{exit}, not tried again: nothing in its key has changed since it failed");
        let verdict = Verdict::Failed(Some(missed.reason.cause));
        self.book.finish(step.shown, Ending { verdict, reason, ..Ending::of_miss(missed) });
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner).insert(id);
        if let Some(stops) = self.stops {
            stops.end(step.shown);
        }
        let shown = &self.plan.shown[step.shown];
        Some(BuildError::StepFailed { step: shown.name.clone(), place: Some(self.file.place(shown.span)), exit })
    }

    /// Remembers that a command failed, unless it may end otherwise with the same key.
    pub(super) fn remember_failure(&self, step: &Step, key: &Key, error: &BuildError) {
        // What is no part of a key decides too: the content of caches, the values of secrets.
        let has_more = matches!(&step.kind, StepKind::Run(run) if run.insecure || run.mounts.iter().any(|mount| {
            matches!(mount.mount.kind, MountKind::Cache | MountKind::Secret | MountKind::Ssh)
        }));
        let is_fickle = has_more || self.fickle.lock().unwrap_or_else(PoisonError::into_inner).contains(&step.shown);
        if let (Some(failures), BuildError::StepFailed { exit: Exit::Code(code), .. }) = (self.failures, error)
            && !is_fickle
        {
            failures.add(key.id(), *code);
        }
    }

    /// The ending of a step whose result is known.
    pub(super) fn hit(&self, step: &Step, hit: Hit, key: Key, record: &Record, input: &Input) -> Ending {
        let made = record.made();
        let mut why = Why { compared: Some(made.compared()), ..Why::default() };
        self.name_changes(step, &key, record.layer, input, &mut why);
        why.changes.extend(self.moved(step.shown));
        Ending {
            earlier: Some(made.seconds()),
            layer: Some(record.layer),
            key: Some(key),
            why,
            made: Some(made),
            ..Ending::new(Verdict::Hit(hit))
        }
    }

    /// The change of an instruction's place, if it moved since the last build.
    pub(super) fn moved(&self, shown: usize) -> Option<Change> {
        let crate::explain::align::Origin::Moved(old) = self.baseline.alignment.origins[shown] else { return None };
        let steps = &self.baseline.build.as_ref()?.steps;
        let was = steps.get(old)?;
        let is_with = |step: &&crate::explain::BuildStep| (&step.stage, &step.platform) == (&was.stage, &was.platform);
        let old = steps[..old].iter().filter(is_with).count() + 1;
        let is = &self.plan.shown[shown];
        let is_with = |step: &&crate::plan::Shown| (&step.stage, &step.lane) == (&is.stage, &is.lane);
        let new = self.plan.shown[..shown].iter().filter(is_with).count() + 1;
        Some(Change::Moved { old, new })
    }

    /// What of an instruction that only changes the configuration is not what it was in the last build.
    pub(super) fn configuration_change(&self, shown: usize) -> Why {
        let now = &self.plan.shown[shown];
        let mut changes: Vec<Change> = self.moved(shown).into_iter().collect();
        let label = || "the instruction".to_owned();
        match self.baseline.old(shown) {
            Some(old) if old.instruction != now.instruction => {
                changes.push(instruction_change(&old.instruction, &now.instruction));
            }
            Some(_) if names_in(&now.instruction).any(|name| self.build_arg_change(name).is_some()) => {
                changes.push(Change::Hidden { label: label(), how: Presence::Changed });
            }
            None if self.baseline.build.is_some() => changes.push(match sets_secret(&now.instruction) {
                true => Change::Hidden { label: label(), how: Presence::Added },
                false => Change::Text { label: label(), old: None, new: Some(now.instruction.clone()) },
            }),
            _ => {}
        }
        if let Some(declared) = now.instruction.strip_prefix("ARG ") {
            for name in declared.split_ascii_whitespace().map(|word| word.split('=').next().unwrap_or(word)) {
                changes.extend(
                    self.build_arg_change(name).map(|how| Change::Hidden { label: format!("--build-arg {name}"), how }),
                );
            }
        }
        Why { changes, ..Why::default() }
    }

    /// What happened to a build argument since the last build.
    pub(super) fn build_arg_change(&self, name: &str) -> Option<Presence> {
        let given = self.request.build_args.iter().find(|(other, _)| other == name);
        self.baseline.build_arg(name, given.map(|(_, value)| value.as_str()))
    }
}
