//! Which rows are newer than a clock, without a walk over all of them.
//!
//! A node follows the clocks of the rows that come, so a row that was placed before its own clock passed a drop marker is at or below that
//! drop marker. The exceptions are rows beyond the drift limit, which it does not follow: those have a set of their own. So what is above a
//! drop marker came after the clock had passed it, and is in the log of changes, or is in that set.

use alloc::collections::{BTreeSet, VecDeque};
use core::ops::Bound;

use crate::table::Hlc;
use crate::table::Slot;

/// Marks that are kept.
const MARKS: usize = 1_024;

/// Wall milliseconds between two marks at least.
const APART_MS: u64 = 16;

/// The rows that were ahead of the own clock when they were placed, and how far the clock was when.
pub(super) struct Ahead {
    rows: BTreeSet<(Hlc, Slot)>,
    /// Rows with smaller numbers of arrival were placed while the own clock was at or below. Ascending.
    marks: VecDeque<(Hlc, u64)>,
    /// The own clock when the last row was placed.
    last: Hlc,
}

impl Ahead {
    /// Begins the set of a node whose own clock begins here.
    pub(super) fn new(start: Hlc) -> Self {
        Ahead {
            rows: BTreeSet::new(),
            marks: VecDeque::from([(start, 1)]),
            last: start,
        }
    }

    /// A row is about to be placed as number `number` while the own clock is `own`. O(1) amortised.
    pub(super) fn note(&mut self, own: Hlc, number: u64) {
        let last = self.marks.back().map_or(Hlc(0), |(clock, _)| *clock);
        if own.wall().as_millis() >= last.wall().as_millis() + APART_MS {
            self.marks.push_back((self.last.max(last), number));
            if self.marks.len() > MARKS {
                self.marks.pop_front();
            }
        }
        self.last = self.last.max(own);
        // Clocks at or below the first mark are never asked for again.
        let horizon = self.marks.front().map_or(Hlc(0), |(clock, _)| *clock);
        if self
            .rows
            .first()
            .is_some_and(|(clock, _)| *clock <= horizon)
        {
            self.rows.pop_first();
        }
    }

    /// A row was placed; it is of interest when its clock is ahead of the own one.
    pub(super) fn insert(&mut self, own: Hlc, clock: Hlc, slot: Slot) {
        if clock > own {
            self.rows.insert((clock, slot));
        }
    }

    /// A row ceases to be the current one of its key.
    pub(super) fn remove(&mut self, clock: Hlc, slot: Slot) {
        if !self.rows.is_empty() {
            self.rows.remove(&(clock, slot));
        }
    }

    /// Rows that were ahead of the own clock when they were placed and are above `drop_marker`, the oldest first.
    pub(super) fn above(&self, drop_marker: Hlc) -> impl Iterator<Item = Slot> + '_ {
        let above = self.rows.range((drop_marker.next(), Slot::new(0))..);
        above.map(|(_, slot)| *slot)
    }

    /// The next of them after one, in order of clocks. O(log rows).
    pub(super) fn after(&self, at: (Hlc, Slot)) -> Option<(Hlc, Slot)> {
        let after = (Bound::Excluded(at), Bound::Unbounded);
        self.rows.range(after).next().copied()
    }

    /// From which number of arrival on, of `next` to come, others may be above `drop_marker`; `None` when that is not known any more.
    pub(super) fn since(&self, drop_marker: Hlc, next: u64) -> Option<u64> {
        if self.last <= drop_marker {
            return Some(next);
        }
        let passed = self
            .marks
            .partition_point(|(clock, _)| *clock <= drop_marker);
        let (_, number) = self.marks.get(passed.checked_sub(1)?)?;
        Some(*number)
    }
}
