//! Kept rows: a node that rejoins names the dots that it covers, and a member sends the dot alone where it has the row of one.
//!
//! In a row class in which a dot names one version, a row with the same dot is the same row. So a node that rejoins takes its own row for the member's. Its
//! coverage is a hint and no promise: it may cover a dot whose row its disk has lost, or that it has replaced by a write which the member does not know.
//! The rows of such dots are *lacking*, and the member is asked for them in another session.
//!
//! A tombstone is never kept: a row that ended has the dot of the row that it was, so a dot cannot tell the two apart. Rows of siblings are not
//! kept either, since their dots do not tell what a row has seen.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use bytes::Bytes;

use super::anti_entropy::{Contexts, read_contexts};
use super::cold::Place;
use super::rejoin::Rejoin;
use super::repair::of_class;
use super::{Replica, StoredRow};
use crate::id::{Actor, TableId};
use crate::refusals::Refusal;
use crate::rules::Rules;
use crate::table::env::RowEnv;
use crate::table::{Context, Hlc, RowClass, Runs, Slot};
use crate::wire::ClassContext;

/// Dots that a server looks at for one page of a comparison, and so the most that a page keeps. A look costs no more than a read of a row, which takes a
/// quarter of a microsecond among a million: so a page takes about a millisecond.
pub(super) const LOOKS: usize = 4_096;

/// Runs of dots that a node names when it asks: about a megabyte in a message.
const HINT_RUNS: usize = 65_536;

/// Runs of lacking dots that are left out of the next hint. Where there are more, all rows come.
const LACKING_RUNS: usize = HINT_RUNS / 2;

/// The cost of a run of dots against the limit of a message: the largest form of two counters.
const RUN_BYTES: usize = 19;

/// The cost of naming an actor: the largest form of its two numbers, and the beginnings of three arrays.
const ACTOR_BYTES: usize = 32;

/// Whether a dot names one version of a user's row.
pub(super) fn names_one_version(class: RowClass) -> bool {
    class != RowClass::Sys && !class.has_siblings()
}

/// The dots of a page in the making, in the order in which rows are looked at.
#[derive(Default)]
pub(super) struct KeptDots(Vec<(RowClass, Actor, Runs)>);

impl KeptDots {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The cost of one dot more, in bytes of a message.
    pub(super) fn cost(&self, class: RowClass, actor: Actor, counter: u64) -> usize {
        match self.0.last() {
            Some((c, a, runs)) if (*c, *a) == (class, actor) => match counter == runs.max() + 1 {
                true => 0,
                false => RUN_BYTES,
            },
            _ => ACTOR_BYTES + RUN_BYTES,
        }
    }

    /// Adds a dot behind all others of its actor.
    pub(super) fn add(&mut self, class: RowClass, actor: Actor, counter: u64) {
        match self.0.last_mut() {
            Some((c, a, runs)) if (*c, *a) == (class, actor) => {
                runs.insert(counter);
            }
            _ => {
                let mut runs = Runs::new();
                runs.insert(counter);
                self.0.push((class, actor, runs));
            }
        }
    }

    /// The dots as they go into a page.
    pub(super) fn into_wire(self) -> Vec<ClassContext> {
        let mut out: Vec<ClassContext> = Vec::new();
        for (class, actor, runs) in self.0 {
            let part = (actor, runs.as_slice().to_vec());
            match out.last_mut().filter(|last| last.class == class as u8) {
                Some(last) => last.actors.push(part),
                None => out.push(ClassContext {
                    class: class as u8,
                    actors: Vec::from([part]),
                }),
            }
        }
        out
    }
}

/// Reads the kept dots of a page.
///
/// # Errors
/// The reason to refuse them: they are not well-formed, more than a page may keep, or not among those that were named in the hint.
pub(super) fn read_kept(wire: &[ClassContext], hint: &Contexts) -> Result<Contexts, Refusal> {
    let mut kept = read_contexts(wire)?;
    kept.retain(|(_, context)| !context.is_empty());
    let runs = kept.iter().flat_map(|(_, context)| context.iter());
    let dots = runs.map(|(_, runs)| runs.count());
    let few = dots.fold(0, u64::saturating_add) <= LOOKS as u64;
    let named = kept.iter().all(|part| is_within(part, hint));
    match few && named {
        true => Ok(kept),
        false => Err(Refusal::BadKept),
    }
}

/// Whether contexts cover all of a context. O(runs log runs).
pub(super) fn is_within((class, context): &(RowClass, Context), all: &Contexts) -> bool {
    let mut all = all.iter();
    let found = all.find(|(name, _)| name == class);
    context.is_empty() || found.is_some_and(|(_, all)| context.is_subset(all))
}

/// Unites the contexts of pages, in whatever order these have come. O(runs log runs).
pub(super) fn united(pages: &[Contexts]) -> Contexts {
    let mut all: Vec<(RowClass, Actor, (u64, u64))> = Vec::new();
    for (class, context) in pages.iter().flatten() {
        for (actor, runs) in context.iter() {
            let runs = runs.as_slice().iter();
            all.extend(runs.map(|run| (*class, actor, *run)));
        }
    }
    // Each is added behind those that are there: between them it would cost as much as there are.
    all.sort_unstable();
    let mut united = Contexts::new();
    for of_actor in all.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        let Some((class, actor, _)) = of_actor.first() else {
            continue;
        };
        let mut runs = Runs::new();
        for (_, _, (low, high)) in of_actor {
            runs.insert_run(*low, *high);
        }
        of_class(&mut united, *class).set(*actor, runs);
    }
    united
}

/// Whether a hint has as many runs as a node asks with, and no more: a server keeps it for the session.
pub(crate) fn is_hint(contexts: &Contexts) -> bool {
    runs_in(contexts) <= HINT_RUNS
}

/// How many runs contexts have.
fn runs_in(contexts: &Contexts) -> usize {
    let runs = contexts.iter().flat_map(|(_, context)| context.iter());
    runs.map(|(_, runs)| runs.as_slice().len()).sum()
}

/// How the next member is asked for what differs. It only goes down the list until this node has rejoined.
#[derive(Default)]
pub(crate) enum Asking {
    /// With the dots covered here.
    #[default]
    Covered,
    /// With those, but for some whose rows were lacking.
    CoveredBut(Contexts),
    /// With nothing: all rows come.
    Nothing,
}

impl Asking {
    /// Another session follows one after which the rows of these dots were lacking. It is asked for without them; the third for everything.
    pub(crate) fn step_down(&mut self, lacking: Contexts) {
        let is_first = matches!(self, Asking::Covered);
        *self = match is_first && runs_in(&lacking) <= LACKING_RUNS {
            true => Asking::CoveredBut(lacking),
            false => Asking::Nothing,
        };
    }
}

/// Rows that were replaced here since a member was asked for what differs, by the dots that it may keep.
pub(super) struct Overwritten {
    hint: Contexts,
    rows: BTreeMap<(RowClass, Actor, u64), (TableId, Bytes, Hlc)>,
    most: usize,
}

impl Overwritten {
    /// Notes that a row is replaced. Where too many are, the rest will be lacking.
    pub(super) fn note(&mut self, class: RowClass, actor: Actor, row: &StoredRow) {
        let mut hint = self.hint.iter();
        let named = hint.find(|(name, _)| *name == class);
        let named = named.is_some_and(|(_, context)| context.contains(actor, row.counter));
        if named && self.rows.len() < self.most {
            let place = (row.table, row.key.clone(), row.clock);
            self.rows.insert((class, actor, row.counter), place);
        }
    }
}

impl Replica {
    /// Returns the dots to ask a member with for what differs, as far as a message holds them: the rows of others come whole. From now on it is
    /// remembered which of their rows are replaced.
    pub(crate) fn begin_hint(&mut self, asking: &Asking) -> Contexts {
        let mut hint = self.contexts();
        hint.retain(|(class, _)| names_one_version(*class));
        match asking {
            Asking::Covered => {}
            Asking::CoveredBut(lacking) => hint = without(hint, lacking),
            Asking::Nothing => hint.clear(),
        }
        let mut left = HINT_RUNS;
        for (_, context) in &mut hint {
            let fitting = context.iter().filter(|(_, runs)| {
                let fits = runs.as_slice().len() <= left;
                left -= if fits { runs.as_slice().len() } else { 0 };
                fits
            });
            *context = fitting.map(|(actor, runs)| (actor, runs.clone())).collect();
        }
        let rows = match (asking, self.overwritten.take()) {
            // A row that was replaced before the second of two sessions, the first of which may have been cut, is not lacking in it.
            (Asking::Covered | Asking::CoveredBut(_), Some(before)) => before.rows,
            _ => BTreeMap::new(),
        };
        self.overwritten = Some(Overwritten {
            hint: hint.clone(),
            rows,
            most: self.limits.session_replaced,
        });
        hint
    }

    /// Forgets which rows were replaced since a member was asked for what differs.
    pub(crate) fn end_hint(&mut self) {
        self.overwritten = None;
    }

    /// Returns the kept dots whose rows are lacking: there is none here, or one that has ended, and no write of this node's that will stand instead.
    /// Versions that such a write has replaced are put aside for the comparison. O(kept dots and rows replaced).
    pub(crate) fn lacking(&self, env: &RowEnv<'_>, rejoin: &mut Rejoin) -> Contexts {
        let rules = env.fx.rules();
        let mut lacking = Contexts::new();
        for (class, context) in &rejoin.kept {
            let lacks = |(actor, runs)| {
                let here = self.kept_here(rules, *class, actor, runs);
                (actor, runs.minus(&here))
            };
            let lacks: Context = context.iter().map(lacks).collect();
            if !lacks.is_empty() && rules.looks_for_kept() {
                lacking.push((*class, lacks));
            }
        }
        let excused = self.excused(env, rejoin, &lacking);
        let mut lacking = without(lacking, &excused);
        lacking.retain(|(_, lacks)| !lacks.is_empty());
        lacking
    }

    /// Returns the lacking dots whose rows were replaced here by writes that will stand, or are dropped, and puts their versions aside.
    fn excused(&self, env: &RowEnv<'_>, rejoin: &mut Rejoin, lacking: &Contexts) -> Contexts {
        let mut excused = Contexts::new();
        rejoin.replaced.clear();
        let overwritten = self.overwritten.iter().flat_map(|memory| &memory.rows);
        for ((class, actor, counter), (table, key, clock)) in overwritten {
            let mut lacking = lacking.iter();
            let of = lacking.find(|(name, _)| name == class);
            if !of.is_some_and(|(_, lacks)| lacks.contains(*actor, *counter)) {
                continue;
            }
            let place = (env.catalog.group(*table), key.clone());
            let version = (*clock, *actor, *counter);
            let stands = self.will_stand(env, rejoin, &place, version);
            if stands || *clock <= self.drop_marker(*table) {
                of_class(&mut excused, *class).insert(*actor, *counter);
            }
            if stands {
                rejoin.replaced.insert(place, version);
            }
        }
        excused
    }

    /// The dots among these whose rows are here and have not ended. Rows that a drop marker hides are here: it takes them.
    fn kept_here(&self, rules: Rules, class: RowClass, actor: Actor, runs: &Runs) -> Runs {
        let mut here = Runs::new();
        for (counter, slot) in self.kept_slots(class, actor, runs) {
            let row = self.rows.raw(slot);
            let counts = row.is_some_and(|row| {
                !row.value.is_dead() || self.rows.is_dropped(row) || !rules.asks_for_ended()
            });
            if counts {
                here.insert(counter);
            }
        }
        here
    }

    /// The rows that are found by these dots.
    fn kept_slots<'a>(
        &'a self,
        class: RowClass,
        actor: Actor,
        runs: &'a Runs,
    ) -> impl Iterator<Item = (u64, Slot)> + 'a {
        let ix = self.coverage.find(actor);
        ix.into_iter().flat_map(move |ix| {
            let runs = runs.as_slice().iter();
            runs.flat_map(move |(low, high)| self.coverage.range(class, ix, *low, *high))
        })
    }

    /// Whether the row of a key here is one that the member does not know, newer than its own, and will be written again.
    fn will_stand(
        &self,
        env: &RowEnv<'_>,
        rejoin: &Rejoin,
        place: &Place,
        version: (Hlc, Actor, u64),
    ) -> bool {
        let Some(row) = self.rows.get(place.0, &place.1) else {
            return false;
        };
        let actor = self.actor(row.actor);
        let class = env.catalog.class(row.table);
        let lost = row.value.is_cold() && rejoin.is_unreadable(place);
        !lost
            && !rejoin.covers(class, actor, row.counter)
            && (row.clock, actor, row.counter) > version
    }

    /// Marks the rows that the member keeps, by their slots. O(kept dots).
    pub(super) fn mark_kept(&self, rules: Rules, rejoin: &Rejoin) -> Vec<bool> {
        let mut kept = alloc::vec![false; self.rows.places()];
        for (class, context) in &rejoin.kept {
            for (actor, runs) in context.iter() {
                for (_, slot) in self.kept_slots(*class, actor, runs) {
                    let row = self.rows.row(slot);
                    if row.is_some_and(|row| !row.value.is_dead() || !rules.asks_for_ended()) {
                        kept[slot.index()] = true;
                    }
                }
            }
        }
        kept
    }
}

/// Contexts without the dots of others.
fn without(contexts: Contexts, others: &Contexts) -> Contexts {
    let part = |(class, context): (RowClass, Context)| {
        let mut others = others.iter();
        let other = others.find(|(name, _)| *name == class);
        let rest = |(actor, runs): (Actor, &Runs)| {
            let other = other.and_then(|(_, other)| other.runs(actor));
            (
                actor,
                other.map_or_else(|| runs.clone(), |other| runs.minus(other)),
            )
        };
        let left = context.iter().map(rest).collect();
        (class, left)
    };
    contexts.into_iter().map(part).collect()
}
