//! Answers the kernel's questions about one read-only file system from a directory, and notes each of them.
//!
//! A question costs the step a round trip, so everything is told for good and nothing is asked twice:
//! names, attributes and the absence of names are cached by the kernel for as long as the mount lives,
//! files are neither opened nor closed by message. Knows nothing of what is done with what was seen.

use super::nodes::{Name, NodeId, Nodes, ROOT};
use super::protocol::{self, Attributes, Header, Reply, opcode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, StatxFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CString;
use std::io::IoSlice;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Room for one question: only names and attribute names come in.
const QUESTION_BYTES: usize = 64 * 1024;
/// How many files are kept open for further reading.
const OPEN_FILES: usize = 64;

/// One mounted file system's server.
pub(super) struct Server {
    device: OwnedFd,
    /// What is shown: nothing in it changes while the step runs.
    root: OwnedFd,
    /// Whether any file below has extended attributes.
    attributes: bool,
    nodes: Nodes,
    open: HashMap<NodeId, OwnedFd>,
    /// Why what was seen may not be all.
    trouble: Option<String>,
    reply: Reply,
    data: Vec<u8>,
}

/// What a server saw when it ended.
pub(super) struct Ended {
    pub nodes: Nodes,
    pub trouble: Option<String>,
}

impl Server {
    pub(super) fn new(device: OwnedFd, root: OwnedFd, attributes: bool) -> Server {
        Server {
            device,
            root,
            attributes,
            nodes: Nodes::new(),
            open: HashMap::new(),
            trouble: None,
            reply: Reply::default(),
            data: vec![0; protocol::MAX_READ_BYTES],
        }
    }

    /// Answers until the file system is unmounted or `stop` becomes readable.
    pub(super) fn run(mut self, stop: BorrowedFd<'_>) -> Ended {
        let mut question = vec![0; QUESTION_BYTES];
        loop {
            match rustix::io::read(&self.device, &mut question) {
                Ok(length) => {
                    let Some((header, body)) = question.get(..length).and_then(Header::parse) else { continue };
                    self.answer(header, body);
                }
                Err(Errno::AGAIN) => {
                    let mut fds = [
                        PollFd::from_borrowed_fd(self.device.as_fd(), PollFlags::IN),
                        PollFd::from_borrowed_fd(stop, PollFlags::IN),
                    ];
                    match poll(&mut fds, None) {
                        Ok(_) if !fds[1].revents().is_empty() => break,
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(errno) => {
                            self.note(format!("waiting for the kernel failed: {errno}"));
                            break;
                        }
                    }
                }
                // A question was withdrawn before it was read.
                Err(Errno::INTR | Errno::NOENT) => {}
                // Unmounted.
                Err(Errno::NODEV) => break,
                Err(errno) => {
                    self.note(format!("reading the kernel's questions failed: {errno}"));
                    break;
                }
            }
        }
        Ended { nodes: self.nodes, trouble: self.trouble }
    }

    fn note(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    fn answer(&mut self, header: Header, body: &[u8]) {
        self.reply.0.clear();
        let mut read = 0;
        let result = match header.opcode {
            // They want no answer.
            opcode::FORGET | opcode::BATCH_FORGET | opcode::INTERRUPT | opcode::DESTROY => return,
            opcode::LOOKUP => self.look_up(header.node, protocol::name(body)),
            opcode::GETATTR => self.attributes(header.node),
            opcode::READ => self.read(header.node, body).map(|length| read = length),
            opcode::READDIR => self.list(header.node, body, false),
            opcode::READDIRPLUS => self.list(header.node, body, true),
            opcode::READLINK => self.link(header.node),
            opcode::GETXATTR if self.attributes => self.get_attribute(header.node, body),
            opcode::LISTXATTR if self.attributes => self.list_attributes(header.node, body),
            opcode::STATFS => {
                self.reply.statfs();
                Ok(())
            }
            opcode::INIT => match protocol::init(body) {
                Some(reply) => {
                    self.reply = reply;
                    Ok(())
                }
                None => {
                    self.note("the kernel's FUSE is too old".to_owned());
                    Err(Errno::PROTO)
                }
            },
            // "Not implemented" makes the kernel do without from then on; these need no word of ours.
            opcode::OPEN
            | opcode::OPENDIR
            | opcode::RELEASE
            | opcode::RELEASEDIR
            | opcode::FLUSH
            | opcode::ACCESS
            | opcode::LSEEK
            | opcode::STATX
            | opcode::GETXATTR
            | opcode::LISTXATTR => Err(Errno::NOSYS),
            _ => Err(Errno::NOSYS),
        };
        let errno = result.err().map_or(0, Errno::raw_os_error);
        let body: &[u8] = match () {
            () if errno != 0 => &[],
            () if header.opcode == opcode::READ => self.data.get(..read).unwrap_or_default(),
            () => &self.reply.0,
        };
        let head = protocol::reply_header(header.unique, errno, body.len());
        match rustix::io::writev(&self.device, &[IoSlice::new(&head), IoSlice::new(body)]) {
            // Nobody waits for it any more: killed, or unmounted.
            Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => self.note(format!("answering the kernel failed: {errno}")),
        }
    }

    /// An unexpected failure is passed on, and what the step makes of it depends on nothing that is kept.
    fn failed(&mut self, doing: &str, path: &[u8], errno: Errno) -> Errno {
        let path = String::from_utf8_lossy(path).into_owned();
        self.note(format!("{doing} /{path} failed: {errno}"));
        errno
    }

    fn path(&self, node: NodeId) -> Result<CString, Errno> {
        let path = self.nodes.path(node).ok_or(Errno::STALE)?;
        CString::new(path).map_err(|_| Errno::INVAL)
    }

    fn stat(&self, path: &CString) -> Result<(Attributes, FileType, (u64, u64)), Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let found = rustix::fs::statx(&self.root, path, flags, StatxFlags::BASIC_STATS)?;
        let kind = FileType::from_raw_mode(found.stx_mode.into());
        let time = |stamp: rustix::fs::StatxTimestamp| (stamp.tv_sec, stamp.tv_nsec);
        let directory = kind == FileType::Directory;
        let attributes = Attributes {
            inode: found.stx_ino,
            // What a directory takes on the disk says nothing that belongs to a tree, and no tree keeps it.
            size: if directory { 4096 } else { found.stx_size },
            times: [time(found.stx_mtime), time(found.stx_mtime), time(found.stx_ctime)],
            mode: found.stx_mode.into(),
            links: if directory { 1 } else { found.stx_nlink },
            uid: found.stx_uid,
            gid: found.stx_gid,
            device: device_number(found.stx_rdev_major, found.stx_rdev_minor),
        };
        let device = (u64::from(found.stx_dev_major) << 32) | u64::from(found.stx_dev_minor);
        Ok((attributes, kind, (device, found.stx_ino)))
    }

    /// Looks a name up and notes it; `None` where it is not there.
    fn find(&mut self, directory: NodeId, name: &[u8]) -> Result<Option<(NodeId, Attributes)>, Errno> {
        let path = self.nodes.path_of(directory, name).ok_or(Errno::STALE)?;
        let path = CString::new(Vec::from(path)).map_err(|_| Errno::INVAL)?;
        match self.stat(&path) {
            Ok((attributes, kind, file)) => {
                let directory_found = kind == FileType::Directory;
                let links = (!directory_found && attributes.links > 1).then_some(file);
                let node = self.nodes.present(directory, name, directory_found, links).ok_or(Errno::STALE)?;
                Ok(Some((node, attributes)))
            }
            Err(Errno::NOENT) => {
                self.nodes.absent(directory, name);
                Ok(None)
            }
            Err(errno) => Err(self.failed("looking up", path.as_bytes(), errno)),
        }
    }

    fn look_up(&mut self, directory: NodeId, name: &[u8]) -> Result<(), Errno> {
        match self.find(directory, name)? {
            Some((node, attributes)) => {
                if FileType::from_raw_mode(attributes.mode) != FileType::Directory {
                    self.nodes.looked_up(directory);
                }
                self.reply.entry(node, &attributes);
            }
            None => {
                self.reply.entry(0, &Attributes::default());
            }
        }
        Ok(())
    }

    fn attributes(&mut self, node: NodeId) -> Result<(), Errno> {
        let path = self.path(node)?;
        match self.stat(&path) {
            Ok((attributes, ..)) => {
                self.reply.attr(&attributes);
                Ok(())
            }
            Err(errno) => Err(self.failed("asking about", path.as_bytes(), errno)),
        }
    }

    fn link(&mut self, node: NodeId) -> Result<(), Errno> {
        let path = self.path(node)?;
        match rustix::fs::readlinkat(&self.root, &path, Vec::new()) {
            Ok(target) => {
                self.reply.0.extend_from_slice(target.as_bytes());
                Ok(())
            }
            Err(errno) => Err(self.failed("reading the link", path.as_bytes(), errno)),
        }
    }

    fn read(&mut self, node: NodeId, body: &[u8]) -> Result<usize, Errno> {
        let (offset, size) = protocol::read_range(body).ok_or(Errno::INVAL)?;
        self.nodes.read(node);
        if !self.open.contains_key(&node) {
            let path = self.path(node)?;
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = match rustix::fs::openat(&self.root, &path, flags, Mode::empty()) {
                Ok(file) => file,
                Err(errno) => return Err(self.failed("opening", path.as_bytes(), errno)),
            };
            if self.open.len() >= OPEN_FILES {
                self.open.clear();
            }
            self.open.insert(node, file);
        }
        let file = self.open.get(&node).ok_or(Errno::BADF)?;
        let mut filled = 0;
        while let Some(room) = self.data.get_mut(filled..size).filter(|room| !room.is_empty()) {
            match rustix::io::pread(file, room, offset + filled as u64) {
                Ok(0) => break,
                Ok(length) => filled += length,
                Err(Errno::INTR) => {}
                Err(errno) => {
                    let path = self.path(node)?;
                    return Err(self.failed("reading", path.as_bytes(), errno));
                }
            }
        }
        Ok(filled)
    }

    /// The names in a directory, sorted: so their order follows from the names alone.
    fn names(&mut self, node: NodeId) -> Result<Arc<[Name]>, Errno> {
        let path = self.path(node)?;
        let below = if path.is_empty() { c".".to_owned() } else { path };
        match read_names(self.root.as_fd(), &below) {
            Ok(names) => Ok(names.into()),
            Err(errno) => Err(self.failed("listing", below.as_bytes(), errno)),
        }
    }

    fn list(&mut self, node: NodeId, body: &[u8], plus: bool) -> Result<(), Errno> {
        let (offset, room) = protocol::read_range(body).ok_or(Errno::INVAL)?;
        let (names, told) = match self.nodes.names(node) {
            Some(known) => known,
            None => {
                let names = self.names(node)?;
                let told = self.nodes.listed(node, Arc::clone(&names));
                (names, told)
            }
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        for (index, name) in names.iter().enumerate().skip(start) {
            if !self.reply.fits(room, plus, &name.name) {
                break;
            }
            let mut known = (0, Attributes::default());
            if plus
                && told
                && let Some(found) = self.find(node, &name.name)?
            {
                known = found;
            }
            let next = index as u64 + 1;
            self.reply.dirent(plus.then_some(known), name.inode, next, u32::from(name.kind), &name.name);
        }
        Ok(())
    }

    /// Opens a node so that its attributes can be read; a link or device has none that count.
    fn open_for_attributes(&mut self, node: NodeId) -> Result<OwnedFd, Errno> {
        let path = self.path(node)?;
        let (.., kind, _) = self.stat(&path)?;
        if !matches!(kind, FileType::Directory | FileType::RegularFile) {
            return Err(Errno::NODATA);
        }
        let below = if path.is_empty() { c".".to_owned() } else { path };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        rustix::fs::openat(&self.root, &below, flags, Mode::empty())
            .map_err(|errno| self.failed("opening", below.as_bytes(), errno))
    }

    fn get_attribute(&mut self, node: NodeId, body: &[u8]) -> Result<(), Errno> {
        let (room, name) = protocol::xattr_request(body).ok_or(Errno::INVAL)?;
        // The overlay that merges the layers keeps its own to itself.
        let file = self.open_for_attributes(node)?;
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::fgetxattr(&file, name, &mut value)?;
        value.truncate(length);
        self.sized(room, &value)
    }

    fn list_attributes(&mut self, node: NodeId, body: &[u8]) -> Result<(), Errno> {
        let (room, _) = protocol::xattr_request(body).ok_or(Errno::INVAL)?;
        let file = match self.open_for_attributes(node) {
            Err(Errno::NODATA) => return self.sized(room, &[]),
            file => file?,
        };
        let mut names = vec![0; 64 * 1024];
        let length = rustix::fs::flistxattr(&file, &mut names)?;
        names.truncate(length);
        self.sized(room, &names)
    }

    /// A value where there is room for it, its length where only that was asked for.
    fn sized(&mut self, room: usize, value: &[u8]) -> Result<(), Errno> {
        if room == 0 {
            self.reply.u32(u32::try_from(value.len()).unwrap_or(u32::MAX)).u32(0);
        } else if value.len() > room {
            return Err(Errno::RANGE);
        } else {
            self.reply.0.extend_from_slice(value);
        }
        Ok(())
    }
}

/// The kernel's 32-bit form of a device number.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

fn read_names(root: BorrowedFd<'_>, path: &CString) -> Result<Vec<Name>, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = rustix::fs::openat(root, path, flags, Mode::empty())?;
    let mut buffer: Vec<u8> = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        names.push(Name { name: name.into(), inode: entry.ino(), kind: kind_number(entry.file_type()) });
    }
    names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(names)
}

/// `DT_*`.
fn kind_number(kind: FileType) -> u8 {
    match kind {
        FileType::Fifo => 1,
        FileType::CharacterDevice => 2,
        FileType::Directory => 4,
        FileType::BlockDevice => 6,
        FileType::RegularFile => 8,
        FileType::Symlink => 10,
        FileType::Socket => 12,
        FileType::Unknown => 0,
    }
}

/// The number by which the kernel knows the root.
const _: () = assert!(ROOT == 1);
