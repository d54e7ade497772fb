//! The records of gossip tables that a store held, until the node they belong to is known.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use super::record::{GossipRecord, RowRecord, covered_key, row_key};
use super::{FreedOn, Replica};
use crate::config::{Config, Storage};
use crate::error::RecoverError;
use crate::id::Actor;
use crate::io::StoreOp;
use crate::rules::Rules;
use crate::table::env::RowEnv;
use crate::table::{Mode, RowClass, Runs, sys};

/// Rows and coverage that were read.
#[derive(Default)]
pub(crate) struct Restored {
    rows: Vec<Row>,
    /// The tables of the rows. A store that hands out its records in the order of their keys names each table once.
    tables: Vec<(RowClass, String)>,
    covered: Vec<(RowClass, Actor, Runs)>,
    freed_on: FreedOn,
}

/// A row, with the place of its table.
struct Row {
    table: usize,
    actor: Actor,
    row: RowRecord,
}

impl Restored {
    /// Takes in a record.
    ///
    /// # Errors
    /// [`RecoverError::ModeNotBuilt`] for a row under a name of another mode.
    pub(crate) fn take(
        &mut self,
        config: &Config,
        record: GossipRecord<'_>,
    ) -> Result<(), RecoverError> {
        match record {
            GossipRecord::Row {
                class,
                table,
                actor,
                mut row,
            } => {
                if class != RowClass::Sys
                    && let mode @ (Mode::Strong | Mode::Quorum) = Mode::of(table)
                {
                    let table = table.into();
                    return Err(RecoverError::ModeNotBuilt { table, mode });
                }
                let resident = config.resident_value;
                // The store's own rows stay in memory: the node reads them itself.
                if class != RowClass::Sys
                    && config.storage == Storage::Ordered
                    && resident.is_some_and(|limit| row.value.len() > limit as usize)
                {
                    row.value.cool();
                }
                let table = self.place_of(class, table);
                self.rows.push(Row { table, actor, row });
            }
            GossipRecord::Covered { class, actor, runs } => self.covered.push((class, actor, runs)),
            GossipRecord::FreedOn { node, claims } => self.freed_on.restore(node, claims),
        }
        Ok(())
    }

    /// Returns the place of a table, which is mostly that of the last row.
    fn place_of(&mut self, class: RowClass, name: &str) -> usize {
        let last = self.tables.last();
        if last.is_none_or(|(of, last)| (*of, last.as_str()) != (class, name)) {
            self.tables.push((class, name.into()));
        }
        self.tables.len() - 1
    }

    /// Drops the rows about members, since the node is a new one, and the coverage of the store's own tables with them: such a row that comes
    /// again must not be taken for a deleted one. Returns the keys of these records.
    pub(crate) fn forget_members(&mut self, rules: Rules) -> Vec<Bytes> {
        let tables = &self.tables;
        let is_old = |row: &Row| {
            let (class, table) = &tables[row.table];
            *class == RowClass::Sys && sys::are_of_members(table)
        };
        let rows = core::mem::take(&mut self.rows).into_iter();
        let (old, rest): (Vec<_>, Vec<_>) = rows.partition(is_old);
        self.rows = rest;
        let key = |Row { table, row, .. }: &Row| {
            let (class, table) = &tables[*table];
            row_key(*class, table, &row.key)
        };
        let mut keys: Vec<Bytes> = old.iter().map(key).collect();
        if rules.forgets_coverage_of_members() {
            let covered = core::mem::take(&mut self.covered).into_iter();
            let (old, rest): (Vec<_>, Vec<_>) =
                covered.partition(|(class, ..)| *class == RowClass::Sys);
            self.covered = rest;
            let old = old.iter();
            keys.extend(old.map(|(class, actor, _)| covered_key(*class, *actor)));
        }
        keys
    }

    /// Puts back what was read, and deletes the records of these keys, which cannot be read. The coverage of a store that is not whole may name more than its rows.
    pub(crate) fn put_into(
        self,
        env: &mut RowEnv<'_>,
        replica: &mut Replica,
        whole: bool,
        damaged: Vec<Bytes>,
    ) {
        for (class, actor, runs) in &self.covered {
            if whole {
                replica.coverage_mut().restore_runs(*class, *actor, runs);
            } else {
                // It covers dots whose rows are damaged: the rows that are left show all that may be covered.
                env.fx.store(StoreOp::Delete(covered_key(*class, *actor)));
            }
        }
        for key in damaged {
            env.fx.store(StoreOp::Delete(key));
        }
        replica.begin_restore(self.rows.len());
        let mut table = None;
        for Row {
            table: place,
            actor,
            row,
        } in self.rows
        {
            let (class, name) = &self.tables[place];
            let id = match table {
                Some((of, id)) if of == place => id,
                _ => replica.restore_table(env.catalog, *class, name),
            };
            table = Some((place, id));
            replica.restore_row(*class, id, actor, row);
        }
        *replica.freed_on_mut() = self.freed_on;
        replica.finish_restore(env);
    }
}
