//! A node's own words about itself, as JSON documents. The same documents serve HTTP, the Redis protocol's `RUMORMILL`
//! command and the command line.

use std::collections::BTreeMap;

use rumormill_core::{
    Node, Now, Storage,
    members::{MemberInfo, MemberState, NodePhase},
    settings::SettingInfo,
    table::{Conflict, Durability, Namespace, TableInfo, TableOptions},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::page::user_table;

/// A member of the cluster, as this node sees it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Member {
    /// Its id, 16 hex digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where its peers reach it.
    pub addr: String,
    /// Grows with every start, eviction and rejoin.
    pub generation: u64,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// `alive`, `suspect`, `down` or `left`.
    pub state: &'static str,
    /// Whether it answers, as far as is known: `alive` or `suspect`.
    pub live: bool,
    /// Its protocols with their endpoints. Every member serves `gossip`.
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
            generation: info.generation,
            zone: info.zone,
            state: member_state(info.state),
            live: info.state.is_live(),
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
    /// `last_writer_wins` or `siblings`.
    pub conflict: &'static str,
    /// Whether the options were given explicitly.
    pub explicit: bool,
    /// Live rows; absent for a table that answers later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
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
            conflict: match info.options.conflict {
                Conflict::LastWriterWins => "last_writer_wins",
                Conflict::Siblings => "siblings",
            },
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
    /// Grows with every start, eviction and rejoin.
    pub generation: u64,
    /// `member`, `joining`, `rejoining` (it must rejoin first), `leaving`, `stopping` or `halted`.
    pub phase: &'static str,
    /// Members that have not left, this one included.
    pub members: usize,
    /// Live rows of users' tables.
    pub rows: u64,
    /// Users' tables that have rows or options.
    pub tables: usize,
    /// Deleted rows that are still remembered.
    pub tombstones: u64,
    /// Rows that have expired by this node's clock and have not ended: more than half of the members' clocks have to have passed their
    /// expiry for half a minute.
    pub hidden_rows: u64,
    /// The bytes of their keys and values that are in memory.
    pub hidden_bytes: u64,
    /// Rows by table that were accepted before the definition of the table, which keeps siblings, had come to their writers. They are not
    /// shown before these have moved them.
    pub stray_rows: BTreeMap<String, u64>,
    /// Rows that peers pushed since the node started, the store's own included: fresh writes.
    pub rows_pushed: u64,
    /// Rows that sessions brought: what the node had missed, or all rows of a member in a rejoin.
    pub rows_fetched: u64,
    /// Rows that peers named one by one, because their sums of rows differed from this node's.
    pub rows_compared: u64,
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
    /// Suspicions of this node that it has refuted in this generation.
    pub incarnation: u64,
    /// Ids of members that hold up the collection of deleted rows.
    pub waiting_for: Vec<String>,
    /// Why, for each of them, with its name; and while rows are hidden, how many clocks are known to have passed the expiry of the first.
    pub waiting_because: Vec<String>,
    /// Names and ids of the members that a node waits for while it is `rejoining`, any of which will do. If none of them will ever come, see
    /// `POST /v1/members/self/resume`.
    pub rejoin_through: Vec<String>,
    /// The things that a node waits for while it is `joining` or `rejoining`, any one of which will do.
    pub phase_because: Vec<String>,
    /// The losses of a damaged store, until the node has rejoined through a member.
    pub damage: Option<String>,
    /// Wall clocks that differ by more than `limits.clock_drift`, this node's own or a peer's: whose, and by how much.
    pub wrong_clocks: Vec<String>,
    /// The refusals of the node since it started, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// The program's version.
    pub version: &'static str,
}

/// The configuration in force.
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
    /// The settings that can be changed for the whole cluster at run time, by name.
    pub settings: Vec<Setting>,
}

/// A setting of the cluster, as it stands on this node. Durations and sizes are text with a unit.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// The value in force on this node.
    pub value: String,
    /// Where it comes from: `default`, `config` (this node's own configuration) or `cluster`.
    pub source: &'static str,
    /// `duration`, `count` or `bytes`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The unit of a count.
    pub unit: &'static str,
    /// The value in force on this node when the cluster sets nothing.
    pub base: String,
    /// The value in force while none is set.
    pub default: String,
    /// The smallest value that can be set.
    pub min: String,
    /// The largest.
    pub max: String,
    /// The part of a node that it changes.
    pub affects: &'static str,
    /// A description.
    pub help: &'static str,
    /// Why the value that the cluster has set is not in force; `null` when it is, or none is set.
    pub ignored: Option<String>,
}

impl From<SettingInfo> for Setting {
    fn from(info: SettingInfo) -> Self {
        Setting {
            name: info.name,
            value: info.value,
            source: info.source.name(),
            kind: info.kind.name(),
            unit: info.unit,
            base: info.base,
            default: info.default,
            min: info.min,
            max: info.max,
            affects: info.affects,
            help: info.help,
            ignored: info.ignored,
        }
    }
}

/// All members ever heard of, this node first, the others by id.
pub fn members(node: &Node) -> Vec<Member> {
    in_order(node.members())
}

/// The members that answer, this node first, the others by id.
pub fn live_members(node: &Node) -> Vec<Member> {
    in_order(node.live_members())
}

fn in_order(members: Vec<MemberInfo>) -> Vec<Member> {
    let mut members: Vec<Member> = members.into_iter().map(Member::from).collect();
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
        generation: status.generation,
        phase: status.phase.name(),
        members: status.members,
        rows: status.rows,
        tables: status.tables,
        tombstones: status.tombstones,
        hidden_rows: status.hidden_rows,
        hidden_bytes: status.hidden_bytes,
        stray_rows: status
            .strays
            .iter()
            .map(|strays| (strays.table.clone(), strays.rows))
            .collect(),
        rows_pushed: status.received.pushed,
        rows_fetched: status.received.fetched,
        rows_compared: status.received.compared,
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
            .chain(
                status
                    .hidden_until
                    .map(|clocks| format!("hidden rows: {clocks}")),
            )
            .chain(status.strays.iter().map(ToString::to_string))
            .collect(),
        rejoin_through: status
            .rejoin_through
            .iter()
            .map(|one| {
                let here = if one.here {
                    " (here, and rejoining too)"
                } else {
                    ""
                };
                format!("{} {}{here}", one.name, one.node)
            })
            .collect(),
        phase_because: texts(&status.awaits),
        damage: status.damage,
        wrong_clocks: texts(&status.wrong_clocks),
        refused: node
            .inspect()
            .refusals()
            .map(|(why, count)| (why.name(), count))
            .collect(),
        version: env!("CARGO_PKG_VERSION"),
    }
}

fn texts<T: ToString>(all: &[T]) -> Vec<String> {
    all.iter().map(T::to_string).collect()
}

/// Why no client should be sent to this node now; `None` when it is ready. `early` makes a node ready that serves what it has while
/// it is joining or rejoining.
pub fn not_ready(node: &Node, now: Now, early: bool) -> Option<String> {
    let status = node.status(now);
    match status.phase {
        NodePhase::Member => {}
        NodePhase::Joining | NodePhase::Rejoining if early => {}
        NodePhase::Joining | NodePhase::Rejoining => {
            let may = match status.phase {
                NodePhase::Joining => "lack rows that exist",
                _ => "show rows that are deleted",
            };
            let phase = status.phase;
            let until = texts(&status.awaits).join("; ");
            return Some(format!("the node is {phase}, and may {may}: {until}"));
        }
        phase => return Some(format!("the node is {phase}")),
    }
    if let Some(clock) = status.wrong_clocks.iter().find(|clock| clock.me) {
        return Some(clock.to_string());
    }
    match (status.stalled, node.pressure()) {
        (true, _) => Some("the store is out of space".to_string()),
        (_, true) => Some("the store lags behind".to_string()),
        _ => None,
    }
}

/// The node's configuration in force.
pub fn settings(node: &Node) -> EffectiveSettings {
    let config = node.config();
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
        settings: node.settings().into_iter().map(Setting::from).collect(),
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

/// [`live_members`] as one line of JSON: `{"members":[...]}`.
pub fn live_members_json(node: &Node) -> String {
    to_line(&serde_json::json!({ "members": live_members(node) }))
}

/// [`tables`] as one line of JSON: `{"tables":[...]}`.
pub fn tables_json(node: &Node, now: Now) -> String {
    to_line(&serde_json::json!({ "tables": tables(node, now) }))
}

/// A user's table by its name as one line of JSON; `null` when this node knows none.
pub fn table_json(node: &Node, now: Now, name: &str) -> String {
    let id = node.find_table(&user_table(name.to_string()));
    let info = id.and_then(|id| node.view(now).table_info(id));
    to_line(&info.map(Table::from))
}

/// [`settings`] as one line of JSON.
pub fn settings_json(node: &Node) -> String {
    to_line(&settings(node))
}

/// A document by its topic: `status`, `members` (with `live`: those that answer), `tables` or `settings`, or `table` and a name; `None` for any other. What the Redis
/// protocol's private command `RUMORMILL` answers.
pub fn describe(node: &Node, now: Now, topic: &str, name: Option<&str>) -> Option<String> {
    match (topic, name) {
        ("status", None) => Some(status_json(node, now)),
        ("members", None) => Some(members_json(node)),
        ("members", Some(filter)) if filter.eq_ignore_ascii_case("live") => {
            Some(live_members_json(node))
        }
        ("tables", None) => Some(tables_json(node, now)),
        ("table", Some(name)) => Some(table_json(node, now, name)),
        ("settings", None) => Some(settings_json(node)),
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
