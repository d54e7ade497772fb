//! The node: routes inputs to the sub-machines and their verdicts to each other, in straight-line code.

mod contract;
mod inspect;
mod requests;
mod route;
mod sessions;
mod settings;
mod status;
#[cfg(test)]
pub(crate) mod tests;
mod turn;

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use self::contract::Contract;
pub use self::inspect::Inspect;
pub use self::status::{ClocksPassed, NodeStatus};
use crate::cluster::{Cluster, Env, Past};
use crate::config::Config;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::error::{RequestError, TableError, WriteError};
use crate::id::{Actor, ClusterId, FlushId, NodeId, Seq, TableId};
use crate::io::{HaltReason, Input, Output};
#[cfg(feature = "std")]
use crate::link::{Connection, LinkLimits};
use crate::link::{Hello, Nonce, VERSIONS};
use crate::requests::Requests;
use crate::rng::{Rng, Seed, Stream};
use crate::settings::Settings;
use crate::table::env::Env as TableEnv;
use crate::table::gossip::AT_ONCE;
use crate::table::loads::Loads;
use crate::table::modes::Modes;
use crate::table::shared::Shared;
use crate::table::{Accepted, TableName, TableOptions, View, Write, sys};
use crate::time::{Instant, Now};

/// The parts that a recovery hands over.
pub(crate) struct Parts {
    pub(crate) config: Config,
    pub(crate) seed: Seed,
    pub(crate) fx: Effects,
    pub(crate) past: Past,
    pub(crate) modes: Modes,
    pub(crate) shared: Shared,
    pub(crate) fresh: bool,
    /// Whether the store holds less than the node once claimed to hold.
    pub(crate) behind: bool,
}

/// One member of a cluster, as a state machine. See the crate's front page for the loop around it.
pub struct Node {
    /// As it was given, with the cluster's settings in it.
    config: Config,
    settings: Settings,
    pub(crate) fx: Effects,
    pub(crate) cluster: Cluster,
    detector: Detector,
    pub(crate) modes: Modes,
    /// The tables and changes of all modes.
    pub(crate) shared: Shared,
    requests: Requests,
    loads: Loads,
    /// The stream that nonces of handshakes are drawn from, and nothing else.
    nonces: Rng,
    contract: Contract,
    /// When unsynced stores are synced.
    sync_at: Option<Instant>,
}

impl Node {
    pub(crate) fn assemble(now: Now, parts: Parts) -> Node {
        let Parts {
            config,
            seed,
            fx,
            past,
            modes,
            shared,
            fresh,
            behind,
        } = parts;
        let (me, boot, generation) = (
            past.identity.node,
            past.identity.boot,
            past.identity.generation,
        );
        let rng = |stream| Rng::new(seed, stream);
        let mut node = Node {
            cluster: Cluster::new(now.mono, &config, rng(Stream::Membership), past),
            detector: Detector::new(
                (me, &config.zone),
                generation,
                now.mono,
                config.timing.clone(),
                rng(Stream::Detector),
            ),
            nonces: Rng::of_boot(seed, boot, Stream::Link),
            modes,
            shared,
            requests: Requests::default(),
            loads: Loads::new(&config.limits),
            contract: Contract::default(),
            sync_at: None,
            settings: Settings::new(&config),
            config,
            fx,
        };
        node.detector.rules = node.fx.rules();
        node.begin_boot(now, fresh, behind);
        node
    }

    /// Takes one input. Infallible, with bounded work; a monotonic clock that goes back is taken as standing still.
    ///
    /// # Panics
    /// In debug builds, when the loop breaks a rule of the contract, which the message names: a turn of a minute and 1,000 inputs
    /// has not ended with [`Input::Tick`], or 1,000 turns have ended while outputs wait for [`Node::poll_output`].
    pub fn handle(&mut self, now: Now, input: Input) {
        self.fx.set_now(now);
        if self.fx.is_halted() {
            return;
        }
        let (mono, queued) = (self.fx.now().mono, self.fx.queued());
        self.contract.take(mono, &input, queued);
        self.modes.gossip.look_at_clocks(&mut self.fx);
        match input {
            Input::Tick => self.tick(),
            Input::LinkUp { link, dial, hello } => {
                let (cluster, mut env) = self.cluster_door();
                cluster.link_up(&mut env, link, dial, &hello);
            }
            Input::LinkDown { link, why } => {
                let (cluster, mut env) = self.cluster_door();
                cluster.link_down(&mut env, link, &why);
            }
            Input::DialFailed { dial, why } => {
                let (cluster, mut env) = self.cluster_door();
                cluster.dial_failed(&mut env, dial, &why);
            }
            Input::Message { link, msg } => self.route(link, msg),
            Input::Congested { link } => {
                let (cluster, mut env) = self.cluster_door();
                cluster.congested(&mut env, link, true);
            }
            Input::Drained { link } => {
                let (cluster, mut env) = self.cluster_door();
                cluster.congested(&mut env, link, false);
            }
            Input::Request {
                token,
                deadline,
                request,
            } => self.request(token, deadline, request),
            Input::Cancel { token } => self.give_up(token, RequestError::Cancelled),
            Input::Stored { upto } => self.stored(upto),
            Input::StoreStalled { why } => {
                self.fx.set_stalled(Some(why));
            }
            Input::StoreShort { why } => self.fx.set_short(why),
            Input::StoreFailed { error } => self.halt(HaltReason::StoreFailed(error)),
            Input::Loaded { load, result } => {
                let done = self.modes_door(|modes, env| modes.loaded(env, load, result));
                if let Some(done) = done {
                    self.rejoined(done);
                }
            }
        }
        self.after_input();
    }

    /// The next thing the driver has to do, oldest first. Pops; computes nothing.
    #[must_use = "an output that is not carried out breaks the contract"]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.contract.seen();
        self.fx.pop()
    }

    /// Writes to a row of a user table, at once and locally; every member gets it. The fast path of gossip tables, the only ones that accept a
    /// write without asking others: a table of another mode refuses it with [`WriteError::AnsweredLater`], and takes
    /// [`Request::Table`](crate::io::Request::Table). O(1), plus O(log rows) for a new key.
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
        self.admit(table, write.is_delete())?;
        self.modes
            .gossip
            .replica_mut()
            .write(&mut self.shared.rows(&mut self.fx), table, write)
    }

    /// Removes every row that is known here of a user table, or of all of them, with one record. They are hidden at once, and turns remove them; those
    /// whose clocks are ahead of this node's are deleted one by one, from 256 on in turns too. Where some of these are left the id is given to
    /// [`Node::flush_more`] until it says that all are deleted; [`TableOp::Flush`](crate::table::TableOp::Flush) answers then by itself. O(log rows).
    ///
    /// # Errors
    /// [`WriteError`]; nothing was changed.
    pub fn flush(
        &mut self,
        now: Now,
        table: Option<TableId>,
    ) -> Result<(Accepted, Option<FlushId>), WriteError> {
        self.fx.set_now(now);
        self.admit(table.unwrap_or(TableId::DEFAULT), true)?;
        self.modes
            .gossip
            .admits_flush(&self.shared.catalog, table)?;
        let replica = self.modes.gossip.replica_mut();
        let mut env = self.shared.rows(&mut self.fx);
        let (accepted, left) = replica.flush_table(&mut env, table, None);
        Ok((accepted, left.map(FlushId)))
    }

    /// Deletes some more of the rows that a flush has left; once all are deleted, the batch that has to be durable before the answer, as that
    /// of a write does. About a millisecond.
    #[must_use = "the answer to the flush waits for this batch"]
    pub fn flush_more(&mut self, now: Now, flush: FlushId) -> Option<Seq> {
        self.fx.set_now(now);
        let mut env = self.shared.rows(&mut self.fx);
        self.modes
            .gossip
            .replica_mut()
            .flush_more(&mut env, flush.0, AT_ONCE)
    }

    /// Whether a client's write may be accepted here now; a delete may while the store is short of space.
    fn admit(&mut self, table: TableId, deletes: bool) -> Result<(), WriteError> {
        let seat = self.cluster.seat(&self.fx, &self.config, &self.detector);
        seat.admits(&mut self.fx, deletes)?;
        let catalog = &self.shared.catalog;
        match catalog.answers_later(table) {
            true => Err(WriteError::AnsweredLater),
            false => self.modes.gossip.admits(catalog, table),
        }
    }

    /// The user table called `name`, interned on first use; it has a row in `sys.tables` only if it has options. The id stands for the name in
    /// this boot of the node, also while the table has no rows: so a name that was asked for here is never forgotten.
    ///
    /// # Errors
    /// [`TableError::BadName`] when the name is empty or too long, [`TableError::ModeNotBuilt`] when it is that of a strong or quorum table.
    pub fn table(&mut self, name: &str) -> Result<TableId, TableError> {
        self.modes.table(&mut self.shared, name, true)
    }

    /// The user table called `name`, for writes that follow at once: a table that is left without rows and options is forgotten after a
    /// while, and its id with it.
    ///
    /// # Errors
    /// [`TableError::BadName`] when the name is empty or too long, [`TableError::ModeNotBuilt`] when it is that of a strong or quorum table.
    pub fn table_to_write(&mut self, name: &str) -> Result<TableId, TableError> {
        self.modes.table(&mut self.shared, name, false)
    }

    /// The user table of that name, if this node has ever heard of it; none has a name that [`Mode::built`](crate::table::Mode::built) refuses.
    /// O(log tables).
    pub fn user_table(&self, name: &str) -> Option<TableId> {
        self.shared.catalog.resolve_user(name)
    }

    /// The table of that name, if this node has ever heard of it.
    pub fn find_table(&self, name: &TableName) -> Option<TableId> {
        self.shared.catalog.resolve(name)
    }

    /// Lets a user table answer later from now on: each operation on it waits so long before it takes effect. For tests of programs that will
    /// meet tables of such a mode.
    #[cfg(any(test, feature = "delays"))]
    pub fn delay_table(&mut self, table: TableId, by: core::time::Duration) {
        self.modes.delay_table(&mut self.shared, table, by);
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
        self.admit(TableId::DEFAULT, false)?;
        self.modes
            .create_table(&mut self.shared.rows(&mut self.fx), name, options)
    }

    /// A look at the tables.
    pub fn view(&self, now: Now) -> View<'_> {
        View {
            reads: self.modes.reads(&self.shared, &self.fx),
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
        self.cluster.id()
    }

    /// This node in its present boot.
    pub fn actor(&self) -> Actor {
        self.cluster.actor()
    }

    /// The cluster this node belongs to at present.
    pub fn cluster(&self) -> ClusterId {
        self.cluster.record.id
    }

    /// Returns this node's own description for a handshake.
    pub fn hello(&self) -> Hello {
        Hello {
            versions: VERSIONS,
            cluster_name: self.config.cluster_name.clone(),
            cluster: self.cluster.record.id,
            actor: self.actor(),
            generation: self.cluster.identity.generation,
            name: self.config.name.clone(),
            addr: self.config.addr.clone(),
        }
    }

    /// Draws what makes the handshake of one stream differ from all others: for a driver whose handshake is one of its own.
    pub fn nonce(&mut self) -> Nonce {
        match self.fx.rules().draws_nonces() {
            true => Nonce::new([self.nonces.next(), self.nonces.next()]),
            false => Nonce::new([self.cluster.id().0, 0]),
        }
    }

    /// The reading side of a new stream to a peer, accepted or dialled, with a nonce of its own.
    #[cfg(feature = "std")]
    pub fn connection(&mut self, limits: LinkLimits) -> Connection {
        let nonce = self.nonce();
        let mut conn = Connection::new(self.hello(), nonce, limits);
        conn.rules = self.fx.rules();
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
            let (cluster, mut env) = self.cluster_door();
            cluster.write_own_row(&mut env);
            self.after_input();
        }
    }

    /// Returns the inside of this node, for simulators, tests and metrics.
    pub fn inspect(&self) -> Inspect<'_> {
        Inspect { node: self }
    }

    /// Whether this node is a full member: caught up, and not rejoining. Only such a node serves, pushes and claims.
    pub fn is_full(&self) -> bool {
        self.cluster.is_full()
    }

    /// Enters the cluster through the seeds as a node that holds rows already, since the store is damaged and names no other member. Where an
    /// operator has accepted the damage it goes on by itself.
    pub(crate) fn begin_outside(&mut self, accepted: bool) {
        // To begin a cluster because no member is there at the moment would hide that rows are missing.
        if self.fx.rules().damaged_founds_none() {
            self.config.found = false;
        }
        let (cluster, mut env) = self.cluster_door();
        cluster.begin_outside(&mut env, accepted);
    }

    /// Returns the cluster machine, and the node for a call that acts.
    fn cluster_door(&mut self) -> (&mut Cluster, Env<'_>) {
        let env = Env {
            fx: &mut self.fx,
            config: &self.config,
            detector: &mut self.detector,
            modes: &mut self.modes,
            shared: &mut self.shared,
            loads: &mut self.loads,
            requests: &mut self.requests,
        };
        (&mut self.cluster, env)
    }

    /// Calls the machines of the tables with the node for a call that acts.
    fn modes_door<T>(&mut self, call: impl FnOnce(&mut Modes, &mut TableEnv<'_>) -> T) -> T {
        let (cluster, mut env) = self.cluster_door();
        let (modes, mut env) = cluster.tables(&mut env);
        call(modes, &mut env)
    }

    fn halt(&mut self, why: HaltReason) {
        self.requests.fail_all(&mut self.fx);
        self.fx.halt(why);
    }

    /// Applies the changes of this input to the store's own tables, and asks for the values it wants.
    fn after_input(&mut self) {
        self.take_sys_changes();
        while let Some(done) = self.modes_door(Modes::loads_due) {
            self.rejoined(done);
        }
        // A rejoin that is complete now changes them too.
        self.take_sys_changes();
    }

    /// Lets rows of the store's own tables that have changed take effect, in the order in which they came.
    fn take_sys_changes(&mut self) {
        let mut verdicts = Vec::new();
        for (table, key) in self.modes.gossip.take_sys_changes() {
            if table == sys::SETTINGS {
                self.setting_row_changed(&key);
            } else {
                let (cluster, mut env) = self.cluster_door();
                verdicts.extend(cluster.row_changed(&mut env, table, &key));
            }
        }
        let (cluster, mut env) = self.cluster_door();
        cluster.judge_evictions(&mut env, &verdicts);
    }

    /// Begins a new boot: what the store held takes effect, and this member's row is written.
    fn begin_boot(&mut self, now: Now, fresh: bool, behind: bool) {
        if self.fx.rules().restores_settings() {
            for key in self.modes.gossip.sys_keys(sys::SETTINGS) {
                self.setting_row_changed(&key);
            }
        }
        let (cluster, mut env) = self.cluster_door();
        cluster.restore_rows(&mut env);
        env.fx.set_now(now);
        cluster.begin_boot(&mut env, fresh, behind);
        self.after_input();
    }
}
