//! Checkpoints of a store that is open: all its files at one moment, in a directory of their own, while writes go on.

mod error;
pub(crate) mod holds;
pub(crate) mod manifest;
mod place;
mod restore;
mod stage;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, TryLockError as Held};

use rumormill_core::io::Record;
use rumormill_core::store::Whose;

pub use self::error::CheckpointError;
use self::error::at;
use self::manifest::{Entry, FILES, MANIFEST, Manifest, Part};
pub(crate) use self::place::feed_file;
use self::place::{Came, Files};
pub(crate) use self::restore::UNFINISHED;
pub use self::restore::{Restored, restore};
pub(crate) use self::stage::STAGING;
use self::stage::{Source, Staged};
use crate::error::Damage;
use crate::progress::Progress;
use crate::shared::Shared;
use crate::{DiskStore, check};

/// The longest manifest that is read, in bytes: one of 200,000 tables.
const MANIFEST_BYTES: u64 = 64 << 20;
/// The file that keeps a second process out.
const LOCK: &str = "lock";

/// Makes checkpoints of an open store, on whatever thread it is called. Keeps nothing open once the store is dropped.
#[derive(Clone)]
pub struct Checkpointer {
    shared: Arc<Shared>,
}

/// A checkpoint that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Made {
    /// The batch that it ends with.
    pub watermark: u64,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that an earlier checkpoint in the directory had, whole.
    pub kept: u64,
    /// The bytes of those.
    pub kept_bytes: u64,
    /// Files that are second names of files in the data directory: a checkpoint on another disk has none.
    pub linked: u64,
}

impl DiskStore {
    /// Returns a maker of checkpoints, for other threads.
    pub fn checkpointer(&self) -> Checkpointer {
        Checkpointer {
            shared: Arc::clone(&self.shared),
        }
    }
}

impl Checkpointer {
    /// Makes a checkpoint in a directory that is absent, empty, or holds an earlier one of the same cluster, whose files are kept where they are the
    /// same. `name` is the node's, and `wall_ms` the time, both for readers. Writes go on meanwhile: the writer is never held up, but merging
    /// waits while files are linked, or copied where the file system has no links.
    ///
    /// Blocks until all is durable. A crash, or an error, leaves an earlier checkpoint whole.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub fn checkpoint(
        &self,
        dir: &Path,
        (name, wall_ms): (&str, u64),
        progress: &Progress,
    ) -> Result<Made, CheckpointError> {
        let shared = &*self.shared;
        let _one = match shared.checkpoint.try_lock() {
            Err(Held::WouldBlock) => return Err(CheckpointError::Busy),
            held => held,
        };
        let whose = self.whose()?;
        let target = Target::open(shared, dir, &whose)?;
        let staged = Staged::take(shared, progress)?;
        if self.whose()? != whose {
            return Err(CheckpointError::Moved);
        }
        staged
            .files
            .iter()
            .for_each(|source| progress.expect(source.len));
        let files = Files {
            disk: &*shared.disk,
            store: shared.data_dir(),
            dir: target.dir.clone(),
            rules: shared.options.rules,
            progress,
        };
        let mut made = Made {
            watermark: staged.watermark,
            files: 0,
            bytes: 0,
            kept: 0,
            kept_bytes: 0,
            linked: 0,
        };
        let mut manifest = Manifest {
            watermark: staged.watermark,
            wall_ms,
            whose,
            name: name.into(),
            files: Vec::new(),
        };
        for source in &staged.files {
            if shared.is_stopping() {
                return Err(CheckpointError::Closed);
            }
            let (sum, came) = files.put(source)?;
            made.files += 1;
            made.bytes += source.len;
            match came {
                Came::Kept => {
                    made.kept += 1;
                    made.kept_bytes += source.len;
                }
                Came::Linked => made.linked += 1,
                Came::Copied => {}
            }
            manifest.files.push(entry(&files, source, sum)?);
        }
        target.commit(&files, &manifest)?;
        Ok(made)
    }

    /// Reads which node the store is; a store without a node has none.
    fn whose(&self) -> Result<Whose, CheckpointError> {
        let mut records = Vec::new();
        for key in Whose::KEYS {
            let read = self.shared.read(key);
            let value = read.map_err(|error| match self.shared.is_stopping() {
                true => CheckpointError::Closed,
                false => at(&self.shared.db)(io::Error::other(error.to_string())),
            })?;
            let key = key.into();
            records.extend(value.map(|value| Record { key, value }));
        }
        Ok(Whose::of(&records).unwrap_or_default())
    }
}

/// Describes a file that is in its place.
fn entry(files: &Files<'_>, source: &Source, sum: u128) -> Result<Entry, CheckpointError> {
    let holds = match &source.holds {
        Some(holds) => holds.clone(),
        None => holds::of_table(&files.path(sum), sum).ok_or_else(|| files.damaged(source))?,
    };
    Ok(Entry {
        part: source.part,
        len: source.len,
        sum,
        holds,
    })
}

/// A directory that a checkpoint is made in, locked.
struct Target {
    dir: PathBuf,
    _lock: File,
}

impl Target {
    fn open(shared: &Shared, dir: &Path, whose: &Whose) -> Result<Target, CheckpointError> {
        let dir = std::path::absolute(dir).map_err(at(dir))?;
        if is_inside(&dir, shared.data_dir()).map_err(at(&dir))? {
            return Err(CheckpointError::Inside { dir });
        }
        look(&dir)?;
        let files = dir.join(FILES);
        shared.disk.create_directory(&files).map_err(at(&files))?;
        let lock = lock(&dir)?;
        if let Some(earlier) = read(&dir)?.filter(|earlier| earlier.whose.cluster != whose.cluster)
        {
            return Err(CheckpointError::OtherCluster {
                dir,
                name: earlier.whose.cluster_name,
                id: earlier.whose.cluster.to_string(),
            });
        }
        Ok(Target { dir, _lock: lock })
    }

    /// Makes the manifest that of the directory: from then on the checkpoint is this one.
    fn commit(&self, files: &Files<'_>, manifest: &Manifest) -> Result<(), CheckpointError> {
        let (dir, disk) = (&self.dir, files.disk);
        let folder = dir.join(FILES);
        disk.sync_directory(&folder).map_err(at(&folder))?;
        let named: HashSet<String> = manifest
            .files
            .iter()
            .map(|entry| manifest::name(entry.sum))
            .collect();
        let is_named = |name: &str| named.contains(name);
        if !files.rules.sweeps_last() {
            files.sweep(&is_named);
        }
        let (new, to) = (dir.join("manifest.new"), dir.join(MANIFEST));
        files.write_whole(&new, &to, &manifest.to_bytes())?;
        disk.sync_directory(dir).map_err(at(dir))?;
        // Its own name has to survive as well, and it may be new.
        if let Some(parent) = dir.parent() {
            disk.sync_directory(parent).map_err(at(parent))?;
        }
        files.sweep(&is_named);
        Ok(())
    }
}

/// Locks a checkpoint's directory until the file is dropped.
fn lock(dir: &Path) -> Result<File, CheckpointError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CheckpointError::InUse { dir: dir.into() }),
        Err(TryLockError::Error(error)) => Err(at(&path)(error)),
    }
}

/// Refuses a directory that holds anything but a checkpoint, whole or begun.
fn look(dir: &Path) -> Result<(), CheckpointError> {
    let occupied = |why: String| CheckpointError::Occupied {
        dir: dir.into(),
        why,
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            return Err(occupied("it is a file".into()));
        }
        entries => entries.map_err(at(dir))?,
    };
    for entry in entries {
        let name = entry.map_err(at(dir))?.file_name();
        let name = name.to_string_lossy();
        if ![FILES, MANIFEST, "manifest.new", LOCK].contains(&&*name) {
            return Err(occupied(format!("it holds {name}")));
        }
    }
    let files = match fs::read_dir(dir.join(FILES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files.map_err(at(dir))?,
    };
    for entry in files {
        let name = entry.map_err(at(dir))?.file_name();
        let name = name.to_string_lossy();
        if !is_of_checkpoint(&name) {
            return Err(occupied(format!("it holds files/{name}")));
        }
    }
    Ok(())
}

/// Whether a file of that name can be one of a checkpoint, or was to become one.
fn is_of_checkpoint(name: &str) -> bool {
    let is_sum = name.len() == 32 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_sum || name.ends_with(".new")
}

/// Reads the manifest in a directory, where there is one.
fn read(dir: &Path) -> Result<Option<Manifest>, CheckpointError> {
    let path = dir.join(MANIFEST);
    let read = read_bounded(&path).map_err(at(&path))?;
    let Some(bytes) = read else {
        return Ok(None);
    };
    let read = Manifest::from_bytes(&bytes).map(Some);
    read.map_err(|why| CheckpointError::Damaged {
        dir: dir.into(),
        found: vec![Damage {
            file: MANIFEST.into(),
            why: why.into(),
        }],
    })
}

/// Reads a manifest's bytes, if it is there and not too long to be one.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::metadata(path) {
        Ok(found) if found.len() > MANIFEST_BYTES => Ok(Some(Vec::new())),
        _ => check::read(path),
    }
}

/// Whether a path, which need not exist, is a directory or lies in it.
fn is_inside(path: &Path, dir: &Path) -> io::Result<bool> {
    let dir = fs::canonicalize(dir)?;
    for ancestor in path.ancestors() {
        match fs::canonicalize(ancestor) {
            Ok(found) => return Ok(found.starts_with(&dir)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // Something on the way is a file: the caller will say so.
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Returns where a part lies in a database that is restored.
fn place_of(db: &Path, part: Part) -> PathBuf {
    db.join(part.path())
}
