//! A set of members that is walked in shuffled rounds and sampled, each step in O(log n).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use crate::id::NodeId;
use crate::rng::Rng;

/// The members before `next` have had their turn in this round.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    order: Vec<NodeId>,
    places: BTreeMap<NodeId, usize>,
    next: usize,
}

impl Roster {
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.places.contains_key(&node)
    }

    /// Puts `node` at a random place of the round, so that a newcomer's turn cannot be foreseen. False when present.
    pub(super) fn insert(&mut self, rng: &mut Rng, node: NodeId) -> bool {
        if self.contains(node) {
            return false;
        }
        let last = self.order.len();
        self.order.push(node);
        self.places.insert(node, last);
        let place = rng.below(last as u64 + 1) as usize;
        if place < self.next {
            self.swap(self.next, last);
            self.next += 1;
        } else {
            self.swap(place, last);
        }
        true
    }

    pub(super) fn remove(&mut self, node: NodeId) -> bool {
        let Some(mut place) = self.places.get(&node).copied() else {
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
        self.places.remove(&node);
        true
    }

    /// Whose turn it is. The end of a round shuffles the next one.
    pub(super) fn step(&mut self, rng: &mut Rng) -> Option<NodeId> {
        if self.next >= self.order.len() {
            self.next = 0;
            rng.shuffle(&mut self.order);
            for (place, node) in self.order.iter().enumerate() {
                self.places.insert(*node, place);
            }
        }
        let node = self.order.get(self.next).copied()?;
        self.next += 1;
        Some(node)
    }

    /// Up to `count` distinct members other than `except`, uniformly (Floyd's algorithm).
    pub(super) fn sample(&self, rng: &mut Rng, count: usize, except: NodeId) -> Vec<NodeId> {
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
        chosen.retain(|node| *node != except);
        // One more than wanted was drawn, to make up for the excepted one; a random one goes.
        if chosen.len() > count {
            chosen.swap_remove(rng.below(chosen.len() as u64) as usize);
        }
        chosen
    }

    pub(super) fn check(&self) {
        assert_eq!(self.order.len(), self.places.len());
        assert!(self.next <= self.order.len());
        for (place, node) in self.order.iter().enumerate() {
            assert_eq!(self.places.get(node), Some(&place));
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
