//! The Redis protocol over a node, without sockets.
//!
//! String keys are the rows of the table `default`; a hash is a table: `HSET users alice 1` writes row `alice` of table
//! `users`. Replies and error texts are those of Redis 7, with these differences:
//!
//! - A key, field or table name has at least one byte; a table name is UTF-8 of at most 255 bytes; the key `default` cannot be a
//!   hash, because it is the table of the strings.
//! - `SET` with `NX`, `XX` or `GET` and `SETNX` decide on the local copy: two members may both say yes.
//! - `EXPIRE` on a hash is refused; counters, lists and the like are refused, because members that change them at once would lose
//!   updates.
//! - `SCAN` cursors are places in the key order, shared by all clients of a node; the last 65,536 are remembered.
//! - A subscriber to keyspace notifications that falls behind the node's log of changes is told so and closed. A key that
//!   changed twice in one turn is notified once.
//!
//! Errors that Redis does not have begin with `TOOLARGE` (a key or value beyond the limit named), `BUSY` (the store lags behind),
//! `NOSPACE` (the store is full), `LEAVING` (the node is on its way out) and `NOTSUPPORTED` (what the table's mode cannot do).

mod commands;
mod decoder;
mod encoder;
mod glob;
mod notify;
mod session;
#[cfg(test)]
mod tests;

pub use decoder::{Args, Decoded, Decoder, ProtocolError};
pub use encoder::{Encoder, Version};
pub use session::{Client, Describe, Gateway};
