//! Dots that a notice names and that do not come are asked for.

use std::collections::{BTreeMap, BTreeSet};

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use rumormill_core::{Actor, LinkId, Seq};

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "grafts";

/// Dots that one life waits for at once: of more than it has room for a node may leave some to anti-entropy.
const MAX_WAITING: usize = 256;

/// A dot on the wire: domain, actor, counter.
pub type Dot = (u8, Actor, u64);

/// A dot that was named and has neither come nor been asked for.
#[derive(Debug)]
struct Wait {
    /// The link of the peer that named it.
    link: LinkId,
    /// When it has to have been asked for, in virtual microseconds.
    due_us: u64,
    /// The last batch that the node had handed to its disk: a question may wait for that.
    after: Seq,
}

/// The notices that one life of a node was told, and its questions about them.
#[derive(Debug, Default)]
pub struct Notices {
    /// When the life began, in virtual microseconds: what was written before may have been on its disk.
    since_us: u64,
    /// Dots that came or were named. Only the first to name one is asked at once.
    known: HashSet<Dot, FixedState>,
    waiting: BTreeMap<Dot, Wait>,
    /// Links over which the node has sent what is for members alone: rows may be asked for there.
    trusted: BTreeSet<LinkId>,
}

impl Notices {
    /// Begins the notices of a life.
    pub fn new(since_us: u64) -> Self {
        Notices {
            since_us,
            ..Notices::default()
        }
    }

    /// The node has sent over a link what it sends to members only.
    pub fn trusts(&mut self, link: LinkId) {
        self.trusted.insert(link);
    }

    /// The peer of a link greets or takes its leave: what it is to the node has to be seen anew.
    pub fn turns(&mut self, link: LinkId) {
        if self.trusted.remove(&link) {
            self.waiting.retain(|_, wait| wait.link != link);
        }
    }

    /// The row of a dot came, or a context that covers it.
    pub fn came(&mut self, dot: Dot) {
        self.known.insert(dot);
        self.waiting.remove(&dot);
    }

    /// The node asks for the row of a dot, whomever.
    pub fn asked(&mut self, dot: &Dot) {
        self.waiting.remove(dot);
    }

    /// A peer names a dot that was written at `born_us`.
    pub fn named(&mut self, dot: Dot, born_us: u64, (link, due_us, after): (LinkId, u64, Seq)) {
        let judged = born_us > self.since_us && self.trusted.contains(&link);
        if self.known.insert(dot) && judged && self.waiting.len() < MAX_WAITING {
            self.waiting.insert(
                dot,
                Wait {
                    link,
                    due_us,
                    after,
                },
            );
        }
    }

    /// The node cannot be expected to ask.
    pub fn excuse(&mut self) {
        self.waiting.clear();
    }

    /// Judges what was due. `synced` is what the node's disk has, and `is_open` tells whether something gets through a link.
    pub fn check(
        &mut self,
        (at_us, node): (u64, usize),
        synced: Seq,
        is_open: impl Fn(LinkId) -> bool,
    ) -> Option<Violation> {
        let due = self
            .waiting
            .extract_if(.., |_, wait| wait.due_us < at_us && wait.after <= synced);
        let mut missed = due.filter(|(_, wait)| is_open(wait.link));
        missed.next().map(|((_, actor, counter), _)| Violation {
            checker: NAME,
            at_us,
            text: format!("n{node} was told of {actor}:{counter}, has not got it and does not ask"),
        })
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::NodeId;

    use super::*;

    const LINK: LinkId = LinkId(7);

    fn dot(counter: u64) -> Dot {
        let actor = Actor {
            node: NodeId(1),
            run: 1,
        };
        (1, actor, counter)
    }

    /// Whether a node is found not to ask that was told of a dot at a second, after and before these were done.
    fn is_found(before: impl FnOnce(&mut Notices), after: impl FnOnce(&mut Notices)) -> bool {
        let mut notices = Notices::new(10);
        notices.trusts(LINK);
        before(&mut notices);
        notices.named(dot(1), 20, (LINK, 1_000, Seq(3)));
        after(&mut notices);
        assert_eq!(notices.check((1_000, 0), Seq(3), |_| true), None);
        assert_eq!(notices.check((1_001, 0), Seq(2), |_| true), None);
        let found = notices.check((1_001, 0), Seq(3), |link| link == LINK);
        assert_eq!(notices.check((1_002, 0), Seq(3), |_| true), None, "once");
        found.is_some()
    }

    #[test]
    fn what_is_named_comes_or_is_asked_for() {
        assert!(is_found(|_| {}, |_| {}));
        assert!(!is_found(|_| {}, |notices| notices.came(dot(1))));
        assert!(!is_found(|_| {}, |notices| notices.asked(&dot(1))));
        assert!(!is_found(|notices| notices.came(dot(1)), |_| {}));
        assert!(is_found(|_| {}, |notices| notices.asked(&dot(2))));
    }

    #[test]
    fn a_node_that_cannot_ask_is_excused() {
        assert!(!is_found(|_| {}, Notices::excuse));
        assert!(!is_found(|_| {}, |notices| notices.turns(LINK)));
        assert!(!is_found(|notices| notices.turns(LINK), |_| {}));
        let mut notices = Notices::new(10);
        notices.trusts(LINK);
        notices.named(dot(1), 10, (LINK, 0, Seq(0)));
        assert_eq!(
            notices.check((9, 0), Seq(0), |_| true),
            None,
            "it may be on its disk"
        );
        notices.named(dot(2), 20, (LINK, 0, Seq(0)));
        assert_eq!(
            notices.check((9, 0), Seq(0), |_| false),
            None,
            "the link is gone"
        );
    }
}
