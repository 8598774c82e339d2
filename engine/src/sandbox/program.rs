//! Turns a [`Spec`] into the operations that build its sandbox. Pure: the same in, the same out.
//!
//! Knows what a step sees (`/proc`, `/dev`, masks, mounts), not how the kernel is told.

use super::error::Error;
use super::host::Host;
use super::op::{Attrs, Expect, Op, Origin, Setting, Slot};
use super::overlay::{self, LONGEST_SETTING_BYTES};
use super::spec::{Mount, MountSource, Network, SecretBytes, Security, Spec};
use super::trace::Stack;
use crate::tree::TreePath;
use std::ffi::{CStr, CString, OsStr};
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Files of `/proc` and `/sys` that tell a step about the host or let it do harm; the list is Docker's.
const MASKED_PROC: [&CStr; 10] = [
    c"acpi",
    c"asound",
    c"interrupts",
    c"kcore",
    c"keys",
    c"latency_stats",
    c"sched_debug",
    c"scsi",
    c"timer_list",
    c"timer_stats",
];
const MASKED_SYS: [&CStr; 2] = [c"devices/virtual/powercap", c"firmware"];
const READ_ONLY_PROC: [&CStr; 5] = [c"bus", c"fs", c"irq", c"sys", c"sysrq-trigger"];

/// Devices that every step has, with their numbers: a host whose `/dev/null` is something else is refused.
const DEVICES: [(&CStr, u32, u32); 6] =
    [(c"null", 1, 3), (c"zero", 1, 5), (c"full", 1, 7), (c"random", 1, 8), (c"urandom", 1, 9), (c"tty", 5, 0)];

const DEVICE_LINKS: [(&CStr, &CStr); 5] = [
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
    (c"ptmx", c"pts/ptmx"),
];

/// The group that owns terminals, everywhere.
const TTY_GID: u32 = 5;

/// Slots of fixed meaning; mounts of the step follow.
const FILES: Slot = 0;
const ROOT: Slot = 1;
const DEV: Slot = 2;
const NULL: Slot = 3;
const SCRATCH_SLOT: Slot = 4;
const PROC: Slot = 5;
const SYS: Slot = 6;
const FIRST_FREE: Slot = 7;

/// The operations that build a sandbox.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Program {
    pub(super) ops: Vec<Op>,
    /// How many slots they use.
    pub(super) slots: usize,
}

/// Makes the program. `resolv_conf` is what the step finds in `/etc/resolv.conf`; `watched` are mounts
/// that show the lower directories of these stacks.
pub(super) fn compile(
    spec: &Spec,
    host: &Host,
    resolv_conf: &[u8],
    watched: &[(Stack, RawFd)],
) -> Result<Program, Error> {
    let mut builder = Builder { ops: Vec::with_capacity(96), next: FIRST_FREE, spec, host, watched };
    builder.root()?;
    builder.devices()?;
    builder.proc();
    builder.sys();
    builder.network_files(resolv_conf)?;
    builder.mounts()?;
    builder.ops.push(Op::Hostname(spec.hostname.as_bytes().to_vec()));
    if spec.network == Network::None {
        builder.ops.push(Op::RaiseLoopback);
    }
    builder.ops.push(Op::EnterRoot { root: ROOT });
    Ok(Program { ops: builder.ops, slots: builder.next })
}

struct Builder<'a> {
    ops: Vec<Op>,
    next: Slot,
    spec: &'a Spec,
    host: &'a Host,
    watched: &'a [(Stack, RawFd)],
}

impl Builder<'_> {
    fn slot(&mut self) -> Slot {
        self.next += 1;
        self.next - 1
    }

    /// Device files work on nothing that a step can write: Docker has a device control group for
    /// that, which needs a daemon; a mount attribute does the same.
    fn no_devices(&self) -> Attrs {
        match self.spec.security {
            Security::Sandbox => Attrs::NODEV,
            Security::Insecure => Attrs::default(),
        }
    }

    fn new_mount(&mut self, into: Slot, fs: &'static CStr, settings: Vec<Setting>, attrs: Attrs, shows: &str) {
        self.ops.push(Op::NewMount { into, fs, settings, attrs, shows: shows.into() });
    }

    fn attach(&mut self, mount: Slot, path: &CStr) {
        self.ops.push(Op::Attach { mount, base: ROOT, path: path.to_owned(), follow: false });
    }

    /// A private tmpfs on the scratch directory holds what is assembled; the root is attached in it.
    fn root(&mut self) -> Result<(), Error> {
        self.ops.push(Op::MakePrivate);
        let closed = Attrs::NOSUID.and(Attrs::NODEV).and(Attrs::NOEXEC);
        // Secrets lie here, so it must not be swapped out where the kernel lets us say so.
        let settings = vec![Setting::Text(c"mode", c"0700".into()), Setting::OptionalFlag(c"noswap")];
        self.new_mount(FILES, c"tmpfs", settings, closed, "the private files");
        self.ops.push(Op::AttachToHost { mount: FILES, path: c_path("scratch directory", &self.spec.scratch)? });
        self.ops.push(Op::MakeDir { base: FILES, path: c"empty".into(), mode: 0o555 });
        let spec = self.spec;
        let lowers = self.watched(Stack::Root, &spec.lowers)?;
        self.overlay(ROOT, &lowers, &spec.upper, &spec.work, c"root", Path::new("/"))
    }

    /// The lower directories of a stack: themselves, or where what shows them is attached.
    fn watched(&mut self, stack: Stack, lowers: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
        let Some((_, descriptor)) = self.watched.iter().find(|(other, _)| *other == stack) else {
            return Ok(lowers.to_vec());
        };
        let name = match stack {
            Stack::Root => "watched".to_owned(),
            Stack::Mount(index) => format!("watched{index}"),
        };
        let path = c_string("name", name.as_bytes())?;
        let slot = self.slot();
        self.ops.push(Op::Adopt { into: slot, descriptor: *descriptor });
        self.ops.push(Op::MakeDir { base: FILES, path: path.clone(), mode: 0o700 });
        self.ops.push(Op::Attach { mount: slot, base: FILES, path, follow: false });
        Ok(vec![self.spec.scratch.join(name)])
    }

    /// Mounts an overlay and attaches it at `name` in the private tmpfs.
    fn overlay(
        &mut self,
        into: Slot,
        lowers: &[PathBuf],
        upper: &Path,
        work: &Path,
        name: &CStr,
        shows: &Path,
    ) -> Result<(), Error> {
        let attrs = self.no_devices();
        let settings = overlay::settings(lowers, upper, work)?;
        self.ops.push(Op::MakeDir { base: FILES, path: name.to_owned(), mode: 0o755 });
        let fits = |setting: &Setting| match setting {
            Setting::Text(_, value) => value.as_bytes().len() <= LONGEST_SETTING_BYTES,
            Setting::Flag(_) | Setting::OptionalFlag(_) => true,
        };
        if self.host.appends_lowers && settings.iter().all(fits) {
            self.ops.push(Op::NewMount { into, fs: c"overlay", settings, attrs, shows: shows.to_owned() });
            self.ops.push(Op::Attach { mount: into, base: FILES, path: name.to_owned(), follow: false });
            return Ok(());
        }
        let links = c_string("name", [name.to_bytes(), b".lower"].concat())?;
        self.ops.push(Op::MakeDir { base: FILES, path: links.clone(), mode: 0o700 });
        let numbered = lowers.iter().enumerate().map(|(n, lower)| (n.to_string(), lower.as_path()));
        for (link, target) in numbered.chain([("u".to_owned(), upper), ("w".to_owned(), work)]) {
            let path = c_string("name", [links.as_bytes(), b"/", link.as_bytes()].concat())?;
            self.ops.push(Op::MakeLink { base: FILES, path, target: c_path("overlay directory", target)? });
        }
        let at = c_string("name", [b"../", name.to_bytes()].concat())?;
        let options = overlay::options_by_links(lowers.len())?;
        self.ops.push(Op::MountOverlay { into, links: (FILES, links), at, options, nodev: attrs == Attrs::NODEV });
        Ok(())
    }

    fn devices(&mut self) -> Result<(), Error> {
        let hidden = Attrs::NOSUID.and(Attrs::NODEV);
        let closed = hidden.and(Attrs::NOEXEC);
        let settings = vec![Setting::Text(c"mode", c"755".into()), Setting::Text(c"size", c"64m".into())];
        self.new_mount(DEV, c"tmpfs", settings, hidden, "/dev");
        self.attach(DEV, c"/dev");
        for (name, major, minor) in DEVICES {
            let into = if name == c"null" { NULL } else { SCRATCH_SLOT };
            self.make_file(DEV, name, 0o666, None, SecretBytes::new([]));
            let subpath = name.to_owned();
            let origin = Origin::Host { root: c"/dev".into(), subpath };
            let expect = Expect::CharDevice { major, minor };
            self.ops.push(Op::CloneTree { into, origin, expect, recursive: false, attrs: Attrs::NOSUID });
            self.ops.push(Op::Attach { mount: into, base: DEV, path: name.to_owned(), follow: false });
        }
        for (name, target) in DEVICE_LINKS {
            self.ops.push(Op::MakeLink { base: DEV, path: name.to_owned(), target: target.to_owned() });
        }
        let text = |key, value: &CStr| Setting::Text(key, value.to_owned());
        let mut terminals = vec![text(c"ptmxmode", c"0666"), text(c"mode", c"0620")];
        if self.host.has_gid(TTY_GID) {
            terminals.push(text(c"gid", c"5"));
        }
        self.below_dev(c"pts", c"devpts", terminals, Attrs::NOSUID.and(Attrs::NOEXEC), "/dev/pts");
        let size = c_string("size of /dev/shm", self.spec.shm_size.to_string())?;
        let shared = vec![text(c"mode", c"1777"), Setting::Text(c"size", size)];
        self.below_dev(c"shm", c"tmpfs", shared, closed, "/dev/shm");
        self.below_dev(c"mqueue", c"mqueue", Vec::new(), closed, "/dev/mqueue");
        Ok(())
    }

    fn below_dev(&mut self, name: &CStr, fs: &'static CStr, settings: Vec<Setting>, attrs: Attrs, shows: &str) {
        self.ops.push(Op::MakeDir { base: DEV, path: name.to_owned(), mode: 0o755 });
        self.new_mount(SCRATCH_SLOT, fs, settings, attrs, shows);
        self.ops.push(Op::Attach { mount: SCRATCH_SLOT, base: DEV, path: name.to_owned(), follow: false });
    }

    fn make_file(&mut self, base: Slot, path: &CStr, mode: u32, owner: Option<(u32, u32)>, content: SecretBytes) {
        self.ops.push(Op::MakeFile { base, path: path.to_owned(), mode, owner, content });
    }

    fn proc(&mut self) {
        let closed = Attrs::NOSUID.and(Attrs::NODEV).and(Attrs::NOEXEC);
        if self.host.fresh_proc {
            self.new_mount(PROC, c"proc", Vec::new(), closed, "/proc");
        } else {
            self.clone_of_host(PROC, c"/proc", closed);
        }
        self.attach(PROC, c"/proc");
        if self.spec.security == Security::Sandbox {
            self.ops.extend(READ_ONLY_PROC.map(|path| Op::Freeze { base: PROC, path }));
            self.mask(PROC, MASKED_PROC.map(CStr::to_owned));
        }
    }

    fn sys(&mut self) {
        let mut attrs = Attrs::NOSUID.and(Attrs::NODEV).and(Attrs::NOEXEC);
        if self.spec.security == Security::Sandbox {
            attrs = attrs.and(Attrs::RDONLY);
        }
        // A new /sys shows the devices of one network namespace, and only its owner may mount it.
        let owner = self.host.initial_namespace || self.spec.network == Network::None;
        if self.host.fresh_sys && owner {
            self.new_mount(SYS, c"sysfs", Vec::new(), attrs, "/sys");
        } else {
            self.clone_of_host(SYS, c"/sys", attrs);
        }
        self.attach(SYS, c"/sys");
        if self.spec.security == Security::Sandbox {
            self.mask(SYS, MASKED_SYS.map(CStr::to_owned));
            self.mask(SYS, self.host.throttles.iter().cloned());
        }
    }

    fn clone_of_host(&mut self, into: Slot, path: &CStr, attrs: Attrs) {
        let origin = Origin::Host { root: path.to_owned(), subpath: c".".into() };
        self.ops.push(Op::CloneTree { into, origin, expect: Expect::Directory, recursive: true, attrs });
    }

    fn mask(&mut self, base: Slot, paths: impl IntoIterator<Item = CString>) {
        let covers = |path| Op::Mask { base, path, file_cover: NULL, dir_cover: (FILES, c"empty") };
        self.ops.extend(paths.into_iter().map(covers));
    }

    /// `/etc/resolv.conf` and `/etc/hosts` are the step's own: it may write them, and nobody keeps it.
    fn network_files(&mut self, resolv_conf: &[u8]) -> Result<(), Error> {
        let hosts = hosts_file(&self.spec.hostname, &self.spec.extra_hosts);
        for (name, path, content) in
            [(c"resolv.conf", c"/etc/resolv.conf", resolv_conf), (c"hosts", c"/etc/hosts", hosts.as_bytes())]
        {
            self.make_file(FILES, name, 0o644, None, SecretBytes::new(content));
            self.clone_of_file(SCRATCH_SLOT, name);
            // One without stubs (a test, a root that has it as a link) must not get past the root: a
            // link at the end is an error here.
            self.attach(SCRATCH_SLOT, path);
        }
        Ok(())
    }

    fn clone_of_file(&mut self, into: Slot, name: &CStr) {
        let origin = Origin::Slot { slot: FILES, path: name.to_owned() };
        let expect = Expect::NotDirectory;
        self.ops.push(Op::CloneTree { into, origin, expect, recursive: false, attrs: Attrs::default() });
    }

    fn mounts(&mut self) -> Result<(), Error> {
        let spec = self.spec;
        let mut restrict = Vec::new();
        for (index, mount) in spec.mounts.iter().enumerate() {
            let target = TreePath::new(mount.target.as_os_str().as_bytes());
            if target.is_root() {
                let value = mount.target.display().to_string();
                return Err(Error::Invalid { what: "mount target", value, reason: "it is the root itself" });
            }
            self.make_target(&spec.mounts[..index], &target, mount.is_dir)?;
            let slot = self.slot();
            self.source(slot, index, mount)?;
            self.ops.push(Op::Attach { mount: slot, base: ROOT, path: absolute(&target)?, follow: true });
            let bound = matches!(mount.source, MountSource::Bind { .. });
            if mount.read_only && !bound {
                // After all targets exist, for they may lie in this mount.
                let attrs = Attrs::RDONLY;
                restrict.push(Op::Restrict { mount: slot, attrs, shows: mount.target.clone() });
            }
        }
        self.ops.append(&mut restrict);
        Ok(())
    }

    /// A target below a mount that the step made itself cannot come from the stub layer.
    fn make_target(&mut self, earlier: &[Mount], target: &TreePath, is_dir: bool) -> Result<(), Error> {
        let creatable = |mount: &Mount| !(mount.read_only && matches!(mount.source, MountSource::Bind { .. }));
        let made = earlier.iter().map(|mount| (TreePath::new(mount.target.as_os_str().as_bytes()), creatable(mount)));
        let own = [("proc", false), ("sys", false), ("dev", true), ("dev/shm", true)];
        let mut all = own.map(|(path, creatable)| (TreePath::new(path), creatable)).into_iter().chain(made);
        let below = |(path, _): &(TreePath, bool)| path != target && target.starts_with(path);
        let Some((outer, true)) = all.rfind(below) else { return Ok(()) };
        let Some(rest) = target.strip_prefix(&outer) else { return Ok(()) };
        let parts = rest.parts().map(|part| c_string("mount target", part)).collect::<Result<_, _>>()?;
        let (dir, target) = (absolute(&outer)?, absolute(target)?);
        self.ops.push(Op::MakeTarget { base: ROOT, target, dir, parts, is_dir });
        Ok(())
    }

    fn source(&mut self, into: Slot, index: usize, mount: &Mount) -> Result<(), Error> {
        let expect = if mount.is_dir { Expect::Directory } else { Expect::NotDirectory };
        let attrs = self.no_devices();
        match &mount.source {
            MountSource::Bind { root, subpath } => {
                let origin = Origin::Host { root: c_path("mount source", root)?, subpath: below(subpath)? };
                let attrs = if mount.read_only { attrs.and(Attrs::RDONLY) } else { attrs };
                self.ops.push(Op::CloneTree { into, origin, expect, recursive: true, attrs });
            }
            MountSource::Overlay { lowers, upper, work, subpath } => {
                let name = c_string("name", format!("overlay{index}"))?;
                let whole = self.slot();
                let lowers = self.watched(Stack::Mount(index), lowers)?;
                self.overlay(whole, &lowers, upper, work, &name, &mount.target)?;
                let origin = Origin::Slot { slot: whole, path: below(subpath)? };
                self.ops.push(Op::CloneTree { into, origin, expect, recursive: false, attrs });
            }
            MountSource::Tmpfs { size, mode } => {
                let mut settings = vec![Setting::Text(c"mode", c_string("mode", format!("{:o}", mode & 0o7777))?)];
                if let Some(size) = size {
                    settings.push(Setting::Text(c"size", c_string("size", size.to_string())?));
                }
                let attrs = Attrs::NOSUID.and(Attrs::NODEV);
                self.ops.push(Op::NewMount { into, fs: c"tmpfs", settings, attrs, shows: mount.target.clone() });
            }
            MountSource::File { content, mode, uid, gid } => {
                self.check_owner(*uid, *gid)?;
                let name = c_string("name", format!("file{index}"))?;
                self.make_file(FILES, &name, mode & 0o7777, Some((*uid, *gid)), content.clone());
                self.clone_of_file(into, &name);
            }
        }
        Ok(())
    }

    fn check_owner(&self, uid: u32, gid: u32) -> Result<(), Error> {
        check_ids(self.host, uid, gid)
    }
}

/// Whether a user and a group exist in the builder's user namespace.
pub(super) fn check_ids(host: &Host, uid: u32, gid: u32) -> Result<(), Error> {
    let count = |ranges: &[std::ops::Range<u64>]| ranges.iter().map(|range| range.end - range.start).sum();
    if !host.has_uid(uid) {
        return Err(Error::UnmappedId { what: "uid", id: uid, mapped: count(&host.uids) });
    }
    if !host.has_gid(gid) {
        return Err(Error::UnmappedId { what: "gid", id: gid, mapped: count(&host.gids) });
    }
    Ok(())
}

/// What a step finds in `/etc/hosts`.
fn hosts_file(hostname: &str, extra: &[(String, IpAddr)]) -> String {
    let mut text = format!("127.0.0.1\tlocalhost {hostname}\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    for (name, address) in extra {
        text.push_str(&format!("{address}\t{name}\n"));
    }
    text
}

fn absolute(path: &TreePath) -> Result<CString, Error> {
    c_string("path", [b"/", path.as_bytes()].concat())
}

/// A path for looking up below a directory; `.` for the directory itself.
fn below(path: &Path) -> Result<CString, Error> {
    if path.as_os_str().is_empty() { Ok(c".".into()) } else { c_path("mount source", path) }
}

/// The kernel's form of a path.
pub(super) fn c_path(what: &'static str, path: &Path) -> Result<CString, Error> {
    c_string(what, path.as_os_str().to_owned().into_vec())
}

/// The kernel's form of a string, which holds no zero byte.
pub(super) fn c_string(what: &'static str, bytes: impl Into<Vec<u8>>) -> Result<CString, Error> {
    CString::new(bytes).map_err(|error| {
        let value = OsStr::from_bytes(&error.into_vec()).to_string_lossy().chars().take(80).collect();
        Error::Invalid { what, value, reason: "it holds a zero byte" }
    })
}
