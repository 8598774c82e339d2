//! What goes and why the rest stays. Pure: facts and a request in, a list out.

use super::facts::{Facts, Thing};
use crate::api::{Kept, PruneReport, PruneRequest, Pruned};
use crate::digest::{LayerId, Sha256};
use crate::store::Used;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;

/// What no database entry tells of may be on its way into the store: so long it is left alone.
const GRACE_SECONDS: i64 = 3600;

const DAY_SECONDS: i64 = 24 * 3600;

const IN_USE: &str = "in use by a running build";
const NEXT_BUILD: &str = "the next build would use it (--all takes it)";
const LAST_BUILD: &str = "the last build of its project, which the next one is compared with";
const SMALL_ENOUGH: &str = "the store is within --keep-storage";
const NEW: &str = "written within the last hour";

/// One thing that goes. Numbers are places in the facts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Item {
    Record(usize),
    Image(usize),
    /// A layer's entry in the database with its listing, and its directory where no other layer needs that.
    Layer {
        id: LayerId,
        with_dir: bool,
    },
    /// A directory of a layer.
    LayerDir(LayerId),
    Listing(LayerId),
    Blob(Sha256),
    Cache(String),
    Context(String),
    Host(String),
    Log(String),
    /// The record of a build: its project's directory and its name.
    Build(String, String),
    Remains(PathBuf),
}

/// What goes together, or stays together where a part of it is in use.
pub(super) struct Unit {
    pub items: Vec<Removal>,
}

/// One thing that goes, as it is told.
pub(super) struct Removal {
    pub item: Item,
    pub size: u64,
    pub what: String,
}

/// What goes, in its order, and why the rest stays.
#[derive(Default)]
pub(super) struct Decision {
    pub units: Vec<Unit>,
    kept: BTreeMap<String, (u64, u64)>,
}

impl Decision {
    pub fn keep(&mut self, reason: impl Into<String>, size: u64) {
        let (count, bytes) = self.kept.entry(reason.into()).or_default();
        *count += 1;
        *bytes += size;
    }

    /// A unit that cannot go after all.
    pub fn keep_unit(&mut self, unit: &Unit) {
        for removal in &unit.items {
            self.keep(IN_USE, removal.size);
        }
    }

    pub fn report(&self, facts: &Facts) -> PruneReport {
        let items = || self.units.iter().flat_map(|unit| &unit.items);
        let on_disk = |removal: &&Removal| !matches!(removal.item, Item::Record(_) | Item::Image(_));
        let from_disk: u64 = items().filter(on_disk).map(|removal| removal.size).sum();
        let kept = self.kept.iter().map(|(reason, &(count, size))| Kept { reason: reason.clone(), count, size });
        let mut kept: Vec<Kept> = kept.collect();
        kept.sort_by(|a, b| b.size.cmp(&a.size).then_with(|| a.reason.cmp(&b.reason)));
        PruneReport {
            removed: items().map(|removal| removal.told(facts)).collect(),
            kept,
            freed: items().map(|removal| removal.size).sum(),
            remaining: facts.total().saturating_sub(from_disk),
        }
    }
}

impl Removal {
    fn told(&self, facts: &Facts) -> Pruned {
        let (kind, name) = match &self.item {
            Item::Record(index) => ("record", facts.records[*index].key.to_string()),
            Item::Image(index) => ("image", facts.images[*index].key.to_string()),
            Item::Layer { id, .. } => ("layer", id.to_string()),
            Item::LayerDir(id) => ("layer", id.to_string()),
            Item::Listing(id) => ("listing", id.to_string()),
            Item::Blob(digest) => ("blob", digest.to_string()),
            Item::Cache(name) => ("cache mount", name.clone()),
            Item::Context(name) => ("stat cache", name.clone()),
            Item::Host(name) => ("host base", name.clone()),
            Item::Log(name) => ("log", name.clone()),
            Item::Build(_, name) => ("build", name.rsplit('-').next().unwrap_or(name).to_owned()),
            Item::Remains(path) => ("file", path.file_name().unwrap_or_default().to_string_lossy().into_owned()),
        };
        Pruned { kind: kind.to_owned(), name, size: self.size, what: self.what.clone() }
    }
}

/// Who may be removed, with what would go with it.
enum Holder {
    Record(usize),
    Image(usize),
    /// A layer that nobody has.
    Orphan(LayerId),
}

struct Deciding<'a> {
    facts: &'a Facts,
    request: &'a PruneRequest,
    now: i64,
    in_use: &'a dyn Fn(&[u8; 32]) -> bool,
    /// How many that have not gone have a layer.
    holders: HashMap<LayerId, usize>,
    /// How many layers that have not gone consist of a directory.
    dir_users: HashMap<LayerId, usize>,
    /// What people know a layer by.
    names: HashMap<LayerId, String>,
    /// The layers of named images, each with one of them.
    named: HashMap<LayerId, &'a str>,
    gone: HashSet<LayerId>,
    remaining: u64,
    decision: Decision,
}

/// Decides. `in_use` says whether a running process has pinned what has a digest.
pub(super) fn decide(facts: &Facts, request: &PruneRequest, now: i64, in_use: &dyn Fn(&[u8; 32]) -> bool) -> Decision {
    let mut deciding = Deciding {
        facts,
        request,
        now,
        in_use,
        holders: HashMap::new(),
        dir_users: HashMap::new(),
        names: HashMap::new(),
        named: HashMap::new(),
        gone: HashSet::new(),
        remaining: facts.total(),
        decision: Decision::default(),
    };
    deciding.count();
    deciding.layers();
    deciding.blobs();
    deciding.rest();
    deciding.kept_layers();
    deciding.decision
}

/// When something was last of use, in words.
fn used_words(age_seconds: i64) -> String {
    match age_seconds.div_euclid(DAY_SECONDS) {
        i64::MIN..=0 => "used within the last day".to_owned(),
        1 => "used a day ago".to_owned(),
        days => format!("used {days} days ago"),
    }
}

impl<'a> Deciding<'a> {
    fn count(&mut self) {
        for record in &self.facts.records {
            *self.holders.entry(record.layer).or_default() += 1;
            self.names.entry(record.layer).or_insert_with(|| record.name.clone());
        }
        for image in &self.facts.images {
            for layer in &image.layers {
                *self.holders.entry(*layer).or_default() += 1;
                if let Some(name) = image.names.first() {
                    self.named.entry(*layer).or_insert(name);
                    self.names.entry(*layer).or_insert_with(|| name.clone());
                }
            }
        }
        for dir in self.facts.layers.values().flat_map(|layer| &layer.dirs) {
            *self.dir_users.entry(*dir).or_default() += 1;
        }
    }

    /// Why something of this age has to stay, whatever else speaks for its going.
    fn too_young(&self, used: i64) -> Option<String> {
        let age = self.now - used;
        let limit = i64::try_from(self.request.older_than?.as_secs()).unwrap_or(i64::MAX);
        (age < limit).then(|| used_words(age))
    }

    fn small_enough(&self) -> bool {
        self.request.keep_storage.is_some_and(|limit| self.remaining <= limit)
    }

    /// Who of those that have layers may go, the longest unused first; the others stay.
    fn candidates(&mut self) -> Vec<(i64, Holder)> {
        let mut candidates = Vec::new();
        let facts = self.facts;
        for (index, record) in facts.records.iter().enumerate() {
            let reason = match self.named.get(&record.layer) {
                Some(name) if record.newest || self.request.all => Some(format!("needed by {name}")),
                _ if record.newest && !self.request.all => Some(NEXT_BUILD.to_owned()),
                _ => self.too_young(record.used),
            };
            match reason {
                Some(reason) => self.decision.keep(reason, record.size),
                None => candidates.push((record.used, Holder::Record(index))),
            }
        }
        for (index, image) in facts.images.iter().enumerate().filter(|(_, image)| image.names.is_empty()) {
            match self.too_young(image.created) {
                Some(reason) => self.decision.keep(reason, 0),
                None => candidates.push((image.created, Holder::Image(index))),
            }
        }
        for (id, layer) in &facts.layers {
            if self.holders.get(id).copied().unwrap_or_default() == 0 {
                candidates.push((layer.created, Holder::Orphan(*id)));
            }
        }
        candidates.sort_by_key(|(used, holder)| {
            let order = match holder {
                Holder::Record(index) => (0, *index, None),
                Holder::Image(index) => (1, *index, None),
                Holder::Orphan(id) => (2, 0, Some(*id)),
            };
            (*used, order)
        });
        candidates
    }

    /// Records, images without a name, and the layers that then nobody has.
    fn layers(&mut self) {
        for (used, holder) in self.candidates() {
            let (mine, layers) = match &holder {
                Holder::Record(index) => {
                    let record = &self.facts.records[*index];
                    let removal = Removal { item: Item::Record(*index), size: record.size, what: record.name.clone() };
                    (Some(removal), vec![record.layer])
                }
                Holder::Image(index) => {
                    let image = &self.facts.images[*index];
                    let what = "an image without a name".to_owned();
                    (Some(Removal { item: Item::Image(*index), size: 0, what }), image.layers.clone())
                }
                Holder::Orphan(id) => {
                    if let Some(reason) = self.too_young(used) {
                        self.decision.keep(reason, self.own_size(*id));
                        continue;
                    }
                    (None, vec![*id])
                }
            };
            let size = mine.as_ref().map_or(0, |removal| removal.size);
            if self.small_enough() {
                let size = if mine.is_some() { size } else { layers.iter().map(|id| self.own_size(*id)).sum() };
                self.decision.keep(SMALL_ENOUGH, size);
                continue;
            }
            let image_in_use = match &holder {
                Holder::Image(index) => (self.in_use)(self.facts.images[*index].key.as_bytes()),
                _ => false,
            };
            let last: HashSet<LayerId> = layers.iter().copied().filter(|id| self.is_last(*id, &layers)).collect();
            if image_in_use || last.iter().any(|id| (self.in_use)(id.as_bytes())) {
                self.decision.keep(IN_USE, size + last.iter().map(|id| self.own_size(*id)).sum::<u64>());
                continue;
            }
            let mut items: Vec<Removal> = mine.into_iter().collect();
            for layer in layers {
                if let Some(count) = self.holders.get_mut(&layer) {
                    *count -= 1;
                }
            }
            for layer in last {
                self.remove_layer(layer, &mut items);
            }
            let on_disk = items.iter().filter(|removal| !matches!(removal.item, Item::Record(_)));
            self.remaining = self.remaining.saturating_sub(on_disk.map(|removal| removal.size).sum());
            self.decision.units.push(Unit { items });
        }
    }

    /// Whether nobody has a layer once this holder of `layers` is gone.
    fn is_last(&self, id: LayerId, layers: &[LayerId]) -> bool {
        let mine = layers.iter().filter(|other| **other == id).count();
        self.facts.layers.contains_key(&id) && self.holders.get(&id).copied().unwrap_or_default() <= mine
    }

    fn remove_layer(&mut self, id: LayerId, items: &mut Vec<Removal>) {
        self.gone.insert(id);
        let what = self.names.get(&id).cloned().unwrap_or_else(|| "nothing".to_owned());
        let listing = self.facts.listings.get(&id).map_or(0, |thing| thing.size);
        let Some(layer) = self.facts.layers.get(&id) else { return };
        let mut size = listing;
        let mut with_dir = false;
        let mut dirs = Vec::new();
        for dir in &layer.dirs {
            let users = self.dir_users.entry(*dir).or_default();
            *users = users.saturating_sub(1);
            if *users > 0 {
                continue;
            }
            let bytes = self.facts.layer_dirs.get(dir).map_or(0, |thing| thing.size);
            match *dir == id {
                // One row for a layer that is one directory.
                true => {
                    size += bytes;
                    with_dir = true;
                }
                false => dirs.push(Removal { item: Item::LayerDir(*dir), size: bytes, what: what.clone() }),
            }
        }
        items.push(Removal { item: Item::Layer { id, with_dir }, size, what });
        items.extend(dirs);
    }

    /// The bytes that only this layer has.
    fn own_size(&self, id: LayerId) -> u64 {
        let listing = self.facts.listings.get(&id).map_or(0, |thing| thing.size);
        let own = |dir: &&LayerId| self.dir_users.get(*dir).copied().unwrap_or_default() <= 1;
        let dirs = self.facts.layers.get(&id).map(|layer| layer.dirs.as_slice()).unwrap_or_default();
        let sizes = dirs.iter().filter(own).filter_map(|dir| self.facts.layer_dirs.get(dir));
        listing + sizes.map(|thing| thing.size).sum::<u64>()
    }

    /// Tars: those of images that stay, and those that were packed of layers that stay.
    fn blobs(&mut self) {
        let facts = self.facts;
        let gone_images: HashSet<usize> = self.removed_images();
        let mut needed: HashMap<Sha256, String> = HashMap::new();
        let kept = facts.images.iter().enumerate().filter(|(index, _)| !gone_images.contains(index));
        for (_, image) in kept {
            let reason = image.names.first().map_or_else(|| NEXT_BUILD.to_owned(), |name| format!("needed by {name}"));
            for digest in &image.blobs {
                needed.entry(*digest).or_insert_with(|| reason.clone());
            }
        }
        let mut of: HashMap<Sha256, String> = HashMap::new();
        for (layer, _, digest) in &facts.packed {
            of.entry(*digest).or_insert_with(|| self.names.get(layer).cloned().unwrap_or_default());
            if !self.request.all && !self.gone.contains(layer) && facts.layers.contains_key(layer) {
                needed.entry(*digest).or_insert_with(|| NEXT_BUILD.to_owned());
            }
        }
        let mut blobs: Vec<(Sha256, Thing, i64)> = facts
            .blobs
            .iter()
            .map(|(digest, thing)| {
                let used = facts.uses.get(&Used::Blob(*digest)).copied().unwrap_or_default();
                (*digest, *thing, used.max(thing.changed))
            })
            .collect();
        blobs.sort_by_key(|(digest, _, used)| (*used, *digest));
        for (digest, thing, used) in blobs {
            let what = of.get(&digest).cloned().unwrap_or_else(|| "nothing".to_owned());
            let known = of.contains_key(&digest) || facts.images.iter().any(|image| image.blobs.contains(&digest));
            let removal = Removal { item: Item::Blob(digest), size: thing.size, what };
            self.loose(removal, needed.get(&digest).cloned(), used, known, Some(digest.as_bytes()));
        }
    }

    fn removed_images(&self) -> HashSet<usize> {
        let items = self.decision.units.iter().flat_map(|unit| &unit.items);
        items.filter_map(|removal| if let Item::Image(index) = removal.item { Some(index) } else { None }).collect()
    }

    fn removed_records(&self) -> HashSet<usize> {
        let items = self.decision.units.iter().flat_map(|unit| &unit.items);
        items.filter_map(|removal| if let Item::Record(index) = removal.item { Some(index) } else { None }).collect()
    }

    /// Something that goes alone, unless there is a reason.
    fn loose(&mut self, removal: Removal, reason: Option<String>, used: i64, known: bool, pin: Option<&[u8; 32]>) {
        let reason = reason
            .or_else(|| self.too_young(used))
            .or_else(|| (!known && self.now - used < GRACE_SECONDS).then(|| NEW.to_owned()))
            .or_else(|| self.small_enough().then(|| SMALL_ENOUGH.to_owned()))
            .or_else(|| pin.is_some_and(|digest| (self.in_use)(digest)).then(|| IN_USE.to_owned()));
        match reason {
            Some(reason) => self.decision.keep(reason, removal.size),
            None => {
                self.remaining = self.remaining.saturating_sub(removal.size);
                self.decision.units.push(Unit { items: vec![removal] });
            }
        }
    }

    /// Cache mounts, stat caches, skeletons of the host, logs, and what nothing tells of.
    fn rest(&mut self) {
        let facts = self.facts;
        let next_build = || (!self.request.all).then(|| NEXT_BUILD.to_owned());
        let reason = next_build();
        for (name, thing) in sorted(&facts.caches) {
            let digest = digest_of(name);
            let used = digest.and_then(|digest| facts.uses.get(&Used::Cache(digest))).copied().unwrap_or_default();
            let what = "RUN --mount=type=cache".to_owned();
            let removal = Removal { item: Item::Cache(name.clone()), size: thing.size, what };
            self.loose(removal, reason.clone(), used.max(thing.changed), true, digest.as_ref());
        }
        for (name, thing) in sorted(&facts.contexts) {
            let what = "the digests of a context's files".to_owned();
            let removal = Removal { item: Item::Context(name.clone()), size: thing.size, what };
            self.loose(removal, reason.clone(), thing.changed, true, None);
        }
        let newest = facts.hosts.values().map(|thing| thing.changed).max();
        for (name, thing) in sorted(&facts.hosts) {
            let reason = reason.clone().filter(|_| Some(thing.changed) == newest);
            let removal = Removal { item: Item::Host(name.clone()), size: thing.size, what: "FROM kiln/host".into() };
            self.loose(removal, reason, thing.changed, false, digest_of(name).as_ref());
        }
        let gone = self.removed_records();
        let kept_records = || facts.records.iter().enumerate().filter(|(index, _)| !gone.contains(index));
        let logged: HashSet<String> = kept_records().map(|(_, record)| record.key.to_hex()).collect();
        for (name, thing) in sorted(&facts.logs).into_iter().filter(|(name, _)| !logged.contains(*name)) {
            let removal = Removal { item: Item::Log(name.clone()), size: thing.size, what: "a record".to_owned() };
            self.loose(removal, None, thing.changed, false, None);
        }
        let last: HashMap<&str, &str> =
            sorted(&facts.builds).into_iter().map(|((project, name), _)| (project.as_str(), name.as_str())).collect();
        for ((project, name), thing) in sorted(&facts.builds) {
            let is_last = last.get(project.as_str()) == Some(&name.as_str());
            let keeps = reason.clone().or_else(|| is_last.then(|| LAST_BUILD.to_owned()));
            let item = Item::Build(project.clone(), name.clone());
            let removal = Removal { item, size: thing.size, what: "what a build did and why".to_owned() };
            self.loose(removal, keeps, thing.changed, true, None);
        }
        let explaining: HashSet<LayerId> =
            kept_records().flat_map(|(_, record)| record.listings.iter().copied()).collect();
        for (id, thing) in sorted(&facts.listings) {
            if explaining.contains(id) || facts.layers.contains_key(id) {
                continue;
            }
            let removal = Removal { item: Item::Listing(*id), size: thing.size, what: "a record".to_owned() };
            self.loose(removal, None, thing.changed, false, Some(id.as_bytes()));
        }
        for (id, thing) in sorted(&facts.layer_dirs) {
            if self.dir_users.contains_key(id) {
                continue;
            }
            let what = "a build that was killed".to_owned();
            let removal = Removal { item: Item::LayerDir(*id), size: thing.size, what };
            self.loose(removal, None, thing.changed, false, Some(id.as_bytes()));
        }
        for (path, thing) in sorted(&facts.remains) {
            let what = "a build that was killed".to_owned();
            let removal = Removal { item: Item::Remains(path.clone()), size: thing.size, what };
            self.loose(removal, None, thing.changed, false, None);
        }
    }

    /// Why each layer that stays does so: a named image's, else that of a record.
    fn kept_layers(&mut self) {
        let gone = self.removed_records();
        let gone_images = self.removed_images();
        let images = self.facts.images.iter().enumerate().filter(|(index, _)| !gone_images.contains(index));
        let by_image: HashSet<LayerId> = images.flat_map(|(_, image)| image.layers.iter().copied()).collect();
        let mut by_record: HashMap<LayerId, (bool, i64)> = HashMap::new();
        for (_, record) in self.facts.records.iter().enumerate().filter(|(index, _)| !gone.contains(index)) {
            let (newest, used) = by_record.entry(record.layer).or_default();
            *newest |= record.newest;
            *used = (*used).max(record.used);
        }
        let mut kept: Vec<LayerId> = self.facts.layers.keys().copied().filter(|id| !self.gone.contains(id)).collect();
        kept.sort_unstable();
        for id in kept {
            let reason = match (self.named.get(&id), by_record.get(&id)) {
                (Some(name), _) => format!("needed by {name}"),
                (None, Some((true, _))) if !self.request.all => NEXT_BUILD.to_owned(),
                (None, Some((_, used))) => match self.too_young(*used) {
                    Some(reason) => reason,
                    // Its record was kept for one of these reasons.
                    None if (self.in_use)(id.as_bytes()) => IN_USE.to_owned(),
                    None => SMALL_ENOUGH.to_owned(),
                },
                (None, None) if by_image.contains(&id) => "needed by an image without a name".to_owned(),
                // Nobody's: counted where it was decided.
                (None, None) => continue,
            };
            self.decision.keep(reason, self.own_size(id));
        }
    }
}

fn sorted<K: Ord, V>(map: &HashMap<K, V>) -> Vec<(&K, &V)> {
    let mut all: Vec<(&K, &V)> = map.iter().collect();
    all.sort_by(|a, b| a.0.cmp(b.0));
    all
}

/// The digest that a directory's name begins with.
fn digest_of(name: &str) -> Option<[u8; 32]> {
    let hex = name.get(..64)?;
    Some(*LayerId::from_hex(hex)?.as_bytes())
}
