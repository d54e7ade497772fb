//! Fresh local writes on their way to the other members.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::{ActorIx, Arrival, Replica};
use crate::id::{Actor, TableId};
use crate::table::catalog::Catalog;
use crate::table::{Hlc, RowClass};
use crate::time::Instant;
use crate::wire::{Row, RowBatch, TableRef};

/// Rows accepted and not pushed yet. Every version is sent, superseded ones too: a gap in the dots would look like a loss.
#[derive(Default)]
pub(crate) struct Outbox {
    open: bool,
    rows: Vec<Arrival>,
    bytes: usize,
    /// Whether rows of the store's own are among them.
    has_sys: bool,
    /// When the first was accepted.
    since: Option<Instant>,
}

impl Outbox {
    /// Returns whether there is a member to push to.
    pub(crate) fn is_open(&self) -> bool {
        self.open
    }

    pub(crate) fn set_open(&mut self, open: bool) {
        self.open = open;
        if !open {
            self.take();
        }
    }

    /// When the first row that waits was accepted.
    pub(crate) fn since(&self) -> Option<Instant> {
        self.since
    }

    pub(crate) fn push(&mut self, now: Instant, class: RowClass, row: &Arrival) {
        self.since.get_or_insert(now);
        self.has_sys |= class == RowClass::Sys;
        self.bytes += arrival_bytes(row);
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

    fn take(&mut self) -> Vec<Arrival> {
        self.bytes = 0;
        self.has_sys = false;
        self.since = None;
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

    /// Whether so many bytes that are of no row still fit.
    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        self.bytes + bytes <= self.max_bytes
    }

    /// Counts bytes that are of no row.
    pub(crate) fn spend(&mut self, bytes: usize) {
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

/// Returns the cost of a row against the limit of a message.
pub(crate) fn row_bytes(key: &bytes::Bytes, value_len: usize) -> usize {
    key.len() + value_len + 32
}

fn arrival_bytes(row: &Arrival) -> usize {
    row_bytes(&row.key, row.value.as_ref().map_or(0, Bytes::len))
}

/// Lets tables take turns, so that a burst in one does not delay the rows of another by more than an equal share of bytes. Rows of one table
/// keep their order.
fn take_turns(rows: Vec<Arrival>) -> Vec<Arrival> {
    let mut out = Vec::with_capacity(rows.len());
    let mut tables: BTreeMap<TableId, VecDeque<Arrival>> = BTreeMap::new();
    for row in rows {
        tables.entry(row.table).or_default().push_back(row);
    }
    let mut turns: BTreeSet<(usize, TableId)> = tables.keys().map(|table| (0, *table)).collect();
    while let Some((sent, table)) = turns.pop_first() {
        if let Some(row) = tables.get_mut(&table).and_then(VecDeque::pop_front) {
            turns.insert((sent + arrival_bytes(&row), table));
            out.push(row);
        }
    }
    out
}

impl Replica {
    /// Whether the fresh local writes may not wait: they fill a message, or others wait for rows of the store's own.
    pub(crate) fn must_push(&self) -> bool {
        let outbox = &self.outbox;
        outbox.has_sys
            || outbox.rows.len() >= self.limits.rows_per_message
            || outbox.bytes >= self.limits.bytes_per_message
    }

    /// The fresh local writes as batches for the wire, the store's own rows first; empties the outbox.
    #[must_use = "these rows have to be sent"]
    pub(crate) fn take_pushes(&mut self, catalog: &Catalog) -> Vec<(bool, RowBatch)> {
        let mut out = Vec::new();
        let bytes = self.outbox.bytes;
        let rows = self.outbox.take();
        let fits =
            rows.len() <= self.limits.rows_per_message && bytes <= self.limits.bytes_per_message;
        // The store's own rows first: definitions before the rows they define.
        let is_sys = |row: &Arrival| catalog.class(row.table) == RowClass::Sys;
        let (mut rows, users): (Vec<_>, Vec<_>) = rows.into_iter().partition(is_sys);
        // Rows that travel together are merged together: only several messages make an order of tables felt.
        rows.extend(if fits { users } else { take_turns(users) });
        let mut batcher = Batcher::new(self.limits.rows_per_message, self.limits.bytes_per_message);
        let mut sys = true;
        for row in rows {
            let is_sys = catalog.class(row.table) == RowClass::Sys;
            let full = !batcher.fits(arrival_bytes(&row));
            if (full || is_sys != sys) && !batcher.is_empty() {
                out.push((sys, batcher.take()));
            }
            sys = is_sys;
            let (table, actor): (TableId, ActorIx) = (row.table, row.actor);
            batcher.add(
                (table, || self.table_ref(catalog, table)),
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
