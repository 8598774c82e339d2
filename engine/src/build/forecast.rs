//! What a build would do: which steps would hit, which would run and why, and how long that would take.
//!
//! Nothing runs and nothing is written. A COPY's layer is known without writing it; a RUN's is not, so
//! what stands on one that would run is taken to run too, although its output may come out the same.

use super::book::{self, Ending};
use super::declared;
use super::steps::{Done, Missed, Steps};
use super::why::Root;
use crate::api::BuildError;
use crate::explain::{Change, Dragged, Miss, Verdict, Why};
use crate::graph::NodeId;
use crate::plan::{Origin, Step, StepKind};
use crate::store::Layer;
use std::sync::Arc;

/// What is known beforehand of a step's result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Known {
    /// Exactly what it will be.
    Exactly,
    /// Only what it was the last time.
    AsItWas,
    /// Nothing.
    No,
}

impl Steps<'_> {
    /// Ends every step in the book as it would end.
    pub fn forecast(&self) -> Result<(), BuildError> {
        self.show_leading();
        let mut known = vec![Known::No; self.plan.graph.len()];
        for (id, step) in self.plan.graph.nodes() {
            let inputs: Vec<Known> = self.plan.graph.inputs(id).map(|input| known[input.index()]).collect();
            let read = self.read_from(id, step);
            known[id.index()] = if inputs.contains(&Known::No) {
                self.unknown(id, step, &known);
                Known::No
            } else if read.iter().any(|&input| known[input.index()] == Known::AsItWas) {
                self.dragged_along(id, step, &read, &known)?
            } else {
                let before = match inputs.contains(&Known::AsItWas) {
                    true => Known::AsItWas,
                    false => Known::Exactly,
                };
                match self.settle_quietly(id, step) {
                    Ok(None) => before,
                    Ok(Some(missed)) => self.would_run(id, step, &missed, before),
                    Err(error) if declared::is_for_the_build(&error) => self.not_known(id, step),
                    Err(error) => return Err(error),
                }
            };
        }
        Ok(())
    }

    fn settle_quietly(&self, id: NodeId, step: &Step) -> Result<Option<Missed>, BuildError> {
        crate::schedule::Work::settle(self, id, step)
    }

    /// The steps whose output decides whether `step` hits.
    fn read_from(&self, id: NodeId, step: &Step) -> Vec<NodeId> {
        match &step.kind {
            StepKind::Run(_) | StepKind::Merge(_) => self.plan.graph.inputs(id).collect(),
            StepKind::Copy(copy) => match copy.origin {
                Origin::Step { node, .. } => node.into_iter().collect(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// A step that misses for a reason of its own.
    fn would_run(&self, id: NodeId, step: &Step, missed: &Missed, before: Known) -> Known {
        let ran = Ending {
            duration: missed.reason.previous.map_or_else(|| self.last_time(step), |previous| previous.duration),
            ..Ending::of_miss(missed)
        };
        let exact = match &step.kind {
            StepKind::Copy(copy) => self.planned_copy(step, copy, missed).map(|layer| (layer, before)),
            StepKind::Workdir(_) | StepKind::Base(_) | StepKind::Source(_) => None,
            StepKind::Run(_) | StepKind::Merge(_) => None,
        };
        let earlier = || {
            let layer = missed.reason.previous.and_then(|previous| self.store.layer(previous.layer).ok().flatten());
            layer.map(|layer| (layer, Known::AsItWas))
        };
        self.end(id, step, ran, exact.or_else(earlier))
    }

    /// A step that stands on the output of one that would run.
    fn dragged_along(&self, id: NodeId, step: &Step, read: &[NodeId], known: &[Known]) -> Result<Known, BuildError> {
        let before = read.iter().copied().find(|input| known[input.index()] == Known::AsItWas);
        let root = self.root_of(before).or_else(|| before.map(|id| self.root_at(self.plan.graph.get(id).shown)));
        let mut why = match self.own_reason(step) {
            Err(error) if declared::is_for_the_build(&error) => Why::default(),
            why => why?,
        };
        let cause = if super::why::own_change(&why).is_some() { Miss::Changed } else { Miss::ParentChanged };
        let root = root.unwrap_or(Root { shown: None, name: "a step that would run".to_owned() });
        let words = format!("{} ← {}", Miss::ParentChanged.word(), root.name);
        why.dragged.push(Dragged { label: "parent".to_owned(), root: root.shown, name: root.name });
        let ending = Ending { reason: words, duration: self.last_time(step), why, ..Ending::new(Verdict::Miss(cause)) };
        let layer = self.baseline.old(step.shown).and_then(|old| old.layer);
        let layer = layer.and_then(|layer| self.store.layer(layer).ok().flatten());
        Ok(self.end(id, step, ending, layer.map(|layer| (layer, Known::AsItWas))))
    }

    /// A step whose stated key reads what only the build makes. It may hit then; nothing here can say so.
    fn not_known(&self, id: NodeId, step: &Step) -> Known {
        let reason = "what its key reads is not known before the build".to_owned();
        let change = Change::Text {
            label: "what its key reads".to_owned(),
            old: None,
            new: Some("not known before the build".to_owned()),
        };
        let why = Why { changes: vec![change], ..Why::default() };
        let is_first = self.baseline.old(step.shown).is_none_or(|old| old.key.is_none());
        let cause = if is_first { Miss::FirstTime } else { Miss::Changed };
        let duration = self.last_time(step);
        let ending = Ending { reason, duration, why, ..Ending::new(Verdict::Miss(cause)) };
        let layer = self.baseline.old(step.shown).and_then(|old| old.layer);
        let layer = layer.and_then(|layer| self.store.layer(layer).ok().flatten());
        self.end(id, step, ending, layer.map(|layer| (layer, Known::AsItWas)))
    }

    /// A step of whose inputs nothing is known.
    fn unknown(&self, id: NodeId, step: &Step, known: &[Known]) {
        let before = self.plan.graph.inputs(id).find(|input| known[input.index()] == Known::No);
        let shown = before.map(|input| self.plan.graph.get(input).shown);
        let is_first = self.baseline.old(step.shown).is_none_or(|old| old.key.is_none());
        let mut why = Why::default();
        let cause = match shown.filter(|_| !is_first) {
            Some(shown) => {
                let name = self.plan.shown[shown].name.clone();
                why.dragged.push(Dragged { label: "parent".to_owned(), root: Some(shown), name });
                Miss::ParentChanged
            }
            None => Miss::FirstTime,
        };
        let ending = Ending { duration: self.last_time(step), why, ..Ending::new(Verdict::Miss(cause)) };
        self.end(id, step, ending, None);
    }

    fn end(&self, id: NodeId, step: &Step, ending: Ending, result: Option<(Arc<Layer>, Known)>) -> Known {
        match result {
            Some((layer, known)) => {
                let done: Done = self.parent_done(step).with(layer, 0);
                self.succeed(id, step, done, ending);
                known
            }
            None => {
                if !book::is_read_by_another(self.plan, id) {
                    self.book.finish(step.shown, ending);
                    self.show_trailing(step.shown, false);
                }
                Known::No
            }
        }
    }

    /// How long the step ran when it ran last, in seconds; 0 where that is not known.
    fn last_time(&self, step: &Step) -> f64 {
        self.baseline
            .old(step.shown)
            .map_or(0.0, |old| if old.verdict.ran() { old.duration } else { old.earlier.unwrap_or(0.0) })
    }
}
