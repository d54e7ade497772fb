//! An acknowledged write stays, or something newer has taken its place.

use std::collections::VecDeque;

use bytes::Bytes;
use rumormill_core::{Seq, table::Version};

use super::{Contents, RowState, Shown, Violation, by_key, for_each};
use crate::clock::is_beyond_drift;
use crate::model::{Effect, History, Model, Told};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "durability";

/// Judges what one node shows at the end against all that clients were told. `expired` says of a write whether its row may have ended, or
/// is hidden on the node; `ended_by` whether it may have ended before a moment, in virtual microseconds.
pub fn check(
    at_us: u64,
    node: usize,
    contents: &Contents,
    model: &Model,
    (expired, ended_by): (impl Fn(&Told) -> bool, impl Fn(&Told, u64) -> bool),
) -> Vec<Violation> {
    by_key(NAME, (at_us, node), contents, model, |row, history| {
        let lost = missing(row, history, &expired, &ended_by);
        lost.or_else(|| row.and_then(|row| invented(row.version, row.value.as_ref()?, history)))
    })
}

fn missing(
    row: Option<&RowState>,
    history: History<'_>,
    expired: impl Fn(&Told) -> bool,
    ended_by: impl Fn(&Told, u64) -> bool,
) -> Option<String> {
    let newest = history.newest_promised()?;
    let value = newest.effect.value()?;
    if expired(newest) {
        // The judge of resurrections says which rows may show in its place.
        return None;
    }
    let promise = format!(
        "value {} ({}), acknowledged by n{} at {}",
        value.escape_ascii(),
        Shown(newest.version),
        newest.node,
        newest.at_us
    );
    match row {
        None if history.may_be_gone(newest.version, &expired) => None,
        None => Some(format!("{promise}, is missing")),
        Some(row) if row.version >= newest.version => None,
        Some(_) if history.was_undone(newest) => None,
        Some(row) if follows_a_freed_end(row, newest, history, ended_by) => None,
        Some(row) => Some(format!(
            "{promise}, has been replaced by the older {}",
            Shown(row.version)
        )),
    }
}

/// Whether a row was written after the end of one whose clock not every member follows. Guarantees, "Conflicts and clocks": a write over such a
/// row is newer than it, and once what ended the row is freed nothing tells of that clock.
fn follows_a_freed_end(
    row: &RowState,
    newest: &Told,
    history: History<'_>,
    ended_by: impl Fn(&Told, u64) -> bool,
) -> bool {
    let Some(write) = history.author(row) else {
        return false;
    };
    let is_end = |op: &Told| op.effect == Effect::Delete || ended_by(op, write.at_us);
    let mut newer = history.ops().filter(|op| op.version > newest.version);
    is_beyond_drift(newest.version.clock, newest.at_us)
        && newer.any(|op| op.at_us < write.at_us && is_end(op))
}

/// Describes a row that carries a value no client wrote, or another value than the write of its version.
fn invented(version: Version, value: &Bytes, history: History<'_>) -> Option<String> {
    let known = history.ops().find(|op| op.version == version);
    let right = match known {
        Some(op) => op.effect.value() == Some(value),
        None => history.ops().any(|op| op.effect.value() == Some(value)),
    };
    (!right).then(|| {
        let (value, version) = (value.escape_ascii(), Shown(version));
        format!("value {value} at {version} was never written")
    })
}

/// Judges what one read of a node has shown.
pub(crate) fn check_read(
    (at_us, node): (u64, usize),
    (table, key): (Table, &Bytes),
    (version, value): (Version, &Bytes),
    model: &Model,
) -> Option<Violation> {
    let wrong = match model.history(table, key) {
        Some(history) => invented(version, value, history),
        None => Some("no client wrote it".to_string()),
    };
    wrong.map(|text| Violation {
        checker: NAME,
        at_us,
        text: format!(
            "n{node}: {}/{} was read: {text}",
            table.name(),
            key.escape_ascii()
        ),
    })
}

/// Knows which operations the disk of each node does not have yet, with their batches.
pub(crate) struct Unsynced(Vec<VecDeque<(Seq, usize)>>);

impl Unsynced {
    pub(crate) fn new(nodes: usize) -> Self {
        Unsynced(for_each(nodes))
    }

    /// The node has accepted an operation, which has this number and is in this batch.
    pub(crate) fn on_accept(&mut self, node: usize, seq: Seq, op: usize) {
        self.0[node].push_back((seq, op));
    }

    /// The disk of the node has all batches up to this one.
    pub(crate) fn on_synced(&mut self, node: usize, upto: Seq) {
        let waiting = &mut self.0[node];
        while waiting.pop_front_if(|(seq, _)| *seq <= upto).is_some() {}
    }

    /// Counts the operations of the node that only batches behind this one have.
    pub(crate) fn behind(&self, node: usize, upto: Seq) -> usize {
        let waiting = self.0[node].iter();
        waiting.filter(|(seq, _)| *seq > upto).count()
    }

    /// The node has stopped, and its disk has the batches up to this one. Returns the operations that only later ones had.
    pub(crate) fn on_stop(&mut self, node: usize, upto: Seq) -> impl Iterator<Item = usize> {
        let waiting = std::mem::take(&mut self.0[node]);
        let lost = waiting.into_iter().filter(move |(seq, _)| *seq > upto);
        lost.map(|(_, op)| op)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use rumormill_core::{Actor, NodeId, table::Hlc};

    use super::*;
    use crate::clock::Clock;
    use crate::model::Accepted;

    const TABLE: Table = Table::Periodic;

    fn version(ahead_s: u64, counter: u64) -> Version {
        let actor = Actor {
            node: NodeId(1),
            boot: 1,
        };
        Version {
            clock: Hlc::at(Clock::default().now(0).wall + Duration::from_secs(ahead_s)),
            actor,
            counter,
        }
    }

    /// Whether it is a violation that a node shows a write of the third second in the place of an acknowledged one of the first, whose clock is
    /// so many seconds ahead, when a row over that was lost, which was written and may have ended in the given seconds.
    fn is_broken(ahead_s: u64, written: u64, ended: Option<u64>) -> bool {
        let (mut model, key) = (Model::default(), Bytes::from("k"));
        let mut told = |second: u64, version, effect, acked| {
            let op = Accepted {
                at_us: second * 1_000_000,
                node: 0,
                version,
                effect,
                alone: false,
            };
            let number = model.accepted(TABLE, Some(&key), op);
            if acked {
                model.acked(number);
            }
        };
        told(1, version(ahead_s, 1), Effect::Put("a".into()), true);
        told(
            written,
            version(ahead_s, 2),
            Effect::PutFor("b".into(), 1),
            false,
        );
        told(3, version(3, 3), Effect::Put("c".into()), false);
        let row = RowState {
            version: version(3, 3),
            value: Some("c".into()),
            expires_ms: None,
        };
        let rows = BTreeMap::from([(TABLE.name().to_string(), BTreeMap::from([(key, row)]))]);
        let expires = |op: &Told| matches!(op.effect, Effect::PutFor(..));
        let expired = |op: &Told| expires(op) && ended.is_some();
        let ended_by = |op: &Told, by_us| {
            expires(op) && ended.is_some_and(|second| second * 1_000_000 <= by_us)
        };
        !check(0, 0, &Contents(rows), &model, (expired, ended_by)).is_empty()
    }

    #[test]
    fn an_older_write_is_excused_only_after_the_end_of_a_row_that_not_every_member_follows() {
        assert!(!is_broken(1_000_000, 2, Some(2)));
        assert!(is_broken(1_000_000, 2, None), "it has not ended");
        assert!(is_broken(1_000_000, 2, Some(4)), "it ended later");
        assert!(is_broken(1_000_000, 4, Some(4)), "it was written later");
        assert!(is_broken(10, 2, Some(2)), "every member follows its clock");
    }
}
