//! The claims on which deletes were freed, by their numbers: what tells an older copy of a store from the store itself.
//!
//! A delete is gone for good once every member has claimed it, so a member whose disk has gone back to before its claim would bring back the row.
//! Such a claim therefore leaves its number, in the batch that removes the deletes. Whenever the claimant comes in a later generation it is
//! told the number, and finds out whether its store goes back to it. A node that enters the cluster takes the numbers over
//! with the coverage: it covers the same deletes, and has never had them.
//!
//! A number stays until its node has said that its store goes back to it and a claim of that very generation has taken its place.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::record;
use crate::effects::Effects;
use crate::id::NodeId;
use crate::marks::Mark;
use crate::wire::ClaimNumber;

/// The numbers that are kept of one node: as many generations as it may have had since it last answered for them.
pub(crate) const KEPT: usize = 16;

/// The numbers of one node.
#[derive(Default)]
struct Numbers {
    /// The largest of each generation, ascending.
    claims: Vec<ClaimNumber>,
    /// The generation in which the node has said that its store goes back to all of the earlier ones.
    held_in: u64,
}

/// The claims of other nodes on which deletes were freed, here or where this node has its coverage from. O(nodes that there ever were).
#[derive(Default)]
pub(crate) struct FreedOn(BTreeMap<NodeId, Numbers>);

impl FreedOn {
    /// Takes in what a store held.
    pub(crate) fn restore(&mut self, node: NodeId, claims: Vec<ClaimNumber>) {
        let held_in = 0;
        self.0.insert(node, Numbers { claims, held_in });
    }

    /// Deletes are freed in this turn on a claim of this number. One without a number is of a node without storage, which never comes back.
    pub(crate) fn note(&mut self, fx: &mut Effects, node: NodeId, number: ClaimNumber) {
        if number.batch == 0 || !fx.rules().keeps_claim_numbers() {
            return;
        }
        let known = self.0.entry(node).or_default();
        let replaces = known.held_in == number.generation || !fx.rules().keeps_unheld_numbers();
        if replaces {
            known.claims.retain(|claim| *claim >= number);
        }
        if known.insert(number) {
            fx.store(record::freed_on(node, &known.claims));
        }
    }

    /// Takes over the numbers of the member through which this node enters the cluster.
    pub(crate) fn take_over(
        &mut self,
        fx: &mut Effects,
        me: NodeId,
        theirs: &[(NodeId, ClaimNumber)],
    ) {
        for (node, number) in theirs.iter().filter(|(node, _)| *node != me) {
            let known = self.0.entry(*node).or_default();
            if known.insert(*number) {
                fx.mark(Mark::ClaimNumberTakenOver);
                // The node has not answered for this one.
                known.held_in = 0;
                fx.store(record::freed_on(*node, &known.claims));
            }
        }
    }

    /// Returns all numbers, for a node that enters the cluster.
    pub(crate) fn all(&self) -> Vec<(NodeId, ClaimNumber)> {
        let of = |(node, known): (&NodeId, &Numbers)| {
            let node = *node;
            let claims = known.claims.iter();
            claims.map(move |claim| (node, *claim)).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of).collect()
    }

    /// Returns the numbers that a node has to answer for in this generation: none, once it has.
    pub(crate) fn to_tell(&self, node: NodeId, generation: u64) -> Vec<ClaimNumber> {
        let known = self.0.get(&node);
        let Some(known) = known.filter(|known| known.held_in != generation) else {
            return Vec::new();
        };
        let earlier = known.claims.iter();
        let earlier = earlier.filter(|claim| claim.generation < generation);
        earlier.copied().collect()
    }

    /// The node says, in this generation, that its store goes back to these claims.
    pub(crate) fn held(&mut self, node: NodeId, generation: u64, held: &[ClaimNumber]) {
        if let Some(known) = self.0.get_mut(&node) {
            let mut earlier = known.claims.iter();
            let mut earlier = earlier
                .by_ref()
                .filter(|claim| claim.generation < generation);
            if earlier.all(|claim| held.contains(claim)) {
                known.held_in = generation;
            }
        }
    }
}

impl Numbers {
    /// Adds a number, unless one as large of its generation is known; returns whether it was new.
    fn insert(&mut self, number: ClaimNumber) -> bool {
        let place = |claim: &ClaimNumber| claim.generation;
        match self.claims.binary_search_by_key(&number.generation, place) {
            Ok(at) if self.claims[at] >= number => return false,
            Ok(at) => self.claims[at] = number,
            Err(at) => self.claims.insert(at, number),
        }
        if self.claims.len() > KEPT {
            self.claims.remove(0);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Storage;
    use crate::rules::Rules;

    const NODE: NodeId = NodeId(2);

    fn number(generation: u64, batch: u64) -> ClaimNumber {
        ClaimNumber { generation, batch }
    }

    fn noted(numbers: &[ClaimNumber]) -> (FreedOn, Effects) {
        noted_by(Rules::default(), numbers)
    }

    fn noted_by(rules: Rules, numbers: &[ClaimNumber]) -> (FreedOn, Effects) {
        let mut fx = Effects::new(Storage::Ordered, rules);
        let mut freed_on = FreedOn::default();
        for number in numbers {
            freed_on.note(&mut fx, NODE, *number);
        }
        (freed_on, fx)
    }

    #[cfg(feature = "mutants")]
    #[test]
    fn without_the_rule_a_number_is_lost_before_it_is_answered_for() {
        let rules = Rules::without(crate::mutants::Mutant::NumberReplacedEarly);
        let (freed_on, _) = noted_by(rules, &[number(5, 3), number(7, 1)]);
        assert_eq!(freed_on.to_tell(NODE, 9), [number(7, 1)]);
    }

    #[test]
    fn the_largest_number_of_each_generation_is_told_to_a_later_one() {
        let (freed_on, _) = noted(&[number(5, 3), number(5, 2), number(7, 1)]);
        assert_eq!(freed_on.to_tell(NODE, 9), [number(5, 3), number(7, 1)]);
        assert_eq!(freed_on.to_tell(NODE, 7), [number(5, 3)]);
        assert_eq!(freed_on.to_tell(NODE, 5), []);
        assert_eq!(freed_on.to_tell(NodeId(3), 9), []);
    }

    #[test]
    fn a_number_is_replaced_only_in_the_generation_that_has_answered_for_it() {
        let (mut freed_on, mut fx) = noted(&[number(5, 3)]);
        freed_on.held(NODE, 7, &[number(5, 2)]);
        assert_eq!(freed_on.to_tell(NODE, 7), [number(5, 3)], "not this one");
        freed_on.held(NODE, 7, &[number(5, 3)]);
        assert_eq!(freed_on.to_tell(NODE, 7), []);
        assert_eq!(freed_on.to_tell(NODE, 8), [number(5, 3)], "once for each");
        freed_on.note(&mut fx, NODE, number(8, 1));
        assert_eq!(freed_on.to_tell(NODE, 9), [number(5, 3), number(8, 1)]);
        freed_on.held(NODE, 9, &[number(5, 3), number(8, 1)]);
        freed_on.note(&mut fx, NODE, number(9, 4));
        assert_eq!(freed_on.to_tell(NODE, 10), [number(9, 4)]);
    }

    #[test]
    fn what_is_taken_over_has_to_be_answered_for_and_nothing_is_taken_over_about_oneself() {
        let (mut freed_on, mut fx) = noted(&[number(5, 3)]);
        freed_on.held(NODE, 7, &[number(5, 3)]);
        let theirs = [(NODE, number(4, 9)), (NodeId(1), number(1, 1))];
        freed_on.take_over(&mut fx, NodeId(1), &theirs);
        assert_eq!(freed_on.to_tell(NODE, 7), [number(4, 9), number(5, 3)]);
        assert_eq!(freed_on.all(), [(NODE, number(4, 9)), (NODE, number(5, 3))]);
    }

    #[test]
    fn a_claim_without_a_number_leaves_none_and_the_oldest_go_first() {
        let (freed_on, _) = noted(&[number(5, 0)]);
        assert_eq!(freed_on.all(), []);
        let many: Vec<ClaimNumber> = (1..40).map(|generation| number(generation, 1)).collect();
        let (freed_on, _) = noted(&many);
        assert_eq!(freed_on.all().len(), KEPT);
        assert_eq!(freed_on.to_tell(NODE, 99)[0], number(24, 1));
    }
}
