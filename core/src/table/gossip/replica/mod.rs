//! The replica: the rows, the coverage and the clock that a node holds of gossip tables.

mod ahead;
mod anti_entropy;
mod batch;
mod broken;
mod clocks;
mod cold;
mod coverage;
mod digest;
mod dots;
mod drop_markers;
mod drops;
mod expiring;
mod expiry;
mod flushes;
mod freed_on;
mod index;
mod kept;
mod listing;
mod names;
mod order;
mod outbox;
pub(crate) mod record;
mod rejoin;
mod repair;
mod restore;
mod rows;
mod session;
mod shelves;
mod siblings;
mod slab;
mod stability;
mod strays;
mod table_rows;
mod tree;
mod write;

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use ahead::Ahead;
pub(crate) use anti_entropy::{
    AntiEntropy, Contexts, Form, Verdict as PageVerdict, read_contexts, write_contexts,
};
use cold::Cooling;
pub(crate) use cold::{Loaded, Place, Thawed};
pub(crate) use coverage::Coverage;
pub(crate) use digest::{Scope, read_digest, write_digest};
use flushes::Flush;
pub(crate) use flushes::{AT_ONCE, WAITING};
pub(crate) use freed_on::{FreedOn, KEPT as KEPT_NUMBERS};
use kept::Overwritten;
pub(crate) use kept::{Asking, is_hint};
pub(crate) use order::{InOrder, Order};
pub(crate) use outbox::Outbox;
pub(crate) use rejoin::Rejoin;
pub(crate) use repair::Cursor;
use repair::LiveSum;
use rows::Rows;
pub(crate) use rows::{ActorIx, StoredRow, Value, VersionKey};
pub(crate) use session::{Client, Extent};
pub(crate) use stability::{Stability, Waits};
use strays::Strays;
pub(crate) use tree::{Fit, Lazy, Subtree, Verdict as LazyVerdict, partners};

use crate::config::Limits;
use crate::effects::Effects;
use crate::error::TableError;
use crate::id::{Actor, Seq, TableId};
use crate::io::StoreOp;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::catalog::{self, Catalog, sys};
use crate::table::changes::Entry;
use crate::table::clock::HlcSource;
use crate::table::env::RowEnv;
use crate::table::siblings::SiblingRow;
use crate::table::{Context, Hlc, RowClass, Slot, Version};
use crate::time::{Instant, Wall};
use crate::wire;

/// The fate of a row that arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merged {
    /// It is the current version now.
    Won,
    /// Its dot is new and a larger version is here, or a drop marker is above it.
    Lost,
    /// Its dot was covered already.
    Obsolete,
}

/// A version that arrived, with actor and table interned.
pub(crate) struct Arrival {
    pub(crate) table: TableId,
    pub(crate) actor: ActorIx,
    pub(crate) counter: u64,
    pub(crate) clock: Hlc,
    pub(crate) expires: u64,
    pub(crate) key: Bytes,
    /// The value; of siblings their form.
    pub(crate) value: Option<Bytes>,
    /// The versions, in a table that keeps siblings.
    pub(crate) siblings: Option<Box<SiblingRow>>,
}

/// The rows of a node with everything that decides whether a version is new, current or obsolete.
pub(crate) struct Replica {
    me: ActorIx,
    rows: Rows,
    coverage: Coverage,
    live_sum: LiveSum,
    clock: HlcSource,
    /// The time that most peers show by their wall clocks.
    others: Option<Wall>,
    /// Durable ceiling of issued clocks: a restart begins there.
    ceiling: Hlc,
    /// Which rows are newer than a drop marker.
    ahead: Ahead,
    /// Drop markers by name: rows of the table at or below are dead, in whatever order they arrive.
    drop_markers: BTreeMap<String, Hlc>,
    /// No tombstone has a larger clock that this node has freed, or that was freed before it became a member; after a restart
    /// the clock it begins with.
    freed: Hlc,
    /// The claims on which they were freed.
    freed_on: FreedOn,
    /// Flushes that have rows left to delete.
    flushes: VecDeque<Flush>,
    /// The number of the last flush of this node's clients.
    last_flush: u64,
    /// The last batch with a delete of a flush.
    flushed: Seq,
    /// Tables that may be forgotten, since when, and the number of the next change then.
    idle: VecDeque<(Instant, u64, TableId)>,
    outbox: Outbox,
    /// Rows of the store's own tables that changed and have not taken effect outside yet.
    sys_changes: Vec<(TableId, Bytes)>,
    cooling: Cooling,
    strays: Strays,
    /// Where the log was when the names of tables began to mean other tables that had rows: watchers read these anew.
    redefined: BTreeMap<TableId, u64>,
    /// Cold rows whose values the sessions served here wait for, and for which no load was asked yet.
    wanted: VecDeque<Place>,
    /// Rows replaced here since a member was asked for what differs; `None` where none was.
    overwritten: Option<Overwritten>,
    limits: Limits,
}

impl Replica {
    pub(crate) fn new(
        catalog: &Catalog,
        me: Actor,
        limits: Limits,
        resident_value: Option<u32>,
        start: Hlc,
    ) -> Self {
        let mut coverage = Coverage::default();
        let me = coverage.intern(me);
        let mut rows = Rows::default();
        for id in catalog.ids() {
            let (group, shown) = (catalog.group(id), catalog.is_shown(id));
            rows.add_table(group, catalog.listed(id), shown, Hlc(0));
        }
        Replica {
            me,
            rows,
            coverage,
            live_sum: LiveSum::default(),
            clock: HlcSource::new(start, limits.clock_drift),
            others: None,
            ceiling: start,
            ahead: Ahead::new(start),
            drop_markers: BTreeMap::new(),
            freed: start,
            freed_on: FreedOn::default(),
            flushes: VecDeque::new(),
            last_flush: 0,
            flushed: Seq(0),
            idle: VecDeque::new(),
            outbox: Outbox::default(),
            sys_changes: Vec::new(),
            cooling: Cooling::new(resident_value),
            strays: Strays::default(),
            redefined: BTreeMap::new(),
            wanted: VecDeque::new(),
            overwritten: None,
            limits,
        }
    }

    /// Other limits hold from now on. Sessions under way keep theirs.
    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.clock.set_drift(limits.clock_drift);
        self.limits = limits;
    }

    pub(crate) fn rows(&self) -> &Rows {
        &self.rows
    }

    pub(crate) fn coverage(&self) -> &Coverage {
        &self.coverage
    }

    pub(crate) fn coverage_mut(&mut self) -> &mut Coverage {
        &mut self.coverage
    }

    pub(crate) fn freed_on(&self) -> &FreedOn {
        &self.freed_on
    }

    pub(crate) fn freed_on_mut(&mut self) -> &mut FreedOn {
        &mut self.freed_on
    }

    pub(crate) fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) fn outbox_mut(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    pub(crate) fn actor(&self, ix: ActorIx) -> Actor {
        self.coverage.actor(ix)
    }

    pub(crate) fn clock(&self) -> Hlc {
        self.clock.last()
    }

    /// Returns the public id of a user table's name, and makes room for its rows.
    pub(crate) fn table(
        &mut self,
        catalog: &mut Catalog,
        name: &str,
        kept: bool,
    ) -> Result<TableId, TableError> {
        let id = catalog.user_table(name, self.limits.table_name_bytes, kept)?;
        self.make_room(catalog, id);
        Ok(id)
    }

    /// Makes room for the rows of a table, and of those that were interned before it.
    fn make_room(&mut self, catalog: &Catalog, id: TableId) {
        // Ids of tables that were forgotten are given out again.
        for id in [catalog.public(id), id] {
            if self.rows.is_vacant(id) {
                let listed = catalog.listed(id);
                let drop_marker = listed.map_or(Hlc(0), |name| self.drop_marker_of_name(name));
                let (group, shown) = (catalog.group(id), catalog.is_shown(id));
                self.rows
                    .renew_table(id, (group, listed, shown), drop_marker);
                self.rows.note_empty(group);
            }
        }
        for next in (self.rows.tables()..=id.0).map(TableId) {
            let (group, shown) = (catalog.group(next), catalog.is_shown(next));
            let listed = catalog.listed(next);
            let drop_marker = listed.map_or(Hlc(0), |name| self.drop_marker_of_name(name));
            self.rows.add_table(group, listed, shown, drop_marker);
            if listed.is_some() {
                self.rows.note_empty(group);
            }
        }
    }

    /// The row of a user's request, as it is known to loads: the table whose rows the name means, and the key.
    pub(crate) fn place_of(&self, catalog: &Catalog, table: TableId, key: Bytes) -> Place {
        (catalog.group(catalog.home(table)), key)
    }

    /// The row of a key in the table that a name means, tombstones included. O(1).
    pub(crate) fn get(&self, catalog: &Catalog, table: TableId, key: &[u8]) -> Option<&StoredRow> {
        self.rows.get(catalog.home(table), key)
    }

    /// The live keys of the table that a name means.
    pub(crate) fn live(&self, catalog: &Catalog, table: TableId) -> Option<&Order> {
        self.rows.live(catalog.home(table))
    }

    /// The version of a row as readers see it.
    pub(crate) fn version(&self, row: &StoredRow) -> Version {
        Version {
            clock: row.clock,
            actor: self.actor(row.actor),
            counter: row.counter,
        }
    }

    /// Whether the table promises durability before the acknowledgement.
    pub(crate) fn is_sync(&self, catalog: &Catalog, table: TableId) -> bool {
        catalog.options(table).durability == crate::table::Durability::Sync
    }

    /// Whether anything of users has ever been written or received here.
    pub(crate) fn has_user_dots(&self) -> bool {
        RowClass::USR
            .into_iter()
            .any(|class| self.coverage.is_used(class))
    }

    /// Merges a version from elsewhere.
    pub(crate) fn merge(&mut self, env: &mut RowEnv<'_>, mut arrival: Arrival) -> Merged {
        let class = env.catalog.class(arrival.table);
        if let Some(theirs) = arrival.siblings.take() {
            return self.merge_siblings(env, class, arrival, *theirs, false);
        }
        let covered = self
            .coverage
            .contains(class, arrival.actor, arrival.counter);
        if covered && env.fx.rules().drops_obsolete() {
            return Merged::Obsolete;
        }
        if arrival.actor == self.me {
            env.fx.mark(Mark::OwnDotFromOutside);
            env.fx.refuse(Refusal::OwnDot);
            return Merged::Obsolete;
        }
        if env.fx.rules().follows_clocks() {
            self.follow_clock(env.fx, arrival.clock);
        }
        self.note(env, arrival.table);
        if env.fx.rules().covers_dots() || !arrival.counter.is_multiple_of(5) {
            self.coverage
                .insert(class, arrival.actor, arrival.counter, env.fx);
        }
        self.supersede(env, class, arrival)
    }

    /// A version of a table is here. One that is not stored may stand above one that is from now on, if the name has both.
    fn note(&mut self, env: &mut RowEnv<'_>, table: TableId) {
        if env.catalog.mark_used(table) && env.fx.rules().claims_in_order() {
            self.coverage.claim_in_order();
        }
    }

    /// Places a version if it is larger than the one that is here and no drop marker is above it. Its dot is covered already.
    fn supersede(&mut self, env: &mut RowEnv<'_>, class: RowClass, arrival: Arrival) -> Merged {
        if arrival.clock <= self.drop_marker(arrival.table)
            && env.fx.rules().respects_drop_markers()
        {
            env.fx.mark(Mark::RowBelowDropMarker);
            return Merged::Lost;
        }
        let found = self.rows.find(arrival.table, &arrival.key);
        if let Some(current) = found.and_then(|slot| self.rows.row(slot)) {
            let theirs = (arrival.clock, self.actor(arrival.actor), arrival.counter);
            let ours = (current.clock, self.actor(current.actor), current.counter);
            let presence = !env.fx.rules().deletes_rank_alike()
                && current.value.is_dead()
                && arrival.value.is_some();
            let (higher, lower) = self.definition_ranks(env.fx, current, &arrival);
            let stands =
                lower || !env.fx.rules().replaces_twins() && current.table != arrival.table;
            let newer = ours >= theirs && env.fx.rules().larger_version_wins() && !presence;
            if stands || newer && !higher {
                env.fx.mark(Mark::RowLost);
                return Merged::Lost;
            }
        }
        self.place(env, class, found, arrival);
        Merged::Won
    }

    /// Ranks two definitions of one table: the one that keeps more counts, whatever their clocks. Returns whether the arriving one does,
    /// and whether the one that is here does.
    fn definition_ranks(&self, fx: &Effects, current: &StoredRow, new: &Arrival) -> (bool, bool) {
        if new.table != sys::TABLES || !fx.rules().siblings_win_definitions() {
            return (false, false);
        }
        let theirs = catalog::keeps(new.value.as_deref());
        let ours = catalog::keeps(current.value.resident().map(|value| &value[..]));
        (theirs > ours, ours > theirs)
    }

    /// Makes a version the current one of its key. Its dot is covered already.
    fn place(
        &mut self,
        env: &mut RowEnv<'_>,
        class: RowClass,
        found: Option<Slot>,
        arrival: Arrival,
    ) {
        if class.is_durable() && env.fx.has_storage() {
            let name = env.catalog.name(arrival.table);
            let actor = self.actor(arrival.actor);
            let put = |batch: &mut _| record::put_row(batch, class, name, actor, &arrival);
            env.fx.store_with(put);
        }
        let seq = env.fx.open_seq();
        env.fx.changed(env.catalog.public(arrival.table));
        if let Some(slot) = found {
            self.take_record(env, class, slot, &arrival);
        }
        let (table, actor, counter) = (arrival.table, arrival.actor, arrival.counter);
        let (clock, dead) = (arrival.clock, arrival.value.is_none());
        let number = env.changes.next();
        self.ahead.note(self.clock.last(), number);
        let sys_key = (class == RowClass::Sys).then(|| arrival.key.clone());
        let slot = self.fill(env.catalog, class, found, arrival, (number, seq));
        if env.fx.rules().logs_replacements() || found.is_none() {
            env.changes.push(Entry::gossip(slot));
        }
        self.cool_stored(env, slot);
        self.ahead.insert(self.clock.last(), clock, slot);
        self.count_row(class, slot, true);
        match class.has_siblings() {
            true => self.link_siblings(class, slot),
            false => self.coverage.link(class, actor, counter, slot, dead),
        }
        if let Some(key) = sys_key {
            self.sys_row_placed(env, table, key, clock);
        } else if actor == self.me && !dead {
            self.note_stray(env.catalog, table);
        }
    }

    /// Puts a version into its slot, out of whose indexes the one that is there goes, or into a new one.
    fn fill(
        &mut self,
        catalog: &Catalog,
        class: RowClass,
        found: Option<Slot>,
        arrival: Arrival,
        (number, seq): (u64, Seq),
    ) -> Slot {
        let row = StoredRow {
            table: arrival.table,
            actor: arrival.actor,
            counter: arrival.counter,
            clock: arrival.clock,
            expires: arrival.expires,
            arrival: number,
            seq,
            key: arrival.key,
            value: match arrival.siblings {
                Some(siblings) => Value::Siblings(siblings),
                None => arrival.value.into(),
            },
        };
        let Some(slot) = found else {
            return self.rows.insert(row);
        };
        let replaced = self.rows.row(slot).map(|row| catalog.class(row.table));
        self.unlink(replaced.unwrap_or(class), slot);
        self.rows.update(slot, |known| {
            // One copy of the key is enough.
            let key = core::mem::take(&mut known.key);
            *known = StoredRow { key, ..row };
        });
        slot
    }

    /// A version that is not stored takes the place of one that is: a restart must not bring that back beside deletes that all have
    /// freed, so nothing is claimed of the new one before the record is gone for good.
    fn take_record(&mut self, env: &mut RowEnv<'_>, class: RowClass, slot: Slot, new: &Arrival) {
        let Some(old) = self.rows.row(slot) else {
            return;
        };
        if old.table == new.table {
            return;
        }
        env.fx.mark(Mark::TwinReplaced);
        let stored = env.catalog.class(old.table);
        if stored.is_durable() && !class.is_durable() && env.fx.has_storage() {
            if env.fx.rules().removes_twin_records() {
                self.delete_stored(env, stored, old.table, &old.key);
            }
            self.coverage
                .hold(class, new.actor, new.counter, env.fx.open_seq());
        }
    }

    /// A row of the store's own tables says something of this node's tables, drop markers or members.
    fn sys_row_placed(&mut self, env: &mut RowEnv<'_>, table: TableId, key: Bytes, clock: Hlc) {
        if let Some(meta) = env.catalog.meta_of(table) {
            self.meta_changed(env, meta, &key, clock);
        }
        if table == sys::DROP_MARKERS && env.fx.rules().sends_new_drop_markers() {
            // The rows it removed are covered by the snapshots being served, and it is not.
            for served in &mut self.coverage.served {
                served.remember(table, &key);
            }
        }
        self.sys_changes.push((table, key));
    }

    /// Takes a row's current version out of the indexes, because another takes its place or it goes.
    fn unlink(&mut self, class: RowClass, slot: Slot) {
        if self.rows.is_placed(slot) {
            self.count_row(class, slot, false);
        }
        let Some(row) = self.rows.raw(slot) else {
            return;
        };
        self.ahead.remove(row.clock, slot);
        // The drop marker that has removed a row goes to every session that began before it.
        let told = (!self.rows.is_dropped(row)).then_some((row.table, &row.key));
        if let Some(siblings) = row.value.siblings() {
            for version in siblings.versions() {
                let actor = self.coverage.intern(version.dot.actor);
                let counter = version.dot.counter;
                self.coverage.unlink(class, actor, counter, told);
            }
            return;
        }
        if let Some(overwritten) = self.overwritten.as_mut().filter(|_| told.is_some()) {
            overwritten.note(class, self.coverage.actor(row.actor), row);
        }
        self.coverage.unlink(class, row.actor, row.counter, told);
    }

    /// Removes a tombstone for good; its dot stays covered.
    pub(crate) fn free(&mut self, env: &mut RowEnv<'_>, class: RowClass, slot: Slot) {
        if self.forget_replaced(env.fx, class, slot) {
            return;
        }
        self.unlink(class, slot);
        let Some(row) = self.rows.remove(slot) else {
            return;
        };
        self.freed = self.freed.max(row.clock);
        if row.table == sys::DROP_MARKERS {
            self.drop_marker_freed(env.catalog, &row.key);
        }
        self.delete_stored(env, class, row.table, &row.key);
        // A watcher that has not read of the delete still does, and one that has is not told twice.
        let entry = Entry::Freed {
            table: row.table,
            expired: row.expires != 0,
            key: row.key,
        };
        env.changes.replace(row.arrival, entry);
        env.fx.mark(Mark::TombstoneFreed);
    }

    fn delete_stored(&self, env: &mut RowEnv<'_>, class: RowClass, table: TableId, key: &[u8]) {
        if class.is_durable() && env.fx.has_storage() {
            env.fx.store(StoreOp::Delete(record::row_key(
                class,
                env.catalog.name(table),
                key,
            )));
        }
    }

    /// Returns the keys of a table of the store's own. O(rows of the table).
    pub(crate) fn live_keys(&self, table: TableId) -> Vec<Bytes> {
        let live = self.rows.live(table);
        live.map_or_else(Vec::new, |live| live.keys().cloned().collect())
    }

    /// Takes the rows of members that changed since the last call; those of settings stay.
    pub(crate) fn take_member_changes(&mut self) -> Vec<(TableId, Bytes)> {
        let changes = core::mem::take(&mut self.sys_changes);
        let (settings, members) = changes
            .into_iter()
            .partition(|(table, _)| *table == sys::SETTINGS);
        self.sys_changes = settings;
        members
    }

    /// The rows of the store's own tables that changed since the last call.
    pub(crate) fn take_sys_changes(&mut self) -> Vec<(TableId, Bytes)> {
        core::mem::take(&mut self.sys_changes)
    }

    /// Returns the rows about these two nodes: the rows that two nodes record of each other before any row of users passes between them.
    pub(crate) fn greeting_rows(
        &self,
        catalog: &Catalog,
        keys: &[(TableId, Vec<u8>)],
    ) -> wire::RowBatch {
        let mut batcher = outbox::Batcher::new(usize::MAX, usize::MAX);
        for (table, key) in keys {
            if let Some(row) = self.rows.get(*table, key) {
                self.add_row(catalog, &mut batcher, row, row.value.resident());
            }
        }
        batcher.take()
    }

    /// A member has freed tombstones up to this clock, and this node may never have seen them.
    fn freed_elsewhere(&mut self, freed: Hlc) {
        self.freed = self.freed.max(freed);
    }

    /// Adopts what a member had seen, all of whose rows have arrived, and how far it has freed.
    pub(crate) fn adopt(&mut self, fx: &mut Effects, contexts: &[(RowClass, Context)], freed: Hlc) {
        self.freed_elsewhere(freed);
        for (class, context) in contexts {
            if self.claims_own(*class, context) {
                fx.mark(Mark::OwnDotFromOutside);
                fx.refuse(Refusal::OwnDot);
            }
            self.coverage.adopt(self.me, *class, context, fx);
        }
    }

    /// Whether a context covers dots of this node's present boot that it has not issued.
    fn claims_own(&self, class: RowClass, context: &Context) -> bool {
        let mine = self.actor(self.me);
        let issued = self.coverage.seen_runs(class, mine);
        context
            .runs(mine)
            .is_some_and(|claimed| !issued.is_some_and(|issued| claimed.is_subset(issued)))
    }

    /// Returns the durable contexts, by row class: all that is ever claimed.
    pub(crate) fn durable_contexts(&self) -> Vec<(RowClass, Context)> {
        RowClass::ALL
            .into_iter()
            .map(|class| (class, self.coverage.durable(class)))
            .collect()
    }

    /// Returns the contexts seen, by row class.
    pub(crate) fn contexts(&self) -> Vec<(RowClass, Context)> {
        self.contexts_in(&Scope::ALL)
    }

    /// Returns the contexts seen in a scope, by row class.
    pub(crate) fn contexts_in(&self, scope: &Scope) -> Vec<(RowClass, Context)> {
        RowClass::ALL
            .into_iter()
            .map(|class| (class, scope.of(class, self.coverage.seen(class))))
            .collect()
    }
}
