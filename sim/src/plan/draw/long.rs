//! The draw of the profile `long`: what takes minutes to go wrong, and what only a row that outlives it can show.

use arbitrary::{Result, Unstructured};

use super::{
    Machine, Shape, add, draw_caps, draw_clients, draw_log, draw_resident_value, draw_sides,
    draw_tree, draw_what, wrong_clocks,
};
use crate::faults::{FaultKind, FaultSet};
use crate::plan::{FaultWhat, MAX_STEP_US, Plan, WARM_UP_US};
use crate::workload::Mix;

const SECOND_US: u64 = 1_000_000;

/// The longest that a brief step of a wall clock lasts: less than the time after which members believe a step forward.
const BRIEF_US: u64 = 29 * SECOND_US;
/// Between two brief steps of one node's clock, so that they do not become one long step.
const BETWEEN_STEPS_US: u64 = 65 * SECOND_US;

/// The plan of a seed.
pub(super) fn draw(u: &mut Unstructured<'_>, seed: u64) -> Result<Plan> {
    if let Some(plan) = wrong_clocks::draw(u, seed)? {
        return Ok(plan);
    }
    let nodes = u.int_in_range(2..=6)?;
    let active_us = u.int_in_range(57 * SECOND_US..=297 * SECOND_US)?;
    let mut plan = Plan::quiet(&Shape {
        seed,
        nodes,
        active_us,
        faults: FaultSet::NONE,
        ops_per_s: None,
    });
    let mut long = Long {
        nodes,
        active_us,
        plan: &mut plan,
    };
    long.machines(u)?;
    // Each part is missing now and then, so that no fault is always in the company of another.
    if u.ratio(7, 8)? {
        long.clocks(u)?;
    }
    if u.ratio(7, 8)? {
        long.restarts(u)?;
    }
    if u.ratio(3, 4)? {
        long.cuts(u)?;
    }
    if u.ratio(1, 3)? {
        long.eviction(u)?;
    }
    if u.ratio(1, 4)? {
        long.noise(u)?;
    }
    let mix = draw_mix(u)?;
    draw_clients(u, &mix, &mut plan)?;
    draw_resident_value(u, &mut plan)?;
    draw_caps(u, &mut plan)?;
    draw_tree(u, &mut plan)?;
    Ok(plan)
}

/// Few operations, so that runs are fast; lifetimes of rows from a second to a month, each factor of two as likely as the next.
pub(super) fn draw_mix(u: &mut Unstructured<'_>) -> Result<Mix> {
    let mut mix = Mix::draw(u)?;
    mix.gap_us = draw_log(u, 200_000, 4_000_000)?;
    mix.keys = draw_log(u, 2, 64)?;
    mix.verbs = [
        u.int_in_range(1..=6)?,
        u.int_in_range(3..=10)?,
        u.int_in_range(0..=4)?,
        u.int_in_range(1..=4)?,
    ];
    mix.ttl_ms = (1_000, 30 * 86_400_000);
    Ok(mix)
}

/// A plan that is being drawn.
struct Long<'a> {
    nodes: usize,
    active_us: u64,
    plan: &'a mut Plan,
}

impl Long<'_> {
    /// Draws which nodes have a disk, which join late, and whether messages become bytes.
    fn machines(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        self.plan.codec = u.ratio(1, 8)?;
        if u.ratio(1, 4)? {
            for machine in &mut self.plan.machines {
                machine.disk = u.arbitrary()?;
            }
        }
        // n0 founds the cluster.
        for machine in &mut self.plan.machines[1..] {
            if u.ratio(1, 4)? {
                let start_us = WARM_UP_US + u.int_in_range(0..=self.active_us - SECOND_US)?;
                *machine = Machine {
                    start_us,
                    ..*machine
                };
            }
        }
        Ok(())
    }

    /// Draws steps of the wall clocks. Most last for less than half a minute. In one larger cluster of four, one clock is wrong for
    /// longer than that.
    fn clocks(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let mut free_us = vec![0; self.nodes];
        if self.nodes >= 3 && u.ratio(1, 4)? {
            let node = self.node(u)?;
            let at_us = self.moment(u)?;
            let for_us = draw_log(u, BRIEF_US, 300 * SECOND_US)?;
            free_us[node] = u64::MAX;
            self.step(u, node, (at_us, for_us))?;
        }
        let gap_us = draw_log(u, 4 * SECOND_US, 64 * SECOND_US)?;
        let mut at_us = 0;
        loop {
            at_us += u.int_in_range(1..=2 * gap_us)?;
            if at_us >= self.active_us {
                return Ok(());
            }
            let node = self.node(u)?;
            let for_us = draw_log(u, 100_000, BRIEF_US)?;
            if at_us >= free_us[node] {
                free_us[node] = at_us + for_us + BETWEEN_STEPS_US;
                self.step(u, node, (at_us, for_us))?;
            }
        }
    }

    /// Draws one step of a wall clock: from a tenth of a second to ten years, two of three ahead. The clock does not drift.
    fn step(
        &mut self,
        u: &mut Unstructured<'_>,
        node: usize,
        (at_us, for_us): (u64, u64),
    ) -> Result<()> {
        let by_ms = draw_log(u, 100, MAX_STEP_US / 1_000)? as i64;
        let by_ms = if u.ratio(2, 3)? { by_ms } else { -by_ms };
        let what = FaultWhat::Skew {
            node,
            by_ms,
            ppm: 0,
        };
        add(self.plan, at_us, for_us, what);
        Ok(())
    }

    /// Draws rounds of staggered restarts: nodes stop one after the other, some, all, or one alone.
    fn restarts(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..u.int_in_range(1..=3)? {
            let first = self.node(u)?;
            let count = u.int_in_range(1..=self.nodes)?;
            let mut at_us = self.moment(u)?;
            for step in 0..count {
                let node = (first + step) % self.nodes;
                let for_us = draw_log(u, 200_000, 64 * SECOND_US)?;
                let what = draw_stop(u, node)?;
                if at_us < self.active_us {
                    add(self.plan, at_us, for_us, what);
                }
                at_us += draw_log(u, 500_000, 32 * SECOND_US)?;
            }
        }
        Ok(())
    }

    /// Draws partitions, most of them partial. In every other one the node between the sides, or any node, is down for a while.
    fn cuts(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        for _ in 0..u.int_in_range(1..=3)? {
            let at_us = self.moment(u)?;
            let for_us = draw_log(u, SECOND_US, 256 * SECOND_US)?;
            let (what, between) = self.cut(u)?;
            add(self.plan, at_us, for_us, what);
            if !u.arbitrary()? {
                continue;
            }
            let down_us = at_us + u.int_in_range(0..=for_us)?;
            let stop = draw_stop(u, between)?;
            let stays_down_us = draw_log(u, SECOND_US, 32 * SECOND_US)?;
            if down_us < self.active_us {
                add(self.plan, down_us, stays_down_us, stop);
            }
        }
        Ok(())
    }

    /// Draws one cut, and a node that is on neither side where there is one.
    fn cut(&self, u: &mut Unstructured<'_>) -> Result<(FaultWhat, usize)> {
        let mut nodes: Vec<usize> = (0..self.nodes).collect();
        let between = nodes.remove(u.choose_index(self.nodes)?);
        let is_pair: bool = u.arbitrary()?;
        while is_pair && nodes.len() > 2 {
            nodes.remove(u.choose_index(nodes.len())?);
        }
        if self.nodes == 2 {
            nodes.push(between);
        }
        let (left, right) = draw_sides(u, &nodes)?;
        let what = match u.int_in_range(0..=3)? {
            0 => FaultWhat::OneWay {
                from: left,
                to: right,
            },
            _ if self.nodes == 2 => FaultWhat::Partition { left, right },
            1 | 2 if is_pair => FaultWhat::Partial { left, right },
            1 | 2 => FaultWhat::Bridge { left, right },
            _ => {
                let nodes: Vec<usize> = (0..self.nodes).collect();
                let (left, right) = draw_sides(u, &nodes)?;
                FaultWhat::Partition { left, right }
            }
        };
        Ok((what, between))
    }

    /// Draws a node that is down for long, and a member that evicts it.
    fn eviction(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        let node = self.node(u)?;
        let by = (node + u.int_in_range(1..=self.nodes - 1)?) % self.nodes;
        let at_us = u.int_in_range(0..=self.active_us / 2)?;
        let for_us = u.int_in_range(12 * SECOND_US..=120 * SECOND_US)?;
        let crash = FaultWhat::Crash {
            node,
            clean: u.arbitrary()?,
        };
        add(self.plan, at_us, for_us, crash);
        let asked_us = at_us + u.int_in_range(6 * SECOND_US..=for_us.min(40 * SECOND_US))?;
        let evict = FaultWhat::Evict {
            node: by,
            force: u.arbitrary()?,
        };
        if asked_us < self.active_us {
            add(self.plan, asked_us, SECOND_US, evict);
        }
        Ok(())
    }

    /// Draws what makes networks and processes slow.
    fn noise(&mut self, u: &mut Unstructured<'_>) -> Result<()> {
        const KINDS: [FaultKind; 5] = [
            FaultKind::Loss,
            FaultKind::Dup,
            FaultKind::Reorder,
            FaultKind::Delay,
            FaultKind::Pause,
        ];
        let shape = Shape {
            seed: self.plan.seed,
            nodes: self.nodes,
            active_us: self.active_us,
            faults: FaultSet::NONE,
            ops_per_s: None,
        };
        for _ in 0..u.int_in_range(1..=3)? {
            let kind = *u.choose(&KINDS)?;
            let what = draw_what(u, &shape, kind)?;
            let (at_us, for_us) = (self.moment(u)?, draw_log(u, SECOND_US, 64 * SECOND_US)?);
            add(self.plan, at_us, for_us, what);
        }
        Ok(())
    }

    fn node(&self, u: &mut Unstructured<'_>) -> Result<usize> {
        u.int_in_range(0..=self.nodes - 1)
    }

    /// Draws a time after the warm-up at which a fault may begin.
    fn moment(&self, u: &mut Unstructured<'_>) -> Result<u64> {
        u.int_in_range(0..=self.active_us - SECOND_US)
    }
}

/// Draws how a node stops: by a signal, by losing its process or its power, and now and then by losing its disk.
fn draw_stop(u: &mut Unstructured<'_>, node: usize) -> Result<FaultWhat> {
    Ok(match u.int_in_range(0..=15)? {
        0 => FaultWhat::Wipe { node },
        1..=7 => FaultWhat::Leave { node },
        _ => FaultWhat::Crash {
            node,
            clean: u.arbitrary()?,
        },
    })
}
