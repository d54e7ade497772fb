//! What clients do: writes and deletes, over a few hot keys and many cold ones, at any node.

use arbitrary::Unstructured;

use crate::plan::{Action, Entry, Op, OpVerb, Plan, Shape, Table, WARM_UP_US};

/// Keys below this number are hot.
const HOT_KEYS: u32 = 8;
const COLD_KEYS: u32 = 400;

/// Adds the clients' operations to a plan, at the rate of the shape.
pub(crate) fn draw(
    u: &mut Unstructured<'_>,
    shape: &Shape,
    plan: &mut Plan,
) -> arbitrary::Result<()> {
    let gap_us = match shape.ops_per_s {
        Some(rate) => 1_000_000 / u64::from(rate.max(1)),
        None => 200_000_u64 >> u.int_in_range(0..=4)?,
    };
    let hot = u.int_in_range(1..=9)?;
    let mut at_us = WARM_UP_US;
    loop {
        at_us += u.int_in_range(1..=2 * gap_us)?;
        if at_us >= plan.stop_us {
            return Ok(());
        }
        let op = Op {
            node: u.int_in_range(0..=shape.nodes - 1)?,
            table: draw_table(u)?,
            key: draw_key(u, hot)?,
            verb: draw_verb(u)?,
        };
        plan.entries.push(Entry {
            at_us,
            action: Action::Op(op),
        });
        if u.is_empty() {
            // Without bytes every further operation would be the same, a microsecond apart.
            return Ok(());
        }
    }
}

fn draw_key(u: &mut Unstructured<'_>, hot: u8) -> arbitrary::Result<u32> {
    let keys = if u.ratio(hot, 10)? {
        0..=HOT_KEYS - 1
    } else {
        HOT_KEYS..=HOT_KEYS + COLD_KEYS - 1
    };
    u.int_in_range(keys)
}

fn draw_table(u: &mut Unstructured<'_>) -> arbitrary::Result<Table> {
    Ok(match u.int_in_range(0..=9)? {
        0..=5 => Table::Periodic,
        6..=8 => Table::Sync,
        _ => Table::Memory,
    })
}

fn draw_verb(u: &mut Unstructured<'_>) -> arbitrary::Result<OpVerb> {
    Ok(match u.int_in_range(0..=9)? {
        0..=5 => OpVerb::Put,
        6..=8 => OpVerb::Delete,
        _ => OpVerb::PutFor {
            ttl_ms: u.int_in_range(50..=6_000)?,
        },
    })
}
