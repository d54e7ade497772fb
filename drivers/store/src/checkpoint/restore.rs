//! From a checkpoint to a data directory, of a node that is a new one.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::Store as _;
use xxhash_rust::xxh3::Xxh3;

use super::error::{CheckpointError, at};
use super::manifest::{Entry, Manifest};
use super::{lock, misfit, place_of, read};
use crate::beside::Identity;
use crate::check;
use crate::disk::sync_directory;
use crate::error::{Damage, OpenError};
use crate::feed::feed_file;
use crate::log::Policy;
use crate::open::{self, remove};
use crate::progress::Progress;
use crate::{DiskStore, Options};

/// A database that is being restored, below the data directory. While it is there the directory is not opened.
pub(crate) const UNFINISHED: &str = "db.restoring";

/// A checkpoint that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The batch that it ended with.
    pub watermark: u64,
    /// The files that were copied.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The name of the cluster: the node has to be started with it.
    pub cluster_name: String,
    /// The name of the node that made the checkpoint.
    pub made_by: String,
    /// When it was made, in milliseconds of the wall clock.
    pub made_at_ms: u64,
}

/// Makes a data directory from the checkpoint in `dir`. The directory has to be absent or empty; one that a restore has begun and not
/// finished is begun anew. All files are copied, and each is checked. The node that is started there is a new one, which holds the rows of the
/// checkpoint. Blocks until all is durable; until then the directory is not opened by a node.
///
/// # Errors
/// See [`CheckpointError`]: [`CheckpointError::Damaged`] names the files that are not whole. Nothing that could be started is left.
pub fn restore(
    dir: &Path,
    data_dir: &Path,
    options: Options,
    progress: &Progress,
) -> Result<Restored, CheckpointError> {
    let none = |why: &str| CheckpointError::NoCheckpoint {
        dir: dir.into(),
        why: why.into(),
    };
    if !dir.is_dir() {
        return Err(none("it is no directory"));
    }
    // Its files must not be removed meanwhile. On a medium that cannot be written no process does.
    let _lock = match lock(dir, false) {
        Err(error @ CheckpointError::InUse { .. }) => return Err(error),
        lock => lock.ok(),
    };
    let manifest = read(dir)?.ok_or_else(|| none("it has no manifest"))?;
    let db = data_dir.join(UNFINISHED);
    let data_lock = begin(data_dir, &db)?;
    manifest
        .files
        .iter()
        .for_each(|entry| progress.expect(entry.len));
    let mut found = Vec::new();
    for folder in ["tree/tables", "log"] {
        let folder = db.join(folder);
        fs::create_dir_all(&folder).map_err(at(&folder))?;
    }
    for entry in &manifest.files {
        found.extend(copy(dir, &db, entry, progress)?);
    }
    if !found.is_empty() {
        return Err(CheckpointError::Damaged {
            dir: dir.into(),
            found,
        });
    }
    for folder in ["tree/tables", "tree", "log", ""] {
        let folder = db.join(folder);
        sync_directory(&folder).map_err(at(&folder))?;
    }
    let lock = mark(dir, data_dir, options, &manifest, Arc::new(data_lock))?;
    let done = data_dir.join("db");
    fs::rename(&db, &done).map_err(at(&done))?;
    sync_directory(data_dir).map_err(at(data_dir))?;
    drop(lock);
    Ok(restored(&manifest))
}

fn restored(manifest: &Manifest) -> Restored {
    let bytes = manifest.files.iter().map(|entry| entry.len);
    Restored {
        watermark: manifest.watermark,
        files: manifest.files.len() as u64,
        bytes: bytes.sum(),
        cluster_name: manifest.whose.cluster_name.clone(),
        made_by: manifest.name.clone(),
        made_at_ms: manifest.wall_ms,
    }
}

/// Takes a data directory that is absent or empty, or begun by a restore, and locks it.
fn begin(data_dir: &Path, db: &Path) -> Result<File, CheckpointError> {
    let occupied = |name: String| CheckpointError::Occupied {
        dir: data_dir.into(),
        why: format!("it holds {name}"),
    };
    if let Some(name) = occupant(data_dir)? {
        return Err(occupied(name));
    }
    // First of all: a directory without it would be opened as that of a node without rows.
    fs::create_dir_all(db).map_err(at(db))?;
    let lock = open::lock(data_dir).map_err(|error| match error {
        OpenError::InUse { dir } => CheckpointError::InUse { dir },
        OpenError::Unusable { dir, error } => at(&dir)(error),
        error => at(data_dir)(io::Error::other(error.to_string())),
    })?;
    // A node may have been started there since.
    if let Some(name) = occupant(data_dir)? {
        let _ = remove(db);
        return Err(occupied(name));
    }
    remove(db).map_err(at(db))?;
    fs::create_dir_all(db).map_err(at(db))?;
    sync_directory(data_dir).map_err(at(data_dir))?;
    // Its own name has to survive as well, and it may be new.
    let absolute = std::path::absolute(data_dir).map_err(at(data_dir))?;
    if let Some(parent) = absolute.parent() {
        sync_directory(parent).map_err(at(parent))?;
    }
    Ok(lock)
}

/// Returns the name of something in a directory that no restore has begun there.
fn occupant(data_dir: &Path) -> Result<Option<String>, CheckpointError> {
    let entries = match fs::read_dir(data_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries.map_err(at(data_dir))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry.map_err(at(data_dir))?.file_name());
    }
    let is_begun = names.iter().any(|name| name == UNFINISHED);
    let is_ours = |name: &&OsString| {
        *name == UNFINISHED || *name == "lock" || is_begun && Identity::is_of(name)
    };
    let other = names.iter().find(|name| !is_ours(name));
    Ok(other.map(|name| name.to_string_lossy().into_owned()))
}

/// Copies a file, and returns the damage it finds.
fn copy(
    dir: &Path,
    db: &Path,
    entry: &Entry,
    progress: &Progress,
) -> Result<Option<Damage>, CheckpointError> {
    let (from, to) = (dir.join(entry.file()), place_of(db, entry.part));
    let damage = |why: &str| Damage {
        file: entry.file().display().to_string(),
        why: format!("{why}; it held {entry}"),
    };
    if !from.try_exists().map_err(at(&from))? {
        return Ok(Some(damage(check::MISSING)));
    }
    if let Some(why) = misfit(&from, entry.len).map_err(at(&from))? {
        return Ok(Some(damage(&why)));
    }
    let mut out = File::create(&to).map_err(at(&to))?;
    let mut sum = Xxh3::new();
    let fed = feed_file(&from, &mut |chunk| {
        sum.update(chunk);
        out.write_all(chunk).map_err(|error| (true, error))?;
        let step = progress.step(chunk.len() as u64);
        step.map_err(|error| (true, error))
    });
    fed.map_err(|fed| fed.at(&from, &to))?;
    out.sync_all().map_err(at(&to))?;
    Ok((sum.digest128() != entry.sum).then(|| damage(check::WRONG)))
}

/// Opens the database as a start would, and writes into it that its node is a new one. Returns the lock of its directory.
fn mark(
    dir: &Path,
    data_dir: &Path,
    options: Options,
    manifest: &Manifest,
    lock: Arc<File>,
) -> Result<Arc<File>, CheckpointError> {
    let failed = |error: &dyn std::fmt::Display| {
        let error = io::Error::other(error.to_string());
        at(&data_dir.join(UNFINISHED))(error)
    };
    let opened = DiskStore::of(data_dir, UNFINISHED, options, Policy::Damage, lock);
    let mut store = opened.map_err(|error| match error {
        OpenError::Damaged { found, .. } => CheckpointError::Damaged {
            dir: dir.into(),
            found,
        },
        error => failed(&error),
    })?;
    if let Some(cut) = store.cut() {
        return Err(failed(cut));
    }
    if store.last() != manifest.watermark {
        return Err(failed(&"its log does not end at the watermark"));
    }
    let mut note = vec![StoreOp::Put(Record::restored())];
    note.retain(|_| store.shared.options.rules.notes_restored());
    let noted = store.apply(&note).and_then(|()| store.sync());
    noted.map_err(|error| failed(&error))?;
    if store.shared.options.rules.copies_restored() {
        // Should the database be damaged before its first start, the node must not come back as the one that made the checkpoint.
        let copied = Identity::write(&*store.shared.disk, data_dir, &[Record::restored()]);
        copied.map_err(at(data_dir))?;
    }
    Ok(store.close())
}
