//! The cluster as one machine: the members, the links to them, and this node's own place among them.
//!
//! It acts on the node through one struct of borrows ([`Env`]), and returns what only the node can do as a verdict.

pub(crate) mod env;

mod boots;
mod clocks;
mod evict;
mod greet;
mod id_conflict;
mod join;
mod joins;
mod leave;
mod members;
pub(crate) mod membership;
mod messages;
mod peers;
mod phase;
mod rejoining;
mod skew;
mod stop;
mod takeover;
mod waits;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

pub(crate) use self::clocks::Clocks;
pub(crate) use self::env::Env;
use self::evict::Evictions;
use self::id_conflict::IdConflict;
use self::joins::Joins;
use self::leave::Leaving;
pub use self::members::{Awaited, HoldUp};
pub(crate) use self::membership::{Change, Link, LinkPhase, Links, Member, Membership, Verdict};
pub use self::membership::{HoldsUp, MemberInfo, MemberState};
pub(crate) use self::messages::Sender;
pub use self::phase::NodePhase;
use self::skew::Skews;
pub use self::skew::WrongClock;
use self::stop::Stopping;
use self::waits::Waits;
pub use self::waits::{Awaits, SeedState};
use crate::config::Config;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::id::{Actor, LinkId, NodeId, TableId};
use crate::rng::Rng;
use crate::store::record::{Agreement, Boots, ClusterRecord, Identity};
use crate::table::env::{Env as TableEnv, Look, Seat};
use crate::table::gossip::SysRow;
use crate::table::modes::Modes;
use crate::table::sys;
use crate::time::Instant;

/// The members of a node's cluster, and its place among them.
pub(crate) struct Cluster {
    pub(crate) identity: Identity,
    /// The cluster that this node belongs to, and how.
    pub(crate) record: ClusterRecord,
    /// The generations that its store goes back to.
    boots: Boots,
    /// The damage of its store, until it has rejoined.
    pub(crate) damage: Option<String>,
    /// Whether its store was restored from a checkpoint, until it is a full member.
    pub(crate) restored: bool,
    /// The link through which this node joins a cluster, or rejoins its own.
    pub(crate) joining: Option<LinkId>,
    /// Links to nodes that may be joining through this one.
    admitting: BTreeSet<LinkId>,
    /// Members that were asked whether they are there, because another node claims their ids.
    id_conflicts: BTreeMap<NodeId, IdConflict>,
    pub(crate) membership: Membership,
    /// Grows with whatever may change what is said of members.
    pub(crate) members_revision: u64,
    pub(crate) links: Links,
    joins: Joins,
    pub(crate) leaving: Option<Leaving>,
    stopping: Option<Stopping>,
    pub(crate) evictions: Evictions,
    clocks: Clocks,
    skews: Skews,
    waits: Waits,
    /// When this boot began.
    begun: Instant,
}

/// A node's place in its cluster, as a recovery finds it.
pub(crate) struct Past {
    pub(crate) identity: Identity,
    pub(crate) record: ClusterRecord,
    pub(crate) boots: Boots,
    pub(crate) agreed: Vec<Agreement>,
    /// The damage of the store, in words.
    pub(crate) damage: Option<String>,
    /// The store was restored from a checkpoint, and its node is not in yet.
    pub(crate) restored: bool,
}

impl Cluster {
    pub(crate) fn new(now: Instant, config: &Config, rng: Rng, past: Past) -> Cluster {
        let me = past.identity.node;
        Cluster {
            identity: past.identity,
            record: past.record,
            boots: past.boots,
            damage: past.damage,
            restored: past.restored,
            joining: None,
            admitting: BTreeSet::new(),
            id_conflicts: BTreeMap::new(),
            membership: Membership::new(me),
            members_revision: 0,
            links: Links::new(me, config.timing.clone(), rng, config.seeds.clone(), now),
            joins: Joins::default(),
            leaving: None,
            stopping: None,
            evictions: Evictions::new(past.agreed),
            clocks: Clocks::default(),
            skews: Skews::default(),
            waits: Waits::default(),
            begun: now,
        }
    }

    /// Returns this node's id.
    pub(crate) fn id(&self) -> NodeId {
        self.identity.node
    }

    /// Returns this node in its present boot.
    pub(crate) fn actor(&self) -> Actor {
        Actor {
            node: self.identity.node,
            boot: self.identity.boot,
        }
    }

    /// Returns whether there is no other member.
    pub(crate) fn is_alone(&self) -> bool {
        self.membership.others().next().is_none()
    }

    /// Returns whether this node is a full member: caught up, and not rejoining.
    pub(crate) fn is_full(&self) -> bool {
        self.record.joined && self.record.rejoining.is_none()
    }

    /// Returns the node's place in its cluster, as table machines see it.
    pub(crate) fn seat<'a>(
        &'a self,
        fx: &Effects,
        config: &'a Config,
        detector: &'a Detector,
    ) -> Seat<'a> {
        Seat {
            me: self.identity.node,
            begun: self.begun,
            joined: self.record.joined,
            is_rejoining: self.record.rejoining.is_some(),
            is_leaving: self.leaving.is_some() || self.stopping.is_some(),
            is_stopping: self.stopping.is_some(),
            takes_no_rows: self.takes_no_rows(fx),
            joining: self.joining,
            config,
            members: &self.membership,
            detector,
            clocks: &self.clocks,
        }
    }

    /// Returns the node for a table machine that looks.
    pub(crate) fn look<'a>(
        &'a self,
        fx: &'a Effects,
        config: &'a Config,
        detector: &'a Detector,
    ) -> Look<'a> {
        Look {
            fx,
            links: &self.links,
            seat: self.seat(fx, config, detector),
        }
    }

    /// Returns the machines of the tables, and the node for a call of theirs that acts.
    pub(crate) fn tables<'a>(&'a mut self, env: &'a mut Env<'_>) -> (&'a mut Modes, TableEnv<'a>) {
        let takes_no_rows = self.takes_no_rows(env.fx);
        let seat = Seat {
            me: self.identity.node,
            begun: self.begun,
            joined: self.record.joined,
            is_rejoining: self.record.rejoining.is_some(),
            is_leaving: self.leaving.is_some() || self.stopping.is_some(),
            is_stopping: self.stopping.is_some(),
            takes_no_rows,
            joining: self.joining,
            config: env.config,
            members: &self.membership,
            detector: env.detector,
            clocks: &self.clocks,
        };
        let tables = TableEnv {
            fx: env.fx,
            links: &mut self.links,
            loads: env.loads,
            requests: env.requests,
            catalog: &mut env.shared.catalog,
            changes: &mut env.shared.changes,
            seat,
        };
        (env.modes, tables)
    }

    /// Lets the rows of members that have changed take effect; those of settings wait for the node.
    pub(crate) fn rows_changed(&mut self, env: &mut Env<'_>) {
        let mut verdicts = Vec::new();
        for (table, key) in env.modes.gossip.take_member_changes() {
            verdicts.extend(self.row_changed(env, table, &key));
        }
        self.judge_evictions(env, &verdicts);
    }

    /// Judges evictions once all of them are known: together they tell how far a side's evictions go.
    pub(crate) fn judge_evictions(&mut self, env: &mut Env<'_>, verdicts: &[Verdict]) {
        for verdict in verdicts {
            self.judge_eviction(env, verdict);
        }
    }

    /// Lets a row of members take effect; returns the eviction it tells of, when that is news.
    #[must_use = "an eviction has to be judged with all others"]
    pub(crate) fn row_changed(
        &mut self,
        env: &mut Env<'_>,
        table: TableId,
        key: &Bytes,
    ) -> Option<Verdict> {
        let SysRow { value, clock, .. } = env.modes.gossip.sys_row(table, key)?;
        let (change, verdict) = match table {
            sys::MEMBERS => (self.membership.member_changed(key, &value, clock), None),
            sys::DEPARTED if self.membership.lost_changed(key, clock) => {
                env.modes.gossip.members_changed();
                (Change::None, None)
            }
            sys::DEPARTED => {
                let verdict = self.membership.eviction_changed(key, &value, clock);
                let change = self.membership.departed_changed(key, &value, clock);
                (change, verdict)
            }
            _ => return None,
        };
        self.members_revision += 1;
        self.membership_changed(env, change);
        verdict
    }

    /// Asserts this machine's own invariants.
    pub(crate) fn check(&self) {
        self.links.check();
        self.membership.check();
        self.boots.check(self.identity.generation);
    }
}
