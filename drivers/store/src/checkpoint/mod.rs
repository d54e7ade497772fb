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
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, TryLockError as Held};

use rumormill_core::io::Record;
use rumormill_core::store::Whose;

pub use self::error::CheckpointError;
use self::error::at;
use self::manifest::{Entry, FILES, MANIFEST, Manifest, Part};
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
        let files = Files {
            disk: &*shared.disk,
            store: shared.data_dir(),
            dir: target.dir.clone(),
            rules: shared.options.rules,
            progress,
        };
        let made = self.fill(&files, &target, whose, (name, wall_ms));
        if made.is_err() && files.rules.sweeps_failed() {
            target.sweep(&files);
        }
        made
    }

    /// Puts all files into the directory, and makes them its checkpoint.
    fn fill(
        &self,
        files: &Files<'_>,
        target: &Target,
        whose: Whose,
        (name, wall_ms): (&str, u64),
    ) -> Result<Made, CheckpointError> {
        let shared = &*self.shared;
        let staged = Staged::take(shared, files.progress)?;
        if self.whose()? != whose {
            return Err(CheckpointError::Moved);
        }
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
            files.progress.expect(source.len);
        }
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
            manifest.files.push(entry(files, source, sum)?);
        }
        target.commit(files, &manifest)?;
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
    /// The names of the files of the checkpoint that it holds.
    earlier: HashSet<String>,
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
        let lock = lock(&dir, true)?;
        let earlier = read(&dir)?;
        let names = earlier.as_ref().map(Manifest::names).unwrap_or_default();
        if let Some(earlier) = earlier.filter(|earlier| earlier.whose.cluster != whose.cluster) {
            return Err(CheckpointError::OtherCluster {
                dir,
                name: earlier.whose.cluster_name,
                id: earlier.whose.cluster.to_string(),
            });
        }
        Ok(Target {
            dir,
            earlier: names,
            _lock: lock,
        })
    }

    /// Removes what a checkpoint has left that failed: a disk that is full would stay full. Files stay that the earlier one names, and those of
    /// the manifest that is there now.
    fn sweep(&self, files: &Files<'_>) {
        if let Ok(now) = read(&self.dir) {
            let now = now.as_ref().map(Manifest::names).unwrap_or_default();
            files.sweep(&|name| self.earlier.contains(name) || now.contains(name));
        }
    }

    /// Makes the manifest that of the directory: from then on the checkpoint is this one.
    fn commit(&self, files: &Files<'_>, manifest: &Manifest) -> Result<(), CheckpointError> {
        let (dir, disk) = (&self.dir, files.disk);
        let folder = dir.join(FILES);
        disk.sync_directory(&folder).map_err(at(&folder))?;
        let named = manifest.names();
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

/// Locks a checkpoint's directory until the file is dropped: for one that writes, or for any number of those that read.
fn lock(dir: &Path, writes: bool) -> Result<File, CheckpointError> {
    let path = dir.join(LOCK);
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true);
    let file = options.open(&path).map_err(at(&path))?;
    let locked = match writes {
        true => file.try_lock(),
        false => file.try_lock_shared(),
    };
    match locked {
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
    let mut is_begun = false;
    for entry in entries {
        let name = entry.map_err(at(dir))?.file_name();
        let name = name.to_string_lossy();
        if ![FILES, MANIFEST, "manifest.new", LOCK].contains(&&*name) {
            return Err(occupied(format!("it holds {name}")));
        }
        is_begun |= [MANIFEST, LOCK].contains(&&*name);
    }
    let files = match fs::read_dir(dir.join(FILES)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        files => files.map_err(at(dir))?,
    };
    for entry in files {
        let name = entry.map_err(at(dir))?.file_name();
        let name = name.to_string_lossy();
        // Files of other programs are named by sums as well: what no manifest names would be removed.
        if !is_begun || !is_of_checkpoint(&name) {
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

/// Reads a manifest's bytes, if it is there: none where it is no file, or too long to be one.
pub(crate) fn read_bounded(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() || found.len() > MANIFEST_BYTES => Ok(Some(Vec::new())),
        _ => check::read(path),
    }
}

/// Says why a file of a checkpoint is not read at all: it is a link, a pipe or the like, or has another length. Bytes from elsewhere are never
/// followed, and never read without an end. Says nothing of a file that is not there.
///
/// # Errors
/// The system's.
pub(crate) fn misfit(path: &Path, len: u64) -> io::Result<Option<String>> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
        Ok(found) if !found.is_file() => Ok(Some("it is no file".into())),
        Ok(found) if found.len() != len => {
            let why = format!("it has {} bytes instead of {len}", found.len());
            Ok(Some(why))
        }
        Ok(_) => Ok(None),
    }
}

/// Whether a path, which need not exist, is a directory or lies in it.
///
/// # Errors
/// The system's, and one for a path that goes back from a name that does not exist: nothing says where it would lead.
fn is_inside(path: &Path, dir: &Path) -> io::Result<bool> {
    let dir = fs::canonicalize(dir)?;
    for ancestor in path.ancestors() {
        match fs::canonicalize(ancestor) {
            Ok(found) => {
                let rest = path.strip_prefix(ancestor).unwrap_or(path);
                let goes_back = rest.components().any(|part| part == Component::ParentDir);
                return match goes_back && !found.starts_with(&dir) {
                    true => Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "it goes back from a name that does not exist",
                    )),
                    false => Ok(found.starts_with(&dir)),
                };
            }
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
