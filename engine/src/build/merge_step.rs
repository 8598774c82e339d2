//! Lays the layers of several stages on one another: `FROM base + deps + assets`.
//!
//! The layers themselves are shared, whatever made them. A merge has a layer of its own only where directories have to be
//! stated again; what contradicts is an error that names the paths.

use super::steps::{Done, Input, Missed, Steps};
use crate::api::BuildError;
use crate::graph::NodeId;
use crate::key::{Component, Key, Value};
use crate::merge::{Attributes, Change};
use crate::plan::{MergeStep, Step};
use crate::snapshot::{Found, LookupError, Snapshot, Type};
use crate::store::{Layer, StoreError};
use crate::tree::{Entry, Tree, TreePath};
use std::sync::Arc;
use std::time::Instant;

/// How many paths an error names.
const SHOWN_PATHS: usize = 5;

/// Why stages cannot be merged.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    /// They changed the same paths differently.
    #[error("{}", told(paths))]
    Conflicts {
        /// Each path with the two stages.
        paths: Vec<(TreePath, String, String)>,
    },
    /// A layer could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What is below could not be looked up.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

fn told(paths: &[(TreePath, String, String)]) -> String {
    let words = |(path, one, other): &(TreePath, String, String)| {
        format!("/{} is changed differently by {one} and {other}", path.display())
    };
    let mut text: Vec<String> = paths.iter().take(SHOWN_PATHS).map(words).collect();
    if paths.len() > SHOWN_PATHS {
        text.push(format!("and {} more paths", paths.len() - SHOWN_PATHS));
    }
    text.join("; ")
}

/// One layer of a stack, and whose it is.
struct Piece {
    layer: Arc<Layer>,
    /// The step that made it; none for a layer of the base.
    node: Option<NodeId>,
    /// The stage that brought it, for people.
    owner: String,
}

impl Steps<'_> {
    /// The layer that a step made, if it made one.
    fn made(&self, node: NodeId) -> Option<&Arc<Layer>> {
        self.result(node).filter(|done| done.has_layer)?.snapshot.top()
    }

    /// What a merge comes to before anything is stated again.
    pub(super) fn stacked(&self, step: &Step, merge: &MergeStep) -> Done {
        let first = step.parent.and_then(|parent| self.result(parent)).cloned().unwrap_or_else(Done::empty);
        let added = merge.parts.iter().flat_map(|part| &part.added).filter_map(|&node| self.made(node));
        let mut done = Done { created_nanos: 0, has_layer: false, ..first };
        for layer in added {
            done.snapshot = done.snapshot.with(Arc::clone(layer));
        }
        done
    }

    pub(super) fn settle_merge(
        &self,
        id: NodeId,
        step: &Step,
        merge: &MergeStep,
    ) -> Result<Option<Missed>, BuildError> {
        let mut components = vec![Component::text("ON CONFLICT LAST", merge.last_wins.to_string())];
        if let Some(first) = step.parent.and_then(|parent| self.result(parent)) {
            components
                .push(Component { label: merge.first.clone(), value: Value::Stack(first.snapshot.stack().clone()) });
        }
        let layers = |nodes: &[NodeId]| {
            Value::Layers(nodes.iter().filter_map(|&node| self.made(node)).map(|layer| layer.id()).collect())
        };
        for part in &merge.parts {
            components.push(Component { label: part.name.clone(), value: layers(&part.added) });
            let label = format!("what {} has in common with those before it", part.name);
            components.push(Component { label, value: layers(&part.known) });
            components
                .push(Component::text(format!("whether {} stands on the base", part.name), part.on_base.to_string()));
        }
        self.look_up(id, step, Key::new("MERGE", components), Input::None)
    }

    pub(super) fn run_merge(
        &self,
        id: NodeId,
        step: &Step,
        merge: &MergeStep,
        missed: Missed,
        started: Instant,
    ) -> Result<(), BuildError> {
        let fail = |error: MergeError| match error {
            MergeError::Conflicts { .. } => {
                let shown = &self.plan.shown[step.shown];
                let place = Some(self.file.place(shown.span));
                BuildError::MergeConflict { step: shown.name.clone(), place, conflicts: error.to_string() }
            }
            error => self.step_error(step, error),
        };
        let entries = self.repeated(step, merge).map_err(fail)?;
        self.keep_directories(id, step, missed, entries, started)
    }

    /// The directories that have to be stated on top of the stack, or what contradicts in it.
    fn repeated(&self, step: &Step, merge: &MergeStep) -> Result<Vec<Entry>, MergeError> {
        let first = step.parent.and_then(|parent| self.result(parent)).map(|done| done.snapshot.layers());
        let first: Vec<Arc<Layer>> = first.unwrap_or_default().into_iter().cloned().collect();
        let own = merge.own.iter().copied().filter(|&node| self.made(node).is_some()).collect::<Vec<_>>();
        let base = first.len().saturating_sub(own.len());
        let nodes = std::iter::repeat_n(None, base).chain(own.into_iter().map(Some));
        let owner = |node: Option<NodeId>| match node {
            Some(_) => merge.first.clone(),
            None => format!("the base of {}", merge.first),
        };
        let mut stack: Vec<Piece> =
            first.into_iter().zip(nodes).map(|(layer, node)| Piece { layer, node, owner: owner(node) }).collect();
        let mut repeated: Vec<Entry> = Vec::new();
        let mut conflicts = Vec::new();
        for part in &merge.parts {
            let added: Vec<(Option<NodeId>, Arc<Layer>)> =
                part.added.iter().filter_map(|&node| Some((Some(node), Arc::clone(self.made(node)?)))).collect();
            let is_known = |piece: &Piece| match piece.node {
                None => part.on_base,
                Some(node) => part.known.contains(&node),
            };
            let change = sum(added.iter().map(|(_, layer)| &**layer))?;
            let ancestor =
                Snapshot::of(stack.iter().filter(|piece| is_known(piece)).map(|piece| Arc::clone(&piece.layer)));
            let mut others = Vec::new();
            let mut owners = Vec::new();
            for piece in stack.iter().filter(|piece| !is_known(piece)) {
                others.push(self.change_of(piece, &change)?);
                owners.push(piece.owner.as_str());
            }
            others.push(Change::of([&Tree::new(repeated.clone())]));
            owners.push("the stages before it");
            let found = change.stacked_on(&others, |path| attributes(&ancestor, path))?;
            for entry in found.repeated {
                repeated.retain(|old| old.path != entry.path);
                repeated.push(entry);
            }
            for conflict in found.conflicts {
                // What is settled by the last one is not stated again as an earlier one has it.
                repeated.retain(|old| !old.path.starts_with(&conflict.path));
                conflicts.push((conflict.path, owners[conflict.with].to_owned(), part.name.clone()));
            }
            stack.extend(added.into_iter().map(|(node, layer)| Piece { layer, node, owner: part.name.clone() }));
        }
        match conflicts.is_empty() || merge.last_wins {
            true => Ok(with_directories_above(repeated, &stack)?),
            false => Err(MergeError::Conflicts { paths: conflicts }),
        }
    }

    /// What a layer below changes, as far as `change` concerns it.
    fn change_of(&self, piece: &Piece, change: &Change) -> Result<Change, MergeError> {
        if !piece.layer.is_host() {
            return sum([&*piece.layer]);
        }
        // The host's own files have no listing: what is at the paths in question is looked up.
        let host = Snapshot::of([Arc::clone(&piece.layer)]);
        let mut entries = Vec::new();
        for entry in change.entries() {
            if let Some(found) = host.lookup(&entry.path)? {
                entries.push(entry_of(entry.path.clone(), found));
            }
        }
        Ok(Change::of([&Tree::new(entries)]))
    }
}

fn sum<'l>(layers: impl IntoIterator<Item = &'l Layer>) -> Result<Change, MergeError> {
    let trees: Vec<&Tree> = layers.into_iter().map(Layer::tree).collect::<Result<_, _>>()?;
    Ok(Change::of(trees))
}

fn attributes(snapshot: &Snapshot, path: &TreePath) -> Result<Option<Attributes>, MergeError> {
    let found = snapshot.lookup(path)?.filter(|found| found.file_type == Type::Dir);
    Ok(found.map(|Found { mode, uid, gid, xattrs, .. }| Attributes { mode, uid, gid, xattrs }))
}

/// What was looked up as an entry; what is no directory is one that equals no other.
fn entry_of(path: TreePath, found: Found) -> Entry {
    use crate::tree::Kind;
    let Found { file_type, mode, uid, gid, mtime, xattrs } = found;
    let kind = match file_type {
        Type::Dir => Kind::Dir { opaque: false },
        Type::Symlink(target) => Kind::Symlink { target },
        Type::File | Type::Other => Kind::Fifo,
    };
    Entry { path, kind, mode, uid, gid, xattrs, mtime }
}

/// The entries with the directories above them, as the stack has those.
fn with_directories_above(mut entries: Vec<Entry>, stack: &[Piece]) -> Result<Vec<Entry>, MergeError> {
    entries.sort_by(|a, b| a.path.cmp(&b.path));
    let snapshot = Snapshot::of(stack.iter().map(|piece| Arc::clone(&piece.layer)));
    let mut all: Vec<Entry> = Vec::with_capacity(entries.len());
    for entry in entries {
        for path in entry.path.ancestors().into_iter().filter(|path| !path.is_root()) {
            if all.iter().all(|known| known.path != path)
                && let Some(found) = snapshot.lookup(&path)?
            {
                all.push(entry_of(path, found));
            }
        }
        all.push(entry);
    }
    Ok(all)
}
