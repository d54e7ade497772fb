//! Tables' definitions and drop markers: rows of the store's own that decide about rows of users.

use alloc::string::ToString as _;
use alloc::vec::Vec;

use super::Replica;
use crate::error::TableError;
use crate::id::{Seq, TableId};
use crate::table::catalog::{self, Catalog, sys};
use crate::table::changes::Entry;
use crate::table::env::RowEnv;
use crate::table::{Hlc, TableOptions};

/// Key of the drop marker under all user tables.
pub(super) const DROP_MARKER_OF_ALL: &[u8] = b"*";

/// Key of a table's drop marker: a letter, so that no name is mistaken for [`DROP_MARKER_OF_ALL`].
pub(super) fn drop_marker_key(name: &str) -> Vec<u8> {
    let mut key = alloc::vec![b't'];
    key.extend_from_slice(name.as_bytes());
    key
}

pub(super) fn drop_marker_name(key: &[u8]) -> Option<&str> {
    core::str::from_utf8(key.strip_prefix(b"t")?).ok()
}

impl Replica {
    /// The clock at or below which rows of the table are dead.
    pub(super) fn drop_marker(&self, table: TableId) -> Hlc {
        self.rows.drop_marker(table)
    }

    /// The clock at or below which rows of a user's table of this name are dead, in whatever row class they come.
    pub(super) fn drop_marker_of_name(&self, name: &str) -> Hlc {
        self.drop_markers.get(name).copied().unwrap_or_default()
    }

    /// A table's drop marker is known to all members and nothing at or below it can come any more: it hides nothing from now on.
    pub(super) fn drop_marker_freed(&mut self, catalog: &Catalog, key: &[u8]) {
        let Some(name) = drop_marker_name(key) else {
            return;
        };
        self.drop_markers.remove(name);
        for table in catalog.groups_of(name) {
            self.rows.set_drop_marker(table, Hlc(0));
            self.rows.note_empty(table);
        }
    }

    /// A row of a table that describes tables has changed.
    pub(super) fn meta_changed(
        &mut self,
        env: &mut RowEnv<'_>,
        meta: catalog::Meta,
        key: &[u8],
        clock: Hlc,
    ) {
        match meta {
            catalog::Meta::Tables => {
                let value = self
                    .rows
                    .get(sys::TABLES, key)
                    .and_then(|row| row.value.resident().cloned());
                if let Some((before, home)) = env.catalog.define(key, value.as_deref()) {
                    self.make_room(env.catalog, home);
                    self.rows.show(before, home);
                    self.rows.set_explicit(home, true);
                    self.look_for_strays_in(env.catalog, before);
                    self.tell_redefined(env, before, home);
                }
            }
            catalog::Meta::DropMarkers => {
                if key == DROP_MARKER_OF_ALL {
                    self.drop_all(env, clock);
                } else if let Some(name) = drop_marker_name(key) {
                    if env.fx.rules().respects_drop_markers() {
                        let drop_marker = self.drop_markers.entry(name.to_string()).or_default();
                        *drop_marker = (*drop_marker).max(clock);
                    }
                    for table in env.catalog.groups_of(name) {
                        self.make_room(env.catalog, table);
                        self.drop_rows(env, table, clock);
                    }
                }
            }
        }
    }

    /// The name of a table means another one from now on: watchers begin anew.
    fn tell_redefined(&mut self, env: &mut RowEnv<'_>, before: TableId, home: TableId) {
        if env.catalog.group(before) == env.catalog.group(home) || env.changes.is_new() {
            return;
        }
        if !env.fx.rules().tells_redefinitions() {
            return;
        }
        let has_rows = |table| self.rows.live(table).is_some_and(|live| !live.is_empty());
        // A change of a row that has gone may be in the log, from which none of that table's is told any more.
        if env.catalog.was_used(before) || has_rows(before) || has_rows(home) {
            let number = env.changes.push(Entry::Flushed { table: home });
            let public = env.catalog.public(home);
            if has_rows(home) {
                self.redefined.insert(public, number);
            }
            env.fx.changed(public);
        }
    }

    /// Whether a table, or any, has another meaning since a place in the log, and rows that were logged before it had that.
    pub(crate) fn is_redefined_since(&self, table: Option<TableId>, from: u64) -> bool {
        match table {
            Some(table) => self.redefined.get(&table).is_some_and(|at| *at >= from),
            None => self.redefined.values().any(|at| *at >= from),
        }
    }

    /// Creates a table with options.
    pub(crate) fn create_table(
        &mut self,
        env: &mut RowEnv<'_>,
        name: &str,
        options: TableOptions,
    ) -> Result<(TableId, Seq), TableError> {
        let id = self.table(env.catalog, name, true)?;
        if env.catalog.options(id) == options {
            let seq = self
                .rows
                .get(sys::TABLES, name.as_bytes())
                .map_or(Seq(0), |row| row.seq);
            if env.catalog.is_explicit(id) {
                return Ok((id, seq));
            }
        } else if env.catalog.is_explicit(id)
            || id == TableId::DEFAULT
            || self.has_rows(env.catalog, id)
        {
            return Err(TableError::OptionsDiffer);
        }
        let accepted = self.write_sys(
            env,
            sys::TABLES,
            name.as_bytes(),
            catalog::encode_options(options),
        );
        Ok((self.table(env.catalog, name, true)?, accepted.seq))
    }

    fn has_rows(&self, catalog: &Catalog, table: TableId) -> bool {
        let shown = self
            .live(catalog, table)
            .is_some_and(|live| !live.is_empty());
        shown || self.hides_in(catalog, table)
    }
}
