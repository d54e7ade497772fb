//! The embedded store: a commit log, and a tree of sorted tables (lsm-tree) under it.
//!
//! Batches are appended to a file of the log. A full file is followed by the next, and its rows go sorted into the tree, in bulk and on
//! a thread of their own; then the file is deleted. Until then a point read finds the newest place of a key in the log by its index.
//!
//! A data directory holds `lock`, locked by the process that uses it, and `db`: `db/log`, `db/tree`, and two notes: `db/synced`, how far the log was
//! synced, and `db/sequences`, the order of the tree's tables. `identity` is a copy of the records that say which node it is. A new `db` is made under another name and renamed when it is
//! complete, so a crash while it is made leaves nothing behind that could be taken for damage.
//!
//! **Every file is checked before it is used.** [`OpenError::Damaged`] names the damaged parts, and [`Salvage`] reads the rest.
//! A new database with that takes the place of the old one, which is renamed to `damaged-1` and so on, once the caller says so. A
//! batch at the end of the log that is not whole, and that nothing proves to have been durable, is no damage: it is cut off, and [`DiskStore::cut`] tells.

mod beside;
mod check;
mod checkpoint;
mod disk;
mod error;
mod feed;
mod key;
mod log;
mod merge;
mod open;
mod options;
mod progress;
mod recover;
mod rules;
mod salvage;
mod scrub;
mod shared;
mod store;
mod tree;
mod verify;
mod writer;

pub use checkpoint::{CheckpointError, Checkpointer, Made, Restored, restore};
pub use error::{Damage, OpenError};
pub use options::Options;
pub use progress::Progress;
pub use recover::{Failure, Recovered, SetAside, recover};
#[cfg(feature = "mutants")]
pub use rules::Mutant;
pub use salvage::Salvage;
pub use scrub::Scrubber;
pub use store::{Cut, DiskReader, DiskStore};
pub use verify::{Fault, Verified, VerifyError, verify};

#[cfg(test)]
mod tests;
