//! Why a handle's call failed.

use std::fmt;

use rumormill_core::{Cursor, RequestError, TableError};

/// Why a handle's call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The loop has ended. A call that was under way may have taken effect; a later one has not.
    Closed,
    /// Too much waits already; nothing was changed.
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// A watch fell behind the log of changes: what happened in between is not told. Scan the table; the watch goes on from here.
    Lagged {
        /// The end of the log.
        restart: Cursor,
    },
    /// The key has several siblings, where one value was asked for; nothing was changed.
    Siblings,
    /// Siblings were asked for, and the table keeps none; nothing was changed.
    NoSiblings,
    /// The node ended before its leave was complete: its time was up, or it was told to end at once.
    LeaveCut,
    /// The node refused, or gave up; its error says whether anything was changed.
    Node(RequestError),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Closed => f.write_str("the node's loop has ended"),
            Error::Busy { limit } => write!(f, "{limit} calls wait already"),
            Error::Lagged { .. } => f.write_str("the watch fell behind the log of changes"),
            Error::Siblings => f.write_str("the key has several siblings"),
            Error::NoSiblings => f.write_str("the table keeps no siblings"),
            Error::LeaveCut => f.write_str("the node ended before its leave was complete"),
            Error::Node(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Node(error) => Some(error),
            _ => None,
        }
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        match error {
            RequestError::Halted => Error::Closed,
            RequestError::Busy { limit } => Error::Busy { limit },
            error => Error::Node(error),
        }
    }
}

impl From<TableError> for Error {
    fn from(error: TableError) -> Self {
        Error::Node(RequestError::Table(error))
    }
}
