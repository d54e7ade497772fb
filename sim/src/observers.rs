//! The observers of a run: each owns the state that it judges from, is told of what happens, and says what is wrong with it.

use std::time::Duration;

use bytes::Bytes;
use rumormill_core::wire::Message;
use rumormill_core::{
    Cursor, Event, Handover, Instant, LinkId, Links, Node, NodeId, Now, Seq, TableId, Version, View,
};

use crate::agreed::Agreed;
use crate::checkers::ahead::Ahead;
use crate::checkers::bounds::{Bounds, Queues};
use crate::checkers::durability::Unsynced;
use crate::checkers::evictions::Evictions;
use crate::checkers::grafts::Grafts;
use crate::checkers::hearsay::Hearsay;
use crate::checkers::hidden::Hidden;
use crate::checkers::leaves::Leaves;
use crate::checkers::liveness::Liveness;
use crate::checkers::no_resurrection::Resurrections;
use crate::checkers::pages::Pages;
use crate::checkers::pushes::Pushes;
use crate::checkers::repairs::Repairs;
use crate::checkers::siblings::Authors;
use crate::checkers::watching::Watching;
use crate::checkers::{Violation, standing};
use crate::model::{Model, Told};
use crate::plan::Table;
use crate::sessions::Exchanges;

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
    pub(crate) evictions: Evictions,
    pub(crate) sessions: Exchanges,
    pub(crate) siblings: Authors,
    /// Tells the judges of rows that expire which of them may have ended.
    pub(crate) agreed: Agreed,
    ahead: Ahead,
    pub(crate) bounds: Bounds,
    grafts: Grafts,
    hearsay: Hearsay,
    hidden: Hidden,
    pub(crate) leaves: Leaves,
    pub(crate) liveness: Liveness,
    pages: Pages,
    pub(crate) pushes: Pushes,
    pub(crate) repairs: Repairs,
    resurrections: Resurrections,
    pub(crate) unsynced: Unsynced,
    pub(crate) watching: Watching,
}

impl Observers {
    pub(crate) fn new(nodes: usize) -> Self {
        Observers {
            found: Findings::default(),
            is_off: false,
            evictions: Evictions::default(),
            sessions: Exchanges::default(),
            siblings: Authors::default(),
            agreed: Agreed::new(nodes),
            ahead: Ahead::new(nodes),
            bounds: Bounds::new(nodes),
            grafts: Grafts::new(nodes),
            hearsay: Hearsay::new(nodes),
            hidden: Hidden::new(nodes),
            leaves: Leaves::new(nodes),
            liveness: Liveness::new(nodes),
            pages: Pages::new(nodes),
            pushes: Pushes::default(),
            repairs: Repairs::new(nodes),
            resurrections: Resurrections::new(nodes),
            unsynced: Unsynced::new(nodes),
            watching: Watching::new(nodes),
        }
    }

    /// Ends the judging, before time begins: the cluster is measured.
    pub(crate) fn switch_off(&mut self) {
        self.is_off = true;
    }

    /// A life of a node begins, which shows this view of these tables. A watching client begins at the cursors.
    pub(crate) fn on_start(
        &mut self,
        (at_us, node): (u64, usize),
        view: &View<'_>,
        tables: (&[TableId], &[Cursor]),
    ) {
        self.ahead.on_start(node);
        self.grafts.on_start((at_us, node));
        self.hearsay.on_start(node);
        self.liveness.on_call(node);
        self.pages.on_start(node);
        self.watching.on_start(node, view, tables);
        self.on_view(node);
    }

    /// A node shows other rows than before: those of a new life, or those of its cluster in the place of its own.
    fn on_view(&mut self, node: usize) {
        self.hidden.on_view(node);
        self.resurrections.on_view(node);
    }

    /// A node that runs, if it does, is about to stop.
    pub(crate) fn on_stop(&mut self, node: usize, running: Option<&Node>) {
        if let Some(running) = running {
            self.repairs.on_stop(node, running);
        }
        self.watching.on_stop(node);
    }

    /// Something other than its own deadline calls a node.
    pub(crate) fn on_call(&mut self, node: usize) {
        self.liveness.on_call(node);
    }

    /// The deadline of a node, which has this name, wakes it.
    pub(crate) fn on_wake(&mut self, at: (u64, usize), why: &str) {
        self.found.add(self.liveness.on_wake(at, why));
    }

    /// The driver of a node is about to empty its queues.
    pub(crate) fn on_queues(&mut self, at: (u64, usize), seen: &Queues) {
        // A queue that is too long stays so.
        self.found.add_once(self.bounds.on_turn(at, seen));
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
        self.repairs.on_receive((from, receiver.node), msg);
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
        if matches!(event, Event::Joined { .. } | Event::Reunited { .. }) {
            self.on_view(teller.node);
        }
        self.pushes.on_event(teller.at_us, event);
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

    /// A key of a node shows this version now, or none, and that expires or does not.
    pub(crate) fn on_shown(
        &mut self,
        at: (u64, usize),
        (table, key): (Table, &Bytes),
        shows: Option<(Version, bool)>,
        model: &Model,
    ) {
        self.hidden.on_shown(at.1, (table, key), shows);
        // Whether a row has expired depends on the wall clock, which may go back.
        let expires = shows.is_some_and(|(_, expires)| expires);
        if !expires && !model.is_lost(table, key) {
            let version = shows.map(|(version, _)| version);
            let found = self.resurrections.on_shown(at, (table, key), version);
            self.found.add(found);
        }
    }

    /// A node has flushed a table.
    pub(crate) fn on_flush(&mut self, node: usize, table: Table) {
        self.hidden.on_flush(node, table);
    }

    /// A node has taken a delete that wrote nothing.
    pub(crate) fn on_unwritten(&mut self, at: (u64, usize), place: (Table, &Bytes), model: &Model) {
        let ended = |op: &Told| self.agreed.may_have_ended(op);
        let found = self.hidden.on_unwritten(at, place, model, ended);
        self.found.add(found);
    }

    /// A node has repaired rows that it lacked.
    pub(crate) fn on_repair(&mut self, at: (u64, usize)) {
        self.found.add_once(self.repairs.on_repair(at));
    }

    /// A node has left, at this time of its own clock, and says how far that came.
    pub(crate) fn on_left(&mut self, at: (u64, usize), answered: Instant, handover: &Handover) {
        let found = self.leaves.on_left(at, answered, handover);
        self.found.add_once(found);
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
