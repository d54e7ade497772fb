//! The part of the ring of ids that a member passes rows on to, and how it shares that part out.

use alloc::vec::Vec;

use crate::id::{LinkId, NodeId};
use crate::refusals::Refusal;

/// Ends of parts in one message, at most. An honest member names two more than twice its fan-out.
const MAX_CUTS: usize = 160;

/// The ids from `from` on, upwards and around, before `to`; none when the two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    from: NodeId,
    to: NodeId,
}

/// Whether a member may be given a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It answers, and there is room on its link.
    Good,
    /// It may not answer: taken only when no other of its part is better.
    Doubtful,
    /// Its link is full.
    Never,
}

/// The members that this node answers for: those with ids in these parts, itself left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Duty([Part; 2]);

/// A duty shared out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Share {
    /// The ends of all parts, ascending around the ring: each receiver answers for the part between two of them in which it is.
    pub(crate) cuts: Vec<NodeId>,
    /// The links that the parts go to.
    pub(crate) links: Vec<LinkId>,
    /// Parts in which no member has room.
    pub(crate) skipped: usize,
}

fn after(id: NodeId) -> NodeId {
    NodeId(id.0.wrapping_add(1))
}

impl Part {
    /// Where the members of this part begin among all, which are in the order of ids, and how many they are. O(log members).
    fn range(&self, ring: &[(NodeId, LinkId)]) -> (usize, usize) {
        let place = |id: NodeId| ring.partition_point(|(node, _)| *node < id);
        let (start, end) = (place(self.from), place(self.to));
        match self.from <= self.to {
            true => (start, end - start),
            false => (start, ring.len() - start + end),
        }
    }
}

impl Duty {
    /// Returns all members but this node: it is the origin.
    pub(crate) fn whole(me: NodeId) -> Duty {
        let none = Part { from: me, to: me };
        let (from, to) = (after(me), me);
        Duty([none, Part { from, to }])
    }

    /// Returns the part that a message leaves to this node; `None` when that is nothing.
    ///
    /// # Errors
    /// The reason to refuse the ends of its parts.
    pub(crate) fn received(cuts: &[NodeId], me: NodeId) -> Result<Option<Duty>, Refusal> {
        if cuts.len() > MAX_CUTS {
            return Err(Refusal::BadRange);
        }
        let Some(first) = cuts.first() else {
            return Ok(None);
        };
        let turn = |id: &NodeId| id.0.wrapping_sub(first.0);
        if !cuts.is_sorted_by(|one, next| turn(one) < turn(next)) {
            return Err(Refusal::BadRange);
        }
        let at = cuts.partition_point(|cut| turn(cut) <= turn(&me));
        // The first cut is never beyond.
        let (Some(from), Some(to)) = (cuts.get(at.wrapping_sub(1)), cuts.get(at)) else {
            return Ok(None);
        };
        let before = Part {
            from: *from,
            to: me,
        };
        let behind = Part {
            from: after(me),
            to: *to,
        };
        Ok(Some(Duty([before, behind])))
    }

    /// Shares the members out to about `fanout` of them, each of which answers for as many as the others. `ring` holds those that this node
    /// knows, without itself, in the order of ids; ids that it does not know belong to the part in which they are.
    /// O(fanout log members), plus members without room.
    pub(crate) fn share(
        &self,
        ring: &[(NodeId, LinkId)],
        fanout: usize,
        fit: impl Fn(NodeId, LinkId) -> Fit,
    ) -> Share {
        let ranges = self.0.map(|part| part.range(ring));
        let members: usize = ranges.iter().map(|(_, count)| count).sum();
        let size = members.div_ceil(fanout.max(1)).max(1);
        let mut share = Share::default();
        for (part, (start, count)) in self.0.iter().zip(ranges) {
            if count == 0 {
                continue;
            }
            let member = |at: usize| ring[(start + at) % ring.len()];
            share.cuts.push(part.from);
            for first in (0..count).step_by(size) {
                if first > 0 {
                    share.cuts.push(member(first).0);
                }
                let group = (first..count.min(first + size)).map(member);
                match pick(group, &fit) {
                    Some(link) => share.links.push(link),
                    None => share.skipped += 1,
                }
            }
            share.cuts.push(part.to);
        }
        share
    }
}

/// The first good one, or the first doubtful one: the same as long as nothing fails, so that rows come in order.
pub(super) fn pick(
    mut group: impl Iterator<Item = (NodeId, LinkId)>,
    fit: impl Fn(NodeId, LinkId) -> Fit,
) -> Option<LinkId> {
    let mut doubtful = None;
    let good = group.find(|(node, link)| match fit(*node, *link) {
        Fit::Good => true,
        Fit::Doubtful => {
            doubtful.get_or_insert(*link);
            false
        }
        Fit::Never => false,
    });
    good.map(|(_, link)| link).or(doubtful)
}
