//! Changes of a typed table as a stream.

use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_lite::{Stream, StreamExt};
use rumormill_core::{self as core, Wall, table::ChangeKind};
use serde::de::DeserializeOwned;

use super::key::{self, Key};
use super::{Error, Siblings, Undecodable, value};
use crate::handle;

/// A change of a row or of the table. Exhaustive, as [`ChangeKind`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<K, V> {
    /// The row was written.
    Put {
        /// Its key.
        key: K,
        /// Its value, `None` when it is only in the store: [`Table::get`](super::Table::get) reads it.
        value: Option<V>,
        /// When it expires.
        expires: Option<Wall>,
    },
    /// The siblings of a key have changed, and some are left.
    Siblings {
        /// The key.
        key: K,
        /// They.
        siblings: Siblings<V>,
    },
    /// The row was deleted.
    Deleted {
        /// Its key.
        key: K,
    },
    /// The row expired.
    Expired {
        /// Its key.
        key: K,
    },
    /// Everything in the table up to now was removed.
    Flushed {
        /// Whether all users' tables were flushed, and not this one alone.
        all: bool,
    },
}

/// The changes of a table in the order of their arrival here, as [`handle::Watch`] tells them. After any error it goes on: with the next
/// change after one that does not decode, and from the end of the log after [`handle::Error::Lagged`].
pub struct Watch<K, V> {
    changes: handle::Watch,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K: Key, V: DeserializeOwned> Watch<K, V> {
    pub(super) fn new(changes: handle::Watch) -> Self {
        Watch {
            changes,
            of: PhantomData,
        }
    }

    /// The next change; `None` when the loop has ended.
    pub async fn next(&mut self) -> Option<Result<Change<K, V>, Error>> {
        StreamExt::next(self).await
    }
}

impl<K: Key, V: DeserializeOwned> Stream for Watch<K, V> {
    type Item = Result<Change<K, V>, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let told = Pin::new(&mut self.changes).poll_next(cx);
        told.map(|change| change.map(|change| Ok(decode(change?)?)))
    }
}

fn decode<K: Key, V: DeserializeOwned>(
    change: core::table::Change,
) -> Result<Change<K, V>, Undecodable> {
    Ok(match change.kind {
        ChangeKind::Put {
            key,
            value,
            expires,
        } => Change::Put {
            key: key::decode(&key)?,
            value: value
                .map(|value: Bytes| value::decode(&key, &value))
                .transpose()?,
            expires,
        },
        ChangeKind::Siblings { key, siblings } => Change::Siblings {
            key: key::decode(&key)?,
            siblings: Siblings::decode(&key, siblings)?,
        },
        ChangeKind::Deleted { key } => Change::Deleted {
            key: key::decode(&key)?,
        },
        ChangeKind::Expired { key } => Change::Expired {
            key: key::decode(&key)?,
        },
        ChangeKind::Flushed { all } => Change::Flushed { all },
    })
}
