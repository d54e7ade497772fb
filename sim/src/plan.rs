//! A plan: everything that will be done to a cluster, explicit and in order of time.
//!
//! A seed is only a way to draw a plan; a fuzzer's bytes are another. What the plan leaves open (each latency, which message
//! a lossy window takes) comes from streams of [`Plan::seed`].

use std::fmt;

use arbitrary::Unstructured;

use crate::faults::{FaultKind, FaultSet};
use crate::rng::{Rng, Stream};

/// No client and no fault acts before this, so that the cluster can form. In microseconds.
pub const WARM_UP_US: u64 = 3_000_000;

/// A table of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Synced now and then; acknowledged at once.
    Periodic,
    /// Synced before the acknowledgement.
    Sync,
    /// Never stored.
    Memory,
}

impl Table {
    /// All tables of the workload.
    pub const ALL: [Table; 3] = [Table::Periodic, Table::Sync, Table::Memory];

    /// The name of the table in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Periodic => "default",
            Table::Sync => "safe",
            Table::Memory => "scratch",
        }
    }
}

/// What a client does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The node that is asked. When it is down the next one that is up is asked.
    pub node: usize,
    /// The table.
    pub table: Table,
    /// The number of the key.
    pub key: u32,
    /// What is done.
    pub verb: OpVerb,
}

/// What a client does to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpVerb {
    /// Writes a value that no other operation writes.
    Put,
    /// Writes such a value, to expire after so many milliseconds of the node's own wall clock.
    PutFor {
        /// Milliseconds.
        ttl_ms: u64,
    },
    /// Deletes the key.
    Delete,
}

/// A fault and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its duration in microseconds.
    pub for_us: u64,
    /// What it is.
    pub what: FaultWhat,
}

/// What a fault does. Rates are parts per million of the messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultWhat {
    /// Messages are lost.
    Loss {
        /// The rate.
        ppm: u32,
    },
    /// Messages arrive twice.
    Dup {
        /// The rate.
        ppm: u32,
    },
    /// Messages arrive late, and out of order.
    Reorder {
        /// The rate.
        ppm: u32,
        /// By how much at most, in microseconds.
        by_us: u64,
    },
    /// All messages to and from one node take longer.
    Delay {
        /// The node. When it is down the next one that is up is struck.
        node: usize,
        /// By how much, in microseconds.
        by_us: u64,
    },
    /// The nodes of two groups cannot reach each other.
    Partition {
        /// One side.
        left: Vec<usize>,
        /// The other.
        right: Vec<usize>,
    },
    /// The nodes of one group cannot reach those of another, which can.
    OneWay {
        /// Those that are not heard.
        from: Vec<usize>,
        /// Those that do not hear them.
        to: Vec<usize>,
    },
    /// The node loses its power; it starts again when the fault ends.
    Crash {
        /// The node. When it is down the next one that is up is struck.
        node: usize,
        /// Whether its peers are told at once, as when only the process dies.
        clean: bool,
    },
    /// The node's clocks are wrong.
    Skew {
        /// The node.
        node: usize,
        /// How far the wall clock is off, in milliseconds.
        by_ms: i64,
        /// How much both clocks gain, in microseconds per second.
        ppm: i64,
    },
}

impl FaultWhat {
    /// Which kind it is.
    pub const fn kind(&self) -> FaultKind {
        match self {
            FaultWhat::Loss { .. } => FaultKind::Loss,
            FaultWhat::Dup { .. } => FaultKind::Dup,
            FaultWhat::Reorder { .. } => FaultKind::Reorder,
            FaultWhat::Delay { .. } => FaultKind::Delay,
            FaultWhat::Partition { .. } => FaultKind::Partition,
            FaultWhat::OneWay { .. } => FaultKind::OneWay,
            FaultWhat::Crash { .. } => FaultKind::Crash,
            FaultWhat::Skew { .. } => FaultKind::Skew,
        }
    }
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// What.
    pub action: Action,
}

/// What an entry does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client acts.
    Op(Op),
    /// A fault begins.
    Fault(Fault),
}

/// What to draw a plan for.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// The seed of what the plan leaves open.
    pub seed: u64,
    /// Nodes, at least 1.
    pub nodes: usize,
    /// How long clients and faults act after the warm-up, in microseconds.
    pub active_us: u64,
    /// The kinds of faults; each occurs at least once where the number of nodes allows it.
    pub faults: FaultSet,
    /// Client operations per second; drawn from 5 to 80 when absent.
    pub ops_per_s: Option<u32>,
}

/// Everything that will be done to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of what the plan leaves open.
    pub seed: u64,
    /// When each node starts, in microseconds. Node 0 starts the cluster, the others join through it.
    pub starts_us: Vec<u64>,
    /// Longer values, in bytes, are only on the nodes' disks; `None` keeps all in memory.
    pub resident_value: Option<u32>,
    /// When clients and faults stop, in microseconds.
    pub stop_us: u64,
    /// What happens, in order of time.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// The plan that a seed stands for.
    pub fn from_seed(shape: &Shape) -> Plan {
        // The busiest workload draws about this much; when bytes run out the draws become zeros.
        let len = 8_192 + (shape.active_us / 1_000_000) as usize * 2_048;
        let bytes = Rng::new(shape.seed, Stream::Plan, 0).bytes(len);
        Plan::draw(&mut Unstructured::new(&bytes), shape).unwrap_or_else(|_| Plan::quiet(shape))
    }

    /// Draws a plan from any bytes.
    ///
    /// # Errors
    /// Those of `arbitrary`; running out of bytes is none, it makes the rest of the plan plain.
    pub fn draw(u: &mut Unstructured<'_>, shape: &Shape) -> arbitrary::Result<Plan> {
        let mut plan = Plan::quiet(shape);
        draw_starts(u, shape, &mut plan)?;
        draw_faults(u, shape, &mut plan)?;
        crate::workload::draw(u, shape, &mut plan)?;
        plan.entries.sort_by_key(|entry| entry.at_us);
        // Drawn last, so that it shifts nothing. The values of the workload have two to six bytes.
        if u.ratio(1, 3)? {
            plan.resident_value = Some(u.int_in_range(0..=3)?);
        }
        Ok(plan)
    }

    fn quiet(shape: &Shape) -> Plan {
        let starts_us = (0..shape.nodes as u64).map(|node| node * 20_000).collect();
        Plan {
            seed: shape.seed,
            starts_us,
            resident_value: None,
            stop_us: WARM_UP_US + shape.active_us,
            entries: Vec::new(),
        }
    }

    /// How many entries begin a fault of this kind.
    pub fn count(&self, kind: FaultKind) -> usize {
        let faults = self.entries.iter().filter(|entry| match &entry.action {
            Action::Fault(fault) => fault.what.kind() == kind,
            Action::Op(_) => false,
        });
        faults.count()
    }
}

fn draw_starts(u: &mut Unstructured<'_>, shape: &Shape, plan: &mut Plan) -> arbitrary::Result<()> {
    // One plan in four has a late joiner.
    if shape.nodes >= 3 && u.ratio(1, 4)? {
        let node = u.int_in_range(1..=shape.nodes - 1)?;
        plan.starts_us[node] = WARM_UP_US + u.int_in_range(0..=shape.active_us / 2)?;
    }
    Ok(())
}

fn draw_faults(u: &mut Unstructured<'_>, shape: &Shape, plan: &mut Plan) -> arbitrary::Result<()> {
    let kinds: Vec<FaultKind> = shape.faults.iter().collect();
    if kinds.is_empty() {
        return Ok(());
    }
    // One of each, each in a time of its own, so that none hides another.
    let slot_us = shape.active_us / kinds.len() as u64;
    for (slot, &kind) in kinds.iter().enumerate() {
        let from_us = slot as u64 * slot_us;
        draw_fault(
            u,
            shape,
            plan,
            kind,
            (from_us, from_us + slot_us / 2),
            (slot_us / 4, slot_us / 2),
        )?;
    }
    // On top of them one more every 5 s, of any requested kind, anywhere.
    let longest_us = (shape.active_us / 3).clamp(1_000_000, 20_000_000);
    for _ in 0..shape.active_us / 5_000_000 {
        let kind = *u.choose(&kinds)?;
        draw_fault(
            u,
            shape,
            plan,
            kind,
            (0, shape.active_us - 1),
            (500_000, longest_us),
        )?;
    }
    Ok(())
}

fn draw_fault(
    u: &mut Unstructured<'_>,
    shape: &Shape,
    plan: &mut Plan,
    kind: FaultKind,
    (from_us, to_us): (u64, u64),
    (short_us, long_us): (u64, u64),
) -> arbitrary::Result<()> {
    if shape.nodes < 2 && !matches!(kind, FaultKind::Crash | FaultKind::Skew) {
        return Ok(());
    }
    let what = draw_what(u, shape, kind)?;
    let for_us = u.int_in_range(short_us..=long_us)?;
    let at_us = WARM_UP_US + u.int_in_range(from_us..=to_us)?;
    plan.entries.push(Entry {
        at_us,
        action: Action::Fault(Fault { for_us, what }),
    });
    Ok(())
}

fn draw_what(
    u: &mut Unstructured<'_>,
    shape: &Shape,
    kind: FaultKind,
) -> arbitrary::Result<FaultWhat> {
    let node = u.int_in_range(0..=shape.nodes - 1)?;
    Ok(match kind {
        FaultKind::Loss => FaultWhat::Loss { ppm: draw_rate(u)? },
        FaultKind::Dup => FaultWhat::Dup { ppm: draw_rate(u)? },
        FaultKind::Reorder => FaultWhat::Reorder {
            ppm: draw_rate(u)?,
            by_us: 1_000 << u.int_in_range(0..=10)?,
        },
        FaultKind::Delay => FaultWhat::Delay {
            node,
            by_us: 1_000 << u.int_in_range(0..=12)?,
        },
        FaultKind::Partition => {
            let (left, right) = draw_sides(u, shape)?;
            FaultWhat::Partition { left, right }
        }
        FaultKind::OneWay => {
            let (from, to) = draw_sides(u, shape)?;
            FaultWhat::OneWay { from, to }
        }
        FaultKind::Crash => FaultWhat::Crash {
            node,
            clean: u.arbitrary()?,
        },
        FaultKind::Skew => {
            let by_ms = 1_i64 << u.int_in_range(0..=15)?;
            let ppm = u.int_in_range(-1_000..=1_000)?;
            FaultWhat::Skew {
                node,
                by_ms: if u.arbitrary()? { by_ms } else { -by_ms },
                ppm,
            }
        }
    })
}

/// From 0.1 % to 50 %, each factor of two as likely as the next.
fn draw_rate(u: &mut Unstructured<'_>) -> arbitrary::Result<u32> {
    Ok(500_000 >> u.int_in_range(0..=9)?)
}

/// All nodes in two groups, none of them empty.
fn draw_sides(
    u: &mut Unstructured<'_>,
    shape: &Shape,
) -> arbitrary::Result<(Vec<usize>, Vec<usize>)> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for node in 0..shape.nodes {
        if u.arbitrary()? {
            left.push(node)
        } else {
            right.push(node)
        }
    }
    if left.is_empty() || right.is_empty() {
        let alone = u.int_in_range(0..=shape.nodes - 1)?;
        left = vec![alone];
        right = (0..shape.nodes).filter(|node| *node != alone).collect();
    }
    Ok((left, right))
}

struct Side<'a>(&'a [usize]);

impl fmt::Display for Side<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, node) in self.0.iter().enumerate() {
            write!(f, "{}n{node}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for FaultWhat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind().name())?;
        match self {
            FaultWhat::Loss { ppm } | FaultWhat::Dup { ppm } => write!(f, " ppm={ppm}"),
            FaultWhat::Reorder { ppm, by_us } => write!(f, " ppm={ppm} by={by_us}"),
            FaultWhat::Delay { node, by_us } => write!(f, " node=n{node} by={by_us}"),
            FaultWhat::Partition { left, right } => {
                write!(f, " left={} right={}", Side(left), Side(right))
            }
            FaultWhat::OneWay { from, to } => write!(f, " from={} to={}", Side(from), Side(to)),
            FaultWhat::Crash { node, clean } => write!(f, " node=n{node} clean={clean}"),
            FaultWhat::Skew { node, by_ms, ppm } => write!(f, " node=n{node} by={by_ms} ppm={ppm}"),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        if let Some(bytes) = self.resident_value {
            writeln!(f, "resident_value {bytes}")?;
        }
        for (node, at_us) in self.starts_us.iter().enumerate() {
            writeln!(f, "{at_us} start node=n{node}")?;
        }
        for entry in &self.entries {
            write!(f, "{} ", entry.at_us)?;
            match &entry.action {
                Action::Fault(Fault { for_us, what }) => writeln!(f, "{what} for={for_us}")?,
                Action::Op(op) => writeln!(f, "{op}")?,
            }
        }
        writeln!(f, "{} stop", self.stop_us)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Op {
            node,
            table,
            key,
            verb,
        } = self;
        let table = table.name();
        match verb {
            OpVerb::Put => write!(f, "put node=n{node} table={table} key=k{key}"),
            OpVerb::PutFor { ttl_ms } => {
                write!(f, "put node=n{node} table={table} key=k{key} ttl={ttl_ms}")
            }
            OpVerb::Delete => write!(f, "delete node=n{node} table={table} key=k{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(seed: u64) -> Shape {
        Shape {
            seed,
            nodes: 3,
            active_us: 57_000_000,
            faults: FaultSet::ALL,
            ops_per_s: None,
        }
    }

    #[test]
    fn every_requested_kind_is_in_the_plan() {
        for seed in 0..50 {
            let plan = Plan::from_seed(&shape(seed));
            assert!(
                FaultKind::ALL.iter().all(|kind| plan.count(*kind) > 0),
                "seed {seed}"
            );
            assert!(plan.entries.is_sorted_by_key(|entry| entry.at_us));
            assert!(
                plan.entries
                    .iter()
                    .all(|entry| (WARM_UP_US..plan.stop_us).contains(&entry.at_us))
            );
        }
    }

    #[test]
    fn any_bytes_are_a_plan() {
        arbtest::arbtest(|u| {
            let shape = Shape {
                nodes: u.int_in_range(1..=7)?,
                ..shape(0)
            };
            let plan = Plan::draw(u, &shape)?;
            assert_eq!(plan.starts_us.len(), shape.nodes);
            Ok(())
        });
    }

    #[test]
    fn a_seed_always_gives_the_same_text() {
        let text = Plan::from_seed(&shape(7)).to_string();
        assert_eq!(text, Plan::from_seed(&shape(7)).to_string());
        assert_ne!(text, Plan::from_seed(&shape(8)).to_string());
        assert!(text.lines().any(|line| line.contains(" crash node=n")));
    }
}
