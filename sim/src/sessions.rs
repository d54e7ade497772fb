//! What each client asked and was answered, in order: what the guarantees of a session are judged by.

use bytes::Bytes;
use rumormill_core::Version;

use crate::model::Effect;
use crate::plan::Table;

/// One question of a client and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// Who asked.
    pub client: u32,
    /// The node that was asked. A client changes its node when its plan says so and when its node is down.
    pub node: usize,
    /// Which life of the node it was: another one may have lost what the client saw.
    pub life: u32,
    /// The table.
    pub table: Table,
    /// The key; `None` for the whole table.
    pub key: Option<Bytes>,
    /// What was asked and answered.
    pub answer: Answer,
    /// When it was asked, in virtual microseconds.
    pub invoked_us: u64,
    /// When the client was told; `None` if its node stopped first, so that it never knew.
    pub returned_us: Option<u64>,
}

/// What was asked and answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A read found this, or nothing.
    Read(Option<Found>),
    /// A write was accepted under this version.
    Wrote {
        /// Its version.
        version: Version,
        /// What it did. A flush deletes.
        effect: Effect,
        /// Its number in the model, `None` for a delete that found nothing to delete: it wrote nothing.
        op: Option<usize>,
    },
}

/// A row as a client read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its version.
    pub version: Version,
    /// Its value.
    pub value: Bytes,
    /// Whether it expires some time: by the node's own wall clock, which may be wrong.
    pub expires: bool,
}
