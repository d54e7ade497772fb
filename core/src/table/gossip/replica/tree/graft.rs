//! Rows that a peer asks for by their dots.

use alloc::vec::Vec;

use super::super::outbox::Batcher;
use super::super::{Contexts, Replica};
use crate::id::Actor;
use crate::table::RowClass;
use crate::table::catalog::Catalog;
use crate::wire::{Row, RowBatch, TableRef};

impl Replica {
    /// Whether a row of a batch is the current version of its key here.
    pub(crate) fn has_row(&self, actors: &[Actor], tables: &[TableRef], row: &Row) -> bool {
        let actor = actors.get(row.actor as usize);
        let actor = actor.and_then(|actor| self.coverage.find(*actor));
        let table = tables.get(row.table as usize);
        let class = table.and_then(TableRef::class);
        let slot = class.zip(actor);
        slot.is_some_and(|(class, actor)| self.coverage.slot(class, actor, row.counter).is_some())
    }

    /// Whether a row that did not win belongs to a table whose coverage no restart survives, and its key has no live row here: a delete or a
    /// drop marker has taken it.
    pub(crate) fn is_deleted_in_memory(
        &self,
        catalog: &Catalog,
        tables: &[TableRef],
        row: &Row,
    ) -> bool {
        let Some(table) = tables.get(row.table as usize) else {
            return false;
        };
        let class = table.class().filter(|class| !class.is_durable());
        let Some(id) = class.and_then(|class| catalog.find(class, &table.name)) else {
            return false;
        };
        let current = self.rows.get(id, &row.key);
        current.is_none_or(|current| current.value.is_dead())
    }

    /// The rows of these dots, in one message for the store's own tables (`true`) and one for users'. Superseded dots have none, values
    /// that are only in the store stay there, and what does not fit is left out: anti-entropy brings those.
    pub(crate) fn rows_of(&self, catalog: &Catalog, dots: &Contexts) -> Vec<(bool, RowBatch)> {
        let (rows, bytes) = (self.limits.rows_per_message, self.limits.bytes_per_message);
        let mut batchers = [Batcher::new(rows, bytes), Batcher::new(rows, bytes)];
        for (class, context) in dots {
            let is_sys = *class == RowClass::Sys;
            let batcher = &mut batchers[usize::from(!is_sys)];
            let runs = context.iter().flat_map(|(actor, runs)| {
                let runs = runs.as_slice().iter();
                let actor = self.coverage.find(actor);
                runs.filter_map(move |run| Some((actor?, *run)))
            });
            let slots = runs.flat_map(|(actor, (low, high))| {
                let dots = self.coverage.range(*class, actor, low, high);
                dots.map(|(_, slot)| slot)
            });
            for row in slots.filter_map(|slot| self.rows.row(slot)) {
                if !row.value.is_cold()
                    && !self.add_row(catalog, batcher, row, row.value.resident())
                {
                    break;
                }
            }
        }
        let lanes = [true, false].into_iter().zip(&mut batchers);
        let lanes = lanes.filter(|(_, batcher)| !batcher.is_empty());
        lanes
            .map(|(is_sys, batcher)| (is_sys, batcher.take()))
            .collect()
    }
}
