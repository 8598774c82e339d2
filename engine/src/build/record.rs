//! The record of a build, written when it has ended in whatever way.

use super::baseline::Baseline;
use super::book::{self, Book};
use super::context::BuildContext;
use super::{File, steps};
use crate::api::{BuildError, NetworkMode, Outcome, Request};
use crate::digest::ContentId;
use crate::explain::record::Asked;
use crate::explain::report::BuildTotals;
use crate::explain::{Build, BuildId, End};
use crate::plan::Plan;
use crate::store::builds::{Body, Head, Keys, ProjectId, Replay};
use crate::store::{Store, StoreError};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

/// What is known of a build from its first moment.
pub(crate) struct Begun {
    pub id: BuildId,
    pub nanos: i64,
    pub instant: Instant,
    pub context: String,
    pub dockerfile: String,
    pub project: ProjectId,
}

impl Begun {
    pub fn new(instant: Instant, (context, dockerfile, project): (String, String, ProjectId)) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let nanos = steps::nanos_now();
        let mut hasher = blake3::Hasher::new_derive_key("kiln build v1");
        hasher.update(context.as_bytes());
        hasher.update(&std::process::id().to_le_bytes());
        hasher.update(&COUNT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
        hasher.update(&nanos.to_le_bytes());
        let mut id = [0; 6];
        id.copy_from_slice(&hasher.finalize().as_bytes()[..6]);
        Begun { id: BuildId::from_bytes(id), nanos, instant, context, dockerfile, project }
    }
}

/// What stands for a value that is not kept.
pub(crate) fn digest(value: &str) -> ContentId {
    blake3::Hasher::new_derive_key("kiln build argument v1").update(value.as_bytes()).finalize().into()
}

/// Keeps what there is to know of a build.
pub(crate) fn write(
    begun: &Begun,
    request: &Request,
    store: &Store,
    planned: (&Plan, &File, &[BuildContext]),
    (book, baseline): (&Book<'_>, &Baseline),
    (result, replay): (&Result<Outcome, BuildError>, Option<Replay>),
) -> Result<(), StoreError> {
    let end = match result {
        Ok(_) => End::Built,
        Err(BuildError::Cancelled) => End::Interrupted,
        Err(error) => End::Failed(error.to_string()),
    };
    let (mut build, keys) = build(begun, request, planned, (book, baseline), end);
    if let Ok(outcome) = result {
        give(&mut build, outcome);
    }
    let totals = BuildTotals::new(&build);
    let steps = std::mem::take(&mut build.steps);
    let head = Head { build, totals, is_unchanged: false, replay };
    store.put_build(begun.project, &head, Body::Steps(&steps, &keys, &unchanged_order(planned.0)))
}

/// Says what a build gave.
pub(super) fn give(build: &mut Build, outcome: &Outcome) {
    build.image = outcome.only().map(|built| built.image);
    build.names = outcome.results.iter().flat_map(|built| built.names.clone()).collect();
}

/// The instructions in the order in which they end where nothing has changed.
fn unchanged_order(plan: &Plan) -> Vec<usize> {
    let followers = plan.followers();
    let mut order = Vec::with_capacity(plan.shown.len());
    let mut is_told = vec![false; plan.shown.len()];
    let mut add = |first: usize| {
        let mut next = vec![first];
        while let Some(index) = next.pop() {
            // An instruction of several steps ends with the first of them.
            if !std::mem::replace(&mut is_told[index], true) {
                order.push(index);
            }
            next.extend(followers[index].iter().rev());
        }
    };
    let leading = plan.shown.iter().enumerate().filter(|(_, shown)| shown.begins && shown.node.is_none());
    leading.for_each(|(index, _)| add(index));
    let own = plan.graph.nodes().filter(|(id, _)| !book::is_read_by_another(plan, *id));
    own.for_each(|(_, step)| add(step.shown));
    order
}

/// The stages that were asked for by name.
pub(crate) fn target(request: &Request) -> Option<String> {
    let names: Vec<&str> = request.targets.iter().filter_map(|target| target.stage.as_deref()).collect();
    (!names.is_empty()).then(|| names.join(","))
}

/// The platforms of the results.
pub(crate) fn platform(plan: &Plan) -> String {
    // As before there were several: the platform of the result, which a FROM may have changed.
    match plan.results.as_slice() {
        [only] => only.platform.to_string(),
        _ => plan.platforms().into_iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
    }
}

/// What a build was asked for, for results of these platforms.
pub(super) fn asked(
    begun: &Begun,
    request: &Request,
    platform: String,
    file: &File,
    contexts: &[BuildContext],
) -> Asked {
    Asked {
        context: begun.context.clone(),
        dockerfile: begun.dockerfile.clone(),
        text: Some(blake3::hash(file.sources.text().as_bytes()).into()),
        ignore: contexts.first().and_then(BuildContext::ignore_file).map(|(name, digest)| (name.to_owned(), digest)),
        target: target(request),
        platform,
        build_args: request.build_args.iter().map(|(name, value)| (name.clone(), digest(value))).collect(),
        labels: request.labels.clone(),
        secrets: request.secrets.iter().map(|secret| secret.id.clone()).collect(),
        offline: request.network == NetworkMode::None,
        no_cache: request.no_cache || !request.no_cache_filter.is_empty(),
    }
}

/// What there is to know of a build, and the keys of its steps.
pub(crate) fn build(
    begun: &Begun,
    request: &Request,
    (plan, file, contexts): (&Plan, &File, &[BuildContext]),
    (book, baseline): (&Book<'_>, &Baseline),
    end: End,
) -> (Build, Keys) {
    let asked = asked(begun, request, platform(plan), file, contexts);
    let (steps, keys) = book.take_steps();
    let build = Build {
        id: begun.id,
        started_nanos: begun.nanos,
        duration: begun.instant.elapsed().as_secs_f64(),
        asked,
        end,
        image: None,
        names: Vec::new(),
        before: baseline.summary(),
        steps,
    };
    (build, keys)
}
