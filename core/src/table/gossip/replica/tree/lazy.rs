//! The lazy edges: IHAVEs of dots that are here, and dots that others have and that have not come.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

use super::super::{Contexts, Coverage};
use super::subtree::{Fit, pick};
use crate::id::{Actor, LinkId, NodeId};
use crate::table::{RowClass, Runs};
use crate::time::Instant;

/// Dots of one IHAVE: with more it goes out at the end of the turn.
const IHAVE_DOTS: usize = 4_096;
/// Runs of dots that are waited for. What is beyond is left to anti-entropy.
const WANTED_RUNS: usize = 1_024;
/// The share of the patience with a mismatch until an IHAVE goes out, and the share until the dots that it names are asked for: grafts come
/// before sessions.
const IHAVE_SHARE: u32 = 10;
const GRAFT_SHARE: u32 = 5;

/// Dots by row class and actor.
type Dots = BTreeMap<(RowClass, Actor), Runs>;

/// Dots that an IHAVE named and that have not come.
struct Wanted {
    at: (RowClass, Actor),
    runs: Runs,
    due: Instant,
    /// Links to members that have them, and have not been asked.
    sources: [Option<LinkId>; 2],
}

/// A step that is due.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Some others are to be told that these dots are here.
    IHave(Contexts),
    /// This peer is to be asked for the rows of these dots.
    Graft(LinkId, Contexts),
}

/// IHAVEs that have not gone out, and dots that are waited for. All are bounded, and what is dropped anti-entropy repairs.
#[derive(Default)]
pub(crate) struct Lazy {
    ihave: Dots,
    /// Dots in the IHAVE.
    count: usize,
    notify_at: Option<Instant>,
    /// By when they are due, as long as the patience stays the same.
    wanted: VecDeque<Wanted>,
    /// Runs in them.
    runs: usize,
}

impl Lazy {
    /// The row of a dot came by a push, or was written here.
    pub(crate) fn arrived(
        &mut self,
        now: Instant,
        patience: Duration,
        at: (RowClass, Actor),
        counter: u64,
    ) {
        self.ihave.entry(at).or_default().insert(counter);
        self.count += 1;
        let due = match self.count < IHAVE_DOTS {
            true => now + patience / IHAVE_SHARE,
            false => now,
        };
        self.notify_at = Some(self.notify_at.map_or(due, |at| at.min(due)));
    }

    /// A peer tells what it has. What has not been seen here is waited for.
    pub(crate) fn on_ihave(
        &mut self,
        now: Instant,
        patience: Duration,
        link: LinkId,
        have: &Contexts,
        coverage: &Coverage,
    ) {
        let due = now + patience / GRAFT_SHARE;
        for (class, context) in have {
            for (actor, runs) in context.iter() {
                let mut lacks = unseen(coverage, (*class, actor), runs);
                if !lacks.is_empty() {
                    self.second_source((*class, actor), link, &mut lacks);
                }
                // Runs that wait can have been split since, and so be more.
                let room = WANTED_RUNS.saturating_sub(self.runs);
                if lacks.is_empty() || lacks.as_slice().len() > room {
                    continue;
                }
                self.runs += lacks.as_slice().len();
                self.wanted.push_back(Wanted {
                    at: (*class, actor),
                    runs: lacks,
                    due,
                    sources: [Some(link), None],
                });
            }
        }
    }

    /// Takes out dots that are waited for already; the other member that has them is asked when the first did not answer.
    fn second_source(&mut self, at: (RowClass, Actor), link: LinkId, lacks: &mut Runs) {
        for wanted in self.wanted.iter_mut().filter(|wanted| wanted.at == at) {
            let rest = lacks.minus(&wanted.runs);
            let overlaps = rest != *lacks;
            if overlaps && wanted.sources[1].is_none() && wanted.sources[0] != Some(link) {
                wanted.sources[1] = Some(link);
            }
            *lacks = rest;
        }
    }

    /// Another patience holds from now on, and no longer one for what waits.
    pub(crate) fn retime(&mut self, now: Instant, patience: Duration) {
        self.notify_at = self
            .notify_at
            .map(|at| at.min(now + patience / IHAVE_SHARE));
        for wanted in &mut self.wanted {
            wanted.due = wanted.due.min(now + patience / GRAFT_SHARE);
        }
    }

    /// When something is due.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let wanted = self.wanted.front().map(|wanted| wanted.due);
        [wanted, self.notify_at].into_iter().flatten().min()
    }

    /// Returns the steps that are due now. Only peers that are `usable` are asked.
    pub(crate) fn due(
        &mut self,
        now: Instant,
        patience: Duration,
        coverage: &Coverage,
        usable: impl Fn(LinkId) -> bool,
    ) -> Vec<Verdict> {
        let mut grafts: BTreeMap<LinkId, Dots> = BTreeMap::new();
        // Entries that are put back are due later.
        for _ in 0..self.wanted.len() {
            let Some(mut wanted) = self.wanted.pop_front_if(|wanted| wanted.due <= now) else {
                break;
            };
            self.runs -= wanted.runs.as_slice().len();
            wanted.runs = unseen(coverage, wanted.at, &wanted.runs);
            let source = wanted
                .sources
                .iter_mut()
                .find_map(|source| source.take_if(|link| usable(*link)));
            let Some(link) = source.filter(|_| !wanted.runs.is_empty()) else {
                continue;
            };
            let dots = grafts.entry(link).or_default();
            dots.entry(wanted.at).or_default().union(&wanted.runs);
            wanted.due = now + patience / GRAFT_SHARE;
            self.runs += wanted.runs.as_slice().len();
            self.wanted.push_back(wanted);
        }
        let grafts = grafts.into_iter();
        let mut out: Vec<Verdict> = grafts
            .map(|(link, dots)| Verdict::Graft(link, contexts(dots)))
            .collect();
        if self.notify_at.is_some_and(|at| at <= now) {
            self.notify_at = None;
            self.count = 0;
            out.push(Verdict::IHave(contexts(core::mem::take(&mut self.ihave))));
        }
        out
    }
}

fn unseen(coverage: &Coverage, (class, actor): (RowClass, Actor), runs: &Runs) -> Runs {
    match coverage.seen_runs(class, actor) {
        Some(seen) => runs.minus(seen),
        None => runs.clone(),
    }
}

fn contexts(dots: Dots) -> Contexts {
    let mut out = Contexts::new();
    for class in RowClass::ALL {
        let of = dots.iter().filter(|((of, _), _)| *of == class);
        let context: crate::table::Context = of
            .map(|((_, actor), runs)| (*actor, runs.clone()))
            .collect();
        if !context.is_empty() {
            out.push((class, context));
        }
    }
    out
}

/// Returns the two members that this node's IHAVEs go to: a third and a half of the ring away. So each member hears from two others. With
/// a fan-out of three or more neither is in a subtree with it for which a third member answers.
pub(crate) fn partners(
    ring: &[(NodeId, LinkId)],
    me: NodeId,
    fit: impl Fn(NodeId, LinkId) -> Fit,
) -> Vec<LinkId> {
    let count = ring.len();
    let mine = ring.partition_point(|(node, _)| *node < me);
    let mut out: Vec<LinkId> = Vec::new();
    for offset in [(count + 1) / 3, count.div_ceil(2)] {
        let from = mine + offset.max(1) - 1;
        let around = (from..from + count).map(|at| ring[at % count]);
        let fresh = around.filter(|(_, link)| !out.contains(link));
        let found = pick(fresh, &fit);
        out.extend(found);
    }
    out
}
