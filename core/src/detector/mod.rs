//! The failure detector: SWIM (Das et al. 2002) with Lifeguard (Dadgar et al. 2017), over ids alone.
//!
//! Membership is decided elsewhere ([`Detector::add`], [`Detector::remove`]); a rumor adds no member. Direct contact outranks rumors: a
//! message from a member makes it alive here, and an accusation against a member goes first in the next message to it, so that it can
//! refute before all others.

mod health;
mod inquire;
mod opinion;
mod probe;
mod retime;
mod roster;
mod rumors;
mod suspicion;
#[cfg(test)]
mod tests;
mod zones;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Timing;
use crate::id::NodeId;
use crate::rng::Rng;
use crate::rules::Rules;
use crate::time::Instant;
use crate::wire::{Rumor, RumorState};

use health::Health;
use inquire::Inquiries;
use probe::{MAX_RELAYS, MAX_URGENT, Probe, Relay};
use roster::Roster;
use rumors::Rumors;
use suspicion::Suspicion;
use zones::{Helpers, Turns, Zone, ZoneNames};

/// A step for the node to take, in the order given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Send a probe.
    Probe {
        to: NodeId,
        nonce: u64,
        rumors: Vec<Rumor>,
    },
    /// Answer a probe.
    Ack {
        to: NodeId,
        nonce: u64,
        rumors: Vec<Rumor>,
    },
    /// Ask `via` to probe `target`.
    IndirectProbe {
        via: NodeId,
        target: NodeId,
        nonce: u64,
        rumors: Vec<Rumor>,
    },
    /// Answer such a request.
    IndirectAck {
        to: NodeId,
        nonce: u64,
        alive: bool,
        rumors: Vec<Rumor>,
    },
    /// Look whether this member, which is taken for dead, is back.
    Seek(NodeId),
    /// This member is alive again.
    Up(NodeId),
    /// This member became a suspect.
    Suspect(NodeId),
    /// This member is taken for dead.
    Down(NodeId),
    /// We were accused and raised our own incarnation.
    Refuted,
}

impl Action {
    /// The member that a message goes to, with the rumors in it.
    pub(crate) fn receiver(&self) -> Option<(NodeId, &[Rumor])> {
        match self {
            Action::Probe { to, rumors, .. }
            | Action::Ack { to, rumors, .. }
            | Action::IndirectAck { to, rumors, .. }
            | Action::IndirectProbe {
                via: to, rumors, ..
            } => Some((*to, rumors)),
            _ => None,
        }
    }
}

/// Probes in a row that were answered through others alone, until the way to a member is taken for cut.
const MUTE_AFTER: u8 = 3;

/// The detector of one node.
#[derive(Clone, Debug)]
pub(crate) struct Detector {
    me: NodeId,
    generation: u64,
    incarnation: u64,
    now: Instant,
    timing: Timing,
    rng: Rng,
    health: Health,
    members: BTreeMap<NodeId, Member>,
    /// Alive and suspect members, probed in turn.
    active: Turns,
    /// Alive members: this node may ask them to probe.
    alive: Helpers,
    down: Roster<NodeId>,
    /// The zone of this node.
    zone: Zone,
    zones: ZoneNames,
    rumors: Rumors,
    probes: BTreeMap<u64, Probe>,
    relays: BTreeMap<u64, Relay>,
    inquiries: Inquiries,
    timers: BTreeSet<(Instant, Due)>,
    urgent: BTreeSet<NodeId>,
    /// When this node last went on after it had stood still.
    resumed: Option<Instant>,
    next_probe: Instant,
    next_down: Instant,
    pub(crate) rules: Rules,
    nonce: u64,
}

/// The detector's knowledge of a member.
#[derive(Clone, Debug)]
struct Member {
    generation: u64,
    zone: Zone,
    incarnation: u64,
    state: RumorState,
    /// The worst said of this incarnation, kept after direct contact to be told to the member itself.
    accused: Option<Rumor>,
    /// Few have one.
    suspicion: Option<Box<Suspicion>>,
    heard: Option<Instant>,
    /// How many probes in a row were answered through others alone.
    indirect: u8,
    /// The outstanding probe.
    probe: Option<u64>,
}

impl Member {
    fn new(generation: u64, zone: Zone) -> Self {
        Member {
            generation,
            zone,
            incarnation: 0,
            state: RumorState::Alive,
            accused: None,
            suspicion: None,
            heard: None,
            indirect: 0,
            probe: None,
        }
    }
}

/// A duty that falls due at an instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    /// A direct probe has taken too long.
    Direct(u64),
    /// A probe has failed.
    Failed(u64),
    /// A probe on behalf of another member has taken too long.
    Relay(u64),
    /// A suspect did not refute in time.
    Suspicion(NodeId),
}

impl Detector {
    /// Makes the detector of `me` in its `generation`, knowing no other member. The first probe falls at a random point of a period.
    pub(crate) fn new(
        (me, zone): (NodeId, &str),
        generation: u64,
        now: Instant,
        timing: Timing,
        mut rng: Rng,
    ) -> Self {
        let mut zones = ZoneNames::default();
        let phase = rng.below(period(&timing).as_micros() as u64);
        let nonce = rng.next();
        Detector {
            me,
            generation,
            incarnation: 0,
            now,
            timing,
            rng,
            health: Health::default(),
            members: BTreeMap::new(),
            active: Turns::default(),
            alive: Helpers::default(),
            down: Roster::default(),
            zone: zones.intern(zone),
            zones,
            rumors: Rumors::default(),
            probes: BTreeMap::new(),
            relays: BTreeMap::new(),
            inquiries: Inquiries::default(),
            timers: BTreeSet::new(),
            urgent: BTreeSet::new(),
            resumed: None,
            next_probe: now + Duration::from_micros(phase),
            next_down: now,
            rules: Rules::default(),
            nonce,
        }
    }

    /// This node begins another generation: it defends that from now on, and no longer the one before.
    pub(crate) fn begin_generation(&mut self, generation: u64) {
        self.generation = generation;
        self.incarnation = 0;
        self.rumors.remove(self.me);
    }

    /// `node` is a member of `zone` in its `generation`. A larger generation than known is a new generation: alive, incarnation 0. `Up` when
    /// that ended a suspicion or a death.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        node: NodeId,
        generation: u64,
        zone: &str,
    ) -> Vec<Action> {
        self.advance(now);
        let mut out = Vec::new();
        if node == self.me {
            return out;
        }
        match self.members.get(&node) {
            // A new generation was heard from before its record came, which tells the zone.
            Some(member) if member.generation == generation => self.moves(node, zone),
            Some(member) if member.generation > generation => {}
            Some(_) => {
                self.reborn(node, generation, &mut out);
                self.moves(node, zone);
            }
            None => {
                let zone = self.zones.intern(zone);
                self.members.insert(node, Member::new(generation, zone));
                self.place(node, RumorState::Alive);
            }
        }
        out
    }

    /// A new generation may be in another zone.
    fn moves(&mut self, node: NodeId, zone: &str) {
        let zone = self.zones.intern(zone);
        let Some(member) = self.members.get_mut(&node) else {
            return;
        };
        let before = core::mem::replace(&mut member.zone, zone);
        let state = member.state;
        if before != zone {
            self.alive.remove(node, before);
            self.place(node, state);
        }
    }

    /// `node` left or was evicted.
    pub(crate) fn remove(&mut self, node: NodeId) {
        let Some(zone) = self.members.get(&node).map(|member| member.zone) else {
            return;
        };
        self.end_probe(node);
        self.end_suspicion(node);
        self.rumors.remove(node);
        self.urgent.remove(&node);
        self.active.remove(node);
        self.alive.remove(node, zone);
        self.down.remove(node);
        self.members.remove(&node);
    }

    /// Takes a handshake with or any message from `node` in its `generation`. An unknown node, or an earlier generation, is ignored.
    pub(crate) fn direct(&mut self, now: Instant, node: NodeId, generation: u64) -> Vec<Action> {
        self.advance(now);
        let mut out = Vec::new();
        let Some(member) = self.members.get(&node) else {
            return out;
        };
        if generation > member.generation {
            self.reborn(node, generation, &mut out);
        }
        if self
            .members
            .get(&node)
            .is_some_and(|member| member.generation == generation)
        {
            self.heard(node, &mut out);
        }
        out
    }

    /// The link to `node` broke: it is probed on the next tick, which is due at once.
    pub(crate) fn lost(&mut self, now: Instant, node: NodeId) {
        self.advance(now);
        if self.active.contains(node) {
            self.urgent.insert(node);
        }
    }

    /// Does all that is due.
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Action> {
        self.advance(now);
        let mut out = Vec::new();
        while let Some(&(at, due)) = self.timers.first() {
            if at > self.now {
                break;
            }
            self.timers.pop_first();
            self.fire(due, &mut out);
        }
        self.probe_urgent(&mut out);
        if self.next_probe <= self.now && !self.active.is_empty() {
            self.next_probe = self.now + self.health.stretch(period(&self.timing));
            self.probe_next(&mut out);
        }
        if self.next_down <= self.now && !self.down.is_empty() {
            self.next_down = self.now + period(&self.timing);
            self.probe_down(&mut out);
        }
        out
    }

    /// When [`Detector::tick`] has something to do next. It may lie in the past.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let urgent =
            (!self.urgent.is_empty() && self.probes.len() < MAX_URGENT).then_some(self.now);
        let probe = (!self.active.is_empty()).then_some(self.next_probe);
        let down = (!self.down.is_empty()).then_some(self.next_down);
        let timer = self.timers.first().map(|(at, _)| *at);
        [urgent, probe, down, timer].into_iter().flatten().min()
    }

    /// How `node` stands; `None` when it is no member.
    pub(crate) fn state(&self, node: NodeId) -> Option<RumorState> {
        self.members.get(&node).map(|member| member.state)
    }

    /// Whether a member answers others alone, for some probes in a row.
    pub(crate) fn is_mute(&self, node: NodeId) -> bool {
        let member = self.members.get(&node);
        member.is_some_and(|member| member.indirect >= MUTE_AFTER)
    }

    /// Whether a member is taken for dead.
    pub(crate) fn any_down(&self) -> bool {
        !self.down.is_empty()
    }

    /// How often this node has refuted a suspicion in this generation.
    pub(crate) fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Lifeguard's local health score, 0 (well) to 8.
    pub(crate) fn health(&self) -> u32 {
        self.health.score()
    }

    #[cfg(test)]
    /// All members but this node, in the order of their ids.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (NodeId, RumorState)> + '_ {
        self.members
            .iter()
            .map(|(node, member)| (*node, member.state))
    }

    /// Asserts this module's own invariants; O(n log n).
    pub(crate) fn check(&self) {
        self.active.check();
        self.alive.check();
        self.down.check();
        self.rumors.check();
        let mut suspects = 0;
        for (node, member) in &self.members {
            assert_ne!(*node, self.me);
            assert_eq!(
                self.alive.contains(*node),
                member.state == RumorState::Alive
            );
            assert_eq!(self.down.contains(*node), member.state == RumorState::Down);
            assert_eq!(
                self.active.contains(*node),
                member.state != RumorState::Down
            );
            assert_eq!(
                member.suspicion.is_some(),
                member.state == RumorState::Suspect
            );
            if let Some(suspicion) = &member.suspicion {
                suspects += 1;
                assert!(
                    self.timers
                        .contains(&(suspicion.deadline(), Due::Suspicion(*node)))
                );
            }
            if let Some(nonce) = member.probe {
                assert_eq!(
                    self.probes.get(&nonce).map(|probe| probe.target),
                    Some(*node)
                );
            }
        }
        assert_eq!(self.active.len() + self.down.len(), self.members.len());
        for (nonce, probe) in &self.probes {
            assert_eq!(
                self.members
                    .get(&probe.target)
                    .and_then(|member| member.probe),
                Some(*nonce)
            );
            assert!(self.timers.contains(&probe.timer));
        }
        for (nonce, relay) in &self.relays {
            assert!(self.timers.contains(&(relay.until, Due::Relay(*nonce))));
        }
        assert!(self.relays.len() <= MAX_RELAYS);
        assert_eq!(
            self.timers.len(),
            self.probes.len() + self.relays.len() + suspects
        );
        assert!(
            self.rumors
                .nodes()
                .all(|node| node == self.me || self.members.contains_key(&node))
        );
        assert!(self.urgent.iter().all(|node| self.active.contains(*node)));
        assert!(self.health.score() <= Health::WORST);
    }

    /// Time goes on. When more than a period has passed since something was due, this node stood still, and so doubts itself.
    fn advance(&mut self, now: Instant) {
        let period = period(&self.timing);
        let overdue = |at: Instant| now.since(at) > period;
        let due = self.timers.first().map(|(at, _)| *at);
        // A due deadline stays so until the next tick: one standstill counts once.
        if due.is_some_and(overdue) && self.resumed.is_none_or(overdue) {
            self.resumed = Some(now);
            self.health.worsen(1);
        }
        self.now = self.now.max(now);
    }
}

/// The probe interval, never zero, so that every deadline moves.
fn period(timing: &Timing) -> Duration {
    timing.probe_interval.max(Duration::from_millis(1))
}
