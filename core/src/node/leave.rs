//! Leaving: hand over, say so, go.

use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::id::{LinkId, NodeId, Token};
use crate::io::{Event, HaltReason, HangupReason, Lane, Response};
use crate::marks::Mark;
use crate::membership::{Departure, Phase, departure_key};
use crate::table::gossip::Tables;
use crate::time::Instant;
use crate::wire::{Message, RumorState};

/// How often the peers are asked how far they are.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// A leave under way.
pub(crate) struct Leaving {
    tokens: Vec<Token>,
    deadline: Instant,
    ask_at: Instant,
    /// A member durably holds everything this node held.
    handed_over: bool,
    /// The record of the departure is written.
    pub(super) announced: bool,
    /// A member has the record too.
    known: bool,
}

impl Leaving {
    /// When the present step is given up: first the hand-over, then the wait until somebody has the record.
    fn gives_up_at(&self, timeout: Duration) -> Instant {
        match self.announced {
            false => self.deadline,
            true => self.deadline + timeout / 2,
        }
    }
}

impl Node {
    pub(super) fn leave(&mut self, token: Token) {
        let now = self.fx.now().mono;
        if let Some(leaving) = &mut self.leaving {
            return leaving.tokens.push(token);
        }
        self.fx.sync_this_turn();
        self.fx.mark(Mark::LeaveBegins);
        self.leaving = Some(Leaving {
            tokens: alloc::vec![token],
            deadline: now + self.config.timing.leave_timeout,
            ask_at: now,
            handed_over: false,
            announced: false,
            known: false,
        });
    }

    pub(super) fn leave_deadline(&self) -> Option<Instant> {
        let timeout = self.config.timing.leave_timeout;
        self.leaving
            .as_ref()
            .map(|leaving| leaving.ask_at.min(leaving.gives_up_at(timeout)))
    }

    /// A peer's state came in while this node leaves.
    pub(super) fn leave_progress(&mut self, agrees: bool, claims: bool) {
        if let Some(leaving) = &mut self.leaving {
            if leaving.announced {
                leaving.known |= agrees;
            } else {
                leaving.handed_over |= agrees && claims;
            }
        }
    }

    pub(super) fn leave_due(&mut self) {
        if self.leaving.is_none() {
            return;
        }
        let now = self.fx.now().mono;
        let alone = self.active_members().is_empty();
        let durable = self.gossip.cover().all_durable();
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let late = now >= leaving.gives_up_at(self.config.timing.leave_timeout);
        if !leaving.announced && (late || (durable && (alone || leaving.handed_over))) {
            leaving.announced = true;
            return self.announce_departure();
        }
        let told = leaving.announced && durable && (alone || leaving.known);
        if told || late {
            return self.go();
        }
        if now >= leaving.ask_at {
            leaving.ask_at = now + ASK_EVERY;
            for link in self.links.ready() {
                self.send_status(link);
            }
        }
    }

    /// Members that answer: the others could not go on without this node.
    fn active_members(&self) -> Vec<NodeId> {
        let others = self.membership.others_ids();
        others
            .into_iter()
            .filter(|node| self.detector.state(*node) != Some(RumorState::Down))
            .collect()
    }

    fn announce_departure(&mut self) {
        // A node that is away or joining has been counted by nobody: it goes as it came.
        if self.is_full() {
            let departure = Departure {
                contexts: self.gossip.contexts(),
                active: self.active_members(),
                evicted: None,
            };
            let key = departure_key(self.id(), self.identity.epoch);
            self.gossip
                .write_sys(&mut self.fx, Tables::DEPARTED, &key, departure.encode());
        }
        self.fx.sync_this_turn();
        self.after_input();
    }

    fn go(&mut self) {
        let Some(leaving) = self.leaving.take() else {
            return;
        };
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase != Phase::Closing)
            .map(|(id, _)| id)
            .collect();
        for link in links {
            self.fx.send(link, Lane::Control, Message::Goodbye);
            self.hang_up(link, HangupReason::Left);
        }
        let handed_over = leaving.handed_over;
        for token in leaving.tokens {
            self.answer(token, Ok(Response::Left { handed_over }));
        }
        self.fx.event(Event::MemberLeft(self.id()));
        self.halt(HaltReason::Left);
    }
}
