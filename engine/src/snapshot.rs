//! What a step sees as its root: an ordered stack of layers, looked into without mounting it.
//!
//! A look-up asks the layers from the top down with the overlay's own rules (whiteouts, opaque directories), and symbolic
//! links are resolved inside the stack, so nothing outside is ever reached. What was found is kept for the stacks that
//! are made of this one. Knows nothing of steps.

mod known;
mod planned;
mod said;

pub use planned::NotMadeYet;

use known::Known;
use said::Said;

use crate::digest::SnapshotId;
use crate::stack::Stack;
use crate::store::{Layer, StoreError};
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath, Xattrs, scan, stat, upper};
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::{HashMap, HashSet};
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// How many symbolic links one path may pass through: the kernel's own limit.
const MAX_LINKS: usize = 40;

/// What a snapshot has at a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The type.
    pub file_type: Type,
    /// `mode & 0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// When its content changed.
    pub mtime: Mtime,
    /// Its extended attributes; read for directories only.
    pub xattrs: Xattrs,
}

/// The type of what was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Type {
    /// A directory.
    Dir,
    /// A regular file.
    File,
    /// A symbolic link to this target.
    Symlink(Box<[u8]>),
    /// A device, pipe or socket.
    Other,
}

/// Why a path could not be looked up.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The kernel refused something.
    #[error("failed to look up /{}", path.display())]
    Io {
        /// The path inside the snapshot.
        path: TreePath,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },
    /// Too many symbolic links.
    #[error("too many symbolic links on the way to /{}", path.display())]
    Loop {
        /// The path inside the snapshot.
        path: TreePath,
    },
    /// A part of the path that should be a directory is none.
    #[error("/{} is not a directory", path.display())]
    NotADirectory {
        /// The part that is none.
        path: TreePath,
    },
    /// A listing could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Files could not be read.
    #[error(transparent)]
    Scan(#[from] scan::ScanError),
    /// A name of a user or group, where there is no file that could know it.
    #[error("an empty file system knows no user or group by name: give {name:?} as numbers")]
    NoAccounts {
        /// As written.
        name: String,
    },
}

/// A stack of layers. It shares all below its top with the snapshot that it was made of, so a clone is cheap.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    stack: Stack,
    top: Option<Arc<Piece>>,
}

#[derive(Debug)]
struct Piece {
    layer: Arc<Layer>,
    below: Snapshot,
    /// Whether this layer or one below it is only planned.
    is_planned: bool,
    /// Whether this layer or one below it is the host's own files.
    has_host: bool,
    known: Mutex<Option<Box<Known>>>,
}

impl Drop for Piece {
    /// One after the other, as it is with [`Stack`].
    fn drop(&mut self) {
        let mut next = self.below.top.take();
        while let Some(mut piece) = next.and_then(Arc::into_inner) {
            next = piece.below.top.take();
        }
    }
}

impl Snapshot {
    /// The snapshot without layers: `FROM scratch`.
    pub fn empty() -> Self {
        Snapshot::default()
    }

    /// The stack of these layers, the bottom one first.
    pub fn of(layers: impl IntoIterator<Item = Arc<Layer>>) -> Self {
        layers.into_iter().fold(Snapshot::empty(), |stack, layer| stack.with(layer))
    }

    /// This stack with one more layer on top.
    #[must_use]
    pub fn with(&self, layer: Arc<Layer>) -> Self {
        let is_planned = self.is_planned() || layer.is_planned();
        let has_host = self.has_host() || layer.is_host();
        let stack = self.stack.with(layer.id());
        let (below, known) = (self.clone(), Mutex::default());
        Snapshot { stack, top: Some(Arc::new(Piece { layer, below, is_planned, has_host, known })) }
    }

    /// The chain of the layers' digests.
    pub fn id(&self) -> SnapshotId {
        self.stack.id()
    }

    /// The layers' identities.
    pub fn stack(&self) -> &Stack {
        &self.stack
    }

    /// How many layers there are.
    pub fn count(&self) -> usize {
        usize::try_from(self.stack.count()).unwrap_or(usize::MAX)
    }

    /// The topmost layer.
    pub fn top(&self) -> Option<&Arc<Layer>> {
        self.top.as_ref().map(|piece| &piece.layer)
    }

    /// What is below the topmost layer.
    pub fn below(&self) -> Option<&Snapshot> {
        self.top.as_ref().map(|piece| &piece.below)
    }

    /// The layers, the topmost first.
    pub fn from_top(&self) -> impl Iterator<Item = &Arc<Layer>> {
        std::iter::successors(self.top.as_deref(), |piece| piece.below.top.as_deref()).map(|piece| &piece.layer)
    }

    /// The layers, the bottom one first.
    pub fn layers(&self) -> Vec<&Arc<Layer>> {
        let mut all: Vec<_> = self.from_top().collect();
        all.reverse();
        all
    }

    fn is_planned(&self) -> bool {
        self.top.as_ref().is_some_and(|piece| piece.is_planned)
    }

    /// Whether the host's own files are among the layers.
    pub fn has_host(&self) -> bool {
        self.top.as_ref().is_some_and(|piece| piece.has_host)
    }

    /// The directories for the overlay, the topmost first, each once: the kernel takes none twice. Where two layers are
    /// the same, whatever the lower one shows or hides, the upper one does again.
    pub fn dirs(&self) -> Vec<PathBuf> {
        let mut seen = HashSet::new();
        let all = self.from_top().flat_map(|layer| layer.dirs());
        all.filter(|dir| seen.insert(dir.as_path())).cloned().collect()
    }

    /// Top-level directories of the host that lie under the snapshot, each by an overlay of its own.
    pub fn host_dirs(&self) -> Vec<&Path> {
        match self.has_host() {
            true => self.layers().into_iter().flat_map(|layer| layer.host_dirs()).map(PathBuf::as_path).collect(),
            false => Vec::new(),
        }
    }

    /// What is at `path` itself: its last part is not followed where it is a symbolic link, and a
    /// link on the way there finds nothing. `None` where nothing is.
    pub fn lookup(&self, path: &TreePath) -> Result<Option<Found>, LookupError> {
        if path.is_root() {
            return self.root().map(Some);
        }
        self.known(|known| known.look_up(self, path)).unwrap_or(Ok(None))
    }

    /// The root, whose attributes are those of the topmost directory.
    fn root(&self) -> Result<Found, LookupError> {
        let failed = |errno: Errno| LookupError::Io { path: TreePath::root(), source: errno.into() };
        let top = self.from_top().find_map(|layer| layer.dirs().first());
        let top = top.map(|dir| open_top(dir)).transpose().map_err(failed)?;
        let xattrs = top.map_or_else(|| Ok(Vec::new()), stat::xattrs).map_err(failed)?;
        Ok(Found { file_type: Type::Dir, mode: 0o755, uid: 0, gid: 0, mtime: Mtime::default(), xattrs })
    }

    /// Does something with what is known of this stack; `None` where it has no layers.
    fn known<T>(&self, with: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let piece = self.top.as_deref()?;
        let lock = |piece: &'_ Piece| piece.known.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut own = piece.known.lock().unwrap_or_else(PoisonError::into_inner);
        if own.is_none() {
            *own = piece.below.top.as_deref().and_then(lock);
        }
        Some(with(own.get_or_insert_default()))
    }

    /// This stack, what it is made of, and so on down to that without layers.
    fn chain(&self) -> impl Iterator<Item = &Snapshot> {
        std::iter::successors(Some(self), |snapshot| snapshot.below())
    }

    /// The names in the directory `path`; none where it is no directory.
    pub fn names(&self, path: &TreePath) -> Result<HashSet<Box<[u8]>>, LookupError> {
        self.known(|known| known.names(self, path).cloned()).unwrap_or_else(|| Ok(HashSet::new()))
    }

    /// Which of `names` are in the directory `path`.
    pub fn names_among(
        &self,
        path: &TreePath,
        names: &mut dyn Iterator<Item = Vec<u8>>,
    ) -> Result<Vec<Vec<u8>>, LookupError> {
        let met = |known: &mut Known| {
            let there = known.names(self, path)?;
            Ok(if there.is_empty() {
                Vec::new()
            } else {
                names.filter(|name| there.contains(name.as_slice())).collect()
            })
        };
        self.known(met).unwrap_or_else(|| Ok(Vec::new()))
    }

    /// Where `path` really is: every symbolic link on the way is followed inside the snapshot, the
    /// last part too if `follow_last`. Parts that are not there are kept as they are.
    pub fn resolve(&self, path: &TreePath, follow_last: bool) -> Result<TreePath, LookupError> {
        resolve_with(path, follow_last, &|path| self.lookup(path))
    }

    /// The content of the regular file at `path`, links followed, at most `limit` bytes; `None`
    /// where there is none.
    pub fn read(&self, path: &TreePath, limit: u64) -> Result<Option<Vec<u8>>, LookupError> {
        use std::io::Read as _;
        let real = self.resolve(path, true)?;
        let failed = |source: io::Error| LookupError::Io { path: path.clone(), source };
        if self.lookup(&real)?.is_none_or(|found| found.file_type != Type::File) {
            return Ok(None);
        }
        let file = self.open(&real).map_err(failed)?;
        let mut data = Vec::new();
        file.take(limit).read_to_end(&mut data).map_err(failed)?;
        Ok(Some(data))
    }

    /// Opens the regular file at `path` itself, in the topmost layer that has it.
    pub fn open(&self, path: &TreePath) -> io::Result<File> {
        if self.is_planned() {
            return self.open_planned(path);
        }
        for layer in self.from_top() {
            match said::of(layer, path).map_err(io::Error::other)? {
                Said::Nothing => {}
                Said::Hidden => break,
                Said::Is(_) => return open_in(layer, path),
            }
        }
        Err(io::ErrorKind::NotFound.into())
    }

    /// All that is at `path` and below it, without whiteouts. Hard links stand as files; which
    /// names are one file is told beside the tree, as a scan of a directory does.
    pub fn tree_below(&self, path: &TreePath) -> Result<Merged, LookupError> {
        let mut merged: Vec<Entry> = Vec::new();
        let mut links = HashMap::new();
        for (number, layer) in self.layers().into_iter().enumerate() {
            let scanned;
            let tree = if layer.is_host() {
                scanned = scan_host(layer, path)?;
                &scanned
            } else {
                layer.tree()?
            };
            let (unfolded, own) = unfold_links(tree, path, number as u64);
            merged = stack(merged, unfolded, path);
            links.extend(own);
        }
        let tree = Tree::new(merged);
        links.retain(|path, _| tree.get(path).is_some_and(|entry| matches!(entry.kind, Kind::File { .. })));
        Ok(Merged { tree, links })
    }
}

/// A part of a snapshot as one tree.
#[derive(Clone, Debug, Default)]
pub struct Merged {
    /// The entries; hard links stand as files.
    pub tree: Tree,
    /// Files that may have several names: path and a number that is the same for the same file.
    pub links: HashMap<TreePath, (u64, u64)>,
}

/// The entries of a layer that matter for `path`, each hard link as the file that it is a name of.
fn unfold_links(tree: &Tree, path: &TreePath, layer: u64) -> (Vec<Entry>, HashMap<TreePath, (u64, u64)>) {
    let mut links = HashMap::new();
    let mut entries = Vec::new();
    for entry in tree.entries() {
        if !(entry.path.starts_with(path) || path.starts_with(&entry.path)) {
            continue;
        }
        let mut entry = entry.clone();
        if let Kind::Hardlink { to } = &entry.kind
            && let Ok(first) = tree.entries().binary_search_by(|other| other.path.cmp(to))
        {
            links.insert(entry.path.clone(), (layer, first as u64));
            links.insert(to.clone(), (layer, first as u64));
            entry.kind = tree.entries()[first].kind.clone();
        }
        entries.push(entry);
    }
    (entries, links)
}

/// Follows symbolic links inside whatever `lookup` looks into.
pub fn resolve_with(
    path: &TreePath,
    follow_last: bool,
    lookup: &dyn Fn(&TreePath) -> Result<Option<Found>, LookupError>,
) -> Result<TreePath, LookupError> {
    let mut links = 0;
    let mut done = TreePath::root();
    let mut rest: Vec<Box<[u8]>> = path.parts().rev().map(Into::into).collect();
    while let Some(part) = rest.pop() {
        match &*part {
            b"." => continue,
            b".." => {
                done = done.parent().unwrap_or_default();
                continue;
            }
            _ => {}
        }
        let next = done.join(&part);
        if rest.is_empty() && !follow_last {
            return Ok(next);
        }
        match lookup(&next)? {
            Some(Found { file_type: Type::Symlink(target), .. }) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(LookupError::Loop { path: path.clone() });
                }
                if target.first() == Some(&b'/') {
                    done = TreePath::root();
                }
                // Taken part by part, so that `..` climbs from where the link leads.
                rest.extend(target.split(|&b| b == b'/').rev().filter(|part| !part.is_empty()).map(Box::from));
            }
            _ => done = next,
        }
    }
    Ok(done)
}

fn open_top(dir: &Path) -> rustix::io::Result<OwnedFd> {
    use rustix::fs::{Mode, OFlags};
    rustix::fs::open(dir, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a file of a layer. The host's own files lie in several places.
fn open_in(layer: &Layer, path: &TreePath) -> io::Result<File> {
    if !layer.is_host() {
        return layer.open(path);
    }
    let name = c_name(path.file_name().unwrap_or_default());
    let (dirs, _) = said::directories(layer, &path.parent().unwrap_or_default()).map_err(io::Error::other)?;
    for dir in dirs {
        match stat::open_file_at(dir.as_fd(), &name) {
            Ok(file) => return Ok(file.into()),
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

/// A part of a path never holds a zero byte: it came from a file system or from a checked path. One
/// that does finds nothing.
fn c_name(name: &[u8]) -> CString {
    CString::new(name).unwrap_or_else(|_| c"\xff(a name with a zero byte)".to_owned())
}

fn is_whiteout(found: &stat::Stat) -> bool {
    stat::special_kind(found) == Some(Kind::Whiteout)
}

fn found_at(dir: &OwnedFd, name: &std::ffi::CStr, found: &stat::Stat) -> Result<Found, Errno> {
    let mut xattrs = Vec::new();
    let file_type = match found.file_type {
        FileType::Directory => {
            xattrs = stat::xattrs(stat::open_dir_at(dir.as_fd(), name)?)?;
            Type::Dir
        }
        FileType::RegularFile => Type::File,
        FileType::Symlink => Type::Symlink(stat::read_link_at(dir.as_fd(), name)?),
        _ => Type::Other,
    };
    let stat::Stat { mode, uid, gid, signature, .. } = *found;
    Ok(Found { file_type, mode, uid, gid, mtime: signature.mtime, xattrs })
}

/// Lays `upper` over `lower`, both sorted, keeping only what is `path` or below it, or above it.
fn stack(lower: Vec<Entry>, upper: Vec<Entry>, path: &TreePath) -> Vec<Entry> {
    let mut out: Vec<Entry> = Vec::with_capacity(lower.len());
    let mut lower = lower.into_iter().peekable();
    for entry in upper {
        while lower.peek().is_some_and(|old| old.path < entry.path) {
            out.extend(lower.next());
        }
        let replaced = lower.next_if(|old| old.path == entry.path);
        let hides = match &entry.kind {
            Kind::Dir { opaque } => *opaque || replaced.is_some_and(|old| !matches!(old.kind, Kind::Dir { .. })),
            _ => true,
        };
        if hides {
            while lower.next_if(|old| old.path.starts_with(&entry.path)).is_some() {}
        }
        match entry.kind {
            Kind::Whiteout => {}
            Kind::Dir { .. } => out.push(Entry { kind: Kind::Dir { opaque: false }, ..entry }),
            _ => out.push(entry),
        }
    }
    out.extend(lower);
    out.retain(|entry| entry.path.starts_with(path));
    out
}

/// The host's files at `path` and below.
fn scan_host(layer: &Layer, path: &TreePath) -> Result<Tree, LookupError> {
    let view = Snapshot::of([Arc::new(Layer::host(layer.id(), layer.dirs().to_vec(), layer.host_dirs().to_vec()))]);
    let failed = |errno: Errno| LookupError::Io { path: path.clone(), source: errno.into() };
    let Some(found) = view.lookup(path)? else { return Ok(Tree::default()) };
    let mut entries = Vec::new();
    if found.file_type == Type::Dir {
        // The mask and the host itself, the mask on top.
        let keep = |_: &TreePath, _: bool| scan::Choice::Keep;
        let options = scan::Options { filter: &keep, owner: scan::Owner::Kept, cache: None, overlay: true };
        for dir in said::directories(layer, path)?.0.iter().rev() {
            let place = PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(dir)));
            let scan = scan::scan(&place, &options)?;
            let below = upper::fold_links(scan.tree.into_entries(), &scan.links);
            let moved: Vec<Entry> = below
                .into_iter()
                .map(|mut entry| {
                    if let Kind::Hardlink { to } = &mut entry.kind {
                        *to = path.join(to.as_bytes());
                    }
                    Entry { path: path.join(entry.path.as_bytes()), ..entry }
                })
                .collect();
            entries = stack(entries, moved, path);
        }
    }
    if !path.is_root() {
        let kind = match &found.file_type {
            Type::Dir => Kind::Dir { opaque: false },
            Type::Symlink(target) => Kind::Symlink { target: target.clone() },
            Type::File => {
                let file = view.open(path).map_err(|source| LookupError::Io { path: path.clone(), source })?;
                let (size, content) = stat::hash_file(&file.into(), 0).map_err(failed)?;
                Kind::File { size, content }
            }
            Type::Other => Kind::Fifo,
        };
        let Found { mode, uid, gid, mtime, xattrs, .. } = found;
        entries.insert(0, Entry { path: path.clone(), kind, mode, uid, gid, xattrs, mtime });
    }
    Ok(Tree::new(entries))
}

#[cfg(test)]
mod laws;

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn entry(path: &str, kind: Kind) -> Entry {
        Entry {
            path: TreePath::new(path),
            kind,
            mode: 0o755,
            uid: 0,
            gid: 0,
            xattrs: Vec::new(),
            mtime: Mtime::default(),
        }
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| entry.path.display().to_string()).collect()
    }

    #[test]
    fn upper_layers_hide_remove_and_merge() {
        let file = || Kind::File { size: 0, content: blake3::hash(b"").into() };
        let dir = |opaque| Kind::Dir { opaque };
        let lower = ["a", "a/x", "b", "b/y", "c", "c/z", "d"];
        let lower: Vec<Entry> =
            lower.iter().map(|path| entry(path, if path.len() == 1 { dir(false) } else { file() })).collect();
        let upper = vec![
            entry("a", Kind::Whiteout),
            entry("b", dir(true)),
            entry("b/new", file()),
            entry("c", dir(false)),
            entry("c/more", file()),
            entry("d", file()),
        ];
        let merged = stack(lower.clone(), upper.clone(), &TreePath::root());
        assert_eq!(names(&merged), ["b", "b/new", "c", "c/more", "c/z", "d"]);
        assert_eq!(names(&stack(lower, upper, &TreePath::new("c"))), ["c", "c/more", "c/z"]);
    }

    #[test]
    fn links_are_followed_inside_the_snapshot_only() {
        let found =
            |file_type| Found { file_type, mode: 0o755, uid: 0, gid: 0, mtime: Mtime::default(), xattrs: Vec::new() };
        let lookup = |path: &TreePath| {
            Ok(match path.as_bytes() {
                b"up" => Some(found(Type::Symlink(b"../../../etc".as_slice().into()))),
                b"var/run" => Some(found(Type::Symlink(b"/run".as_slice().into()))),
                b"loop" => Some(found(Type::Symlink(b"loop".as_slice().into()))),
                b"var" | b"etc" | b"run" => Some(found(Type::Dir)),
                _ => None,
            })
        };
        let resolve = |path: &str, last| resolve_with(&TreePath::new(path), last, &lookup);
        assert_eq!(resolve("up/passwd", true).unwrap(), TreePath::new("etc/passwd"));
        assert_eq!(resolve("var/run/x/y", true).unwrap(), TreePath::new("run/x/y"));
        assert_eq!(resolve("var/run", false).unwrap(), TreePath::new("var/run"));
        assert!(matches!(resolve("loop/x", true), Err(LookupError::Loop { .. })));
    }

    #[test]
    fn a_layer_that_is_there_twice_is_mounted_once_and_on_top() {
        let layer = |name: &str| {
            let id = crate::digest::LayerId::from_bytes([name.as_bytes()[0]; 32]);
            Arc::new(Layer::host(id, vec![PathBuf::from(name)], Vec::new()))
        };
        let snapshot = Snapshot::of([layer("a"), layer("b"), layer("a"), layer("c")]);
        assert_eq!(snapshot.dirs(), ["c", "a", "b"].map(PathBuf::from));
        assert_eq!(snapshot.count(), 4);
    }

    #[test]
    fn a_look_up_honours_what_lies_above() {
        let dir = tempfile::tempdir().unwrap();
        let (low, high) = (dir.path().join("low"), dir.path().join("high"));
        fs::create_dir_all(low.join("etc")).unwrap();
        fs::create_dir_all(high.join("etc")).unwrap();
        fs::write(low.join("etc/passwd"), "low").unwrap();
        fs::write(low.join("etc/group"), "low").unwrap();
        fs::write(high.join("etc/passwd"), "high").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", low.join("link")).unwrap();
        let layer =
            |path: PathBuf| Arc::new(Layer::host(crate::digest::LayerId::from_bytes([0; 32]), vec![path], Vec::new()));
        let snapshot = Snapshot::of([layer(low), layer(high)]);
        assert_eq!(snapshot.read(&TreePath::new("link"), 10).unwrap().unwrap(), b"high");
        assert_eq!(snapshot.read(&TreePath::new("etc/group"), 2).unwrap().unwrap(), b"lo");
        assert_eq!(snapshot.lookup(&TreePath::new("etc")).unwrap().unwrap().file_type, Type::Dir);
        assert_eq!(snapshot.lookup(&TreePath::new("etc/none")).unwrap(), None);
        assert_eq!(snapshot.read(&TreePath::new("etc"), 10).unwrap(), None);
    }
}
