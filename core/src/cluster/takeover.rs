//! The other side of a leave: a member is asked whether it durably holds what a leaver covers, and answers once it does.

use super::{Cluster, Env};
use crate::id::{LinkId, Seq};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::gossip::read_contexts;
use crate::wire::{ClassContext, ClusterMessage, Message};

impl Cluster {
    /// Answers a leaver's question, once what it names is durable here. Nothing is kept of a question that cannot be answered: the leaver asks
    /// again. O(actors).
    pub(crate) fn on_handover(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        round: u64,
        insists: bool,
        held: &[ClassContext],
    ) -> Result<(), Refusal> {
        let held = read_contexts(held)?;
        // A node that is about to go takes nothing over: two that leave at once would hand over to each other.
        if !self.is_full() || self.leaving.is_some() || !self.links.is_ready(link) {
            return Ok(());
        }
        if !env.modes.gossip.has_seen(&held) {
            let now = env.fx.now().mono;
            env.modes.gossip.note_agreement(now, link, false);
            if insists {
                env.fx.mark(Mark::TakeoverLacks);
                env.modes.gossip.expedite(now, link);
            }
            return Ok(());
        }
        let durable = env.modes.gossip.holds_durably(&held);
        let gate = match env.fx.rules().syncs_takeovers() && !durable {
            // All dots seen by now are durable with this turn's batch.
            true => {
                env.fx.sync_this_turn();
                env.fx.open_seq()
            }
            false => Seq(0),
        };
        let answer = Message::Cluster(ClusterMessage::Takeover { round });
        let links = Links::One(link);
        env.fx.send_after(gate, links, Lane::Control, answer);
        Ok(())
    }
}
