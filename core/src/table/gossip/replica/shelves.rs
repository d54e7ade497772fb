//! Rows that drop markers have hidden, until they are removed in turns.

use alloc::collections::VecDeque;

use super::listing::Names;
use super::table_rows::Shelf;
use crate::id::TableId;
use crate::table::Slot;

/// Keys or names that are forgotten at the price of one row.
const CHEAP: usize = 8;

/// Places of the slab that are looked at for the price of one row.
const LOOKED_AT: usize = 32;

/// Rows that are to be removed.
#[derive(Default)]
pub(crate) struct Shelves {
    /// Rows of one table each.
    shelves: VecDeque<Shelf>,
    /// Names of tables that were dropped together.
    names: VecDeque<Names>,
    /// The next table to be looked at, while some may have rows that were dropped together with those of all others.
    tables: Option<u32>,
    /// The next place of the slab to be looked at, while dropped rows may be among others.
    slab: Option<usize>,
}

/// The next piece of work.
pub(super) enum Chore {
    /// Look whether the table's rows were dropped together with those of all others.
    Table(TableId),
    /// Remove the row in this slot, if a drop marker has hidden it.
    Row(Slot),
    /// Look whether these places of the slab hold rows that a drop marker has hidden.
    Slab(core::ops::Range<usize>),
    /// Nothing that costs anything else.
    Done,
}

impl Shelves {
    /// Takes the rows of a table; whether there are any.
    pub(super) fn put(&mut self, shelf: Shelf) -> bool {
        let any = !shelf.slots.is_empty();
        if any {
            self.shelves.push_back(shelf);
        }
        any
    }

    /// Every table may have dropped rows.
    pub(super) fn put_all(&mut self, names: Names) {
        self.names.push_back(names);
        self.tables = Some(0);
    }

    /// Any place of the slab may hold a dropped row.
    pub(super) fn look_everywhere(&mut self) {
        self.slab = Some(0);
    }

    /// Whether dropped rows still count as rows of their tables.
    pub(super) fn is_looking(&self) -> bool {
        self.slab.is_some()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.shelves.is_empty()
            && self.names.is_empty()
            && self.tables.is_none()
            && self.slab.is_none()
    }

    /// Returns the next piece of work, of `tables` tables and `places` places of the slab; `None` when nothing is left.
    pub(super) fn next(&mut self, tables: u32, places: usize) -> Option<Chore> {
        if let Some(table) = self.tables {
            self.tables = (table + 1 < tables).then_some(table + 1);
            return Some(Chore::Table(TableId(table)));
        }
        if let Some(at) = self.slab {
            let end = (at + LOOKED_AT).min(places);
            self.slab = (end < places).then_some(end);
            return Some(Chore::Slab(at..end));
        }
        if let Some(shelf) = self.shelves.front_mut() {
            if let Some(slot) = shelf.slots.pop() {
                shelf.order.forget(1);
                return Some(Chore::Row(slot));
            }
            shelf.order.forget(CHEAP);
            if shelf.order.is_empty() {
                self.shelves.pop_front();
            }
            return Some(Chore::Done);
        }
        let names = self.names.front_mut()?;
        if !names.forget(CHEAP) {
            self.names.pop_front();
        }
        Some(Chore::Done)
    }
}
