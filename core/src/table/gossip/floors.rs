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
        let public = self.tables.public(table);
        let own = self.floors.get(&public).copied().unwrap_or_default();
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
                if let Some((before, home)) = self.tables.define(key, value.as_deref()) {
                    self.make_room(home);
                    self.rows.show(before, home);
                    self.rows.set_explicit(home, true);
                    self.look_for_strays_in(before);
                    self.tell_redefined(fx, before, home);
                }
            }
            tables::Meta::Floors => {
                if key == tables::FLOOR_OF_ALL {
                    self.floor_of_all = self.floor_of_all.max(clock);
                    for table in self.tables.user_groups() {
                        self.sweep(fx, table, true);
                    }
                } else if let Some(name) = tables::floor_name(key) {
                    // Interned, so that the floor also holds for rows that come later.
                    let public = self.tables.resolve_or_intern(name);
                    self.make_room(public);
                    let floor = self.floors.entry(public).or_default();
                    *floor = (*floor).max(clock);
                    for table in self.tables.known_as(public) {
                        if self.tables.group(table) == table {
                            self.sweep(fx, table, false);
                        }
                    }
                }
            }
        }
    }

    /// The name of a table means another one from now on: watchers begin anew.
    fn tell_redefined(&mut self, fx: &mut Effects, before: TableId, home: TableId) {
        if self.tables.group(before) == self.tables.group(home) || self.log.is_new() {
            return;
        }
        let has_rows = |table| self.rows.live(table).is_some_and(|live| !live.is_empty());
        if has_rows(before) || has_rows(home) {
            let number = self.log.push(Entry::Flushed {
                table: home,
                all: false,
            });
            let public = self.tables.public(home);
            if has_rows(home) {
                self.redefined.insert(public, number);
            }
            fx.changed(public);
        }
    }

    /// Whether a table, or any, has another meaning since a place in the log, and rows that were logged before it had that.
    pub(crate) fn is_redefined_since(&self, table: Option<TableId>, from: u64) -> bool {
        match table {
            Some(table) => self.redefined.get(&table).is_some_and(|at| *at >= from),
            None => self.redefined.values().any(|at| *at >= from),
        }
    }

    /// Removes the rows of a table that are at or below its floor, tombstones included; the log tells whether it is one of `all`
    /// tables. O(rows of the table).
    fn sweep(&mut self, fx: &mut Effects, table: TableId, all: bool) {
        let floor = self.floor(table);
        let dead: Vec<(Slot, TableId)> = self
            .rows
            .of_table(table)
            .filter(|(_, row)| row.clock <= floor)
            .filter(|_| !mutated!(fx, FloorUnswept))
            .map(|(slot, row)| (slot, row.table))
            .collect();
        for (slot, table) in &dead {
            let domain = self.tables.domain(*table);
            self.unlink(domain, *slot);
            if let Some(row) = self.rows.remove(*slot) {
                self.delete_stored(fx, domain, *table, &row.key);
            }
        }
        let domain = self.tables.domain(table);
        if domain.has_siblings() && !mutated!(fx, FloorUnswept) {
            self.sweep_siblings(fx, table, floor);
        }
        if !dead.is_empty() {
            self.log.push(Entry::Flushed { table, all });
            fx.changed(self.tables.public(table));
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
        let shown = self.live(table).is_some_and(|live| !live.is_empty());
        shown || self.hides_in(table)
    }
}
