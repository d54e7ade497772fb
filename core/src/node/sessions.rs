//! Verdicts of the gossip tables: where a message changes the node's place in its cluster.

use super::Node;
use crate::id::{LinkId, NodeId};
use crate::io::Event;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::gossip::{Paged, Rejoined};
use crate::wire::{GossipMessage, Status};

impl Node {
    /// Takes in the state that a peer told with a probe or an ack.
    pub(super) fn on_status(&mut self, link: LinkId, node: NodeId, theirs: &Status) {
        let (cluster, mut env) = self.cluster_door();
        cluster.on_status(&mut env, link, node, theirs);
        self.modes_door(|modes, env| modes.gossip.on_status(env, link, node, theirs));
    }

    /// Hands a message to the gossip tables, and does what the end of a session means for the node's place.
    ///
    /// # Errors
    /// The reason to refuse the message.
    pub(super) fn on_gossip(
        &mut self,
        link: LinkId,
        node: NodeId,
        msg: GossipMessage,
    ) -> Result<(), Refusal> {
        match self.modes_door(|modes, env| modes.gossip.on_message(env, (link, node), msg))? {
            Paged::Merged => {}
            Paged::Complete(done) => {
                self.after_input();
                if self.modes_door(|modes, env| modes.gossip.end_session(env, &done)) {
                    let (cluster, mut env) = self.cluster_door();
                    cluster.joined(&mut env, done.link, done.with);
                }
            }
            Paged::TooLow => {
                self.after_input();
                let now = self.fx.now().mono;
                self.modes.gossip.pull_at_once(now, link);
            }
            Paged::Behind => {
                let (cluster, mut env) = self.cluster_door();
                cluster.put_off_rejoin(&mut env, link);
            }
            Paged::Rejoined(rejoined) => self.rejoined(rejoined),
        }
        Ok(())
    }

    /// Ends a rejoin: this node is a full member from now on.
    pub(super) fn rejoined(&mut self, done: Rejoined) {
        let Rejoined {
            link,
            with,
            dropped,
            proposed,
        } = done;
        self.take_sys_changes();
        self.fx.mark(Mark::Rejoined);
        self.fx.event(Event::Rejoined {
            with,
            dropped,
            proposed,
        });
        let (cluster, mut env) = self.cluster_door();
        cluster.joined(&mut env, link, with);
    }
}
