//! Writes of this node's own: clients' and the store's.

use bytes::Bytes;

use super::{Arrival, Gossip, Slot, StoredRow};
use crate::effects::Effects;
use crate::error::WriteError;
use crate::id::TableId;
use crate::mutants::mutated;
use crate::table::{Accepted, Hlc, Version, Write};

impl Gossip {
    /// A client's write.
    pub(crate) fn write(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        if self.tables.domain(table).has_siblings() {
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
        let above = self.clock_to_beat(table, current);
        let existed = current.is_some_and(|row| row.is_live_at(wall_ms));
        if value.is_none() && !existed {
            return Ok(self.unchanged(fx, table, current));
        }
        if above >= Hlc::MAX {
            return Err(WriteError::LastClock);
        }
        Ok(self.put_local(fx, table, key, found, value, expires, existed))
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one row, not yet a row"
    )]
    fn put_local(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        key: &[u8],
        found: Option<Slot>,
        value: Option<Bytes>,
        expires: u64,
        existed: bool,
    ) -> Accepted {
        let current = found.and_then(|slot| self.rows.row(slot));
        let above = self.clock_to_beat(table, current);
        let clock = self.issue_clock(fx, above);
        let clock = if mutated!(fx, WallClockWrites) {
            Hlc::at(fx.now().wall)
        } else {
            clock
        };
        self.put_at(fx, table, key, found, value, expires, (clock, existed))
    }

    /// A write of this node's with a clock that is settled already.
    #[expect(
        clippy::too_many_arguments,
        reason = "the parts of one row, not yet a row"
    )]
    pub(super) fn put_at(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        key: &[u8],
        found: Option<Slot>,
        value: Option<Bytes>,
        expires: u64,
        (clock, existed): (Hlc, bool),
    ) -> Accepted {
        let domain = self.tables.domain(table);
        let counter = self.cover.next_own(domain, self.me, fx);
        let seq = fx.open_seq();
        let arrival = Arrival {
            table,
            actor: self.me,
            counter,
            clock,
            expires,
            key: match found.and_then(|slot| self.rows.row(slot)) {
                Some(row) => row.key.clone(),
                None => Bytes::copy_from_slice(key),
            },
            value,
            siblings: None,
        };
        if self.outbox.is_open() {
            let now = fx.now().mono;
            self.outbox.push(now, domain, &arrival);
        }
        self.place(fx, domain, found, arrival);
        let sync = self.is_sync(table) && !mutated!(fx, AckBeforeSync);
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
        }
    }

    /// A write of the store's own to one of its tables.
    pub(crate) fn write_sys(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        key: &[u8],
        value: Bytes,
    ) -> Accepted {
        let found = self.rows.find(table, key);
        let existed = found.is_some();
        self.put_local(fx, table, key, found, Some(value), 0, existed)
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
            sync: self.is_sync(table) && !mutated!(fx, AckBeforeSync),
            existed: current.is_some_and(|row| row.is_live_at(wall_ms)),
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

    /// What a write over this row has to be newer than.
    pub(super) fn clock_to_beat(&self, table: TableId, row: Option<&StoredRow>) -> Hlc {
        row.map_or(Hlc(0), |row| row.clock).max(self.floor(table))
    }
}
