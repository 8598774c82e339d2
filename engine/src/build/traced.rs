//! RUN steps by what they were seen to depend on: watching one while it runs, and finding an earlier
//! execution whose every dependency is the same in the snapshot of now.
//!
//! Two look-ups. The *weak key* is the step's key without its parent; it leads to the last executions
//! that were watched. Each one's trace is then evaluated on the listings of the new parent; where it
//! holds, the recorded layer is stacked on the new parent as it is. Knows nothing of how a step is watched.

use super::bind_mount::{Bound, Shown, binds};
use super::steps::Steps;
use super::{declared, keys};
use crate::api::{BuildError, TraceMode};
use crate::digest::{KeyId, StepId};
use crate::event::Event;
use crate::explain::change::FILES_MAX;
use crate::explain::{FileSet, Unskipped, files};
use crate::key::declared::Parent;
use crate::key::{self, Component, Key};
use crate::plan::{RunMount, RunStep, Step};
use crate::sandbox::{Listing, Lower, Mount, Stack, Traced, Tracer};
use crate::snapshot::{LookupError, Snapshot, resolve_with};
use crate::store::{Layer, Record, StoreError, Used};
use crate::trace::{Aspect, Observed, Recorder, Space, Stacked, Trace, View};
use crate::tree::{Entry, Tree, TreePath};
use kiln_dsl::mount::MountKind;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;

/// The components of a key that a trace stands for: the layers below, and what the bind mounts show.
fn is_traced(run: &RunStep, component: &Component) -> bool {
    component.label == "parent" || binds(run).any(|(mount, _)| keys::is_of_mount(&component.label, &mount.target))
}

/// So many dependencies are looked at one by one sooner than the listings of then are read, which say which
/// of them need no look.
const FEW_DEPENDENCIES: usize = 1000;

/// Names the executions that differ at most in what a trace covers.
fn weak_id(run: &RunStep, key: &Key) -> StepId {
    let components = key.components().iter().filter(|one| !is_traced(run, one)).cloned().collect();
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

    /// Notes a path that counts with all that is below it.
    pub fn whole(&self, path: &TreePath) {
        self.0.borrow_mut().push((path.clone(), Aspect::Subtree));
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
pub(super) fn lowers(snapshot: &Snapshot) -> Result<Vec<Lower>, StoreError> {
    snapshot.from_top().map(lower).collect()
}

/// A layer as it is watched.
pub(super) fn lower(layer: &Arc<Layer>) -> Result<Lower, StoreError> {
    let listing: Option<Arc<dyn Listing>> = match layer.is_host() {
        true => None,
        false => Some(Arc::new(Listed(Arc::clone(layer)))),
    };
    Ok(Lower { dirs: layer.dirs().to_vec(), listing })
}

/// A layer whose listing is read when it is needed. What is wrong with it is told by those who cannot do without.
#[derive(Debug)]
struct Listed(Arc<Layer>);

impl Listing for Listed {
    fn entries(&self) -> Option<&[Entry]> {
        self.0.tree().ok().map(Tree::entries)
    }
}

/// What of an earlier execution's dependencies is not the same here.
pub(super) enum Unlike {
    /// It was not watched, or that cannot be said any more.
    Unknown,
    /// These files, perhaps none.
    Files {
        /// In the root.
        root: FileSet,
        /// In what each bind mount shows.
        mounts: Vec<FileSet>,
        /// Whether its result could be used if there were none.
        is_usable: bool,
    },
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
    /// How traces may be used for a step; `None` for not at all.
    fn trace_mode(&self, step: &Step) -> Option<TraceMode> {
        match (self.request.trace, declared::parent(step)) {
            (TraceMode::Off, _) | (_, Parent::Whole | Parent::Ignored) => None,
            (_, Parent::Traced) => Some(TraceMode::All),
            (mode, Parent::Usual) => Some(mode),
        }
    }

    /// Looks for an earlier execution whose every dependency is the same here.
    pub(super) fn look_up_traced(
        &self,
        step: &Step,
        run: &RunStep,
        snapshot: &Snapshot,
        key: &Key,
    ) -> Result<Option<TracedHit>, BuildError> {
        let failed = |error| super::store_error(&self.request.store, error);
        let Some(mode) = self.trace_mode(step) else { return Ok(None) };
        let candidates = self.store.db().step_keys(weak_id(run, key)).map_err(failed)?;
        if candidates.is_empty() {
            return Ok(None);
        }
        let shown = self.shown_by(run).map_err(|error| self.step_error(step, error))?;
        let found = || {
            let spaces = spaces(snapshot, &shown)?;
            for candidate in candidates {
                let Some(trace) = self.store.db().trace(candidate)? else { continue };
                if !is_usable(&trace, mode) || !self.holds(&trace, &spaces)? {
                    continue;
                }
                let Some(mut record) = self.store.db().record(candidate)? else { continue };
                let Some(layer) = self.store.layer(record.layer)? else { continue };
                self.store.db().mark_used(Used::Record(candidate))?;
                record.components = key.components().to_vec();
                return Ok(Some(TracedHit { from: candidate, record, layer }));
            }
            Ok(None)
        };
        found().map_err(failed)
    }

    /// What of all that the newest watched execution depended on is not the same here, beside other layers.
    pub(super) fn unlike(&self, step: &Step, run: &RunStep, key: &Key) -> Result<Unlike, StoreError> {
        if self.request.trace == TraceMode::Off || declared::parent(step) == Parent::Ignored {
            return Ok(Unlike::Unknown);
        }
        let candidates = self.store.db().step_keys(weak_id(run, key))?;
        if candidates.is_empty() {
            return Ok(Unlike::Unknown);
        }
        // What cannot be found is told by who needs it.
        let Ok(shown) = self.shown_by(run) else { return Ok(Unlike::Unknown) };
        let snapshot = self.snapshot(step.parent);
        let spaces = spaces(&snapshot, &shown)?;
        let mut incomplete = None;
        for candidate in candidates {
            let Some(mut trace) = self.store.db().trace(candidate)? else { continue };
            if let Some(reason) = trace.incomplete.take() {
                incomplete = incomplete.or(Some((reason, trace)));
                continue;
            }
            if trace.networked && self.holds(&trace, &spaces)? {
                return Ok(Unlike::Nothing(Unskipped::Networked));
            }
            let is_usable = self.trace_mode(step).is_some_and(|mode| is_usable(&trace, mode));
            let sets = self.differences(&trace, &spaces, &shown)?;
            return Ok(sets.map_or(Unlike::Unknown, |(root, mounts)| Unlike::Files { root, mounts, is_usable }));
        }
        if let Some((reason, trace)) = incomplete
            && self.holds(&trace, &spaces)?
        {
            return Ok(Unlike::Nothing(Unskipped::Incomplete(reason)));
        }
        Ok(Unlike::Unknown)
    }

    /// The files that a trace names and that are others here, in the root and in each bind mount; `None` where its layers
    /// are lost.
    fn differences(
        &self,
        trace: &Trace,
        spaces: &[(String, View<'_>)],
        shown: &[(&RunMount, Shown)],
    ) -> Result<Option<(FileSet, Vec<FileSet>)>, StoreError> {
        let mut sets = Vec::new();
        for (at, (name, new)) in spaces.iter().enumerate() {
            let Some(space) = trace.spaces.get(at).filter(|space| *space.name == **name) else { return Ok(None) };
            let told = |path: &TreePath| match at.checked_sub(1) {
                Some(mount) => shown[mount].1.origin_of(path),
                None => path.clone(),
            };
            let Some(set) = self.unlike_in(space, new, &told)? else { return Ok(None) };
            sets.push(set);
        }
        let mut sets = sets.into_iter();
        Ok(sets.next().map(|root| (root, sets.collect())))
    }

    /// What of all that an execution depended on in one space is not the same in `new`, each path as `told` says it.
    fn unlike_in(
        &self,
        space: &Space,
        new: &View<'_>,
        told: &dyn Fn(&TreePath) -> TreePath,
    ) -> Result<Option<FileSet>, StoreError> {
        let (trees, is_whole) = self.earlier_layers(space, new)?;
        let Some(old) = earlier_view(space, new, &trees, is_whole) else { return Ok(None) };
        let (mut before, mut after) = (Vec::new(), Vec::new());
        for different in space.differences(Some(&old), new).take(FILES_MAX) {
            let mut paths = vec![different.path.clone()];
            if different.aspect == Aspect::Listing {
                let (was, is) = (old.names(&different.path), new.names(&different.path));
                let other = |names: &[Box<[u8]>], name: &[u8]| !names.iter().any(|known| **known == *name);
                let gone = was.iter().filter(|name| other(&is, name));
                let come = is.iter().filter(|name| other(&was, name));
                paths = gone.chain(come).map(|name| different.path.join(name)).collect();
            }
            let entry = |view: &View<'_>, path| Some(Entry { path: told(path), ..view.entry(path)? });
            before.extend(paths.iter().filter_map(|path| entry(&old, path)));
            after.extend(paths.iter().filter_map(|path| entry(new, path)));
        }
        Ok(Some(files::diff(&Tree::new(before), &Tree::new(after))))
    }

    fn holds(&self, trace: &Trace, spaces: &[(String, View<'_>)]) -> Result<bool, StoreError> {
        if trace.spaces.len() != spaces.len() {
            return Ok(false);
        }
        for (space, (name, new)) in trace.spaces.iter().zip(spaces) {
            if *space.name != **name {
                return Ok(false);
            }
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
        (bound, mounts): (&[Bound], &[Mount]),
    ) -> Result<Option<Tracer>, StoreError> {
        // Without a filter of its system calls a step may mount and unmount as it likes.
        if self.request.trace == TraceMode::Off || run.insecure {
            return Ok(None);
        }
        let attributes = snapshot.has_host();
        let mut stacks = vec![(Stack::Root, above.into_iter().chain(lowers(snapshot)?).collect(), attributes)];
        for one in bound {
            if let (Some(index), Some(lowers)) = (one.index(mounts), &one.lowers) {
                let attributes = lowers.iter().any(|lower| lower.listing.is_none());
                stacks.push((Stack::Mount(index), lowers.clone(), attributes));
            }
        }
        match Tracer::new(&stacks) {
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

    /// Says once that the kernel does not tell whom steps talk to.
    pub(super) fn tell_untold(&self) {
        if self.untold.set(()).is_ok() {
            let message =
                "whom RUN steps talk to cannot be told here, so each that is not cut off from the network counts as \
                           one that used it, and depends on all that is below it: the kernel refuses a seccomp listener"
                    .to_owned();
            self.sink.emit(Event::Warning { message });
        }
    }

    /// The trace of a step that has run on this snapshot and left this layer: of its root, where kiln looked at this, and
    /// of its bind mounts, whose overlays are among `mounts`.
    pub(super) fn trace_of(
        &self,
        run: &RunStep,
        traced: Traced,
        (looked, snapshot, layer): (Looked, &Snapshot, &Tree),
        (bound, mounts): (Vec<Bound>, &[Mount]),
    ) -> Result<Trace, StoreError> {
        // An agent is somebody else, though its socket is here.
        let has_agent = run.mounts.iter().any(|mount| mount.mount.kind == MountKind::Ssh);
        let mut trace = Trace { networked: traced.reached.may_be_others() || has_agent, ..Trace::default() };
        let mut seen = traced.stacks;
        let mut take = |stack: Stack| {
            let at = seen.iter().position(|(other, _)| *other == stack)?;
            Some(seen.swap_remove(at).1)
        };
        for dir in snapshot.host_dirs() {
            // An overlay of its own, which is not watched: the host's files are one thing.
            looked.whole(&TreePath::new(dir.as_os_str().as_bytes()));
        }
        let below = view(snapshot)?;
        let root = trace.record("", looked, take(Stack::Root), &below);
        if let Err(missed) = root.covers(layer, &below) {
            trace.incomplete.get_or_insert(missed.to_string());
        }
        trace.spaces.push(root);
        for one in bound {
            let observed = one.index(mounts).and_then(|index| take(Stack::Mount(index)));
            if observed.is_none() && one.lowers.is_some() {
                trace.incomplete.get_or_insert_with(|| format!("the mount {} was not watched", one.space));
            }
            let space = trace.record(&one.space, one.looked, observed, &one.shown.view()?);
            trace.spaces.push(space);
        }
        Ok(trace)
    }

    /// Makes the record of an earlier execution, whose trace held, also that of `key`. `mounted` is what its mounts from
    /// contexts show, for the next comparison.
    pub(super) fn keep_traced(
        &self,
        key: &Key,
        ids: [StepId; 3],
        found: &TracedHit,
        mounted: &[(String, Tree)],
    ) -> Result<(), StoreError> {
        mounted.iter().try_for_each(|(_, tree)| self.store.put_tree(tree).map(drop))?;
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
    pub(super) fn keep_trace(&self, run: &RunStep, key: &Key, trace: &Trace) -> Result<(), StoreError> {
        self.store.db().put_trace(weak_id(run, key), key.id(), trace)
    }
}

impl Trace {
    /// The space of what was seen in one stack, which has this view.
    fn record(&mut self, name: &str, looked: Looked, observed: Option<Observed>, view: &View<'_>) -> Space {
        let mut recorder = Recorder::default();
        looked.0.into_inner().into_iter().for_each(|(path, aspect)| recorder.add(path, aspect));
        if let Some(observed) = observed {
            recorder.observed(&observed);
            self.incomplete = self.incomplete.take().or(observed.incomplete);
        }
        recorder.finish(name, view)
    }
}

/// The spaces of a step now, each with its name: the root, and what each bind mount would show.
fn spaces<'a>(snapshot: &'a Snapshot, shown: &'a [(&RunMount, Shown)]) -> Result<Vec<(String, View<'a>)>, StoreError> {
    let mounts = shown.iter().map(|(mount, shown)| Ok((shown.space(mount), shown.view()?)));
    std::iter::once(Ok((String::new(), view(snapshot)?))).chain(mounts).collect()
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
