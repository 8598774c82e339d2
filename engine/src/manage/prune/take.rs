//! Removes what was decided, each thing only while nobody else uses it.
//!
//! The database forgets a thing before it goes from the disk, and a directory is renamed into `tmp` before
//! it is emptied: a kill at any instant leaves nothing that is half there under its name.

use super::decide::{Decision, Item, Unit};
use super::facts::Facts;
use crate::digest::KeyId;
use crate::store::builds::remove as remove_build;
use crate::store::{Pins, Store, StoreError, Used, io_at};
use rayon::prelude::*;
use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// A collection that runs.
pub(super) struct Collector<'a> {
    store: &'a Store,
    pins: Pins,
}

impl<'a> Collector<'a> {
    pub fn new(store: &'a Store) -> Result<Self, StoreError> {
        Ok(Collector { store, pins: Pins::open(store.root())? })
    }

    /// Whether somebody uses it now. What cannot be asked is in use.
    pub fn is_in_use(&self, digest: &[u8; 32]) -> bool {
        match self.pins.take(digest) {
            Ok(true) => self.pins.give_back(digest).is_err(),
            _ => true,
        }
    }

    /// Removes all units; one that is in use by now moves to what is kept.
    pub fn remove(&self, facts: &Facts, decision: &mut Decision) -> Result<(), StoreError> {
        let mut removed: HashSet<KeyId> = HashSet::new();
        let mut left: Vec<PathBuf> = Vec::new();
        for unit in std::mem::take(&mut decision.units) {
            match self.remove_unit(facts, &unit, &mut left)? {
                true => {
                    let records = unit.items.iter().filter_map(|removal| match removal.item {
                        Item::Record(index) => Some(facts.records[index].key),
                        _ => None,
                    });
                    removed.extend(records);
                    decision.units.push(unit);
                }
                false => decision.keep_unit(&unit),
            }
        }
        let steps = facts.steps.iter().filter(|(_, keys)| keys.iter().all(|key| removed.contains(key)));
        for (step, _) in steps {
            self.store.db().remove_step(*step)?;
        }
        self.store.flush()?;
        // Nothing knows these any more.
        left.par_iter().try_for_each(|path| empty(path))
    }

    /// Takes a unit out of the store; what has to be deleted still is added to `left`. Says whether it went.
    fn remove_unit(&self, facts: &Facts, unit: &Unit, left: &mut Vec<PathBuf>) -> Result<bool, StoreError> {
        let mut taken: Vec<[u8; 32]> = Vec::new();
        let mut free = true;
        for digest in unit.items.iter().filter_map(|removal| pin_of(facts, &removal.item)) {
            free = self.pins.take(&digest)?;
            if !free {
                break;
            }
            taken.push(digest);
        }
        if free {
            for removal in &unit.items {
                self.forget(facts, &removal.item)?;
            }
            // A build that finds a thing in the database finds it on the disk too.
            self.store.flush()?;
            for removal in &unit.items {
                self.take_away(&removal.item, left)?;
            }
        }
        for digest in taken {
            self.pins.give_back(&digest)?;
        }
        Ok(free)
    }

    fn forget(&self, facts: &Facts, item: &Item) -> Result<(), StoreError> {
        let db = self.store.db();
        match item {
            Item::Record(index) => {
                let key = facts.records[*index].key;
                db.remove_record(key)?;
                db.remove_use(Used::Record(key))
            }
            Item::Image(index) => super::super::remove::forget_taken(self.store, facts.images[*index].key),
            Item::Layer { id, .. } => {
                db.remove_layer(*id)?;
                for (_, variant, _) in facts.packed.iter().filter(|(layer, _, _)| layer == id) {
                    db.remove_packed(*id, variant)?;
                }
                Ok(())
            }
            Item::Blob(digest) => db.remove_use(Used::Blob(*digest)),
            Item::Cache(name) => match name.get(..64).and_then(crate::digest::LayerId::from_hex) {
                Some(id) => db.remove_use(Used::Cache(*id.as_bytes())),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn take_away(&self, item: &Item, left: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        let at = |directory: &str, name: &str| self.store.directory(directory).join(name);
        match item {
            Item::Record(_) | Item::Image(_) => Ok(()),
            Item::Layer { id, with_dir } => {
                if *with_dir {
                    self.set_aside(&at("layers", &id.to_hex()), left)?;
                }
                delete(&at("trees", &id.to_hex()))
            }
            Item::LayerDir(id) => self.set_aside(&at("layers", &id.to_hex()), left),
            Item::Listing(id) => delete(&at("trees", &id.to_hex())),
            Item::Blob(digest) => delete(&self.store.blob_path(*digest)),
            Item::Cache(name) => self.set_aside(&at("caches", name), left),
            Item::Context(name) => delete(&at("contexts", name)),
            Item::Host(name) => self.set_aside(&at("host", name), left),
            Item::Log(name) => delete(&at("logs", name)),
            Item::Build(project, name) => {
                let path = at("builds", project).join(name);
                remove_build(&path).map(drop).map_err(io_at("failed to remove", &path))
            }
            Item::Remains(path) => delete(path),
        }
    }

    fn set_aside(&self, path: &Path, left: &mut Vec<PathBuf>) -> Result<(), StoreError> {
        let aside = self.store.session()?.unique("removed");
        match fs::rename(path, &aside) {
            Ok(()) => {
                left.push(aside);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(io_at("failed to move", path)(error)),
        }
    }
}

/// What a user of the item would have pinned.
fn pin_of(facts: &Facts, item: &Item) -> Option<[u8; 32]> {
    match item {
        Item::Image(index) => Some(*facts.images[*index].key.as_bytes()),
        Item::Layer { id, .. } | Item::LayerDir(id) | Item::Listing(id) => Some(*id.as_bytes()),
        Item::Blob(digest) => Some(*digest.as_bytes()),
        Item::Cache(name) | Item::Host(name) => {
            name.get(..64).and_then(crate::digest::LayerId::from_hex).map(|id| *id.as_bytes())
        }
        Item::Record(_) | Item::Context(_) | Item::Log(_) | Item::Build(..) | Item::Remains(_) => None,
    }
}

fn delete(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_at("failed to remove", path)(error)),
        _ => Ok(()),
    }
}

fn empty(path: &Path) -> Result<(), StoreError> {
    fs::remove_dir_all(path).map_err(io_at("failed to remove", path))
}
