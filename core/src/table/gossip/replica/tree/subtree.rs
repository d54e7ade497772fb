//! The subtree of members that a member passes rows on to, and how it splits that: a subtree is a part of the ring of ids.

use alloc::vec::Vec;

use crate::id::{LinkId, NodeId};
use crate::refusals::Refusal;

/// Ends of subtrees in one message, at most. An honest member names two more than twice its fan-out.
const MAX_CUTS: usize = 160;

/// The ids from `from` on, upwards and around, before `to`; none when the two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Span {
    from: NodeId,
    to: NodeId,
}

/// Whether a member may be given a subtree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// It answers, and there is room on its link.
    Good,
    /// It may not answer: taken only when no other of its subtree is better.
    Doubtful,
    /// Its link is full.
    Never,
}

/// The members that this node answers for: those with ids in these spans, itself left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subtree([Span; 2]);

/// A subtree that is split.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Split {
    /// The ends of all subtrees, ascending around the ring: each receiver answers for the one between two of them in which it is.
    pub(crate) cuts: Vec<NodeId>,
    /// The links that the subtrees go to.
    pub(crate) links: Vec<LinkId>,
    /// Subtrees in which no member has room.
    pub(crate) skipped: usize,
}

fn after(id: NodeId) -> NodeId {
    NodeId(id.0.wrapping_add(1))
}

impl Span {
    /// Where the members of this span begin among all, which are in the order of ids, and how many they are. O(log members).
    fn range(&self, ring: &[(NodeId, LinkId)]) -> (usize, usize) {
        let place = |id: NodeId| ring.partition_point(|(node, _)| *node < id);
        let (start, end) = (place(self.from), place(self.to));
        match self.from <= self.to {
            true => (start, end - start),
            false => (start, ring.len() - start + end),
        }
    }
}

impl Subtree {
    /// Returns all members but this node: it is the origin.
    pub(crate) fn whole(me: NodeId) -> Subtree {
        let none = Span { from: me, to: me };
        let (from, to) = (after(me), me);
        Subtree([none, Span { from, to }])
    }

    /// Returns the subtree that a message leaves to this node; `None` when that is nothing.
    ///
    /// # Errors
    /// The reason to refuse the ends of its subtrees.
    pub(crate) fn received(cuts: &[NodeId], me: NodeId) -> Result<Option<Subtree>, Refusal> {
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
        let before = Span {
            from: *from,
            to: me,
        };
        let behind = Span {
            from: after(me),
            to: *to,
        };
        Ok(Some(Subtree([before, behind])))
    }

    /// Splits the members among about `fanout` of them, each of which answers for as many as the others. `ring` holds those that this node
    /// knows, without itself, in the order of ids; ids that it does not know belong to the subtree in which they are.
    /// O(fanout log members), plus members without room.
    pub(crate) fn split(
        &self,
        ring: &[(NodeId, LinkId)],
        fanout: usize,
        fit: impl Fn(NodeId, LinkId) -> Fit,
    ) -> Split {
        let ranges = self.0.map(|span| span.range(ring));
        let members: usize = ranges.iter().map(|(_, count)| count).sum();
        let size = members.div_ceil(fanout.max(1)).max(1);
        let mut split = Split::default();
        for (span, (start, count)) in self.0.iter().zip(ranges) {
            if count == 0 {
                continue;
            }
            let member = |at: usize| ring[(start + at) % ring.len()];
            split.cuts.push(span.from);
            for first in (0..count).step_by(size) {
                if first > 0 {
                    split.cuts.push(member(first).0);
                }
                let group = (first..count.min(first + size)).map(member);
                match pick(group, &fit) {
                    Some(link) => split.links.push(link),
                    None => split.skipped += 1,
                }
            }
            split.cuts.push(span.to);
        }
        split
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
