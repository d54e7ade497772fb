//! What handles of every driver ask, and what a loop does for them.

mod error;
mod scan;
mod watch;
mod watchers;

pub use error::Error;
pub use scan::{Page, Rows};
pub use watch::Following;
pub use watchers::{Gated, Watched, Watchers};

use rumormill_core::{Accepted, Request, Response, Row, Siblings, TableId};

/// The request that writes a row or, without a value, deletes it.
pub fn write(
    table: TableId,
    key: bytes::Bytes,
    value: Option<bytes::Bytes>,
    expires: Option<rumormill_core::Wall>,
) -> Request {
    Request::Write {
        table,
        key,
        value,
        expires,
    }
}

/// The answer to a [`Request::Write`].
pub fn written(response: Response) -> Accepted {
    match response {
        Response::Written(accepted) => accepted,
        other => unanswerable("a write", &other),
    }
}

/// The answer to a [`Request::Get`] for one value.
///
/// # Errors
/// [`Error::Siblings`] when there are several.
pub fn row(response: Response) -> Result<Option<Row>, Error> {
    match response {
        Response::Row(row) => Ok(row),
        Response::Siblings(siblings) if siblings.values.len() > 1 => Err(Error::Siblings),
        Response::Siblings(siblings) => {
            let only = siblings.values.into_iter().next();
            Ok(only.map(|(value, version)| Row {
                value,
                expires: None,
                version,
            }))
        }
        other => unanswerable("a read", &other),
    }
}

/// The answer to a [`Request::Get`] for siblings.
///
/// # Errors
/// [`Error::NoSiblings`] when there is a row, in a table that keeps none.
pub fn siblings(response: Response) -> Result<Option<Siblings>, Error> {
    match response {
        Response::Siblings(siblings) => Ok(Some(siblings)),
        Response::Row(None) => Ok(None),
        Response::Row(Some(_)) => Err(Error::NoSiblings),
        other => unanswerable("a read", &other),
    }
}

/// The answer to a [`Request::CreateTable`].
pub fn table(response: Response) -> TableId {
    match response {
        Response::Table(table) => table,
        other => unanswerable("a table's creation", &other),
    }
}

/// # Panics
/// Always: the core answers each request with its own kind of response.
fn unanswerable(request: &str, response: &Response) -> ! {
    unreachable!("{request} was answered with {response:?}")
}
