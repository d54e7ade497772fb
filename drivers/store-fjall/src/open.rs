//! Opening and closing a data directory, and how fjall is configured.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::beside::Synced;
use crate::error::{Damage, OpenError, describe, io_error};
use crate::journal::Number;
use crate::{check, key, salvage};

const CACHE_BYTES: u64 = 32 << 20;
/// A memtable is flushed at this size; up to three exist for a moment.
pub(crate) const MEMTABLE_BYTES: u64 = 16 << 20;
/// Bounds the replay at the next start; the least that fjall takes.
const JOURNAL_BYTES: u64 = 64 << 20;
/// Leaves most of a usual limit of 1,024 descriptors to connections.
const OPEN_FILES: usize = 128;
/// One thread flushes while the other compacts.
const THREADS: usize = 2;
const KEYSPACE: &str = "records";

/// How long to wait for fjall's threads, and how long they need between saying that they are gone and being gone.
const THREADS_STOP: Duration = Duration::from_secs(10);
const THREADS_LINGER: Duration = Duration::from_millis(50);

/// An open database.
pub(crate) struct Opened {
    pub(crate) records: Keyspace,
    pub(crate) db: Database,
    pub(crate) synced: Synced,
    /// That of the last batch.
    pub(crate) number: u64,
}

impl Opened {
    /// Opens a database in a data directory that this process has locked, creating it if there is none. One that is not whole is left as it is.
    pub(crate) fn open(dir: &Path, path: &Path) -> Result<Opened, OpenError> {
        let unusable = |error| OpenError::Unusable {
            dir: dir.into(),
            error,
        };
        if !path.try_exists().map_err(unusable)? {
            create(dir, path)?;
        }
        let mut synced = Synced::open(path).map_err(unusable)?;
        let checked = check::check(path, synced.upto).map_err(unusable)?;
        let damaged = |found| OpenError::Damaged {
            dir: dir.into(),
            found,
        };
        if !checked.found.is_empty() {
            return Err(damaged(checked.found));
        }
        if let Some(suspect) = checked.suspect
            && salvage::reached(dir, path)? < synced.upto
        {
            return Err(damaged(vec![suspect]));
        }
        let (db, records) = open_at(dir, path)?;
        let number = number(&records).map_err(|why| {
            damaged(vec![Damage {
                file: "db".into(),
                why,
            }])
        })?;
        if number < synced.upto {
            let lost = synced.upto - number;
            let why = format!("{lost} batches that were synced are missing at the end");
            return Err(damaged(vec![Damage {
                file: "db".into(),
                why,
            }]));
        }
        // A file of an older program, or one that was damaged, says nothing.
        synced.note(number);
        Ok(Opened {
            records,
            db,
            synced,
            number,
        })
    }

    /// Closes the database, as [`close`] does.
    pub(crate) fn close(self) -> io::Result<()> {
        close(self.db, self.records)
    }
}

/// Closes a database and returns when nothing of it can touch its files any more: a thread of it that still holds a part of a
/// failed write would put it into the journal later.
pub(crate) fn close(db: Database, records: Keyspace) -> io::Result<()> {
    let supervisor = db.supervisor.clone();
    let alive = Arc::downgrade(&supervisor.keyspaces);
    drop((records, db));
    thread::sleep(THREADS_LINGER);
    // The last owner flushes the journal, which should happen here and not on another thread.
    drop(supervisor);
    let begun = Instant::now();
    while alive.strong_count() > 0 {
        if begun.elapsed() > THREADS_STOP {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "its threads do not stop",
            ));
        }
        thread::sleep(THREADS_LINGER);
    }
    Ok(())
}

/// Creates the directory if it is not there, and locks it until the file is dropped.
pub(crate) fn lock(dir: &Path) -> Result<File, OpenError> {
    let unusable = |error| OpenError::Unusable {
        dir: dir.into(),
        error,
    };
    fs::create_dir_all(dir).map_err(unusable)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(dir.join("lock"))
        .map_err(unusable)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.into() }),
        Err(TryLockError::Error(error)) => Err(unusable(error)),
    }
}

/// The number of the last batch in a database.
pub(crate) fn number(records: &Keyspace) -> Result<u64, String> {
    let stored = records.get(key::NUMBER).map_err(|error| describe(&error))?;
    let number = stored.and_then(|bytes| Number::from_bytes(&bytes));
    Ok(number.map_or(0, |number| number.batch))
}

/// Removes a directory, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let unusable = |error| OpenError::Unusable {
        dir: dir.into(),
        error,
    };
    let new = path.with_extension("made");
    remove(&new).map_err(unusable)?;
    drop(open_at(dir, &new)?);
    fs::rename(&new, path).map_err(unusable)?;
    sync_directory(dir).map_err(unusable)?;
    // Its own name has to survive as well, and it may be new.
    let absolute = std::path::absolute(dir).map_err(unusable)?;
    absolute
        .parent()
        .map_or(Ok(()), sync_directory)
        .map_err(unusable)
}

/// Has fjall open a database.
pub(crate) fn open_at(dir: &Path, path: &Path) -> Result<(Database, Keyspace), OpenError> {
    let opened = panic::catch_unwind(AssertUnwindSafe(|| {
        let db = Database::builder(path)
            .cache_size(CACHE_BYTES)
            .max_journaling_size(JOURNAL_BYTES)
            .max_cached_files(Some(OPEN_FILES))
            .worker_threads(THREADS)
            .open()?;
        let records = db.keyspace(KEYSPACE, || {
            KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
        })?;
        db.persist(PersistMode::SyncAll)?;
        Ok((db, records))
    }));
    // fjall asserts some of what it reads.
    let damaged = |why| OpenError::Damaged {
        dir: dir.into(),
        found: vec![Damage {
            file: "db".into(),
            why,
        }],
    };
    let opened = opened.map_err(|_| damaged("it cannot be read".into()))?;
    opened.map_err(|error| match io_error(error) {
        Ok(error) if is_content(&error) => damaged(error.to_string()),
        Ok(error) => OpenError::Unusable {
            dir: dir.into(),
            error,
        },
        Err(fjall::Error::Locked) => OpenError::InUse { dir: dir.into() },
        Err(error) => damaged(describe(&error)),
    })
}

/// Whether the error is about what the files hold or that they are missing, and not about access to them.
fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    // To seek before the beginning of a file that is too short is an invalid input.
    let kind = error.kind();
    matches!(kind, InvalidData | InvalidInput | NotFound | UnexpectedEof)
}

#[cfg(unix)]
pub(crate) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
