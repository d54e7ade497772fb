//! Writes of this node's own: clients' and the store's.

use bytes::Bytes;

use super::{Arrival, Replica, StoredRow};
use crate::error::WriteError;
use crate::id::{Seq, TableId};
use crate::table::Slot;
use crate::table::env::RowEnv;
use crate::table::{Accepted, Hlc, Version, Write};

/// A write of this node: not yet a version.
pub(super) struct Fresh<'a> {
    pub(super) table: TableId,
    pub(super) key: &'a [u8],
    /// The row that is there.
    pub(super) found: Option<Slot>,
    pub(super) value: Option<Bytes>,
    pub(super) expires: u64,
}

impl Replica {
    /// A client's write.
    pub(crate) fn write(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        let table = match env.fx.rules().ids_follow_definitions() {
            true => env.catalog.home(table),
            false => env.catalog.public(table),
        };
        if env.catalog.class(table).has_siblings() {
            return self.write_sibling(env, table, write);
        }
        let (key, value, expires) = match write {
            Write::Put {
                key,
                value,
                expires,
            } => (
                key,
                Some(value),
                expires.map_or(0, |at| at.as_millis().max(1)),
            ),
            Write::Delete { key } => (key, None, 0),
            Write::Replace { .. } | Write::Remove { .. } => return Err(WriteError::ContextUnused),
        };
        self.check_limits(key, value.as_ref())?;
        let wall_ms = env.fx.now().wall.as_millis();
        let found = self.rows.find(table, key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let existed = current.is_some_and(|row| row.is_live_at(wall_ms));
        // A row that is hidden here may show elsewhere.
        let stays =
            env.fx.rules().deletes_hidden_rows() && current.is_some_and(|row| !row.value.is_dead());
        if value.is_none() && !existed && !stays {
            return Ok(self.unchanged(env, table, current));
        }
        let mut above = self.clock_to_beat(table, current)?;
        if current.is_none() {
            above = above.max(self.freed_to_beat(env.fx));
        }
        let clock = self.issue_clock(env.fx, above);
        let fresh = Fresh {
            table,
            key,
            found,
            value,
            expires,
        };
        Ok(self.put(env, fresh, clock, existed))
    }

    /// Makes a write of this node's the current version of its key, and has it pushed.
    pub(super) fn put(
        &mut self,
        env: &mut RowEnv<'_>,
        fresh: Fresh<'_>,
        clock: Hlc,
        existed: bool,
    ) -> Accepted {
        let table = fresh.table;
        let class = env.catalog.class(table);
        self.note(env, table);
        let counter = self.coverage.next_own(class, self.me, env.fx);
        let seq = env.fx.open_seq();
        let arrival = Arrival {
            table,
            actor: self.me,
            counter,
            clock,
            expires: fresh.expires,
            key: self.key_of(fresh.found, fresh.key),
            value: fresh.value,
            siblings: None,
        };
        self.collect(env, &arrival);
        self.place(env, class, fresh.found, arrival);
        self.accepted(env, table, seq, (clock, counter), existed)
    }

    /// The key of a version that replaces the one in this slot. Where it goes out with a push it is the key that the row has, so that there is
    /// one copy; else it is dropped soon, and the row's own would be waited for, which few have read lately.
    pub(super) fn key_of(&self, found: Option<Slot>, key: &[u8]) -> Bytes {
        let shared = found.filter(|_| self.outbox.is_open());
        match shared.and_then(|slot| self.rows.row(slot)) {
            Some(row) => row.key.clone(),
            None => Bytes::copy_from_slice(key),
        }
    }

    /// A fresh row goes out with the next push, if anybody is there to push to.
    pub(super) fn collect(&mut self, env: &RowEnv<'_>, fresh: &Arrival) {
        if self.outbox.is_open() {
            let class = env.catalog.class(fresh.table);
            self.outbox.push(env.fx.now().mono, class, fresh);
        }
    }

    /// The answer to a write that is placed, after which the turn's batch is synced if its table promises that.
    pub(super) fn accepted(
        &self,
        env: &mut RowEnv<'_>,
        table: TableId,
        seq: Seq,
        (clock, counter): (Hlc, u64),
        existed: bool,
    ) -> Accepted {
        let sync = self.is_sync(env.catalog, table) && env.fx.rules().acks_after_sync();
        if sync {
            env.fx.sync_this_turn();
        }
        let version = Version {
            clock,
            actor: self.actor(self.me),
            counter,
        };
        Accepted {
            version,
            seq,
            sync,
            existed,
            wrote: true,
        }
    }

    /// A write of the store's own to one of its tables; without a value the row is one that may be freed.
    pub(crate) fn write_sys(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        key: &[u8],
        value: impl Into<Option<Bytes>>,
    ) -> Accepted {
        let found = self.rows.find(table, key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let above = self.clock_to_beat(table, current).unwrap_or(Hlc::MAX);
        let clock = self.issue_clock(env.fx, above);
        let fresh = Fresh {
            table,
            key,
            found,
            value: value.into(),
            expires: 0,
        };
        self.put(env, fresh, clock, found.is_some())
    }

    /// A delete that removes nothing.
    pub(super) fn unchanged(
        &self,
        env: &RowEnv<'_>,
        table: TableId,
        current: Option<&StoredRow>,
    ) -> Accepted {
        let wall_ms = env.fx.now().wall.as_millis();
        let nothing = Version {
            clock: self.clock.last(),
            actor: self.actor(self.me),
            counter: 0,
        };
        Accepted {
            version: current.map_or(nothing, |row| self.version(row)),
            seq: current.map_or(env.fx.durable(), |row| row.seq),
            sync: self.is_sync(env.catalog, table) && env.fx.rules().acks_after_sync(),
            existed: current.is_some_and(|row| row.is_live_at(wall_ms)),
            wrote: false,
        }
    }

    pub(super) fn check_limits(&self, key: &[u8], value: Option<&Bytes>) -> Result<(), WriteError> {
        if key.is_empty() {
            return Err(WriteError::EmptyKey);
        }
        if key.len() > self.limits.key_bytes {
            return Err(WriteError::KeyTooLarge {
                size: key.len(),
                limit: self.limits.key_bytes,
            });
        }
        match value {
            Some(value) if value.len() > self.limits.value_bytes => {
                Err(WriteError::ValueTooLarge {
                    size: value.len(),
                    limit: self.limits.value_bytes,
                })
            }
            _ => Ok(()),
        }
    }

    /// Returns the clock that a write over this row has to be above.
    ///
    /// # Errors
    /// [`WriteError::LastClock`]: nothing is.
    pub(super) fn clock_to_beat(
        &self,
        table: TableId,
        row: Option<&StoredRow>,
    ) -> Result<Hlc, WriteError> {
        let above = row
            .map_or(Hlc(0), |row| row.clock)
            .max(self.drop_marker(table));
        match above < Hlc::MAX {
            true => Ok(above),
            false => Err(WriteError::LastClock),
        }
    }
}
