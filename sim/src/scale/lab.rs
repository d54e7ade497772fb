//! The cluster that is measured.

use bytes::{BufMut, Bytes, BytesMut};
use rumormill_core::{TableId, members::NodePhase, table::Write};

use super::Meter;
use super::deaths;
use crate::plan::{Caps, FaultWhat, Machine, Plan};
use crate::trace::Keep;
use crate::world::World;

/// The shortest way of a message, in microseconds; the longest is half as much more.
const LEAST_DELAY_US: u32 = 800;
/// The mean of all ways: one one-way delay.
pub(super) const DELAY_US: u64 = (LEAST_DELAY_US + LEAST_DELAY_US / 4) as u64;
/// All nodes start within this time.
const STARTS_WITHIN_US: u64 = 5_000_000;
const START_STEP_US: u64 = 20_000;
/// Bytes of a key.
pub(super) const KEY_BYTES: usize = 16;
/// Bytes of a value.
pub(super) const VALUE_BYTES: usize = 256;

/// A cluster under measurement.
pub struct Lab {
    pub(super) world: World,
    pub(super) seed: u64,
    faults: usize,
}

impl Lab {
    /// A cluster of so many nodes, at least 2, which has not begun to form. Few machines have disks: those that are going to die.
    pub fn new(nodes: usize, seed: u64) -> Self {
        let nodes = nodes.max(2);
        let step_us = START_STEP_US.min(STARTS_WITHIN_US / nodes as u64);
        let machine = |node: usize| Machine {
            start_us: node as u64 * step_us,
            disk: deaths::victims(nodes).contains(&node),
        };
        let plan = Plan {
            seed,
            codec: false,
            machines: (0..nodes).map(machine).collect(),
            resident_value: None,
            caps: Caps::default(),
            stop_us: 0,
            entries: Vec::new(),
        };
        let mut world = World::new(plan, Keep::Nothing);
        world.net.set_latency(LEAST_DELAY_US);
        world.measure_only(Meter::new(nodes));
        Lab {
            world,
            seed,
            faults: 0,
        }
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.world.machines()
    }

    /// The rolling hash over everything that happened so far.
    pub fn hash(&self) -> u64 {
        self.world.trace().hash()
    }

    /// The probe period, in microseconds.
    pub(super) fn period_us(&self) -> u64 {
        self.world.timing.probe_interval.as_micros() as u64
    }

    /// Counts from zero.
    pub(super) fn begin(&mut self) {
        let nodes = self.nodes();
        *self.meter() = Meter::new(nodes);
    }

    pub(super) fn meter(&mut self) -> &mut Meter {
        self.world.meter.get_or_insert_default()
    }

    pub(super) fn pass(&mut self, us: u64) {
        self.world.run_until(self.world.now_us() + us);
    }

    /// Lets time pass in steps until `done`, or for `patience_us`; whether it is done.
    pub(super) fn wait(
        &mut self,
        (step_us, patience_us): (u64, u64),
        mut done: impl FnMut(&mut Lab) -> bool,
    ) -> bool {
        let until_us = self.world.now_us() + patience_us;
        while self.world.now_us() < until_us {
            self.pass(step_us);
            if done(self) {
                return true;
            }
        }
        false
    }

    /// Waits until every write of this stage is shown everywhere.
    pub(super) fn wait_shown(&mut self, patience_us: u64) -> bool {
        self.wait((1_000, patience_us), |lab| lab.meter().missing() == 0)
    }

    /// Waits until every node is a member with a link to every other. A node that was found so once is not asked again.
    pub(super) fn wait_formed(&mut self) -> bool {
        let (mut formed, nodes) = (0, self.nodes());
        let patience_us = 60_000_000 + nodes as u64 * 100_000;
        self.wait((100_000, patience_us), |lab| {
            while formed < nodes && lab.is_linked(formed) {
                formed += 1;
            }
            formed == nodes
        })
    }

    fn is_linked(&self, node: usize) -> bool {
        let running = self.world.node(node).zip(self.world.clock(node));
        running.is_some_and(|(node, now)| {
            let status = node.status(now);
            let nodes = self.nodes();
            status.phase == NodePhase::Member
                && status.members == nodes
                && status.links + 1 >= nodes
        })
    }

    /// Writes a fresh value to one of `keys` keys, as a client. Returns whether the node accepts; until the turn ends no other node is
    /// told.
    pub(super) fn write(&mut self, node: usize, keys: u64) -> bool {
        let number = self.meter().next();
        let key = format!("key{:0width$}", number % keys, width = KEY_BYTES - 3);
        let mut value = BytesMut::zeroed(VALUE_BYTES);
        (&mut value[..]).put_u64_le(number);
        let value: Bytes = value.freeze();
        let accepted = self.world.with_node(node, |node, now| {
            let write = Write::Put {
                key: key.as_bytes(),
                value,
                expires: None,
            };
            node.write(now, TableId::DEFAULT, write).is_ok()
        });
        let accepted = accepted == Some(true);
        if accepted {
            let now_us = self.world.now_us();
            self.meter().accepted(now_us, node);
        }
        accepted
    }

    /// The number of a fault that begins now.
    pub(super) fn begin_fault(&mut self, what: &FaultWhat) -> usize {
        self.faults += 1;
        self.world.begin_fault(self.faults, what);
        self.faults
    }

    /// A fault of the network ends. What the nodes show at this moment is not compared.
    pub(super) fn end_fault(&mut self, number: usize) {
        self.world.net.end_fault(number);
    }
}
