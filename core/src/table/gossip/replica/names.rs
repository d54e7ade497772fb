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
use crate::id::TableId;
#[cfg(test)]
use crate::table::catalog::Catalog;
use crate::table::env::RowEnv;
use crate::table::sys;

/// For how long a table is idle before it is forgotten.
const IDLE: Duration = Duration::from_secs(10);

impl Replica {
    /// Forgets up to `budget` tables that are used no more.
    pub(crate) fn forget_names(&mut self, env: &mut RowEnv<'_>, budget: usize) {
        let now = env.fx.now().mono;
        for table in self.rows.take_emptied() {
            if table != TableId::DEFAULT && self.rows.may_go(table, env.changes.next()) {
                self.idle.push_back((now, env.changes.next(), table));
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
            let is_told = number >= env.changes.first() && env.fx.rules().keeps_told_names();
            if since + IDLE > now || is_told {
                return;
            }
            self.idle.pop_front();
            if !self.is_untold(env, table) {
                // It has been used since.
                let again = (now, self.rows.idle_since(table), table);
                self.idle.push_back(again);
                continue;
            }
            self.rows.stays(table);
            if self.is_unused(env, table) {
                let name = env.catalog.name(table).to_owned();
                for table in env.catalog.forget(&name) {
                    self.rows.forget_table(table);
                }
            }
        }
    }

    /// How many names of users' tables are known, and how many drop markers of tables.
    #[cfg(test)]
    pub(crate) fn names_and_drop_markers(&self, catalog: &Catalog) -> (usize, usize) {
        (catalog.names(), self.drop_markers.len())
    }

    /// Whether no change of a table is in the log since it became empty.
    fn is_untold(&self, env: &RowEnv<'_>, table: TableId) -> bool {
        self.rows.idle_since(table) < env.changes.first() || !env.fx.rules().keeps_told_names()
    }

    /// Whether nothing is left of a table but its name.
    fn is_unused(&self, env: &RowEnv<'_>, table: TableId) -> bool {
        let name = env.catalog.name(table);
        let ids = env.catalog.known_as(table);
        let drop_marker = drop_markers::drop_marker_key(name);
        // The name of a table of another mode is not for gossip tables to forget.
        !env.catalog.answers_later(table)
            && env.catalog.is_forgettable(name)
            && ids
                .iter()
                .all(|id| self.rows.is_empty(*id) && self.is_untold(env, *id))
            && !self.drop_markers.contains_key(name)
            && self.rows.find(sys::DROP_MARKERS, &drop_marker).is_none()
            && !self.is_flushed(&ids)
    }
}
