//! Drawing plans: from a seed, from any bytes, and the way a swarm does.

mod apart;
mod long;
mod names;
mod profile;
mod situations;
mod wrong_clocks;

use arbitrary::{Result, Unstructured};

pub use profile::{Profile, UnknownProfile};

use super::{Action, Caps, Entry, Fault, FaultWhat, Machine, Plan, WARM_UP_US, settings};
use crate::faults::{FaultKind, FaultSet};
use crate::rng::{Rng, Stream};
use crate::workload::{self, Mix};

/// The most bytes that a situation draws.
const MAX_SITUATION: usize = 64 << 10;

/// Larger clusters have the usual limits.
const MAX_CAPPED_NODES: usize = 7;

/// The shape of a plan to be drawn.
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

impl Plan {
    /// The plan that a seed stands for.
    pub fn from_seed(shape: &Shape) -> Plan {
        let bytes = Rng::new(shape.seed, Stream::Plan, 0).bytes(enough(shape));
        Plan::draw(&mut Unstructured::new(&bytes), shape).unwrap_or_else(|_| Plan::quiet(shape))
    }

    /// Draws a plan from any bytes.
    ///
    /// # Errors
    /// The errors of `arbitrary`; running out of bytes is none, it makes the rest of the plan plain.
    pub fn draw(u: &mut Unstructured<'_>, shape: &Shape) -> Result<Plan> {
        let mut plan = Plan::quiet(shape);
        draw_machines(u, shape, &mut plan)?;
        draw_each_fault(u, shape, &mut plan)?;
        draw_rest(u, shape, plan)
    }

    /// The plan of a seed of a swarm, profile `gossip`: small clusters, now and then a large one, for some 10 to 30 virtual
    /// seconds, under some of the kinds of faults. One seed in ten has no fault, one in ten may have any. One in five is about a
    /// situation of its own.
    pub fn swarm(seed: u64) -> Plan {
        let bytes = Rng::new(seed, Stream::Situation, 0).bytes(MAX_SITUATION);
        if let Ok(Some(plan)) = situations::draw(&mut Unstructured::new(&bytes), seed) {
            return plan;
        }
        let mut shape = Shape {
            seed,
            nodes: 3,
            active_us: 27_000_000,
            faults: FaultSet::NONE,
            ops_per_s: None,
        };
        let bytes = Rng::new(seed, Stream::Swarm, 0).bytes(enough(&shape));
        let mut u = Unstructured::new(&bytes);
        draw_shape(&mut u, &mut shape)
            .and_then(|()| draw_swarm(&mut u, &shape))
            .map_or_else(|_| Plan::quiet(&shape), apart::add_to)
    }

    /// The plan of a seed of a swarm, profile `long`: two to six nodes for one to five virtual minutes, few clients' operations, and
    /// rows that live for seconds to weeks. Wall clocks step by up to years and back, members restart one after the other, leave,
    /// return and are evicted, newcomers join late, and pairs of members lose each other.
    pub fn long(seed: u64) -> Plan {
        let bytes = Rng::new(seed, Stream::Long, 0).bytes(MAX_SITUATION);
        let shape = Shape {
            seed,
            nodes: 3,
            active_us: 60_000_000,
            faults: FaultSet::NONE,
            ops_per_s: None,
        };
        let plan = long::draw(&mut Unstructured::new(&bytes), seed);
        plan.map_or_else(|_| Plan::quiet(&shape), apart::add_to)
    }

    /// The plan of a seed of a swarm, profile `names`: two to four nodes that know the table `scratch` or `carts` by its name alone and write to it,
    /// while one or two that are cut off create it. Then faults of some kinds, for some 10 to 30 virtual seconds.
    pub fn names(seed: u64) -> Plan {
        let mut shape = Shape {
            seed,
            nodes: 3,
            active_us: 20_000_000,
            faults: FaultSet::NONE,
            ops_per_s: None,
        };
        let bytes = Rng::new(seed, Stream::Names, 0).bytes(MAX_SITUATION);
        names::draw(&mut Unstructured::new(&bytes), &mut shape)
            .map_or_else(|_| Plan::quiet(&shape), apart::add_to)
    }

    fn quiet(shape: &Shape) -> Plan {
        let start = |node| Machine::new(node * 20_000);
        Plan {
            seed: shape.seed,
            codec: false,
            resident_value: None,
            caps: Caps::default(),
            machines: (0..shape.nodes as u64).map(start).collect(),
            stop_us: WARM_UP_US + shape.active_us,
            entries: Vec::new(),
        }
    }
}

/// The busiest workload draws about this much; when bytes run out the draws become zeros.
fn enough(shape: &Shape) -> usize {
    8_192 + (shape.active_us / 1_000_000) as usize * 2_048
}

/// From `low`, which is not 0, to `high`, each factor of two as likely as the next: rates and durations spread over orders of
/// magnitude, and ranks drawn so follow Zipf's law.
pub(crate) fn draw_log(u: &mut Unstructured<'_>, low: u64, high: u64) -> Result<u64> {
    let octave = u.int_in_range(low.ilog2()..=high.ilog2())?;
    let last = (1_u64 << octave) - 1 + (1_u64 << octave);
    u.int_in_range(low.max(1 << octave)..=high.min(last))
}

fn draw_shape(u: &mut Unstructured<'_>, shape: &mut Shape) -> Result<()> {
    shape.faults = match u.int_in_range(0..=9)? {
        0 => FaultSet::NONE,
        1 => FaultSet::DRAWN,
        _ => draw_kinds(u)?,
    };
    if u.ratio(1, 200)? {
        shape.nodes = draw_log(u, 8, 100)? as usize;
        shape.active_us = u.int_in_range(2_000_000..=4_000_000)?;
        shape.ops_per_s = Some(u.int_in_range(1..=10)?);
    } else {
        shape.nodes = u.int_in_range(1..=7)?;
        shape.active_us = u.int_in_range(7_000_000..=27_000_000)?;
    }
    Ok(())
}

fn draw_kinds(u: &mut Unstructured<'_>) -> Result<FaultSet> {
    // Sparse sets and full ones: a kind that is always accompanied by ten others is never seen alone.
    let share = u.int_in_range(1..=7)?;
    let mut set = FaultSet::NONE;
    for kind in FaultSet::DRAWN.iter() {
        if u.ratio(share, 8)? {
            set = set.with(kind);
        }
    }
    Ok(set)
}

fn draw_swarm(u: &mut Unstructured<'_>, shape: &Shape) -> Result<Plan> {
    let mut plan = Plan::quiet(shape);
    draw_machines(u, shape, &mut plan)?;
    if u.ratio(1, 8)? {
        for machine in &mut plan.machines {
            machine.disk = u.arbitrary()?;
        }
    }
    let kinds: Vec<FaultKind> = shape.faults.iter().collect();
    if !kinds.is_empty() {
        // From one fault in the whole time to one every half second.
        for _ in 0..draw_log(u, 1, shape.active_us / 500_000)? {
            let kind = *u.choose(&kinds)?;
            let times = (0, shape.active_us - 1);
            // A laptop that was closed wakes up after any time; the end of the plan wakes it too.
            let lasts_us = match kind {
                FaultKind::Pause => (1_000, 600_000_000),
                _ => (50_000, 20_000_000),
            };
            draw_fault(u, shape, &mut plan, kind, times, lasts_us)?;
        }
    }
    let mut plan = draw_rest(u, shape, plan)?;
    draw_settings(u, &mut plan)?;
    draw_tree(u, &mut plan)?;
    Ok(plan)
}

/// In one small plan of three an operator changes settings. In large ones they would only make the run long.
fn draw_settings(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    if plan.machines.len() > MAX_CAPPED_NODES || u.is_empty() || !u.ratio(1, 3)? {
        return Ok(());
    }
    settings::draw(u, plan)
}

/// In every other small plan rows go along trees, as in large clusters: chains, or forks.
fn draw_tree(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    if plan.machines.len() > MAX_CAPPED_NODES || u.is_empty() || !u.arbitrary()? {
        return Ok(());
    }
    plan.caps.direct_push_members = Some(draw_log(u, 1, 4)? as u32);
    plan.caps.fanout = Some(u.int_in_range(1..=2)?);
    Ok(())
}

/// Draws the parts of a plan that follow machines and faults.
fn draw_rest(u: &mut Unstructured<'_>, shape: &Shape, mut plan: Plan) -> Result<Plan> {
    let mut mix = Mix::draw(u)?;
    if let Some(rate) = shape.ops_per_s {
        mix.set_rate(rate);
    }
    draw_clients(u, &mix, &mut plan)?;
    draw_resident_value(u, &mut plan)?;
    draw_caps(u, &mut plan)?;
    Ok(plan)
}

/// A plan in which nothing happens.
fn quiet(seed: u64, nodes: usize, active_us: u64) -> Plan {
    Plan::quiet(&Shape {
        seed,
        nodes,
        active_us,
        faults: FaultSet::NONE,
        ops_per_s: None,
    })
}

/// Adds what clients do to a plan that has all else.
fn draw_clients(u: &mut Unstructured<'_>, mix: &Mix, plan: &mut Plan) -> Result<()> {
    workload::draw(u, mix, plan)?;
    plan.entries.sort_by_key(|entry| entry.at_us);
    Ok(())
}

/// In one plan of three some values stay on the disks. Those of the workload have two to six bytes.
fn draw_resident_value(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    if u.ratio(1, 3)? {
        plan.resident_value = Some(u.int_in_range(0..=3)?);
    }
    Ok(())
}

/// In one plan of three the nodes have small limits, so that what large clusters meet happens in small ones. In large ones they would
/// only make the run long: every node asks every other for a session.
fn draw_caps(u: &mut Unstructured<'_>, plan: &mut Plan) -> Result<()> {
    if plan.machines.len() > MAX_CAPPED_NODES || !u.ratio(1, 3)? {
        return Ok(());
    }
    let mut cap = |low, high| -> Result<Option<u32>> {
        let is_small: bool = u.arbitrary()?;
        let cap = draw_log(u, low, high)? as u32;
        Ok(is_small.then_some(cap))
    };
    plan.caps = Caps {
        rows_per_message: cap(1, 16)?,
        context_actors: cap(1, 8)?,
        sessions: cap(1, 2)?,
        session_replaced: cap(1, 16)?,
        change_log: cap(4, 256)?,
        store_backlog: cap(2, 64)?,
        siblings: cap(1, 8)?,
        ..plan.caps
    };
    Ok(())
}

fn draw_machines(u: &mut Unstructured<'_>, shape: &Shape, plan: &mut Plan) -> Result<()> {
    // One plan in four has a late joiner, and at least one in four sends real bytes.
    if shape.nodes >= 3 && u.ratio(1, 4)? {
        let node = u.int_in_range(1..=shape.nodes - 1)?;
        plan.machines[node].start_us = WARM_UP_US + u.int_in_range(0..=shape.active_us / 2)?;
    }
    // Only bytes can rot.
    plan.codec = u.ratio(1, 4)? || shape.faults.contains(FaultKind::Corrupt);
    Ok(())
}

/// Draws at least one fault of every requested kind.
fn draw_each_fault(u: &mut Unstructured<'_>, shape: &Shape, plan: &mut Plan) -> Result<()> {
    let kinds: Vec<FaultKind> = shape.faults.iter().collect();
    if kinds.is_empty() {
        return Ok(());
    }
    // One of each, each in a time of its own, so that none hides another.
    let slot_us = shape.active_us / kinds.len() as u64;
    for (slot, &kind) in kinds.iter().enumerate() {
        let from_us = slot as u64 * slot_us;
        let times = (from_us, from_us + slot_us / 2);
        draw_fault(u, shape, plan, kind, times, (slot_us / 4, slot_us / 2))?;
    }
    // On top of them one more every 5 s, of any requested kind, anywhere.
    let longest_us = (shape.active_us / 3).clamp(1_000_000, 20_000_000);
    for _ in 0..shape.active_us / 5_000_000 {
        let kind = *u.choose(&kinds)?;
        let times = (0, shape.active_us - 1);
        draw_fault(u, shape, plan, kind, times, (500_000, longest_us))?;
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
) -> Result<()> {
    if shape.nodes < kind.least_nodes() {
        return Ok(());
    }
    let what = draw_what(u, shape, kind)?;
    let for_us = draw_log(u, short_us.max(1), long_us.max(1))?;
    let at_us = WARM_UP_US + u.int_in_range(from_us..=to_us)?;
    plan.entries.push(Entry {
        at_us,
        action: Action::Fault(Fault { for_us, what }),
    });
    Ok(())
}

/// Adds a fault that begins so long after the warm-up.
fn add(plan: &mut Plan, after_us: u64, for_us: u64, what: FaultWhat) {
    let action = Action::Fault(Fault { for_us, what });
    let at_us = WARM_UP_US + after_us;
    plan.entries.push(Entry { at_us, action });
}

fn draw_what(u: &mut Unstructured<'_>, shape: &Shape, kind: FaultKind) -> Result<FaultWhat> {
    let node = u.int_in_range(0..=shape.nodes - 1)?;
    Ok(match kind {
        FaultKind::Loss => FaultWhat::Loss { ppm: draw_rate(u)? },
        FaultKind::Dup => FaultWhat::Dup { ppm: draw_rate(u)? },
        FaultKind::Reorder => FaultWhat::Reorder {
            ppm: draw_rate(u)?,
            by_us: draw_log(u, 1_000, 1_024_000)?,
        },
        FaultKind::Delay => FaultWhat::Delay {
            node,
            by_us: draw_log(u, 1_000, 4_096_000)?,
        },
        // A link that breaks with every other message never gets to work.
        FaultKind::Corrupt => FaultWhat::Corrupt {
            ppm: draw_log(u, 100, 20_000)? as u32,
        },
        FaultKind::Congest => FaultWhat::Congest { node },
        FaultKind::Partition
        | FaultKind::OneWay
        | FaultKind::Partial
        | FaultKind::Bridge
        | FaultKind::Flap => draw_cut(u, shape, kind)?,
        FaultKind::Crash => FaultWhat::Crash {
            node,
            clean: u.arbitrary()?,
        },
        FaultKind::Wipe => FaultWhat::Wipe { node },
        FaultKind::Older => FaultWhat::Older { node },
        FaultKind::Restart => FaultWhat::Restart { node },
        FaultKind::ShortDisk => FaultWhat::ShortDisk { node },
        FaultKind::Pause => FaultWhat::Pause { node },
        FaultKind::Slow => FaultWhat::Slow {
            node,
            by_us: draw_log(u, 10, 20_000)?,
        },
        FaultKind::Leave => FaultWhat::Leave { node },
        FaultKind::Skew => draw_skew(u, node)?,
        FaultKind::FailDisk => FaultWhat::FailDisk { node },
        FaultKind::SlowDisk => FaultWhat::SlowDisk {
            node,
            by_us: draw_log(u, 5_000, 10_000_000)?,
        },
        FaultKind::FullDisk => FaultWhat::FullDisk { node },
        FaultKind::Rot => FaultWhat::Rot {
            node,
            bits: draw_log(u, 1, 64)? as u32,
        },
        FaultKind::Vanish => FaultWhat::Vanish {
            node,
            rows: draw_log(u, 1, 64)? as u32,
        },
        FaultKind::Evict => FaultWhat::Evict {
            node,
            force: u.arbitrary()?,
        },
    })
}

/// Mostly what happens without a time server; sometimes a wrong month and a bad crystal.
fn draw_skew(u: &mut Unstructured<'_>, node: usize) -> Result<FaultWhat> {
    let wild = u.ratio(1, 8)?;
    let (by_ms, ppm) = match wild {
        true => (30 * 86_400_000, 300_000),
        false => (32_768, 1_000),
    };
    let by_ms = draw_log(u, 1, by_ms)? as i64;
    let ppm = draw_log(u, 1, ppm)? as i64;
    Ok(FaultWhat::Skew {
        node,
        by_ms: if u.arbitrary()? { by_ms } else { -by_ms },
        ppm: if u.arbitrary()? { ppm } else { -ppm },
    })
}

fn draw_cut(u: &mut Unstructured<'_>, shape: &Shape, kind: FaultKind) -> Result<FaultWhat> {
    let mut nodes: Vec<usize> = (0..shape.nodes).collect();
    match kind {
        FaultKind::Bridge => drop(nodes.remove(u.int_in_range(0..=shape.nodes - 1)?)),
        FaultKind::Partial => {
            for _ in 0..u.int_in_range(1..=shape.nodes - 2)? {
                nodes.remove(u.choose_index(nodes.len())?);
            }
        }
        _ => {}
    }
    let (left, right) = draw_sides(u, &nodes)?;
    Ok(match kind {
        FaultKind::OneWay => FaultWhat::OneWay {
            from: left,
            to: right,
        },
        FaultKind::Partial => FaultWhat::Partial { left, right },
        FaultKind::Bridge => FaultWhat::Bridge { left, right },
        FaultKind::Flap => FaultWhat::Flap {
            left,
            right,
            every_us: draw_log(u, 20_000, 4_000_000)?,
        },
        _ => FaultWhat::Partition { left, right },
    })
}

/// From 0.1 % to 50 %.
fn draw_rate(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(draw_log(u, 1_000, 500_000)? as u32)
}

/// At least two nodes in two groups, none of them empty.
fn draw_sides(u: &mut Unstructured<'_>, nodes: &[usize]) -> Result<(Vec<usize>, Vec<usize>)> {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for &node in nodes {
        let side = if u.arbitrary()? {
            &mut left
        } else {
            &mut right
        };
        side.push(node);
    }
    if left.is_empty() || right.is_empty() {
        let alone = *u.choose(nodes)?;
        left = vec![alone];
        right = nodes
            .iter()
            .copied()
            .filter(|node| *node != alone)
            .collect();
    }
    Ok((left, right))
}

#[cfg(test)]
mod tests;
