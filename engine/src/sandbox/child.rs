//! What runs inside a sandbox before and beside the command: its first process.
//!
//! It is a copy of a builder with many threads, so nothing here allocates, locks or panics: it
//! interprets values that were made before, and tells the builder of the first thing that fails.

use super::launch::Launch;
use super::op::{Expect, Op, Origin, Setting, Slot};
use super::program::Program;
use super::report::{self, Stage, Text};
use super::run::Attached;
use super::sys;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, ResolveFlags, fchmod, fchown, fstat, mkdirat, openat, openat2, symlinkat,
};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    UnmountFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change,
    move_mount, open_tree, unmount,
};
use rustix::process::{DumpableBehavior, Gid, Signal, Uid, WaitOptions, fchdir};
use std::ffi::{CStr, CString, c_int, c_void};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};

/// Links cannot leave the directory that a path is looked up in, and `/proc/PID/fd` links are refused.
const INSIDE: ResolveFlags = ResolveFlags::IN_ROOT.union(ResolveFlags::NO_MAGICLINKS);
/// For paths that we made or the kernel has: no link is expected.
const STRAIGHT: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);
const PATH: OFlags = OFlags::PATH.union(OFlags::CLOEXEC);

/// How much of a stack the command's process gets until it executes the command, in bytes.
const STACK_BYTES: usize = 256 * 1024;

/// Everything that the first process needs, made before it exists.
pub(super) struct Child<'a> {
    pub(super) program: &'a Program,
    pub(super) launch: &'a Launch,
    /// What the command reads; nothing where absent.
    pub(super) stdin: Option<OwnedFd>,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
    /// The command is the terminal's foreground, and so stays in the session of the builder.
    pub(super) foreground: bool,
    pub(super) status: OwnedFd,
    /// Takes the descriptor by which calls are told.
    pub(super) tell: Option<OwnedFd>,
    /// Where the arguments of the builder lie in memory.
    pub(super) arguments: Range<usize>,
    slots: Vec<Option<OwnedFd>>,
    stack: Vec<u8>,
    keep: Vec<RawFd>,
}

impl<'a> Child<'a> {
    pub(super) fn new(
        program: &'a Program,
        launch: &'a Launch,
        Attached { stdin, stdout, stderr, foreground }: Attached,
        status: OwnedFd,
        tell: Option<OwnedFd>,
        arguments: Range<usize>,
    ) -> Self {
        let adopted = program.ops.iter().filter_map(|op| match op {
            Op::Adopt { descriptor, .. } => Some(*descriptor),
            _ => None,
        });
        let mut keep: Vec<RawFd> =
            adopted.chain([stdout.as_raw_fd(), stderr.as_raw_fd(), status.as_raw_fd()]).collect();
        keep.extend(stdin.as_ref().map(AsRawFd::as_raw_fd));
        keep.extend(tell.as_ref().map(AsRawFd::as_raw_fd));
        keep.sort_unstable();
        let slots = std::iter::repeat_with(|| None).take(program.slots).collect();
        Child {
            program,
            launch,
            stdin,
            stdout,
            stderr,
            foreground,
            status,
            tell,
            arguments,
            slots,
            stack: vec![0; STACK_BYTES],
            keep,
        }
    }

    /// Builds the sandbox, runs the command, waits for it, and ends; everything inside then ends too.
    ///
    /// # Safety
    /// Must be called in the child of [`sys::fork`], and nowhere else.
    pub(super) unsafe fn main(&mut self) -> ! {
        // SAFETY: descriptors of other steps and of the builder are closed; their values live in a copy
        // of the builder's memory that nobody looks at again.
        unsafe { sys::close_all_but(3, &self.keep) };
        // SAFETY: the range is that of the process which this is a copy of; nothing here reads arguments.
        unsafe { sys::erase_arguments(self.arguments.clone()) };
        if prepare_process(self.foreground).is_err() {
            sys::exit(1);
        }
        let mut text = Text::empty();
        for (index, op) in self.program.ops.iter().enumerate() {
            if let Err(errno) = apply(op, &mut self.slots, &mut text) {
                // The builder is gone when this fails, and there is nobody to tell.
                let _ = report::send_op(self.status.as_fd(), index, errno, &text);
                sys::exit(1);
            }
        }
        let argument = (&raw mut *self).cast::<c_void>();
        // SAFETY: `command` keeps to its own stack and this process waits while it uses `self`; the
        // stack is part of `self`, but nothing there reads or writes it as such.
        let spawned = unsafe { sys::spawn_on_shared_memory(command, argument, &mut self.stack) };
        if let Err(errno) = spawned {
            let _ = report::send_launch(self.status.as_fd(), Stage::Spawn, errno);
            sys::exit(1);
        }
        // Nothing of the host is left in reach of this process.
        // SAFETY: as above; only the status descriptor is used from here on.
        unsafe { sys::close_all_but(0, &[self.status.as_raw_fd()]) };
        self.reap()
    }

    /// Collects every orphan until the command itself ends.
    fn reap(&self) -> ! {
        /// The first process is 1 and has made no other before the command.
        const COMMAND: i32 = 2;
        loop {
            match rustix::process::wait(WaitOptions::empty()) {
                Ok(Some((pid, status))) if pid.as_raw_nonzero().get() == COMMAND => {
                    let _ = report::send_end(self.status.as_fd(), status.exit_status(), status.terminating_signal());
                    sys::exit(0);
                }
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => sys::exit(1),
            }
        }
    }
}

/// Makes a process fit to be the first one: it dies with the builder, and nobody looks into its memory,
/// which is the builder's.
fn prepare_process(foreground: bool) -> Result<(), Errno> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_name(c"init")?;
    if !foreground {
        rustix::process::setsid()?;
    }
    sys::reset_signals();
    // Modes are given exactly; the command gets the usual mask later.
    rustix::process::umask(Mode::empty());
    Ok(())
}

/// The command's process: shares the first one's memory until it executes the command.
extern "C" fn command(argument: *mut c_void) -> c_int {
    // SAFETY: `Child::main` passes itself and waits.
    let child = unsafe { &*argument.cast::<Child<'_>>() };
    let stdin = child.stdin.as_ref().map(AsFd::as_fd);
    let streams = (stdin, child.stdout.as_fd(), child.stderr.as_fd());
    let (stage, errno) = child.launch.execute(streams, child.foreground, child.tell.as_ref().map(AsFd::as_fd));
    let _ = report::send_launch(child.status.as_fd(), stage, errno);
    127
}

fn get(slots: &[Option<OwnedFd>], slot: Slot) -> Result<BorrowedFd<'_>, Errno> {
    slots.get(slot).and_then(Option::as_ref).map(AsFd::as_fd).ok_or(Errno::BADF)
}

fn put(slots: &mut [Option<OwnedFd>], slot: Slot, fd: OwnedFd) -> Result<(), Errno> {
    *slots.get_mut(slot).ok_or(Errno::BADF)? = Some(fd);
    Ok(())
}

/// Carries out one operation.
fn apply(op: &Op, slots: &mut [Option<OwnedFd>], text: &mut Text) -> Result<(), Errno> {
    match op {
        Op::MakePrivate => mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC),
        Op::NewMount { into, fs, settings, attrs, .. } => {
            let context = fsopen(*fs, FsOpenFlags::FSOPEN_CLOEXEC)?;
            let made = configure(&context, settings).and_then(|()| {
                let attrs = MountAttrFlags::from_bits_retain(attrs.0 as u32);
                fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attrs)
            });
            // The kernel explains a refusal on the context itself.
            if made.is_err() {
                text.length = rustix::io::read(&context, &mut text.bytes).unwrap_or(0);
            }
            put(slots, *into, made?)
        }
        Op::Adopt { into, descriptor } => {
            // SAFETY: the builder made it for this process alone, which kept it open; nothing else here
            // owns that number.
            put(slots, *into, unsafe { OwnedFd::from_raw_fd(*descriptor) })
        }
        Op::MountOverlay { into, links: (base, links), at, options, nodev } => {
            let links = openat2(get(slots, *base)?, links.as_c_str(), PATH, Mode::empty(), STRAIGHT)?;
            fchdir(&links)?;
            let flags = if *nodev { MountFlags::NODEV } else { MountFlags::empty() };
            mount(c"overlay", at.as_c_str(), c"overlay", flags, Some(options.as_c_str()))?;
            let root = openat(&links, at.as_c_str(), PATH | OFlags::DIRECTORY, Mode::empty())?;
            put(slots, *into, root)
        }
        Op::CloneTree { into, origin, expect, recursive, attrs } => {
            let source = open_source(origin, slots)?;
            check(source.as_fd(), *expect)?;
            let tree = clone_tree(source.as_fd(), *recursive)?;
            sys::set_mount_attributes(tree.as_fd(), attrs.0, *recursive)?;
            put(slots, *into, tree)
        }
        Op::AttachToHost { mount, path } => {
            let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
            move_mount(get(slots, *mount)?, c"", CWD, path.as_c_str(), flags)
        }
        Op::Attach { mount, base, path, follow } => {
            let flags = if *follow { PATH } else { PATH | OFlags::NOFOLLOW };
            let target = openat2(get(slots, *base)?, path.as_c_str(), flags, Mode::empty(), INSIDE)?;
            if file_type(target.as_fd())? == FileType::Symlink {
                return Err(Errno::LOOP);
            }
            attach(get(slots, *mount)?, target.as_fd())
        }
        Op::Restrict { mount, attrs, .. } => sys::set_mount_attributes(get(slots, *mount)?, attrs.0, false),
        Op::Freeze { base, path } => {
            let Some(target) = open_if_there(get(slots, *base)?, path)? else { return Ok(()) };
            let tree = clone_tree(target.as_fd(), true)?;
            sys::set_mount_attributes(tree.as_fd(), super::op::Attrs::RDONLY.0, true)?;
            attach(tree.as_fd(), target.as_fd())
        }
        Op::Mask { base, path, file_cover, dir_cover: (files, empty) } => {
            let Some(target) = open_if_there(get(slots, *base)?, path)? else { return Ok(()) };
            let cover = if file_type(target.as_fd())? == FileType::Directory {
                let empty = openat2(get(slots, *files)?, *empty, PATH, Mode::empty(), STRAIGHT)?;
                clone_tree(empty.as_fd(), false)?
            } else {
                clone_tree(get(slots, *file_cover)?, false)?
            };
            sys::set_mount_attributes(cover.as_fd(), super::op::Attrs::RDONLY.0, false)?;
            attach(cover.as_fd(), target.as_fd())
        }
        Op::MakeDir { base, path, mode } => mkdirat(get(slots, *base)?, path.as_c_str(), Mode::from_raw_mode(*mode)),
        Op::MakeLink { base, path, target } => symlinkat(target.as_c_str(), get(slots, *base)?, path.as_c_str()),
        Op::MakeFile { base, path, mode, owner, content } => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = openat(get(slots, *base)?, path.as_c_str(), flags, Mode::RUSR | Mode::WUSR)?;
            write_all(file.as_fd(), content.expose())?;
            if let Some((uid, gid)) = *owner {
                fchown(&file, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
            }
            fchmod(&file, Mode::from_raw_mode(*mode))
        }
        Op::MakeTarget { base, target, dir, parts, is_dir } => {
            make_target(get(slots, *base)?, target, dir, parts, *is_dir)
        }
        Op::Hostname(name) => rustix::system::sethostname(name),
        Op::RaiseLoopback => sys::raise_loopback(),
        Op::EnterRoot { root } => {
            fchdir(get(slots, *root)?)?;
            // The old root is mounted on the new one, and is what "." then leads to.
            rustix::process::pivot_root(c".", c".")?;
            unmount(c".", UnmountFlags::DETACH)?;
            rustix::process::chdir(c"/")
        }
    }
}

fn configure(context: &OwnedFd, settings: &[Setting]) -> Result<(), Errno> {
    for setting in settings {
        match setting {
            Setting::Text(key, value) => fsconfig_set_string(context, *key, value.as_c_str())?,
            Setting::Flag(key) => fsconfig_set_flag(context, *key)?,
            Setting::OptionalFlag(key) => fsconfig_set_flag(context, *key).unwrap_or(()),
        }
    }
    fsconfig_create(context)
}

fn open_source(origin: &Origin, slots: &[Option<OwnedFd>]) -> Result<OwnedFd, Errno> {
    match origin {
        Origin::Host { root, subpath } => {
            let root = openat(CWD, root.as_c_str(), PATH, Mode::empty())?;
            if subpath.as_bytes() == b"." {
                return Ok(root);
            }
            openat2(&root, subpath.as_c_str(), PATH, Mode::empty(), INSIDE)
        }
        Origin::Slot { slot, path } => openat2(get(slots, *slot)?, path.as_c_str(), PATH, Mode::empty(), INSIDE),
    }
}

/// What was opened is what is mounted: no path is looked up again.
fn clone_tree(source: BorrowedFd<'_>, recursive: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    open_tree(source, c"", flags)
}

fn attach(mount: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), Errno> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", target, c"", flags)
}

fn file_type(fd: BorrowedFd<'_>) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(fstat(fd)?.st_mode))
}

fn check(fd: BorrowedFd<'_>, expect: Expect) -> Result<(), Errno> {
    let found = fstat(fd)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    match expect {
        Expect::Directory if kind != FileType::Directory => Err(Errno::NOTDIR),
        Expect::NotDirectory if kind == FileType::Directory => Err(Errno::ISDIR),
        Expect::CharDevice { major, minor } => {
            let number = (rustix::fs::major(found.st_rdev), rustix::fs::minor(found.st_rdev));
            let right = kind == FileType::CharacterDevice && number == (major, minor);
            if right { Ok(()) } else { Err(Errno::NODEV) }
        }
        Expect::Directory | Expect::NotDirectory => Ok(()),
    }
}

fn open_if_there(base: BorrowedFd<'_>, path: &CStr) -> Result<Option<OwnedFd>, Errno> {
    match openat2(base, path, PATH, Mode::empty(), STRAIGHT) {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn make_target(
    base: BorrowedFd<'_>,
    target: &CString,
    dir: &CString,
    parts: &[CString],
    is_dir: bool,
) -> Result<(), Errno> {
    match openat2(base, target.as_c_str(), PATH, Mode::empty(), INSIDE) {
        Err(Errno::NOENT) => {}
        answer => return answer.map(drop),
    }
    let mut at = openat2(base, dir.as_c_str(), PATH | OFlags::DIRECTORY, Mode::empty(), INSIDE)?;
    let Some((last, above)) = parts.split_last() else { return Ok(()) };
    for part in above {
        at = enter_or_make(at.as_fd(), part)?;
    }
    if is_dir {
        return enter_or_make(at.as_fd(), last).map(drop);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(&at, last.as_c_str(), flags, Mode::from_raw_mode(0o644)).map(drop)
}

fn enter_or_make(at: BorrowedFd<'_>, part: &CStr) -> Result<OwnedFd, Errno> {
    match mkdirat(at, part, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => openat2(at, part, PATH | OFlags::DIRECTORY, Mode::empty(), STRAIGHT),
        Err(errno) => Err(errno),
    }
}

fn write_all(file: BorrowedFd<'_>, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let written = rustix::io::write(file, bytes)?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
