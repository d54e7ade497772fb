//! Rejoin: the one way back for a node whose coverage can no longer be trusted.
//!
//! It compares its live rows with everything one member holds: the rows that came, and the rows of its own that the member keeps, of which the dots
//! came alone ([`kept`](super::kept)). A row whose dot the member covers and that the member does not
//! have was deleted meanwhile: it is dropped. A row whose dot the member does not cover is written again as a new dot, unless the
//! member's row is newer. Its clock stays, but is raised above that of any tombstone the member has freed: such a delete could
//! no longer be seen to win. (A fresh clock would be as safe, and would override newer writes that the member has not seen.) Then it adopts the member's contexts in the same batch. Deletes that the
//! member does not cover are treated like such rows where the member still has the key. A row to be written again whose value is only
//! in the store is loaded first; all is compared anew once the values are here. Rows that the member keeps stay as they are, in memory and in the
//! store.

use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;

use super::anti_entropy::Contexts;
use super::cold::{Loaded, Place, Values};
use super::kept::{is_within, united};
use super::record;
use super::write::Fresh;
use super::{Arrival, Replica, StoredRow, Value};
use crate::effects::Effects;
use crate::error::ReadError;
use crate::id::{Actor, TableId};
use crate::io::StoreOp;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::rules::Rules;
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

/// A version of a row, in the order of versions.
type Versioned = (Hlc, Actor, u64);

/// A row that was removed, and its number in the log of changes.
struct Removed {
    table: TableId,
    key: Bytes,
    arrival: u64,
    expires: u64,
    /// Whether readers saw it.
    was_shown: bool,
}

/// A row with versions that the member does not know, and the origins of those.
type Unknown = (Place, (SiblingRow, Vec<Dot>));

/// A rejoin all of whose rows have arrived. It may have to wait for values of this node's own rows that are only in the store.
pub(crate) struct Rejoin {
    sys: Vec<Arrival>,
    theirs: BTreeMap<Place, Arrival>,
    /// Dots of rows that the member has and that did not come.
    pub(super) kept: Contexts,
    /// Versions that the member keeps and that were replaced here under the session, by place.
    pub(super) replaced: BTreeMap<Place, Versioned>,
    adopt: Contexts,
    freed: Hlc,
    values: Values,
    /// Rows whose values cannot be read: nothing of them is left to propose.
    unreadable: BTreeSet<Place>,
}

/// All that a member has sent.
pub(crate) struct Staged {
    pub(super) rows: Vec<RowBatch>,
    /// The dots of rows that it keeps, by page.
    pub(super) kept: Vec<Contexts>,
    /// The dots that it was asked with.
    pub(super) hint: Contexts,
}

impl Rejoin {
    /// Whether the member covers a dot.
    pub(super) fn covers(&self, class: RowClass, actor: Actor, counter: u64) -> bool {
        let mut adopt = self.adopt.iter();
        let context = adopt.find(|(name, _)| *name == class);
        context.is_some_and(|(_, context)| context.contains(actor, counter))
    }

    /// Whether the value of a row could not be read.
    pub(super) fn is_unreadable(&self, place: &Place) -> bool {
        self.unreadable.contains(place)
    }

    /// The version that the member has of a key, and whether it lives.
    fn theirs(&self, rules: Rules, of: &Replica, place: &Place) -> Option<(Versioned, bool)> {
        let came = self.theirs.get(place).map(|row| {
            let version = (row.clock, of.actor(row.actor), row.counter);
            (version, row.value.is_some())
        });
        let replaced = self.replaced.get(place).map(|version| (*version, true));
        came.or(replaced.filter(|_| rules.compares_replaced()))
    }

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
        staged: Staged,
        adopt: Contexts,
        freed: Hlc,
    ) -> Result<Rejoin, Refusal> {
        let kept = united(&staged.kept);
        if !kept.iter().all(|part| is_within(part, &adopt)) {
            return Err(Refusal::BadKept);
        }
        let mut theirs: BTreeMap<Place, Arrival> = BTreeMap::new();
        let mut sys = Vec::new();
        for batch in staged.rows {
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
            kept,
            replaced: BTreeMap::new(),
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

    /// Replaces this node's user rows by the member's, but for those that the member keeps, and proposes what the member did not know. Returns the
    /// rows dropped and proposed. One batch. O(rows of both).
    pub(crate) fn rejoin(&mut self, env: &mut RowEnv<'_>, mut rejoin: Rejoin) -> (u64, u64) {
        self.end_hint();
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
        let removed = self.remove_others(env, &rejoin);
        for (class, context) in &rejoin.adopt {
            if env.fx.rules().rejoins_reset_coverage() && *class != RowClass::Sys {
                self.reset_coverage(env.fx, *class, context);
            } else {
                self.coverage.adopt(self.me, *class, context, env.fx);
            }
        }
        self.place_theirs(env, rejoin.theirs);
        let mut proposed = siblings.len() as u64;
        for (place, versions) in siblings {
            self.propose_siblings(env, place, versions);
        }
        // Above its own old version too, which others may still hold.
        let raises = env.fx.rules().rejoins_raise_clocks();
        let freed = if raises { rejoin.freed } else { Hlc(0) };
        for proposal in proposals {
            match self.propose(env, proposal, freed) {
                true => proposed += 1,
                false => dropped += 1,
            }
        }
        self.tell_removed(env, removed);
        (dropped, proposed)
    }

    /// Makes the rows that came the current ones of their keys, of which none is here.
    fn place_theirs(&mut self, env: &mut RowEnv<'_>, theirs: BTreeMap<Place, Arrival>) {
        for ((_, key), mut row) in theirs {
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
    }

    /// Writes a row again that the member does not know. Returns false if its value cannot be read, so that it is lost here.
    fn propose(&mut self, env: &mut RowEnv<'_>, proposal: Proposal, freed: Hlc) -> bool {
        if proposal.value.is_cold() {
            env.fx.mark(Mark::RejoinUnreadable);
            return false;
        }
        let value = proposal.value.resident().cloned();
        let (table, key) = (proposal.table, proposal.key);
        let found = self.rows.find(table, &key);
        let above = proposal.clock.max(freed).max(self.drop_marker(table));
        let fresh = Fresh {
            table,
            key: &key,
            found,
            value,
            expires: proposal.expires,
        };
        self.put(env, fresh, above.next(), false);
        true
    }

    /// The rows that the member does not know, with loaded values where they are, and how many rows it has deleted.
    fn compare(&self, env: &RowEnv<'_>, rejoin: &Rejoin) -> (Vec<Proposal>, u64) {
        let mut proposals = Vec::new();
        let mut dropped = 0;
        let rules = env.fx.rules();
        let kept = self.mark_kept(rules, rejoin);
        for (slot, row) in self.rows.iter() {
            let class = env.catalog.class(row.table);
            if class == RowClass::Sys || class.has_siblings() || kept[slot.index()] {
                continue;
            }
            let actor = self.actor(row.actor);
            let covered = rejoin.covers(class, actor, row.counter) && rules.rejoins_drop_covered();
            let place = (env.catalog.group(row.table), row.key.clone());
            let other = rejoin.theirs(rules, self, &place);
            let newer = other.is_some_and(|(other, _)| other >= (row.clock, actor, row.counter));
            match (covered, row.value.is_dead()) {
                (true, false) if other.is_none() => dropped += 1,
                (true, _) => {}
                (false, _) if newer => {}
                (false, true) if other.is_none_or(|(_, lives)| !lives) => {}
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
            let covers = |dot: Dot| {
                rejoin.covers(class, dot.actor, dot.counter)
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

    /// Removes the rows of users' tables but for those that the member keeps.
    fn remove_others(&mut self, env: &mut RowEnv<'_>, rejoin: &Rejoin) -> Vec<Removed> {
        let kept = self.mark_kept(env.fx.rules(), rejoin);
        let rows = self.rows.iter();
        // A row of the same key that came is what the member has now.
        let stays = |slot: &Slot, row: &StoredRow| {
            let place = || (env.catalog.group(row.table), row.key.clone());
            kept[slot.index()] && !rejoin.theirs.contains_key(&place())
        };
        let others = rows.filter(|(slot, row)| {
            env.catalog.class(row.table) != RowClass::Sys && !stays(slot, row)
        });
        let others: Vec<(Slot, TableId)> = others.map(|(slot, row)| (slot, row.table)).collect();
        let mut removed = Vec::new();
        for (slot, table) in others {
            let class = env.catalog.class(table);
            let is_hidden = self.rows.is_hidden(slot);
            self.unlink(class, slot);
            if let Some(row) = self.rows.remove(slot) {
                self.delete_stored(env, class, table, &row.key);
                removed.push(Removed {
                    table,
                    arrival: row.arrival,
                    expires: row.expires,
                    was_shown: !row.value.is_dead() && !is_hidden,
                    key: row.key,
                });
            }
        }
        removed
    }

    /// Tells watchers of the rows that have gone. A delete that was in the log already is not told twice.
    fn tell_removed(&self, env: &mut RowEnv<'_>, removed: Vec<Removed>) {
        for row in removed {
            let public = env.catalog.public(row.table);
            if self.rows.find(row.table, &row.key).is_some() || !env.fx.rules().tells_removed() {
                continue;
            }
            let entry = Entry::Freed {
                table: row.table,
                expired: !row.was_shown && row.expires != 0,
                key: row.key,
            };
            match row.was_shown {
                true => {
                    env.changes.push(entry);
                    env.fx.changed(public);
                }
                false => env.changes.replace(row.arrival, entry),
            }
        }
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
