//! Coverage: for each row class and actor the dots seen, the dots durable, and the rows they belong to.

use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;

use super::digest::{BUCKETS, Digest, Sums, hash_runs};
use super::dots::DotIndex;
use super::record;
use super::rows::ActorIx;
use super::session::Served;
use super::strays;
use crate::effects::Effects;
use crate::id::{Actor, Seq, TableId};
use crate::table::Slot;
use crate::table::causal::Dot;
use crate::table::{Context, RowClass, Runs};

/// One actor in one row class.
#[derive(Default)]
struct Entry {
    /// Covered here: decides what is asked for and what is obsolete.
    seen: Runs,
    /// Covered, and synced with its rows: all that is ever claimed to others.
    durable: Runs,
    index: DotIndex,
    hash: u64,
    /// Whether `seen` has changed since `hash` was computed.
    stale: bool,
    /// Whether `seen` has changed since it was stored.
    unstored: bool,
}

#[derive(Default)]
struct ClassCoverage {
    /// By actor its place among the entries, plus one; 0 for an actor that never wrote here. Most write in one row class alone.
    places: Vec<u32>,
    entries: Vec<(ActorIx, Entry)>,
    /// The entry of all actors that are not known.
    nothing: Entry,
    stale: Vec<ActorIx>,
    unstored: Vec<ActorIx>,
    /// The sums of the actors' hashes, without the stale ones' changes.
    sums: Sums,
    tombstones: BTreeSet<(ActorIx, u64)>,
}

impl ClassCoverage {
    fn entry(&self, actor: ActorIx) -> &Entry {
        let place = self.places.get(actor.0 as usize).copied().unwrap_or(0);
        match place.checked_sub(1) {
            Some(place) => &self.entries[place as usize].1,
            None => &self.nothing,
        }
    }

    fn entry_mut(&mut self, actor: ActorIx) -> &mut Entry {
        let at = actor.0 as usize;
        if at >= self.places.len() {
            self.places.resize(at + 1, 0);
        }
        if self.places[at] == 0 {
            self.entries.push((actor, Entry::default()));
            self.places[at] = self.entries.len() as u32;
        }
        &mut self.entries[self.places[at] as usize - 1].1
    }
}

/// Coverage of all row classes.
#[derive(Default)]
pub(crate) struct Coverage {
    actors: Vec<Actor>,
    /// Never iterated.
    by_actor: HashMap<Actor, ActorIx, FixedState>,
    classes: [ClassCoverage; RowClass::ALL.len()],
    /// Counts the changes of what has been seen.
    version: u64,
    /// Dots by the batch that makes them durable, oldest first.
    pending: VecDeque<(Seq, RowClass, ActorIx, u64, u64)>,
    /// Versions that are not stored may stand above some that are: their dots are claimed in the order in which all became durable.
    in_order: bool,
    /// Sessions that are being served: they must hear of rows that are replaced under them.
    pub(crate) served: Vec<Served>,
}

impl Coverage {
    pub(crate) fn intern(&mut self, actor: Actor) -> ActorIx {
        if let Some(ix) = self.by_actor.get(&actor) {
            return *ix;
        }
        let ix = ActorIx(self.actors.len() as u32);
        self.actors.push(actor);
        self.by_actor.insert(actor, ix);
        ix
    }

    pub(crate) fn actor(&self, ix: ActorIx) -> Actor {
        self.actors.get(ix.0 as usize).copied().unwrap_or_default()
    }

    pub(crate) fn find(&self, actor: Actor) -> Option<ActorIx> {
        self.by_actor.get(&actor).copied()
    }

    fn entry(&self, class: RowClass, actor: ActorIx) -> &Entry {
        self.classes[class.index()].entry(actor)
    }

    fn entry_mut(&mut self, class: RowClass, actor: ActorIx) -> &mut Entry {
        self.classes[class.index()].entry_mut(actor)
    }

    pub(crate) fn contains(&self, class: RowClass, actor: ActorIx, counter: u64) -> bool {
        self.entry(class, actor).seen.contains(counter)
    }

    /// Whether a dot and all earlier ones of its actor are covered.
    pub(crate) fn contains_up_to(&self, class: RowClass, dot: Dot) -> bool {
        let runs = self.seen_runs(class, dot.actor).map(Runs::as_slice);
        let first = runs.and_then(|runs| runs.first());
        first.is_some_and(|(low, high)| *low == 1 && dot.counter <= *high)
    }

    /// Whether a write of a sibling and all earlier ones of its actor are known: they are covered, or the rows out of which they were
    /// moved are, and have gone.
    pub(crate) fn knows_up_to(&self, class: RowClass, dot: Dot) -> bool {
        let moved = |from: &RowClass| {
            let actor = strays::moved(dot.actor, *from);
            self.contains_up_to(*from, Dot { actor, ..dot })
        };
        let is_covered = self.contains_up_to(class, dot) || RowClass::USR.iter().any(moved);
        is_covered && !self.may_move(dot)
    }

    /// Whether the row is here out of which a write of a sibling was moved, so that it may be moved again.
    pub(crate) fn may_move(&self, dot: Dot) -> bool {
        let stands = |from: &RowClass| {
            let ix = self.find(strays::moved(dot.actor, *from));
            ix.is_some_and(|ix| self.slot(*from, ix, dot.counter).is_some())
        };
        RowClass::USR.iter().any(stands)
    }

    /// Covers the next dot of the present actor: counters are contiguous from 1.
    pub(crate) fn next_own(&mut self, class: RowClass, me: ActorIx, fx: &mut Effects) -> u64 {
        let counter = self.entry(class, me).seen.max() + 1;
        self.insert(class, me, counter, fx);
        counter
    }

    /// Covers a dot, in the batch of this turn.
    pub(crate) fn insert(
        &mut self,
        class: RowClass,
        actor: ActorIx,
        counter: u64,
        fx: &mut Effects,
    ) {
        self.insert_run(class, actor, counter, counter, fx);
    }

    pub(crate) fn insert_run(
        &mut self,
        class: RowClass,
        actor: ActorIx,
        low: u64,
        high: u64,
        fx: &mut Effects,
    ) {
        let entry = self.entry_mut(class, actor);
        if low == high {
            entry.seen.insert(low);
        } else {
            entry.seen.insert_run(low, high);
        }
        self.touched(class, actor);
        fx.touch();
        let seq = match (class.is_durable(), self.pending.back()) {
            (true, _) => fx.open_seq(),
            (false, Some((seq, ..))) if self.in_order => *seq,
            (false, _) => Seq(0),
        };
        let waits = fx.rules().awaits_syncs() && seq != Seq(0) && fx.has_storage();
        if !waits {
            self.entry_mut(class, actor).durable.insert_run(low, high);
            return;
        }
        match self.pending.back_mut() {
            Some((s, d, a, _, last)) if (*s, *d, *a, *last + 1) == (seq, class, actor, low) => {
                *last = high
            }
            _ => self.pending.push_back((seq, class, actor, low, high)),
        }
    }

    /// From now on dots of rows that are not stored are claimed after all that were covered before them.
    pub(crate) fn claim_in_order(&mut self) {
        self.in_order = true;
    }

    /// A dot that has just been covered is claimed when batch `seq` is durable, though its row is not stored.
    pub(crate) fn hold(&mut self, class: RowClass, actor: ActorIx, counter: u64, seq: Seq) {
        if let Some((_, d, a, low, high)) = self.pending.back_mut()
            && (*d, *a, *high) == (class, actor, counter)
        {
            match *low == *high {
                true => drop(self.pending.pop_back()),
                false => *high -= 1,
            }
        }
        let mut dot = Runs::new();
        dot.insert(counter);
        let entry = self.entry_mut(class, actor);
        entry.durable = entry.durable.minus(&dot);
        self.pending
            .push_back((seq, class, actor, counter, counter));
    }

    fn touched(&mut self, class: RowClass, actor: ActorIx) {
        self.version += 1;
        let coverage = &mut self.classes[class.index()];
        let entry = coverage.entry_mut(actor);
        if !core::mem::replace(&mut entry.stale, true) {
            coverage.stale.push(actor);
        }
        let entry = coverage.entry_mut(actor);
        if class.is_durable() && !core::mem::replace(&mut entry.unstored, true) {
            coverage.unstored.push(actor);
        }
    }

    /// A recovered row or context covers its dot, durably.
    pub(crate) fn restore(&mut self, class: RowClass, actor: ActorIx, counter: u64) {
        let entry = self.entry_mut(class, actor);
        entry.seen.insert(counter);
        entry.durable.insert(counter);
        self.touched(class, actor);
    }

    pub(crate) fn restore_runs(&mut self, class: RowClass, actor: Actor, runs: &Runs) {
        let actor = self.intern(actor);
        let entry = self.entry_mut(class, actor);
        entry.seen.union(runs);
        entry.durable.union(runs);
        self.touched(class, actor);
    }

    /// Adopts a context whose rows have all arrived.
    pub(crate) fn adopt(
        &mut self,
        me: ActorIx,
        class: RowClass,
        context: &Context,
        fx: &mut Effects,
    ) {
        for (actor, runs) in context.iter() {
            let ix = self.intern(actor);
            // No member knows more of this boot than it does itself.
            if ix == me {
                continue;
            }
            let fresh = runs.minus(&self.entry(class, ix).seen);
            for (low, high) in fresh.as_slice() {
                self.insert_run(class, ix, *low, *high, fx);
            }
        }
    }

    /// Forgets what is covered of a row class but for one actor; returns the actors forgotten.
    pub(crate) fn reset(&mut self, class: RowClass, keep: ActorIx) -> Vec<Actor> {
        let mut forgotten = Vec::new();
        self.pending
            .retain(|(_, d, actor, ..)| *d != class || *actor == keep);
        for number in 0..self.actors.len() {
            let ix = ActorIx(number as u32);
            if ix == keep || self.entry(class, ix).seen.is_empty() {
                continue;
            }
            forgotten.push(self.actor(ix));
            let entry = self.entry_mut(class, ix);
            entry.seen = Runs::new();
            entry.durable = Runs::new();
            self.touched(class, ix);
        }
        forgotten
    }

    /// Stores what of the contexts has changed in this turn, in the batch of its rows.
    pub(crate) fn store_changes(&mut self, fx: &mut Effects) {
        for class in RowClass::ALL {
            let unstored = core::mem::take(&mut self.classes[class.index()].unstored);
            for ix in unstored {
                let actor = self.actor(ix);
                let entry = self.entry_mut(class, ix);
                entry.unstored = false;
                fx.store_with(|batch| record::put_covered(batch, class, actor, &entry.seen));
            }
        }
    }

    /// Everything up to `upto` is durable.
    pub(crate) fn stored(&mut self, upto: Seq) {
        while let Some(&(seq, class, actor, low, high)) = self.pending.front() {
            if seq > upto {
                return;
            }
            self.pending.pop_front();
            self.entry_mut(class, actor).durable.insert_run(low, high);
        }
    }

    /// Whether any dot of the row class is covered.
    pub(crate) fn is_used(&self, class: RowClass) -> bool {
        self.classes[class.index()]
            .entries
            .iter()
            .any(|(_, entry)| !entry.seen.is_empty())
    }

    /// Whether everything seen is durable.
    pub(crate) fn all_durable(&self) -> bool {
        self.pending.is_empty()
    }

    pub(crate) fn is_durable(&self, class: RowClass, actor: ActorIx, counter: u64) -> bool {
        self.entry(class, actor).durable.contains(counter)
    }

    /// The row of a dot becomes findable by it.
    pub(crate) fn link(
        &mut self,
        class: RowClass,
        actor: ActorIx,
        counter: u64,
        slot: Slot,
        dead: bool,
    ) {
        self.entry_mut(class, actor).index.insert(counter, slot);
        let tombstones = &mut self.classes[class.index()].tombstones;
        if dead {
            tombstones.insert((actor, counter));
        }
    }

    /// The row of a dot is replaced or freed; sessions being served are `told` its table and key.
    pub(crate) fn unlink(
        &mut self,
        class: RowClass,
        actor: ActorIx,
        counter: u64,
        told: Option<(TableId, &Bytes)>,
    ) {
        self.entry_mut(class, actor).index.remove(counter);
        let tombstones = &mut self.classes[class.index()].tombstones;
        if !tombstones.is_empty() {
            tombstones.remove(&(actor, counter));
        }
        if let Some((table, key)) = told.filter(|_| !self.served.is_empty()) {
            let name = self.actor(actor);
            for served in &mut self.served {
                served.replaced(class, name, counter, table, key);
            }
        }
    }

    pub(crate) fn slot(&self, class: RowClass, actor: ActorIx, counter: u64) -> Option<Slot> {
        self.entry(class, actor).index.get(counter)
    }

    /// Rows of an actor by counter.
    pub(crate) fn range(
        &self,
        class: RowClass,
        actor: ActorIx,
        low: u64,
        high: u64,
    ) -> impl Iterator<Item = (u64, Slot)> + '_ {
        self.entry(class, actor).index.range(low, high)
    }

    pub(crate) fn tombstones(&self, class: RowClass) -> &BTreeSet<(ActorIx, u64)> {
        &self.classes[class.index()].tombstones
    }

    pub(crate) fn tombstone_count(&self) -> u64 {
        self.classes
            .iter()
            .map(|class| class.tombstones.len() as u64)
            .sum()
    }

    fn context(&self, class: RowClass, of: impl Fn(&Entry) -> &Runs) -> Context {
        let entries = self.classes[class.index()].entries.iter();
        entries
            .map(|(ix, entry)| (self.actor(*ix), of(entry)))
            .filter(|(_, runs)| !runs.is_empty())
            .map(|(actor, runs)| (actor, runs.clone()))
            .collect()
    }

    pub(crate) fn seen(&self, class: RowClass) -> Context {
        self.context(class, |entry| &entry.seen)
    }

    pub(crate) fn durable(&self, class: RowClass) -> Context {
        self.context(class, |entry| &entry.durable)
    }

    pub(crate) fn seen_runs(&self, class: RowClass, actor: Actor) -> Option<&Runs> {
        self.find(actor).map(|ix| &self.entry(class, ix).seen)
    }

    /// As long as it is the same, so is what has been seen.
    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    /// Whether everything in `context` has been seen here.
    pub(crate) fn includes(&self, class: RowClass, context: &Context) -> bool {
        context.iter().all(|(actor, runs)| {
            self.seen_runs(class, actor)
                .is_some_and(|seen| runs.is_subset(seen))
        })
    }

    /// Whether everything in `context` is durable here. O(its actors).
    pub(crate) fn holds_durably(&self, class: RowClass, context: &Context) -> bool {
        context.iter().all(|(actor, runs)| {
            let actor = self.find(actor);
            actor.is_some_and(|actor| runs.is_subset(&self.entry(class, actor).durable))
                || runs.is_empty()
        })
    }

    /// Hash of what has been seen of a row class: equal contexts have equal hashes. O(actors changed since the last call).
    pub(crate) fn hash(&mut self, class: RowClass) -> u64 {
        self.sums(class).all()
    }

    fn sums(&mut self, class: RowClass) -> &Sums {
        let coverage = &mut self.classes[class.index()];
        for ix in core::mem::take(&mut coverage.stale) {
            let actor = self.actors[ix.0 as usize];
            let entry = coverage.entry_mut(ix);
            entry.stale = false;
            let hash = hash_runs(class, actor, &entry.seen);
            let before = core::mem::replace(&mut entry.hash, hash);
            coverage.sums.change(actor, before, hash);
        }
        &coverage.sums
    }

    /// Returns a digest of the dots seen.
    pub(crate) fn digest(&mut self) -> Digest {
        let mut digest = [[0; BUCKETS]; RowClass::ALL.len()];
        for class in RowClass::ALL {
            digest[class.index()] = *self.sums(class).buckets();
        }
        digest
    }

    /// The actors of a row class, in no order that means anything.
    pub(crate) fn actors_in(&self, class: RowClass) -> Vec<(Actor, ActorIx)> {
        let entries = self.classes[class.index()].entries.iter();
        entries.map(|(ix, _)| (self.actor(*ix), *ix)).collect()
    }

    /// How many actors the contexts name.
    pub(crate) fn actors_seen(&self) -> usize {
        let entries = |class: &ClassCoverage| class.entries.len();
        self.classes.iter().map(entries).sum()
    }

    pub(crate) fn check(&self) {
        for class in RowClass::ALL {
            for (_, entry) in &self.classes[class.index()].entries {
                assert!(
                    entry.durable.is_subset(&entry.seen),
                    "only what is seen is durable"
                );
            }
            for (actor, counter) in self.tombstones(class) {
                assert!(
                    self.contains(class, *actor, *counter),
                    "a tombstone's dot is covered"
                );
            }
        }
    }
}
