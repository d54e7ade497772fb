//! Failure detection (placeholder until the detector's branch is merged).
use crate::{
    config::Timing,
    id::NodeId,
    rng::Rng,
    time::Instant,
    wire::{Rumor, RumorState},
};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
#[allow(dead_code)]
pub(crate) enum Action {
    Probe {
        to: NodeId,
        nonce: u64,
        rumors: Vec<Rumor>,
    },
    Ack {
        to: NodeId,
        nonce: u64,
        rumors: Vec<Rumor>,
    },
    ProbeFor {
        via: NodeId,
        target: NodeId,
        nonce: u64,
        rumors: Vec<Rumor>,
    },
    ProbedFor {
        to: NodeId,
        nonce: u64,
        alive: bool,
        rumors: Vec<Rumor>,
    },
    Up(NodeId),
    Suspect(NodeId),
    Down(NodeId),
    Refuted,
}
pub(crate) struct Detector {
    members: BTreeMap<NodeId, u64>,
    next: Instant,
    timing: Timing,
}
impl Detector {
    pub(crate) fn new(_me: NodeId, _epoch: u64, now: Instant, timing: Timing, _rng: Rng) -> Self {
        Detector {
            members: BTreeMap::new(),
            next: now,
            timing,
        }
    }
    pub(crate) fn add(&mut self, _now: Instant, node: NodeId, epoch: u64) {
        self.members.insert(node, epoch);
    }
    pub(crate) fn remove(&mut self, node: NodeId) {
        self.members.remove(&node);
    }
    pub(crate) fn direct(&mut self, _now: Instant, _node: NodeId, _epoch: u64) -> Vec<Action> {
        Vec::new()
    }
    pub(crate) fn lost(&mut self, _now: Instant, _node: NodeId) {}
    pub(crate) fn on_probe(
        &mut self,
        _now: Instant,
        from: NodeId,
        nonce: u64,
        _r: &[Rumor],
    ) -> Vec<Action> {
        alloc::vec![Action::Ack {
            to: from,
            nonce,
            rumors: Vec::new()
        }]
    }
    pub(crate) fn on_ack(
        &mut self,
        _now: Instant,
        _from: NodeId,
        _nonce: u64,
        _r: &[Rumor],
    ) -> Vec<Action> {
        Vec::new()
    }
    pub(crate) fn on_probe_for(
        &mut self,
        _now: Instant,
        _from: NodeId,
        _nonce: u64,
        _t: NodeId,
        _r: &[Rumor],
    ) -> Vec<Action> {
        Vec::new()
    }
    pub(crate) fn on_probed_for(
        &mut self,
        _now: Instant,
        _from: NodeId,
        _nonce: u64,
        _alive: bool,
        _r: &[Rumor],
    ) -> Vec<Action> {
        Vec::new()
    }
    pub(crate) fn tick(&mut self, now: Instant) -> Vec<Action> {
        if now < self.next {
            return Vec::new();
        }
        self.next = now + self.timing.probe_interval;
        self.members
            .keys()
            .map(|n| Action::Probe {
                to: *n,
                nonce: 1,
                rumors: Vec::new(),
            })
            .collect()
    }
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        Some(self.next)
    }
    pub(crate) fn state(&self, node: NodeId) -> Option<RumorState> {
        self.members.get(&node).map(|_| RumorState::Alive)
    }
    pub(crate) fn check(&self) {}
}
