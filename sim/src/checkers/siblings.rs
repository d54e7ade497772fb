//! An acknowledged sibling stays until a write replaces it whose author has seen it, and then it stays away.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{MAX_VIOLATIONS, Violation};
use crate::model::{Effect, History, Model, Told};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "siblings";

/// The values of every key on one node.
pub type Shown = BTreeMap<Bytes, BTreeSet<Bytes>>;

/// Judges what nodes show at the end. `seen` has, by operation, the values that its author had read.
pub fn check(
    at_us: u64,
    shown: &[(usize, Shown)],
    model: &Model,
    seen: &BTreeMap<usize, Vec<Bytes>>,
) -> Vec<Violation> {
    let nothing = BTreeSet::new();
    let mut out = Vec::new();
    let keys = model.keys().filter(|(table, ..)| *table == Table::Siblings);
    for (_, key, history) in keys {
        for (node, rows) in shown {
            let values = rows.get(key).unwrap_or(&nothing);
            let lost = lost(values, history, seen);
            let wrong = lost.or_else(|| back(values, history, seen));
            let wrong = wrong.or_else(|| invented(values, history));
            if let Some(text) = wrong {
                out.push(Violation {
                    checker: NAME,
                    at_us,
                    text: format!("{} on n{node}: {text}", key.escape_ascii()),
                });
            }
        }
        if out.len() >= MAX_VIOLATIONS {
            break;
        }
    }
    out
}

fn has_seen(seen: &BTreeMap<usize, Vec<Bytes>>, number: usize, value: &Bytes) -> bool {
    seen.get(&number).is_some_and(|seen| seen.contains(value))
}

fn lost(
    values: &BTreeSet<Bytes>,
    history: History<'_>,
    seen: &BTreeMap<usize, Vec<Bytes>>,
) -> Option<String> {
    let gone = |put: &Told, value: &Bytes| {
        history.numbered().any(|(number, op)| {
            let flushed = op.flush && (op.alone || op.version.clock >= put.version.clock);
            flushed || has_seen(seen, number, value)
        })
    };
    history.ops().find_map(|put| {
        let Effect::Put(value) = &put.effect else {
            return None;
        };
        let missing = history.promised(put) && !values.contains(value) && !gone(put, value);
        missing.then(|| {
            let (value, node) = (value.escape_ascii(), put.node);
            format!(
                "{value}, acknowledged by n{node} at {}, is missing",
                put.at_us
            )
        })
    })
}

fn back(
    values: &BTreeSet<Bytes>,
    history: History<'_>,
    seen: &BTreeMap<usize, Vec<Bytes>>,
) -> Option<String> {
    values.iter().find_map(|value| {
        // What one took along that was no member is proposed again, and the delete of it may have been freed.
        let writer = history.writer(value)?;
        let replaced =
            |(number, op): &(usize, &Told)| history.promised(op) && has_seen(seen, *number, value);
        let (_, op) = history
            .numbered()
            .find(replaced)
            .filter(|_| !writer.alone)?;
        let (value, node) = (value.escape_ascii(), op.node);
        Some(format!(
            "{value} shows, which an operation at n{node} at {} had seen and replaced",
            op.at_us
        ))
    })
}

fn invented(values: &BTreeSet<Bytes>, history: History<'_>) -> Option<String> {
    let unknown = values
        .iter()
        .find(|value| history.writer(value).is_none())?;
    Some(format!("{} was never written", unknown.escape_ascii()))
}
