//! The node: routes inputs to the sub-machines and their verdicts to each other, in straight-line code.

mod away;
mod clocks;
mod contract;
mod evict;
mod greet;
mod join;
mod leave;
mod loads;
mod peers;
mod requests;
mod rivals;
mod route;
mod sessions;
mod settings;
mod skew;
mod status;
mod takeover;
#[cfg(test)]
mod tests;
mod turn;
mod waits;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use self::clocks::Clocks;
use self::contract::Contract;
use self::evict::Evictions;
use self::leave::Leaving;
use self::requests::Requests;
use self::rivals::Rival;
use self::skew::Skews;
pub use self::skew::WrongClock;
pub use self::status::{Awaited, ClocksPassed, HoldUp, NodeStatus};
use self::waits::Waits;
pub use self::waits::{Awaits, SeedState};
use crate::config::Config;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::error::{TableError, WriteError};
use crate::id::{Actor, ClusterId, FlushId, LinkId, NodeId, Seq, TableId};
use crate::io::{Event, HaltReason, Input, Output};
#[cfg(feature = "std")]
use crate::link::{Connection, LinkLimits};
use crate::link::{Hello, Nonce, VERSIONS};
use crate::marks::Mark;
use crate::membership::{Change, Links, Membership, Verdict};
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::rng::{Rng, Seed, Stream};
use crate::settings::Settings;
use crate::store::record::{Agreement, ClusterRecord, Identity};
use crate::table::env::{Env, Look, Seat};
pub use crate::table::gossip::StrayRows;
use crate::table::gossip::{AT_ONCE, Gossip, Replica, WAITING};
use crate::table::loads::Loads;
use crate::table::{Accepted, Namespace, Reads, TableName, TableOptions, View, Write, sys};
use crate::time::{Instant, Now};

/// What a recovery hands over.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) seed: Seed,
    pub(crate) fx: Effects,
    pub(crate) identity: Identity,
    pub(crate) cluster: ClusterRecord,
    pub(crate) agreed: Vec<Agreement>,
    pub(crate) replica: Replica,
    pub(crate) fresh: bool,
    /// Whether the store holds less than the node once claimed to hold.
    pub(crate) behind: bool,
    /// The damage of the store, in words.
    pub(crate) damage: Option<String>,
}

/// One member of a cluster, as a state machine. See the crate's front page for the loop around it.
pub struct Node {
    /// As it was given, with the cluster's settings in it.
    config: Config,
    settings: Settings,
    pub(crate) fx: Effects,
    identity: Identity,
    cluster: ClusterRecord,
    /// The damage of its store, until it has reunited.
    damage: Option<String>,
    /// The link through which this node is joining a cluster or reuniting with it.
    joining: Option<LinkId>,
    /// Links to nodes that may be joining through this one.
    welcoming: BTreeSet<LinkId>,
    /// Members that were asked whether they are there, because another node claims their ids.
    rivals: BTreeMap<NodeId, Rival>,
    pub(crate) gossip: Gossip,
    membership: Membership,
    /// Grows with whatever may change what is said of members.
    members_revision: u64,
    links: Links,
    /// What nonces of handshakes are drawn from, and nothing else.
    nonces: Rng,
    detector: Detector,
    requests: Requests,
    loads: Loads,
    leaving: Option<Leaving>,
    evictions: Evictions,
    clocks: Clocks,
    skews: Skews,
    waits: Waits,
    /// When this life began.
    begun: Instant,
    contract: Contract,
    halted: bool,
    stalled: bool,
    /// When unsynced stores are synced.
    sync_at: Option<Instant>,
}

impl Node {
    pub(crate) fn assemble(now: Now, parts: Parts) -> Node {
        let Parts {
            config,
            seed,
            fx,
            identity,
            cluster,
            agreed,
            replica,
            fresh,
            behind,
            damage,
        } = parts;
        let me = identity.node;
        let timing = config.timing.clone();
        let membership_rng = Rng::new(seed, Stream::Membership);
        let detector_rng = Rng::new(seed, Stream::Detector);
        let mut node = Node {
            links: Links::new(
                me,
                timing.clone(),
                membership_rng,
                config.seeds.clone(),
                now.mono,
            ),
            detector: Detector::new(
                (me, &config.zone),
                identity.epoch,
                now.mono,
                timing,
                detector_rng,
            ),
            nonces: Rng::of_life(seed, identity.run, Stream::Link),
            gossip: Gossip::new(now.mono, &config, Rng::new(seed, Stream::Gossip), replica),
            membership: Membership::new(me),
            members_revision: 0,
            requests: Requests::default(),
            loads: Loads::new(&config.limits),
            joining: None,
            welcoming: BTreeSet::new(),
            rivals: BTreeMap::new(),
            leaving: None,
            evictions: Evictions::new(agreed),
            clocks: Clocks::default(),
            skews: Skews::default(),
            waits: Waits::default(),
            begun: now.mono,
            contract: Contract::default(),
            halted: false,
            stalled: false,
            sync_at: None,
            settings: Settings::new(&config),
            config,
            fx,
            identity,
            cluster,
            damage,
        };
        #[cfg(feature = "mutants")]
        {
            node.detector.mutant = node.fx.mutant;
        }
        node.begin_life(now, fresh, behind);
        node
    }

    /// Takes one input. Infallible, with bounded work; a monotonic clock that goes back is taken as standing still.
    ///
    /// # Panics
    /// In debug builds, when the loop breaks a rule of the contract, which the message names: a turn of a minute and 1,000 inputs
    /// has not ended with [`Input::Tick`], or 1,000 turns have ended while outputs wait for [`Node::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.fx.set_now(now);
        if self.halted {
            return;
        }
        self.hold_to_contract(&input);
        self.gossip.look_at_clocks(&mut self.fx);
        match input {
            Input::Tick => self.tick(),
            Input::LinkUp { link, dial, hello } => self.link_up(link, dial, &hello),
            Input::LinkDown { link, why } => self.link_down(link, &why),
            Input::DialFailed { dial, why } => self.dial_failed(dial, &why),
            Input::Message { link, msg } => self.route(link, msg),
            Input::Congested { link } => self.congested(link, true),
            Input::Drained { link } => self.congested(link, false),
            Input::Request {
                token,
                deadline,
                request,
            } => self.request(token, deadline, request),
            Input::Cancel { token } => self.cancel(token),
            Input::Stored { upto } => self.stored(upto),
            Input::StoreStalled { why } => {
                if !core::mem::replace(&mut self.stalled, true) {
                    self.fx.event(Event::StoreStalled(why));
                }
            }
            Input::StoreFailed { error } => self.halt(HaltReason::StoreFailed(error)),
            Input::Loaded { load, result } => self.loaded(load, result),
        }
        self.after_input();
    }

    /// The next thing the driver has to do, oldest first. Pops; computes nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.contract.seen();
        self.fx.pop()
    }

    /// Writes to a row of a user table, at once and locally; every member gets it. O(1), plus O(log rows) for a new key.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn write(
        &mut self,
        now: Now,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        self.fx.set_now(now);
        self.admit(table)?;
        self.gossip.replica_mut().write(&mut self.fx, table, write)
    }

    /// Removes every row of a user table that is known here, with one record. They are hidden at once, and turns remove them; those
    /// whose clocks are ahead of this node's are deleted one by one, from 256 on in turns too: [`Request::Flush`](crate::Request::Flush)
    /// and [`Node::begin_flush`] tell when that is done. O(log rows).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn flush_table(&mut self, now: Now, table: TableId) -> Result<Accepted, WriteError> {
        self.fx.set_now(now);
        self.admit_flush(Some(table))?;
        Ok(self
            .gossip
            .replica_mut()
            .flush_table(&mut self.fx, Some(table), None)
            .0)
    }

    /// Removes every row of every user table that is known here, with one record. As [`Node::flush_table`]. O(log
    /// rows).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn flush_all(&mut self, now: Now) -> Result<Accepted, WriteError> {
        self.fx.set_now(now);
        self.admit_flush(None)?;
        Ok(self
            .gossip
            .replica_mut()
            .flush_table(&mut self.fx, None, None)
            .0)
    }

    /// Flushes a table, or all of them, as [`Node::flush_table`]. Where rows ahead of this node's clock are left to be deleted the id is
    /// given to [`Node::flush_more`] until it says that all are.
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn begin_flush(
        &mut self,
        now: Now,
        table: Option<TableId>,
    ) -> Result<(Accepted, Option<FlushId>), WriteError> {
        self.fx.set_now(now);
        self.admit_flush(table)?;
        let (accepted, left) = self
            .gossip
            .replica_mut()
            .flush_table(&mut self.fx, table, None);
        Ok((accepted, left.map(FlushId)))
    }

    /// Deletes some more of the rows that a flush has left; once all are deleted, the batch that has to be durable before the answer, as that
    /// of a write does. About a millisecond.
    pub fn flush_more(&mut self, now: Now, flush: FlushId) -> Option<Seq> {
        self.fx.set_now(now);
        self.gossip
            .replica_mut()
            .flush_more(&mut self.fx, flush.0, AT_ONCE)
    }

    /// Whether a client's flush may be accepted here now.
    fn admit_flush(&mut self, table: Option<TableId>) -> Result<(), WriteError> {
        self.admit(table.unwrap_or(TableId::DEFAULT))?;
        match self.gossip.replica().is_full_of_flushes() {
            true => Err(WriteError::Busy { limit: WAITING }),
            false => Ok(()),
        }
    }

    /// Whether a client's write may be accepted here now.
    fn admit(&mut self, table: TableId) -> Result<(), WriteError> {
        if self.halted || self.leaving.is_some() {
            return Err(WriteError::Leaving);
        }
        if self.stalled {
            return Err(WriteError::StoreStalled);
        }
        let limit = self.config.limits.store_backlog;
        if self.fx.backlog() >= limit && !mutated!(self.fx, BacklogUnbounded) {
            return Err(WriteError::Busy { limit });
        }
        let limit = self.config.limits.store_backlog_bytes;
        if self.fx.backlog_bytes() >= limit {
            return Err(WriteError::Busy { limit });
        }
        let drift = self.config.limits.clock_drift;
        if let Err(refusal) = self.clocks.check(self.fx.now(), drift)
            && !mutated!(self.fx, ClockAheadWrites)
        {
            self.fx.refuse(Refusal::WriteClockAhead);
            return Err(refusal);
        }
        match self.gossip.replica().catalog().get(table) {
            Some(known) if known.namespace() == Namespace::Usr => Ok(()),
            Some(_) => Err(WriteError::ReadOnlyTable),
            None => Err(WriteError::TableForgotten),
        }
    }

    /// The user table called `name`, interned on first use; it has a row in `sys.tables` only if it has options. The id stands for the name in
    /// this life of the node, also while the table has no rows: so a name that was asked for here is never forgotten.
    ///
    /// # Errors
    /// [`TableError::BadName`] when the name is empty or too long.
    pub fn table(&mut self, name: &str) -> Result<TableId, TableError> {
        self.gossip.replica_mut().table(name, true)
    }

    /// The user table called `name`, for writes that follow at once: a table that is left without rows and options is forgotten after a
    /// while, and its id with it.
    ///
    /// # Errors
    /// [`TableError::BadName`] when the name is empty or too long.
    pub fn table_to_write(&mut self, name: &str) -> Result<TableId, TableError> {
        self.gossip.replica_mut().table(name, false)
    }

    /// The user table of that name, if this node has ever heard of it. O(log tables).
    pub fn user_table(&self, name: &str) -> Option<TableId> {
        self.gossip.replica().catalog().resolve_user(name)
    }

    /// The table of that name, if this node has ever heard of it.
    pub fn find_table(&self, name: &TableName) -> Option<TableId> {
        self.gossip.replica().find_table(name)
    }

    /// Creates a table with options. The second value is the batch that makes the definition durable.
    ///
    /// # Errors
    /// [`TableError`]; nothing was changed.
    pub fn create_table(
        &mut self,
        now: Now,
        name: &str,
        options: TableOptions,
    ) -> Result<(TableId, Seq), TableError> {
        self.fx.set_now(now);
        self.admit(TableId::DEFAULT)?;
        self.gossip
            .replica_mut()
            .create_table(&mut self.fx, name, options)
    }

    /// A look at the tables.
    pub fn view(&self, now: Now) -> View<'_> {
        View {
            reads: Reads {
                catalog: self.gossip.replica().catalog(),
                changes: self.gossip.replica().changes(),
                gossip: self.gossip.replica(),
                effects: &self.fx,
            },
            wall_ms: now.wall.as_millis(),
        }
    }

    /// The batch up to which everything is durable. Without storage every write is in batch 0 and counts as durable.
    pub fn durable(&self) -> Seq {
        self.fx.durable()
    }

    /// Whether clients should wait: the store lags behind by more than half of what is allowed.
    pub fn pressure(&self) -> bool {
        self.fx.is_pressed(&self.config.limits)
    }

    /// This node's id.
    pub fn id(&self) -> NodeId {
        self.identity.node
    }

    /// This node in its present life.
    pub fn actor(&self) -> Actor {
        Actor {
            node: self.identity.node,
            run: self.identity.run,
        }
    }

    /// The cluster this node belongs to at present.
    pub fn cluster(&self) -> ClusterId {
        self.cluster.id
    }

    /// What this node says of itself in a handshake.
    pub fn hello(&self) -> Hello {
        Hello {
            versions: VERSIONS,
            cluster_name: self.config.cluster_name.clone(),
            cluster: self.cluster.id,
            actor: self.actor(),
            epoch: self.identity.epoch,
            name: self.config.name.clone(),
            addr: self.config.addr.clone(),
        }
    }

    /// Draws what makes the handshake of one stream differ from all others: for a driver whose handshake is one of its own.
    pub fn nonce(&mut self) -> Nonce {
        if mutated!(self.fx, NonceRepeated) {
            return Nonce::new([self.identity.node.0, 0]);
        }
        Nonce::new([self.nonces.next(), self.nonces.next()])
    }

    /// The reading side of a new stream to a peer, accepted or dialled, with a nonce of its own.
    #[cfg(feature = "std")]
    pub fn connection(&mut self, limits: LinkLimits) -> Connection {
        let nonce = self.nonce();
        #[cfg_attr(not(feature = "mutants"), expect(unused_mut))]
        let mut conn = Connection::new(self.hello(), nonce, limits);
        #[cfg(feature = "mutants")]
        {
            conn.mutant = self.fx.mutant;
        }
        conn
    }

    /// The configuration in force: as it was given, with the cluster's settings in its `timing` and `limits`, and
    /// without `found` where rows are missing because the store was damaged.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Replaces what this member serves besides `gossip`: endpoints may be known only after listeners were bound.
    pub fn set_protocols(&mut self, now: Now, protocols: BTreeMap<String, String>) {
        self.fx.set_now(now);
        if self.config.protocols != protocols {
            self.config.protocols = protocols;
            self.write_own_row();
            self.after_input();
        }
    }

    /// The rare branches that were taken in this life, and how often.
    pub fn marks(&self) -> impl Iterator<Item = (Mark, u64)> {
        self.fx.marks()
    }

    /// What this node refused in this life, by reason, and how often.
    pub fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        self.fx.refusals()
    }

    /// Outputs that wait for the driver, and outputs withheld until a batch is durable.
    pub fn queued(&self) -> (usize, usize) {
        (self.fx.queued(), self.fx.gated())
    }

    /// Asserts all of this node's own invariants, never a peer's good behaviour. O(actors, members and rows); for
    /// simulators and debugging.
    ///
    /// # Panics
    /// When an invariant does not hold: a bug in this crate.
    pub fn check(&self) {
        self.check_turn();
        self.gossip.check();
        self.links.check();
        self.membership.check();
        self.detector.check();
        self.check_settings();
    }

    /// Asserts those of its own invariants that can be seen in O(1): for after every turn, between sweeps of [`Node::check`].
    ///
    /// # Panics
    /// When an invariant does not hold: a bug in this crate.
    pub fn check_turn(&self) {
        assert!(
            self.joining.is_none() || !self.is_full(),
            "only a node that is no full member yet is joining"
        );
        self.loads.check();
    }

    /// Whether there is no other member.
    pub(crate) fn is_alone(&self) -> bool {
        self.membership.others().next().is_none()
    }

    /// Whether this node is a full member: caught up, and not away. Only such a node serves, pushes and claims.
    pub fn is_full(&self) -> bool {
        self.cluster.joined && self.cluster.away.is_none()
    }

    /// Returns the node's place in its cluster, as table machines see it.
    fn seat(&self) -> Seat<'_> {
        Seat {
            me: self.identity.node,
            begun: self.begun,
            joined: self.cluster.joined,
            is_away: self.cluster.away.is_some(),
            is_leaving: self.leaving.is_some(),
            takes_no_rows: self.takes_no_rows(),
            joining: self.joining,
            config: &self.config,
            members: &self.membership,
            detector: &self.detector,
        }
    }

    /// Returns the node for a table machine that looks.
    fn look(&self) -> Look<'_> {
        Look {
            fx: &self.fx,
            links: &self.links,
            seat: self.seat(),
        }
    }

    /// Returns the gossip tables, and the node for a call that acts.
    fn gossip_door(&mut self) -> (&mut Gossip, Env<'_>) {
        let takes_no_rows = self.takes_no_rows();
        let seat = Seat {
            me: self.identity.node,
            begun: self.begun,
            joined: self.cluster.joined,
            is_away: self.cluster.away.is_some(),
            is_leaving: self.leaving.is_some(),
            takes_no_rows,
            joining: self.joining,
            config: &self.config,
            members: &self.membership,
            detector: &self.detector,
        };
        let env = Env {
            fx: &mut self.fx,
            links: &mut self.links,
            loads: &mut self.loads,
            seat,
        };
        (&mut self.gossip, env)
    }

    fn halt(&mut self, why: HaltReason) {
        self.halted = true;
        self.requests.fail_all(&mut self.fx);
        self.fx.halt(why);
    }

    /// What this input changed in the store's own tables takes effect, and the values it wants are asked for.
    fn after_input(&mut self) {
        self.take_sys_changes();
        self.loads_due();
        // A reunion that is complete now changes them too.
        self.take_sys_changes();
    }

    fn take_sys_changes(&mut self) {
        let changes = self.gossip.replica_mut().take_sys_changes();
        let verdicts: Vec<_> = changes
            .into_iter()
            .filter_map(|(table, key)| self.sys_row_changed(table, &key))
            .collect();
        // How far a side's evictions go tell all of them together.
        for verdict in verdicts {
            self.judge_eviction(&verdict);
        }
    }

    /// A row of the store's own takes effect; the eviction it tells of, when that is news.
    fn sys_row_changed(&mut self, table: TableId, key: &Bytes) -> Option<Verdict> {
        if table == sys::SETTINGS {
            self.setting_row_changed(key);
            return None;
        }
        let row = self.gossip.replica().rows().get(table, key)?;
        let value = row.value.resident().cloned()?;
        let clock = row.clock;
        let (change, verdict) = match table {
            sys::MEMBERS => (self.membership.member_changed(key, &value, clock), None),
            sys::DEPARTED if self.membership.lost_changed(key, clock) => {
                self.gossip.members_changed();
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
        self.membership_changed(change);
        verdict
    }
}
