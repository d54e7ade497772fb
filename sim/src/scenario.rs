//! A situation, told step by step.

use bytes::Bytes;

use crate::app::Deployment;
use crate::checkers::Violation;
use crate::checkers::rows_of;
use crate::clients::Deed;
use crate::plan::{Caps, FaultWhat, Machine, Plan, SettingChange, Table};
use crate::sabotage::Sabotage;
use crate::trace::Keep;
use crate::world::World;

/// Every latency of a scenario, in microseconds.
const LATENCY_US: u32 = 1_000;

/// A cluster that does what it is told, on a healthy network with one fixed latency, until told otherwise.
pub struct Scenario {
    pub(crate) world: World,
    faults: usize,
    cuts: Vec<usize>,
}

impl Scenario {
    /// A cluster of so many nodes, which start 20 ms apart; node 0 is the seed of the others.
    pub fn new(nodes: usize) -> Self {
        let starts: Vec<u64> = (0..nodes as u64).map(|node| node * 20).collect();
        Scenario::with_starts(&starts)
    }

    /// A cluster whose nodes start at these milliseconds.
    pub fn with_starts(starts_ms: &[u64]) -> Self {
        let machines = starts_ms
            .iter()
            .map(|ms| Machine::new(ms * 1_000))
            .collect();
        Scenario::of(Plan {
            seed: 1,
            codec: false,
            machines,
            resident_value: None,
            caps: Caps::default(),
            stop_us: 0,
            entries: Vec::new(),
        })
    }

    /// A cluster of this plan's machines and limits. What the plan does is done too, each at its time.
    pub fn of(plan: Plan) -> Self {
        let mut world = World::new(plan, Keep::Story);
        world.net.set_latency(LATENCY_US);
        Scenario {
            world,
            faults: 0,
            cuts: Vec::new(),
        }
    }

    /// Runs an application on every machine: see [`World::deploy`].
    ///
    /// # Panics
    /// If time has begun.
    pub fn deploy(&mut self, deployment: impl Deployment + 'static) -> &mut Self {
        self.world.deploy(Box::new(deployment));
        self
    }

    /// Plants a bug.
    pub fn sabotage(&mut self, sabotage: impl Sabotage + 'static) -> &mut Self {
        self.world.sabotage(Box::new(sabotage));
        self
    }

    /// Records what happens from now on, at most so many events: see [`Trace::recording`](crate::Trace::recording).
    pub fn record(&mut self, events: usize) -> &mut Self {
        self.world.record(events);
        self
    }

    /// Lets time pass until so many milliseconds after the beginning.
    pub fn at(&mut self, ms: u64) -> &mut Self {
        self.world.run_until(ms * 1_000);
        self
    }

    /// Lets so many milliseconds pass.
    pub fn wait(&mut self, ms: u64) -> &mut Self {
        self.world.run_until(self.world.now_us() + ms * 1_000);
        self
    }

    /// Lets time pass, a millisecond at a time, until something is so.
    ///
    /// # Panics
    /// If it is not within so many milliseconds.
    pub fn until(
        &mut self,
        limit_ms: u64,
        what: &str,
        is_so: impl Fn(&Scenario) -> bool,
    ) -> &mut Self {
        let limit_us = self.world.now_us() + limit_ms * 1_000;
        while !is_so(self) {
            assert!(
                self.world.now_us() < limit_us,
                "not within {limit_ms} ms: {what}\n{}",
                self.story()
            );
            self.wait(1);
        }
        self
    }

    /// Writes a row of the table `default`.
    pub fn put(&mut self, node: usize, key: &str, value: &str) -> &mut Self {
        self.write(node, Table::Periodic, key, Deed::Put(text(value)))
    }

    /// Writes a row of a table that syncs before it acknowledges.
    pub fn put_safe(&mut self, node: usize, key: &str, value: &str) -> &mut Self {
        self.write(node, Table::Sync, key, Deed::Put(text(value)))
    }

    /// Writes a row that expires after so many milliseconds of the node's wall clock.
    pub fn put_for(&mut self, node: usize, key: &str, value: &str, ttl_ms: u64) -> &mut Self {
        let deed = Deed::PutFor(text(value), ttl_ms);
        self.write(node, Table::Periodic, key, deed)
    }

    /// Deletes a row of the table `default`.
    pub fn delete(&mut self, node: usize, key: &str) -> &mut Self {
        self.write(node, Table::Periodic, key, Deed::Delete)
    }

    /// Removes all rows of the table `default`, as a client of a node.
    pub fn flush(&mut self, node: usize) -> &mut Self {
        self.world.flush(node as u32, node, Table::Periodic);
        self
    }

    /// An operator changes a setting of the cluster.
    pub fn set(&mut self, node: usize, name: &'static str, value: &str) -> &mut Self {
        let value = Some(value.to_string());
        self.world
            .change_setting(&SettingChange { node, name, value });
        self
    }

    /// Whether a node refuses to write a row of the table `default`.
    pub fn refuses(&mut self, node: usize, key: &str, value: &str) -> bool {
        let (key, deed) = (text(key), Deed::Put(text(value)));
        !self.world.write(None, node, Table::Periodic, &key, deed)
    }

    /// Deletes that a node keeps for the others.
    pub fn tombstones(&self, node: usize) -> u64 {
        let host = &self.world.hosts[node];
        let status = host.node.as_ref();
        status.map_or(0, |node| {
            node.status(host.now(self.world.now_us())).tombstones
        })
    }

    /// # Panics
    /// If the node is down or refuses.
    fn write(&mut self, node: usize, table: Table, key: &str, deed: Deed) -> &mut Self {
        assert!(
            self.world.write(None, node, table, &text(key), deed),
            "n{node} refuses to write"
        );
        self
    }

    /// Begins a fault that lasts until [`Scenario::end`] is called with the number returned, or [`Scenario::heal`].
    pub fn begin(&mut self, what: &FaultWhat) -> usize {
        let number = self.faults;
        self.faults += 1;
        self.world.begin_fault(number, what);
        number
    }

    /// Ends a fault.
    pub fn end(&mut self, number: usize) -> &mut Self {
        self.world.end_fault(number);
        self
    }

    /// Cuts all ways between two groups. Nodes that are in neither reach all.
    pub fn partition(&mut self, left: &[usize], right: &[usize]) -> &mut Self {
        let number = self.begin(&FaultWhat::Partition {
            left: left.to_vec(),
            right: right.to_vec(),
        });
        self.cuts.push(number);
        self
    }

    /// Cuts the ways from one group to another; the ways back stay.
    pub fn cut(&mut self, from: &[usize], to: &[usize]) -> &mut Self {
        let number = self.begin(&FaultWhat::OneWay {
            from: from.to_vec(),
            to: to.to_vec(),
        });
        self.cuts.push(number);
        self
    }

    /// Mends all cuts.
    pub fn heal(&mut self) -> &mut Self {
        for number in std::mem::take(&mut self.cuts) {
            self.world.end_fault(number);
        }
        self
    }

    /// A node loses its power, and of its unsynced batches some.
    pub fn crash(&mut self, node: usize) -> &mut Self {
        self.world.crash(node, false);
        self
    }

    /// A node loses its power, and all of its unsynced batches.
    pub fn crash_unsynced(&mut self, node: usize) -> &mut Self {
        self.world.crash_keeping(node, false, 0);
        self
    }

    /// A node's process is killed: its peers' links break at once. Of its unsynced batches it loses some.
    pub fn kill(&mut self, node: usize) -> &mut Self {
        self.world.crash(node, true);
        self
    }

    /// Starts a node from what its disk holds.
    pub fn restart(&mut self, node: usize) -> &mut Self {
        self.world.start(node);
        self
    }

    /// Sets a node's wall clock so many milliseconds ahead of the truth, or behind it.
    pub fn skew(&mut self, node: usize, by_ms: i64) -> &mut Self {
        self.world.skew(node, by_ms, 0);
        self
    }

    /// # Panics
    /// If the row of table `default` on a node is not this value, or not absent.
    pub fn expect(&mut self, node: usize, key: &str, value: Option<&str>) -> &mut Self {
        self.expect_in(node, Table::Periodic, key, value)
    }

    /// # Panics
    /// If the row on a node is not this value, or not absent.
    pub fn expect_in(
        &mut self,
        node: usize,
        table: Table,
        key: &str,
        value: Option<&str>,
    ) -> &mut Self {
        self.world.finish_turn();
        let contents = self.world.contents(node);
        let key = text(key);
        let shown = contents
            .as_ref()
            .and_then(|contents| contents.get(table, &key))
            .and_then(|row| row.value.clone());
        let expected = value.map(text);
        assert_eq!(
            shown,
            expected,
            "{} on n{node}\n{}",
            key.escape_ascii(),
            self.story()
        );
        self
    }

    /// # Panics
    /// If the nodes do not come to agree, or a promise was broken.
    pub fn expect_converged(&mut self) -> &mut Self {
        let violations = self.finish();
        assert_eq!(violations, [], "{}", self.story());
        self
    }

    /// Ends all faults, lets the cluster come to rest, and returns what was broken.
    pub fn finish(&mut self) -> Vec<Violation> {
        self.cuts.clear();
        self.world.quiesce();
        self.world.judge();
        self.world.violations().to_vec()
    }

    /// The world, to look at.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Live rows of the table `default` on a node.
    pub fn rows(&self, node: usize) -> usize {
        let host = &self.world.hosts[node];
        let now = host.now(self.world.now_us());
        let Some(running) = &host.node else { return 0 };
        rows_of(&running.view(now), host.tables[0]).count()
    }

    /// The trace so far without what is only detail, and without the running numbers, which detail would shift.
    pub fn story(&self) -> String {
        let mut out = String::new();
        for line in self.world.trace().lines() {
            let mut words = line.splitn(3, ' ');
            let (time, _, rest) = (words.next(), words.next(), words.next());
            for part in [time.unwrap_or(""), " ", rest.unwrap_or(""), "\n"] {
                out.push_str(part);
            }
        }
        out
    }
}

fn text(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
