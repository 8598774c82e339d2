//! The operations that build a sandbox, as values: what the first process inside will do, in order.
//!
//! Every string is already as the kernel takes it, because the process that interprets these may
//! not allocate. Knows nothing of how they are carried out.

use super::error::Action;
use super::spec::SecretBytes;
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where the interpreter keeps a mount's descriptor.
pub(super) type Slot = usize;

/// The attributes of a mount, as `MOUNT_ATTR_*` in `mount_setattr(2)`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Attrs(pub(super) u64);

impl Attrs {
    pub(super) const RDONLY: Attrs = Attrs(0x1);
    pub(super) const NOSUID: Attrs = Attrs(0x2);
    pub(super) const NODEV: Attrs = Attrs(0x4);
    pub(super) const NOEXEC: Attrs = Attrs(0x8);

    pub(super) const fn and(self, other: Attrs) -> Attrs {
        Attrs(self.0 | other.0)
    }
}

/// One option of a new file system.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Setting {
    /// `key=value`.
    Text(&'static CStr, CString),
    /// A word alone.
    Flag(&'static CStr),
    /// A word alone that older kernels do not know and that may be missing.
    OptionalFlag(&'static CStr),
}

/// What a source must be, so that it is not taken for something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Expect {
    Directory,
    NotDirectory,
    CharDevice { major: u32, minor: u32 },
}

/// Where a bind mount's source is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// A path of the host that the caller trusts, and one below it that nobody does.
    Host { root: CString, subpath: CString },
    /// A path below a mount that is attached already.
    Slot { slot: Slot, path: CString },
}

/// One operation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Op {
    /// Nothing that is mounted from here on reaches the host.
    MakePrivate,
    /// A file system of its own, not attached yet.
    NewMount { into: Slot, fs: &'static CStr, settings: Vec<Setting>, attrs: Attrs, shows: PathBuf },
    /// An overlay for kernels that take lower directories in one string only: `options` names them by
    /// links in the directory `links` of the slot, where the overlay is also attached, at `at`.
    MountOverlay { into: Slot, links: (Slot, CString), at: CString, options: CString, nodev: bool },
    /// A detached mount that the builder made; its descriptor is inherited.
    Adopt { into: Slot, descriptor: RawFd },
    /// A copy of a part of the mount tree, not attached yet.
    CloneTree { into: Slot, origin: Origin, expect: Expect, recursive: bool, attrs: Attrs },
    /// Puts a detached mount on a path of the host; the caller vouches for it.
    AttachToHost { mount: Slot, path: CString },
    /// Puts a detached mount on a path below a slot. Links in the path stay below the slot; a link at
    /// its very end is followed only if `follow`.
    Attach { mount: Slot, base: Slot, path: CString, follow: bool },
    /// Adds attributes to a mount, not to those below it.
    Restrict { mount: Slot, attrs: Attrs, shows: PathBuf },
    /// Makes a path below an attached pseudo file system read-only; nothing happens where it is missing.
    Freeze { base: Slot, path: &'static CStr },
    /// Covers a path below an attached pseudo file system; nothing happens where it is missing.
    Mask { base: Slot, path: CString, file_cover: Slot, dir_cover: (Slot, &'static CStr) },
    /// A directory that must not exist yet.
    MakeDir { base: Slot, path: CString, mode: u32 },
    /// A symbolic link that must not exist yet.
    MakeLink { base: Slot, path: CString, target: CString },
    /// A file that must not exist yet; `owner` is uid and gid.
    MakeFile { base: Slot, path: CString, mode: u32, owner: Option<(u32, u32)>, content: SecretBytes },
    /// Makes `parts` below `dir` exist (directories, the last one a file unless `is_dir`), where the
    /// whole path `target` does not exist yet. Passes no links.
    MakeTarget { base: Slot, target: CString, dir: CString, parts: Vec<CString>, is_dir: bool },
    /// Sets the host name.
    Hostname(Vec<u8>),
    /// Brings up `lo`.
    RaiseLoopback,
    /// Makes the slot the root and forgets the old one.
    EnterRoot { root: Slot },
}

impl Op {
    /// What to name when it fails.
    pub(super) fn subject(&self) -> (Action, PathBuf) {
        let path = |text: &CString| PathBuf::from("/").join(OsStr::from_bytes(text.as_bytes()));
        match self {
            Op::MakePrivate => (Action::Separate, "/".into()),
            Op::NewMount { fs, shows, .. } if fs.to_bytes() == b"overlay" => (Action::MakeOverlay, shows.clone()),
            Op::NewMount { shows, .. } => (Action::MakeFilesystem, shows.clone()),
            Op::Adopt { .. } => (Action::MakeFilesystem, "/".into()),
            Op::MountOverlay { .. } => (Action::MakeOverlay, "/".into()),
            Op::CloneTree { origin: Origin::Host { root, subpath }, .. } => {
                let root = PathBuf::from(OsStr::from_bytes(root.as_bytes()));
                let below = OsStr::from_bytes(subpath.as_bytes());
                (Action::OpenSource, if below == "." { root } else { root.join(below) })
            }
            Op::CloneTree { origin: Origin::Slot { path: at, .. }, .. } => (Action::OpenSource, path(at)),
            Op::AttachToHost { path: at, .. } | Op::Attach { path: at, .. } => (Action::Attach, path(at)),
            Op::Restrict { shows, .. } => (Action::Restrict, shows.clone()),
            Op::Freeze { path: at, .. } => (Action::Restrict, path(&(*at).to_owned())),
            Op::Mask { path: at, .. } => (Action::Restrict, path(at)),
            Op::MakeDir { path: at, .. }
            | Op::MakeLink { path: at, .. }
            | Op::MakeFile { path: at, .. }
            | Op::MakeTarget { target: at, .. } => (Action::Create, path(at)),
            Op::Hostname(name) => (Action::SetHostname, OsStr::from_bytes(name).into()),
            Op::RaiseLoopback => (Action::RaiseLoopback, "lo".into()),
            Op::EnterRoot { .. } => (Action::EnterRoot, "/".into()),
        }
    }
}
