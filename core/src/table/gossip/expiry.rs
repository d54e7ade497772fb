//! Expiry: a row whose time is up becomes a tombstone with the same dot and clock, on every member by its own clock.

use super::log::Entry;
use super::{Gossip, Value};
use crate::effects::Effects;
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::table::Domain;
use crate::time::Wall;

impl Gossip {
    /// Turns rows that have expired into tombstones with the same dot and clock, at most `budget` of them.
    pub(crate) fn expire(&mut self, fx: &mut Effects, budget: usize) {
        let wall_ms = fx.now().wall.as_millis();
        for _ in 0..budget {
            let Some(&(at, slot)) = self.expiring.first() else {
                return;
            };
            if at > wall_ms {
                return;
            }
            self.expiring.pop_first();
            if mutated!(fx, ExpiryVanishes) {
                self.expiring.insert((at, slot));
                let domain = self.rows.row(slot).map(|row| self.tables.domain(row.table));
                self.free(fx, domain.unwrap_or(Domain::UsrDurable), slot);
                continue;
            }
            let number = self.log.push(Entry::Row(slot));
            self.rows.update(slot, |row| {
                row.value = Value::Dead;
                row.arrival = number;
            });
            if let Some(row) = self.rows.row(slot) {
                fx.mark(Mark::RowExpired);
                fx.changed(row.table);
                let domain = self.tables.domain(row.table);
                self.cover.link(domain, row.actor, row.counter, slot, true);
            }
        }
    }

    /// When the next row expires.
    pub(crate) fn next_expiry(&self) -> Option<Wall> {
        self.expiring.first().map(|(at, _)| Wall::from_millis(*at))
    }

    /// Rows that expire and have not expired yet, of all tables. O(1).
    pub(crate) fn expiring_rows(&self) -> u64 {
        self.expiring.len() as u64
    }
}
