//! Fresh local writes on their way to the other members.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{ActorIx, Arrival, Gossip};
use crate::id::{Actor, TableId};
use crate::table::{Domain, Hlc};
use crate::wire::{Row, RowBatch, TableRef};

/// Rows accepted in this turn. Every version is sent, superseded ones too: a gap in the dots would look like a loss.
#[derive(Default)]
pub(crate) struct Outbox {
    open: bool,
    rows: Vec<Arrival>,
}

impl Outbox {
    /// Whether somebody is there to push to.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.open = open;
        if !open {
            self.rows.clear();
        }
    }

    pub(crate) fn push(&mut self, row: &Arrival) {
        self.rows.push(Arrival {
            table: row.table,
            actor: row.actor,
            counter: row.counter,
            clock: row.clock,
            expires: row.expires,
            key: row.key.clone(),
            value: row.value.clone(),
            siblings: None,
        });
    }

    pub(crate) fn take(&mut self) -> Vec<Arrival> {
        core::mem::take(&mut self.rows)
    }
}

/// Collects rows into batches for the wire, within the limits.
pub(crate) struct Batcher {
    batch: RowBatch,
    /// Where the batch names each actor.
    actors: BTreeMap<ActorIx, usize>,
    tables: Vec<TableId>,
    bytes: usize,
    /// Rows counted that are not here yet.
    reserved: usize,
    max_rows: usize,
    max_bytes: usize,
}

impl Batcher {
    pub(crate) fn new(max_rows: usize, max_bytes: usize) -> Self {
        Batcher {
            batch: RowBatch {
                actors: Vec::new(),
                tables: Vec::new(),
                rows: Vec::new(),
            },
            actors: BTreeMap::new(),
            tables: Vec::new(),
            bytes: 0,
            reserved: 0,
            max_rows,
            max_bytes,
        }
    }

    /// Whether a row with this many bytes still fits; the first always does.
    pub(crate) fn fits(&self, bytes: usize) -> bool {
        let rows = self.batch.rows.len() + self.reserved;
        rows == 0 || (rows < self.max_rows && self.bytes + bytes <= self.max_bytes)
    }

    /// Counts a row that will be added later.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.reserved += 1;
        self.bytes += bytes;
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.batch.rows.is_empty()
    }

    pub(crate) fn add(
        &mut self,
        (table, table_ref): (TableId, impl FnOnce() -> TableRef),
        (actor, name): (ActorIx, Actor),
        row: (u64, Hlc, u64),
        key: bytes::Bytes,
        value: Option<bytes::Bytes>,
    ) {
        let table = match self.tables.iter().rposition(|known| *known == table) {
            Some(at) => at,
            None => {
                self.tables.push(table);
                self.batch.tables.push(table_ref());
                self.tables.len() - 1
            }
        };
        let named = &mut self.batch.actors;
        let actor = *self.actors.entry(actor).or_insert_with(|| {
            named.push(name);
            named.len() - 1
        });
        self.bytes += row_bytes(&key, value.as_ref().map_or(0, bytes::Bytes::len));
        let (counter, clock, expires) = row;
        self.batch.rows.push(Row {
            table: table as u32,
            actor: actor as u32,
            counter,
            clock: clock.0,
            expires,
            key,
            value,
        });
    }

    pub(crate) fn take(&mut self) -> RowBatch {
        self.actors.clear();
        self.tables.clear();
        self.bytes = 0;
        self.reserved = 0;
        core::mem::replace(
            &mut self.batch,
            RowBatch {
                actors: Vec::new(),
                tables: Vec::new(),
                rows: Vec::new(),
            },
        )
    }
}

/// What a row costs against the limit of a message.
pub(crate) fn row_bytes(key: &bytes::Bytes, value_len: usize) -> usize {
    key.len() + value_len + 32
}

impl Gossip {
    /// The fresh local writes as batches for the wire; empties the outbox.
    pub(crate) fn take_pushes(&mut self) -> Vec<(bool, RowBatch)> {
        let mut out = Vec::new();
        let mut rows = self.outbox.take();
        if rows.is_empty() {
            return out;
        }
        // The store's own rows first: definitions before the rows they define.
        rows.sort_by_key(|row| self.tables.domain(row.table) != Domain::Sys);
        let mut batcher = Batcher::new(self.limits.rows_per_message, self.limits.bytes_per_message);
        let mut sys = true;
        for row in rows {
            let is_sys = self.tables.domain(row.table) == Domain::Sys;
            let full = !batcher.fits(row_bytes(
                &row.key,
                row.value.as_ref().map_or(0, Bytes::len),
            ));
            if (full || is_sys != sys) && !batcher.is_empty() {
                out.push((sys, batcher.take()));
            }
            sys = is_sys;
            let (table, actor): (TableId, ActorIx) = (row.table, row.actor);
            batcher.add(
                (table, || self.table_ref(table)),
                (actor, self.actor(actor)),
                (row.counter, row.clock, row.expires),
                row.key,
                row.value,
            );
        }
        if !batcher.is_empty() {
            out.push((sys, batcher.take()));
        }
        out
    }
}
