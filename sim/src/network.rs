//! The network: links between nodes, and what happens to messages on their way.
//!
//! A link behaves like a stream connection: what arrives, arrives in order. Faults break that: a lossy window takes messages
//! out of the middle, duplicates them, or lets them overtake each other, and a cut swallows them without a word. A link
//! whose messages have been swallowed for long breaks, and so does one whose peer has forgotten it.

use std::collections::BTreeMap;

use rumormill_core::{DialId, LinkId};

use crate::plan::FaultWhat;
use crate::rng::{CERTAIN, Rng, Stream};

/// A copy of a message comes up to two to this power of microseconds after it, some 17 s.
const MAX_ECHO_OCTAVE: u64 = 24;

/// A dial through a cut is given up after this long.
pub(crate) const DIAL_TIMEOUT_US: u64 = 2_000_000;
/// A link breaks when its messages were swallowed for this long.
const BREAK_AFTER_US: u64 = 12_000_000;

/// One end of a link.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) life: u32,
    /// Between its `LinkUp` and its `LinkDown`.
    pub(crate) up: bool,
    /// This side has closed it, or its end is already on the way.
    pub(crate) closing: bool,
    /// The earliest arrival of the next message at this end.
    arrival_us: u64,
    /// When this end came up.
    opened_us: u64,
    /// Since when everything sent from this end is swallowed.
    swallowed_us: Option<u64>,
}

impl End {
    fn new(node: usize, life: u32) -> Self {
        End {
            node,
            life,
            up: false,
            closing: false,
            arrival_us: 0,
            opened_us: 0,
            swallowed_us: None,
        }
    }
}

/// A link: the end that dialled, and the other.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) dial: DialId,
}

/// What becomes of a message.
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

/// How often a message met a fault.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Met {
    pub(crate) loss: u64,
    pub(crate) dup: u64,
    pub(crate) reorder: u64,
    pub(crate) delay: u64,
    pub(crate) corrupt: u64,
    pub(crate) partition: u64,
    pub(crate) oneway: u64,
}

impl Met {
    fn cut(&mut self, cut: Cut) {
        match cut {
            Cut::TwoSided => self.partition += 1,
            Cut::OneWay => self.oneway += 1,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    TwoSided,
    OneWay,
}

struct Window {
    number: usize,
    what: FaultWhat,
    /// Whether it has an effect at present: a flap comes and goes.
    on: bool,
    /// The first message it can take is taken for certain, so that no window passes without effect.
    fresh: bool,
}

/// The way from any node to any other, and all links.
pub(crate) struct Network {
    nodes: usize,
    /// Per sender, so that one node's traffic shifts nobody else's draws.
    rngs: Vec<Rng>,
    /// The fixed part of the latency, per ordered pair.
    base_us: Vec<u64>,
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
            .map(|_| latency.between(scale / 2, scale * 2))
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
    pub(crate) fn set_latency(&mut self, us: u64) {
        self.base_us.fill(us);
    }

    pub(crate) fn link(&self, id: LinkId) -> Option<(&Link, usize)> {
        let link = self.links.get((id.0 / 2) as usize)?;
        Some((link, (id.0 % 2) as usize))
    }

    pub(crate) fn end(&self, id: LinkId) -> Option<&End> {
        self.link(id).map(|(link, side)| &link.ends[side])
    }

    /// The number of the other end.
    pub(crate) fn other(id: LinkId) -> LinkId {
        LinkId(id.0 ^ 1)
    }

    /// Opens a link for a dial that has arrived. The accepting end comes up at once, the dialling one at the returned time.
    pub(crate) fn accept(
        &mut self,
        now_us: u64,
        from: (usize, u32),
        to: (usize, u32),
        dial: DialId,
    ) -> (LinkId, u64) {
        let id = LinkId(self.links.len() as u64 * 2);
        let back_us = now_us + self.latency(to.0, from.0);
        let mut ends = [End::new(from.0, from.1), End::new(to.0, to.1)];
        ends[0].opened_us = back_us;
        ends[0].arrival_us = back_us;
        ends[1].opened_us = now_us;
        self.links.push(Link { ends, dial });
        (id, back_us)
    }

    pub(crate) fn set_up(&mut self, id: LinkId, up: bool) {
        let end = &mut self.links[(id.0 / 2) as usize].ends[(id.0 % 2) as usize];
        end.up = up;
        end.closing |= !up;
    }

    pub(crate) fn set_closing(&mut self, id: LinkId) {
        self.links[(id.0 / 2) as usize].ends[(id.0 % 2) as usize].closing = true;
    }

    /// The open ends of a node, as when it loses its power.
    pub(crate) fn open_ends(&self, node: usize) -> Vec<LinkId> {
        let mut out = Vec::new();
        for (i, link) in self.links.iter().enumerate() {
            for (side, end) in link.ends.iter().enumerate() {
                if end.node == node && end.up {
                    out.push(LinkId((i * 2 + side) as u64));
                }
            }
        }
        out
    }

    /// Whether nothing cuts the way.
    pub(crate) fn reaches(&self, from: usize, to: usize) -> bool {
        self.cut(from, to).is_none()
    }

    /// A fresh latency of the way.
    pub(crate) fn latency(&mut self, from: usize, to: usize) -> u64 {
        let base_us = self.base_us[from * self.nodes + to];
        let extra_us = self.extra_us[from].max(self.extra_us[to]);
        base_us + self.rngs[from].below(base_us / 2 + 1) + extra_us
    }

    /// When the end of the stream, sent by the end `id` now, reaches the other end: after all that was sent before.
    pub(crate) fn close_arrival(&mut self, now_us: u64, id: LinkId) -> u64 {
        let (from, to) = self.way(id);
        let due = now_us + self.latency(from, to);
        let other = Network::other(id);
        due.max(self.links[(other.0 / 2) as usize].ends[(other.0 % 2) as usize].arrival_us)
    }

    fn way(&self, id: LinkId) -> (usize, usize) {
        let ends = &self.links[(id.0 / 2) as usize].ends;
        let side = (id.0 % 2) as usize;
        (ends[side].node, ends[1 - side].node)
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
            let since = *self.links[index].ends[side]
                .swallowed_us
                .get_or_insert(now_us);
            return Fate::Swallowed {
                breaks: now_us - since > BREAK_AFTER_US,
            };
        }
        let peer = &self.links[index].ends[1 - side];
        let forgotten = peer.closing && !peer.up;
        // A dead host answers nothing; one that is up and does not know the link says so, if its words get through.
        if !powered || (forgotten && !self.reaches(to, from)) {
            let since = *self.links[index].ends[side]
                .swallowed_us
                .get_or_insert(now_us);
            return Fate::Swallowed {
                breaks: now_us - since > BREAK_AFTER_US,
            };
        }
        if forgotten {
            return Fate::Forgotten(now_us + self.latency(from, to) + self.latency(to, from));
        }
        self.links[index].ends[side].swallowed_us = None;
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

    /// What becomes of a message that has a way, and the earliest arrival of the next. It comes not before those that were sent
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

    /// Whether a window of the kind that `rate` knows takes the message.
    fn strikes(&mut self, from: usize, rate: impl Fn(&FaultWhat) -> Option<u32>) -> bool {
        for window in &mut self.windows {
            if let Some(ppm) = rate(&window.what) {
                let ppm = if std::mem::take(&mut window.fresh) {
                    CERTAIN
                } else {
                    ppm
                };
                if self.rngs[from].chance(ppm) {
                    return true;
                }
            }
        }
        false
    }

    fn reorder_by(&self) -> u64 {
        let by = self.windows.iter().filter_map(|window| match window.what {
            FaultWhat::Reorder { by_us, .. } => Some(by_us),
            _ => None,
        });
        by.max().unwrap_or(0)
    }

    /// The fault `number` of the plan begins. Faults of nodes are not the network's.
    pub(crate) fn begin(&mut self, number: usize, what: &FaultWhat) {
        self.windows.push(Window {
            number,
            what: what.clone(),
            on: true,
            fresh: sides(what).is_none(),
        });
        self.refresh();
    }

    /// A flap turns into its other half. `None` when the fault `number` is over.
    pub(crate) fn flip(&mut self, number: usize) -> Option<bool> {
        let mut windows = self.windows.iter_mut();
        let window = windows.find(|window| window.number == number)?;
        window.on = !window.on;
        let on = window.on;
        self.refresh();
        Some(on)
    }

    /// Bits of a message from this node may flip. Returns which, if any: a number to be taken modulo the number of bits.
    pub(crate) fn corrupts(&mut self, from: usize) -> Option<u64> {
        let strikes = self.strikes(from, |what| match what {
            FaultWhat::Corrupt { ppm } => Some(*ppm),
            _ => None,
        });
        if !strikes {
            return None;
        }
        self.met.corrupt += 1;
        Some(self.rngs[from].next())
    }

    /// The fault `number` of the plan ends.
    pub(crate) fn end_fault(&mut self, number: usize) {
        self.windows.retain(|window| window.number != number);
        self.refresh();
    }

    /// Whether the fault `number` of the plan strikes messages and has struck none yet.
    pub(crate) fn is_fresh(&self, number: usize) -> bool {
        self.windows
            .iter()
            .any(|window| window.number == number && window.fresh)
    }

    /// Whether the fault `number` of the plan cuts ways.
    pub(crate) fn is_cut(&self, number: usize) -> bool {
        let mut windows = self.windows.iter();
        windows.any(|window| window.number == number && sides(&window.what).is_some())
    }

    /// All faults end.
    pub(crate) fn heal(&mut self) {
        self.windows.clear();
        self.refresh();
    }

    fn refresh(&mut self) {
        self.extra_us.fill(0);
        self.cuts.fill(None);
        for window in self.windows.iter().filter(|window| window.on) {
            if let FaultWhat::Delay { node, by_us } = &window.what {
                self.extra_us[*node] = self.extra_us[*node].max(*by_us);
            }
            let Some((from, to, cut)) = sides(&window.what) else {
                continue;
            };
            for (from, to) in across(from, to) {
                let (there, back) = (from * self.nodes + to, to * self.nodes + from);
                match cut {
                    Cut::TwoSided => {
                        self.cuts[there] = Some(cut);
                        self.cuts[back] = Some(cut);
                    }
                    Cut::OneWay => drop(self.cuts[there].get_or_insert(cut)),
                }
            }
        }
    }

    fn cut(&self, from: usize, to: usize) -> Option<Cut> {
        self.cuts[from * self.nodes + to]
    }
}

/// The groups that a fault keeps apart, and how.
fn sides(what: &FaultWhat) -> Option<(&[usize], &[usize], Cut)> {
    match what {
        FaultWhat::Partition { left, right }
        | FaultWhat::Partial { left, right }
        | FaultWhat::Bridge { left, right }
        | FaultWhat::Flap { left, right, .. } => Some((left, right, Cut::TwoSided)),
        FaultWhat::OneWay { from, to } => Some((from, to, Cut::OneWay)),
        _ => None,
    }
}

/// All pairs from one group to another.
fn across<'a>(left: &'a [usize], right: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + 'a {
    left.iter()
        .flat_map(|from| right.iter().map(|to| (*from, *to)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(net: &mut Network) -> LinkId {
        let (id, _) = net.accept(0, (0, 1), (1, 1), DialId(1));
        net.set_up(id, true);
        net.set_up(Network::other(id), true);
        id
    }

    fn arrivals(net: &mut Network, id: LinkId, count: u64) -> Vec<u64> {
        let mut out = Vec::new();
        for i in 0..count {
            match net.send(1_000_000 + i, id, true) {
                Fate::Arrives(at) => out.push(at),
                Fate::Twice(at, again) => out.extend([at, again]),
                _ => {}
            }
        }
        out
    }

    #[test]
    fn a_healthy_link_keeps_order() {
        let mut net = Network::new(3, 2);
        let id = open(&mut net);
        let got = arrivals(&mut net, id, 500);
        assert_eq!(got.len(), 500);
        assert!(got.is_sorted());
    }

    #[test]
    fn windows_lose_double_and_reorder() {
        let mut net = Network::new(3, 2);
        let id = open(&mut net);
        net.begin(0, &FaultWhat::Loss { ppm: 200_000 });
        let got = arrivals(&mut net, id, 1_000).len();
        assert!((700..900).contains(&got), "{got}");
        net.heal();
        net.begin(1, &FaultWhat::Dup { ppm: 200_000 });
        let got = arrivals(&mut net, id, 1_000).len();
        assert!((1_100..1_300).contains(&got), "{got}");
        net.end_fault(1);
        net.begin(
            2,
            &FaultWhat::Reorder {
                ppm: 1,
                by_us: 50_000,
            },
        );
        assert!(
            !arrivals(&mut net, id, 50).is_sorted(),
            "the first message of a window is always struck"
        );
    }

    #[test]
    fn cuts_swallow_and_break() {
        let mut net = Network::new(3, 3);
        let id = open(&mut net);
        net.begin(
            0,
            &FaultWhat::OneWay {
                from: vec![0],
                to: vec![1, 2],
            },
        );
        assert_eq!(net.send(10, id, true), Fate::Swallowed { breaks: false });
        assert!(matches!(
            net.send(10, Network::other(id), true),
            Fate::Arrives(_)
        ));
        assert_eq!(
            net.send(20_000_000, id, true),
            Fate::Swallowed { breaks: true }
        );
        net.begin(
            1,
            &FaultWhat::Partition {
                left: vec![1, 2],
                right: vec![0],
            },
        );
        assert_eq!(
            net.send(10, Network::other(id), true),
            Fate::Swallowed { breaks: false }
        );
        net.end_fault(0);
        net.end_fault(1);
        assert!(matches!(net.send(20_000_001, id, true), Fate::Arrives(_)));
        assert_eq!(
            net.send(20_000_002, id, false),
            Fate::Swallowed { breaks: false }
        );
        net.set_up(Network::other(id), false);
        assert!(matches!(net.send(20_000_003, id, true), Fate::Forgotten(_)));
        assert_eq!((net.met.oneway, net.met.partition), (2, 1));
    }
}
