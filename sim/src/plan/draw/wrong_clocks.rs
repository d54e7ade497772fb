//! Situations of the profile `long`: wrong clocks that are believed, where a rule about whose clock counts is all that keeps rows.
//! Operations of clients meanwhile are drawn as always.

use arbitrary::{Result, Unstructured};

use super::long::draw_mix;
use super::{Machine, add, draw_clients, draw_log, quiet};
use crate::plan::{FaultWhat, MAX_STEP_US, Plan, WARM_UP_US};
use crate::workload::Mix;

const SECOND_US: u64 = 1_000_000;

/// A clock that is wrong for so long is believed.
const BELIEVED_US: u64 = 62 * SECOND_US;

/// The plan of a seed that is about one of the situations, as one in six is.
pub(super) fn draw(u: &mut Unstructured<'_>, seed: u64) -> Result<Option<Plan>> {
    if !u.ratio(1, 6)? {
        return Ok(None);
    }
    let mut plan = match u.int_in_range(0..=2)? {
        0 => one_after_the_other(u, seed)?,
        1 => most_rejoin(u, seed)?,
        _ => still_joining(u, seed)?,
    };
    let mix = Mix {
        // Rows that are flushed or written again say nothing of clocks.
        flushes: 0,
        moves: 1,
        gap_us: draw_log(u, 200_000, 2_000_000)?,
        keys: draw_log(u, 16, 64)?,
        verbs: [
            u.int_in_range(1..=3)?,
            u.int_in_range(5..=10)?,
            u.int_in_range(0..=2)?,
            u.int_in_range(1..=2)?,
        ],
        ..draw_mix(u)?
    };
    draw_clients(u, &mix, &mut plan)?;
    Ok(Some(plan))
}

/// A step of a clock of ten minutes to ten years, and for how long. It is believed before the end of that.
fn draw_step(u: &mut Unstructured<'_>) -> Result<(i64, u64)> {
    let by_ms = draw_log(u, 600_000, MAX_STEP_US / 1_000)? as i64;
    Ok((by_ms, u.int_in_range(BELIEVED_US..=80 * SECOND_US)?))
}

fn ahead(node: usize, by_ms: i64) -> FaultWhat {
    let ppm = 0;
    FaultWhat::Skew { node, by_ms, ppm }
}

/// A member whose clock is wrong goes down, and stays so. Then the clock of another is wrong.
fn one_after_the_other(u: &mut Unstructured<'_>, seed: u64) -> Result<Plan> {
    let nodes = u.int_in_range(2..=3)?;
    let one = u.int_in_range(0..=nodes - 1)?;
    let other = (one + u.int_in_range(1..=nodes - 1)?) % nodes;
    let begins_us = u.int_in_range(SECOND_US..=30 * SECOND_US)?;
    let (one_ms, one_us) = draw_step(u)?;
    let (other_ms, other_us) = draw_step(u)?;
    let down_us = begins_us + one_us - u.int_in_range(100_000..=SECOND_US)?;
    let again_us = down_us + u.int_in_range(3 * SECOND_US..=30 * SECOND_US)?;
    let end_us = again_us + other_us + u.int_in_range(SECOND_US..=10 * SECOND_US)?;
    let mut plan = quiet(seed, nodes, end_us);
    add(&mut plan, begins_us, one_us, ahead(one, one_ms));
    let clean = u.arbitrary()?;
    let crash = FaultWhat::Crash { node: one, clean };
    add(&mut plan, down_us, end_us - down_us, crash);
    add(&mut plan, again_us, other_us, ahead(other, other_ms));
    Ok(plan)
}

/// All members but one leave and come back while that one is down, or on the other side of a cut: so they rejoin, and their clocks are wrong.
fn most_rejoin(u: &mut Unstructured<'_>, seed: u64) -> Result<Plan> {
    let nodes = u.int_in_range(3..=4)?;
    let stays = u.int_in_range(0..=nodes - 1)?;
    let leavers: Vec<usize> = (0..nodes).filter(|node| *node != stays).collect();
    let mut at_us = u.int_in_range(2 * SECOND_US..=20 * SECOND_US)?;
    let back_us = at_us + (leavers.len() as u64 + 2) * 5 * SECOND_US;
    let wrong_us = back_us + u.int_in_range(5 * SECOND_US..=60 * SECOND_US)?;
    let (by_ms, for_us) = draw_step(u)?;
    let end_us = wrong_us + for_us + SECOND_US;
    let mut plan = quiet(seed, nodes, end_us);
    for node in &leavers {
        let leave = FaultWhat::Leave { node: *node };
        add(&mut plan, at_us, back_us - at_us, leave);
        at_us += u.int_in_range(2 * SECOND_US..=4 * SECOND_US)?;
    }
    for node in &leavers {
        add(&mut plan, wrong_us, for_us, ahead(*node, by_ms));
    }
    let gone = match u.arbitrary()? {
        true => FaultWhat::Crash {
            node: stays,
            clean: true,
        },
        false => FaultWhat::Partition {
            left: vec![stays],
            right: leavers,
        },
    };
    let gone_us = back_us - SECOND_US;
    add(&mut plan, gone_us, end_us - gone_us, gone);
    Ok(plan)
}

/// A newcomer cannot reach any member yet, and its clock is wrong.
fn still_joining(u: &mut Unstructured<'_>, seed: u64) -> Result<Plan> {
    let nodes = u.int_in_range(2..=4)?;
    let newcomer = nodes - 1;
    let start_us = u.int_in_range(SECOND_US..=20 * SECOND_US)?;
    let wrong_us = start_us + u.int_in_range(5 * SECOND_US..=60 * SECOND_US)?;
    let (by_ms, for_us) = draw_step(u)?;
    let heals_us = wrong_us + for_us + u.int_in_range(0..=2 * SECOND_US)?;
    let end_us = heals_us + u.int_in_range(SECOND_US..=10 * SECOND_US)?;
    let mut plan = quiet(seed, nodes, end_us);
    plan.machines[newcomer] = Machine {
        start_us: WARM_UP_US + start_us,
        ..plan.machines[newcomer]
    };
    let cut = FaultWhat::Partition {
        left: vec![newcomer],
        right: (0..newcomer).collect(),
    };
    add(&mut plan, 0, heals_us, cut);
    add(&mut plan, wrong_us, for_us, ahead(newcomer, by_ms));
    Ok(plan)
}
