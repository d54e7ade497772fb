//! Why a typed table's call failed.

use std::fmt;

use bytes::Bytes;

use crate::handle;

/// Why a typed table's call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// What the handle answers; it says whether anything was changed.
    Handle(handle::Error),
    /// The value has no encoding; nothing was written.
    Encode {
        /// Why, in the encoder's words.
        why: String,
    },
    /// What the table holds is of other types; nothing was changed.
    Decode(Undecodable),
}

/// A row whose key or value is not of the table's types. It is as it was: the untyped handle reads it by this key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undecodable {
    /// The key as it is stored.
    pub key: Bytes,
    /// What of the row does not decode.
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

impl fmt::Display for Undecodable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Undecodable { key, part, why } = self;
        write!(f, "the {part} of row {key:?} is of another type: {why}")
    }
}

impl std::error::Error for Undecodable {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Handle(error) => error.fmt(f),
            Error::Encode { why } => write!(f, "the value cannot be encoded: {why}"),
            Error::Decode(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Handle(error) => Some(error),
            Error::Decode(error) => Some(error),
            Error::Encode { .. } => None,
        }
    }
}

impl From<handle::Error> for Error {
    fn from(error: handle::Error) -> Self {
        Error::Handle(error)
    }
}

impl From<Undecodable> for Error {
    fn from(error: Undecodable) -> Self {
        Error::Decode(error)
    }
}
