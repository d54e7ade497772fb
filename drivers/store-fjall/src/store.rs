//! [`Store`] on fjall.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use fjall::{AbstractTree, Keyspace, PersistMode};
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{LoadError, Store, StoreError, StoreReader};

use crate::beside::Identity;
use crate::error::{OpenError, describe, io_error, is_full};
use crate::journal::Number;
use crate::open::{self, Opened};
use crate::{key, salvage};

/// Writes wait while this many memtables wait to be flushed. One commit adds at most two more, and
/// at four fjall would wait inside of it, for ever if its thread has died of a full disk.
const SEALED_MEMTABLES: usize = 2;
/// The same for the runs of level 0, at 30.
const LEVEL_0_RUNS: usize = 20;
const ROOM_POLL: Duration = Duration::from_millis(2);

/// The space that a flush or a compaction may need: with less free space, that is why it failed.
const PROBE_BYTES: u64 = 8 * open::MEMTABLE_BYTES;

/// The records for readers; nothing while the database is closed.
type Shared = Arc<RwLock<Option<Keyspace>>>;

/// An embedded store in a directory of its own.
pub struct FjallStore {
    dir: PathBuf,
    /// Which database in it.
    db: PathBuf,
    /// The records of its identity, copied beside the database; not while the database is made.
    identity: Option<Identity>,
    /// `None` while it is closed because there was no space, and after a failure.
    pub(crate) open: Option<Opened>,
    shared: Shared,
    failed: Option<String>,
    /// Dropped last, when the database is closed.
    lock: Arc<File>,
}

impl FjallStore {
    /// Opens the store in a directory, which is created if it is not there, and recovers what was synced. Blocks for as long as it takes
    /// to read all files once, to see whether they are whole, and to replay 64 MiB of journal.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. [`Salvage`](crate::Salvage) reads the rest of a damaged store.
    pub fn open(dir: &Path) -> Result<FjallStore, OpenError> {
        let lock = Arc::new(open::lock(dir)?);
        salvage::finish_swap(dir)?;
        salvage::sweep(dir)?;
        if salvage::is_gone(dir)? {
            return Err(OpenError::Damaged {
                dir: dir.into(),
                found: vec![salvage::gone()],
            });
        }
        FjallStore::of(dir, "db", lock)
    }

    /// Opens the database `name` of a directory that is locked.
    pub(crate) fn of(dir: &Path, name: &str, lock: Arc<File>) -> Result<FjallStore, OpenError> {
        let db = dir.join(name);
        let open = Opened::open(dir, &db)?;
        Ok(FjallStore {
            dir: dir.into(),
            shared: Arc::new(RwLock::new(Some(open.records.clone()))),
            open: Some(open),
            identity: (name == "db").then(Identity::default),
            db,
            failed: None,
            lock,
        })
    }

    /// Closes the database, and hands back the lock of its directory.
    pub(crate) fn close(mut self) -> io::Result<Arc<File>> {
        self.share(None);
        self.open.take().map_or(Ok(()), Opened::close)?;
        Ok(Arc::clone(&self.lock))
    }

    /// The database, opened again if it was closed because there was no space.
    fn ready(&mut self) -> Result<&mut Opened, StoreError> {
        if let Some(why) = &self.failed {
            return Err(StoreError::Failed(why.clone()));
        }
        let open = match self.open.take() {
            Some(open) => open,
            None => Opened::open(&self.dir, &self.db).map_err(|error| match error {
                OpenError::Unusable { error, .. } if is_full(&error) => {
                    StoreError::Full(error.to_string())
                }
                error => self.fail(error.to_string()),
            })?,
        };
        if !self.is_shared() {
            self.share(Some(open.records.clone()));
        }
        Ok(self.open.insert(open))
    }

    fn is_shared(&self) -> bool {
        let shared = self.shared.read();
        shared.unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Lets readers have the records, or takes them away: waits for a read that is under way.
    fn share(&self, records: Option<Keyspace>) {
        let shared = self.shared.write();
        *shared.unwrap_or_else(PoisonError::into_inner) = records;
    }

    /// Gives up the database, which fjall does not let go on after an error, and says whether
    /// it was for want of space.
    pub(crate) fn give_up(&mut self, error: fjall::Error) -> StoreError {
        self.share(None);
        if let Some(Err(error)) = self.open.take().map(Opened::close) {
            return self.fail(error.to_string());
        }
        let background = matches!(error, fjall::Error::Poisoned);
        let why = describe(&error);
        match io_error(error) {
            Ok(error) if is_full(&error) => StoreError::Full(why),
            // fjall does not say why a thread of its own failed.
            _ if background => match probe(&self.dir) {
                Err(error) if is_full(&error) => StoreError::Full(error.to_string()),
                _ => self.fail(why),
            },
            _ => self.fail(why),
        }
    }

    fn fail(&mut self, why: String) -> StoreError {
        self.failed = Some(why.clone());
        StoreError::Failed(why)
    }
}

/// Reads records of a [`FjallStore`] on another thread. Keeps nothing open once the store is dropped.
pub struct FjallReader {
    shared: Shared,
}

impl StoreReader for FjallReader {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let shared = self.shared.read().unwrap_or_else(PoisonError::into_inner);
        let Some(records) = &*shared else {
            return Err(StoreError::Failed("it is closed at present".into()));
        };
        let failed = |error: fjall::Error| StoreError::Failed(describe(&error));
        let stored = key::stored_key(key);
        let Some(value) = records.get(&stored).map_err(failed)? else {
            return Ok(None);
        };
        let record = key::record(&stored, &value).filter(|record| record.key == key);
        match record {
            Some(record) => Ok(Some(record.value)),
            None => Err(StoreError::Failed("a record in an unknown layout".into())),
        }
    }
}

impl Drop for FjallStore {
    fn drop(&mut self) {
        self.share(None);
    }
}

impl Store for FjallStore {
    type Reader = FjallReader;

    fn reader(&self) -> FjallReader {
        FjallReader {
            shared: Arc::clone(&self.shared),
        }
    }

    fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>> {
        let failed = |why: String| LoadError::Store(StoreError::Failed(why));
        let open = self.ready().map_err(LoadError::Store)?;
        for entry in open.records.iter() {
            let (key, value) = entry
                .into_inner()
                .map_err(|error| failed(describe(&error)))?;
            if &*key == key::NUMBER {
                continue;
            }
            let record = key::record(&key, &value);
            let record = record.ok_or_else(|| failed("a record in an unknown layout".into()))?;
            each(record).map_err(LoadError::Refused)?;
        }
        Ok(())
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        write(self.ready()?, batch).map_err(|error| self.give_up(error))?;
        if let Some(identity) = &mut self.identity {
            for op in batch {
                if let StoreOp::Put(record) = op
                    && record.says_which_node()
                {
                    identity.note(record);
                }
            }
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<(), StoreError> {
        // The size of the journal is synced with its data; what SyncAll adds is its times.
        let open = self.ready()?;
        match open.db.persist(PersistMode::SyncData) {
            Ok(()) => {
                open.synced.note(open.number);
                if let Some(identity) = &mut self.identity {
                    identity.save(&self.dir);
                }
                Ok(())
            }
            // The system may have dropped what it could not write, so that the journal has a hole.
            Err(fjall::Error::Io(error)) => Err(self.fail(error.to_string())),
            Err(error) => Err(self.give_up(error)),
        }
    }
}

fn write(open: &mut Opened, batch: &[StoreOp]) -> Result<(), fjall::Error> {
    await_room(open)?;
    if batch.is_empty() {
        return Ok(());
    }
    let mut writes = open.db.batch().durability(Some(PersistMode::Buffer));
    // All writes of a batch get one sequence number, so only the last one to a key may be in it.
    let mut seen = HashSet::with_capacity(batch.len());
    let mut ranges: Vec<&StoreOp> = Vec::new();
    for op in batch.iter().rev() {
        let is_last = |key: &Bytes| !ranges.iter().any(|range| range.decides(key));
        match op {
            StoreOp::Put(record) if is_last(&record.key) && seen.insert(record.key.clone()) => {
                writes.insert(
                    &open.records,
                    key::stored_key(&record.key),
                    key::stored_value(record),
                );
            }
            StoreOp::Delete(key) if is_last(key) && seen.insert(key.clone()) => {
                writes.remove(&open.records, key::stored_key(key));
            }
            StoreOp::DeleteRange { from, until } if from < until => {
                for key in keys_of(open, op, (from, until))? {
                    if is_last(&key) && seen.insert(key.clone()) {
                        writes.remove(&open.records, key::stored_key(&key));
                    }
                }
                ranges.push(op);
            }
            StoreOp::Put(_) | StoreOp::Delete(_) | StoreOp::DeleteRange { .. } => {}
        }
    }
    let number = Number {
        batch: open.number + 1,
        floor: open.db.supervisor.seqno.get(),
    };
    writes.insert(&open.records, key::NUMBER, number.to_bytes());
    writes.commit()?;
    open.number = number.batch;
    Ok(())
}

/// The keys that are stored in a range. O(them, and all long keys).
fn keys_of(
    open: &Opened,
    range: &StoreOp,
    (from, until): (&Bytes, &Bytes),
) -> Result<Vec<Bytes>, fjall::Error> {
    let mut keys = Vec::new();
    for stored in [key::plain_range(from, until), key::hashed_range()] {
        for entry in open.records.range(stored) {
            let (key, value) = entry.into_inner()?;
            let record = key::record(&key, &value);
            keys.extend(
                record
                    .map(|record| record.key)
                    .filter(|key| range.decides(key)),
            );
        }
    }
    Ok(keys)
}

/// Waits for the background threads where their failure is noticed.
fn await_room(open: &Opened) -> Result<(), fjall::Error> {
    loop {
        open.db.persist(PersistMode::Buffer)?;
        let tree = &open.records.tree;
        if tree.sealed_memtable_count() < SEALED_MEMTABLES && tree.l0_run_count() < LEVEL_0_RUNS {
            return Ok(());
        }
        thread::sleep(ROOM_POLL);
    }
}

/// Whether there is space for a flush.
fn probe(dir: &Path) -> io::Result<()> {
    let path = dir.join("probe");
    let written = File::create(&path).and_then(|mut file| {
        let zeros = vec![0; 1 << 20];
        for _ in 0..PROBE_BYTES >> 20 {
            file.write_all(&zeros)?;
        }
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}
