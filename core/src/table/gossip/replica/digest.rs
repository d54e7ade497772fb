//! Digests: what two nodes with many actors compare before they exchange contexts.
//!
//! Actors are spread over a fixed number of buckets by their names. Per row class and bucket a digest has the sum of the hashes that
//! the root hash sums up over all; only the buckets that differ are then exchanged as contexts. So a disagreement costs what differs
//! and not what exists, and no node remembers anything about its peers' contexts.

use alloc::vec::Vec;

use rapidhash::v3::rapidhash_v3;

use crate::id::Actor;
use crate::refusals::Refusal;
use crate::store::bytes::{Writer, hash_words};
use crate::table::{Context, RowClass, Runs};
use crate::wire::{ClassDigest, ClassScope};

/// Buckets per row class: as many as a scope has bits.
pub(crate) const BUCKETS: usize = 64;

/// The bucket of an actor, the same on every node.
fn bucket(actor: Actor) -> usize {
    (hash_words(&[actor.node.0, actor.boot]) >> 58) as usize
}

/// Hash of what is covered of one actor; 0 of nothing, so that an actor whose coverage is forgotten counts like one never heard of.
pub(crate) fn hash_runs(class: RowClass, actor: Actor, runs: &Runs) -> u64 {
    if runs.is_empty() {
        return 0;
    }
    let mut bytes = Writer::with_capacity(24 + 16 * runs.as_slice().len());
    bytes.u64(class as u64).u64(actor.node.0).u64(actor.boot);
    for (low, high) in runs.as_slice() {
        bytes.u64(*low).u64(*high);
    }
    rapidhash_v3(bytes.as_slice())
}

/// Sums of actors' hashes, order-independent: one over all, and one per bucket.
pub(crate) struct Sums {
    all: u64,
    buckets: [u64; BUCKETS],
}

impl Default for Sums {
    fn default() -> Self {
        Sums {
            all: 0,
            buckets: [0; BUCKETS],
        }
    }
}

impl Sums {
    /// The hash of one actor changes.
    pub(crate) fn change(&mut self, actor: Actor, before: u64, after: u64) {
        let by = after.wrapping_sub(before);
        let sum = &mut self.buckets[bucket(actor)];
        *sum = sum.wrapping_add(by);
        self.all = self.all.wrapping_add(by);
    }

    /// Equal contexts have equal sums.
    pub(crate) fn all(&self) -> u64 {
        self.all
    }

    pub(crate) fn buckets(&self) -> &[u64; BUCKETS] {
        &self.buckets
    }
}

/// The part of the contexts that a session is about: of each row class a bit per bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Scope([u64; RowClass::ALL.len()]);

impl Scope {
    /// Everything.
    pub(crate) const ALL: Scope = Scope([u64::MAX; RowClass::ALL.len()]);

    /// The buckets in which two digests differ. A row class that is not named has nothing in it.
    pub(crate) fn differing(ours: &Digest, theirs: &Digest) -> Scope {
        let mut scope = Scope([0; RowClass::ALL.len()]);
        for (bits, (ours, theirs)) in scope.0.iter_mut().zip(ours.iter().zip(theirs)) {
            for (bucket, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
                *bits |= u64::from(ours != theirs) << bucket;
            }
        }
        scope
    }

    /// The buckets of these actors.
    pub(crate) fn around(contexts: &[(RowClass, Context)]) -> Scope {
        let mut scope = Scope([0; RowClass::ALL.len()]);
        for (class, context) in contexts {
            for (actor, _) in context.iter() {
                scope.0[class.index()] |= 1 << bucket(actor);
            }
        }
        scope
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|bits| *bits == 0)
    }

    pub(crate) fn contains(&self, class: RowClass, actor: Actor) -> bool {
        self.0[class.index()] >> bucket(actor) & 1 == 1
    }

    /// Returns the part of a context that is in scope.
    pub(crate) fn of(&self, class: RowClass, context: Context) -> Context {
        match self.0[class.index()] {
            u64::MAX => context,
            _ => context.filter(|actor| self.contains(class, actor)),
        }
    }

    /// # Errors
    /// The reason to refuse it.
    pub(crate) fn from_wire(wire: &[ClassScope]) -> Result<Scope, Refusal> {
        let mut scope = Scope([0; RowClass::ALL.len()]);
        for part in wire {
            let class = RowClass::from_u8(part.class).ok_or(Refusal::UnknownClass)?;
            scope.0[class.index()] |= part.buckets;
        }
        Ok(scope)
    }

    pub(crate) fn to_wire(self) -> Vec<ClassScope> {
        let parts = RowClass::ALL.into_iter().map(|class| ClassScope {
            class: class as u8,
            buckets: self.0[class.index()],
        });
        parts.filter(|part| part.buckets != 0).collect()
    }
}

/// The sums of every row class.
pub(crate) type Digest = [[u64; BUCKETS]; RowClass::ALL.len()];

/// # Errors
/// The reason to refuse it.
pub(crate) fn read_digest(wire: &[ClassDigest]) -> Result<Digest, Refusal> {
    let mut digest = [[0; BUCKETS]; RowClass::ALL.len()];
    for part in wire {
        let class = RowClass::from_u8(part.class).ok_or(Refusal::UnknownClass)?;
        let sums = part.sums.as_slice().try_into();
        digest[class.index()] = sums.map_err(|_| Refusal::BadDigest)?;
    }
    Ok(digest)
}

/// A digest for the wire: row classes in which nothing is covered are left out.
pub(crate) fn write_digest(digest: &Digest) -> Vec<ClassDigest> {
    let parts = RowClass::ALL.into_iter().zip(digest);
    let used = parts.filter(|(_, sums)| sums.iter().any(|sum| *sum != 0));
    let part = |(class, sums): (RowClass, &[u64; BUCKETS])| ClassDigest {
        class: class as u8,
        sums: sums.to_vec(),
    };
    used.map(part).collect()
}
