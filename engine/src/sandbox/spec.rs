//! What one execution of a step is: its root, its process, its mounts. A pure description.
//!
//! Knows nothing of how it is carried out; [`super::run`] does that.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// One execution in a sandbox.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The overlay's lower directories, the topmost first. At least one; the kernel takes up to 500, and a
    /// caller combines what is more.
    /// The first is the stub layer where [`super::Stubs`] made one.
    pub lowers: Vec<PathBuf>,
    /// Takes what the step changes. Exists, empty, on the same file system as `work`.
    pub upper: PathBuf,
    /// The overlay's own work directory. Exists, empty.
    pub work: PathBuf,
    /// An existing empty directory that only this step uses; mounts are assembled on it, in a mount
    /// namespace of their own, so that nothing is ever written to it.
    pub scratch: PathBuf,
    /// The command. `argv[0]` is searched in the `PATH` of `env`, inside the root, if it has no slash.
    pub argv: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory: an absolute path of a directory inside the root.
    pub cwd: PathBuf,
    /// Whom the command runs as.
    pub user: Ids,
    /// The host name that the command sees.
    pub hostname: String,
    /// Which network the command sees.
    pub network: Network,
    /// How much the command may do.
    pub security: Security,
    /// Mounts below the root, in the order in which they are made: outer ones first.
    pub mounts: Vec<Mount>,
    /// Lines added to `/etc/hosts`: name and address.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// The size of `/dev/shm` in bytes.
    pub shm_size: u64,
}

/// The numbers that a process runs under, as the image sees them.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Ids {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All supplementary groups.
    pub groups: Vec<u32>,
}

/// Which network a step sees.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// That of the process that builds.
    Host,
    /// One of its own, with nothing but a loopback device.
    None,
}

/// How much a step may do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    /// Docker's default capabilities and system calls; kernel files masked.
    Sandbox,
    /// Every capability that the builder has, and no filter. Only for builds whose owner allowed it.
    Insecure,
}

/// Something mounted below the step's root.
#[derive(Clone, Debug)]
pub struct Mount {
    /// Absolute, inside the root. Symbolic links in it lead to places inside the root only.
    pub target: PathBuf,
    /// What appears there.
    pub source: MountSource,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether the source is a directory; the target must be the same.
    pub is_dir: bool,
}

/// What a mount shows.
#[derive(Clone, Debug)]
pub enum MountSource {
    /// A directory or file of the host; writes reach it.
    Bind {
        /// A directory that the caller trusts.
        root: PathBuf,
        /// A path inside `root`, empty for itself. Links and `..` in it cannot leave `root`.
        subpath: PathBuf,
    },
    /// An overlay of its own, as for a mount from another stage; the caller discards `upper`.
    Overlay {
        /// Lower directories, the topmost first.
        lowers: Vec<PathBuf>,
        /// Takes the writes. Exists, empty.
        upper: PathBuf,
        /// The overlay's work directory. Exists, empty, on the file system of `upper`.
        work: PathBuf,
        /// A path inside the overlay, empty for all of it. Cannot leave it.
        subpath: PathBuf,
    },
    /// Empty memory that is gone afterwards.
    Tmpfs {
        /// The most bytes it may hold; half of the memory where absent.
        size: Option<u64>,
        /// Permission bits of its root.
        mode: u32,
    },
    /// One file on memory that no other step sees, never on disk: secrets.
    File {
        /// What it holds.
        content: SecretBytes,
        /// Permission bits.
        mode: u32,
        /// Owner.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// Bytes that are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Arc<[u8]>);

impl SecretBytes {
    /// Takes the bytes.
    pub fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        SecretBytes(bytes.into())
    }

    /// The bytes, for writing them where they belong.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBytes({} bytes)", self.0.len())
    }
}

/// How the command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// It exited with this code, 0 to 255.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
}
