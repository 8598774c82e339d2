//! WORKDIR: a layer of the directories that are not there yet, and layers of directories alone.

use super::{Input, Missed, Steps, mtime_now};
use crate::api::BuildError;
use crate::build::copy_step::Made;
use crate::build::{keys, run_step, store_error};
use crate::graph::NodeId;
use crate::plan::{Step, WorkdirStep};
use crate::snapshot::{LookupError, Snapshot};
use crate::tree::disk::DirWriter;
use crate::tree::{Entry, Kind, Tree, TreePath};
use std::time::Instant;

impl Steps<'_> {
    pub(super) fn settle_workdir(
        &self,
        id: NodeId,
        step: &Step,
        workdir: &WorkdirStep,
    ) -> Result<Option<Missed>, BuildError> {
        let snapshot = self.snapshot(step.parent);
        let owner = self.owner(&snapshot, &workdir.user).map_err(|error| self.step_error(step, error))?;
        let path = TreePath::new(&workdir.path);
        let state = keys::destination_state(&snapshot, &path, true).map_err(|error| self.step_error(step, error))?;
        self.look_up(id, step, self.key("WORKDIR", keys::workdir(workdir, owner, state)), Input::None)
    }

    /// The numbers that `user[:group]` means in a snapshot; an unknown name is root, as in BuildKit, but
    /// an error where nothing can be known.
    pub(in crate::build) fn owner(&self, snapshot: &Snapshot, user: &str) -> Result<(u32, u32), LookupError> {
        if user.is_empty() {
            return Ok((0, 0));
        }
        let needs_no_file = |part: &str| part == "root" || part.bytes().all(|b| b.is_ascii_digit());
        if snapshot.count() == 0 && !user.split(':').all(needs_no_file) {
            return Err(LookupError::NoAccounts { name: user.to_owned() });
        }
        let (passwd, group) = run_step::account_files(snapshot)?;
        Ok(run_step::owner_ids(user, passwd.as_deref(), group.as_deref()))
    }

    pub(super) fn run_workdir(
        &self,
        id: NodeId,
        step: &Step,
        workdir: &WorkdirStep,
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
        self.keep_directories(id, step, missed, entries, started)
    }

    /// Keeps a layer of directories alone.
    pub(in crate::build) fn keep_directories(
        &self,
        id: NodeId,
        step: &Step,
        missed: Missed,
        entries: Vec<Entry>,
        started: Instant,
    ) -> Result<(), BuildError> {
        let tree = Tree::new(entries);
        let staged = self.store.stage().map_err(|error| store_error(&self.request.store, error))?;
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
