//! The options of `bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::ServerArgs;

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Bench {
    #[command(subcommand)]
    pub(crate) what: Option<BenchOf>,
    /// Requests of each kind
    #[arg(short = 'n', long, default_value_t = 100_000,
          value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) requests: u64,
    /// Connections
    #[arg(short = 'c', long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) clients: u16,
    /// Requests sent at once on a connection
    #[arg(short = 'P', long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) pipeline: u16,
    /// Bytes of a value
    #[arg(short = 'd', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub(crate) size: u32,
    /// Different keys
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) keys: u64,
    /// The table
    #[arg(long, default_value = "bench")]
    pub(crate) table: String,
    #[command(flatten)]
    pub(crate) server: ServerArgs,
}

/// Another measurement than that of a bounded load.
#[derive(Debug, Subcommand)]
pub(crate) enum BenchOf {
    /// Start a node, do what could hold up its loop, and measure a PING every millisecond meanwhile
    Stalls(BenchStalls),
    /// Start a cluster, stop each node by SIGTERM and start it again under load, and look for every acknowledged write
    ///
    /// Prints for each node the seconds until it had stopped, was ready again, and had everything; and the rows that it was sent for
    /// that: fetched by sessions, compared one by one, pushed. Exit code 1 when an acknowledged write is missing on any node, or a
    /// node did not end with exit code 0.
    Restarts(BenchRestarts),
    /// Start nodes that keep their rows on disk, and a Redis that does, and measure both: CPU of writes, syncs, starts, disk and memory
    Disk(BenchDisk),
    /// Kill a node again and again while it writes and while it starts, and look for each acknowledged write; exit code 1 when one is lost
    Torture(BenchTorture),
}

#[derive(Debug, Args)]
pub(crate) struct BenchTorture {
    /// How often the node is killed
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) kills: u64,
    /// Connections, each with keys of its own
    #[arg(short = 'c', long, default_value_t = 6, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) clients: u16,
    /// Keep the data in a new directory below this one [default: that of the system for temporary files]. It goes unless a write is lost
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The seed of what is written and when it is killed [default: drawn]. The times of a machine are not in it
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// The node's `--store-log-bytes`: a small one merges often
    #[arg(long, default_value_t = 1 << 20, value_name = "BYTES")]
    pub(crate) store_log_bytes: u64,
    /// Plant this bug in the store, to see that it is noticed. Only for a program built with `--features mutants`
    #[arg(long, value_name = "NAME")]
    pub(crate) store_mutant: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchDisk {
    /// SETs, and HSETs, of each pass
    #[arg(short = 'n', long, default_value_t = 400_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) requests: u64,
    /// Rows of 100 bytes that a start reads
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) rows: u64,
    /// Passes, each over all servers in turn; the figures are their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pub(crate) passes: u16,
    /// A directory on the disk that is measured; the system's for temporary files where none is given
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
    /// The redis-server to compare with; off compares with none. It is left out when it cannot be started
    #[arg(long, default_value = "redis-server", value_name = "PROGRAM")]
    pub(crate) redis_server: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchRestarts {
    /// Nodes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(2..=16))]
    pub(crate) nodes: u16,
    /// Rows that are there before the load
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    pub(crate) rows: u64,
    /// Bytes of a value; one is not shorter than its key
    #[arg(short = 'd', long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_048_576))]
    pub(crate) size: u32,
    /// How long each node is away, in ms
    #[arg(long, default_value_t = 2_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(0..=600_000))]
    pub(crate) down: u64,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BenchStalls {
    /// Rows of a large table
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub(crate) rows: u64,
    /// Tables, which are the hashes of the Redis protocol
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(10..=10_000_000))]
    pub(crate) tables: u64,
    /// How long PINGs go on after each thing, for what is done behind its answer, in ms
    #[arg(long, default_value_t = 2_000, value_name = "MS", value_parser = clap::value_parser!(u64).range(10..=600_000))]
    pub(crate) settle: u64,
    /// Keep nothing on disk
    #[arg(long)]
    pub(crate) memory: bool,
    /// The redis-server to compare with; off compares with none. It is left out when it cannot be started
    #[arg(long, default_value = "redis-server", value_name = "PROGRAM")]
    pub(crate) redis_server: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
