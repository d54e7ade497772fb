//! Rows that come back from the store.

use alloc::vec::Vec;

use bytes::Bytes;

use super::{Replica, StoredRow, record};
use crate::id::{Actor, Seq, TableId};
use crate::table::catalog::{self, Catalog, sys};
use crate::table::env::RowEnv;
use crate::table::{Hlc, RowClass};

impl Replica {
    /// Makes room for so many recovered rows, which come next.
    pub(crate) fn begin_restore(&mut self, rows: usize) {
        self.rows.begin_restore(rows);
    }

    /// Makes room for the recovered rows of a table.
    pub(crate) fn restore_table(
        &mut self,
        catalog: &mut Catalog,
        class: RowClass,
        name: &str,
    ) -> TableId {
        let table = catalog.intern(class, name);
        self.make_room(catalog, table);
        catalog.mark_used(table);
        table
    }

    /// Puts a recovered row of a table in place: no dot is new, nothing is stored again.
    pub(crate) fn restore_row(
        &mut self,
        class: RowClass,
        table: TableId,
        actor: Actor,
        row: record::RowRecord,
    ) {
        let actor = self.coverage.intern(actor);
        self.coverage.restore(class, actor, row.counter);
        for version in row.value.siblings().iter().flat_map(|row| row.versions()) {
            let actor = self.coverage.intern(version.dot.actor);
            self.coverage.restore(class, actor, version.dot.counter);
        }
        let dead = row.value.is_dead();
        let slot = self.rows.insert(StoredRow {
            table,
            actor,
            counter: row.counter,
            clock: row.clock,
            expires: row.expires,
            arrival: 0,
            seq: Seq(0),
            key: row.key,
            value: row.value,
        });
        self.ahead.insert(self.clock.last(), row.clock, slot);
        self.count_row(class, slot, true);
        match class.has_siblings() {
            true => self.link_siblings(class, slot),
            false => self.coverage.link(class, actor, row.counter, slot, dead),
        }
    }

    /// Once all rows are back: the tables' definitions and drop markers take effect, and the present actor begins.
    pub(crate) fn finish_restore(&mut self, env: &mut RowEnv<'_>) {
        self.rows.finish_restore();
        for (table, meta) in [
            (sys::TABLES, catalog::Meta::Tables),
            (sys::DROP_MARKERS, catalog::Meta::DropMarkers),
        ] {
            let keys: Vec<(Bytes, Hlc)> = self
                .rows
                .of_table(table)
                .map(|(_, row)| (row.key.clone(), row.clock))
                .collect();
            for (key, clock) in keys {
                self.meta_changed(env, meta, &key, clock);
            }
        }
    }
}
