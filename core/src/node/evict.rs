//! Eviction: the life of a member that does not come back is ended, so that nobody waits for it.
//!
//! Whoever evicts asks every member it reaches. Each durably agrees, unless it has agreed to end the asker's own life, or
//! hears from the one to be evicted. With the agreement of more than half of the members the asker writes the record of the
//! eviction, which names all whom it counted. An agreement binds until the asker has greeted anew or has given up.
//!
//! The record is what takes effect, wherever it comes: whoever is not named there may hold what the named ones have freed,
//! and goes away until it has reunited. Where two sides ended each other, the side that counted more members goes on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use super::Node;
use crate::error::{EvictError, RequestError};
use crate::id::{LinkId, NodeId, Token};
use crate::io::{Event, HangupReason, Lane, Links, Response};
use crate::marks::Mark;
use crate::membership::{Departure, Eviction, Phase, Verdict, eviction_key};
use crate::mutants::mutated;
use crate::store::record::{self, Agreement};
use crate::table::gossip::Tables;
use crate::time::Instant;
use crate::wire::{Message, RumorState};

/// How often those who have not agreed are asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// An eviction under way.
struct Attempt {
    epoch: u64,
    round: u64,
    tokens: Vec<Token>,
    force: bool,
    policy: bool,
    ask_at: Instant,
    deadline: Instant,
    /// Who agreed, over the present link.
    acks: BTreeSet<NodeId>,
    /// Who was asked, and has not answered.
    asked: BTreeSet<NodeId>,
}

/// How many agreed, of how many.
#[derive(Clone, Copy)]
struct Tally {
    acks: usize,
    members: usize,
}

impl Tally {
    fn is_majority(self) -> bool {
        self.acks * 2 > self.members
    }
}

/// The evictions that this node asks for, and those it has agreed to.
pub(crate) struct Evictions {
    attempts: BTreeMap<NodeId, Attempt>,
    agreed: Vec<Agreement>,
    /// Since when members are down.
    down: BTreeMap<NodeId, Instant>,
    /// When the policy is carried out again.
    policy_at: Instant,
    rounds: u64,
}

impl Evictions {
    pub(crate) fn new(agreed: Vec<Agreement>) -> Self {
        Evictions {
            attempts: BTreeMap::new(),
            agreed,
            down: BTreeMap::new(),
            policy_at: Instant::ZERO,
            rounds: 0,
        }
    }

    /// Nobody waits for the answer any more; the eviction goes on.
    pub(crate) fn forget_token(&mut self, token: Token) {
        for attempt in self.attempts.values_mut() {
            attempt.tokens.retain(|waiting| *waiting != token);
        }
    }

    pub(crate) fn down(&mut self, node: NodeId, now: Instant) {
        self.down.insert(node, now);
    }

    pub(crate) fn up(&mut self, node: NodeId) {
        self.down.remove(&node);
    }

    pub(crate) fn down_since(&self, node: NodeId) -> Option<Instant> {
        self.down.get(&node).copied()
    }

    /// A greeting frees whoever has agreed, so an agreement counts no longer than the link it came over.
    pub(crate) fn link_changed(&mut self, node: NodeId) {
        for attempt in self.attempts.values_mut() {
            attempt.acks.remove(&node);
            attempt.asked.remove(&node);
        }
    }
}

/// Members that the policy evicts in one go.
const POLICY_AT_ONCE: usize = 8;

impl Node {
    pub(super) fn evict(&mut self, token: Token, who: &str, force: bool) {
        let node = match self.member_called(who) {
            Ok(node) => node,
            Err(error) => return self.answer(token, Err(RequestError::Evict(error))),
        };
        self.begin_eviction(node, Some(token), force);
    }

    /// The member of this id, or else of this name.
    fn member_called(&self, who: &str) -> Result<NodeId, EvictError> {
        if let Ok(id) = who.parse::<NodeId>()
            && (id == self.id() || self.membership.others().any(|(node, _)| node == id))
        {
            return Ok(id);
        }
        let others = self.membership.others();
        let named = others.filter(|(_, member)| member.record.name == who);
        let mut ids: Vec<NodeId> = named.map(|(node, _)| node).collect();
        if self.config.name == who {
            ids.push(self.id());
        }
        match ids.as_slice() {
            [] => Err(EvictError::NotAMember),
            [id] => Ok(*id),
            _ => Err(EvictError::Ambiguous(ids)),
        }
    }

    fn may_begin(&self, node: NodeId, force: bool) -> Result<u64, EvictError> {
        if node == self.id() {
            return Err(EvictError::Myself);
        }
        if !self.is_full() || self.leaving.is_some() {
            return Err(EvictError::NoMember);
        }
        let mut others = self.membership.others();
        let member = others.find(|(other, _)| *other == node);
        let (_, member) = member.ok_or(EvictError::NotAMember)?;
        if !force && self.answers(node) {
            return Err(EvictError::Answers);
        }
        Ok(member.record.epoch)
    }

    fn answers(&self, node: NodeId) -> bool {
        self.detector.state(node) != Some(RumorState::Down)
    }

    fn begin_eviction(&mut self, node: NodeId, token: Option<Token>, force: bool) {
        let epoch = match self.may_begin(node, force) {
            Ok(epoch) => epoch,
            Err(error) => {
                if let Some(token) = token {
                    self.answer(token, Err(RequestError::Evict(error)));
                }
                return;
            }
        };
        let now = self.fx.now().mono;
        self.evictions.rounds += 1;
        let round = self.evictions.rounds;
        let deadline = now + self.config.timing.evict_patience;
        let attempt = self
            .evictions
            .attempts
            .entry(node)
            .or_insert_with(|| Attempt {
                epoch,
                round,
                tokens: Vec::new(),
                force,
                policy: token.is_none(),
                ask_at: now,
                deadline,
                acks: BTreeSet::new(),
                asked: BTreeSet::new(),
            });
        attempt.tokens.extend(token);
        attempt.force |= force;
        attempt.policy &= token.is_none();
        self.fx.touch();
    }

    /// When evictions have something to do.
    pub(super) fn evict_deadline(&self) -> Option<Instant> {
        let attempts = self.evictions.attempts.values();
        let attempts = attempts.map(|attempt| attempt.ask_at.min(attempt.deadline));
        attempts.chain(self.policy_deadline()).min()
    }

    pub(super) fn evictions_due(&mut self) {
        self.policy_due();
        let nodes: Vec<NodeId> = self.evictions.attempts.keys().copied().collect();
        for node in nodes {
            self.eviction_goes_on(node);
        }
    }

    /// Decides, gives up, or asks.
    fn eviction_goes_on(&mut self, node: NodeId) {
        let now = self.fx.now().mono;
        let tally = self.tally(node);
        let Some(attempt) = self.evictions.attempts.get(&node) else {
            return;
        };
        let (force, epoch) = (attempt.force, attempt.epoch);
        let late = now >= attempt.deadline;
        match self.may_begin(node, force) {
            Err(error) => return self.eviction_failed(node, error),
            Ok(present) if present != epoch => {
                return self.eviction_failed(node, EvictError::NotAMember);
            }
            Ok(_) => {}
        }
        if tally.is_majority() || (force && late) || mutated!(self.fx, EvictWithoutMajority) {
            return self.write_eviction(node, tally);
        }
        if late {
            let needed = tally.members / 2 + 1;
            let Tally { acks, members } = tally;
            let error = EvictError::NoMajority {
                acks,
                needed,
                members,
            };
            return self.eviction_failed(node, error);
        }
        if now >= attempt.ask_at {
            self.ask_to_evict(node);
        }
    }

    fn tally(&self, node: NodeId) -> Tally {
        let members = self.membership.count_others() + 1;
        let attempt = self.evictions.attempts.get(&node);
        let acks = attempt.map_or(0, |attempt| {
            let agreed = |other: &NodeId| attempt.acks.contains(other);
            let mut others = self.membership.others_ids();
            others.retain(agreed);
            others.len()
        });
        Tally {
            acks: acks + 1,
            members,
        }
    }

    fn ask_to_evict(&mut self, node: NodeId) {
        let now = self.fx.now().mono;
        let ready: Vec<(LinkId, NodeId)> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase == Phase::Ready && link.node != node)
            .map(|(id, link)| (id, link.node))
            .collect();
        let Some(attempt) = self.evictions.attempts.get_mut(&node) else {
            return;
        };
        attempt.ask_at = now + ASK_EVERY;
        for (link, peer) in ready {
            if !attempt.acks.contains(&peer) {
                attempt.asked.insert(peer);
                let ask = Message::Evict {
                    round: attempt.round,
                    node,
                    epoch: attempt.epoch,
                    force: attempt.force,
                };
                self.fx.send(link, Lane::Control, ask);
            }
        }
    }

    /// Nothing was changed: whoever agreed is free again.
    fn eviction_failed(&mut self, node: NodeId, error: EvictError) {
        self.fx.mark(Mark::EvictionFailed);
        let Some(attempt) = self.evictions.attempts.remove(&node) else {
            return;
        };
        for peer in attempt.asked.union(&attempt.acks) {
            let ready = |link: &LinkId| {
                let known = self.links.get(*link);
                known.is_some_and(|known| known.phase == Phase::Ready)
            };
            if let Some(link) = self.links.of(*peer).filter(ready) {
                let epoch = attempt.epoch;
                self.fx
                    .send(link, Lane::Control, Message::Withdrawn { node, epoch });
            }
        }
        for token in attempt.tokens {
            self.answer(token, Err(RequestError::Evict(error.clone())));
        }
    }

    fn write_eviction(&mut self, node: NodeId, tally: Tally) {
        let Some(attempt) = self.evictions.attempts.remove(&node) else {
            return;
        };
        let mut counted = self.membership.others_ids();
        counted.retain(|other| *other != node);
        counted.push(self.id());
        let departure = Departure {
            // From now on nobody waits for what it had: that comes back with it, by a reunion.
            contexts: Vec::new(),
            active: counted,
            evicted: Some(Eviction {
                by: self.id(),
                epoch: self.identity.epoch,
                forced: !tally.is_majority(),
            }),
        };
        let key = eviction_key(node, attempt.epoch, self.id());
        self.gossip
            .write_sys(&mut self.fx, Tables::DEPARTED, &key, departure.encode());
        self.fx.sync_this_turn();
        self.fx.mark(Mark::Evicts);
        let Tally { acks, members } = tally;
        self.fx.event(Event::MemberEvicted {
            node,
            acks,
            members,
            policy: attempt.policy,
        });
        let seq = self.fx.open_seq();
        for token in attempt.tokens {
            if self.requests.end(token) {
                let done = Ok(Response::Evicted {
                    node,
                    acks,
                    members,
                });
                self.reply_safely((seq, true), token, None, done);
            }
        }
        self.after_input();
    }

    /// A member asks whether it may end another's life.
    pub(super) fn asked_to_evict(
        &mut self,
        link: LinkId,
        (by, by_epoch): (NodeId, u64),
        round: u64,
        (node, epoch): (NodeId, u64),
        force: bool,
    ) {
        let agrees = self.may_agree(link, (by, by_epoch), (node, epoch), force);
        let mark = match agrees {
            true => Mark::EvictionAgreed,
            false => Mark::EvictionRefused,
        };
        self.fx.mark(mark);
        if agrees {
            self.evictions
                .agreed
                .retain(|known| (known.by, known.node) != (by, node));
            self.evictions.agreed.push(Agreement { by, node, epoch });
            self.store_agreed();
            self.fx.sync_this_turn();
        }
        let gate = match agrees {
            true => self.fx.open_seq(),
            false => self.fx.durable(),
        };
        let answer = Message::Agreed { round, agrees };
        self.fx
            .send_after(gate, Links::One(link), Lane::Control, answer);
    }

    fn may_agree(
        &self,
        link: LinkId,
        (by, by_epoch): (NodeId, u64),
        (node, epoch): (NodeId, u64),
        force: bool,
    ) -> bool {
        let ready = self
            .links
            .get(link)
            .is_some_and(|link| link.phase == Phase::Ready);
        let mut others = self.membership.others();
        let is_member = others.any(|(other, member)| other == node && member.record.epoch == epoch);
        // Of two that want to end each other, only one may.
        let ends_asker = self.evictions.attempts.contains_key(&by)
            || self
                .evictions
                .agreed
                .iter()
                .any(|agreed| agreed.node == by && agreed.epoch >= by_epoch);
        let down = force || !self.answers(node);
        ready && self.is_full() && self.leaving.is_none() && is_member && down && !ends_asker
    }

    fn store_agreed(&mut self) {
        self.fx.store(record::agreed(&self.evictions.agreed));
    }

    pub(super) fn evict_answered(&mut self, from: NodeId, round: u64, agrees: bool) {
        let mut attempts = self.evictions.attempts.values_mut();
        let Some(attempt) = attempts.find(|attempt| attempt.round == round) else {
            return;
        };
        if attempt.asked.contains(&from) && agrees {
            attempt.acks.insert(from);
            self.fx.touch();
        }
    }

    pub(super) fn evict_withdrawn(&mut self, by: NodeId, node: NodeId) {
        self.release_agreements(|agreed| (agreed.by, agreed.node) == (by, node));
    }

    /// A greeting says what its sender has evicted: what it had asked before it will not do any more.
    pub(super) fn void_agreements(&mut self, by: NodeId) {
        self.release_agreements(|agreed| agreed.by == by);
    }

    fn release_agreements(&mut self, ended: impl Fn(&Agreement) -> bool) {
        let before = self.evictions.agreed.len();
        self.evictions.agreed.retain(|agreed| !ended(agreed));
        if self.evictions.agreed.len() != before {
            self.store_agreed();
        }
    }

    /// An eviction has come to be known here: it ends that life, and whoever its author did not count has to reunite.
    pub(super) fn judge_eviction(&mut self, verdict: &Verdict) {
        self.close_evicted(verdict);
        let by = verdict.eviction.by;
        let mine = verdict.node == self.id();
        if !mine && verdict.counted.contains(&self.id()) {
            return;
        }
        let ends = if mine { verdict.epoch } else { 0 };
        // It ended this very life, and not only an earlier one.
        let ended = mine && verdict.epoch >= self.identity.epoch;
        if !self.is_full() || self.leaving.is_some() {
            if ended {
                self.begin_another_life(ends);
            }
            return;
        }
        let outranked = self.membership.outranks(verdict);
        if outranked || mutated!(self.fx, EvictedHeard) {
            self.fx.mark(Mark::EvictionOutranked);
            self.fx.event(Event::EvictionOutranked { by });
        } else {
            self.fx.mark(Mark::Evicted);
            self.fx.event(Event::Evicted { by });
            let mut active = verdict.counted.clone();
            active.retain(|node| *node != self.id());
            self.go_away(verdict.clock, active);
            self.look_for_members();
        }
        if mine || !outranked {
            self.begin_another_life(ends);
        }
    }

    /// Nothing more is taken from a life that was ended. One that was ended by force is looked for: it may have done the same.
    fn close_evicted(&mut self, verdict: &Verdict) {
        let node = verdict.node;
        if node == self.id() {
            return;
        }
        self.release_agreements(|agreed| agreed.node == node && agreed.epoch <= verdict.epoch);
        if verdict.eviction.forced
            && let Some(member) = self.membership.get(node)
        {
            let (now, addr) = (self.fx.now().mono, member.record.addr.clone());
            self.links.want(now, node, &addr);
        }
        let Some(link) = self.links.of(node) else {
            return;
        };
        let known = self.links.get(link);
        match known.map(|known| (known.phase, known.epoch <= verdict.epoch)) {
            Some((Phase::Ready, true)) => self.hang_up(link, HangupReason::Evicted),
            // The greeting that it got did not tell.
            Some((Phase::Greeting | Phase::Away, true)) => self.greet(link),
            _ => {}
        }
    }

    /// An eviction was heard of from another than the one through whom this node is entering: that one has to hear of it first.
    pub(super) fn join_anew(&mut self, told_by: LinkId) {
        if let Some(link) = self.joining.filter(|link| *link != told_by) {
            self.hang_up(link, HangupReason::Retry);
        }
    }

    /// The members that the policy may evict, with the time from which it does. O(members that are down), when there are any.
    fn forgetful(&self) -> Vec<(Instant, NodeId)> {
        let after = self.config.timing.evict_memory_after;
        let Some(after) = after.filter(|after| !after.is_zero()) else {
            return Vec::new();
        };
        if self.evictions.down.is_empty() || !self.is_full() || self.leaving.is_some() {
            return Vec::new();
        }
        // One tries, and not all at once.
        let mut before = self
            .membership
            .others()
            .take_while(|(node, _)| *node < self.id());
        if before.any(|(node, _)| self.answers(node)) {
            return Vec::new();
        }
        let evictable = |node: &NodeId| {
            let member = self.membership.get(*node);
            !self.evictions.attempts.contains_key(node)
                && !self.membership.has_departed(*node)
                && member.is_some_and(|member| !member.record.stores)
        };
        let down = self.evictions.down.iter();
        let due = down.filter(|(node, _)| evictable(node));
        due.map(|(node, since)| ((*since + after).max(self.evictions.policy_at), *node))
            .collect()
    }

    fn policy_deadline(&self) -> Option<Instant> {
        self.forgetful().into_iter().map(|(at, _)| at).min()
    }

    fn policy_due(&mut self) {
        let now = self.fx.now().mono;
        let forgetful = self.forgetful().into_iter();
        let due = forgetful.filter(|(at, _)| *at <= now).map(|(_, node)| node);
        let due: Vec<NodeId> = due.take(POLICY_AT_ONCE).collect();
        if due.is_empty() {
            return;
        }
        self.evictions.policy_at = now + self.config.timing.evict_patience * 4;
        for node in due {
            self.begin_eviction(node, None, false);
        }
    }
}
