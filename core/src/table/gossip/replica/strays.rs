//! Rows under a name whose definition gave the name to a table that keeps siblings, after a member had accepted them.
//!
//! They are not shown as they are: their order knows a winner, and siblings have none. The member that wrote such a row writes its value as a
//! sibling, as a writer does that has seen nothing, and deletes the old version: in this order, the second when the first is durable here, so that a
//! crash in between loses nothing. The sibling has an origin that follows from the dot of the old version: whichever member moves it, and
//! however often, it is one write, and once replaced it stays so. Both steps keep the clock of the version: so the delete beats nothing
//! that is newer, and a
//! flush that removes the version removes the sibling. A bound of the siblings of a key does not count here: the value was accepted before.
//!
//! The same holds for siblings in memory whose name means a stored table from now on, each for itself.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::Replica;
use super::cold::{Loaded, Place};
use super::repair::renewed;
use super::rows::VersionKey;
use super::write::Fresh;
use crate::id::{Actor, NodeId, Seq, TableId};
use crate::marks::Mark;
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::causal::{CausalToken, Dot, Vector};
use crate::table::env::RowEnv;
use crate::table::siblings::Sibling;
use crate::table::{Hlc, RowClass, Write};

/// Rows moved in one turn.
const MOVES: usize = 256;

/// Rows looked at in one turn.
const LOOKS: usize = 4 * MOVES;

/// Values loaded at one time.
const LOADS: usize = 64;

/// The actor of the origins that versions get when they are moved out of a row class. Of that actor it is the one that wrote them. A run is random,
/// so that none is taken for another.
pub(super) fn moved(actor: Actor, from: RowClass) -> Actor {
    const MOVED: u64 = 0x9e37_79b9_7f4a_7c15;
    Actor {
        boot: actor.boot ^ MOVED.rotate_left(from as u32),
        ..actor
    }
}

/// Rows that have to move, as far as known.
#[derive(Default)]
pub(super) struct Strays {
    /// Tables that have to be looked through, each with the place of the row that is looked at next.
    due: BTreeMap<TableId, usize>,
    /// Rows whose values are siblings by now: when that batch is durable, this part of the old row goes.
    moved: BTreeMap<Place, (Seq, Old)>,
    /// Rows whose values are on their way from the store.
    loads: BTreeSet<Place>,
}

/// The part of an old row whose value is a sibling by now.
enum Old {
    /// The version of a row in which the last writer won.
    Version(VersionKey),
    /// Siblings, by their origins.
    Siblings(Vector),
}

impl Replica {
    /// Live rows of users' tables that readers are not shown, because their name means another table: the name, how many, and whether that
    /// other table keeps siblings, so that they can move there. O(such tables).
    pub(crate) fn strays<'a>(&self, catalog: &'a Catalog) -> Vec<(&'a str, u64, bool)> {
        let tables = self.rows.hidden_tables();
        let count = |id| self.rows.live(id).map_or(0, |live| live.len() as u64);
        let moves = |id| catalog.class(catalog.home(id)).has_siblings();
        tables
            .map(|id| (catalog.name(id), count(id), moves(id)))
            .collect()
    }

    /// Whether any rows are not shown because their name means another table.
    pub(crate) fn has_strays(&self) -> bool {
        self.rows.hidden_tables().next().is_some() || !self.strays.moved.is_empty()
    }

    /// All such rows have to be looked at.
    pub(crate) fn look_for_strays(&mut self, catalog: &Catalog) {
        let tables: Vec<TableId> = self.rows.hidden_tables().collect();
        for table in tables {
            self.look_for_strays_in(catalog, table);
        }
    }

    /// Notes that the strays of one table have to be looked at.
    pub(super) fn look_for_strays_in(&mut self, catalog: &Catalog, table: TableId) {
        let home = catalog.class(catalog.home(table));
        if home.has_siblings() && !catalog.is_shown(table) {
            let table = catalog.group(table);
            self.strays.due.entry(table).or_default();
        }
    }

    /// Whether there is something to move now.
    pub(crate) fn strays_due(&self, durable: Seq) -> bool {
        let strays = &self.strays;
        let mut moved = strays.moved.values();
        let has_room = strays.moved.len() < MOVES && strays.loads.len() < LOADS;
        moved.any(|(seq, _)| *seq <= durable) || has_room && !strays.due.is_empty()
    }

    /// Moves rows of those writers for which this node acts, as many as a turn takes. Returns those whose values have to be loaded first.
    pub(crate) fn move_strays(
        &mut self,
        env: &mut RowEnv<'_>,
        is_mine: &dyn Fn(NodeId) -> bool,
    ) -> Vec<Place> {
        self.delete_moved(env);
        let mut cold = Vec::new();
        let mut looks = LOOKS;
        while let Some(mut due) = self.strays.due.first_entry()
            && looks > 0
            && self.strays.moved.len() < MOVES
            && self.strays.loads.len() < LOADS
        {
            looks -= 1;
            let table = *due.key();
            let Some(slot) = self.rows.live_at(table, *due.get()) else {
                due.remove();
                continue;
            };
            *due.get_mut() += 1;
            let Some(row) = self.rows.row(slot) else {
                continue;
            };
            let place = (table, row.key.clone());
            if self.strays.moved.contains_key(&place) {
                continue;
            }
            if row.value.siblings().is_some() {
                self.add_siblings(env, slot, place, is_mine);
                continue;
            }
            if !is_mine(self.actor(row.actor).node) {
                continue;
            }
            match row.value.resident().cloned() {
                Some(value) => self.add_stray(env, slot, place, value),
                None if self.strays.loads.insert(place.clone()) => cold.push(place),
                None => {}
            }
        }
        cold
    }

    /// The load of a value has ended. A row whose value cannot be read is looked at again later.
    pub(crate) fn stray_loaded(
        &mut self,
        env: &mut RowEnv<'_>,
        place: &Place,
        loaded: Option<&Loaded>,
    ) {
        if !self.strays.loads.remove(place) {
            return;
        }
        let Some(slot) = self.rows.find(place.0, &place.1) else {
            return;
        };
        let value = self
            .rows
            .row(slot)
            .and_then(|row| Self::value_of(row, loaded));
        if let Some(value) = value.cloned() {
            self.add_stray(env, slot, place.clone(), value);
        }
    }

    /// A value cannot be loaded now.
    pub(crate) fn stray_not_loaded(&mut self, place: &Place) {
        self.strays.loads.remove(place);
    }

    /// Writes the value of a row in which the last writer won as a sibling.
    fn add_stray(&mut self, env: &mut RowEnv<'_>, slot: Slot, place: Place, value: Bytes) {
        let Some(row) = self.rows.row(slot) else {
            return;
        };
        let (table, version) = (row.table, row.version_key());
        let dot = Dot {
            actor: self.actor(row.actor),
            counter: row.counter,
        };
        let row = [(dot, row.clock, value)];
        let seq = self.add_moved(env, table, &place.1, &row);
        self.strays
            .moved
            .insert(place, (seq, Old::Version(version)));
    }

    /// Writes those siblings of a row that this node moves into the table that the name means.
    fn add_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        slot: Slot,
        place: Place,
        is_mine: &dyn Fn(NodeId) -> bool,
    ) {
        let row = self.rows.row(slot).and_then(|row| row.value.siblings());
        let Some(siblings) = row else {
            return;
        };
        let mut origins = Vector::default();
        let mut values = Vec::new();
        for (version, value) in siblings.live() {
            if is_mine(version.origin.actor.node) {
                origins.insert(version.origin);
                values.push((version.origin, version.clock, value.clone()));
            }
        }
        if values.is_empty() {
            return;
        }
        let seq = self.add_moved(env, place.0, &place.1, &values);
        self.strays
            .moved
            .insert(place, (seq, Old::Siblings(origins)));
    }

    /// Adds values out of a table to the siblings of a key, each with the dot and clock of its write. Returns the batch that has to be durable
    /// before they may go where they were.
    fn add_moved(
        &mut self,
        env: &mut RowEnv<'_>,
        from: TableId,
        key: &Bytes,
        values: &[(Dot, Hlc, Bytes)],
    ) -> Seq {
        let home = env.catalog.home(from);
        let class = env.catalog.class(from);
        let mut seq = Seq(0);
        for (write, clock, value) in values {
            let current = self.rows.get(home, key);
            seq = seq.max(current.map_or(Seq(0), |row| row.seq));
            let row = current.and_then(|row| row.value.siblings());
            let existed = row.is_some_and(|row| !row.is_dead());
            let mut row = row.cloned().unwrap_or_default();
            let mut origin = Dot {
                actor: moved(write.actor, class),
                ..*write
            };
            if row.seen().contains(origin) {
                continue;
            }
            let dot = self.next_dot(env, home);
            if !env.fx.rules().moves_keep_origin() {
                origin = dot;
            }
            let version = Sibling {
                origin,
                dot,
                clock: *clock,
                value: Some(value.clone()),
            };
            row.write(version, &Vector::default());
            seq = self
                .put_siblings(env, home, key, (dot, *clock, existed), row)
                .seq;
            env.fx.mark(Mark::StrayMoved);
        }
        match env.catalog.class(home).is_durable() && env.fx.has_storage() {
            true => seq,
            false => Seq(0),
        }
    }

    /// Deletes what is durable where it belongs.
    fn delete_moved(&mut self, env: &mut RowEnv<'_>) {
        let durable = env.fx.durable();
        let due = self.strays.moved.iter();
        let due = due.filter(|(_, (seq, _))| *seq <= durable);
        let due: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
        for place in &due {
            match self.strays.moved.remove(place) {
                Some((_, Old::Version(version))) => self.delete_version(env, place, version),
                Some((_, Old::Siblings(origins))) => self.remove_siblings(env, place, origins),
                None => {}
            }
        }
        if self.strays.moved.is_empty() {
            // Rows that died have changed their places with others.
            for (table, _) in &due {
                if let Some(at) = self.strays.due.get_mut(table) {
                    *at = 0;
                }
            }
        }
    }

    /// Deletes a row if it still has this version.
    fn delete_version(&mut self, env: &mut RowEnv<'_>, place: &Place, version: VersionKey) {
        let found = self.rows.find(place.0, &place.1);
        let row = found.and_then(|slot| self.rows.row(slot));
        let Some(row) = row.filter(|row| row.version_key() == version) else {
            return;
        };
        let Some(clock) = renewed(row.clock, self.actor(row.actor), self.actor(self.me)) else {
            return;
        };
        let fresh = Fresh {
            table: row.table,
            key: &place.1,
            found,
            value: None,
            expires: 0,
        };
        self.put(env, fresh, clock, true);
    }

    /// Removes siblings from a row. One that cannot be removed now is moved again later.
    fn remove_siblings(&mut self, env: &mut RowEnv<'_>, (table, key): &Place, origins: Vector) {
        let context = CausalToken::new(env.catalog.name(*table), key, origins);
        let remove = Write::Remove {
            key,
            context: &context,
        };
        let _ = self.write_sibling(env, *table, remove);
    }

    /// A row of this node's own was placed. One that is not shown has to move.
    pub(super) fn note_stray(&mut self, catalog: &Catalog, table: TableId) {
        if !catalog.is_shown(table) {
            self.look_for_strays_in(catalog, table);
        }
    }
}
