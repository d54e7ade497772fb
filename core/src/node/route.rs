//! Messages go to the machine that they are for. A handler's error is a breach of the protocol, and ends the link.

use super::Node;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, HangupReason};
use crate::marks::Mark;
use crate::membership::LinkPhase;
use crate::refusals::Refusal;
use crate::wire::{ClusterMessage, DetectorMessage, Message, Rumor, Status};

/// The sender of a message.
#[derive(Clone, Copy)]
struct From {
    link: LinkId,
    node: NodeId,
    epoch: u64,
}

impl Node {
    /// Hands a message to its machine.
    pub(super) fn route(&mut self, link: LinkId, msg: Message) {
        let Some(known) = self.links.get(link) else {
            return;
        };
        let (node, epoch, phase) = (known.node, known.epoch, known.phase());
        let from = From { link, node, epoch };
        if !self.is_heard(from, phase, &msg) {
            return;
        }
        let done = match msg {
            Message::Cluster(msg) => self.on_cluster(from, msg),
            Message::Detector(msg) => self.on_detector(from, msg),
            Message::Gossip(msg) => self.on_gossip(link, node, msg),
        };
        if let Err(why) = done {
            self.fx.mark(Mark::ProtocolViolation);
            self.fx.refuse(why);
            let why = why.name();
            self.fx.event(Event::Protocol { node, why });
            self.hang_up(link, HangupReason::Protocol);
        }
    }

    /// Returns whether a message has a meaning in this phase of its link.
    fn is_heard(&mut self, from: From, phase: LinkPhase, msg: &Message) -> bool {
        let greets = matches!(msg, Message::Cluster(msg) if msg.greets());
        match phase {
            LinkPhase::Closing => false,
            _ if greets => true,
            LinkPhase::Greeting => false,
            // Messages of a life that was evicted count no more.
            LinkPhase::Away if self.membership.is_evicted(from.node, from.epoch) => {
                self.fx.refuse(Refusal::EvictedLife);
                false
            }
            LinkPhase::Away | LinkPhase::Ready => true,
        }
    }

    fn on_cluster(&mut self, from: From, msg: ClusterMessage) -> Result<(), Refusal> {
        let From { link, node, epoch } = from;
        match msg {
            ClusterMessage::Greeting(greeting) => self.welcomed(link, greeting)?,
            ClusterMessage::EvictionDigest(heard) => self.heard_evictions(link, &heard),
            ClusterMessage::Denial(why) => self.denied(link, node, why),
            ClusterMessage::Leave => self.hang_up(link, HangupReason::Left),
            ClusterMessage::Evict {
                round,
                node: other,
                epoch: life,
                force,
            } => self.asked_to_evict(link, (node, epoch), round, (other, life), force),
            ClusterMessage::EvictVote { round, agrees } => self.evict_answered(node, round, agrees),
            ClusterMessage::EvictCancel { node: other, .. } => self.evict_withdrawn(node, other),
            ClusterMessage::Handover {
                round,
                insists,
                held,
            } => self.handed_over(link, round, insists, &held)?,
            ClusterMessage::Takeover { round } => self.taken_over(node, round),
        }
        Ok(())
    }

    fn on_detector(&mut self, from: From, msg: DetectorMessage) -> Result<(), Refusal> {
        check_rumors(msg.rumors())?;
        let (now, node) = (self.fx.now().mono, from.node);
        let actions = match msg {
            DetectorMessage::Probe {
                nonce,
                status,
                rumors,
            } => {
                self.on_contact(from, &status);
                self.detector.on_probe(now, node, nonce, &rumors)
            }
            DetectorMessage::Ack {
                nonce,
                status,
                rumors,
            } => {
                self.rival_answers(from.link, node, nonce);
                self.on_contact(from, &status);
                self.detector.on_ack(now, node, nonce, &rumors)
            }
            DetectorMessage::IndirectProbe {
                nonce,
                target,
                rumors,
            } => self
                .detector
                .on_probe_for(now, node, target, nonce, &rumors),
            DetectorMessage::IndirectAck {
                nonce,
                alive,
                rumors,
            } => self
                .detector
                .on_probed_for(now, node, nonce, alive, &rumors),
        };
        self.act(actions);
        Ok(())
    }

    /// Takes in the direct contact that a probe or an ack is, and the peer's status.
    fn on_contact(&mut self, from: From, status: &Status) {
        let now = self.fx.now().mono;
        let actions = self.detector.direct(now, from.node, from.epoch);
        self.act(actions);
        self.heard_status(from.link, from.node, status);
    }
}

fn check_rumors(rumors: &[Rumor]) -> Result<(), Refusal> {
    const MAX: usize = 64;
    if rumors.len() > MAX {
        Err(Refusal::TooManyRumors)
    } else {
        Ok(())
    }
}
