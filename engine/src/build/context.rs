//! The build context: the directory that COPY and ADD read, less what the ignore file excludes.
//!
//! It is walked at the first COPY that has to know it, and only as far as the plan's sources reach.

use super::walk::{Memory, Walk};
use crate::copy::select::{SourceTree, first_part};
use crate::store::Store;
use crate::store::builds::ContextSeen;
use crate::tree::scan::ScanError;
use crate::tree::{Entry, Kind, Mtime, Tree, TreePath};
use kiln_dsl::ignore::Ignore;
use rustix::fs::{Mode, OFlags, ResolveFlags};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// A context.
pub struct BuildContext {
    /// For people: `the context`, `context "lib"`.
    name: String,
    root: PathBuf,
    ignore: Arc<Ignore>,
    /// The ignore file's name for people, if there is one.
    ignore_file: Option<String>,
    /// Digest of the ignore file: another one walks other paths.
    ignore_digest: blake3::Hash,
    /// The first parts of all sources; `None` where a source reaches anything.
    reach: Mutex<Option<BTreeSet<TreePath>>>,
    scanned: Mutex<Option<Arc<SourceTree>>>,
    /// Paths that are taken to have another content than they have.
    pretended: Vec<TreePath>,
    /// The directory, once a file of it was opened.
    top: OnceLock<OwnedFd>,
    /// What earlier builds of this process have seen.
    memory: Memory,
}

/// An ignore file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// It cannot be opened.
    #[error("failed to read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of it is no pattern.
    #[error("{}: {source}", path.display())]
    Ignore {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: kiln_dsl::ignore::IgnoreError,
    },
}

impl BuildContext {
    /// The context in the directory `root`, for the Dockerfile at `dockerfile`, whose own ignore file
    /// goes before the context's.
    pub fn open(root: &Path, dockerfile: &Path, memory: Memory) -> Result<Self, ContextError> {
        let own = PathBuf::from(format!("{}.dockerignore", dockerfile.display()));
        let context = Self::with_ignore_files("the context".to_owned(), root, vec![own, root.join(".dockerignore")])?;
        Ok(BuildContext { memory, ..context })
    }

    /// The named context in the directory `root`, which has an ignore file of its own.
    pub fn open_named(name: &str, root: &Path, memory: Memory) -> Result<Self, ContextError> {
        let files = vec![root.join(".dockerignore")];
        let context = Self::with_ignore_files(format!("context {name:?}"), root, files)?;
        Ok(BuildContext { memory, ..context })
    }

    /// The context with this name for people, less what the first of these files that is there excludes.
    fn with_ignore_files(name: String, root: &Path, files: Vec<PathBuf>) -> Result<Self, ContextError> {
        let mut found = None;
        for path in files {
            match std::fs::read_to_string(&path) {
                Ok(text) => {
                    found = Some((path, text));
                    break;
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {}
                Err(source) => return Err(ContextError::Read { path, source }),
            }
        }
        let (ignore, ignore_file, text) = match found {
            Some((path, text)) => {
                let ignore =
                    Ignore::parse(&text).map_err(|source| ContextError::Ignore { path: path.clone(), source })?;
                let file = path.file_name().map(|name| name.to_string_lossy().into_owned());
                (ignore, file, text)
            }
            None => (Ignore::default(), None, String::new()),
        };
        Ok(BuildContext {
            name,
            root: root.to_path_buf(),
            ignore: Arc::new(ignore),
            ignore_file,
            ignore_digest: blake3::hash(text.as_bytes()),
            reach: Mutex::new(Some(BTreeSet::new())),
            scanned: Mutex::new(None),
            pretended: Vec::new(),
            top: OnceLock::new(),
            memory: Memory::default(),
        })
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is left out.
    pub fn ignore(&self) -> &Ignore {
        &self.ignore
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Says that a step reads `pattern`.
    pub fn reaches(&self, pattern: &str) {
        let mut reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        match (first_part(pattern), reach.as_mut()) {
            (Some(part), Some(parts)) => {
                parts.insert(part);
            }
            _ => *reach = None,
        }
    }

    /// The files that the steps can read.
    pub fn tree(&self, store: &Store) -> Result<Arc<SourceTree>, ScanError> {
        let mut scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tree) = &*scanned {
            return Ok(tree.clone());
        }
        let walk = Walk {
            root: self.root.clone(),
            ignore: self.ignore.clone(),
            ignore_digest: self.ignore_digest,
            reach: self.reach.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        };
        let mut tree = self.memory.source(walk, store)?;
        if !self.pretended.is_empty() {
            tree = Arc::new(self.pretend(&tree));
        }
        *scanned = Some(tree.clone());
        Ok(tree)
    }

    /// What was seen of it, as far as steps read it.
    pub fn seen(&self) -> ContextSeen {
        let scanned = self.scanned.lock().unwrap_or_else(PoisonError::into_inner);
        let reach = self.reach.lock().unwrap_or_else(PoisonError::into_inner);
        let parts = reach.as_ref().map(|parts| parts.iter().map(|part| part.as_bytes().to_vec()).collect());
        ContextSeen { ignore: *self.ignore_digest.as_bytes(), reach: parts, files: scanned.as_deref().map(digest) }
    }

    /// Whether steps that read it as far as an earlier build's would see the same.
    pub fn sees(&self, earlier: &ContextSeen, store: &Store) -> bool {
        if earlier.ignore != *self.ignore_digest.as_bytes() {
            return false;
        }
        let Some(files) = earlier.files else { return true };
        let reach = earlier.reach.as_ref().map(|parts| parts.iter().map(TreePath::new).collect());
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = reach;
        // What cannot be read is told by the step that reads it.
        self.tree(store).is_ok_and(|tree| digest(&tree) == files)
    }

    /// Forgets how far steps read it, and what was found so.
    pub fn begin_again(&self) {
        *self.reach.lock().unwrap_or_else(PoisonError::into_inner) = Some(BTreeSet::new());
        *self.scanned.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Takes these paths for changed: files for edited, directories for edited in every file, and what is not
    /// there for added.
    pub fn pretend_changed(&mut self, paths: Vec<TreePath>) {
        self.pretended = paths;
    }

    fn pretend(&self, source: &SourceTree) -> SourceTree {
        let mut entries = source.tree.entries().to_vec();
        let other = |content: &[u8]| -> crate::digest::ContentId {
            blake3::Hasher::new_derive_key("kiln pretended content v1").update(content).finalize().into()
        };
        for path in &self.pretended {
            let mut is_there = false;
            for entry in entries.iter_mut().filter(|entry| entry.path.starts_with(path)) {
                is_there = true;
                if let Kind::File { content, .. } = &mut entry.kind {
                    *content = other(content.as_bytes());
                }
            }
            let exists = std::fs::symlink_metadata(self.root.join(path.display().to_string())).is_ok();
            if !is_there && !exists && !self.ignore.excluded(path.as_bytes(), false) {
                let kind = Kind::File { size: 1, content: other(path.as_bytes()) };
                let (path, xattrs, mtime) = (path.clone(), Vec::new(), Mtime::default());
                entries.push(Entry { path, kind, mode: 0o644, uid: 0, gid: 0, xattrs, mtime });
            }
        }
        SourceTree { tree: Tree::new(entries), ..source.clone() }
    }

    /// Opens a file of the context; no symbolic link is followed.
    pub fn open_file(&self, path: &TreePath) -> io::Result<File> {
        let top = match self.top.get() {
            Some(top) => top,
            None => {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let opened = rustix::fs::open(&self.root, flags, Mode::empty())?;
                self.top.get_or_init(|| opened)
            }
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        Ok(rustix::fs::openat2(top, path.as_bytes(), flags, Mode::empty(), resolve)?.into())
    }

    /// The ignore file's name and its content's digest, if there is one.
    pub fn ignore_file(&self) -> Option<(&str, crate::digest::ContentId)> {
        Some((self.ignore_file.as_deref()?, self.ignore_digest.into()))
    }

    /// The ignore file and its pattern that hide `path`, if it is there.
    pub fn hidden_by(&self, path: &str) -> Option<(String, String)> {
        let clean = TreePath::new(path);
        let there = std::fs::symlink_metadata(self.root.join(clean.display().to_string())).is_ok();
        let (line, pattern) = self.ignore.matching_line(clean.as_bytes()).filter(|_| there)?;
        Some((format!("{} line {line}", self.ignore_file.as_deref().unwrap_or(".dockerignore")), pattern.to_owned()))
    }
}

/// The digest of all that a selection may depend on: the files, and which of them are one.
fn digest(source: &SourceTree) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new_derive_key("kiln context files v1");
    hasher.update(source.tree.id().as_bytes());
    let mut links: Vec<_> = source.links.iter().collect();
    links.sort();
    for (path, (device, inode)) in links {
        hasher.update(&(path.as_bytes().len() as u64).to_le_bytes());
        hasher.update(path.as_bytes());
        hasher.update(&device.to_le_bytes());
        hasher.update(&inode.to_le_bytes());
    }
    *hasher.finalize().as_bytes()
}
