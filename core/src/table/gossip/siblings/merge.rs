//! Rows of siblings from elsewhere: pushed, repaired, adopted, and proposed again in a reunion.

use alloc::vec::Vec;

use bytes::Bytes;

use super::super::{Arrival, Gossip, Merged};
use crate::effects::Effects;
use crate::id::TableId;
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::table::causal::Dot;
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{Context, Domain, Hlc};

impl Gossip {
    /// Merges a row from elsewhere, whole. A row without new dots is obsolete, except in a repair: that names the dots that are covered
    /// here and count nevertheless, because a disk lost their rows.
    pub(in super::super) fn merge_siblings(
        &mut self,
        fx: &mut Effects,
        domain: Domain,
        arrival: Arrival,
        mut theirs: SiblingRow,
        repair: Option<&Context>,
    ) -> Merged {
        let me = self.actor(self.me);
        let foreign = |version: &Sibling| {
            let covered = self.covers(domain, version.dot);
            covered || version.dot.actor != me
        };
        if !theirs.versions().iter().all(foreign) {
            fx.mark(Mark::OwnDotFromOutside);
            fx.refuse(Refusal::OwnDot);
            return Merged::Obsolete;
        }
        let lost = |dot: &Dot| repair.is_some_and(|lost| lost.contains(dot.actor, dot.counter));
        let fresh = theirs.versions().iter().map(|version| version.dot);
        let fresh: Vec<Dot> = fresh
            .filter(|dot| !self.covers(domain, *dot) || lost(dot))
            .collect();
        if fresh.is_empty() && repair.is_none() && !mutated!(fx, ObsoleteMerges) {
            return Merged::Obsolete;
        }
        self.follow_clock(fx, arrival.clock);
        self.sweep_key(fx, arrival.table, &arrival.key);
        let whole = self.drop_versions(fx, arrival.table, &mut theirs);
        let found = self.rows.find(arrival.table, &arrival.key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let ours = current.and_then(|row| row.value.siblings());
        let mut merged = ours.cloned().unwrap_or_default();
        let revives = mutated!(fx, ObsoleteMerges);
        merged.merge(&theirs, |version| !fresh.contains(&version.dot) && !revives);
        if mutated!(fx, SiblingLost) {
            let newest = merged.newest().map(|version| version.origin);
            merged.retain(|version| Some(version.origin) == newest);
        }
        let ours = ours.cloned();
        for dot in fresh {
            let actor = self.cover.intern(dot.actor);
            self.cover.insert(domain, actor, dot.counter, fx);
        }
        self.keep_seen(fx, domain, whole, &mut merged);
        if ours.as_ref() == Some(&merged) || ours.is_none() && merged.versions().is_empty() {
            fx.mark(Mark::RowLost);
            return Merged::Lost;
        }
        if merged.live().nth(1).is_some() {
            fx.mark(Mark::SiblingsMerged);
        }
        self.place_siblings(fx, arrival.table, arrival.key, merged);
        Merged::Won
    }

    /// Takes a member's row in the place of this node's.
    pub(in super::super) fn adopt_siblings(
        &mut self,
        fx: &mut Effects,
        (table, key): (TableId, Bytes),
        mut row: SiblingRow,
    ) {
        let domain = self.tables.domain(table);
        let whole = self.drop_versions(fx, table, &mut row);
        self.keep_seen(fx, domain, whole, &mut row);
        for version in row.versions().to_vec() {
            let actor = self.cover.intern(version.dot.actor);
            self.cover.insert(domain, actor, version.dot.counter, fx);
            self.follow_clock(fx, version.clock);
        }
        self.place_siblings(fx, table, key, row);
    }

    /// Merges versions that a reunion found the member not to know, with dots of this node's own to be found by. They stay the
    /// writes they are: who has replaced one keeps it replaced.
    pub(in super::super) fn propose_siblings(
        &mut self,
        fx: &mut Effects,
        (table, key): (TableId, Bytes),
        (ours, unknown): (SiblingRow, Vec<Dot>),
    ) {
        let current = self.rows.get(table, &key);
        let theirs = current.and_then(|row| row.value.siblings());
        let mut row = theirs.cloned().unwrap_or_default();
        row.merge(&ours, |_| false);
        let newest = row.newest().map_or(Hlc(0), |version| version.clock);
        let clock = newest.max(self.floor(table)).max(self.clock.last()).next();
        self.follow_clock(fx, clock);
        let mut moved = Vec::new();
        for origin in unknown {
            let dot = self.next_dot(fx, table);
            row.move_to(origin, dot, clock);
            moved.push(dot);
        }
        for dot in moved {
            self.collect_siblings(fx, (table, &key), (dot, clock), &row);
        }
        self.place_siblings(fx, table, key, row);
    }
}
