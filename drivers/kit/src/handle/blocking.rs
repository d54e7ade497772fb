//! The calls of a handle for plain threads.

use std::collections::BTreeMap;
use std::ops::RangeBounds;
use std::time::Duration;

use bytes::Bytes;
use rumormill_core::{
    Node, NodeId, NodeStatus, Now, TableId, Wall,
    io::{Handover, Request, Response},
    members::MemberInfo,
    settings::SettingInfo,
    table::{Accepted, CausalToken, Change, Row, Siblings, TableOptions},
};

use super::{Error, Handle, MemberWatch, Rows, Watch};
use crate::answer::block_on;

/// A [`Handle`] whose calls wait for their answers. Never call it on the thread of the loop, nor on one that an async runtime
/// needs. Clones reach the same loop.
#[derive(Clone)]
pub struct Blocking(Handle);

/// Each waits for the call of the same name.
macro_rules! waits {
    ($(fn $name:ident($($arg:ident: $type:ty),*) -> $ok:ty;)*) => {
        impl Blocking {
            $(
                #[doc = concat!("As [`Handle::", stringify!($name), "`], but waits for the answer.")]
                ///
                /// # Errors
                /// The same.
                pub fn $name(&self, $($arg: $type),*) -> Result<$ok, Error> {
                    block_on(self.0.$name($($arg),*))
                }
            )*
        }
    };
}

waits! {
    fn put(table: TableId, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Accepted;
    fn put_until(table: TableId, key: impl Into<Bytes>, value: impl Into<Bytes>, expires: Wall) -> Accepted;
    fn delete(table: TableId, key: impl Into<Bytes>) -> Accepted;
    fn replace(table: TableId, key: impl Into<Bytes>, value: Option<Bytes>, context: CausalToken) -> Accepted;
    fn get(table: TableId, key: impl Into<Bytes>) -> Option<Row>;
    fn siblings(table: TableId, key: impl Into<Bytes>) -> Option<Siblings>;
    fn scan(table: TableId, prefix: impl Into<Bytes>, after: Option<Bytes>) -> Rows;
    fn scan_range(table: TableId, range: impl RangeBounds<Bytes>, after: Option<Bytes>) -> Rows;
    fn table(name: impl Into<String>) -> TableId;
    fn create_table(name: impl Into<String>, options: TableOptions) -> TableId;
    fn members() -> Vec<MemberInfo>;
    fn live_members() -> Vec<MemberInfo>;
    fn evict(member: impl Into<String>, force: bool) -> NodeId;
    fn set_protocols(protocols: BTreeMap<String, String>) -> ();
    fn status() -> NodeStatus;
    fn settings() -> Vec<SettingInfo>;
    fn change_settings(changes: Vec<(String, Option<String>)>) -> ();
    fn join(addr: impl Into<String>, patience: Duration) -> ();
    fn sync() -> ();
    fn request(request: Request, patience: Option<Duration>) -> Response;
    fn leave() -> Handover;
    fn shutdown() -> ();
}

impl Blocking {
    pub(super) fn new(handle: Handle) -> Self {
        Blocking(handle)
    }

    /// As [`Handle::watch`]; each step of the iterator waits for a change, and there are no more when the loop has ended.
    ///
    /// # Errors
    /// The same.
    pub fn watch(&self, table: TableId) -> Result<BlockingWatch, Error> {
        block_on(self.0.watch(table)).map(BlockingWatch)
    }

    /// As [`Handle::watch_members`]; each step of the iterator waits for a change, and there are no more when the loop has ended.
    pub fn watch_members(&self) -> BlockingMemberWatch {
        BlockingMemberWatch(self.0.watch_members())
    }

    /// As [`Handle::with`], but waits for the answer.
    ///
    /// # Errors
    /// The same.
    pub fn with<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Node, Now) -> T + Send + 'static,
    ) -> Result<T, Error> {
        block_on(self.0.with(job))
    }
}

/// A [`Watch`] for plain threads.
pub struct BlockingWatch(Watch);

impl Iterator for BlockingWatch {
    type Item = Result<Change, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}

/// A [`MemberWatch`] for plain threads.
pub struct BlockingMemberWatch(MemberWatch);

impl Iterator for BlockingMemberWatch {
    type Item = Result<Vec<MemberInfo>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        block_on(self.0.next())
    }
}
