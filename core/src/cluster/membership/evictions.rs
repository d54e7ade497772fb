//! All evictions that a node has ever heard of, and how two nodes find out which of them one has not.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::record::{Eviction, eviction_key};
use crate::id::NodeId;
use crate::store::bytes::hash_words;

/// The node, the generation of it that was ended, and the author that ended it.
pub(super) type Ended = (NodeId, u64, NodeId);

/// Evictions known here: the generation that each ended, its author, and the members that the author counted.
#[derive(Default)]
pub(super) struct Evictions {
    known: BTreeMap<Ended, (Eviction, Vec<NodeId>)>,
    /// The sum of the hashes of known evictions, in whatever order they came.
    sum: u64,
}

fn hash((node, generation, by): Ended) -> u64 {
    hash_words(&[node.0, generation, by.0])
}

impl Evictions {
    /// Whether this is news. O(log evictions).
    pub(super) fn insert(
        &mut self,
        ended: Ended,
        eviction: Eviction,
        counted: Vec<NodeId>,
    ) -> bool {
        let is_news = self.known.insert(ended, (eviction, counted)).is_none();
        if is_news {
            self.sum = self.sum.wrapping_add(hash(ended));
        }
        is_news
    }

    /// Equal for two nodes that have heard of the same.
    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn hashes(&self) -> Vec<u64> {
        self.known.keys().copied().map(hash).collect()
    }

    /// Returns the keys of the eviction records whose hashes `heard` lacks. O(evictions log evictions).
    pub(super) fn unheard(&self, heard: &[u64]) -> Vec<Vec<u8>> {
        let heard: BTreeSet<u64> = heard.iter().copied().collect();
        let unheard = self
            .known
            .keys()
            .filter(|ended| !heard.contains(&hash(**ended)));
        unheard
            .map(|(node, generation, by)| eviction_key(*node, *generation, *by))
            .collect()
    }

    /// Returns the evictions of this generation of a node and of later ones.
    pub(super) fn since(
        &self,
        node: NodeId,
        generation: u64,
    ) -> impl Iterator<Item = &(Eviction, Vec<NodeId>)> {
        let generations = (node, generation, NodeId(0))..=(node, u64::MAX, NodeId(u64::MAX));
        self.known.range(generations).map(|(_, entry)| entry)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Ended, &(Eviction, Vec<NodeId>))> {
        self.known.iter()
    }
}
