//! What the store has: its database, and the directories and files on the disk, each with its size and age.
//!
//! Reads only. Knows nothing of what should go.

use crate::digest::{ImageKey, KeyId, LayerId, Sha256, StepId};
use crate::key::Value;
use crate::store::builds::{Steps, owner_of_steps};
use crate::store::{Store, StoreError, Used, io_at};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// An image.
pub(super) struct Image {
    pub key: ImageKey,
    /// Its names as people write them, sorted.
    pub names: Vec<String>,
    pub layers: Vec<LayerId>,
    /// The tars that it was pulled with.
    pub blobs: Vec<Sha256>,
    pub created: i64,
}

/// A step's record.
pub(super) struct StepRecord {
    pub key: KeyId,
    pub layer: LayerId,
    /// What the step is called.
    pub name: String,
    /// Bytes in the database.
    pub size: u64,
    pub used: i64,
    /// Whether a step has none that is newer.
    pub newest: bool,
    /// The listings that explain it.
    pub listings: Vec<LayerId>,
}

/// A layer of the database.
pub(super) struct LayerFacts {
    pub dirs: Vec<LayerId>,
    pub created: i64,
}

/// Something on the disk.
#[derive(Clone, Copy)]
pub(super) struct Thing {
    pub size: u64,
    /// When it got here or was last written; seconds since 1970.
    pub changed: i64,
}

/// All of it.
#[derive(Default)]
pub(super) struct Facts {
    pub images: Vec<Image>,
    pub records: Vec<StepRecord>,
    pub steps: Vec<(StepId, Vec<KeyId>)>,
    pub layers: HashMap<LayerId, LayerFacts>,
    /// Packed tars: the layer, the variant and the blob.
    pub packed: Vec<(LayerId, Vec<u8>, Sha256)>,
    pub uses: HashMap<Used, i64>,
    pub layer_dirs: HashMap<LayerId, Thing>,
    pub listings: HashMap<LayerId, Thing>,
    pub blobs: HashMap<Sha256, Thing>,
    /// By the name of the directory.
    pub caches: HashMap<String, Thing>,
    pub contexts: HashMap<String, Thing>,
    pub hosts: HashMap<String, Thing>,
    pub logs: HashMap<String, Thing>,
    /// Records of builds, each by its project's directory and its own name; names of one project sort by time.
    pub builds: HashMap<(String, String), Thing>,
    /// Files that a kill left half-written.
    pub remains: HashMap<PathBuf, Thing>,
}

impl Facts {
    /// Reads all of it. What comes or goes meanwhile is seen or not, and the removal looks again.
    pub fn read(store: &Store) -> Result<Facts, StoreError> {
        let mut facts = Facts { uses: store.db().last_uses()?, ..Facts::default() };
        facts.read_unchanged_builds(store)?;
        facts.read_disk(store)?;
        let mut names = super::super::images::names_with_members(store)?;
        for (key, image) in store.db().images()? {
            let names = names.remove(&key).unwrap_or_default();
            facts.images.push(Image {
                key,
                names: names.iter().map(|name| super::super::find::familiar(name)).collect(),
                layers: image.layers.iter().map(|layer| layer.id).collect(),
                blobs: image.layers.iter().filter_map(|layer| Some(layer.blob.as_ref()?.digest)).collect(),
                created: image.created,
            });
        }
        for (key, index) in store.db().indexes()? {
            let names = names.remove(&key).unwrap_or_default();
            let names = names.iter().map(|name| super::super::find::familiar(name)).collect();
            // Its layers are its images'.
            facts.images.push(Image { key, names, layers: Vec::new(), blobs: Vec::new(), created: index.created });
        }
        facts.steps = store.db().steps()?;
        facts.read_records(store)?;
        for (id, meta) in store.db().layers()? {
            facts.layers.insert(id, LayerFacts { dirs: meta.dirs, created: meta.created });
        }
        for ((layer, variant), blob) in store.db().all_packed()? {
            facts.packed.push((layer, variant, blob.digest));
        }
        Ok(facts)
    }

    /// The uses that are noted nowhere else: a build in which nothing changed used the records of all its steps.
    fn read_unchanged_builds(&mut self, store: &Store) -> Result<(), StoreError> {
        let mut known = HashSet::new();
        // The newest comes first: of those that share their steps only that one matters.
        for stored in store.builds()? {
            let is_unchanged = store.head(&stored)?.is_some_and(|head| head.is_unchanged);
            if !is_unchanged || store.place_of_steps(&stored).is_none_or(|place| !known.insert(place)) {
                continue;
            }
            let Some(data) = store.steps(&stored)? else { continue };
            let Some(steps) = Steps::read(&data) else { continue };
            let at = stored.started_nanos.div_euclid(1_000_000_000);
            for key in (0..steps.len()).filter_map(|step| steps.key(step)) {
                let used = self.uses.entry(Used::Record(key)).or_default();
                *used = at.max(*used);
            }
        }
        Ok(())
    }

    fn read_records(&mut self, store: &Store) -> Result<(), StoreError> {
        let records = store.db().records()?;
        let known: HashSet<KeyId> = records.iter().map(|(key, _)| *key).collect();
        let newest: HashSet<KeyId> =
            self.steps.iter().filter_map(|(_, keys)| keys.iter().find(|key| known.contains(*key)).copied()).collect();
        for (key, record) in records {
            let made = record.created_nanos.div_euclid(1_000_000_000);
            let listings = record.components.iter().filter_map(|component| match component.value {
                Value::Files { tree, .. } => Some(tree),
                _ => None,
            });
            self.records.push(StepRecord {
                key,
                layer: record.layer,
                size: postcard::to_stdvec(&record).map_or(0, |bytes| bytes.len() as u64),
                used: self.uses.get(&Used::Record(key)).copied().unwrap_or_default().max(made),
                newest: newest.contains(&key),
                listings: listings.collect(),
                name: record.name,
            });
        }
        Ok(())
    }

    fn read_disk(&mut self, store: &Store) -> Result<(), StoreError> {
        let by_digest = |name: &str, deep: bool| -> Result<HashMap<LayerId, Thing>, StoreError> {
            let all = things(&store.directory(name), deep)?;
            Ok(all.into_iter().filter_map(|(name, thing)| Some((LayerId::from_hex(&name)?, thing))).collect())
        };
        self.layer_dirs = by_digest("layers", true)?;
        self.listings = by_digest("trees", false)?;
        for (name, thing) in things(&store.directory("blobs"), false)? {
            match Sha256::parse(&format!("sha256:{name}")) {
                Some(digest) => drop(self.blobs.insert(digest, thing)),
                None => drop(self.remains.insert(store.directory("blobs").join(name), thing)),
            }
        }
        self.caches = things(&store.directory("caches"), true)?;
        self.contexts = things(&store.directory("contexts"), false)?;
        self.hosts = things(&store.directory("host"), true)?;
        self.logs = things(&store.directory("logs"), false)?;
        let builds = store.directory("builds");
        for project in things(&builds, false)?.into_keys() {
            let mut all = things(&builds.join(&project), false)?;
            let steps: Vec<(String, Thing)> = all.extract_if(|name, _| owner_of_steps(name).is_some()).collect();
            for (name, thing) in steps {
                // A build and its steps go together.
                match owner_of_steps(&name).and_then(|owner| all.get_mut(owner)) {
                    Some(build) => build.size += thing.size,
                    None => drop(self.remains.insert(builds.join(&project).join(&name), thing)),
                }
            }
            self.builds.extend(all.into_iter().map(|(name, thing)| ((project.clone(), name), thing)));
        }
        Ok(())
    }

    /// The bytes of everything on the disk.
    pub fn total(&self) -> u64 {
        let sum = |things: &mut dyn Iterator<Item = &Thing>| things.map(|thing| thing.size).sum::<u64>();
        sum(&mut self.layer_dirs.values())
            + sum(&mut self.listings.values())
            + sum(&mut self.blobs.values())
            + sum(&mut self.caches.values())
            + sum(&mut self.contexts.values())
            + sum(&mut self.hosts.values())
            + sum(&mut self.logs.values())
            + sum(&mut self.builds.values())
            + sum(&mut self.remains.values())
    }
}

/// What is in a directory of the store; with `deep`, each with all that is below it.
fn things(dir: &Path, deep: bool) -> Result<HashMap<String, Thing>, StoreError> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(io_at("failed to list", dir)(error)),
    };
    let names: Vec<(String, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .collect();
    // What is gone by now is not there.
    let measured = names.into_par_iter().filter_map(|(name, path)| {
        let meta = fs::symlink_metadata(&path).ok()?;
        // Each name of a file has its share.
        let size = if deep && meta.is_dir() { bytes_below(&path) } else { meta.len() / meta.nlink().max(1) };
        Some((name, Thing { size, changed: meta.ctime() }))
    });
    Ok(measured.collect())
}

/// The sizes of all regular files below a directory; what cannot be read counts nothing.
fn bytes_below(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let entries: Vec<fs::DirEntry> = entries.filter_map(Result::ok).collect();
    let size = |entry: &fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => bytes_below(&entry.path()),
        // Each name of a file has its share.
        Ok(meta) if meta.is_file() => meta.len() / meta.nlink().max(1),
        _ => 0,
    };
    entries.par_iter().map(size).sum()
}
