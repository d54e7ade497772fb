//! The machines of all table modes, as one: each call goes to the machine of the table, or to each in turn.

#[cfg(any(test, feature = "delays"))]
mod delays;

use alloc::string::String;
use alloc::vec::Vec;
#[cfg(any(test, feature = "delays"))]
use core::time::Duration;

use bytes::Bytes;

#[cfg(any(test, feature = "delays"))]
use self::delays::Delays;
use crate::config::Config;
use crate::effects::Effects;
use crate::error::{RecoverError, RequestError, TableError};
use crate::id::{Actor, LinkId, LoadId, Seq, TableId, Token};
use crate::io::Timer;
use crate::rng::Rng;
use crate::rules::Rules;
use crate::table::env::{Env, Look, RowEnv};
use crate::table::gossip::record::GossipRecord;
use crate::table::gossip::{self, Gossip, Rejoined, Replica};
use crate::table::shared::Shared;
use crate::table::{Hlc, Mode, Reads, TableOptions, TableRequest};
use crate::time::Instant;

/// Changes beyond a limit that was lowered, and that are forgotten in one turn.
const TRIM_BUDGET: usize = 4_096;

/// A record of a table mode, understood.
pub(crate) enum ModeRecord<'a> {
    /// One of gossip tables.
    Gossip(GossipRecord<'a>),
}

impl ModeRecord<'_> {
    /// Returns whether it is a row that was deleted: a tombstone.
    pub(crate) fn is_deleted(&self) -> bool {
        match self {
            ModeRecord::Gossip(GossipRecord::Row { row, .. }) => row.value.is_dead(),
            ModeRecord::Gossip(GossipRecord::Covered { .. } | GossipRecord::FreedOn { .. }) => {
                false
            }
        }
    }
}

/// Reads a record of a mode.
pub(crate) fn read_record<'a>(mode: Mode, key: &'a [u8], body: &[u8]) -> Option<ModeRecord<'a>> {
    match mode {
        Mode::Gossip => gossip::record::read(key, body).map(ModeRecord::Gossip),
        Mode::Strong | Mode::Quorum => None,
    }
}

/// The records of all modes that a store held.
#[derive(Default)]
pub(crate) struct Restored {
    gossip: gossip::Restored,
}

impl Restored {
    /// Takes in a record.
    ///
    /// # Errors
    /// [`RecoverError`] when the recovery cannot go on.
    pub(crate) fn take(
        &mut self,
        config: &Config,
        record: ModeRecord<'_>,
    ) -> Result<(), RecoverError> {
        match record {
            ModeRecord::Gossip(record) => self.gossip.take(config, record),
        }
    }

    /// Drops the rows about members, and their coverage, since the node is a new one. Returns their keys.
    #[must_use = "these records have to be deleted"]
    pub(crate) fn forget_members(&mut self, rules: Rules) -> Vec<Bytes> {
        self.gossip.forget_members(rules)
    }

    /// Begins the machines of a boot with what was read. Deletes the records of these keys, which cannot be read.
    pub(crate) fn begin(
        self,
        env: &mut RowEnv<'_>,
        boot: &Boot<'_>,
        rng: Rng,
        damaged: Vec<Bytes>,
    ) -> Modes {
        let config = boot.config;
        let limits = config.limits.clone();
        let (resident, ceiling) = (config.resident_value, boot.ceiling);
        let mut replica = Replica::new(env.catalog, boot.actor, limits, resident, ceiling);
        self.gossip.put_into(env, &mut replica, boot.whole, damaged);
        Modes {
            gossip: Gossip::new(env.fx.now().mono, config, rng, replica),
            #[cfg(any(test, feature = "delays"))]
            delays: Delays::default(),
        }
    }
}

/// The boot that the machines begin in.
pub(crate) struct Boot<'a> {
    pub(crate) actor: Actor,
    pub(crate) config: &'a Config,
    /// The clock that the last boot may have given out.
    pub(crate) ceiling: Hlc,
    /// Whether the store holds all that it once did, as far as is known.
    pub(crate) whole: bool,
}

/// The machines of the table modes.
pub(crate) struct Modes {
    /// Gossip tables, the store's own tables among them.
    pub(crate) gossip: Gossip,
    /// Tables of tests, which answer later.
    #[cfg(any(test, feature = "delays"))]
    delays: Delays,
}

impl Modes {
    /// Lets a user table answer later from now on. For tests of programs that will meet tables of such a mode.
    #[cfg(any(test, feature = "delays"))]
    pub(crate) fn delay_table(&mut self, shared: &mut Shared, table: TableId, by: Duration) {
        self.delays.delay(table, by);
        shared.catalog.set_mode(table, Mode::Strong);
    }

    /// Returns how many operations were looked at to find those whose time has come.
    #[cfg(test)]
    pub(crate) fn looked_at(&self) -> u64 {
        self.delays.looked_at
    }

    /// Returns the public id of the user table called `name`, interned on first use. It stands for the name as long as it is kept, or the table
    /// is used.
    ///
    /// # Errors
    /// [`TableError::BadName`] and [`TableError::ModeNotBuilt`]; nothing was changed.
    pub(crate) fn table(
        &mut self,
        shared: &mut Shared,
        name: &str,
        kept: bool,
    ) -> Result<TableId, TableError> {
        self.gossip
            .replica_mut()
            .table(&mut shared.catalog, name, kept)
    }

    /// Creates a table with options. The second value is the batch that makes the definition durable.
    ///
    /// # Errors
    /// [`TableError`]; nothing was changed.
    pub(crate) fn create_table(
        &mut self,
        env: &mut RowEnv<'_>,
        name: &str,
        options: TableOptions,
    ) -> Result<(TableId, Seq), TableError> {
        match Mode::of(name) {
            Mode::Gossip => self.gossip.replica_mut().create_table(env, name, options),
            mode @ (Mode::Strong | Mode::Quorum) => Err(TableError::ModeNotBuilt { mode }),
        }
    }

    /// Takes a client's operation on a table.
    pub(crate) fn request(
        &mut self,
        env: &mut Env<'_>,
        token: Token,
        deadline: Option<Instant>,
        request: TableRequest,
    ) {
        match env.catalog.mode(request.table) {
            Mode::Gossip => self.gossip.request(env, token, deadline, request),
            #[cfg(any(test, feature = "delays"))]
            Mode::Strong => self.delays.request(env, token, deadline, request),
            // No table has such a mode yet: its name is refused.
            #[allow(unreachable_patterns, reason = "tests have tables that answer later")]
            mode @ (Mode::Strong | Mode::Quorum) => {
                let error = TableError::ModeNotBuilt { mode };
                env.fx.reply(token, Err(RequestError::Table(error)));
            }
        }
    }

    /// Takes back an operation that a mode holds and that its client has given up.
    pub(crate) fn forget(&mut self, token: Token) {
        #[cfg(any(test, feature = "delays"))]
        self.delays.forget(token);
        #[cfg(not(any(test, feature = "delays")))]
        let _ = token;
    }

    /// Returns the earliest moment at which a machine has something to do, and why.
    pub(crate) fn next_deadline(&self, look: &Look<'_>) -> Option<(Instant, Timer)> {
        let gossip = self.gossip.next_deadline(look);
        #[cfg(any(test, feature = "delays"))]
        let gossip = gossip.into_iter().chain(self.delays.next_deadline()).min();
        gossip
    }

    /// Does what is due.
    pub(crate) fn tick(&mut self, env: &mut Env<'_>) {
        self.gossip.tick(env);
    }

    /// Answers the operations whose time has come.
    pub(crate) fn requests_due(&mut self, env: &mut Env<'_>) {
        #[cfg(any(test, feature = "delays"))]
        while let Some((token, deadline, request)) = self.delays.next(env) {
            self.gossip.request(env, token, deadline, request);
        }
        #[cfg(not(any(test, feature = "delays")))]
        let _ = env;
    }

    /// Ends the turn, before its batch goes out.
    pub(crate) fn seal(&mut self, env: &mut Env<'_>) {
        env.changes.trim(TRIM_BUDGET);
        self.gossip.seal(env);
    }

    /// Sends what goes out with a turn, once its batch has gone to the store.
    pub(crate) fn send(&mut self, env: &mut Env<'_>) {
        self.gossip.push(env);
    }

    /// Everything up to a batch has become durable.
    pub(crate) fn stored(&mut self, durable: Seq) {
        self.gossip.stored(durable);
    }

    /// Asks for values that are only in the store. Returns a rejoin that became complete; there may be more to ask for then.
    #[must_use = "the node has to act on a rejoin that is complete"]
    pub(crate) fn loads_due(&mut self, env: &mut Env<'_>) -> Option<Rejoined> {
        self.gossip.loads_due(env)
    }

    /// Takes in a value that the store has read, or why it could not. Returns a rejoin that became complete.
    #[must_use = "the node has to act on a rejoin that is complete"]
    pub(crate) fn loaded(
        &mut self,
        env: &mut Env<'_>,
        load: LoadId,
        result: Result<Option<Bytes>, String>,
    ) -> Option<Rejoined> {
        self.gossip.loaded(env, load, result)
    }

    /// Drops what belongs to a link that carries nothing any more.
    pub(crate) fn link_gone(&mut self, env: &mut Env<'_>, link: LinkId) {
        self.gossip.link_gone(env, link);
    }

    /// Goes by another configuration from now on.
    pub(crate) fn retime(&mut self, shared: &mut Shared, now: Instant, config: &Config) {
        shared.changes.resize(config.limits.change_log);
        self.gossip.retime(now, config);
    }

    /// Returns the tables as a view reads them.
    #[inline]
    pub(crate) fn reads<'a>(&'a self, shared: &'a Shared, effects: &'a Effects) -> Reads<'a> {
        Reads {
            catalog: &shared.catalog,
            changes: &shared.changes,
            gossip: self.gossip.replica(),
            effects,
        }
    }

    /// Asserts the machines' own invariants. O(actors and rows).
    pub(crate) fn check(&self) {
        self.gossip.check();
    }
}
