//! Runs a command in an image of the store: in the sandbox of steps, with the image's own configuration, on
//! the host's network. What the command changes is thrown away.
//!
//! A container is prepared first, and may then run on any thread; it keeps its layers pinned.

use crate::api::{Cancel, Exit, ManageError, Source};
use crate::build::{Memories, Workshop, account_files, existing, host_layer, host_overlays};
use crate::digest::LayerId;
use crate::image::config::ImageConfig;
use crate::manage::Which;
use crate::sandbox::{self, Attached, Ids, Network, Passwd, Security, Spec, Stubs};
use crate::snapshot::{Snapshot, Type};
use crate::store::{Layer, Staged, Store, StoreError};
use crate::tree::TreePath;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunRequest {
    /// A name, an id, or the beginning of an id.
    pub image: String,
    /// Stands for the image's CMD; empty leaves that.
    pub command: Vec<String>,
    /// Stands for the image's ENTRYPOINT, and takes its CMD away; the empty text leaves only the command.
    pub entrypoint: Option<String>,
    /// Added to the image's environment, or in place of what it has.
    pub env: Vec<(String, String)>,
    /// Stands for the image's USER.
    pub user: Option<String>,
    /// Stands for the image's WORKDIR.
    pub workdir: Option<String>,
    /// Run a shell instead of the image's command.
    pub shell: bool,
    /// No network but loopback.
    pub offline: bool,
}

/// The host name that a container sees.
const HOSTNAME: &str = "kiln";

/// Size of /dev/shm, as in Docker.
const SHM_BYTES: u64 = 64 << 20;

/// Why a container cannot be run, beside the store's reasons.
#[derive(Debug, thiserror::Error)]
enum Unusable {
    #[error("the image names no command")]
    NoCommand,
    #[error("its layer {0} is not in the store")]
    Layer(crate::digest::LayerId),
}

/// Makes containers of the images of one store.
#[derive(Clone)]
pub struct Runner(Arc<Workshop>);

/// A container that is ready to run.
pub struct Container {
    spec: Spec,
    image: String,
    /// What it uses stays until it has ended.
    _held: Vec<Staged>,
    _runner: Runner,
}

impl Runner {
    /// One for the store at `path`.
    pub fn new(path: &Path) -> Self {
        Runner(Arc::new(Workshop::new(path, Memories::default())))
    }

    /// One for a store that is open in this process already.
    pub(crate) fn of(shop: Arc<Workshop>) -> Self {
        Runner(shop)
    }

    /// Makes a container ready.
    ///
    /// # Errors
    /// The store has no such image, or it cannot be run.
    pub fn prepare(&self, request: &RunRequest) -> Result<Container, ManageError> {
        let store_path = self.0.path().to_path_buf();
        let failed = |error: StoreError| ManageError::Store { path: store_path.clone(), source: Box::new(error) };
        let store = self.0.store().map_err(&failed)?;
        let (key, image) = crate::manage::find_image(store, &request.image, &failed)?;
        let unusable = |source: Source| ManageError::Run { image: request.image.clone(), source };
        store.pin(key.as_bytes()).map_err(&failed)?;
        let config = ImageConfig::read_base(&image.config).map_err(|error| unusable(Box::new(error)))?;
        let host = match image.portable {
            true => None,
            false => Some(host_layer(store).map_err(|error| unusable(Box::new(error)))?),
        };
        let ids: Vec<LayerId> =
            host.iter().map(|layer| layer.id()).chain(image.layers.iter().map(|layer| layer.id)).collect();
        self.container(store, &ids, host.as_ref(), &config, request)
    }

    /// Makes a container ready whose files are those after a step of a build, or before it where it failed; with the
    /// environment, the directory and the user of the nearest command, else of the image that its stage begins with.
    ///
    /// # Errors
    /// The store knows no such step, or its layers are gone.
    pub fn prepare_step(&self, which: Which<'_>, step: &str, request: &RunRequest) -> Result<Container, ManageError> {
        let store_path = self.0.path().to_path_buf();
        let failed = |error: StoreError| ManageError::Store { path: store_path.clone(), source: Box::new(error) };
        let store = self.0.store().map_err(&failed)?;
        let after = crate::manage::after_step(store, self.0.path(), which, step)?;
        let mut config = match &after.base {
            Some(base) => match crate::manage::find_image(store, base, &failed) {
                Ok((_, image)) => ImageConfig::read_base(&image.config).ok(),
                // The host's files, nothing, or an image that is gone by now.
                Err(_) => None,
            },
            None => None,
        }
        .unwrap_or_else(|| ImageConfig::scratch("", "", ""));
        if after.base.is_none() {
            config.config.env = after.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
            (config.config.working_dir, config.config.user) = (after.workdir, after.user);
        }
        // Only a build on this host's files can have them, and as long as they are the same.
        let host = host_layer(store).ok().filter(|host| after.layers.first() == Some(&host.id()));
        let request = RunRequest { image: after.name, ..request.clone() };
        self.container(store, &after.layers, host.as_ref(), &config, &request)
    }

    fn container(
        &self,
        store: &Store,
        ids: &[LayerId],
        host: Option<&Arc<Layer>>,
        config: &ImageConfig,
        request: &RunRequest,
    ) -> Result<Container, ManageError> {
        let unusable = |source: Source| ManageError::Run { image: request.image.clone(), source };
        let mut layers = Vec::with_capacity(ids.len());
        for id in ids {
            let found = match host.filter(|host| host.id() == *id) {
                Some(host) => Some(host.clone()),
                None => store.layer(*id).map_err(|error| unusable(Box::new(error)))?,
            };
            layers.push(found.ok_or_else(|| unusable(Box::new(Unusable::Layer(*id))))?);
        }
        let mut held = Vec::new();
        let spec = spec(store, &Snapshot::of(layers), config, request, &mut held).map_err(unusable)?;
        Ok(Container { spec, image: request.image.clone(), _held: held, _runner: self.clone() })
    }
}

impl Container {
    /// Runs it to its end. With `terminate` its command gets SIGTERM, with `cancel` it is gone at once.
    ///
    /// # Errors
    /// It cannot be started, or was cancelled.
    pub fn run(&self, streams: Attached, terminate: &Cancel, cancel: &Cancel) -> Result<Exit, ManageError> {
        match sandbox::run_attached(&self.spec, streams, terminate, cancel) {
            Ok(sandbox::Exit::Code(code)) => Ok(Exit::Code(code)),
            Ok(sandbox::Exit::Signal(signal)) => Ok(Exit::Signal(signal)),
            Err(error) => Err(ManageError::Run { image: self.image.clone(), source: Box::new(error) }),
        }
    }
}

/// What runs: the words of the request, else those of the image.
fn argv(snapshot: &Snapshot, config: &ImageConfig, request: &RunRequest) -> Result<Vec<OsString>, Source> {
    if request.shell {
        let bash = snapshot.resolve(&TreePath::new("bin/bash"), true)?;
        let has_bash = snapshot.lookup(&bash)?.is_some_and(|found| found.file_type == Type::File);
        return Ok(vec![if has_bash { "/bin/bash".into() } else { "/bin/sh".into() }]);
    }
    let mut words: Vec<&str> = match &request.entrypoint {
        Some(entrypoint) => Some(entrypoint.as_str()).filter(|word| !word.is_empty()).into_iter().collect(),
        None => config.config.entrypoint.iter().map(String::as_str).collect(),
    };
    match (request.command.is_empty(), &request.entrypoint) {
        (false, _) => words.extend(request.command.iter().map(String::as_str)),
        (true, None) => words.extend(config.config.cmd.iter().map(String::as_str)),
        (true, Some(_)) => {}
    }
    if words.is_empty() {
        return Err(Box::new(Unusable::NoCommand));
    }
    Ok(words.into_iter().map(OsString::from).collect())
}

fn spec(
    store: &Store,
    snapshot: &Snapshot,
    config: &ImageConfig,
    request: &RunRequest,
    held: &mut Vec<Staged>,
) -> Result<Spec, Source> {
    let session = store.session()?;
    let (upper, work) = (store.stage()?, Staged::new(session.directory("work")?));
    let scratch = Staged::new(session.directory("root")?);
    let (passwd, group) = account_files(snapshot)?;
    let user = match request.user.as_ref().unwrap_or(&config.config.user).as_str() {
        "" => Ids::default(),
        user => sandbox::resolve_user(user, passwd.as_deref(), group.as_deref())?,
    };
    let mut env: Vec<(OsString, OsString)> = Vec::new();
    let pairs = config.config.env.iter().map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let own = request.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in pairs.chain(own) {
        env.retain(|(known, _)| known.as_os_str() != name);
        env.push((name.into(), value.into()));
    }
    if !env.iter().any(|(name, _)| name == "HOME") {
        let home = Passwd::new(passwd.as_deref()).home(user.uid).filter(|home| !home.is_empty()).unwrap_or(b"/");
        env.push(("HOME".into(), OsString::from_vec(home.to_vec())));
    }
    if let Some(term) = std::env::var_os("TERM").filter(|_| !env.iter().any(|(name, _)| name == "TERM")) {
        env.push(("TERM".into(), term));
    }
    let (mut mounts, _uppers, overlays) = host_overlays(store, snapshot)?;
    held.extend(overlays);
    let stubs = Stubs::plan(&mut mounts, &|path| {
        let found = snapshot.lookup(&TreePath::new(path.as_os_str().as_bytes())).map_err(io::Error::other)?;
        Ok(found.map(existing))
    })?;
    let mut lowers = Vec::new();
    if !stubs.is_empty() || snapshot.dirs().is_empty() {
        let layer = store.stage()?;
        stubs.write(layer.path())?;
        lowers.push(layer.path().to_path_buf());
        held.push(layer);
    }
    lowers.extend(store.combined(snapshot.dirs())?);
    let workdir = request.workdir.as_ref().unwrap_or(&config.config.working_dir);
    let spec = Spec {
        lowers,
        upper: upper.path().to_path_buf(),
        work: work.path().to_path_buf(),
        scratch: scratch.path().to_path_buf(),
        argv: argv(snapshot, config, request)?,
        env,
        cwd: PathBuf::from(if workdir.is_empty() { "/" } else { workdir }),
        user,
        hostname: HOSTNAME.to_owned(),
        network: if request.offline { Network::None } else { Network::Host },
        security: Security::Sandbox,
        mounts,
        extra_hosts: Vec::new(),
        shm_size: SHM_BYTES,
    };
    held.extend([upper, work, scratch]);
    Ok(spec)
}
