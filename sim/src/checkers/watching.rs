//! A client that follows the changes of a table knows what is in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::{ChangeKind, ScanRange, Siblings, TableId, View, Wall};

use super::{MAX_VIOLATIONS, Violation};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "watching";

/// The rows of one table as a watching client has them: scanned once, and kept by the changes that it pulled.
#[derive(Debug, Default)]
pub struct Mirror(BTreeMap<Bytes, Copied>);

/// A row as it came with its change.
#[derive(Debug)]
struct Copied {
    /// `None` when it is only on the node's disk and was not read.
    value: Option<Bytes>,
    expires: Option<Wall>,
}

impl Mirror {
    /// Begins anew with what a scan of the table shows, as after a lag or a flush, which does not say what it left.
    pub fn scan(&mut self, view: &View<'_>, table: TableId) {
        let rows = view.scan(table, ScanRange::default());
        self.0 = rows
            .map(|row| {
                let siblings = row.siblings().map(|siblings| joined(&siblings));
                let (value, expires) = (siblings.or(row.value().cloned()), row.expires());
                (row.key().clone(), Copied { value, expires })
            })
            .collect();
    }

    /// Takes in one change. `view` shows what is there after it.
    pub fn follow(&mut self, view: &View<'_>, table: TableId, change: &ChangeKind) {
        match change {
            ChangeKind::Put {
                key,
                value,
                expires,
            } => {
                let (value, expires) = (value.clone(), *expires);
                self.0.insert(key.clone(), Copied { value, expires });
            }
            ChangeKind::Siblings { key, siblings } => {
                let (value, expires) = (Some(joined(siblings)), None);
                self.0.insert(key.clone(), Copied { value, expires });
            }
            ChangeKind::Deleted { key } | ChangeKind::Expired { key } => {
                self.0.remove(key);
            }
            ChangeKind::Flushed { .. } => self.scan(view, table),
        }
    }

    /// Compares the rows with what the node shows at `wall`, its own time: a row that has expired by then may not have been told yet.
    pub fn check(
        &self,
        (at_us, node): (u64, usize),
        view: &View<'_>,
        (table, id): (Table, TableId),
        wall: Wall,
    ) -> Vec<Violation> {
        let mut shown = Mirror::default();
        shown.scan(view, id);
        let lives = |copied: &&Copied| copied.expires.is_none_or(|at| at > wall);
        let unseen =
            (shown.0.iter()).filter_map(|(key, row)| match self.0.get(key).filter(lives) {
                None => Some((key, "was not told of it")),
                Some(copied) if copied.differs(row) => Some((key, "was told something else")),
                Some(_) => None,
            });
        let kept = (self.0.iter())
            .filter(|(key, copied)| lives(copied) && !shown.0.contains_key(*key))
            .map(|(key, _)| (key, "was not told that it is gone"));
        let wrong = unseen.chain(kept).take(MAX_VIOLATIONS);
        wrong
            .map(|(key, what)| Violation {
                checker: NAME,
                at_us,
                text: format!(
                    "a watcher of {} on n{node} {what}: {}",
                    table.name(),
                    key.escape_ascii()
                ),
            })
            .collect()
    }
}

impl Copied {
    /// Whether they are not the same row, as far as both values are known.
    fn differs(&self, row: &Copied) -> bool {
        let values = self.value.as_ref().zip(row.value.as_ref());
        self.expires != row.expires || values.is_some_and(|(ours, theirs)| ours != theirs)
    }
}

/// Siblings as one value: their versions and values in the order that all members share.
pub(super) fn joined(siblings: &Siblings) -> Bytes {
    let values = siblings.values.iter();
    let shown = values.map(|(value, version)| {
        let value = value.escape_ascii();
        format!("{}:{}={value} ", version.actor, version.counter)
    });
    shown.collect::<String>().into()
}
