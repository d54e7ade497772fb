//! The log of changes of all tables in local arrival order, from which watchers read.

use alloc::collections::VecDeque;

use bytes::Bytes;

use super::{Mode, Slot};
use crate::id::TableId;

/// The log's memory of one arrival.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// A row arrived. The memory of its mode still has it in this place if its arrival number is that of the entry.
    Row {
        /// The mode of its table.
        mode: Mode,
        /// Its place there.
        slot: Slot,
    },
    /// A row's tombstone was freed, or a rejoin has dropped the row: the key is kept so that a watcher still learns of the delete.
    Freed {
        /// Its table.
        table: TableId,
        /// Whether it expired rather than being deleted.
        expired: bool,
        /// Its key.
        key: Bytes,
    },
    /// Everything at or below a drop marker was removed from a table.
    Flushed {
        /// The table.
        table: TableId,
    },
    /// Everything at or below a drop marker was removed from all users' tables.
    FlushedAll,
}

impl Entry {
    /// Returns the entry of a row of a gossip table.
    pub(crate) fn gossip(slot: Slot) -> Self {
        let mode = Mode::Gossip;
        Entry::Row { mode, slot }
    }

    /// Returns the place of a row of a gossip table that arrived.
    pub(crate) fn gossip_slot(&self) -> Option<Slot> {
        match self {
            Entry::Row {
                mode: Mode::Gossip,
                slot,
            } => Some(*slot),
            _ => None,
        }
    }
}

/// A ring of the last arrivals. Entries are small, because a row that was replaced meanwhile is read once, at its newest.
#[derive(Debug)]
pub(crate) struct ChangeLog {
    entries: VecDeque<Entry>,
    first: u64,
    limit: usize,
}

impl ChangeLog {
    pub(crate) fn new(limit: usize) -> Self {
        ChangeLog {
            entries: VecDeque::new(),
            first: 1,
            limit: limit.max(1),
        }
    }

    /// Keeps so many entries from now on; the oldest go by and by if there are more.
    pub(crate) fn resize(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Forgets up to `budget` of the entries beyond the limit, the oldest first.
    pub(crate) fn trim(&mut self, budget: usize) {
        let over = self.entries.len().saturating_sub(self.limit).min(budget);
        self.entries.drain(..over);
        self.first += over as u64;
    }

    /// The number that the next entry gets.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Whether nothing has been logged yet in this boot.
    pub(crate) fn is_new(&self) -> bool {
        self.next() == 1
    }

    /// The number of the oldest entry kept.
    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    /// Appends an entry and returns its number; the oldest one goes when the ring is full.
    pub(crate) fn push(&mut self, entry: Entry) -> u64 {
        self.entries.push_back(entry);
        // After the limit was lowered there are more than one.
        self.trim(2);
        self.next() - 1
    }

    /// Puts another entry in the place of one that is still kept.
    pub(crate) fn replace(&mut self, number: u64, entry: Entry) {
        let place = number
            .checked_sub(self.first)
            .and_then(|place| usize::try_from(place).ok());
        if let Some(old) = place.and_then(|place| self.entries.get_mut(place)) {
            *old = entry;
        }
    }

    /// Entries from number `from` on.
    #[must_use = "it reads the log"]
    pub(crate) fn since(&self, from: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let skip = from.saturating_sub(self.first) as usize;
        self.entries
            .iter()
            .enumerate()
            .skip(skip)
            .map(|(i, entry)| (self.first + i as u64, entry))
    }
}
