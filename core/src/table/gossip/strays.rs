//! Rows under a name whose definition gave the name to a table that keeps siblings, after a member had accepted them.
//!
//! They are not shown as they are: their order knows a winner, and siblings have none. The member that wrote such a row writes its value as a
//! sibling, as a writer does that has seen nothing, and deletes the old version: in this order, the second when the first is durable here, so that a
//! crash in between doubles the value and never loses it. The delete has the clock of the version, so it beats nothing that is newer.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use bytes::Bytes;

use super::cold::{Loaded, Place};
use super::rows::VersionKey;
use super::write::Fresh;
use super::{Gossip, Slot};
use crate::effects::Effects;
use crate::id::{NodeId, Seq, TableId};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::table::Write;

/// Rows moved in one turn.
const MOVES: usize = 256;

/// Rows looked at in one turn.
const LOOKS: usize = 4 * MOVES;

/// Values loaded at one time.
const LOADS: usize = 64;

/// What is known of rows that have to move.
#[derive(Default)]
pub(super) struct Strays {
    /// Tables that have to be looked through, and the place in the first of them.
    due: BTreeSet<TableId>,
    at: usize,
    /// Rows whose values are siblings by now: when that batch is durable, this version of the old row goes.
    moved: BTreeMap<Place, (Seq, VersionKey)>,
    /// Rows whose values are on their way from the store.
    loads: BTreeSet<Place>,
}

impl Gossip {
    /// Live rows of users' tables that readers are not shown, because their name means another table, by name. O(such tables).
    pub(crate) fn strays(&self) -> Vec<(&str, u64)> {
        let tables = self.rows.hidden_tables();
        let count = |id| self.rows.live(id).map_or(0, |live| live.len() as u64);
        tables.map(|id| (self.tables.name(id), count(id))).collect()
    }

    /// Whether any rows are not shown because their name means another table.
    pub(crate) fn has_strays(&self) -> bool {
        self.rows.hidden_tables().next().is_some() || !self.strays.moved.is_empty()
    }

    /// All such rows have to be looked at.
    pub(crate) fn look_for_strays(&mut self) {
        let tables: Vec<TableId> = self.rows.hidden_tables().collect();
        for table in tables {
            self.look_for_strays_in(table);
        }
    }

    /// Those of one table have to be looked at. Only rows in which the last writer won can move.
    pub(super) fn look_for_strays_in(&mut self, table: TableId) {
        let home = self.tables.domain(self.tables.home(table));
        if home.has_siblings() && !self.tables.domain(table).has_siblings() {
            self.strays.due.insert(self.tables.group(table));
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
        fx: &mut Effects,
        is_mine: &dyn Fn(NodeId) -> bool,
    ) -> Vec<Place> {
        self.delete_moved(fx);
        let mut cold = Vec::new();
        let mut looks = LOOKS;
        while let Some(table) = self.strays.due.first().copied()
            && looks > 0
            && self.strays.moved.len() < MOVES
            && self.strays.loads.len() < LOADS
        {
            looks -= 1;
            let at = self.strays.at;
            let Some(slot) = self.rows.live_at(table, at) else {
                self.strays.due.remove(&table);
                self.strays.at = 0;
                continue;
            };
            self.strays.at += 1;
            let Some(row) = self.rows.row(slot) else {
                continue;
            };
            let place = (table, row.key.clone());
            let is_mine = is_mine(self.actor(row.actor).node) || mutated!(fx, MovedByAll);
            if !is_mine || self.strays.moved.contains_key(&place) {
                continue;
            }
            match row.value.resident().cloned() {
                Some(value) => self.add_moved(fx, slot, place, value),
                None if self.strays.loads.insert(place.clone()) => cold.push(place),
                None => {}
            }
        }
        cold
    }

    /// The load of a value has ended. A row whose value cannot be read is looked at again later.
    pub(crate) fn stray_loaded(
        &mut self,
        fx: &mut Effects,
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
            self.add_moved(fx, slot, place.clone(), value);
        }
    }

    /// A value cannot be loaded now.
    pub(crate) fn stray_not_loaded(&mut self, place: &Place) {
        self.strays.loads.remove(place);
    }

    /// Writes the value of a row as a sibling. What does not fit beside the siblings of its key waits until it does.
    fn add_moved(&mut self, fx: &mut Effects, slot: Slot, place: Place, value: Bytes) {
        let Some(row) = self.rows.row(slot) else {
            return;
        };
        let (home, version) = (self.tables.home(row.table), row.version_key());
        let put = Write::Put {
            key: &place.1,
            value,
            expires: None,
        };
        let Ok(accepted) = self.write_sibling(fx, home, put) else {
            return;
        };
        let stored = self.tables.domain(home).is_durable() && fx.has_storage();
        let seq = if stored { accepted.seq } else { Seq(0) };
        self.strays.moved.insert(place, (seq, version));
        fx.mark(Mark::StrayMoved);
    }

    /// Deletes the old versions of rows whose values are durable where they belong.
    fn delete_moved(&mut self, fx: &mut Effects) {
        let durable = fx.durable();
        let due = self.strays.moved.iter();
        let due = due.filter(|(_, (seq, _))| *seq <= durable);
        let due: Vec<Place> = due.map(|(place, _)| place.clone()).collect();
        for place in due {
            let Some((_, version)) = self.strays.moved.remove(&place) else {
                continue;
            };
            let found = self.rows.find(place.0, &place.1);
            let row = found.and_then(|slot| self.rows.row(slot));
            let Some(row) = row.filter(|row| row.version_key() == version) else {
                continue;
            };
            // By a larger actor the same clock is enough to beat it.
            let clock = match self.actor(self.me) >= self.actor(row.actor) {
                true => row.clock,
                false => row.clock.next(),
            };
            let fresh = Fresh {
                table: row.table,
                key: &place.1,
                found,
                value: None,
                expires: 0,
            };
            self.put(fx, fresh, clock, true);
        }
        if self.strays.moved.is_empty() && !self.strays.due.is_empty() {
            // Rows that died have changed their places with others.
            self.strays.at = 0;
        }
    }

    /// A row of this node's own was placed. One that is not shown has to move.
    pub(super) fn note_stray(&mut self, table: TableId) {
        if !self.tables.is_shown(table) {
            self.look_for_strays_in(table);
        }
    }
}
