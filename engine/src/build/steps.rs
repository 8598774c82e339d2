//! Settles and runs the steps of a plan: key, look-up, execution, record, and what is said of each.
//!
//! A step's result is a snapshot. A hit takes the recorded layer; a step that runs and makes the same
//! layer again leaves everything behind it a hit, because a snapshot is named by its layers' trees.

use super::bases::Bases;
use super::context::BuildContext;
use super::copy_step::Made;
use super::{File, boxed, copy_step, keys, no_counts, run_step};
use crate::api::{BuildError, Cancel, Request};
use crate::digest::{LayerId, StepId};
use crate::event::{Counts, Event, Sink, Verdict};
use crate::graph::NodeId;
use crate::key::{self, Key, compare};
use crate::plan::{Plan, Step, StepKind};
use crate::schedule::{self, Work};
use crate::snapshot::{LookupError, Snapshot};
use crate::store::{ImageLayerRef, Record, Store, Used};
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath, disk::DirWriter};
use std::collections::HashMap;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The result of a step.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    /// What a step after this one sees.
    pub snapshot: Snapshot,
    /// The layers of an image that ends here, tars included where they exist.
    pub layers: Vec<ImageLayerRef>,
    /// When the layer was made; nanoseconds since 1970.
    pub created_nanos: i64,
}

/// What a step that misses needs to run.
pub(crate) struct Missed {
    key: Key,
    ids: [StepId; 2],
    reason: String,
    /// The layer of the nearest earlier execution.
    previous: Option<LayerId>,
    input: Input,
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
    fn trees(&self) -> Box<dyn Iterator<Item = &Tree> + '_> {
        match self {
            Input::None => Box::new(std::iter::empty()),
            Input::Copy(prepared) => Box::new(prepared.read().into_iter()),
            Input::Run(prepared) => Box::new(prepared.mounted.iter().map(|(_, tree)| tree)),
        }
    }
}

/// A running build's steps.
pub(crate) struct Steps<'a> {
    pub request: &'a Request,
    pub store: &'a Store,
    pub sink: &'a dyn Sink,
    pub cancel: &'a Cancel,
    pub file: &'a File,
    pub plan: &'a Plan,
    pub context: &'a BuildContext,
    pub bases: &'a Bases<'a>,
    project: String,
    done: Vec<OnceLock<Done>>,
    /// Which shown step made a layer in this build, for reasons.
    makers: Mutex<HashMap<LayerId, usize>>,
    verdicts: Mutex<Vec<Option<Verdict>>>,
}

impl<'a> Steps<'a> {
    #[expect(clippy::too_many_arguments, reason = "the parts of one build, each borrowed from its owner")]
    pub fn new(
        request: &'a Request,
        store: &'a Store,
        sink: &'a dyn Sink,
        cancel: &'a Cancel,
        file: &'a File,
        plan: &'a Plan,
        context: &'a BuildContext,
        bases: &'a Bases<'a>,
        root: &Path,
    ) -> Self {
        for (_, step) in plan.graph.nodes() {
            copy_step::announce_reach(step, context);
        }
        Steps {
            request,
            store,
            sink,
            cancel,
            file,
            plan,
            context,
            bases,
            project: format!("{}\0{}", super::context_name(root), file.name),
            done: plan.graph.nodes().map(|_| OnceLock::new()).collect(),
            makers: Mutex::new(HashMap::new()),
            verdicts: Mutex::new(vec![None; plan.shown.len()]),
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

    /// The result of a step that has one.
    pub fn result(&self, id: NodeId) -> Option<&Done> {
        self.done[id.index()].get()
    }

    /// The snapshot of a step, an empty one for none.
    pub fn snapshot(&self, id: Option<NodeId>) -> Snapshot {
        id.and_then(|id| self.result(id)).map(|done| done.snapshot.clone()).unwrap_or_default()
    }

    /// How the steps ended.
    pub fn counts(&self) -> Counts {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut counts = no_counts(verdicts.len());
        for verdict in verdicts.iter() {
            match verdict {
                Some(Verdict::Hit) => counts.hits += 1,
                Some(Verdict::Miss) => counts.misses += 1,
                Some(Verdict::Failed) => counts.failed += 1,
                Some(Verdict::Cancelled) | None => counts.cancelled += 1,
            }
        }
        counts
    }

    fn finished(&self, shown: usize, verdict: Verdict, reason: String, duration: f64) {
        {
            let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
            if verdicts[shown].is_some() {
                return;
            }
            verdicts[shown] = Some(verdict);
        }
        self.sink.emit(Event::StepFinished { step: shown, verdict, reason, duration });
    }

    /// Instructions that only change the configuration are done as soon as what is before them is.
    fn show_trailing(&self, shown: usize, verdict: Verdict) {
        let rest = self.plan.shown.iter().enumerate().skip(shown + 1);
        let stage = &self.plan.shown[shown].stage;
        for (index, _) in rest.take_while(|(_, next)| next.node.is_none() && next.stage == *stage) {
            let reason = if verdict == Verdict::Hit { "configuration only" } else { "" };
            self.finished(index, verdict, reason.to_owned(), 0.0);
        }
    }

    /// The same for those that nothing goes before.
    fn show_leading(&self) {
        let mut before: Option<&str> = None;
        for (index, shown) in self.plan.shown.iter().enumerate() {
            let begins_stage = before != Some(shown.stage.as_str());
            before = Some(&shown.stage);
            if begins_stage && shown.node.is_none() {
                self.finished(index, Verdict::Hit, "configuration only".to_owned(), 0.0);
                self.show_trailing(index, Verdict::Hit);
            }
        }
    }

    fn succeed(&self, id: NodeId, step: &Step, done: Done, verdict: Verdict, reason: String, duration: f64) {
        if let Some(layer) = done.snapshot.layers().last() {
            let mut makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
            makers.entry(layer.id()).or_insert(step.shown);
        }
        let _ = self.done[id.index()].set(done);
        self.finished(step.shown, verdict, reason, duration);
        self.show_trailing(step.shown, Verdict::Hit);
    }

    /// A failure of this step for a reason outside its command.
    pub fn step_error(&self, step: &Step, error: impl std::error::Error + Send + Sync + 'static) -> BuildError {
        let shown = &self.plan.shown[step.shown];
        BuildError::Step { step: shown.name.clone(), place: Some(self.file.place(shown.span)), source: boxed(error) }
    }

    fn no_cache(&self, step: &Step) -> bool {
        self.request.no_cache || self.request.no_cache_filter.contains(&step.stage)
    }

    /// The two names of a step across builds: by its text, and by its place.
    fn step_ids(&self, step: &Step) -> [StepId; 2] {
        let text = &self.plan.shown[step.shown].instruction;
        let ordinal = step.ordinal.to_string();
        let by_text = key::step_id(&["text", &self.project, &step.stage, text]);
        let by_place = key::step_id(&["place", &self.project, &step.stage, &ordinal]);
        [by_text, by_place]
    }

    /// Looks a key up: the layer's result, or what running the step needs.
    fn look_up(&self, id: NodeId, step: &Step, key: Key, input: Input) -> Result<Option<Missed>, BuildError> {
        let failed = |error| super::store_error(&self.request.store, error);
        let ids = self.step_ids(step);
        let mut gone = false;
        if !self.no_cache(step)
            && let Some(record) = self.store.db().record(key.id()).map_err(failed)?
        {
            if let Some(layer) = self.store.layer(record.layer).map_err(failed)? {
                self.store.db().mark_used(Used::Record(key.id())).map_err(failed)?;
                let below = self.parent_done(step);
                self.succeed(
                    id,
                    step,
                    below.with(layer, record.created_nanos),
                    Verdict::Hit,
                    "same key".to_owned(),
                    0.0,
                );
                return Ok(None);
            }
            gone = true;
        }
        let (reason, previous) = self.why(step, &key, &ids, gone, &input).map_err(failed)?;
        Ok(Some(Missed { key, ids, reason, previous, input }))
    }

    fn parent_done(&self, step: &Step) -> Done {
        step.parent.and_then(|parent| self.result(parent)).cloned().unwrap_or_else(|| Done {
            snapshot: Snapshot::empty(),
            layers: Vec::new(),
            created_nanos: 0,
        })
    }

    /// The first reason for a miss, in words, and the layer of the nearest earlier execution.
    fn why(
        &self,
        step: &Step,
        key: &Key,
        ids: &[StepId],
        gone: bool,
        input: &Input,
    ) -> Result<(String, Option<LayerId>), crate::store::StoreError> {
        let mut nearest: Option<(usize, Record)> = None;
        for id in ids {
            for other in self.store.db().step_keys(*id)? {
                let Some(record) = self.store.db().record(other)? else { continue };
                let same = record.components.iter().filter(|one| key.components().contains(one)).count();
                if nearest.as_ref().is_none_or(|(most, _)| same > *most) {
                    nearest = Some((same, record));
                }
            }
            if nearest.is_some() {
                break;
            }
        }
        let previous = nearest.as_ref().map(|(_, record)| record.layer);
        let reason = match nearest {
            _ if self.no_cache(step) => "--no-cache".to_owned(),
            _ if gone => "its layer was pruned".to_owned(),
            None => "first build".to_owned(),
            Some((_, record)) => {
                // The new side's listings are not in the store before the step has run.
                let tree =
                    |id| input.trees().find(|tree| tree.id() == id).cloned().or_else(|| self.store.tree(id).ok()?);
                let all = compare::changes(&record.components, key.components(), &tree);
                match all.first() {
                    Some(change) => change.words(&|layer| self.maker(step, layer)),
                    None => "its record was lost".to_owned(),
                }
            }
        };
        Ok((reason, previous))
    }

    /// The name of the step that made a layer of `step`'s snapshot.
    fn maker(&self, step: &Step, layer: usize) -> Option<String> {
        let snapshot = self.snapshot(step.parent);
        let id = snapshot.layers().get(layer)?.id();
        let makers = self.makers.lock().unwrap_or_else(PoisonError::into_inner);
        makers.get(&id).map(|&shown| self.plan.shown[shown].instruction.clone())
    }

    /// Keeps what an execution made, and says so.
    fn keep(&self, id: NodeId, step: &Step, missed: Missed, made: Made, started: Instant) -> Result<(), BuildError> {
        let failed = |error| super::store_error(&self.request.store, error);
        let layer = self.store.commit_layer(&made.tree, made.staged, &made.below).map_err(failed)?;
        let created_nanos = nanos_now();
        let record = Record {
            components: missed.key.components().to_vec(),
            layer: layer.id(),
            name: self.plan.shown[step.shown].name.clone(),
            created_nanos,
            duration_ms: started.elapsed().as_millis() as u64,
        };
        let [by_text, by_place] = missed.ids;
        self.store.db().put_record(by_text, missed.key.id(), &record).map_err(failed)?;
        self.store.db().remember(by_place, missed.key.id()).map_err(failed)?;
        let done = self.parent_done(step).with(layer, created_nanos);
        self.succeed(id, step, done, Verdict::Miss, missed.reason, started.elapsed().as_secs_f64());
        Ok(())
    }

    fn settle_workdir(
        &self,
        id: NodeId,
        step: &Step,
        workdir: &crate::plan::WorkdirStep,
    ) -> Result<Option<Missed>, BuildError> {
        let snapshot = self.snapshot(step.parent);
        let owner = self.owner(&snapshot, &workdir.user).map_err(|error| self.step_error(step, error))?;
        let path = TreePath::new(&workdir.path);
        let state = keys::destination_state(&snapshot, &path, true).map_err(|error| self.step_error(step, error))?;
        self.look_up(id, step, Key::new("WORKDIR", keys::workdir(workdir, owner, state)), Input::None)
    }

    /// The numbers that `user[:group]` means in a snapshot; an unknown name is root, as in BuildKit.
    pub fn owner(&self, snapshot: &Snapshot, user: &str) -> Result<(u32, u32), LookupError> {
        if user.is_empty() {
            return Ok((0, 0));
        }
        let (passwd, group) = run_step::account_files(snapshot)?;
        Ok(run_step::owner_ids(user, passwd.as_deref(), group.as_deref()))
    }

    fn run_workdir(
        &self,
        id: NodeId,
        step: &Step,
        workdir: &crate::plan::WorkdirStep,
        missed: Missed,
        started: Instant,
    ) -> Result<(), BuildError> {
        let snapshot = self.snapshot(step.parent);
        let fail = |error: LookupError| self.step_error(step, error);
        let (uid, gid) = self.owner(&snapshot, &workdir.user).map_err(fail)?;
        let real = snapshot.resolve(&TreePath::new(&workdir.path), true).map_err(fail)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut makes = false;
        for path in real.ancestors().into_iter().chain([real]).filter(|path| !path.is_root()) {
            let kind = Kind::Dir { opaque: false };
            entries.push(match snapshot.lookup(&path).map_err(fail)? {
                Some(found) if found.file_type == crate::snapshot::Type::Dir => Entry {
                    path,
                    kind,
                    mode: found.mode,
                    uid: found.uid,
                    gid: found.gid,
                    xattrs: found.xattrs,
                    mtime: found.mtime,
                },
                Some(_) => return Err(fail(LookupError::NotADirectory { path })),
                None => {
                    makes = true;
                    Entry { path, kind, mode: 0o755, uid, gid, xattrs: Vec::new(), mtime: mtime_now() }
                }
            });
        }
        if !makes {
            entries.clear();
        }
        let tree = Tree::new(entries);
        let store_failed = |error| super::store_error(&self.request.store, error);
        let staged = self.store.stage().map_err(store_failed)?;
        let write = || -> Result<(), crate::tree::disk::Error> {
            let mut writer = DirWriter::new(staged.path())?;
            for entry in tree.entries() {
                writer.mkdir(entry)?;
            }
            writer.finish()
        };
        write().map_err(|error| self.step_error(step, error))?;
        self.keep(id, step, missed, Made::whole(tree, staged), started)
    }
}

impl Done {
    /// This result with one more layer.
    fn with(&self, layer: std::sync::Arc<crate::store::Layer>, created_nanos: i64) -> Done {
        let mut layers = self.layers.clone();
        layers.push(ImageLayerRef { id: layer.id(), blob: None });
        Done { snapshot: self.snapshot.with(layer), layers, created_nanos }
    }
}

impl Work<Step> for Steps<'_> {
    type Pending = Missed;
    type Error = BuildError;

    fn settle(&self, id: NodeId, step: &Step) -> Result<Option<Missed>, BuildError> {
        if self.cancel.is_cancelled() {
            return Err(BuildError::Cancelled);
        }
        let result = match &step.kind {
            StepKind::Base(base) => match self.bases.known(base)? {
                Some(done) => {
                    self.succeed(id, step, done, Verdict::Hit, "in the store".to_owned(), 0.0);
                    Ok(None)
                }
                None => {
                    let key = Key::new("FROM", Vec::new());
                    let ids = self.step_ids(step);
                    let reason = "not in the store".to_owned();
                    Ok(Some(Missed { key, ids, reason, previous: None, input: Input::None }))
                }
            },
            StepKind::Workdir(workdir) => self.settle_workdir(id, step, workdir),
            StepKind::Copy(copy) => {
                let (components, prepared) = self.prepare_copy(step, copy)?;
                self.look_up(id, step, Key::new("COPY", components), Input::Copy(prepared))
            }
            StepKind::Run(run) => {
                let (components, prepared) = self.prepare_run(step, run)?;
                self.look_up(id, step, Key::new("RUN", components), Input::Run(prepared))
            }
        };
        if result.is_err() {
            self.finished(step.shown, Verdict::Failed, String::new(), 0.0);
        }
        result
    }

    fn run(&self, id: NodeId, step: &Step, mut missed: Missed) -> Result<(), BuildError> {
        if self.cancel.is_cancelled() {
            self.finished(step.shown, Verdict::Cancelled, String::new(), 0.0);
            return Err(BuildError::Cancelled);
        }
        let started = Instant::now();
        self.sink.emit(Event::StepStarted { step: step.shown, reason: missed.reason.clone() });
        let input = std::mem::replace(&mut missed.input, Input::None);
        let result = match (&step.kind, input) {
            (StepKind::Base(base), _) => self.bases.fetch(base).map(|done| {
                let duration = started.elapsed().as_secs_f64();
                self.succeed(id, step, done, Verdict::Miss, missed.reason, duration);
            }),
            (StepKind::Workdir(workdir), _) => self.run_workdir(id, step, workdir, missed, started),
            (StepKind::Copy(copy), Input::Copy(prepared)) => self
                .run_copy(step, copy, &prepared, missed.previous)
                .and_then(|made| self.keep(id, step, missed, made, started)),
            (StepKind::Run(run), Input::Run(prepared)) => self
                .run_command(step, run, &prepared)
                .and_then(|(tree, staged)| self.keep(id, step, missed, Made::whole(tree, staged), started)),
            (StepKind::Copy(_) | StepKind::Run(_), _) => unreachable!("settling a step gives the input of its kind"),
        };
        if let Err(error) = &result {
            let cancelled = matches!(error, BuildError::Cancelled);
            let verdict = if cancelled { Verdict::Cancelled } else { Verdict::Failed };
            let reason = match error {
                BuildError::StepFailed { exit, .. } => exit.to_string(),
                _ => String::new(),
            };
            self.finished(step.shown, verdict, reason, started.elapsed().as_secs_f64());
        }
        result
    }

    fn dropped(&self, _: NodeId, step: &Step) {
        self.finished(step.shown, Verdict::Cancelled, String::new(), 0.0);
        self.show_trailing(step.shown, Verdict::Cancelled);
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
