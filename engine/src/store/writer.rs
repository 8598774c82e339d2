//! The one thread that writes to the database: it commits what has gathered in one transaction, and counts the epoch.
//!
//! Knows nothing of what the values mean, but for what a hit finds by them.

use super::StoreError;
use super::db::{LayerMeta, Table};
use super::pending::{Pending, Ticket};
use crate::digest::{KeyId, StepId};
use heed::types::Bytes;
use heed::{Database, Env, RwTxn};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

/// How many records of one step are remembered.
const RECORDS_PER_STEP: usize = 8;

/// Something to write.
pub(super) enum Write {
    /// A value under a key.
    Put(Table, Vec<u8>, Vec<u8>),
    /// Nothing under a key.
    Delete(Table, Vec<u8>),
    /// Puts a key at the head of a step's list.
    Remember(StepId, KeyId),
    /// Answers when everything before it is on disk.
    Flush(mpsc::Sender<Result<(), heed::Error>>),
}

impl Write {
    /// The place that it writes to.
    pub fn place(&self) -> Option<(Table, &[u8])> {
        match self {
            Write::Put(table, key, _) | Write::Delete(table, key) => Some((*table, key)),
            Write::Remember(step, _) => Some((Table::Steps, step.as_bytes())),
            Write::Flush(_) => None,
        }
    }
}

/// A write with what is noted of it until it is committed.
pub(super) type Queued = (Write, Option<Ticket>);

/// The thread that writes. It ends, with all that it was sent committed, when this is dropped.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Queued>>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts it.
    pub fn start(env: Env, tables: Vec<Database<Bytes, Bytes>>, pending: Arc<Pending>) -> Self {
        let (queue, jobs) = mpsc::channel();
        let serve = move || serve(&env, &tables, &jobs, &pending);
        let thread = std::thread::Builder::new().name("kiln-db".to_owned()).spawn(serve);
        Writer { queue: Some(queue), thread: thread.ok() }
    }

    /// Queues a write.
    pub fn send(&self, write: Queued) -> Result<(), StoreError> {
        self.queue.as_ref().and_then(|queue| queue.send(write).ok()).ok_or_else(ended)
    }
}

/// The error where the thread is no longer there.
pub(super) fn ended() -> StoreError {
    StoreError::Damaged { what: "the database".to_owned(), detail: "its writer ended".to_owned() }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The one key of its table.
pub(super) const EPOCH: &[u8] = b"epoch";

/// Whether hits rely on a table: what was found in it once must be found again.
fn is_relied_on(table: Table) -> bool {
    matches!(table, Table::Records | Table::Layers)
}

/// Whether a hit finds the same by either value. When a layer was made is nothing that it finds: two builds that make one
/// layer at once each say so.
fn vouches_for_the_same(table: Table, old: &[u8], new: &[u8]) -> bool {
    let dirs = |bytes| postcard::from_bytes::<LayerMeta>(bytes).map(|meta| meta.dirs).ok();
    match table {
        Table::Layers => dirs(old).is_some() && dirs(old) == dirs(new),
        Table::Records => old == new,
        _ => true,
    }
}

/// Commits what comes in, all that has gathered at once, until the queue is closed.
fn serve(env: &Env, tables: &[Database<Bytes, Bytes>], jobs: &mpsc::Receiver<Queued>, pending: &Pending) {
    // An error stays: a later flush must not claim that an earlier write is on disk.
    let mut failure: Option<heed::Error> = None;
    while let Ok(first) = jobs.recv() {
        let mut waiting = Vec::new();
        let mut batch = vec![first];
        batch.extend(jobs.try_iter());
        let result = env.write_txn().and_then(|mut txn| {
            let mut is_other = false;
            for (write, _) in &batch {
                match write {
                    Write::Flush(answer) => waiting.push(answer.clone()),
                    write => is_other |= apply(&mut txn, tables, write)?,
                }
            }
            if is_other {
                let table = tables[Table::Epoch as usize];
                let old: u64 =
                    table.get(&txn, EPOCH)?.and_then(|bytes| postcard::from_bytes(bytes).ok()).unwrap_or_default();
                let bytes = postcard::to_stdvec(&(old + 1)).map_err(|error| heed::Error::Encoding(error.into()))?;
                table.put(&mut txn, EPOCH, &bytes)?;
            }
            txn.commit()
        });
        for (write, ticket) in &batch {
            if let (Some((table, key)), Some(ticket)) = (write.place(), ticket) {
                pending.done(table as usize, key, *ticket);
            }
        }
        if let Err(error) = result {
            failure.get_or_insert(error);
        }
        for answer in waiting {
            let _ = answer.send(failure.take().map_or(Ok(()), Err));
        }
    }
}

/// A step's keys with this one as the newest, as they are kept.
pub(super) fn remembered(old: &[KeyId], key: KeyId) -> Result<Vec<u8>, StoreError> {
    let others = old.iter().copied().filter(|other| *other != key).take(RECORDS_PER_STEP - 1);
    let keys: Vec<KeyId> = std::iter::once(key).chain(others).collect();
    postcard::to_stdvec(&keys)
        .map_err(|error| StoreError::Damaged { what: "a value for Steps".to_owned(), detail: error.to_string() })
}

/// Writes; says whether something that hits rely on went or became another.
fn apply(txn: &mut RwTxn<'_>, tables: &[Database<Bytes, Bytes>], write: &Write) -> Result<bool, heed::Error> {
    match write {
        Write::Put(table, key, value) => {
            let place = tables[*table as usize];
            let is_other = place.get(txn, key)?.is_some_and(|old| !vouches_for_the_same(*table, old, value));
            place.put(txn, key, value)?;
            Ok(is_other)
        }
        Write::Delete(table, key) => Ok(tables[*table as usize].delete(txn, key)? && is_relied_on(*table)),
        Write::Remember(step, key) => {
            let table = tables[Table::Steps as usize];
            let old: Vec<KeyId> =
                table.get(txn, step.as_bytes())?.and_then(|bytes| postcard::from_bytes(bytes).ok()).unwrap_or_default();
            let bytes = remembered(&old, *key).map_err(|error| heed::Error::Encoding(error.into()))?;
            table.put(txn, step.as_bytes(), &bytes)?;
            Ok(false)
        }
        Write::Flush(_) => Ok(false),
    }
}
