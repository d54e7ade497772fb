//! Why a handle's call failed.

use rumormill_core::{
    errors::{AnswersLater, RequestError, TableError},
    table::Cursor,
};

/// Why a handle's call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The loop has ended. A call that was under way may have taken effect; a later one has not.
    #[error("the node's loop has ended")]
    Closed,
    /// Too much waits already; nothing was changed.
    #[error("{limit} calls wait already")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// A watch fell behind the log of changes: what happened in between is not told. Scan the table; the watch goes on from here.
    #[error("the watch fell behind the log of changes")]
    Lagged {
        /// The end of the log.
        restart: Cursor,
    },
    /// The key has several siblings, where one value was asked for; nothing was changed.
    #[error("the key has several siblings")]
    Siblings,
    /// Siblings were asked for, and the table keeps none; nothing was changed.
    #[error("the table keeps no siblings")]
    NoSiblings,
    /// The table answers later: its rows are read and written one by one, and it is neither scanned nor watched.
    #[error(transparent)]
    AnswersLater(#[from] AnswersLater),
    /// The node ended before its leave was complete: its time was up, or it was told to end at once.
    #[error("the node ended before its leave was complete")]
    LeaveCut,
    /// The node refused, or gave up; its error says whether anything was changed.
    #[error("{0}")]
    Node(#[source] RequestError),
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
