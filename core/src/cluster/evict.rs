//! Eviction: ends the generation of a member that does not come back, so that no member waits for it.
//!
//! The node that evicts asks every member it reaches. Each durably agrees, unless it has agreed to end the asker's own generation, or hears from
//! the member to be evicted. With the agreement of more than half of the members the asker writes the record of the eviction, which names
//! all members that the asker counted. An agreement binds until the asker has greeted anew or has given up.
//!
//! The record is what takes effect, wherever it comes: a node that it does not name may hold what the named ones have freed, and is rejoining
//! until it has rejoined. Where two sides ended each other, the side that counted more members goes on.

mod agree;
mod ask;
mod judge;
mod lost;
mod namesake;
mod policy;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use self::ask::Attempt;
use crate::id::{NodeId, Token};
use crate::store::record::Agreement;
use crate::time::Instant;

/// The evictions that this node asks for, and those it has agreed to.
pub(crate) struct Evictions {
    attempts: BTreeMap<NodeId, Attempt>,
    agreed: Vec<Agreement>,
    /// Since when members are down.
    down: BTreeMap<NodeId, Instant>,
    /// Down members that keep nothing on disk, the longest down first: the policy evicts these.
    forgetful: BTreeSet<(Instant, NodeId)>,
    /// When the policy is carried out again.
    policy_at: Instant,
    /// Members that are down and were this node in an earlier generation, each with when its end is asked for next.
    namesakes: BTreeMap<NodeId, Instant>,
    rounds: u64,
}

impl Evictions {
    pub(crate) fn new(agreed: Vec<Agreement>) -> Self {
        Evictions {
            attempts: BTreeMap::new(),
            agreed,
            down: BTreeMap::new(),
            forgetful: BTreeSet::new(),
            policy_at: Instant::ZERO,
            namesakes: BTreeMap::new(),
            rounds: 0,
        }
    }

    /// Whether this node has agreed to an eviction that its asker may still carry out.
    #[cfg(test)]
    pub(crate) fn is_bound(&self) -> bool {
        !self.agreed.is_empty()
    }

    fn next_round(&mut self) -> u64 {
        self.rounds += 1;
        self.rounds
    }

    /// Forgets a caller that no longer waits for the answer; the eviction goes on.
    pub(crate) fn forget_token(&mut self, token: Token) {
        for attempt in self.attempts.values_mut() {
            attempt.tokens.retain(|waiting| *waiting != token);
        }
    }

    /// A member is taken for dead, one that `stores` something on disk or one that does not.
    pub(crate) fn down(&mut self, node: NodeId, stores: bool, now: Instant) {
        self.up(node);
        self.down.insert(node, now);
        if !stores {
            self.forgetful.insert((now, node));
        }
    }

    pub(crate) fn up(&mut self, node: NodeId) {
        self.namesakes.remove(&node);
        if let Some(since) = self.down.remove(&node) {
            self.forgetful.remove(&(since, node));
        }
    }

    pub(crate) fn down_since(&self, node: NodeId) -> Option<Instant> {
        self.down.get(&node).copied()
    }

    /// Drops what a node agreed to: a greeting frees it, so an agreement counts no longer than the link it came over.
    pub(crate) fn link_changed(&mut self, node: NodeId) {
        for attempt in self.attempts.values_mut() {
            attempt.acks.remove(&node);
            attempt.asked.remove(&node);
        }
    }
}
