//! The command's process: from the sandbox as it stands to the command itself.
//!
//! [`Launch`] is made before any process exists; [`Launch::execute`] uses it where nothing may be allocated.

use super::bpf::Instruction;
use super::caps;
use super::error::Error;
use super::host::Host;
use super::program::{c_path, c_string, check_ids};
use super::report::Stage;
use super::seccomp;
use super::spec::{Network, Security, Spec};
use super::sys;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, chownat, mkdirat, openat, openat2};
use rustix::io::Errno;
use rustix::process::{Gid, Resource, Rlimit, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};

/// Where commands are searched when the environment has no `PATH`: what Docker gives a container.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A list of strings as `execve` takes it.
struct Vector {
    /// What the pointers point to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Vector {
    fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|text| text.as_ptr()).chain([std::ptr::null()]).collect();
        Vector { _strings: strings, pointers }
    }
}

/// What the command reads (nothing where absent), and where it writes.
pub(super) type Streams<'a> = (Option<BorrowedFd<'a>>, BorrowedFd<'a>, BorrowedFd<'a>);

/// Everything that the command's process needs.
pub(super) struct Launch {
    candidates: Vec<CString>,
    argv: Vector,
    envp: Vector,
    cwd: CString,
    /// Each directory of `cwd` that may have to be made: where it is, and its name.
    cwd_parts: Vec<(CString, CString)>,
    uid: Uid,
    gid: Gid,
    /// Absent where the user namespace forbids to set them.
    groups: Option<Vec<Gid>>,
    /// Absent where everything is allowed.
    confine: Option<Confine>,
}

struct Confine {
    filter: &'static [Instruction],
    /// Loaded instead where somebody wants to be told, and what closes its exception.
    telling: Option<(&'static [Instruction], &'static [Instruction])>,
    /// The network is the host's: abstract sockets would be too.
    leave_sockets: bool,
}

impl Launch {
    pub(super) fn new(spec: &Spec, host: &Host, tells: bool) -> Result<Launch, Error> {
        check_ids(host, spec.user.uid, spec.user.gid)?;
        let argv = spec.argv.iter().map(|word| c_string("argument", word.as_bytes()));
        let variable = |(name, value): &(OsString, OsString)| {
            c_string("environment variable", [name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        // A group that does not exist here cannot own anything that the step sees either.
        let groups = spec.user.groups.iter().filter(|gid| host.has_gid(**gid)).map(|gid| Gid::from_raw(*gid));
        let confine = match spec.security {
            Security::Insecure => None,
            Security::Sandbox => {
                let telling = tells.then(|| (seccomp::telling_filter(), seccomp::closing_filter()));
                let leave_sockets = spec.network == Network::Host;
                Some(Confine { filter: seccomp::default_filter(), telling, leave_sockets })
            }
        };
        Ok(Launch {
            candidates: candidates(&spec.argv, &spec.env)?,
            argv: Vector::new(argv.collect::<Result<_, _>>()?),
            envp: Vector::new(spec.env.iter().map(variable).collect::<Result<_, _>>()?),
            cwd: c_path("working directory", &spec.cwd)?,
            cwd_parts: parts(&spec.cwd)?,
            uid: Uid::from_raw(spec.user.uid),
            gid: Gid::from_raw(spec.user.gid),
            groups: host.sets_groups.then(|| groups.collect()),
            confine,
        })
    }

    /// Becomes the command. Returns what failed. Allocates nothing.
    pub(super) fn execute(
        &self,
        streams: Streams<'_>,
        foreground: bool,
        tell: Option<BorrowedFd<'_>>,
    ) -> (Stage, Errno) {
        if let Err(failed) = self.prepare(streams, foreground, tell) {
            return failed;
        }
        let mut refused = None;
        for candidate in &self.candidates {
            // SAFETY: both lists were made by `Vector::new`, with strings that live as long.
            match unsafe { sys::execute(candidate, &self.argv.pointers, &self.envp.pointers) } {
                // Another directory may have it.
                Errno::NOENT | Errno::NOTDIR => {}
                Errno::ACCESS => refused = Some(Errno::ACCESS),
                errno => return (Stage::Exec, errno),
            }
        }
        (Stage::Exec, refused.unwrap_or(Errno::NOENT))
    }

    fn prepare(
        &self,
        streams: Streams<'_>,
        foreground: bool,
        tell: Option<BorrowedFd<'_>>,
    ) -> Result<(), (Stage, Errno)> {
        self.descriptors(streams, foreground).map_err(|errno| (Stage::Descriptors, errno))?;
        self.workdir().map_err(|errno| (Stage::Workdir, errno))?;
        if let Some(confine) = &self.confine {
            if confine.leave_sockets {
                // A protection beyond Docker's, where the kernel has it.
                let _ = sys::leave_abstract_sockets();
            }
            // Before capabilities go: loading a filter needs one, or would forbid setuid programs.
            confine.load(tell).map_err(|errno| (Stage::Filter, errno))?;
            caps::bound(caps::DOCKER_DEFAULT).map_err(|errno| (Stage::Capabilities, errno))?;
        }
        self.become_user().map_err(|errno| (Stage::User, errno))?;
        self.keep_capabilities().map_err(|errno| (Stage::Capabilities, errno))
    }

    fn descriptors(&self, (stdin, stdout, stderr): Streams<'_>, foreground: bool) -> Result<(), Errno> {
        if !foreground {
            rustix::process::setsid()?;
        }
        match stdin {
            Some(stdin) => rustix::stdio::dup2_stdin(stdin)?,
            None => {
                let nothing = openat(CWD, c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
                rustix::stdio::dup2_stdin(&nothing)?;
            }
        }
        rustix::stdio::dup2_stdout(stdout)?;
        rustix::stdio::dup2_stderr(stderr)?;
        sys::close_on_exec_from_3()?;
        // A core file would land in the layer, with every secret that the process held.
        rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
        rustix::process::umask(Mode::WGRP | Mode::WOTH);
        Ok(())
    }

    /// A path such as `/proc/self/fd/7` would lead out of the root; it is refused, and the result is checked.
    /// A directory that is not there, because an image only names it or a step removed it, is made for the
    /// command's user.
    fn workdir(&self) -> Result<(), Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let open = |path: &CString| openat2(CWD, path.as_c_str(), flags, Mode::empty(), resolve);
        let directory = match open(&self.cwd) {
            Err(Errno::NOENT) => {
                for (dir, name) in &self.cwd_parts {
                    let dir = open(dir)?;
                    match mkdirat(&dir, name.as_c_str(), Mode::from_raw_mode(0o755)) {
                        Ok(()) => {
                            let flags = AtFlags::SYMLINK_NOFOLLOW;
                            chownat(&dir, name.as_c_str(), Some(self.uid), Some(self.gid), flags)?;
                        }
                        Err(Errno::EXIST) => {}
                        Err(errno) => return Err(errno),
                    }
                }
                open(&self.cwd)?
            }
            other => other?,
        };
        rustix::process::fchdir(&directory)?;
        if sys::working_directory_is_reachable()? { Ok(()) } else { Err(Errno::XDEV) }
    }

    fn become_user(&self) -> Result<(), Errno> {
        if let Some(groups) = &self.groups {
            rustix::thread::set_thread_groups(groups)?;
        }
        rustix::thread::set_thread_res_gid(self.gid, self.gid, self.gid)?;
        rustix::thread::set_thread_res_uid(self.uid, self.uid, self.uid)
    }

    /// What remains after the user was taken: for anyone but uid 0 the kernel has cleared everything.
    fn keep_capabilities(&self) -> Result<(), Errno> {
        let now = rustix::thread::capabilities(None)?;
        let limit = if self.confine.is_some() { caps::DOCKER_DEFAULT } else { CapabilitySet::from_bits_retain(!0) };
        let kept = now.permitted & limit;
        rustix::thread::clear_ambient_capability_set()?;
        let inheritable = CapabilitySet::empty();
        rustix::thread::set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable })
    }
}

impl Confine {
    /// Loads the filter, and hands its descriptor over if somebody is told by it.
    fn load(&self, tell: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let (Some((telling, closing)), Some(tell)) = (self.telling, tell) else {
            return sys::load_filter(self.filter);
        };
        // Refused where an outer container's filter tells already; who waits for it then gets nothing.
        let Ok(listener) = sys::load_telling_filter(telling) else { return sys::load_filter(self.filter) };
        sys::send_descriptor(tell, listener.as_fd(), seccomp::HANDING_OVER.cast_signed())?;
        sys::load_filter(closing)
    }
}

/// Each directory of an absolute path, the outermost first: the directory above it, and its name.
fn parts(path: &Path) -> Result<Vec<(CString, CString)>, Error> {
    let mut above = PathBuf::from("/");
    let mut all = Vec::new();
    for part in path.components() {
        if let Component::Normal(name) = part {
            all.push((c_path("working directory", &above)?, c_string("working directory", name.as_bytes())?));
            above.push(name);
        }
    }
    Ok(all)
}

/// Where the command may be: itself if it has a slash, else in each directory of `PATH`.
fn candidates(argv: &[OsString], env: &[(OsString, OsString)]) -> Result<Vec<CString>, Error> {
    let program = argv.first().filter(|word| !word.is_empty()).ok_or_else(|| Error::Invalid {
        what: "command",
        value: String::new(),
        reason: "it is empty",
    })?;
    if program.as_bytes().contains(&b'/') {
        return Ok(vec![c_string("command", program.as_bytes())?]);
    }
    // As in a shell, the last of several values counts.
    let path = env.iter().rev().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_os_str());
    let path = path.unwrap_or(OsStr::new(DEFAULT_PATH));
    let in_directory = |directory: &[u8]| {
        let directory = if directory.is_empty() { b"." } else { directory };
        c_string("command", OsString::from_vec([directory, b"/", program.as_bytes()].concat()).into_vec())
    };
    path.as_bytes().split(|&byte| byte == b':').map(in_directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_without_a_slash_is_searched_in_the_last_path_given() {
        let env = [("PATH", "/a"), ("PATH", "/b::/c")].map(|(k, v)| (OsString::from(k), OsString::from(v)));
        let found = candidates(&["sh".into()], &env).unwrap();
        assert_eq!(found, [c"/b/sh".to_owned(), c"./sh".to_owned(), c"/c/sh".to_owned()]);
        assert_eq!(candidates(&["./sh".into()], &env).unwrap(), [c"./sh".to_owned()]);
        assert_eq!(candidates(&["sh".into()], &[]).unwrap().len(), 6);
        assert!(matches!(candidates(&[], &env), Err(Error::Invalid { what: "command", .. })));
    }
}
