//! COPY and ADD as steps: what is selected and keyed before, what is written when nothing is recorded.

use super::context::BuildContext;
use super::run_step::RunError;
use super::steps::{Input, Missed, Steps, mtime_now};
use super::{declared, keys};
use crate::api::BuildError;
use crate::copy::layout::{self, Layout, LayoutError, LayoutRequest};
use crate::copy::select::{self, Matching, SelectError, Selected, SourceTree, has_wildcard};
use crate::copy::write::{self, WriteError};
use crate::digest::LayerId;
use crate::key::{Component, Value};
use crate::plan::{CopyStep, Origin, Step, StepKind};
use crate::snapshot::{LookupError, Snapshot, Type};
use crate::store::{Layer, Staged};
use crate::trace::Trace;
use crate::tree::archive::{self, ArchiveOptions};
use crate::tree::disk::{self, DirWriter};
use crate::tree::scan::{Facts, ScanError};
use crate::tree::unpack::Lower;
use crate::tree::{Entry, Kind, Tree, TreePath, unpack};
use kiln_dsl::ignore::Ignore;
use std::borrow::Cow;
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::sync::Arc;

/// A COPY whose key is known.
pub(crate) struct Prepared {
    source: Option<Arc<SourceTree>>,
    selected: Vec<Selected>,
    /// What is read of the source, where that is not all of it.
    read: Option<Tree>,
    /// The question whose answer the selection's digest is, to be remembered.
    memo: Option<[u8; 32]>,
    owner: Option<(u32, u32)>,
    excludes: Option<Ignore>,
}

impl Prepared {
    /// What is read of the source, where it had to be looked at.
    pub fn read(&self) -> Option<&Tree> {
        self.read.as_ref().or_else(|| self.source.as_ref().map(|source| &source.tree))
    }
}

/// What a selection adds to a key, and the names that it puts directly into the destination.
type Selection = (Component, Vec<Vec<u8>>);

/// The layers that an earlier execution's directory consists of, and the paths that they lack.
type Delta = (Vec<LayerId>, HashSet<TreePath>);

/// What an executed step made.
pub(crate) struct Made {
    pub tree: Tree,
    pub staged: Staged,
    /// The layers whose directories the staged one is a difference to.
    pub below: Vec<LayerId>,
    /// What making it depended on, where that was watched.
    pub trace: Option<Trace>,
}

impl Made {
    /// A layer whose staged directory holds all of it.
    pub fn whole(tree: Tree, staged: Staged) -> Self {
        Made { tree, staged, below: Vec::new(), trace: None }
    }
}

/// Why a COPY could not be done, beside what the sources lack.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("invalid --exclude pattern {pattern:?}: {reason}")]
    Exclude { pattern: String, reason: String },
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Scan(#[from] ScanError),
    #[error(transparent)]
    Layout(#[from] LayoutError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Disk(#[from] disk::Error),
    #[error("failed to unpack {path}")]
    Unpack {
        path: String,
        #[source]
        source: unpack::Error,
    },
    #[error("failed to read {path}")]
    Read {
        path: String,
        #[source]
        source: io::Error,
    },
}

/// Whether a build failed only because a file changed between the look at it and its copying.
pub(crate) fn changed_meanwhile(error: &BuildError) -> bool {
    let BuildError::Step { source, .. } = error else { return false };
    let write = match (source.downcast_ref::<CopyError>(), source.downcast_ref::<RunError>()) {
        (Some(CopyError::Write(write)), _) | (_, Some(RunError::Write(write))) => write,
        _ => return false,
    };
    match write {
        WriteError::Changed { .. } => true,
        WriteError::Read { source, .. } => source.kind() == io::ErrorKind::NotFound,
        WriteError::Disk(_) => false,
    }
}

/// Tells the contexts how far a step reads them.
pub(crate) fn announce_reach(step: &Step, contexts: &[BuildContext]) {
    match &step.kind {
        StepKind::Copy(copy) => {
            let Origin::Context(id) = copy.origin else { return };
            for (pattern, _) in &copy.sources {
                contexts[id.0].reaches(pattern);
            }
        }
        StepKind::Run(run) => {
            for mount in &run.mounts {
                if let Some(Origin::Context(id)) = mount.origin {
                    contexts[id.0].reaches(mount.mount.source.as_deref().unwrap_or("/"));
                }
            }
            for (id, pattern) in run.key.iter().flat_map(|key| declared::context_patterns(key)) {
                contexts[id].reaches(&pattern);
            }
        }
        _ => {}
    }
}

impl Steps<'_> {
    /// The key's components of a COPY, and what running it needs.
    pub(super) fn prepare_copy(&self, step: &Step, copy: &CopyStep) -> Result<(Vec<Component>, Prepared), BuildError> {
        let fail = |error: CopyError| self.step_error(step, error);
        let below = self.below(step, copy);
        let owner = match &copy.chown {
            Some(user) => {
                let parent = self.snapshot(step.parent);
                Some(self.owner(&parent, user).map_err(|error| fail(error.into()))?)
            }
            None => None,
        };
        let excludes =
            match copy.excludes.is_empty() {
                true => None,
                false => Some(Ignore::from_patterns(copy.excludes.iter().map(String::as_str)).map_err(|error| {
                    fail(CopyError::Exclude { pattern: error.pattern.clone(), reason: error.reason })
                })?),
            };
        let mut prepared = Prepared { source: None, selected: Vec::new(), read: None, memo: None, owner, excludes };
        let destination = TreePath::new(&copy.destination);
        let mut state = keys::destination_state(&below, &destination, true).map_err(|error| fail(error.into()))?;
        if copy.link {
            let parent = self.snapshot(step.parent);
            state += &keys::directories_state(&parent, &destination).map_err(|error| fail(error.into()))?;
        }
        let (files, names) = match self.remembered_selection(copy, &mut prepared).map_err(fail)? {
            Some(known) => known,
            None => {
                let source = self.source_tree(copy).map_err(fail)?;
                let selected = self.select(step, copy, &source)?;
                let names: Vec<Vec<u8>> = top_names(&source, &selected).collect();
                let read = source.read_by(&selected, prepared.excludes.as_ref(), copy.chmod.is_some());
                let component = keys::files("files", &read);
                if let Some(memo) = &prepared.memo {
                    let Value::Files { tree, count } = &component.value else { unreachable!("made above") };
                    let store_failed = |error| super::store_error(&self.request.store, error);
                    self.store.db().put_memo(memo, &(*tree, *count, &names)).map_err(store_failed)?;
                }
                prepared.read = match read {
                    Cow::Owned(read) => Some(read),
                    Cow::Borrowed(_) => None,
                };
                (prepared.selected, prepared.source) = (selected, Some(source));
                (component, names)
            }
        };
        let mut names = names.into_iter().chain(copy.inline.iter().map(|(name, _)| name.clone().into_bytes()));
        state += &keys::collisions(&below, &destination, &mut names).map_err(|error| fail(error.into()))?;
        Ok((keys::copy(copy, files, owner, state), prepared))
    }

    /// The snapshot that the layer is laid on: none for `--link`.
    fn below(&self, step: &Step, copy: &CopyStep) -> Snapshot {
        if copy.link { Snapshot::empty() } else { self.snapshot(step.parent) }
    }

    /// The selection's digest where it follows from a snapshot's digest alone and was found before.
    /// Its top-level names come with it.
    fn remembered_selection(&self, copy: &CopyStep, prepared: &mut Prepared) -> Result<Option<Selection>, CopyError> {
        let Origin::Step { node, .. } = &copy.origin else { return Ok(None) };
        let mut hasher = blake3::Hasher::new_derive_key("kiln selection v1");
        hasher.update(self.snapshot(*node).id().as_bytes());
        let sources: Vec<&str> = copy.sources.iter().map(|(path, _)| path.as_str()).collect();
        let question = format!("{sources:?} {:?} {} {:?}", copy.excludes, copy.chmod.is_some(), copy.matching);
        hasher.update(question.as_bytes());
        let memo = *hasher.finalize().as_bytes();
        prepared.memo = Some(memo);
        let known: Option<(LayerId, u64, Vec<Vec<u8>>)> = self.store.db().memo(&memo).map_err(LookupError::from)?;
        Ok(known.map(|(tree, count, names)| {
            (Component { label: "files".to_owned(), value: Value::Files { tree, count } }, names)
        }))
    }

    /// The files that a COPY may read.
    pub(super) fn source_tree(&self, copy: &CopyStep) -> Result<Arc<SourceTree>, CopyError> {
        match &copy.origin {
            Origin::Context(_) if copy.sources.is_empty() => Ok(Arc::new(SourceTree::default())),
            Origin::Context(id) => Ok(self.context(*id).tree(self.store)?),
            Origin::Step { node, .. } => {
                let snapshot = self.snapshot(*node);
                let merged = snapshot.tree_below(&reach_of(&snapshot, copy)?)?;
                Ok(Arc::new(SourceTree {
                    tree: with_parents(&snapshot, merged.tree)?,
                    links: merged.links,
                    ..SourceTree::default()
                }))
            }
        }
    }

    fn select(&self, step: &Step, copy: &CopyStep, source: &SourceTree) -> Result<Vec<Selected>, BuildError> {
        let patterns: Vec<String> = copy.sources.iter().map(|(pattern, _)| pattern.clone()).collect();
        source.select(&patterns, copy.matching).map_err(|error| match error {
            SelectError::NotFound { path, index } => self.missing_source(step, copy, source, path, index),
            error => self.step_error(step, error),
        })
    }

    fn missing_source(
        &self,
        step: &Step,
        copy: &CopyStep,
        source: &SourceTree,
        path: String,
        index: usize,
    ) -> BuildError {
        let shown = &self.plan.shown[step.shown];
        let span = copy.sources.get(index).map_or(shown.span, |(_, span)| *span);
        let (root, excluded) = match &copy.origin {
            Origin::Context(id) => {
                let context = self.context(*id);
                (context.name().to_owned(), context.hidden_by(&path).map(Box::new))
            }
            Origin::Step { name, .. } => (name.clone(), None),
        };
        let clean = TreePath::new(&path).display().to_string();
        let names: Vec<String> = source.tree.entries().iter().map(|entry| entry.path.display().to_string()).collect();
        let similar = kiln_dsl::suggest::nearest(&clean, names.iter().map(String::as_str)).map(str::to_owned);
        BuildError::MissingSource {
            step: shown.name.clone(),
            place: Some(self.file.place(span)),
            path,
            root,
            excluded,
            similar,
        }
    }

    /// The layer that a COPY would write; `None` where only writing it would tell.
    pub(super) fn planned_copy(&self, step: &Step, copy: &CopyStep, missed: &Missed) -> Option<Arc<Layer>> {
        let Input::Copy(prepared) = &missed.input else { return None };
        let source = prepared.source.clone()?;
        if copy.unpack && !self.archives(copy, &source, &prepared.selected).ok()?.is_empty() {
            return None;
        }
        let (below, parent) = (self.below(step, copy), self.snapshot(step.parent));
        let none = HashSet::new();
        let from = (&*source, prepared.selected.as_slice());
        let request = layout_request(copy, prepared, from, (&below, &parent), &none);
        let tree = layout::layout(&request).ok()?.tree;
        let previous = missed.reason.previous.and_then(|previous| self.store.layer(previous.layer).ok().flatten());
        let dirs = previous.map(|layer| layer.dirs().to_vec()).unwrap_or_default();
        Some(Arc::new(Layer::planned(tree, dirs)))
    }

    /// Writes the layer of a COPY.
    pub(super) fn run_copy(
        &self,
        step: &Step,
        copy: &CopyStep,
        mut prepared: Prepared,
        previous: Option<LayerId>,
    ) -> Result<Made, BuildError> {
        let fail = |error: CopyError| self.step_error(step, error);
        let store_failed = |error| super::store_error(&self.request.store, error);
        let (source, selected) = match &prepared.source {
            Some(source) => (source.clone(), prepared.selected.clone()),
            None => {
                let source = self.source_tree(copy).map_err(fail)?;
                let selected = self.select(step, copy, &source)?;
                (source, selected)
            }
        };
        // The selection's listing is what a later miss is explained by.
        if let Some(read) = prepared.read() {
            self.store.put_tree(read).map_err(store_failed)?;
        }
        // Nothing below reads it, and it may be as large as the context's own listing.
        prepared.read = None;
        let below = self.below(step, copy);
        let parent = self.snapshot(step.parent);
        let archives =
            if copy.unpack { self.archives(copy, &source, &selected).map_err(fail)? } else { HashSet::new() };
        let request = layout_request(copy, &prepared, (&source, &selected), (&below, &parent), &archives);
        let layout = layout::layout(&request).map_err(|error| fail(error.into()))?;
        let staged = self.store.stage().map_err(store_failed)?;
        if layout.unpack.is_empty()
            && let Some((base, changed)) = self.delta(&layout.tree, previous).map_err(store_failed)?
        {
            let wanted = |path: &TreePath| changed.contains(path);
            self.write(copy, &layout, &source.facts, &wanted, &staged).map_err(fail)?;
            return Ok(Made { tree: layout.tree, staged, below: base, trace: None });
        }
        self.write(copy, &layout, &source.facts, &|_| true, &staged).map_err(fail)?;
        let tree = match layout.unpack.is_empty() {
            true => layout.tree,
            false => self.unpack(copy, &prepared, layout, &below, &staged).map_err(fail)?,
        };
        Ok(Made { tree, staged, below: Vec::new(), trace: None })
    }

    fn write(
        &self,
        copy: &CopyStep,
        layout: &Layout,
        facts: &Facts,
        wanted: &(dyn Fn(&TreePath) -> bool + Sync),
        staged: &Staged,
    ) -> Result<(), CopyError> {
        let snapshot = self.origin_snapshot(copy);
        let open = |path: &TreePath| self.open_source(copy, &snapshot, path);
        let source = write::Source { inline: &copy.inline, open: &open, facts };
        Ok(write::write(layout, &source, wanted, staged.path())?)
    }

    /// The snapshot that a COPY reads, where it reads one.
    pub(super) fn origin_snapshot(&self, copy: &CopyStep) -> Snapshot {
        match &copy.origin {
            Origin::Step { node, .. } => self.snapshot(*node),
            Origin::Context(_) => Snapshot::empty(),
        }
    }

    pub(super) fn open_source(&self, copy: &CopyStep, snapshot: &Snapshot, path: &TreePath) -> io::Result<File> {
        match copy.origin {
            Origin::Context(id) => self.context(id).open_file(path),
            Origin::Step { .. } => snapshot.open(path),
        }
    }

    /// The layers that an earlier execution's directory consists of, and the paths that it lacks; `None`
    /// where everything is better written again. Of one that consists of many, only the bottom is taken, to which
    /// the paths are more, but still those that were ever edited, and never all.
    fn delta(&self, tree: &Tree, previous: Option<LayerId>) -> Result<Option<Delta>, crate::store::StoreError> {
        /// So many directories may make one layer: each costs every look-up in an overlay a little.
        const MOST_PARTS: usize = 8;
        let Some(previous) = previous else { return Ok(None) };
        let mut parts = self.store.layer_parts(previous)?;
        // Asking for the layer pins its parts.
        if parts.is_empty() || self.store.layer(previous)?.is_none() {
            return Ok(None);
        }
        let mut base = previous;
        if parts.len() >= MOST_PARTS {
            // The bottom is a whole layer, so its directory's name is its own.
            parts.drain(..parts.len() - 1);
            base = parts[0];
        }
        let Some(old) = self.store.tree(base)? else { return Ok(None) };
        let difference = write::difference(&old, tree);
        self.store.supersede(previous);
        let Some(changed) = difference else { return Ok(None) };
        Ok(Some((parts, changed.into_iter().map(|entry| entry.path.clone()).collect())))
    }

    /// The selected files that are archives, by their content.
    fn archives(
        &self,
        copy: &CopyStep,
        source: &SourceTree,
        selected: &[Selected],
    ) -> Result<HashSet<TreePath>, CopyError> {
        let mut found = HashSet::new();
        let snapshot = self.origin_snapshot(copy);
        for one in selected {
            let is_file = source
                .tree
                .get(&one.real)
                .is_some_and(|entry| matches!(entry.kind, Kind::File { size, .. } if size > 0));
            if !is_file {
                continue;
            }
            let failed = |source| CopyError::Read { path: one.real.display().to_string(), source };
            let file = self.open_source(copy, &snapshot, &one.real).map_err(failed)?;
            if archive::is_archive(file).map_err(failed)? {
                found.insert(one.real.clone());
            }
        }
        Ok(found)
    }

    fn unpack(
        &self,
        copy: &CopyStep,
        prepared: &Prepared,
        layout: Layout,
        below: &Snapshot,
        staged: &Staged,
    ) -> Result<Tree, CopyError> {
        let mut writer = DirWriter::new(staged.path())?;
        let mut entries = layout.tree.into_entries();
        let snapshot = self.origin_snapshot(copy);
        for (path, destination) in layout.unpack {
            let file = self
                .open_source(copy, &snapshot, &path)
                .map_err(|source| CopyError::Read { path: path.display().to_string(), source })?;
            let options = ArchiveOptions {
                destination: &destination,
                owner: prepared.owner,
                mtime: mtime_now(),
                lower: &Below(below),
            };
            entries = archive::unpack_archive(file, &mut writer, entries, &options)
                .map_err(|source| CopyError::Unpack { path: path.display().to_string(), source })?;
        }
        writer.finish()?;
        Ok(Tree::new(entries))
    }
}

/// What a COPY writes from `source` and what is selected of it, above a snapshot and on its step's parent; planned
/// and written by the same, so that a plan foresees the layer that a build makes.
fn layout_request<'r>(
    copy: &'r CopyStep,
    prepared: &'r Prepared,
    (source, selected): (&'r SourceTree, &'r [Selected]),
    (below, parent): (&'r Snapshot, &'r Snapshot),
    archives: &'r HashSet<TreePath>,
) -> LayoutRequest<'r> {
    LayoutRequest {
        source,
        selected,
        inline: &copy.inline,
        destination: &copy.destination,
        owner: prepared.owner,
        mode: copy.chmod.as_ref(),
        excludes: prepared.excludes.as_ref(),
        below,
        directories: copy.link.then_some(parent),
        now: mtime_now(),
        archives,
    }
}

/// A snapshot as what lies below an archive.
pub(crate) struct Below<'a>(pub &'a Snapshot);

impl Lower for Below<'_> {
    fn entry(&self, path: &TreePath) -> Option<Entry> {
        let found = self.0.lookup(path).ok().flatten()?;
        let kind = match found.file_type {
            Type::Dir => Kind::Dir { opaque: false },
            Type::Symlink(target) => Kind::Symlink { target },
            Type::File => Kind::File { size: 0, content: blake3::hash(b"").into() },
            Type::Other => Kind::Fifo,
        };
        let (mode, uid, gid) = (found.mode, found.uid, found.gid);
        Some(Entry { path: path.clone(), kind, mode, uid, gid, xattrs: found.xattrs, mtime: found.mtime })
    }

    fn open(&self, path: &TreePath) -> io::Result<File> {
        self.0.open(path)
    }
}

/// The names that a selection puts directly into a destination directory.
fn top_names<'a>(source: &'a SourceTree, selected: &'a [Selected]) -> impl Iterator<Item = Vec<u8>> + 'a {
    selected.iter().flat_map(move |one| -> Vec<Vec<u8>> {
        if !one.is_dir {
            return one.written.file_name().map(<[u8]>::to_vec).into_iter().collect();
        }
        let depth = one.real.parts().count() + 1;
        let children = source.tree.below(&one.real).iter().filter(|entry| entry.path.parts().count() == depth);
        children.filter_map(|entry| entry.path.file_name().map(<[u8]>::to_vec)).collect()
    })
}

/// The smallest directory of a snapshot that holds everything that the sources can mean.
fn reach_of(snapshot: &Snapshot, copy: &CopyStep) -> Result<TreePath, LookupError> {
    let [(pattern, _)] = copy.sources.as_slice() else { return Ok(TreePath::root()) };
    let pattern = if copy.matching == Matching::Parents { select::pivot(pattern).0 } else { pattern };
    if copy.matching != Matching::Literal && pattern.split('/').any(has_wildcard) {
        return Ok(TreePath::root());
    }
    // A link among the parts leads elsewhere: then everything may be meant.
    let path = TreePath::new(pattern);
    let real = snapshot.resolve(&path, true)?;
    Ok(if real == path { path } else { TreePath::root() })
}

/// The tree with the directories above it, which a look-up passes through.
fn with_parents(snapshot: &Snapshot, tree: Tree) -> Result<Tree, LookupError> {
    let Some(first) = tree.entries().first().map(|entry| entry.path.clone()) else { return Ok(tree) };
    let mut entries = Vec::new();
    for path in first.ancestors().into_iter().filter(|path| !path.is_root()) {
        if let Some(found) = snapshot.lookup(&path)? {
            let (mode, uid, gid, mtime) = (found.mode, found.uid, found.gid, found.mtime);
            let kind = Kind::Dir { opaque: false };
            entries.push(Entry { path, kind, mode, uid, gid, xattrs: found.xattrs, mtime });
        }
    }
    entries.extend(tree.into_entries());
    Ok(Tree::new(entries))
}

/// A source path of a mount as a COPY of everything at it, for the files that it shows.
pub(crate) fn mounted(source: &str, origin: Origin, span: kiln_dsl::span::Span) -> CopyStep {
    CopyStep {
        origin,
        sources: vec![(source.to_owned(), span)],
        inline: Vec::new(),
        destination: "/".to_owned(),
        chown: None,
        chmod: None,
        link: true,
        excludes: Vec::new(),
        unpack: false,
        matching: Matching::Patterns,
    }
}
