//! Leaving: hand over, say so, go. A leaver takes no more writes of clients and no more rows of users' tables, so that what others have to
//! hold stays what it is: members are asked whether they durably hold it, and answer once they do (`takeover`).

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Cluster, Env};
use crate::cluster::membership::{Departure, LinkPhase, departure_key};
use crate::config::Config;
use crate::effects::Effects;
use crate::id::{LinkId, NodeId, Seq, Token};
use crate::io::{Event, Handover, HangupReason, Lane, Links, Response};
use crate::marks::Mark;
use crate::table::gossip::write_contexts;
use crate::table::sys;
use crate::table::{Context, RowClass};
use crate::time::Instant;
use crate::wire::{ClusterMessage, Message, RumorState};

/// The time from one question to the next, at first.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// How often all that have not answered are asked before that time doubles.
const QUICK_LAPS: usize = 6;

/// How often that time doubles at most. A question names all that this node covers, so a member that does not answer is asked less and less often.
const DOUBLINGS: u32 = 3;

/// Peers asked at a time; those that have answered give way to the next.
const ASK_AT_ONCE: usize = 8;

/// The record of the departure is pushed at the end of its turn, and the first question about it comes after it.
const RECORD_FIRST: Duration = Duration::from_millis(1);

/// Questions after which a member that lacks something fetches it at once: before, it may be on its way.
const PATIENT_QUESTIONS: u32 = 3;

/// A leave under way.
pub(crate) struct Leaving {
    tokens: Vec<Token>,
    deadline: Instant,
    ask_at: Instant,
    /// The member that was asked last.
    asked: LinkId,
    /// The coverage of this node when the present step began: others have to hold it. In users' tables it grows no more.
    held: Vec<(RowClass, Context)>,
    /// Counts what others were asked to hold: an answer to an earlier question says nothing about the present one.
    round: u64,
    /// Questions since the present step began.
    questions: u32,
    /// Members that were asked since then, each as often as it was.
    asked_members: usize,
    /// Members that durably hold what this node held.
    holders: BTreeSet<NodeId>,
    /// The record of the departure is written.
    pub(crate) announced: bool,
    /// Members that have the record too.
    told: BTreeSet<NodeId>,
}

impl Leaving {
    /// Others have to hold this from now on.
    fn asks_for(&mut self, held: Vec<(RowClass, Context)>) {
        self.held = held;
        self.round += 1;
        self.questions = 0;
        self.asked_members = 0;
    }

    /// The time until the next question, when so many members have not answered yet: it doubles for each time that all of them
    /// were asked, after the first few.
    fn pause(&self, open: usize) -> Duration {
        let laps = self.asked_members / open.max(1);
        let doublings = u32::try_from(laps.saturating_sub(QUICK_LAPS)).unwrap_or(u32::MAX);
        ASK_EVERY * 2u32.pow(doublings.min(DOUBLINGS))
    }

    /// When the present step is given up: first the hand-over, then the wait until other members have the record.
    fn gives_up_at(&self, timeout: Duration) -> Instant {
        match self.announced {
            false => self.deadline,
            true => self.deadline + timeout / 2,
        }
    }
}

impl Cluster {
    pub(crate) fn leave(&mut self, env: &mut Env<'_>, token: Token) {
        let now = env.fx.now().mono;
        if let Some(leaving) = &mut self.leaving {
            return leaving.tokens.push(token);
        }
        if self.is_stopping() && env.fx.rules().stops_without_leave() {
            // It is told that this node has halted: a departure now would make it rejoin when it comes back.
            return;
        }
        // Flushed rows are deleted before others are asked to hold the rest.
        let (modes, mut tables) = self.tables(env);
        modes.gossip.flushes_due(&mut tables, usize::MAX);
        env.fx.sync_this_turn();
        env.fx.mark(Mark::LeaveBegins);
        self.leaving = Some(Leaving {
            tokens: alloc::vec![token],
            deadline: now + env.config.timing.leave_timeout,
            ask_at: now,
            asked: LinkId(0),
            held: env.modes.gossip.contexts(),
            round: 1,
            questions: 0,
            asked_members: 0,
            holders: BTreeSet::new(),
            announced: false,
            told: BTreeSet::new(),
        });
    }

    /// Whether this node takes no rows of users' tables any more: it leaves, and others have to hold what it covers. Under a steady load
    /// they would else run after it, and what came after the record of the departure would be on its disk and in no record. A node that
    /// is no full member yet goes on with its session.
    pub(crate) fn takes_no_rows(&self, fx: &Effects) -> bool {
        self.leaving.is_some() && self.is_full() && fx.rules().leavers_take_no_rows()
    }

    /// This node covers more than when it was asked to leave: it has become a full member meanwhile.
    pub(crate) fn leave_anew(&mut self, env: &mut Env<'_>) {
        if self.leaving.is_none() {
            return;
        }
        let held = env.modes.gossip.contexts();
        if let Some(leaving) = &mut self.leaving {
            leaving.asks_for(held);
            leaving.holders.clear();
            // No record was written: this node did not count.
            leaving.announced = false;
            leaving.told.clear();
        }
    }

    pub(crate) fn leave_deadline(&self, config: &Config) -> Option<Instant> {
        let timeout = config.timing.leave_timeout;
        self.leaving
            .as_ref()
            .map(|leaving| leaving.ask_at.min(leaving.gives_up_at(timeout)))
    }

    /// A member durably holds what this node has asked it to.
    pub(crate) fn on_takeover(
        &mut self,
        env: &mut Env<'_>,
        node: NodeId,
        round: u64,
    ) -> Option<Handover> {
        let leaving = self.leaving.as_mut();
        let leaving = leaving.filter(|leaving| leaving.round == round)?;
        // The second question names all that the first named, and the record. A holder may leave between the two.
        if !leaving.announced || env.fx.rules().departures_name_holders() {
            leaving.holders.insert(node);
        }
        if leaving.announced {
            leaving.told.insert(node);
        }
        self.leave_due(env)
    }

    /// Goes on with a leave. Returns how far it has come when it is over: then the node halts.
    pub(crate) fn leave_due(&mut self, env: &mut Env<'_>) -> Option<Handover> {
        self.leaving.as_ref()?;
        let now = env.fx.now().mono;
        let so_far = self.handover(env);
        let durable = self.holds_durably(env);
        let leaving = self.leaving.as_mut()?;
        let late = now >= leaving.gives_up_at(env.config.timing.leave_timeout)
            || !env.fx.rules().leaves_after_takeover();
        if !leaving.announced {
            if late || (durable && so_far.holders >= so_far.wanted) {
                self.announce_departure(env);
                return None;
            }
        } else if late || (durable && so_far.told >= so_far.wanted) {
            return self.go(env, so_far);
        }
        if now >= leaving.ask_at {
            let open = self.ask_how_far(env);
            if let Some(leaving) = &mut self.leaving {
                leaving.ask_at = now + leaving.pause(open);
            }
        }
        None
    }

    /// Whether what others have to hold is durable here too.
    fn holds_durably(&self, env: &Env<'_>) -> bool {
        let held = self.leaving.iter().flat_map(|leaving| &leaving.held);
        env.modes.gossip.holds_durably(held)
    }

    /// How far the leave has come.
    fn handover(&self, env: &Env<'_>) -> Handover {
        let active = self.active_members(env);
        let among = |members: &BTreeSet<NodeId>| {
            active.iter().filter(|node| members.contains(node)).count()
        };
        let others = active.len();
        let leaving = self.leaving.as_ref();
        Handover {
            others,
            holders: leaving.map_or(0, |leaving| among(&leaving.holders)),
            wanted: env.config.timing.leave_acks.min(others),
            told: leaving.map_or(0, |leaving| among(&leaving.told)),
        }
    }

    /// A member has come into reach, which was not asked yet.
    pub(crate) fn ask_newcomer(&mut self, env: &mut Env<'_>) {
        let soon = env.fx.now().mono + ASK_EVERY;
        if let Some(leaving) = &mut self.leaving {
            leaving.ask_at = leaving.ask_at.min(soon);
        }
    }

    /// How far the leave has come.
    #[cfg(test)]
    pub(crate) fn leaving_so_far(&self, env: &Env<'_>) -> Handover {
        self.handover(env)
    }

    /// Asks some of the members that have not said yet that they hold everything, or the record. Returns how many there are.
    fn ask_how_far(&mut self, env: &mut Env<'_>) -> usize {
        let Some(leaving) = &mut self.leaving else {
            return 0;
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
        let open = links.len();
        links.truncate(ASK_AT_ONCE);
        leaving.asked = links.last().copied().unwrap_or(leaving.asked);
        leaving.questions = leaving.questions.saturating_add(1);
        leaving.asked_members += links.len();
        if links.is_empty() {
            return 0;
        }
        let gates = links.iter().filter_map(|link| self.links.get(*link));
        let gate = gates.map(|known| known.recorded).max().unwrap_or(Seq(0));
        let msg = Message::Cluster(ClusterMessage::Handover {
            round: leaving.round,
            insists: leaving.questions > PATIENT_QUESTIONS,
            held: write_contexts(&leaving.held),
        });
        // In the lane of the record, so that it comes after it.
        let links = Links::Many(links.into());
        env.fx.send_after(gate, links, Lane::Sys, msg);
        open
    }

    /// Members that answer: the others could not go on without this node.
    fn active_members(&self, env: &Env<'_>) -> Vec<NodeId> {
        let others = self.membership.others_ids();
        others
            .into_iter()
            .filter(|node| env.detector.state(*node) != Some(RumorState::Down))
            .collect()
    }

    fn announce_departure(&mut self, env: &mut Env<'_>) {
        if let Some(leaving) = &mut self.leaving {
            leaving.announced = true;
        }
        // No member has counted a node that is rejoining or joining: it goes as it came.
        if self.is_full() {
            let departure = Departure {
                contexts: env.modes.gossip.contexts(),
                active: self.active_members(env),
                evicted: None,
            };
            let key = departure_key(self.id(), self.identity.generation);
            env.write_sys(sys::DEPARTED, &key, departure.encode());
        }
        env.fx.sync_this_turn();
        self.rows_changed(env);
        let held = env.modes.gossip.contexts();
        let now = env.fx.now().mono;
        if let Some(leaving) = &mut self.leaving {
            leaving.asks_for(held);
            leaving.ask_at = now + RECORD_FIRST;
        }
    }

    fn go(&mut self, env: &mut Env<'_>, handover: Handover) -> Option<Handover> {
        let leaving = self.leaving.take()?;
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase() != LinkPhase::Closing)
            .map(|(id, _)| id)
            .collect();
        for link in links {
            env.fx
                .send(link, Lane::Control, Message::Cluster(ClusterMessage::Leave));
            self.hang_up(env, link, HangupReason::Left);
        }
        if !handover.is_complete() {
            env.fx.mark(Mark::LeaveCut);
        }
        for token in leaving.tokens {
            env.answer(token, Ok(Response::Left(handover)));
        }
        env.fx.event(Event::MemberLeft(self.id()));
        Some(handover)
    }
}
