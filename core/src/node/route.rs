//! Messages go to the machine that they are for. A handler's error is a breach of the protocol, and ends the link.

use super::Node;
use crate::cluster::Sender;
use crate::id::LinkId;
use crate::io::{Event, HaltReason, HangupReason};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::wire::{ClusterMessage, DetectorMessage, Message, Rumor};

impl Node {
    /// Hands a message to its machine.
    pub(super) fn route(&mut self, link: LinkId, msg: Message) {
        let Some(known) = self.cluster.links.get(link) else {
            return;
        };
        let (node, generation, phase) = (known.node, known.generation, known.phase());
        let from = Sender {
            link,
            node,
            generation,
        };
        if !self.cluster.hears(&mut self.fx, from, phase, &msg) {
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
            let (cluster, mut env) = self.cluster_door();
            cluster.hang_up(&mut env, link, HangupReason::Protocol);
        }
    }

    fn on_cluster(&mut self, from: Sender, msg: ClusterMessage) -> Result<(), Refusal> {
        let (cluster, mut env) = self.cluster_door();
        if let Some(handover) = cluster.on_message(&mut env, from, msg)? {
            self.halt(HaltReason::Left(handover));
        }
        Ok(())
    }

    fn on_detector(&mut self, from: Sender, msg: DetectorMessage) -> Result<(), Refusal> {
        check_rumors(msg.rumors())?;
        if let DetectorMessage::Ack { nonce, .. } = &msg {
            self.cluster
                .id_conflict_answered(from.link, from.node, *nonce);
        }
        if let Some(status) = msg.status() {
            let (cluster, mut env) = self.cluster_door();
            cluster.on_contact(&mut env, from);
            self.on_status(from.link, from.node, status);
        }
        let (now, node) = (self.fx.now().mono, from.node);
        let actions = self.detector.on_message(now, node, msg);
        let (cluster, mut env) = self.cluster_door();
        cluster.act(&mut env, actions);
        Ok(())
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
