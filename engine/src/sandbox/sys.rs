//! The system calls that rustix does not offer, each as a function that is safe to call, or says why not.
//!
//! All `unsafe` of the sandbox is here and in [`super::child`]. What runs after [`fork`] neither
//! allocates nor locks: another thread may have held a lock at that instant.

use super::bpf::Instruction;
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use std::ffi::{CStr, c_char, c_int, c_long, c_void};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Namespaces that every sandbox has.
pub(super) const NAMESPACES: c_int =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;

/// Which side of a [`fork`] this is.
pub(super) enum Side {
    Child,
    Parent {
        /// Names the child for as long as it is open.
        child: OwnedFd,
        /// Its number here.
        pid: i32,
    },
}

/// The errno of a call that answered -1.
fn outcome(answer: c_long) -> Result<c_long, Errno> {
    if answer >= 0 {
        return Ok(answer);
    }
    let code = std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO);
    Err(Errno::from_raw_os_error(code))
}

/// Copies this process into new namespaces. Signal handlers are reset in the child.
///
/// # Safety
/// The child may do nothing that allocates, locks or unwinds, and must end with [`exit`].
pub(super) unsafe fn fork(namespaces: c_int) -> Result<Side, Errno> {
    /// `CLONE_CLEAR_SIGHAND` of `clone3(2)`.
    const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
    let mut pidfd: c_int = -1;
    // SAFETY: `clone_args` is plain numbers, for which zero means "not asked for".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags =
        u64::from(namespaces.cast_unsigned()) | u64::from(libc::CLONE_PIDFD.cast_unsigned()) | CLEAR_SIGHAND;
    arguments.pidfd = (&raw mut pidfd) as u64;
    arguments.exit_signal = u64::from(libc::SIGCHLD.cast_unsigned());
    // SAFETY: without CLONE_VM the child has a copy of this memory and goes on on a copy of this
    // stack; the caller promises to do only what is allowed there.
    let answer = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size_of::<libc::clone_args>()) };
    match outcome(answer)? {
        0 => Ok(Side::Child),
        // SAFETY: the kernel put a new descriptor there, which nobody else owns.
        pid => Ok(Side::Parent { child: unsafe { OwnedFd::from_raw_fd(pidfd) }, pid: pid as i32 }),
    }
}

/// Ends this process at once: no destructors, no exit handlers.
pub(super) fn exit(code: c_int) -> ! {
    // SAFETY: takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Runs `entry(argument)` as a new process that shares this one's memory, while this one waits until it
/// executes another program or exits: no page tables are copied.
///
/// # Safety
/// `entry` must only use `argument` in ways that are allowed while nobody else does, must not allocate,
/// lock or unwind, and `stack` must be large enough for it.
pub(super) unsafe fn spawn_on_shared_memory(
    entry: extern "C" fn(*mut c_void) -> c_int,
    argument: *mut c_void,
    stack: &mut [u8],
) -> Result<(), Errno> {
    let top = stack.as_mut_ptr_range().end;
    let aligned = top.wrapping_sub(top.addr() % 16);
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
    // SAFETY: the stack grows down from its aligned top and is used by nobody else, since this process
    // waits; the rest is the caller's promise.
    outcome(unsafe { libc::clone(entry, aligned.cast(), flags, argument) }.into()).map(drop)
}

/// Adds attributes (`MOUNT_ATTR_*`) to a mount and, if asked, to all below it; makes it private.
pub(super) fn set_mount_attributes(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> Result<(), Errno> {
    #[repr(C)]
    struct MountAttr {
        set: u64,
        clear: u64,
        propagation: u64,
        userns: u64,
    }
    let argument = MountAttr { set: attributes, clear: 0, propagation: libc::MS_PRIVATE, userns: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let (path, size) = (c"".as_ptr(), size_of::<MountAttr>());
    // SAFETY: the pointers are to an empty string and to a value of the layout that the kernel
    // documents, and its size goes with it.
    let answer =
        unsafe { libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), path, flags, &raw const argument, size) };
    outcome(answer).map(drop)
}

/// Closes every descriptor from `first` on but those in `keep`, which is sorted.
///
/// # Safety
/// Descriptors that are still owned by values of this process are closed: they must not be used again.
pub(super) unsafe fn close_all_but(mut first: u32, keep: &[RawFd]) {
    for &kept in keep {
        let kept = kept.cast_unsigned();
        if kept > first {
            // SAFETY: the caller's promise. Cannot fail: the range is not empty.
            unsafe { libc::syscall(libc::SYS_close_range, first, kept - 1, 0) };
        }
        first = first.max(kept.saturating_add(1));
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) };
}

/// Marks every descriptor from 3 on to be closed when a program is executed.
pub(super) fn close_on_exec_from_3() -> Result<(), Errno> {
    // SAFETY: takes numbers; nothing is closed now.
    outcome(unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Gives every signal its default action, also those that were ignored, and blocks none.
pub(super) fn reset_signals() {
    /// The last signal, `SIGRTMAX`.
    const LAST: c_long = 64;
    /// The kernel's set of signals, in bytes.
    const SET_BYTES: usize = 8;
    // `struct sigaction` as the kernel has it is at most four words; zeros are the default action. The
    // C library's own function keeps two signals to itself.
    let (default, none) = ([0u64; 4], 0u64);
    for signal in 1..=LAST {
        // SAFETY: reads no more than `default` has; sets no handler. SIGKILL and SIGSTOP answer with an
        // error, which is right.
        unsafe { libc::syscall(libc::SYS_rt_sigaction, signal, &raw const default, 0, SET_BYTES) };
    }
    // SAFETY: reads eight bytes, the empty set.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const none, 0, SET_BYTES) };
}

/// Overwrites this process' arguments and environment as others see them.
///
/// # Safety
/// `range` must be what the kernel says of this very process (or of the one it was copied from), and
/// nobody may read arguments or environment any more.
pub(super) unsafe fn erase_arguments(range: Range<usize>) {
    const TITLE: &[u8] = b"init";
    if range.len() > TITLE.len() {
        let start = std::ptr::with_exposed_provenance_mut::<u8>(range.start);
        // SAFETY: the caller's promise: this is mapped, writable and unused.
        unsafe {
            start.write_bytes(0, range.len());
            start.copy_from_nonoverlapping(TITLE.as_ptr(), TITLE.len());
        }
    }
}

/// Replaces this process by a program; returns only when that fails.
///
/// # Safety
/// `argv` and `envp` end with a null pointer, and all others point to strings.
pub(super) unsafe fn execute(program: &CStr, argv: &[*const c_char], envp: &[*const c_char]) -> Errno {
    // SAFETY: the caller's promise.
    match outcome(unsafe { libc::execve(program.as_ptr(), argv.as_ptr(), envp.as_ptr()) }.into()) {
        Err(errno) => errno,
        // The call does not return when it succeeds.
        Ok(_) => Errno::NOEXEC,
    }
}

/// Loads a filter of system calls for this thread and all that it starts. Needs `CAP_SYS_ADMIN`.
pub(super) fn load_filter(filter: &[Instruction]) -> Result<(), Errno> {
    set_filter(filter, SPEC_ALLOW).map(drop)
}

/// The same, with a descriptor by which the calls are told that the filter wants told.
pub(super) fn load_telling_filter(filter: &[Instruction]) -> Result<OwnedFd, Errno> {
    const NEW_LISTENER: c_long = 8;
    /// While a call is being told, only a deadly signal interrupts it. Kernels before 5.19 lack it.
    const WAIT_KILLABLE: c_long = 32;
    let flags = SPEC_ALLOW | NEW_LISTENER;
    let fd = match set_filter(filter, flags | WAIT_KILLABLE) {
        Err(Errno::INVAL) => set_filter(filter, flags)?,
        answer => answer?,
    };
    // SAFETY: the kernel put a new descriptor there, which nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

/// Leaves speculation mitigations as they are: a filter is no reason to slow a compiler down.
const SPEC_ALLOW: c_long = 4;

fn set_filter(filter: &[Instruction], flags: c_long) -> Result<c_long, Errno> {
    #[repr(C)]
    struct Program {
        length: u16,
        instructions: *const Instruction,
    }
    let length = u16::try_from(filter.len()).map_err(|_| Errno::TOOBIG)?;
    let program = Program { length, instructions: filter.as_ptr() };
    // SAFETY: `Instruction` has the layout of `sock_filter`; the kernel copies the program.
    outcome(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program) })
}

/// Sends a descriptor over a socket, with these flags. Allocates nothing.
pub(super) fn send_descriptor(socket: BorrowedFd<'_>, sent: BorrowedFd<'_>, flags: c_int) -> Result<(), Errno> {
    /// Room for the header and one descriptor, aligned as the kernel wants it.
    #[repr(C, align(8))]
    struct Control([u8; 24]);
    let mut byte = 0u8;
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut control = Control([0; 24]);
    // SAFETY: an all-zero message is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // SAFETY: the control buffer holds one header and one number; all that is pointed to lives until
    // the call returns.
    let answer = unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = libc::CMSG_LEN(size_of::<c_int>() as u32) as _;
        libc::CMSG_DATA(header).cast::<c_int>().write_unaligned(sent.as_raw_fd());
        libc::sendmsg(socket.as_raw_fd(), &raw const message, flags)
    };
    outcome(answer as c_long).map(drop)
}

/// A call that a filter tells of, as `struct seccomp_notif` has it.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Told {
    pub id: u64,
    pub pid: u32,
    pub flags: u32,
    pub number: i32,
    pub architecture: u32,
    pub pointer: u64,
    pub arguments: [u64; 6],
}

/// Takes the next call that a filter tells of.
pub(super) fn receive_told(listener: BorrowedFd<'_>) -> Result<Told, Errno> {
    /// `SECCOMP_IOCTL_NOTIF_RECV`.
    const RECEIVE: u64 = 0xc050_2100;
    const { assert!(size_of::<Told>() == 80) };
    let mut told = Told { id: 0, pid: 0, flags: 0, number: 0, architecture: 0, pointer: 0, arguments: [0; 6] };
    // SAFETY: the kernel fills exactly this layout, which must be zero before.
    let answer = unsafe { libc::ioctl(listener.as_raw_fd(), RECEIVE as _, &raw mut told) };
    outcome(answer.into()).map(|_| told)
}

/// Lets a told call go on.
pub(super) fn let_go_on(listener: BorrowedFd<'_>, id: u64) -> Result<(), Errno> {
    /// `SECCOMP_IOCTL_NOTIF_SEND` and `SECCOMP_USER_NOTIF_FLAG_CONTINUE`.
    const SEND: u64 = 0xc018_2101;
    const CONTINUE: u32 = 1;
    #[repr(C)]
    struct Answer {
        id: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    let answer = Answer { id, value: 0, error: 0, flags: CONTINUE };
    // SAFETY: the kernel reads exactly this layout.
    let sent = unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const answer) };
    outcome(sent.into()).map(drop)
}

/// Reads from another process' memory; an error where not all of it can be read.
pub(super) fn read_memory(pid: u32, address: u64, into: &mut [u8]) -> Result<(), Errno> {
    let length = into.len();
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: length };
    let base = std::ptr::without_provenance_mut::<c_void>(usize::try_from(address).map_err(|_| Errno::FAULT)?);
    let remote = libc::iovec { iov_base: base, iov_len: length };
    let pid = libc::pid_t::try_from(pid).map_err(|_| Errno::SRCH)?;
    // SAFETY: the local part is this slice; the remote one is only a number here.
    let count = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if outcome(count as c_long)? as usize == length { Ok(()) } else { Err(Errno::FAULT) }
}

/// Keeps this process and its children from connecting to abstract sockets of processes outside: with
/// the host's network a step would otherwise reach daemons that trust whoever connects as root. Kernels
/// before 6.12 cannot.
pub(super) fn leave_abstract_sockets() -> Result<(), Errno> {
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    const SCOPE_ABSTRACT_UNIX_SOCKET: u64 = 1;
    let ruleset = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: SCOPE_ABSTRACT_UNIX_SOCKET };
    let (size, flags) = (size_of::<Ruleset>(), 0);
    // SAFETY: the pointer is to a value of the documented layout, and its size goes with it.
    let fd = outcome(unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const ruleset, size, flags) })?;
    // SAFETY: takes numbers. The descriptor is closed when the program is executed.
    outcome(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, fd, 0) }).map(drop)
}

/// Brings up the loopback device of this network namespace.
pub(super) fn raise_loopback() -> Result<(), Errno> {
    // SAFETY: an all-zero request is valid; the name is `lo` and zeros.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as i16;
    // SAFETY: takes numbers.
    let fd = outcome(unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) }.into())?;
    // SAFETY: the request is valid for this call; the descriptor is ours.
    let answer = unsafe { libc::ioctl(fd as c_int, libc::SIOCSIFFLAGS, &raw const request) };
    let result = outcome(answer.into()).map(drop);
    // SAFETY: opened above, used by nobody else.
    unsafe { libc::close(fd as c_int) };
    result
}

/// The working directory as the kernel names it; the answer does not begin with `/` where it cannot be
/// reached from the root.
pub(super) fn working_directory_is_reachable() -> Result<bool, Errno> {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most the given length.
    outcome(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    Ok(path[0] == b'/')
}

/// Removes a capability from what this process and its children can ever have.
pub(super) fn drop_from_bounding_set(capability: u32) -> Result<(), Errno> {
    // SAFETY: takes numbers.
    outcome(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, c_long::from(capability), 0, 0, 0) }.into()).map(drop)
}

/// Whether new `/proc` and `/sys` may be mounted for new namespaces. In a user namespace the kernel
/// refuses where the existing ones are partly covered, as they are in a container.
pub(super) fn probe_fresh_mounts() -> (bool, bool) {
    fn allowed(name: &CStr) -> Result<(), Errno> {
        let context = fsopen(name, FsOpenFlags::FSOPEN_CLOEXEC)?;
        fsconfig_create(&context)?;
        let closed =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, closed).map(drop)
    }
    // SAFETY: the child makes a few system calls on memory of its own and exits.
    match unsafe { fork(libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWNET) } {
        Err(_) => (false, false),
        Ok(Side::Child) => exit(c_int::from(allowed(c"proc").is_ok()) | c_int::from(allowed(c"sysfs").is_ok()) << 1),
        Ok(Side::Parent { child, .. }) => {
            let code = wait(child.as_fd()).ok().flatten().unwrap_or(0);
            (code & 1 != 0, code & 2 != 0)
        }
    }
}

/// Waits for a child of [`fork`] to end and forgets it; its exit code, if it exited.
pub(super) fn wait(child: BorrowedFd<'_>) -> Result<Option<i32>, Errno> {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    loop {
        match waitid(WaitId::PidFd(child), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            answer => return Ok(answer?.and_then(|status| status.exit_status())),
        }
    }
}

/// Gives this process a mount namespace of its own.
pub(super) fn unshare_mounts() -> Result<(), Errno> {
    // SAFETY: unlike the descriptor table, mounts are nothing that other threads' memory safety rests on.
    unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }
}

/// Does nothing until this process is killed, or its parent is gone.
pub(super) fn wait_for_death() -> ! {
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    loop {
        // SAFETY: takes nothing and touches nothing.
        unsafe { libc::pause() };
    }
}

/// Lets every other thread of the machine go before this one, for good. A processor that runs nothing else counts as
/// idle for those that become ready.
pub(super) fn go_after_all_others() -> Result<(), Errno> {
    // SAFETY: plain numbers, for which zero is the one priority that this policy has.
    let none: libc::sched_param = unsafe { std::mem::zeroed() };
    // SAFETY: the parameter lives during the call; 0 is this thread.
    outcome(unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &raw const none) }.into()).map(drop)
}
