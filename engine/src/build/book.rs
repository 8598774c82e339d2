//! The book of a running build: how each instruction ended, told to the sink once and kept for the record.
//!
//! Knows nothing of how a verdict is found.

use super::{File, no_counts};
use crate::digest::{LayerId, SnapshotId};
use crate::event::{Counts, Event, Sink};
use crate::explain::report::WhyReport;
use crate::explain::secrecy::SecretArguments;
use crate::explain::{BuildStep, Hit, Made, Verdict, Why};
use crate::key::Key;
use crate::plan::{Plan, Shown, StepKind};
use crate::store::builds::Keys;
use kiln_dsl::remote::redact_all;
use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

/// How an instruction ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub verdict: Verdict,
    /// In words, for a line of progress.
    pub reason: String,
    /// How long it ran, in seconds.
    pub duration: f64,
    /// How long the execution ran whose result it is, or that it was compared with, in seconds.
    pub earlier: Option<f64>,
    pub layer: Option<LayerId>,
    /// The snapshot that is the result.
    pub stack: Option<SnapshotId>,
    pub key: Option<Key>,
    pub why: Why,
    /// The execution whose result it is.
    pub made: Option<Made>,
}

impl Ending {
    /// The ending of a step that would run.
    pub fn of_miss(missed: &super::steps::Missed) -> Self {
        let reason = &missed.reason;
        Ending {
            reason: reason.words.clone(),
            earlier: reason.previous.map(|previous| previous.duration),
            key: Some(missed.key.clone()),
            why: reason.why.clone(),
            ..Ending::new(Verdict::Miss(reason.cause))
        }
    }

    /// One that says no more than its kind.
    pub fn new(verdict: Verdict) -> Self {
        let reason = verdict.kind().unwrap_or_default().to_owned();
        Ending {
            verdict,
            reason,
            duration: 0.0,
            earlier: None,
            layer: None,
            stack: None,
            key: None,
            why: Why::default(),
            made: None,
        }
    }
}

/// The book.
pub(crate) struct Book<'a> {
    plan: &'a Plan,
    file: &'a File,
    sink: &'a dyn Sink,
    /// The values that are told by the names of their arguments.
    secrets: SecretArguments,
    endings: Mutex<Vec<Option<Ending>>>,
}

impl<'a> Book<'a> {
    pub fn new(plan: &'a Plan, file: &'a File, sink: &'a dyn Sink, secrets: SecretArguments) -> Self {
        Book { plan, file, sink, secrets, endings: Mutex::new(vec![None; plan.shown.len()]) }
    }

    /// Writes down how an instruction ended, and says so; only the first time counts.
    pub fn finish(&self, shown: usize, mut ending: Ending) {
        if !self.secrets.is_empty() {
            ending.reason = self.secrets.named_in(&ending.reason).into_owned();
            ending.why.name_secrets(&self.secrets);
        }
        let event = {
            let mut endings = self.endings.lock().unwrap_or_else(PoisonError::into_inner);
            if endings[shown].is_some() {
                return;
            }
            let event = Event::StepFinished {
                step: shown,
                verdict: ending.verdict,
                reason: ending.reason.clone(),
                duration: ending.duration,
                why: Box::new(WhyReport::new(&ending.why, ending.earlier)),
            };
            endings[shown] = Some(ending);
            event
        };
        self.sink.emit(event);
    }

    /// What `read` makes of an instruction's ending, if it has one.
    pub fn read<T>(&self, shown: usize, read: impl FnOnce(&Ending) -> T) -> Option<T> {
        self.endings.lock().unwrap_or_else(PoisonError::into_inner)[shown].as_ref().map(read)
    }

    /// The steps that made something else under the same key, each with the first path that differs.
    pub fn unstable(&self) -> Vec<String> {
        let endings = self.endings.lock().unwrap_or_else(PoisonError::into_inner);
        let all = self.plan.shown.iter().zip(endings.iter());
        all.filter_map(|(shown, ending)| {
            let why = &ending.as_ref().filter(|ending| ending.why.unstable)?.why;
            let set = why.output.as_ref();
            let first = set.and_then(|set| set.files.first()).map(|file| format!("/{}", file.words()));
            let more = set.map_or(0, |set| set.len().saturating_sub(1));
            Some(match (first, more) {
                (None, _) => shown.name.clone(),
                (Some(first), 0) => format!("{}: {first}", shown.name),
                (Some(first), more) => format!("{}: {first} and {more} more", shown.name),
            })
        })
        .collect()
    }

    /// Whether all that was made or found is what the next build finds.
    pub fn is_settled(&self) -> bool {
        let endings = self.endings.lock().unwrap_or_else(PoisonError::into_inner);
        endings
            .iter()
            .flatten()
            .all(|ending| matches!(ending.verdict, Verdict::Hit(_) | Verdict::Miss(_)) && !ending.why.unstable)
            && endings.iter().all(Option::is_some)
    }

    /// How the instructions ended.
    pub fn counts(&self) -> Counts {
        let endings = self.endings.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = no_counts(endings.len());
        for ending in endings.iter() {
            match ending.as_ref().map(|ending| ending.verdict) {
                Some(Verdict::Hit(_)) => counts.hits += 1,
                Some(Verdict::Miss(_)) => counts.misses += 1,
                Some(Verdict::Failed(_)) => counts.failed += 1,
                Some(Verdict::Cancelled) | None => counts.cancelled += 1,
            }
        }
        counts
    }

    /// All that is kept of the instructions, and their keys. It is given away: the book is empty then.
    pub fn take_steps(&self) -> (Vec<BuildStep>, Keys) {
        let mut endings = std::mem::take(&mut *self.endings.lock().unwrap_or_else(PoisonError::into_inner));
        let inputs = inputs(self.plan);
        let mut keys = Vec::with_capacity(endings.len());
        let steps = self.plan.shown.iter().zip(endings.iter_mut()).zip(inputs).map(|((shown, ending), inputs)| {
            let ending = ending.take().unwrap_or_else(|| Ending::new(Verdict::Cancelled));
            let key = ending.key.as_ref().map(Key::id);
            keys.push(ending.key.map(Key::into_components).unwrap_or_default());
            BuildStep {
                name: shown.name.clone(),
                stage: shown.stage.clone(),
                platform: shown.lane.clone(),
                instruction: shown.instruction.clone(),
                written: written(shown, self.file).into_owned(),
                line: shown.line,
                file: self.file.included(shown.span),
                inputs,
                verdict: ending.verdict,
                reason: ending.reason,
                key,
                layer: ending.layer,
                stack: ending.stack,
                duration: ending.duration,
                earlier: ending.earlier,
                why: ending.why,
                made: ending.made,
            }
        });
        (steps.collect(), keys)
    }
}

/// An instruction as it is written, without the credentials of the addresses that ADD fetches from; a trigger of a base
/// image is written in none of our files.
pub(crate) fn written<'t>(shown: &'t Shown, file: &'t File) -> Cow<'t, str> {
    let span = shown.span.start as usize..shown.span.end as usize;
    let text = match shown.line {
        0 => &shown.instruction,
        _ => file.sources.text().get(span).map_or(shown.instruction.as_str(), str::trim),
    };
    match shown.instruction.starts_with("RUN") {
        true => Cow::Borrowed(text),
        false => redact_all(text),
    }
}

/// For each instruction the instructions whose results it needs. An image that COPY reads is its own doing.
pub(super) fn inputs(plan: &Plan) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new(); plan.shown.len()];
    for (id, step) in plan.graph.nodes() {
        let of = |input| plan.graph.get(input).shown;
        all[step.shown].extend(plan.graph.inputs(id).map(of).filter(|&input| input != step.shown));
    }
    for (index, list) in all.iter_mut().enumerate() {
        list.sort_unstable();
        list.dedup();
        // An instruction without a layer of its own stands on the one before it.
        let shown = &plan.shown[index];
        if shown.node.is_none() && !shown.begins {
            list.extend(shown.previous);
        }
    }
    all
}

/// Whether a node is an image that another instruction reads, and not an instruction itself.
pub(crate) fn is_read_by_another(plan: &Plan, id: crate::graph::NodeId) -> bool {
    let step = plan.graph.get(id);
    matches!(step.kind, StepKind::Base(_)) && plan.shown.get(step.shown).is_some_and(|shown| shown.node != Some(id))
}

/// The ending of an instruction that only changes the configuration.
pub(crate) fn configuration(why: Why) -> Ending {
    let mut ending = Ending::new(Verdict::Hit(Hit::Configuration));
    if let Some(change) = why.changes.first() {
        ending.reason = format!("{}: {}", Hit::Configuration.word(), change.words());
    }
    ending.why = why;
    ending
}
