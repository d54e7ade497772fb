//! The news that still travels: one slot per member, each told a bounded number of times.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

use crate::id::NodeId;
use crate::wire::Rumor;

/// Rumors in one message: with the rest of it they fit one TCP segment. A tenth of a thousand members that die at once are a few hundred
/// rumors, each told thirty times.
pub(super) const PER_MESSAGE: usize = 32;

/// Least told first, then the newest.
type Rank = (u32, Reverse<u64>, NodeId);

#[derive(Clone, Debug)]
struct Slot {
    rumor: Rumor,
    told: u32,
    serial: u64,
}

/// The rumors a node passes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Rumors {
    slots: BTreeMap<NodeId, Slot>,
    ranks: BTreeSet<Rank>,
    serial: u64,
}

impl Rumors {
    /// Replaces what is told of this member, from the beginning.
    pub(super) fn put(&mut self, rumor: Rumor) {
        let node = rumor.node;
        self.remove(node);
        self.serial += 1;
        self.ranks.insert((0, Reverse(self.serial), node));
        let serial = self.serial;
        self.slots.insert(
            node,
            Slot {
                rumor,
                told: 0,
                serial,
            },
        );
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        if let Some(slot) = self.slots.remove(&node) {
            self.ranks.remove(&(slot.told, Reverse(slot.serial), node));
        }
    }

    /// A message with this rumor was not sent. One that had been told `limit` times by it is told again.
    pub(super) fn untell(&mut self, rumor: &Rumor, limit: u32) {
        let node = rumor.node;
        let Some(slot) = self.slots.get_mut(&node) else {
            self.put(rumor.clone());
            return self.tell_times(node, limit.saturating_sub(1));
        };
        if slot.rumor == *rumor {
            let told = slot.told.saturating_sub(1);
            self.tell_times(node, told);
        }
    }

    fn tell_times(&mut self, node: NodeId, told: u32) {
        if let Some(slot) = self.slots.get_mut(&node) {
            self.ranks.remove(&(slot.told, Reverse(slot.serial), node));
            slot.told = told;
            self.ranks.insert((slot.told, Reverse(slot.serial), node));
        }
    }

    /// The rumors of one message: `first`, which does not count as told, then the freshest about others. A rumor told
    /// `limit` times is forgotten.
    pub(super) fn take(&mut self, first: Option<Rumor>, limit: u32) -> Vec<Rumor> {
        let about = first.as_ref().map(|rumor| rumor.node);
        let mut taken: Vec<Rumor> = first.into_iter().collect();
        let room = PER_MESSAGE - taken.len();
        let ranks: Vec<Rank> = self
            .ranks
            .iter()
            .filter(|rank| Some(rank.2) != about)
            .take(room)
            .copied()
            .collect();
        for rank in ranks {
            self.ranks.remove(&rank);
            let Some(slot) = self.slots.get_mut(&rank.2) else {
                continue;
            };
            taken.push(slot.rumor.clone());
            slot.told += 1;
            if slot.told >= limit {
                self.slots.remove(&rank.2);
            } else {
                self.ranks.insert((slot.told, rank.1, rank.2));
            }
        }
        taken
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.slots.keys().copied()
    }

    pub(super) fn check(&self) {
        assert_eq!(self.slots.len(), self.ranks.len());
        for (node, slot) in &self.slots {
            assert_eq!(slot.rumor.node, *node);
            assert!(
                self.ranks
                    .contains(&(slot.told, Reverse(slot.serial), *node))
            );
        }
    }
}

/// How often a rumor is told in a cluster of `n`: `3 * ceil(log2(n + 1))`.
pub(super) fn limit(n: usize) -> u32 {
    // ceil(log2(n + 1)) is the number of bits of n.
    3 * (usize::BITS - n.leading_zeros()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::RumorState;

    fn about(node: u64) -> Rumor {
        Rumor {
            node: NodeId(node),
            generation: 1,
            incarnation: 0,
            state: RumorState::Suspect,
            from: NodeId(0),
        }
    }

    #[test]
    fn a_rumor_is_told_up_to_the_limit_and_the_freshest_first() {
        let mut rumors = Rumors::default();
        let count = PER_MESSAGE as u64 + 12;
        for node in 1..=count {
            rumors.put(about(node));
        }
        let first = rumors.take(None, 6);
        assert_eq!(
            first.iter().map(|r| r.node.0).collect::<Vec<_>>(),
            (13..=count).rev().collect::<Vec<_>>()
        );
        let mut told = first.len();
        loop {
            let more = rumors.take(None, 6);
            rumors.check();
            assert!(more.len() <= PER_MESSAGE);
            if more.is_empty() {
                break;
            }
            told += more.len();
        }
        assert_eq!(told as u64, count * 6);
    }

    #[test]
    fn the_accusation_leads_and_is_not_told_twice() {
        let mut rumors = Rumors::default();
        (1..=40).for_each(|node| rumors.put(about(node)));
        let taken = rumors.take(Some(about(9)), 6);
        assert_eq!(taken.len(), PER_MESSAGE);
        assert_eq!(taken.iter().filter(|r| r.node == NodeId(9)).count(), 1);
        assert_eq!(taken[0].node, NodeId(9));
    }

    #[test]
    fn a_rumor_that_found_no_link_is_told_as_often_as_one_that_did() {
        let mut rumors = Rumors::default();
        rumors.put(about(1));
        for _ in 0..100 {
            for rumor in rumors.take(None, 6) {
                rumors.untell(&rumor, 6);
            }
            rumors.check();
        }
        let told = core::iter::from_fn(|| rumors.take(None, 6).pop());
        assert_eq!(told.count(), 6);
    }

    #[test]
    fn the_limit_follows_the_logarithm() {
        assert_eq!([1, 2, 3, 4, 7, 8, 100].map(limit), [3, 6, 6, 9, 9, 12, 21]);
    }
}
