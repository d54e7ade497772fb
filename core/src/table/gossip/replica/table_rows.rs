//! The rows of one table: the shown keys in order, and all of them in an array, so that none is looked for among those of others.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::listing::Listed;
use super::order::Order;
use super::rows::StoredRow;
use crate::table::Hlc;
use crate::table::Slot;

/// The rows of one table.
#[derive(Default)]
pub(super) struct TableRows {
    /// The shown keys.
    pub(super) order: Order,
    /// The slots of all rows: those of shown ones first.
    slots: Vec<Slot>,
    /// How many are shown.
    live: usize,
    /// No row has an older clock, and none a newer one; `None` where no row has been since the table was empty.
    clocks: Option<(Hlc, Hlc)>,
    /// The part of its rows in the sum over live rows.
    pub(super) sum: u64,
    /// Rows at or below are dropped.
    pub(super) drop_marker: Hlc,
    /// When the rows were put here, by the number of times that all users' tables were dropped: earlier ones are dropped.
    pub(super) drops_of_all: u32,
    /// Its place among users' tables; the store's own are not listed.
    pub(super) listed: Option<Listed>,
    /// The name of a user's table that readers are not shown, because its name means another.
    pub(super) unlisted: Option<Arc<str>>,
    /// The number of the next change when the table was empty last.
    pub(super) empty_at: u64,
    /// Whether it is on the list of those that may be forgotten.
    pub(super) may_go: bool,
    /// Whether the table was forgotten, and its id is not given out again yet.
    pub(super) is_vacant: bool,
}

/// Rows of a table that a drop marker has hidden, all at once. Those that were kept are in the table again.
pub(super) struct Shelf {
    pub(super) order: Order,
    pub(super) slots: Vec<Slot>,
}

/// Where each row of the slab is in the array of its table.
#[derive(Default)]
pub(super) struct Places(Vec<u32>);

impl Places {
    fn get(&self, slot: Slot) -> usize {
        self.0.get(slot.index()).map_or(0, |place| *place as usize)
    }

    fn set(&mut self, slot: Slot, place: usize) {
        if slot.index() >= self.0.len() {
            self.0.resize(slot.index() + 1, 0);
        }
        // As many as there are slots at most.
        self.0[slot.index()] = u32::try_from(place).unwrap_or(u32::MAX);
    }
}

impl TableRows {
    /// Rows of a table; those of a user's have a name, under which they are listed if they are `shown`.
    pub(super) fn new(
        name: Option<Arc<str>>,
        shown: bool,
        drop_marker: Hlc,
        drops_of_all: u32,
    ) -> Self {
        let (listed, unlisted) = match shown {
            true => (name.map(Listed::new), None),
            false => (None, name),
        };
        TableRows {
            drop_marker,
            drops_of_all,
            listed,
            unlisted,
            ..TableRows::default()
        }
    }

    /// Whether these are rows of a user's table, shown or not.
    pub(super) fn is_users(&self) -> bool {
        self.listed.is_some() || self.unlisted.is_some()
    }

    /// The clocks between which those of all rows are, the oldest first.
    pub(super) fn clocks(&self) -> Option<(Hlc, Hlc)> {
        self.clocks.filter(|_| !self.slots.is_empty())
    }

    /// A row of the table is there, or has changed.
    pub(super) fn note_clock(&mut self, row: &StoredRow) {
        let siblings = row.value.siblings().into_iter();
        let versions = siblings.flat_map(|row| row.versions());
        let oldest = versions.map(|version| version.clock).min();
        let oldest = oldest.map_or(row.clock, |clock| clock.min(row.clock));
        let (low, high) = self.clocks().unwrap_or((oldest, row.clock));
        self.clocks = Some((low.min(oldest), high.max(row.clock)));
    }

    /// Whether the row of a slot is in the array. O(1).
    pub(super) fn has(&self, places: &Places, slot: Slot) -> bool {
        self.slots.get(places.get(slot)) == Some(&slot)
    }

    /// Takes out all rows. O(1).
    pub(super) fn shelve(&mut self) -> Shelf {
        (self.live, self.clocks, self.sum) = (0, None, 0);
        Shelf {
            order: core::mem::take(&mut self.order),
            slots: core::mem::take(&mut self.slots),
        }
    }

    /// All rows, tombstones included.
    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// The shown rows, in no order.
    pub(super) fn live_slots(&self) -> &[Slot] {
        &self.slots[..self.live]
    }

    /// Adds a row that is not shown. O(1) amortised.
    pub(super) fn add(&mut self, places: &mut Places, slot: Slot) {
        places.set(slot, self.slots.len());
        self.slots.push(slot);
    }

    /// A row of the table is shown from now on, and the caller puts its key in order. O(1).
    pub(super) fn raise(&mut self, places: &mut Places, slot: Slot) {
        self.swap(places, places.get(slot), self.live);
        self.live += 1;
    }

    /// A row of the table is shown no longer. O(log rows).
    pub(super) fn lower(&mut self, places: &mut Places, key: &Bytes, slot: Slot) {
        self.live -= 1;
        self.swap(places, places.get(slot), self.live);
        self.order.remove(key);
    }

    /// Takes out a row that is not shown. O(1).
    pub(super) fn take_out(&mut self, places: &mut Places, slot: Slot) {
        let place = places.get(slot);
        self.slots.swap_remove(place);
        if let Some(moved) = self.slots.get(place) {
            places.set(*moved, place);
        }
    }

    fn swap(&mut self, places: &mut Places, a: usize, b: usize) {
        if a != b {
            self.slots.swap(a, b);
            places.set(self.slots[a], a);
            places.set(self.slots[b], b);
        }
    }

    /// # Panics
    /// When the array and the order disagree: a bug in this crate.
    pub(super) fn check(&self, places: &Places) {
        assert_eq!(self.live, self.order.len(), "shown rows are in order");
        for (place, slot) in self.slots.iter().enumerate() {
            assert_eq!(places.get(*slot), place, "a row is where it says");
        }
    }
}
