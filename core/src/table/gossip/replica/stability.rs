//! When a tombstone may go: only on proof from every member, never on time.
//!
//! A tombstone is freed when it is durable here, this node's clock has reached it, and every member, reachable or not, has claimed a durable context that
//! holds it, lies within what this node has seen (of the row class and of `sys`), and came with a clock not below the
//! tombstone's. Then no member can bring back what it deleted: each has the delete, and nothing that this node lacks. A claim comes from the
//! member itself, or through another that passes it on.
//!
//! A dead row of siblings is freed only when every write that its vector names is covered here as well, with all earlier writes of
//! the same actor. A node that was evicted may hold such a write, and this row alone tells that it was replaced.
//!
//! The drop marker of a table is a tombstone of all keys of the table, and the same rule frees it, once what it has hidden here is removed. A row at
//! or below it that comes later was written before its author had the drop marker: a write after that is above the drop marker while the author has
//! it, and above the author's clock, which had reached it, when the author has freed it. A claim that holds the drop marker holds what its
//! claimant had seen before, since batches become durable in order. So the dot of the row is in the author's claim, which lies within what this node has seen:
//! the row is obsolete here. An author that is not counted has left with all it wrote covered here, or was evicted and comes back by rejoin,
//! which writes above what was freed.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::anti_entropy::Contexts;
use super::{ActorIx, Replica};
use crate::effects::Effects;
use crate::id::{Actor, NodeId};
use crate::marks::Mark;
use crate::table::Slot;
use crate::table::causal::Dot;
use crate::table::env::RowEnv;
use crate::table::{Context, Hlc, RowClass};
use crate::wire::ClaimNumber;

/// Tells up to which clock deletes do not wait for writes of an actor, because an operator declared its node lost.
pub(crate) type Lost<'a> = &'a dyn Fn(Actor) -> Option<Hlc>;

/// The claims that the oldest tombstones wait for.
#[derive(Default)]
pub(crate) struct Waits {
    /// The members whose claims are missing for the oldest tombstone. The number counts the tombstones that the claim of a member
    /// lacks; it is absent when the member has not claimed anything.
    pub(crate) claims: Vec<(NodeId, Option<u64>)>,
    /// The nodes whose replaced writes have not come here, and how many dead rows wait for them.
    pub(crate) writes: BTreeMap<NodeId, u64>,
}

/// Tombstones examined in one turn.
const BUDGET: usize = 4_096;

/// Tombstones freed in one turn: half a millisecond.
const FREED: usize = 256;

/// Tombstones compared with claims in one turn, each with each.
const COMPARED: usize = 1 << 14;

/// Actors in all claims that are kept whole, so that they can be passed on: some tens of MB at most. It is enough for 300 members that write.
const WHOLE_ACTORS: usize = 1 << 18;

/// A claim: what a member durably covered at some moment, already found to lie within what this node has seen.
struct Claim {
    /// The generation that claimed it, and the batch that was durable then.
    number: ClaimNumber,
    /// Shared by all members that claimed the same.
    covered: Arc<Covered>,
    clock: Hlc,
}

/// The coverage of a claim.
struct Covered {
    contexts: Contexts,
    /// How many dots are covered in all row classes: within a generation it only grows.
    dots: u64,
    /// All row classes are kept, so that the claim can be passed on.
    is_whole: bool,
}

impl Covered {
    /// Makes the part of a claim that this node keeps: with `claims` members no more than [`WHOLE_ACTORS`] allow and this node has a use
    /// for.
    fn new(replica: &Replica, mut contexts: Contexts, claims: usize) -> Arc<Covered> {
        let runs = contexts.iter().flat_map(|(_, context)| context.iter());
        let dots = runs.map(|(_, runs)| runs.count());
        let dots = dots.fold(0, u64::saturating_add);
        let actors: usize = contexts.iter().map(|(_, context)| context.len()).sum();
        let is_whole = actors.saturating_mul(claims) <= WHOLE_ACTORS;
        if !is_whole {
            contexts.retain(|(class, _)| !replica.coverage().tombstones(*class).is_empty());
        }
        Arc::new(Covered {
            contexts,
            dots,
            is_whole,
        })
    }

    /// Whether all row classes with tombstones are among what is kept.
    fn serves(&self, replica: &Replica) -> bool {
        let kept = |class: RowClass| self.contexts.iter().any(|(name, _)| *name == class);
        let of_use = |class: &RowClass| !replica.coverage().tombstones(*class).is_empty();
        self.is_whole || RowClass::ALL.into_iter().filter(of_use).all(kept)
    }
}

/// The dots that a claim has to hold for a tombstone to go: all dots of its row, for a row of siblings has several.
struct Needed {
    class: RowClass,
    dots: Vec<Dot>,
    clock: Hlc,
}

impl Needed {
    fn new(
        fx: &Effects,
        replica: &Replica,
        class: RowClass,
        actor: ActorIx,
        counter: u64,
    ) -> Option<(Slot, Needed)> {
        let (slot, clock) = tombstone(replica, class, actor, counter)?;
        let dots = match fx.rules().awaits_all_versions() {
            true => replica.dots_of(slot),
            false => alloc::vec![Dot {
                actor: replica.actor(actor),
                counter
            }],
        };
        let needed = Needed { class, dots, clock };
        Some((slot, needed))
    }
}

impl Claim {
    fn covers(&self, needed: &Needed) -> bool {
        let mut contexts = self.covered.contexts.iter();
        let context = contexts.find(|(name, _)| *name == needed.class);
        let mut dots = needed.dots.iter();
        self.clock >= needed.clock
            && context.is_some_and(|(_, context)| {
                dots.all(|dot| context.contains(dot.actor, dot.counter))
            })
    }
}

/// A claim, for members that ask for it.
pub(crate) struct Told<'a> {
    pub(crate) number: ClaimNumber,
    pub(crate) clock: Hlc,
    /// How many dots it covers.
    pub(crate) dots: u64,
    /// Its coverage, if all of that is kept.
    pub(crate) contexts: Option<&'a [(RowClass, Context)]>,
}

/// The claims of the other members, and how far they have been acted on.
#[derive(Default)]
pub(crate) struct Stability {
    claims: BTreeMap<NodeId, Claim>,
    /// Claims that do not lie within what this node has seen yet: the oldest of each member, which will first.
    early: BTreeMap<NodeId, Claim>,
    /// The coverage that this node had seen when a member last agreed with it, and the version of that.
    agreed: Option<(u64, Arc<Covered>)>,
    /// Something changed since the last complete pass.
    dirty: bool,
    /// Where an unfinished pass goes on.
    cursor: Option<(RowClass, ActorIx, u64)>,
    /// A tombstone that all members claim is not durable here yet.
    awaits_sync: bool,
}

/// The findings of one pass.
struct Pass {
    free: Vec<(RowClass, Slot)>,
    /// Where to go on, when the budget is used up.
    cursor: Option<(RowClass, ActorIx, u64)>,
    awaits_sync: bool,
}

impl Stability {
    /// The state of a member in its generation equals this node's, durably. The caller has a use for the claim.
    pub(crate) fn equal(
        &mut self,
        fx: &Effects,
        replica: &Replica,
        (node, number): (NodeId, ClaimNumber),
        clock: Hlc,
    ) {
        let clock = claimed_clock(fx, clock);
        let covered = self.own_contexts(replica);
        self.insert(
            node,
            Claim {
                number,
                covered,
                clock,
            },
        );
    }

    fn own_contexts(&mut self, replica: &Replica) -> Arc<Covered> {
        let version = replica.coverage().version();
        if let Some((at, covered)) = &self.agreed
            && *at == version
            && covered.serves(replica)
        {
            return Arc::clone(covered);
        }
        let covered = Covered::new(replica, replica.contexts(), self.kept());
        self.agreed = Some((version, Arc::clone(&covered)));
        covered
    }

    /// A member told its durable contexts, by itself or through another. The caller has a use for the claim. One that does not lie within what
    /// has been seen here is kept until it does, and none after it: where rows come through a third, the latest claim would be ahead
    /// for as long as there is a load.
    pub(crate) fn claimed(
        &mut self,
        fx: &mut Effects,
        replica: &Replica,
        (node, number): (NodeId, ClaimNumber),
        contexts: Contexts,
        clock: Hlc,
    ) {
        let is_early = fx.rules().claims_lie_within() && !includes(replica, &contexts);
        let claim = Claim {
            number,
            covered: Covered::new(replica, contexts, self.kept()),
            clock: claimed_clock(fx, clock),
        };
        if !is_early {
            fx.mark(Mark::ClaimByContext);
            self.insert(node, claim);
            return;
        }
        fx.mark(Mark::ClaimEarly);
        if claim.covered.is_whole {
            self.early.entry(node).or_insert(claim);
        }
    }

    /// Takes in the claims that came early and lie within what has been seen by now. O(actors) for each.
    pub(crate) fn admit_early(&mut self, replica: &Replica) {
        let early = self.early.iter();
        let due = early.filter(|(_, claim)| includes(replica, &claim.covered.contexts));
        let due: Vec<NodeId> = due.map(|(node, _)| *node).collect();
        for node in due {
            if let Some(claim) = self.early.remove(&node) {
                self.insert(node, claim);
            }
        }
    }

    /// Whether a claim of a member waits until it lies within what has been seen here.
    pub(crate) fn is_early(&self, node: NodeId) -> bool {
        self.early.contains_key(&node)
    }

    /// Takes in a claim: the later of two claims of a member counts.
    fn insert(&mut self, node: NodeId, claim: Claim) {
        let rank = |claim: &Claim| {
            let generation = claim.number.generation;
            (generation, claim.clock, claim.covered.dots)
        };
        let known = self.claims.get(&node);
        if known.is_none_or(|known| rank(known) <= rank(&claim)) {
            self.claims.insert(node, claim);
            self.dirty = true;
        }
    }

    /// The claim of a member, if it is known.
    pub(crate) fn claim(&self, node: NodeId) -> Option<Told<'_>> {
        let claim = self.claims.get(&node)?;
        Some(Told {
            number: claim.number,
            clock: claim.clock,
            dots: claim.covered.dots,
            contexts: claim.covered.is_whole.then_some(&claim.covered.contexts),
        })
    }

    /// How many claims are kept, with one that comes.
    fn kept(&self) -> usize {
        self.claims.len() + self.early.len() + 1
    }

    /// The members whose claims are missing for the oldest tombstone that waits for claims. O(members), and 4,096 tombstones.
    pub(crate) fn lacking(
        &self,
        fx: &Effects,
        replica: &Replica,
        counted: &BTreeSet<NodeId>,
        lost: Lost<'_>,
    ) -> Vec<NodeId> {
        let Some(needed) = oldest(fx, replica, lost) else {
            return Vec::new();
        };
        let lacks = |node: &&NodeId| {
            let claim = self.claims.get(node);
            !claim.is_some_and(|claim| claim.covers(&needed))
        };
        counted.iter().filter(lacks).copied().collect()
    }

    /// A member's claims no longer hold, because it begins a new generation.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.claims.remove(&node);
        self.early.remove(&node);
    }

    /// Drops the claims of generations of a member before this one.
    pub(crate) fn forget_before(&mut self, node: NodeId, generation: u64) {
        let is_old = |claim: &Claim| claim.number.generation < generation;
        if self.claims.get(&node).is_some_and(is_old) {
            self.claims.remove(&node);
        }
        if self.early.get(&node).is_some_and(is_old) {
            self.early.remove(&node);
        }
    }

    /// Forgets all claims, since this node's own coverage may have become less.
    pub(crate) fn forget_all(&mut self) {
        *self = Stability::default();
        self.dirty = true;
    }

    /// The set of members has changed.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    /// There is no tombstone: only what others ask for is kept.
    pub(crate) fn stand_by(&mut self, is_asked_for: impl Fn(NodeId) -> bool) {
        self.claims.retain(|node, _| is_asked_for(*node));
        self.early.retain(|node, _| is_asked_for(*node));
        self.agreed = None;
        self.dirty = false;
        self.cursor = None;
    }

    /// More is durable here.
    pub(crate) fn stored(&mut self) {
        self.dirty |= core::mem::take(&mut self.awaits_sync);
    }

    /// Whether a pass is due.
    pub(crate) fn is_due(&self) -> bool {
        self.dirty || self.cursor.is_some()
    }

    /// Tells what the oldest tombstones wait for. O(tombstones) up to 4,096, for each member that is behind: of fewer where more than four are counted.
    pub(crate) fn holding_up(
        &self,
        fx: &Effects,
        replica: &Replica,
        counted: &BTreeSet<NodeId>,
        lost: Lost<'_>,
    ) -> Waits {
        let mut waits = Waits::default();
        let mut open: Vec<Needed> = Vec::new();
        let most = (COMPARED / counted.len().max(1)).clamp(1, BUDGET);
        for (class, actor, counter) in tombstones(replica).take(most) {
            let Some((slot, needed)) = Needed::new(fx, replica, class, actor, counter) else {
                continue;
            };
            let nodes = replica.lacked_writers(class, slot, lost);
            if nodes.is_empty() {
                open.push(needed);
            }
            for node in nodes {
                *waits.writes.entry(node).or_default() += 1;
            }
        }
        let Some(first) = open.first() else {
            return waits;
        };
        let lacks = |node: &&NodeId| match self.claims.get(node) {
            Some(claim) => !claim.covers(first),
            None => true,
        };
        let behind = |node: &NodeId| {
            let claim = self.claims.get(node)?;
            let lacking = open.iter().filter(|needed| !claim.covers(needed));
            Some(lacking.count() as u64)
        };
        let missing = counted.iter().filter(lacks);
        waits.claims = missing.map(|node| (*node, behind(node))).collect();
        waits
    }

    /// Frees what may go; `counted` are the members other than this node whose claims are needed, and the writes of `lost` actors
    /// are not waited for.
    pub(crate) fn collect(
        &mut self,
        env: &mut RowEnv<'_>,
        replica: &mut Replica,
        counted: &BTreeSet<NodeId>,
        lost: Lost<'_>,
    ) {
        if !env.fx.rules().frees_by_claims_alone() {
            replica.free_old(env);
        }
        if !env.fx.rules().drop_markers_await_claims() {
            replica.free_drop_markers(env);
        }
        if self.cursor.is_none() {
            if !self.dirty || counted.iter().any(|node| !self.claims.contains_key(node)) {
                self.dirty = false;
                return;
            }
            self.dirty = false;
        }
        let Pass {
            free,
            cursor,
            awaits_sync,
        } = self.pass(env.fx, replica, counted, lost);
        self.cursor = cursor;
        self.awaits_sync |= awaits_sync;
        // Deletes of memory tables count too: before its definition came rows of such a table were stored.
        if !free.is_empty() {
            for node in counted {
                if let Some(claim) = self.claims.get(node) {
                    replica.freed_on_mut().note(env.fx, *node, claim.number);
                }
            }
        }
        for (class, slot) in free {
            replica.free(env, class, slot);
        }
    }

    fn pass(
        &self,
        fx: &mut Effects,
        replica: &Replica,
        counted: &BTreeSet<NodeId>,
        lost: Lost<'_>,
    ) -> Pass {
        let claims: Vec<&Claim> = counted
            .iter()
            .filter_map(|node| self.claims.get(node))
            .collect();
        let all_have_claimed = claims.len() == counted.len();
        let mut found = Pass {
            free: Vec::new(),
            cursor: None,
            awaits_sync: false,
        };
        let from = self.cursor.unwrap_or((RowClass::Sys, ActorIx(0), 0));
        let cost = (BUDGET * claims.len()).div_ceil(COMPARED).max(1);
        let mut looked = 0;
        for class in RowClass::ALL.into_iter().filter(|class| *class >= from.0) {
            let start = if class == from.0 {
                (from.1, from.2)
            } else {
                (ActorIx(0), 0)
            };
            for (actor, counter) in replica.coverage().tombstones(class).range(start..) {
                if looked >= BUDGET || found.free.len() >= FREED {
                    found.cursor = Some((class, *actor, *counter));
                    return found;
                }
                looked += cost;
                let Some((slot, clock)) = tombstone(replica, class, *actor, *counter) else {
                    continue;
                };
                let needed = Needed {
                    class,
                    dots: replica.dots_of(slot),
                    clock,
                };
                let claimed = all_have_claimed && claims.iter().all(|claim| claim.covers(&needed));
                if !claimed || replica.clock() < clock {
                    continue;
                }
                if !replica.lacked_writers(class, slot, lost).is_empty()
                    && fx.rules().frees_complete_siblings()
                {
                    fx.mark(Mark::DeadSiblingKept);
                    continue;
                }
                let mut dots = needed.dots.iter();
                if dots.all(|dot| replica.is_durable(class, *dot)) {
                    found.free.push((class, slot));
                } else {
                    found.awaits_sync = true;
                }
            }
        }
        found
    }
}

/// Whether all that is claimed has been seen here.
fn includes(replica: &Replica, contexts: &[(RowClass, Context)]) -> bool {
    let mut contexts = contexts.iter();
    contexts.all(|(class, context)| replica.coverage().includes(*class, context))
}

/// All tombstones, by their dots.
fn tombstones(replica: &Replica) -> impl Iterator<Item = (RowClass, ActorIx, u64)> + '_ {
    RowClass::ALL.into_iter().flat_map(|class| {
        let dots = replica.coverage().tombstones(class).iter();
        dots.map(move |(actor, counter)| (class, *actor, *counter))
    })
}

/// Returns the dots needed for the first tombstone by its dot, of those that do not wait for writes that they have replaced.
fn oldest(fx: &Effects, replica: &Replica, lost: Lost<'_>) -> Option<Needed> {
    let mut all = tombstones(replica).take(BUDGET);
    all.find_map(|(class, actor, counter)| {
        let (slot, needed) = Needed::new(fx, replica, class, actor, counter)?;
        let waits = !replica.lacked_writers(class, slot, lost).is_empty();
        (!waits).then_some(needed)
    })
}

/// The clock that a claim counts for.
fn claimed_clock(fx: &Effects, clock: Hlc) -> Hlc {
    if fx.rules().claims_reach_deletes() {
        clock
    } else {
        Hlc(u64::MAX)
    }
}

/// Returns the row of a tombstone, and its clock.
pub(super) fn tombstone(
    replica: &Replica,
    class: RowClass,
    actor: ActorIx,
    counter: u64,
) -> Option<(Slot, Hlc)> {
    let slot = replica.coverage().slot(class, actor, counter)?;
    let row = replica.rows().row(slot)?;
    Some((slot, row.clock))
}
