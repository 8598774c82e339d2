//! A directory of the host as a tree: walked by all threads, hashing only what may have changed.
//!
//! Every directory is opened once, relative to its parent, and symbolic links are never followed,
//! so a path swapped during the walk cannot lead outside. What is left out is asked of a closure:
//! this module knows nothing of ignore files.

use super::Tree;
use super::entry::{Entry, Kind, TreePath};
use super::stat::{self, Signature, Stat};
use super::statcache::{self, Block, Known, StatCache};
use crate::digest::ContentId;
use rayon::prelude::*;
use rustix::fs::{FileType, RawDir};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// What a filter says of a path.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Choice {
    /// It belongs to the tree.
    Keep,
    /// It does not, and nothing below it does.
    Skip,
    /// It does only as the parent of something below it that does.
    Enter,
}

/// Whose files the tree's are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// As on the disk.
    Kept,
    /// All of them root's, as those of a context are.
    Root,
}

/// How to walk.
pub struct Options<'a> {
    /// Asked for every path but the root; the flag says whether it is a directory.
    pub filter: &'a (dyn Fn(&TreePath, bool) -> Choice + Sync),
    /// Whose files they are.
    pub owner: Owner,
    /// What is known from earlier; `None` hashes everything.
    pub cache: Option<&'a StatCache>,
    /// Whether opaque directories of an overlay are told apart.
    pub overlay: bool,
}

/// What a walk found.
pub struct Scan {
    /// The entries; hard links stand as files, each with the content's digest.
    pub tree: Tree,
    /// Files that have several names: path and a number that is the same for the same file.
    pub links: HashMap<TreePath, (u64, u64)>,
    /// The cache to write for next time; `None` where the given one is still right.
    pub cache: Option<Vec<u8>>,
    /// How many files were read.
    pub hashed: usize,
    /// What spares whoever copies the files from reading them again.
    pub facts: Facts,
}

/// What a walk knows of files beside their entries.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The bytes of small files that were read, by their digest.
    pub kept: HashMap<ContentId, Box<[u8]>>,
    /// The signatures of large files, each of them older than the walk: while a file has it, its content
    /// is what its entry says.
    pub settled: HashMap<TreePath, Signature>,
}

/// A walk that failed.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The kernel refused something at a path.
    #[error("{action} {}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where, below the walked directory.
        path: TreePath,
        /// What the kernel said.
        #[source]
        source: std::io::Error,
    },
}

fn failed(action: &'static str, path: &TreePath) -> impl FnOnce(Errno) -> ScanError {
    let path = path.clone();
    move |errno| ScanError::Io { action, path, source: errno.into() }
}

/// A file written less than this before the walk began is hashed again next time: the clock that
/// stamps files ticks every 1–10 ms.
const RACY_NANOS: i128 = 20_000_000;

/// Names of one directory that one task looks at.
const NAMES_PER_TASK: usize = 128;

/// Files up to this size may be kept in memory from the reading to the copying.
const KEPT_FILE_BYTES: u64 = 16 << 10;

/// All that is kept of a walk: enough for thousands of source files, little beside their listing.
const KEPT_BYTES: u64 = 4 << 20;

/// Files from this size on are copied by the kernel, if their signature says that they are unchanged.
const LARGE_FILE_BYTES: u64 = 256 << 10;

/// The walk's result for one directory and all below it.
#[derive(Default)]
struct Found {
    entries: Vec<Entry>,
    links: Vec<(TreePath, (u64, u64))>,
    blocks: Vec<Block>,
    kept: Vec<(ContentId, Box<[u8]>)>,
    settled: Vec<(TreePath, Signature)>,
    hashed: usize,
    /// Whether the cache's block of this or a lower directory is no longer what would be written.
    changed: bool,
}

impl Found {
    fn append(&mut self, mut other: Found) {
        self.entries.append(&mut other.entries);
        self.links.append(&mut other.links);
        self.blocks.append(&mut other.blocks);
        self.kept.append(&mut other.kept);
        self.settled.append(&mut other.settled);
        self.hashed += other.hashed;
        self.changed |= other.changed;
    }
}

struct Walk<'a> {
    options: &'a Options<'a>,
    /// Signatures with a ctime from here on are not trusted later; nanoseconds since 1970.
    racy_from: i128,
    /// Bytes that may still be kept.
    room: AtomicU64,
    /// Whether [`Facts`] are wanted.
    facts: bool,
}

/// A file as it is now, whether it was read to know that, and its bytes if they are kept.
type Read = (Known, bool, Option<Box<[u8]>>);

/// Walks the directory `root`.
pub fn scan(root: &Path, options: &Options<'_>) -> Result<Scan, ScanError> {
    walk(root, options, false)
}

/// Walks the directory `root`, whose files may be copied next.
pub fn scan_to_copy(root: &Path, options: &Options<'_>) -> Result<Scan, ScanError> {
    walk(root, options, true)
}

/// Some names of a directory with all that is below them, as [`scan`] finds them.
pub(crate) struct Named {
    /// The entries, sorted; hard links stand as files.
    pub entries: Vec<Entry>,
    /// Files that have several names.
    pub links: Vec<(TreePath, (u64, u64))>,
    /// What spares whoever copies the files from reading them again.
    pub facts: Facts,
}

/// Walks only `names` of the open directory `dir`, which is at `path` below the walked one. Nothing is known
/// from earlier.
pub(crate) fn scan_names(
    dir: &OwnedFd,
    path: &TreePath,
    names: &[CString],
    options: &Options<'_>,
) -> Result<Named, ScanError> {
    let (found, _, _) = Walk::new(options, racy_from(), true).names(dir.as_fd(), path, names, &[])?;
    let facts = Facts { kept: found.kept.into_iter().collect(), settled: found.settled.into_iter().collect() };
    Ok(Named { entries: found.entries, links: found.links, facts })
}

/// The open directory at `path` itself.
pub(crate) fn directory_entry(dir: &OwnedFd, path: &TreePath, options: &Options<'_>) -> Result<Entry, ScanError> {
    let stat = stat::stat_of(dir).map_err(failed("failed to stat", path))?;
    Walk::new(options, 0, false).dir_entry(dir, path, &stat)
}

/// Signatures with a ctime from here on are not trusted later.
fn racy_from() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec) - RACY_NANOS
}

fn walk(root: &Path, options: &Options<'_>, facts: bool) -> Result<Scan, ScanError> {
    let racy_from = racy_from();
    let top = TreePath::root();
    let dir = rustix::fs::open(
        root,
        rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC,
        rustix::fs::Mode::empty(),
    )
    .map_err(failed("failed to open", &top))?;
    let found = Walk::new(options, racy_from, facts).directory(&dir, &top)?;
    let stale = found.changed || options.cache.is_none_or(|cache| cache.directories() != found.blocks.len());
    Ok(Scan {
        cache: stale.then(|| statcache::encode(&found.blocks)),
        tree: Tree::new(found.entries),
        links: found.links.into_iter().collect(),
        hashed: found.hashed,
        facts: Facts { kept: found.kept.into_iter().collect(), settled: found.settled.into_iter().collect() },
    })
}

impl<'a> Walk<'a> {
    fn new(options: &'a Options<'a>, racy_from: i128, facts: bool) -> Self {
        Walk { options, racy_from, room: AtomicU64::new(if facts { KEPT_BYTES } else { 0 }), facts }
    }

    fn directory(&self, dir: &OwnedFd, path: &TreePath) -> Result<Found, ScanError> {
        let names = list(dir, path)?;
        let known = self.options.cache.map(|cache| cache.directory(path.as_bytes())).unwrap_or_default();
        let parts: Vec<(Found, Vec<u8>, usize)> = if names.len() <= NAMES_PER_TASK {
            vec![self.names(dir.as_fd(), path, &names, &known)?]
        } else {
            names
                .par_chunks(NAMES_PER_TASK)
                .map(|chunk| self.names(dir.as_fd(), path, chunk, &known))
                .collect::<Result<_, _>>()?
        };
        let mut all = Found::default();
        let mut block = Vec::new();
        let mut files = 0;
        for (part, mut data, count) in parts {
            all.append(part);
            block.append(&mut data);
            files += count;
        }
        all.changed |= files != known.len();
        if files > 0 {
            all.blocks.push(Block { path: path.as_bytes().into(), data: block });
        }
        Ok(all)
    }

    /// Looks at some names of a directory; gives what was found, the files' part of the cache
    /// block and how many files it holds.
    fn names(
        &self,
        dir: BorrowedFd<'_>,
        parent: &TreePath,
        names: &[CString],
        known: &[(&[u8], Known)],
    ) -> Result<(Found, Vec<u8>, usize), ScanError> {
        let mut entries: Vec<Entry> = Vec::with_capacity(names.len());
        let mut directories: Vec<Directory> = Vec::new();
        let mut block = Vec::with_capacity(names.len() * 110);
        let mut files = 0;
        let mut found = Found::default();
        for name in names {
            let path = parent.join(name.as_bytes());
            let stat = match stat::stat_at(dir, name) {
                Ok(stat) => stat,
                // Removed since the directory was listed: it is simply not there.
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(failed("failed to stat", &path)(errno)),
            };
            let is_dir = stat.file_type == FileType::Directory;
            let choice = (self.options.filter)(&path, is_dir);
            if choice == Choice::Skip || (choice == Choice::Enter && !is_dir) {
                continue;
            }
            match stat.file_type {
                FileType::Directory => {
                    let child = stat::open_dir_at(dir, name).map_err(failed("failed to open", &path))?;
                    let entry = (choice == Choice::Keep).then(|| self.dir_entry(&child, &path, &stat)).transpose()?;
                    directories.push(Directory { at: entries.len(), child, path, entry, stat });
                }
                FileType::RegularFile => {
                    let (known, fresh, bytes) = self.file(dir, name, &path, &stat, known)?;
                    found.hashed += usize::from(fresh);
                    found.changed |= fresh;
                    found.kept.extend(bytes.map(|bytes| (known.content, bytes)));
                    if self.is_settled(&known.signature) {
                        statcache::put(&mut block, name.as_bytes(), &known);
                        files += 1;
                        if self.facts && known.signature.size >= LARGE_FILE_BYTES {
                            found.settled.push((path.clone(), known.signature));
                        }
                    }
                    if stat.links > 1 {
                        found.links.push((path.clone(), (stat.signature.device, stat.signature.inode)));
                    }
                    let kind = Kind::File { size: known.signature.size, content: known.content };
                    entries.push(self.entry(path, kind, &stat, known.xattrs));
                }
                FileType::Symlink => {
                    let target = stat::read_link_at(dir, name).map_err(failed("failed to read link", &path))?;
                    entries.push(self.entry(path, Kind::Symlink { target }, &stat, Vec::new()));
                }
                _ => {
                    if let Some(kind) = stat::special_kind(&stat) {
                        entries.push(self.entry(path, kind, &stat, Vec::new()));
                    }
                }
            }
        }
        let walked: Vec<(usize, Found)> = if directories.len() > 1 {
            directories.into_par_iter().map(|dir| self.below(dir)).collect::<Result<_, _>>()?
        } else {
            directories.into_iter().map(|dir| self.below(dir)).collect::<Result<_, _>>()?
        };
        if walked.is_empty() {
            found.entries = entries;
            return Ok((found, block, files));
        }
        let mut entries = entries.into_iter();
        let mut taken = 0;
        for (at, below) in walked {
            found.entries.extend(entries.by_ref().take(at - taken));
            taken = at;
            found.append(below);
        }
        found.entries.extend(entries);
        Ok((found, block, files))
    }

    /// A directory with all below it, and where it stands among its neighbours.
    fn below(&self, dir: Directory) -> Result<(usize, Found), ScanError> {
        let Directory { at, child, path, entry, stat } = dir;
        let mut below = self.directory(&child, &path)?;
        let entry = match entry {
            Some(entry) => Some(entry),
            None if below.entries.is_empty() => None,
            None => Some(self.dir_entry(&child, &path, &stat)?),
        };
        if let Some(entry) = entry {
            below.entries.insert(0, entry);
        }
        Ok((at, below))
    }

    fn dir_entry(&self, dir: &OwnedFd, path: &TreePath, stat: &Stat) -> Result<Entry, ScanError> {
        let xattrs = stat::xattrs(dir).map_err(failed("failed to read attributes of", path))?;
        let opaque = self.options.overlay && stat::is_opaque(dir);
        Ok(self.entry(path.clone(), Kind::Dir { opaque }, stat, xattrs))
    }

    fn entry(&self, path: TreePath, kind: Kind, stat: &Stat, xattrs: super::Xattrs) -> Entry {
        if kind == Kind::Whiteout {
            return Entry { path, kind, mode: 0, uid: 0, gid: 0, xattrs, mtime: super::Mtime::default() };
        }
        let (uid, gid) = match self.options.owner {
            Owner::Kept => (stat.uid, stat.gid),
            Owner::Root => (0, 0),
        };
        Entry { path, kind, mode: stat.mode, uid, gid, xattrs, mtime: stat.signature.mtime }
    }

    /// The file's digest, from the cache or by reading it; the flag says that it was read. With it come the
    /// bytes, if they shall be kept.
    fn file(
        &self,
        dir: BorrowedFd<'_>,
        name: &CStr,
        path: &TreePath,
        stat: &Stat,
        known: &[(&[u8], Known)],
    ) -> Result<Read, ScanError> {
        if let Ok(at) = known.binary_search_by(|(other, _)| (*other).cmp(name.to_bytes()))
            && known[at].1.signature == stat.signature
        {
            return Ok((known[at].1.clone(), false, None));
        }
        let file = stat::open_file_at(dir, name).map_err(failed("failed to open", path))?;
        let expected = stat.signature.size;
        let keep = self.reserve(expected);
        let read = stat::read_file(&file, expected, keep).map_err(failed("failed to read", path))?;
        let xattrs = stat::xattrs(&file).map_err(failed("failed to read attributes of", path))?;
        let signature = Signature { size: read.size, ..stat.signature };
        Ok((Known { signature, content: read.content, xattrs }, true, read.bytes))
    }

    /// Whether a file of this size may be kept; takes the room for it.
    fn reserve(&self, size: u64) -> bool {
        let take = |room: u64| room.checked_sub(size);
        size <= KEPT_FILE_BYTES && self.facts && self.room.fetch_update(Relaxed, Relaxed, take).is_ok()
    }

    /// Whether a later change of the file is sure to change its signature.
    fn is_settled(&self, signature: &Signature) -> bool {
        let nanos = |time: super::Mtime| i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
        nanos(signature.ctime) < self.racy_from
    }
}

/// A directory that is to be walked.
struct Directory {
    /// How many entries of the same list go before it.
    at: usize,
    child: OwnedFd,
    path: TreePath,
    /// Its own entry; `None` where it stands in the tree only if something below it does.
    entry: Option<Entry>,
    stat: Stat,
}

/// The names in a directory, sorted, without `.` and `..`.
pub(crate) fn list(dir: &OwnedFd, path: &TreePath) -> Result<Vec<CString>, ScanError> {
    let mut buffer = [MaybeUninit::<u8>::uninit(); 32 << 10];
    let mut entries = RawDir::new(dir, &mut buffer);
    let mut names = Vec::new();
    while let Some(entry) = entries.next() {
        let entry = entry.map_err(failed("failed to list", path))?;
        let name = entry.file_name();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    fn keep(_: &TreePath, _: bool) -> Choice {
        Choice::Keep
    }

    fn options(cache: Option<&StatCache>) -> Options<'_> {
        Options { filter: &keep, owner: Owner::Root, cache, overlay: false }
    }

    fn names(tree: &Tree) -> Vec<String> {
        tree.entries().iter().map(|entry| entry.path.display().to_string()).collect()
    }

    fn age(path: &Path) {
        // Only waiting moves a ctime into the past.
        let _ = path;
        std::thread::sleep(std::time::Duration::from_millis(40));
    }

    #[test]
    fn a_walk_gives_types_modes_targets_and_digests_in_path_order() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/f"), "hello").unwrap();
        fs::set_permissions(dir.path().join("a/f"), fs::Permissions::from_mode(0o4750)).unwrap();
        symlink("a/f", dir.path().join("l")).unwrap();
        fs::write(dir.path().join("a.b"), "").unwrap();
        let scan = scan(dir.path(), &options(None)).unwrap();
        assert_eq!(names(&scan.tree), ["a", "a/f", "a.b", "l"]);
        let file = scan.tree.get(&TreePath::new("a/f")).unwrap();
        assert_eq!(file.kind, Kind::File { size: 5, content: blake3::hash(b"hello").into() });
        assert_eq!((file.mode, file.uid), (0o4750, 0));
        let link = scan.tree.get(&TreePath::new("l")).unwrap();
        assert_eq!(link.kind, Kind::Symlink { target: b"a/f".as_slice().into() });
    }

    #[test]
    fn a_second_walk_reads_no_file_and_an_edit_with_the_same_size_and_mtime_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        fs::write(&path, "one").unwrap();
        age(&path);
        let first = scan(dir.path(), &options(None)).unwrap();
        assert_eq!(first.hashed, 1);
        let cache = StatCache::decode(first.cache.unwrap());
        let second = scan(dir.path(), &options(Some(&cache))).unwrap();
        assert_eq!((second.hashed, second.cache.is_none()), (0, true));

        let before = fs::metadata(&path).unwrap();
        fs::write(&path, "two").unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mtime_nsec(), before.mtime_nsec());
        let third = scan(dir.path(), &options(Some(&cache))).unwrap();
        assert_eq!(third.hashed, 1);
        assert_ne!(third.tree.id(), first.tree.id());
    }

    #[test]
    fn a_file_written_just_now_is_not_trusted_next_time() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("f"), "one").unwrap();
        let first = scan(dir.path(), &options(None)).unwrap();
        let cache = StatCache::decode(first.cache.unwrap());
        assert_eq!(scan(dir.path(), &options(Some(&cache))).unwrap().hashed, 1);
    }

    #[test]
    fn a_large_directory_is_split_and_stays_in_order() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..1000 {
            fs::write(dir.path().join(format!("f{number:04}")), [0u8; 3]).unwrap();
        }
        age(dir.path());
        let first = scan(dir.path(), &options(None)).unwrap();
        assert_eq!(first.tree.len(), 1000);
        assert!(first.tree.entries().is_sorted_by(|a, b| a.path < b.path));
        let cache = StatCache::decode(first.cache.unwrap());
        fs::remove_file(dir.path().join("f0500")).unwrap();
        let second = scan(dir.path(), &options(Some(&cache))).unwrap();
        assert_eq!((second.tree.len(), second.hashed, second.cache.is_some()), (999, 0, true));
    }

    #[test]
    fn what_the_filter_skips_is_absent_and_a_directory_stays_for_what_is_kept_below_it() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["out/keep", "out/drop", "empty/drop", "src/main"] {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "x").unwrap();
        }
        let filter = |path: &TreePath, is_dir: bool| match path.as_bytes() {
            b"out" | b"empty" => Choice::Enter,
            _ if path.file_name() == Some(b"drop") => Choice::Skip,
            _ if is_dir => Choice::Keep,
            _ => Choice::Keep,
        };
        let scan = scan(dir.path(), &Options { filter: &filter, ..options(None) }).unwrap();
        assert_eq!(names(&scan.tree), ["out", "out/keep", "src", "src/main"]);
    }

    #[test]
    fn names_of_one_file_share_a_number() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("a"), "x").unwrap();
        fs::hard_link(dir.path().join("a"), dir.path().join("b")).unwrap();
        fs::write(dir.path().join("c"), "x").unwrap();
        let scan = scan(dir.path(), &options(None)).unwrap();
        assert_eq!(scan.links.len(), 2);
        assert_eq!(scan.links[&TreePath::new("a")], scan.links[&TreePath::new("b")]);
    }
}
