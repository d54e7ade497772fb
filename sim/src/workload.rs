//! The operations of clients: reads, writes and deletes, over a few hot keys and many cold ones, each at a node of its own.

use arbitrary::{Result, Unstructured};

use crate::plan::{Action, Entry, Op, OpVerb, Plan, Table, WARM_UP_US, draw_log};

/// The most clients of one plan.
const MAX_CLIENTS: u32 = 8;
/// The most keys of one plan.
const MAX_KEYS: u64 = 1_024;

/// How busy clients are, and with what.
#[derive(Clone, Debug)]
pub(crate) struct Mix {
    /// The mean time between two operations, in microseconds.
    pub(crate) gap_us: u64,
    pub(crate) clients: u32,
    /// Key ranks follow Zipf's law up to this one.
    pub(crate) keys: u64,
    /// The operations of a thousand that are preceded by a move of their client.
    pub(crate) moves: u32,
    /// The weights of [`Table::ALL`].
    pub(crate) tables: [u32; 4],
    /// The weights of put, put with expiry, delete and get.
    pub(crate) verbs: [u32; 4],
    /// The operations of a thousand that are flushes.
    pub(crate) flushes: u32,
    /// The shortest and the longest lifetime of a row that is written to expire, in milliseconds.
    pub(crate) ttl_ms: (u64, u64),
}

impl Mix {
    pub(crate) fn draw(u: &mut Unstructured<'_>) -> Result<Mix> {
        Ok(Mix {
            gap_us: draw_log(u, 12_500, 200_000)?,
            clients: u.int_in_range(1..=MAX_CLIENTS)?,
            keys: draw_log(u, 2, MAX_KEYS)?,
            moves: draw_log(u, 1, 500)? as u32,
            tables: [
                u.int_in_range(1..=8)?,
                u.int_in_range(1..=8)?,
                u.int_in_range(0..=3)?,
                u.int_in_range(0..=4)?,
            ],
            verbs: [
                u.int_in_range(2..=10)?,
                u.int_in_range(0..=3)?,
                u.int_in_range(0..=8)?,
                u.int_in_range(1..=8)?,
            ],
            // A flush takes all that other faults could spoil: most plans have none.
            flushes: if u.ratio(1, 8)? {
                u.int_in_range(1..=20)?
            } else {
                0
            },
            ttl_ms: (50, 6_000),
        })
    }

    /// So many operations per second, instead of the drawn number.
    pub(crate) fn set_rate(&mut self, per_s: u32) {
        self.gap_us = 1_000_000 / u64::from(per_s.max(1));
    }
}

/// Adds the clients' operations to a plan.
pub(crate) fn draw(u: &mut Unstructured<'_>, mix: &Mix, plan: &mut Plan) -> Result<()> {
    let mut at_us = WARM_UP_US;
    loop {
        at_us += u.int_in_range(1..=2 * mix.gap_us)?;
        // Without bytes every further operation would be the same, a microsecond apart.
        if at_us >= plan.stop_us || u.is_empty() {
            return Ok(());
        }
        let client = u.int_in_range(0..=mix.clients - 1)?;
        if u.ratio(mix.moves, 1_000)? {
            let node = u.int_in_range(0..=plan.machines.len() - 1)?;
            let action = Action::Move { client, node };
            plan.entries.push(Entry { at_us, action });
        }
        let op = Op {
            client,
            table: Table::ALL[draw_weighted(u, &mix.tables)?],
            verb: draw_verb(u, mix)?,
        };
        let action = Action::Op(op);
        plan.entries.push(Entry { at_us, action });
    }
}

fn draw_verb(u: &mut Unstructured<'_>, mix: &Mix) -> Result<OpVerb> {
    let key = (draw_log(u, 1, mix.keys)? - 1) as u32;
    if mix.flushes > 0 && u.ratio(mix.flushes, 1_000)? {
        return Ok(OpVerb::Flush);
    }
    Ok(match draw_weighted(u, &mix.verbs)? {
        0 => OpVerb::Put { key },
        1 => OpVerb::PutFor {
            key,
            ttl_ms: draw_log(u, mix.ttl_ms.0, mix.ttl_ms.1)?,
        },
        2 => OpVerb::Delete { key },
        _ => OpVerb::Get { key },
    })
}

/// An index, as often as its weight says.
fn draw_weighted(u: &mut Unstructured<'_>, weights: &[u32]) -> Result<usize> {
    let sum: u32 = weights.iter().sum();
    let mut left = u.int_in_range(0..=sum.saturating_sub(1))?;
    for (index, weight) in weights.iter().enumerate() {
        match left.checked_sub(*weight) {
            Some(rest) => left = rest,
            None => return Ok(index),
        }
    }
    Ok(0)
}
