//! The keys that a client watches for its next transaction.

use bytes::Bytes;
use rumormill_core::{
    TableId,
    table::{Cursor, Version},
};

/// The keys that a client watches, and their states at that time.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pub(crate) keys: Vec<Key>,
    pub(crate) bytes: usize,
}

impl Watched {
    pub(crate) fn footprint(&self) -> usize {
        self.bytes
    }
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) name: Bytes,
    pub(crate) seen: Seen,
    /// Where the log of changes was.
    pub(crate) since: Cursor,
    pub(crate) revision: u64,
}

/// The state of a key when it was watched. A hash is a table: any change of it counts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) string: Option<Version>,
    pub(crate) hash: Option<(TableId, u64)>,
}
