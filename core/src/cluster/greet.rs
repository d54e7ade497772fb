//! Greetings: what two nodes tell each other before anything else passes between them.
//!
//! The evictions that a cluster has ever seen only grow in number, so a greeting has the sum of their hashes. Where the sums of two
//! nodes differ each names what it has heard of, greets again with what the other lacks, and counts only that greeting.

use alloc::vec::Vec;

use super::{Cluster, Env};
use crate::cluster::membership::{GreetingFacts, LinkPhase, departure_key, member_key};
use crate::id::{LinkId, NodeId};
use crate::io::{HangupReason, Lane, Links};
use crate::marks::Mark;
use crate::table::sys;
use crate::wire::{ClusterMessage, Greeting, Message, RowBatch};

impl Cluster {
    /// Returns the rows that two nodes record of each other before other rows pass between them: this node's own row, the rows it knows of
    /// the peer, and the evictions that the peer has not heard of, since a node that an eviction does not name has to rejoin before its
    /// rows count.
    fn greeting_rows(
        &self,
        env: &Env<'_>,
        peer: Option<NodeId>,
        heard: Option<&[u64]>,
    ) -> RowBatch {
        let mut keys = Vec::new();
        for node in [Some(self.id()), peer].into_iter().flatten() {
            keys.push((sys::MEMBERS, member_key(node)));
            if let Some(generation) = self.membership.departed_generation(node) {
                keys.push((sys::DEPARTED, departure_key(node, generation)));
            }
        }
        let unheard = heard.map(|heard| self.membership.evictions_unheard(heard));
        let unheard = unheard.into_iter().flatten();
        keys.extend(unheard.map(|key| (sys::DEPARTED, key)));
        env.modes.gossip.greeting_rows(&env.shared.catalog, &keys)
    }

    /// Sends this node's greeting over a link, first or again.
    pub(crate) fn greet(&mut self, env: &mut Env<'_>, link: LinkId) {
        self.greet_knowing(env, link, None);
    }

    /// The peer lacks some evictions, and says which it has heard of.
    pub(crate) fn on_eviction_digest(&mut self, env: &mut Env<'_>, link: LinkId, heard: &[u64]) {
        self.greet_knowing(env, link, Some(heard));
    }

    fn greet_knowing(&mut self, env: &mut Env<'_>, link: LinkId, heard: Option<&[u64]>) {
        self.number_batches(env);
        let known = self.links.get(link);
        let peer = known.map(|known| known.node);
        let freed_on = known.map(|known| {
            let numbers = env.modes.gossip.freed_on();
            numbers.to_tell(known.node, known.generation)
        });
        let greeting = Greeting {
            cluster: self.record.id,
            has_fellows: self.has_fellows(),
            founds: self.founds(env),
            phase: self.phase(),
            evictions: self.membership.evictions_sum(),
            whole: heard.is_some(),
            rows: self.greeting_rows(env, peer, heard),
            freed_on: freed_on.unwrap_or_default(),
            status: self.own_status(env),
        };
        // The first batch makes this boot durable: no dot of it leaves the node before.
        let gate = env.fx.first_gate();
        let knows_peer = peer.is_some_and(|peer| {
            let row = env.modes.gossip.sys_row(sys::MEMBERS, &member_key(peer));
            row.is_some()
        });
        if let Some(known) = self.links.get_mut(link) {
            known.sent = Some(GreetingFacts::new(&greeting, knows_peer));
            let greeting = Message::Cluster(ClusterMessage::Greeting(greeting));
            env.fx
                .send_after(gate, Links::One(link), Lane::Control, greeting);
        }
    }

    /// Whether the peer has heard of other evictions, and its greeting does not tell of all that are missing here. Of their first
    /// greetings both find the same.
    pub(crate) fn has_unheard_evictions(&self, link: LinkId, theirs: &Greeting) -> bool {
        let Some(known) = self.links.get(link) else {
            return false;
        };
        let ours = match (known.phase(), &known.sent) {
            (LinkPhase::Greeting, Some(sent)) => sent.evictions,
            _ => self.membership.evictions_sum(),
        };
        !theirs.whole && theirs.evictions != ours
    }

    /// The peer's greeting does not count until it has come with the evictions that are missing here.
    pub(crate) fn ask_for_evictions(&mut self, env: &mut Env<'_>, link: LinkId) {
        env.fx.mark(Mark::EvictionsAsked);
        let heard = self.membership.evictions_heard();
        let (links, gate) = (Links::One(link), env.fx.first_gate());
        env.fx.send_after(
            gate,
            links,
            Lane::Control,
            Message::Cluster(ClusterMessage::EvictionDigest(heard)),
        );
    }

    /// The peers' verdicts rest on a greeting that is no longer true.
    pub(crate) fn greet_again(&mut self, env: &mut Env<'_>) {
        let links: Vec<LinkId> = self.links.iter().map(|(id, _)| id).collect();
        for link in links {
            let Some(known) = self.links.get(link) else {
                continue;
            };
            let phase = known.phase();
            let sent_cluster = known.sent.as_ref().map(|sent| sent.cluster);
            match phase {
                LinkPhase::Closing => {}
                LinkPhase::Greeting if sent_cluster != Some(self.record.id) => {
                    self.hang_up(env, link, HangupReason::Retry);
                }
                LinkPhase::Greeting => {}
                _ => {
                    self.greet(env, link);
                    self.reconsider(env, link);
                }
            }
        }
    }
}
