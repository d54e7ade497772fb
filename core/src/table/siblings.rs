//! A row of a table that keeps siblings: its versions, and what is known of the key.
//!
//! A version has the dot by which clients and contexts know it (its origin) and the dot by which members find and cover it.
//! Both are one, but for a version that a rejoin proposed again: that gets a new dot to be found by and stays the same write.
//! A delete is a version too, until a later write here takes it in or every member has it.
//!
//! ```text
//! form: 1 u8 | versions u64 | (origin, moved u8, dot when moved, clock u64, live u8, value)* | (actor, counter)*
//! ```

use alloc::vec::Vec;

use bytes::Bytes;

use super::Hlc;
use super::causal::{Dot, Vector, read_dot, write_dot};
use crate::refusals::Refusal;
use crate::store::bytes::{Reader, Writer};

const FORM: u8 = 1;

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sibling {
    /// Its name in tokens and vectors.
    pub(crate) origin: Dot,
    /// By which members find and cover it.
    pub(crate) dot: Dot,
    pub(crate) clock: Hlc,
    /// `None` for a delete.
    pub(crate) value: Option<Bytes>,
}

/// All versions of a key of which none has seen another, in the order of their origins, and what is known of the key. Every
/// origin is in the vector; what is in the vector and no version has been replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SiblingRow {
    versions: Vec<Sibling>,
    seen: Vector,
}

impl SiblingRow {
    pub(crate) fn versions(&self) -> &[Sibling] {
        &self.versions
    }

    pub(crate) fn seen(&self) -> &Vector {
        &self.seen
    }

    /// The values with their versions; none when all was deleted.
    pub(crate) fn live(&self) -> impl Iterator<Item = (&Sibling, &Bytes)> {
        let versions = self.versions.iter();
        versions.filter_map(|version| Some((version, version.value.as_ref()?)))
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.live().next().is_none()
    }

    /// Whether something may be forgotten once every member has all versions: deletes, and replaced dots of actors all of whose
    /// writes up to there are `covered` here.
    pub(crate) fn has_garbage(&self, covered: impl Fn(Dot) -> bool) -> bool {
        let mut seen = self.seen.as_slice().iter();
        self.versions.iter().any(|version| version.value.is_none())
            || seen.any(|dot| self.find(*dot).is_none() && covered(*dot))
    }

    /// The newest version: the one that stands for the row.
    pub(crate) fn newest(&self) -> Option<&Sibling> {
        self.versions
            .iter()
            .max_by_key(|version| (version.clock, version.dot))
    }

    /// Bytes that the row takes on the wire and in the store.
    pub(crate) fn len(&self) -> usize {
        let values = self.live().map(|(_, value)| value.len());
        9 + values.sum::<usize>() + 66 * self.versions.len() + 24 * self.seen.as_slice().len()
    }

    fn find(&self, origin: Dot) -> Option<usize> {
        self.versions
            .binary_search_by_key(&origin, |version| version.origin)
            .ok()
    }

    fn place(&mut self, version: Sibling) {
        self.seen.insert(version.origin);
        match self
            .versions
            .binary_search_by_key(&version.origin, |known| known.origin)
        {
            // A write that a rejoin proposed again has a larger clock: a member that lacks only the later dot must find it.
            Ok(at) => {
                let known = &mut self.versions[at];
                if (known.clock, known.dot) < (version.clock, version.dot) {
                    *known = version;
                }
            }
            Err(at) => self.versions.insert(at, version),
        }
    }

    /// A write of this node's: it replaces what its author has seen. Deletes are taken in: what they have seen is in the vector,
    /// which the write carries.
    pub(crate) fn write(&mut self, version: Sibling, seen: &Vector) {
        self.versions
            .retain(|known| known.value.is_some() && !seen.contains(known.origin));
        self.seen.union(seen);
        self.place(version);
    }

    /// The versions that a write would leave, by how many bytes they have.
    pub(crate) fn left_by(&self, seen: &Vector) -> impl Iterator<Item = usize> {
        self.live()
            .filter(|(version, _)| !seen.contains(version.origin))
            .map(|(_, value)| value.len())
    }

    /// Merges what another member knows of the key. A version stays when both have it or the other does not know of it:
    /// commutative, associative, idempotent. `obsolete` says of a version whose dot is covered here that it was replaced.
    pub(crate) fn merge(&mut self, other: &SiblingRow, obsolete: impl Fn(&Sibling) -> bool) {
        let taken = other.versions.iter().filter(|version| {
            self.find(version.origin).is_some()
                || !(self.seen.contains(version.origin) || obsolete(version))
        });
        let taken: Vec<Sibling> = taken.cloned().collect();
        self.versions
            .retain(|mine| other.find(mine.origin).is_some() || !other.seen.contains(mine.origin));
        for version in taken {
            self.place(version);
        }
        self.seen.union(&other.seen);
    }

    /// Whether any of these writes is known here to be replaced.
    pub(crate) fn replaces(&self, origins: &[Dot]) -> bool {
        let replaced = |origin: &Dot| self.seen.contains(*origin) && self.find(*origin).is_none();
        origins.iter().any(replaced)
    }

    /// Removes versions, which stay known.
    pub(crate) fn retain(&mut self, keep: impl FnMut(&Sibling) -> bool) {
        self.versions.retain(keep);
    }

    /// Takes the versions of another row as deletes, and all that it knows of the key.
    pub(crate) fn bury(&mut self, other: &SiblingRow) {
        self.versions = other.versions.clone();
        self.versions
            .iter_mut()
            .for_each(|version| version.value = None);
        self.seen.union(&other.seen);
    }

    /// Gives a version another dot to be found by.
    pub(crate) fn move_to(&mut self, origin: Dot, dot: Dot, clock: Hlc) {
        if let Some(at) = self.find(origin) {
            self.versions[at].dot = dot;
            self.versions[at].clock = clock;
        }
    }

    /// Forgets deletes and what was replaced, since every member has the versions and so knows it too. What is not `covered` here
    /// stays known: a node that was evicted may still hold it, and nothing else would tell that it was replaced.
    pub(crate) fn forget_replaced(&mut self, covered: impl Fn(Dot) -> bool) {
        self.versions.retain(|version| version.value.is_some());
        self.seen.retain(|dot| !covered(dot));
        for version in &self.versions {
            self.seen.insert(version.origin);
        }
    }

    pub(crate) fn encode(&self) -> Bytes {
        let mut out = Writer::with_capacity(self.len());
        out.u8(FORM).u64(self.versions.len() as u64);
        for version in &self.versions {
            write_dot(&mut out, version.origin);
            out.u8(u8::from(version.dot != version.origin));
            if version.dot != version.origin {
                write_dot(&mut out, version.dot);
            }
            out.u64(version.clock.0)
                .u8(u8::from(version.value.is_some()));
            if let Some(value) = &version.value {
                out.bytes(value);
            }
        }
        for dot in self.seen.as_slice() {
            write_dot(&mut out, *dot);
        }
        out.finish()
    }

    /// Reads a row that came from outside.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub(crate) fn decode(form: &[u8]) -> Result<Self, Refusal> {
        read(form).ok_or(Refusal::BadSiblings)
    }
}

fn read(form: &[u8]) -> Option<SiblingRow> {
    let mut form = Reader::new(form);
    if form.u8()? != FORM {
        return None;
    }
    let mut versions = Vec::new();
    for _ in 0..form.u64()? {
        let origin = read_dot(&mut form)?;
        let dot = match form.u8()? {
            0 => origin,
            1 => read_dot(&mut form)?,
            _ => return None,
        };
        let clock = Hlc(form.u64()?);
        let value = match form.u8()? {
            0 => None,
            1 => Some(Bytes::copy_from_slice(form.bytes()?)),
            _ => return None,
        };
        versions.push(Sibling {
            origin,
            dot,
            clock,
            value,
        });
    }
    let mut dots = Vec::new();
    while form.end().is_none() {
        dots.push(read_dot(&mut form)?);
    }
    let seen = Vector::from_dots(dots)?;
    let apart = |pair: &[Sibling]| pair[0].origin < pair[1].origin;
    let sane = |version: &Sibling| {
        let counter = version.dot.counter;
        let possible = counter != 0 && counter != u64::MAX && version.clock <= Hlc::MAX;
        possible && seen.contains(version.origin)
    };
    let ordered = versions.windows(2).all(apart) && versions.iter().all(sane);
    let mut found_by: Vec<Dot> = versions.iter().map(|version| version.dot).collect();
    found_by.sort_unstable();
    let distinct = found_by.windows(2).all(|pair| pair[0] != pair[1]);
    (ordered && distinct && !versions.is_empty()).then_some(SiblingRow { versions, seen })
}

#[cfg(test)]
mod tests;
