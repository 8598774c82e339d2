//! RUN as a step: its key before, and its execution in a sandbox.
//!
//! The snapshot's directories are the overlay's lower ones; what the command leaves in the upper one is
//! the layer, moved into the store as it is.

use super::bind_mount::Bound;
use super::copy_step::{self, Made};
use super::keys;
use super::secrets::Secrets;
use super::steps::Steps;
use super::traced::Looked;
use crate::agent::{Loan, SOCKET_NAME};
use crate::api::{BuildError, Exit, NetworkMode};
use crate::copy::layout;
use crate::copy::write;
use crate::event::Stream;
use crate::explain::secrecy::is_secret;
use crate::key::Component;
use crate::plan::{RunMount, RunStep, Step};
use crate::sandbox::{
    self, Attached, Existing, ExistingKind, Ids, Lower, Mount, MountSource, Network, Passwd, Reached, SecretBytes,
    Security, Spec, Stubs, UserError,
};
use crate::snapshot::{Found, LookupError, Snapshot, Type};
use crate::store::{Staged, Store, StoreError};
use crate::tree::{Entry, Kind, Tree, TreePath, upper};
use kiln_dsl::mount::MountKind;
use kiln_dsl::span::Span;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The host name that steps see, as BuildKit's do, so that nothing of the machine gets into an image.
const HOSTNAME: &str = "buildkitsandbox";

/// The largest /etc/passwd or /etc/group that is read, as in BuildKit.
const ACCOUNT_FILE_MAX_BYTES: u64 = 10 << 20;

/// Size of /dev/shm where nothing else is asked for, as in Docker.
const SHM_BYTES: u64 = 64 << 20;

/// Where ssh finds its agent.
const AUTH_SOCK: &str = "SSH_AUTH_SOCK";

/// A RUN whose key is known.
#[derive(Default)]
pub(crate) struct Prepared {
    /// What its bind mounts from the context show, where that was looked at.
    pub mounted: Vec<(String, Tree)>,
    /// The files that its stated key names.
    pub listings: Vec<Tree>,
}

/// Why a RUN could not be begun or its result not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
    #[error(transparent)]
    Stubs(#[from] sandbox::StubError),
    #[error(transparent)]
    User(#[from] UserError),
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Scan(#[from] crate::tree::scan::ScanError),
    #[error(transparent)]
    Layout(#[from] layout::LayoutError),
    #[error(transparent)]
    Write(#[from] write::WriteError),
    #[error("{action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the source {path} of the mount {target} is not in {root}")]
    MissingSource { path: String, target: String, root: String },
    #[error("failed to read the secret {id:?}")]
    Secret {
        id: String,
        #[source]
        source: io::Error,
    },
    #[error("the secret {id:?} was not given")]
    MissingSecret { id: String, span: Span },
    #[error("the ssh agent {id:?} was not given")]
    MissingAgent { id: String, span: Span },
    #[error("the ssh agent {id:?} cannot be used")]
    Agent {
        id: String,
        #[source]
        source: crate::agent::AgentError,
    },
    #[error(transparent)]
    Copy(#[from] Box<copy_step::CopyError>),
}

impl From<copy_step::CopyError> for RunError {
    fn from(error: copy_step::CopyError) -> Self {
        RunError::Copy(Box::new(error))
    }
}

pub(super) fn io_failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RunError {
    let path = path.to_path_buf();
    move |source| RunError::Io { action, path, source }
}

/// The image's passwd and group files; `None` for one that is not there.
pub(crate) type AccountFiles = (Option<Vec<u8>>, Option<Vec<u8>>);

/// Reads the image's passwd and group files.
pub(crate) fn account_files(snapshot: &Snapshot) -> Result<AccountFiles, LookupError> {
    let read = |path: &str| snapshot.read(&TreePath::new(path), ACCOUNT_FILE_MAX_BYTES);
    Ok((read("etc/passwd")?, read("etc/group")?))
}

/// The owner that `--chown` or USER means for a file: a number is user and group; an unknown name, or no
/// name, is root, as in BuildKit. `5` is 5:5 and `5:` is 5:0.
pub(crate) fn owner_ids(spec: &str, passwd: Option<&[u8]>, group: Option<&[u8]>) -> (u32, u32) {
    let (user, wanted) = spec.split_once(':').map_or((spec, None), |(user, group)| (user, Some(group)));
    let (uid, mut gid) = match user.parse::<u32>() {
        Ok(number) => (number, number),
        Err(_) => sandbox::resolve_user(user, passwd, group).map_or((0, 0), |ids| (ids.uid, ids.gid)),
    };
    if let Some(wanted) = wanted {
        gid = match wanted.parse::<u32>() {
            Ok(number) => number,
            Err(_) if wanted.is_empty() => 0,
            Err(_) => sandbox::resolve_user(&format!("0:{wanted}"), passwd, group).map_or(gid, |ids| ids.gid),
        };
    }
    (uid, gid)
}

/// What has to live until the command has ended.
#[derive(Default)]
pub(super) struct Held {
    /// Agents that are lent; they end before their directories go.
    loans: Vec<Loan>,
    /// Directories that are thrown away afterwards.
    pub(super) discarded: Vec<Staged>,
    /// Bind mounts, in their order.
    pub(super) bound: Vec<Bound>,
    /// Locks of cache mounts.
    pub(super) locks: Vec<OwnedFd>,
    /// Values of secrets that the command was given.
    secrets: Secrets,
    /// Overlays over the host's own directories: name and upper directory.
    host_uppers: Vec<(String, PathBuf)>,
}

impl Steps<'_> {
    pub(super) fn offline(&self, run: &RunStep) -> bool {
        run.offline || self.request.network == NetworkMode::None
    }

    /// The key's components of a RUN, and what running it needs.
    pub(super) fn prepare_run(&self, step: &Step, run: &RunStep) -> Result<(Vec<Component>, Prepared), BuildError> {
        if let Some(declared) = &run.key {
            return self.prepare_declared(step, run, declared);
        }
        let (mounted, parts) = self.mounted(step, run)?;
        let mut components = keys::run(run, self.offline(run));
        components.extend(mounted.iter().map(|(target, tree)| keys::mounted(target, tree)));
        components.extend(keys::environment(run));
        components.extend(parts);
        components.push(keys::parent(&self.snapshot(step.parent)));
        Ok((components, Prepared { mounted, listings: Vec::new() }))
    }

    /// Runs the command; gives its layer.
    pub(super) fn run_command(&self, step: &Step, run: &RunStep, prepared: &Prepared) -> Result<Made, BuildError> {
        let shown = &self.plan.shown[step.shown];
        for listing in &prepared.listings {
            // What the next build compares with.
            self.store.put_tree(listing).map_err(|error| super::store_error(&self.request.store, error))?;
        }
        let secrets = OnceLock::<Secrets>::new();
        let mut lines = Lines::new(|stream, text| {
            let text = match secrets.get() {
                Some(secrets) => secrets.hidden_in(text),
                None => text,
            };
            self.wrote(step.shown, stream, text);
        });
        let mut take = |stream, bytes: &[u8]| lines.push(stream, bytes);
        let outcome = self.run_in_sandbox(step, run, prepared, &secrets, &mut take);
        if outcome.is_ok() {
            lines.finish();
        }
        let (exit, made) = match outcome {
            Ok(parts) => parts,
            Err(RunError::Sandbox(sandbox::Error::Cancelled)) => return Err(BuildError::Cancelled),
            Err(RunError::MissingSecret { id, span }) => {
                let (step, place) = (shown.name.clone(), Some(self.file.place(span)));
                return Err(BuildError::MissingSecret { step, place, id });
            }
            Err(RunError::MissingAgent { id, span }) => {
                let (step, place) = (shown.name.clone(), Some(self.file.place(span)));
                return Err(BuildError::MissingAgent { step, place, id });
            }
            Err(error) => return Err(self.step_error(step, error)),
        };
        let exit = match exit {
            sandbox::Exit::Code(0) => return Ok(made),
            sandbox::Exit::Code(code) => Exit::Code(code),
            sandbox::Exit::Signal(signal) => Exit::Signal(signal),
        };
        Err(BuildError::StepFailed { step: shown.name.clone(), place: Some(self.file.place(shown.span)), exit })
    }

    /// Runs the command, handing on what it writes; gives how it ended, and its layer where it ended well. `secrets`
    /// is set to those that it gets, before it begins.
    pub(super) fn run_in_sandbox(
        &self,
        step: &Step,
        run: &RunStep,
        prepared: &Prepared,
        secrets: &OnceLock<Secrets>,
        output: &mut dyn FnMut(Stream, &[u8]),
    ) -> Result<(sandbox::Exit, Made), RunError> {
        let snapshot = self.snapshot(step.parent);
        let session = self.store.session()?;
        let staged = self.store.stage()?;
        let work = Staged::new(session.directory("work")?);
        let scratch = Staged::new(session.directory("root")?);
        let mut held = Held::default();
        let (passwd, group) = account_files(&snapshot)?;
        let looked = Looked::default();
        for path in ["etc/passwd", "etc/group"] {
            looked.read(&snapshot, &TreePath::new(path))?;
        }
        let user = match run.user.as_str() {
            "" => Ids::default(),
            spec => sandbox::resolve_user(spec, passwd.as_deref(), group.as_deref())?,
        };
        let home = Passwd::new(passwd.as_deref()).home(user.uid).map(<[u8]>::to_vec);
        let mut env: Vec<(OsString, OsString)> =
            run.env.iter().chain(&run.proxies).map(|(name, value)| (name.into(), value.into())).collect();
        if !run.env.iter().any(|(name, _)| name == "HOME") {
            let home = home.filter(|home| !home.is_empty()).unwrap_or_else(|| b"/".to_vec());
            env.push(("HOME".into(), std::os::unix::ffi::OsStringExt::from_vec(home)));
        }
        let mut mounts = self.host_mounts(&snapshot, &mut held)?;
        let caches = self.caches(run, &mut held)?;
        for mount in &run.mounts {
            mounts.extend(self.mount(mount, &caches, prepared, &mut env, &mut held)?);
        }
        if let Some((name, content)) = &run.script {
            mounts.push(self.script(name, content, &mut held)?);
        }
        let stubs = Stubs::plan(&mut mounts, &|path| {
            use std::os::unix::ffi::OsStrExt as _;
            let path = TreePath::new(path.as_os_str().as_bytes());
            looked.at(&path);
            let found = snapshot.lookup(&path).map_err(io::Error::other)?;
            Ok(found.map(existing))
        })?;
        let mut lowers = Vec::new();
        let mut above = Vec::new();
        if !stubs.is_empty() {
            let layer = self.store.stage()?;
            stubs.write(layer.path())?;
            lowers.push(layer.path().to_path_buf());
            above.push(Lower { dirs: lowers.clone(), listing: None });
            held.discarded.push(layer);
        }
        lowers.extend(snapshot.dirs());
        if lowers.is_empty() {
            // An overlay needs something below: an empty root.
            let empty = self.store.stage()?;
            lowers.push(empty.path().to_path_buf());
            above.push(Lower { dirs: lowers.clone(), listing: None });
            held.discarded.push(empty);
        }
        let mut spec = Spec {
            lowers,
            upper: staged.path().to_path_buf(),
            work: work.path().to_path_buf(),
            scratch: scratch.path().to_path_buf(),
            argv: run.argv.iter().map(OsString::from).collect(),
            env,
            cwd: PathBuf::from(&run.workdir),
            user,
            hostname: run.hostname.clone().unwrap_or_else(|| HOSTNAME.to_owned()),
            network: if self.offline(run) { Network::None } else { Network::Host },
            security: if run.insecure { Security::Insecure } else { Security::Sandbox },
            mounts,
            extra_hosts: self.request.add_hosts.iter().map(|host| (host.name.clone(), host.address)).collect(),
            shm_size: self.request.shm_size.unwrap_or(SHM_BYTES),
        };
        let arguments = self.request.build_args.iter().filter(|(name, _)| is_secret(name));
        arguments.for_each(|(_, value)| held.secrets.add(value.as_bytes()));
        let _ = secrets.set(std::mem::take(&mut held.secrets));
        let tracer = self.tracer(run, above, &snapshot, (&held.bound, &spec.mounts))?;
        if tracer.is_none() {
            self.bound_lowers(&mut spec)?;
        }
        let (exit, traced) = sandbox::run_traced(&spec, tracer, output, self.cancel_of(step))?;
        if traced.as_ref().is_some_and(|traced| traced.reached == Reached::Unknown) {
            self.tell_untold();
        }
        if exit != sandbox::Exit::Code(0) {
            // One that reached the network, or may have, can succeed with the same inputs.
            if !self.offline(run) && traced.as_ref().is_none_or(|traced| traced.reached.may_be_others()) {
                self.fickle.lock().unwrap_or_else(PoisonError::into_inner).insert(step.shown);
            }
            if self.request.on_error_shell {
                self.look_around(spec, step)?;
            }
            return Ok((exit, Made::whole(Tree::default(), staged)));
        }
        for (name, upper_dir) in std::mem::take(&mut held.host_uppers) {
            move_host_upper(&name, &upper_dir, staged.path())?;
        }
        let below = |path: &TreePath| entry_below(&snapshot, path);
        let tree = upper::read(staged.path(), &below)?;
        let bound = std::mem::take(&mut held.bound);
        let trace_of = |traced| self.trace_of(run, traced, (looked, &snapshot, &tree), (bound, &spec.mounts));
        let trace = traced.map(trace_of).transpose()?;
        Ok((exit, Made { trace, ..Made::whole(tree, staged) }))
    }

    /// Keeps overlays that are not watched within the kernel's limit.
    fn bound_lowers(&self, spec: &mut Spec) -> Result<(), StoreError> {
        spec.lowers = self.store.combined(std::mem::take(&mut spec.lowers))?;
        for mount in &mut spec.mounts {
            if let MountSource::Overlay { lowers, .. } = &mut mount.source {
                *lowers = self.store.combined(std::mem::take(lowers))?;
            }
        }
        Ok(())
    }

    /// A shell on the terminal in the root that a failed command has left.
    fn look_around(&self, mut spec: Spec, step: &Step) -> Result<(), RunError> {
        self.bound_lowers(&mut spec)?;
        // One shell has the terminal at a time.
        static TERMINAL: Mutex<()> = Mutex::new(());
        let _turn = TERMINAL.lock().unwrap_or_else(PoisonError::into_inner);
        let work = Staged::new(self.store.session()?.directory("work")?);
        let scratch = Staged::new(self.store.session()?.directory("root")?);
        let streams = Attached::standard().map_err(io_failed("failed to open", Path::new("the terminal")))?;
        let shell = Spec {
            argv: vec!["/bin/sh".into()],
            work: work.path().to_path_buf(),
            scratch: scratch.path().to_path_buf(),
            ..spec
        };
        let cancel = self.cancel_of(step);
        // How the shell ends says nothing of the step.
        sandbox::run_attached(&shell, streams, cancel, cancel)?;
        Ok(())
    }

    /// Overlays for the host's own directories, where the snapshot stands on them.
    fn host_mounts(&self, snapshot: &Snapshot, held: &mut Held) -> Result<Vec<Mount>, RunError> {
        let (mounts, uppers, overlays) = host_overlays(self.store, snapshot)?;
        held.host_uppers.extend(uppers);
        held.discarded.extend(overlays);
        Ok(mounts)
    }

    fn mount(
        &self,
        mount: &RunMount,
        caches: &BTreeMap<String, PathBuf>,
        prepared: &Prepared,
        env: &mut Vec<(OsString, OsString)>,
        held: &mut Held,
    ) -> Result<Option<Mount>, RunError> {
        let target = PathBuf::from(&mount.target);
        let spec = &mount.mount;
        Ok(Some(match spec.kind {
            MountKind::Bind => {
                let (source, is_dir) = self.bind(mount, prepared, held)?;
                Mount { target, source, read_only: spec.is_read_only(), is_dir }
            }
            MountKind::Cache => {
                let root = caches.get(&mount.target).cloned().expect("every cache mount was given its directory");
                // What is shown of a cache that began with nothing is a directory that a command made in it.
                let subpath = spec.source.as_deref().filter(|_| mount.origin.is_none()).unwrap_or_default();
                let subpath = PathBuf::from(subpath.trim_start_matches('/'));
                let source = MountSource::Bind { root, subpath };
                Mount { target, source, read_only: spec.is_read_only(), is_dir: true }
            }
            MountKind::Tmpfs => {
                let source = MountSource::Tmpfs { size: spec.size, mode: 0o1777 };
                Mount { target, source, read_only: false, is_dir: true }
            }
            MountKind::Secret => {
                let id = spec.id.clone().or_else(|| spec.source.clone());
                // A target alone names the secret by its last part.
                let id = id.or_else(|| Some(spec.target.as_ref()?.rsplit('/').next()?.to_owned())).unwrap_or_default();
                let Some(value) = self.secret(&id)? else {
                    return if spec.required {
                        Err(RunError::MissingSecret { id, span: mount.span })
                    } else {
                        Ok(None)
                    };
                };
                held.secrets.add(&value);
                if let Some(name) = &spec.env {
                    let name = if name.is_empty() { &id } else { name };
                    env.retain(|(other, _)| other.as_os_str() != name.as_str());
                    env.push((name.into(), std::os::unix::ffi::OsStringExt::from_vec(value.clone())));
                    if spec.target.is_none() {
                        return Ok(None);
                    }
                }
                let (uid, gid) = (spec.uid.unwrap_or(0), spec.gid.unwrap_or(0));
                let source =
                    MountSource::File { content: SecretBytes::new(value), mode: spec.mode.unwrap_or(0o400), uid, gid };
                Mount { target, source, read_only: true, is_dir: false }
            }
            MountKind::Ssh => {
                if !env.iter().any(|(name, _)| name == AUTH_SOCK) {
                    env.push((AUTH_SOCK.into(), target.clone().into()));
                }
                let id = spec.id.as_deref().unwrap_or("default");
                let Some(agent) =
                    self.agents.socket(id).map_err(|source| RunError::Agent { id: id.to_owned(), source })?
                else {
                    let id = id.to_owned();
                    return if spec.required { Err(RunError::MissingAgent { id, span: mount.span }) } else { Ok(None) };
                };
                let place = self.store.stage()?;
                let owner = (spec.uid.unwrap_or(0), spec.gid.unwrap_or(0));
                let loan = Loan::start(&agent, place.path(), spec.mode.unwrap_or(0o600), owner)
                    .map_err(io_failed("failed to reach the ssh agent at", &agent))?;
                let source =
                    MountSource::Bind { root: place.path().to_path_buf(), subpath: PathBuf::from(SOCKET_NAME) };
                held.loans.push(loan);
                held.discarded.push(place);
                Mount { target, source, read_only: false, is_dir: false }
            }
        }))
    }

    /// The value of a secret, if the build was given it.
    pub(super) fn secret(&self, id: &str) -> Result<Option<Vec<u8>>, RunError> {
        let failed = |source| RunError::Secret { id: id.to_owned(), source };
        super::sources::secret(self.request, id).map_err(failed)
    }

    /// The script of a heredoc with `#!`, below `/dev/pipes`.
    fn script(&self, name: &str, content: &str, held: &mut Held) -> Result<Mount, RunError> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = self.store.stage()?;
        let path = dir.path().join(name);
        fs::write(&path, content).map_err(io_failed("failed to write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(io_failed("failed to set the mode of", &path))?;
        let root = dir.path().to_path_buf();
        held.discarded.push(dir);
        Ok(Mount {
            target: PathBuf::from("/dev/pipes"),
            source: MountSource::Bind { root, subpath: PathBuf::new() },
            read_only: true,
            is_dir: true,
        })
    }
}

/// Overlays over the host's own directories: how they are mounted, the upper directory of each by its name, and
/// what has to live as long.
pub(crate) type HostOverlays = (Vec<Mount>, Vec<(String, PathBuf)>, Vec<Staged>);

/// Overlays for the host's own directories, where the snapshot stands on them.
pub(crate) fn host_overlays(store: &Store, snapshot: &Snapshot) -> Result<HostOverlays, StoreError> {
    let (mut mounts, mut uppers, mut held) = (Vec::new(), Vec::new(), Vec::new());
    for dir in snapshot.host_dirs() {
        let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let above = snapshot.from_top().filter(|layer| !layer.is_host());
        let mut lowers: Vec<PathBuf> =
            above.flat_map(|layer| layer.dirs()).map(|layer| layer.join(&name)).filter(|path| path.is_dir()).collect();
        lowers.push(dir.to_path_buf());
        let upper = store.stage()?;
        let work = Staged::new(store.session()?.directory("work")?);
        mounts.push(Mount {
            target: dir.to_path_buf(),
            source: MountSource::Overlay {
                lowers,
                upper: upper.path().to_path_buf(),
                work: work.path().to_path_buf(),
                subpath: PathBuf::new(),
            },
            read_only: false,
            is_dir: true,
        });
        uppers.push((name, upper.path().to_path_buf()));
        held.extend([upper, work]);
    }
    Ok((mounts, uppers, held))
}

/// Moves what was written over a host directory to where it belongs in the layer.
fn move_host_upper(name: &str, from: &Path, layer: &Path) -> Result<(), RunError> {
    let mut entries = fs::read_dir(from).map_err(io_failed("failed to list", from))?;
    if entries.next().is_none() {
        return Ok(());
    }
    let to = layer.join(name);
    // The main overlay may hold a bare copy of the directory, never anything in it.
    match fs::remove_dir(&to) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(io_failed("failed to replace", &to)(error));
        }
        _ => {}
    }
    fs::rename(from, &to).map_err(io_failed("failed to move", from))
}

pub(crate) fn existing(found: Found) -> Existing {
    let kind = match found.file_type {
        Type::Dir => ExistingKind::Directory,
        Type::Symlink(target) => ExistingKind::Symlink(target),
        Type::File | Type::Other => ExistingKind::File,
    };
    Existing { kind, mode: found.mode, uid: found.uid, gid: found.gid, mtime: found.mtime, xattrs: found.xattrs }
}

/// A directory of the snapshot as an entry; other things only matter by not being one.
fn entry_below(snapshot: &Snapshot, path: &TreePath) -> Option<Entry> {
    let found = snapshot.lookup(path).ok().flatten()?;
    let kind = match found.file_type {
        Type::Dir => Kind::Dir { opaque: false },
        _ => Kind::Fifo,
    };
    let (mode, uid, gid) = (found.mode, found.uid, found.gid);
    Some(Entry { path: path.clone(), kind, mode, uid, gid, xattrs: found.xattrs, mtime: found.mtime })
}

/// Cuts output into whole lines, each stream on its own.
struct Lines<F: FnMut(Stream, String)> {
    emit: F,
    rest: [Vec<u8>; 2],
}

/// A line longer than this is passed on in pieces, so that output without newlines stays in memory only
/// for a moment.
const LINE_MAX_BYTES: usize = 64 << 10;

impl<F: FnMut(Stream, String)> Lines<F> {
    fn new(emit: F) -> Self {
        Lines { emit, rest: [Vec::new(), Vec::new()] }
    }

    fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let rest = &mut self.rest[usize::from(stream == Stream::Stderr)];
        rest.extend_from_slice(bytes);
        let end = match rest.iter().rposition(|&b| b == b'\n') {
            Some(at) => at + 1,
            None if rest.len() > LINE_MAX_BYTES => rest.len(),
            None => return,
        };
        let text = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest.drain(..end);
        (self.emit)(stream, text);
    }

    fn finish(&mut self) {
        for (index, stream) in [Stream::Stdout, Stream::Stderr].into_iter().enumerate() {
            let rest = std::mem::take(&mut self.rest[index]);
            if !rest.is_empty() {
                (self.emit)(stream, String::from_utf8_lossy(&rest).into_owned());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_leaves_in_whole_lines_and_nothing_is_lost() {
        let mut seen = Vec::new();
        let mut lines = Lines::new(|stream, text| seen.push((stream, text)));
        lines.push(Stream::Stdout, b"a");
        lines.push(Stream::Stderr, b"x\ny");
        lines.push(Stream::Stdout, b"b\nc\nd");
        lines.finish();
        let expected =
            [(Stream::Stderr, "x\n"), (Stream::Stdout, "ab\nc\n"), (Stream::Stdout, "d"), (Stream::Stderr, "y")];
        assert_eq!(seen, expected.map(|(stream, text)| (stream, text.to_owned())));
    }

    #[test]
    fn an_owner_is_looked_up_as_buildkit_does() {
        let (passwd, group) = (Some(b"app:x:5:6::/:/bin/sh\n".as_slice()), Some(b"web:x:9:\n".as_slice()));
        assert_eq!(owner_ids("app", passwd, group), (5, 6));
        assert_eq!(owner_ids("app:web", passwd, group), (5, 9));
        assert_eq!(owner_ids("7", passwd, group), (7, 7));
        assert_eq!(owner_ids("7:8", passwd, group), (7, 8));
        assert_eq!(owner_ids("7:", passwd, group), (7, 0));
        assert_eq!(owner_ids("7:nobody-here", passwd, group), (7, 7));
        assert_eq!(owner_ids(":web", passwd, group), (0, 9));
        assert_eq!(owner_ids("nobody-here", passwd, group), (0, 0));
    }
}
