//! Commands on a node's store: checkpoints, their restore, and verifying.

use std::path::PathBuf;

use clap::Subcommand;

use super::ServerArgs;

/// The commands on a store.
#[derive(Debug, Subcommand)]
pub(crate) enum Upkeep {
    /// Copy all that a running node holds at one moment into a directory, while it goes on
    ///
    /// DIR is on the node's machine: absent, empty, or with an earlier checkpoint of the cluster, of which files that have not changed are
    /// kept. On the disk of the data directory its files are second names of the store's: against a lost disk, copy DIR elsewhere.
    Checkpoint {
        /// The directory
        dir: PathBuf,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Make a data directory of a checkpoint, for a new node
    ///
    /// Every file is checked. The node gets an id of its own when it is started: with --join it enters the cluster with the rows of the
    /// checkpoint, and what was deleted since stays deleted; without, where the whole cluster is lost, it begins another with them.
    Restore {
        /// The checkpoint
        dir: PathBuf,
        /// The data directory: absent or empty
        #[arg(long, value_name = "NEW")]
        data_dir: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Look for damage: every checksum, every index against its rows, every record
    ///
    /// DIR is a checkpoint, or the data directory of a node that does not run. Without DIR a running node verifies its own files. Each
    /// fault is a line that says the file and what it held, and the exit code is 1.
    Verify {
        /// The directory
        dir: Option<PathBuf>,
        /// Bytes per second at most, of a running node; 0 for no limit
        #[arg(long, value_name = "N", default_value_t = 64 << 20)]
        rate: u64,
        #[command(flatten)]
        server: ServerArgs,
    },
}
