//! What a build reads from elsewhere, as steps: each source is asked for once, beside other steps.
//!
//! Knows nothing of protocols; that is [`crate::source`].

use super::agents::Agents;
use super::steps::{Done, Steps};
use crate::api::{BuildError, Cancel, Request, SecretSource};
use crate::event::Event;
use crate::graph::NodeId;
use crate::key::Component;
use crate::plan::{SourceStep, Step};
use crate::source::{Fetcher, Freshness, Source, SourceError};
use crate::store::{Layer, Store};
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;
use std::time::Instant;

/// The value of a secret that the build was given; `None` where it was given none with this id, or its variable is not
/// set.
pub(super) fn secret(request: &Request, id: &str) -> io::Result<Option<Vec<u8>>> {
    let Some(secret) = request.secrets.iter().find(|secret| secret.id == id) else { return Ok(None) };
    match &secret.source {
        SecretSource::File(path) => std::fs::read(path).map(Some),
        SecretSource::Env(name) => Ok(std::env::var_os(name).map(OsStringExt::into_vec)),
    }
}

/// A fetcher with what the request gives.
pub(super) fn fetcher<'a>(
    request: &'a Request,
    store: &'a Store,
    secrets: &'a crate::source::Secrets<'a>,
    agents: &'a Agents<'a>,
    cancel: &'a Cancel,
) -> Fetcher<'a> {
    Fetcher::new(store, &request.registry, secrets, Box::new(|| agents.for_git()), cancel)
}

impl Steps<'_> {
    /// The result of a source that is in the store for certain; `None` where somebody has to be asked.
    pub(super) fn settle_source(&self, id: NodeId, step: &Step, source: &SourceStep) -> Result<bool, BuildError> {
        let SourceStep::Layer(layer) = source else { return Ok(false) };
        let failed = |error| super::store_error(&self.request.store, error);
        let Some(layer) = self.store.layer(*layer).map_err(failed)? else {
            let what = format!("layer {layer}");
            let detail = "it is no longer there".to_owned();
            return Err(failed(crate::store::StoreError::Damaged { what, detail }));
        };
        self.take_source(id, step, layer, false, Instant::now());
        Ok(true)
    }

    /// Asks for a source, and fetches it if it is new.
    pub(super) fn run_source(
        &self,
        id: NodeId,
        step: &Step,
        source: &Source,
        started: Instant,
    ) -> Result<(), BuildError> {
        let begun = || {
            let reason = "it is new, or changed".to_owned();
            self.sink.emit(Event::StepStarted { step: step.shown, reason });
        };
        let fetched = self.fetcher.fetch(source, &begun).map_err(|error| match error {
            SourceError::Cancelled => BuildError::Cancelled,
            error => {
                let shown = &self.plan.shown[step.shown];
                let place = Some(self.file.place(shown.span));
                BuildError::Fetch { step: shown.name.clone(), place, source: super::boxed(error) }
            }
        })?;
        let ran = fetched.freshness == Freshness::Transferred;
        self.take_source(id, step, fetched.layer, ran, started);
        Ok(())
    }

    fn take_source(&self, id: NodeId, step: &Step, layer: Arc<Layer>, ran: bool, started: Instant) {
        let content = Component::text("the content", layer.id().to_hex());
        let done: Done = self.parent_done(step).with(layer, super::steps::nanos_now());
        let ending = self.given_ending(step, self.key("SOURCE", vec![content]), &done, ran, started);
        self.succeed(id, step, done, ending);
    }
}
