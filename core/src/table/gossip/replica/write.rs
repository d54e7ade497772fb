//! Writes of this node's own: clients' and the store's.

use bytes::Bytes;

use super::{Arrival, Replica, StoredRow};
use crate::effects::Effects;
use crate::error::WriteError;
use crate::id::{Seq, TableId};
use crate::table::Slot;
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
        fx: &mut Effects,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        let table = match fx.rules().ids_follow_definitions() {
            true => self.catalog.home(table),
            false => self.catalog.public(table),
        };
        if self.catalog.class(table).has_siblings() {
            return self.write_sibling(fx, table, write);
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
        let wall_ms = fx.now().wall.as_millis();
        let found = self.rows.find(table, key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let existed = current.is_some_and(|row| row.is_live_at(wall_ms));
        // A row that is hidden here may show elsewhere.
        let stays =
            fx.rules().deletes_hidden_rows() && current.is_some_and(|row| !row.value.is_dead());
        if value.is_none() && !existed && !stays {
            return Ok(self.unchanged(fx, table, current));
        }
        let mut above = self.clock_to_beat(table, current)?;
        if current.is_none() {
            above = above.max(self.freed_to_beat(fx));
        }
        let clock = self.issue_clock(fx, above);
        let fresh = Fresh {
            table,
            key,
            found,
            value,
            expires,
        };
        Ok(self.put(fx, fresh, clock, existed))
    }

    /// Makes a write of this node's the current version of its key, and has it pushed.
    pub(super) fn put(
        &mut self,
        fx: &mut Effects,
        fresh: Fresh<'_>,
        clock: Hlc,
        existed: bool,
    ) -> Accepted {
        let table = fresh.table;
        let class = self.catalog.class(table);
        self.note(fx, table);
        let counter = self.cover.next_own(class, self.me, fx);
        let seq = fx.open_seq();
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
        self.collect(fx, &arrival);
        self.place(fx, class, fresh.found, arrival);
        self.accepted(fx, table, seq, (clock, counter), existed)
    }

    /// The key as its row has it, so that there is one copy.
    pub(super) fn key_of(&self, found: Option<Slot>, key: &[u8]) -> Bytes {
        match found.and_then(|slot| self.rows.row(slot)) {
            Some(row) => row.key.clone(),
            None => Bytes::copy_from_slice(key),
        }
    }

    /// A fresh row goes out with the next push, if anybody is there to push to.
    pub(super) fn collect(&mut self, fx: &Effects, fresh: &Arrival) {
        if self.outbox.is_open() {
            let class = self.catalog.class(fresh.table);
            self.outbox.push(fx.now().mono, class, fresh);
        }
    }

    /// The answer to a write that is placed, after which the turn's batch is synced if its table promises that.
    pub(super) fn accepted(
        &self,
        fx: &mut Effects,
        table: TableId,
        seq: Seq,
        (clock, counter): (Hlc, u64),
        existed: bool,
    ) -> Accepted {
        let sync = self.is_sync(table) && fx.rules().acks_after_sync();
        if sync {
            fx.sync_this_turn();
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
        fx: &mut Effects,
        table: TableId,
        key: &[u8],
        value: impl Into<Option<Bytes>>,
    ) -> Accepted {
        let found = self.rows.find(table, key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let above = self.clock_to_beat(table, current).unwrap_or(Hlc::MAX);
        let clock = self.issue_clock(fx, above);
        let fresh = Fresh {
            table,
            key,
            found,
            value: value.into(),
            expires: 0,
        };
        self.put(fx, fresh, clock, found.is_some())
    }

    /// A delete that removes nothing.
    pub(super) fn unchanged(
        &self,
        fx: &Effects,
        table: TableId,
        current: Option<&StoredRow>,
    ) -> Accepted {
        let wall_ms = fx.now().wall.as_millis();
        let nothing = Version {
            clock: self.clock.last(),
            actor: self.actor(self.me),
            counter: 0,
        };
        Accepted {
            version: current.map_or(nothing, |row| self.version(row)),
            seq: current.map_or(fx.durable(), |row| row.seq),
            sync: self.is_sync(table) && fx.rules().acks_after_sync(),
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
