//! The database: which record belongs to which key, which directories to which layer, which image
//! to which name.
//!
//! | table | key | value |
//! |---|---|---|
//! | records | [`KeyId`] | [`Record`] |
//! | steps | [`StepId`] | the last [`KeyId`]s, newest first |
//! | layers | [`LayerId`] | [`LayerMeta`] |
//! | packed | [`LayerId`] and options | [`BlobRef`] |
//! | memos | digest of a question | its answer's bytes |
//! | images | [`ImageKey`] | [`ImageRecord`] |
//! | indexes | [`ImageKey`] | [`IndexRecord`] |
//! | ids | [`Sha256`] image id | [`ImageKey`] |
//! | names | `docker.io/library/name:tag` | [`ImageKey`] |
//! | stacks | [`SnapshotId`] | the [`SnapshotId`] below its topmost layer, and that layer's [`LayerId`] |
//! | traces | [`KeyId`] of a record | a trace as [`crate::trace::codec`] has it, or what it follows from |
//! | epoch | nothing | how often something that a hit relies on was taken away or became another |
//! | used | a [`Used`] | when it was last of use, exact to a day; seconds since 1970 |
//!
//! Values are postcard. What is written goes to one thread, which commits what has gathered in one
//! transaction and syncs it, so that no step waits for the disk, and is read from the moment it is sent; a kill loses at most what was
//! not yet committed, never what was.

use super::pending::Pending;
use super::writer::{self, Write, Writer};
use super::{BlobRef, ImageRecord, IndexRecord, Record, StoreError};
use crate::digest::{ImageKey, KeyId, LayerId, Sha256, SnapshotId, StepId};
use crate::trace::{Trace, codec};
use heed::types::Bytes;
use heed::{Database, Env, EnvOpenOptions};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

/// Address space for the database; the file grows only as it is used. Enough for millions of records.
const MAP_SIZE_BYTES: usize = 64 << 30;

/// What the store knows of a layer besides its listing.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct LayerMeta {
    /// The names of the directories that hold its files, the topmost first: its own, and those of the
    /// layers to which that is a difference.
    pub dirs: Vec<LayerId>,
    /// The sum of its files' sizes, in bytes.
    pub size: u64,
    /// When it was made, in seconds since 1970.
    pub created: i64,
    /// The run of the kernel in which it was written.
    pub boot: [u8; 16],
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Table {
    Records,
    Steps,
    Layers,
    Packed,
    Memos,
    Images,
    Ids,
    Names,
    Used,
    Traces,
    Indexes,
    Stacks,
    Epoch,
}

const TABLES: [(Table, &str); 13] = [
    (Table::Records, "records"),
    (Table::Steps, "steps"),
    (Table::Layers, "layers"),
    (Table::Packed, "packed"),
    (Table::Memos, "memos"),
    (Table::Images, "images"),
    (Table::Ids, "ids"),
    (Table::Names, "names"),
    (Table::Used, "used"),
    (Table::Traces, "traces"),
    (Table::Indexes, "indexes"),
    (Table::Stacks, "stacks"),
    (Table::Epoch, "epoch"),
];

/// Something whose last use is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Used {
    /// The record under a key.
    Record(KeyId),
    /// The directory of a cache mount, by the digest that is its name.
    Cache([u8; 32]),
    /// A tar.
    Blob(Sha256),
}

impl Used {
    fn to_key(self) -> [u8; 33] {
        let (kind, digest) = match &self {
            Used::Record(key) => (b'r', key.as_bytes()),
            Used::Cache(name) => (b'c', name),
            Used::Blob(digest) => (b'b', digest.as_bytes()),
        };
        let mut key = [kind; 33];
        key[1..].copy_from_slice(digest);
        key
    }

    fn from_key(key: &[u8]) -> Option<Self> {
        let (kind, digest) = key.split_first()?;
        let digest: [u8; 32] = digest.try_into().ok()?;
        match kind {
            b'r' => Some(Used::Record(KeyId::from_bytes(digest))),
            b'c' => Some(Used::Cache(digest)),
            b'b' => Some(Used::Blob(Sha256::from_bytes(digest))),
            _ => None,
        }
    }
}

/// How exactly a last use is remembered: a busy record costs one write a day.
const USE_SECONDS: i64 = 24 * 3600;

/// An open database.
pub struct Db {
    path: PathBuf,
    env: Env,
    tables: Vec<Database<Bytes, Bytes>>,
    writer: Mutex<Option<Writer>>,
    /// What the writer was sent and has not committed.
    pending: Arc<Pending>,
    is_frozen: bool,
}

impl Db {
    /// Opens the database in the directory `path`, which exists.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Database { action: "open", path: path.to_path_buf(), source };
        let mut options = EnvOpenOptions::new();
        options.map_size(MAP_SIZE_BYTES).max_dbs(TABLES.len() as u32).max_readers(1024);
        #[expect(unsafe_code, reason = "heed maps the file: the store is written by kiln alone")]
        // SAFETY: the map is shared only with processes that change it through LMDB's own locking.
        let env = unsafe { options.open(path) }.map_err(failed)?;
        let read = env.read_txn().map_err(failed)?;
        let mut tables = Vec::with_capacity(TABLES.len());
        for (_, name) in TABLES {
            tables.extend(env.open_database(&read, Some(name)).map_err(failed)?);
        }
        read.commit().map_err(failed)?;
        if tables.len() < TABLES.len() {
            let mut write = env.write_txn().map_err(failed)?;
            tables.clear();
            for (_, name) in TABLES {
                tables.push(env.create_database(&mut write, Some(name)).map_err(failed)?);
            }
            write.commit().map_err(failed)?;
        }
        Ok(Db {
            path: path.to_path_buf(),
            env,
            tables,
            writer: Mutex::new(None),
            pending: Arc::default(),
            is_frozen: false,
        })
    }

    fn failed(&self, action: &'static str) -> impl FnOnce(heed::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Database { action, path, source }
    }

    fn get<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        // A value of another shape is as good as none: the step runs again and writes a new one.
        self.read(table, key, |bytes| postcard::from_bytes(bytes).ok())
    }

    /// What `decode` makes of the bytes under a key, with what was written and is not committed yet.
    fn read<T>(
        &self,
        table: Table,
        key: &[u8],
        decode: impl FnOnce(&[u8]) -> Option<T>,
    ) -> Result<Option<T>, StoreError> {
        // Before the database: what is no longer pending is there.
        if let Some(pending) = self.pending.get(table as usize, key) {
            return Ok(pending.and_then(|bytes| decode(&bytes)));
        }
        let read = self.env.read_txn().map_err(self.failed("read"))?;
        let bytes = self.tables[table as usize].get(&read, key).map_err(self.failed("read"))?;
        Ok(bytes.and_then(decode))
    }

    fn put<T: Serialize>(&self, table: Table, key: &[u8], value: &T) -> Result<(), StoreError> {
        let bytes = postcard::to_stdvec(value).map_err(|error| StoreError::Damaged {
            what: format!("a value for {table:?}"),
            detail: error.to_string(),
        })?;
        self.send(Write::Put(table, key.to_vec(), bytes))
    }

    /// From here on, what would be written is dropped.
    pub fn freeze(&mut self) {
        self.is_frozen = true;
    }

    fn send(&self, write: Write) -> Result<(), StoreError> {
        if self.is_frozen {
            return Ok(());
        }
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let writer = writer
            .get_or_insert_with(|| Writer::start(self.env.clone(), self.tables.clone(), Arc::clone(&self.pending)));
        // The lock is held, so writes are noted in the order in which they are queued.
        let value = match &write {
            Write::Put(_, _, value) => Some(value.clone()),
            Write::Remember(step, key) => Some(writer::remembered(&self.step_keys(*step)?, *key)?),
            Write::Delete(..) | Write::Flush(_) => None,
        };
        let ticket = write.place().map(|(table, place)| self.pending.add(table as usize, place, value));
        writer.send((write, ticket))
    }

    /// Waits until all writes so far are on disk.
    pub fn flush(&self) -> Result<(), StoreError> {
        if self.writer.lock().unwrap_or_else(PoisonError::into_inner).is_none() {
            return Ok(());
        }
        let (answer, done) = mpsc::channel();
        self.send(Write::Flush(answer))?;
        match done.recv() {
            Ok(result) => result.map_err(self.failed("write")),
            Err(_) => Err(writer::ended()),
        }
    }

    /// The store's epoch: a number that grows, in one transaction with it, whenever a record or a layer goes or becomes
    /// another. Two look-ups of one key in one epoch find the same, if the first of them found something.
    pub fn epoch(&self) -> Result<u64, StoreError> {
        Ok(self.get(Table::Epoch, writer::EPOCH)?.unwrap_or_default())
    }

    /// The record under a key.
    pub fn record(&self, key: KeyId) -> Result<Option<Record>, StoreError> {
        self.get(Table::Records, key.as_bytes())
    }

    /// Remembers a record under its key, as the newest of its step.
    pub fn put_record(&self, step: StepId, key: KeyId, record: &Record) -> Result<(), StoreError> {
        self.put(Table::Records, key.as_bytes(), record)?;
        self.send(Write::Remember(step, key))
    }

    /// What the execution under a key was seen to depend on, if it was watched.
    pub fn trace(&self, key: KeyId) -> Result<Option<Trace>, StoreError> {
        // One of another shape is as good as none.
        self.read(Table::Traces, key.as_bytes(), |bytes| codec::decode(bytes).ok())
    }

    /// Remembers what the execution under a key was seen to depend on, as the newest path set of its weak key.
    pub fn put_trace(&self, weak: StepId, key: KeyId, trace: &Trace) -> Result<(), StoreError> {
        self.send(Write::Put(Table::Traces, key.as_bytes().to_vec(), codec::encode(trace)))?;
        self.send(Write::Remember(weak, key))
    }

    /// Remembers that the record under `key` is the one of another execution, `from`, whose trace held.
    pub fn put_derived(&self, key: KeyId, from: KeyId) -> Result<(), StoreError> {
        let value = [DERIVED.as_slice(), from.as_bytes()].concat();
        self.send(Write::Put(Table::Traces, key.as_bytes().to_vec(), value))
    }

    /// The execution whose trace held when the record under `key` was made of its record.
    pub fn derived_from(&self, key: KeyId) -> Result<Option<KeyId>, StoreError> {
        self.read(Table::Traces, key.as_bytes(), derived)
    }

    /// Forgets the path set of an execution, which was found to lie, and every record that was made of its record.
    pub fn quarantine(&self, key: KeyId) -> Result<(), StoreError> {
        // What follows from it may have been sent a moment ago, and is searched for in the table.
        self.flush()?;
        let read = self.env.read_txn().map_err(self.failed("read"))?;
        let mut gone = Vec::new();
        for item in self.tables[Table::Traces as usize].iter(&read).map_err(self.failed("read"))? {
            let (other, value) = item.map_err(self.failed("read"))?;
            if derived(value) == Some(key)
                && let Ok(other) = other.try_into()
            {
                gone.push(KeyId::from_bytes(other));
            }
        }
        drop(read);
        gone.into_iter().try_for_each(|other| self.remove_record(other))?;
        self.send(Write::Delete(Table::Traces, key.as_bytes().to_vec()))
    }

    /// Makes a recorded key the newest of another step too.
    pub fn remember(&self, step: StepId, key: KeyId) -> Result<(), StoreError> {
        self.send(Write::Remember(step, key))
    }

    /// The newest keys under which a step was recorded.
    pub fn step_keys(&self, step: StepId) -> Result<Vec<KeyId>, StoreError> {
        Ok(self.get(Table::Steps, step.as_bytes())?.unwrap_or_default())
    }

    /// All steps with their keys.
    pub fn steps(&self) -> Result<Vec<(StepId, Vec<KeyId>)>, StoreError> {
        self.all(Table::Steps, |key| Some(StepId::from_bytes(key.try_into().ok()?)))
    }

    /// Forgets a step, whose records are gone.
    pub fn remove_step(&self, step: StepId) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Steps, step.as_bytes().to_vec()))
    }

    /// Remembers that something was of use now, unless that was remembered within the last day.
    pub fn mark_used(&self, thing: Used) -> Result<(), StoreError> {
        let now = super::now();
        let key = thing.to_key();
        match self.get::<i64>(Table::Used, &key)? {
            // A time in the future is a clock that was put right since.
            Some(at) if (now - USE_SECONDS..=now).contains(&at) => Ok(()),
            _ => self.put(Table::Used, &key, &now),
        }
    }

    /// When what was last of use.
    pub fn last_uses(&self) -> Result<HashMap<Used, i64>, StoreError> {
        Ok(self.all(Table::Used, Used::from_key)?.into_iter().collect())
    }

    /// Forgets when something was last of use.
    pub fn remove_use(&self, thing: Used) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Used, thing.to_key().to_vec()))
    }

    /// A layer's directories.
    pub fn layer(&self, id: LayerId) -> Result<Option<LayerMeta>, StoreError> {
        self.get(Table::Layers, id.as_bytes())
    }

    /// Remembers a layer.
    pub fn put_layer(&self, id: LayerId, meta: &LayerMeta) -> Result<(), StoreError> {
        self.put(Table::Layers, id.as_bytes(), meta)
    }

    /// All layers.
    pub fn layers(&self) -> Result<Vec<(LayerId, LayerMeta)>, StoreError> {
        self.all(Table::Layers, |key| Some(LayerId::from_bytes(key.try_into().ok()?)))
    }

    /// Forgets a layer.
    pub fn remove_layer(&self, id: LayerId) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Layers, id.as_bytes().to_vec()))
    }

    /// What is below the topmost layer of a snapshot, and that layer.
    pub fn stack(&self, id: SnapshotId) -> Result<Option<(SnapshotId, LayerId)>, StoreError> {
        self.get(Table::Stacks, id.as_bytes())
    }

    /// Remembers of what a snapshot was made: `layer` on top of `below`.
    pub fn put_stack(&self, id: SnapshotId, below: SnapshotId, layer: LayerId) -> Result<(), StoreError> {
        self.put(Table::Stacks, id.as_bytes(), &(below, layer))
    }

    /// All snapshots, each with what is below its topmost layer, and that layer.
    pub fn stacks(&self) -> Result<HashMap<SnapshotId, (SnapshotId, LayerId)>, StoreError> {
        Ok(self.all(Table::Stacks, |key| Some(SnapshotId::from_bytes(key.try_into().ok()?)))?.into_iter().collect())
    }

    /// Forgets of what a snapshot was made.
    pub fn remove_stack(&self, id: SnapshotId) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Stacks, id.as_bytes().to_vec()))
    }

    /// The tar of a layer, packed with the options that `variant` stands for.
    pub fn packed(&self, id: LayerId, variant: &[u8]) -> Result<Option<BlobRef>, StoreError> {
        self.get(Table::Packed, &[id.as_bytes(), variant].concat())
    }

    /// Remembers the tar of a layer.
    pub fn put_packed(&self, id: LayerId, variant: &[u8], blob: &BlobRef) -> Result<(), StoreError> {
        self.put(Table::Packed, &[id.as_bytes(), variant].concat(), blob)
    }

    /// All tars of layers, each with its layer and its variant.
    #[expect(clippy::type_complexity, reason = "a row of the table: its key's two parts and its value")]
    pub fn all_packed(&self) -> Result<Vec<((LayerId, Vec<u8>), BlobRef)>, StoreError> {
        self.all(Table::Packed, |key| {
            let (id, variant) = key.split_first_chunk::<32>()?;
            Some((LayerId::from_bytes(*id), variant.to_vec()))
        })
    }

    /// Forgets the tar of a layer.
    pub fn remove_packed(&self, id: LayerId, variant: &[u8]) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Packed, [id.as_bytes(), variant].concat()))
    }

    /// The answer to a question whose digest is `key`, if it was found before.
    pub fn memo<T: DeserializeOwned>(&self, key: &[u8; 32]) -> Result<Option<T>, StoreError> {
        self.get(Table::Memos, key)
    }

    /// Remembers the answer to a question. Only for answers that follow from the question alone.
    pub fn put_memo<T: Serialize>(&self, key: &[u8; 32], answer: &T) -> Result<(), StoreError> {
        self.put(Table::Memos, key, answer)
    }

    /// The image with this key.
    pub fn image(&self, key: ImageKey) -> Result<Option<ImageRecord>, StoreError> {
        self.get(Table::Images, key.as_bytes())
    }

    /// The OCI image id of the image with this key, where that is known; `None` where there is no such image.
    pub fn image_id(&self, key: ImageKey) -> Result<Option<Option<Sha256>>, StoreError> {
        self.read(Table::Images, key.as_bytes(), ImageRecord::image_id_in)
    }

    /// Remembers an image.
    pub fn put_image(&self, image: &ImageRecord) -> Result<ImageKey, StoreError> {
        let key = image.key();
        self.put(Table::Images, key.as_bytes(), image)?;
        if let Some(id) = image.image_id {
            self.put_image_id(id, key)?;
        }
        Ok(key)
    }

    /// All images.
    pub fn images(&self) -> Result<Vec<(ImageKey, ImageRecord)>, StoreError> {
        self.all(Table::Images, |key| Some(ImageKey::from_bytes(key.try_into().ok()?)))
    }

    /// Forgets an image.
    pub fn remove_image(&self, key: ImageKey) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Images, key.as_bytes().to_vec()))
    }

    /// The images for several platforms with this key.
    pub fn index(&self, key: ImageKey) -> Result<Option<IndexRecord>, StoreError> {
        self.get(Table::Indexes, key.as_bytes())
    }

    /// Remembers images for several platforms.
    pub fn put_index(&self, index: &IndexRecord) -> Result<ImageKey, StoreError> {
        let key = index.key();
        self.put(Table::Indexes, key.as_bytes(), index)?;
        Ok(key)
    }

    /// All that are for several platforms.
    pub fn indexes(&self) -> Result<Vec<(ImageKey, IndexRecord)>, StoreError> {
        self.all(Table::Indexes, |key| Some(ImageKey::from_bytes(key.try_into().ok()?)))
    }

    /// Forgets images for several platforms; not the images themselves.
    pub fn remove_index(&self, key: ImageKey) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Indexes, key.as_bytes().to_vec()))
    }

    /// The image that has this OCI image id.
    pub fn image_by_id(&self, id: Sha256) -> Result<Option<ImageKey>, StoreError> {
        self.get(Table::Ids, id.as_bytes())
    }

    /// Remembers an OCI image id.
    pub fn put_image_id(&self, id: Sha256, key: ImageKey) -> Result<(), StoreError> {
        self.put(Table::Ids, id.as_bytes(), &key)
    }

    /// Forgets an OCI image id.
    pub fn remove_image_id(&self, id: Sha256) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Ids, id.as_bytes().to_vec()))
    }

    /// All OCI image ids.
    pub fn image_ids(&self) -> Result<Vec<(Sha256, ImageKey)>, StoreError> {
        self.all(Table::Ids, |key| Some(Sha256::from_bytes(key.try_into().ok()?)))
    }

    /// The image that a canonical name stands for.
    pub fn name(&self, name: &str) -> Result<Option<ImageKey>, StoreError> {
        self.get(Table::Names, name.as_bytes())
    }

    /// Gives an image a name, taking it from whichever had it.
    pub fn put_name(&self, name: &str, key: ImageKey) -> Result<(), StoreError> {
        self.put(Table::Names, name.as_bytes(), &key)
    }

    /// Takes a name away.
    pub fn remove_name(&self, name: &str) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Names, name.as_bytes().to_vec()))
    }

    /// All names.
    pub fn names(&self) -> Result<Vec<(String, ImageKey)>, StoreError> {
        self.all(Table::Names, |key| Some(String::from_utf8_lossy(key).into_owned()))
    }

    /// All records.
    pub fn records(&self) -> Result<Vec<(KeyId, Record)>, StoreError> {
        self.all(Table::Records, |key| Some(KeyId::from_bytes(key.try_into().ok()?)))
    }

    /// Forgets a record.
    pub fn remove_record(&self, key: KeyId) -> Result<(), StoreError> {
        self.send(Write::Delete(Table::Traces, key.as_bytes().to_vec()))?;
        self.send(Write::Delete(Table::Records, key.as_bytes().to_vec()))
    }

    fn all<K, V: DeserializeOwned>(
        &self,
        table: Table,
        read_key: impl Fn(&[u8]) -> Option<K>,
    ) -> Result<Vec<(K, V)>, StoreError> {
        let read = self.env.read_txn().map_err(self.failed("read"))?;
        let mut all = Vec::new();
        for item in self.tables[table as usize].iter(&read).map_err(self.failed("read"))? {
            let (key, value) = item.map_err(self.failed("read"))?;
            if let (Some(key), Ok(value)) = (read_key(key), postcard::from_bytes(value)) {
                all.push((key, value));
            }
        }
        Ok(all)
    }
}

/// What stands before the key in the trace of a record that follows from another.
const DERIVED: &[u8; 8] = b"kilndrv1";

fn derived(value: &[u8]) -> Option<KeyId> {
    Some(KeyId::from_bytes(value.strip_prefix(DERIVED)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_flushed_is_read_by_another_opener_while_the_first_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let key = ImageKey::from_bytes([7; 32]);
        db.put_name("docker.io/library/a:latest", key).unwrap();
        db.flush().unwrap();
        assert_eq!(db.name("docker.io/library/a:latest").unwrap(), Some(key));
        assert_eq!(db.name("docker.io/library/b:latest").unwrap(), None);
        drop(db);
        let again = Db::open(dir.path()).unwrap();
        assert_eq!(again.names().unwrap(), [("docker.io/library/a:latest".to_owned(), key)]);
        again.remove_name("docker.io/library/a:latest").unwrap();
        again.flush().unwrap();
        assert!(again.names().unwrap().is_empty());
    }

    #[test]
    fn what_was_written_is_read_before_it_is_committed() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let (step, names) = (StepId::from_bytes([1; 32]), ["a", "b"]);
        // While this transaction is open nothing is committed.
        let held = db.env.write_txn().unwrap();
        for (number, name) in (1_u8..).zip(names) {
            db.put_name(name, ImageKey::from_bytes([number; 32])).unwrap();
            db.remember(step, KeyId::from_bytes([number; 32])).unwrap();
        }
        db.remove_name("b").unwrap();
        let read = || (db.name("a").unwrap(), db.name("b").unwrap(), db.step_keys(step).unwrap());
        let keys = [2, 1].map(|number| KeyId::from_bytes([number; 32])).to_vec();
        let expected = (Some(ImageKey::from_bytes([1; 32])), None, keys);
        assert_eq!(read(), expected);
        drop(held);
        db.flush().unwrap();
        assert_eq!(db.pending.get(Table::Names as usize, b"a"), None);
        assert_eq!(read(), expected);
    }

    #[test]
    fn what_followed_a_moment_ago_from_a_trace_that_lied_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let (step, [lied, derived]) =
            (StepId::from_bytes([1; 32]), [1, 2].map(|number| KeyId::from_bytes([number; 32])));
        let record = Record {
            components: Vec::new(),
            layer: LayerId::from_bytes([1; 32]),
            build: crate::explain::BuildId::from_bytes([1; 6]),
            name: String::new(),
            created_nanos: 1,
            duration_ms: 1,
        };
        // While this transaction is open nothing is committed.
        let held = db.env.write_txn().unwrap();
        db.put_record(step, derived, &record).unwrap();
        db.put_derived(derived, lied).unwrap();
        std::thread::scope(|scope| {
            let away = scope.spawn(|| db.quarantine(lied));
            std::thread::sleep(std::time::Duration::from_millis(20));
            drop(held);
            away.join().unwrap().unwrap();
        });
        assert_eq!(db.record(derived).unwrap(), None);
    }

    #[test]
    fn a_use_is_remembered_once_a_day() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let (record, blob) = (Used::Record(KeyId::from_bytes([1; 32])), Used::Blob(Sha256::from_bytes([1; 32])));
        let earlier = super::super::now() - 3600;
        db.put(Table::Used, &record.to_key(), &earlier).unwrap();
        db.put(Table::Used, &blob.to_key(), &(earlier - USE_SECONDS)).unwrap();
        db.flush().unwrap();
        for thing in [record, blob] {
            db.mark_used(thing).unwrap();
        }
        db.flush().unwrap();
        let uses = db.last_uses().unwrap();
        assert_eq!(uses[&record], earlier);
        assert!(uses[&blob] > earlier);
        db.remove_use(blob).unwrap();
        db.flush().unwrap();
        assert_eq!(db.last_uses().unwrap().len(), 1);
    }

    #[test]
    fn the_epoch_grows_with_what_goes_or_becomes_another_and_not_with_what_is_new() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let record = |name: &str| Record {
            components: Vec::new(),
            layer: LayerId::from_bytes([1; 32]),
            build: crate::explain::BuildId::from_bytes([1; 6]),
            name: name.to_owned(),
            created_nanos: 1,
            duration_ms: 1,
        };
        let (step, key) = (StepId::from_bytes([1; 32]), |n| KeyId::from_bytes([n; 32]));
        let meta = LayerMeta { dirs: Vec::new(), size: 0, created: 0, boot: [0; 16] };
        let mut epochs = Vec::new();
        let mut see = |write: Result<(), StoreError>| {
            write.and_then(|()| db.flush()).unwrap();
            epochs.push(db.epoch().unwrap());
        };
        see(Ok(()));
        see(db.put_record(step, key(1), &record("a")));
        see(db.put_record(step, key(2), &record("a")));
        see(db.put_record(step, key(1), &record("a")));
        see(db.put_layer(LayerId::from_bytes([1; 32]), &meta));
        see(db.put_layer(LayerId::from_bytes([1; 32]), &LayerMeta { created: 9, ..meta.clone() }));
        see(db.remove_record(key(3)));
        assert_eq!(epochs, [0; 7]);
        epochs.clear();
        let mut see = |write: Result<(), StoreError>| {
            write.and_then(|()| db.flush()).unwrap();
            epochs.push(db.epoch().unwrap());
        };
        see(db.put_record(step, key(1), &record("b")));
        see(db.remove_record(key(1)));
        see(db.put_layer(LayerId::from_bytes([1; 32]), &LayerMeta { dirs: vec![LayerId::from_bytes([2; 32])], ..meta }));
        see(db.remove_layer(LayerId::from_bytes([1; 32])));
        assert_eq!(epochs, [1, 2, 3, 4]);
    }

    #[test]
    fn a_step_remembers_its_newest_keys_first_and_only_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let db = Db::open(dir.path()).unwrap();
        let step = StepId::from_bytes([1; 32]);
        for number in 0..10 {
            db.send(Write::Remember(step, KeyId::from_bytes([number; 32]))).unwrap();
        }
        db.send(Write::Remember(step, KeyId::from_bytes([5; 32]))).unwrap();
        db.flush().unwrap();
        let keys: Vec<u8> = db.step_keys(step).unwrap().iter().map(|key| key.as_bytes()[0]).collect();
        assert_eq!(keys, [5, 9, 8, 7, 6, 4, 3, 2]);
    }
}
