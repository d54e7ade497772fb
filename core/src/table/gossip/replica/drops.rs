//! The effect of a drop marker on the rows that are here: it hides all of them at once, and they are removed in turns.
//!
//! Rows at or below the drop marker of their table are passed over by every look. Where it is known which rows are above the drop marker, and those are few, all others leave
//! the indexes together and counts and sums are right at once. Where it is not known, a walk over all rows in turns finds those that are below;
//! until it ends they are hidden but counted, and sums are compared with no member.
//!
//! A row of siblings that is dropped may know of writes that have not come here and were replaced. It stays as a delete until they have come.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::shelves::Chore;
use super::{Replica, StoredRow};
use crate::effects::Effects;
use crate::id::TableId;
use crate::marks::Mark;
use crate::table::Slot;
use crate::table::causal::Dot;
use crate::table::changes::Entry;
use crate::table::env::RowEnv;
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{Hlc, RowClass};

/// Rows above a drop marker that are looked for.
const KEPT: usize = 1_024;

/// Changes that are looked at for those, and rows that are ahead.
const LOOKS: usize = 4 * KEPT;

impl Replica {
    /// Drops the rows of a group of tables that are at or below a drop marker: they are hidden from now on. O(log rows), and 1,024 rows that stay.
    pub(super) fn drop_rows(&mut self, env: &mut RowEnv<'_>, table: TableId, drop_marker: Hlc) {
        let extent = self.rows.extent(table);
        let extent = extent.filter(|((oldest, _), _)| *oldest <= drop_marker);
        self.rows.unswept |= !env.fx.rules().sweeps_drop_markers();
        let is_new = drop_marker > self.rows.drop_marker(table) && !self.rows.unswept;
        let Some(((_, newest), len)) = extent.filter(|_| is_new) else {
            return self.raise_drop_marker(table, drop_marker);
        };
        let kept = match newest > drop_marker {
            false => Some(Vec::new()),
            true if len <= KEPT => Some(self.newer_of(table, drop_marker)),
            true => self.newer_than(env, Some(table), drop_marker),
        };
        self.raise_drop_marker(table, drop_marker);
        match kept {
            Some(kept) => {
                let sum = self.rows.shelve(table);
                self.live_sum.drop_table(env.catalog.class(table), sum);
                self.keep(env, kept, drop_marker);
            }
            None => self.rows.shelves.look_everywhere(),
        }
        env.changes.push(Entry::Flushed { table });
        env.fx.changed(env.catalog.public(table));
        env.fx.mark(Mark::DropMarkerSwept);
        if !env.fx.rules().respects_drop_markers() {
            self.ignore_drop_marker(env, Some(table));
        }
    }

    /// Drops the rows of all users' tables that are at or below a drop marker. O(log rows), and 1,024 rows that stay.
    pub(super) fn drop_all(&mut self, env: &mut RowEnv<'_>, drop_marker: Hlc) {
        if drop_marker <= self.rows.drop_marker_of_all() {
            return;
        }
        self.rows.unswept |= !env.fx.rules().sweeps_drop_markers();
        let kept = self.newer_than(env, None, drop_marker);
        let stays = kept.is_none() && self.rows.are_newer(drop_marker);
        self.rows.set_drop_marker_of_all(drop_marker);
        if stays || self.rows.unswept {
            return;
        }
        match kept {
            Some(kept) => {
                self.rows.shelve_all();
                self.live_sum.drop_users();
                self.keep(env, kept, drop_marker);
            }
            None => self.rows.shelves.look_everywhere(),
        }
        env.changes.push(Entry::FlushedAll);
        env.fx.all_changed();
        env.fx.mark(Mark::DropMarkerSwept);
        if !env.fx.rules().respects_drop_markers() {
            self.ignore_drop_marker(env, None);
        }
    }

    fn raise_drop_marker(&mut self, table: TableId, drop_marker: Hlc) {
        let drop_marker = self.rows.drop_marker(table).max(drop_marker);
        self.rows.set_drop_marker(table, drop_marker);
    }

    /// The rows of a table that are above a drop marker. O(rows of the table).
    fn newer_of(&self, table: TableId, drop_marker: Hlc) -> Vec<Slot> {
        let rows = self.rows.of_table(table);
        let newer = rows.filter(|(_, row)| row.clock > drop_marker);
        newer.map(|(slot, _)| slot).collect()
    }

    /// The rows of a table, or of all users' tables, that are above a drop marker; `None` when that is not known, or when they are many.
    fn newer_than(
        &self,
        env: &RowEnv<'_>,
        table: Option<TableId>,
        drop_marker: Hlc,
    ) -> Option<Vec<Slot>> {
        let next = env.changes.next();
        let since = self.ahead.since(drop_marker, next)?;
        if since < env.changes.first() || next - since > LOOKS as u64 {
            return None;
        }
        let is_meant = |row: &StoredRow| match table {
            Some(table) => env.catalog.group(row.table) == table,
            None => env.catalog.listed(row.table).is_some(),
        };
        let is_newer = |slot: &Slot| {
            let row = self.rows.row(*slot);
            row.is_some_and(|row| row.clock > drop_marker && is_meant(row))
        };
        let logged = env.changes.since(since);
        let logged = logged.filter_map(|(_, entry)| entry.gossip_slot());
        let mut newer: BTreeSet<Slot> = logged.filter(is_newer).collect();
        for (looks, slot) in self.ahead.above(drop_marker).enumerate() {
            if looks == LOOKS || newer.len() > KEPT {
                return None;
            }
            if is_newer(&slot) {
                newer.insert(slot);
            }
        }
        (newer.len() <= KEPT).then(|| newer.into_iter().collect())
    }

    /// Rows above a drop marker go back to their tables, without those of their versions that are below.
    fn keep(&mut self, env: &mut RowEnv<'_>, kept: Vec<Slot>, drop_marker: Hlc) {
        for slot in kept {
            let Some(row) = self.rows.row(slot) else {
                continue;
            };
            let class = env.catalog.class(row.table);
            self.rows.admit(slot);
            self.count_row(class, slot, true);
            self.strip(env, slot, drop_marker);
        }
    }

    /// Removes the versions of a row that are at or below the drop marker, while others are above it.
    fn strip(&mut self, env: &mut RowEnv<'_>, slot: Slot, drop_marker: Hlc) {
        let row = self.rows.row(slot).filter(|row| row.clock > drop_marker);
        let Some(row) = row.filter(|row| {
            let siblings = row.value.siblings();
            siblings.is_some_and(|row| row.versions().iter().any(|v| v.clock <= drop_marker))
        }) else {
            return;
        };
        let (table, key) = (row.table, row.key.clone());
        if self.flush_row(env, slot) {
            return;
        }
        let row = self.rows.row(slot);
        if let Some(mut siblings) = row.and_then(|row| row.value.siblings().cloned()) {
            siblings.retain(|version| version.clock > drop_marker);
            self.place_siblings(env, table, key, siblings);
        }
    }

    /// Takes out of a row the versions that are at or below the drop marker of its table; returns the row as it was, if there are any.
    pub(super) fn drop_versions(
        &self,
        fx: &mut Effects,
        table: TableId,
        row: &mut SiblingRow,
    ) -> Option<SiblingRow> {
        let drop_marker = self.drop_marker(table);
        let below = |version: &Sibling| version.clock <= drop_marker;
        if !fx.rules().respects_drop_markers() || !row.versions().iter().any(below) {
            return None;
        }
        fx.mark(Mark::RowBelowDropMarker);
        let whole = row.clone();
        row.retain(|version| version.clock > drop_marker);
        Some(whole)
    }

    /// Keeps what a row knew that a drop marker has taken `whole`, if no version is `left` of its key and not every write that it knew
    /// of has come here: such a write may be above the drop marker, and the row alone tells that it was replaced. Its versions stay as
    /// deletes, with the same dots and clocks, which costs no message.
    pub(super) fn keep_seen(
        &self,
        fx: &mut Effects,
        class: RowClass,
        whole: Option<SiblingRow>,
        left: &mut SiblingRow,
    ) {
        let Some(whole) = whole.filter(|_| left.versions().is_empty()) else {
            return;
        };
        let lacks = |dot: &Dot| !self.coverage.knows_up_to(class, *dot);
        let mut seen = whole.seen().as_slice().iter().chain(left.seen().as_slice());
        if seen.any(lacks) && fx.rules().drops_keep_seen() {
            fx.mark(Mark::DroppedSeenKept);
            left.bury(&whole);
        }
    }

    /// Removes the row of a key now, if a drop marker has hidden it: in a table with siblings a new row of the key has to know what it knew.
    pub(super) fn sweep_key(&mut self, env: &mut RowEnv<'_>, table: TableId, key: &[u8]) {
        if self.is_sweeping()
            && let Some(slot) = self.rows.find_dropped(table, key)
        {
            self.sweep_row(env, slot);
        }
    }

    /// Whether a part of what drop markers have hidden is still to be removed.
    pub(crate) fn is_sweeping(&self) -> bool {
        !self.rows.shelves.is_empty()
    }

    /// Whether counts and sums are those of the rows that are shown.
    pub(crate) fn is_counted(&self) -> bool {
        !self.rows.shelves.is_looking()
    }

    /// Removes up to `budget` of the rows that drop markers have hidden, or fewer when they are long.
    pub(crate) fn sweep(&mut self, env: &mut RowEnv<'_>, budget: usize) {
        let mut left = budget;
        while left > 0 {
            let (tables, places) = (self.rows.tables(), self.rows.places());
            let Some(chore) = self.rows.shelves.next(tables, places) else {
                return;
            };
            let cost: usize = match chore {
                Chore::Table(table) => {
                    if self.rows.refresh(table) {
                        env.fx.changed(env.catalog.public(table));
                    }
                    1
                }
                Chore::Row(slot) => match self.rows.is_placed(slot) {
                    true => 1,
                    false => self.sweep_row(env, slot),
                },
                Chore::Slab(places) => {
                    let slots = places.map(Slot::new);
                    slots.map(|slot| self.sweep_row(env, slot)).sum::<usize>() + 1
                }
                Chore::Done => 1,
            };
            left = left.saturating_sub(cost.max(1));
        }
    }

    /// Removes a row if a drop marker has hidden it, or what a drop marker has hidden of it; returns what that cost, in rows.
    pub(super) fn sweep_row(&mut self, env: &mut RowEnv<'_>, slot: Slot) -> usize {
        let Some(row) = self.rows.raw(slot) else {
            return 0;
        };
        let (table, placed) = (row.table, self.rows.is_placed(slot));
        let class = env.catalog.class(table);
        if !self.rows.is_dropped(row) {
            let drop_marker = self.drop_marker(table);
            if !placed {
                self.rows.admit(slot);
                self.count_row(class, slot, true);
            }
            self.strip(env, slot, drop_marker);
            return 0;
        }
        let siblings = row.value.siblings().cloned();
        let versions = siblings.as_ref().map_or(0, |row| row.versions().len());
        let cost = 1 + row.key.len() / 1_024 + versions / 8;
        self.unlink(class, slot);
        if let Some(row) = self.rows.remove(slot) {
            // A row that was written since has the record, if it is one of the same table.
            let since = self.rows.get(table, &row.key);
            if since.is_none_or(|since| since.table != table) {
                self.delete_stored(env, class, table, &row.key);
            }
            if let Some(siblings) = siblings {
                self.forget_siblings(env, table, row.key, siblings);
            }
        }
        if placed {
            env.fx.changed(env.catalog.public(table));
        }
        cost
    }

    /// A row of siblings was removed, because a drop marker is above it. What it had replaced stays replaced.
    fn forget_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        key: Bytes,
        whole: SiblingRow,
    ) {
        let row = self.rows.get(table, &key);
        let since = row.and_then(|row| row.value.siblings()).cloned();
        let mut row = since.clone().unwrap_or_default();
        let mut known = whole.clone();
        known.retain(|_| false);
        row.merge(&known, |_| false);
        self.keep_seen(env.fx, env.catalog.class(table), Some(whole), &mut row);
        let is_none = since.is_none() && row.versions().is_empty();
        if !is_none && since.as_ref() != Some(&row) {
            self.place_siblings(env, table, key, row);
        }
    }
}
