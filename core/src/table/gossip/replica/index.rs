//! The hash index of all rows: it grows in small steps, so that no single write waits for it.
//!
//! A hash table that doubles looks at every entry at once, and each of a million rows waits for memory. This one consists of many small
//! tables (extendible hashing): one that is full is split in two, by one more bit of the hashes.

use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashTable;

use crate::table::Slot;

/// Entries of a part before it is split: what one insertion moves at most. As many as fill a table of 4,096 places.
const PART: usize = 3_584;

/// Most bits by which parts are told apart, and entries of the directory for each part that would do.
const MOST_BITS: u32 = 24;
const SPREAD: usize = 16;

/// The places of rows by the hashes of their tables and keys.
pub(super) struct Index {
    parts: Vec<Part>,
    /// The part of each value of the lowest `bits` of a hash's upper half.
    directory: Vec<u32>,
    bits: u32,
    entries: usize,
}

struct Part {
    slots: HashTable<Slot>,
    /// How many bits all of its hashes have in common.
    bits: u32,
}

impl Default for Index {
    fn default() -> Self {
        Index {
            parts: vec![Part {
                slots: HashTable::new(),
                bits: 0,
            }],
            directory: vec![0],
            bits: 0,
            entries: 0,
        }
    }
}

/// The part of a hash that chooses among parts. A table within a part uses the lowest bits and the highest ones.
fn upper(hash: u64) -> usize {
    (hash >> 32) as usize
}

impl Index {
    fn part(&self, hash: u64) -> usize {
        let place = upper(hash) & ((1 << self.bits) - 1);
        self.directory.get(place).map_or(0, |part| *part as usize)
    }

    /// The slot of that hash for which `is_it` holds. O(1).
    pub(super) fn find(&self, hash: u64, is_it: impl FnMut(&Slot) -> bool) -> Option<Slot> {
        self.parts[self.part(hash)].slots.find(hash, is_it).copied()
    }

    /// Makes room for so many slots, so that none of them moves others, unless there are slots already or few are to come. O(slots).
    pub(super) fn reserve(&mut self, slots: usize) {
        if self.entries > 0 || slots <= PART {
            return;
        }
        // A part is to stay well below its bound, since hashes are spread by chance.
        let parts = slots.div_ceil(PART / 4 * 3).next_power_of_two();
        self.bits = parts.ilog2().min(MOST_BITS);
        let part = |_| Part {
            slots: HashTable::with_capacity(PART),
            bits: self.bits,
        };
        self.parts = (0..1 << self.bits).map(part).collect();
        self.directory = (0..1 << self.bits).collect();
    }

    /// Adds a slot that is not there. O(1) amortised, and never more than a part's entries; `hash_of` is that of a slot that is there.
    pub(super) fn insert(&mut self, hash: u64, slot: Slot, hash_of: impl Fn(&Slot) -> u64) {
        let mut part = self.part(hash);
        if self.parts[part].slots.len() >= PART && self.may_split(part) {
            self.split(part, &hash_of);
            part = self.part(hash);
        }
        self.entries += 1;
        self.parts[part].slots.insert_unique(hash, slot, hash_of);
    }

    /// Whether another bit is likely to part the hashes: the directory grows with the entries, and not with hashes that are alike.
    fn may_split(&self, part: usize) -> bool {
        let bits = self.parts[part].bits;
        bits < MOST_BITS && 1 << bits <= SPREAD * (self.entries / PART + 1)
    }

    /// Removes a slot, if it is there. O(1).
    pub(super) fn remove(&mut self, hash: u64, slot: Slot) {
        let part = self.part(hash);
        let slots = &mut self.parts[part].slots;
        if let Ok(entry) = slots.find_entry(hash, |found| *found == slot) {
            entry.remove();
            self.entries -= 1;
        }
    }

    /// Splits a part in two, by the next bit of its hashes.
    fn split(&mut self, part: usize, hash_of: &impl Fn(&Slot) -> u64) {
        let bits = self.parts[part].bits;
        let bit = 1 << bits;
        let full = core::mem::take(&mut self.parts[part].slots);
        let mut halves = [
            HashTable::with_capacity(PART),
            HashTable::with_capacity(PART),
        ];
        let mut some_hash = 0;
        for slot in full {
            let hash = hash_of(&slot);
            some_hash = hash;
            let half = usize::from(upper(hash) & bit != 0);
            halves[half].insert_unique(hash, slot, hash_of);
        }
        let [low, high] = halves;
        let new = self.parts.len() as u32;
        self.parts[part] = Part {
            slots: low,
            bits: bits + 1,
        };
        self.parts.push(Part {
            slots: high,
            bits: bits + 1,
        });
        if bits == self.bits {
            self.directory.extend_from_within(..);
            self.bits += 1;
        }
        let first = (upper(some_hash) & (bit - 1)) | bit;
        for place in (first..self.directory.len()).step_by(2 * bit) {
            self.directory[place] = new;
        }
    }
}

#[cfg(test)]
mod tests {
    use core::cell::Cell;
    use core::hash::BuildHasher;

    use foldhash::fast::FixedState;

    use super::*;

    fn hash_of(slot: &Slot) -> u64 {
        FixedState::default().hash_one(slot.index())
    }

    #[test]
    fn no_insertion_moves_more_than_a_part() {
        let mut index = Index::default();
        let moved = Cell::new(0);
        let mut most = 0;
        for n in 0..200_000 {
            let slot = Slot::new(n);
            moved.set(0);
            index.insert(hash_of(&slot), slot, |slot| {
                moved.set(moved.get() + 1);
                hash_of(slot)
            });
            most = most.max(moved.get());
        }
        assert!(most >= PART / 2, "{most}");
        assert!(most <= PART, "{most}");
        assert!(index.parts.iter().all(|part| part.slots.len() <= PART));
        assert_eq!(index.directory.len(), 1 << index.bits);
    }

    #[test]
    fn slots_that_room_was_made_for_move_no_other_and_are_found() {
        const ALL: usize = 100_000;
        for more in [0, 1, 2 * ALL] {
            let mut index = Index::default();
            index.reserve(ALL);
            for n in 0..ALL {
                index.insert(hash_of(&Slot::new(n)), Slot::new(n), |_| {
                    panic!("a slot was moved")
                });
            }
            for n in ALL..ALL + more {
                index.insert(hash_of(&Slot::new(n)), Slot::new(n), hash_of);
            }
            for n in 0..ALL + more {
                let slot = Slot::new(n);
                let found = index.find(hash_of(&slot), |found| *found == slot);
                assert_eq!(found, Some(slot), "{n}");
            }
        }
    }

    #[test]
    fn what_was_inserted_is_found_until_it_is_removed() {
        let mut index = Index::default();
        const ALL: usize = 50_000;
        for n in 0..ALL {
            let slot = Slot::new(n);
            index.insert(hash_of(&slot), slot, hash_of);
        }
        for n in (0..ALL).step_by(3) {
            let slot = Slot::new(n);
            index.remove(hash_of(&slot), slot);
        }
        for n in 0..ALL {
            let slot = Slot::new(n);
            let found = index.find(hash_of(&slot), |found| *found == slot);
            assert_eq!(found, (n % 3 != 0).then_some(slot), "{n}");
        }
        let gone = Slot::new(ALL);
        assert_eq!(index.find(hash_of(&gone), |found| *found == gone), None);
    }

    #[test]
    fn hashes_that_are_all_alike_are_kept() {
        let mut index = Index::default();
        let same = |_: &Slot| 7;
        for n in 0..PART + 10 {
            index.insert(7, Slot::new(n), same);
        }
        let last = Slot::new(PART + 9);
        assert_eq!(index.find(7, |slot| *slot == last), Some(last));
        assert!(index.directory.len() <= 4 * SPREAD);
    }
}
