//! Keeping what a step made: its layer, its record, its trace; and comparing it with a hit that was tried again. Knows
//! nothing of how it was made.

use super::{Input, Missed, Steps, Verified, nanos_now};
use crate::api::BuildError;
use crate::build::book::Ending;
use crate::build::copy_step::Made;
use crate::build::store_error;
use crate::build::traced::TracedHit;
use crate::digest::StepId;
use crate::explain::{Hit, Verdict, files};
use crate::graph::NodeId;
use crate::key::Key;
use crate::plan::{Step, StepKind};
use crate::store::Record;
use crate::tree::Tree;
use std::sync::Arc;
use std::time::Instant;

impl Steps<'_> {
    /// Keeps what an execution made, and says so.
    pub(in crate::build) fn keep(
        &self,
        id: NodeId,
        step: &Step,
        mut missed: Missed,
        mut made: Made,
        started: Instant,
    ) -> Result<(), BuildError> {
        let failed = |error| store_error(&self.request.store, error);
        if let Some(verified) = missed.verify.take() {
            match verified.traced.filter(|_| made.tree.id() != verified.record.layer) {
                None => return self.compare_again(id, step, (missed.key, missed.ids), &verified, &made.tree, started),
                // What it made on other layers is not what belongs on these, so what it makes now counts.
                Some(from) => {
                    self.put_away(step, from).map_err(failed)?;
                    missed.reason.words = "what it was seen to depend on is not all".to_owned();
                    missed.reason.same_key = Some(verified.record.layer);
                    if let Some(trace) = &mut made.trace {
                        let reason = "another execution was skipped by what was seen, and made something else";
                        trace.incomplete.get_or_insert_with(|| reason.to_owned());
                    }
                }
            }
        }
        let layer = self.store.commit_layer(&made.tree, made.staged, &made.below).map_err(failed)?;
        let Missed { key, ids: [by_text, by_place, anywhere], mut reason, .. } = missed;
        let before = reason.same_key.or(reason.previous.map(|previous| previous.layer));
        let created_nanos = match reason.previous {
            // The layer that was there is the one that stays, and so is its time.
            Some(previous) if previous.layer == layer.id() => previous.created_nanos,
            _ => nanos_now(),
        };
        // A merge is more than its own layer: where its key is another one, so is what it stacks.
        reason.why.same_output = before == Some(layer.id()) && !matches!(step.kind, StepKind::Merge(_));
        if let Some(before) = before.filter(|before| *before != layer.id()) {
            reason.why.unstable = reason.same_key.is_some();
            if matches!(step.kind, StepKind::Run(_)) {
                let old = self.store.tree(before).map_err(failed)?;
                reason.why.output = old.map(|old| files::diff(&old, &made.tree));
            }
        }
        let record = Record {
            components: key.components().to_vec(),
            layer: layer.id(),
            build: self.begun.id,
            name: self.plan.shown[step.shown].name.clone(),
            created_nanos,
            duration_ms: started.elapsed().as_millis() as u64,
        };
        self.store.db().put_record(by_text, key.id(), &record).map_err(failed)?;
        self.store.db().remember(by_place, key.id()).map_err(failed)?;
        self.store.db().remember(anywhere, key.id()).map_err(failed)?;
        if let (StepKind::Run(run), Some(trace)) = (&step.kind, &made.trace) {
            self.keep_trace(run, &key, trace).map_err(failed)?;
        }
        let done = self.done(step, layer, created_nanos)?;
        let ending = Ending {
            duration: started.elapsed().as_secs_f64(),
            layer: Some(record.layer),
            made: Some(record.made()),
            ..super::reason_ending(Verdict::Miss(reason.cause), reason, Some(key))
        };
        self.succeed(id, step, done, ending);
        Ok(())
    }

    /// Compares what a hit made when it ran again with its record, whose layer stays the one that counts.
    pub(super) fn compare_again(
        &self,
        id: NodeId,
        step: &Step,
        (key, ids): (Key, [StepId; 3]),
        Verified { hit, record, traced, is_new }: &Verified,
        made: &Tree,
        started: Instant,
    ) -> Result<(), BuildError> {
        let failed = |error| store_error(&self.request.store, error);
        let lost = || crate::store::StoreError::Damaged {
            what: format!("layer {}", record.layer),
            detail: "it is no longer there".to_owned(),
        };
        let layer = self.store.layer(record.layer).map_err(failed)?.ok_or_else(|| failed(lost()))?;
        if let Some(from) = traced.filter(|_| *is_new) {
            let found = TracedHit { from, record: record.clone(), layer: Arc::clone(&layer) };
            // What the mounts show was kept for the execution that has just ended.
            self.keep_traced(&key, ids, &found, &[]).map_err(failed)?;
        }
        let mut ending = self.hit(step, *hit, key, record, &Input::None);
        ending.duration = started.elapsed().as_secs_f64();
        ending.why.same_output = made.id() == record.layer;
        ending.reason = format!("{}, verified", ending.reason);
        if !ending.why.same_output {
            ending.reason = match hit {
                // It may be as deterministic as can be: its key leaves something out, then.
                Hit::Declared => format!("{}, makes something else than its key says", hit.word()),
                _ => format!("{}, not deterministic", hit.word()),
            };
            ending.why.unstable = true;
            ending.why.output = self.store.tree(record.layer).map_err(failed)?.map(|old| files::diff(&old, made));
        }
        let done = self.parent_done(step).with(layer, record.created_nanos);
        self.succeed(id, step, done, ending);
        Ok(())
    }
}
