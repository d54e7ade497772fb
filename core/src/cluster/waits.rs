//! A node that is no full member yet: what it waits for, told in words, and when it begins a cluster because it was told to.
//!
//! It never begins one by itself because its seeds lead to nothing, or only back to it: that may be so for a moment.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use super::Awaited;
use super::{Cluster, Env, NodePhase};
use crate::cluster::membership::Link;
use crate::config::Config;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, HangupReason, LinkError};
use crate::marks::Mark;
use crate::table::env::Look;
use crate::table::gossip::Gossip;
use crate::time::Instant;
use crate::wire::{Denial, Phase};

/// When a node first says what it waits for. The time until it says so again doubles from here.
const FIRST: Duration = Duration::from_secs(5);

/// The longest time until it says so again.
const LONGEST: Duration = Duration::from_secs(300);

/// Members of each kind that are named at most.
const MOST: usize = 16;

/// The outcome of the last attempt at a seed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SeedState {
    /// No attempt has ended yet.
    Untried,
    /// Nothing that speaks this protocol under this cluster name answers.
    Failed(LinkError),
    /// The seed leads back to this node.
    Myself,
    /// This node refuses what answers there.
    Refused(HangupReason),
    /// The node that answers there refuses this one.
    Denied(Denial),
    /// A member of another cluster answers, and this node's own cluster has members too.
    OtherCluster,
    /// The node that answers there looks for a cluster itself.
    Joining,
    /// The node that answers there is rejoining itself.
    Rejoining,
    /// A node answers.
    Answers,
}

/// Something that a node waits for before it is a full member. Any one of them will do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Awaits {
    /// A way in through an address that it was given.
    Seed {
        /// The address.
        addr: String,
        /// The outcome of the last attempt at it.
        state: SeedState,
    },
    /// A member that it knows.
    Member(Awaited),
    /// A member that lacks some of what this node held when it began to rejoin. For half a minute it waits for one that does not.
    Behind(Awaited),
    /// The rows of a member, which are on their way.
    Rows(Awaited),
}

impl fmt::Display for SeedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            SeedState::Untried => "has not answered yet",
            SeedState::Failed(LinkError::Closed) => "closed the link",
            SeedState::Failed(LinkError::Unreachable) => "cannot be reached",
            SeedState::Failed(LinkError::Broken) => "broke the link",
            SeedState::Failed(LinkError::Malformed) => "does not speak this protocol",
            SeedState::Failed(LinkError::TimedOut) => "did not answer in time",
            SeedState::Failed(LinkError::Refused(refusal)) => {
                return write!(f, "no link: {refusal}");
            }
            SeedState::Myself => "leads back to this node",
            SeedState::Refused(HangupReason::IdInUse) => {
                "uses this node's id, or is a copy of a member"
            }
            SeedState::Refused(HangupReason::Sealed) => "is an earlier generation of a member",
            SeedState::Refused(_) => "is refused",
            SeedState::Denied(why) => return write!(f, "refuses this node: {}", why.text()),
            SeedState::OtherCluster => "belongs to another cluster",
            SeedState::Joining => "looks for a cluster itself",
            SeedState::Rejoining => "is rejoining itself",
            SeedState::Answers => "answers",
        };
        f.write_str(text)
    }
}

impl fmt::Display for Awaits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Awaits::Seed { addr, state } => write!(f, "{addr} {state}"),
            Awaits::Member(member) if member.here => {
                write!(f, "{} {} is no member yet itself", member.name, member.node)
            }
            Awaits::Member(member) => {
                write!(f, "{} {} does not answer", member.name, member.node)
            }
            Awaits::Behind(member) => write!(
                f,
                "{} {} lacks some of what this node held",
                member.name, member.node
            ),
            Awaits::Rows(member) => {
                write!(f, "rows of {} {} are coming", member.name, member.node)
            }
        }
    }
}

/// The outcomes of the seeds, and the time at which they are told.
#[derive(Default)]
pub(crate) struct Waits {
    /// Only addresses of the configuration.
    seeds: BTreeMap<String, SeedState>,
    /// Members through which a rejoin was put off.
    behind: BTreeSet<NodeId>,
    /// Since when this node has been no full member, when it says so next, and after how long again.
    telling: Option<(Instant, Instant, Duration)>,
    /// Until when a member was letting this node in.
    entered_until: Option<Instant>,
}

impl Cluster {
    /// Returns this node's phase, if it neither leaves nor has halted.
    pub(crate) fn node_phase(&self) -> NodePhase {
        match (self.record.rejoining.is_some(), self.record.joined) {
            (true, _) => NodePhase::Rejoining,
            (_, false) => NodePhase::Joining,
            (_, true) => NodePhase::Member,
        }
    }

    /// An attempt at an address has come to something.
    pub(crate) fn seed_is(&mut self, env: &mut Env<'_>, addr: &str, state: SeedState) {
        if env.config.seeds.iter().any(|seed| seed == addr) {
            self.waits.seeds.insert(addr.to_string(), state);
        }
    }

    /// The same of the address through which this node made a link, if it did.
    pub(crate) fn seed_behind(&mut self, env: &mut Env<'_>, link: LinkId, state: SeedState) {
        let known = self.links.get(link);
        if let Some(addr) = known.and_then(|known| known.reached.clone()) {
            self.seed_is(env, &addr, state);
        }
    }

    /// A rejoin through a member was put off, because the member lacks something.
    pub(crate) fn is_put_off(&mut self, with: NodeId) {
        if self.waits.behind.len() < MOST {
            self.waits.behind.insert(with);
        }
    }

    /// Returns the outcomes of the last attempts at this node's seeds, as far as one has ended.
    #[cfg(test)]
    pub(crate) fn seed_states(&self) -> Vec<(String, SeedState)> {
        let seeds = self.waits.seeds.iter();
        seeds
            .map(|(addr, state)| (addr.clone(), state.clone()))
            .collect()
    }

    /// Returns the things that this node waits for before it is a full member; empty when it is one. O(seeds and members that it waits for).
    pub(crate) fn awaits(&self, config: &Config, gossip: &Gossip) -> Vec<Awaits> {
        if self.is_full() {
            return Vec::new();
        }
        let rows = self.joining.or(gossip.rejoins_through());
        let rows = rows.and_then(|link| self.links.get(link));
        let mut all: Vec<Awaits> = rows
            .map(|known| Awaits::Rows(self.awaited_one(known.node)))
            .into_iter()
            .collect();
        let behind = self.waits.behind.iter();
        all.extend(behind.map(|node| Awaits::Behind(self.awaited_one(*node))));
        match &self.record.rejoining {
            Some(rejoining) => {
                let active = rejoining.active.iter().take(MOST);
                all.extend(active.map(|node| Awaits::Member(self.awaited_one(*node))));
            }
            None => {
                let members = self.membership.others().take(MOST);
                all.extend(members.map(|(node, _)| Awaits::Member(self.awaited_one(node))));
            }
        }
        let seeds = config.seeds.iter().take(MOST);
        all.extend(seeds.map(|addr| {
            Awaits::Seed {
                addr: addr.clone(),
                state: self
                    .waits
                    .seeds
                    .get(addr)
                    .cloned()
                    .unwrap_or(SeedState::Untried),
            }
        }));
        all
    }

    /// Says what this node waits for, when it has waited for a while and then less and less often, and begins a cluster when the time
    /// for that has come.
    pub(crate) fn waits_due(&mut self, env: &mut Env<'_>) {
        if self.is_full() || self.leaving.is_some() {
            self.waits.telling = None;
            self.waits.behind.clear();
            return;
        }
        let now = env.fx.now().mono;
        if self.joining.is_some() {
            self.waits.entered_until = Some(now);
        }
        if self
            .found_deadline(&self.look(env.fx, env.config, env.detector))
            .is_some_and(|at| at <= now)
        {
            return self.found(env);
        }
        let begin = (now, now + FIRST, FIRST);
        let (since, at, pause) = *self.waits.telling.get_or_insert(begin);
        if now < at {
            return;
        }
        let pause = (pause * 2).min(LONGEST);
        self.waits.telling = Some((since, now + pause, pause));
        env.fx.event(Event::Waits {
            phase: self.node_phase(),
            secs: now.since(since).as_secs(),
            awaits: self.awaits(env.config, &env.modes.gossip),
        });
    }

    /// When this node begins a cluster, because it was told to where its seeds lead to no member. One that had begun one, without seeds,
    /// and lost the member that it then began to join goes on as what it was. A member that answers comes first.
    pub(crate) fn found_deadline(&self, look: &Look<'_>) -> Option<Instant> {
        let myself = |state: &SeedState| *state == SeedState::Myself;
        let untold = !look.fx.rules().founds_when_told() && self.waits.seeds.values().any(myself);
        let alone = look.seat.config.seeds.is_empty() && look.fx.rules().founds_without_seeds();
        let told = look.seat.config.found || alone || untold;
        let looks = !self.record.joined && self.record.rejoining.is_none();
        let open = looks && self.joining.is_none() && self.leaving.is_none();
        let is_member = |link: &Link| {
            let theirs = link.theirs.as_ref();
            theirs.is_some_and(|theirs| theirs.phase == Phase::Member)
        };
        let mut links = self.links.iter();
        let may = told && open && !links.any(|(_, link)| is_member(link));
        let since = self.waits.entered_until.unwrap_or(self.begun);
        may.then(|| since + look.seat.config.timing.found_patience)
    }

    /// Begins a cluster, or goes on as the one that this node was before it looked for another.
    fn found(&mut self, env: &mut Env<'_>) {
        env.fx.mark(Mark::Founds);
        env.fx.event(Event::Founded);
        self.become_full(env);
    }
}
