//! Bind mounts of a RUN: what each shows, in its key and as it is watched, and how it is mounted.
//!
//! What a mount shows is a stack of listings, as the root is: of a context one layer with the files that the ignore file
//! leaves, of a stage or an image its snapshot. Writes go to an overlay that is thrown away. Knows nothing of how a step
//! is watched.

use super::context::BuildContext;
use super::keys;
use super::run_step::{Held, Prepared, RunError};
use super::steps::Steps;
use super::traced::{self, Looked};
use crate::api::BuildError;
use crate::copy::layout::{self, Layout};
use crate::copy::select::Matching;
use crate::copy::write;
use crate::key::Component;
use crate::plan::{ContextId, Origin, RunMount, RunStep, Step};
use crate::sandbox::{Lower, Mount, MountSource};
use crate::snapshot::{Snapshot, Type, resolve_with};
use crate::store::{Layer, Staged, StoreError};
use crate::trace::{Stacked, View};
use crate::tree::{Tree, TreePath};
use kiln_dsl::mount::MountKind;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

/// What the bind mounts of a RUN show: of those from the context the files, of the others a component.
pub(super) type Mounted = (Vec<(String, Tree)>, Vec<Component>);

/// The files that a bind mount from a context shows.
#[derive(Debug)]
pub(crate) struct Laid {
    layout: Layout,
    /// The directory of the context that it shows, or the one file.
    real: TreePath,
    /// The name of the one file, where it is no directory.
    file: Option<Box<[u8]>>,
}

/// What a bind mount would show now.
pub(super) enum Shown {
    Context(Arc<Laid>),
    Stage(Snapshot),
}

impl Laid {
    /// The listing.
    pub fn tree(&self) -> &Tree {
        &self.layout.tree
    }
}

impl Shown {
    /// The listings.
    pub fn view(&self) -> Result<View<'_>, StoreError> {
        match self {
            Shown::Stage(snapshot) => traced::view(snapshot),
            Shown::Context(laid) => {
                let tree = &laid.layout.tree;
                Ok(View::new([Stacked::Listed { id: tree.id(), tree }]))
            }
        }
    }

    /// What its space is called in a trace: the target, and which file it is where it is one. So a file in the place
    /// of a directory is another space.
    pub fn space(&self, mount: &RunMount) -> String {
        let target = &mount.target;
        match self {
            Shown::Context(laid) => match &laid.file {
                Some(name) => format!("{target} (the file {})", String::from_utf8_lossy(name)),
                None => target.clone(),
            },
            Shown::Stage(_) => target.clone(),
        }
    }

    /// Where the step sees a path of it.
    pub fn place_of(&self, mount: &RunMount, path: &TreePath) -> TreePath {
        let target = TreePath::new(&mount.target);
        let inside = match self {
            Shown::Context(laid) if laid.file.is_some() => None,
            Shown::Context(_) => Some(path.clone()),
            // From the source on, where no link led to another place.
            Shown::Stage(_) => path.strip_prefix(&TreePath::new(source_of(mount))),
        };
        match inside {
            Some(inside) if !inside.is_root() => target.join(inside.as_bytes()),
            _ => target,
        }
    }

    /// A path of it as people know it: where it is in the context, or in the stage.
    pub fn origin_of(&self, path: &TreePath) -> TreePath {
        match self {
            Shown::Stage(_) => path.clone(),
            Shown::Context(laid) if laid.file.is_some() => laid.real.clone(),
            Shown::Context(laid) => laid.real.join(path.as_bytes()),
        }
    }
}

/// A bind mount of a step that is about to run.
pub(super) struct Bound {
    pub shown: Shown,
    /// The name of its space.
    pub space: String,
    /// The upper directory of its overlay, by which it is known among the mounts.
    pub upper: PathBuf,
    /// Its layers as they are watched, the topmost first; `None` for the host's own files, which are not.
    pub lowers: Option<Vec<Lower>>,
    /// What was looked at to find what it shows.
    pub looked: Looked,
}

impl Bound {
    /// Its place among the mounts.
    pub fn index(&self, mounts: &[Mount]) -> Option<usize> {
        let is_it = |mount: &Mount| matches!(&mount.source, MountSource::Overlay { upper, .. } if *upper == self.upper);
        mounts.iter().position(is_it)
    }
}

/// The bind mounts of a step.
pub(super) fn binds(run: &RunStep) -> impl Iterator<Item = (&RunMount, &Origin)> {
    let bound = run.mounts.iter().filter(|mount| mount.mount.kind == MountKind::Bind);
    bound.filter_map(|mount| Some((mount, mount.origin.as_ref()?)))
}

impl Steps<'_> {
    /// What the bind mounts, and the seeds of caches, are in the key.
    pub(super) fn mounted(&self, step: &Step, run: &RunStep) -> Result<Mounted, BuildError> {
        let fail = |error: RunError| self.step_error(step, error);
        let mut mounted = Vec::new();
        let mut parts = Vec::new();
        for mount in &run.mounts {
            match &mount.origin {
                Some(Origin::Context(id)) => {
                    let tree = self.mounted_tree(mount, *id).map_err(fail)?;
                    mounted.push((mount.target.clone(), tree));
                }
                Some(Origin::Step { node, .. }) => {
                    parts.push(keys::mounted_layers(&mount.target, &self.snapshot(*node)));
                }
                None => {}
            }
        }
        Ok((mounted, parts))
    }

    /// The files of a context that a mount shows, by their places there.
    fn mounted_tree(&self, mount: &RunMount, id: ContextId) -> Result<Tree, RunError> {
        let context = self.context(id);
        let source = context.tree(self.store)?;
        let path = source_of(mount);
        let selected = source
            .select(std::slice::from_ref(&path), Matching::Patterns)
            .map_err(|_| missing(mount, context.name()))?;
        Ok(source.read_by(&selected, None, false).into_owned())
    }

    /// The same, laid out as the step sees them. Several steps of a build have the same mount.
    fn laid(&self, mount: &RunMount, id: ContextId) -> Result<Arc<Laid>, RunError> {
        let path = source_of(mount);
        let known = (id, path.clone());
        let all = || self.laid.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(laid) = all().get(&known) {
            return Ok(Arc::clone(laid));
        }
        let context = self.context(id);
        let source = context.tree(self.store)?;
        let selected = source.select(&[path], Matching::Patterns).map_err(|_| missing(mount, context.name()))?;
        let first = selected.first();
        let file = match first {
            Some(one) if one.is_dir => None,
            one => Some(one.and_then(|one| one.written.file_name()).unwrap_or_default().into()),
        };
        let real = first.map(|one| one.real.clone()).unwrap_or_default();
        let laid = Arc::new(Laid { layout: layout::at_root(&source, &selected)?, real, file });
        all().insert(known, Arc::clone(&laid));
        Ok(laid)
    }

    /// What a bind mount would show now.
    fn shown(&self, mount: &RunMount, origin: &Origin) -> Result<Shown, RunError> {
        Ok(match origin {
            Origin::Context(id) => Shown::Context(self.laid(mount, *id)?),
            Origin::Step { node, .. } => Shown::Stage(self.snapshot(*node)),
        })
    }

    /// What each bind mount of a step would show now.
    pub(super) fn shown_by<'r>(&self, run: &'r RunStep) -> Result<Vec<(&'r RunMount, Shown)>, RunError> {
        binds(run).map(|(mount, origin)| Ok((mount, self.shown(mount, origin)?))).collect()
    }

    /// What is mounted for a bind mount, and whether it is a directory.
    pub(super) fn bind(
        &self,
        mount: &RunMount,
        prepared: &Prepared,
        held: &mut Held,
    ) -> Result<(MountSource, bool), RunError> {
        match &mount.origin {
            Some(Origin::Step { node, name }) => self.bind_from_stage(mount, &self.snapshot(*node), name, held),
            Some(Origin::Context(id)) => self.bind_from_context(mount, *id, prepared, held),
            None => unreachable!("the plan gives every bind mount an origin"),
        }
    }

    fn bind_from_stage(
        &self,
        mount: &RunMount,
        from: &Snapshot,
        name: &str,
        held: &mut Held,
    ) -> Result<(MountSource, bool), RunError> {
        let looked = Looked::default();
        // Links in the source decide what is shown, and so does what is at its end.
        let real = resolve_with(&TreePath::new(source_of(mount)), true, &|path| {
            looked.at(path);
            from.lookup(path)
        })?;
        let found = from.lookup(&real)?.ok_or_else(|| missing(mount, name))?;
        let mut lowers = from.dirs();
        let mut watched = Some(traced::lowers(from)?);
        let mut subpath = PathBuf::from(OsStr::from_bytes(real.as_bytes()));
        // The host's own directories are no part of the snapshot's directories.
        if let Some(host) = from.host_dirs().into_iter().find(|dir| Path::new("/").join(&subpath).starts_with(dir)) {
            let top = host.file_name().unwrap_or_default();
            lowers = lowers.iter().map(|dir| dir.join(top)).filter(|dir| dir.is_dir()).collect();
            lowers.push(host.to_path_buf());
            subpath = subpath.strip_prefix(top).map(Path::to_path_buf).unwrap_or_default();
            // As in a root, they are one thing.
            looked.whole(&real);
            watched = None;
        }
        let (source, upper) = self.throwaway_overlay(lowers, subpath, watched.as_mut(), held)?;
        let shown = Shown::Stage(from.clone());
        held.bound.push(Bound { space: shown.space(mount), shown, upper, lowers: watched, looked });
        Ok((source, found.file_type == Type::Dir))
    }

    /// A bind mount of the context shows a copy, made once for each content: the files may change while
    /// the command runs, and what the ignore file excludes is not there.
    fn bind_from_context(
        &self,
        mount: &RunMount,
        id: ContextId,
        prepared: &Prepared,
        held: &mut Held,
    ) -> Result<(MountSource, bool), RunError> {
        let laid = self.laid(mount, id)?;
        let tree = prepared.mounted.iter().find(|(target, _)| *target == mount.target).map(|(_, tree)| tree);
        if let Some(tree) = tree {
            self.store.put_tree(tree)?;
        }
        let layer = self.layer_of(&laid.layout, self.context(id))?;
        let is_dir = laid.file.is_none();
        let subpath = PathBuf::from(OsStr::from_bytes(laid.file.as_deref().unwrap_or_default()));
        let mut watched = Some(vec![traced::lower(&layer)?]);
        let (source, upper) = self.throwaway_overlay(layer.dirs().to_vec(), subpath, watched.as_mut(), held)?;
        let shown = Shown::Context(laid);
        let looked = Looked::default();
        held.bound.push(Bound { space: shown.space(mount), shown, upper, lowers: watched, looked });
        Ok((source, is_dir))
    }

    /// An overlay whose upper directory is thrown away; where it stands on nothing, on an empty directory, which then is
    /// watched too.
    fn throwaway_overlay(
        &self,
        mut lowers: Vec<PathBuf>,
        subpath: PathBuf,
        watched: Option<&mut Vec<Lower>>,
        held: &mut Held,
    ) -> Result<(MountSource, PathBuf), RunError> {
        if lowers.is_empty() {
            let empty = self.store.stage()?;
            lowers.push(empty.path().to_path_buf());
            watched.into_iter().for_each(|all| all.insert(0, Lower { dirs: lowers.clone(), listing: None }));
            held.discarded.push(empty);
        }
        let upper = self.store.stage()?;
        let work = Staged::new(self.store.session()?.directory("work")?);
        let path = upper.path().to_path_buf();
        let source = MountSource::Overlay { lowers, upper: path.clone(), work: work.path().to_path_buf(), subpath };
        held.discarded.extend([upper, work]);
        Ok((source, path))
    }

    fn layer_of(&self, layout: &Layout, context: &BuildContext) -> Result<Arc<Layer>, RunError> {
        if let Some(layer) = self.store.layer(layout.tree.id())? {
            return Ok(layer);
        }
        let staged = self.store.stage()?;
        let open = |path: &TreePath| context.open_file(path);
        let source = write::Source { inline: &[], open: &open, facts: &context.tree(self.store)?.facts };
        write::write(layout, &source, &|_| true, staged.path())?;
        Ok(self.store.commit_layer(&layout.tree, staged, &[])?)
    }
}

/// The path that a mount shows, as written.
fn source_of(mount: &RunMount) -> String {
    mount.mount.source.clone().unwrap_or_else(|| "/".to_owned())
}

fn missing(mount: &RunMount, root: &str) -> RunError {
    RunError::MissingSource { path: source_of(mount), target: mount.target.clone(), root: root.to_owned() }
}
