//! Which files of a context a walk finds, and what was found, kept for the builds of one process.

use crate::copy::select::SourceTree;
use crate::store::Store;
use crate::tree::refresh::{self, Dirty, Refreshed, Scanned};
use crate::tree::scan::{Choice, Options, Owner, ScanError};
use crate::tree::statcache::StatCache;
use crate::tree::{Entry, Kind, Tree, TreePath};
use kiln_dsl::ignore::Ignore;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that decides which files of a context are found.
#[derive(Clone)]
pub(crate) struct Walk {
    pub root: PathBuf,
    pub ignore: Arc<Ignore>,
    /// Digest of the ignore file: another one walks other paths.
    pub ignore_digest: blake3::Hash,
    /// The first parts of all sources; `None` where a source reaches anything.
    pub reach: Option<BTreeSet<TreePath>>,
}

impl Walk {
    /// What becomes of a path.
    pub fn choose(&self, path: &TreePath, is_dir: bool) -> Choice {
        if let Some(parts) = &self.reach
            && path.parent().is_some_and(|parent| parent.is_root())
            && !parts.contains(path)
        {
            return Choice::Skip;
        }
        if !self.ignore.excluded(path.as_bytes(), is_dir) {
            Choice::Keep
        } else if is_dir && self.ignore.may_reinclude_below(path.as_bytes()) {
            Choice::Enter
        } else {
            Choice::Skip
        }
    }

    /// Names exactly this walk.
    pub fn identity(&self) -> [u8; 32] {
        use std::os::unix::ffi::OsStrExt as _;
        let root = std::fs::canonicalize(&self.root).unwrap_or_else(|_| self.root.clone());
        let mut hasher = blake3::Hasher::new_derive_key("kiln context v1");
        let mut put = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        put(root.as_os_str().as_bytes());
        put(self.ignore_digest.as_bytes());
        put(if self.reach.is_some() { b"parts" } else { b"all" });
        for part in self.reach.iter().flatten() {
            put(part.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    /// Walks, reading only files that the store's stat cache does not know.
    pub fn scan(&self, store: &Store) -> Result<Scanned, ScanError> {
        let name = blake3::Hash::from_bytes(self.identity()).to_hex();
        let place = store.directory("contexts").join(name.as_str());
        // A cache that cannot be read is as good as none.
        let cache = std::fs::read(&place).map(StatCache::decode).unwrap_or_default();
        let filter = |path: &TreePath, is_dir: bool| self.choose(path, is_dir);
        let options = Options { filter: &filter, owner: Owner::Root, cache: Some(&cache), overlay: false };
        let (mut scanned, fresh) = refresh::whole(&self.root, &options)?;
        replace_sockets(&mut scanned.tree);
        if let Some(fresh) = fresh {
            // Without it the next build reads the files again, and nothing else is lost.
            let _ = store.write_file(&place, &fresh);
        }
        Ok(scanned)
    }

    fn refresh(&self, scanned: &mut Scanned, dirty: &Dirty) -> Result<Refreshed, ScanError> {
        let filter = |path: &TreePath, is_dir: bool| self.choose(path, is_dir);
        let options = Options { filter: &filter, owner: Owner::Root, cache: None, overlay: false };
        let refreshed = refresh::refresh(scanned, &self.root, &options, dirty)?;
        replace_sockets(&mut scanned.tree);
        Ok(refreshed)
    }

    /// Whether a link at or below one of the parts that are read leads to where nothing was read.
    pub fn leads_away(&self, source: &SourceTree) -> bool {
        let Some(parts) = &self.reach else { return false };
        let leads = |part: &TreePath| {
            source.tree.below(part).iter().any(|entry| {
                matches!(entry.kind, Kind::Symlink { .. })
                    && source
                        .resolve(&entry.path)
                        .is_ok_and(|real| source.tree.get(&real).is_none() && !real.starts_with(part))
            })
        };
        parts.iter().any(leads)
    }
}

/// A socket of the context is an empty file, because that is what Docker's transfer of a context makes of it.
fn replace_sockets(tree: &mut Tree) {
    if tree.entries().iter().all(|entry| entry.kind != Kind::Socket) {
        return;
    }
    let empty = Kind::File { size: 0, content: blake3::hash(b"").into() };
    let file = |entry: Entry| match entry.kind {
        Kind::Socket => Entry { kind: empty.clone(), ..entry },
        _ => entry,
    };
    *tree = Tree::new(std::mem::take(tree).into_entries().into_iter().map(file).collect());
}

/// What was found, and by which walk.
pub(crate) struct Kept {
    /// The walk that was asked for; it may have led to a wider one.
    pub asked: [u8; 32],
    pub walk: Walk,
    pub source: Arc<SourceTree>,
    /// All directories that were walked, the root apart.
    pub dirs: BTreeSet<TreePath>,
}

/// What a change on the disk came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    /// These paths differ from what was known.
    Paths(Vec<TreePath>),
    /// Nothing is known any more: the next build scans.
    Lost,
}

/// Called after each scan.
type Listener = Arc<dyn Fn() + Send + Sync>;

/// The files of a context as they were last seen; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Memory {
    kept: Arc<Mutex<Option<Kept>>>,
    listener: Option<Listener>,
}

/// The memories of a build's contexts; clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Memories {
    main: Memory,
    named: Arc<Mutex<BTreeMap<String, Memory>>>,
}

impl Memories {
    /// Ones that tell of each scan.
    pub fn telling(listener: impl Fn() + Send + Sync + 'static) -> Self {
        Memories { main: Memory { kept: Arc::default(), listener: Some(Arc::new(listener)) }, named: Arc::default() }
    }

    /// That of the main context.
    pub fn main(&self) -> Memory {
        self.main.clone()
    }

    /// That of a named one.
    pub fn named(&self, name: &str) -> Memory {
        let mut named = self.named.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Memory { kept: Arc::default(), listener: self.main.listener.clone() };
        named.entry(name.to_owned()).or_insert_with(new).clone()
    }
}

impl Memory {
    pub fn lock(&self) -> MutexGuard<'_, Option<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The files that `walk` finds: those that are known, or those of a scan.
    pub fn source(&self, walk: Walk, store: &Store) -> Result<Arc<SourceTree>, ScanError> {
        let mut kept = self.lock();
        let asked = walk.identity();
        if let Some(known) = kept.as_ref().filter(|known| known.asked == asked) {
            return Ok(known.source.clone());
        }
        *kept = None;
        let source = |scanned: Scanned| {
            let Scanned { tree, links, facts, dirs } = scanned;
            (Arc::new(SourceTree { tree, links, facts }), dirs)
        };
        let (mut source_tree, mut dirs) = source(walk.scan(store)?);
        let mut walk = walk;
        if walk.leads_away(&source_tree) {
            // A link among the sources leads where nothing was read: all of it is read then.
            walk.reach = None;
            (source_tree, dirs) = source(walk.scan(store)?);
        }
        *kept = Some(Kept { asked, walk, source: source_tree.clone(), dirs });
        drop(kept);
        if let Some(listener) = &self.listener {
            listener();
        }
        Ok(source_tree)
    }

    /// Looks at what may have changed.
    pub fn refresh(&self, dirty: &Dirty) -> Change {
        self.update(|walk, scanned| match walk.refresh(scanned, dirty) {
            Ok(Refreshed::Changed(paths)) => Some(paths),
            Ok(Refreshed::Unclear) | Err(_) => None,
        })
    }

    /// Looks at everything.
    pub fn rescan(&self, store: &Store) -> Change {
        self.update(|walk, scanned| {
            let fresh = walk.scan(store).ok()?;
            let changed = refresh::difference(scanned.tree.entries(), fresh.tree.entries());
            *scanned = fresh;
            Some(changed)
        })
    }

    fn update(&self, act: impl FnOnce(&Walk, &mut Scanned) -> Option<Vec<TreePath>>) -> Change {
        let mut kept = self.lock();
        let Some(Kept { asked, walk, source, dirs }) = kept.take() else { return Change::Lost };
        // A build that runs keeps what it was given.
        let SourceTree { tree, links, facts } = Arc::try_unwrap(source).unwrap_or_else(|shared| (*shared).clone());
        let mut scanned = Scanned { tree, links, facts, dirs };
        let Some(changed) = act(&walk, &mut scanned) else { return Change::Lost };
        let Scanned { tree, links, facts, dirs } = scanned;
        let source = Arc::new(SourceTree { tree, links, facts });
        if !changed.is_empty() && walk.leads_away(&source) {
            return Change::Lost;
        }
        *kept = Some(Kept { asked, walk, source, dirs });
        Change::Paths(changed)
    }
}
