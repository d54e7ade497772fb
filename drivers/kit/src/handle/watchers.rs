//! The watches of tables and of the members, until something changes. The core keeps the log; nothing is buffered here.

use std::collections::BTreeMap;
use std::sync::Arc;

use rumormill_core::{
    Node, Now, TableId,
    errors::ChangesError,
    members::MemberInfo,
    table::{Changes, Cursor, Durability},
};

use super::Error;
use crate::answer::Reply;

/// Changes in one answer.
const BATCH: usize = 256;

/// Where a watch of the members is told of them, and of their revision. All watches share one list until each reads it.
pub(super) type Told = Reply<Result<(u64, Arc<[MemberInfo]>), Error>>;

/// Where a watch is answered.
pub(super) type Watched = Reply<Result<Changes, Error>>;

/// Changes of a table whose rows no client may see before they are durable: to be answered after a sync.
pub(super) type Gated = (Watched, Changes);

/// The watches that wait.
pub(super) struct Watchers {
    parked: BTreeMap<TableId, Vec<(Cursor, Watched)>>,
    /// Watches of the members; all have been told of `revision`.
    members: Vec<Told>,
    revision: u64,
    count: usize,
    limit: usize,
    /// Up to here nothing has happened to the table of any watch that waits: the log may forget it.
    reached: Cursor,
}

impl Watchers {
    /// No watches, and room for so many.
    pub(super) fn new(limit: usize) -> Self {
        Watchers {
            parked: BTreeMap::new(),
            members: Vec::new(),
            revision: 0,
            count: 0,
            limit,
            reached: Cursor::START,
        }
    }

    /// Answers a watch, or keeps it until its table changes.
    pub(super) fn watch(
        &mut self,
        (node, now): (&Node, Now),
        (table, from): (TableId, Cursor),
        watched: Watched,
    ) -> Option<Gated> {
        let view = node.view(now);
        let changes = match view.changes(table, from, BATCH) {
            Ok(changes) => changes,
            Err(error) => {
                watched.send(Err(match error {
                    ChangesError::AnswersLater(later) => later.into(),
                    _ => Error::Lagged {
                        restart: view.cursor(),
                    },
                }));
                return None;
            }
        };
        if changes.changes.is_empty() {
            self.park(table, changes.next, watched);
            return None;
        }
        let info = view.table_info(table);
        if info.is_some_and(|info| info.options.durability == Durability::Sync) {
            return Some((watched, changes));
        }
        watched.send(Ok(changes));
        None
    }

    /// Answers the watches of the table.
    pub(super) fn changed(&mut self, at: (&Node, Now), table: TableId) -> Vec<Gated> {
        let parked = self.parked.remove(&table).unwrap_or_default();
        self.count -= parked.len();
        let awaited = parked.into_iter().filter(|(_, watch)| watch.is_awaited());
        awaited
            .filter_map(|(from, watched)| {
                let from = from.max(self.reached);
                self.watch(at, (table, from), watched)
            })
            .collect()
    }

    /// The turn is over, and every table that changed in it was told of.
    pub(super) fn turn_ended(&mut self, node: &Node, now: Now) {
        self.reached = node.view(now).cursor();
    }

    /// Answers a watch of the members, or keeps it until they are others than those of the revision `seen`.
    pub(super) fn watch_members(&mut self, node: &Node, seen: Option<u64>, told: Told) {
        let revision = node.members_revision();
        if seen != Some(revision) {
            return told.send(Ok((revision, node.members().into())));
        }
        // Watches that have waited longer have seen the same: they were answered when it came to be.
        self.members_changed(node);
        match self.room() {
            Ok(()) => self.members.push(told),
            Err(error) => told.send(Err(error)),
        }
    }

    /// Answers the watches of the members, if the members have changed.
    pub(super) fn members_changed(&mut self, node: &Node) {
        let revision = node.members_revision();
        if std::mem::replace(&mut self.revision, revision) == revision || self.members.is_empty() {
            return;
        }
        self.count -= self.members.len();
        let members: Arc<[MemberInfo]> = node.members().into();
        for told in self.members.drain(..) {
            told.send(Ok((revision, Arc::clone(&members))));
        }
    }

    fn park(&mut self, table: TableId, from: Cursor, watched: Watched) {
        match self.room() {
            Ok(()) => self.parked.entry(table).or_default().push((from, watched)),
            Err(error) => watched.send(Err(error)),
        }
    }

    /// Takes the place of one more watch.
    fn room(&mut self) -> Result<(), Error> {
        if self.count >= self.limit {
            self.forget_gone();
        }
        if self.count >= self.limit {
            return Err(Error::Busy { limit: self.limit });
        }
        self.count += 1;
        Ok(())
    }

    fn forget_gone(&mut self) {
        self.parked.retain(|_, parked| {
            parked.retain(|(_, watched)| watched.is_awaited());
            !parked.is_empty()
        });
        self.members.retain(Told::is_awaited);
        self.count = self.parked.values().map(Vec::len).sum::<usize>() + self.members.len();
    }
}
