//! The records that a node keeps.
//!
//! The first byte of a key tells the part of the node that a record belongs to, and so no mode reads records of another:
//!
//! ```text
//! m       the node itself
//! r c f   gossip tables: rows, what is covered of actors, and claims on which deletes were freed
//! s       strong tables, which are to come
//! q       quorum tables, which are to come
//! ```
//! Integers are little-endian unless marked. Every value ends in eight bytes of rapidhash (v3) over key and value.

pub(crate) mod batch;
pub(crate) mod bytes;
mod inspect;
pub(crate) mod record;
pub(crate) mod seal;

pub use inspect::{Inspection, Owner, RecordKind, inspect};
pub use record::Whose;
