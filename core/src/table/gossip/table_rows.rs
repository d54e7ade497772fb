//! The rows of one table: the shown keys in order, and all of them in an array, so that none is looked for among those of others.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::listing::Listed;
use super::order::Order;
use super::rows::Slot;

/// The rows of one table.
#[derive(Default)]
pub(super) struct TableRows {
    /// The shown keys.
    pub(super) order: Order,
    /// The slots of all rows: those of shown ones first.
    slots: Vec<Slot>,
    /// How many are shown.
    live: usize,
    /// Its place among users' tables; the store's own are not listed.
    pub(super) listed: Option<Listed>,
    /// The name of a user's table that readers are not shown, because its name means another.
    pub(super) unlisted: Option<Arc<str>>,
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
    pub(super) fn new(name: Option<Arc<str>>, shown: bool) -> Self {
        let (listed, unlisted) = match shown {
            true => (name.map(Listed::new), None),
            false => (None, name),
        };
        TableRows {
            listed,
            unlisted,
            ..TableRows::default()
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

    /// A row of the table is shown from now on. O(log rows).
    pub(super) fn raise(&mut self, places: &mut Places, key: Bytes, slot: Slot) {
        self.swap(places, places.get(slot), self.live);
        self.live += 1;
        self.order.insert(key, slot);
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
