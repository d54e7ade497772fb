//! A set that is walked in random rounds and sampled, each step in O(log n).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::ops::Bound;

use crate::rng::Rng;

/// In order of turns: entries before `next` have had their turn in this round.
#[derive(Clone, Debug)]
pub(super) struct Roster<T> {
    order: Vec<T>,
    places: BTreeMap<T, usize>,
    next: usize,
}

impl<T> Default for Roster<T> {
    fn default() -> Self {
        Roster {
            order: Vec::new(),
            places: BTreeMap::new(),
            next: 0,
        }
    }
}

impl<T: Copy + Ord> Roster<T> {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn contains(&self, item: T) -> bool {
        self.places.contains_key(&item)
    }

    /// The next one in the order of the items, around from the last to the first. O(log items).
    pub(super) fn after(&self, item: T) -> Option<T> {
        let later = (Bound::Excluded(item), Bound::Unbounded);
        let next = self.places.range(later).next();
        next.or_else(|| self.places.first_key_value())
            .map(|(next, _)| *next)
    }

    /// Adds `item` to those whose turn is to come in this round. False when present.
    pub(super) fn insert(&mut self, item: T) -> bool {
        if self.contains(item) {
            return false;
        }
        self.places.insert(item, self.order.len());
        self.order.push(item);
        true
    }

    pub(super) fn remove(&mut self, item: T) -> bool {
        let Some(mut place) = self.places.get(&item).copied() else {
            return false;
        };
        if place < self.next {
            self.next -= 1;
            self.swap(place, self.next);
            place = self.next;
        }
        let last = self.order.len() - 1;
        self.swap(place, last);
        self.order.pop();
        self.places.remove(&item);
        true
    }

    /// Returns the next in turn: one drawn from those that have had no turn in this round, so that no turn can be foreseen and no round is
    /// shuffled as a whole.
    pub(super) fn step(&mut self, rng: &mut Rng) -> Option<T> {
        if self.next >= self.order.len() {
            self.next = 0;
        }
        let left = self.order.len() - self.next;
        let place = self.next + rng.below(left as u64) as usize;
        let item = self.order.get(place).copied()?;
        self.swap(place, self.next);
        self.next += 1;
        Some(item)
    }

    /// Up to `count` distinct ones other than `except`, uniformly (Floyd's algorithm).
    pub(super) fn sample(&self, rng: &mut Rng, count: usize, except: T) -> Vec<T> {
        let total = self.order.len();
        let draws = count.saturating_add(1).min(total);
        let mut drawn = BTreeSet::new();
        let mut chosen = Vec::with_capacity(draws);
        for top in total - draws..total {
            let place = rng.below(top as u64 + 1) as usize;
            let place = if drawn.insert(place) {
                place
            } else {
                drawn.insert(top);
                top
            };
            chosen.push(self.order[place]);
        }
        chosen.retain(|item| *item != except);
        // One more than wanted was drawn, to make up for the excepted one; a random one goes.
        if chosen.len() > count {
            chosen.swap_remove(rng.below(chosen.len() as u64) as usize);
        }
        chosen
    }

    pub(super) fn check(&self) {
        assert_eq!(self.order.len(), self.places.len());
        assert!(self.next <= self.order.len());
        for (place, item) in self.order.iter().enumerate() {
            assert_eq!(self.places.get(item), Some(&place));
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        if a != b {
            self.order.swap(a, b);
            self.places.insert(self.order[a], a);
            self.places.insert(self.order[b], b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Seed, Stream};

    #[test]
    fn each_has_one_turn_in_a_round_whichever_come_and_go() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Detector);
        let mut roster = Roster::default();
        (0..20u64).for_each(|item| assert!(roster.insert(item)));
        let mut seen: Vec<u64> = (0..10).filter_map(|_| roster.step(&mut rng)).collect();
        let waits = (0..20).find(|item| !seen.contains(item)).unwrap();
        assert!(roster.remove(seen[3]) && roster.remove(waits) && roster.insert(99));
        seen.extend((0..10).filter_map(|_| roster.step(&mut rng)));
        roster.check();
        let distinct: BTreeSet<u64> = seen.iter().copied().collect();
        assert_eq!(distinct.len(), 20, "each once, the newcomer too");
        assert!(!distinct.contains(&waits) && distinct.contains(&99));
        assert_ne!(seen[..5], [0, 1, 2, 3, 4], "in no order");
    }
}
