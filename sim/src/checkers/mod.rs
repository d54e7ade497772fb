//! Judges of a run. Each knows what clients were told and what nodes show, and nothing of how the store works.

pub mod ahead;
pub mod bounds;
pub mod convergence;
pub mod damage;
pub mod durability;
pub mod evictions;
pub mod flushes;
pub mod grafts;
pub mod hearsay;
pub mod hidden;
pub mod leaves;
pub mod linearizability;
pub mod liveness;
pub mod neighbours;
pub mod no_resurrection;
pub mod older_copies;
pub mod pages;
pub mod phase;
pub mod pushes;
pub mod repairs;
pub mod replays;
pub mod sessions;
pub mod siblings;
pub mod space;
pub mod stops;
pub mod watching;

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::{
    Actor, Node, NodeId, Now, TableId,
    table::{Hlc, Namespace, RowRef, ScanRange, Siblings, Version, View},
};

use crate::model::{History, Model};
use crate::plan::Table;

/// A broken promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The checker that found it.
    pub checker: &'static str,
    /// When, in virtual microseconds.
    pub at_us: u64,
    /// What, in words.
    pub text: String,
}

/// The state of an observer that keeps some for each node.
fn for_each<T: Default>(nodes: usize) -> Vec<T> {
    std::iter::repeat_with(T::default).take(nodes).collect()
}

/// More violations than this of one checker tell a reader nothing new.
pub(crate) const MAX_VIOLATIONS: usize = 10;

/// A live row as a reader sees it.
#[derive(Clone, Debug)]
pub struct RowState {
    /// Its version.
    pub version: Version,
    /// Its value, `None` when it is only on the node's disk and was not read.
    pub value: Option<Bytes>,
    /// When it expires, in milliseconds of wall time.
    pub expires_ms: Option<u64>,
}

impl RowState {
    /// Siblings as one row: the version of the first, and all versions and values as its value.
    fn of_siblings(siblings: &Siblings) -> Self {
        let first = siblings.values.first().map(|(_, version)| *version);
        RowState {
            // A rejoin changes the clock, and not at the same time everywhere.
            version: Version {
                clock: Hlc(0),
                ..first.unwrap_or(NO_VERSION)
            },
            value: Some(watching::joined(siblings)),
            expires_ms: None,
        }
    }

    /// The value in the words of a report.
    pub(crate) fn shown(&self) -> String {
        match &self.value {
            Some(value) => value.escape_ascii().to_string(),
            None => "(on disk)".to_string(),
        }
    }
}

const NO_VERSION: Version = Version {
    clock: Hlc(0),
    actor: Actor {
        node: NodeId(0),
        boot: 0,
    },
    counter: 0,
};

impl PartialEq for RowState {
    /// A value that was not read is told by its version.
    fn eq(&self, other: &Self) -> bool {
        let read = self.value.as_ref().zip(other.value.as_ref());
        (self.version, self.expires_ms) == (other.version, other.expires_ms)
            && read.is_none_or(|(ours, theirs)| ours == theirs)
    }
}

/// Every live row of the users' tables on one node, by table and key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Contents(BTreeMap<String, BTreeMap<Bytes, RowState>>);

impl Contents {
    /// Reads them from a node. `values` are those that were read from its disk.
    pub fn read(node: &Node, now: Now, values: &BTreeMap<Version, Bytes>) -> Self {
        let view = node.view(now);
        let mut out = BTreeMap::new();
        for table in view
            .tables()
            .into_iter()
            .filter(|table| table.namespace == Namespace::Usr)
        {
            let rows: BTreeMap<Bytes, RowState> = rows_of(&view, table.id)
                .map(|row| {
                    let expires_ms = row.expires().map(|wall| wall.as_millis());
                    if let Some(siblings) = row.siblings() {
                        return (row.key().clone(), RowState::of_siblings(&siblings));
                    }
                    let version = row.version();
                    let state = RowState {
                        version,
                        value: row.value().or_else(|| values.get(&version)).cloned(),
                        expires_ms,
                    };
                    (row.key().clone(), state)
                })
                .collect();
            // A table that is empty here and unknown there is the same to a reader.
            if !rows.is_empty() {
                out.insert(table.name.to_string(), rows);
            }
        }
        Contents(out)
    }

    /// The row of a key.
    pub fn get(&self, table: Table, key: &Bytes) -> Option<&RowState> {
        self.0.get(table.name())?.get(key)
    }

    /// Only the rows for which `lasts` holds, of the table, the key and the row.
    #[must_use]
    pub fn only(mut self, lasts: impl Fn(&str, &Bytes, &RowState) -> bool) -> Self {
        for (table, rows) in &mut self.0 {
            rows.retain(|key, row| lasts(table, key, row));
        }
        self.0.retain(|_, rows| !rows.is_empty());
        self
    }

    /// All rows in order.
    pub fn rows(&self) -> impl Iterator<Item = (&str, &Bytes, &RowState)> {
        self.0.iter().flat_map(|(table, rows)| {
            rows.iter()
                .map(move |(key, row)| (table.as_str(), key, row))
        })
    }

    /// Live rows.
    pub fn len(&self) -> usize {
        self.0.values().map(BTreeMap::len).sum()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Judges what one node shows, key by key, where the last writer wins. `judge` says what is wrong with a row, or with the lack of one.
fn by_key(
    checker: &'static str,
    (at_us, node): (u64, usize),
    contents: &Contents,
    model: &Model,
    judge: impl Fn(Option<&RowState>, History<'_>) -> Option<String>,
) -> Vec<Violation> {
    let keys = model.keys().filter(|(table, ..)| *table != Table::Siblings);
    let wrong = keys.filter_map(|(table, key, history)| {
        let text = judge(contents.get(table, key), history)?;
        let place = format!("{}/{} on n{node}", table.name(), key.escape_ascii());
        Some(Violation {
            checker,
            at_us,
            text: format!("{place}: {text}"),
        })
    });
    wrong.take(MAX_VIOLATIONS).collect()
}

/// A version in the words of a report.
pub(crate) struct Shown(pub(crate) Version);

impl std::fmt::Display for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}:{}", self.0.clock, self.0.actor, self.0.counter)
    }
}

/// Returns the live rows that a node shows of a table, in key order. All tables of a run are gossip tables, which answer at once.
pub(crate) fn rows_of<'a>(view: &View<'a>, table: TableId) -> impl Iterator<Item = RowRef<'a>> {
    let rows = view.scan(table, ScanRange::default());
    rows.into_iter().flatten()
}
