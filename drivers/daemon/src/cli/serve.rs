//! The options of `serve`: one node, from its flags to its settings.

use std::path::PathBuf;

use clap::Args;

use super::Start;
use crate::settings::Flags;

pub(super) const SOURCES: &str = "A flag beats the environment (RUMORMILL_ and the flag in capitals, with _ for -; commas between several \
    --join or --http-host), which beats the file. PORT=p in the environment means HTTP p, Redis p-1 and peers p-2 where nothing else is said. \
    What is set for the whole cluster (`rumormill settings`) beats all of them.";

/// One node: how it starts, and its settings.
#[derive(Debug, Default, Args)]
pub(crate) struct Serve {
    /// Read settings from a TOML file; the keys are the long flags below, with _ for -
    #[arg(long, value_name = "FILE", env = "RUMORMILL_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Print the settings that result, and where each came from, and stop
    #[arg(long)]
    pub(crate) print_config: bool,
    /// The data directory was replaced by an older copy: rejoin through a member before counting as one, and not only when a member notices. For one start only
    #[arg(long)]
    pub(crate) restored: bool,
    /// Go on without what is damaged in the data directory, although no member is known that could repair it. For one start only
    #[arg(long)]
    pub(crate) accept_damage: bool,
    /// Stop when standard input ends
    #[arg(long, hide = true)]
    pub(crate) stop_on_eof: bool,
    /// Plant this bug in the store. Only for a program built with `--features mutants`
    #[arg(long, value_name = "NAME", hide = true)]
    pub(crate) store_mutant: Option<String>,
    #[command(flatten)]
    pub(crate) start: Start,

    /// The node's name [default: node- and the peers' port]
    #[arg(long)]
    name: Option<String>,
    /// Only nodes with the same one talk to each other [default: rumormill]
    #[arg(long)]
    cluster_name: Option<String>,
    /// The failure domain: members of the same one are probed more often, and helpers come from different ones
    #[arg(long)]
    zone: Option<String>,
    /// Where the rows are kept [default: rumormill-data/NAME, or the peers' port without a name]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
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
    /// A name under which clients may ask over HTTP, besides IP addresses, localhost and the host of --advertise; may be repeated. A
    /// request for any other host is refused, since a page of another site may have sent it through a browser. Without a name, and with an
    /// address of --http that other machines reach, any host is answered
    #[arg(long, value_name = "NAME")]
    http_host: Vec<String>,
    /// Begin a cluster when no address of --join leads to a member within three seconds. For one node of a cluster at most: two
    /// that cannot reach each other would begin two. Without --join a node begins one at once
    #[arg(long)]
    found: bool,
    /// Let /readyz answer 200 while the node is joining or rejoining: it serves what it has, which may lack rows
    #[arg(long)]
    ready_early: bool,
    /// Longest value, in bytes [default: 1048576]
    #[arg(long, value_name = "N")]
    value_bytes: Option<String>,
    /// Longest key, in bytes [default: 65536]
    #[arg(long, value_name = "N")]
    key_bytes: Option<String>,
    /// Longer values, in bytes, leave memory once they are stored and are loaded when they are read; off keeps all [default: off]
    #[arg(long, value_name = "N")]
    resident_value: Option<String>,
    /// Bytes of replies that one Redis client may leave unread before it is not read either [default: 1048576]
    #[arg(long, value_name = "N")]
    client_output: Option<String>,
    /// Bytes of unread replies, and of commands that wait, of all Redis clients together; beyond it a client that holds some
    /// and neither takes nor sends 64 KiB in 10 s is closed [default: 536870912]
    #[arg(long, value_name = "N")]
    clients_output: Option<String>,
    /// How far ahead a foreign clock is followed, and this node's own may be of all others, in ms [default: 300000]
    #[arg(long, value_name = "N")]
    clock_drift_ms: Option<String>,
    /// One member is probed per so many ms [default: 1000]
    #[arg(long, value_name = "N")]
    probe_interval_ms: Option<String>,
    /// How long a probe may take, in ms [default: 300]
    #[arg(long, value_name = "N")]
    probe_timeout_ms: Option<String>,
    /// A suspect is declared dead after so many probe intervals, times log10(n) above ten members [default: 4]
    #[arg(long, value_name = "N")]
    suspicion_mult: Option<String>,
    /// How often unsynced rows are synced, in ms [default: 1000]
    #[arg(long, value_name = "N")]
    sync_interval_ms: Option<String>,
    /// The size at which a file of the store's log is merged into its tables, in bytes: larger files merge a row that is written often
    /// fewer times, and take more memory, disk and time at a start [default: 67108864]
    #[arg(long, value_name = "N")]
    store_log_bytes: Option<String>,
    /// How fast the node verifies the files of its store behind, over and over, with an hour between two passes, in bytes per second; off never does
    /// [default: 1048576]
    #[arg(long, value_name = "N")]
    store_scrub_rate: Option<String>,
    /// How long a leave waits for others to take over, in ms [default: 3000]
    #[arg(long, value_name = "N")]
    leave_timeout_ms: Option<String>,
    /// The effect of SIGTERM, SIGINT and ctrl-c: `stop` ends the process after its last sync, and the node comes back as the same member by
    /// fetching what it missed; `leave` hands over and takes it out of the cluster [default: stop, and leave with --memory]
    #[arg(long, value_name = "stop|leave")]
    on_stop: Option<String>,
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
            ("log", &self.start.log),
            ("value_bytes", &self.value_bytes),
            ("key_bytes", &self.key_bytes),
            ("resident_value", &self.resident_value),
            ("client_output", &self.client_output),
            ("clients_output", &self.clients_output),
            ("clock_drift_ms", &self.clock_drift_ms),
            ("probe_interval_ms", &self.probe_interval_ms),
            ("probe_timeout_ms", &self.probe_timeout_ms),
            ("suspicion_mult", &self.suspicion_mult),
            ("sync_interval_ms", &self.sync_interval_ms),
            ("store_log_bytes", &self.store_log_bytes),
            ("store_scrub_rate", &self.store_scrub_rate),
            ("leave_timeout_ms", &self.leave_timeout_ms),
            ("on_stop", &self.on_stop),
        ];
        let mut flags: Flags = single
            .into_iter()
            .filter_map(|(key, text)| text.clone().map(|text| (key, text)))
            .collect();
        if self.start.memory {
            flags.push(("memory", "true".to_string()));
        }
        if self.found {
            flags.push(("found", "true".to_string()));
        }
        if self.ready_early {
            flags.push(("ready_early", "true".to_string()));
        }
        flags.extend(self.join.iter().map(|addr| ("join", addr.clone())));
        flags.extend(
            self.http_host
                .iter()
                .map(|name| ("http_host", name.clone())),
        );
        flags
    }
}
