//! The rows in memory: a slab, a hash index for point access, the rows of each table, and the rows that expire by time.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::hash::{BuildHasher as _, Hasher as _};

use bytes::Bytes;
use foldhash::fast::FixedState;

use super::expiring::Expiring;
use super::index::Index;
use super::listing::{Listed, Listing};
use super::order::Order;
use super::shelves::Shelves;
use super::slab::Slab;
use super::table_rows::{Places, TableRows};
use crate::id::{Seq, TableId};
use crate::table::siblings::SiblingRow;
use crate::table::{Hlc, Slot};

/// An actor of this node, interned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ActorIx(pub(crate) u32);

/// The content of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing: a tombstone.
    Dead,
    /// A value in memory.
    Resident(Bytes),
    /// A value of this many bytes that is only in the store.
    Cold(u32),
    /// The versions of a key in a table that keeps siblings; always in memory.
    Siblings(Box<SiblingRow>),
}

impl Value {
    pub(crate) fn is_dead(&self) -> bool {
        match self {
            Value::Dead => true,
            Value::Resident(_) | Value::Cold(_) => false,
            Value::Siblings(row) => row.is_dead(),
        }
    }

    pub(crate) fn is_cold(&self) -> bool {
        matches!(self, Value::Cold(_))
    }

    /// The length in bytes, 0 for a tombstone; of siblings the length of their form.
    pub(crate) fn len(&self) -> usize {
        match self {
            Value::Dead => 0,
            Value::Resident(value) => value.len(),
            Value::Cold(len) => *len as usize,
            Value::Siblings(row) => row.len(),
        }
    }

    /// The versions, in a table that keeps siblings.
    pub(crate) fn siblings(&self) -> Option<&SiblingRow> {
        match self {
            Value::Siblings(row) => Some(row),
            _ => None,
        }
    }

    /// The value, when it is in memory.
    pub(crate) fn resident(&self) -> Option<&Bytes> {
        match self {
            Value::Resident(value) => Some(value),
            Value::Dead | Value::Cold(_) | Value::Siblings(_) => None,
        }
    }

    /// Lets go of a value in memory. A row has at most [`MAX_ROW_BYTES`](crate::MAX_ROW_BYTES), which fit.
    pub(crate) fn cool(&mut self) {
        if let Value::Resident(value) = self {
            *self = Value::Cold(u32::try_from(value.len()).unwrap_or(u32::MAX));
        }
    }
}

impl From<Option<Bytes>> for Value {
    fn from(value: Option<Bytes>) -> Self {
        value.map_or(Value::Dead, Value::Resident)
    }
}

/// One version among all of this node's: what a cold row's record must say.
pub(crate) type VersionKey = (Hlc, ActorIx, u64);

/// The current version of a row.
#[derive(Clone, Debug)]
pub(crate) struct StoredRow {
    pub(crate) table: TableId,
    pub(crate) actor: ActorIx,
    pub(crate) counter: u64,
    pub(crate) clock: Hlc,
    /// Wall milliseconds, 0 for never.
    pub(crate) expires: u64,
    /// Position in this node's order of arrival.
    pub(crate) arrival: u64,
    /// The batch that stores it.
    pub(crate) seq: Seq,
    pub(crate) key: Bytes,
    pub(crate) value: Value,
}

impl StoredRow {
    pub(crate) fn version_key(&self) -> VersionKey {
        (self.clock, self.actor, self.counter)
    }

    pub(crate) fn is_live_at(&self, wall_ms: u64) -> bool {
        !self.value.is_dead() && (self.expires == 0 || self.expires > wall_ms)
    }
}

/// All rows of a node. Rows at or below the drop marker of their table are hidden from every look but those that say so, until
/// [`Replica::sweep`](super::Replica::sweep) has removed them.
#[derive(Default)]
pub(crate) struct Rows {
    slab: Slab,
    free: Vec<Slot>,
    index: Index,
    /// By table the one with whose rows its own are kept.
    groups: Vec<TableId>,
    tables: Vec<TableRows>,
    places: Places,
    listing: Listing,
    /// Users' tables with shown rows that their names do not mean, so that readers do not see them.
    aside: BTreeSet<TableId>,
    expiring: Expiring,
    /// Shown rows of users' tables.
    user_rows: u64,
    /// Rows of users' tables at or below are dropped.
    drop_marker_of_all: Hlc,
    /// How often all users' tables were dropped at once.
    drops_of_all: u32,
    /// Rows that drop markers have hidden and that are not removed yet.
    pub(super) shelves: Shelves,
    /// Users' tables that have become empty.
    emptied: Vec<TableId>,
    /// A planted bug: drop markers hide nothing.
    pub(super) unswept: bool,
    hasher: FixedState,
    /// Whether recovered rows are put in place, whose keys are ordered once all are there.
    restoring: bool,
}

impl Rows {
    /// Makes room for so many recovered rows, which are inserted next.
    pub(super) fn begin_restore(&mut self, rows: usize) {
        self.index.reserve(rows);
        self.restoring = true;
    }

    /// All recovered rows are there: their keys are put in order.
    pub(super) fn finish_restore(&mut self) {
        self.restoring = false;
        let tables = self.tables.iter_mut();
        tables.for_each(|table| table.order.settle());
    }

    /// Makes room for the next table, whose rows are kept with those of `group`. A user's has a name, under which it is listed if it is
    /// `shown`, and rows at or below `drop_marker` are dropped.
    pub(crate) fn add_table(
        &mut self,
        group: TableId,
        name: Option<&Arc<str>>,
        shown: bool,
        drop_marker: Hlc,
    ) {
        let name = name.filter(|_| group.0 as usize == self.groups.len());
        self.groups.push(group);
        let rows = TableRows::new(name.cloned(), shown, drop_marker, self.drops_of_all);
        self.tables.push(rows);
    }

    fn group(&self, table: TableId) -> TableId {
        self.groups.get(table.0 as usize).copied().unwrap_or(table)
    }

    /// Shows another one of the tables of a name from now on. O(log tables).
    pub(crate) fn show(&mut self, before: TableId, now: TableId) {
        let (before, now) = (self.group(before), self.group(now));
        if before == now {
            return;
        }
        self.set_explicit(before, false);
        self.refresh(now);
        let rows = &mut self.tables[before.0 as usize];
        let live = rows.order.len() as u64;
        if let Some(mut listed) = rows.listed.take() {
            rows.unlisted = Some(listed.name());
            self.user_rows -= live;
            if live > 0 {
                self.aside.insert(before);
            }
            let moved = self.listing.depopulate(before, &mut listed);
            self.moved(moved);
        }
        let rows = &mut self.tables[now.0 as usize];
        if let Some(name) = rows.unlisted.take() {
            self.aside.remove(&now);
            let listed = rows.listed.insert(Listed::new(name));
            self.user_rows += rows.order.len() as u64;
            if !rows.order.is_empty() {
                self.listing.populate(now, listed);
            }
        }
    }

    fn moved(&mut self, moved: Option<(TableId, u32)>) {
        if let Some((moved, place)) = moved
            && let Some(listed) = &mut self.tables[moved.0 as usize].listed
        {
            Listing::moved(listed, place);
        }
    }

    /// Makes room for a table in the place of one that was forgotten.
    pub(super) fn renew_table(
        &mut self,
        table: TableId,
        (group, name, shown): (TableId, Option<&Arc<str>>, bool),
        drop_marker: Hlc,
    ) {
        let place = table.0 as usize;
        let name = name.filter(|_| group == table).cloned();
        let rows = TableRows::new(name, shown, drop_marker, self.drops_of_all);
        if let (Some(known), Some(of)) = (self.tables.get_mut(place), self.groups.get_mut(place)) {
            (*known, *of) = (rows, group);
        }
    }

    /// A forgotten table, which has no rows, has no name any more.
    pub(super) fn forget_table(&mut self, table: TableId) {
        self.renew_table(table, (table, None, false), Hlc(0));
        if let Some(rows) = self.tables.get_mut(table.0 as usize) {
            rows.is_vacant = true;
        }
    }

    /// Whether no rows are kept under a table, dropped ones included.
    pub(super) fn is_empty(&self, table: TableId) -> bool {
        let rows = self.tables.get(table.0 as usize);
        rows.is_none_or(|rows| rows.slots().is_empty())
    }

    /// The users' tables that have become empty since the last call.
    pub(super) fn take_emptied(&mut self) -> Vec<TableId> {
        core::mem::take(&mut self.emptied)
    }

    /// A table may be forgotten when the change of this number is no longer kept; whether it was not on the list yet.
    pub(super) fn may_go(&mut self, table: TableId, number: u64) -> bool {
        self.tables.get_mut(table.0 as usize).is_some_and(|rows| {
            rows.empty_at = number;
            !core::mem::replace(&mut rows.may_go, true)
        })
    }

    /// The number of the next change when a table became empty last.
    pub(super) fn idle_since(&self, table: TableId) -> u64 {
        let rows = self.tables.get(table.0 as usize);
        rows.map_or(0, |rows| rows.empty_at)
    }

    /// Takes a table off the list of those that may be forgotten.
    pub(super) fn stays(&mut self, table: TableId) {
        if let Some(rows) = self.tables.get_mut(table.0 as usize) {
            rows.may_go = false;
        }
    }

    /// The table may turn out to be used no more.
    pub(super) fn note_empty(&mut self, table: TableId) {
        self.emptied.push(table);
    }

    /// Whether the table of this id was forgotten.
    pub(super) fn is_vacant(&self, table: TableId) -> bool {
        let rows = self.tables.get(table.0 as usize);
        rows.is_some_and(|rows| rows.is_vacant)
    }

    /// How many tables there is room for.
    pub(crate) fn tables(&self) -> u32 {
        self.tables.len() as u32
    }

    /// The options of a user's table are given explicitly, or no longer: with them it is listed without rows too.
    pub(crate) fn set_explicit(&mut self, table: TableId, explicit: bool) {
        let table = self.group(table);
        self.refresh(table);
        let rows = self.tables.get_mut(table.0 as usize);
        if let Some(listed) = rows.and_then(|rows| rows.listed.as_mut()) {
            self.listing.set_explicit(table, listed, explicit);
        }
    }

    /// The rows of a table, unless they were dropped together with those of all others.
    fn table(&self, table: TableId) -> Option<&TableRows> {
        let rows = self.tables.get(self.group(table).0 as usize)?;
        (rows.drops_of_all == self.drops_of_all || !rows.is_users()).then_some(rows)
    }

    /// Puts the rows of a table on a shelf, if they were dropped together with those of all others; whether they were. O(1).
    pub(super) fn refresh(&mut self, table: TableId) -> bool {
        let rows = self.tables.get_mut(table.0 as usize);
        let Some(rows) =
            rows.filter(|rows| rows.is_users() && rows.drops_of_all != self.drops_of_all)
        else {
            return false;
        };
        rows.drops_of_all = self.drops_of_all;
        if let Some(listed) = &mut rows.listed {
            listed.forget_place();
        }
        let shelf = rows.shelve();
        self.emptied.push(table);
        self.shelves.put(shelf)
    }

    /// The clock at or below which rows of the table are dropped.
    pub(super) fn drop_marker(&self, table: TableId) -> Hlc {
        let Some(rows) = self.tables.get(self.group(table).0 as usize) else {
            return Hlc(0);
        };
        match rows.is_users() {
            true => rows.drop_marker.max(self.drop_marker_of_all),
            false => rows.drop_marker,
        }
    }

    /// The clock at or below which rows of all users' tables are dropped.
    pub(super) fn drop_marker_of_all(&self) -> Hlc {
        self.drop_marker_of_all
    }

    pub(super) fn set_drop_marker(&mut self, table: TableId, drop_marker: Hlc) {
        if let Some(rows) = self.tables.get_mut(table.0 as usize) {
            rows.drop_marker = drop_marker;
        }
    }

    pub(super) fn set_drop_marker_of_all(&mut self, drop_marker: Hlc) {
        self.drop_marker_of_all = drop_marker;
    }

    /// Whether a row is at or below the drop marker of its table. A dead row of siblings never is dropped: it may be all that tells of writes
    /// which have not come here that they were replaced.
    pub(super) fn is_dropped(&self, row: &StoredRow) -> bool {
        let below = row.clock <= self.drop_marker(row.table) && !self.unswept;
        below && !(row.value.is_dead() && row.value.siblings().is_some())
    }

    /// A row of a key that a drop marker has taken, and that is not removed yet. O(1).
    pub(super) fn find_dropped(&self, table: TableId, key: &[u8]) -> Option<Slot> {
        self.find_where(table, key, |row| self.is_dropped(row))
    }

    /// Whether all rows of users' tables are above a drop marker. O(tables).
    pub(super) fn are_newer(&self, drop_marker: Hlc) -> bool {
        let tables = (0..self.tables()).map(TableId);
        let mut users = tables.filter(|table| self.tables[table.0 as usize].is_users());
        users.all(|table| {
            let extent = self.extent(table);
            extent.is_none_or(|((oldest, _), _)| oldest > drop_marker)
        })
    }

    fn hash(hasher: &FixedState, table: TableId, key: &[u8]) -> u64 {
        let mut hasher = hasher.build_hasher();
        hasher.write_u32(table.0);
        hasher.write(key);
        hasher.finish()
    }

    /// The slot of a key's row, tombstones included. O(1).
    pub(crate) fn find(&self, table: TableId, key: &[u8]) -> Option<Slot> {
        self.find_where(table, key, |row| !self.is_dropped(row))
    }

    fn find_where(
        &self,
        table: TableId,
        key: &[u8],
        is_meant: impl Fn(&StoredRow) -> bool,
    ) -> Option<Slot> {
        let table = self.group(table);
        let hash = Self::hash(&self.hasher, table, key);
        let slab = &self.slab;
        self.index.find(hash, |slot| {
            let row = slab[slot.index()].as_ref();
            row.is_some_and(|row| {
                row.key.as_ref() == key && self.group(row.table) == table && is_meant(row)
            })
        })
    }

    /// The row of a key, tombstones included. O(1).
    pub(crate) fn get(&self, table: TableId, key: &[u8]) -> Option<&StoredRow> {
        self.find(table, key).and_then(|slot| self.row(slot))
    }

    pub(crate) fn row(&self, slot: Slot) -> Option<&StoredRow> {
        self.raw(slot).filter(|row| !self.is_dropped(row))
    }

    /// A row, whether or not it is dropped.
    pub(super) fn raw(&self, slot: Slot) -> Option<&StoredRow> {
        self.slab.get(slot.index())?.as_ref()
    }

    /// Places in the slab.
    pub(super) fn places(&self) -> usize {
        self.slab.len()
    }

    /// Whether a row, dropped or not, still counts as one of its table: all but those on shelves do, and mostly no shelf is there.
    pub(super) fn is_placed(&self, slot: Slot) -> bool {
        match self.shelves.is_empty() {
            true => self.raw(slot).is_some(),
            false => self.is_in_array(slot),
        }
    }

    /// Whether a row is in the array of its table.
    fn is_in_array(&self, slot: Slot) -> bool {
        let rows = self.raw(slot).and_then(|row| self.table(row.table));
        rows.is_some_and(|rows| rows.has(&self.places, slot))
    }

    /// Adds a row whose key is not there yet. O(log rows) for the order, when it is shown.
    pub(crate) fn insert(&mut self, row: StoredRow) -> Slot {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push_empty();
            Slot::new(self.slab.len() - 1)
        });
        let hash = Self::hash(&self.hasher, self.group(row.table), &row.key);
        let due = self.expiring.due(&row, slot);
        self.expiring.change(slot, None, due);
        self.slab[slot.index()] = Some(row);
        self.admit(slot);
        let (slab, hasher, groups) = (&self.slab, &self.hasher, &self.groups);
        self.index
            .insert(hash, slot, |slot| match &slab[slot.index()] {
                Some(row) => Self::hash(hasher, groups[row.table.0 as usize], &row.key),
                None => 0,
            });
        slot
    }

    /// A row counts as one of its table, which it does not yet.
    pub(super) fn admit(&mut self, slot: Slot) {
        let Some(row) = self.slab.get(slot.index()).and_then(Option::as_ref) else {
            return;
        };
        let table = self.group(row.table);
        let key = self.expiring.shows(row, slot).then(|| row.key.clone());
        self.refresh(table);
        let rows = &mut self.tables[table.0 as usize];
        if let Some(row) = &self.slab[slot.index()] {
            rows.note_clock(row);
        }
        rows.add(&mut self.places, slot);
        if let Some(key) = key {
            self.raise(table, key, slot);
        }
    }

    /// Changes a row in place, unless it is dropped; key and group stay. The order follows what is shown. O(1) unless a row is born or
    /// dies, or its expiry changes.
    pub(crate) fn update(&mut self, slot: Slot, change: impl FnOnce(&mut StoredRow)) {
        if self.row(slot).is_none() {
            return;
        }
        let placed = self.is_placed(slot);
        let Some(row) = self.slab.get_mut(slot.index()).and_then(Option::as_mut) else {
            return;
        };
        let (was_shown, was_due) = (self.expiring.shows(row, slot), self.expiring.due(row, slot));
        change(row);
        let due = self.expiring.due(row, slot);
        self.expiring.change(slot, was_due, due);
        let (table, is_shown) = (row.table, self.expiring.shows(row, slot));
        if !placed {
            // It was put away with rows that a drop marker has taken.
            return self.admit(slot);
        }
        let group = self.groups.get(table.0 as usize).copied();
        let table = group.unwrap_or(table);
        self.tables[table.0 as usize].note_clock(row);
        if was_shown == is_shown {
            return;
        }
        let key = row.key.clone();
        match is_shown {
            true => self.raise(table, key, slot),
            false => self.lower(table, &key, slot),
        }
    }

    /// Forgets a row, whether or not it is dropped.
    pub(crate) fn remove(&mut self, slot: Slot) -> Option<StoredRow> {
        let placed = self.is_placed(slot);
        let row = self.slab.get_mut(slot.index())?.take()?;
        let table = self.group(row.table);
        let hash = Self::hash(&self.hasher, table, &row.key);
        self.index.remove(hash, slot);
        if placed {
            if self.expiring.shows(&row, slot) {
                self.lower(table, &row.key, slot);
            }
            let rows = &mut self.tables[table.0 as usize];
            rows.take_out(&mut self.places, slot);
            if rows.is_users() && rows.slots().is_empty() {
                self.emptied.push(table);
            }
        }
        let due = self.expiring.due(&row, slot);
        self.expiring.change(slot, due, None);
        self.free.push(slot);
        Some(row)
    }

    /// A row is shown from now on.
    fn raise(&mut self, table: TableId, key: Bytes, slot: Slot) {
        let rows = &mut self.tables[table.0 as usize];
        rows.raise(&mut self.places, slot);
        match self.restoring {
            true => rows.order.insert_later(key, slot),
            false => rows.order.insert(key, slot),
        }
        if let Some(listed) = &mut rows.listed {
            self.user_rows += 1;
            if rows.order.len() == 1 {
                self.listing.populate(table, listed);
            }
        } else if rows.unlisted.is_some() {
            self.aside.insert(table);
        }
    }

    /// A row is shown no longer.
    fn lower(&mut self, table: TableId, key: &Bytes, slot: Slot) {
        let rows = &mut self.tables[table.0 as usize];
        rows.lower(&mut self.places, key, slot);
        let is_empty = rows.order.is_empty();
        if rows.listed.is_some() {
            self.user_rows -= 1;
            if is_empty {
                self.delist(table);
            }
        } else if is_empty {
            self.aside.remove(&table);
        }
    }

    /// A user's table has no live rows any more.
    fn delist(&mut self, table: TableId) {
        if let Some(listed) = &mut self.tables[table.0 as usize].listed {
            let moved = self.listing.depopulate(table, listed);
            self.moved(moved);
        }
    }

    pub(super) fn expiring(&self) -> &Expiring {
        &self.expiring
    }

    /// Whether a row is hidden, because its expiry had come when the clock was last looked at. O(1).
    pub(crate) fn is_hidden(&self, slot: Slot) -> bool {
        let due = self.row(slot).and_then(|row| self.expiring.due(row, slot));
        due.is_some_and(|due| due.hidden)
    }

    /// The next row to hide, because its expiry has come, or to show again, because the clock went back; `None` when all rows are as they
    /// have to be. A drop marker may have taken it. O(log rows).
    pub(super) fn next_to_turn(&mut self, wall_ms: u64) -> Option<Slot> {
        self.expiring.next_to_turn(wall_ms)
    }

    /// A planted bug: hidden rows are not shown again.
    pub(super) fn hide_for_good(&mut self) {
        self.expiring.for_good = true;
    }

    /// Hides or shows the row that [`Rows::next_to_turn`] named, unless it is dropped. O(log rows).
    pub(super) fn hide_or_show(&mut self, slot: Slot) {
        let Some(row) = self.slab.get(slot.index()).and_then(Option::as_ref) else {
            return;
        };
        if self.is_dropped(row) {
            return;
        }
        let (table, key) = (self.group(row.table), row.key.clone());
        match self.expiring.turn(row, slot) {
            true => self.lower(table, &key, slot),
            false => self.raise(table, key, slot),
        }
    }

    /// Puts all rows of a table on a shelf; returns their part in the sum over live rows. O(log tables).
    pub(super) fn shelve(&mut self, table: TableId) -> u64 {
        self.refresh(table);
        let rows = &mut self.tables[table.0 as usize];
        let (live, sum) = (rows.order.len() as u64, rows.sum);
        let (is_users, shelf) = (rows.listed.is_some(), rows.shelve());
        self.shelves.put(shelf);
        if is_users {
            self.user_rows -= live;
            self.delist(table);
            self.emptied.push(table);
        }
        self.aside.remove(&table);
        sum
    }

    /// Puts all rows of all users' tables on shelves, where they get to in turns. O(1).
    pub(super) fn shelve_all(&mut self) {
        self.drops_of_all += 1;
        self.user_rows = 0;
        self.aside.clear();
        let names = self.listing.depopulate_all();
        self.shelves.put_all(names);
    }

    /// A row's part in the sum over live rows, or no longer.
    pub(super) fn count(&mut self, table: TableId, hash: u64, shown: bool) {
        let table = self.group(table);
        if let Some(rows) = self.tables.get_mut(table.0 as usize) {
            rows.sum = match shown {
                true => rows.sum.wrapping_add(hash),
                false => rows.sum.wrapping_sub(hash),
            };
        }
    }

    /// The clocks between which those of a table's rows are, and how many rows there are.
    pub(super) fn extent(&self, table: TableId) -> Option<((Hlc, Hlc), usize)> {
        let rows = self.table(table)?;
        Some((rows.clocks()?, rows.slots().len()))
    }

    /// The shown keys of a table's group in order, expired ones included until their timer has come.
    pub(crate) fn live(&self, table: TableId) -> Option<&Order> {
        Some(&self.table(table)?.order)
    }

    /// All rows of a table's group, tombstones included, in no order.
    pub(crate) fn of_table(&self, table: TableId) -> impl Iterator<Item = (Slot, &StoredRow)> {
        let slots = self.table(table).into_iter().flat_map(TableRows::slots);
        slots.filter_map(|slot| Some((*slot, self.row(*slot)?)))
    }

    /// Users' tables with shown rows that their names do not mean.
    pub(super) fn hidden_tables(&self) -> impl Iterator<Item = TableId> {
        self.aside.iter().copied()
    }

    /// One of the shown rows of a table, by its place among them, which changes when another ceases to be shown.
    pub(super) fn live_at(&self, table: TableId, place: usize) -> Option<Slot> {
        self.table(table)?.live_slots().get(place).copied()
    }

    /// Every row with its slot, tombstones included, in slab order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Slot, &StoredRow)> {
        let rows = self.slab.iter().enumerate();
        rows.filter_map(|(i, row)| Some((Slot::new(i), row.as_ref()?)))
            .filter(|(_, row)| !self.is_dropped(row))
    }

    /// One of the shown rows of a table, each with the same chance. O(1).
    pub(crate) fn sample(&self, table: TableId, random: u64) -> Option<&StoredRow> {
        let live = self.table(table)?.live_slots();
        let place = random.checked_rem(live.len() as u64)?;
        self.row(*live.get(place as usize)?)
    }

    /// Users' tables with shown rows or options.
    pub(crate) fn listing(&self) -> &Listing {
        &self.listing
    }

    /// One of users' tables with shown rows, each with the same chance; `but` is left out. O(1).
    pub(crate) fn sample_table(&self, random: u64, but: Option<TableId>) -> Option<TableId> {
        let but = but.and_then(|table| self.table(table));
        let but = but.and_then(|rows| rows.listed.as_ref());
        self.listing.sample(random, but)
    }

    /// Shown rows of users' tables.
    pub(crate) fn user_rows(&self) -> u64 {
        self.user_rows
    }

    /// Asserts that the counts and arrays say what the rows are. O(rows).
    ///
    /// # Panics
    /// When they do not: a bug in this crate.
    pub(crate) fn check(&self) {
        let groups = (0..self.tables()).map(TableId);
        let groups = groups.filter(|table| self.group(*table) == *table);
        let all = groups.filter_map(|table| self.table(table));
        let users = all.clone().filter(|rows| rows.listed.is_some());
        let live = |rows: &TableRows| rows.live_slots().len();
        let counted = users.clone().map(live).sum::<usize>() as u64;
        assert_eq!(self.user_rows, counted, "shown rows are counted");
        let populated = users.filter(|rows| live(rows) > 0).count();
        assert_eq!(self.listing.populated(), populated, "tables are listed");
        for rows in all.clone() {
            rows.check(&self.places);
        }
        let shown = (0..self.slab.len()).map(Slot::new).filter(|slot| {
            let placed = self.is_in_array(*slot);
            assert_eq!(self.is_placed(*slot), placed, "rows off shelves are placed");
            let row = self.raw(*slot).filter(|_| placed);
            row.is_some_and(|row| self.expiring.shows(row, *slot))
        });
        let in_order: usize = all.clone().map(live).sum();
        assert_eq!(shown.count(), in_order, "shown rows are in order");
    }
}
