//! Stopping: a member goes for a while and stays a member. It takes no more writes of clients, pushes what it has accepted, waits until its last
//! batch is durable, and says goodbye, so that no peer has to find out. Members count it as down, and wait for it as for any that is down.

use alloc::vec::Vec;

use super::{Cluster, Env};
use crate::cluster::membership::LinkPhase;
use crate::cluster::messages::Sender;
use crate::id::{LinkId, Seq, Token};
use crate::io::{HangupReason, Lane, Response};
use crate::wire::{ClusterMessage, Message};

/// A stop under way.
pub(crate) struct Stopping {
    tokens: Vec<Token>,
    /// The batch that has to be durable: that of the turn in which the stop began.
    batch: Seq,
}

impl Cluster {
    /// Begins a stop. The batch of this turn is synced, and the rows that wait to be pushed go out at the end of it.
    pub(crate) fn stop(&mut self, env: &mut Env<'_>, token: Token) {
        if let Some(stopping) = &mut self.stopping {
            return stopping.tokens.push(token);
        }
        env.fx.sync_this_turn();
        env.fx.touch();
        self.stopping = Some(Stopping {
            tokens: alloc::vec![token],
            batch: env.fx.open_seq(),
        });
    }

    /// Returns whether this node stops, or has stopped.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.is_some()
    }

    /// Ends a stop whose batch is durable: says goodbye on each link, and answers. Returns the last durable batch: then the node halts.
    pub(crate) fn stop_due(&mut self, env: &mut Env<'_>) -> Option<Seq> {
        let stopping = self.stopping.as_mut()?;
        let durable = env.fx.durable();
        if durable < stopping.batch && env.fx.rules().stops_once_durable() {
            return None;
        }
        let tokens = core::mem::take(&mut stopping.tokens);
        let open =
            |(id, link): (LinkId, &super::Link)| (link.phase() != LinkPhase::Closing).then_some(id);
        let links: Vec<LinkId> = self.links.iter().filter_map(open).collect();
        for link in links {
            // In the lane of the last rows, so that it comes after them.
            env.fx
                .send(link, Lane::Bulk, Message::Cluster(ClusterMessage::Stop));
            self.hang_up(env, link, HangupReason::Stopped);
        }
        for token in tokens {
            env.answer(token, Ok(Response::Stopped(durable)));
        }
        Some(durable)
    }

    /// Takes a peer's word that it stops. It is down from now on, until it makes contact again; nothing else of it is forgotten, and deletes
    /// wait for it.
    pub(crate) fn on_stop(&mut self, env: &mut Env<'_>, from: Sender) {
        self.hang_up(env, from.link, HangupReason::Stopped);
        if env.fx.rules().believes_goodbyes() {
            let now = env.fx.now().mono;
            let actions = env.detector.stopped(now, from.node, from.generation);
            self.act(env, actions);
        }
    }
}
