//! Opening and closing a data directory, and how fjall is configured.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use crate::error::{OpenError, describe, io_error};

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
/// Where one of these is missing, fjall starts an empty database or keyspace in the middle of the old one.
const MARKERS: [&str; 3] = ["version", "keyspaces/0/current", "keyspaces/1/current"];

/// How long to wait for fjall's threads, and how long they need between saying that they are gone and being gone.
const THREADS_STOP: Duration = Duration::from_secs(10);
const THREADS_LINGER: Duration = Duration::from_millis(50);

/// An open database.
pub(crate) struct Opened {
    pub(crate) records: Keyspace,
    pub(crate) db: Database,
}

impl Opened {
    /// Opens the database of a data directory that this process has locked, creating it if there is none.
    pub(crate) fn open(dir: &Path) -> Result<Opened, OpenError> {
        let path = dir.join("db");
        let unusable = |error| OpenError::Unusable {
            dir: dir.into(),
            error,
        };
        if !path.try_exists().map_err(unusable)? {
            create(dir, &path)?;
        }
        for marker in MARKERS {
            if !path.join(marker).try_exists().map_err(unusable)? {
                return Err(OpenError::Damaged {
                    dir: dir.into(),
                    why: format!("db/{marker} is missing"),
                });
            }
        }
        open_at(dir, &path)
    }

    /// Closes the database and returns when nothing of it can touch its files any more: a thread
    /// of it that still holds a part of a failed write would put it into the journal later.
    pub(crate) fn close(self) -> io::Result<()> {
        let supervisor = self.db.supervisor.clone();
        let alive = Arc::downgrade(&supervisor.keyspaces);
        drop(self);
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

fn create(dir: &Path, path: &Path) -> Result<(), OpenError> {
    let unusable = |error| OpenError::Unusable {
        dir: dir.into(),
        error,
    };
    let new = dir.join("db.new");
    match fs::remove_dir_all(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(error)),
        _ => {}
    }
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

fn open_at(dir: &Path, path: &Path) -> Result<Opened, OpenError> {
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
        Ok(Opened { records, db })
    }));
    // fjall asserts some of what it reads.
    let opened = opened.map_err(|_| OpenError::Damaged {
        dir: dir.into(),
        why: "it cannot be read".into(),
    })?;
    opened.map_err(|error| match io_error(error) {
        Ok(error) if is_content(&error) => OpenError::Damaged {
            dir: dir.into(),
            why: error.to_string(),
        },
        Ok(error) => OpenError::Unusable {
            dir: dir.into(),
            error,
        },
        Err(fjall::Error::Locked) => OpenError::InUse { dir: dir.into() },
        Err(error) => OpenError::Damaged {
            dir: dir.into(),
            why: describe(&error),
        },
    })
}

/// Whether the error is about what the files hold or that they are missing, and not about access to them.
fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, NotFound, UnexpectedEof};
    matches!(error.kind(), InvalidData | NotFound | UnexpectedEof)
}

#[cfg(unix)]
fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(not(unix))]
fn sync_directory(_: &Path) -> io::Result<()> {
    Ok(())
}
