//! The calls of a typed table for plain threads.

use std::borrow::Borrow;
use std::ops::RangeBounds;

use bytes::Bytes;
use rumormill_core::{
    Wall,
    table::{Accepted, CausalToken},
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Change, EncodeKey, Error, Key, Row, Rows, Siblings, Table, Watch};
use crate::answer::block_on;

/// A [`Table`] whose calls wait for their answers. Never call it on the thread of the loop, nor on one that an async runtime needs.
pub struct BlockingTable<K, V>(Table<K, V>);

impl<K, V> BlockingTable<K, V> {
    pub(super) fn new(table: Table<K, V>) -> Self {
        BlockingTable(table)
    }
}

impl<K, V> Clone for BlockingTable<K, V> {
    fn clone(&self) -> Self {
        BlockingTable(self.0.clone())
    }
}

/// Each waits for the call of the same name.
macro_rules! waits {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ok:ty;)*) => {
        impl<K: Key, V: Serialize + DeserializeOwned> BlockingTable<K, V> {
            $(
                #[doc = concat!("As [`Table::", stringify!($name), "`], but waits for the answer.")]
                ///
                /// # Errors
                /// The same.
                pub fn $name<Q>(&self, key: &Q, $($arg: $type),*) -> Result<$ok, Error>
                where
                    K: Borrow<Q>,
                    Q: EncodeKey + ?Sized,
                {
                    block_on(self.0.$name(key, $($arg),*))
                }
            )*
        }
    };
}

waits! {
    fn put(value: &V) -> Accepted;
    fn put_until(value: &V, expires: Wall) -> Accepted;
    fn delete() -> Accepted;
    fn replace(value: Option<&V>, context: CausalToken) -> Accepted;
    fn get() -> Option<Row<V>>;
    fn siblings() -> Option<Siblings<V>>;
}

impl<K: Key, V: Serialize + DeserializeOwned> BlockingTable<K, V> {
    /// As [`Table::scan`], but waits for the answer.
    ///
    /// # Errors
    /// The same.
    pub fn scan(
        &self,
        range: impl RangeBounds<K>,
        after: Option<Bytes>,
    ) -> Result<Rows<K, V>, Error> {
        block_on(self.0.scan(range, after))
    }

    /// As [`Table::watch`]; each step of the iterator waits for a change, and there are no more when the loop has ended.
    ///
    /// # Errors
    /// The same.
    pub fn watch(&self) -> Result<BlockingWatch<K, V>, Error> {
        block_on(self.0.watch()).map(BlockingWatch)
    }
}

impl<A: Key, B: Key, V: Serialize + DeserializeOwned> BlockingTable<(A, B), V> {
    /// As [`Table::scan_first`], but waits for the answer.
    ///
    /// # Errors
    /// The same.
    pub fn scan_first<Q>(&self, first: &Q, after: Option<Bytes>) -> Result<Rows<(A, B), V>, Error>
    where
        A: Borrow<Q>,
        Q: EncodeKey + ?Sized,
    {
        block_on(self.0.scan_first(first, after))
    }
}

/// A [`Watch`] for plain threads.
pub struct BlockingWatch<K, V>(Watch<K, V>);

impl<K: Key, V: DeserializeOwned> Iterator for BlockingWatch<K, V> {
    type Item = Result<Change<K, V>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}
