//! A node shows no row of a table that it has just flushed, whatever the clocks of its rows were.

use bytes::Bytes;
use rumormill_core::table::Version;

use super::Violation;
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "flushes";

/// Judges what a node shows of a table in the turn in which it has flushed it. Guarantees, "Flushes": that removes every row that the
/// flushing member held.
pub fn check(
    (at_us, node): (u64, usize),
    table: Table,
    left: &[(Bytes, Version)],
) -> Option<Violation> {
    let (key, _) = left.first()?;
    let place = format!("{}/{}", table.name(), key.escape_ascii());
    Some(Violation {
        checker: NAME,
        at_us,
        text: format!("n{node} shows {place} after its flush"),
    })
}

/// The version by which a flush deletes a row that it has `removed` though the row's clock is ahead of its own, and that of the flush is `own`;
/// `None` when the flush hides the row by its clock.
pub(crate) fn deleted_by(own: Version, removed: Version) -> Option<Version> {
    (removed.clock > own.clock).then(|| Version {
        clock: removed.clock.next(),
        ..own
    })
}

#[cfg(test)]
mod tests {
    use rumormill_core::{Actor, NodeId, table::Hlc};

    use super::*;

    fn version(clock: u64) -> Version {
        let actor = Actor {
            node: NodeId(1),
            boot: 1,
        };
        Version {
            clock: Hlc(clock),
            actor,
            counter: 1,
        }
    }

    #[test]
    fn a_node_that_shows_a_row_after_its_flush_is_told() {
        let left = [(Bytes::from("k"), version(7))];
        let found = check((1, 2), Table::Periodic, &left).map(|found| found.text);
        assert_eq!(found.as_deref(), Some("n2 shows default/k after its flush"));
        assert_eq!(check((1, 2), Table::Periodic, &[]), None);
    }

    #[test]
    fn only_rows_ahead_of_a_flush_are_deleted_one_by_one() {
        let clock = |removed| deleted_by(version(5), version(removed)).map(|by| by.clock);
        assert_eq!(
            [clock(4), clock(5), clock(6)],
            [None, None, Some(Hlc(6).next())]
        );
    }
}
