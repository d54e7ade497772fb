//! Rows of a typed table.

use bytes::Bytes;
use rumormill_core::{
    self as core, Wall,
    table::{CausalToken, Version},
};
use serde::de::DeserializeOwned;

use super::key::{self, Key};
use super::value;
use super::{Error, Undecodable};
use crate::handle;

/// A live row.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Row<V> {
    /// The value.
    pub value: V,
    /// When it expires.
    pub expires: Option<Wall>,
    /// Its version.
    pub version: Version,
}

/// The live siblings of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Siblings<V> {
    /// Their values and versions, in an order that all members share.
    pub values: Vec<(V, Version)>,
    /// The token that a writer has to hand back to replace them.
    pub context: CausalToken,
}

/// Some rows of a table in the order of their keys: at most 1,000, and no more than 1 MiB unless a single one is larger.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rows<K, V> {
    /// Keys and rows; in the place of a row that does not decode, its key and why.
    pub rows: Vec<Result<(K, Row<V>), Undecodable>>,
    /// The encoded key after which the next page begins; `None` on the last one.
    pub next: Option<Bytes>,
}

impl<V: DeserializeOwned> Row<V> {
    pub(super) fn decode(key: &Bytes, row: core::table::Row) -> Result<Self, Undecodable> {
        let core::table::Row {
            value,
            expires,
            version,
            ..
        } = row;
        Ok(Row {
            value: value::decode(key, &value)?,
            expires,
            version,
        })
    }
}

impl<V: DeserializeOwned> Siblings<V> {
    pub(super) fn decode(
        key: &Bytes,
        siblings: core::table::Siblings,
    ) -> Result<Self, Undecodable> {
        let values = siblings.values.iter();
        let values = values.map(|(value, version)| Ok((value::decode(key, value)?, *version)));
        Ok(Siblings {
            values: values.collect::<Result<_, Undecodable>>()?,
            context: siblings.context,
        })
    }
}

impl<K: Key, V: DeserializeOwned> Rows<K, V> {
    pub(super) fn decode(page: handle::Rows) -> Self {
        let rows = page.rows.into_iter();
        let rows = rows.map(|(key, row)| Ok((key::decode(&key)?, Row::decode(&key, row)?)));
        Rows {
            rows: rows.collect(),
            next: page.next,
        }
    }
}

/// The decoded row, if there is one.
pub(super) fn optional<T, U>(
    found: Option<T>,
    decode: impl FnOnce(T) -> Result<U, Undecodable>,
) -> Result<Option<U>, Error> {
    Ok(found.map(decode).transpose()?)
}
