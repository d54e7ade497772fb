//! The commands of a client.

pub(crate) mod bench;
pub(crate) mod cluster_settings;
pub(crate) mod describe;
mod disk;
pub(crate) mod evict;
mod http;
pub(crate) mod leave;
mod listing;
mod load;
mod outfile;
mod process;
mod progress;
mod restarts;
pub(crate) mod rows;
mod server;
mod siblings;
pub(crate) mod sim;
mod stalls;
pub(crate) mod tables;
mod torture;
pub(crate) mod transfer;
pub(crate) mod upkeep;
pub(crate) mod watch;
