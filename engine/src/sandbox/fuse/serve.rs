//! Answers the kernel's questions about one read-only file system from layers, and notes each of them.
//!
//! A question costs the step a round trip, so everything is told for good and nothing is asked twice:
//! names, attributes and the absence of names are cached by the kernel for as long as the mount lives,
//! files are neither opened nor closed by message. Knows nothing of who waits for the questions, nor of what is done with
//! what was seen.

use super::layers::{Layers, Name, Seen};
use super::nodes::{NodeId, Nodes, Place, ROOT};
use super::protocol::{self, Attributes, Header, Reply, opcode};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::io::IoSlice;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// How many files are kept open for further reading.
const OPEN_FILES: usize = 64;

/// One mounted file system's server.
pub(super) struct Server {
    /// What is shown: nothing in it changes while the step runs.
    layers: Layers,
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
    /// `attributes` says whether any file may have extended attributes.
    pub(super) fn new(layers: Layers, attributes: bool) -> Server {
        Server {
            attributes,
            nodes: Nodes::new(layers.root()),
            layers,
            open: HashMap::new(),
            trouble: None,
            reply: Reply::default(),
            data: vec![0; protocol::MAX_READ_BYTES],
        }
    }

    /// What it saw.
    pub(super) fn end(self) -> Ended {
        Ended { nodes: self.nodes, trouble: self.trouble }
    }

    /// Notes why what is seen may not be all.
    pub(super) fn note(&mut self, trouble: String) {
        self.trouble.get_or_insert(trouble);
    }

    /// Answers one question that came from this device.
    pub(super) fn answer(&mut self, device: &OwnedFd, header: Header, body: &[u8]) {
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
        match rustix::io::writev(device, &[IoSlice::new(&head), IoSlice::new(body)]) {
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

    fn stat(&self, node: NodeId, path: &CStr) -> Result<Seen, Errno> {
        let seen = match node {
            ROOT => self.layers.stat_root(),
            _ => self.layers.stat(self.nodes.place(node).ok_or(Errno::STALE)?.found, path),
        };
        seen?.ok_or(Errno::NOENT)
    }

    /// Looks a name up and notes it; `None` where it is not there. `known` is what its listing says of it, and what
    /// the disk does.
    fn find(
        &mut self,
        directory: NodeId,
        name: &[u8],
        known: Option<(&Name, Seen)>,
    ) -> Result<Option<(NodeId, Attributes)>, Errno> {
        let found = match known {
            Some((name, seen)) => Some((Place { found: name.found, parts: None }, seen)),
            None => {
                let path = self.nodes.path_of(directory, name).ok_or(Errno::STALE)?;
                let path = CString::new(Vec::from(path)).map_err(|_| Errno::INVAL)?;
                self.look_at(directory, &path).map_err(|errno| self.failed("looking up", path.as_bytes(), errno))?
            }
        };
        let Some((place, seen)) = found else {
            self.nodes.absent(directory, name);
            return Ok(None);
        };
        let several = seen.kind != FileType::Directory && seen.attributes.links > 1;
        let links = several.then_some(seen.file);
        let node = self.nodes.present(directory, name, place, links).ok_or(Errno::STALE)?;
        Ok(Some((node, seen.attributes)))
    }

    fn look_at(&self, directory: NodeId, path: &CStr) -> Result<Option<(Place, Seen)>, Errno> {
        let Some(parts) = &self.nodes.place(directory).ok_or(Errno::STALE)?.parts else { return Ok(None) };
        let (found, below) = self.layers.step(parts, path)?;
        let Some(seen) = self.layers.stat(found, path)? else { return Ok(None) };
        let parts = (seen.kind == FileType::Directory).then_some(below);
        Ok(Some((Place { found, parts }, seen)))
    }

    fn look_up(&mut self, directory: NodeId, name: &[u8]) -> Result<(), Errno> {
        match self.find(directory, name, None)? {
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
        match self.stat(node, &path) {
            Ok(seen) => {
                self.reply.attr(&seen.attributes);
                Ok(())
            }
            Err(errno) => Err(self.failed("asking about", path.as_bytes(), errno)),
        }
    }

    fn link(&mut self, node: NodeId) -> Result<(), Errno> {
        let path = self.path(node)?;
        match self.layers.link(self.nodes.place(node).ok_or(Errno::STALE)?.found, &path) {
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
            let found = self.nodes.place(node).ok_or(Errno::STALE)?.found;
            let file = match self.layers.open_at(found, &path, OFlags::RDONLY) {
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

    /// The names in a directory.
    fn names(&mut self, node: NodeId) -> Result<Arc<[Name]>, Errno> {
        let path = self.path(node)?;
        let parts = self.nodes.place(node).and_then(|place| place.parts.as_ref()).ok_or(Errno::NOTDIR)?;
        match self.layers.names(parts, &path) {
            Ok(names) => Ok(names.into()),
            Err(errno) => Err(self.failed("listing", path.as_bytes(), errno)),
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
        let opened = match plus && told && start < names.len() {
            true => {
                let path = self.path(node)?;
                let parts = self.nodes.place(node).and_then(|place| place.parts.as_ref()).ok_or(Errno::NOTDIR)?;
                Some(self.layers.open_parts(parts, &path)?)
            }
            false => None,
        };
        for (index, name) in names.iter().enumerate().skip(start) {
            if !self.reply.fits(room, plus, &name.name) {
                break;
            }
            let mut known = (0, Attributes::default());
            if let Some(opened) = &opened {
                let seen = match name.kind {
                    // Of a directory its parts are wanted too.
                    DIRECTORY | UNKNOWN => None,
                    _ => self.layers.stat_in(opened, name)?,
                };
                if let Some(found) = self.find(node, &name.name, seen.map(|seen| (name, seen)))? {
                    known = found;
                }
            }
            let next = index as u64 + 1;
            self.reply.dirent(plus.then_some(known), name.inode, next, u32::from(name.kind), &name.name);
        }
        Ok(())
    }

    /// Whether a node's attributes count: a link or device has none that do.
    fn has_attributes(&self, node: NodeId, path: &CStr) -> Result<bool, Errno> {
        Ok(matches!(self.stat(node, path)?.kind, FileType::Directory | FileType::RegularFile))
    }

    fn get_attribute(&mut self, node: NodeId, body: &[u8]) -> Result<(), Errno> {
        let (room, name) = protocol::xattr_request(body).ok_or(Errno::INVAL)?;
        let path = self.path(node)?;
        if !self.has_attributes(node, &path)? {
            return Err(Errno::NODATA);
        }
        let value = self.layers.attribute(self.nodes.place(node).ok_or(Errno::STALE)?.found, &path, name)?;
        self.sized(room, &value)
    }

    fn list_attributes(&mut self, node: NodeId, body: &[u8]) -> Result<(), Errno> {
        let (room, _) = protocol::xattr_request(body).ok_or(Errno::INVAL)?;
        let path = self.path(node)?;
        let names = match self.has_attributes(node, &path)? {
            true => self.layers.attributes(self.nodes.place(node).ok_or(Errno::STALE)?.found, &path)?,
            false => Vec::new(),
        };
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

/// `DT_DIR` and `DT_UNKNOWN`.
const DIRECTORY: u8 = 4;
const UNKNOWN: u8 = 0;

/// The number by which the kernel knows the root.
const _: () = assert!(ROOT == 1);
