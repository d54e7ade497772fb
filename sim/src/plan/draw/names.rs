//! The draw of the profile `names`: clients use a table by its name before its definition has come.

use arbitrary::{Result, Unstructured};

use super::{
    Shape, add, draw_caps, draw_clients, draw_fault, draw_kinds, draw_log, draw_resident_value,
};
use crate::plan::{Action, Entry, FaultWhat, Plan, Table, WARM_UP_US};
use crate::workload::Mix;

/// The plan of a shape whose size is drawn here too.
pub(super) fn draw(u: &mut Unstructured<'_>, shape: &mut Shape) -> Result<Plan> {
    shape.nodes = u.int_in_range(2..=4)?;
    shape.active_us = u.int_in_range(7_000_000..=27_000_000)?;
    if u.ratio(3, 4)? {
        shape.faults = draw_kinds(u)?;
    }
    let mut plan = Plan::quiet(shape);
    plan.codec = u.ratio(1, 8)?;
    if u.ratio(1, 8)? {
        for machine in &mut plan.machines {
            machine.disk = u.arbitrary()?;
        }
    }
    let table = if u.ratio(2, 5)? {
        Table::Siblings
    } else {
        Table::Memory
    };
    let first = define(u, shape, &mut plan, (table, 0))?;
    if u.ratio(1, 3)? {
        // Another program creates it as well, on a node that may have heard of it or not.
        let after_us = u.int_in_range(0..=first)?;
        define(u, shape, &mut plan, (table, after_us))?;
    }
    let kinds: Vec<_> = shape.faults.iter().collect();
    if !kinds.is_empty() {
        for _ in 0..draw_log(u, 1, shape.active_us / 1_000_000)? {
            let kind = *u.choose(&kinds)?;
            let times = (0, shape.active_us - 1);
            draw_fault(u, shape, &mut plan, kind, times, (50_000, 10_000_000))?;
        }
    }
    let mut mix = Mix::draw(u)?;
    mix.gap_us = draw_log(u, 20_000, 500_000)?;
    mix.keys = draw_log(u, 2, 32)?;
    mix.tables = [1, u.int_in_range(0..=1)?, 0, 0];
    mix.tables[table as usize] = 8;
    draw_clients(u, &mix, &mut plan)?;
    draw_resident_value(u, &mut plan)?;
    draw_caps(u, &mut plan)?;
    Ok(plan)
}

/// Has a node create the table while others cannot hear it; returns for how long, in microseconds. It refuses if it has rows by then.
fn define(
    u: &mut Unstructured<'_>,
    shape: &Shape,
    plan: &mut Plan,
    (table, after_us): (Table, u64),
) -> Result<u64> {
    let node = u.int_in_range(0..=shape.nodes - 1)?;
    let others = (0..shape.nodes).filter(|other| *other != node).collect();
    let for_us = draw_log(u, 1_000, shape.active_us / 2)?;
    let cut = FaultWhat::Partition {
        left: vec![node],
        right: others,
    };
    add(plan, after_us, for_us, cut);
    plan.entries.push(Entry {
        at_us: WARM_UP_US + after_us,
        action: Action::Define { node, table },
    });
    Ok(for_us)
}
