//! What a watched step's layers show as one: where each name leads, and what the disk says of it.
//!
//! Which layer has a name is known from the layers' listings, so that only that one is asked; what the file is like
//! is the disk's word. A layer without a listing is looked into. Knows nothing of the kernel's questions.

use super::protocol::Attributes;
use crate::tree::union::{self, Found, Parts, Peek};
use crate::tree::{Entry, Kind, stat};
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags, openat};
use rustix::io::Errno;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

/// One layer of what a step sees.
#[derive(Clone, Debug)]
pub struct Lower {
    /// Its directories, the topmost first.
    pub dirs: Vec<PathBuf>,
    /// What is in them, where that is known.
    pub listing: Option<Arc<dyn Listing>>,
}

/// A layer's listing, whoever has it.
pub trait Listing: fmt::Debug + Send + Sync {
    /// The entries, sorted by path, none twice; reading them is put off until they are asked for. `None` where they
    /// cannot be read: then the layer is looked into.
    fn entries(&self) -> Option<&[Entry]>;
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Name {
    pub name: Box<[u8]>,
    pub inode: u64,
    /// `DT_*`.
    pub kind: u8,
    /// Where it is.
    pub found: Found,
}

/// What is at a path.
pub(super) struct Seen {
    pub attributes: Attributes,
    pub kind: FileType,
    /// Device and inode of the file itself.
    pub file: (u64, u64),
}

struct Layer {
    dirs: Vec<OwnedFd>,
    listing: Option<Arc<dyn Listing>>,
    /// The number that its first entry has as an inode.
    first_inode: u64,
}

/// The layers, the topmost first.
pub(super) struct Layers(Vec<Layer>);

/// A directory's parts, opened so that what is in it is one step away; a layer's at its number.
pub(super) type Opened = Vec<Option<Vec<OwnedFd>>>;

/// The name of what an overlay keeps for itself.
const OVERLAY_ATTRIBUTES: &[u8] = b"user.overlay.";

/// A deep stack is more directories than a process may usually have open: it may have as many as it can get.
fn allow_files(count: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < 2 * count as u64) {
        // Where it is not allowed, opening fails and says so.
        let _refused = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
}

impl Layers {
    /// Opens the directories.
    pub(super) fn open(lowers: &[Lower]) -> Result<Layers, Errno> {
        allow_files(lowers.iter().map(|lower| lower.dirs.len()).sum());
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let open = |lower: &Lower| {
            let dirs = lower.dirs.iter().map(|dir| openat(CWD, dir, flags, Mode::empty()));
            Ok(Layer { dirs: dirs.collect::<Result<_, _>>()?, listing: lower.listing.clone(), first_inode: 0 })
        };
        Ok(Layers(lowers.iter().map(open).collect::<Result<_, _>>()?))
    }

    /// Reads the listings, once and before anything is asked: from then on a layer has one or has none. Says too whether
    /// a file of them has extended attributes, or may have where a listing cannot be read.
    pub(super) fn listed(mut self) -> (Layers, bool) {
        let (mut first_inode, mut attributes) = (2, false);
        for layer in &mut self.0 {
            let Some(listing) = layer.listing.take() else { continue };
            let Some(entries) = listing.entries() else {
                attributes = true;
                continue;
            };
            attributes = attributes || entries.iter().any(|entry| !entry.xattrs.is_empty());
            layer.first_inode = first_inode;
            first_inode += entries.len() as u64;
            layer.listing = Some(listing);
        }
        (self, attributes)
    }

    /// Where the root's contents lie.
    pub(super) fn root(&self) -> Parts {
        let range = |layer: &Layer| layer.entries().map_or(0..0, union::root_range);
        self.0.iter().map(range).enumerate().collect()
    }

    /// What is at `path` in a directory with these parts, and the parts of what is there.
    pub(super) fn step(&self, parts: &Parts, path: &CStr) -> Result<(Found, Parts), Errno> {
        let entries = |layer: usize| self.0[layer].entries();
        union::step(parts, path.to_bytes(), entries, |layer| self.0[layer].peek(path))
    }

    /// What the disk says of what was found at `path`; `None` where it has nothing there, as of a device that the
    /// listing has and that nobody without privileges could make.
    pub(super) fn stat(&self, found: Found, path: &CStr) -> Result<Option<Seen>, Errno> {
        let Some(layer) = layer_of(found) else { return Ok(None) };
        self.seen(found, &self.0[layer].dirs, path)
    }

    /// As [`Layers::stat`], by the name in an opened directory.
    pub(super) fn stat_in(&self, opened: &Opened, name: &Name) -> Result<Option<Seen>, Errno> {
        let Some(layer) = layer_of(name.found) else { return Ok(None) };
        let dirs = opened.get(layer).and_then(Option::as_ref).map_or(&[][..], Vec::as_slice);
        let text = CString::new(&*name.name).map_err(|_| Errno::INVAL)?;
        self.seen(name.found, dirs, &text)
    }

    fn seen(&self, found: Found, dirs: &[OwnedFd], path: &CStr) -> Result<Option<Seen>, Errno> {
        let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::NO_AUTOMOUNT | AtFlags::EMPTY_PATH;
        let look = |dir: &OwnedFd| rustix::fs::statx(dir, path, flags, StatxFlags::BASIC_STATS);
        let Some(seen) = first_there(dirs, look)? else {
            return if self.may_be_missing(found) { Ok(None) } else { Err(Errno::NOENT) };
        };
        let kind = FileType::from_raw_mode(seen.stx_mode.into());
        let time = |stamp: rustix::fs::StatxTimestamp| (stamp.tv_sec, stamp.tv_nsec);
        let directory = kind == FileType::Directory;
        let attributes = Attributes {
            inode: self.entry(found).map_or_else(|| inode_of_disk(seen.stx_ino), |(_, inode)| inode),
            // What a directory takes on the disk says nothing that belongs to a tree, and no tree keeps it.
            size: if directory { 4096 } else { seen.stx_size },
            times: [time(seen.stx_mtime), time(seen.stx_mtime), time(seen.stx_ctime)],
            mode: seen.stx_mode.into(),
            links: if directory { 1 } else { seen.stx_nlink },
            uid: seen.stx_uid,
            gid: seen.stx_gid,
            device: device_number(seen.stx_rdev_major, seen.stx_rdev_minor),
        };
        let device = (u64::from(seen.stx_dev_major) << 32) | u64::from(seen.stx_dev_minor);
        Ok(Some(Seen { attributes, kind, file: (device, seen.stx_ino) }))
    }

    /// The root's attributes are those of the topmost directory.
    pub(super) fn stat_root(&self) -> Result<Option<Seen>, Errno> {
        let first = self.0.iter().position(|layer| !layer.dirs.is_empty()).unwrap_or(0);
        self.stat(Found::Implied(first), c"")
    }

    fn may_be_missing(&self, found: Found) -> bool {
        let entry = self.entry(found);
        entry.is_some_and(|(entry, _)| matches!(entry.kind, Kind::CharDevice { .. } | Kind::BlockDevice { .. }))
    }

    /// The entry of what was found; a further name of a file is the file.
    fn entry(&self, found: Found) -> Option<(&Entry, u64)> {
        let Found::Entry(layer, number) = found else { return None };
        let entries = self.0[layer].entries()?;
        let own = entries.get(number)?;
        let number = match &own.kind {
            Kind::Hardlink { to } => entries.binary_search_by(|other| other.path.cmp(to)).ok()?,
            _ => number,
        };
        // The number by which a step knows a file of a listing is the same wherever the layers are.
        Some((&entries[number], self.0[layer].first_inode + number as u64))
    }

    /// Opens what was found at `path`.
    pub(super) fn open_at(&self, found: Found, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
        let layer = layer_of(found).ok_or(Errno::NOENT)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        first_there(&self.0[layer].dirs, |dir| openat(dir, path, flags, Mode::empty()))?.ok_or(Errno::NOENT)
    }

    /// The target of a link.
    pub(super) fn link(&self, found: Found, path: &CStr) -> Result<CString, Errno> {
        let layer = layer_of(found).ok_or(Errno::NOENT)?;
        let read = |dir: &OwnedFd| rustix::fs::readlinkat(dir, path, Vec::new());
        first_there(&self.0[layer].dirs, read)?.ok_or(Errno::NOENT)
    }

    /// The value of an extended attribute of what was found at `path`.
    pub(super) fn attribute(&self, found: Found, path: &CStr, name: &[u8]) -> Result<Vec<u8>, Errno> {
        if name.starts_with(OVERLAY_ATTRIBUTES) {
            return Err(Errno::NODATA);
        }
        let file = self.open_at(found, or_itself(path), OFlags::RDONLY)?;
        let mut value = vec![0; 64 * 1024];
        let length = rustix::fs::fgetxattr(&file, name, &mut value)?;
        value.truncate(length);
        Ok(value)
    }

    /// The names of the extended attributes of what was found at `path`, each with a zero byte.
    pub(super) fn attributes(&self, found: Found, path: &CStr) -> Result<Vec<u8>, Errno> {
        let file = self.open_at(found, or_itself(path), OFlags::RDONLY)?;
        let mut names = vec![0; 64 * 1024];
        let length = rustix::fs::flistxattr(&file, &mut names)?;
        let all = names[..length].split_inclusive(|byte| *byte == 0);
        Ok(all.filter(|name| !name.starts_with(OVERLAY_ATTRIBUTES)).flatten().copied().collect())
    }

    /// The directories that a directory's parts are.
    pub(super) fn open_parts(&self, parts: &Parts, path: &CStr) -> Result<Opened, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut opened = Opened::new();
        opened.resize_with(self.0.len(), || None);
        for (layer, _) in parts {
            let mut dirs = Vec::new();
            for dir in &self.0[*layer].dirs {
                match openat(dir, or_itself(path), flags, Mode::empty()) {
                    Ok(dir) => dirs.push(dir),
                    // A layer's directories need not all have it.
                    Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(errno) => return Err(errno),
                }
            }
            opened[*layer] = Some(dirs);
        }
        Ok(opened)
    }

    /// The names in a directory, sorted: so their order follows from the names alone.
    pub(super) fn names(&self, parts: &Parts, path: &CStr) -> Result<Vec<Name>, Errno> {
        if let [(layer, range)] = parts.as_slice()
            && let Some(entries) = self.0[*layer].entries()
        {
            let all = union::names(&entries[range.clone()], path.to_bytes().len());
            let named = all.map(|(name, number)| self.name(*layer, range.start, name, number, path));
            return named.filter_map(Result::transpose).collect();
        }
        let mut all: BTreeMap<Box<[u8]>, Option<Name>> = BTreeMap::new();
        for (layer, range) in parts {
            match self.0[*layer].entries() {
                Some(entries) => {
                    for (name, number) in union::names(&entries[range.clone()], path.to_bytes().len()) {
                        if !all.contains_key(name) {
                            all.insert(name.into(), self.name(*layer, range.start, name, number, path)?);
                        }
                    }
                }
                None => {
                    for name in self.0[*layer].names(*layer, path)? {
                        let (key, hides) = (name.name.clone(), is_whiteout(name.found));
                        all.entry(key).or_insert((!hides).then_some(name));
                    }
                }
            }
        }
        Ok(all.into_values().flatten().collect())
    }

    /// A name of a listing; `None` where nothing is there.
    fn name(
        &self,
        layer: usize,
        start: usize,
        name: &[u8],
        number: Option<usize>,
        directory: &CStr,
    ) -> Result<Option<Name>, Errno> {
        let found = number.map_or(Found::Implied(layer), |number| Found::Entry(layer, start + number));
        let entry = self.entry(found);
        let kind = match entry.map(|(entry, _)| &entry.kind) {
            None | Some(Kind::Dir { .. }) => FileType::Directory,
            Some(Kind::File { .. } | Kind::Hardlink { .. }) => FileType::RegularFile,
            Some(Kind::Symlink { .. }) => FileType::Symlink,
            Some(Kind::CharDevice { .. }) => FileType::CharacterDevice,
            Some(Kind::BlockDevice { .. }) => FileType::BlockDevice,
            Some(Kind::Fifo) => FileType::Fifo,
            Some(Kind::Socket) => FileType::Socket,
            Some(Kind::Whiteout) => return Ok(None),
        };
        let mut named = Name { name: name.into(), inode: 0, kind: kind_number(kind), found };
        match entry.filter(|_| !self.may_be_missing(found)) {
            Some((_, inode)) => named.inode = inode,
            None => match self.stat(found, &below(directory, name)?)? {
                Some(seen) => named.inode = seen.attributes.inode,
                None => return Ok(None),
            },
        }
        Ok(Some(named))
    }
}

impl Layer {
    fn entries(&self) -> Option<&[Entry]> {
        self.listing.as_deref().and_then(Listing::entries)
    }

    fn peek(&self, path: &CStr) -> Result<Peek, Errno> {
        let Some(seen) = first_there(&self.dirs, |dir| stat::stat_at(dir.as_fd(), path))? else {
            return Ok(Peek::Nothing);
        };
        Ok(match seen.file_type {
            FileType::Directory => {
                let opened = first_there(&self.dirs, |dir| stat::open_dir_at(dir.as_fd(), path))?;
                Peek::Directory { opaque: opened.is_some_and(stat::is_opaque) }
            }
            _ if stat::special_kind(&seen) == Some(Kind::Whiteout) => Peek::Whiteout,
            _ => Peek::Other,
        })
    }

    /// The names that the disk has in a directory of this layer.
    fn names(&self, layer: usize, path: &CStr) -> Result<Vec<Name>, Errno> {
        let mut names = Vec::new();
        let mut known = HashSet::new();
        for dir in &self.dirs {
            let directory = match stat::open_dir_at(dir.as_fd(), or_itself(path)) {
                Ok(directory) => directory,
                Err(Errno::NOENT | Errno::NOTDIR) => continue,
                Err(errno) => return Err(errno),
            };
            for (name, inode, kind) in read_names(directory.as_fd())? {
                let peek = match kind {
                    FileType::Directory => Peek::Directory { opaque: false },
                    FileType::RegularFile | FileType::Symlink => Peek::Other,
                    _ => self.peek(&below(path, &name)?)?,
                };
                if known.insert(name.clone()) {
                    let found = Found::Unlisted(layer, peek);
                    names.push(Name { name, inode: inode_of_disk(inode), kind: kind_number(kind), found });
                }
            }
        }
        Ok(names)
    }
}

fn layer_of(found: Found) -> Option<usize> {
    match found {
        Found::Nothing => None,
        Found::Entry(layer, _) | Found::Implied(layer) | Found::Unlisted(layer, _) => Some(layer),
    }
}

fn is_whiteout(found: Found) -> bool {
    matches!(found, Found::Unlisted(_, Peek::Whiteout))
}

/// The first answer that is not that nothing is there; `None` where all are that.
fn first_there<T>(dirs: &[OwnedFd], mut look: impl FnMut(&OwnedFd) -> Result<T, Errno>) -> Result<Option<T>, Errno> {
    for dir in dirs {
        match look(dir) {
            Err(Errno::NOENT | Errno::NOTDIR) => {}
            answer => return answer.map(Some),
        }
    }
    Ok(None)
}

/// A path for calls that take no empty one.
fn or_itself(path: &CStr) -> &CStr {
    if path.is_empty() { c"." } else { path }
}

fn below(directory: &CStr, name: &[u8]) -> Result<CString, Errno> {
    let directory = directory.to_bytes();
    let path = if directory.is_empty() { name.to_vec() } else { [directory, b"/", name].concat() };
    CString::new(path).map_err(|_| Errno::INVAL)
}

/// The number of a file that stands in no listing: apart from those that do, and short enough for programs that
/// take no long ones.
fn inode_of_disk(inode: u64) -> u64 {
    (inode & 0x7fff_ffff) | 0x8000_0000
}

/// The kernel's 32-bit form of a device number.
fn device_number(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

/// A name on the disk, its inode and its type.
type OnDisk = (Box<[u8]>, u64, FileType);

fn read_names(directory: BorrowedFd<'_>) -> Result<Vec<OnDisk>, Errno> {
    let mut buffer: Vec<u8> = Vec::with_capacity(32 * 1024);
    let mut entries = RawDir::new(directory, buffer.spare_capacity_mut());
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if !matches!(name, b"." | b"..") {
            names.push((name.into(), entry.ino(), entry.file_type()));
        }
    }
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
