//! One id, two nodes at once, as when a copy of a disk is started beside the original: the second is refused for as long as the first
//! answers.
//!
//! A member that merely restarted looks the same when its old link has not broken yet, so the old link is asked. Its
//! answer refuses the newcomer, with the reason for both operators; its silence for a probe interval lets the newcomer in.

use alloc::string::ToString;
use alloc::vec::Vec;

use core::time::Duration;

use super::{Cluster, Env, SeedState};
use crate::cluster::membership::LinkPhase;
use crate::error::RequestError;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, HangupReason, Lane};
use crate::link::Hello;
use crate::marks::Mark;
use crate::time::Instant;
use crate::wire::{ClusterMessage, Denial, DetectorMessage, Message};

/// A question to the holder of an id that another node claims.
pub(crate) struct IdConflict {
    /// The holder's link.
    link: LinkId,
    nonce: u64,
    asked: Instant,
    answered: bool,
}

/// How long an answer proves that the older generation is there: longer than a refused newcomer takes to try again.
const ANSWER_HOLDS: Duration = Duration::from_secs(30);

impl Cluster {
    /// Why a newer generation of a member is not let in now: the older one may still answer. The newcomer tries again.
    pub(crate) fn id_conflict(
        &mut self,
        env: &mut Env<'_>,
        newcomer: LinkId,
        hello: &Hello,
    ) -> Option<HangupReason> {
        let node = hello.actor.node;
        let link = self.links.of(node)?;
        let known = self.links.get(link)?;
        let carries = matches!(known.phase(), LinkPhase::Ready | LinkPhase::Rejoining);
        let same_boot = self
            .membership
            .get(node)
            .is_some_and(|member| member.record.actor.boot == hello.actor.boot);
        // A node that was evicted begins a new generation without a restart.
        if !carries || known.generation >= hello.generation || same_boot {
            self.id_conflicts.remove(&node);
            return None;
        }
        let now = env.fx.now().mono;
        let patience = env.config.timing.probe_interval;
        let before = self
            .id_conflicts
            .get(&node)
            .filter(|conflict| conflict.link == link);
        let why = match before {
            // An answer of long ago says nothing about now.
            Some(conflict) if conflict.answered && now.since(conflict.asked) < ANSWER_HOLDS => {
                HangupReason::IdInUse
            }
            Some(conflict) if conflict.answered => HangupReason::Retry,
            Some(conflict) if now.since(conflict.asked) >= patience => {
                self.id_conflicts.remove(&node);
                return None;
            }
            Some(_) => return Some(HangupReason::Retry),
            None => HangupReason::Retry,
        };
        // No number of the detector's: those are counted up from a random one.
        let nonce = !newcomer.0;
        let conflict = IdConflict {
            link,
            nonce,
            asked: now,
            answered: false,
        };
        self.id_conflicts.insert(node, conflict);
        let status = self.own_status(env);
        let rumors = Vec::new();
        let question = Message::Detector(DetectorMessage::Probe {
            nonce,
            status,
            rumors,
        });
        env.fx.send(link, Lane::Control, question);
        Some(why)
    }

    /// An answer to a probe has come over a link.
    pub(crate) fn id_conflict_answered(&mut self, link: LinkId, node: NodeId, nonce: u64) {
        if let Some(conflict) = self.id_conflicts.get_mut(&node)
            && (conflict.link, conflict.nonce) == (link, nonce)
        {
            conflict.answered = true;
        }
    }

    /// The link over which an older generation was asked is gone.
    pub(crate) fn id_conflict_gone(&mut self, link: LinkId, node: Option<NodeId>) {
        if let Some(node) = node
            && self
                .id_conflicts
                .get(&node)
                .is_some_and(|conflict| conflict.link == link)
        {
            self.id_conflicts.remove(&node);
        }
    }

    /// Refuses a peer, says why to both operators, and closes the link.
    pub(crate) fn deny(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        node: NodeId,
        why: HangupReason,
    ) {
        if let Some(denial) = denial(why) {
            env.fx.mark(Mark::PeerDenied);
            env.fx.event(Event::Refused { node, why });
            env.fx.send(
                link,
                Lane::Control,
                Message::Cluster(ClusterMessage::Denial(denial)),
            );
        }
        env.fx.hangup(link, why);
    }

    /// The peer refuses this node, and says why.
    pub(crate) fn on_denial(&mut self, env: &mut Env<'_>, link: LinkId, by: NodeId, why: Denial) {
        env.fx.event(Event::Denied { by, why });
        self.seed_behind(env, link, SeedState::Denied(why));
        for (token, _) in self.joins.joined(by) {
            env.answer(token, Err(RequestError::Join(why.text().to_string())));
        }
        self.hang_up(env, link, HangupReason::Retry);
        let now = env.fx.now().mono;
        self.links.put_off(now, by);
    }

    /// Takes the news of a generation of this node's own id.
    pub(crate) fn own_row_changed(&mut self, env: &mut Env<'_>, generation: u64) {
        if generation > self.identity.generation {
            let (node, why) = (self.id(), HangupReason::IdInUse);
            env.fx.event(Event::Refused { node, why });
        }
    }
}

/// Returns the message to a refused peer, if there is one: not for reasons that it will find out by trying again.
fn denial(why: HangupReason) -> Option<Denial> {
    match why {
        HangupReason::IdInUse => Some(Denial::IdInUse),
        HangupReason::Sealed => Some(Denial::Sealed),
        HangupReason::TooMany => Some(Denial::TooMany),
        HangupReason::Left => Some(Denial::Leaving),
        _ => None,
    }
}
