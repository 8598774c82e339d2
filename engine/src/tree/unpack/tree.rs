//! The tree that members build: where each goes, what it replaces, what it links to.
//!
//! What stands in the layer is kept as values beside the files, so that no decision needs the disk.
//! [`names`] judges what members are called; [`files`] writes their bytes and links them.
//! **Invariant**: every entry's parent directories are entries too, but for the root.

mod files;
mod names;

use super::super::disk::{DirWriter, IMPLIED_DIR_MODE};
use super::super::entry::{Entry, Kind, Mtime, TreePath};
use super::super::tar::read::{Member, MemberKind, Reader};
use super::super::tar::{AUFS_PREFIX, OPAQUE_NAME, WHITEOUT_PREFIX};
use super::{Error, Lower, MAX_PATH_BYTES};
use crate::digest::ContentId;
use names::{checked, kept_xattrs, link_target, root_is_dir};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io::Read;

/// The kernel's own limit.
const MAX_SYMLINKS: usize = 40;

const BUFFER_BYTES: usize = 64 << 10;

/// What an archive's members mean.
#[derive(Clone, Debug)]
pub(in super::super) enum Semantics {
    /// An OCI layer, with whiteouts.
    Layer,
    /// A plain archive that is unpacked over what lies below.
    Archive {
        /// Where its root goes; resolved.
        destination: TreePath,
        /// Who owns everything, instead of whom the archive says.
        owner: Option<(u32, u32)>,
    },
}

/// A path of the layer. All names of one file are full entries with one `inode` until the end.
struct Node {
    entry: Entry,
    inode: u64,
}

/// Takes members one after another.
pub(in super::super) struct Unpacker<'a> {
    writer: &'a mut DirWriter,
    lower: &'a dyn Lower,
    semantics: Semantics,
    nodes: BTreeMap<TreePath, Node>,
    inodes: u64,
    buffer: Vec<u8>,
}

impl<'a> Unpacker<'a> {
    pub(in super::super) fn new(writer: &'a mut DirWriter, lower: &'a dyn Lower, semantics: Semantics) -> Self {
        Unpacker { writer, lower, semantics, nodes: BTreeMap::new(), inodes: 0, buffer: vec![0; BUFFER_BYTES] }
    }

    /// Says where a plain archive's root goes; the path is resolved.
    pub(in super::super) fn set_destination(&mut self, path: TreePath) {
        if let Semantics::Archive { destination, .. } = &mut self.semantics {
            *destination = path;
        }
    }

    /// Takes over what already stands in the layer.
    pub(in super::super) fn resume(&mut self, entries: Vec<Entry>) {
        let mut files: HashMap<TreePath, (u64, Kind)> = HashMap::new();
        for mut entry in entries {
            self.inodes += 1;
            let mut inode = self.inodes;
            if let Kind::Hardlink { to } = &entry.kind
                && let Some((first, kind)) = files.get(to)
            {
                (inode, entry.kind) = (*first, kind.clone());
            } else if matches!(entry.kind, Kind::File { .. }) {
                files.insert(entry.path.clone(), (inode, entry.kind.clone()));
            }
            self.nodes.insert(entry.path.clone(), Node { entry, inode });
        }
    }

    /// The entries, sorted; the first name of a file is the file and the others are links to it.
    pub(in super::super) fn finish(self) -> Vec<Entry> {
        let mut first: HashMap<u64, TreePath> = HashMap::new();
        let mut entries = Vec::with_capacity(self.nodes.len());
        for Node { mut entry, inode } in self.nodes.into_values() {
            if matches!(entry.kind, Kind::File { .. }) {
                match first.get(&inode) {
                    Some(to) => entry.kind = Kind::Hardlink { to: to.clone() },
                    None => drop(first.insert(inode, entry.path.clone())),
                }
            }
            entries.push(entry);
        }
        entries
    }

    /// Adds a member; its data are read from `reader`.
    pub(in super::super) fn member<R: Read>(&mut self, member: Member, reader: &mut Reader<R>) -> Result<(), Error> {
        let named = checked(&member.path)?;
        let named = match &self.semantics {
            Semantics::Layer => {
                if self.marker(&named, member.mtime)? {
                    return Ok(());
                }
                named
            }
            Semantics::Archive { destination, .. } => {
                if named.is_root() {
                    // An archive's `./` says nothing of a destination that exists.
                    return root_is_dir(&member, destination);
                }
                destination.join(named.as_bytes())
            }
        };
        if named.is_root() {
            root_is_dir(&member, &named)?;
        }
        let path = self.resolve(&named)?;
        if member.kind == MemberKind::CharDevice && member.device == (0, 0) {
            return match self.semantics {
                Semantics::Layer => self.hide(path, member.mtime),
                Semantics::Archive { .. } => Err(Error::Unsupported { path, what: "a character device 0:0" }),
            };
        }
        let (major, minor) = member.device;
        let kind = match member.kind {
            MemberKind::Hardlink => return self.link(path, &member),
            MemberKind::File => Kind::File { size: member.size, content: ContentId::from_bytes([0; 32]) },
            MemberKind::Dir => Kind::Dir { opaque: false },
            MemberKind::Symlink => Kind::Symlink { target: link_target(&member)?.into() },
            MemberKind::CharDevice => Kind::CharDevice { major, minor },
            MemberKind::BlockDevice => Kind::BlockDevice { major, minor },
            MemberKind::Fifo => Kind::Fifo,
        };
        let (uid, gid) = match self.semantics {
            Semantics::Archive { owner: Some(owner), .. } => owner,
            _ => (member.uid, member.gid),
        };
        // Linux has no other mode for a link.
        let mode = if member.kind == MemberKind::Symlink { 0o777 } else { member.mode };
        let xattrs = kept_xattrs(member.xattrs);
        self.put(Entry { path, kind, mode, uid, gid, xattrs, mtime: member.mtime }, |unpacker, entry| {
            unpacker.write_members_file(entry, reader)
        })
    }

    /// Makes the directory `path` if it is not there, for what is going to be unpacked in it.
    pub(in super::super) fn ensure_dir(
        &mut self,
        path: &TreePath,
        owner: (u32, u32),
        mtime: Mtime,
    ) -> Result<(), Error> {
        for dir in path.ancestors().iter().chain([path]).filter(|dir| !dir.is_root()) {
            match self.kind_at(dir) {
                Some(Kind::Dir { .. }) => {}
                Some(Kind::Whiteout) | None => {
                    self.put(implied(dir, owner, mtime), |_, _| Ok(()))?;
                }
                Some(_) => return Err(Error::NotADirectory { path: path.clone(), parent: dir.clone() }),
            }
        }
        Ok(())
    }

    /// The path with every link on the way to it, and itself where `path` ends in one, replaced.
    pub(in super::super) fn resolve_all(&self, path: &TreePath) -> Result<TreePath, Error> {
        // A part that cannot be a name makes the last one count as on the way.
        self.walk(path, path.parts().map(<[u8]>::to_vec).chain([Vec::new()]).collect())
    }

    /// The path with every link on the way to it replaced, itself not followed.
    fn resolve(&self, path: &TreePath) -> Result<TreePath, Error> {
        let parent = path.parent().unwrap_or_default();
        if parent.is_root() || matches!(self.nodes.get(&parent), Some(node) if is_dir(&node.entry.kind)) {
            // By the invariant, all above it are directories too.
            return Ok(path.clone());
        }
        self.walk(path, path.parts().map(<[u8]>::to_vec).collect())
    }

    fn walk(&self, path: &TreePath, mut ahead: VecDeque<Vec<u8>>) -> Result<TreePath, Error> {
        let mut here = TreePath::root();
        let mut links = 0;
        while let Some(part) = ahead.pop_front() {
            if part.is_empty() || part == b"." {
                continue;
            }
            if part == b".." {
                here = here.parent().unwrap_or_default();
                continue;
            }
            let next = here.join(&part);
            // Links may lengthen a path without end, and the kernel would not take it.
            if next.as_bytes().len() > MAX_PATH_BYTES {
                return Err(Error::TooLong { path: path.display().to_string(), length: next.as_bytes().len() });
            }
            if ahead.is_empty() {
                return Ok(next);
            }
            here = match self.kind_at(&next) {
                Some(Kind::Symlink { target }) => {
                    links += 1;
                    if links > MAX_SYMLINKS {
                        return Err(Error::SymlinkLoop { path: path.clone() });
                    }
                    for part in target.split(|&b| b == b'/').rev() {
                        ahead.push_front(part.to_vec());
                    }
                    if target.first() == Some(&b'/') { TreePath::root() } else { here }
                }
                None | Some(Kind::Dir { .. } | Kind::Whiteout) => next,
                Some(_) => return Err(Error::NotADirectory { path: path.clone(), parent: next }),
            };
        }
        Ok(here)
    }

    /// What a look-up finds: in the layer and, where an archive is unpacked over it, below.
    fn kind_at(&self, path: &TreePath) -> Option<Kind> {
        match self.nodes.get(path) {
            Some(node) => Some(node.entry.kind.clone()),
            None if matches!(self.semantics, Semantics::Archive { .. }) => self.lower_at(path).map(|entry| entry.kind),
            None => None,
        }
    }

    /// What shows through from below: nothing where the layer hides it.
    fn lower_at(&self, path: &TreePath) -> Option<Entry> {
        let hides = |dir: &TreePath| match self.nodes.get(dir) {
            Some(node) => node.entry.kind != Kind::Dir { opaque: false },
            None => false,
        };
        if path.ancestors().iter().any(hides) { None } else { self.lower.entry(path) }
    }

    /// Whether `named` is a whiteout, an opaque mark or AUFS's own; it is then done.
    fn marker(&mut self, named: &TreePath, mtime: Mtime) -> Result<bool, Error> {
        let Some(name) = named.file_name() else { return Ok(false) };
        if name == OPAQUE_NAME {
            let marker = self.resolve(named)?;
            let dir = marker.parent().unwrap_or_default();
            self.parents(&marker, mtime)?;
            let kind = Kind::Dir { opaque: true };
            match self.nodes.get_mut(&dir) {
                Some(node) => node.entry.kind = kind,
                // Only the root need not be an entry.
                None => self.insert(Entry { kind, ..implied(&dir, (0, 0), mtime) }),
            }
            self.writer.set_opaque(&dir)?;
            return Ok(true);
        }
        if named.parts().any(|part| part.starts_with(AUFS_PREFIX)) {
            return Ok(true);
        }
        let parent = named.parent().unwrap_or_default();
        if parent.parts().any(|part| part.starts_with(WHITEOUT_PREFIX)) {
            return Err(Error::Whiteout { path: named.clone() });
        }
        let Some(hidden) = name.strip_prefix(WHITEOUT_PREFIX) else { return Ok(false) };
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Error::Whiteout { path: named.clone() });
        }
        let path = self.resolve(&parent.join(hidden))?;
        self.hide(path, mtime)?;
        Ok(true)
    }

    /// Hides what lower layers have at `path`; what this layer has there stays.
    fn hide(&mut self, path: TreePath, mtime: Mtime) -> Result<(), Error> {
        match self.nodes.get_mut(&path) {
            Some(node) => {
                if is_dir(&node.entry.kind) {
                    node.entry.kind = Kind::Dir { opaque: true };
                    self.writer.set_opaque(&path)?;
                }
            }
            None => {
                self.parents(&path, mtime)?;
                self.writer.whiteout(&path)?;
                let (xattrs, mtime) = (Vec::new(), Mtime::default());
                self.insert(Entry { path, kind: Kind::Whiteout, mode: 0, uid: 0, gid: 0, xattrs, mtime });
            }
        }
        Ok(())
    }

    /// Writes `entry` over whatever the layer has at its path. `fill` writes the bytes of a file and
    /// completes its entry.
    fn put(
        &mut self,
        mut entry: Entry,
        fill: impl FnOnce(&mut Self, &mut Entry) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.parents(&entry.path, entry.mtime)?;
        if let Some(old) = self.nodes.get(&entry.path).map(|node| node.entry.kind.clone()) {
            match (&old, &mut entry.kind) {
                (Kind::Dir { opaque: old }, Kind::Dir { opaque }) => *opaque = *old,
                (old, new) => {
                    let hid_lower = *old == Kind::Whiteout || matches!(self.semantics, Semantics::Archive { .. });
                    if let Kind::Dir { opaque } = new {
                        *opaque = hid_lower;
                    }
                    self.remove(&entry.path)?;
                }
            }
        }
        match entry.kind {
            Kind::File { .. } => fill(self, &mut entry)?,
            Kind::Dir { .. } => self.writer.mkdir(&entry)?,
            Kind::Symlink { .. } => self.writer.symlink(&entry)?,
            _ => self.writer.special_if_possible(&entry)?,
        }
        self.insert(entry);
        Ok(())
    }

    /// Makes entries of the directories above `path`: as they are below, or 0755 root:root.
    fn parents(&mut self, path: &TreePath, mtime: Mtime) -> Result<(), Error> {
        let parent = path.parent().unwrap_or_default();
        if parent.is_root() || matches!(self.nodes.get(&parent), Some(node) if is_dir(&node.entry.kind)) {
            return Ok(());
        }
        for dir in path.ancestors().into_iter().filter(|dir| !dir.is_root()) {
            let mut entry = implied(&dir, (0, 0), mtime);
            match self.nodes.get(&dir).map(|node| &node.entry.kind) {
                Some(Kind::Dir { .. }) => continue,
                Some(_) => {
                    // A whiteout; anything else was refused when the path was resolved.
                    self.remove(&dir)?;
                    entry.kind = Kind::Dir { opaque: true };
                }
                None => {
                    if let Some(below) = self.lower_at(&dir)
                        && is_dir(&below.kind)
                    {
                        entry = Entry { kind: Kind::Dir { opaque: false }, ..below };
                    }
                }
            }
            self.writer.mkdir(&entry)?;
            self.insert(entry);
        }
        Ok(())
    }

    fn remove(&mut self, path: &TreePath) -> Result<(), Error> {
        self.writer.remove(path)?;
        let gone: Vec<TreePath> = self
            .nodes
            .range(path.clone()..)
            .map(|(below, _)| below)
            .take_while(|below| below.starts_with(path))
            .cloned()
            .collect();
        for path in gone {
            self.nodes.remove(&path);
        }
        Ok(())
    }

    fn insert(&mut self, entry: Entry) {
        self.inodes += 1;
        let inode = self.inodes;
        self.nodes.insert(entry.path.clone(), Node { entry, inode });
    }
}

fn is_dir(kind: &Kind) -> bool {
    matches!(kind, Kind::Dir { .. })
}

fn implied(path: &TreePath, (uid, gid): (u32, u32), mtime: Mtime) -> Entry {
    let kind = Kind::Dir { opaque: false };
    Entry { path: path.clone(), kind, mode: IMPLIED_DIR_MODE, uid, gid, xattrs: Vec::new(), mtime }
}
