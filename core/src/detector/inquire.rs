//! Asking the living about the dead.
//!
//! A death may be the belief of this node alone: there was no member to tell it to, or the refutation was lost. So in every period one of the dead
//! is asked for through one living member. A member that reaches it says so, and with which incarnation. If that does not refute the
//! belief, this node sends the accusation the same way: the accused hears it and refutes it.

use alloc::vec::Vec;

use super::{Action, Detector};
use crate::id::NodeId;
use crate::wire::{Rumor, RumorState};

/// The questions of one node. Constant size.
#[derive(Clone, Debug, Default)]
pub(super) struct Inquiries {
    /// The member that is asked in this round, about each of the dead.
    helper: Option<NodeId>,
    /// Questions that are left in this round.
    left: usize,
    /// The question that was sent last: its number, the dead member, the helper.
    asked: Option<(u64, NodeId, NodeId)>,
}

impl Detector {
    /// Asks a living member about `target`, which is taken for dead. Each of the living is asked about each of the dead in turn.
    pub(super) fn inquire(&mut self, target: NodeId, out: &mut Vec<Action>) {
        if !self.rules.asks_about_down() {
            return;
        }
        let last = self.inquiries.helper;
        if self.inquiries.left == 0 || !last.is_some_and(|last| self.alive.contains(last)) {
            // Members begin at different places, so that not all of them ask the same one.
            self.inquiries.helper = self.alive.after(last.unwrap_or(self.me));
            self.inquiries.left = self.down.len();
        }
        let Some(via) = self.inquiries.helper else {
            return;
        };
        self.inquiries.left = self.inquiries.left.saturating_sub(1);
        let nonce = self.next_nonce();
        self.inquiries.asked = Some((nonce, target, via));
        // Without the accusation: a member that has not heard from the target lately would take it for dead as well.
        let rumors = self.take_rumors(None);
        out.push(Action::IndirectProbe {
            via,
            target,
            nonce,
            rumors,
        });
    }

    /// `via` reached the member that an inquiry was about: it tells that member what it stands accused of.
    pub(super) fn found_alive(&mut self, via: NodeId, nonce: u64, out: &mut Vec<Action>) {
        let Some((asked, target, helper)) = self.inquiries.asked else {
            return;
        };
        if (asked, helper) != (nonce, via) {
            return;
        }
        self.inquiries.asked = None;
        if self.state(target) != Some(RumorState::Down) {
            return;
        }
        let nonce = self.next_nonce();
        out.push(self.probe_through(via, target, nonce));
    }

    /// Returns this node's knowledge of a member that has just answered it, for the one that asked: a larger incarnation refutes the asker's belief.
    pub(super) fn known_of(&self, target: NodeId) -> Option<Rumor> {
        let member = self.members.get(&target)?;
        (member.state == RumorState::Alive).then_some(Rumor {
            node: target,
            generation: member.generation,
            incarnation: member.incarnation,
            state: RumorState::Alive,
            from: self.me,
        })
    }

    /// A message to `to` had no link: the rumors in it count as not told.
    pub(crate) fn untold(&mut self, to: NodeId, rumors: &[Rumor]) {
        let limit = super::rumors::limit(self.members.len() + 1);
        for rumor in rumors.iter().filter(|rumor| rumor.node != to) {
            if self.believes(rumor) {
                self.rumors.untell(rumor, limit);
            }
        }
    }

    fn believes(&self, rumor: &Rumor) -> bool {
        if rumor.node == self.me {
            return (rumor.generation, rumor.incarnation) == (self.generation, self.incarnation);
        }
        let member = self.members.get(&rumor.node);
        member.is_some_and(|member| {
            let known = (member.generation, member.incarnation, member.state);
            known == (rumor.generation, rumor.incarnation, rumor.state)
        })
    }
}
