//! A node as its operators see it.

use alloc::string::String;
use alloc::vec::Vec;

use super::Node;
use crate::cluster::{Awaited, Awaits, HoldUp, MemberInfo, NodePhase, WrongClock};
use crate::id::{ClusterId, NodeId, Seq};
use crate::table::Hlc;
use crate::table::gossip::{RowsReceived, StrayRows};
use crate::time::Now;

/// A summary of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Grows with every start, eviction and rejoin.
    pub generation: u64,
    /// Its phase.
    pub phase: NodePhase,
    /// Members that have not left, this node included.
    pub members: usize,
    /// Live rows of users' tables.
    pub rows: u64,
    /// Users' tables that have rows or options.
    pub tables: usize,
    /// Deleted rows that are kept until every member has the delete.
    pub tombstones: u64,
    /// Rows that have expired by this node's clock and have not ended: they are hidden.
    pub hidden_rows: u64,
    /// The bytes of their keys and values that are in memory.
    pub hidden_bytes: u64,
    /// The clocks known to have passed the expiry of the hidden row that expired first. More than half have to, and then it ends.
    pub hidden_until: Option<ClocksPassed>,
    /// Rows of tables of siblings that were accepted before the definition had come to their writers, and wait for these: they are not shown.
    pub strays: Vec<StrayRows>,
    /// Rows that peers have sent in this boot.
    pub received: RowsReceived,
    /// Links that are up.
    pub links: usize,
    /// Sync sessions that this node asked for and that are under way.
    pub sessions: usize,
    /// The hybrid logical clock.
    pub clock: Hlc,
    /// The batch up to which everything is durable.
    pub durable: Seq,
    /// The batch that is being collected.
    pub stored: Seq,
    /// Whether the store is out of space.
    pub stalled: bool,
    /// Lifeguard's score of this node's own health: 0 is well, 8 is worst; it stretches probes.
    pub health: u32,
    /// Suspicions of this node that it has refuted in this generation.
    pub incarnation: u64,
    /// The members for whose sake the oldest tombstones are kept, and why. A member may stand here twice, for two reasons.
    pub waiting_for: Vec<HoldUp>,
    /// The members that a node waits for while it is rejoining. One of them will do, or any node that has rejoined through one. When none of them
    /// will ever come, [`Request::Resume`](crate::io::Request::Resume) lets the node go on.
    pub rejoin_through: Vec<Awaited>,
    /// The things that a node waits for while it is no full member. Any one of them will do.
    pub awaits: Vec<Awaits>,
    /// The losses of a damaged store, until the node has rejoined through a member.
    pub damage: Option<String>,
    /// Wall clocks that differ by more than `limits.clock_drift`. One that has `me` set is this node's own: it is wrong.
    pub wrong_clocks: Vec<WrongClock>,
}

/// How many members' clocks have passed a time, as far as this node has heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClocksPassed {
    /// The members that are known to have passed it, this node included.
    pub passed: usize,
    /// All members that count, this node included.
    pub of: usize,
}

impl core::fmt::Display for ClocksPassed {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let ClocksPassed { passed, of } = self;
        write!(f, "{passed} of {of} clocks are known to have passed")
    }
}

impl NodeStatus {
    /// Rows of all tables that are not shown, because they were accepted before the definition of their table had come to their writers.
    pub fn stray_rows(&self) -> u64 {
        self.strays.iter().map(|strays| strays.rows).sum()
    }
}

impl Node {
    /// Its [`NodeStatus::phase`] alone. O(1).
    pub fn phase(&self) -> NodePhase {
        match (self.fx.is_halted(), self.cluster.is_stopping()) {
            (true, _) => NodePhase::Halted,
            (_, true) => NodePhase::Stopping,
            _ if self.cluster.leaving.is_some() => NodePhase::Leaving,
            _ => self.cluster.node_phase(),
        }
    }

    /// A summary. O(members), and 4,096 tombstones for each that holds some up.
    pub fn status(&self, now: Now) -> NodeStatus {
        let (view, gossip) = (self.view(now), &self.modes.gossip);
        let look = self.cluster.look(&self.fx, &self.config, &self.detector);
        let (hidden_rows, hidden_bytes) = gossip.replica().hidden();
        NodeStatus {
            id: self.id(),
            name: self.config().name.clone(),
            cluster: self.cluster(),
            generation: self.cluster.identity.generation,
            phase: self.phase(),
            members: self.cluster.membership.count_others() + 1,
            rows: view.user_rows(),
            tables: gossip.replica().rows().listing().len(),
            tombstones: gossip.replica().coverage().tombstone_count(),
            hidden_rows,
            hidden_bytes,
            hidden_until: gossip.hidden_until(&look).filter(|_| hidden_rows > 0),
            strays: gossip.stray_rows(&self.shared.catalog),
            received: gossip.rows_received(),
            links: self.cluster.links.len(),
            sessions: gossip.sessions(),
            clock: gossip.clock(),
            durable: self.fx.durable(),
            stored: self.fx.open_seq(),
            stalled: self.fx.is_stalled() || self.fx.is_short(),
            health: self.detector.health(),
            incarnation: self.detector.incarnation(),
            waiting_for: self.cluster.holding_up(&look, gossip),
            rejoin_through: self.cluster.awaited(),
            awaits: self.cluster.awaits(&self.config, gossip),
            damage: self.cluster.damage.clone(),
            wrong_clocks: self.cluster.wrong_clocks(),
        }
    }

    /// Its [`NodeStatus::damage`] alone. O(1).
    pub fn damage(&self) -> Option<&str> {
        self.cluster.damage.as_deref()
    }

    /// The name of a member; `None` for a node that never was one. O(log n).
    pub fn member_name(&self, node: NodeId) -> Option<&str> {
        let member = self.cluster.membership.get(node)?;
        Some(&member.record.name)
    }

    /// The name of a table; `None` for an id that this node has not given out.
    pub fn table_name(&self, table: crate::TableId) -> Option<&str> {
        let table = self.shared.catalog.get(table)?;
        Some(&table.name)
    }

    /// Returns a number that grows when [`Node::members`] may say something else, apart from [`MemberInfo::holds_up`], so that a caller can
    /// wait for that instead of asking in every turn. It holds for this boot of the node. O(1).
    pub fn members_revision(&self) -> u64 {
        self.cluster.members_revision
    }

    /// The members that answer, this node included, by id: neither those that have left or were evicted nor those that are taken for dead.
    pub fn live_members(&self) -> Vec<MemberInfo> {
        let mut members = self.members();
        members.retain(|member| member.state.is_live());
        members
    }

    /// Returns all members ever heard of, by id, those included that have left or were evicted. [`Node::live_members`] has those that answer.
    pub fn members(&self) -> Vec<MemberInfo> {
        let look = self.cluster.look(&self.fx, &self.config, &self.detector);
        let waiting = self.cluster.holding_up(&look, &self.modes.gossip);
        let holds_up = |node| {
            let mut waiting = waiting.iter();
            waiting.find(|one| one.node == node).map(|one| one.why)
        };
        self.cluster.members(&self.detector, holds_up)
    }
}
