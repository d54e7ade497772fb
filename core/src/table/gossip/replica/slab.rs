//! The places of rows, in parts that never move: a row that is added costs no copy of all others.

use alloc::vec::Vec;
use core::ops::{Index, IndexMut};

use super::rows::StoredRow;

/// Places of one part.
const PART: usize = 1_024;

/// Rows by their place.
#[derive(Default)]
pub(super) struct Slab {
    /// Each with room for all of its places; all but the last are full.
    parts: Vec<Vec<Option<StoredRow>>>,
}

impl Slab {
    /// Counts the places.
    pub(super) fn len(&self) -> usize {
        let last = self.parts.last().map_or(0, Vec::len);
        self.parts.len().saturating_sub(1) * PART + last
    }

    /// Appends a place without a row. O(1), but for the list of parts.
    pub(super) fn push_empty(&mut self) {
        if self.parts.last().is_none_or(|part| part.len() == PART) {
            self.parts.push(Vec::with_capacity(PART));
        }
        if let Some(part) = self.parts.last_mut() {
            part.push(None);
        }
    }

    pub(super) fn get(&self, place: usize) -> Option<&Option<StoredRow>> {
        self.parts.get(place / PART)?.get(place % PART)
    }

    pub(super) fn get_mut(&mut self, place: usize) -> Option<&mut Option<StoredRow>> {
        self.parts.get_mut(place / PART)?.get_mut(place % PART)
    }

    /// All places in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Option<StoredRow>> {
        self.parts.iter().flatten()
    }
}

impl Index<usize> for Slab {
    type Output = Option<StoredRow>;

    fn index(&self, place: usize) -> &Option<StoredRow> {
        &self.parts[place / PART][place % PART]
    }
}

impl IndexMut<usize> for Slab {
    fn index_mut(&mut self, place: usize) -> &mut Option<StoredRow> {
        &mut self.parts[place / PART][place % PART]
    }
}
