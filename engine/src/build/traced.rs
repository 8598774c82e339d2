//! RUN steps by what they were seen to depend on: watching one while it runs, and finding an earlier
//! execution whose every dependency is the same in the snapshot of now.
//!
//! Two look-ups. The *weak key* is the step's key without its parent; it leads to the last executions
//! that were watched. Each one's trace is then evaluated on the listings of the new parent; where it
//! holds, the recorded layer is stacked on the new parent as it is. Knows nothing of how a step is watched.

use super::declared;
use super::steps::Steps;
use crate::api::TraceMode;
use crate::digest::{KeyId, StepId};
use crate::event::Event;
use crate::explain::change::FILES_MAX;
use crate::explain::{FileSet, Unskipped, files};
use crate::key::declared::Parent;
use crate::key::{self, Component, Key};
use crate::plan::{RunStep, Step};
use crate::sandbox::{Listing, Lower, Stack, Traced, Tracer};
use crate::snapshot::{LookupError, Snapshot, resolve_with};
use crate::store::{Layer, Record, StoreError, Used};
use crate::trace::{Aspect, Recorder, Space, Stacked, Trace, View};
use crate::tree::{Entry, Tree, TreePath};
use kiln_dsl::mount::MountKind;
use std::sync::Arc;

/// The components of a key that a trace stands for.
fn is_traced(component: &Component) -> bool {
    component.label == "parent"
}

/// So many dependencies are looked at one by one sooner than the listings of then are read, which say which
/// of them need no look.
const FEW_DEPENDENCIES: usize = 1000;

/// Names the executions that differ at most in what a trace covers.
fn weak_id(key: &Key) -> StepId {
    let components = key.components().iter().filter(|one| !is_traced(one)).cloned().collect();
    key::step_id(&["traced", &Key::new("weak", components).id().to_hex()])
}

/// What of a step was looked at by kiln itself.
#[derive(Default)]
pub(super) struct Looked(std::cell::RefCell<Vec<(TreePath, Aspect)>>);

impl Looked {
    /// Notes a path.
    pub fn at(&self, path: &TreePath) {
        self.0.borrow_mut().push((path.clone(), Aspect::Entry));
    }

    /// Notes a file that was read, with the links that led to it.
    pub fn read(&self, snapshot: &Snapshot, path: &TreePath) -> Result<(), LookupError> {
        let real = resolve_with(path, true, &|path| {
            self.at(path);
            snapshot.lookup(path)
        })?;
        self.0.borrow_mut().push((real, Aspect::Content));
        Ok(())
    }
}

/// The listings of a snapshot's layers.
pub(super) fn view(snapshot: &Snapshot) -> Result<View<'_>, StoreError> {
    let layers = snapshot.layers().into_iter().map(|layer| stacked(layer)).collect::<Result<Vec<_>, _>>()?;
    Ok(View::new(layers))
}

fn stacked(layer: &Layer) -> Result<Stacked<'_>, StoreError> {
    Ok(match layer.is_host() {
        true => Stacked::Host { id: layer.id() },
        false => Stacked::Listed { id: layer.id(), tree: layer.tree()? },
    })
}

/// The layers of a snapshot as they are watched, the topmost first.
fn lowers(snapshot: &Snapshot) -> Result<Vec<Lower>, StoreError> {
    let lower = |layer: &Arc<Layer>| {
        let listing: Option<Arc<dyn Listing>> = match layer.is_host() {
            true => None,
            false => {
                layer.tree()?;
                Some(Arc::new(Listed(Arc::clone(layer))))
            }
        };
        Ok(Lower { dirs: layer.dirs().to_vec(), listing })
    };
    snapshot.from_top().map(lower).collect()
}

/// A layer whose listing was read.
#[derive(Debug)]
struct Listed(Arc<Layer>);

impl Listing for Listed {
    fn entries(&self) -> &[Entry] {
        self.0.tree().map_or(&[], Tree::entries)
    }
}

/// What of an earlier execution's dependencies is not the same here.
pub(super) enum Unlike {
    /// It was not watched, or that cannot be said any more.
    Unknown,
    /// These files.
    Files(FileSet),
    /// None, and yet it is not to be skipped.
    Nothing(Unskipped),
}

/// An earlier execution whose result is the right one here.
pub(super) struct TracedHit {
    /// The execution.
    pub from: KeyId,
    pub record: Record,
    pub layer: Arc<Layer>,
}

impl Steps<'_> {
    /// Looks for an earlier execution whose every dependency is the same here.
    pub(super) fn look_up_traced(
        &self,
        step: &Step,
        snapshot: &Snapshot,
        key: &Key,
    ) -> Result<Option<TracedHit>, StoreError> {
        let mode = match (self.request.trace, declared::parent(step)) {
            (TraceMode::Off, _) | (_, Parent::Whole | Parent::Ignored) => return Ok(None),
            (_, Parent::Traced) => TraceMode::All,
            (mode, Parent::Usual) => mode,
        };
        let candidates = self.store.db().step_keys(weak_id(key))?;
        if candidates.is_empty() {
            return Ok(None);
        }
        let new = view(snapshot)?;
        for candidate in candidates {
            let Some(trace) = self.store.db().trace(candidate)? else { continue };
            if !is_usable(&trace, mode) || !self.holds(&trace, &new)? {
                continue;
            }
            let Some(mut record) = self.store.db().record(candidate)? else { continue };
            let Some(layer) = self.store.layer(record.layer)? else { continue };
            self.store.db().mark_used(Used::Record(candidate))?;
            record.components = key.components().to_vec();
            return Ok(Some(TracedHit { from: candidate, record, layer }));
        }
        Ok(None)
    }

    /// What of all that the newest watched execution depended on is not the same here, beside another parent.
    pub(super) fn unlike(&self, step: &Step, snapshot: &Snapshot, key: &Key) -> Result<Unlike, StoreError> {
        if self.request.trace == TraceMode::Off || declared::parent(step) == Parent::Ignored {
            return Ok(Unlike::Unknown);
        }
        let mut incomplete = None;
        for candidate in self.store.db().step_keys(weak_id(key))? {
            let Some(mut trace) = self.store.db().trace(candidate)? else { continue };
            if let Some(reason) = trace.incomplete.take() {
                incomplete = incomplete.or(Some((reason, trace)));
                continue;
            }
            if trace.networked && self.holds(&trace, &view(snapshot)?)? {
                return Ok(Unlike::Nothing(Unskipped::Networked));
            }
            let set = self.differences(&trace, snapshot)?.filter(|set| !set.is_empty());
            return Ok(set.map_or(Unlike::Unknown, Unlike::Files));
        }
        if let Some((reason, trace)) = incomplete
            && self.holds(&trace, &view(snapshot)?)?
        {
            return Ok(Unlike::Nothing(Unskipped::Incomplete(reason)));
        }
        Ok(Unlike::Unknown)
    }

    /// The files that a trace names and that are others here; `None` where its layers are lost.
    fn differences(&self, trace: &Trace, snapshot: &Snapshot) -> Result<Option<FileSet>, StoreError> {
        let new = view(snapshot)?;
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for space in trace.spaces.iter().filter(|space| space.name.is_empty()) {
            let (trees, is_whole) = self.earlier_layers(space, &new)?;
            let Some(old) = earlier_view(space, &new, &trees, is_whole) else { return Ok(None) };
            for different in space.differences(Some(&old), &new).take(FILES_MAX) {
                let mut paths = vec![different.path.clone()];
                if different.aspect == Aspect::Listing {
                    let (was, is) = (old.names(&different.path), new.names(&different.path));
                    let other = |names: &[Box<[u8]>], name: &[u8]| !names.iter().any(|known| **known == *name);
                    let gone = was.iter().filter(|name| other(&is, name));
                    let come = is.iter().filter(|name| other(&was, name));
                    paths = gone.chain(come).map(|name| different.path.join(name)).collect();
                }
                before.extend(paths.iter().filter_map(|path| old.entry(path)));
                after.extend(paths.iter().filter_map(|path| new.entry(path)));
            }
        }
        Ok(Some(files::diff(&Tree::new(before), &Tree::new(after))))
    }

    fn holds(&self, trace: &Trace, new: &View<'_>) -> Result<bool, StoreError> {
        for space in &trace.spaces {
            let few = space.dependencies.len() <= FEW_DEPENDENCIES;
            let (trees, is_whole) = if few { (Vec::new(), false) } else { self.earlier_layers(space, new)? };
            let old = earlier_view(space, new, &trees, is_whole);
            if space.first_difference(old.as_ref(), new).is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The listings of a space's layers that are not in `new` at the same place; `false` where one is lost.
    fn earlier_layers(&self, space: &Space, new: &View<'_>) -> Result<(Vec<Tree>, bool), StoreError> {
        let common = common(space, new);
        let mut trees = Vec::new();
        for id in space.layers.iter().skip(common) {
            match self.store.tree(*id)? {
                Some(tree) => trees.push(tree),
                None => return Ok((trees, false)),
            }
        }
        Ok((trees, true))
    }

    /// Prepares to watch a step whose root has these layers above its snapshot. A kernel that cannot is said once; the
    /// step then depends on its whole snapshot.
    pub(super) fn tracer(
        &self,
        run: &RunStep,
        above: Vec<Lower>,
        snapshot: &Snapshot,
    ) -> Result<Option<Tracer>, StoreError> {
        // Without a filter of its system calls a step may mount and unmount as it likes.
        if self.request.trace == TraceMode::Off || run.insecure {
            return Ok(None);
        }
        let attributes = view(snapshot)?.has_attributes();
        let lowers = above.into_iter().chain(lowers(snapshot)?).collect();
        match Tracer::new(&[(Stack::Root, lowers, attributes)]) {
            Ok(tracer) => Ok(Some(tracer)),
            Err(reason) => {
                if self.untraced.set(()).is_ok() {
                    let message =
                        format!("RUN steps cannot be watched here, so each depends on all that is below it: {reason}");
                    self.sink.emit(Event::Warning { message });
                }
                Ok(None)
            }
        }
    }

    /// The trace of a step that has run and left this layer.
    pub(super) fn trace_of(
        &self,
        run: &RunStep,
        traced: Traced,
        looked: Looked,
        snapshot: &Snapshot,
        layer: &Tree,
    ) -> Result<Trace, StoreError> {
        let view = view(snapshot)?;
        // An agent is somebody else, though its socket is here.
        let has_agent = run.mounts.iter().any(|mount| mount.mount.kind == MountKind::Ssh);
        let mut trace = Trace { networked: traced.networked || has_agent, ..Trace::default() };
        let mut recorder = Recorder::default();
        looked.0.into_inner().into_iter().for_each(|(path, aspect)| recorder.add(path, aspect));
        for dir in snapshot.host_dirs() {
            use std::os::unix::ffi::OsStrExt as _;
            // An overlay of its own, which is not watched: the host's files are one thing.
            recorder.add(TreePath::new(dir.as_os_str().as_bytes()), Aspect::Subtree);
        }
        for (_, observed) in traced.stacks {
            recorder.observed(&observed);
            trace.incomplete = trace.incomplete.or(observed.incomplete);
        }
        let space = recorder.finish("", &view);
        if let Err(missed) = space.covers(layer, &view) {
            trace.incomplete.get_or_insert(missed.to_string());
        }
        trace.spaces.push(space);
        Ok(trace)
    }

    /// Makes the record of an earlier execution, whose trace held, also that of `key`.
    pub(super) fn keep_traced(&self, key: &Key, ids: [StepId; 3], found: &TracedHit) -> Result<(), StoreError> {
        self.store.db().put_derived(key.id(), found.from)?;
        ids.into_iter().try_for_each(|id| self.store.db().put_record(id, key.id(), &found.record))
    }

    /// Puts away the path set of an execution that let this step be skipped although it makes something else now.
    pub(super) fn put_away(&self, step: &Step, from: KeyId) -> Result<(), StoreError> {
        self.store.db().quarantine(from)?;
        let name = &self.plan.shown[step.shown].name;
        let message = format!(
            "{name} was skipped because all that it was seen to depend on is the same, and yet it makes something else: \
             what was seen is no longer used"
        );
        self.sink.emit(Event::Warning { message });
        Ok(())
    }

    /// Remembers a trace for the executions that differ only in their parent.
    pub(super) fn keep_trace(&self, key: &Key, trace: &Trace) -> Result<(), StoreError> {
        self.store.db().put_trace(weak_id(key), key.id(), trace)
    }
}

/// Whether a step may be skipped by this trace at all.
fn is_usable(trace: &Trace, mode: TraceMode) -> bool {
    trace.incomplete.is_none() && (mode == TraceMode::All || !trace.networked)
}

/// How many layers from the bottom are the same.
fn common(space: &Space, new: &View<'_>) -> usize {
    space.layers.iter().zip(new.layers()).take_while(|(old, new)| **old == *new).count()
}

/// A space's own stack: what it has in common with `new` from there, the rest from `trees`.
fn earlier_view<'a>(space: &Space, new: &View<'a>, trees: &'a [Tree], is_whole: bool) -> Option<View<'a>> {
    if !is_whole {
        return None;
    }
    let shared = new.stacked().take(common(space, new));
    let own = trees.iter().map(|tree| Stacked::Listed { id: tree.id(), tree });
    Some(View::new(shared.chain(own).collect::<Vec<_>>()))
}
