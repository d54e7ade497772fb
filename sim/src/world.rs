//! The world: machines, the network between them, and a queue of what happens next.
//!
//! Time is a number. The next event is the one with the smallest time, and among equals the one that was queued first, so a
//! run is a function of its plan alone.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use rumormill_core::link::Hello;
use rumormill_core::wire::Message;
use rumormill_core::{DialId, LinkId, Node, Timing};

use crate::checkers::{Contents, Violation, convergence, durability, no_resurrection};
use crate::faults::FaultKind;
use crate::host::Host;
use crate::loads::Answer;
use crate::model::Model;
use crate::network::Network;
use crate::plan::{Action, FaultWhat, Plan};
use crate::sabotage::{Honest, Sabotage};
use crate::story::Ids;
use crate::trace::{Field, Keep, Trace, WORLD, Weight};

/// How long a cluster may take to come to rest after the last fault, in microseconds of virtual time.
pub const SETTLE_US: u64 = 60_000_000;
const SETTLE_STEP_US: u64 = 500_000;
const FRESH_STEP_US: u64 = 500_000;

/// What will happen.
pub(crate) enum Event {
    Start {
        node: usize,
    },
    Wake {
        node: usize,
    },
    Deliver {
        node: u32,
        link: LinkId,
        msg: Arc<Message>,
    },
    Up {
        link: LinkId,
        hello: Box<Hello>,
    },
    Down {
        link: LinkId,
        why: Why,
    },
    DialArrives {
        call: Box<Call>,
    },
    DialFails {
        node: usize,
        life: u32,
        dial: DialId,
        why: Why,
    },
    Synced {
        node: usize,
        life: u32,
    },
    Loaded {
        node: usize,
        life: u32,
        answer: Box<Answer>,
    },
    FaultEnds {
        number: usize,
    },
}

/// A dial on its way.
pub(crate) struct Call {
    pub(crate) from: usize,
    pub(crate) life: u32,
    pub(crate) to: usize,
    pub(crate) dial: DialId,
    pub(crate) hello: Hello,
}

/// Why a link ends, as the queue keeps it.
#[derive(Clone, Copy)]
pub(crate) enum Why {
    Closed,
    Broken,
    TimedOut,
    Unreachable,
}

struct Queued {
    at_us: u64,
    seq: u64,
    event: Event,
}

impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.seq == other.seq
    }
}

impl Eq for Queued {}

impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.seq).cmp(&(other.at_us, other.seq))
    }
}

/// The simulated world.
pub struct World {
    pub(crate) now_us: u64,
    pub(crate) hosts: Vec<Host>,
    pub(crate) net: Network,
    pub(crate) trace: Trace,
    pub(crate) model: Model,
    pub(crate) ids: Ids,
    pub(crate) counts: BTreeMap<&'static str, u64>,
    pub(crate) violations: Vec<Violation>,
    pub(crate) sabotage: Box<dyn Sabotage>,
    pub(crate) timing: Timing,
    /// The node that has handled something and whose turn has not ended.
    pub(crate) dirty: Option<usize>,
    pub(crate) events: u64,
    pub(crate) messages: u64,
    /// Longer values leave the nodes' memory.
    pub(crate) resident_value: Option<u32>,
    pub(crate) last_token: u64,
    queue: BinaryHeap<Reverse<Queued>>,
    queued: u64,
    plan: Plan,
    next_entry: usize,
    crash_ends: BTreeMap<usize, usize>,
    skew_ends: BTreeMap<usize, usize>,
}

impl World {
    /// A world that will go through `plan`.
    pub fn new(plan: Plan, keep: Keep) -> Self {
        let nodes = plan.starts_us.len();
        let mut world = World {
            now_us: 0,
            hosts: (0..nodes)
                .map(|index| Host::new(plan.seed, index))
                .collect(),
            net: Network::new(plan.seed, nodes),
            trace: Trace::new(keep),
            model: Model::default(),
            ids: Ids::new(),
            counts: BTreeMap::new(),
            violations: Vec::new(),
            sabotage: Box::new(Honest),
            timing: Timing::default(),
            dirty: None,
            events: 0,
            messages: 0,
            resident_value: plan.resident_value,
            last_token: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            plan,
            next_entry: 0,
            crash_ends: BTreeMap::new(),
            skew_ends: BTreeMap::new(),
        };
        for (node, at_us) in world.plan.starts_us.clone().into_iter().enumerate() {
            world.push(at_us, Event::Start { node });
        }
        world
    }

    /// Plants a bug.
    pub fn sabotage(&mut self, sabotage: Box<dyn Sabotage>) {
        self.sabotage = sabotage;
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
        &self.violations
    }

    /// What clients were told so far.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The node of a machine, if it runs.
    pub fn node(&self, index: usize) -> Option<&Node> {
        self.hosts.get(index)?.node.as_ref()
    }

    /// What the node of a machine shows, if it runs.
    pub fn contents(&self, index: usize) -> Option<Contents> {
        let host = self.hosts.get(index)?;
        host.node
            .as_ref()
            .map(|node| Contents::read(node, host.now(self.now_us), &host.values))
    }

    /// Goes through the whole plan, ends all faults, waits until the cluster is at rest, and judges.
    pub fn run(&mut self) {
        self.run_until(self.plan.stop_us);
        self.settle();
        self.read_cold_rows();
        self.judge();
    }

    /// Lets everything happen that is due up to `until_us`.
    pub fn run_until(&mut self, until_us: u64) {
        while self.step(until_us) {}
        self.now_us = self.now_us.max(until_us);
    }

    /// Ends all faults, starts every machine and waits until the cluster is at rest, or for [`SETTLE_US`].
    pub fn settle(&mut self) {
        self.note("faults_end", &[]);
        self.net.heal();
        self.crash_ends.clear();
        for node in 0..self.hosts.len() {
            self.skew(node, 0, 0);
            self.start(node);
        }
        let begun_us = self.now_us;
        let rests = self.come_to_rest();
        self.count_by("settle_ms", (self.now_us - begun_us) / 1000);
        self.note("at_rest", &[Field::Num("is", u64::from(rests))]);
    }

    /// Waits until the cluster is at rest, or for [`SETTLE_US`]; whether it is.
    pub(crate) fn come_to_rest(&mut self) -> bool {
        let limit_us = self.now_us + SETTLE_US;
        let mut quiet = 0;
        while self.now_us < limit_us && quiet < 2 {
            self.run_until(self.now_us + SETTLE_STEP_US);
            quiet = if self.is_at_rest() { quiet + 1 } else { 0 };
        }
        quiet == 2
    }

    /// Judges what the nodes show now, as at the end of a run.
    pub fn judge(&mut self) {
        let contents = self.all_contents();
        let mut found = convergence::check(self.now_us, &contents);
        found.extend(convergence::check_members(self.now_us, &self.views()));
        for (node, contents) in contents.iter().enumerate() {
            if let Some(contents) = contents {
                found.extend(durability::check(self.now_us, node, contents, &self.model));
                found.extend(no_resurrection::check(
                    self.now_us,
                    node,
                    contents,
                    &self.model,
                ));
            }
        }
        self.violations.extend(found);
    }

    fn is_at_rest(&self) -> bool {
        let contents = self.all_contents();
        convergence::holds(&contents)
            && convergence::check_members(self.now_us, &self.views()).is_empty()
    }

    fn all_contents(&self) -> Vec<Option<Contents>> {
        (0..self.hosts.len())
            .map(|node| self.contents(node))
            .collect()
    }

    /// What each running node says of the cluster.
    fn views(&self) -> Vec<convergence::ClusterView> {
        let hosts = self.hosts.iter().enumerate();
        let running = hosts.filter_map(|(index, host)| Some((index, host, host.node.as_ref()?)));
        running
            .map(|(index, host, node)| {
                convergence::ClusterView::read(index, node, host.now(self.now_us))
            })
            .collect()
    }

    /// Ends the turn that is open, so that what was just done takes effect.
    pub(crate) fn finish_turn(&mut self) {
        if let Some(node) = self.dirty {
            self.end_turn(node);
        }
    }

    /// Does one thing; false when nothing is due by `until_us`.
    fn step(&mut self, until_us: u64) -> bool {
        let next = self
            .queue
            .peek()
            .map(|Reverse(queued)| (queued.at_us, target(&queued.event)));
        let entry_us = self
            .plan
            .entries
            .get(self.next_entry)
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
        if from_plan {
            let number = self.next_entry;
            self.next_entry += 1;
            self.act(number);
        } else if let Some(Reverse(queued)) = self.queue.pop() {
            self.happen(queued.event);
        }
        true
    }

    fn act(&mut self, number: usize) {
        let entry = self.plan.entries[number].clone();
        match entry.action {
            Action::Op(op) => {
                self.perform(&op);
            }
            Action::Fault(fault) => {
                self.begin_fault(number, &fault.what);
                self.push(entry.at_us + fault.for_us, Event::FaultEnds { number });
            }
        }
    }

    pub(crate) fn begin_fault(&mut self, number: usize, what: &FaultWhat) {
        let kind = what.kind();
        match what {
            FaultWhat::Crash { node, clean } => {
                if let Some(node) = self.running_from(*node) {
                    self.crash_ends.insert(number, node);
                    self.crash(node, *clean);
                }
                return;
            }
            FaultWhat::Skew { node, by_ms, ppm } => {
                self.skew_ends.insert(number, *node);
                self.skew(*node, *by_ms, *ppm);
                self.count(kind.name());
                return;
            }
            FaultWhat::Partition { .. } | FaultWhat::OneWay { .. } => self.count(kind.name()),
            FaultWhat::Loss { .. }
            | FaultWhat::Dup { .. }
            | FaultWhat::Reorder { .. }
            | FaultWhat::Delay { .. } => {}
        }
        self.note(begins(kind), &[Field::Num("fault", number as u64)]);
        match *what {
            FaultWhat::Delay { node, by_us } => {
                let node = self.running_from(node).unwrap_or(node);
                self.net.begin(number, &FaultWhat::Delay { node, by_us });
            }
            _ => self.net.begin(number, what),
        }
    }

    /// Ends a fault of the plan. One that strikes messages lasts until it has struck one: cuts and crashes may leave it none.
    pub(crate) fn fault_is_over(&mut self, number: usize) {
        if self.net.is_fresh(number) {
            self.push(self.now_us + FRESH_STEP_US, Event::FaultEnds { number });
        } else {
            self.end_fault(number);
        }
    }

    pub(crate) fn end_fault(&mut self, number: usize) {
        if let Some(node) = self.crash_ends.remove(&number) {
            self.start(node);
        } else if let Some(node) = self.skew_ends.remove(&number) {
            self.skew(node, 0, 0);
        } else {
            if self.net.is_cut(number) {
                let contents = self.all_contents();
                let apart = convergence::apart(&contents);
                self.count_by("rows_apart_at_heal", apart);
                self.note("heals", &[Field::Num("apart", apart)]);
            }
            self.note("fault_ends", &[Field::Num("fault", number as u64)]);
            self.net.end_fault(number);
        }
    }

    pub(crate) fn skew(&mut self, node: usize, by_ms: i64, ppm: i64) {
        self.hosts[node].clock.set(self.now_us, by_ms, ppm);
        // The same deadline is now at another true time.
        self.hosts[node].wake_us = None;
        let fields = [
            Field::Word("ahead", if by_ms < 0 { "no" } else { "yes" }),
            Field::Num("by_ms", by_ms.unsigned_abs()),
        ];
        self.trace
            .event(self.now_us, node, Weight::Story, "clock", &fields);
        if self.hosts[node].node.is_some() {
            self.touch(node);
        }
    }

    /// The first node that runs, counting from `node`.
    pub(crate) fn running_from(&self, node: usize) -> Option<usize> {
        let count = self.hosts.len();
        (0..count)
            .map(|step| (node + step) % count)
            .find(|node| self.hosts[*node].node.is_some())
    }

    pub(crate) fn push(&mut self, at_us: u64, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse(Queued {
            at_us: at_us.max(self.now_us),
            seq: self.queued,
            event,
        }));
    }

    pub(crate) fn count(&mut self, name: &'static str) {
        self.count_by(name, 1);
    }

    pub(crate) fn count_by(&mut self, name: &'static str, by: u64) {
        *self.counts.entry(name).or_insert(0) += by;
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

    /// How often each kind of fault took effect.
    pub fn faults_met(&self) -> BTreeMap<&'static str, u64> {
        let met = self.net.met;
        let messages = [
            (FaultKind::Loss, met.loss),
            (FaultKind::Dup, met.dup),
            (FaultKind::Reorder, met.reorder),
            (FaultKind::Delay, met.delay),
        ];
        let mut out: BTreeMap<&'static str, u64> = FaultKind::ALL
            .iter()
            .map(|kind| {
                (
                    kind.name(),
                    self.counts.get(kind.name()).copied().unwrap_or(0),
                )
            })
            .collect();
        out.extend(messages.map(|(kind, count)| (kind.name(), count)));
        out
    }
}

fn begins(kind: FaultKind) -> &'static str {
    match kind {
        FaultKind::Loss => "loss_begins",
        FaultKind::Dup => "dup_begins",
        FaultKind::Reorder => "reorder_begins",
        FaultKind::Delay => "delay_begins",
        FaultKind::Partition => "partition_begins",
        FaultKind::OneWay => "oneway_begins",
        FaultKind::Crash => "crash_begins",
        FaultKind::Skew => "skew_begins",
    }
}

/// The node an event is for, where that is plain.
fn target(event: &Event) -> Option<usize> {
    match event {
        Event::Deliver { node, .. } => Some(*node as usize),
        Event::Wake { node } | Event::Synced { node, .. } | Event::Loaded { node, .. } => {
            Some(*node)
        }
        Event::DialFails { node, .. } => Some(*node),
        Event::Start { .. } | Event::Up { .. } | Event::Down { .. } => None,
        Event::DialArrives { .. } | Event::FaultEnds { .. } => None,
    }
}
