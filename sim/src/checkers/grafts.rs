//! Dots that an IHAVE names and that do not come are asked for.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use foldhash::fast::FixedState;
use hashbrown::HashSet;
use rumormill_core::wire::{ClassContext, ClusterMessage, GossipMessage, Message, RowBatch};
use rumormill_core::{
    Actor, LinkId, Node, Seq,
    io::{Event, Links},
    table::{RowClass, Version},
};

use super::{Violation, for_each};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "grafts";

/// Dots that one boot waits for at once (guarantees, "Bounds": every queue has a cap): of more than it has room for a node may leave some to anti-entropy.
const MAX_WAITING: usize = 256;
/// The time that a node takes to ask beside the time that it waits, in microseconds.
const SPARE_US: u64 = 20_000;

/// A dot on the wire: row class, actor, counter.
type Dot = (u8, Actor, u64);

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

/// The IHAVEs that one boot of a node was told, and its questions about them.
#[derive(Debug, Default)]
struct IHaves {
    /// When the boot began, in virtual microseconds: what was written before may have been on its disk.
    since_us: u64,
    /// Dots that came or were named. Only the first to name one is asked at once.
    known: HashSet<Dot, FixedState>,
    waiting: BTreeMap<Dot, Wait>,
    /// Links over which the node has sent what is for members alone: rows may be asked for there.
    trusted: BTreeSet<LinkId>,
    /// The store has no space: the node takes no rows, and no IHAVEs, until all that waited is on its disk.
    is_stalled: bool,
}

impl IHaves {
    /// Begins the IHAVEs of a boot.
    fn new(since_us: u64) -> Self {
        IHaves {
            since_us,
            ..IHaves::default()
        }
    }

    /// The node has sent over a link what it sends to members only.
    fn trusts(&mut self, link: LinkId) {
        self.trusted.insert(link);
    }

    /// The peer of a link greets, takes its leave or stops: what it is to the node has to be seen anew.
    fn turns(&mut self, link: LinkId) {
        if self.trusted.remove(&link) {
            self.waiting.retain(|_, wait| wait.link != link);
        }
    }

    /// The row of a dot came, or a context that covers it.
    fn came(&mut self, dot: Dot) {
        self.known.insert(dot);
        self.waiting.remove(&dot);
    }

    /// The node asks any peer for the row of a dot.
    fn asked(&mut self, dot: &Dot) {
        self.waiting.remove(dot);
    }

    /// A peer names a dot that was written at `born_us`.
    fn named(&mut self, dot: Dot, born_us: u64, (link, due_us, after): (LinkId, u64, Seq)) {
        if self.is_stalled {
            return;
        }
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

    /// The node cannot be expected to ask: it is no full member (rule 4), it leaves, or its machine is hurt, so that it is late or has no link that
    /// takes anything.
    fn excuse(&mut self) {
        self.waiting.clear();
    }

    /// Judges what was due. `synced` is what the node's disk has, and `is_open` tells whether something gets through a link.
    fn check(
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

/// The row class of a table whose rows are judged. A row with siblings stands for several dots.
const fn class_of(table: Table) -> Option<RowClass> {
    match table {
        Table::Periodic | Table::Sync => Some(RowClass::UsrDurable),
        Table::Memory => Some(RowClass::UsrMemory),
        Table::Siblings => None,
    }
}

fn dots_of(batch: &RowBatch) -> impl Iterator<Item = Dot> {
    batch.rows.iter().filter_map(|row| {
        let table = batch.tables.get(row.table as usize)?;
        let actor = batch.actors.get(row.actor as usize)?;
        Some((table.class, *actor, row.counter))
    })
}

/// Watches what nodes are told of dots that others have, and what they ask for.
pub(crate) struct Grafts {
    nodes: Vec<IHaves>,
    /// When clients wrote what has these dots, in virtual microseconds.
    born: BTreeMap<Dot, u64>,
}

impl Grafts {
    pub(crate) fn new(nodes: usize) -> Self {
        Grafts {
            nodes: for_each(nodes),
            born: BTreeMap::new(),
        }
    }

    /// A boot of the node begins.
    pub(crate) fn on_start(&mut self, (at_us, node): (u64, usize)) {
        self.nodes[node] = IHaves::new(at_us);
    }

    /// The node has accepted a write.
    pub(crate) fn on_accept(
        &mut self,
        (at_us, node): (u64, usize),
        table: Table,
        version: Version,
    ) {
        if let Some(class) = class_of(table) {
            let dot = (class as u8, version.actor, version.counter);
            self.born.insert(dot, at_us);
            self.nodes[node].came(dot);
        }
    }

    /// The node, which was a full member when its last turn ended or not, sends a message, which may ask for rows.
    pub(crate) fn on_send(&mut self, node: usize, was_full: bool, to: &Links, msg: &Message) {
        let asked = match msg {
            Message::Gossip(GossipMessage::Graft(dots)) => self.born_in(dots),
            Message::Gossip(
                GossipMessage::Push(_)
                | GossipMessage::Forward { .. }
                | GossipMessage::IHave(_)
                | GossipMessage::Pull(_),
            ) => Vec::new(),
            _ => return,
        };
        let ihaves = &mut self.nodes[node];
        for (dot, _) in &asked {
            ihaves.asked(dot);
        }
        if was_full {
            let links = to.as_slice().iter();
            links.for_each(|link| ihaves.trusts(*link));
        }
    }

    /// A message reaches the node, which has handed the batch `last` to its disk last.
    pub(crate) fn on_receive(
        &mut self,
        (at_us, node): (u64, usize),
        (running, last): (Option<&Node>, Seq),
        link: LinkId,
        msg: &Message,
    ) {
        let came = match msg {
            Message::Gossip(GossipMessage::IHave(dots)) => {
                let running = running.filter(|node| node.is_full());
                if let Some(running) = running {
                    let by = (link, due_us(at_us, running), last);
                    self.is_told(node, dots, by);
                }
                return;
            }
            Message::Cluster(
                ClusterMessage::Greeting(_)
                | ClusterMessage::Leave
                | ClusterMessage::Stop
                | ClusterMessage::Denial(_),
            ) => {
                return self.nodes[node].turns(link);
            }
            Message::Gossip(GossipMessage::Page(page)) => {
                let adopted = page.last.as_ref();
                adopted.map_or_else(Vec::new, |last| self.born_in(&last.contexts))
            }
            _ => Vec::new(),
        };
        let ihaves = &mut self.nodes[node];
        let rows = msg.rows().into_iter().flat_map(dots_of);
        let came = came.into_iter().map(|(dot, _)| dot);
        rows.chain(came).for_each(|dot| ihaves.came(dot));
    }

    /// The node tells that its store is out of space, or is no longer.
    pub(crate) fn on_event(&mut self, node: usize, event: &Event) {
        let ihaves = &mut self.nodes[node];
        match event {
            Event::StoreStalled(_) => ihaves.is_stalled = true,
            Event::StoreRecovered => ihaves.is_stalled = false,
            _ => {}
        }
    }

    /// The node cannot be expected to ask.
    pub(crate) fn excuse(&mut self, node: usize) {
        self.nodes[node].excuse();
    }

    /// Judges the node at the end of its turn. `synced` is what its disk has, and `is_open` tells whether something gets through a link.
    pub(crate) fn on_turn_end(
        &mut self,
        (at_us, node): (u64, usize),
        synced: Seq,
        is_open: impl Fn(LinkId) -> bool,
    ) -> Option<Violation> {
        self.nodes[node].check((at_us, node), synced, is_open)
    }

    fn is_told(&mut self, node: usize, dots: &[ClassContext], by: (LinkId, u64, Seq)) {
        for (dot, born_us) in self.born_in(dots) {
            self.nodes[node].named(dot, born_us, by);
        }
    }

    /// Returns the dots in these contexts that clients have written, and when.
    fn born_in(&self, contexts: &[ClassContext]) -> Vec<(Dot, u64)> {
        let mut out = Vec::new();
        for context in contexts {
            for (actor, runs) in &context.actors {
                for (low, high) in runs.iter().filter(|(low, high)| low <= high) {
                    let dot = |counter| (context.class, *actor, counter);
                    let born = self.born.range(dot(*low)..=dot(*high));
                    out.extend(born.map(|(dot, at_us)| (*dot, *at_us)));
                }
            }
        }
        out
    }
}

/// By when a node has to have asked for a dot of which it is told at this time, in virtual microseconds.
fn due_us(at_us: u64, running: &Node) -> u64 {
    let patience = running.config().timing.mismatch_patience;
    // It asks after a fifth of that by its own clock, which runs at no less than half of the right speed.
    let wait: Duration = patience / 2;
    at_us + wait.as_micros() as u64 + SPARE_US
}

#[cfg(test)]
mod tests {
    use rumormill_core::NodeId;

    use super::*;

    const LINK: LinkId = LinkId(7);

    fn dot(counter: u64) -> Dot {
        let actor = Actor {
            node: NodeId(1),
            boot: 1,
        };
        (1, actor, counter)
    }

    /// Whether a node is found not to ask that was told of a dot at a second, after and before these were done.
    fn is_found(before: impl FnOnce(&mut IHaves), after: impl FnOnce(&mut IHaves)) -> bool {
        let mut ihaves = IHaves::new(10);
        ihaves.trusts(LINK);
        before(&mut ihaves);
        ihaves.named(dot(1), 20, (LINK, 1_000, Seq(3)));
        after(&mut ihaves);
        assert_eq!(ihaves.check((1_000, 0), Seq(3), |_| true), None);
        assert_eq!(ihaves.check((1_001, 0), Seq(2), |_| true), None);
        let found = ihaves.check((1_001, 0), Seq(3), |link| link == LINK);
        assert_eq!(ihaves.check((1_002, 0), Seq(3), |_| true), None, "once");
        found.is_some()
    }

    #[test]
    fn what_is_named_comes_or_is_asked_for() {
        assert!(is_found(|_| {}, |_| {}));
        assert!(!is_found(|_| {}, |ihaves| ihaves.came(dot(1))));
        assert!(!is_found(|_| {}, |ihaves| ihaves.asked(&dot(1))));
        assert!(!is_found(|ihaves| ihaves.came(dot(1)), |_| {}));
        assert!(is_found(|_| {}, |ihaves| ihaves.asked(&dot(2))));
    }

    #[test]
    fn a_node_that_cannot_ask_is_excused() {
        assert!(!is_found(|_| {}, IHaves::excuse));
        assert!(!is_found(|_| {}, |ihaves| ihaves.turns(LINK)));
        assert!(!is_found(|ihaves| ihaves.turns(LINK), |_| {}));
        assert!(!is_found(|ihaves| ihaves.is_stalled = true, |_| {}));
        let mut ihaves = IHaves::new(10);
        ihaves.trusts(LINK);
        ihaves.named(dot(1), 10, (LINK, 0, Seq(0)));
        assert_eq!(
            ihaves.check((9, 0), Seq(0), |_| true),
            None,
            "it may be on its disk"
        );
        ihaves.named(dot(2), 20, (LINK, 0, Seq(0)));
        assert_eq!(
            ihaves.check((9, 0), Seq(0), |_| false),
            None,
            "the link is gone"
        );
    }
}
