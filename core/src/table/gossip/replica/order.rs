//! The live keys of a table in order.
//!
//! Keys lie on the heap, each in its own place. Their first bytes stand in the tree itself, so that most comparisons on the
//! way down touch no other memory.

use alloc::collections::BTreeMap;
use alloc::collections::btree_map::Range;
use alloc::vec::Vec;
use core::cmp::Ordering;
use core::ops::Bound;

use bytes::Bytes;

use crate::table::Slot;

/// A key with its beginning at hand.
#[derive(Clone, Debug)]
struct Placed {
    /// The first 16 bytes as a number, big-endian, zeros behind a shorter key.
    head: [u64; 2],
    key: Bytes,
}

impl Placed {
    fn new(key: Bytes) -> Self {
        let mut bytes = [0; 16];
        let len = key.len().min(16);
        bytes[..len].copy_from_slice(&key[..len]);
        let (high, low) = bytes.split_at(8);
        let number = |part: &[u8]| part.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        Placed {
            head: [number(high), number(low)],
            key,
        }
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> Ordering {
        // Heads that differ are ordered as the keys are; equal ones leave it open, because zeros may be bytes or padding.
        let heads = self.head.cmp(&other.head);
        heads.then_with(|| self.key.cmp(&other.key))
    }
}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Placed {}

/// The live keys of one table.
#[derive(Default)]
pub(crate) struct Order {
    keys: BTreeMap<Placed, Slot>,
    /// Keys that are put in order all at once.
    later: Vec<(Placed, Slot)>,
}

impl Order {
    /// O(log keys).
    pub(super) fn insert(&mut self, key: Bytes, slot: Slot) {
        self.keys.insert(Placed::new(key), slot);
    }

    /// Takes in a key that is in no order before [`Order::settle`] is called: until then only the number of keys is known. O(1) amortised.
    pub(super) fn insert_later(&mut self, key: Bytes, slot: Slot) {
        self.later.push((Placed::new(key), slot));
    }

    /// Puts all keys in order. O(keys) where they came in order, else O(keys log keys).
    pub(super) fn settle(&mut self) {
        let mut later = core::mem::take(&mut self.later).into_iter().collect();
        match self.keys.is_empty() {
            true => self.keys = later,
            false => self.keys.append(&mut later),
        }
    }

    /// O(log keys).
    pub(super) fn remove(&mut self, key: &Bytes) {
        self.keys.remove(&Placed::new(key.clone()));
    }

    /// Forgets up to `count` keys, the smallest first, of a table that was dropped. O(count).
    pub(super) fn forget(&mut self, count: usize) {
        for _ in 0..count.min(self.keys.len()) {
            self.keys.pop_first();
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len() + self.later.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.keys.keys().map(|placed| &placed.key)
    }

    /// Keys from `start` on, in order. O(log keys) for the first.
    pub(crate) fn from(&self, start: Bound<&[u8]>) -> InOrder<'_> {
        let start = start.map(|key| Placed::new(Bytes::copy_from_slice(key)));
        InOrder(self.keys.range((start, Bound::Unbounded)))
    }
}

/// Keys in order, with the slots of their rows.
pub(crate) struct InOrder<'a>(Range<'a, Placed, Slot>);

impl<'a> Iterator for InOrder<'a> {
    type Item = (&'a Bytes, Slot);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(placed, slot)| (&placed.key, *slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_bytes() {
        arbtest::arbtest(|u| {
            let mut plain: Vec<Vec<u8>> = Vec::new();
            for _ in 0..u.int_in_range(0..=12)? {
                // Long runs of zeros and shared beginnings are where a head could deceive.
                let mut key = std::vec![*u.choose(&[0, 1, 255])?; u.int_in_range(0..=18)?];
                key.extend_from_slice(u.choose(&[&b""[..], b"\0", b"a", b"\0\0"])?);
                plain.push(key);
            }
            let mut order = Order::default();
            let at_once = u.int_in_range(0..=plain.len())?;
            for (number, key) in plain.iter().enumerate() {
                let (key, slot) = (Bytes::copy_from_slice(key), Slot::new(number));
                match number < at_once {
                    true => order.insert(key, slot),
                    false => order.insert_later(key, slot),
                }
            }
            assert_eq!(order.is_empty(), plain.is_empty());
            order.settle();
            plain.sort();
            plain.dedup();
            let keys: Vec<&[u8]> = order.keys().map(|key| &key[..]).collect();
            assert_eq!(keys, plain);
            if let Some(start) = plain.get(plain.len() / 2) {
                let (first, _) = order.from(Bound::Included(start)).next().unwrap();
                assert_eq!(first, start);
            }
            for key in &plain {
                order.remove(&Bytes::copy_from_slice(key));
            }
            assert!(order.is_empty());
            Ok(())
        });
    }
}
