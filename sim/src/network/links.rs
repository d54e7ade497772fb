//! Links by their ends. The two ends of a link have numbers that differ in their last bit; the even one dialled.

use rumormill_core::{DialId, LinkId};

use super::{Fate, Network};

/// A link breaks when its messages were swallowed for this long.
const BREAK_AFTER_US: u64 = 12_000_000;

/// One end of a link.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) node: usize,
    pub(crate) boot: u32,
    /// Between its `LinkUp` and its `LinkDown`.
    pub(crate) up: bool,
    /// This side has closed it, or its end is already on the way.
    pub(crate) closing: bool,
    /// The earliest arrival of the next message at this end.
    pub(super) arrival_us: u64,
    /// When this end came up.
    pub(super) opened_us: u64,
    /// Since when everything sent from this end is swallowed.
    swallowed_us: u64,
}

/// Nothing is swallowed. A large cluster has a link for every pair, so that an option's extra word counts.
const NEVER_US: u64 = u64::MAX;

impl End {
    fn new(node: usize, boot: u32) -> Self {
        End {
            node,
            boot,
            up: false,
            closing: false,
            arrival_us: 0,
            opened_us: 0,
            swallowed_us: NEVER_US,
        }
    }

    /// A message sent from this end is swallowed.
    pub(super) fn swallowed(&mut self, now_us: u64) -> Fate {
        self.swallowed_us = self.swallowed_us.min(now_us);
        let breaks = now_us - self.swallowed_us > BREAK_AFTER_US;
        Fate::Swallowed { breaks }
    }

    /// A message sent from this end has a way.
    pub(super) fn gets_through(&mut self) {
        self.swallowed_us = NEVER_US;
    }
}

/// A link: the end that dialled, and the other.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) ends: [End; 2],
    pub(crate) dial: DialId,
}

impl Network {
    pub(crate) fn link(&self, id: LinkId) -> Option<(&Link, usize)> {
        let link = self.links.get((id.0 / 2) as usize)?;
        Some((link, (id.0 % 2) as usize))
    }

    pub(crate) fn end(&self, id: LinkId) -> Option<&End> {
        self.link(id).map(|(link, side)| &link.ends[side])
    }

    fn end_mut(&mut self, id: LinkId) -> &mut End {
        &mut self.links[(id.0 / 2) as usize].ends[(id.0 % 2) as usize]
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
        let end = self.end_mut(id);
        end.up = up;
        end.closing |= !up;
    }

    pub(crate) fn set_closing(&mut self, id: LinkId) {
        self.end_mut(id).closing = true;
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

    /// When the end of the stream, sent by the end `id` now, reaches the other end: after all that was sent before.
    pub(crate) fn close_arrival(&mut self, now_us: u64, id: LinkId) -> u64 {
        let (from, to) = self.way(id);
        let due = now_us + self.latency(from, to);
        due.max(self.end_mut(Network::other(id)).arrival_us)
    }

    /// The sender and the receiver of what this end sends.
    pub(super) fn way(&self, id: LinkId) -> (usize, usize) {
        let ends = &self.links[(id.0 / 2) as usize].ends;
        let side = (id.0 % 2) as usize;
        (ends[side].node, ends[1 - side].node)
    }
}
