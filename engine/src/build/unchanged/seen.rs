//! What is kept of a build so that a later one can be told from it: what it saw beside what it was asked for.

use super::super::binfmt;
use super::super::context::BuildContext;
use super::super::steps::Steps;
use super::Asked;
use crate::api::{Outcome, Request};
use crate::event::{Event, Sink};
use crate::plan::{Images, Plan, StepKind};
use crate::store::Store;
use crate::store::builds::{Given, Replay};
use kiln_dsl::platform::Platform;
use std::sync::{Mutex, PoisonError};

/// Hands events on, and keeps the warnings among them.
pub(in super::super) struct Told<'a> {
    sink: &'a dyn Sink,
    warnings: Mutex<Vec<String>>,
}

impl<'a> Told<'a> {
    /// Hands on to `sink`.
    pub fn new(sink: &'a dyn Sink) -> Self {
        Told { sink, warnings: Mutex::default() }
    }

    /// The warnings so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Sink for Told<'_> {
    fn emit(&self, event: Event) {
        if let Event::Warning { message } = &event {
            self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(message.clone());
        }
        self.sink.emit(event);
    }
}

/// What was known before the first step.
pub(in super::super) struct Seen {
    pub asked: Asked,
    /// The store's epoch before the first look-up.
    pub epoch: u64,
    pub images: Images,
    pub warnings: Vec<String>,
}

/// What a later build must find again to be this one; `None` where that alone does not decide it.
pub(in super::super) fn replay(
    seen: Seen,
    request: &Request,
    store: &Store,
    (plan, contexts): (&Plan, &[BuildContext]),
    steps: &Steps<'_>,
    outcome: &Outcome,
) -> Option<Replay> {
    if request.verify || !plan.exports.is_empty() || !is_decided(plan) || !steps.book.is_settled() {
        return None;
    }
    let mut images = Vec::with_capacity(seen.images.len());
    for ((name, platform), known) in &seen.images {
        let written = platform.to_string();
        // It is looked for by what is kept of it.
        (Platform::parse(&written).as_ref() == Ok(platform)).then_some(())?;
        images.push((name.clone(), written, known.key));
    }
    images.sort();
    // An image may stand on the host's files too.
    let bases = plan.graph.nodes().filter(|(_, step)| matches!(step.kind, StepKind::Base(_)));
    let mut done = bases.filter_map(|(id, _)| steps.result(id));
    let host = done.find_map(|done| done.snapshot.from_top().find(|layer| layer.is_host()).map(|layer| layer.id()));
    let given = outcome.results.iter().map(|built| Given {
        name: built.name.clone(),
        image: built.image,
        names: built.names.clone(),
        images: built.images.clone(),
    });
    Some(Replay {
        asked: seen.asked.digest(),
        images,
        host,
        contexts: contexts.iter().map(BuildContext::seen).collect(),
        warnings: seen.warnings,
        results: given.collect(),
        epoch: seen.epoch,
        layers: store.layers_stamp(),
    })
}

/// Whether the plan's keys follow from what is compared: nothing is asked for elsewhere, no clock and no command is part
/// of a key, and the machine runs all programs by itself.
fn is_decided(plan: &Plan) -> bool {
    plan.graph.nodes().all(|(_, step)| match &step.kind {
        StepKind::Base(_) | StepKind::Copy(_) | StepKind::Workdir(_) | StepKind::Merge(_) => true,
        StepKind::Source(_) => false,
        StepKind::Run(run) => run.key.is_none() && binfmt::is_native(&Platform::host(), &run.platform),
    })
}
