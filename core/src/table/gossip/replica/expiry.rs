//! Expiry: a row whose time has come by this node's wall clock is hidden here, and ends once a majority of clocks has passed it.
//!
//! A hidden row stays a row: sessions send it, a rejoin proposes it, and it stands against other versions as any other. If the clock goes
//! back it shows again. A row that ends becomes a tombstone with the same dot and clock: it costs no message, and is freed as any
//! tombstone is.

use super::{Replica, Value};
use crate::id::TableId;
use crate::marks::Mark;
use crate::table::RowClass;
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::changes::Entry;
use crate::table::env::RowEnv;
use crate::time::Wall;

impl Replica {
    /// Hides rows whose time has come, and shows those again whose time lies ahead because the clock went back, at most `budget` of them.
    pub(crate) fn hide_expired(&mut self, env: &mut RowEnv<'_>, budget: usize) {
        let wall_ms = env.fx.now().wall.as_millis();
        if !env.fx.rules().shows_hidden_again() {
            self.rows.hide_for_good();
        }
        for _ in 0..budget {
            let Some(slot) = self.rows.next_to_turn(wall_ms) else {
                return;
            };
            if self.rows.row(slot).is_none() {
                // A drop marker has taken it.
                self.sweep_row(env, slot);
                continue;
            }
            if self.flush_row(env, slot) {
                continue;
            }
            self.rows.hide_or_show(slot);
            let hidden = self.rows.is_hidden(slot);
            env.fx.mark(match hidden {
                true => Mark::RowHidden,
                false => Mark::RowShownAgain,
            });
            self.shown_otherwise(env, slot);
            self.cool_stored(env, slot);
        }
    }

    /// Watchers are told of a row that is hidden, or shows again.
    fn shown_otherwise(&mut self, env: &mut RowEnv<'_>, slot: Slot) {
        let number = env.changes.push(Entry::gossip(slot));
        self.rows.update(slot, |row| row.arrival = number);
        if let Some(row) = self.rows.row(slot) {
            env.fx.changed(env.catalog.public(row.table));
        }
    }

    /// Turns rows that expired at `agreed_ms` or before into tombstones with the same dot and clock, at most `budget` of them. Returns
    /// whether more are left.
    pub(crate) fn end_expired(
        &mut self,
        env: &mut RowEnv<'_>,
        agreed_ms: u64,
        budget: usize,
    ) -> bool {
        for _ in 0..budget {
            let Some(slot) = self.first_to_end(agreed_ms) else {
                return false;
            };
            if self.rows.row(slot).is_none() {
                // A drop marker has taken it.
                self.sweep_row(env, slot);
                continue;
            }
            if !env.fx.rules().expiry_leaves_tombstones() {
                let class = self.rows.row(slot).map(|row| env.catalog.class(row.table));
                self.free(env, class.unwrap_or(RowClass::UsrDurable), slot);
                continue;
            }
            if !self.rows.is_hidden(slot) {
                // This node's clock is behind the others: watchers here were not told that the row has gone.
                self.shown_otherwise(env, slot);
            }
            self.rows.update(slot, |row| row.value = Value::Dead);
            if let Some(row) = self.rows.row(slot) {
                env.fx.mark(Mark::RowExpired);
                let class = env.catalog.class(row.table);
                self.coverage
                    .link(class, row.actor, row.counter, slot, true);
            }
        }
        self.first_to_end(agreed_ms).is_some()
    }

    /// The first of the rows that expired at `agreed_ms` or before and have not ended.
    fn first_to_end(&self, agreed_ms: u64) -> Option<Slot> {
        let first = self.rows.expiring().first();
        first.and_then(|(at_ms, slot)| (at_ms <= agreed_ms).then_some(slot))
    }

    /// When a row has to be hidden or shown next, by a wall clock that shows `now`; the epoch when that is now.
    pub(crate) fn next_expiry(&self, now: Wall) -> Option<Wall> {
        let expiring = self.rows.expiring();
        expiring.next_turn(now.as_millis()).map(Wall::from_millis)
    }

    /// When the first row of all that have not ended expires, hidden or not.
    pub(crate) fn first_expiry(&self) -> Option<Wall> {
        let first = self.rows.expiring().first();
        first.map(|(at_ms, _)| Wall::from_millis(at_ms))
    }

    /// Whether a table has hidden rows.
    pub(crate) fn hides_in(&self, catalog: &Catalog, table: TableId) -> bool {
        let named = catalog.known_as(table).into_iter();
        let mut shown = named.filter(|table| catalog.is_shown(*table));
        shown.any(|table| self.rows.expiring().hides_in(table))
    }

    /// How many rows are hidden, and the bytes of their keys and values that are in memory.
    pub(crate) fn hidden(&self) -> (u64, u64) {
        let expiring = self.rows.expiring();
        (expiring.hidden_rows(), expiring.hidden_bytes())
    }

    /// Rows that expire and are not hidden, of all tables. O(1).
    pub(crate) fn expiring_rows(&self) -> u64 {
        self.rows.expiring().shown_rows()
    }
}
