//! The rows that expire, by time, and which of them are hidden.
//!
//! A cursor divides them: those up to it are hidden, those behind it are shown. It follows the wall clock in both directions, a row at a time,
//! so that what is shown changes by as many steps as rows are passed. Whether a row is hidden costs no memory of its own.

use alloc::collections::{BTreeMap, BTreeSet};
use core::ops::Bound;

use super::rows::StoredRow;
use crate::id::TableId;
use crate::table::Slot;

/// A row that expires, as the index knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    at_ms: u64,
    table: TableId,
    /// Whether the row is hidden.
    pub(super) hidden: bool,
    /// Bytes of key and value in memory.
    bytes: u64,
}

/// All rows that expire and have not ended.
#[derive(Default)]
pub(super) struct Expiring {
    by_time: BTreeSet<(u64, Slot)>,
    /// Rows up to here are hidden.
    hidden_to: Option<(u64, Slot)>,
    /// How many rows of each table are hidden; tables without one are not in it.
    hidden: BTreeMap<TableId, u64>,
    hidden_rows: u64,
    hidden_bytes: u64,
    /// A planted bug: hidden rows are not shown again.
    pub(super) for_good: bool,
}

impl Expiring {
    /// The row as the index knows it; `None` when it is dead or does not expire.
    pub(super) fn due(&self, row: &StoredRow, slot: Slot) -> Option<Due> {
        if row.expires == 0 || row.value.is_dead() {
            return None;
        }
        let bytes = row.key.len() + row.value.resident().map_or(0, bytes::Bytes::len);
        Some(Due {
            at_ms: row.expires,
            table: row.table,
            hidden: Some((row.expires, slot)) <= self.hidden_to,
            bytes: bytes as u64,
        })
    }

    /// Whether a row is shown: it lives, and is not hidden.
    pub(super) fn shows(&self, row: &StoredRow, slot: Slot) -> bool {
        !row.value.is_dead() && !self.due(row, slot).is_some_and(|due| due.hidden)
    }

    /// A row is another than before. O(log rows) when its time is.
    pub(super) fn change(&mut self, slot: Slot, before: Option<Due>, after: Option<Due>) {
        if before == after {
            return;
        }
        let (left, came) = (before.map(|due| due.at_ms), after.map(|due| due.at_ms));
        if left != came {
            left.map(|at_ms| self.by_time.remove(&(at_ms, slot)));
            came.map(|at_ms| self.by_time.insert((at_ms, slot)));
        }
        if let Some(due) = before.filter(|due| due.hidden) {
            self.uncount(due);
        }
        if let Some(due) = after.filter(|due| due.hidden) {
            self.count(due);
        }
    }

    fn count(&mut self, due: Due) {
        *self.hidden.entry(due.table).or_default() += 1;
        self.hidden_rows += 1;
        self.hidden_bytes += due.bytes;
    }

    fn uncount(&mut self, due: Due) {
        if let Some(rows) = self.hidden.get_mut(&due.table) {
            *rows -= 1;
            if *rows == 0 {
                self.hidden.remove(&due.table);
            }
        }
        self.hidden_rows -= 1;
        self.hidden_bytes -= due.bytes;
    }

    /// The next row to hide, or else the next to show, when the clock shows `wall_ms`. Where there is neither, the cursor has come to rest.
    pub(super) fn next_to_turn(&mut self, wall_ms: u64) -> Option<Slot> {
        if let Some((at_ms, slot)) = self.next_shown()
            && at_ms <= wall_ms
        {
            return Some(slot);
        }
        let (at_ms, slot) = match self.last_hidden() {
            Some(last) => last,
            None => {
                self.hidden_to = None;
                return None;
            }
        };
        if at_ms <= wall_ms || self.for_good {
            // A row that has gone holds the cursor no longer: another may come between it and the clock.
            self.hidden_to = Some((at_ms, slot));
            return None;
        }
        Some(slot)
    }

    /// Moves the cursor over the row that [`Expiring::next_to_turn`] named; whether it is hidden now.
    pub(super) fn turn(&mut self, row: &StoredRow, slot: Slot) -> bool {
        let place = (row.expires, slot);
        let hides = Some(place) > self.hidden_to;
        if let Some(due) = self.due(row, slot).filter(|due| due.hidden) {
            self.uncount(due);
        }
        self.hidden_to = match hides {
            true => Some(place),
            false => self.by_time.range(..place).next_back().copied(),
        };
        if let Some(due) = self.due(row, slot).filter(|due| due.hidden) {
            self.count(due);
        }
        hides
    }

    fn next_shown(&self) -> Option<(u64, Slot)> {
        let from = self.hidden_to.map_or(Bound::Unbounded, Bound::Excluded);
        self.by_time.range((from, Bound::Unbounded)).next().copied()
    }

    fn last_hidden(&self) -> Option<(u64, Slot)> {
        self.by_time.range(..=self.hidden_to?).next_back().copied()
    }

    /// The row that expires first, hidden or not.
    pub(super) fn first(&self) -> Option<(u64, Slot)> {
        self.by_time.first().copied()
    }

    /// When the next row has to be hidden, in milliseconds of wall time; 0 when one has to be shown now, at `wall_ms`.
    pub(super) fn next_turn(&self, wall_ms: u64) -> Option<u64> {
        match self.last_hidden() {
            Some((at_ms, _)) if at_ms > wall_ms && !self.for_good => Some(0),
            _ => self.next_shown().map(|(at_ms, _)| at_ms),
        }
    }

    /// Whether a table has hidden rows.
    pub(super) fn hides_in(&self, table: TableId) -> bool {
        self.hidden.contains_key(&table)
    }

    /// How many rows expire and are not hidden.
    pub(super) fn shown_rows(&self) -> u64 {
        (self.by_time.len() as u64).saturating_sub(self.hidden_rows)
    }

    /// How many rows are hidden.
    pub(super) fn hidden_rows(&self) -> u64 {
        self.hidden_rows
    }

    /// The bytes of their keys and values that are in memory.
    pub(super) fn hidden_bytes(&self) -> u64 {
        self.hidden_bytes
    }
}
