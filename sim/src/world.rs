//! The world: machines, the network between them, and what happens next.
//!
//! Time is a number. The next event is the one with the smallest time, and among equals the one that was queued first, so a
//! run is a function of its plan alone.

use std::collections::{BTreeMap, BTreeSet};

use rumormill_core::{Node, NodeId, Now, Timing, Wall, table::View};

use crate::app::{Deployment, Slot};
use crate::checkers::replays;
use crate::checkers::{Contents, Violation};
use crate::clients::Clients;
use crate::event::{Event, Queue};
use crate::faults::FaultKind;
use crate::host::Host;
use crate::injection::Ending;
use crate::model::{Held, Model};
use crate::network::Network;
use crate::observers::Observers;
use crate::older::Copy;
use crate::plan::{Action, Plan, Table};
use crate::sabotage::{Honest, Sabotage};
use crate::scale::Meter;
use crate::sessions::Exchange;
use crate::story::Ids;
use crate::trace::{Field, Keep, Trace, WORLD, Weight};
use crate::wire::Wire;

/// The knowledge of the operator, and of the judges, about members and writes that never come back.
#[derive(Default)]
pub(crate) struct Operator {
    /// Members that will never come back: their machines have forgotten them.
    pub(crate) gone: BTreeSet<NodeId>,
    /// Nodes some of whose writes never come: a crash took them before they were synced, or the node has written its rows anew under other
    /// dots when it joined.
    pub(crate) lost_writes: BTreeSet<NodeId>,
    /// An operator will look at the nodes that are rejoining.
    pub(crate) called: bool,
}

/// The counters of a run.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) events: u64,
    pub(crate) messages: u64,
    /// Requests handed to nodes.
    pub(crate) requests: u64,
}

/// The course of the plan: its next entry, and the faults in force.
#[derive(Default)]
pub(crate) struct Course {
    next_entry: usize,
    /// The endings of the plan's faults, by number.
    pub(crate) endings: BTreeMap<usize, Ending>,
    /// Copies of disks that are to be put back, by the number of the fault.
    pub(crate) copies: BTreeMap<usize, Copy>,
    /// All faults are over: whatever stops is started again.
    pub(crate) quiescing: bool,
}

/// The simulated world.
pub struct World {
    pub(crate) now_us: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) operator: Operator,
    pub(crate) tally: Tally,
    pub(crate) course: Course,
    pub(crate) net: Network,
    pub(crate) trace: Trace,
    pub(crate) clients: Clients,
    /// The bytes of messages, if the plan wants them.
    pub(crate) wire: Option<Wire>,
    pub(crate) ids: Ids,
    pub(crate) observers: Observers,
    pub(crate) sabotage: Box<dyn Sabotage>,
    pub(crate) timing: Timing,
    /// The node that has handled something and whose turn has not ended.
    pub(crate) dirty: Option<usize>,
    queue: Queue,
    pub(crate) plan: Plan,
    /// The embedder's application on the machines, and its place on each; empty without one.
    pub(crate) deployment: Option<Box<dyn Deployment>>,
    pub(crate) slots: Vec<Slot>,
    /// The counts where a cluster is measured instead of judged.
    pub(crate) meter: Option<Box<Meter>>,
}

impl World {
    /// A world that will go through `plan`.
    pub fn new(plan: Plan, keep: Keep) -> Self {
        let nodes = plan.machines.len();
        let mut world = World {
            now_us: 0,
            hosts: (plan.machines.iter().enumerate())
                .map(|(index, machine)| Host::new(plan.seed, index, machine))
                .collect(),
            operator: Operator::default(),
            tally: Tally::default(),
            course: Course::default(),
            net: Network::new(plan.seed, nodes),
            trace: Trace::new(keep),
            clients: Clients::new(nodes),
            wire: plan.codec.then(Wire::default),
            ids: Ids::new(),
            observers: Observers::new(nodes),
            sabotage: Box::new(Honest),
            timing: Timing::default(),
            dirty: None,
            queue: Queue::default(),
            plan,
            deployment: None,
            slots: Vec::new(),
            meter: None,
        };
        let has_siblings =
            world.plan.entries.iter().any(
                |entry| matches!(&entry.action, Action::Op(op) if op.table == Table::Siblings),
            );
        for host in &mut world.hosts {
            host.has_siblings = has_siblings;
            host.late = Table::ALL.map(|table| world.plan.defines(table));
        }
        for node in 0..nodes {
            world.push(world.plan.machines[node].start_us, Event::Start { node });
        }
        world
    }

    /// Plants a bug.
    pub fn sabotage(&mut self, sabotage: Box<dyn Sabotage>) {
        self.sabotage = sabotage;
        let rules = self.sabotage.disk();
        for host in &mut self.hosts {
            host.disk.set_rules(rules);
        }
    }

    /// Sets the cluster to be measured: nodes have the table `default` only, no checker watches it, and what clients were told is not kept.
    /// Before time begins.
    pub(crate) fn measure_only(&mut self, meter: Meter) {
        self.meter = Some(Box::new(meter));
        self.observers.switch_off();
        for host in &mut self.hosts {
            host.is_plain = true;
        }
    }

    /// Records the run from now on, at most `events` events and as many messages: see [`Trace::recording`].
    pub fn record(&mut self, events: usize) {
        self.trace.record(events);
    }

    /// The seed of what the plan leaves open.
    pub(crate) fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// The present, in microseconds of virtual time.
    pub fn now_us(&self) -> u64 {
        self.now_us
    }

    /// The trace so far.
    pub fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Promises found broken so far.
    pub fn violations(&self) -> &[Violation] {
        self.observers.found()
    }

    /// Returns the answers to clients so far.
    pub fn model(&self) -> &Model {
        self.observers.model()
    }

    /// Returns the questions of clients and their answers so far, in the order they asked.
    pub fn exchanges(&self) -> &[Exchange] {
        self.observers.exchanges()
    }

    /// The node of a machine, if it runs.
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.hosts.get(index)?.node.as_ref()
    }

    /// How many machines there are.
    pub fn machines(&self) -> usize {
        self.hosts.len()
    }

    /// Returns the readings of a machine's clocks.
    pub fn clock(&self, index: usize) -> Option<Now> {
        self.hosts.get(index).map(|host| host.now(self.now_us))
    }

    /// Returns the rows that the node of a machine shows, if it runs.
    pub fn contents(&self, index: usize) -> Option<Contents> {
        let host = self.hosts.get(index)?;
        host.node
            .as_ref()
            .map(|node| Contents::read(node, host.now(self.now_us), self.clients.values_of(index)))
    }

    /// All rows that a node holds of those that clients wrote, hidden ones too.
    pub(crate) fn held(&self, index: usize) -> Option<Held> {
        let shown = self.contents(index)?;
        let host = self.hosts.get(index)?;
        let node = host.node.as_ref()?;
        let all = self.unexpired(index)?;
        let hidden = self.model().keys().filter_map(|(table, key, _)| {
            if shown.get(table, key).is_some() {
                return None;
            }
            let row = all.get(node.user_table(table.name())?, key).row()?;
            Some((table, key.clone(), row.version()))
        });
        Some(Held {
            hidden: hidden.collect(),
            shown,
        })
    }

    /// Returns the rows of a node at a time when none has expired, if it runs.
    pub(crate) fn unexpired(&self, index: usize) -> Option<View<'_>> {
        let host = self.hosts.get(index)?;
        let beginning = Now::new(host.now(self.now_us).mono, Wall::from_millis(0));
        Some(host.node.as_ref()?.view(beginning))
    }

    /// Goes through the whole plan, ends all faults, waits until the cluster is at rest, and judges.
    pub fn run(&mut self) {
        self.run_until(self.plan.stop_us);
        self.quiesce();
        self.read_cold_rows();
        self.judge();
    }

    /// Lets everything happen that is due up to `until_us`.
    pub fn run_until(&mut self, until_us: u64) {
        while self.step(until_us) {}
        self.now_us = self.now_us.max(until_us);
    }

    pub(crate) fn all_contents(&self) -> Vec<Option<Contents>> {
        (0..self.hosts.len())
            .map(|node| self.contents(node))
            .collect()
    }

    /// Measures the queues of a node before its driver empties them.
    pub(crate) fn measure(&mut self, node: usize) {
        let host = &self.hosts[node];
        if let Some(queued) = host.node.as_ref().map(|node| node.inspect().queued()) {
            let backlog = host.disk.unsynced();
            self.observers
                .on_queues((self.now_us, node), queued, backlog);
        }
    }

    /// Ends the turn that is open, so that what was just done takes effect.
    pub(crate) fn finish_turn(&mut self) {
        if let Some(node) = self.dirty {
            self.end_turn(node);
        }
    }

    /// Does one thing; false when nothing is due by `until_us`.
    fn step(&mut self, until_us: u64) -> bool {
        let next = self.queue.peek();
        let next = next.map(|(at_us, event)| (at_us, event.node()));
        let entry_us = self
            .plan
            .entries
            .get(self.course.next_entry)
            .map(|entry| entry.at_us);
        let from_plan = entry_us.is_some_and(|at| next.is_none_or(|(due, _)| at <= due));
        let due_us = if from_plan {
            entry_us
        } else {
            next.map(|(due, _)| due)
        };
        if let Some(node) = self.dirty {
            // A turn takes in all that is ready for the node, as a driver's loop does.
            let same = !from_plan && next == Some((self.now_us, Some(node)));
            if !same {
                self.end_turn(node);
                return true;
            }
        }
        let Some(due_us) = due_us.filter(|due| *due <= until_us) else {
            return false;
        };
        self.now_us = self.now_us.max(due_us);
        self.clocks_due();
        if from_plan {
            let number = self.course.next_entry;
            self.course.next_entry += 1;
            self.act(number);
        } else if let Some(event) = self.queue.pop() {
            self.happen(event);
        }
        true
    }

    /// A fault of the plan that found nothing to strike is tried again, until all faults end.
    pub(crate) fn again(&mut self, number: usize) {
        if !self.course.quiescing && number < self.plan.entries.len() {
            self.act(number);
        }
    }

    fn act(&mut self, number: usize) {
        let entry = self.plan.entries[number].clone();
        match entry.action {
            Action::Op(op) => self.perform(&op),
            Action::Move { client, node } => self.move_client(client, node),
            Action::Set(change) => self.change_setting(&change),
            Action::Define { node, table } => self.define(node, table),
            Action::Fault(fault) => {
                self.begin_fault(number, &fault.what);
                self.push(entry.at_us + fault.for_us, Event::FaultEnds { number });
            }
        }
    }

    /// The first node that runs, counting from `node`.
    pub(crate) fn running_from(&self, node: usize) -> Option<usize> {
        self.running_where(node, |_| true)
    }

    /// The first node that runs and is such, counting from `node`.
    pub(crate) fn running_where(
        &self,
        node: usize,
        is_such: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let count = self.hosts.len();
        (0..count)
            .map(|step| (node + step) % count)
            .find(|node| self.hosts[*node].node.is_some() && is_such(*node))
    }

    pub(crate) fn push(&mut self, at_us: u64, event: Event) {
        self.queue.push(at_us.max(self.now_us), event);
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        self.count_by(name, 1);
    }

    pub(crate) fn count_by(&mut self, name: &'static str, by: u64) {
        *self.tally.counts.entry(name).or_insert(0) += by;
    }

    pub(crate) fn note(&mut self, verb: &'static str, fields: &[Field<'_>]) {
        self.trace
            .event(self.now_us, WORLD, Weight::Story, verb, fields);
    }

    /// Something happened on the node: its turn ends when nothing more is ready for it.
    pub(crate) fn touch(&mut self, node: usize) {
        if let Some(other) = self.dirty.filter(|dirty| *dirty != node) {
            self.end_turn(other);
        }
        self.dirty = Some(node);
    }

    /// How often a recording of a link was played back, where messages become bytes.
    pub fn replays(&self) -> u64 {
        self.tally.counts.get(replays::NAME).copied().unwrap_or(0)
    }

    /// How often each kind of fault took effect.
    pub fn faults_met(&self) -> BTreeMap<&'static str, u64> {
        let met = self.net.met;
        let messages = [
            (FaultKind::Loss, met.loss),
            (FaultKind::Dup, met.dup),
            (FaultKind::Reorder, met.reorder),
            (FaultKind::Delay, met.delay),
            (FaultKind::Corrupt, met.corrupt),
        ];
        let mut out: BTreeMap<&'static str, u64> = FaultKind::ALL
            .iter()
            .map(|kind| {
                (
                    kind.name(),
                    self.tally.counts.get(kind.name()).copied().unwrap_or(0),
                )
            })
            .collect();
        out.extend(messages.map(|(kind, count)| (kind.name(), count)));
        out
    }
}
