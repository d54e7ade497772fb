//! When a tombstone may go: only on proof from every member, never on time.
//!
//! A tombstone is freed when it is durable here, this node's clock has reached it, and every member, reachable or not, has claimed a durable context that
//! holds it, lies within what this node has seen (of the domain and of `sys`), and came with a clock not below the
//! tombstone's. Then no member can bring back what it deleted: each has the delete, and nothing that this node lacks.
//!
//! A dead row of siblings is freed only when every write that its vector names is covered here as well, with all earlier writes of
//! the same actor. A node that was evicted may hold such a write, and this row alone tells that it was replaced.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::anti_entropy::Contexts;
use super::{ActorIx, Gossip, Slot};
use crate::effects::Effects;
use crate::id::{Actor, NodeId};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::table::{Context, Domain, Hlc};

/// Tells up to which clock deletes do not wait for writes of an actor, because an operator declared its node lost.
pub(crate) type Lost<'a> = &'a dyn Fn(Actor) -> Option<Hlc>;

/// What the oldest tombstones wait for.
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

/// A claim: what a member durably covered at some moment, already found to lie within what this node has seen.
struct Claim {
    /// Shared by all who claimed the same.
    contexts: Arc<Contexts>,
    clock: Hlc,
}

impl Claim {
    fn covers(&self, domain: Domain, actor: Actor, counter: u64, clock: Hlc) -> bool {
        let context = self
            .contexts
            .iter()
            .find(|(name, _)| *name == domain)
            .map(|(_, context)| context);
        self.clock >= clock && context.is_some_and(|context| context.contains(actor, counter))
    }
}

/// The claims of the other members, and how far they have been acted on.
#[derive(Default)]
pub(crate) struct Stability {
    claims: BTreeMap<NodeId, Claim>,
    /// What this node had seen when somebody last agreed with it, and the version of that.
    agreed: Option<(u64, Arc<Contexts>)>,
    /// Something changed since the last complete pass.
    dirty: bool,
    /// Where an unfinished pass goes on.
    cursor: Option<(Domain, ActorIx, u64)>,
    /// A tombstone that everybody claims is not durable here yet.
    awaits_sync: bool,
}

/// What one pass found.
struct Pass {
    free: Vec<(Domain, Slot)>,
    /// Where to go on, when the budget is used up.
    cursor: Option<(Domain, ActorIx, u64)>,
    awaits_sync: bool,
}

impl Stability {
    /// A member's state equals this node's, durably.
    pub(crate) fn equal(&mut self, fx: &Effects, gossip: &Gossip, node: NodeId, clock: Hlc) {
        if gossip.cover().tombstone_count() > 0 {
            let clock = claimed_clock(fx, clock);
            let contexts = self.own_contexts(gossip);
            self.claims.insert(node, Claim { contexts, clock });
            self.dirty = true;
        }
    }

    fn own_contexts(&mut self, gossip: &Gossip) -> Arc<Contexts> {
        let version = gossip.cover().version();
        // A row that expires is a tombstone from then on, and nothing more has been seen.
        if let Some((at, contexts)) = &self.agreed
            && *at == version
            && contexts
                .iter()
                .map(|(domain, _)| *domain)
                .eq(of_use(gossip))
        {
            return Arc::clone(contexts);
        }
        let contexts = Arc::new(of_interest(gossip, gossip.contexts()));
        self.agreed = Some((version, Arc::clone(&contexts)));
        contexts
    }

    /// A member told its durable contexts.
    pub(crate) fn claimed(
        &mut self,
        fx: &mut Effects,
        gossip: &Gossip,
        node: NodeId,
        contexts: Contexts,
        clock: Hlc,
    ) {
        if gossip.cover().tombstone_count() == 0 {
            return;
        }
        let within =
            |(domain, context): &(Domain, Context)| gossip.cover().includes(*domain, context);
        if contexts.iter().all(within) || mutated!(fx, ClaimNotWithin) {
            fx.mark(Mark::ClaimByContext);
            let clock = claimed_clock(fx, clock);
            let contexts = Arc::new(of_interest(gossip, contexts));
            self.claims.insert(node, Claim { contexts, clock });
            self.dirty = true;
        }
    }

    /// A member's claims no longer hold, because it begins a new life.
    pub(crate) fn forget(&mut self, node: NodeId) {
        self.claims.remove(&node);
    }

    /// The set of members has changed.
    pub(crate) fn touch(&mut self) {
        self.dirty = true;
    }

    /// There is no tombstone: nothing is kept.
    pub(crate) fn rest(&mut self) {
        self.claims.clear();
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

    /// Tells what the oldest tombstones wait for. O(tombstones) up to 4,096, for each member that is behind.
    pub(crate) fn holding_up(
        &self,
        gossip: &Gossip,
        counted: &BTreeSet<NodeId>,
        lost: Lost<'_>,
    ) -> Waits {
        let mut waits = Waits::default();
        let mut open: Vec<(Domain, Actor, u64, Hlc)> = Vec::new();
        let all = Domain::ALL.into_iter().flat_map(|domain| {
            let dots = gossip.cover().tombstones(domain).iter();
            dots.map(move |(actor, counter)| (domain, *actor, *counter))
        });
        for (domain, actor, counter) in all.take(BUDGET) {
            let Some((slot, clock)) = tombstone(gossip, domain, actor, counter) else {
                continue;
            };
            let nodes = gossip.lacked_writers(domain, slot, lost);
            if nodes.is_empty() {
                open.push((domain, gossip.actor(actor), counter, clock));
            }
            for node in nodes {
                *waits.writes.entry(node).or_default() += 1;
            }
        }
        let Some((domain, actor, counter, clock)) = open.first().copied() else {
            return waits;
        };
        let lacks = |node: &&NodeId| match self.claims.get(node) {
            Some(claim) => !claim.covers(domain, actor, counter, clock),
            None => true,
        };
        let behind = |node: &NodeId| {
            let claim = self.claims.get(node)?;
            let lacking = open.iter().filter(|(domain, actor, counter, clock)| {
                !claim.covers(*domain, *actor, *counter, *clock)
            });
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
        fx: &mut Effects,
        gossip: &mut Gossip,
        counted: &BTreeSet<NodeId>,
        lost: Lost<'_>,
    ) {
        if gossip.cover().tombstone_count() == 0 {
            self.claims.clear();
            self.agreed = None;
            self.cursor = None;
            self.dirty = false;
            return;
        }
        #[cfg(feature = "mutants")]
        if mutated!(fx, FreedByTime) {
            let old = old(fx, gossip);
            old.into_iter()
                .for_each(|(domain, slot)| gossip.free(fx, domain, slot));
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
        } = self.pass(fx, gossip, counted, lost);
        self.cursor = cursor;
        self.awaits_sync |= awaits_sync;
        for (domain, slot) in free {
            gossip.free(fx, domain, slot);
        }
    }

    fn pass(
        &self,
        fx: &mut Effects,
        gossip: &Gossip,
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
        let from = self.cursor.unwrap_or((Domain::Sys, ActorIx(0), 0));
        let mut looked = 0;
        for domain in Domain::ALL.into_iter().filter(|domain| *domain >= from.0) {
            let start = if domain == from.0 {
                (from.1, from.2)
            } else {
                (ActorIx(0), 0)
            };
            for (actor, counter) in gossip.cover().tombstones(domain).range(start..) {
                if looked == BUDGET {
                    found.cursor = Some((domain, *actor, *counter));
                    return found;
                }
                looked += 1;
                let Some((slot, clock)) = tombstone(gossip, domain, *actor, *counter) else {
                    continue;
                };
                let dots = gossip.dots_of(slot);
                let claimed = |claim: &&Claim| {
                    let mut dots = dots.iter();
                    dots.all(|dot| claim.covers(domain, dot.actor, dot.counter, clock))
                };
                if !all_have_claimed || !claims.iter().all(claimed) || gossip.clock() < clock {
                    continue;
                }
                if !gossip.lacked_writers(domain, slot, lost).is_empty()
                    && !mutated!(fx, DeadSiblingFreed)
                {
                    fx.mark(Mark::DeadSiblingKept);
                    continue;
                }
                if dots.iter().all(|dot| gossip.is_durable(domain, *dot)) {
                    found.free.push((domain, slot));
                } else {
                    found.awaits_sync = true;
                }
            }
        }
        found
    }
}

/// The part of a claim that is kept: it is of use in domains with tombstones alone.
fn of_interest(gossip: &Gossip, mut contexts: Contexts) -> Contexts {
    contexts.retain(|(domain, _)| of_use(gossip).any(|of_use| of_use == *domain));
    contexts
}

/// The domains with tombstones.
fn of_use(gossip: &Gossip) -> impl Iterator<Item = Domain> {
    let has_any = |domain: &Domain| !gossip.cover().tombstones(*domain).is_empty();
    Domain::ALL.into_iter().filter(has_any)
}

/// The clock that a claim counts for.
fn claimed_clock(fx: &Effects, clock: Hlc) -> Hlc {
    if mutated!(fx, ClaimClockIgnored) {
        Hlc(u64::MAX)
    } else {
        clock
    }
}

/// The tombstones of users' tables that are older than two seconds.
#[cfg(feature = "mutants")]
fn old(fx: &Effects, gossip: &Gossip) -> Vec<(Domain, Slot)> {
    let until = Hlc::at(fx.now().wall).0.saturating_sub(2_000 << 16);
    let all = Domain::USR.into_iter().flat_map(|domain| {
        let dots = gossip.cover().tombstones(domain).iter();
        dots.filter_map(move |(actor, counter)| {
            let (slot, clock) = tombstone(gossip, domain, *actor, *counter)?;
            (clock.0 < until).then_some((domain, slot))
        })
    });
    all.collect()
}

fn tombstone(gossip: &Gossip, domain: Domain, actor: ActorIx, counter: u64) -> Option<(Slot, Hlc)> {
    let slot = gossip.cover().slot(domain, actor, counter)?;
    let row = gossip.rows().row(slot)?;
    Some((slot, row.clock))
}
