//! One graph for several results: what is the same for two of them is there once.
//!
//! A step is the same where what it does, what it stands on and what it reads are the same; it is looked for among the
//! steps of the same instruction on the same parent only. An instruction without a step is the same behind the same one
//! with the same text and the same values. With one result nothing is looked for.

use super::step::{Shown, Step};
use crate::graph::{Graph, NodeId};
use kiln_dsl::span::Span;
use std::collections::HashMap;

/// By what an instruction that is shown is known.
#[derive(PartialEq, Eq, Hash)]
enum Known {
    /// By its step.
    Step(Span, String, NodeId),
    /// By everything.
    Configuration {
        previous: Option<usize>,
        span: Span,
        stage: String,
        lane: String,
        instruction: String,
        values: Vec<Option<String>>,
    },
}

/// The steps and the instructions so far.
#[derive(Default)]
pub struct Interned {
    /// The steps.
    pub graph: Graph<Step>,
    /// The instructions.
    pub shown: Vec<Shown>,
    is_shared: bool,
    steps: HashMap<(Span, Option<NodeId>), Vec<NodeId>>,
    known: HashMap<Known, usize>,
}

impl Interned {
    /// None yet. Something may be the same where `is_shared` says that there is more than one result.
    pub fn new(is_shared: bool) -> Self {
        Interned { is_shared, ..Interned::default() }
    }

    /// The step of the instruction at `span` with these inputs, its parent among them; added where it is not there yet.
    pub fn step(&mut self, span: Span, step: Step, inputs: Vec<NodeId>) -> NodeId {
        if !self.is_shared {
            return self.graph.add(step, inputs);
        }
        let mut wanted = inputs.clone();
        wanted.sort_unstable();
        wanted.dedup();
        let is_same = |id: &&NodeId| {
            let other = self.graph.get(**id);
            let mut have: Vec<NodeId> = self.graph.inputs(**id).collect();
            have.sort_unstable();
            other.stage == step.stage && have == wanted && other.kind == step.kind
        };
        let candidates = self.steps.entry((span, step.parent)).or_default();
        if let Some(id) = candidates.iter().find(is_same) {
            return *id;
        }
        let id = self.graph.add(step, inputs);
        candidates.push(id);
        id
    }

    /// The place of an instruction among those that are shown; `values` are those that its text does not tell.
    pub fn show(&mut self, shown: Shown, values: Vec<Option<String>>) -> usize {
        let index = self.shown.len();
        if !self.is_shared {
            self.shown.push(shown);
            return index;
        }
        let known = match shown.node {
            Some(node) => Known::Step(shown.span, shown.stage.clone(), node),
            None => Known::Configuration {
                previous: shown.previous,
                span: shown.span,
                stage: shown.stage.clone(),
                lane: shown.lane.clone(),
                instruction: shown.instruction.clone(),
                values,
            },
        };
        let place = *self.known.entry(known).or_insert(index);
        if place == index {
            self.shown.push(shown);
        }
        place
    }
}
