//! Becoming root of a user namespace, so that an ordinary user can make sandboxes.
//!
//! A helper process holds the new namespace while its ids are mapped from outside; then this process
//! enters it. Knows nothing of any step.

use super::host::Host;
use super::subids;
use super::sys::{self, Side};
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{Signal, getegid, geteuid, pidfd_send_signal};
use rustix::thread::{CapabilitySet, ThreadNameSpaceType, capabilities, move_into_thread_name_spaces};
use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Command, Stdio};

/// Under which identity steps are run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Whether this process is in a user namespace that it made.
    pub rootless: bool,
    /// How many ids a step can use: 0 to one less, as a rule.
    pub mapped_ids: u32,
    /// What works less well here, for printing.
    pub warnings: Vec<Warning>,
}

/// What works less well than on a usual host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Warning {
    /// Only root's id exists in a step.
    SingleId {
        /// Why no more could be mapped.
        cause: String,
    },
    /// Steps see the processes of the builder's PID namespace.
    SharedProc,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::SingleId { cause } => write!(f, "only one user id is mapped: {cause}"),
            Warning::SharedProc => f.write_str("steps see the processes outside: /proc is partly covered here"),
        }
    }
}

impl Warning {
    /// What the user can do.
    pub fn help(&self) -> &'static str {
        match self {
            Warning::SingleId { .. } => "install uidmap and add a line for this user to /etc/subuid and /etc/subgid",
            Warning::SharedProc => {
                "let the container that kiln runs in see all of /proc (docker: --security-opt systempaths=unconfined)"
            }
        }
    }
}

/// Why no user namespace could be entered.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// A setting of the kernel forbids it.
    #[error("user namespaces are disabled ({sysctl} is {value})")]
    Disabled {
        /// The setting.
        sysctl: &'static str,
        /// Its value.
        value: String,
    },
    /// AppArmor lets the namespace be made, and nothing be done in it.
    #[error("AppArmor keeps unprivileged programs from using user namespaces")]
    AppArmor,
    /// The process has more threads than one.
    #[error("a user namespace can only be entered before threads are started")]
    Threads,
    /// The kernel refused otherwise.
    #[error("cannot {doing}")]
    Kernel {
        /// What was tried.
        doing: &'static str,
        /// What it answered.
        #[source]
        source: io::Error,
    },
}

impl NamespaceError {
    /// What the user can do.
    pub fn help(&self) -> &'static str {
        match self {
            NamespaceError::Disabled { .. } => "ask an administrator to enable user namespaces, or run as root",
            NamespaceError::AppArmor => {
                "install an AppArmor profile for kiln with the rule `userns,`, or set kernel.apparmor_restrict_unprivileged_userns to 0"
            }
            NamespaceError::Threads => "this is a defect of the program",
            NamespaceError::Kernel { .. } => {
                "if this is a container, it may need --security-opt seccomp=unconfined; otherwise run as root"
            }
        }
    }
}

/// Makes this process fit to run steps: does nothing where it is root with all that is needed; otherwise
/// enters a user namespace in which it is. Must be called before any thread is started.
///
/// # Errors
/// When neither is possible.
pub fn enter_user_namespace() -> Result<Identity, NamespaceError> {
    let privileged = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    let mut warnings = Vec::new();
    let rootless = !(privileged && geteuid().is_root());
    if rootless {
        warnings.extend(enter()?);
    }
    let host = Host::get().map_err(|error| NamespaceError::Kernel {
        doing: "learn what this host allows",
        source: io::Error::other(error),
    })?;
    if !host.fresh_proc {
        warnings.push(Warning::SharedProc);
    }
    let count = |ids: &[std::ops::Range<u64>]| ids.iter().map(|ids| ids.end - ids.start).sum::<u64>();
    let mapped_ids = u32::try_from(count(&host.uids).min(count(&host.gids))).unwrap_or(u32::MAX);
    Ok(Identity { rootless, mapped_ids, warnings })
}

fn enter() -> Result<Option<Warning>, NamespaceError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    let ids = subids::for_user(uid);
    let mut holder = Holder::new()?;
    // Mapping is done once or never: after a partial failure only a new namespace helps.
    let warning = match ids.and_then(|ids| holder.map_many(uid, gid, &ids)) {
        Ok(()) => None,
        Err(cause) => {
            holder = Holder::new()?;
            holder.map_one(uid, gid).map_err(|source| refused("map a user id", source))?;
            Some(Warning::SingleId { cause })
        }
    };
    match move_into_thread_name_spaces(holder.process.as_fd(), ThreadNameSpaceType::USER) {
        Ok(()) => {}
        Err(Errno::INVAL) => return Err(NamespaceError::Threads),
        Err(errno) => return Err(refused("enter the user namespace", errno.into())),
    }
    sys::unshare_mounts().map_err(|errno| refused("make a mount namespace", errno.into()))?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change(c"/", private).map_err(|errno| refused("separate the mounts", errno.into()))?;
    Ok(warning)
}

/// A process that does nothing but keep a new user namespace alive.
struct Holder {
    process: OwnedFd,
    pid: i32,
}

impl Holder {
    fn new() -> Result<Holder, NamespaceError> {
        // SAFETY: the child only waits to be killed.
        match unsafe { sys::fork(libc::CLONE_NEWUSER) } {
            Ok(Side::Parent { child, pid }) => Ok(Holder { process: child, pid }),
            Ok(Side::Child) => sys::wait_for_death(),
            Err(errno) => Err(refused("make a user namespace", errno.into())),
        }
    }

    /// Maps this user to 0 and its subordinate ids to 1 and on, by the helpers that may.
    fn map_many(&self, uid: u32, gid: u32, ids: &subids::SubordinateIds) -> Result<(), String> {
        helper("newuidmap", self.pid, uid, &ids.uids)?;
        helper("newgidmap", self.pid, gid, &ids.gids)
    }

    /// Maps this user to 0, which needs nobody's help.
    fn map_one(&self, uid: u32, gid: u32) -> io::Result<()> {
        let write = |file: &str, text: String| fs::write(format!("/proc/{}/{file}", self.pid), text);
        write("uid_map", format!("0 {uid} 1"))?;
        // Giving up a group could give access; so without privileges groups stay as they are.
        write("setgroups", "deny".to_owned())?;
        write("gid_map", format!("0 {gid} 1"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It is ours and waits for this; a failure leaves nothing to do.
        let _ = pidfd_send_signal(&self.process, Signal::KILL);
        let _ = sys::wait(self.process.as_fd());
    }
}

fn helper(program: &str, pid: i32, own: u32, ranges: &[subids::SubRange]) -> Result<(), String> {
    let mut command = Command::new(program);
    command.arg(pid.to_string()).args(["0", &own.to_string(), "1"]);
    let mut inside = 1;
    for range in ranges {
        command.args([inside.to_string(), range.first.to_string(), range.count.to_string()]);
        inside += range.count;
    }
    let ended = command.stdin(Stdio::null()).output().map_err(|error| format!("{program}: {error}"))?;
    if ended.status.success() {
        return Ok(());
    }
    let words = String::from_utf8_lossy(&ended.stderr);
    Err(format!("{program} failed: {}", words.lines().next().unwrap_or("no reason given")))
}

/// Finds out which setting made the kernel refuse.
fn refused(doing: &'static str, source: io::Error) -> NamespaceError {
    let denied = [libc::EPERM, libc::EACCES, libc::ENOSPC, libc::EUSERS].map(Some).contains(&source.raw_os_error());
    let setting = |path: &str| fs::read_to_string(path).map(|value| value.trim().to_owned()).unwrap_or_default();
    let switches = [
        ("user.max_user_namespaces", "/proc/sys/user/max_user_namespaces"),
        ("kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone"),
    ];
    for (sysctl, path) in switches {
        let value = setting(path);
        if denied && value == "0" {
            return NamespaceError::Disabled { sysctl, value };
        }
    }
    if denied && setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1" {
        return NamespaceError::AppArmor;
    }
    NamespaceError::Kernel { doing, source }
}
