//! A table with types.

use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeBounds;

use bytes::Bytes;
use rumormill_core::{
    TableId, Wall,
    table::{Accepted, CausalToken, TableOptions},
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::key::{self, EncodeKey, Key};
use super::rows::optional;
use super::{BlockingTable, Error, Row, Rows, Siblings, Watch, value};
use crate::handle::Handle;

/// A table whose keys are `K` and whose values are `V`, on a node behind a [`Handle`]. Clones are the same table. Its calls are those of
/// the handle: they wait for room, and one that is dropped may have taken effect.
pub struct Table<K, V> {
    handle: Handle,
    id: TableId,
    of: PhantomData<fn() -> (K, V)>,
}

impl<K, V> Table<K, V> {
    /// A table of this node by its id.
    pub fn new(handle: &Handle, id: TableId) -> Self {
        Table {
            handle: handle.clone(),
            id,
            of: PhantomData,
        }
    }

    /// The user table called `name`, as [`Handle::table`].
    ///
    /// # Errors
    /// [`Error::Handle`].
    pub async fn open(handle: &Handle, name: impl Into<String>) -> Result<Self, Error> {
        let id = handle.table(name).await?;
        Ok(Table::new(handle, id))
    }

    /// Creates a table with options, durably, as [`Handle::create_table`].
    ///
    /// # Errors
    /// [`Error::Handle`].
    pub async fn create(
        handle: &Handle,
        name: impl Into<String>,
        options: TableOptions,
    ) -> Result<Self, Error> {
        let id = handle.create_table(name, options).await?;
        Ok(Table::new(handle, id))
    }

    /// The untyped handle.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// The table, for the untyped handle.
    pub fn id(&self) -> TableId {
        self.id
    }

    /// The same calls for a plain thread.
    pub fn blocking(&self) -> BlockingTable<K, V> {
        BlockingTable::new(self.clone())
    }
}

impl<K: Key, V: Serialize + DeserializeOwned> Table<K, V> {
    /// Writes a row: accepted by this node, and durable if the table promises that.
    ///
    /// # Errors
    /// [`Error`]; nothing was written where it says so.
    pub async fn put<Q>(&self, key: &Q, value: &V) -> Result<Accepted, Error>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let (key, value) = (key::encode(key), value::encode(value)?);
        Ok(self.handle.put(self.id, key, value).await?)
    }

    /// Writes a row that expires.
    ///
    /// # Errors
    /// As for [`Table::put`].
    pub async fn put_until<Q>(&self, key: &Q, value: &V, expires: Wall) -> Result<Accepted, Error>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let (key, value) = (key::encode(key), value::encode(value)?);
        let put = self.handle.put_until(self.id, key, value, expires);
        Ok(put.await?)
    }

    /// Deletes a row.
    ///
    /// # Errors
    /// As for [`Table::put`].
    pub async fn delete<Q>(&self, key: &Q) -> Result<Accepted, Error>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        Ok(self.handle.delete(self.id, key::encode(key)).await?)
    }

    /// Writes a key of a table that keeps siblings, in the place of those that were read with `context`; `None` removes them.
    ///
    /// # Errors
    /// As for [`Table::put`].
    pub async fn replace<Q>(
        &self,
        key: &Q,
        value: Option<&V>,
        context: CausalToken,
    ) -> Result<Accepted, Error>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let (key, value) = (key::encode(key), value.map(value::encode).transpose()?);
        let replaced = self.handle.replace(self.id, key, value, context);
        Ok(replaced.await?)
    }

    /// Reads a row, from the store if its value is only there.
    ///
    /// # Errors
    /// [`Error`]; [`Error::Siblings`](crate::handle::Error::Siblings) of the handle when the key has several.
    pub async fn get<Q>(&self, key: &Q) -> Result<Option<Row<V>>, Error>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let key = key::encode(key);
        let row = self.handle.get(self.id, key.clone()).await?;
        optional(row, |row| Row::decode(&key, row))
    }

    /// Reads the siblings of a key, in a table that keeps them.
    ///
    /// # Errors
    /// [`Error`]; [`Error::NoSiblings`](crate::handle::Error::NoSiblings) of the handle in another table.
    pub async fn siblings<Q>(&self, key: &Q) -> Result<Option<Siblings<V>>, Error>
    where
        K: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let key = key::encode(key);
        let siblings = self.handle.siblings(self.id, key.clone()).await?;
        optional(siblings, |siblings| Siblings::decode(&key, siblings))
    }

    /// Reads a page of the rows whose keys lie in `range`, `..` for all, from the one after `after` on.
    ///
    /// # Errors
    /// [`Error::Handle`]. Rows that do not decode are [among the rows](Rows::rows).
    pub async fn scan(
        &self,
        range: impl RangeBounds<K>,
        after: Option<Bytes>,
    ) -> Result<Rows<K, V>, Error> {
        let encoded = |key: &K| key::encode(key);
        let bounds = (
            range.start_bound().map(encoded),
            range.end_bound().map(encoded),
        );
        let page = self.handle.scan_range(self.id, bounds, after).await?;
        Ok(Rows::decode(page))
    }

    /// Watches the table from now on.
    ///
    /// # Errors
    /// [`Error::Closed`](crate::handle::Error::Closed) of the handle.
    pub async fn watch(&self) -> Result<Watch<K, V>, Error> {
        Ok(Watch::new(self.handle.watch(self.id).await?))
    }
}

impl<A: Key, B: Key, V: Serialize + DeserializeOwned> Table<(A, B), V> {
    /// Reads a page of the rows whose keys have this first part, from the one after `after` on.
    ///
    /// # Errors
    /// As for [`Table::scan`].
    pub async fn scan_first<Q>(
        &self,
        first: &Q,
        after: Option<Bytes>,
    ) -> Result<Rows<(A, B), V>, Error>
    where
        A: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        let mut prefix = Vec::new();
        key::encode_first(first, &mut prefix);
        let page = self.handle.scan(self.id, prefix, after).await?;
        Ok(Rows::decode(page))
    }
}

impl<K, V> Clone for Table<K, V> {
    fn clone(&self) -> Self {
        Table::new(&self.handle, self.id)
    }
}

impl<K, V> fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").field("id", &self.id).finish()
    }
}
