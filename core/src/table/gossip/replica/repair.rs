//! Range repair: for members whose contexts agree and whose rows do not, because a disk lost some without a word.
//!
//! Every node keeps a sum over the dots of its live rows that never expire; equal contexts with unequal sums show the loss. Then
//! each of the two walks its dots in order, in ranges, and asks the other for the dots that it shows in those ranges whose sums differ
//! (in the spirit of A. Meyer, "Range-Based Set Reconciliation", 2023, with one level of ranges, since it hardly ever runs). A dot
//! that the other shows and that has no row here is fetched in a session as if it were not covered. Of two versions the larger wins
//! as ever; where nothing is here, presence wins.
//!
//! That is sound while contexts agree at the moment of the comparison: what the other shows then was not deleted by anything
//! that either covers. And it stays so until the session ends if nothing is freed here meanwhile: a later delete is then met as
//! a tombstone.
//!
//! # Why repairs end
//!
//! One member may show a version, another know that it was replaced, and a third have forgotten both, since a version that all cover is
//! freed. By fetching alone the members could go on for ever: the first tells the third, the second the first, and the second forgets.
//! So a node that fetches what it knows to be replaced writes the row that it has instead *again*, with dots of its own
//! ([`Replica::renew`], [`Replica::renew_siblings`]). It is the same row, and no newer than it takes to win over itself.
//!
//! Let Z be such a row and V a version that it replaces. Whatever member covers Z has merged it, whole, and does not show V. It
//! shows V again only if it fetches V in a repair, for V's dot is covered.
//!
//! - A comparison needs equal contexts. So a member that covers Z when it compares does so with one that covers Z. The first member
//!   that showed V again after Z would have fetched it from one that shows V after Z: there is none.
//! - A member that comes to cover Z between the comparison and the last page has Z's row as long as the repair lasts, since a node that
//!   repairs frees and forgets nothing, and V loses against it.
//!
//! So Z ends V on every member that covers Z, which all do in the end, as with any write. A node that has written Z covers it, and
//! never fetches V again: each node writes at most once for each version, and a loss brings no new ones. All other steps of a repair
//! are joins that add a version to a member, or a larger one in the place of a smaller: of those there are finitely many.

use alloc::vec::Vec;

use bytes::Bytes;

use super::anti_entropy::Contexts;
use super::cold::{Loaded, Place};
use super::digest::Scope;
use super::write::Fresh;
use super::{ActorIx, Arrival, Merged, Replica, StoredRow};
use crate::id::Actor;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::store::bytes::hash_words;
use crate::table::Slot;
use crate::table::causal::Dot;
use crate::table::env::RowEnv;
use crate::table::siblings::Sibling;
use crate::table::{Context, Hlc, RowClass};
use crate::wire::{DotRange, RowBatch};

/// Rows in one range.
const RANGE_ROWS: usize = 256;

/// Ranges in one question, so that neither it nor its answer takes long.
pub(crate) const RANGES: usize = 32;

/// Dots named in the answer about one range; what is left out is found by the next repair.
const ANSWER_DOTS: usize = 4 * RANGE_ROWS;

/// Sum over live rows that never expire, order-independent. Within equal contexts a dot stands for its row: it is given out once.
#[derive(Default)]
pub(crate) struct LiveSum {
    all: u64,
    /// The part of users' tables.
    users: u64,
    /// By actor, 0 where it is not known yet.
    seeds: Vec<u64>,
}

impl LiveSum {
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    /// Adds a dot, or subtracts it when it is no longer `shown`; returns its hash.
    fn count(
        &mut self,
        (ix, name): (ActorIx, Actor),
        (class, counter): (RowClass, u64),
        shown: bool,
    ) -> u64 {
        let hash = self.hash(ix, name, class, counter);
        let change = if shown { hash } else { hash.wrapping_neg() };
        self.all = self.all.wrapping_add(change);
        if class != RowClass::Sys {
            self.users = self.users.wrapping_add(change);
        }
        hash
    }

    /// All rows of a table are gone, whose part is known.
    pub(super) fn drop_table(&mut self, class: RowClass, sum: u64) {
        self.all = self.all.wrapping_sub(sum);
        if class != RowClass::Sys {
            self.users = self.users.wrapping_sub(sum);
        }
    }

    /// All rows of users' tables are gone.
    pub(super) fn drop_users(&mut self) {
        self.all = self.all.wrapping_sub(self.users);
        self.users = 0;
    }

    fn hash(&mut self, ix: ActorIx, name: Actor, class: RowClass, counter: u64) -> u64 {
        let at = ix.0 as usize;
        if at >= self.seeds.len() {
            self.seeds.resize(at + 1, 0);
        }
        if self.seeds[at] == 0 {
            self.seeds[at] = seed(name);
        }
        hash_dot(self.seeds[at], class, counter)
    }
}

fn seed(actor: Actor) -> u64 {
    hash_words(&[actor.node.0, actor.boot]).max(1)
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
fn hash_dot(seed: u64, class: RowClass, counter: u64) -> u64 {
    let at = counter.wrapping_mul(8).wrapping_add(class as u64);
    let mut z = seed.wrapping_add(at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A place among the dots of all row classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    class: RowClass,
    actor: Actor,
    counter: u64,
}

impl Cursor {
    pub(crate) const START: Cursor = Cursor::of(RowClass::ALL[0]);

    const fn of(class: RowClass) -> Cursor {
        Cursor {
            class,
            actor: Actor::MIN,
            counter: 0,
        }
    }

    fn next_class(self) -> Option<Cursor> {
        let next = RowClass::ALL.get(self.class.index() + 1)?;
        Some(Cursor::of(*next))
    }
}

/// A range in the making.
struct Ranging {
    ranges: Vec<DotRange>,
    sum: u64,
    rows: usize,
}

impl Ranging {
    /// Ends a range before a dot, or with its row class.
    fn close(&mut self, from: Cursor, to: Option<(Actor, u64)>) {
        self.ranges.push(DotRange {
            class: from.class as u8,
            from: (from.actor, from.counter),
            to,
            sum: self.sum,
        });
        (self.sum, self.rows) = (0, 0);
    }
}

impl Replica {
    /// Whether a row is part of the sum: it is live, and does not expire, which every member would see at another moment.
    fn lasts(row: &StoredRow) -> bool {
        !row.value.is_dead() && row.expires == 0
    }

    /// Whether a row is part of the sum by this one of its dots.
    fn shows(row: &StoredRow, actor: Actor, counter: u64) -> bool {
        let of_dot = |(version, _): (&Sibling, _)| version.dot == Dot { actor, counter };
        match row.value.siblings() {
            Some(siblings) => siblings.live().any(of_dot),
            None => Self::lasts(row),
        }
    }

    pub(crate) fn live_sum(&self) -> u64 {
        self.live_sum.all()
    }

    /// A row became the current one of its key, or ceases to be.
    pub(super) fn count_row(&mut self, class: RowClass, slot: super::Slot, shown: bool) {
        let Some(row) = self.rows.raw(slot).filter(|row| Self::lasts(row)) else {
            return;
        };
        let sum = &mut self.live_sum;
        let mut count = |actor, counter| sum.count(actor, (class, counter), shown);
        let hash = match row.value.siblings() {
            None => count((row.actor, self.coverage.actor(row.actor)), row.counter),
            Some(siblings) => siblings
                .live()
                .fold(0, |all: u64, (Sibling { dot, .. }, _)| {
                    let actor = (self.coverage.intern(dot.actor), dot.actor);
                    all.wrapping_add(count(actor, dot.counter))
                }),
        };
        self.rows.count(row.table, hash, shown);
    }

    /// The dots shown from a place on to the end of its row class, in order, with their hashes.
    fn shown_from(&self, from: Cursor) -> impl Iterator<Item = ((Actor, u64), u64)> + '_ {
        let mut actors = self.coverage.actors_in(from.class);
        actors.retain(|(name, _)| *name >= from.actor);
        actors.sort_unstable_by_key(|(name, _)| *name);
        actors.into_iter().flat_map(move |(name, ix)| {
            let low = if name == from.actor { from.counter } else { 0 };
            let seed = seed(name);
            let dots = self.coverage.range(from.class, ix, low, u64::MAX);
            let shown = dots.filter(move |(counter, slot)| {
                let row = self.rows.row(*slot);
                row.is_some_and(|row| Self::shows(row, name, *counter))
            });
            shown.map(move |(counter, _)| {
                let hash = hash_dot(seed, from.class, counter);
                ((name, counter), hash)
            })
        })
    }

    /// The next ranges of this node's dots with their sums, and where to go on.
    pub(crate) fn ranges(&self, from: Cursor) -> (Vec<DotRange>, Option<Cursor>) {
        let (mut start, mut made) = (
            from,
            Ranging {
                ranges: Vec::new(),
                sum: 0,
                rows: 0,
            },
        );
        loop {
            for ((actor, counter), hash) in self.shown_from(start) {
                if made.rows == RANGE_ROWS {
                    made.close(start, Some((actor, counter)));
                    start = Cursor {
                        actor,
                        counter,
                        ..start
                    };
                    if made.ranges.len() == RANGES {
                        return (made.ranges, Some(start));
                    }
                }
                made.sum = made.sum.wrapping_add(hash);
                made.rows += 1;
            }
            made.close(start, None);
            match start.next_class() {
                Some(next) if made.ranges.len() < RANGES => start = next,
                next => return (made.ranges, next),
            }
        }
    }

    /// The dots that this node shows in those ranges whose sums differ.
    ///
    /// # Errors
    /// The reason to refuse the ranges.
    pub(crate) fn answer_ranges(&self, ranges: &[DotRange]) -> Result<Contexts, Refusal> {
        if ranges.len() > RANGES {
            return Err(Refusal::BadRange);
        }
        let mut shown: Contexts = Vec::new();
        for range in ranges {
            let class = RowClass::from_u8(range.class).ok_or(Refusal::UnknownClass)?;
            let (actor, counter) = range.from;
            let from = Cursor {
                class,
                actor,
                counter,
            };
            let shown_here = self.shown_from(from);
            let within = shown_here.take_while(|(dot, _)| range.to.is_none_or(|to| *dot < to));
            let dots: Vec<((Actor, u64), u64)> = within.take(ANSWER_DOTS).collect();
            let sum = dots
                .iter()
                .fold(0_u64, |sum, (_, hash)| sum.wrapping_add(*hash));
            if sum != range.sum {
                let context = of_class(&mut shown, class);
                for ((actor, counter), _) in dots {
                    context.insert(actor, counter);
                }
            }
        }
        Ok(shown)
    }

    /// Adds to `lost` the dots that a member shows and that have no row here, though they are covered; returns how many there were.
    pub(crate) fn find_lost(&self, shown: &Contexts, lost: &mut Contexts) -> usize {
        let mut found = 0;
        for (class, context) in shown {
            for (actor, runs) in context.iter() {
                let Some(ix) = self.coverage.find(actor) else {
                    continue;
                };
                let dots = runs.as_slice().iter().flat_map(|(low, high)| *low..=*high);
                for counter in dots.take(RANGES * ANSWER_DOTS) {
                    let slot = self.coverage.slot(*class, ix, counter);
                    let is_here = slot.is_some_and(|slot| self.rows.row(slot).is_some());
                    if !is_here && self.coverage.contains(*class, ix, counter) {
                        found += usize::from(of_class(lost, *class).insert(actor, counter));
                    }
                }
            }
        }
        found
    }

    /// Returns the contexts seen here, without lost dots, in the parts where there are any: a session has to be asked with these to bring their rows.
    pub(crate) fn contexts_without(&self, lost: &Contexts) -> (Contexts, Scope) {
        let scope = Scope::around(lost);
        let mut have = self.contexts_in(&scope);
        for (class, lost) in lost {
            let context = of_class(&mut have, *class);
            for (actor, runs) in lost.iter() {
                if let Some(covered) = context.runs(actor) {
                    let rest = covered.minus(runs);
                    context.set(actor, rest);
                }
            }
        }
        (have, scope)
    }

    /// Merges rows that came for a repair: those of `lost` dots count although they are covered. Returns how many took their place, and the
    /// places of rows that have to be written again once their values are loaded.
    pub(crate) fn repair(
        &mut self,
        env: &mut RowEnv<'_>,
        batch: RowBatch,
        lost: &Contexts,
    ) -> Result<(u64, Vec<Place>), Refusal> {
        let (mut repaired, mut cold) = (0, Vec::new());
        for mut arrival in self.intern_batch(env.catalog, batch)? {
            let class = env.catalog.class(arrival.table);
            let context = lost.iter().find(|(name, _)| *name == class);
            if !context.is_some_and(|(_, lost)| self.is_lost(&arrival, lost)) {
                self.merge(env, arrival);
                continue;
            }
            let place = (env.catalog.group(arrival.table), arrival.key.clone());
            let merged = match arrival.siblings.take() {
                Some(theirs) => self.repair_siblings(env, class, arrival, *theirs),
                None => self.repair_row(env, class, arrival),
            };
            match merged {
                Merged::Won => {
                    env.fx.mark(Mark::RowRepaired);
                    repaired += 1;
                }
                Merged::Lost | Merged::Obsolete => {
                    let row = self.rows.get(place.0, &place.1);
                    let is_due = row.is_some_and(|row| row.value.is_cold() && !Self::lasts(row));
                    cold.extend(is_due.then_some(place));
                }
            }
        }
        Ok((repaired, cold))
    }

    /// Merges a row that counts although it is covered. One that is here instead is written again, if no sum shows it: else the member
    /// would never learn of it.
    fn repair_row(&mut self, env: &mut RowEnv<'_>, class: RowClass, arrival: Arrival) -> Merged {
        let (table, key) = (arrival.table, arrival.key.clone());
        let merged = self.supersede(env, class, arrival);
        if merged == Merged::Lost {
            let found = self.rows.find(table, &key);
            let row = found.and_then(|slot| self.rows.row(slot));
            let value = row.and_then(|row| row.value.resident().cloned());
            self.renew(env, found, value);
        }
        merged
    }

    /// Writes a row again whose value had to be loaded.
    pub(crate) fn renew_loaded(
        &mut self,
        env: &mut RowEnv<'_>,
        (table, key): &Place,
        loaded: &Loaded,
    ) {
        let found = self.rows.find(*table, key);
        let row = found.and_then(|slot| self.rows.row(slot));
        let value = row.and_then(|row| Self::value_of(row, Some(loaded)).cloned());
        if value.is_some() {
            env.fx.mark(Mark::RenewalLoaded);
            self.renew(env, found, value);
        }
    }

    /// Writes a delete, or a row that expires, again: the same in all but its dot, and as little newer as it takes to win over itself. Without
    /// its value nothing is written.
    fn renew(&mut self, env: &mut RowEnv<'_>, found: Option<Slot>, value: Option<Bytes>) {
        let row = found.and_then(|slot| self.rows.row(slot));
        let is_whole = |row: &&StoredRow| row.value.is_dead() == value.is_none();
        let Some(row) = row.filter(|row| !Self::lasts(row)).filter(is_whole) else {
            return;
        };
        let me = self.actor(self.me);
        let clock = renewed(row.clock, self.actor(row.actor), me);
        let Some(clock) = clock.filter(|_| env.fx.rules().renews_replaced()) else {
            return;
        };
        let (key, existed) = (row.key.clone(), !row.value.is_dead());
        let fresh = Fresh {
            table: row.table,
            key: &key,
            found,
            value,
            expires: row.expires,
        };
        env.fx.mark(Mark::RowRenewed);
        self.follow_clock(env.fx, clock);
        self.put(env, fresh, clock, existed);
    }

    fn is_lost(&self, arrival: &Arrival, lost: &Context) -> bool {
        match &arrival.siblings {
            Some(row) => {
                let mut dots = row.versions().iter().map(|version| version.dot);
                dots.any(|dot| lost.contains(dot.actor, dot.counter))
            }
            None => lost.contains(self.actor(arrival.actor), arrival.counter),
        }
    }
}

/// The least clock that lifts a write of one actor above the same with the dot of another, if there is any.
pub(super) fn renewed(clock: Hlc, of: Actor, by: Actor) -> Option<Hlc> {
    match by >= of {
        true => Some(clock),
        false => Some(clock.next()).filter(|next| *next > clock),
    }
}

/// The context of a row class among others, to which the caller adds.
pub(super) fn of_class(contexts: &mut Contexts, class: RowClass) -> &mut Context {
    let found = contexts.iter().position(|(name, _)| *name == class);
    let at = found.unwrap_or_else(|| {
        contexts.push((class, Context::new()));
        contexts.len() - 1
    });
    &mut contexts[at].1
}
