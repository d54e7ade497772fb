//! Commands on the settings of the cluster.

use clap::Subcommand;

use super::ServerArgs;

/// The commands on settings.
#[derive(Debug, Subcommand)]
pub(crate) enum Settings {
    /// Show all settings as they stand on one node; the same as no command
    List(ServerArgs),
    /// Print the value of a setting that is in force
    Get {
        /// The setting, such as detector.probe_interval
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Set a setting for the whole cluster
    Set {
        /// The setting
        name: String,
        /// The value: 200ms, 64KiB, 100
        value: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Give a setting back to each member's own configuration
    Unset {
        /// The setting
        name: String,
        #[command(flatten)]
        server: ServerArgs,
    },
}
