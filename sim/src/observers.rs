//! The observers of a run: each owns the state that it judges from, is told of what happens, and says what is wrong with it.

use std::time::Duration;

use rumormill_core::wire::Message;
use rumormill_core::{Event, LinkId, Links, Node, NodeId, Now, Seq, Version};

use crate::checkers::ahead::Ahead;
use crate::checkers::grafts::Grafts;
use crate::checkers::hearsay::Hearsay;
use crate::checkers::pages::Pages;
use crate::checkers::{Violation, standing};
use crate::plan::Table;

/// A machine as its observers see it at one moment.
pub(crate) struct Sight<'a> {
    /// The moment, in virtual microseconds.
    pub(crate) at_us: u64,
    /// The machine.
    pub(crate) node: usize,
    /// Its node, while it runs.
    pub(crate) running: Option<&'a Node>,
    /// The times that its clocks show.
    pub(crate) now: Now,
    /// The turns that its node has ended.
    pub(crate) turn: u64,
    /// Whether its node was a full member when the last of them ended.
    pub(crate) was_full: bool,
    /// The last batch that its disk has got.
    pub(crate) stored: Seq,
    /// The last batch that is safe: without a disk all are.
    pub(crate) synced: Seq,
    /// Whether nothing is wrong with the machine, and its node is not leaving.
    pub(crate) is_well: bool,
}

impl Sight<'_> {
    /// The moment and the machine.
    fn place(&self) -> (u64, usize) {
        (self.at_us, self.node)
    }
}

/// The broken promises found so far.
#[derive(Default)]
pub(crate) struct Findings(Vec<Violation>);

impl Findings {
    pub(crate) fn all(&self) -> &[Violation] {
        &self.0
    }

    pub(crate) fn into_all(self) -> Vec<Violation> {
        self.0
    }

    /// Takes down what a checker found.
    pub(crate) fn add(&mut self, found: impl IntoIterator<Item = Violation>) {
        self.0.extend(found);
    }

    /// Takes down what a checker found of which one finding tells it all.
    pub(crate) fn add_once(&mut self, found: impl IntoIterator<Item = Violation>) {
        for found in found {
            if self.0.iter().all(|known| known.checker != found.checker) {
                self.0.push(found);
            }
        }
    }
}

/// All observers.
pub(crate) struct Observers {
    pub(crate) found: Findings,
    /// Where a cluster is measured no checker judges.
    is_off: bool,
    ahead: Ahead,
    grafts: Grafts,
    hearsay: Hearsay,
    pages: Pages,
}

impl Observers {
    pub(crate) fn new(nodes: usize) -> Self {
        Observers {
            found: Findings::default(),
            is_off: false,
            ahead: Ahead::new(nodes),
            grafts: Grafts::new(nodes),
            hearsay: Hearsay::new(nodes),
            pages: Pages::new(nodes),
        }
    }

    /// Ends the judging, before time begins: the cluster is measured.
    pub(crate) fn switch_off(&mut self) {
        self.is_off = true;
    }

    /// A life of a node begins.
    pub(crate) fn on_start(&mut self, at_us: u64, node: usize) {
        self.ahead.on_start(node);
        self.grafts.on_start((at_us, node));
        self.hearsay.on_start(node);
        self.pages.on_start(node);
    }

    /// A node sends a message.
    pub(crate) fn on_send(&mut self, sender: &Sight<'_>, to: &Links, msg: &Message) {
        let is_full = sender.was_full || sender.running.is_none_or(Node::is_full);
        self.found
            .add_once(standing::on_send(sender.place(), is_full, msg));
        if self.is_off {
            return;
        }
        self.grafts.on_send(sender.node, sender.was_full, to, msg);
        self.found
            .add_once(self.pages.on_send(sender.place(), to, msg));
        self.ahead.on_send(sender.node, to, msg);
    }

    /// A message reaches a node: it comes from a machine, or from nowhere, and from the node that this machine had when the link came up.
    pub(crate) fn on_receive(
        &mut self,
        receiver: &Sight<'_>,
        (from, sender): (usize, Option<NodeId>),
        link: LinkId,
        msg: &Message,
    ) {
        if self.is_off {
            return;
        }
        let (node, disk) = (receiver.node, (receiver.running, receiver.stored));
        self.grafts.on_receive(receiver.place(), disk, link, msg);
        self.ahead.on_receive((from, node), receiver.now, link, msg);
        self.hearsay
            .on_receive((node, receiver.turn), sender, Some((link, msg)));
    }

    /// A link of a node comes up, whose other end belongs to this node.
    pub(crate) fn on_link_up(&mut self, ours: &Sight<'_>, peer: Option<NodeId>) {
        if !self.is_off {
            self.hearsay.on_receive((ours.node, ours.turn), peer, None);
        }
    }

    /// A link of a node goes down.
    pub(crate) fn on_link_down(&mut self, node: usize, link: LinkId) {
        self.hearsay.on_link_down(node, link);
    }

    /// A node tells what it has come to know.
    pub(crate) fn on_event(&mut self, teller: &Sight<'_>, event: &Event) {
        if self.is_off {
            return;
        }
        let life = (teller.running, teller.turn);
        self.found
            .add_once(self.hearsay.on_event(teller.place(), life, event));
    }

    /// A node whose clocks show `now` has accepted a client's write, and refuses those that it would give a clock further ahead than `limit`.
    pub(crate) fn on_accept(&mut self, at: (u64, usize), now: Now, limit: Duration) {
        let found = self.ahead.on_accept(at, now, limit);
        self.found.add_once(found);
    }

    /// A node has accepted a client's write to a key.
    pub(crate) fn on_born(&mut self, at: (u64, usize), table: Table, version: Version) {
        self.grafts.on_accept(at, table, version);
    }

    /// Something is wrong with the machine of a node.
    pub(crate) fn on_hurt(&mut self, node: usize) {
        self.grafts.excuse(node);
    }

    /// A node has ended a turn. One that is hurt, or no member, is not judged, nor is one that leaves: the guarantees say that it takes no
    /// rows any more. `is_open` tells whether something gets through a link.
    pub(crate) fn on_turn_end(&mut self, ours: &Sight<'_>, is_open: impl Fn(LinkId) -> bool) {
        if !ours.was_full || !ours.is_well {
            return self.grafts.excuse(ours.node);
        }
        let found = self.grafts.on_turn_end(ours.place(), ours.synced, is_open);
        self.found.add_once(found);
    }
}
