//! Situations: what has to come together for some rules to matter, and hardly ever does where each fault is drawn by itself. What
//! clients do meanwhile is drawn as always.

use arbitrary::{Result, Unstructured};

use super::{add, draw_clients, draw_log, quiet};
use crate::plan::{Action, Caps, Entry, FaultWhat, Op, OpVerb, Plan, Table, WARM_UP_US};
use crate::workload::Mix;

const SECOND_US: u64 = 1_000_000;

/// The plan of a seed that is about one of the situations, as one in five is.
pub(super) fn draw(u: &mut Unstructured<'_>, seed: u64) -> Result<Option<Plan>> {
    if !u.ratio(1, 5)? {
        return Ok(None);
    }
    let (mut plan, mix) = match u.int_in_range(0..=7)? {
        0 => changes_under_a_session(u, seed)?,
        1 => late_messages(u, seed)?,
        2 => a_clock_far_ahead(u, seed)?,
        3 => evicted_by_a_vanishing_node(u, seed)?,
        4..=6 => lost_under_a_session(u, seed)?,
        _ => back_while_another_is_missing(u, seed)?,
    };
    draw_clients(u, &mix, &mut plan)?;
    Ok(Some(plan))
}

/// A node that comes anew fetches everything over a slow network, in many pages, while clients write, delete and flush where it fetches
/// from. Then that node loses its power, and with it what it had not synced.
fn changes_under_a_session(u: &mut Unstructured<'_>, seed: u64) -> Result<(Plan, Mix)> {
    let active_us = u.int_in_range(12 * SECOND_US..=27 * SECOND_US)?;
    let mut plan = quiet(seed, u.int_in_range(2..=3)?, active_us);
    plan.caps = Caps {
        rows_per_message: Some(draw_log(u, 1, 16)? as u32),
        ..Caps::default()
    };
    let by_us = draw_log(u, 4_000, 255_000)?;
    add(&mut plan, 0, active_us, FaultWhat::Delay { node: 1, by_us });
    let mut at_us = 0;
    loop {
        at_us += u.int_in_range(SECOND_US..=5 * SECOND_US)?;
        let power_us = at_us + draw_log(u, 100_000, 4_000_000)?;
        if power_us >= active_us {
            break;
        }
        let (clean, for_us) = (u.arbitrary()?, draw_log(u, 10_000, 1_000_000)?);
        let short_us = draw_log(u, 1_000, 200_000)?;
        add(&mut plan, at_us, short_us, FaultWhat::Wipe { node: 1 });
        add(
            &mut plan,
            power_us,
            for_us,
            FaultWhat::Crash { node: 0, clean },
        );
        at_us = power_us;
    }
    let mut mix = Mix::draw(u)?;
    mix.gap_us = draw_log(u, 8_000, 64_000)?;
    mix.keys = draw_log(u, 8, 256)?;
    mix.flushes = if u.arbitrary()? {
        draw_log(u, 4, 128)? as u32
    } else {
        0
    };
    Ok((plan, mix))
}

/// Draws two nodes, one of which comes anew. While that one fetches everything the other replaces rows or flushes a table, and loses its
/// power with all that it had not synced: so the old rows are back there. Soon after that clients stop, so nothing covers up the outcome.
fn lost_under_a_session(u: &mut Unstructured<'_>, seed: u64) -> Result<(Plan, Mix)> {
    let by_us = draw_log(u, 16_000, 255_000)?;
    let wiped_us = u.int_in_range(SECOND_US..=4 * SECOND_US)?;
    let back_us = wiped_us + draw_log(u, 1_000, 16_000_000)?;
    // A dial, two greetings, and pages, of which four are on their way at a time: each step of these takes as long as a message.
    let lost_us = back_us + u.int_in_range(5 * by_us..=20 * by_us)?;
    let mut plan = quiet(seed, 2, lost_us + draw_log(u, 1_000, 200_000)?);
    plan.caps = Caps {
        rows_per_message: Some(draw_log(u, 1, 8)? as u32),
        ..Caps::default()
    };
    let delay = FaultWhat::Delay { node: 1, by_us };
    add(&mut plan, 0, lost_us, delay);
    let wipe = FaultWhat::Wipe { node: 1 };
    add(&mut plan, wiped_us, back_us - wiped_us, wipe);
    let crash = FaultWhat::Crash {
        node: 0,
        clean: u.arbitrary()?,
    };
    add(&mut plan, lost_us, draw_log(u, 10_000, 1_000_000)?, crash);
    if u.arbitrary()? {
        let flush = Op {
            client: 0,
            table: Table::Periodic,
            verb: OpVerb::Flush,
        };
        plan.entries.push(Entry {
            at_us: WARM_UP_US + lost_us - u.int_in_range(1..=5 * by_us)?,
            action: Action::Op(flush),
        });
    }
    let mut mix = Mix::draw(u)?;
    mix.gap_us = draw_log(u, 4_000, 64_000)?;
    mix.keys = draw_log(u, 8, 128)?;
    // A write that is synced would sync those before it.
    mix.tables = [8, 0, 0, 2];
    mix.moves = 1;
    mix.flushes = 0;
    Ok((plan, mix))
}

/// Draws a node that is cut off, evicts the others by force, and loses its disk soon after they have heard of it: they wait for a node that
/// is no more, until an operator lets one of them go on.
fn evicted_by_a_vanishing_node(u: &mut Unstructured<'_>, seed: u64) -> Result<(Plan, Mix)> {
    let nodes = u.int_in_range(2..=4)?;
    let cut_us = u.int_in_range(SECOND_US..=3 * SECOND_US)?;
    let heals_us = cut_us + u.int_in_range(14 * SECOND_US..=20 * SECOND_US)?;
    let wiped_us = heals_us + draw_log(u, 1_000, 4_000_000)?;
    let end_us = wiped_us + u.int_in_range(SECOND_US..=30 * SECOND_US)?;
    let mut plan = quiet(seed, nodes, end_us);
    let by = u.int_in_range(0..=nodes - 1)?;
    let others: Vec<usize> = (0..nodes).filter(|node| *node != by).collect();
    for _ in &others {
        let evict = FaultWhat::Evict {
            node: by,
            force: true,
        };
        add(&mut plan, cut_us + 6 * SECOND_US, SECOND_US, evict);
    }
    let cut = FaultWhat::Partition {
        left: vec![by],
        right: others,
    };
    add(&mut plan, cut_us, heals_us - cut_us, cut);
    let by_us = draw_log(u, 1_000, 500_000)?;
    add(
        &mut plan,
        heals_us,
        end_us - heals_us,
        FaultWhat::Delay { node: by, by_us },
    );
    let for_us = draw_log(u, 10_000, 10_000_000)?;
    add(&mut plan, wiped_us, for_us, FaultWhat::Wipe { node: by });
    let mut mix = few_keys(u)?;
    mix.gap_us = draw_log(u, 50_000, 400_000)?;
    Ok((plan, mix))
}

/// Draws clients that write and delete the same few keys, while much comes late and out of order.
fn late_messages(u: &mut Unstructured<'_>, seed: u64) -> Result<(Plan, Mix)> {
    let active_us = u.int_in_range(7 * SECOND_US..=27 * SECOND_US)?;
    let mut plan = quiet(seed, u.int_in_range(2..=4)?, active_us);
    let what = FaultWhat::Reorder {
        ppm: draw_log(u, 16_000, 500_000)? as u32,
        by_us: draw_log(u, 256_000, 8_000_000)?,
    };
    add(&mut plan, 0, active_us, what);
    let mut mix = few_keys(u)?;
    mix.gap_us = draw_log(u, 12_500, 400_000)?;
    Ok((plan, mix))
}

/// The wall clock of one node is further ahead than others follow; another node comes anew.
fn a_clock_far_ahead(u: &mut Unstructured<'_>, seed: u64) -> Result<(Plan, Mix)> {
    let active_us = u.int_in_range(12 * SECOND_US..=27 * SECOND_US)?;
    let nodes = u.int_in_range(2..=4)?;
    let mut plan = quiet(seed, nodes, active_us);
    let what = FaultWhat::Skew {
        node: 0,
        by_ms: draw_log(u, 310_000, 30 * 86_400_000)? as i64,
        ppm: 0,
    };
    let for_us = u.int_in_range(4 * SECOND_US..=active_us)?;
    add(&mut plan, 0, for_us, what);
    let at_us = u.int_in_range(3 * SECOND_US..=active_us - SECOND_US)?;
    let last = nodes - 1;
    match u.int_in_range(0..=2)? {
        0 => {
            let for_us = draw_log(u, 10_000, 1_000_000)?;
            add(&mut plan, at_us, for_us, FaultWhat::Wipe { node: last });
        }
        1 => {
            plan.machines[last].disk = false;
            let (clean, for_us) = (u.arbitrary()?, draw_log(u, 10_000, 1_000_000)?);
            let what = FaultWhat::Crash { node: last, clean };
            add(&mut plan, at_us, for_us, what);
        }
        _ => plan.machines[last].start_us = WARM_UP_US + at_us,
    }
    let mut mix = few_keys(u)?;
    mix.moves = draw_log(u, 16, 500)? as u32;
    Ok((plan, mix))
}

fn few_keys(u: &mut Unstructured<'_>) -> Result<Mix> {
    let mut mix = Mix::draw(u)?;
    mix.keys = draw_log(u, 2, 16)?;
    // Puts and deletes.
    mix.verbs[0] = u.int_in_range(2..=6)?;
    mix.verbs[2] = u.int_in_range(2..=6)?;
    mix.flushes = 0;
    Ok(mix)
}

/// Draws three nodes: one is cut off, then a second one from the last; the last one leaves without a hand-over and comes back to the one
/// that has missed the most, while the other is missing for longer than it waits.
fn back_while_another_is_missing(u: &mut Unstructured<'_>, seed: u64) -> Result<(Plan, Mix)> {
    let parted_us = u.int_in_range(SECOND_US..=5 * SECOND_US)?;
    let leaves_us = parted_us + u.int_in_range(200_000..=2 * SECOND_US)?;
    let near_us = leaves_us + u.int_in_range(SECOND_US..=6 * SECOND_US)?;
    let end_us = near_us + u.int_in_range(32 * SECOND_US..=45 * SECOND_US)?;
    let mut plan = quiet(seed, 3, end_us + 3 * SECOND_US);
    let mut order = vec![0, 1, 2];
    let behind = order.remove(u.choose_index(3)?);
    let missing = order.remove(u.choose_index(2)?);
    let back = order[0];
    let cut = |left: &[usize], right: &[usize]| FaultWhat::Partition {
        left: left.to_vec(),
        right: right.to_vec(),
    };
    add(&mut plan, 0, near_us, cut(&[behind], &[back, missing]));
    let apart_us = end_us - parted_us;
    add(
        &mut plan,
        parted_us,
        apart_us,
        cut(&[missing], &[back, behind]),
    );
    let for_us = draw_log(u, 10_000, 4_000_000)?;
    add(
        &mut plan,
        leaves_us,
        for_us,
        FaultWhat::Leave { node: back },
    );
    let mut mix = few_keys(u)?;
    mix.keys = draw_log(u, 2, 64)?;
    mix.gap_us = draw_log(u, 50_000, 400_000)?;
    Ok((plan, mix))
}
