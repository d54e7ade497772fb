//! Rejoin: the one way back for a node whose coverage can no longer be trusted.
//!
//! It compares its live rows with everything one member holds. A row whose dot the member covers and that the member does not
//! have was deleted meanwhile: it is dropped. A row whose dot the member does not cover is written again as a new dot, unless the
//! member's row is newer. Its clock stays, but is raised above that of any tombstone the member has freed: such a delete could
//! no longer be seen to win. (A fresh clock would be as safe, and would override newer writes that the member has not seen.) Then it adopts the member's contexts in the same batch. Deletes that the
//! member does not cover are treated like such rows where the member still has the key. A row to be written again whose value is only
//! in the store is loaded first; all is compared anew once the values are here.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::anti_entropy::Contexts;
use super::cold::{Loaded, Place, Values};
use super::record;
use super::write::Fresh;
use super::{Arrival, Replica, Value};
use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::TableId;
use crate::io::StoreOp;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::Slot;
use crate::table::catalog::Catalog;
use crate::table::causal::Dot;
use crate::table::changes::Entry;
use crate::table::env::RowEnv;
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{Context, Hlc, RowClass};
use crate::wire::RowBatch;

/// A write of this node's that the member did not know.
struct Proposal {
    table: TableId,
    key: Bytes,
    value: Value,
    expires: u64,
    clock: Hlc,
}

/// A row with versions that the member does not know, and the origins of those.
type Unknown = (Place, (SiblingRow, Vec<Dot>));

/// A rejoin all of whose rows have arrived. It may have to wait for values of this node's own rows that are only in the store.
pub(crate) struct Rejoin {
    sys: Vec<Arrival>,
    theirs: BTreeMap<Place, Arrival>,
    adopt: Contexts,
    freed: Hlc,
    values: Values,
    /// Rows whose values cannot be read: nothing of them is left to propose.
    unreadable: BTreeSet<Place>,
}

impl Rejoin {
    /// A load for this rejoin has ended; nothing came when the row is no longer cold.
    pub(crate) fn loaded(&mut self, place: Place, loaded: Option<Result<Loaded, ReadError>>) {
        match loaded {
            Some(Ok(value)) => {
                self.values.insert(place, value);
            }
            Some(Err(_)) => {
                self.unreadable.insert(place);
            }
            None => {}
        }
    }
}

impl Replica {
    /// Takes in everything that the member holds. No row is changed yet.
    ///
    /// # Errors
    /// The reason to refuse the member's rows; nothing was changed.
    pub(crate) fn begin_rejoin(
        &mut self,
        catalog: &mut Catalog,
        batches: Vec<RowBatch>,
        adopt: Contexts,
        freed: Hlc,
    ) -> Result<Rejoin, Refusal> {
        let mut theirs: BTreeMap<Place, Arrival> = BTreeMap::new();
        let mut sys = Vec::new();
        for batch in batches {
            for row in self.intern_batch(catalog, batch)? {
                if catalog.class(row.table) == RowClass::Sys {
                    sys.push(row);
                } else {
                    // Where a key came twice, the later row is the one that the member has now, whatever the row classes.
                    theirs.insert((catalog.group(row.table), row.key.clone()), row);
                }
            }
        }
        Ok(Rejoin {
            sys,
            theirs,
            adopt,
            freed,
            values: Values::new(),
            unreadable: BTreeSet::new(),
        })
    }

    /// The cold rows that the member does not know and whose values have to be loaded before they can be proposed.
    /// O(rows of the node).
    pub(crate) fn cold_proposals(&self, env: &RowEnv<'_>, rejoin: &Rejoin) -> VecDeque<Place> {
        let (proposals, _) = self.compare(env, rejoin);
        let lacks = |proposal: &Proposal| proposal.value.is_cold();
        let lacking = proposals.into_iter().filter(lacks);
        lacking
            .map(|proposal| (proposal.table, proposal.key))
            .filter(|place| !rejoin.unreadable.contains(place))
            .collect()
    }

    /// Replaces this node's user rows by the member's and proposes what the member did not know. Returns the rows dropped
    /// and proposed. One batch. O(rows of both).
    pub(crate) fn rejoin(&mut self, env: &mut RowEnv<'_>, mut rejoin: Rejoin) -> (u64, u64) {
        // The store's own tables know no deletes: they merge as ever.
        for row in core::mem::take(&mut rejoin.sys) {
            self.merge(env, row);
        }
        self.freed_elsewhere(rejoin.freed);
        // Rows that drop markers have hidden are not compared, and must not be looked at once coverage is forgotten.
        self.sweep(env, usize::MAX);
        let (proposals, mut dropped) = self.compare(env, &rejoin);
        let (siblings, fewer) = self.compare_siblings(env, &rejoin);
        dropped += fewer;
        self.remove_user_rows(env);
        for (class, context) in &rejoin.adopt {
            if env.fx.rules().rejoins_reset_coverage() && *class != RowClass::Sys {
                self.reset_coverage(env.fx, *class, context);
            } else {
                self.coverage.adopt(self.me, *class, context, env.fx);
            }
        }
        for ((_, key), mut row) in rejoin.theirs {
            let table = row.table;
            if let Some(siblings) = row.siblings.take() {
                self.adopt_siblings(env, (table, key), *siblings);
            } else if row.clock > self.drop_marker(table) {
                let class = env.catalog.class(table);
                self.note(env, table);
                self.coverage.insert(class, row.actor, row.counter, env.fx);
                self.follow_clock(env.fx, row.clock);
                self.place(env, class, None, row);
            }
        }
        let mut proposed = siblings.len() as u64;
        for (place, versions) in siblings {
            self.propose_siblings(env, place, versions);
        }
        for proposal in proposals {
            if proposal.value.is_cold() {
                // Its value cannot be read, so the row is lost here.
                env.fx.mark(Mark::RejoinUnreadable);
                dropped += 1;
                continue;
            }
            proposed += 1;
            let value = proposal.value.resident().cloned();
            let (table, key) = (proposal.table, proposal.key);
            let found = self.rows.find(table, &key);
            // Above its own old version too, which others may still hold.
            let freed = if env.fx.rules().rejoins_raise_clocks() {
                rejoin.freed
            } else {
                Hlc(0)
            };
            let above = proposal.clock.max(freed).max(self.drop_marker(table));
            let fresh = Fresh {
                table,
                key: &key,
                found,
                value,
                expires: proposal.expires,
            };
            self.put(env, fresh, above.next(), false);
        }
        (dropped, proposed)
    }

    /// The rows that the member does not know, with loaded values where they are, and how many rows it has deleted.
    fn compare(&self, env: &RowEnv<'_>, rejoin: &Rejoin) -> (Vec<Proposal>, u64) {
        let mut proposals = Vec::new();
        let mut dropped = 0;
        for (_, row) in self.rows.iter() {
            let class = env.catalog.class(row.table);
            if class == RowClass::Sys || class.has_siblings() {
                continue;
            }
            let mut adopt = rejoin.adopt.iter();
            let context = adopt
                .find(|(name, _)| *name == class)
                .map(|(_, context)| context);
            let actor = self.actor(row.actor);
            let covered = context.is_some_and(|context| context.contains(actor, row.counter))
                && env.fx.rules().rejoins_drop_covered();
            let place = (env.catalog.group(row.table), row.key.clone());
            let other = rejoin.theirs.get(&place);
            let newer = other.is_some_and(|other| {
                (other.clock, self.actor(other.actor), other.counter)
                    >= (row.clock, actor, row.counter)
            });
            match (covered, row.value.is_dead()) {
                (true, false) if other.is_none() => dropped += 1,
                (true, _) => {}
                (false, _) if newer => {}
                (false, true) if other.is_none_or(|other| other.value.is_none()) => {}
                (false, _) => {
                    let loaded = Self::value_of(row, rejoin.values.get(&place));
                    proposals.push(Proposal {
                        table: row.table,
                        key: row.key.clone(),
                        value: loaded.map_or_else(
                            || row.value.clone(),
                            |value| Value::Resident(value.clone()),
                        ),
                        expires: row.expires,
                        clock: row.clock,
                    });
                }
            }
        }
        (proposals, dropped)
    }

    /// The rows with versions that the member does not know: what is left of each, and the origins of those versions. And how
    /// many rows the member has deleted.
    fn compare_siblings(&self, env: &RowEnv<'_>, rejoin: &Rejoin) -> (Vec<Unknown>, u64) {
        let mut proposals = Vec::new();
        let mut dropped = 0;
        for (_, row) in self.rows.iter() {
            let Some(ours) = row.value.siblings() else {
                continue;
            };
            let class = env.catalog.class(row.table);
            let mut adopt = rejoin.adopt.iter();
            let context = adopt.find(|(name, _)| *name == class);
            let covers = |dot: Dot| {
                context.is_some_and(|(_, context)| context.contains(dot.actor, dot.counter))
                    && env.fx.rules().rejoins_drop_covered()
            };
            let place = (row.table, row.key.clone());
            let theirs = rejoin.theirs.get(&place);
            let theirs = theirs.and_then(|row| row.siblings.as_ref());
            let has = |version: &Sibling| {
                let mut versions = theirs.iter().flat_map(|row| row.versions());
                versions.any(|theirs| theirs.origin == version.origin)
            };
            let replaced = |dot| theirs.is_some_and(|row| row.seen().contains(dot));
            let unknown = |version: &Sibling| {
                !has(version) && !covers(version.dot) && !replaced(version.origin)
            };
            let origins: Vec<Dot> = ours
                .versions()
                .iter()
                .filter(|version| unknown(version))
                .map(|version| version.origin)
                .collect();
            if !origins.is_empty() {
                let mut left = ours.clone();
                left.retain(|version| has(version) || unknown(version));
                proposals.push((place, (left, origins)));
            } else if theirs.is_none() && !ours.is_dead() {
                dropped += 1;
            }
        }
        (proposals, dropped)
    }

    fn remove_user_rows(&mut self, env: &mut RowEnv<'_>) {
        let slots: Vec<(Slot, TableId)> = self
            .rows
            .iter()
            .filter(|(_, row)| env.catalog.class(row.table) != RowClass::Sys)
            .map(|(slot, row)| (slot, row.table))
            .collect();
        for (slot, table) in slots {
            let class = env.catalog.class(table);
            self.unlink(class, slot);
            if let Some(row) = self.rows.remove(slot) {
                self.delete_stored(env, class, table, &row.key);
            }
        }
        for table in env.catalog.user_groups() {
            env.fx.changed(env.catalog.public(table));
        }
        env.changes.push(Entry::FlushedAll);
    }

    /// Drops coverage of this node's earlier dots that the member lacks: it would hide rows that others still have. Coverage of the present
    /// actor stays, since no other member has seen its dots.
    fn reset_coverage(&mut self, fx: &mut Effects, class: RowClass, context: &Context) {
        for actor in self.coverage.reset(class, self.me) {
            if class.is_durable() && fx.has_storage() {
                fx.store(StoreOp::Delete(record::covered_key(class, actor)));
            }
        }
        self.coverage.adopt(self.me, class, context, fx);
    }
}
