//! Verdicts of the gossip tables: where a session, a status or a page changes the node's place in its cluster.

use super::Node;
use crate::id::{LinkId, NodeId};
use crate::membership::{Link, LinkPhase};
use crate::refusals::Refusal;
use crate::table::gossip::Paged;
use crate::wire::{GossipMessage, Phase, RowBatch, Status};

impl Node {
    /// Returns this node's state in short.
    pub(super) fn own_status(&mut self) -> Status {
        let (gossip, env) = self.gossip_door();
        gossip.own_status(&env.look())
    }

    /// Tells a peer this node's state outside the detector's rounds.
    pub(super) fn send_status(&mut self, link: LinkId) {
        let (gossip, mut env) = self.gossip_door();
        gossip.send_status(&mut env, link);
    }

    /// Collects fresh writes for others, or stops doing so, by the node's place and its links.
    pub(super) fn set_outbox(&mut self) {
        let (gossip, mut env) = self.gossip_door();
        gossip.set_outbox(&mut env);
    }

    /// Takes in the state that a peer told with a probe or an ack.
    pub(super) fn heard_status(&mut self, link: LinkId, node: NodeId, theirs: &Status) {
        let now = self.fx.now();
        self.clocks.hear(now, node, theirs.wall_ms);
        self.skews.hear(now, node, theirs.wall_ms);
        if theirs.claims && self.is_full() {
            self.peer_is_full(link);
        }
        let (gossip, mut env) = self.gossip_door();
        gossip.heard_status(&mut env, link, node, theirs);
    }

    /// A peer that claims is a full member, though its greeting that said so may have been lost.
    fn peer_is_full(&mut self, link: LinkId) {
        let is_away = |known: &Link| known.phase() == LinkPhase::Away;
        if !self.links.get(link).is_some_and(is_away) {
            return;
        }
        self.links.enter(link, LinkPhase::Ready);
        if let Some(known) = self.links.get_mut(link) {
            if let Some(theirs) = &mut known.theirs {
                theirs.phase = Phase::Member;
            }
            self.set_outbox();
        }
    }

    /// Merges rows of a greeting, which take effect at once.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn merge_sys(&mut self, batch: RowBatch) -> Result<(), Refusal> {
        let (gossip, mut env) = self.gossip_door();
        gossip.merge_sys(&mut env, batch)?;
        self.after_input();
        Ok(())
    }

    /// Hands a message to the gossip tables, and does what the end of a session means for the node's place.
    ///
    /// # Errors
    /// What is wrong with the message.
    pub(super) fn on_gossip(
        &mut self,
        link: LinkId,
        node: NodeId,
        msg: GossipMessage,
    ) -> Result<(), Refusal> {
        let (gossip, mut env) = self.gossip_door();
        match gossip.on_message(&mut env, (link, node), msg)? {
            Paged::Merged => {}
            Paged::Complete(done) => {
                self.after_input();
                let (gossip, mut env) = self.gossip_door();
                if gossip.end_session(&mut env, &done) {
                    self.joined(done.link, done.with);
                }
            }
            Paged::TooLow => {
                self.after_input();
                let now = self.fx.now().mono;
                self.gossip.pull_at_once(now, link);
            }
            Paged::Behind => self.put_off_reunion(link),
            Paged::Rejoined(rejoined) => self.rejoined(rejoined),
        }
        Ok(())
    }
}
