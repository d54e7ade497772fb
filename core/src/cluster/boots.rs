//! The generations that this node's store goes back to, and the older copy that does not go back to a claim of this node's own.
//!
//! Each batch that may be claimed names its generation and its number, so a store tells how far it goes: up to the last batch of each
//! generation that has ended. A member that has freed deletes on a claim of this node's tells it the number of that claim. A store
//! without that batch is an older copy, put back without a word: this node rejoins. What it covers after a rejoin, or when it goes on by
//! itself, is as good as all it ever claimed: so everything before that generation counts as held.

use alloc::vec::Vec;

use super::{Cluster, Env};
use crate::id::{LinkId, NodeId};
use crate::io::{Event, Lane, Links};
use crate::marks::Mark;
use crate::store::record::{self, Boots};
use crate::table::gossip::KEPT_NUMBERS as KEPT;
use crate::wire::{ClaimNumber, ClusterMessage, Message};

/// Ended generations that a store remembers. Claims of earlier ones count as held: a healthy node may have started as often since, while a copy
/// that has would be noticed by what was freed on later claims.
const REMEMBERED: usize = 1_024;

impl Boots {
    /// A generation has ended with this batch.
    pub(crate) fn end(&mut self, last: ClaimNumber) {
        if last.generation < self.since {
            return;
        }
        self.ended
            .retain(|ended| ended.generation < last.generation);
        self.ended.push(last);
        if self.ended.len() > REMEMBERED {
            self.since = self.ended.remove(0).generation.saturating_add(1);
        }
    }

    /// Asserts that ended generations are bounded, in order, and before the one that runs. O(generations).
    pub(crate) fn check(&self, generation: u64) {
        assert!(self.ended.len() <= REMEMBERED, "ended generations");
        let ascend = |two: &[ClaimNumber]| two[0].generation < two[1].generation;
        assert!(self.ended.windows(2).all(ascend), "they ascend");
        let mut ended = self.ended.iter().map(|last| last.generation);
        let lies = |ended: u64| (self.since..generation).contains(&ended);
        assert!(ended.all(lies), "they ended since it had all, before now");
    }

    /// Whether a store of this generation goes back to a claim. O(log generations).
    fn hold(&self, generation: u64, claim: &ClaimNumber) -> bool {
        if claim.generation < self.since || claim.generation == generation {
            return true;
        }
        let ended = &self.ended;
        let found = ended.binary_search_by_key(&claim.generation, |ended| ended.generation);
        found.is_ok_and(|at| claim.batch <= ended[at].batch)
    }
}

impl Cluster {
    /// Lets each batch name this generation, since claims may leave this node from now on.
    pub(crate) fn number_batches(&self, env: &mut Env<'_>) {
        env.fx.number_batches(self.identity.generation);
    }

    /// This generation ends with the batch of this turn.
    pub(crate) fn end_generation(&mut self, env: &mut Env<'_>) {
        self.boots.end(ClaimNumber {
            generation: self.identity.generation,
            batch: env.fx.open_seq().0,
        });
        env.fx.store(record::boots(&self.boots));
    }

    /// This node has all that it ever claimed, as far as anything was freed on it.
    pub(crate) fn hold_all_before(&mut self, env: &mut Env<'_>) {
        self.boots = Boots {
            since: self.identity.generation,
            ended: Vec::new(),
        };
        env.fx.store(record::boots(&self.boots));
    }

    /// A peer has freed deletes on these claims of this node, or has its coverage from one that did. A full member answers for them, or finds that its
    /// store is an older copy.
    pub(crate) fn answer_for(
        &mut self,
        env: &mut Env<'_>,
        (link, by): (LinkId, NodeId),
        mut claims: Vec<ClaimNumber>,
    ) {
        let generation = self.identity.generation;
        // An honest peer tells earlier ones, and not more than it keeps.
        claims.retain(|claim| claim.generation < generation);
        claims.truncate(KEPT);
        if claims.is_empty() || !self.is_full() || self.leaving.is_some() {
            return;
        }
        let mut lacking = claims.iter();
        let lacking = lacking.rfind(|claim| !self.boots.hold(generation, claim));
        if let Some(lacking) = lacking.filter(|_| env.fx.rules().notices_older_copies()) {
            return self.is_older_copy(env, by, *lacking);
        }
        let msg = Message::Cluster(ClusterMessage::Holds(claims));
        let gate = env.fx.first_gate();
        env.fx
            .send_after(gate, Links::One(link), Lane::Control, msg);
    }

    /// The store is an older copy of what this node once had: others have freed deletes that are not here.
    fn is_older_copy(&mut self, env: &mut Env<'_>, by: NodeId, lacking: ClaimNumber) {
        env.fx.mark(Mark::OlderCopy);
        env.fx.event(Event::OlderCopy { by });
        let since = env.modes.gossip.clock();
        let active = self.membership.others_ids();
        self.begin_rejoining(env, since, active);
        self.look_for_members(env);
        self.begin_generation(env, lacking.generation);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(generation: u64, batch: u64) -> ClaimNumber {
        ClaimNumber { generation, batch }
    }

    #[test]
    fn a_store_goes_back_to_what_it_has_and_to_nothing_else() {
        let mut boots = Boots {
            since: 10,
            ended: Vec::new(),
        };
        for last in [number(8, 9), number(11, 4), number(15, 2)] {
            boots.end(last);
        }
        assert_eq!(boots.ended, [number(11, 4), number(15, 2)]);
        let holds = |generation, batch| boots.hold(20, &number(generation, batch));
        assert!(holds(9, 99), "before it had everything");
        assert!(holds(11, 4) && !holds(11, 5));
        assert!(holds(15, 1) && !holds(15, 3));
        assert!(
            !holds(10, 1) && !holds(12, 1),
            "generations of another copy"
        );
        assert!(holds(20, 99) && !holds(21, 1), "its own, and a later one");
    }

    #[test]
    fn a_generation_that_was_begun_again_takes_the_place_of_what_came_after_it() {
        let mut boots = Boots::default();
        for last in [number(3, 1), number(5, 1), number(4, 7)] {
            boots.end(last);
        }
        assert_eq!(boots.ended, [number(3, 1), number(4, 7)]);
    }

    #[test]
    fn generations_that_are_remembered_are_bounded() {
        let mut boots = Boots::default();
        for generation in 1..=2_000 {
            boots.end(number(generation, 1));
        }
        assert_eq!(boots.ended.len(), REMEMBERED);
        assert!(boots.hold(3_000, &number(2_000, 1)));
        let oldest = 2_001 - REMEMBERED as u64;
        assert!(!boots.hold(3_000, &number(oldest, 2)));
        assert!(
            boots.hold(3_000, &number(oldest - 1, 2)),
            "a node that has started often since is no older copy"
        );
    }
}
