//! Errors, in words for one line.

use std::fmt;
use std::io;
use std::path::PathBuf;

use lsm_tree::Error as TreeError;
use rumormill_kit::store::StoreError;

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It cannot be created, read or written.
    #[error("cannot use the data directory {}: {error}", .dir.display())]
    Unusable {
        /// The directory.
        dir: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// Another process, or another store of this process, has it open.
    #[error("the data directory {} is in use by another process", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// Its content is not whole. Nothing was changed.
    #[error("the data directory {} is damaged: {}", .dir.display(), name_all(.found))]
    Damaged {
        /// The directory.
        dir: PathBuf,
        /// The damaged parts.
        found: Vec<Damage>,
    },
    /// It was written by a program with another version of the store, which this one does not read. Nothing was changed.
    #[error("the data directory {} holds version {found} of the store, and this program reads version {known}: {}", .dir.display(), remedy(*.found, *.known))]
    Version {
        /// The directory.
        dir: PathBuf,
        /// Its version; 0 is that of programs from before there was a log.
        found: u32,
        /// The version that this program reads and writes.
        known: u32,
    },
    /// A checkpoint was being restored into it, and that did not end.
    #[error("{} has half of a checkpoint: run the restore again, or remove the directory", .dir.display())]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// Too many damaged databases lie there, set aside.
    #[error("{aside} damaged databases were set aside in {}: look at them, and remove some", .dir.display())]
    Crowded {
        /// The directory.
        dir: PathBuf,
        /// How many.
        aside: usize,
    },
}

/// A part of a store that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The file, below the data directory.
    pub file: String,
    /// The fault.
    pub why: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file, self.why)
    }
}

/// Advises an operator whose data directory is of another version.
fn remedy(found: u32, known: u32) -> &'static str {
    match found > known {
        true => "start it with the newer program that wrote it",
        false => {
            "start it with the program that wrote it, export its tables and import them here, or start with an empty \
             directory and let a member fill it"
        }
    }
}

/// How many parts are named.
const NAMED: usize = 3;

/// Names damaged parts, in one line.
pub(crate) fn name_all(found: &[Damage]) -> String {
    let named: Vec<String> = found.iter().take(NAMED).map(Damage::to_string).collect();
    match found.len().saturating_sub(NAMED) {
        0 => named.join("; "),
        more => format!("{}; and {more} more", named.join("; ")),
    }
}

/// `ENFILE` and `EMFILE`, the same on every Unix: the system or this process has too many files open.
#[cfg(unix)]
const TOO_MANY_FILES: [i32; 2] = [23, 24];
#[cfg(not(unix))]
const TOO_MANY_FILES: [i32; 0] = [];

/// Whether an error of the system means that there is no space left, or no file descriptor: the same may succeed later.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let no_space = matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    );
    let no_file = |code| TOO_MANY_FILES.contains(&code);
    no_space || error.raw_os_error().is_some_and(no_file)
}

/// The tree's error in words.
pub(crate) fn describe(error: &TreeError) -> String {
    match error {
        TreeError::Io(error) => error.to_string(),
        TreeError::ChecksumMismatch { .. } => "a checksum does not match".into(),
        TreeError::Unrecoverable => "it cannot be read".into(),
        other => format!("{other:?}"),
    }
}

/// The tree's error as the store's.
pub(crate) fn store_error(error: TreeError) -> StoreError {
    match &error {
        TreeError::Io(system) if is_full(system) => StoreError::Full(system.to_string()),
        error => StoreError::Failed(describe(error)),
    }
}

/// The system's error as the store's.
pub(crate) fn of_io(error: io::Error) -> StoreError {
    match is_full(&error) {
        true => StoreError::Full(error.to_string()),
        false => StoreError::Failed(error.to_string()),
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn space_and_descriptors_may_be_there_later() {
        // ENFILE, EMFILE and ENOSPC; EIO and EACCES.
        for (code, full) in [(23, true), (24, true), (28, true), (5, false), (13, false)] {
            let error = io::Error::from_raw_os_error(code);
            assert_eq!(is_full(&error), full, "{error}");
        }
    }
}
