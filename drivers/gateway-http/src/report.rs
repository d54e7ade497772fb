//! A node's own words about itself, as JSON documents. The same documents serve HTTP, the Redis protocol's `RUMORMILL`
//! command and the command line.

use std::collections::BTreeMap;

use rumormill_core::{
    Durability, MemberInfo, MemberState, Namespace, Node, Now, Storage, TableInfo, TableOptions,
};
use serde::Serialize;
use utoipa::ToSchema;

/// A member of the cluster, as this node sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Member {
    /// Its id, 16 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its peers reach it.
    pub addr: String,
    /// Which of its lives this is: grows with every start.
    pub epoch: u64,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// `alive`, `suspect`, `down` or `left`.
    pub state: &'static str,
    /// What it serves, and where: protocol to endpoint. Every member serves `gossip`.
    pub protocols: BTreeMap<String, String>,
    /// Whether it is the node that answers.
    pub me: bool,
    /// Whether an earlier member has the same name.
    pub duplicate_name: bool,
    /// Whether it keeps anything on disk.
    pub stores: bool,
    /// Why the collection of deleted rows waits for it; `null` when it does not.
    pub holds_up: Option<String>,
}

impl From<MemberInfo> for Member {
    fn from(info: MemberInfo) -> Self {
        let mut protocols = info.protocols;
        protocols
            .entry("gossip".to_string())
            .or_insert_with(|| info.addr.clone());
        Member {
            id: info.id.to_string(),
            name: info.name,
            addr: info.addr,
            epoch: info.epoch,
            zone: info.zone,
            state: member_state(info.state),
            protocols,
            me: info.me,
            duplicate_name: info.duplicate_name,
            stores: info.stores,
            holds_up: info.holds_up.map(|why| why.to_string()),
        }
    }
}

/// A table with its options and size.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Table {
    /// `sys` or `usr`.
    pub namespace: &'static str,
    /// Its name.
    pub name: String,
    /// `memory`, `periodic` or `sync`.
    pub durability: &'static str,
    /// `last_writer_wins`.
    pub conflict: &'static str,
    /// Whether the options were given explicitly.
    pub explicit: bool,
    /// Live rows.
    pub rows: u64,
}

impl From<TableInfo<'_>> for Table {
    fn from(info: TableInfo<'_>) -> Self {
        Table {
            namespace: match info.namespace {
                Namespace::Sys => "sys",
                Namespace::Usr => "usr",
            },
            name: info.name.to_string(),
            durability: durability_name(info.options),
            conflict: "last_writer_wins",
            explicit: info.explicit,
            rows: info.rows,
        }
    }
}

/// A node's health and size at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Status {
    /// Its id, 16 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The cluster's id, 16 hex digits.
    pub cluster: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// Which of its lives this is: grows with every start.
    pub epoch: u64,
    /// `member`, `joining`, `away` (it must reunite first), `leaving` or `halted`.
    pub standing: &'static str,
    /// Members that have not left, this one included.
    pub members: usize,
    /// Live rows of users' tables.
    pub rows: u64,
    /// Users' tables that have rows or options.
    pub tables: usize,
    /// Deleted rows that are still remembered.
    pub tombstones: u64,
    /// Open links to peers.
    pub links: usize,
    /// Sync sessions under way.
    pub sessions: usize,
    /// The last clock, as milliseconds since the Unix epoch and a count.
    pub clock: String,
    /// The batch up to which everything survives a loss of power.
    pub durable: u64,
    /// The batch that is being collected.
    pub stored: u64,
    /// Whether the store is out of space.
    pub stalled: bool,
    /// This node's own health by Lifeguard: 0 is well, 8 is worst.
    pub health: u32,
    /// Suspicions of this node that it has refuted in this life.
    pub incarnation: u64,
    /// Ids of members that hold up the collection of deleted rows.
    pub waiting_for: Vec<String>,
    /// Why, for each of them, with its name.
    pub waiting_because: Vec<String>,
    /// The program's version.
    pub version: &'static str,
}

/// The effective configuration. Durations are in milliseconds, sizes in bytes.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct EffectiveSettings {
    /// The node's name.
    pub name: String,
    /// The cluster's name.
    pub cluster_name: String,
    /// Where peers reach this node.
    pub addr: String,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// Addresses it joins through.
    pub seeds: Vec<String>,
    /// `none` or `ordered`.
    pub storage: &'static str,
    /// Longer values, in bytes, are only in the store; `null` when all stay in memory.
    pub resident_value: Option<u32>,
    /// The caps.
    pub limits: BTreeMap<&'static str, u64>,
    /// Periods and patience.
    pub timing: BTreeMap<&'static str, u64>,
}

/// All members, this node first, the others by id.
pub fn members(node: &Node) -> Vec<Member> {
    let mut members: Vec<Member> = node.members().into_iter().map(Member::from).collect();
    members.sort_by(|a, b| b.me.cmp(&a.me).then_with(|| a.id.cmp(&b.id)));
    members
}

/// All tables by namespace and name.
pub fn tables(node: &Node, now: Now) -> Vec<Table> {
    node.view(now)
        .tables()
        .into_iter()
        .map(Table::from)
        .collect()
}

/// The node's status.
pub fn status(node: &Node, now: Now) -> Status {
    let status = node.status(now);
    Status {
        id: status.id.to_string(),
        name: status.name,
        cluster: status.cluster.to_string(),
        cluster_name: node.config().cluster_name.clone(),
        epoch: status.epoch,
        standing: status.standing,
        members: status.members,
        rows: status.rows,
        tables: status.tables,
        tombstones: status.tombstones,
        links: status.links,
        sessions: status.sessions,
        clock: status.clock.to_string(),
        durable: status.durable.0,
        stored: status.stored.0,
        stalled: status.stalled,
        health: status.health,
        incarnation: status.incarnation,
        waiting_for: status
            .waiting_for
            .iter()
            .map(|one| one.node.to_string())
            .collect(),
        waiting_because: status
            .waiting_for
            .iter()
            .map(|one| format!("{} {}", one.name, one.why))
            .collect(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

/// The node's effective configuration.
pub fn settings(node: &Node) -> EffectiveSettings {
    let config = node.config();
    let limits = &config.limits;
    let timing = &config.timing;
    let millis = |d: std::time::Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
    EffectiveSettings {
        name: config.name.clone(),
        cluster_name: config.cluster_name.clone(),
        addr: config.addr.clone(),
        zone: config.zone.clone(),
        seeds: config.seeds.clone(),
        storage: match config.storage {
            Storage::None => "none",
            Storage::Ordered => "ordered",
        },
        resident_value: config.resident_value,
        limits: BTreeMap::from([
            ("key_bytes", limits.key_bytes as u64),
            ("value_bytes", limits.value_bytes as u64),
            ("table_name_bytes", limits.table_name_bytes as u64),
            ("clock_drift_ms", millis(limits.clock_drift)),
            ("rows_per_message", limits.rows_per_message as u64),
            ("bytes_per_message", limits.bytes_per_message as u64),
            ("change_log", limits.change_log as u64),
            ("links", limits.links as u64),
            ("sessions", limits.sessions as u64),
            ("requests", limits.requests as u64),
            ("store_backlog", limits.store_backlog as u64),
            ("loads", limits.loads as u64),
            ("load_queue", limits.load_queue as u64),
        ]),
        timing: BTreeMap::from([
            ("probe_interval_ms", millis(timing.probe_interval)),
            ("probe_timeout_ms", millis(timing.probe_timeout)),
            ("indirect_probes", timing.indirect_probes as u64),
            ("suspicion_mult", u64::from(timing.suspicion_mult)),
            ("dial_backoff_ms", millis(timing.dial_backoff)),
            ("dial_backoff_max_ms", millis(timing.dial_backoff_max)),
            ("sync_interval_ms", millis(timing.sync_interval)),
            ("mismatch_patience_ms", millis(timing.mismatch_patience)),
            ("session_timeout_ms", millis(timing.session_timeout)),
            ("leave_timeout_ms", millis(timing.leave_timeout)),
            ("evict_patience_ms", millis(timing.evict_patience)),
            (
                "evict_memory_after_ms",
                timing.evict_memory_after.map_or(0, millis),
            ),
        ]),
    }
}

/// [`status`] as one line of JSON.
pub fn status_json(node: &Node, now: Now) -> String {
    to_line(&status(node, now))
}

/// [`members`] as one line of JSON: `{"members":[...]}`.
pub fn members_json(node: &Node) -> String {
    to_line(&serde_json::json!({ "members": members(node) }))
}

/// [`tables`] as one line of JSON: `{"tables":[...]}`.
pub fn tables_json(node: &Node, now: Now) -> String {
    to_line(&serde_json::json!({ "tables": tables(node, now) }))
}

/// A document by its topic: `status`, `members` or `tables`; `None` for any other. What the Redis protocol's private
/// command `RUMORMILL` answers.
pub fn describe(node: &Node, now: Now, topic: &str) -> Option<String> {
    match topic {
        "status" => Some(status_json(node, now)),
        "members" => Some(members_json(node)),
        "tables" => Some(tables_json(node, now)),
        _ => None,
    }
}

/// The word for a member's state.
pub fn member_state(state: MemberState) -> &'static str {
    match state {
        MemberState::Alive => "alive",
        MemberState::Suspect => "suspect",
        MemberState::Down => "down",
        MemberState::Left => "left",
        _ => "unknown",
    }
}

fn durability_name(options: TableOptions) -> &'static str {
    match options.durability {
        Durability::Memory => "memory",
        Durability::Periodic => "periodic",
        Durability::Sync => "sync",
    }
}

fn to_line(document: &impl Serialize) -> String {
    serde_json::to_string(document).unwrap_or_else(|_| "{}".to_string())
}
