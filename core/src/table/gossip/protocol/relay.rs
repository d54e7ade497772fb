//! Claims that come through a third: those of members to which this node has no link.
//!
//! A claim says what one generation of a member had durably covered when its clock stood at some point. Within a generation both only grow, so a claim stays
//! true for as long as that generation is the member's last one, however long it was on its way and whichever member passed it on: it is a message that
//! was slow. What a member passes on it has counted itself, so it came from a full member; and it counts here, like any claim, only
//! if it lies within what this node has seen. A claim that does not yet is kept until it does, and one is kept of each member. In clusters of many
//! hundreds of members that write, claims are not kept whole and so not passed on: `status` says which members are waited for.
//!
//! Nothing is sent unasked. A node that has deletes to free asks its neighbours in turn for the claims that it lacks. A neighbour that has none looks
//! for one itself, for as long as it is asked, and a number of hops ends every question.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::{LinkId, NodeId};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::Hlc;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{read_contexts, write_contexts};
use crate::time::Instant;
use crate::wire::{ClaimAsk, ClaimNumber, GossipMessage, Message, RelayedClaim};

/// Claims that one message asks for or tells.
const AT_ONCE: usize = 16;

/// Actors in the claims of one message, but for a single claim that names more.
const ACTORS_AT_ONCE: usize = 1_024;

/// Members whose claims are looked for on behalf of others.
const MAX_WANTED: usize = 64;

/// Members through which a question goes at most.
const HOPS: u8 = 8;

/// How often one neighbour is asked before it is the next one's turn: the second time it has had the time to find out.
const ASKS_EACH: u8 = 3;

/// From one question to the next, in probe intervals.
const ASK_EVERY: u32 = 2;

/// For how long a claim is looked for after the last question for it, in probe intervals.
const WANTED_FOR: u32 = 60;

/// A claim that another member has asked for.
struct Wanted {
    until: Instant,
    hops: u8,
}

/// The claims asked of neighbours, and the claims that they have asked for.
#[derive(Default)]
pub(crate) struct Relays {
    /// When the next question is due.
    ask_at: Option<Instant>,
    /// The neighbour that was asked last, and how often.
    asked: Option<(NodeId, u8)>,
    /// The member about which the last question was.
    about: NodeId,
    wanted: BTreeMap<NodeId, Wanted>,
}

impl Relays {
    /// Whether others wait for the claim of any member.
    pub(crate) fn is_asked(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Whether others wait for the claim of this member.
    pub(crate) fn wants(&self, node: NodeId) -> bool {
        self.wanted.contains_key(&node)
    }

    /// When [`Gossip::claims_due`] has something to do.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.ask_at
    }
}

impl Gossip {
    /// Whether the claim of a member is of use, here or to a member that asked for it.
    pub(crate) fn has_use_for_claim(&self, node: NodeId) -> bool {
        self.replica.coverage().tombstone_count() > 0 || self.relays.wants(node)
    }

    /// Asks for missing claims when it is time. O(members), in every other probe interval while there are deletes to free.
    pub(crate) fn claims_due(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        let may = env.seat.is_full() && !env.seat.is_leaving;
        let must = self.replica.coverage().tombstone_count() > 0 || self.relays.is_asked();
        if !may || !must {
            self.relays.ask_at = None;
            return;
        }
        let every = env.seat.config.timing.probe_interval * ASK_EVERY;
        match self.relays.ask_at {
            Some(at) if at > now => self.relays.ask_at = Some(at.min(now + every)),
            due => {
                self.relays.ask_at = Some(now + every.max(Duration::from_millis(1)));
                if due.is_some() {
                    self.ask_for_claims(env);
                }
            }
        }
    }

    fn ask_for_claims(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        self.relays.wanted.retain(|_, wanted| wanted.until > now);
        self.stability.admit_early(&self.replica);
        let mut asks = self.missing_claims(&env.look());
        if asks.is_empty() {
            return;
        }
        // More than fit take turns.
        let about = self.relays.about;
        let first = asks.partition_point(|ask| ask.node <= about);
        asks.rotate_left(first);
        asks.truncate(AT_ONCE);
        let Some(link) = self.neighbour_to_ask(env) else {
            return;
        };
        self.relays.about = asks.last().map_or(about, |ask| ask.node);
        env.fx.mark(Mark::ClaimAsked);
        env.fx.send(
            link,
            Lane::Control,
            Message::Gossip(GossipMessage::AskClaims(asks)),
        );
    }

    /// The claims that are missing of members without a link, by id. One that came early and still waits is not asked for again.
    fn missing_claims(&self, env: &Look<'_>) -> Vec<ClaimAsk> {
        let mut missing: BTreeMap<NodeId, u8> = BTreeMap::new();
        let wanted = self.relays.wanted.iter();
        missing.extend(wanted.map(|(node, wanted)| (*node, wanted.hops)));
        if self.replica.coverage().tombstone_count() > 0 {
            let lost = |actor| env.seat.members.lost(actor);
            let counted = self.counted(env);
            let lacking = self
                .stability
                .lacking(env.fx, &self.replica, &counted, &lost);
            missing.extend(lacking.into_iter().map(|node| (node, HOPS)));
        }
        missing.retain(|node, hops| *hops > 0 && !self.stability.is_early(*node));
        missing.retain(|node, _| !env.is_linked(*node));
        missing.retain(|node, _| env.seat.members.is_present(*node));
        let ask = |(node, hops)| {
            let claim = self.stability.claim(node);
            ClaimAsk {
                node,
                clock: claim.as_ref().map_or(0, |claim| claim.clock.0),
                dots: claim.as_ref().map_or(0, |claim| claim.dots),
                hops,
            }
        };
        missing.into_iter().map(ask).collect()
    }

    /// Each neighbour is asked some times, and then the next one by id.
    fn neighbour_to_ask(&mut self, env: &mut Env<'_>) -> Option<LinkId> {
        let ring = env.links.ring();
        let again = self.relays.asked.filter(|(_, times)| *times < ASKS_EACH);
        let same = again.and_then(|(node, times)| {
            let place = ring.binary_search_by_key(&node, |(node, _)| *node);
            Some((ring.get(place.ok()?)?, times))
        });
        let next = || {
            let last = self.relays.asked.map(|(node, _)| node);
            let later = ring.iter().find(|(node, _)| Some(*node) > last);
            later.or(ring.first()).map(|found| (found, 0))
        };
        let ((node, link), times) = same.or_else(next)?;
        self.relays.asked = Some((*node, times + 1));
        Some(*link)
    }

    /// A neighbour asks for claims of members to which it has no link.
    pub(crate) fn on_ask_claims(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        asks: &[ClaimAsk],
    ) -> Result<(), Refusal> {
        if asks.len() > AT_ONCE {
            return Err(Refusal::TooManyClaims);
        }
        if !env.seat.is_full() || env.seat.is_leaving || !env.links.is_ready(link) {
            return Ok(());
        }
        let mut told = Vec::new();
        let mut actors = 0;
        for ask in asks {
            let Some(member) = env.seat.members.present(ask.node) else {
                continue;
            };
            let present = member.record.generation;
            self.want_claim(env, ask);
            let Some(claim) = self.stability.claim(ask.node) else {
                continue;
            };
            let Some(contexts) = claim.contexts else {
                continue;
            };
            let size: usize = contexts.iter().map(|(_, context)| context.len()).sum();
            let fits = told.is_empty() || actors + size <= ACTORS_AT_ONCE;
            let number = claim.number;
            let outlived = number.generation != present && env.fx.rules().relayed_claims_end();
            let is_news = claim.clock.0 > ask.clock || claim.dots > ask.dots;
            if outlived || !is_news || !fits {
                continue;
            }
            actors += size;
            told.push(RelayedClaim {
                node: ask.node,
                generation: number.generation,
                batch: number.batch,
                clock: claim.clock.0,
                contexts: write_contexts(contexts),
            });
        }
        if !told.is_empty() && env.fx.rules().relays_claims() {
            Gossip::tell_claims(env, link, told);
        }
        Ok(())
    }

    fn tell_claims(env: &mut Env<'_>, link: LinkId, told: Vec<RelayedClaim>) {
        let Some(gate) = env.links.get(link).map(|known| known.recorded) else {
            return;
        };
        env.fx.mark(Mark::ClaimRelayed);
        let (to, claims) = (
            Links::One(link),
            Message::Gossip(GossipMessage::Claims(told)),
        );
        env.fx.send_after(gate, to, Lane::Sys, claims);
    }

    /// Looks for a claim on behalf of others.
    fn want_claim(&mut self, env: &mut Env<'_>, ask: &ClaimAsk) {
        let node = ask.node;
        let until = env.fx.now().mono + env.seat.config.timing.probe_interval * WANTED_FOR;
        let hops = ask.hops.min(HOPS).saturating_sub(1);
        let wanted = &mut self.relays.wanted;
        if let Some(known) = wanted.get_mut(&node) {
            // A question that came round through others does not keep itself alive.
            if hops >= known.hops {
                (known.hops, known.until) = (hops, until);
            }
            return;
        }
        if wanted.len() < MAX_WANTED {
            wanted.insert(node, Wanted { until, hops });
            // Its answer is a claim, if both have seen the same.
            if let Some(link) = env.links.of(node).filter(|link| env.links.is_ready(*link)) {
                self.send_status(env, link);
            }
        }
    }

    /// A neighbour passes on claims of other members.
    pub(crate) fn on_claims(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        claims: &[RelayedClaim],
    ) -> Result<(), Refusal> {
        if claims.len() > AT_ONCE {
            return Err(Refusal::TooManyClaims);
        }
        for claim in claims {
            let contexts = read_contexts(&claim.contexts)?;
            let (node, generation) = (claim.node, claim.generation);
            let member = env.seat.members.present(node);
            let lives = member.is_some_and(|member| member.record.generation == generation);
            let direct = env.links.of(node).and_then(|link| env.links.get(link));
            // A later generation is here already: it could not be told in time of what is freed on this claim.
            let later = direct.is_some_and(|link| link.generation > generation);
            let outlived = env.fx.rules().relayed_claims_end() && (!lives || later);
            let may = env.seat.is_full() && env.links.is_ready(link);
            if may && !outlived && node != env.seat.me && self.has_use_for_claim(node) {
                let clock = Hlc(claim.clock);
                let batch = claim.batch;
                let number = ClaimNumber { generation, batch };
                env.fx.mark(Mark::ClaimByRelay);
                self.stability
                    .claimed(env.fx, &self.replica, (node, number), contexts, clock);
            }
        }
        Ok(())
    }
}
