//! Coverage: for each actor a set of counters, run-length coded.

use alloc::vec::Vec;

use crate::id::Actor;

/// A set of counters as inclusive runs, ascending and apart from each other.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Runs(Vec<(u64, u64)>);

impl Runs {
    /// The empty set.
    pub const fn new() -> Self {
        Runs(Vec::new())
    }

    /// The runs as they are.
    pub fn as_slice(&self) -> &[(u64, u64)] {
        &self.0
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The largest counter covered, 0 for none.
    pub fn max(&self) -> u64 {
        self.0.last().map_or(0, |run| run.1)
    }

    /// How many counters are covered. O(runs).
    pub fn count(&self) -> u64 {
        let counts = self
            .0
            .iter()
            .map(|(low, high)| (high - low).saturating_add(1));
        counts.fold(0, u64::saturating_add)
    }

    /// Whether `counter` is covered. O(log runs), O(1) at the end.
    pub fn contains(&self, counter: u64) -> bool {
        match self.0.last() {
            Some(&(low, high)) if counter >= low => counter <= high,
            _ => self.find(counter).is_ok(),
        }
    }

    /// Covers one counter; whether it was new. O(1) at the end of the last run.
    pub fn insert(&mut self, counter: u64) -> bool {
        match self.0.last_mut() {
            Some(last) if counter == last.1.wrapping_add(1) && counter != 0 => {
                last.1 = counter;
                true
            }
            _ => {
                if self.contains(counter) {
                    return false;
                }
                self.insert_run(counter, counter);
                true
            }
        }
    }

    /// Covers `low..=high`. O(runs) in the worst case. A run with `low > high` covers nothing.
    pub fn insert_run(&mut self, low: u64, high: u64) {
        if low > high {
            return;
        }
        // Runs that overlap or touch the new one are merged into it.
        let start = self.0.partition_point(|run| run.1.saturating_add(1) < low);
        let end = self
            .0
            .partition_point(|run| run.0 <= high.saturating_add(1));
        if start >= end {
            if self.0.is_empty() {
                // Most contexts have one run of each actor, and every member keeps some of every actor.
                self.0.reserve_exact(1);
            }
            self.0.insert(start, (low, high));
            return;
        }
        let merged = (low.min(self.0[start].0), high.max(self.0[end - 1].1));
        self.0.splice(start..end, [merged]);
    }

    /// Covers all that `other` covers.
    pub fn union(&mut self, other: &Runs) {
        for &(low, high) in &other.0 {
            self.insert_run(low, high);
        }
    }

    /// Whether every counter of `self` is in `other`. O(runs log runs).
    pub fn is_subset(&self, other: &Runs) -> bool {
        self.0
            .iter()
            .all(|&(low, high)| matches!(other.find(low), Ok(i) if high <= other.0[i].1))
    }

    /// The counters of `self` that are not in `other`.
    pub fn minus(&self, other: &Runs) -> Runs {
        let mut out = Vec::new();
        for &(low, high) in &self.0 {
            let mut next = low;
            let from = other.0.partition_point(|run| run.1 < low);
            let mut open = true;
            for &(cut_low, cut_high) in other.0[from..].iter().take_while(|run| run.0 <= high) {
                if cut_low > next {
                    out.push((next, cut_low - 1));
                }
                if cut_high >= high {
                    open = false;
                    break;
                }
                next = cut_high + 1;
            }
            if open {
                out.push((next, high));
            }
        }
        Runs(out)
    }

    /// Whether these runs, which came from outside, are ascending, apart, and within 1 to `u64::MAX - 1`.
    pub fn from_wire(runs: &[(u64, u64)]) -> Option<Runs> {
        let ordered = runs
            .windows(2)
            .all(|pair| pair[0].1.checked_add(1).is_some_and(|end| end < pair[1].0));
        let sane = runs
            .iter()
            .all(|&(low, high)| low >= 1 && low <= high && high < u64::MAX);
        (ordered && sane).then(|| Runs(runs.to_vec()))
    }

    fn find(&self, counter: u64) -> Result<usize, usize> {
        self.0.binary_search_by(|&(low, high)| {
            if high < counter {
                core::cmp::Ordering::Less
            } else if low > counter {
                core::cmp::Ordering::Greater
            } else {
                core::cmp::Ordering::Equal
            }
        })
    }
}

/// The coverage of one row class: runs of counters for each actor.
///
/// Contexts are made, sent and compared whole, so they are a vector in the order of the actors. An actor that covers nothing is
/// not in it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Context(Vec<(Actor, Runs)>);

impl Context {
    /// The empty context.
    pub const fn new() -> Self {
        Context(Vec::new())
    }

    /// Where an actor is, or belongs. O(log actors), O(1) behind the last.
    fn place(&self, actor: Actor) -> Result<usize, usize> {
        match self.0.last() {
            Some((last, _)) if *last >= actor => {
                self.0.binary_search_by_key(&actor, |(actor, _)| *actor)
            }
            _ => Err(self.0.len()),
        }
    }

    /// Whether the dot is covered.
    pub fn contains(&self, actor: Actor, counter: u64) -> bool {
        self.runs(actor).is_some_and(|runs| runs.contains(counter))
    }

    /// Covers one dot; whether it was new.
    pub fn insert(&mut self, actor: Actor, counter: u64) -> bool {
        self.of(actor).insert(counter)
    }

    /// The runs of one actor.
    pub fn runs(&self, actor: Actor) -> Option<&Runs> {
        let at = self.place(actor).ok()?;
        Some(&self.0[at].1)
    }

    /// The runs of one actor, to which the caller adds.
    fn of(&mut self, actor: Actor) -> &mut Runs {
        let at = self.place(actor).unwrap_or_else(|at| {
            self.0.insert(at, (actor, Runs::new()));
            at
        });
        &mut self.0[at].1
    }

    /// Replaces the runs of one actor. O(1) behind the last actor, O(actors) before it: to make a whole context, collect it.
    pub fn set(&mut self, actor: Actor, runs: Runs) {
        if !runs.is_empty() {
            *self.of(actor) = runs;
        } else if let Ok(at) = self.place(actor) {
            self.0.remove(at);
        }
    }

    /// Covers all that `other` covers.
    pub fn union(&mut self, other: &Context) {
        for (actor, runs) in &other.0 {
            self.of(*actor).union(runs);
        }
    }

    /// How many actors cover something.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every dot of `self` is in `other`.
    pub fn is_subset(&self, other: &Context) -> bool {
        self.0.iter().all(|(actor, runs)| {
            let theirs = other.runs(*actor);
            theirs.is_some_and(|theirs| runs.is_subset(theirs))
        })
    }

    /// Without the actors that `keeps` denies.
    pub fn filter(mut self, keeps: impl Fn(Actor) -> bool) -> Context {
        self.0.retain(|(actor, _)| keeps(*actor));
        self
    }

    /// Actors with their runs, in order.
    pub fn iter(&self) -> impl Iterator<Item = (Actor, &Runs)> {
        self.0.iter().map(|(actor, runs)| (*actor, runs))
    }
}

impl FromIterator<(Actor, Runs)> for Context {
    /// O(actors log actors) in any order. Of an actor that comes twice the first counts.
    fn from_iter<I: IntoIterator<Item = (Actor, Runs)>>(runs: I) -> Self {
        let covers = runs.into_iter().filter(|(_, runs)| !runs.is_empty());
        let mut all: Vec<(Actor, Runs)> = covers.collect();
        all.sort_by_key(|(actor, _)| *actor);
        all.dedup_by_key(|(actor, _)| *actor);
        Context(all)
    }
}
