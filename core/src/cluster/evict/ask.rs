//! Asking: an eviction from an operator's request, or the policy's, to the record that takes effect or the answer that it does not.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::time::Duration;

use crate::cluster::membership::{Departure, Eviction, eviction_key};
use crate::cluster::{Cluster, Env};
use crate::config::Config;
use crate::error::{EvictError, RequestError};
use crate::id::{LinkId, NodeId, Token};
use crate::io::{Event, Lane, Response};
use crate::marks::Mark;
use crate::table::sys;
use crate::time::Instant;
use crate::wire::{ClusterMessage, Message, RumorState};

/// How often members that have not agreed are asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// An eviction under way.
pub(crate) struct Attempt {
    generation: u64,
    pub(crate) round: u64,
    pub(crate) tokens: Vec<Token>,
    force: bool,
    policy: bool,
    ask_at: Instant,
    deadline: Instant,
    /// Members that agreed over the present link.
    pub(crate) acks: BTreeSet<NodeId>,
    /// Members asked over the present link, whether or not the answer has come: a member that was never asked cannot agree.
    pub(crate) asked: BTreeSet<NodeId>,
}

impl Attempt {
    fn due_at(&self) -> Instant {
        self.ask_at.min(self.deadline)
    }
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

impl Cluster {
    pub(crate) fn evict(&mut self, env: &mut Env<'_>, token: Token, member: &str, force: bool) {
        let node = match self.member_called(env, member) {
            Ok(node) => node,
            Err(error) => return env.answer(token, Err(RequestError::Evict(error))),
        };
        self.begin_eviction(env, node, Some(token), force);
    }

    /// The member of this id, or else of this name.
    fn member_called(&self, env: &Env<'_>, member: &str) -> Result<NodeId, EvictError> {
        if let Ok(id) = member.parse::<NodeId>()
            && (id == self.id() || self.membership.is_present(id))
        {
            return Ok(id);
        }
        let others = self.membership.others();
        let named = others.filter(|(_, known)| known.record.name == member);
        let mut ids: Vec<NodeId> = named.map(|(node, _)| node).collect();
        if env.config.name == member {
            ids.push(self.id());
        }
        match ids.as_slice() {
            [] => Err(EvictError::NotAMember),
            [id] => Ok(*id),
            _ => Err(EvictError::Ambiguous(ids)),
        }
    }

    fn may_begin(&self, env: &Env<'_>, node: NodeId, force: bool) -> Result<u64, EvictError> {
        if node == self.id() {
            return Err(EvictError::Myself);
        }
        if !self.is_full() || self.leaving.is_some() {
            return Err(EvictError::NoMember);
        }
        let member = self.membership.present(node);
        let member = member.ok_or(EvictError::NotAMember)?;
        if !force && self.answers(env, node) {
            return Err(EvictError::Answers);
        }
        Ok(member.record.generation)
    }

    pub(crate) fn answers(&self, env: &Env<'_>, node: NodeId) -> bool {
        env.detector.state(node) != Some(RumorState::Down)
    }

    pub(crate) fn begin_eviction(
        &mut self,
        env: &mut Env<'_>,
        node: NodeId,
        token: Option<Token>,
        force: bool,
    ) {
        let generation = match self.may_begin(env, node, force) {
            Ok(generation) => generation,
            Err(error) => {
                if let Some(token) = token {
                    env.answer(token, Err(RequestError::Evict(error)));
                }
                return;
            }
        };
        let now = env.fx.now().mono;
        let deadline = now + env.config.timing.evict_patience;
        let round = self.evictions.next_round();
        let attempt = self
            .evictions
            .attempts
            .entry(node)
            .or_insert_with(|| Attempt {
                generation,
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
        env.fx.touch();
    }

    /// When evictions have something to do. O(attempts).
    pub(crate) fn evict_deadline(&self, config: &Config) -> Option<Instant> {
        let attempts = self.evictions.attempts.values();
        let attempts = attempts.map(Attempt::due_at);
        let own = [self.policy_deadline(config), self.namesake_deadline()];
        attempts.chain(own.into_iter().flatten()).min()
    }

    pub(crate) fn evictions_due(&mut self, env: &mut Env<'_>) {
        self.policy_due(env);
        self.namesakes_due(env);
        let now = env.fx.now().mono;
        let attempts = self.evictions.attempts.iter();
        let due = attempts.filter(|(_, attempt)| attempt.due_at() <= now);
        let due: Vec<NodeId> = due.map(|(node, _)| *node).collect();
        for node in due {
            self.eviction_goes_on(env, node);
        }
    }

    /// Decides, gives up, or asks. O(members that agreed), besides asking.
    pub(crate) fn eviction_goes_on(&mut self, env: &mut Env<'_>, node: NodeId) {
        let now = env.fx.now().mono;
        let Some(attempt) = self.evictions.attempts.get(&node) else {
            return;
        };
        let tally = self.tally(attempt);
        let (force, generation) = (attempt.force, attempt.generation);
        let late = now >= attempt.deadline;
        match self.may_begin(env, node, force) {
            Err(error) => return self.eviction_failed(env, node, error),
            Ok(present) if present != generation => {
                return self.eviction_failed(env, node, EvictError::NotAMember);
            }
            Ok(_) => {}
        }
        if tally.is_majority() || (force && late) || !env.fx.rules().evicts_by_majority() {
            return self.write_eviction(env, node, tally);
        }
        if late {
            let needed = tally.members / 2 + 1;
            let Tally { acks, members } = tally;
            let error = EvictError::NoMajority {
                acks,
                needed,
                members,
            };
            return self.eviction_failed(env, node, error);
        }
        if now >= attempt.ask_at {
            self.ask_to_evict(env, node);
        }
    }

    fn tally(&self, attempt: &Attempt) -> Tally {
        let acks = attempt.acks.iter();
        Tally {
            acks: acks
                .filter(|node| self.membership.is_present(**node))
                .count()
                + 1,
            members: self.membership.count_others() + 1,
        }
    }

    fn ask_to_evict(&mut self, env: &mut Env<'_>, node: NodeId) {
        let now = env.fx.now().mono;
        let Some(attempt) = self.evictions.attempts.get_mut(&node) else {
            return;
        };
        attempt.ask_at = now + ASK_EVERY;
        let ready = self.links.iter().filter(|(_, link)| link.is_ready());
        for (link, peer) in ready.map(|(id, link)| (id, link.node)) {
            if peer != node && !attempt.acks.contains(&peer) {
                attempt.asked.insert(peer);
                let ask = Message::Cluster(ClusterMessage::Evict {
                    round: attempt.round,
                    node,
                    generation: attempt.generation,
                    force: attempt.force,
                });
                env.fx.send(link, Lane::Control, ask);
            }
        }
    }

    pub(crate) fn on_evict_vote(
        &mut self,
        env: &mut Env<'_>,
        from: NodeId,
        round: u64,
        agrees: bool,
    ) {
        let mut attempts = self.evictions.attempts.iter_mut();
        let Some((node, attempt)) = attempts.find(|(_, attempt)| attempt.round == round) else {
            return;
        };
        if attempt.asked.contains(&from) && agrees {
            attempt.acks.insert(from);
            let node = *node;
            self.eviction_goes_on(env, node);
        }
    }

    /// Ends an attempt that changed nothing: every member that agreed is free again.
    fn eviction_failed(&mut self, env: &mut Env<'_>, node: NodeId, error: EvictError) {
        env.fx.mark(Mark::EvictionFailed);
        let Some(attempt) = self.evictions.attempts.remove(&node) else {
            return;
        };
        for peer in attempt.asked.union(&attempt.acks) {
            let link: Option<LinkId> = self.links.of(*peer);
            if let Some(link) = link.filter(|link| self.links.is_ready(*link)) {
                let generation = attempt.generation;
                env.fx.send(
                    link,
                    Lane::Control,
                    Message::Cluster(ClusterMessage::EvictCancel { node, generation }),
                );
            }
        }
        for token in attempt.tokens {
            env.answer(token, Err(RequestError::Evict(error.clone())));
        }
    }

    fn write_eviction(&mut self, env: &mut Env<'_>, node: NodeId, tally: Tally) {
        let Some(attempt) = self.evictions.attempts.remove(&node) else {
            return;
        };
        let mut counted = self.membership.others_ids();
        counted.retain(|other| *other != node);
        counted.push(self.id());
        let departure = Departure {
            // From here on no member waits for what the evicted one had: it comes back with that node, by a rejoin.
            contexts: Vec::new(),
            active: counted,
            evicted: Some(Eviction {
                by: self.id(),
                generation: self.identity.generation,
                forced: !tally.is_majority(),
            }),
        };
        let key = eviction_key(node, attempt.generation, self.id());
        env.write_sys(sys::DEPARTED, &key, departure.encode());
        env.fx.sync_this_turn();
        env.fx.mark(Mark::Evicts);
        let Tally { acks, members } = tally;
        env.fx.event(Event::MemberEvicted {
            node,
            acks,
            members,
            policy: attempt.policy,
        });
        let seq = env.fx.open_seq();
        for token in attempt.tokens {
            if env.requests.end(token) {
                let response = Response::Evicted {
                    node,
                    acks,
                    members,
                };
                let done = Ok((seq, response));
                env.requests.reply_durably(env.fx, token, None, done);
            }
        }
        self.rows_changed(env);
    }
}
