//! The build in which nothing changed: told from the record of the build that it equals, without a plan and without a
//! look-up for each step.
//!
//! What decides a build is compared as a whole: what was asked for ([`asked`]) and what the build saw ([`seen`]): images,
//! the host, the files of its contexts. The plan follows from these, and so does each step's key; and as long as the
//! store is in the same epoch each key finds what it found. Where any of that is another, or cannot be told here, the
//! build goes the ordinary way, which knows more: it is never wrong to do so.

mod asked;
mod seen;
#[cfg(test)]
mod tests;

pub(super) use asked::{Asked, asked};
pub(super) use seen::{Seen, Told, replay};

use super::bases::Bases;
use super::context::BuildContext;
use super::record::{self, Begun};
use super::{File, store_error};
use crate::api::{BuildError, Built, Outcome, Request};
use crate::digest::LayerId;
use crate::event::{Counts, Event, Sink, StepInfo};
use crate::explain::record::Before;
use crate::explain::report::{BuildTotals, ComparedReport, WhyReport};
use crate::explain::{Build, BuildStep, End, Made};
use crate::store::builds::{Body, Head, Replay, Stamp, Steps, Stored};
use crate::store::{Store, StoreError};
use kiln_dsl::platform::Platform;
use std::collections::HashSet;

/// How many records are searched for the build that this one may equal.
const BUILDS_SEARCHED: usize = 8;

/// What an unchanged build is made of.
#[derive(Clone, Copy)]
pub(super) struct Parts<'a> {
    pub request: &'a Request,
    pub store: &'a Store,
    pub sink: &'a dyn Sink,
    pub file: &'a File,
    pub contexts: &'a [BuildContext],
    pub bases: &'a Bases<'a>,
    pub begun: &'a Begun,
}

/// A build that the one that is asked for equals.
pub(super) struct Unchanged<'a> {
    parts: Parts<'a>,
    stored: Stored,
    head: Head,
    /// The same for the next build.
    replay: Replay,
    steps: Vec<u8>,
    results: Vec<Built>,
}

/// The build that the one that is asked for equals, if there is one and all is as it was.
pub(super) fn find<'a>(parts: Parts<'a>, asked: Asked) -> Result<Option<Unchanged<'a>>, StoreError> {
    let Some((stored, head, replay)) = candidate(&parts, asked)? else { return Ok(None) };
    // Read before anything that it vouches for is relied on.
    if parts.store.db().epoch()? != replay.epoch || !is_seen_again(&parts, &replay) {
        return Ok(None);
    }
    let Some(results) = results(&parts, &replay)? else { return Ok(None) };
    let Some(steps) = parts.store.steps(&stored)? else { return Ok(None) };
    let Some(read) = Steps::read(&steps) else { return Ok(None) };
    let layers = parts.store.layers_stamp();
    if !is_there(&parts, &replay, layers, &read)? {
        return Ok(None);
    }
    drop(read);
    let replay = Replay { layers, ..replay };
    Ok(Some(Unchanged { parts, stored, head, replay, steps, results }))
}

/// The newest build that was asked for the same, if the ordinary way would compare with it too.
fn candidate(parts: &Parts<'_>, asked: Asked) -> Result<Option<(Stored, Head, Replay)>, StoreError> {
    let mut passed: Vec<(Option<String>, String)> = Vec::new();
    for stored in parts.store.builds_of(parts.begun.project)?.into_iter().take(BUILDS_SEARCHED) {
        let Some(mut head) = parts.store.head(&stored)? else { return Ok(None) };
        let compared_by = (head.build.asked.target.clone(), head.build.asked.platform.clone());
        match head.replay.take().filter(|replay| asked.is(&replay.asked)) {
            Some(replay) if !passed.contains(&compared_by) => return Ok(Some((stored, head, replay))),
            Some(_) => return Ok(None),
            None => passed.push(compared_by),
        }
    }
    Ok(None)
}

/// Whether images, host and contexts are as the earlier build saw them.
fn is_seen_again(parts: &Parts<'_>, replay: &Replay) -> bool {
    let image = |(name, platform, key): &(String, String, _)| {
        let platform = Platform::parse(platform).ok();
        platform.and_then(|platform| parts.bases.local(name, &platform)) == Some(*key)
    };
    let host = |id: &LayerId| super::host_layer(parts.store).is_ok_and(|layer| layer.id() == *id);
    let contexts = || parts.contexts.iter().zip(&replay.contexts);
    let is_same = replay.images.iter().all(image)
        && replay.host.iter().all(host)
        && parts.contexts.len() == replay.contexts.len()
        && contexts().all(|(context, seen)| context.sees(seen, parts.store));
    if !is_same {
        // The plan says anew how far the steps reach.
        parts.contexts.iter().for_each(BuildContext::begin_again);
    }
    is_same
}

/// The results, if the store has all of them.
fn results(parts: &Parts<'_>, replay: &Replay) -> Result<Option<Vec<Built>>, StoreError> {
    let db = parts.store.db();
    let mut all = Vec::with_capacity(replay.results.len());
    for given in &replay.results {
        let mut image_id = None;
        for (_, key) in &given.images {
            parts.store.pin(key.as_bytes())?;
            let Some(id) = db.image_id(*key)? else { return Ok(None) };
            image_id = id;
        }
        if !matches!(given.images.as_slice(), [(_, only)] if *only == given.image) {
            parts.store.pin(given.image.as_bytes())?;
            let Some(index) = db.index(given.image)? else { return Ok(None) };
            image_id = index.digest;
        }
        if parts.request.want_image_id && image_id.is_none() {
            return Ok(None);
        }
        let (names, images) = (given.names.clone(), given.images.clone());
        all.push(Built { name: given.name.clone(), image: given.image, image_id, manifest: None, names, images });
    }
    Ok(Some(all))
}

/// Whether all layers of the steps are still on the disk, where somebody other than kiln may have taken one.
fn is_there(parts: &Parts<'_>, replay: &Replay, now: Option<Stamp>, steps: &Steps<'_>) -> Result<bool, StoreError> {
    if now.is_some() && now == replay.layers {
        return Ok(true);
    }
    let mut known = HashSet::new();
    // What came with an image or is the host was looked at with it.
    for at in (0..steps.len()).filter(|&at| steps.has_made(at)) {
        if let Some(layer) = steps.layer(at).filter(|layer| known.insert(*layer))
            && parts.store.layer(layer)?.is_none()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Unchanged<'_> {
    /// Says what the build does, and gives its results their names.
    pub fn tell(&self) -> Result<Outcome, BuildError> {
        let Parts { request, store, sink, begun, .. } = self.parts;
        let failed = |error| store_error(&request.store, error);
        for message in &self.replay.warnings {
            sink.emit(Event::Warning { message: message.clone() });
        }
        let hits = match Steps::read(&self.steps) {
            Some(steps) => self.tell_steps(&steps),
            None => 0,
        };
        for built in &self.results {
            for name in &built.names {
                if store.db().name(name).map_err(failed)? != Some(built.image) {
                    store.db().put_name(name, built.image).map_err(failed)?;
                }
            }
        }
        store.flush().map_err(failed)?;
        let counts = Counts { steps: hits, hits, ..Counts::default() };
        Ok(Outcome { results: self.results.clone(), counts, duration: begun.instant.elapsed().as_secs_f64() })
    }

    /// Gives the number of steps.
    fn tell_steps(&self, steps: &Steps<'_>) -> usize {
        let sink = self.parts.sink;
        let info = |at| StepInfo {
            name: steps.name(at),
            stage: steps.stage(at).to_owned(),
            instruction: steps.instruction(at).to_owned(),
            line: steps.line(at),
            file: steps.file(at).map(str::to_owned),
            platform: steps.platform(at).to_owned(),
        };
        let infos = (0..steps.len()).map(info).collect();
        sink.emit(Event::BuildStarted { build: self.parts.begun.id.to_string(), steps: infos });
        for at in steps.order() {
            let verdict = BuildStep::unchanged_verdict(steps.key(at));
            let made = steps.made(at);
            let earlier_duration = made.as_ref().map(Made::seconds);
            let compared_with = made.map(ComparedReport::from);
            sink.emit(Event::StepFinished {
                step: at,
                verdict,
                reason: verdict.kind().unwrap_or_default().to_owned(),
                duration: 0.0,
                why: Box::new(WhyReport { compared_with, earlier_duration, ..WhyReport::default() }),
            });
        }
        steps.len()
    }

    /// Keeps the record of the build.
    pub fn record(&self, outcome: &Outcome) -> Result<(), StoreError> {
        let Parts { request, store, file, contexts, begun, .. } = self.parts;
        let before = &self.head.build;
        let mut build = Build {
            id: begun.id,
            started_nanos: begun.nanos,
            duration: begun.instant.elapsed().as_secs_f64(),
            asked: record::asked(begun, request, before.asked.platform.clone(), file, contexts),
            end: End::Built,
            image: None,
            names: Vec::new(),
            before: Some(Before {
                id: before.id,
                started_nanos: before.started_nanos,
                asked: before.asked.clone(),
                removed: Vec::new(),
                stages_moved: false,
            }),
            steps: Vec::new(),
        };
        record::give(&mut build, outcome);
        let totals = BuildTotals::unchanged(outcome.counts.steps);
        let head = Head { build, totals, is_unchanged: true, replay: Some(self.replay.clone()) };
        store.put_build(begun.project, &head, Body::Of(&self.stored))
    }
}
