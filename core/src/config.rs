//! The configuration that a node is given once, at its start.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

/// The configuration of a node. [`Config::new`] gives every field its default.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The cluster's name: nodes of another name are refused, so that two deployments never meet by accident.
    pub cluster_name: String,
    /// The name people know this member by. Identity is the id; a name that is used twice is flagged.
    pub name: String,
    /// The address peers dial, in the driver's own notation; opaque to the core.
    pub addr: String,
    /// The failure domain of this member, may be empty. Members of the same one are probed more often, and helpers come from different ones.
    pub zone: String,
    /// Other protocols that this member serves: protocol to endpoint. `gossip` is added with [`Config::addr`].
    pub protocols: BTreeMap<String, String>,
    /// Addresses to join through. Any one that answers is enough; they are tried for as long as the node knows no other member.
    pub seeds: Vec<String>,
    /// Whether a node whose seeds lead to no member within [`Timing::found_patience`] begins a cluster by itself. A node without seeds does so at
    /// once. To be set on one node of a cluster at most: two that cannot reach each other would begin two.
    pub found: bool,
    /// Whether the driver keeps a store.
    pub storage: Storage,
    /// Whether the store was replaced by an older copy of itself since this node last ran: it then counts as rejoining until it has
    /// rejoined through a member, which drops what the cluster has deleted meanwhile. Without it the node finds out when it meets a member that has freed
    /// deletes since ([`Event::OlderCopy`](crate::io::Event::OlderCopy)). For one start; without effect on an empty store or a node that knows no other member.
    pub restored: bool,
    /// Whether a node whose store is damaged goes on with what is left of it, although it knows no other member: it then does not look for one,
    /// and what was damaged is lost. Without it such a node joins through its seeds, and does not start if it has none. For one start; without
    /// effect on a store that is whole, and on a node that knows other members.
    pub accept_damage: bool,
    /// Longer values of users' tables, in bytes, leave memory once they are stored, and are loaded when they are read. `None`, the
    /// default, keeps every value in memory. Without a store, and in tables of durability `memory`, all values stay.
    pub resident_value: Option<u32>,
    /// The caps.
    pub limits: Limits,
    /// The periods and patience.
    pub timing: Timing,
    /// The planted bug that is awake.
    #[cfg(feature = "mutants")]
    pub mutant: Option<crate::mutants::Mutant>,
}

impl Config {
    /// A node called `name`, reachable at `addr`, in the cluster named `rumormill`, without seeds or storage.
    pub fn new(name: &str, addr: &str) -> Self {
        Config {
            cluster_name: "rumormill".to_string(),
            name: name.to_string(),
            addr: addr.to_string(),
            zone: String::new(),
            protocols: BTreeMap::new(),
            seeds: Vec::new(),
            found: false,
            storage: Storage::None,
            restored: false,
            accept_damage: false,
            resident_value: None,
            limits: Limits::default(),
            timing: Timing::default(),
            #[cfg(feature = "mutants")]
            mutant: None,
        }
    }
}

/// Whether a node has a store. Exhaustive: a driver keeps what the node takes for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// Nothing survives a restart: no [`Output::Store`](crate::io::Output::Store) is emitted and nothing waits for one.
    None,
    /// The driver keeps an ordered map of bytes and applies batches to it in order.
    Ordered,
}

/// The caps of a node. Each is checked where the data enters, and the refusal names the limit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Longest key a client may write, in bytes; 64 KiB.
    pub key_bytes: usize,
    /// Longest value a client may write, in bytes; 1 MiB.
    pub value_bytes: usize,
    /// Longest table name, in bytes; 255, and never more.
    pub table_name_bytes: usize,
    /// How far ahead of this node's wall clock a foreign version may push the local clock; 5 minutes.
    pub clock_drift: Duration,
    /// Rows in one message; 512.
    pub rows_per_message: usize,
    /// Row bytes in one message, exceeded only by a single larger row; 128 KiB.
    pub bytes_per_message: usize,
    /// Changes kept for watchers; one that falls further behind has to start again. 65,536.
    pub change_log: usize,
    /// Most links kept open, and most members dialled; 4,096.
    pub links: usize,
    /// Actors in contexts that are sent whole; when there are more, two nodes compare digests first. 64.
    pub context_actors: usize,
    /// Sync sessions served at once, and asked for at once; 8.
    pub sessions: usize,
    /// Keys remembered because they changed under a session that is served; past it the session is refused and begins anew.
    /// 65,536.
    pub session_replaced: usize,
    /// Members, this one counted, up to which a fresh write is pushed straight to all of them; above that it goes along a tree. 64.
    pub direct_push_members: usize,
    /// Members that a member passes rows on to along a tree; 4.
    pub fanout: usize,
    /// Most siblings of a key that a client's write may leave; 64.
    pub siblings: usize,
    /// Requests waiting for an answer; 65,536.
    pub requests: usize,
    /// Unsynced batches before writes are refused as busy; 4,096.
    pub store_backlog: usize,
    /// Bytes of unsynced batches before writes are refused as busy, exceeded by one turn at most; 64 MiB.
    pub store_backlog_bytes: usize,
    /// Values loaded from the store at once; 64.
    pub loads: usize,
    /// Requests that wait for one value, and values that wait to be loaded; 4,096.
    pub load_queue: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            key_bytes: 64 << 10,
            value_bytes: 1 << 20,
            table_name_bytes: 255,
            clock_drift: Duration::from_secs(300),
            rows_per_message: 512,
            bytes_per_message: 128 << 10,
            change_log: 65_536,
            links: 4_096,
            context_actors: 64,
            sessions: 8,
            session_replaced: 65_536,
            direct_push_members: 64,
            fanout: 4,
            siblings: 64,
            requests: 65_536,
            store_backlog: 4_096,
            store_backlog_bytes: 64 << 20,
            loads: 64,
            load_queue: 4_096,
        }
    }
}

/// The hard maximum of a replicated row, beyond any client limit: a frame that exceeds it is malformed.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// The most bytes that the siblings of a key may have together after a client's write that leaves others beside it. It is a small part of
/// [`MAX_ROW_BYTES`], because members that do not hear of each other add to one key at the same time.
pub const MAX_SIBLING_BYTES: usize = 4 << 20;

/// The periods and patience of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Timing {
    /// One member is probed per period; 1 s.
    pub probe_interval: Duration,
    /// How long a direct probe may take before others are asked; 300 ms.
    pub probe_timeout: Duration,
    /// Members asked to probe on our behalf; 3.
    pub indirect_probes: usize,
    /// A suspect is declared dead after this many periods, times log10(n) when n > 10; 4.
    pub suspicion_mult: u32,
    /// How long a node that was given seeds looks for a cluster before it begins one with others like it. Until then only a
    /// node without seeds does; [`Duration::MAX`] for never. 3 s.
    pub found_patience: Duration,
    /// First delay before an address is dialled again; it doubles, with jitter. 200 ms.
    pub dial_backoff: Duration,
    /// Longest such delay; 5 s.
    pub dial_backoff_max: Duration,
    /// How often unsynced stores are synced; 1 s.
    pub sync_interval: Duration,
    /// How long fresh writes wait for others to be pushed with, at most; zero, the default, until the end of the turn.
    pub flush_deadline: Duration,
    /// How long two members may disagree before one fetches what it lacks; 500 ms.
    pub mismatch_patience: Duration,
    /// A session without progress for this long is given up; 3 s.
    pub session_timeout: Duration,
    /// A leave waits for so many other members that durably claim everything the leaver has seen, or for all when there are fewer; 2.
    /// With 1, a member that took over and is lost at once takes along what it was handed.
    pub leave_acks: usize,
    /// How long a leave may wait for others to hold everything; 3 s.
    pub leave_timeout: Duration,
    /// How long an eviction waits for the agreement of a majority; 3 s.
    pub evict_patience: Duration,
    /// A member that keeps nothing on disk and has been down for so long is evicted by the smallest member that is up, with the
    /// agreement of a majority. `None`, the default, for never.
    pub evict_memory_after: Option<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(300),
            indirect_probes: 3,
            suspicion_mult: 4,
            found_patience: Duration::from_secs(3),
            dial_backoff: Duration::from_millis(200),
            dial_backoff_max: Duration::from_secs(5),
            sync_interval: Duration::from_secs(1),
            flush_deadline: Duration::ZERO,
            mismatch_patience: Duration::from_millis(500),
            session_timeout: Duration::from_secs(3),
            leave_acks: 2,
            leave_timeout: Duration::from_secs(3),
            evict_patience: Duration::from_secs(3),
            evict_memory_after: None,
        }
    }
}
