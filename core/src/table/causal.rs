//! Causality per key: dots, the vector of a key, and the token in which a client hands a vector back.
//!
//! The vector names per actor the largest counter known of a key, and with it all smaller ones of that actor on that key: an
//! actor knows what it wrote before, and a row always travels whole. (Preguica, Baquero, Almeida, Fonte, Goncalves, "Dotted
//! Version Vectors", 2010; Almeida et al., "Scalable and Accurate Causality Tracking for Eventually Consistent Stores", 2014.)
//!
//! ```text
//! token: version u8 | kind u8 | place u32 | (node u64, boot u64, counter u64)* | CRC-32C u32 over all before
//! ```
//! Integers are little-endian. The place is the CRC-32C of the table's name and the key. A checksum keeps accidents out, and
//! not forgers: a client that makes up a vector harms the key it is used on, and no other.

use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::crc::checksum;
use crate::error::TokenError;
use crate::id::{Actor, NodeId};
use crate::store::bytes::{Reader, Writer};

const VERSION: u8 = 1;

/// Tokens of gossip tables that keep siblings.
const KIND: u8 = 1;

/// The identity of one write in a row class.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Dot {
    pub(crate) actor: Actor,
    pub(crate) counter: u64,
}

/// The known writes of one key: ascending by actor, each with its largest counter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Vector(Vec<Dot>);

impl Vector {
    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.get(dot.actor) >= dot.counter
    }

    /// The largest counter of an actor, 0 for none. O(log actors).
    pub(crate) fn get(&self, actor: Actor) -> u64 {
        let found = self.0.binary_search_by_key(&actor, |dot| dot.actor);
        found.map_or(0, |at| self.0[at].counter)
    }

    pub(crate) fn insert(&mut self, dot: Dot) {
        match self.0.binary_search_by_key(&dot.actor, |dot| dot.actor) {
            Ok(at) => self.0[at].counter = self.0[at].counter.max(dot.counter),
            Err(at) => self.0.insert(at, dot),
        }
    }

    pub(crate) fn union(&mut self, other: &Vector) {
        for dot in &other.0 {
            self.insert(*dot);
        }
    }

    pub(crate) fn retain(&mut self, keep: impl Fn(Dot) -> bool) {
        self.0.retain(|dot| keep(*dot));
    }

    pub(crate) fn as_slice(&self) -> &[Dot] {
        &self.0
    }

    /// Takes dots from outside: ascending by actor, no counter 0 nor the largest number.
    pub(crate) fn from_dots(dots: Vec<Dot>) -> Option<Self> {
        let ordered = dots.windows(2).all(|pair| pair[0].actor < pair[1].actor);
        let sane = |dot: &Dot| dot.counter != 0 && dot.counter != u64::MAX;
        (ordered && dots.iter().all(sane)).then_some(Vector(dots))
    }
}

pub(crate) fn write_dot(out: &mut Writer, dot: Dot) {
    out.u64(dot.actor.node.0)
        .u64(dot.actor.boot)
        .u64(dot.counter);
}

pub(crate) fn read_dot(bytes: &mut Reader<'_>) -> Option<Dot> {
    let node = NodeId(bytes.u64()?);
    let boot = bytes.u64()?;
    let counter = bytes.u64()?;
    Some(Dot {
        actor: Actor { node, boot },
        counter,
    })
}

/// The versions of a key that a reader has seen: opaque to clients, which hand it back with the write that replaces them. It counts on
/// every member, for the key that it was read from. As text it is base64url without padding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausalToken {
    place: u32,
    seen: Vector,
}

impl CausalToken {
    pub(crate) fn new(table: &str, key: &[u8], seen: Vector) -> Self {
        CausalToken {
            place: place(table, key),
            seen,
        }
    }

    /// The vector, if the token is of this key.
    ///
    /// # Errors
    /// [`TokenError::OtherKey`].
    pub(crate) fn seen(&self, table: &str, key: &[u8]) -> Result<&Vector, TokenError> {
        if self.place == place(table, key) {
            Ok(&self.seen)
        } else {
            Err(TokenError::OtherKey)
        }
    }

    /// How many bytes the token has.
    pub fn size(&self) -> usize {
        10 + 24 * self.seen.as_slice().len()
    }

    /// The token as bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(self.size());
        out.u8(VERSION).u8(KIND).raw(&self.place.to_le_bytes());
        for dot in self.seen.as_slice() {
            write_dot(&mut out, *dot);
        }
        let sum = checksum([out.as_slice()]);
        out.raw(&sum.to_le_bytes());
        out.as_slice().to_vec()
    }

    /// Reads a token.
    ///
    /// # Errors
    /// [`TokenError`]: what is wrong with it.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TokenError> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Malformed)?;
        if checksum([body]).to_le_bytes() != *sum {
            return Err(TokenError::Damaged);
        }
        let mut body = Reader::new(body);
        match (body.u8(), body.u8()) {
            (Some(VERSION), Some(KIND)) => {}
            (Some(version), Some(kind)) => return Err(TokenError::Unknown { version, kind }),
            _ => return Err(TokenError::Malformed),
        }
        let place = body.take(4).and_then(|place| place.try_into().ok());
        let place = u32::from_le_bytes(place.ok_or(TokenError::Malformed)?);
        let mut dots = Vec::new();
        while body.end().is_none() {
            dots.push(read_dot(&mut body).ok_or(TokenError::Malformed)?);
        }
        let seen = Vector::from_dots(dots).ok_or(TokenError::Malformed)?;
        Ok(CausalToken { place, seen })
    }
}

fn place(table: &str, key: &[u8]) -> u32 {
    // No name holds this byte, so no two pairs of name and key read alike.
    checksum([table.as_bytes(), &[0xff], key])
}

impl fmt::Display for CausalToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.to_bytes()))
    }
}

impl FromStr for CausalToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let bytes = URL_SAFE_NO_PAD.decode(text);
        CausalToken::from_bytes(&bytes.map_err(|_| TokenError::Malformed)?)
    }
}
