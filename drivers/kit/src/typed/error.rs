//! Why a typed table's call failed.

use std::fmt;

use bytes::Bytes;

use crate::handle;

/// Why a typed table's call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The handle's error; it says whether anything was changed.
    #[error("{0}")]
    Handle(#[from] handle::Error),
    /// The value has no encoding; nothing was written.
    #[error("the value cannot be encoded: {why}")]
    Encode {
        /// Why, in the encoder's words.
        why: String,
    },
    /// The content of the table is of other types; nothing was changed.
    #[error("{0}")]
    Decode(#[from] Undecodable),
}

/// A row whose key or value is not of the table's types. It is as it was: the untyped handle reads it by this key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the {part} of row {key:?} is of another type: {why}")]
#[non_exhaustive]
pub struct Undecodable {
    /// The key as it is stored.
    pub key: Bytes,
    /// The part of the row that does not decode.
    pub part: Part,
    /// Why, in the decoder's words.
    pub why: String,
}

/// A part of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Part {
    /// The key.
    Key,
    /// The value.
    Value,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Part::Key => "key",
            Part::Value => "value",
        })
    }
}
