//! The embedded store on fjall: ordered atomic batches in one keyspace of a log-structured merge tree.
//!
//! A data directory holds `lock`, locked by the process that uses it, and `db`, which is fjall's.
//! A new `db` is made as `db.new` and renamed when it is complete, so a crash while it is made leaves nothing behind
//! that could be taken for damage.

mod error;
mod key;
mod open;
mod store;

pub use error::OpenError;
pub use store::{FjallReader, FjallStore};

#[cfg(test)]
mod tests;
