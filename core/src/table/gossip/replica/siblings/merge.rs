//! Rows of siblings from elsewhere: pushed, repaired, adopted, and proposed again in a rejoin.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::repair::renewed;
use super::super::{Arrival, Merged, Replica};
use crate::id::TableId;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::causal::Dot;
use crate::table::env::RowEnv;
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{Hlc, RowClass};

impl Replica {
    /// Merges a row from elsewhere, whole. A row without new dots is obsolete, and so is a version that is covered here and unknown to the
    /// row: it was replaced. Except in a `repair`: there a disk may have lost it, and what is known of the key alone decides.
    pub(in super::super) fn merge_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        class: RowClass,
        arrival: Arrival,
        mut theirs: SiblingRow,
        repair: bool,
    ) -> Merged {
        let me = self.actor(self.me);
        let foreign = |version: &Sibling| {
            let covered = self.covers(class, version.dot);
            covered || version.dot.actor != me
        };
        if !theirs.versions().iter().all(foreign) {
            env.fx.mark(Mark::OwnDotFromOutside);
            env.fx.refuse(Refusal::OwnDot);
            return Merged::Obsolete;
        }
        let fresh = theirs.versions().iter().map(|version| version.dot);
        let fresh: Vec<Dot> = fresh.filter(|dot| !self.covers(class, *dot)).collect();
        let drops_obsolete = env.fx.rules().drops_obsolete() && !repair;
        if drops_obsolete && fresh.is_empty() {
            return Merged::Obsolete;
        }
        self.follow_clock(env.fx, arrival.clock);
        self.sweep_key(env, arrival.table, &arrival.key);
        let whole = self.drop_versions(env.fx, arrival.table, &mut theirs);
        let found = self.rows.find(arrival.table, &arrival.key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let ours = current.and_then(|row| row.value.siblings());
        let mut merged = ours.cloned().unwrap_or_default();
        merged.merge(&theirs, |version| {
            drops_obsolete && !fresh.contains(&version.dot)
        });
        if !env.fx.rules().keeps_siblings() {
            let newest = merged.newest().map(|version| version.origin);
            merged.retain(|version| Some(version.origin) == newest);
        }
        let ours = ours.cloned();
        for dot in fresh {
            let actor = self.coverage.intern(dot.actor);
            self.coverage.insert(class, actor, dot.counter, env.fx);
        }
        self.keep_seen(env.fx, class, whole, &mut merged);
        if ours.as_ref() == Some(&merged) || ours.is_none() && merged.versions().is_empty() {
            env.fx.mark(Mark::RowLost);
            return Merged::Lost;
        }
        if merged.live().nth(1).is_some() {
            env.fx.mark(Mark::SiblingsMerged);
        }
        self.place_siblings(env, arrival.table, arrival.key, merged);
        Merged::Won
    }

    /// Merges a row in a repair. If the member shows what was replaced here, the row is written again: else the member would never learn
    /// of it.
    pub(in super::super) fn repair_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        class: RowClass,
        arrival: Arrival,
        theirs: SiblingRow,
    ) -> Merged {
        let (table, key) = (arrival.table, arrival.key.clone());
        let shown = theirs.live().map(|(version, _)| version.origin);
        let shown: Vec<Dot> = shown.collect();
        let merged = self.merge_siblings(env, class, arrival, theirs, true);
        let here = self.rows.get(table, &key);
        let Some(row) = here.and_then(|row| row.value.siblings()) else {
            return merged;
        };
        if row.replaces(&shown) && env.fx.rules().renews_replaced() {
            let row = row.clone();
            self.renew_siblings(env, (table, key), row);
        }
        merged
    }

    /// Writes a row again, whole: each version stays the write it is, and gets a dot of this node's to be found by. So the row counts
    /// wherever it comes, with all that it knows.
    fn renew_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        (table, key): (TableId, Bytes),
        mut row: SiblingRow,
    ) {
        env.fx.mark(Mark::RowRenewed);
        let mut moved = Vec::new();
        for version in row.versions().to_vec() {
            let me = self.actor(self.me);
            let Some(clock) = renewed(version.clock, version.dot.actor, me) else {
                continue;
            };
            let dot = self.next_dot(env, table);
            self.follow_clock(env.fx, clock);
            row.move_to(version.origin, dot, clock);
            moved.push((dot, clock));
        }
        for moved in moved {
            self.collect_siblings(env, (table, &key), moved, &row);
        }
        self.place_siblings(env, table, key, row);
    }

    /// Takes a member's row in the place of this node's.
    pub(in super::super) fn adopt_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        (table, key): (TableId, Bytes),
        mut row: SiblingRow,
    ) {
        let class = env.catalog.class(table);
        let whole = self.drop_versions(env.fx, table, &mut row);
        self.keep_seen(env.fx, class, whole, &mut row);
        for version in row.versions().to_vec() {
            let actor = self.coverage.intern(version.dot.actor);
            self.coverage
                .insert(class, actor, version.dot.counter, env.fx);
            self.follow_clock(env.fx, version.clock);
        }
        self.place_siblings(env, table, key, row);
    }

    /// Merges versions that a rejoin found the member not to know, with dots of this node's own to be found by. They stay the writes they
    /// are: a version that was replaced stays replaced.
    pub(in super::super) fn propose_siblings(
        &mut self,
        env: &mut RowEnv<'_>,
        (table, key): (TableId, Bytes),
        (ours, unknown): (SiblingRow, Vec<Dot>),
    ) {
        let current = self.rows.get(table, &key);
        let theirs = current.and_then(|row| row.value.siblings());
        let mut row = theirs.cloned().unwrap_or_default();
        row.merge(&ours, |_| false);
        let newest = row.newest().map_or(Hlc(0), |version| version.clock);
        let clock = newest
            .max(self.drop_marker(table))
            .max(self.clock.last())
            .next();
        self.follow_clock(env.fx, clock);
        let mut moved = Vec::new();
        for origin in unknown {
            let dot = self.next_dot(env, table);
            row.move_to(origin, dot, clock);
            moved.push(dot);
        }
        for dot in moved {
            self.collect_siblings(env, (table, &key), (dot, clock), &row);
        }
        self.place_siblings(env, table, key, row);
    }
}
