//! Errors of checkpoints, in words for one line.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Damage, is_full, name_all};

/// Why a checkpoint was not made, or not restored. An earlier checkpoint in the directory is whole, as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// The store is closed, or was closed meanwhile.
    #[error("the store is closed")]
    Closed,
    /// The caller stopped it.
    #[error("it was told to stop")]
    Stopped,
    /// Another checkpoint of this store is being made.
    #[error("another checkpoint of this node is being made")]
    Busy,
    /// Another process uses the checkpoint's directory.
    #[error("{} is in use by another process", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory lies in the node's data directory.
    #[error("{} lies in the data directory, which a checkpoint is a copy of", .dir.display())]
    Inside {
        /// The directory.
        dir: PathBuf,
    },
    /// The directory holds something else.
    #[error("{} is no place for it: {why}", .dir.display())]
    Occupied {
        /// The directory.
        dir: PathBuf,
        /// Its content.
        why: String,
    },
    /// The directory holds a checkpoint of another cluster.
    #[error("{} holds a checkpoint of the cluster {name} ({id}), and this node is of another", .dir.display())]
    OtherCluster {
        /// The directory.
        dir: PathBuf,
        /// The name of the cluster.
        name: String,
        /// The id of the cluster.
        id: String,
    },
    /// The node entered another cluster while the checkpoint was made.
    #[error("the node has entered another cluster meanwhile: try again")]
    Moved,
    /// There is no checkpoint to restore.
    #[error("{} holds no checkpoint: {why}", .dir.display())]
    NoCheckpoint {
        /// The directory.
        dir: PathBuf,
        /// The reason.
        why: String,
    },
    /// Files are not whole: those of the store, or those of the checkpoint that is restored.
    #[error("{} is damaged: {}", .dir.display(), name_all(.found))]
    Damaged {
        /// The data directory or the checkpoint's.
        dir: PathBuf,
        /// The damaged parts.
        found: Vec<Damage>,
    },
    /// No space is left. The same may succeed later.
    #[error("no space for {}: {error}", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
    /// A file cannot be read or written.
    #[error("cannot use {}: {error}", .path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        error: io::Error,
    },
}

/// Names the file that an error of the system is about.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> CheckpointError + '_ {
    |error| {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::Interrupted => CheckpointError::Stopped,
            _ if is_full(&error) => CheckpointError::Full { path, error },
            _ => CheckpointError::Unusable { path, error },
        }
    }
}
