//! The command line.

mod bench;
mod serve;
mod settings;
mod tables;
mod transfer;
mod upkeep;

use std::num::NonZeroU16;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use rumormill_sim::FaultKind;
use rumormill_sim::plan::Profile;

pub(crate) use bench::{Bench, BenchDisk, BenchOf, BenchRestarts, BenchStalls, BenchTorture};
use serve::SOURCES;
pub(crate) use serve::Serve;
pub(crate) use settings::Settings;
pub(crate) use tables::{Conflict, Durability, Tables, of_word, word};
#[cfg(test)]
pub(crate) use transfer::Exported;
pub(crate) use transfer::{Export, ExportFormat, Format, Import};
pub(crate) use upkeep::Upkeep;

/// A gossip-replicated key-value store.
#[derive(Debug, Parser)]
#[command(name = "rumormill", version, propagate_version = true, after_help = EXIT_CODES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 ok; 1 not found, a check failed, or a node could not start or go on; \
    2 wrong usage or setting; 3 refused by the server; 4 server not reachable.";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a node
    #[command(after_help = SOURCES)]
    Serve(Box<Serve>),
    /// Run several nodes on this machine, joined to the first
    Cluster(Cluster),
    /// Print the value of a key
    ///
    /// In a table that keeps siblings: all its values, and to standard error the context, which tells a later put or del what
    /// was read. With --json all in one object.
    Get {
        /// The table; `default` holds the plain Redis strings
        table: String,
        /// The key
        key: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Write a row
    ///
    /// In a table that keeps siblings, a write replaces what its --context has seen, and stays beside all other values of the key.
    Put {
        /// The table
        table: String,
        /// The key
        key: String,
        /// The value; `-` reads it from standard input
        value: String,
        /// The context that `get` printed of this key, in a table that keeps siblings: the value takes the place of those that were shown
        /// then. Without it the value is one more sibling
        #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
        context: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Delete a row
    ///
    /// In a table that keeps siblings, a delete needs a --context, removes what that has seen, and leaves all other values of the key.
    Del {
        /// The table
        table: String,
        /// The key
        key: String,
        /// The context that `get` printed of this key, in a table that keeps siblings: the values that were shown then are deleted
        #[arg(long, value_name = "TOKEN", allow_hyphen_values = true)]
        context: Option<String>,
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
        /// Go on after the event of this id, as `--json` prints it. `lagged` says that changes were missed: read the table and go on from
        /// there
        #[arg(long, value_name = "ID")]
        cursor: Option<String>,
        #[command(flatten)]
        server: ServerArgs,
    },
    Import(Import),
    Export(Export),
    /// Show the members of the cluster, evict one, or go on without those that are gone
    #[command(args_conflicts_with_subcommands = true)]
    Members {
        #[command(subcommand)]
        action: Option<Members>,
        /// Only those that answer, as far as the node knows; without it all that it ever heard of
        #[arg(long)]
        live: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Take a node out of the cluster: it hands over what it holds, and its process ends
    #[command(long_about = LEAVE)]
    Leave(ServerArgs),
    /// Show the tables, or create one with options
    #[command(args_conflicts_with_subcommands = true)]
    Tables {
        #[command(subcommand)]
        action: Option<Tables>,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Show the state of one node
    Status(ServerArgs),
    /// Show and change the settings of the cluster
    #[command(args_conflicts_with_subcommands = true, after_help = SETTINGS)]
    Settings {
        #[command(subcommand)]
        what: Option<Settings>,
        #[command(flatten)]
        server: ServerArgs,
    },
    #[command(flatten)]
    Upkeep(Upkeep),
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

const LEAVE: &str = "\
Take a node out of the cluster: it hands over what it holds, and its process ends.

The node takes no more writes, waits until two other members durably hold everything, and goes; no member waits for it any
more. The answer says how many members have everything. Where it is out of time, the exit code is 1, and its data directory may
hold the only copy of something: keep it, and start it again.

A node that is to come back needs no leave: stop it with SIGTERM.";

const SETTINGS: &str = "A setting that is set holds on every member as soon as it hears of it, and after restarts; \
    one that is not set is each member's own configuration.";

/// The commands on a member.
#[derive(Debug, Subcommand)]
pub(crate) enum Members {
    /// Evict a member that is down, so that no member waits for it
    ///
    /// More than half of the members, the evicted one counted, have to agree. If it comes back, it compares its rows with a
    /// member's: what was deleted meanwhile stays deleted, and what it alone had is kept.
    Evict {
        /// Its id or its name
        member: String,
        /// Do without a majority, and evict one that answers. Of two sides that evict each other, what the smaller one has
        /// deleted meanwhile may come back
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Declare that writes of earlier boots of a node are lost
    ///
    /// In tables that keep siblings a delete is kept while it names writes that have not come here: `status` names the nodes that
    /// made them. This ends the wait for one of them, on all members, for the deletes made until now. It also ends the wait for the last
    /// state of a member that left and took rows with it that no other holds. Should a node that holds such
    /// writes come back all the same, those that the deletes replaced come back with it. A node that came back has proposed its writes
    /// anew, so use this then too, once no other node that had them is missing.
    Lost {
        /// Its id, or the name by which it is or was a member
        node: String,
        #[command(flatten)]
        server: ServerArgs,
    },
    /// Let a node that is rejoining go on without the members it waits for
    ///
    /// For when those that `status` names will never come back, their disks lost or damaged. The node goes on with what it holds, and
    /// all other nodes compare their rows with its rows. What the lost members had deleted and forgotten may come back, and what they alone
    /// had is lost. Where several nodes wait, choose the one that ran last. Refused while a full member answers.
    Resume(ServerArgs),
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

/// The options of every command that starts nodes.
#[derive(Debug, Default, Args)]
pub(crate) struct Start {
    /// Keep rows in memory only
    #[arg(long)]
    pub(crate) memory: bool,
    /// The log on standard error [default: info,lsm_tree=off; of a cluster: warn,lsm_tree=off]
    #[arg(long, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// When ready, print one JSON object instead of text
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cluster {
    /// How many nodes
    #[arg(value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// Keep the data below this directory; without it, it goes when the cluster stops
    #[arg(long, value_name = "DIR", conflicts_with = "memory")]
    pub(crate) data_dir: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) start: Start,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Sim {
    /// Run a simulated cluster under faults and judge it; exit code 1 on a violation
    Run {
        #[command(flatten)]
        run: SimRun,
        #[command(flatten)]
        bug: PlantedBug,
        #[command(flatten)]
        output: SimOutput,
    },
    /// Print the plan that `sim run` would run with the same flags
    #[command(long_about = PLAN)]
    Plan {
        #[command(flatten)]
        run: SimRun,
        /// Write it to a file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Run a simulated cluster and print the part of its trace around one key or one message
    #[command(group(clap::ArgGroup::new("subject").required(true).args(["key", "message"])))]
    Explain {
        #[command(flatten)]
        run: SimRun,
        #[command(flatten)]
        bug: PlantedBug,
        /// A key of a table, such as default/k7
        #[arg(long, value_name = "TABLE/KEY")]
        key: Option<String>,
        /// A message by its number: every explanation and the page of a run show them
        #[arg(long, value_name = "N")]
        message: Option<u64>,
        /// Lines of context between two events of the subject, before the first and after the last
        #[arg(long, value_name = "N", default_value_t = 20)]
        around: usize,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Run the plan in a file, as `sim run --plan` does; exit code 1 on a violation
    Replay {
        /// The plan
        plan: PathBuf,
        #[command(flatten)]
        bug: PlantedBug,
        #[command(flatten)]
        output: SimOutput,
    },
    /// Run many seeds, each another small cluster under other faults; exit code 1 when a promise broke
    Swarm {
        /// How many seeds
        #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        /// The first of them
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Threads
        #[arg(long, default_value = "1")]
        jobs: NonZeroU16,
        #[arg(long, value_name = "NAME", default_value_t = Profile::Gossip, help = profiles())]
        profile: Profile,
        #[command(flatten)]
        bug: PlantedBug,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Make a plan that breaks a promise smaller, for as long as it breaks the same promise, and print it with its trace
    #[command(group(clap::ArgGroup::new("what").required(true).args(["seed", "plan"])))]
    Shrink {
        /// A seed of the swarm
        #[arg(long)]
        seed: Option<u64>,
        #[arg(long, value_name = "NAME", default_value_t = Profile::Gossip, help = profiles(),
              conflicts_with = "plan")]
        profile: Profile,
        #[command(flatten)]
        bug: PlantedBug,
        /// A plan in a file
        #[arg(long, value_name = "FILE")]
        plan: Option<PathBuf>,
        /// Run at most so many plans
        #[arg(long, default_value_t = 5_000)]
        runs: u64,
        /// Write the small plan to a file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Plant bugs in the core or its driver, one at a time, and count the seeds until a checker catches each; exit code 1 when one escapes.
    /// Only for a program built with `--features mutants`
    Mutants {
        /// Give up on a bug after so many seeds
        #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
        #[arg(long, value_name = "NAME", default_value_t = Profile::Gossip, help = profiles())]
        profile: Profile,
        /// Threads
        #[arg(long, default_value = "1")]
        jobs: NonZeroU16,
        /// Only this bug
        #[arg(long, value_name = "NAME")]
        only: Option<String>,
        /// Also those that do harm so seldom, or harm that something else heals, that they may escape: tests of their own catch them
        #[arg(long)]
        rare: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Measure clusters of many sizes, each figure beside its bound and its goal; a goal that is missed is marked, and no failure
    #[command(long_about = SCALE)]
    Scale {
        /// Numbers of nodes, with commas between them
        #[arg(long, value_name = "N,...", value_delimiter = ',', default_value = "10,32,100",
              value_parser = clap::value_parser!(u16).range(2..=4_096))]
        nodes: Vec<u16>,
        /// The same seed gives the same figures, but for CPU and memory
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Judge a recorded history for linearizability; exit code 1 unless every key holds
    #[command(long_about = CHECK)]
    Check {
        /// The history, one event per line; `-` for standard input
        file: PathBuf,
        /// Give up on a key after so many steps of the search; it is then undecided
        #[arg(long, value_name = "N", default_value_t = rumormill_sim::checkers::linearizability::STEPS,
              value_parser = clap::value_parser!(u64).range(1..))]
        steps: u64,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// Which simulated run.
#[derive(Debug, Args)]
pub(crate) struct SimRun {
    /// The same seed gives the same run
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    /// Nodes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) nodes: u16,
    /// Simulated minutes
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) minutes: u64,
    // The help names the kinds.
    #[arg(long, default_value = "all", help = kinds_of_faults())]
    pub(crate) faults: String,
    /// Run the plan in this file instead of one drawn from a seed
    #[arg(long, value_name = "FILE", conflicts_with_all = ["seed", "nodes", "minutes", "faults"])]
    pub(crate) plan: Option<PathBuf>,
    /// Run the plan that the seed stands for in a swarm: the same as --profile gossip
    #[arg(long, conflicts_with_all = ["nodes", "minutes", "faults", "plan"])]
    pub(crate) swarm: bool,
    #[arg(long, value_name = "NAME", conflicts_with_all = ["nodes", "minutes", "faults", "plan", "swarm"],
          help = format!("Run the plan that the seed stands for in a swarm. {}", profiles()))]
    pub(crate) profile: Option<Profile>,
}

/// A bug on purpose.
#[derive(Debug, Args)]
pub(crate) struct PlantedBug {
    /// Plant this bug in every node, to look at a run that breaks; `sim mutants` lists them. Only for a program built with
    /// `--features mutants`
    #[arg(long, value_name = "NAME")]
    pub(crate) mutant: Option<String>,
}

/// The kept parts of a run.
#[derive(Debug, Args)]
pub(crate) struct SimOutput {
    /// Write the trace to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) trace: Option<PathBuf>,
    /// Write one self-contained HTML page that shows the run: a space-time diagram beside the trace
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

fn profiles() -> String {
    "The family of plans: gossip (many kinds of faults within half a minute), long (up to five minutes of clock steps, restarts \
     and partial partitions, with rows that live long) or names (tables that are used by name before their definitions come)"
        .to_string()
}

fn kinds_of_faults() -> String {
    let names = FaultKind::ALL.map(FaultKind::name).join(", ");
    format!("none, all, or some, with commas between them, of {names}")
}

const PLAN: &str = "\
Print the plan that `sim run` would run with the same flags: what clients do and what goes wrong,
each at its time. A plan is text: read it, edit it, and run it with `sim replay FILE`.

  seed 7                    of what the plan leaves open: latencies, and which message a loss takes
  codec on                  whether messages really become bytes (off)
  resident_value 100        longer values, in bytes, are only on disk (all stay in memory)
  node n0 start=0s          the machines by their numbers; n0 founds the cluster
  node n1 start=20ms disk=no
  stop 70s                  when clients and faults stop; all entries come before

  5s put client=c0 table=default key=k1 ttl=3600s
  8s skew node=n2 by=+86400s drift=+0ppm for=2s
  20s leave node=n0 for=1s
  30s get client=c0 table=default key=k1

The head comes first, then the entries in order of time: a time, a verb, and its fields in any
order. Times are decimal numbers with a unit: us, ms, s, m or h. # begins a comment. A mistake is
named with its line, its column and what would have been right. All verbs, fields and limits:
sim/docs/plans.md.";

const SCALE: &str = "\
Measure clusters of many sizes, each figure beside its bound and its goal.

A cluster of each size forms, idles, takes single writes, a burst and a steady stream of
writes, loses messages, breaks in two halves and heals, and sees members die. The network is
healthy but where it says otherwise, and a one-way delay is 1 ms, a fifth more or less.

A figure stands before its bound, which is what theory gives. The goal is a limit, or a
multiple of the bound. `!` marks a figure that misses its goal, and
`never` what did not happen in time. Bytes are those of frames, without keepalives and TCP.
CPU is the time on the wall, the simulator's own work included, and memory what the process
grew by while the cluster formed: both depend on the machine, and on what else it does.";

const CHECK: &str = "\
Judge a recorded history for linearizability: whether each key behaves as one register, in
which every operation takes effect at one instant between its call and its answer.

Each line is one event, in the order in which the events happened:
  {\"process\":0,\"type\":\"invoke\",\"f\":\"write\",\"key\":\"x\",\"value\":1,\"time\":10}
  {\"process\":0,\"type\":\"ok\",\"f\":\"write\",\"key\":\"x\",\"value\":1,\"time\":14}

process, key  A string or a number. A process has one open call at a time.
type          invoke: the call. It ends with ok: it took effect; fail: it did not and never
              will; or info: it is unknown, it may have taken effect, or do so at any later
              time, or never. A call without an end counts as info. After an info a process
              may go on calling.
f             read, write or cas (compare and set). A cas that does not find the old value
              fails.
value         Any scalar; null is an absent row, which is what a key holds at first. A read
              is called with null, and is ok with what it read. A cas has [old,new]. The
              values 1, 1.0 and \"1\" are three.
time          A whole number in any unit, which never goes back. Only the order of lines
              decides.

Other fields and empty lines are ignored. Exit code 1 when a key is not linearizable, or not
decided within --steps, or when no call is ok, so that nothing was judged; 2 when the file is no
history.";
