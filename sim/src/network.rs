//! The network: links between nodes, and what happens to messages on their way.
//!
//! A link behaves like a stream connection: what arrives, arrives in order. Faults break that: a lossy window takes messages
//! out of the middle, duplicates them, or lets them overtake each other, and a cut swallows them without a word. A link
//! whose messages have been swallowed for long breaks, and so does one whose peer has forgotten it.

mod faults;
mod links;

use std::collections::BTreeMap;

use rumormill_core::LinkId;

use self::faults::{Cut, Met, Window};
use self::links::Link;
use crate::plan::FaultWhat;
use crate::rng::{Rng, Stream};

/// A copy of a message comes up to two to this power of microseconds after it, some 17 s.
const MAX_ECHO_OCTAVE: u64 = 24;

/// A dial through a cut is given up after this long.
pub(crate) const DIAL_TIMEOUT_US: u64 = 2_000_000;

/// The fate of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives then.
    Arrives(u64),
    /// It arrives twice.
    Twice(u64, u64),
    /// A lossy window took it.
    Lost,
    /// There is no way; whether the link has been dead for so long that it breaks.
    Swallowed {
        /// The sender's end breaks now.
        breaks: bool,
    },
    /// The peer has forgotten the link and says so at that time.
    Forgotten(u64),
    /// The sender's end is not open.
    Closed,
}

/// The way from any node to any other, and all links.
pub(crate) struct Network {
    nodes: usize,
    /// One for each sender, so that one node's traffic shifts no other's draws.
    rngs: Vec<Rng>,
    /// The fixed part of the latency, per ordered pair.
    base_us: Vec<u32>,
    extra_us: Vec<u64>,
    cuts: Vec<Option<Cut>>,
    windows: Vec<Window>,
    links: Vec<Link>,
    /// The earliest arrival of the next message between applications, by sender and receiver.
    posts: BTreeMap<(usize, usize), u64>,
    pub(crate) met: Met,
}

impl Network {
    pub(crate) fn new(seed: u64, nodes: usize) -> Self {
        let mut latency = Rng::new(seed, Stream::Latency, 0);
        // One cluster sits in one room, another is spread over a continent.
        let scale = 100_u64 << latency.below(8);
        let base_us = (0..nodes * nodes)
            // At most some 26 ms.
            .map(|_| latency.between(scale / 2, scale * 2) as u32)
            .collect();
        let rngs = (0..nodes)
            .map(|node| Rng::new(seed, Stream::Network, node as u32))
            .collect();
        Network {
            nodes,
            rngs,
            base_us,
            extra_us: vec![0; nodes],
            cuts: vec![None; nodes * nodes],
            windows: Vec::new(),
            links: Vec::new(),
            posts: BTreeMap::new(),
            met: Met::default(),
        }
    }

    /// Every latency is this, without variation: for scenarios.
    pub(crate) fn set_latency(&mut self, us: u32) {
        self.base_us.fill(us);
    }

    /// A fresh latency of the way.
    pub(crate) fn latency(&mut self, from: usize, to: usize) -> u64 {
        let base_us = u64::from(self.base_us[from * self.nodes + to]);
        let extra_us = self.extra_us[from].max(self.extra_us[to]);
        base_us + self.rngs[from].below(base_us / 2 + 1) + extra_us
    }

    /// Sends a message from the end `id`. `powered` tells whether the host at the other end has power.
    pub(crate) fn send(&mut self, now_us: u64, id: LinkId, powered: bool) -> Fate {
        let (from, to) = self.way(id);
        let index = (id.0 / 2) as usize;
        let side = (id.0 % 2) as usize;
        if !self.links[index].ends[side].up || self.links[index].ends[side].closing {
            return Fate::Closed;
        }
        if let Some(cut) = self.cut(from, to) {
            self.met.cut(cut);
            return self.links[index].ends[side].swallowed(now_us);
        }
        let peer = &self.links[index].ends[1 - side];
        let forgotten = peer.closing && !peer.up;
        // A dead host answers nothing; one that is up and does not know the link says so, if its words get through.
        if !powered || (forgotten && !self.reaches(to, from)) {
            return self.links[index].ends[side].swallowed(now_us);
        }
        if forgotten {
            return Fate::Forgotten(now_us + self.latency(from, to) + self.latency(to, from));
        }
        self.links[index].ends[side].gets_through();
        self.deliver(now_us, index, side, from, to)
    }

    /// Sends a message from one application to another, outside of all links. Never [`Fate::Forgotten`] nor [`Fate::Closed`].
    pub(crate) fn post(&mut self, now_us: u64, (from, to): (usize, usize), powered: bool) -> Fate {
        let cut = self.cut(from, to);
        if let Some(cut) = cut {
            self.met.cut(cut);
        }
        if cut.is_some() || !powered {
            return Fate::Swallowed { breaks: false };
        }
        let earliest_us = self.posts.get(&(from, to)).copied().unwrap_or(0);
        let (fate, next_us) = self.travel(now_us, (from, to), (earliest_us, now_us));
        self.posts.insert((from, to), next_us);
        fate
    }

    fn deliver(&mut self, now_us: u64, index: usize, side: usize, from: usize, to: usize) -> Fate {
        let peer = &self.links[index].ends[1 - side];
        let order = (peer.arrival_us, peer.opened_us);
        let (fate, next_us) = self.travel(now_us, (from, to), order);
        self.links[index].ends[1 - side].arrival_us = next_us;
        fate
    }

    /// Returns the fate of a message that has a way, and the earliest arrival of the next. It comes not before those that were sent
    /// before, and if it overtakes them not before the stream was opened.
    fn travel(
        &mut self,
        now_us: u64,
        (from, to): (usize, usize),
        (after_us, opened_us): (u64, u64),
    ) -> (Fate, u64) {
        if self.strikes(from, |what| match what {
            FaultWhat::Loss { ppm } => Some(*ppm),
            _ => None,
        }) {
            self.met.loss += 1;
            return (Fate::Lost, after_us);
        }
        let latency_us = self.latency(from, to);
        if self.extra_us[from].max(self.extra_us[to]) > 0 {
            self.met.delay += 1;
            for window in &mut self.windows {
                window.fresh &= !matches!(window.what, FaultWhat::Delay { node, .. } if node == from || node == to);
            }
        }
        let arrival_us = (now_us + latency_us).max(after_us);
        let earliest_us = opened_us.max(now_us);
        let by_us = self.reorder_by();
        if by_us > 0
            && self.strikes(from, |what| match what {
                FaultWhat::Reorder { ppm, .. } => Some(*ppm),
                _ => None,
            })
        {
            self.met.reorder += 1;
            let late_us = self.rngs[from].below(by_us);
            let late_us = (now_us + latency_us + late_us).max(earliest_us);
            return (Fate::Arrives(late_us), after_us);
        }
        if self.strikes(from, |what| match what {
            FaultWhat::Dup { ppm } => Some(*ppm),
            _ => None,
        }) {
            self.met.dup += 1;
            // Most copies follow at once; one that comes much later meets rows and deletes that are long gone.
            let octave = self.rngs[from].below(MAX_ECHO_OCTAVE);
            let late_us = self.rngs[from].below(1 << octave);
            let again_us = arrival_us + self.latency(from, to) + late_us;
            return (Fate::Twice(arrival_us, again_us), arrival_us);
        }
        (Fate::Arrives(arrival_us), arrival_us)
    }
}

#[cfg(test)]
mod tests;
