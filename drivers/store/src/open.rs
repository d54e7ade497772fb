//! Opening and closing a data directory.

use std::collections::VecDeque;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;

use lsm_tree::Error as TreeError;

use crate::beside::Synced;
use crate::check;
use crate::disk::sync_directory;
use crate::error::{Damage, OpenError, describe};
use crate::log::format::{Header, VERSION};
use crate::log::{self, LogFile, Part, Policy, Scanned, ScannedFile, Tail};
use crate::options::Options;
use crate::rules::Rules;
use crate::shared::{self, View};
use crate::tree::{Stop, Tree};
use crate::writer::{Writer, random_salt};

/// An open database.
pub(crate) struct Opened {
    pub(crate) tree: Tree,
    pub(crate) view: View,
    pub(crate) writer: Writer,
    pub(crate) synced: Synced,
    /// The end of the log that was cut off.
    pub(crate) tail: Option<Tail>,
    pub(crate) stop: Stop,
}

/// The error of a directory that cannot be used.
pub(crate) fn unusable(dir: &Path, error: io::Error) -> OpenError {
    OpenError::Unusable {
        dir: dir.into(),
        error,
    }
}

impl Opened {
    /// Opens a database in a data directory that this process has locked, creating it if there is none. One that is not whole is left as it is.
    pub(crate) fn open(
        dir: &Path,
        path: &Path,
        options: &Options,
        policy: Policy,
    ) -> Result<Opened, OpenError> {
        let unusable = |error| unusable(dir, error);
        if !path.try_exists().map_err(unusable)? {
            create(dir, path, options)?;
        }
        if let Some(found) = other_version(path).map_err(unusable)? {
            return Err(OpenError::Version {
                dir: dir.into(),
                found,
                known: VERSION,
            });
        }
        let mut synced = Synced::open(path).map_err(unusable)?;
        let rules = options.rules;
        let mut found = check::check(&path.join("tree"), rules).map_err(unusable)?;
        let scanned = log::scan(&path.join("log"), synced.upto, policy, rules);
        let mut scanned = scanned.map_err(unusable)?;
        found.append(&mut scanned.found);
        let damaged = |found| OpenError::Damaged {
            dir: dir.into(),
            found,
        };
        if !found.is_empty() {
            return Err(damaged(found));
        }
        let stop = shared::stop();
        let tree = open_tree(dir, &path.join("tree"), options, &stop)?;
        let merged = tree
            .merged()
            .map_err(|error| damaged(vec![of_tree(&error)]))?;
        if let Some(why) = mismatch(&scanned, merged, rules) {
            let file = "db/log".into();
            return Err(damaged(vec![Damage { file, why }]));
        }
        let (view, writer) =
            go_on(options, &scanned.tail, scanned.files, synced.upto).map_err(unusable)?;
        remove_unfinished(path).map_err(unusable)?;
        // The note is raised: that of a damaged file is zero.
        synced.note(&*options.disk, writer.durable());
        Ok(Opened {
            tree,
            view,
            writer,
            synced,
            tail: scanned.tail,
            stop,
        })
    }
}

/// The version of a database that is of another one: 0 before there was a log.
fn other_version(path: &Path) -> io::Result<Option<u32>> {
    if path.join("keyspaces").try_exists()? && !path.join("tree").try_exists()? {
        return Ok(Some(0));
    }
    log::other_version(&path.join("log"))
}

/// Why a log and a tree do not belong together.
pub(crate) fn mismatch(scanned: &Scanned, merged: u64, rules: Rules) -> Option<String> {
    let Scanned { first, last, .. } = *scanned;
    if merged > last {
        let lost = merged - last;
        return Some(format!(
            "{lost} batches that were synced are missing at the end"
        ));
    }
    let missing = first.saturating_sub(merged.saturating_add(1));
    (missing > 0 && rules.tells_gaps())
        .then(|| format!("{missing} batches are missing at its beginning"))
}

/// Opens the files of a log that was found whole, cuts off its tail, and makes its last file durable: a record that was read may not be lost later.
/// Records that are not known to be synced are written once more: after a sync that failed the system takes their pages for written.
fn go_on(
    options: &Options,
    tail: &Option<Tail>,
    files: Vec<ScannedFile>,
    synced: u64,
) -> io::Result<(View, Writer)> {
    let disk = &options.disk;
    let mut parts = VecDeque::new();
    let mut unsynced = None;
    for scanned in files {
        unsynced = scanned.first_after(synced);
        parts.push_back(Part {
            file: Arc::new(LogFile {
                file: disk.open(&scanned.path)?,
                path: scanned.path,
                header: scanned.header,
            }),
            index: scanned.index,
            end: scanned.end as u64,
            last: scanned.last,
        });
    }
    let missing = || io::Error::from(io::ErrorKind::NotFound);
    let active = parts.pop_back().ok_or_else(missing)?;
    let file = &active.file.file;
    if let Some(tail) = tail
        && options.rules.cuts_tails()
    {
        disk.cut(file, tail.at)?;
    }
    if let Some(from) = unsynced
        && options.rules.rewrites_unsynced()
    {
        let bytes = active.file.read_all(&**disk, active.end)?;
        let rest = bytes.get(from..).unwrap_or_default();
        disk.write(file, rest, from as u64)?;
    }
    disk.sync(file)?;
    let writer = Writer::new(&active, file.metadata()?.len());
    let view = View {
        active: Some(active),
        sealed: parts.into_iter().map(Arc::new).collect(),
    };
    Ok((view, writer))
}

/// Removes files that a crash kept from getting their names: `N.new` of the log, and `.tmp...` of the tree.
fn remove_unfinished(db: &Path) -> io::Result<()> {
    let of_log = fs::read_dir(db.join("log"))?;
    for entry in of_log.chain(fs::read_dir(db.join("tree"))?) {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        let is_new = path.extension().is_some_and(|extension| extension == "new");
        if is_new || name.as_encoded_bytes().starts_with(b".tmp") {
            fs::remove_file(path)?;
        }
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

/// Removes a directory, if it is there.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn create(dir: &Path, path: &Path, options: &Options) -> Result<(), OpenError> {
    let unusable = |error| unusable(dir, error);
    let new = path.with_extension("made");
    remove(&new).map_err(unusable)?;
    drop(open_tree(dir, &new.join("tree"), options, &shared::stop())?);
    let made = || {
        let log = new.join("log");
        fs::create_dir(&log)?;
        let header = Header {
            number: 1,
            first: 1,
            salt: random_salt(options.rules)?,
        };
        log::create(options, &log, header, options.step).map_err(io::Error::other)?;
        sync_directory(&new)?;
        fs::rename(&new, path)?;
        sync_directory(dir)?;
        // Its own name has to survive as well, and it may be new.
        let absolute = std::path::absolute(dir)?;
        absolute.parent().map_or(Ok(()), sync_directory)
    };
    made().map_err(unusable)
}

/// Opens the tree of a database, or creates one.
pub(crate) fn open_tree(
    dir: &Path,
    path: &Path,
    options: &Options,
    stop: &Stop,
) -> Result<Tree, OpenError> {
    Tree::open(path, options.tree, stop).map_err(|error| match error {
        TreeError::Io(error) if !is_content(&error) => unusable(dir, error),
        error => OpenError::Damaged {
            dir: dir.into(),
            found: vec![of_tree(&error)],
        },
    })
}

fn of_tree(error: &TreeError) -> Damage {
    Damage {
        file: "db/tree".into(),
        why: describe(error),
    }
}

/// Whether the error is about what the files hold or that they are missing, and not about access to them.
fn is_content(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, NotFound, UnexpectedEof};
    // To seek before the beginning of a file that is too short is an invalid input.
    let kind = error.kind();
    matches!(kind, InvalidData | InvalidInput | NotFound | UnexpectedEof)
}
