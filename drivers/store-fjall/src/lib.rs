//! The embedded store on fjall: ordered atomic batches in one keyspace of a log-structured merge tree.
//!
//! A data directory holds `lock`, locked by the process that uses it, and `db`, which is fjall's but for `db/synced`, how far it was synced.
//! `identity` is a copy of the records that say which node it is. A new `db` is made under another name and renamed when it is complete, so a
//! crash while it is made leaves nothing behind that could be taken for damage.
//!
//! **Every file is checked before fjall opens it.** What is damaged is named by [`OpenError::Damaged`], and [`Salvage`] reads what is left.
//! A new database with that takes the place of the old one, which is renamed to `damaged-1` and so on, once the caller says so.

mod beside;
mod check;
mod error;
mod journal;
mod key;
mod open;
mod recover;
mod salvage;
mod store;

pub use error::{Damage, OpenError};
pub use recover::{Failure, Recovered, SetAside, recover};
pub use salvage::Salvage;
pub use store::{FjallReader, FjallStore};

#[cfg(test)]
mod tests;
