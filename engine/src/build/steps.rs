//! Settles and runs the steps of a plan: key, look-up, execution, record, and what is said of each.
//!
//! A step's result is a snapshot. A hit takes the recorded layer; a step that runs and makes the same
//! layer again leaves everything behind it a hit, because a snapshot is named by its layers' trees.

mod keep;
mod look_up;
mod workdir;

use super::agents::Agents;
use super::baseline::Baseline;
use super::bases::Bases;
use super::bind_mount::Laid;
use super::book::{self, Book, Ending};
use super::context::BuildContext;
use super::record::Begun;
use super::why::{Reason, Root};
use super::workshop::Failures;
use super::{File, Stops, boxed, copy_step, declared, keys, run_step};
use crate::api::{BuildError, Cancel, Request};
use crate::digest::{KeyId, StepId};
use crate::event::{Event, Sink, Stream};
use crate::explain::secrecy::SecretArguments;
use crate::explain::{Hit, Miss, Verdict, Why};
use crate::graph::NodeId;
use crate::key::{self, Component, Key};
use crate::plan::{Base, ContextId, Origin, Plan, SourceStep, Step, StepKind};
use crate::schedule::{self, Work};
use crate::snapshot::Snapshot;
use crate::source::Fetcher;
use crate::stack::Stacks;
use crate::store::logs::LogBuffer;
use crate::store::{ImageLayerRef, Layer, Record, Store};
use crate::tree::{Mtime, Tree};
use kiln_dsl::platform::Platform;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The result of a step.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// What a step after this one sees.
    pub snapshot: Snapshot,
    /// The lowest of the layers as the base image has them, with their tars.
    pub base: Arc<[ImageLayerRef]>,
    /// When the layer was made; nanoseconds since 1970.
    pub created_nanos: i64,
    /// Whether the last layer is the step's own.
    pub has_layer: bool,
}

/// What a step that misses needs to run.
pub(crate) struct Missed {
    pub key: Key,
    ids: [StepId; 3],
    pub reason: Reason,
    pub input: Input,
    /// The result that is to be compared with what a new execution makes.
    verify: Option<Box<Verified>>,
}

/// A hit that is tried again.
struct Verified {
    hit: Hit,
    record: Record,
    /// The execution whose trace allowed it.
    traced: Option<KeyId>,
    /// Whether that is not in the records yet.
    is_new: bool,
}

/// What is noted of a step's result for the steps behind it.
#[derive(Clone, Debug, Default)]
struct Note {
    /// The instruction that made the result another one than before; `None` where it is the same.
    root: Option<Root>,
    /// Whether something ran for it, and came out the same.
    was_cut_off: bool,
}

/// What settling a step found out and running it needs again.
pub(crate) enum Input {
    /// Nothing.
    None,
    /// The files of a COPY.
    Copy(copy_step::Prepared),
    /// The mounts of a RUN.
    Run(run_step::Prepared),
}

impl Input {
    /// The listings of what a step reads.
    pub fn trees(&self) -> Box<dyn Iterator<Item = &Tree> + '_> {
        match self {
            Input::None => Box::new(std::iter::empty()),
            Input::Copy(prepared) => Box::new(prepared.read().into_iter()),
            Input::Run(prepared) => Box::new(prepared.mounted.iter().map(|(_, tree)| tree).chain(&prepared.listings)),
        }
    }
}

/// A running build's steps.
pub(crate) struct Steps<'a> {
    parts: Parts<'a>,
    /// The steps, by their places, that failed and may end otherwise the next time.
    pub fickle: Mutex<HashSet<usize>>,
    /// The nodes that were not run, because they have failed before.
    given_up: Mutex<HashSet<NodeId>>,
    /// The handles of the steps that run, where each has its own.
    cancels: Vec<OnceLock<Cancel>>,
    /// For each instruction those behind it that only change the configuration.
    followers: Vec<Vec<usize>>,
    done: Vec<OnceLock<Done>>,
    notes: Vec<OnceLock<Note>>,
    /// Finds where stacks of layers differ.
    pub stacks: Stacks<'a>,
    /// The values that are told by the names of their arguments.
    pub secrets: SecretArguments,
    /// What bind mounts from contexts show, by the context and the source as written.
    pub laid: Mutex<HashMap<(ContextId, String), Arc<Laid>>>,
    /// Set once it was said that steps cannot be watched here.
    pub untraced: OnceLock<()>,
    /// Set once it was said that whom steps talk to cannot be told here.
    pub untold: OnceLock<()>,
    /// What running steps have written so far, by their places.
    logs: Mutex<HashMap<usize, LogBuffer>>,
}

/// The parts of one build, each borrowed from its owner.
#[derive(Clone, Copy)]
pub(crate) struct Parts<'a> {
    pub request: &'a Request,
    pub store: &'a Store,
    pub sink: &'a dyn Sink,
    pub cancel: &'a Cancel,
    pub stops: Option<&'a Stops>,
    /// What failed before, where that is not to be tried again.
    pub failures: Option<&'a Failures>,
    pub file: &'a File,
    pub plan: &'a Plan,
    pub contexts: &'a [BuildContext],
    pub bases: &'a Bases<'a>,
    pub fetcher: &'a Fetcher<'a>,
    pub agents: &'a Agents<'a>,
    pub book: &'a Book<'a>,
    pub baseline: &'a Baseline,
    pub begun: &'a Begun,
}

impl<'a> std::ops::Deref for Steps<'a> {
    type Target = Parts<'a>;

    fn deref(&self) -> &Parts<'a> {
        &self.parts
    }
}

impl<'a> Steps<'a> {
    pub fn new(parts: Parts<'a>) -> Self {
        let plan = parts.plan;
        for (_, step) in plan.graph.nodes() {
            copy_step::announce_reach(step, parts.contexts);
        }
        Steps {
            parts,
            fickle: Mutex::default(),
            given_up: Mutex::default(),
            cancels: plan.shown.iter().map(|_| OnceLock::new()).collect(),
            followers: plan.followers(),
            done: plan.graph.nodes().map(|_| OnceLock::new()).collect(),
            notes: plan.graph.nodes().map(|_| OnceLock::new()).collect(),
            stacks: Stacks::new(|id| parts.store.db().stack(id).ok().flatten()),
            secrets: super::secret_arguments(parts.request),
            laid: Mutex::default(),
            untraced: OnceLock::new(),
            untold: OnceLock::new(),
            logs: Mutex::default(),
        }
    }

    /// Runs what has to run. The first failure is the build's.
    pub fn execute(&self) -> Result<(), BuildError> {
        self.show_leading();
        let jobs = self.request.jobs.map_or_else(default_jobs, std::num::NonZeroUsize::get);
        let mut errors = schedule::execute(&self.plan.graph, self, jobs);
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        match errors.is_empty() {
            true => Ok(()),
            false => Err(errors.swap_remove(0)),
        }
    }

    /// A directory of the host that the build reads.
    pub fn context(&self, id: ContextId) -> &BuildContext {
        &self.contexts[id.0]
    }

    /// Whether no step may begin any more.
    fn is_stopped(&self) -> bool {
        self.cancel.is_cancelled() || self.stops.is_some_and(Stops::is_closed)
    }

    /// The handle that stops a running step.
    pub fn cancel_of(&self, step: &Step) -> &Cancel {
        self.cancels[step.shown].get().unwrap_or(self.cancel)
    }

    /// Gives a step that begins a handle of its own, where steps are stopped singly; says whether it may begin.
    fn begin(&self, step: &Step) -> Result<bool, BuildError> {
        let Some(stops) = self.stops else { return Ok(!self.cancel.is_cancelled()) };
        match stops.begin(step.shown).map_err(|error| self.step_error(step, error))? {
            Some(cancel) => {
                let _ = self.cancels[step.shown].set(cancel);
                Ok(!self.cancel.is_cancelled())
            }
            None => Ok(false),
        }
    }

    /// The result of a step that has one.
    pub fn result(&self, id: NodeId) -> Option<&Done> {
        self.done[id.index()].get()
    }

    /// The snapshot of a step, an empty one for none.
    pub fn snapshot(&self, id: Option<NodeId>) -> Snapshot {
        id.and_then(|id| self.result(id)).map(|done| done.snapshot.clone()).unwrap_or_default()
    }

    /// Instructions that only change the configuration are done as soon as what is before them is.
    pub fn show_trailing(&self, shown: usize, is_cancelled: bool) {
        let mut next: Vec<usize> = self.followers[shown].iter().rev().copied().collect();
        while let Some(index) = next.pop() {
            let ending = match is_cancelled {
                true => Ending::new(Verdict::Cancelled),
                false => book::configuration(self.configuration_change(index)),
            };
            self.book.finish(index, ending);
            next.extend(self.followers[index].iter().rev());
        }
    }

    /// The same for those that nothing goes before.
    pub fn show_leading(&self) {
        for (index, shown) in self.plan.shown.iter().enumerate() {
            if shown.begins && shown.node.is_none() {
                self.book.finish(index, book::configuration(self.configuration_change(index)));
                self.show_trailing(index, false);
            }
        }
    }

    /// Takes a step's result, and says how it came.
    pub(super) fn succeed(&self, id: NodeId, step: &Step, done: Done, ending: Ending) {
        let is_own = !book::is_read_by_another(self.plan, id);
        let _ = self.notes[id.index()].set(self.note(step, &ending));
        self.keep_stack(step, &done.snapshot);
        let stack = (done.snapshot.count() > 0).then(|| done.snapshot.id());
        let _ = self.done[id.index()].set(done);
        if is_own {
            self.book.finish(step.shown, Ending { stack, ..ending });
            self.show_trailing(step.shown, false);
        }
    }

    /// Lets the store know the layers of a result, whose identity alone is kept with the build and in keys. What it does
    /// not know only makes an explanation poorer.
    fn keep_stack(&self, step: &Step, snapshot: &Snapshot) {
        if self.baseline.old(step.shown).is_some_and(|old| old.stack == Some(snapshot.id())) {
            return;
        }
        let parent = step.parent.and_then(|parent| self.result(parent)).map(|done| done.snapshot.id());
        let mut next = Some(snapshot);
        while let Some(snapshot) = next.filter(|snapshot| Some(snapshot.id()) != parent) {
            let (Some(layer), Some(below)) = (snapshot.stack().top(), snapshot.below()) else { return };
            if !matches!(self.store.db().stack(snapshot.id()), Ok(None)) {
                return;
            }
            let _unkept = self.store.db().put_stack(snapshot.id(), below.id(), layer);
            next = Some(below);
        }
    }

    fn note(&self, step: &Step, ending: &Ending) -> Note {
        let parent = step.parent.and_then(|parent| self.notes[parent.index()].get()).cloned().unwrap_or_default();
        let old = self.baseline.old(step.shown);
        let is_another = old.is_none_or(|old| old.layer != ending.layer);
        let by_itself = || self.own_root_of(step, &ending.why);
        match ending.verdict {
            Verdict::Miss(_) if ending.why.same_output => Note { was_cut_off: true, ..parent },
            Verdict::Miss(_) | Verdict::Failed(_) => Note { root: Some(by_itself()), was_cut_off: false },
            _ if !ending.why.changes.is_empty() => Note { root: Some(by_itself()), was_cut_off: false },
            _ if is_another && self.baseline.is_new_or_moved(step.shown) => {
                Note { root: Some(self.root_at(step.shown)), was_cut_off: false }
            }
            _ => Note { root: parent.root, was_cut_off: ending.verdict == Verdict::Hit(Hit::EarlyCutoff) },
        }
    }

    /// The instruction with which a step's own result began to be another.
    fn own_root_of(&self, step: &Step, why: &Why) -> Root {
        match why.dragged.first() {
            Some(dragged) if super::why::own_change(why).is_none() => {
                Root { shown: dragged.root, name: dragged.name.clone() }
            }
            _ => self.root_at(step.shown),
        }
    }

    /// With which instruction a step's result began to be another than before, if it is.
    pub fn root_of(&self, id: Option<NodeId>) -> Option<Root> {
        self.notes[id?.index()].get()?.root.clone()
    }

    /// Whether something that the step's key depends on ran again and came out the same.
    fn is_cut_off(&self, id: NodeId, step: &Step) -> bool {
        let was_cut_off = |id: NodeId| self.notes[id.index()].get().is_some_and(|note| note.was_cut_off);
        match &step.kind {
            StepKind::Run(_) | StepKind::Merge(_) => self.plan.graph.inputs(id).any(was_cut_off),
            StepKind::Copy(copy) => match copy.origin {
                Origin::Step { node, .. } => node.is_some_and(was_cut_off),
                _ => false,
            },
            StepKind::Base(_) | StepKind::Source(_) | StepKind::Workdir(_) => false,
        }
    }

    /// A step's key, as it is looked up, kept and told.
    pub fn key(&self, kind: &'static str, components: Vec<Component>) -> Key {
        Key::new(kind, components.into_iter().map(|component| component.without(&self.secrets)).collect())
    }

    /// A failure of this step for a reason outside its command.
    pub fn step_error(&self, step: &Step, error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
        let shown = &self.plan.shown[step.shown];
        BuildError::Step { step: shown.name.clone(), place: Some(self.file.place(shown.span)), source: boxed(error) }
    }

    pub(super) fn no_cache(&self, step: &Step) -> bool {
        self.request.no_cache || self.request.no_cache_filter.contains(&step.stage)
    }

    /// The names of a step across builds: by its text, by its place, and by its text in whatever project.
    pub(super) fn step_ids(&self, step: &Step) -> [StepId; 3] {
        let shown = &self.plan.shown[step.shown];
        let text = &shown.instruction;
        let ordinal = step.ordinal.to_string();
        let (context, file) = (self.begun.context.as_str(), self.begun.dockerfile.as_str());
        // What is for this machine is known as it was before there were others.
        let is_own = shown.lane.is_empty() || shown.lane == Platform::host().to_string();
        let id = |parts: &[&str]| match is_own {
            true => key::step_id(parts),
            false => key::step_id(&[parts, &[shown.lane.as_str()]].concat()),
        };
        let by_text = id(&["text", context, file, &step.stage, text]);
        let by_place = id(&["place", context, file, &step.stage, &ordinal]);
        let anywhere = id(&["anywhere", &step.stage, text]);
        [by_text, by_place, anywhere]
    }

    pub(super) fn parent_done(&self, step: &Step) -> Done {
        match &step.kind {
            StepKind::Merge(merge) => self.stacked(step, merge),
            _ => step.parent.and_then(|parent| self.result(parent)).cloned().unwrap_or_else(Done::empty),
        }
    }

    /// The result of a step whose layer is this one. A merge that states nothing again adds none.
    fn done(&self, step: &Step, layer: Arc<Layer>, created_nanos: i64) -> Result<Done, BuildError> {
        let failed = |error| super::store_error(&self.request.store, error);
        let below = self.parent_done(step);
        match step.kind {
            StepKind::Merge(_) if layer.tree().map_err(failed)?.is_empty() => Ok(Done { created_nanos, ..below }),
            _ => Ok(below.with(layer, created_nanos)),
        }
    }

    /// Takes what a running step wrote: for whoever watches, and for later.
    pub fn wrote(&self, shown: usize, stream: Stream, text: String) {
        self.logs.lock().unwrap_or_else(PoisonError::into_inner).entry(shown).or_default().push(stream, &text);
        self.sink.emit(Event::StepLog { step: shown, stream, text });
    }

    /// Keeps what a step wrote. That it cannot be kept is no reason to fail a step.
    fn keep_log(&self, shown: usize, key: &Key) {
        let log = self.logs.lock().unwrap_or_else(PoisonError::into_inner).remove(&shown);
        if let Some(log) = log.filter(|log| !log.is_empty()) {
            let _unkept = self.store.put_log(key.id(), log);
        }
    }

    /// The ending of a base whose layers are there.
    fn base_ending(&self, step: &Step, base: &Base, done: &Done, ran: bool, started: Instant) -> Ending {
        let key = Key::new("FROM", keys::base(base, &done.snapshot));
        self.given_ending(step, key, done, ran, started)
    }

    /// The ending of a step whose key is what it gave, compared with what it gave before.
    pub(super) fn given_ending(&self, step: &Step, key: Key, done: &Done, ran: bool, started: Instant) -> Ending {
        let old = self.baseline.components(self.store, step.shown);
        let mut why = Why::default();
        if !old.is_empty() && Key::id_of(old) != key.id() {
            let found = crate::explain::compare::compare(old, key.components(), &|_| None, &self.stacks);
            why.changes = found.changes;
        }
        let mut ending = match ran {
            true if why.changes.is_empty() => Ending::new(Verdict::Miss(Miss::FirstTime)),
            true => Ending::new(Verdict::Miss(Miss::Changed)),
            false => Ending::new(Verdict::Hit(Hit::Local)),
        };
        if let Some(change) = why.changes.first() {
            ending.reason = format!("{}: {}", ending.reason, change.words());
        }
        let layer = done.snapshot.stack().top();
        let duration = if ran { started.elapsed().as_secs_f64() } else { 0.0 };
        Ending { duration, layer, key: Some(key), why, ..ending }
    }
}

impl Done {
    /// The result of nothing.
    pub(super) fn empty() -> Done {
        Done { snapshot: Snapshot::empty(), base: Arc::default(), created_nanos: 0, has_layer: false }
    }

    /// This result with one more layer.
    pub(super) fn with(&self, layer: Arc<Layer>, created_nanos: i64) -> Done {
        Done { snapshot: self.snapshot.with(layer), base: Arc::clone(&self.base), created_nanos, has_layer: true }
    }

    /// The layers of an image that ends here, each with what the image says of it. The host's own files are in none.
    pub(super) fn image_layers(&self) -> Vec<(Arc<Layer>, ImageLayerRef)> {
        let own = |layer: &Layer| ImageLayerRef { id: layer.id(), blob: None };
        let layers = self.snapshot.layers().into_iter().filter(|layer| !layer.is_host()).enumerate();
        layers
            .map(|(at, layer)| (Arc::clone(layer), self.base.get(at).cloned().unwrap_or_else(|| own(layer))))
            .collect()
    }
}

impl Work<Step> for Steps<'_> {
    type Pending = Missed;
    type Name = KeyId;
    type Error = BuildError;

    fn settle(&self, id: NodeId, step: &Step) -> Result<Option<Missed>, BuildError> {
        if self.is_stopped() {
            return Err(BuildError::Cancelled);
        }
        let result = match &step.kind {
            StepKind::Base(base) => match self.bases.known(base)? {
                Some(done) => {
                    let ending = self.base_ending(step, base, &done, false, Instant::now());
                    self.succeed(id, step, done, ending);
                    Ok(None)
                }
                None => {
                    let key = Key::new("FROM", Vec::new());
                    let reason = Reason { words: "not in the store".to_owned(), ..Reason::plain(Miss::FirstTime) };
                    Ok(Some(Missed { key, ids: self.step_ids(step), reason, input: Input::None, verify: None }))
                }
            },
            StepKind::Source(source) => self.settle_source(id, step, source).map(|settled| {
                let key = || Key::new("SOURCE", Vec::new());
                let reason = Reason::plain(Miss::FirstTime);
                (!settled).then(|| Missed {
                    key: key(),
                    ids: self.step_ids(step),
                    reason,
                    input: Input::None,
                    verify: None,
                })
            }),
            StepKind::Workdir(workdir) => self.settle_workdir(id, step, workdir),
            StepKind::Merge(merge) => self.settle_merge(id, step, merge),
            StepKind::Copy(copy) => {
                let (components, prepared) = self.prepare_copy(step, copy)?;
                self.look_up(id, step, self.key("COPY", components), Input::Copy(prepared))
            }
            StepKind::Run(run) => {
                let (components, prepared) = self.prepare_run(step, run)?;
                self.look_up(id, step, self.key("RUN", components), Input::Run(prepared))
            }
        };
        if let Err(error) = &result
            && !declared::is_for_the_build(error)
        {
            // It failed before its key was known.
            self.book.finish(step.shown, Ending { reason: String::new(), ..Ending::new(Verdict::Failed(None)) });
        }
        result
    }

    /// The key, where a result under it would make this step a hit.
    fn name(&self, step: &Step, missed: &Missed) -> Option<KeyId> {
        let runs_anyway = self.no_cache(step)
            || declared::runs_always(step)
            || missed.verify.is_some()
            || self.refused_miss(step, missed).is_some();
        match &step.kind {
            StepKind::Base(_) | StepKind::Source(_) => None,
            _ => Some(missed.key.id()).filter(|_| !runs_anyway),
        }
    }

    fn run(&self, id: NodeId, step: &Step, mut missed: Missed) -> Result<(), BuildError> {
        if !self.begin(step)? {
            self.book.finish(step.shown, Ending::new(Verdict::Cancelled));
            return Err(BuildError::Cancelled);
        }
        let started = Instant::now();
        if let Some(error) = self.refused_miss(step, &missed) {
            let ending = Ending { verdict: Verdict::Failed(Some(missed.reason.cause)), ..Ending::of_miss(&missed) };
            self.book.finish(step.shown, ending);
            return Err(error);
        }
        if let Some(error) = self.failed_before(id, step, &missed) {
            return Err(error);
        }
        // A source that turns out to be unchanged never starts.
        if !matches!(step.kind, StepKind::Source(_)) {
            self.sink.emit(Event::StepStarted { step: step.shown, reason: missed.reason.words.clone() });
        }
        let input = std::mem::replace(&mut missed.input, Input::None);
        let (key, reason) = (missed.key.clone(), missed.reason.clone());
        let result = match (&step.kind, input) {
            (StepKind::Base(base), _) => self.bases.fetch(base).map(|done| {
                let ending = self.base_ending(step, base, &done, true, started);
                self.succeed(id, step, done, ending);
            }),
            (StepKind::Source(SourceStep::Remote(source)), _) => self.run_source(id, step, source, started),
            (StepKind::Source(SourceStep::Layer(_)), _) => unreachable!("what is in the store is settled"),
            (StepKind::Workdir(workdir), _) => self.run_workdir(id, step, workdir, missed, started),
            (StepKind::Merge(merge), _) => self.run_merge(id, step, merge, missed, started),
            (StepKind::Copy(copy), Input::Copy(prepared)) => self
                .run_copy(step, copy, prepared, missed.reason.previous.map(|previous| previous.layer))
                .and_then(|made| self.keep(id, step, missed, made, started)),
            (StepKind::Run(run), Input::Run(prepared)) => self.run_command(step, run, &prepared).and_then(|made| {
                self.check_coverage(step, run, &prepared, made.trace.as_ref())?;
                self.keep(id, step, missed, made, started)
            }),
            (StepKind::Copy(_) | StepKind::Run(_), _) => unreachable!("settling a step gives the input of its kind"),
        };
        if let Some(stops) = self.stops {
            stops.end(step.shown);
        }
        self.keep_log(step.shown, &key);
        if let Err(error) = &result {
            self.remember_failure(step, &key, error);
            let ending = match error {
                BuildError::Cancelled => Ending::new(Verdict::Cancelled),
                error => {
                    let words = match error {
                        BuildError::StepFailed { exit, .. } => exit.to_string(),
                        _ => String::new(),
                    };
                    let key = Some(key).filter(|_| !matches!(step.kind, StepKind::Base(_) | StepKind::Source(_)));
                    Ending { reason: words, ..reason_ending(Verdict::Failed(Some(reason.cause)), reason, key) }
                }
            };
            self.book.finish(step.shown, Ending { duration: started.elapsed().as_secs_f64(), ..ending });
        }
        result
    }

    fn stops_others(&self, id: NodeId) -> bool {
        !self.given_up.lock().unwrap_or_else(PoisonError::into_inner).contains(&id)
    }

    fn dropped(&self, _: NodeId, step: &Step) {
        self.book.finish(step.shown, Ending::new(Verdict::Cancelled));
        self.show_trailing(step.shown, true);
    }
}

/// The ending of a step that ran for this reason.
fn reason_ending(verdict: Verdict, reason: Reason, key: Option<Key>) -> Ending {
    Ending {
        verdict,
        reason: reason.words,
        duration: 0.0,
        earlier: reason.previous.map(|previous| previous.duration),
        layer: None,
        stack: None,
        key,
        why: reason.why,
        made: None,
    }
}

/// Steps wait for the network and for each other more than they compute, and BuildKit sets no bound
/// at all: several for each core, and enough on small machines that no short branch waits.
fn default_jobs() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    (cores * 4).max(16)
}

/// Nanoseconds since 1970.
pub(crate) fn nanos_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The time now, as the file system keeps it.
pub(crate) fn mtime_now() -> Mtime {
    let now = nanos_now();
    Mtime { seconds: now / 1_000_000_000, nanos: (now % 1_000_000_000) as u32 }
}
