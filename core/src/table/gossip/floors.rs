//! Tables' definitions and floors: rows of the store's own that decide about rows of users.

use alloc::vec::Vec;

use bytes::Bytes;

use super::log::Entry;
use super::tables::{self, Tables};
use super::{Gossip, Slot};
use crate::effects::Effects;
use crate::error::TableError;
use crate::id::{Seq, TableId};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::table::{Accepted, Domain, Hlc, TableOptions};

impl Gossip {
    /// Drops every row of a table, or of all user tables, by a floor: one row of `sys.floors`.
    pub(crate) fn flush_table(&mut self, fx: &mut Effects, table: Option<TableId>) -> Accepted {
        let key = match table {
            Some(table) => tables::floor_key(self.tables.name(table)),
            None => tables::FLOOR_OF_ALL.to_vec(),
        };
        self.write_sys(fx, Tables::FLOORS, &key, Bytes::new())
    }

    /// The clock at or below which rows of the table are dead.
    pub(super) fn floor(&self, table: TableId) -> Hlc {
        let own = self.floors.get(&table).copied().unwrap_or_default();
        if self.tables.domain(table) == Domain::Sys {
            own
        } else {
            own.max(self.floor_of_all)
        }
    }

    /// A row of a table that describes tables has changed.
    pub(super) fn meta_changed(
        &mut self,
        fx: &mut Effects,
        meta: tables::Meta,
        key: &[u8],
        clock: Hlc,
    ) {
        match meta {
            tables::Meta::Tables => {
                let value = self
                    .rows
                    .get(Tables::TABLES, key)
                    .and_then(|row| row.value.resident().cloned());
                if let Some(id) = self.tables.define(key, value.as_deref()) {
                    self.make_room(id);
                    for id in self.tables.known_as(id) {
                        let explicit = self.tables.is_explicit(id);
                        self.rows.set_explicit(id, explicit);
                    }
                }
            }
            tables::Meta::Floors => {
                if key == tables::FLOOR_OF_ALL {
                    self.floor_of_all = self.floor_of_all.max(clock);
                    for table in self.tables.user_ids() {
                        self.sweep(fx, table, true);
                    }
                } else if let Some(name) = tables::floor_name(key) {
                    for table in self.tables.all_called(name) {
                        self.make_room(table);
                        let floor = self.floors.entry(table).or_default();
                        *floor = (*floor).max(clock);
                        self.sweep(fx, table, false);
                    }
                }
            }
        }
    }

    /// Removes the rows of a table that are at or below its floor, tombstones included; the log tells whether it is one of `all`
    /// tables. O(rows of the table).
    fn sweep(&mut self, fx: &mut Effects, table: TableId, all: bool) {
        let floor = self.floor(table);
        let domain = self.tables.domain(table);
        let dead: Vec<Slot> = self
            .rows
            .of_table(table)
            .filter(|(_, row)| row.clock <= floor)
            .filter(|_| !mutated!(fx, FloorUnswept))
            .map(|(slot, _)| slot)
            .collect();
        for slot in &dead {
            self.unlink(domain, *slot);
            if let Some(row) = self.rows.remove(*slot) {
                self.delete_stored(fx, domain, table, &row.key);
            }
        }
        if domain.has_siblings() && !mutated!(fx, FloorUnswept) {
            self.sweep_siblings(fx, table, floor);
        }
        if !dead.is_empty() {
            self.log.push(Entry::Flushed { table, all });
            fx.changed(table);
            fx.mark(Mark::FloorSwept);
        }
    }

    /// Creates a table with options.
    pub(crate) fn create_table(
        &mut self,
        fx: &mut Effects,
        name: &str,
        options: TableOptions,
    ) -> Result<(TableId, Seq), TableError> {
        let id = self.table(name)?;
        if self.tables.options(id) == options {
            let seq = self
                .rows
                .get(Tables::TABLES, name.as_bytes())
                .map_or(Seq(0), |row| row.seq);
            if self.tables.is_explicit(id) {
                return Ok((id, seq));
            }
        } else if self.tables.is_explicit(id) || id == TableId::DEFAULT || self.has_rows(id) {
            return Err(TableError::OptionsDiffer);
        }
        let accepted = self.write_sys(
            fx,
            Tables::TABLES,
            name.as_bytes(),
            tables::encode_options(options),
        );
        Ok((self.table(name)?, accepted.seq))
    }

    fn has_rows(&self, table: TableId) -> bool {
        let shown = self.rows.live(table).is_some_and(|live| !live.is_empty());
        shown || self.hides_in(table)
    }
}
