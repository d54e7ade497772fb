//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::settings::Flags;

/// A gossip-replicated key-value store.
#[derive(Debug, Parser)]
#[command(name = "rumormill", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok; 1 not found, or a check failed; 2 wrong usage or setting; \
    3 refused by the server; 4 server not reachable.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node
    Serve(Box<Serve>),
    /// Run several nodes on this machine, joined to the first
    Cluster(Cluster),
    /// Print the value of a key
    Get {
        /// The table; `default` holds the plain Redis strings
        table: String,
        /// The key
        key: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Write a row
    Put {
        /// The table
        table: String,
        /// The key
        key: String,
        /// The value; `-` reads it from standard input
        value: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a row
    Del {
        /// The table
        table: String,
        /// The key
        key: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print the rows of a table
    Scan {
        /// The table
        table: String,
        /// Only keys that begin with this
        #[arg(long, default_value = "")]
        prefix: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Print changes of a table as they happen
    Watch {
        /// The table
        table: String,
        /// Only keys that begin with this
        #[arg(long, default_value = "")]
        prefix: String,
        /// Stop after so many changes
        #[arg(long)]
        count: Option<u64>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Write the rows of a file into a table
    Import {
        /// The table
        table: String,
        /// The file; `-` for standard input
        file: PathBuf,
        /// The file's form; without it the first 64 KiB decide: lines that begin with `{` are jsonl, a tab
        /// means tsv, anything else is lines
        #[arg(long, value_enum)]
        format: Option<Format>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Write the rows of a table into a file
    Export {
        /// The table
        table: String,
        /// The file; `-` for standard output
        file: PathBuf,
        /// The file's form; jsonl if its name ends so, else tsv
        #[arg(long, value_enum)]
        format: Option<ExportFormat>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the members of the cluster
    Members(ServerArgs),
    /// Show the tables
    Tables(ServerArgs),
    /// Show the state of one node
    Status(ServerArgs),
    /// Measure a server: a bounded load of SET and GET
    Bench(Bench),
    /// The simulator
    #[command(subcommand)]
    Sim(Sim),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// The server a client command talks to.
#[derive(Clone, Debug, Args)]
pub(crate) struct ServerArgs {
    /// The Redis listener of a node
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "RUMORMILL_ADDR",
        default_value = "127.0.0.1:7401"
    )]
    pub(crate) addr: String,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// How a file holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// KEY, tab, VALUE; `\t`, `\n`, `\r` and `\\` stand for what they mean
    Tsv,
    /// {"key":...,"value":...} on each line; {"base64":...} for bytes that are no UTF-8
    Jsonl,
    /// The line is the key, its number the value
    Lines,
}

/// How an export holds rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ExportFormat {
    /// KEY, tab, VALUE; `\t`, `\n`, `\r` and `\\` are written for what they mean
    Tsv,
    /// {"key":...,"value":...} on each line
    Jsonl,
}

/// Settings: a flag beats the environment (`RUMORMILL_` and the name in capitals), which beats the file. `PORT=p` in the
/// environment means HTTP p, Redis p-1 and peers p-2 where nothing else is said.
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// Read settings from a TOML file; the keys are the long flags below, with _ for -
    #[arg(long, value_name = "FILE", env = "RUMORMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings that result, and where each came from, and stop
    #[arg(long)]
    pub(crate) print_config: bool,
    /// When ready, print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    pub(crate) stop_on_eof: bool,

    /// The node's name [default: node- and the peers' port]
    #[arg(long)]
    name: Option<String>,
    /// Only nodes with the same one talk to each other [default: rumormill]
    #[arg(long)]
    cluster_name: Option<String>,
    /// The failure domain, for display
    #[arg(long)]
    zone: Option<String>,
    /// Where the rows are kept [default: rumormill-data/NAME, or the peers' port without a name]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Keep rows in memory only
    #[arg(long)]
    memory: bool,
    /// Listener for peers [default: 127.0.0.1:7400]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Where peers reach this node [default: the listener, or 127.0.0.1 if that is 0.0.0.0]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// Listener for the Redis protocol, or off [default: 127.0.0.1:7401]
    #[arg(long, value_name = "HOST:PORT")]
    redis: Option<String>,
    /// Listener for HTTP, or off [default: 127.0.0.1:7402]
    #[arg(long, value_name = "HOST:PORT")]
    http: Option<String>,
    /// A member to join through; may be repeated
    #[arg(long, value_name = "HOST:PORT")]
    join: Vec<String>,
    /// What is logged to standard error [default: info,fjall=warn,lsm_tree=warn]
    #[arg(long, value_name = "LEVEL")]
    log: Option<String>,
    /// Longest value, in bytes [default: 1048576]
    #[arg(long, value_name = "N")]
    value_bytes: Option<String>,
    /// Longest key, in bytes [default: 65536]
    #[arg(long, value_name = "N")]
    key_bytes: Option<String>,
    /// Longer values, in bytes, leave memory once they are stored and are loaded when they are read; off keeps all [default: off]
    #[arg(long, value_name = "N")]
    resident_value: Option<String>,
    /// How far ahead a foreign clock is followed, in ms [default: 300000]
    #[arg(long, value_name = "N")]
    clock_drift_ms: Option<String>,
    /// One member is probed per so many ms [default: 1000]
    #[arg(long, value_name = "N")]
    probe_interval_ms: Option<String>,
    /// How long a probe may take, in ms [default: 300]
    #[arg(long, value_name = "N")]
    probe_timeout_ms: Option<String>,
    /// A suspect is declared dead after so many probe intervals [default: 4]
    #[arg(long, value_name = "N")]
    suspicion_mult: Option<String>,
    /// How often unsynced rows are synced, in ms [default: 1000]
    #[arg(long, value_name = "N")]
    sync_interval_ms: Option<String>,
    /// How long a leave waits for others to take over, in ms [default: 3000]
    #[arg(long, value_name = "N")]
    leave_timeout_ms: Option<String>,
}

impl Serve {
    /// The settings among the flags, by key.
    pub(crate) fn flags(&self) -> Flags {
        let single = [
            ("name", &self.name),
            ("cluster_name", &self.cluster_name),
            ("zone", &self.zone),
            ("data_dir", &self.data_dir),
            ("listen", &self.listen),
            ("advertise", &self.advertise),
            ("redis", &self.redis),
            ("http", &self.http),
            ("log", &self.log),
            ("value_bytes", &self.value_bytes),
            ("key_bytes", &self.key_bytes),
            ("resident_value", &self.resident_value),
            ("clock_drift_ms", &self.clock_drift_ms),
            ("probe_interval_ms", &self.probe_interval_ms),
            ("probe_timeout_ms", &self.probe_timeout_ms),
            ("suspicion_mult", &self.suspicion_mult),
            ("sync_interval_ms", &self.sync_interval_ms),
            ("leave_timeout_ms", &self.leave_timeout_ms),
        ];
        let mut flags: Flags = single
            .into_iter()
            .filter_map(|(key, text)| text.clone().map(|text| (key, text)))
            .collect();
        if self.memory {
            flags.push(("memory", "true".to_string()));
        }
        flags.extend(self.join.iter().map(|addr| ("join", addr.clone())));
        flags
    }
}

#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// How many nodes
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// Keep the data below this directory; without it, it goes when the cluster stops
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Keep rows in memory only
    #[arg(long, conflicts_with = "data_dir")]
    pub(crate) memory: bool,
    /// What the nodes log to standard error
    #[arg(long, default_value = "warn")]
    pub(crate) log: String,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Bench {
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

#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Run a simulated cluster under faults and judge it; exit code 1 on a violation
    Run {
        /// The same seed gives the same run
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Nodes
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=64))]
        nodes: u16,
        /// Simulated minutes
        #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100_000))]
        minutes: u64,
        /// none, all, or some of loss,dup,reorder,delay,partition,oneway,crash,skew
        #[arg(long, default_value = "all")]
        faults: String,
        /// Write the trace to a file
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}
