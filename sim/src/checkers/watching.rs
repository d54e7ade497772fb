//! A client that follows the changes of a table knows what is in it.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::{
    TableId, Wall,
    table::{Change, ChangeKind, Cursor, Siblings, View},
};

use super::{MAX_VIOLATIONS, Violation, for_each};
use crate::checkers::rows_of;
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "watching";

/// A watching client is told of a row that has expired so many milliseconds later at most.
const LATE_MS: u64 = 2_000;

/// Changes that a watching client reads at once.
const CHANGES: usize = 256;

/// The rows of one table as a watching client has them: scanned once, and kept by the changes that it pulled.
#[derive(Debug, Default)]
struct Mirror(BTreeMap<Bytes, Copied>);

/// A row as it came with its change.
#[derive(Debug)]
struct Copied {
    /// `None` when it is only on the node's disk and was not read.
    value: Option<Bytes>,
    expires: Option<Wall>,
}

impl Mirror {
    /// Begins anew with what a scan of the table shows, as after a lag or a flush. Guarantees, "Flushes": it does not say which rows it removed.
    fn scan(&mut self, view: &View<'_>, table: TableId) {
        self.0 = rows_of(view, table)
            .map(|row| {
                let siblings = row.siblings().map(|siblings| joined(&siblings));
                let (value, expires) = (siblings.or(row.value().cloned()), row.expires());
                (row.key().clone(), Copied { value, expires })
            })
            .collect();
    }

    /// Takes in one change. `view` shows what is there after it.
    fn follow(&mut self, view: &View<'_>, table: TableId, change: &ChangeKind) {
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

    /// Compares the rows with what the node shows at `wall`, its own time. A row that has expired just before may not have been told yet.
    /// Guarantees, "Expiry": a row is hidden when the wall clock has reached its expiry, which the node looks at in turns.
    fn check(
        &self,
        (at_us, node): (u64, usize),
        view: &View<'_>,
        (table, id): (Table, TableId),
        wall: Wall,
    ) -> Vec<Violation> {
        let mut shown = Mirror::default();
        shown.scan(view, id);
        let lives = |copied: &&Copied| copied.expires.is_none_or(|at| at > wall);
        let told_soon = |copied: &Copied| {
            let expires = copied.expires;
            expires.is_some_and(|at| at <= wall && wall.as_millis() - at.as_millis() < LATE_MS)
        };
        let unseen =
            (shown.0.iter()).filter_map(|(key, row)| match self.0.get(key).filter(lives) {
                None => Some((key, "was not told of it")),
                Some(copied) if copied.differs(row) => Some((key, "was told something else")),
                Some(_) => None,
            });
        let kept = (self.0.iter())
            .filter(|(key, copied)| !told_soon(copied) && !shown.0.contains_key(*key))
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

/// The watching client of one node.
#[derive(Debug)]
struct Watcher {
    /// How far it has read each table, in the order of [`Table::ALL`].
    cursors: [Cursor; Table::ALL.len()],
    /// Its copy of each row.
    mirrors: [Mirror; Table::ALL.len()],
    /// Tables with changes that it has not read.
    changed: Vec<usize>,
}

/// The outcome of one read of a watching client.
pub(crate) enum Pulled {
    /// There is nothing more to read.
    Nothing,
    /// It was too late for changes of the table with this number.
    Lagged(usize),
    /// The next changes of the table with this number.
    Changes(usize, Vec<Change>),
}

impl Default for Watcher {
    fn default() -> Self {
        Watcher {
            cursors: [Cursor::START; Table::ALL.len()],
            mirrors: Default::default(),
            changed: Vec::new(),
        }
    }
}

impl Watcher {
    /// Reads the next changes, and the table that they are of.
    fn next(
        &mut self,
        view: &View<'_>,
        tables: &[TableId],
    ) -> Option<(usize, Option<Vec<Change>>)> {
        let slot = self.changed.pop()?;
        match view.changes(tables[slot], self.cursors[slot], CHANGES) {
            Ok(read) => {
                self.cursors[slot] = read.next;
                if read.more {
                    self.changed.push(slot);
                }
                Some((slot, Some(read.changes)))
            }
            Err(_) => {
                self.cursors[slot] = view.cursor();
                Some((slot, None))
            }
        }
    }
}

/// Watches the tables of each node, as a client does.
pub(crate) struct Watching(Vec<Watcher>);

impl Watching {
    pub(crate) fn new(nodes: usize) -> Self {
        Watching(for_each(nodes))
    }

    /// A boot of the node begins, with these tables, whose changes count from the cursors.
    pub(crate) fn on_start(
        &mut self,
        node: usize,
        view: &View<'_>,
        (tables, cursors): (&[TableId], &[Cursor]),
    ) {
        let watcher = &mut self.0[node];
        for (slot, (table, cursor)) in tables.iter().zip(cursors).enumerate() {
            watcher.cursors[slot] = *cursor;
            watcher.mirrors[slot].scan(view, *table);
        }
    }

    /// The node has stopped.
    pub(crate) fn on_stop(&mut self, node: usize) {
        self.0[node].changed.clear();
    }

    /// The table with this number has changes.
    pub(crate) fn on_changed(&mut self, node: usize, slot: usize) {
        self.0[node].changed.push(slot);
    }

    /// Reads what is new on the node, and takes it in.
    pub(crate) fn pull(&mut self, node: usize, view: &View<'_>, tables: &[TableId]) -> Pulled {
        let watcher = &mut self.0[node];
        match watcher.next(view, tables) {
            None => Pulled::Nothing,
            Some((slot, None)) => {
                watcher.mirrors[slot].scan(view, tables[slot]);
                Pulled::Lagged(slot)
            }
            Some((slot, Some(changes))) => {
                for change in &changes {
                    watcher.mirrors[slot].follow(view, tables[slot], &change.kind);
                }
                Pulled::Changes(slot, changes)
            }
        }
    }

    /// Reads what is new on the node, without a copy of the rows.
    pub(crate) fn skim(&mut self, node: usize, view: &View<'_>, tables: &[TableId]) -> Pulled {
        match self.0[node].next(view, tables) {
            None => Pulled::Nothing,
            Some((slot, None)) => Pulled::Lagged(slot),
            Some((slot, Some(changes))) => Pulled::Changes(slot, changes),
        }
    }

    /// Compares what the client of the node has with what the node shows, at `wall` by its own time.
    pub(crate) fn check(
        &self,
        (at_us, node): (u64, usize),
        view: &View<'_>,
        tables: &[TableId],
        wall: Wall,
    ) -> Vec<Violation> {
        let mirrors = self.0[node].mirrors.iter().zip(Table::ALL).zip(tables);
        let found = mirrors.flat_map(|((mirror, table), id)| {
            mirror.check((at_us, node), view, (table, *id), wall)
        });
        found.collect()
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Scenario;

    #[test]
    fn a_watcher_that_is_not_told_soon_that_a_row_is_hidden_is_noticed() {
        let mut story = Scenario::new(1);
        story.at(1_000);
        let (Some(node), Some(now)) = (story.world.node(0), story.world.clock(0)) else {
            panic!("no node");
        };
        let (view, id) = (node.view(now), TableId::DEFAULT);
        let found = |expired_ms: u64| {
            let wall_ms = now.wall.as_millis();
            let copied = Copied {
                value: None,
                expires: Some(Wall::from_millis(wall_ms - expired_ms)),
            };
            let mirror = Mirror(BTreeMap::from([("k".into(), copied)]));
            let found = mirror.check((0, 0), &view, (Table::Periodic, id), now.wall);
            found.len()
        };
        assert_eq!((found(LATE_MS - 1), found(LATE_MS)), (0, 1));
    }
}
