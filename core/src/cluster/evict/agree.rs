//! Agreeing: whether a member that asks may end another's generation, and for how long that binds this node.

use alloc::collections::BTreeSet;

use crate::cluster::{Cluster, Env};
use crate::id::{LinkId, NodeId};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::store::record::{self, Agreement};
use crate::table::RowClass;
use crate::wire::{ClusterMessage, Message};

impl Cluster {
    /// A member asks whether it may end another's generation.
    pub(crate) fn on_evict(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        (by, by_generation): (NodeId, u64),
        round: u64,
        (node, generation): (NodeId, u64),
        force: bool,
    ) {
        self.release_departed(env);
        let agrees = self.may_agree(env, link, (by, by_generation), (node, generation), force);
        let mark = match agrees {
            true => Mark::EvictionAgreed,
            false => Mark::EvictionRefused,
        };
        env.fx.mark(mark);
        if agrees {
            self.evictions
                .agreed
                .retain(|known| (known.by, known.node) != (by, node));
            self.evictions.agreed.push(Agreement {
                by,
                node,
                generation,
            });
            self.store_agreed(env);
            env.fx.sync_this_turn();
        }
        let gate = match agrees {
            true => env.fx.open_seq(),
            false => env.fx.durable(),
        };
        let answer = Message::Cluster(ClusterMessage::EvictVote { round, agrees });
        env.fx
            .send_after(gate, Links::One(link), Lane::Control, answer);
    }

    fn may_agree(
        &self,
        env: &Env<'_>,
        link: LinkId,
        (by, by_generation): (NodeId, u64),
        (node, generation): (NodeId, u64),
        force: bool,
    ) -> bool {
        let member = self.membership.present(node);
        let is_member = member.is_some_and(|member| member.record.generation == generation);
        // Two nodes may want to end each other: only one may.
        let ends_asker = self.evictions.attempts.contains_key(&by)
            || self
                .evictions
                .agreed
                .iter()
                .any(|agreed| agreed.node == by && agreed.generation >= by_generation);
        let down = force || !self.answers(env, node);
        let serves = self.is_full() && self.leaving.is_none();
        self.links.is_ready(link)
            && serves
            && is_member
            && down
            && !(env.fx.rules().agrees_once() && ends_asker)
    }

    fn store_agreed(&mut self, env: &mut Env<'_>) {
        env.fx.store(record::agreed(&self.evictions.agreed));
    }

    pub(crate) fn on_evict_cancel(&mut self, env: &mut Env<'_>, by: NodeId, node: NodeId) {
        self.release_agreements(env, |agreed| (agreed.by, agreed.node) == (by, node));
    }

    /// A greeting says what its sender has evicted: what it had asked before it will not do any more.
    pub(crate) fn void_agreements(&mut self, env: &mut Env<'_>, by: NodeId) {
        self.release_agreements(env, |agreed| agreed.by == by);
    }

    /// An asker that is no member any more asks for nothing. One that left may have evicted before it went: it is waited for until
    /// all that it wrote into the store's own tables is here. One that was evicted itself could be waited for in vain.
    pub(crate) fn release_departed(&mut self, env: &mut Env<'_>) {
        if self.evictions.agreed.is_empty() {
            return;
        }
        let (membership, gossip) = (&self.membership, &env.modes.gossip);
        let has_all = |by: NodeId| {
            membership.departure(by).is_some_and(|(_, departure)| {
                let left = departure.contexts.iter();
                gossip.has_seen(left.filter(|(class, _)| *class == RowClass::Sys))
            })
        };
        let agreed = self.evictions.agreed.iter().map(|agreed| agreed.by);
        let gone: BTreeSet<NodeId> = agreed.filter(|by| has_all(*by)).collect();
        self.release_agreements(env, |agreed| gone.contains(&agreed.by));
    }

    pub(crate) fn release_agreements(
        &mut self,
        env: &mut Env<'_>,
        ended: impl Fn(&Agreement) -> bool,
    ) {
        let before = self.evictions.agreed.len();
        self.evictions.agreed.retain(|agreed| !ended(agreed));
        if self.evictions.agreed.len() != before {
            self.store_agreed(env);
        }
    }
}
