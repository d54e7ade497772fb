//! Tables that keep siblings: how their rows are found and read.
//!
//! A row is found by the dots of all its versions. A member that lacks a dot lacks either a version of the row, which it so finds,
//! or one that a version of the row has replaced, which it need not have.

mod forget;
mod merge;
mod write;

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use bytes::Bytes;

use super::session::Served;
use super::stability::Lost;
use super::{Arrival, Replica, StoredRow};
use crate::id::{Actor, NodeId, TableId};
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::causal::{CausalToken, Dot};
use crate::table::env::RowEnv;
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{RowClass, Siblings, Version};
use crate::wire::{Row, TableRef};

impl Replica {
    pub(super) fn next_dot(&mut self, env: &mut RowEnv<'_>, table: TableId) -> Dot {
        let class = env.catalog.class(table);
        Dot {
            actor: self.actor(self.me),
            counter: self.coverage.next_own(class, self.me, env.fx),
        }
    }

    /// Makes versions the current ones of their key, found by all their dots, which are covered already. Without versions the key
    /// goes.
    pub(super) fn place_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        table: TableId,
        key: Bytes,
        row: SiblingRow,
    ) {
        let class = env.catalog.class(table);
        env.catalog.mark_used(table);
        let found = self.rows.find(table, &key);
        let Some(newest) = row.newest() else {
            if let Some(slot) = found {
                self.unlink(class, slot);
                self.rows.remove(slot);
                self.delete_stored(env, class, table, &key);
            }
            return;
        };
        let arrival = Arrival {
            table,
            actor: self.coverage.intern(newest.dot.actor),
            counter: newest.dot.counter,
            clock: newest.clock,
            expires: 0,
            key,
            value: Some(row.encode()),
            siblings: Some(Box::new(row)),
        };
        self.place(env, class, found, arrival);
    }

    /// Makes a row findable by the dots of all its versions. What may be forgotten one day counts as a tombstone, by the newest.
    pub(super) fn link_siblings(&mut self, class: RowClass, slot: Slot) {
        let Some(row) = self.rows.row(slot) else {
            return;
        };
        let Some(siblings) = row.value.siblings() else {
            return;
        };
        let garbage = siblings.has_garbage(|dot| self.coverage.knows_up_to(class, dot));
        let newest = (row.actor, row.counter);
        for version in siblings.versions() {
            let actor = self.coverage.intern(version.dot.actor);
            let counter = version.dot.counter;
            let stands = (actor, counter) == newest;
            self.coverage
                .link(class, actor, counter, slot, garbage && stands);
        }
    }

    /// The live siblings of a row, in a table that keeps them.
    pub(crate) fn siblings(&self, catalog: &Catalog, row: &StoredRow) -> Option<Siblings> {
        let siblings = row.value.siblings()?;
        let version = |sibling: &Sibling| Version {
            clock: sibling.clock,
            actor: sibling.origin.actor,
            counter: sibling.origin.counter,
        };
        let live = siblings.live();
        Some(Siblings {
            values: live
                .map(|(sibling, value)| (value.clone(), version(sibling)))
                .collect(),
            context: self.context(catalog, row)?,
        })
    }

    /// Returns the token of the versions that readers of a row have seen.
    pub(crate) fn context(&self, catalog: &Catalog, row: &StoredRow) -> Option<CausalToken> {
        let seen = row.value.siblings()?.seen().clone();
        let name = catalog.name(row.table);
        Some(CausalToken::new(name, &row.key, seen))
    }

    /// The nodes of which this node lacks writes that a dead row has replaced, or earlier writes of the same actor. Such a row is kept:
    /// it alone tells that those writes were replaced. Deletes do not wait for writes of a `lost` actor, up to the clock of the
    /// declaration. Empty for every other row. O(dots of the vector).
    pub(super) fn lacked_writers(
        &self,
        class: RowClass,
        slot: Slot,
        lost: Lost<'_>,
    ) -> BTreeSet<NodeId> {
        let row = self.rows.row(slot).filter(|row| row.value.is_dead());
        let Some((row, siblings)) = row.and_then(|row| Some((row, row.value.siblings()?))) else {
            return BTreeSet::new();
        };
        // No declaration ends the wait for what is here and is moved once more.
        let is_lost = |dot: &Dot| {
            let declared = lost(dot.actor).is_some_and(|at| row.clock <= at);
            declared && !self.coverage.may_move(*dot)
        };
        let dots = siblings.seen().as_slice().iter();
        dots.filter(|dot| !self.coverage.knows_up_to(class, **dot))
            .filter(|dot| !is_lost(dot))
            .map(|dot| dot.actor.node)
            .collect()
    }

    fn covers(&self, class: RowClass, dot: Dot) -> bool {
        let runs = self.coverage.seen_runs(class, dot.actor);
        runs.is_some_and(|runs| runs.contains(dot.counter))
    }

    pub(super) fn is_durable(&self, class: RowClass, dot: Dot) -> bool {
        let actor = self.coverage.find(dot.actor);
        actor.is_some_and(|actor| self.coverage.is_durable(class, actor, dot.counter))
    }

    /// The dots of a row: one, or those of all its versions.
    pub(super) fn dots_of(&self, slot: Slot) -> Vec<Dot> {
        let Some(row) = self.rows.row(slot) else {
            return Vec::new();
        };
        match row.value.siblings() {
            Some(siblings) => siblings
                .versions()
                .iter()
                .map(|version| version.dot)
                .collect(),
            None => alloc::vec![Dot {
                actor: self.actor(row.actor),
                counter: row.counter,
            }],
        }
    }

    /// Whether a row brings a version by some actors that is new here.
    pub(crate) fn brings_siblings_of(
        &self,
        tables: &[TableRef],
        row: &Row,
        is_theirs: impl Fn(&Actor) -> bool,
    ) -> bool {
        let table = tables.get(row.table as usize);
        let class = table.and_then(TableRef::class);
        let Some(class) = class.filter(|class| class.has_siblings()) else {
            return false;
        };
        let form = row.value.as_ref().map(|form| SiblingRow::decode(form));
        let Some(Ok(siblings)) = form else {
            return false;
        };
        let mut dots = siblings.versions().iter().map(|version| version.dot);
        dots.any(|dot| is_theirs(&dot.actor) && !self.covers(class, dot))
    }

    /// Whether a session has sent this row, or drafted it, for an earlier one of its dots.
    pub(super) fn is_sent_before(
        &self,
        catalog: &Catalog,
        served: &Served,
        at: usize,
        (actor, counter): (Actor, u64),
        row: &StoredRow,
    ) -> bool {
        let Some(siblings) = row.value.siblings() else {
            return false;
        };
        let class = catalog.class(row.table);
        let now = Dot { actor, counter };
        let mut dots = siblings.versions().iter().map(|version| version.dot);
        dots.any(|dot| dot != now && served.is_before(class, dot, at, now))
    }
}
