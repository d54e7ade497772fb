//! Forgets versions that every member knows to be replaced.

use super::super::{Replica, Value};
use crate::effects::Effects;
use crate::marks::Mark;
use crate::table::Slot;
use crate::table::{Hlc, RowClass};

impl Replica {
    /// Forgets what every member knows to be replaced. Returns false when nothing is left, so that the row may go. The record stays
    /// as it is: what it has too much is forgotten again after a restart.
    pub(in super::super) fn forget_replaced(
        &mut self,
        fx: &mut Effects,
        class: RowClass,
        slot: Slot,
    ) -> bool {
        let row = self.rows.row(slot);
        let Some(row) = row.filter(|row| row.value.siblings().is_some() && !row.value.is_dead())
        else {
            return false;
        };
        self.freed = self.freed.max(row.clock);
        self.unlink(class, slot);
        let (coverage, mut newest) = (&self.coverage, None);
        self.rows.update(slot, |row| {
            if let Value::Siblings(siblings) = &mut row.value {
                siblings.forget_replaced(|dot| coverage.knows_up_to(class, dot));
                newest = siblings
                    .newest()
                    .map(|version| (version.dot, version.clock));
            }
        });
        if let Some((dot, clock)) = newest {
            let actor = self.coverage.intern(dot.actor);
            self.rows.update(slot, |row| {
                (row.actor, row.counter, row.clock) = (actor, dot.counter, clock);
            });
            // It may have been ahead of this node's clock when it came.
            self.ahead.insert(Hlc(0), clock, slot);
        }
        self.count_row(class, slot, true);
        self.link_siblings(class, slot);
        fx.mark(Mark::SiblingsForgotten);
        true
    }
}
