//! Whether a checkpoint or a data directory is whole: every checksum, every index against its rows, and every record.

mod checkpoint;
mod data;
mod logs;
pub(crate) mod table;

pub(crate) use self::checkpoint::sum;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::checkpoint::manifest::{FILES, MANIFEST};
use crate::error::OpenError;
use crate::progress::Progress;

/// So many faults are told; more are counted.
const TOLD: usize = 1_000;

/// A file that is not as it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The file, below the directory.
    pub file: String,
    /// The fault.
    pub why: String,
    /// The content that it had, in words.
    pub held: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; it held {}", self.file, self.why, self.held)
    }
}

/// The findings about a directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Whether it is a checkpoint; else it is a data directory.
    pub checkpoint: bool,
    /// The last batch, as far as it is known.
    pub watermark: u64,
    /// The files that were read.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The rows, deletes and operations of the log that were read.
    pub rows: u64,
    /// Its faults, at most 1,000 of them.
    pub faults: Vec<Fault>,
    /// The faults beyond those.
    pub more: u64,
}

impl Verified {
    /// Returns whether it has no fault.
    pub fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn fault(&mut self, file: String, why: impl Into<String>, held: impl Into<String>) {
        if self.faults.len() < TOLD {
            let (why, held) = (why.into(), held.into());
            self.faults.push(Fault { file, why, held });
        } else {
            self.more += 1;
        }
    }
}

/// Why a directory could not be verified. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is neither a checkpoint nor a data directory.
    #[error("{} is neither a checkpoint nor a data directory: {why}", .dir.display())]
    Neither {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        why: String,
    },
    /// A process uses it.
    #[error("{} is in use by another process: a running node is verified without DIR", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The caller stopped it.
    #[error("it was told to stop")]
    Stopped,
    /// A file cannot be read, for another reason than its content.
    #[error("cannot read {}: {error}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
}

/// Names the file that an error of the system is about.
pub(crate) fn at(path: &Path) -> impl Fn(io::Error) -> VerifyError + '_ {
    |error| match error.kind() {
        io::ErrorKind::Interrupted => VerifyError::Stopped,
        _ => VerifyError::Unusable {
            path: path.into(),
            error,
        },
    }
}

/// The parts that are looked at besides checksums.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Depth {
    /// Whether records have to be those of a node.
    pub(crate) records: bool,
}

/// Verifies a checkpoint, or the data directory of a node that does not run: each checksum, each row of a table through the table's own filter and
/// index, each batch of the log, and each record. Nothing is changed. Blocks for as long as it takes to read all files twice.
///
/// # Errors
/// See [`VerifyError`]; faults are no error.
pub fn verify(dir: &Path, progress: &Progress) -> Result<Verified, VerifyError> {
    verify_to(dir, Depth { records: true }, progress)
}

pub(crate) fn verify_to(
    dir: &Path,
    depth: Depth,
    progress: &Progress,
) -> Result<Verified, VerifyError> {
    let has = |name: &str| dir.join(name).try_exists().map_err(at(dir));
    if has(MANIFEST)? || has(FILES)? {
        return checkpoint::verify(dir, depth, progress);
    }
    if has("db")? || has("identity")? {
        return data::verify(dir, depth, progress);
    }
    let why = match has(crate::checkpoint::UNFINISHED)? {
        true => "it has half of a checkpoint, whose restore did not end",
        false => "it has no manifest and no database",
    };
    Err(VerifyError::Neither {
        dir: dir.into(),
        why: why.into(),
    })
}

/// The error of a directory that cannot be locked.
fn of_lock(error: OpenError) -> VerifyError {
    match error {
        OpenError::InUse { dir } => VerifyError::InUse { dir },
        OpenError::Unusable { dir, error } => at(&dir)(error),
        error => VerifyError::Unusable {
            path: PathBuf::new(),
            error: io::Error::other(error.to_string()),
        },
    }
}
