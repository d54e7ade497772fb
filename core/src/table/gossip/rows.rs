//! The rows in memory: a slab, a hash index for point access, and per table the live keys in order.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hasher as _};
use core::num::NonZeroU32;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashTable;

use super::order::Order;
use crate::id::{Seq, TableId};
use crate::table::Hlc;
use crate::table::siblings::SiblingRow;

/// The place of a row in the slab, never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot(NonZeroU32);

impl Slot {
    pub(super) fn new(index: usize) -> Self {
        // A slab of 2^32 rows would need more memory than any machine that runs this has.
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        Slot(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// An actor of this node, interned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ActorIx(pub(crate) u32);

/// What a row holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing: a tombstone.
    Dead,
    /// A value in memory.
    Resident(Bytes),
    /// A value of this many bytes that is only in the store.
    Cold(u32),
    /// The versions of a key in a table that keeps siblings; always in memory.
    Siblings(Box<SiblingRow>),
}

impl Value {
    pub(crate) fn is_dead(&self) -> bool {
        match self {
            Value::Dead => true,
            Value::Resident(_) | Value::Cold(_) => false,
            Value::Siblings(row) => row.is_dead(),
        }
    }

    pub(crate) fn is_cold(&self) -> bool {
        matches!(self, Value::Cold(_))
    }

    /// The length in bytes, 0 for a tombstone; of siblings the length of their form.
    pub(crate) fn len(&self) -> usize {
        match self {
            Value::Dead => 0,
            Value::Resident(value) => value.len(),
            Value::Cold(len) => *len as usize,
            Value::Siblings(row) => row.len(),
        }
    }

    /// The versions, in a table that keeps siblings.
    pub(crate) fn siblings(&self) -> Option<&SiblingRow> {
        match self {
            Value::Siblings(row) => Some(row),
            _ => None,
        }
    }

    /// The value, when it is in memory.
    pub(crate) fn resident(&self) -> Option<&Bytes> {
        match self {
            Value::Resident(value) => Some(value),
            Value::Dead | Value::Cold(_) | Value::Siblings(_) => None,
        }
    }

    /// Lets go of a value in memory. A row has at most [`MAX_ROW_BYTES`](crate::MAX_ROW_BYTES), which fit.
    pub(crate) fn cool(&mut self) {
        if let Value::Resident(value) = self {
            *self = Value::Cold(u32::try_from(value.len()).unwrap_or(u32::MAX));
        }
    }
}

impl From<Option<Bytes>> for Value {
    fn from(value: Option<Bytes>) -> Self {
        value.map_or(Value::Dead, Value::Resident)
    }
}

/// One version among all of this node's: what a cold row's record must say.
pub(crate) type VersionKey = (Hlc, ActorIx, u64);

/// The current version of a row.
#[derive(Clone, Debug)]
pub(crate) struct StoredRow {
    pub(crate) table: TableId,
    pub(crate) actor: ActorIx,
    pub(crate) counter: u64,
    pub(crate) clock: Hlc,
    /// Wall milliseconds, 0 for never.
    pub(crate) expires: u64,
    /// Position in this node's order of arrival.
    pub(crate) arrival: u64,
    /// The batch that stores it.
    pub(crate) seq: Seq,
    pub(crate) key: Bytes,
    pub(crate) value: Value,
}

impl StoredRow {
    pub(crate) fn version_key(&self) -> VersionKey {
        (self.clock, self.actor, self.counter)
    }

    pub(crate) fn is_live_at(&self, wall_ms: u64) -> bool {
        !self.value.is_dead() && (self.expires == 0 || self.expires > wall_ms)
    }
}

/// All rows of a node.
#[derive(Default)]
pub(crate) struct Rows {
    slab: Vec<Option<StoredRow>>,
    free: Vec<Slot>,
    index: HashTable<Slot>,
    live: Vec<Order>,
    hasher: FixedState,
}

impl Rows {
    /// Makes room for tables up to and including `table`.
    pub(crate) fn add_table(&mut self, table: TableId) {
        while self.live.len() <= table.0 as usize {
            self.live.push(Order::default());
        }
    }

    fn hash(hasher: &FixedState, table: TableId, key: &[u8]) -> u64 {
        let mut hasher = hasher.build_hasher();
        hasher.write_u32(table.0);
        hasher.write(key);
        hasher.finish()
    }

    /// The slot of a key's row, tombstones included. O(1).
    pub(crate) fn find(&self, table: TableId, key: &[u8]) -> Option<Slot> {
        let hash = Self::hash(&self.hasher, table, key);
        let slab = &self.slab;
        self.index
            .find(hash, |slot| {
                slab[slot.index()]
                    .as_ref()
                    .is_some_and(|row| row.table == table && row.key.as_ref() == key)
            })
            .copied()
    }

    /// The row of a key, tombstones included. O(1).
    pub(crate) fn get(&self, table: TableId, key: &[u8]) -> Option<&StoredRow> {
        self.find(table, key).and_then(|slot| self.row(slot))
    }

    pub(crate) fn row(&self, slot: Slot) -> Option<&StoredRow> {
        self.slab.get(slot.index())?.as_ref()
    }

    /// Adds a row whose key is not there yet. O(log rows) for the order, when it is live.
    pub(crate) fn insert(&mut self, row: StoredRow) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            Slot::new(self.slab.len() - 1)
        });
        let hash = Self::hash(&self.hasher, row.table, &row.key);
        if !row.value.is_dead() {
            self.live[row.table.0 as usize].insert(row.key.clone(), slot);
        }
        self.slab[slot.index()] = Some(row);
        let (slab, hasher) = (&self.slab, &self.hasher);
        self.index
            .insert_unique(hash, slot, |slot| match &slab[slot.index()] {
                Some(row) => Self::hash(hasher, row.table, &row.key),
                None => 0,
            });
        slot
    }

    /// Changes a row in place; key and table stay. The order follows the row's life. O(1) unless it is born or dies.
    pub(crate) fn update(&mut self, slot: Slot, change: impl FnOnce(&mut StoredRow)) {
        let Some(row) = self.slab.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let was_live = !row.value.is_dead();
        change(row);
        match (was_live, !row.value.is_dead()) {
            (false, true) => {
                self.live[row.table.0 as usize].insert(row.key.clone(), slot);
            }
            (true, false) => {
                self.live[row.table.0 as usize].remove(&row.key);
            }
            _ => {}
        }
    }

    /// Forgets a row.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<StoredRow> {
        let row = self.slab.get_mut(slot.index())?.take()?;
        let hash = Self::hash(&self.hasher, row.table, &row.key);
        if let Ok(entry) = self.index.find_entry(hash, |found| *found == slot) {
            entry.remove();
        }
        if !row.value.is_dead() {
            self.live[row.table.0 as usize].remove(&row.key);
        }
        self.free.push(slot);
        Some(row)
    }

    /// The live keys of a table in order, expired ones included until their timer has come.
    pub(crate) fn live(&self, table: TableId) -> Option<&Order> {
        self.live.get(table.0 as usize)
    }

    /// Every row with its slot, tombstones included, in slab order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &StoredRow)> {
        self.slab
            .iter()
            .enumerate()
            .filter_map(|(i, row)| Some((Slot::new(i), row.as_ref()?)))
    }

    /// Some live row of the table, starting the look at a random place; falls back to the first in order.
    pub(crate) fn sample(&self, table: TableId, random: u64) -> Option<&StoredRow> {
        const TRIES: usize = 64;
        let len = self.slab.len();
        let start = if len == 0 {
            return None;
        } else {
            (random % len as u64) as usize
        };
        (0..TRIES.min(len))
            .filter_map(|i| self.slab[(start + i) % len].as_ref())
            .find(|row| row.table == table && !row.value.is_dead())
            .or_else(|| {
                let first = self.live(table)?.slots().next()?;
                self.row(first)
            })
    }
}
