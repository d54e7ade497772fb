//! The observers of a run: each owns the state that it judges from, is told of what happens, and says what is wrong with it.

mod clients;
mod clocks;
mod end;

use bytes::Bytes;
use rumormill_core::wire::Message;
use rumormill_core::{
    Instant, LinkId, Node, NodeId, Now, Seq, TableId, Token,
    errors::RequestError,
    io::{Event, Handover, Links, Response},
    table::{Cursor, View},
};

pub(crate) use end::AtEnd;

use crate::agreed::Agreed;
use crate::checkers::ahead::Ahead;
use crate::checkers::bounds::Bounds;
use crate::checkers::damage::Damages;
use crate::checkers::durability::Unsynced;
use crate::checkers::evictions::{Evictions, Outcome};
use crate::checkers::grafts::Grafts;
use crate::checkers::hearsay::Hearsay;
use crate::checkers::hidden::Hidden;
use crate::checkers::leaves::Leaves;
use crate::checkers::liveness::Liveness;
use crate::checkers::no_resurrection::Resurrections;
use crate::checkers::older_copies::OlderCopies;
use crate::checkers::pages::Pages;
use crate::checkers::phase::FullMembers;
use crate::checkers::pushes::Pushes;
use crate::checkers::repairs::Repairs;
use crate::checkers::siblings::Authors;
use crate::checkers::stops;
use crate::checkers::watching::Watching;
use crate::checkers::{Contents, Violation};
use crate::model::{Held, Model};
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

/// All observers. Everything that they are told, and asked, goes through here.
pub(crate) struct Observers {
    found: Findings,
    /// Where a cluster is measured no checker judges.
    is_off: bool,
    answers: Answers,
    evictions: Evictions,
    siblings: Authors,
    /// Tells the judges of rows that expire which of them may have ended.
    agreed: Agreed,
    ahead: Ahead,
    bounds: Bounds,
    damages: Damages,
    grafts: Grafts,
    hearsay: Hearsay,
    hidden: Hidden,
    leaves: Leaves,
    liveness: Liveness,
    older_copies: OlderCopies,
    pages: Pages,
    pushes: Pushes,
    repairs: Repairs,
    resurrections: Resurrections,
    full_members: FullMembers,
    watching: Watching,
}

/// The answers to clients: others judge by them.
struct Answers {
    model: Model,
    sessions: Exchanges,
    unsynced: Unsynced,
}

impl Observers {
    pub(crate) fn new(nodes: usize) -> Self {
        Observers {
            found: Findings::default(),
            is_off: false,
            answers: Answers {
                model: Model::default(),
                sessions: Exchanges::new(nodes),
                unsynced: Unsynced::new(nodes),
            },
            evictions: Evictions::default(),
            siblings: Authors::default(),
            agreed: Agreed::new(nodes),
            ahead: Ahead::new(nodes),
            bounds: Bounds::new(nodes),
            damages: Damages::new(nodes),
            grafts: Grafts::new(nodes),
            hearsay: Hearsay::new(nodes),
            hidden: Hidden::new(nodes),
            leaves: Leaves::new(nodes),
            liveness: Liveness::new(nodes),
            older_copies: OlderCopies::new(nodes),
            pages: Pages::new(nodes),
            pushes: Pushes::default(),
            repairs: Repairs::new(nodes),
            resurrections: Resurrections::new(nodes),
            full_members: FullMembers::new(nodes),
            watching: Watching::new(nodes),
        }
    }

    /// Ends the judging, before time begins: the cluster is measured.
    pub(crate) fn switch_off(&mut self) {
        self.is_off = true;
    }

    /// A boot of a node begins, which shows this view of these tables. A watching client begins at the cursors.
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
        self.full_members.on_start(node);
        self.watching.on_start(node, view, tables);
        self.on_view(node);
    }

    /// A node shows other rows than before: those of a new boot, or those of its cluster in the place of its own.
    fn on_view(&mut self, node: usize) {
        self.hidden.on_view(node);
        self.resurrections.on_view(node);
        self.answers.sessions.on_view(node);
    }

    /// A node that runs, if it does, is about to stop, and its disk has the batches up to this one.
    pub(crate) fn on_stop(&mut self, node: usize, running: Option<&Node>, upto: Seq) {
        if let Some(running) = running {
            self.repairs.on_stop(node, running);
        }
        self.watching.on_stop(node);
        for op in self.answers.unsynced.on_stop(node, upto) {
            self.answers.model.at_risk(op);
        }
        self.answers.model.stopped(node);
    }

    /// A node has stopped in good order, and its disk has synced all batches up to this one.
    pub(crate) fn on_stopped(&mut self, at: (u64, usize), synced: Seq) {
        let unsynced = self.answers.unsynced.behind(at.1, synced);
        self.found.add_once(stops::check(at, unsynced));
    }

    /// The disk of a node has all batches up to this one.
    pub(crate) fn on_synced(&mut self, node: usize, upto: Seq) {
        self.answers.unsynced.on_synced(node, upto);
    }

    /// The machine of a node has forgotten it: another one will come in its place.
    pub(crate) fn on_forget(&mut self, node: usize) {
        self.answers.model.forgot(node);
        self.damages.on_forget(node);
        self.evictions.on_return(node);
        self.repairs.on_forget(node);
    }

    /// A copy of this moment takes the place of a node's disk. A write that the node has accepted since may be nowhere else.
    pub(crate) fn on_put_back(&mut self, node: usize, since_us: u64) {
        self.answers.model.forgot_since(node, since_us);
        self.older_copies.on_put_back(node);
    }

    /// Bits of the disk of a node flip.
    pub(crate) fn on_bits_flipped(&mut self, node: usize) {
        self.damages.on_rot(node);
    }

    /// The record of this key is damaged on the disk of a node.
    pub(crate) fn on_rot(&mut self, node: usize, table: Table, key: &Bytes) {
        self.answers.model.forgot_key(node, table, key);
    }

    /// The definition of a table is lost with the disk of a node.
    pub(crate) fn on_definition_lost(&mut self, node: usize, table: Table) {
        self.answers.model.forgot_table(node, table);
    }

    /// The batch that a node has written at this moment is damaged on its disk.
    pub(crate) fn on_batch_rot(&mut self, node: usize, at_us: u64) {
        self.answers.model.forgot_at(node, at_us);
    }

    /// The disk of a node loses rows.
    pub(crate) fn on_loss(&mut self, node: usize) {
        self.repairs.on_loss(node);
    }

    /// One of the rows that the disk of a node loses has this key.
    pub(crate) fn on_row_lost(&mut self, node: usize, table: Table, key: &Bytes) {
        self.answers.model.lost_key(node, table, key);
    }

    /// A node proposes anew, when it returns, what it has accepted and what it holds.
    pub(crate) fn on_went_alone(&mut self, node: usize, held: Option<&Held>) {
        self.answers.model.went_alone(node, held);
    }

    /// Something other than its own deadline calls a node.
    pub(crate) fn on_call(&mut self, node: usize) {
        self.liveness.on_call(node);
    }

    /// The deadline of a node, which has this name, wakes it.
    pub(crate) fn on_wake(&mut self, at: (u64, usize), why: &str) {
        self.found.add(self.liveness.on_wake(at, why));
    }

    /// Whether only its own deadlines have called a node lately.
    pub(crate) fn spins(&self, node: usize) -> bool {
        self.liveness.spins(node)
    }

    /// Whether a node was found never to rest: it is woken no more.
    pub(crate) fn never_rests(&self, node: usize) -> bool {
        self.liveness.never_rests(node)
    }

    /// The driver of a node is about to empty its queues: its outputs and those withheld, and the batches that its disk has not synced.
    pub(crate) fn on_queues(&mut self, at: (u64, usize), queued: (usize, usize), backlog: usize) {
        // A queue that is too long stays so.
        self.found
            .add_once(self.bounds.on_turn(at, queued, backlog));
    }

    /// Returns the longest that queues have been, under the names they have in reports.
    pub(crate) fn peaks(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.bounds.report()
    }

    /// A message of a node is on its way.
    pub(crate) fn on_dispatch(&mut self, node: usize) {
        self.bounds.on_dispatch(node);
    }

    /// A message of a machine, or from nowhere, is no longer on its way.
    pub(crate) fn on_arrival(&mut self, machine: usize) {
        self.bounds.on_arrival(machine);
    }

    /// A node sends a message.
    pub(crate) fn on_send(&mut self, sender: &Sight<'_>, to: &Links, msg: &Message) {
        let found = self
            .full_members
            .on_send(sender.place(), sender.running, msg);
        self.found.add_once(found);
        if self.is_off {
            return;
        }
        let was_full = self.full_members.was_full(sender.node);
        self.grafts.on_send(sender.node, was_full, to, msg);
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
        if matches!(event, Event::Joined { .. } | Event::Rejoined { .. }) {
            self.on_view(teller.node);
            if self.agreed.was_beyond_drift(teller.at_us) {
                self.answers.model.rewritten_beyond_drift();
            }
        }
        self.pushes.on_event(teller.at_us, event);
        self.grafts.on_event(teller.node, event);
        let found = self.older_copies.on_event(teller.place(), event);
        self.found.add_once(found);
        let found = self.damages.on_event(teller.place(), event);
        self.found.add_once(found);
        let boot = (teller.running, teller.turn);
        self.found
            .add_once(self.hearsay.on_event(teller.place(), boot, event));
    }

    /// A node has repaired rows that it lacked, and shows this now.
    pub(crate) fn on_repair(&mut self, at: (u64, usize), shown: Option<&Contents>) {
        self.found.add_once(self.repairs.on_repair(at));
        if let Some(shown) = shown {
            self.answers.model.repaired(at.1, shown);
        }
    }

    /// A recording of a link was played back, and this is wrong with what its node made of it.
    pub(crate) fn on_replay(&mut self, found: Option<Violation>) {
        self.found.add_once(found);
    }

    /// The world has found something wrong by itself.
    pub(crate) fn on_found(&mut self, found: impl IntoIterator<Item = Violation>) {
        self.found.add(found);
    }

    /// Returns the broken promises found so far.
    pub(crate) fn found(&self) -> &[Violation] {
        self.found.all()
    }

    pub(crate) fn into_found(self) -> Vec<Violation> {
        self.found.into_all()
    }

    /// A fault begins or ends, or a machine starts or stops: whatever is under way is disturbed.
    pub(crate) fn on_disturbance(&mut self, at_us: u64) {
        self.leaves.on_disturbance(at_us);
    }

    /// Whether nothing has begun or ended for a while.
    pub(crate) fn is_quiet(&self, at_us: u64) -> bool {
        self.leaves.is_quiet(at_us)
    }

    /// A node is asked to leave, at this time of its own clock.
    pub(crate) fn on_leave(&mut self, node: usize, since: Instant) {
        self.leaves.on_leave(node, since);
    }

    /// Nothing was wrong when a node was asked to leave.
    pub(crate) fn on_calm_leave(&mut self, node: usize) {
        self.leaves.on_calm_leave(node);
    }

    /// Whether nothing has disturbed the leave of a node.
    pub(crate) fn is_calm_leave(&self, node: usize) -> bool {
        self.leaves.is_calm(node)
    }

    /// A node has left, at this time of its own clock, and says how far that came.
    pub(crate) fn on_left(&mut self, at: (u64, usize), answered: Instant, handover: &Handover) {
        let found = self.leaves.on_left(at, answered, handover);
        self.found.add_once(found);
    }

    /// A machine is asked, in this boot, to evict a member.
    pub(crate) fn on_eviction_asked(&mut self, token: Token, by: (usize, u32), force: bool) {
        self.evictions.on_request(token, by, force);
    }

    /// Returns the machine, and its boot, that has not answered an eviction.
    pub(crate) fn eviction_asked(&self) -> Option<(usize, u32)> {
        self.evictions.asked()
    }

    /// A node answers. Returns the outcome if the answer is to an eviction.
    pub(crate) fn on_eviction_answer(
        &mut self,
        at_us: u64,
        token: Token,
        result: &Result<Response, RequestError>,
    ) -> Option<Outcome> {
        let (outcome, found) = self.evictions.on_reply(at_us, token, result)?;
        self.found.add(found);
        Some(outcome)
    }

    /// Others go on without the nodes of these machines.
    pub(crate) fn on_cast_out(&mut self, machines: impl IntoIterator<Item = usize>) {
        self.evictions.on_cast_out(machines);
    }

    /// A node has heard of its eviction, or the wait for others has ended.
    pub(crate) fn on_return(&mut self, node: usize) {
        self.evictions.on_return(node);
    }

    /// Whether others have evicted a node, or do not know it, and it has not heard of that.
    pub(crate) fn is_outcast(&self, node: usize) -> bool {
        self.evictions.is_outcast(node)
    }

    /// Something is wrong with the machine of a node.
    pub(crate) fn on_hurt(&mut self, node: usize) {
        self.grafts.excuse(node);
    }

    /// A node has ended a turn. One that is hurt, or no member, is not judged, nor is one that leaves: the guarantees say that it takes no
    /// rows any more. `is_open` tells whether something gets through a link.
    pub(crate) fn on_turn_end(&mut self, ours: &Sight<'_>, is_open: impl Fn(LinkId) -> bool) {
        self.full_members.on_turn_end(ours.node, ours.running);
        if !self.full_members.was_full(ours.node) || !ours.is_well {
            return self.grafts.excuse(ours.node);
        }
        let found = self.grafts.on_turn_end(ours.place(), ours.synced, is_open);
        self.found.add_once(found);
    }
}
