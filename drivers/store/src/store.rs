//! [`Store`] on a commit log and a tree.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{LoadError, Store, StoreError, StoreReader};

use crate::beside::{Identity, Synced};
use crate::checkpoint;
use crate::error::{OpenError, store_error};
use crate::key;
use crate::log::{Index, Part, Policy, Tail, buffer_of, newest};
use crate::merge::Merger;
use crate::open::{self, Opened};
use crate::options::Options;
use crate::salvage;
use crate::shared::Shared;
use crate::writer::Writer;

/// An embedded store in a directory of its own.
pub struct DiskStore {
    dir: PathBuf,
    /// The records of its identity, copied beside the database; not while the database is made.
    identity: Option<Identity>,
    pub(crate) shared: Arc<Shared>,
    writer: Writer,
    synced: Synced,
    cut: Option<Cut>,
    failed: Option<String>,
    thread: Option<JoinHandle<()>>,
    /// The merger, where it has no thread.
    pub(crate) merger: Option<Merger>,
    /// Dropped last, when the database is closed.
    lock: Arc<File>,
}

/// The end of a log that had no whole batch, cut off at a start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The file, below the data directory.
    pub file: String,
    /// The place in it.
    pub at: u64,
    /// The bytes that were there.
    pub bytes: u64,
    /// Whether whole batches were among them, none of which was durable.
    pub whole: bool,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Cut {
            file,
            at,
            bytes,
            whole,
        } = self;
        let behind = match whole {
            true => ", with whole batches behind it,",
            false => "",
        };
        write!(
            f,
            "the log ended in a batch that was not whole{behind} and nothing there was ever acknowledged as durable: {bytes} bytes of {file} from {at} on were cut off"
        )
    }
}

impl Cut {
    fn new(tail: &Tail) -> Cut {
        Cut {
            file: format!("db/log/{}.log", tail.number),
            at: tail.at,
            bytes: tail.bytes,
            whole: tail.behind,
        }
    }
}

impl DiskStore {
    /// Opens the store in a directory with default options, see [`DiskStore::open_with`].
    ///
    /// # Errors
    ///
    /// See [`OpenError`].
    pub fn open(dir: &Path) -> Result<DiskStore, OpenError> {
        DiskStore::open_with(dir, Options::default())
    }

    /// Opens the store in a directory, which is created if it is not there, and recovers what was synced. Blocks for as long as it takes
    /// to read all files once, to see whether they are whole.
    ///
    /// # Errors
    ///
    /// See [`OpenError`]. [`Salvage`](crate::Salvage) reads the rest of a damaged store.
    pub fn open_with(dir: &Path, options: Options) -> Result<DiskStore, OpenError> {
        DiskStore::open_as(dir, options, Policy::Damage)
    }

    /// Opens the store in a directory with a judgement of the log's end.
    pub(crate) fn open_as(
        dir: &Path,
        options: Options,
        policy: Policy,
    ) -> Result<DiskStore, OpenError> {
        let lock = Arc::new(open::lock(dir)?);
        let unfinished = dir.join(checkpoint::UNFINISHED).try_exists();
        let unfinished = unfinished.map_err(|error| open::unusable(dir, error))?;
        if unfinished && options.rules.refuses_unfinished() {
            return Err(OpenError::Unfinished { dir: dir.into() });
        }
        salvage::finish_swap(dir)?;
        salvage::sweep(dir)?;
        if salvage::is_gone(dir)? {
            return Err(OpenError::Damaged {
                dir: dir.into(),
                found: vec![salvage::gone()],
            });
        }
        DiskStore::of(dir, "db", options, policy, lock)
    }

    /// Opens the database `name` of a directory that is locked.
    pub(crate) fn of(
        dir: &Path,
        name: &str,
        options: Options,
        policy: Policy,
        lock: Arc<File>,
    ) -> Result<DiskStore, OpenError> {
        let db = dir.join(name);
        let opened = Opened::open(dir, &db, &options, policy)?;
        let threaded = options.thread;
        let cut = opened.tail.as_ref().map(Cut::new);
        let (writer, synced) = (opened.writer, opened.synced);
        let shared = Arc::new(Shared::new(
            db,
            options,
            opened.view,
            opened.tree,
            opened.stop,
        ));
        let merger = Merger::new(Arc::clone(&shared));
        let mut store = DiskStore {
            dir: dir.into(),
            identity: (name == "db").then(Identity::default),
            shared,
            writer,
            synced,
            cut,
            failed: None,
            thread: None,
            merger: None,
            lock,
        };
        match threaded {
            true => {
                let thread = merger.spawn();
                store.thread = Some(thread.map_err(|error| open::unusable(dir, error))?);
            }
            false => store.merger = Some(merger),
        }
        Ok(store)
    }

    /// The end of the log that was cut off when the store was opened, if it had one that was not whole.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// The seq of the last batch.
    pub(crate) fn last(&self) -> u64 {
        let view = self.shared.view();
        view.active.as_ref().map_or(0, |part| part.last)
    }

    /// Waits until all full files are merged and the tree is compacted, to measure what that costs.
    #[doc(hidden)]
    pub fn wait_idle(&self) {
        self.shared
            .wait_while(None, |state| !state.idle && state.failed.is_none());
    }

    /// Closes the database, and hands back the lock of its directory.
    pub(crate) fn close(mut self) -> Arc<File> {
        self.stop();
        Arc::clone(&self.lock)
    }

    fn stop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of its own was caught and is in the state.
            let _ = thread.join();
        }
        self.shared.close();
    }

    /// Refuses where the store has failed, or its merger has.
    fn ready(&mut self) -> Result<(), StoreError> {
        if self.failed.is_none() {
            self.failed.clone_from(&self.shared.state().failed);
        }
        match &self.failed {
            Some(why) => Err(StoreError::Failed(why.clone())),
            None => Ok(()),
        }
    }

    /// Remembers a failure: nothing is tried again.
    fn remember(&mut self, error: StoreError) -> StoreError {
        if let StoreError::Failed(why) = &error {
            self.failed = Some(why.clone());
        }
        error
    }
}

/// Reads records of a [`DiskStore`] on another thread. Keeps nothing open once the store is dropped.
pub struct DiskReader {
    shared: Arc<Shared>,
}

impl StoreReader for DiskReader {
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.shared.read(key)
    }
}

impl Drop for DiskStore {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Store for DiskStore {
    type Reader = DiskReader;

    fn reader(&self) -> DiskReader {
        DiskReader {
            shared: Arc::clone(&self.shared),
        }
    }

    fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>> {
        self.ready().map_err(LoadError::Store)?;
        let failed = |error: io::Error| LoadError::Store(StoreError::Failed(error.to_string()));
        let shared = Arc::clone(&self.shared);
        let rules = shared.options.rules;
        let mut buffers = Vec::new();
        // A file that is merged meanwhile is the same in the tree.
        let view = shared.view();
        let sealed = view.sealed.iter().map(|part| &**part);
        let parts: Vec<&Part> = sealed.chain(&view.active).collect();
        for part in &parts {
            buffers.push(buffer_of(&*shared.disk, part).map_err(failed)?);
        }
        let indexes: Vec<&Index> = parts.iter().map(|part| &part.index).collect();
        let rows = newest(&buffers, &indexes).map_err(failed)?;
        drop(view);
        let mut logged = rows.iter().peekable();
        let tree = shared.tree();
        let Some(tree) = &*tree else {
            return Err(failed(io::Error::other("it is closed at present")));
        };
        let mut hand = |record: Option<Record>| {
            let record =
                record.ok_or_else(|| failed(io::Error::other("a record in an unknown layout")))?;
            each(record).map_err(LoadError::Refused)
        };
        for entry in tree.iter() {
            let (stored, value) = entry.map_err(|error| LoadError::Store(store_error(error)))?;
            while let Some((_, row)) = logged.next_if(|(key, _)| *key < stored) {
                hand_row(row, &mut hand)?;
            }
            let newer = logged.next_if(|(key, _)| *key == stored);
            if let Some((_, row)) = newer.filter(|_| rules.reads_log_first()) {
                hand_row(row, &mut hand)?;
            } else if &*stored != key::NUMBER {
                let record = key::shared_record(&stored, &value);
                let is_deleted = |record: &Record| rows.is_deleted(&record.key);
                if !record.as_ref().is_some_and(is_deleted) {
                    hand(record)?;
                }
            }
        }
        for (_, row) in logged {
            hand_row(row, &mut hand)?;
        }
        Ok(())
    }

    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError> {
        self.ready()?;
        if batch.is_empty() {
            return Ok(());
        }
        let appended = self
            .writer
            .append(&self.shared, self.merger.as_mut(), batch);
        self.synced.note(&*self.shared.disk, self.writer.durable());
        appended.map_err(|error| self.remember(error))?;
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
        self.ready()?;
        let synced = self.writer.sync(&self.shared);
        synced.map_err(|error| self.remember(error))?;
        self.synced.note(&*self.shared.disk, self.writer.durable());
        if let Some(identity) = &mut self.identity
            && self.shared.options.rules.copies_identity()
        {
            identity.save(&*self.shared.disk, &self.dir);
        }
        Ok(())
    }

    fn short(&mut self, idle: bool) -> Option<String> {
        if self.ready().is_err() {
            return None;
        }
        let merger = self.merger.as_mut();
        let looked = self.writer.look_for_space(&self.shared, merger, idle);
        // The next batch tells of a failure.
        looked.map_err(|error| self.remember(error)).ok().flatten()
    }
}

fn hand_row<E>(
    (key, value): (&[u8], Option<&[u8]>),
    hand: &mut impl FnMut(Option<Record>) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        None => Ok(()),
        Some(value) => hand(Some(Record {
            key: Bytes::copy_from_slice(key),
            value: Bytes::copy_from_slice(value),
        })),
    }
}
