//! Names of users' tables that are used no more, and are forgotten.
//!
//! A table has a name, an id and a place for its rows, whether or not it has any. Most tables of a cache are hashes that come and go: what
//! is left of one that has gone is forgotten once nothing can ask for it. It has no rows, hidden or dropped ones included, no drop marker and
//! no options; no program has its id; it is idle for a while, since clients remember an id for a moment; and no change of it is in the log, from which a
//! watcher could still learn what became of it. Its id is given out again much later.

use alloc::borrow::ToOwned as _;
use core::time::Duration;

use super::Replica;
use super::drop_markers;
use crate::effects::Effects;
use crate::id::TableId;
use crate::table::sys;

/// For how long a table is idle before it is forgotten.
const IDLE: Duration = Duration::from_secs(10);

impl Replica {
    /// Forgets up to `budget` tables that are used no more.
    pub(crate) fn forget_names(&mut self, fx: &mut Effects, budget: usize) {
        let now = fx.now().mono;
        for table in self.rows.take_emptied() {
            if table != TableId::DEFAULT && self.rows.may_go(table, self.changes.next()) {
                self.idle.push_back((now, self.changes.next(), table));
            }
        }
        // Rows that are removed in turns need the names of their tables.
        if self.is_sweeping() {
            return;
        }
        for _ in 0..budget {
            let Some((since, number, table)) = self.idle.front().copied() else {
                return;
            };
            let is_told = number >= self.changes.first() && fx.rules().keeps_told_names();
            if since + IDLE > now || is_told {
                return;
            }
            self.idle.pop_front();
            if !self.is_untold(fx, table) {
                // It has been used since.
                let again = (now, self.rows.idle_since(table), table);
                self.idle.push_back(again);
                continue;
            }
            self.rows.stays(table);
            if self.is_unused(fx, table) {
                let name = self.catalog.name(table).to_owned();
                for table in self.catalog.forget(&name) {
                    self.rows.forget_table(table);
                }
            }
        }
    }

    /// How many names of users' tables are known, and how many drop markers of tables.
    #[cfg(test)]
    pub(crate) fn names_and_drop_markers(&self) -> (usize, usize) {
        (self.catalog.names(), self.drop_markers.len())
    }

    /// Whether no change of a table is in the log since it became empty.
    fn is_untold(&self, fx: &Effects, table: TableId) -> bool {
        self.rows.idle_since(table) < self.changes.first() || !fx.rules().keeps_told_names()
    }

    /// Whether nothing is left of a table but its name.
    fn is_unused(&self, fx: &Effects, table: TableId) -> bool {
        let name = self.catalog.name(table);
        let ids = self.catalog.known_as(table);
        let drop_marker = drop_markers::drop_marker_key(name);
        self.catalog.is_forgettable(name)
            && ids
                .iter()
                .all(|id| self.rows.is_empty(*id) && self.is_untold(fx, *id))
            && !self.drop_markers.contains_key(name)
            && self.rows.find(sys::DROP_MARKERS, &drop_marker).is_none()
            && !self.is_flushed(&ids)
    }
}
