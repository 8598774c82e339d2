//! What kiln remembers between builds.
//!
//! ```text
//! $KILN_STORE/
//!   VERSION          the format of all below; another one is refused, never guessed at
//!   db/              LMDB: records, layers, images, names (see `db`)
//!   layers/HEX/      a layer's files in overlay form, immutable once there; a difference to other
//!                    layers has a name of its own
//!   trees/HEX        a layer's or a selection's listing, named by its digest
//!   blobs/HEX        tars as pulled or packed, named by their SHA-256
//!   contexts/HEX     stat caches, named by the digest of the context's path
//!   caches/HEX/      cache mounts
//!   logs/HEX         the output of a step's execution, named by its key
//!   builds/HEX/NAME  how a project's builds went, the newest few (see `builds`)
//!   tmp/NAME/        one session of one process; locked while it lives
//!   pins             what running processes use: see `pin`
//! ```
//!
//! Everything is written in `tmp` and renamed into place, and the database is told last: a kill at
//! any instant leaves at most things that nobody refers to. Several processes use one store at
//! once; readers never wait. LMDB rather than redb, because redb lets only one process open a
//! database at a time, and a daemonless builder is many processes.

pub mod adopt;
pub mod blob;
pub mod builds;
mod combined;
pub mod db;
pub mod image;
pub mod layer;
pub mod logs;
pub mod name;
mod pending;
pub mod pin;
mod recent;
pub mod record;
pub mod session;
mod stacks;
mod writer;

pub use adopt::{AdoptError, Adopted, Below};
pub use db::Used;
pub use image::{BlobRef, ImageLayerRef, ImageRecord, IndexRecord};
pub use layer::{Layer, Staged};
pub use name::image_name;
pub use pin::Pins;
pub use record::Record;
pub use session::Session;

use crate::digest::LayerId;
use crate::tree::{Tree, codec};
use db::Db;
use recent::Recent;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

/// Two changes of a file within this time may have one time of change: more than the kernel's tick.
const CLOCK_GRAIN_NANOS: i64 = 20_000_000;

/// A listing of so many entries stays in memory with the layer that was just made.
const AT_HAND_MAX: usize = 64;

/// What `VERSION` says.
const FORMAT_VERSION: &str = "kiln store 1\n";

/// Why the store could not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The kernel refused something at a path.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// The database refused something.
    #[error("the store's database at {} failed to {action}", path.display())]
    Database {
        /// What was tried.
        action: &'static str,
        /// The database's directory.
        path: PathBuf,
        /// What it said.
        #[source]
        source: heed::Error,
    },
    /// The store was made by another version.
    #[error("the store at {} has format {found:?}, this kiln reads {FORMAT_VERSION:?}", path.display())]
    Version {
        /// The store.
        path: PathBuf,
        /// What its `VERSION` says.
        found: String,
    },
    /// Something that the store refers to is missing or damaged.
    #[error("{what} in the store is damaged: {detail}")]
    Damaged {
        /// The thing, with its name.
        what: String,
        /// What is wrong with it.
        detail: String,
    },
}

/// Adds what was tried, and where, to an I/O error.
pub(crate) fn io_at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> StoreError {
    let path = path.to_path_buf();
    move |source| StoreError::Io { action, path, source }
}

/// An open store.
pub struct Store {
    root: PathBuf,
    db: Db,
    session: OnceLock<Session>,
    pins: OnceLock<Pins>,
    making: Mutex<()>,
    is_frozen: bool,
    /// Listings that need not be read, where that was asked for.
    recent: OnceLock<Mutex<Recent>>,
    combined: combined::Combined,
}

impl Store {
    /// Opens the store at `root`, making it if it is not there.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let version = root.join("VERSION");
        match fs::read_to_string(&version) {
            Ok(found) if found == FORMAT_VERSION => {}
            Ok(found) => return Err(StoreError::Version { path: root.to_path_buf(), found }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => create(root, &version)?,
            Err(error) => return Err(io_at("failed to read", &version)(error)),
        }
        Self::with(root, false)
    }

    /// Opens a store that is there, to look into it: what would be written to it is dropped.
    pub fn open_frozen(root: &Path) -> Result<Self, StoreError> {
        let mut store = Self::open(root)?;
        store.is_frozen = true;
        store.db.freeze();
        Ok(store)
    }

    /// Whether it was opened only to look into it.
    pub fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    fn with(root: &Path, is_frozen: bool) -> Result<Self, StoreError> {
        Ok(Store {
            root: root.to_path_buf(),
            is_frozen,
            db: Db::open(&root.join("db"))?,
            session: OnceLock::new(),
            pins: OnceLock::new(),
            making: Mutex::new(()),
            recent: OnceLock::new(),
            combined: combined::Combined::default(),
        })
    }

    /// Where the store is.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.db
    }

    /// This process's private directory, made at the first call; what dead processes left behind
    /// is removed then.
    pub fn session(&self) -> Result<&Session, StoreError> {
        if let Some(session) = self.session.get() {
            return Ok(session);
        }
        let _guard = self.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.session.get().is_none() {
            let session = Session::begin(&self.root.join("tmp"))?;
            let _ = self.session.set(session);
        }
        Ok(self.session.get().expect("set above, under the lock"))
    }

    /// Keeps a thing from being collected for as long as this store is open. Whether it is there is
    /// to be asked afterwards.
    pub fn pin(&self, digest: &[u8; 32]) -> Result<(), StoreError> {
        if let Some(pins) = self.pins.get() {
            return pins.pin(digest);
        }
        let _guard = self.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if self.pins.get().is_none() {
            let _ = self.pins.set(Pins::open(&self.root)?);
        }
        self.pins.get().expect("set above, under the lock").pin(digest)
    }

    /// Lets everything that was pinned so far be collected again.
    pub fn release_pins(&self) -> Result<(), StoreError> {
        self.pins.get().map_or(Ok(()), Pins::release)
    }

    /// A fresh directory for a layer, with the mode that a root directory has.
    pub fn stage(&self) -> Result<Staged, StoreError> {
        use std::os::unix::fs::PermissionsExt as _;
        let path = self.session()?.directory("layer")?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(io_at("failed to set the mode of", &path))?;
        Ok(Staged::new(path))
    }

    /// The layer with this identity, if the store has it.
    pub fn layer(&self, id: LayerId) -> Result<Option<Arc<Layer>>, StoreError> {
        self.pin(id.as_bytes())?;
        let Some(meta) = self.db.layer(id)? else { return Ok(None) };
        for dir in meta.dirs.iter().filter(|dir| **dir != id) {
            self.pin(dir.as_bytes())?;
        }
        let dirs: Vec<PathBuf> = meta.dirs.iter().map(|dir| self.layer_dir(*dir)).collect();
        if dirs.iter().any(|dir| !dir.is_dir()) {
            return Ok(None);
        }
        Ok(Some(Arc::new(self.with_recent(Layer::stored(id, dirs, self.tree_path(id))))))
    }

    /// The layer with its listing, if that need not be read.
    fn with_recent(&self, layer: Layer) -> Layer {
        match self.recent_tree(layer.id()) {
            Some(tree) => layer.listed(tree),
            None => layer,
        }
    }

    /// From here on the newest listings stay in memory, for builds that follow each other.
    pub fn keep_recent(&self) {
        self.recent.get_or_init(Mutex::default);
    }

    /// A newer listing stands for this one: it need not stay in memory.
    pub fn supersede(&self, id: LayerId) {
        if let Some(recent) = self.recent.get() {
            recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).forget(id);
        }
    }

    fn recent_tree(&self, id: LayerId) -> Option<Tree> {
        self.recent.get()?.lock().unwrap_or_else(std::sync::PoisonError::into_inner).get(id)
    }

    /// The state of the directory of layers; `None` where it is so young that a change may not show.
    pub fn layers_stamp(&self) -> Option<builds::Stamp> {
        use std::os::unix::fs::MetadataExt as _;
        let found = fs::metadata(self.root.join("layers")).ok()?;
        let changed_nanos = found.ctime() * 1_000_000_000 + found.ctime_nsec();
        let age = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let age_nanos = age.tv_sec * 1_000_000_000 + age.tv_nsec - changed_nanos;
        (age_nanos > CLOCK_GRAIN_NANOS).then_some(builds::Stamp { place: (found.dev(), found.ino()), changed_nanos })
    }

    fn layer_dir(&self, id: LayerId) -> PathBuf {
        self.root.join("layers").join(id.to_hex())
    }

    fn tree_path(&self, id: LayerId) -> PathBuf {
        self.root.join("trees").join(id.to_hex())
    }

    /// The tree that was kept under its digest.
    pub fn tree(&self, id: LayerId) -> Result<Option<Tree>, StoreError> {
        match self.recent_tree(id) {
            Some(tree) => Ok(Some(tree)),
            None => layer::read_tree(&self.tree_path(id), id),
        }
    }

    /// Keeps a tree under its digest.
    pub fn put_tree(&self, tree: &Tree) -> Result<LayerId, StoreError> {
        let id = tree.id();
        let path = self.tree_path(id);
        if !path.exists() {
            self.write_file(&path, &codec::encode(tree))?;
            // One that was there before may have other times, and they are the layer's.
            if let Some(recent) = self.recent.get() {
                recent.lock().unwrap_or_else(std::sync::PoisonError::into_inner).put(id, tree);
            }
        }
        Ok(id)
    }

    /// A secret key that no other store has; made when it is first asked for.
    pub fn own_key(&self) -> Result<[u8; 32], StoreError> {
        let path = self.root.join("own-key");
        if let Some(key) = fs::read(&path).ok().and_then(|bytes| bytes.try_into().ok()) {
            return Ok(key);
        }
        let mut key = [0; 32];
        let mut random = || fs::File::open("/dev/urandom")?.read_exact(&mut key);
        random().map_err(io_at("failed to read", Path::new("/dev/urandom")))?;
        let beside = self.session()?.unique("file");
        let write = || {
            let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
            file.write_all(&key)?;
            file.sync_all()?;
            // Of two processes that make one at once the first one's stays.
            match fs::hard_link(&beside, &path) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
                _ => fs::remove_file(&beside),
            }
        };
        write().map_err(io_at("failed to write", &path))?;
        let read = || fs::read(&path)?.try_into().map_err(|_| io::ErrorKind::InvalidData.into());
        read().map_err(io_at("failed to read", &path))
    }

    /// Writes a whole file beside its place and renames it there.
    pub fn write_file(&self, path: &Path, data: &[u8]) -> Result<(), StoreError> {
        if self.is_frozen {
            return Ok(());
        }
        let beside = self.session()?.unique("file");
        let write = || {
            let mut file = fs::File::create(&beside)?;
            file.write_all(data)?;
            fs::rename(&beside, path)
        };
        write().map_err(io_at("failed to write", path))
    }

    /// Makes a layer of a staged directory. `below` are the layers whose files the staged
    /// directory is only a difference to, the topmost first; empty for a directory that holds all
    /// of `tree`. Where the store has the layer already, that one stays and the new is dropped.
    pub fn commit_layer(&self, tree: &Tree, staged: Staged, below: &[LayerId]) -> Result<Arc<Layer>, StoreError> {
        self.pin(tree.id().as_bytes())?;
        let id = self.put_tree(tree)?;
        if let Some(layer) = self.layer(id)? {
            return Ok(layer);
        }
        let mut dirs = Vec::with_capacity(below.len() + 1);
        if !tree.is_empty() {
            let directory = directory_name(id, below);
            self.pin(directory.as_bytes())?;
            let place = self.layer_dir(directory);
            match fs::rename(staged.path(), &place) {
                Ok(()) => staged.renamed(),
                // Another process made the same layer at this moment, or was killed right after:
                // its name is the digest of its content, so it serves as well.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists) => {}
                Err(error) => return Err(io_at("failed to move a layer to", &place)(error)),
            }
            dirs.push(directory);
            dirs.extend_from_slice(below);
        }
        self.db
            .put_layer(id, &db::LayerMeta { dirs: dirs.clone(), size: tree.size(), created: now(), boot: boot_id() })?;
        let dirs = dirs.into_iter().map(|dir| self.layer_dir(dir)).collect();
        let layer = self.with_recent(Layer::stored(id, dirs, self.tree_path(id)));
        // A small one is looked into by the next step, and need not be read back for it.
        Ok(Arc::new(if tree.len() <= AT_HAND_MAX { layer.listed(tree.clone()) } else { layer }))
    }

    /// The directories, by layer, that hold the files of layer `id`; the topmost first.
    pub fn layer_parts(&self, id: LayerId) -> Result<Vec<LayerId>, StoreError> {
        Ok(self.db.layer(id)?.map(|meta| meta.dirs).unwrap_or_default())
    }

    /// A directory of the store, for what has its own module.
    pub fn directory(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Waits until everything that was recorded is on disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.db.flush()
    }
}

/// The name of a layer's own directory. One that is only a difference to others must never be taken for
/// the whole layer, wherever a kill or a collection left it without an entry in the database.
pub(crate) fn directory_name(id: LayerId, below: &[LayerId]) -> LayerId {
    if below.is_empty() {
        return id;
    }
    let mut hasher = blake3::Hasher::new_derive_key("kiln layer difference v1");
    for part in below.iter().chain([&id]) {
        hasher.update(part.as_bytes());
    }
    hasher.finalize().into()
}

fn create(root: &Path, version: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    for directory in ["", "db", "layers", "trees", "blobs", "contexts", "caches", "logs", "tmp", "host"] {
        let path = root.join(directory);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(io_at("failed to make", &path))?;
    }
    let beside = root.join(format!("VERSION.{}", std::process::id()));
    fs::write(&beside, FORMAT_VERSION).map_err(io_at("failed to write", &beside))?;
    fs::rename(&beside, version).map_err(io_at("failed to write", version))
}

/// Seconds since 1970.
pub fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64)
}

/// Names this run of the kernel: what was written in another one may not have reached the disk.
pub(crate) fn boot_id() -> [u8; 16] {
    static BOOT: OnceLock<[u8; 16]> = OnceLock::new();
    *BOOT.get_or_init(|| {
        let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let mut id = [0; 16];
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        for (byte, pair) in id.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
        }
        id
    })
}
