//! The embedded store as the drivers see it: a trait that blocks, and a thread that does the blocking.
//!
//! An implementation is an ordered map of bytes that it never interprets. It is first read whole
//! with [`Store::load`], into a recovery, and then handed to [`StoreWorker::spawn`].

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod memory;
mod outputs;
mod worker;

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};

pub use memory::MemoryStore;
pub use outputs::{push_batch, push_load};
pub use worker::{Closed, PushError, StoreHandle, StoreReport, StoreWorker};

/// A durable map from bytes to bytes. Every method may block; none is called from two threads.
pub trait Store: Send + 'static {
    /// Reads single records on another thread.
    type Reader: StoreReader;

    /// A reader of this store, for as long as the store lives. Called once, before the store is handed to its worker.
    fn reader(&self) -> Self::Reader;

    /// Hands over every record once, in no particular order, and stops at the first one refused. The bytes of a record may lie in memory that
    /// is shared with others: a receiver copies what it keeps, as a recovery does.
    ///
    /// # Errors
    ///
    /// [`LoadError::Store`] when the data cannot be read, [`LoadError::Refused`] with what `each` said.
    fn load<E>(
        &mut self,
        each: &mut dyn FnMut(Record) -> Result<(), E>,
    ) -> Result<(), LoadError<E>>;

    /// Applies a batch: after a crash either all of it is there or nothing, and never without
    /// the batches before it. The last write to a key wins; of a [`StoreOp::DeleteRange`] that counts for every key in it, so that it removes
    /// what was put before it, in this batch or earlier, and nothing that this batch puts behind it. Not durable before [`Store::sync`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Full`] takes back the batch and possibly all others since the last sync: the caller
    /// applies all of them again, merged into one batch, so that no crash can show half of the repetition.
    /// After [`StoreError::Failed`] the store is not used again.
    fn apply(&mut self, batch: &[StoreOp]) -> Result<(), StoreError>;

    /// Returns once everything applied survives a loss of power.
    ///
    /// # Errors
    ///
    /// As for [`Store::apply`]. A store that cannot know what survived a sync without space says `Failed`.
    fn sync(&mut self) -> Result<(), StoreError>;

    /// Looks for space where the store is short of it, and says why it still is: it writes into space that it has kept back, where deletes alone
    /// should go. Called after each write, and now and then while there is nothing to write (`idle`), when it may take some time. A store that keeps
    /// nothing back is never short.
    fn short(&mut self, idle: bool) -> Option<String> {
        let _ = idle;
        None
    }
}

/// The way to single records while the store is busy on its own thread. May block, but never waits for a sync.
pub trait StoreReader: Send + 'static {
    /// The value of a key: that of the last sync or of a later batch.
    ///
    /// # Errors
    ///
    /// When it cannot be read now. The store goes on.
    fn read(&mut self, key: &[u8]) -> Result<Option<Bytes>, StoreError>;
}

/// Why a store did not take a batch or a sync. The words fit one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Out of space, or of file descriptors; the same may succeed later.
    #[error("the store is out of space: {0}")]
    Full(String),
    /// Anything else; what survived is unknown.
    #[error("the store failed: {0}")]
    Failed(String),
}

/// Why a load ended early.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The store could not be read.
    #[error("{0}")]
    Store(#[source] StoreError),
    /// The receiver of the records refused one.
    #[error("{0}")]
    Refused(#[source] E),
}
