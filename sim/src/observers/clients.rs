//! Observers of clients: the answers to them, and the rows that they are shown.

use bytes::Bytes;
use rumormill_core::{
    Limits, Now, TableId, Wall,
    errors::WriteError,
    table::{Accepted, Version, View},
};

use super::Observers;
use crate::checkers::watching::Pulled;
use crate::checkers::{bounds, durability, flushes, space};
use crate::model::{self, Model, Told};
use crate::plan::Table;
use crate::sessions::{Exchange, Found};

impl Observers {
    /// Returns the answers to clients so far.
    pub(crate) fn model(&self) -> &Model {
        &self.answers.model
    }

    /// Returns the questions of clients and their answers so far, in the order they asked.
    pub(crate) fn exchanges(&self) -> &[Exchange] {
        self.answers.sessions.all()
    }

    /// Returns them as the judge of sessions takes them.
    #[cfg(test)]
    pub(crate) fn session_ops(&self) -> Vec<crate::checkers::sessions::SessionOp> {
        self.answers.sessions.ops(&self.answers.model, &self.agreed)
    }

    /// Returns the number of the view that a node has of its rows.
    pub(crate) fn view_of(&self, node: usize) -> u32 {
        self.answers.sessions.view_of(node)
    }

    /// A node whose clocks show `now` has accepted a client's write, while so many batches were `waiting` for its disk.
    pub(crate) fn on_accept(
        &mut self,
        at: (u64, usize),
        now: Now,
        waiting: usize,
        limits: &Limits,
    ) {
        let found = bounds::check_accepted(at, waiting, limits.store_backlog);
        self.found.add(found);
        let found = self.ahead.on_accept(at, now, limits.clock_drift);
        self.found.add_once(found);
    }

    /// A node that knows its store to be short of space answers a client that wants to delete, or to write something else.
    pub(crate) fn on_short_answer(
        &mut self,
        at: (u64, usize),
        deletes: bool,
        refused: Option<&WriteError>,
    ) {
        self.found.add_once(space::check(at, deletes, refused));
    }

    /// A node has accepted an operation on one key or a whole table. Returns its number.
    pub(crate) fn on_told(
        &mut self,
        table: Table,
        key: Option<&Bytes>,
        op: model::Accepted,
    ) -> usize {
        self.answers.model.accepted(table, key, op)
    }

    /// A client of a node has written a key.
    pub(crate) fn on_born(&mut self, at: (u64, usize), table: Table, version: Version) {
        self.grafts.on_accept(at, table, version);
    }

    /// A node has accepted an operation on a table whose definition its disk has lost.
    pub(crate) fn on_undefined(&mut self, op: usize) {
        self.answers.model.is_undefined(op);
    }

    /// An operation waits for its batch, or not. One that need not wait is acknowledged.
    pub(crate) fn on_batch(
        &mut self,
        node: usize,
        (table, key): (Table, Option<&Bytes>),
        accepted: Accepted,
        op: usize,
    ) {
        if !accepted.sync {
            self.answers.model.acked(op);
        }
        // A flush is a row of the store's own tables, which are kept even for a table that is not.
        if table != Table::Memory || key.is_none() {
            self.answers.unsynced.on_accept(node, accepted.seq, op);
        }
    }

    /// A client that has read these values is about to write a key of the table that keeps siblings, as the next operation.
    pub(crate) fn on_sibling_write(&mut self, seen: Vec<Bytes>, is_early: bool) {
        self.siblings
            .on_write(self.answers.model.len(), seen, is_early);
    }

    /// An operation on a key with siblings is part of a flush.
    pub(crate) fn on_sibling_flushed(&mut self, op: usize) {
        self.answers.model.is_flush(op);
    }

    /// A client asks, and may be answered. Returns the number of the exchange.
    pub(crate) fn on_asked(&mut self, exchange: Exchange) -> usize {
        self.answers.sessions.on_asked(exchange)
    }

    /// A client is told that its operation is done.
    pub(crate) fn on_acked(&mut self, op: usize, exchange: Option<usize>, at_us: u64) {
        self.answers.model.acked(op);
        if let Some(exchange) = exchange {
            self.answers.sessions.on_acked(exchange, at_us);
        }
    }

    /// A node answers a read that waited. Returns its exchange.
    pub(crate) fn on_answer(
        &mut self,
        number: usize,
        at: (u64, usize),
        found: Option<Found>,
    ) -> Option<&mut Exchange> {
        let clock_ms = self.agreed.shown_by(at.1);
        self.answers.sessions.on_answer(number, at, clock_ms, found)
    }

    /// A client has read the value of a version from a disk.
    pub(crate) fn on_value(
        &mut self,
        at: (u64, usize),
        place: (Table, &Bytes),
        version: Version,
        value: &Bytes,
    ) {
        let found = durability::check_read(at, place, (version, value), &self.answers.model);
        self.found.add(found);
    }

    /// A table of a node has changes.
    pub(crate) fn on_changed(&mut self, node: usize, slot: usize) {
        self.watching.on_changed(node, slot);
    }

    /// Reads, for the watching client of a node, what is new, and takes it in.
    pub(crate) fn pull(&mut self, node: usize, view: &View<'_>, tables: &[TableId]) -> Pulled {
        self.watching.pull(node, view, tables)
    }

    /// Reads what is new on a node, without a copy of the rows.
    pub(crate) fn skim(&mut self, node: usize, view: &View<'_>, tables: &[TableId]) -> Pulled {
        self.watching.skim(node, view, tables)
    }

    /// The watching client of a node has read all changes: it has to have what the node shows, at `wall` by its own time.
    pub(crate) fn on_watched(
        &mut self,
        at: (u64, usize),
        view: &View<'_>,
        tables: &[TableId],
        wall: Wall,
    ) {
        let found = self.watching.check(at, view, tables, wall);
        self.found.add(found);
    }

    /// The watching client of a node was too late for changes of a table.
    pub(crate) fn on_lag(&mut self, at: (u64, usize), table: Table) {
        self.resurrections.on_lag(at, table);
    }

    /// A key of a node shows this version now, or none, and that expires or does not.
    pub(crate) fn on_shown(
        &mut self,
        at: (u64, usize),
        (table, key): (Table, &Bytes),
        shows: Option<(Version, bool)>,
    ) {
        self.hidden.on_shown(at.1, (table, key), shows);
        // Guarantees, "Damage": until such a row is repaired what it had replaced may show again.
        if !self.answers.model.is_lost(table, key) {
            let found = self.resurrections.on_shown(at, (table, key), shows);
            self.found.add(found);
        }
    }

    /// A node has flushed a table.
    pub(crate) fn on_flush(&mut self, node: usize, table: Table) {
        self.hidden.on_flush(node, table);
    }

    /// A node shows these rows of a table in the turn in which it has flushed it.
    pub(crate) fn on_flushed(&mut self, at: (u64, usize), table: Table, left: &[(Bytes, Version)]) {
        self.found.add(flushes::check(at, table, left));
    }

    /// A node has taken a delete that wrote nothing.
    pub(crate) fn on_unwritten(&mut self, at: (u64, usize), place: (Table, &Bytes)) {
        let ended = |op: &Told| self.agreed.may_have_ended(op);
        let found = self
            .hidden
            .on_unwritten(at, place, &self.answers.model, ended);
        self.found.add(found);
    }
}
