//! Messages of the cluster, from the members and from nodes that become members.

use super::{Cluster, Env, LinkPhase};
use crate::effects::Effects;
use crate::id::{LinkId, NodeId};
use crate::io::{Handover, HangupReason};
use crate::refusals::Refusal;
use crate::wire::{ClusterMessage, Message};

/// The sender of a message.
#[derive(Clone, Copy)]
pub(crate) struct Sender {
    pub(crate) link: LinkId,
    pub(crate) node: NodeId,
    pub(crate) generation: u64,
}

impl Cluster {
    /// Returns whether a message has a meaning in this phase of its link.
    pub(crate) fn hears(
        &self,
        fx: &mut Effects,
        from: Sender,
        phase: LinkPhase,
        msg: &Message,
    ) -> bool {
        let greets = matches!(msg, Message::Cluster(msg) if msg.greets());
        match phase {
            LinkPhase::Closing => false,
            _ if greets => true,
            LinkPhase::Greeting => false,
            // Messages of a generation that was evicted count no more.
            LinkPhase::Rejoining if self.membership.is_evicted(from.node, from.generation) => {
                fx.refuse(Refusal::EvictedGeneration);
                false
            }
            LinkPhase::Rejoining | LinkPhase::Ready => true,
        }
    }

    /// Takes in a message. Returns how far a leave has come that is over with it.
    ///
    /// # Errors
    /// The reason to refuse the message.
    pub(crate) fn on_message(
        &mut self,
        env: &mut Env<'_>,
        from: Sender,
        msg: ClusterMessage,
    ) -> Result<Option<Handover>, Refusal> {
        let Sender {
            link,
            node,
            generation,
        } = from;
        match msg {
            ClusterMessage::Greeting(greeting) => self.on_greeting(env, link, greeting)?,
            ClusterMessage::EvictionDigest(heard) => self.on_eviction_digest(env, link, &heard),
            ClusterMessage::Denial(why) => self.on_denial(env, link, node, why),
            ClusterMessage::Leave => self.hang_up(env, link, HangupReason::Left),
            ClusterMessage::Stop => self.on_stop(env, from),
            ClusterMessage::Evict {
                round,
                node: other,
                generation: ended,
                force,
            } => self.on_evict(env, link, (node, generation), round, (other, ended), force),
            ClusterMessage::EvictVote { round, agrees } => {
                self.on_evict_vote(env, node, round, agrees);
            }
            ClusterMessage::EvictCancel { node: other, .. } => {
                self.on_evict_cancel(env, node, other);
            }
            ClusterMessage::Handover {
                round,
                insists,
                held,
            } => self.on_handover(env, link, round, insists, &held)?,
            ClusterMessage::Holds(claims) => {
                let numbers = env.modes.gossip.freed_on_mut();
                numbers.held(node, generation, &claims);
            }
            ClusterMessage::Takeover { round } => return Ok(self.on_takeover(env, node, round)),
        }
        Ok(None)
    }

    /// Takes in the direct contact that a probe or an ack is.
    pub(crate) fn on_contact(&mut self, env: &mut Env<'_>, from: Sender) {
        let now = env.fx.now().mono;
        let actions = env.detector.direct(now, from.node, from.generation);
        self.act(env, actions);
    }
}
