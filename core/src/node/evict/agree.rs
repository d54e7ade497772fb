//! Agreeing: whether a member that asks may end another's life, and for how long that binds this node.

use alloc::collections::BTreeSet;

use super::super::Node;
use crate::id::{LinkId, NodeId};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::store::record::{self, Agreement};
use crate::table::RowClass;
use crate::wire::{ClusterMessage, Message};

impl Node {
    /// A member asks whether it may end another's life.
    pub(in crate::node) fn asked_to_evict(
        &mut self,
        link: LinkId,
        (by, by_epoch): (NodeId, u64),
        round: u64,
        (node, epoch): (NodeId, u64),
        force: bool,
    ) {
        self.release_departed();
        let agrees = self.may_agree(link, (by, by_epoch), (node, epoch), force);
        let mark = match agrees {
            true => Mark::EvictionAgreed,
            false => Mark::EvictionRefused,
        };
        self.fx.mark(mark);
        if agrees {
            self.evictions
                .agreed
                .retain(|known| (known.by, known.node) != (by, node));
            self.evictions.agreed.push(Agreement { by, node, epoch });
            self.store_agreed();
            self.fx.sync_this_turn();
        }
        let gate = match agrees {
            true => self.fx.open_seq(),
            false => self.fx.durable(),
        };
        let answer = Message::Cluster(ClusterMessage::EvictVote { round, agrees });
        self.fx
            .send_after(gate, Links::One(link), Lane::Control, answer);
    }

    fn may_agree(
        &self,
        link: LinkId,
        (by, by_epoch): (NodeId, u64),
        (node, epoch): (NodeId, u64),
        force: bool,
    ) -> bool {
        let member = self.membership.present(node);
        let is_member = member.is_some_and(|member| member.record.epoch == epoch);
        // Two nodes may want to end each other: only one may.
        let ends_asker = self.evictions.attempts.contains_key(&by)
            || self
                .evictions
                .agreed
                .iter()
                .any(|agreed| agreed.node == by && agreed.epoch >= by_epoch);
        let down = force || !self.answers(node);
        let serves = self.is_full() && self.leaving.is_none();
        self.links.is_ready(link)
            && serves
            && is_member
            && down
            && (!ends_asker || mutated!(self.fx, AgreesTwice))
    }

    fn store_agreed(&mut self) {
        self.fx.store(record::agreed(&self.evictions.agreed));
    }

    pub(in crate::node) fn evict_withdrawn(&mut self, by: NodeId, node: NodeId) {
        self.release_agreements(|agreed| (agreed.by, agreed.node) == (by, node));
    }

    /// A greeting says what its sender has evicted: what it had asked before it will not do any more.
    pub(in crate::node) fn void_agreements(&mut self, by: NodeId) {
        self.release_agreements(|agreed| agreed.by == by);
    }

    /// An asker that is no member any more asks for nothing. One that left may have evicted before it went: it is waited for until
    /// all that it wrote into the store's own tables is here. One that was evicted itself could be waited for in vain.
    pub(in crate::node) fn release_departed(&mut self) {
        if self.evictions.agreed.is_empty() {
            return;
        }
        let (membership, cover) = (&self.membership, self.gossip.replica().cover());
        let has_all = |by: NodeId| {
            membership.departure(by).is_some_and(|(_, departure)| {
                let mut left = departure.contexts.iter();
                left.all(|(class, context)| {
                    *class != RowClass::Sys || cover.includes(*class, context)
                })
            })
        };
        let agreed = self.evictions.agreed.iter().map(|agreed| agreed.by);
        let gone: BTreeSet<NodeId> = agreed.filter(|by| has_all(*by)).collect();
        self.release_agreements(|agreed| gone.contains(&agreed.by));
    }

    pub(super) fn release_agreements(&mut self, ended: impl Fn(&Agreement) -> bool) {
        let before = self.evictions.agreed.len();
        self.evictions.agreed.retain(|agreed| !ended(agreed));
        if self.evictions.agreed.len() != before {
            self.store_agreed();
        }
    }
}
