//! Probes: our own, directly and through others, and those made for others.

use alloc::vec::Vec;
use core::time::Duration;

use crate::id::NodeId;
use crate::time::Instant;
use crate::wire::DetectorMessage;
use crate::wire::Rumor;

use super::{Action, Detector, Due, period};

/// Probes at once on behalf of others. Beyond it a request stays unanswered, which the asker counts as a missed answer.
pub(super) const MAX_RELAYS: usize = 1024;

/// Own probes at once before those of lost links wait.
pub(super) const MAX_URGENT: usize = 64;

/// Turns skipped in one period because the member is being probed already.
const MAX_SKIPS: usize = 8;

/// An own probe without an answer yet.
#[derive(Clone, Debug)]
pub(super) struct Probe {
    pub(super) target: NodeId,
    pub(super) timer: (Instant, Due),
    /// From the direct time-out to failure.
    pub(super) grace: Duration,
    /// Members that were asked to help and have not answered.
    asked: Vec<NodeId>,
    helped: bool,
}

/// A probe on behalf of another member.
#[derive(Clone, Debug)]
pub(super) struct Relay {
    asker: NodeId,
    /// The asker's number.
    nonce: u64,
    target: NodeId,
    pub(super) until: Instant,
}

impl Detector {
    /// Takes in a message of a member.
    pub(crate) fn on_message(
        &mut self,
        now: Instant,
        from: NodeId,
        msg: DetectorMessage,
    ) -> Vec<Action> {
        match msg {
            DetectorMessage::Probe { nonce, rumors, .. } => {
                self.on_probe(now, from, nonce, &rumors)
            }
            DetectorMessage::Ack { nonce, rumors, .. } => self.on_ack(now, from, nonce, &rumors),
            DetectorMessage::IndirectProbe {
                nonce,
                target,
                rumors,
            } => self.on_indirect_probe(now, from, target, nonce, &rumors),
            DetectorMessage::IndirectAck {
                nonce,
                alive,
                rumors,
            } => self.on_indirect_ack(now, from, nonce, alive, &rumors),
        }
    }

    /// `from` asks whether we are there.
    pub(crate) fn on_probe(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        rumors: &[Rumor],
    ) -> Vec<Action> {
        let mut out = self.message(now, from, rumors);
        let first = self.accusation(from);
        let rumors = self.take_rumors(first);
        out.push(Action::Ack {
            to: from,
            nonce,
            rumors,
        });
        out
    }

    /// `from` answered a probe.
    pub(crate) fn on_ack(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        rumors: &[Rumor],
    ) -> Vec<Action> {
        let mut out = self.message(now, from, rumors);
        if self
            .relays
            .get(&nonce)
            .is_some_and(|relay| relay.target == from)
            && let Some(relay) = self.relays.remove(&nonce)
        {
            self.timers.remove(&(relay.until, Due::Relay(nonce)));
            self.report(&relay, true, &mut out);
        }
        out
    }

    /// `from` asks us to probe `target`.
    pub(crate) fn on_indirect_probe(
        &mut self,
        now: Instant,
        from: NodeId,
        target: NodeId,
        nonce: u64,
        rumors: &[Rumor],
    ) -> Vec<Action> {
        let mut out = self.message(now, from, rumors);
        if target == self.me || !self.members.contains_key(&target) {
            let relay = Relay {
                asker: from,
                nonce,
                target,
                until: self.now,
            };
            self.report(&relay, target == self.me, &mut out);
        } else if self.relays.len() < MAX_RELAYS {
            let own = self.next_nonce();
            // Our own health does not stretch this: the asker waits no longer for us being slow.
            let until = self.now + timeout(period(&self.timing), self.timing.probe_timeout);
            self.relays.insert(
                own,
                Relay {
                    asker: from,
                    nonce,
                    target,
                    until,
                },
            );
            self.timers.insert((until, Due::Relay(own)));
            self.send_probe(target, own, &mut out);
        }
        out
    }

    /// `from` tells how its probe on our behalf went.
    pub(crate) fn on_indirect_ack(
        &mut self,
        now: Instant,
        from: NodeId,
        nonce: u64,
        alive: bool,
        rumors: &[Rumor],
    ) -> Vec<Action> {
        let mut out = self.message(now, from, rumors);
        let Some(probe) = self.probes.get_mut(&nonce) else {
            if alive {
                self.found_alive(from, nonce, &mut out);
            }
            return out;
        };
        let Some(place) = probe.asked.iter().position(|node| *node == from) else {
            return out;
        };
        probe.asked.swap_remove(place);
        if alive {
            let target = probe.target;
            self.end_probe(target);
            self.health.improve();
            if let Some(member) = self.members.get_mut(&target) {
                member.indirect = member.indirect.saturating_add(1);
            }
        }
        out
    }

    pub(super) fn fire(&mut self, due: Due, out: &mut Vec<Action>) {
        match due {
            Due::Direct(nonce) => self.ask_others(nonce, out),
            Due::Failed(nonce) => self.failed(nonce, out),
            Due::Relay(nonce) => {
                if let Some(relay) = self.relays.remove(&nonce) {
                    self.report(&relay, false, out);
                }
            }
            Due::Suspicion(node) => self.condemn(node, out),
        }
    }

    /// The member whose turn it is.
    pub(super) fn probe_next(&mut self, out: &mut Vec<Action>) {
        for _ in 0..self.active.len().min(MAX_SKIPS) {
            let Some(node) = self.active.step(&mut self.rng) else {
                return;
            };
            if self.start(node, out) {
                return;
            }
        }
    }

    /// The members whose links broke.
    pub(super) fn probe_urgent(&mut self, out: &mut Vec<Action>) {
        while self.probes.len() < MAX_URGENT {
            let Some(node) = self.urgent.pop_first() else {
                return;
            };
            self.start(node, out);
        }
    }

    /// A dead member may have come back, or answer others: one a period is looked for, probed and asked for. Nothing is kept of the probe: any
    /// answer is direct contact.
    pub(super) fn probe_down(&mut self, out: &mut Vec<Action>) {
        if let Some(node) = self.down.step(&mut self.rng) {
            out.push(Action::Seek(node));
            let nonce = self.next_nonce();
            self.send_probe(node, nonce, out);
            self.inquire(node, out);
        }
    }

    /// False when `node` is being probed already.
    fn start(&mut self, node: NodeId, out: &mut Vec<Action>) -> bool {
        let nonce = self.next_nonce();
        let interval = self.health.stretch(period(&self.timing));
        let patience = timeout(interval, self.health.stretch(self.timing.probe_timeout));
        let Some(member) = self.members.get_mut(&node) else {
            return false;
        };
        if member.probe.is_some() {
            return false;
        }
        member.probe = Some(nonce);
        let timer = (self.now + patience, Due::Direct(nonce));
        self.timers.insert(timer);
        let grace = interval - patience;
        self.probes.insert(
            nonce,
            Probe {
                target: node,
                timer,
                grace,
                asked: Vec::new(),
                helped: false,
            },
        );
        self.send_probe(node, nonce, out);
        true
    }

    fn ask_others(&mut self, nonce: u64, out: &mut Vec<Action>) {
        let Some(probe) = self.probes.get_mut(&nonce) else {
            return;
        };
        // Counted from now, not from the start: after a stall of this node the others still get their time.
        probe.timer = (self.now + probe.grace, Due::Failed(nonce));
        self.timers.insert(probe.timer);
        let target = probe.target;
        let Some(zone) = self.members.get(&target).map(|member| member.zone) else {
            return;
        };
        let count = self.timing.indirect_probes;
        let helpers = self.alive.choose(&mut self.rng, count, (target, zone));
        probe.helped = !helpers.is_empty();
        probe.asked.clone_from(&helpers);
        for via in helpers {
            out.push(self.probe_through(via, target, nonce));
        }
    }

    /// Has another member reach `target` and tell it what it stands accused of.
    pub(super) fn probe_through(&mut self, via: NodeId, target: NodeId, nonce: u64) -> Action {
        let first = self.accusation(target);
        let rumors = self.take_rumors(first);
        Action::IndirectProbe {
            via,
            target,
            nonce,
            rumors,
        }
    }

    /// Helpers that answered show that we are well and the target is not; those that did not cast doubt on us.
    fn failed(&mut self, nonce: u64, out: &mut Vec<Action>) {
        let Some(probe) = self.probes.remove(&nonce) else {
            return;
        };
        if let Some(member) = self.members.get_mut(&probe.target) {
            member.probe = None;
        }
        self.health
            .worsen(if probe.helped { probe.asked.len() } else { 1 });
        self.accuse(probe.target, out);
    }

    /// Takes in the part that all messages share: direct contact, and rumors.
    fn message(&mut self, now: Instant, from: NodeId, rumors: &[Rumor]) -> Vec<Action> {
        self.advance(now);
        let mut out = Vec::new();
        self.heard(from, &mut out);
        self.learn(rumors, &mut out);
        out
    }

    fn send_probe(&mut self, to: NodeId, nonce: u64, out: &mut Vec<Action>) {
        let first = self.accusation(to);
        let rumors = self.take_rumors(first);
        out.push(Action::Probe { to, nonce, rumors });
    }

    /// Tells the asker how the probe for it went, and of a target that answered what is known of it.
    fn report(&mut self, relay: &Relay, alive: bool, out: &mut Vec<Action>) {
        let (to, nonce) = (relay.asker, relay.nonce);
        let first = self.accusation(to);
        let mut rumors = self.take_rumors(first);
        let known = self.known_of(relay.target).filter(|_| alive);
        let is_told = rumors.iter().any(|rumor| rumor.node == relay.target);
        rumors.extend(known.filter(|_| !is_told));
        out.push(Action::IndirectAck {
            to,
            nonce,
            alive,
            rumors,
        });
    }

    pub(super) fn next_nonce(&mut self) -> u64 {
        self.nonce = self.nonce.wrapping_add(1);
        self.nonce
    }
}

/// At most a third of the period, so that a second try through others ends within it.
pub(super) fn timeout(interval: Duration, wanted: Duration) -> Duration {
    wanted.min(interval / 3)
}
