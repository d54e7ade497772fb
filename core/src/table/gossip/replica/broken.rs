//! Acts of planted bugs, which no node with all of its [rules](crate::rules) does.

use alloc::vec::Vec;

use super::Replica;
use super::stability::tombstone;
use crate::id::TableId;
use crate::table::env::RowEnv;
use crate::table::{Hlc, RowClass, Slot};

impl Replica {
    /// Frees the tombstones of users' tables that are older than two seconds.
    pub(super) fn free_old(&mut self, env: &mut RowEnv<'_>) {
        let until = Hlc::at(env.fx.now().wall).0.saturating_sub(2_000 << 16);
        for class in RowClass::USR {
            for slot in self.tombstones_before(class, Hlc(until)) {
                self.free(env, class, slot);
            }
        }
    }

    /// Frees the drop markers of tables.
    pub(super) fn free_drop_markers(&mut self, env: &mut RowEnv<'_>) {
        for slot in self.tombstones_before(RowClass::Sys, Hlc(u64::MAX)) {
            self.free(env, RowClass::Sys, slot);
        }
    }

    fn tombstones_before(&self, class: RowClass, until: Hlc) -> Vec<Slot> {
        let dots = self.coverage.tombstones(class).iter();
        let all = dots.filter_map(|(actor, counter)| tombstone(self, class, *actor, *counter));
        let old = all.filter(|(_, clock)| *clock < until);
        old.map(|(slot, _)| slot).collect()
    }

    /// Forgets a drop marker after it has removed what was there.
    pub(super) fn ignore_drop_marker(&mut self, env: &mut RowEnv<'_>, table: Option<TableId>) {
        self.sweep(env, usize::MAX);
        match table {
            Some(table) => self.rows.set_drop_marker(table, Hlc(0)),
            None => self.rows.set_drop_marker_of_all(Hlc(0)),
        }
    }
}
