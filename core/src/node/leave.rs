//! Leaving: hand over, say so, go.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::id::{LinkId, NodeId, Token};
use crate::io::{Event, HaltReason, Handover, HangupReason, Lane, Response};
use crate::marks::Mark;
use crate::membership::{Departure, Phase, departure_key};
use crate::mutants::mutated;
use crate::table::gossip::Tables;
use crate::table::{Context, Domain};
use crate::time::Instant;
use crate::wire::{Message, RumorState};

/// How often the peers are asked how far they are.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// Peers asked at a time; those who have answered give way to the next.
const ASK_AT_ONCE: usize = 8;

/// A leave under way.
pub(crate) struct Leaving {
    tokens: Vec<Token>,
    deadline: Instant,
    ask_at: Instant,
    /// Who was asked last.
    asked: LinkId,
    /// What this node had seen when the present step began: others have to hold it.
    held: Vec<(Domain, Context)>,
    /// Members that durably hold what this node held.
    holders: BTreeSet<NodeId>,
    /// The record of the departure is written.
    pub(super) announced: bool,
    /// Members that have the record too.
    told: BTreeSet<NodeId>,
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
            asked: LinkId(0),
            held: self.gossip.contexts(),
            holders: BTreeSet::new(),
            announced: false,
            told: BTreeSet::new(),
        });
    }

    pub(super) fn leave_deadline(&self) -> Option<Instant> {
        let timeout = self.config.timing.leave_timeout;
        self.leaving
            .as_ref()
            .map(|leaving| leaving.ask_at.min(leaving.gives_up_at(timeout)))
    }

    /// A peer's state came in while this node leaves: it has seen the same, and `claims` to have it durably.
    pub(super) fn leave_progress(&mut self, node: NodeId, agrees: bool, claims: bool) {
        if let Some(leaving) = &mut self.leaving
            && agrees
        {
            if leaving.announced {
                leaving.told.insert(node);
            } else if claims {
                leaving.holders.insert(node);
            }
        }
    }

    /// A peer told what it durably holds: under a steady load two nodes seldom agree.
    pub(super) fn leave_claimed(&mut self, node: NodeId, claimed: &[(Domain, Context)]) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let holds = |(domain, held): &(Domain, Context)| {
            let mut of_domain = claimed.iter().filter(|(name, _)| name == domain);
            held.is_empty() || of_domain.any(|(_, claimed)| held.is_subset(claimed))
        };
        if leaving.held.iter().all(holds) {
            let step = match leaving.announced {
                true => &mut leaving.told,
                false => &mut leaving.holders,
            };
            step.insert(node);
        }
    }

    pub(super) fn leave_due(&mut self) {
        if self.leaving.is_none() {
            return;
        }
        let now = self.fx.now().mono;
        let so_far = self.handover();
        let durable = self.gossip.cover().all_durable();
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let late = now >= leaving.gives_up_at(self.config.timing.leave_timeout)
            || mutated!(self.fx, LeaveUnasked);
        if !leaving.announced {
            if late || (durable && so_far.holders >= so_far.wanted) {
                return self.announce_departure();
            }
        } else if late || (durable && so_far.told >= so_far.wanted) {
            return self.go(so_far);
        }
        if now >= leaving.ask_at {
            leaving.ask_at = now + ASK_EVERY;
            self.ask_how_far();
        }
    }

    /// How far the leave has come.
    fn handover(&self) -> Handover {
        let active = self.active_members();
        let among =
            |who: &BTreeSet<NodeId>| active.iter().filter(|node| who.contains(node)).count();
        let others = active.len();
        let leaving = self.leaving.as_ref();
        Handover {
            others,
            holders: leaving.map_or(0, |leaving| among(&leaving.holders)),
            wanted: self.config.timing.leave_acks.min(others),
            told: leaving.map_or(0, |leaving| among(&leaving.told)),
        }
    }

    /// Asks some of those who have not said yet that they have everything, or the record.
    fn ask_how_far(&mut self) {
        let Some(leaving) = &mut self.leaving else {
            return;
        };
        let done = match leaving.announced {
            true => &leaving.told,
            false => &leaving.holders,
        };
        let open = |link: &LinkId| {
            let known = self.links.get(*link);
            known.is_some_and(|known| !done.contains(&known.node))
        };
        let mut links: Vec<LinkId> = self.links.ready().into_iter().filter(open).collect();
        let first = links.partition_point(|link| *link <= leaving.asked);
        links.rotate_left(first);
        links.truncate(ASK_AT_ONCE);
        leaving.asked = links.last().copied().unwrap_or(leaving.asked);
        for link in links {
            self.send_status(link);
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
        if let Some(leaving) = &mut self.leaving {
            leaving.announced = true;
        }
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
        let held = self.gossip.contexts();
        if let Some(leaving) = &mut self.leaving {
            leaving.held = held;
        }
    }

    fn go(&mut self, handover: Handover) {
        let Some(leaving) = self.leaving.take() else {
            return;
        };
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase() != Phase::Closing)
            .map(|(id, _)| id)
            .collect();
        for link in links {
            self.fx.send(link, Lane::Control, Message::Goodbye);
            self.hang_up(link, HangupReason::Left);
        }
        if !handover.is_complete() {
            self.fx.mark(Mark::LeaveCut);
        }
        for token in leaving.tokens {
            self.answer(token, Ok(Response::Left(handover)));
        }
        self.fx.event(Event::MemberLeft(self.id()));
        self.halt(HaltReason::Left(handover));
    }
}
