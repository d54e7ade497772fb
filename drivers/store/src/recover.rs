//! From a data directory to a node, whatever state the directory is in.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;

use rumormill_core::{Config, Node, Now, Recovery, Seed, errors::RecoverError, io::Record};
use rumormill_kit::store::{LoadError, Store, StoreError};

use crate::beside::Identity;
use crate::error::name_all;
use crate::log::Policy;
use crate::{Cut, Damage, DiskStore, OpenError, Options, Salvage};

/// A node and its store.
pub struct Recovered {
    /// The node, in a new boot.
    pub node: Node,
    /// The store, open.
    pub store: DiskStore,
    /// The damaged database, if there was one.
    pub set_aside: Option<SetAside>,
    /// The end of the log that was cut off, if it had one that was not whole.
    pub cut: Option<Cut>,
}

/// A damaged database that was set aside, and what a new one began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The damaged parts.
    pub found: Vec<Damage>,
    /// Where it lies.
    pub aside: PathBuf,
    /// How many others lie there. Nothing removes them.
    pub earlier: usize,
    /// How many records could be read.
    pub records: u64,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, aside) = (name_all(&self.found), self.aside.display());
        let records = self.records;
        write!(
            f,
            "the store was damaged ({found}) and lies in {aside}; {records} of its records could be read"
        )?;
        match self.earlier {
            0 => Ok(()),
            earlier => write!(
                f,
                "; {earlier} earlier ones lie beside it: check the disk, and remove them"
            ),
        }
    }
}

/// Why a data directory does not become a node. Nothing was changed, except that the end of a log may have been cut off that was not whole and
/// never durable.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// It cannot be opened.
    #[error("{0}")]
    Open(OpenError),
    /// It cannot be read.
    #[error("{0}")]
    Load(StoreError),
    /// It is whole, and not for this node.
    #[error("{0}")]
    Refused(RecoverError),
    /// It is damaged, and the node knows no member that could repair it.
    #[error(
        "the data directory {} is damaged: {what}. No member is known that could repair it, and nothing was changed",
        .dir.display()
    )]
    Alone {
        /// The directory.
        dir: PathBuf,
        /// The damaged parts, in words.
        what: String,
    },
}

/// Opens the store in a directory and builds the node that it holds. A damaged database is set aside, and what could be read of it put into a
/// new one, if [`Recovery::finish`] finds a way for the node to go on; until then nothing is changed. Where it finds none, and nothing proves
/// that the damaged end of a log was ever durable, the log is cut there. Blocks as [`DiskStore::open_with`] does.
///
/// # Errors
///
/// See [`Failure`].
pub fn recover(
    dir: &Path,
    options: Options,
    config: Config,
    seed: Seed,
    now: Now,
) -> Result<Recovered, Failure> {
    let again = config.clone();
    let recovery = begin(dir, config, seed);
    let found = match DiskStore::open_with(dir, options.clone()) {
        Ok(store) => return from_whole(store, recovery, dir, now),
        Err(OpenError::Damaged { found, .. }) => found,
        Err(error) => return Err(Failure::Open(error)),
    };
    match from_damaged(dir, options.clone(), found, recovery, now) {
        Err(Failure::Alone { dir: named, what }) => {
            // A power cut writes what was not synced in any order: what is behind a hole was never promised.
            match DiskStore::open_as(dir, options, Policy::Cut) {
                Ok(store) => from_whole(store, begin(dir, again, seed), dir, now),
                Err(_) => Err(Failure::Alone { dir: named, what }),
            }
        }
        recovered => recovered,
    }
}

fn begin(dir: &Path, config: Config, seed: Seed) -> Recovery {
    let mut recovery = Recovery::new(config, seed);
    for record in Identity::read(dir) {
        recovery.spare(&record);
    }
    recovery
}

fn from_whole(
    mut store: DiskStore,
    mut recovery: Recovery,
    dir: &Path,
    now: Now,
) -> Result<Recovered, Failure> {
    load(load_beside(&mut store, &mut recovery))?;
    let node = finish(recovery, dir, now)?;
    let cut = store.cut().cloned();
    Ok(Recovered {
        node,
        store,
        set_aside: None,
        cut,
    })
}

fn from_damaged(
    dir: &Path,
    options: Options,
    found: Vec<Damage>,
    mut recovery: Recovery,
    now: Now,
) -> Result<Recovered, Failure> {
    let mut salvage = Salvage::read(dir, options, found).map_err(Failure::Open)?;
    let loaded = load(salvage.load(&mut |record| recovery.record(record)));
    let set_aside = salvage.set_aside();
    let node = match loaded.and_then(|()| finish(recovery, dir, now)) {
        Ok(node) => node,
        Err(failure) => {
            salvage.discard();
            return Err(match failure {
                Failure::Alone { dir, .. } => Failure::Alone {
                    dir,
                    what: name_all(&set_aside.found),
                },
                failure => failure,
            });
        }
    };
    let store = salvage.keep().map_err(Failure::Open)?;
    Ok(Recovered {
        node,
        store,
        set_aside: Some(set_aside),
        cut: None,
    })
}

/// Records that are handed over at once, and how many such pieces may wait.
const PIECE: usize = 1_000;
const PIECES: usize = 4;
/// Bytes after which a piece is handed over though it has fewer records.
const PIECE_BYTES: usize = 1 << 20;

/// Reads the store on one thread, and takes its records in on another, since both have much to do.
fn load_beside(
    store: &mut DiskStore,
    recovery: &mut Recovery,
) -> Result<(), LoadError<RecoverError>> {
    let (sender, pieces) = mpsc::sync_channel::<Vec<Record>>(PIECES);
    thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let mut piece = Vec::with_capacity(PIECE);
            let mut bytes = 0;
            let read = store.load(&mut |record| {
                bytes += record.key.len() + record.value.len();
                piece.push(record);
                if piece.len() < PIECE && bytes < PIECE_BYTES {
                    return Ok(());
                }
                bytes = 0;
                let full = std::mem::replace(&mut piece, Vec::with_capacity(PIECE));
                sender.send(full)
            });
            match read {
                Ok(()) => drop(sender.send(piece)),
                // No record is taken in any more, and the cause is told there.
                Err(LoadError::Refused(_)) => {}
                Err(LoadError::Store(error)) => return Err(error),
                Err(error) => return Err(StoreError::Failed(error.to_string())),
            }
            Ok(())
        });
        let taken = pieces
            .iter()
            .flatten()
            .try_for_each(|record| recovery.record(record));
        drop(pieces);
        let read = reader.join().unwrap_or_else(|_| {
            let why = "the thread that reads it panicked";
            Err(StoreError::Failed(why.into()))
        });
        taken.map_err(LoadError::Refused)?;
        read.map_err(LoadError::Store)
    })
}

fn load(loaded: Result<(), LoadError<RecoverError>>) -> Result<(), Failure> {
    loaded.map_err(|error| match error {
        LoadError::Store(error) => Failure::Load(error),
        LoadError::Refused(error) => Failure::Refused(error),
        error => Failure::Load(StoreError::Failed(error.to_string())),
    })
}

fn finish(recovery: Recovery, dir: &Path, now: Now) -> Result<Node, Failure> {
    recovery.finish(now).map_err(|error| match error {
        RecoverError::Lost { .. }
        | RecoverError::Damaged { .. }
        | RecoverError::Incomplete { .. } => Failure::Alone {
            dir: dir.into(),
            what: error.to_string(),
        },
        error => Failure::Refused(error),
    })
}
