//! What the layer of a COPY holds, decided before a byte is copied.
//!
//! Works on a picture of the destination: the snapshot below, and over it what this layer holds so
//! far. The directories above what is copied stand in the layer with the metadata they have below,
//! because an overlay would show them otherwise.

use super::select::{Selected, SourceTree};
use crate::snapshot::{Found, LookupError, Snapshot, Type, resolve_with};
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath};
use kiln_dsl::chmod::Mode;
use kiln_dsl::ignore::Ignore;
use std::collections::{HashMap, HashSet};

/// Mode of directories that a COPY has to make.
const DIR_MODE: u32 = 0o755;

/// Everything that decides a layout.
pub struct LayoutRequest<'a> {
    /// Where the files are.
    pub source: &'a SourceTree,
    /// What is copied, in its order.
    pub selected: &'a [Selected],
    /// Files whose content stands in the Dockerfile.
    pub inline: &'a [(String, String)],
    /// Absolute; a trailing slash says that it is a directory.
    pub destination: &'a str,
    /// Whose everything becomes; as in the source where `None`.
    pub owner: Option<(u32, u32)>,
    /// The mode that everything gets.
    pub mode: Option<&'a Mode>,
    /// What is left out, relative to each source.
    pub excludes: Option<&'a Ignore>,
    /// The snapshot below; an empty one for `--link`.
    pub below: &'a Snapshot,
    /// For `--link`, where the attributes of directories that are there already come from: its layer would
    /// else give `/tmp` a new mode.
    pub directories: Option<&'a Snapshot>,
    /// The time of directories that are made.
    pub now: Mtime,
    /// Sources that are archives to be unpacked, by their real path.
    pub archives: &'a HashSet<TreePath>,
}

/// Where a file's bytes come from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Bytes {
    /// The entry has none.
    None,
    /// The file at this path of the source.
    Source(TreePath),
    /// The inline file with this number.
    Inline(usize),
}

/// What the layer holds.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Layout {
    /// The entries.
    pub tree: Tree,
    /// For each entry, where its bytes come from.
    pub bytes: Vec<Bytes>,
    /// Archives to unpack afterwards: source and directory.
    pub unpack: Vec<(TreePath, TreePath)>,
}

/// A destination that does not fit.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// A directory would replace something else.
    #[error("cannot copy a directory onto /{}, which is none", path.display())]
    DirOntoOther {
        /// In the image.
        path: TreePath,
    },
    /// A file would replace a directory.
    #[error("cannot replace the directory /{} with a file", path.display())]
    FileOntoDir {
        /// In the image.
        path: TreePath,
    },
    /// The snapshot could not be looked into.
    #[error(transparent)]
    Lookup(#[from] LookupError),
}

struct Painter<'a> {
    request: &'a LayoutRequest<'a>,
    entries: Vec<Option<Entry>>,
    bytes: Vec<Bytes>,
    by_path: HashMap<TreePath, usize>,
    /// The names below each directory that was asked for; `None` where the snapshot has no such directory.
    listed: HashMap<TreePath, Option<HashSet<Box<[u8]>>>>,
    /// Names of one file within one source.
    linked: HashMap<(usize, (u64, u64)), Vec<usize>>,
    unpack: Vec<(TreePath, TreePath)>,
}

/// What a mount shows of a selection: the files as they are, at the root of a directory of their own.
///
/// # Errors
/// As [`layout`].
pub fn at_root(source: &SourceTree, selected: &[Selected]) -> Result<Layout, LayoutError> {
    layout(&LayoutRequest {
        source,
        selected,
        inline: &[],
        destination: "/",
        owner: None,
        mode: None,
        excludes: None,
        below: &Snapshot::empty(),
        directories: None,
        now: Mtime::default(),
        archives: &HashSet::new(),
    })
}

/// Lays out the layer.
pub fn layout(request: &LayoutRequest<'_>) -> Result<Layout, LayoutError> {
    let mut painter = Painter {
        request,
        entries: Vec::new(),
        bytes: Vec::new(),
        by_path: HashMap::new(),
        listed: HashMap::new(),
        linked: HashMap::new(),
        unpack: Vec::new(),
    };
    painter.paint()?;
    Ok(painter.finish())
}

impl Painter<'_> {
    fn paint(&mut self) -> Result<(), LayoutError> {
        for (number, selected) in self.request.selected.iter().enumerate() {
            let destination = self.destination()?;
            if self.request.archives.contains(&selected.real) {
                self.make_dirs(&destination)?;
                self.unpack.push((selected.real.clone(), destination));
                continue;
            }
            self.copy(number, selected, destination)?;
        }
        for (number, (name, content)) in self.request.inline.iter().enumerate() {
            let mut path = self.destination()?;
            if self.is_dir(&path)? {
                path = path.join(name.as_bytes());
            }
            let kind = Kind::File { size: content.len() as u64, content: blake3::hash(content.as_bytes()).into() };
            let entry = Entry { path, kind, mode: 0o644, uid: 0, gid: 0, xattrs: Vec::new(), mtime: self.request.now };
            self.put_file(self.dressed(entry), Bytes::Inline(number))?;
        }
        Ok(())
    }

    /// The destination with links resolved; what a trailing slash asks for, or its parent, is made.
    fn destination(&mut self) -> Result<TreePath, LayoutError> {
        let written = TreePath::new(self.request.destination);
        let ensure = if self.request.destination.ends_with('/') { Some(written.clone()) } else { written.parent() };
        if let Some(ensure) = ensure {
            let real = self.resolve(&ensure)?;
            self.make_dirs(&real)?;
        }
        self.resolve(&written)
    }

    fn resolve(&mut self, path: &TreePath) -> Result<TreePath, LayoutError> {
        let view = std::cell::RefCell::new(&mut *self);
        Ok(resolve_with(path, true, &|path| {
            view.borrow_mut().lookup(path).map_err(|error| match error {
                LayoutError::Lookup(error) => error,
                _ => LookupError::NotADirectory { path: path.clone() },
            })
        })?)
    }

    /// What is at a path: in the layer so far, else in the snapshot below.
    fn lookup(&mut self, path: &TreePath) -> Result<Option<Found>, LayoutError> {
        if let Some(entry) = self.by_path.get(path).and_then(|&at| self.entries[at].as_ref()) {
            let file_type = match &entry.kind {
                Kind::Dir { .. } => Type::Dir,
                Kind::Symlink { target } => Type::Symlink(target.clone()),
                Kind::File { .. } | Kind::Hardlink { .. } => Type::File,
                _ => Type::Other,
            };
            let Entry { mode, uid, gid, mtime, xattrs, .. } = entry.clone();
            return Ok(Some(Found { file_type, mode, uid, gid, mtime, xattrs }));
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(self.request.below.lookup(path)?);
        };
        // One listing tells of all names that are not there, so that copying 20,000 files into a
        // new directory asks the snapshot once.
        if !self.listed.contains_key(&parent) {
            let is_dir = match self.below_dir(&parent)? {
                true => Some(self.request.below.names(&parent)?),
                false => None,
            };
            self.listed.insert(parent.clone(), is_dir);
        }
        if self.listed[&parent].as_ref().is_some_and(|names| names.contains(name)) {
            return Ok(self.request.below.lookup(path)?);
        }
        Ok(None)
    }

    /// Whether the snapshot below has a directory at `path`, told from its parent's listing if that
    /// is known.
    fn below_dir(&self, path: &TreePath) -> Result<bool, LayoutError> {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name())
            && let Some(listed) = self.listed.get(&parent)
            && listed.as_ref().is_none_or(|names| !names.contains(name))
        {
            return Ok(false);
        }
        Ok(self.request.below.lookup(path)?.is_some_and(|found| found.file_type == Type::Dir))
    }

    /// Whether `path`, links followed, is a directory.
    fn is_dir(&mut self, path: &TreePath) -> Result<bool, LayoutError> {
        let real = self.resolve(path)?;
        Ok(self.lookup(&real)?.is_some_and(|found| found.file_type == Type::Dir))
    }

    /// Makes the directory `path` and those above it where they are not there.
    fn make_dirs(&mut self, path: &TreePath) -> Result<(), LayoutError> {
        for dir in path.ancestors().into_iter().chain([path.clone()]).filter(|dir| !dir.is_root()) {
            if self.by_path.contains_key(&dir) {
                match self.lookup(&dir)?.map(|found| found.file_type) {
                    Some(Type::Dir) => continue,
                    _ => return Err(LayoutError::DirOntoOther { path: dir }),
                }
            }
            let kind = Kind::Dir { opaque: false };
            let there = match self.lookup(&dir)? {
                None => self.repeated(&dir)?,
                there => there,
            };
            let entry = match there {
                Some(Found { file_type: Type::Dir, mode, uid, gid, mtime, xattrs }) => {
                    Entry { path: dir, kind, mode, uid, gid, xattrs, mtime }
                }
                Some(_) => return Err(LayoutError::DirOntoOther { path: dir }),
                None => {
                    // `--chown` says whose they are, but `--chmod` says nothing of them: see docs/language.md.
                    let (uid, gid) = self.request.owner.unwrap_or((0, 0));
                    Entry { path: dir, kind, mode: DIR_MODE, uid, gid, xattrs: Vec::new(), mtime: self.request.now }
                }
            };
            self.put(entry, Bytes::None);
        }
        Ok(())
    }

    /// The directory that a linked layer only repeats at `path`, if there is one.
    fn repeated(&self, path: &TreePath) -> Result<Option<Found>, LayoutError> {
        let Some(directories) = self.request.directories else { return Ok(None) };
        Ok(directories.lookup(path)?.filter(|found| found.file_type == Type::Dir))
    }

    fn copy(&mut self, number: usize, selected: &Selected, mut destination: TreePath) -> Result<(), LayoutError> {
        let there = self.lookup(&destination)?;
        if selected.is_dir {
            if there.is_some_and(|found| found.file_type != Type::Dir) {
                return Err(LayoutError::DirOntoOther { path: destination });
            }
            self.make_dirs(&destination)?;
            return self.copy_dir(number, selected, &destination);
        }
        if there.is_some_and(|found| found.file_type == Type::Dir) {
            destination = destination.join(selected.written.file_name().unwrap_or_default());
        }
        if let Some(parent) = destination.parent() {
            self.make_dirs(&parent)?;
        }
        let Some(entry) = self.request.source.tree.get(&selected.real) else { return Ok(()) };
        self.copy_entry(number, entry, destination)
    }

    fn copy_dir(&mut self, number: usize, selected: &Selected, destination: &TreePath) -> Result<(), LayoutError> {
        for (entry, relative) in self.request.source.taken(selected, self.request.excludes) {
            self.copy_entry(number, entry, destination.join(relative.as_bytes()))?;
        }
        Ok(())
    }

    fn copy_entry(&mut self, number: usize, entry: &Entry, path: TreePath) -> Result<(), LayoutError> {
        let placed = self.dressed(Entry { path, ..entry.clone() });
        match entry.kind {
            Kind::Dir { .. } => match self.lookup(&placed.path)? {
                Some(found) if found.file_type != Type::Dir => Err(LayoutError::DirOntoOther { path: placed.path }),
                _ => {
                    self.put(placed, Bytes::None);
                    Ok(())
                }
            },
            Kind::File { .. } | Kind::Hardlink { .. } => {
                let bytes = match entry.kind {
                    Kind::File { size: 0, .. } => Bytes::None,
                    _ => Bytes::Source(entry.path.clone()),
                };
                let at = self.put_file(placed, bytes)?;
                if let Some(file) = self.request.source.links.get(&entry.path) {
                    self.linked.entry((number, *file)).or_default().push(at);
                }
                Ok(())
            }
            Kind::Socket | Kind::Whiteout => Ok(()),
            _ => self.put_file(placed, Bytes::None).map(|_| ()),
        }
    }

    /// The entry with the owner and mode that were asked for.
    fn dressed(&self, mut entry: Entry) -> Entry {
        if let Some((uid, gid)) = self.request.owner {
            (entry.uid, entry.gid) = (uid, gid);
        }
        if let Some(mode) = self.request.mode
            && !matches!(entry.kind, Kind::Symlink { .. })
        {
            entry.mode = mode.apply(entry.mode, matches!(entry.kind, Kind::Dir { .. }));
        }
        entry
    }

    fn put_file(&mut self, entry: Entry, bytes: Bytes) -> Result<usize, LayoutError> {
        if self.lookup(&entry.path)?.is_some_and(|found| found.file_type == Type::Dir) {
            return Err(LayoutError::FileOntoDir { path: entry.path });
        }
        Ok(self.put(entry, bytes))
    }

    fn put(&mut self, entry: Entry, bytes: Bytes) -> usize {
        let at = self.entries.len();
        if let Some(old) = self.by_path.insert(entry.path.clone(), at) {
            self.entries[old] = None;
        }
        self.entries.push(Some(entry));
        self.bytes.push(bytes);
        at
    }

    fn finish(mut self) -> Layout {
        for names in self.linked.values_mut() {
            names.retain(|&at| self.entries[at].is_some());
            names.sort_by(|&a, &b| {
                let path = |at: usize| self.entries[at].as_ref().map(|entry| &entry.path);
                path(a).cmp(&path(b))
            });
            let mut names = names.iter();
            let Some(to) = names.next().and_then(|&at| self.entries[at].as_ref()).map(|entry| entry.path.clone())
            else {
                continue;
            };
            for &at in names {
                if let Some(entry) = &mut self.entries[at] {
                    entry.kind = Kind::Hardlink { to: to.clone() };
                }
                self.bytes[at] = Bytes::None;
            }
        }
        drop((self.by_path, self.listed, self.linked));
        let mut is_there = self.entries.iter().map(Option::is_some);
        self.bytes.retain(|_| is_there.next().unwrap_or(false));
        // In place: the lists of a large context are not held twice.
        let mut entries: Vec<Entry> = self.entries.into_iter().flatten().collect();
        let mut bytes = self.bytes;
        // What one source gives is in order; several, and directories made on the way, may not be.
        if !entries.is_sorted_by(|a, b| a.path < b.path) {
            let mut both: Vec<(Entry, Bytes)> = entries.into_iter().zip(bytes).collect();
            both.sort_by(|a, b| a.0.path.cmp(&b.0.path));
            (entries, bytes) = both.into_iter().unzip();
        }
        Layout { tree: Tree::new(entries), bytes, unpack: self.unpack }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str, kind: Kind, mode: u32) -> Entry {
        let mtime = Mtime::default();
        Entry { path: TreePath::new(path), kind, mode, uid: 0, gid: 0, xattrs: Vec::new(), mtime }
    }

    #[test]
    fn directories_that_a_copy_makes_have_the_owner_but_not_the_mode_that_is_asked_for() {
        let file = Kind::File { size: 0, content: blake3::hash(b"").into() };
        let dir = Kind::Dir { opaque: false };
        let tree = crate::tree::Tree::new(vec![entry("d", dir, 0o750), entry("d/f", file, 0o640)]);
        let source = SourceTree { tree, ..SourceTree::default() };
        let selected = source.select(&["d".to_owned()], crate::copy::select::Matching::Patterns).expect("there");
        let mode = Mode::parse("600").expect("a mode");
        let request = LayoutRequest {
            source: &source,
            selected: &selected,
            inline: &[],
            destination: "/p/q",
            owner: Some((5, 6)),
            mode: Some(&mode),
            excludes: None,
            below: &Snapshot::empty(),
            directories: None,
            now: Mtime::default(),
            archives: &HashSet::new(),
        };
        let layout = layout(&request).expect("it fits");
        let shown: Vec<String> = layout
            .tree
            .entries()
            .iter()
            .map(|entry| format!("{} {:o} {}:{}", entry.path.display(), entry.mode, entry.uid, entry.gid))
            .collect();
        assert_eq!(shown, ["p 755 5:6", "p/q 755 5:6", "p/q/f 600 5:6"]);
        // An empty file has nothing to be read.
        assert!(layout.bytes.iter().all(|bytes| *bytes == Bytes::None));
    }
}
