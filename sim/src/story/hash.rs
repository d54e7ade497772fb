//! Hashes of what messages hold: whatever makes one message another makes its hash another.

use rumormill_core::Actor;
use rumormill_core::wire::{
    ClaimAsk, ClaimNumber, ClassContext, ClassScope, DotRange, PullBasis, RelayedClaim, RowBatch,
    Status,
};

pub(super) fn fold(parts: impl IntoIterator<Item = u64>) -> u64 {
    // From another beginning than 0, so that a first part of 0 counts.
    parts.into_iter().fold(0x5275_6d6f_724d_696c, |sum, part| {
        (sum ^ part)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29)
    })
}

pub(super) fn status_hash(status: &Status) -> u64 {
    let Status {
        sys,
        usr,
        rows,
        claims,
        batch,
        awaits_claims,
        clock,
        wall_ms,
        settled_ms,
    } = *status;
    let flags = [claims, awaits_claims].map(u64::from);
    let clocks = [clock, wall_ms, settled_ms];
    fold(
        [sys, usr, rows, batch, flags[0], flags[1]]
            .into_iter()
            .chain(clocks),
    )
}

/// The numbers of claims.
pub(super) fn numbers(claims: &[ClaimNumber]) -> [u64; 1] {
    let parts = claims.iter();
    [fold(
        parts.flat_map(|claim| [claim.generation, claim.batch]),
    )]
}

pub(super) fn ask_parts(ask: &ClaimAsk) -> [u64; 4] {
    [ask.node.0, ask.clock, ask.dots, u64::from(ask.hops)]
}

pub(super) fn claim_parts(claim: &RelayedClaim) -> [u64; 5] {
    let (_, dots) = dots_of(&claim.contexts);
    [
        claim.node.0,
        claim.generation,
        claim.batch,
        claim.clock,
        dots,
    ]
}

pub(super) fn actor_parts(actor: &Actor) -> [u64; 2] {
    [actor.node.0, actor.boot]
}

/// Hashes a batch: its rows by their dots, and what else a version has. The values follow from the dots, since each write has its own.
pub(super) fn batch_hash(batch: &RowBatch) -> u64 {
    fold(batch.rows.iter().flat_map(|row| {
        let actor = batch.actors.get(row.actor as usize);
        let [node, boot] = actor.map_or([0, 0], actor_parts);
        let table = batch.tables.get(row.table as usize);
        [
            table.map_or(0, |table| u64::from(table.class)),
            node,
            boot,
            row.counter,
            row.clock,
            row.expires,
            u64::from(row.value.is_some()),
        ]
    }))
}

/// How many runs of dots there are, and their hash.
pub(super) fn dots_of(contexts: &[ClassContext]) -> (u64, u64) {
    let actors = contexts.iter().flat_map(|context| {
        let class = u64::from(context.class);
        context.actors.iter().map(move |actor| (class, actor))
    });
    let runs = actors.flat_map(|(class, (actor, runs))| {
        let [node, id] = actor_parts(actor);
        let run = move |run: &(u64, u64)| [class, node, id, run.0, run.1];
        runs.iter().map(run)
    });
    let mut count = 0;
    let counted = runs.inspect(|_| count += 1);
    let hash = fold(counted.flatten());
    (count, hash)
}

pub(super) fn scope_hash(scope: &[ClassScope]) -> u64 {
    let parts = scope.iter();
    fold(parts.flat_map(|part| [u64::from(part.class), part.buckets]))
}

pub(super) fn basis_hash(basis: &PullBasis) -> u64 {
    match basis {
        PullBasis::Whole(contexts) => fold([1, dots_of(contexts).1]),
        PullBasis::Digest(digests) => fold(digests.iter().flat_map(|digest| {
            let class = [2, u64::from(digest.class)];
            class.into_iter().chain(digest.sums.iter().copied())
        })),
        PullBasis::Compare(contexts) => fold([4, dots_of(contexts).1]),
        PullBasis::Within {
            scope,
            since,
            contexts,
        } => {
            let since = since.map_or(0, |since| since.wrapping_add(1));
            fold([3, scope_hash(scope), since, dots_of(contexts).1])
        }
    }
}

pub(super) fn ranges_hash(ranges: &[DotRange]) -> u64 {
    fold(ranges.iter().flat_map(|range| {
        let dot = |(actor, counter): &(Actor, u64)| {
            let [node, boot] = actor_parts(actor);
            fold([node, boot, *counter])
        };
        let to = range.to.as_ref().map_or(0, dot);
        [u64::from(range.class), dot(&range.from), to, range.sum]
    }))
}
