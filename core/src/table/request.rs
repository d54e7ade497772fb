//! Operations on tables that may take a while: one form for the tables of every mode.

use alloc::sync::Arc;

use bytes::Bytes;

use super::{CausalToken, Write};
use crate::id::TableId;
use crate::time::Wall;

/// An operation on a table, as a request: the only way that works in the tables of every mode. A mode that can answer at once does so.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TableRequest {
    /// The table.
    pub table: TableId,
    /// The operation.
    pub op: TableOp,
    /// The caller. Permissions will go by it; it is not checked yet.
    pub caller: Caller,
    /// Lets a mode that remembers it carry out the operation once, however often it is sent. Gossip tables remember none, and refuse a write
    /// that has one with [`RequestError::IdempotencyUnsupported`](crate::errors::RequestError::IdempotencyUnsupported).
    pub idempotency: Option<IdempotencyKey>,
}

impl TableRequest {
    /// Makes a request of the program that embeds the node, without an idempotency key.
    pub fn new(table: TableId, op: TableOp) -> TableRequest {
        TableRequest {
            table,
            op,
            caller: Caller::Embedder,
            idempotency: None,
        }
    }

    /// Returns this request in the name of another caller.
    #[must_use = "it returns another request"]
    pub fn caller(mut self, caller: Caller) -> TableRequest {
        self.caller = caller;
        self
    }

    /// Returns this request with an idempotency key.
    #[must_use = "it returns another request"]
    pub fn idempotency(mut self, key: IdempotencyKey) -> TableRequest {
        self.idempotency = Some(key);
        self
    }
}

/// An operation on a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TableOp {
    /// Writes a row; the reply waits for the sync if the table says so.
    Put {
        /// The key.
        key: Bytes,
        /// The new value.
        value: Bytes,
        /// When the row expires.
        expires: Option<Wall>,
    },
    /// Deletes a row; answered as a put.
    Delete {
        /// The key.
        key: Bytes,
    },
    /// Writes a key of a table that keeps siblings in the place of those that the author has seen.
    Replace {
        /// The key.
        key: Bytes,
        /// The new value.
        value: Bytes,
        /// The siblings that the author has seen.
        context: CausalToken,
    },
    /// Removes the siblings that the author has seen, in a table that keeps siblings.
    Remove {
        /// The key.
        key: Bytes,
        /// The siblings that the author has seen.
        context: CausalToken,
    },
    /// Reads a row, from the store if its value is only there. Requests on a key whose value is being loaded are carried
    /// out in their order once it is here.
    Get {
        /// The key.
        key: Bytes,
    },
    /// Removes every row that is here. Answered as a write, once those are deleted too whose clocks are ahead of this node's.
    Flush,
}

impl TableOp {
    /// Returns the key that the operation is about; `None` for one on the whole table.
    pub fn key(&self) -> Option<&Bytes> {
        match self {
            TableOp::Put { key, .. }
            | TableOp::Delete { key }
            | TableOp::Replace { key, .. }
            | TableOp::Remove { key, .. }
            | TableOp::Get { key } => Some(key),
            TableOp::Flush => None,
        }
    }

    /// Returns the write of one row; `None` for other operations.
    pub fn as_write(&self) -> Option<Write<'_>> {
        Some(match self {
            TableOp::Put {
                key,
                value,
                expires,
            } => Write::Put {
                key,
                value: value.clone(),
                expires: *expires,
            },
            TableOp::Delete { key } => Write::Delete { key },
            TableOp::Replace {
                key,
                value,
                context,
            } => Write::Replace {
                key,
                value: value.clone(),
                context,
            },
            TableOp::Remove { key, context } => Write::Remove { key, context },
            TableOp::Get { .. } | TableOp::Flush => return None,
        })
    }
}

/// The origin of a request. A name is as the caller gave it: nothing has checked it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Caller {
    /// The program that embeds the node.
    #[default]
    Embedder,
    /// An operator's tool.
    Operator,
    /// A client of a gateway.
    Client {
        /// The name that it gave; empty if it gave none.
        name: Arc<str>,
    },
}

/// A caller's name for one operation, so that the operation can be sent again without taking effect twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IdempotencyKey(Bytes);

impl IdempotencyKey {
    /// The most bytes of a key.
    pub const MAX: usize = 64;

    /// Takes bytes as a key; `None` unless they are 1 to [`IdempotencyKey::MAX`].
    pub fn new(bytes: impl Into<Bytes>) -> Option<IdempotencyKey> {
        let bytes = bytes.into();
        (1..=Self::MAX)
            .contains(&bytes.len())
            .then_some(IdempotencyKey(bytes))
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idempotency_key_has_one_byte_to_sixty_four() {
        for (bytes, fits) in [(0, false), (1, true), (64, true), (65, false)] {
            let key = IdempotencyKey::new(alloc::vec![7; bytes]);
            assert_eq!(key.is_some(), fits, "{bytes} bytes");
        }
    }
}
