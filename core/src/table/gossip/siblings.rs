//! Tables that keep siblings: writes, merging, and what may be forgotten.
//!
//! A row is found by the dots of all its versions. A member that lacks a dot lacks either a version of the row, which it so finds,
//! or one that a version of the row has replaced, which it need not have.

use alloc::boxed::Box;
use alloc::vec::Vec;

use bytes::Bytes;

use super::{Arrival, Gossip, Merged, Slot};
use crate::config::MAX_SIBLING_BYTES;
use crate::effects::Effects;
use crate::error::{TokenError, WriteError};
use crate::id::{Actor, TableId};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::table::causal::{CausalToken, Dot, Vector};
use crate::table::siblings::{Sibling, SiblingRow};
use crate::table::{Accepted, Domain, Hlc, Siblings, Version, Write};

use super::session::Served;
use super::{StoredRow, Value};

impl Gossip {
    /// A client's write to a table that keeps siblings.
    pub(super) fn write_sibling(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        write: Write<'_>,
    ) -> Result<Accepted, WriteError> {
        let (key, value, context) = match write {
            Write::Put {
                expires: Some(_), ..
            } => return Err(WriteError::ExpiryUnsupported),
            Write::Put { key, value, .. } => (key, Some(value), None),
            Write::Delete { .. } => return Err(WriteError::ContextRequired),
            Write::Replace {
                key,
                value,
                context,
            } => (key, Some(value), Some(context)),
            Write::Remove { key, context } => (key, None, Some(context)),
        };
        self.check_limits(key, value.as_ref())?;
        let seen = self.seen_by(table, key, context)?;
        let seen = match mutated!(fx, ContextIgnored) {
            true => Vector::default(),
            false => seen,
        };
        let found = self.rows.find(table, key);
        let current = found.and_then(|slot| self.rows.row(slot));
        let row = current.and_then(|row| row.value.siblings());
        if let Some(value) = &value {
            self.check_siblings(fx, row, &seen, value)?;
        } else if !self.removes(table, row, &seen) {
            return Ok(self.unchanged(fx, table, current));
        }
        let existed = row.is_some_and(|row| !row.is_dead());
        let above = current.map_or(Hlc(0), |row| row.clock);
        let mut row = row.cloned().unwrap_or_default();
        let clock = self.issue_clock(fx, above.max(self.floor(table)));
        if row.versions().iter().any(|version| version.value.is_none()) {
            fx.mark(Mark::DeleteTakenIn);
        }
        let dot = self.next_dot(fx, table);
        let version = Sibling {
            origin: dot,
            dot,
            clock,
            value,
        };
        row.write(version, &seen);
        if row.live().nth(1).is_some() {
            fx.mark(Mark::SiblingAdded);
        }
        Ok(self.put_siblings(fx, table, key, (dot, clock, existed), row))
    }

    /// What the author of a write has seen.
    fn seen_by(
        &self,
        table: TableId,
        key: &[u8],
        context: Option<&CausalToken>,
    ) -> Result<Vector, TokenError> {
        let Some(context) = context else {
            return Ok(Vector::default());
        };
        let seen = context.seen(self.tables.name(table), key)?;
        let domain = self.tables.domain(table);
        let me = self.actor(self.me);
        let issued = self
            .cover
            .seen_runs(domain, me)
            .map_or(0, |runs| runs.max());
        match seen.get(me) <= issued {
            true => Ok(seen.clone()),
            false => Err(TokenError::Unissued),
        }
    }

    fn check_siblings(
        &self,
        fx: &mut Effects,
        row: Option<&SiblingRow>,
        seen: &Vector,
        value: &Bytes,
    ) -> Result<(), WriteError> {
        let left = row.map(|row| row.left_by(seen));
        let (count, bytes) = left
            .into_iter()
            .flatten()
            .fold((0, 0), |(count, bytes), len| (count + 1, bytes + len));
        let limit = self.limits.siblings;
        if count >= limit {
            fx.mark(Mark::SiblingsRefused);
            return Err(WriteError::TooManySiblings { limit });
        }
        let (size, limit) = (bytes + value.len(), MAX_SIBLING_BYTES);
        match count > 0 && size > limit {
            true => Err(WriteError::SiblingsTooLarge { size, limit }),
            false => Ok(()),
        }
    }

    /// Whether a delete removes anything: siblings that are here, or some that its author has seen and that are not here yet.
    fn removes(&self, table: TableId, row: Option<&SiblingRow>, seen: &Vector) -> bool {
        let domain = self.tables.domain(table);
        let here =
            row.is_some_and(|row| row.live().any(|(version, _)| seen.contains(version.origin)));
        let unknown = |dot: &Dot| {
            let runs = self.cover.seen_runs(domain, dot.actor);
            !row.is_some_and(|row| row.seen().contains(*dot))
                && !runs.is_some_and(|runs| runs.contains(dot.counter))
        };
        here || seen.as_slice().iter().any(unknown)
    }

    fn unchanged(&self, fx: &Effects, table: TableId, current: Option<&StoredRow>) -> Accepted {
        let nothing = Version {
            clock: self.clock.last(),
            actor: self.actor(self.me),
            counter: 0,
        };
        Accepted {
            version: current.map_or(nothing, |row| self.version(row)),
            seq: current.map_or(fx.durable(), |row| row.seq),
            sync: self.is_sync(table),
            existed: current.is_some_and(|row| !row.value.is_dead()),
        }
    }

    fn next_dot(&mut self, fx: &mut Effects, table: TableId) -> Dot {
        let domain = self.tables.domain(table);
        Dot {
            actor: self.actor(self.me),
            counter: self.cover.next_own(domain, self.me, fx),
        }
    }

    /// Puts a row in place that a write of this node's has changed, and pushes it whole.
    fn put_siblings(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        key: &[u8],
        (dot, clock, existed): (Dot, Hlc, bool),
        row: SiblingRow,
    ) -> Accepted {
        let seq = fx.open_seq();
        let found = self.rows.find(table, key);
        let key = match found.and_then(|slot| self.rows.row(slot)) {
            Some(row) => row.key.clone(),
            None => Bytes::copy_from_slice(key),
        };
        if self.outbox.is_open() {
            self.outbox.push(&Arrival {
                table,
                actor: self.me,
                counter: dot.counter,
                clock,
                expires: 0,
                key: key.clone(),
                value: Some(row.encode()),
                siblings: None,
            });
        }
        self.place_siblings(fx, table, key, row);
        let sync = self.is_sync(table) && !mutated!(fx, AckBeforeSync);
        if sync {
            fx.sync_this_turn();
        }
        let version = Version {
            clock,
            actor: dot.actor,
            counter: dot.counter,
        };
        Accepted {
            version,
            seq,
            sync,
            existed,
        }
    }

    /// Makes versions the current ones of their key, found by all their dots, which are covered already. Without versions the key
    /// goes.
    pub(super) fn place_siblings(
        &mut self,
        fx: &mut Effects,
        table: TableId,
        key: Bytes,
        row: SiblingRow,
    ) {
        let domain = self.tables.domain(table);
        let found = self.rows.find(table, &key);
        let Some(newest) = row.newest() else {
            if let Some(slot) = found {
                self.unlink(domain, slot);
                self.rows.remove(slot);
                self.delete_stored(fx, domain, table, &key);
            }
            return;
        };
        let arrival = Arrival {
            table,
            actor: self.cover.intern(newest.dot.actor),
            counter: newest.dot.counter,
            clock: newest.clock,
            expires: 0,
            key,
            value: Some(row.encode()),
            siblings: Some(Box::new(row)),
        };
        self.place(fx, domain, found, arrival);
    }

    /// Makes a row findable by the dots of all its versions. What may be forgotten one day counts as a tombstone, by the newest.
    pub(super) fn link_siblings(&mut self, domain: Domain, slot: Slot) {
        let Some(row) = self.rows.row(slot) else {
            return;
        };
        let Some(siblings) = row.value.siblings() else {
            return;
        };
        let garbage = siblings.has_garbage(|dot| self.cover.contains_up_to(domain, dot));
        let newest = (row.actor, row.counter);
        for version in siblings.versions() {
            let actor = self.cover.intern(version.dot.actor);
            let counter = version.dot.counter;
            let stands = (actor, counter) == newest;
            self.cover
                .link(domain, actor, counter, slot, garbage && stands);
        }
    }

    /// Merges a row from elsewhere, whole.
    pub(super) fn merge_siblings(
        &mut self,
        fx: &mut Effects,
        domain: Domain,
        arrival: Arrival,
        mut theirs: SiblingRow,
    ) -> Merged {
        let me = self.actor(self.me);
        let foreign = |version: &Sibling| {
            let covered = self.covers(domain, version.dot);
            covered || version.dot.actor != me
        };
        if !theirs.versions().iter().all(foreign) {
            fx.mark(Mark::OwnDotFromOutside);
            return Merged::Obsolete;
        }
        let fresh: Vec<Dot> = theirs
            .versions()
            .iter()
            .map(|version| version.dot)
            .collect();
        let fresh: Vec<Dot> = fresh
            .into_iter()
            .filter(|dot| !self.covers(domain, *dot))
            .collect();
        if fresh.is_empty() && !mutated!(fx, ObsoleteMerges) {
            return Merged::Obsolete;
        }
        self.follow_clock(fx, arrival.clock);
        let floor = self.floor(arrival.table);
        let ignored = mutated!(fx, FloorIgnored);
        let below = |version: &Sibling| version.clock <= floor && !ignored;
        if theirs.versions().iter().any(below) {
            fx.mark(Mark::RowBelowFloor);
        }
        theirs.retain(|version| !below(version));
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
        let changed = ours != Some(&merged);
        for dot in fresh {
            let actor = self.cover.intern(dot.actor);
            self.cover.insert(domain, actor, dot.counter, fx);
        }
        if !changed {
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
    pub(super) fn adopt_siblings(
        &mut self,
        fx: &mut Effects,
        (table, key): (TableId, Bytes),
        mut row: SiblingRow,
    ) {
        let domain = self.tables.domain(table);
        let floor = self.floor(table);
        row.retain(|version| version.clock > floor);
        for version in row.versions().to_vec() {
            let actor = self.cover.intern(version.dot.actor);
            self.cover.insert(domain, actor, version.dot.counter, fx);
            self.follow_clock(fx, version.clock);
        }
        self.place_siblings(fx, table, key, row);
    }

    /// Merges versions that a reunion found the member not to know, with dots of this node's own to be found by. They stay the
    /// writes they are: who has replaced one keeps it replaced.
    pub(super) fn propose_siblings(
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
        if self.outbox.is_open() {
            for dot in moved {
                self.outbox.push(&Arrival {
                    table,
                    actor: self.me,
                    counter: dot.counter,
                    clock,
                    expires: 0,
                    key: key.clone(),
                    value: Some(row.encode()),
                    siblings: None,
                });
            }
        }
        self.place_siblings(fx, table, key, row);
    }

    /// The live siblings of a row, in a table that keeps them.
    pub(crate) fn siblings(&self, row: &StoredRow) -> Option<Siblings> {
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
            context: self.context(row)?,
        })
    }

    /// What the readers of a row have seen.
    pub(crate) fn context(&self, row: &StoredRow) -> Option<CausalToken> {
        let seen = row.value.siblings()?.seen().clone();
        let name = self.tables.name(row.table);
        Some(CausalToken::new(name, &row.key, seen))
    }

    fn covers(&self, domain: Domain, dot: Dot) -> bool {
        let runs = self.cover.seen_runs(domain, dot.actor);
        runs.is_some_and(|runs| runs.contains(dot.counter))
    }

    pub(super) fn is_durable(&self, domain: Domain, dot: Dot) -> bool {
        let actor = self.cover.find(dot.actor);
        actor.is_some_and(|actor| self.cover.is_durable(domain, actor, dot.counter))
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

    /// Forgets what every member knows to be replaced. Returns false when nothing is left, so that the row may go. The record stays
    /// as it is: what it has too much is forgotten again after a restart.
    pub(super) fn settle(&mut self, fx: &mut Effects, domain: Domain, slot: Slot) -> bool {
        let row = self.rows.row(slot);
        let Some(row) = row.filter(|row| row.value.siblings().is_some() && !row.value.is_dead())
        else {
            return false;
        };
        self.freed = self.freed.max(row.clock);
        self.unlink(domain, slot);
        let (cover, mut newest) = (&self.cover, None);
        self.rows.update(slot, |row| {
            if let Value::Siblings(siblings) = &mut row.value {
                siblings.settle(|dot| cover.contains_up_to(domain, dot));
                newest = siblings
                    .newest()
                    .map(|version| (version.dot, version.clock));
            }
        });
        if let Some((dot, clock)) = newest {
            let actor = self.cover.intern(dot.actor);
            self.rows.update(slot, |row| {
                (row.actor, row.counter, row.clock) = (actor, dot.counter, clock);
            });
        }
        self.link_siblings(domain, slot);
        fx.mark(Mark::SiblingsSettled);
        true
    }

    /// Whether a session has sent this row, or drafted it, for an earlier one of its dots.
    pub(super) fn is_sent_before(
        &self,
        served: &Served,
        at: usize,
        (actor, counter): (Actor, u64),
        row: &StoredRow,
    ) -> bool {
        let Some(siblings) = row.value.siblings() else {
            return false;
        };
        let domain = self.tables.domain(row.table);
        let now = Dot { actor, counter };
        let mut dots = siblings.versions().iter().map(|version| version.dot);
        dots.any(|dot| dot != now && served.is_before(domain, dot, at, now))
    }

    /// Removes the versions of a table's rows that are at or below its floor while others of the key are above it.
    pub(super) fn sweep_siblings(&mut self, fx: &mut Effects, table: TableId, floor: Hlc) {
        let below = |row: &&StoredRow| {
            let siblings = row.value.siblings();
            row.table == table
                && siblings.is_some_and(|row| row.versions().iter().any(|v| v.clock <= floor))
        };
        let rows = self.rows.iter().map(|(_, row)| row).filter(below);
        let swept: Vec<(Bytes, SiblingRow)> = rows
            .filter_map(|row| Some((row.key.clone(), row.value.siblings()?.clone())))
            .collect();
        for (key, mut row) in swept {
            row.retain(|version| version.clock > floor);
            self.place_siblings(fx, table, key, row);
        }
    }
}
