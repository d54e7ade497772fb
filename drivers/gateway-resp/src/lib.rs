//! The Redis protocol over a node, without sockets.
//!
//! [`Gateway`] makes a [`ClientSession`] per client; a driver hands it the client's bytes and writes its replies, as
//! [`rumormill_kit::client_session`] says. Replies and error texts are those of Redis 7, in RESP2 and RESP3.
//!
//! # How keys are tables and rows
//! - A string is a row of the table `default`; a hash is the user table of its name, a field one of its rows. So the name
//!   of a hash is UTF-8 and at most 255 bytes long, and no hash is called `default`.
//! - A key and a field have one byte or more; Redis also allows none.
//! - One name can be a string and a hash at once when two members made one each, at the same time, or the string was written
//!   as a row of `default`: over HTTP, or with the private `RUMORMILL SET key value` (and `DEL key`), which leave a hash of that
//!   name alone. String commands then see the string and hash commands the hash, it is listed once, as a string, counted twice, and
//!   `DEL` and `SET` remove the hash.
//! - `SET` and its like on a hash replace it, on all members, but not one that keeps siblings: `SIBLINGS`. `DEL` of any hash removes
//!   all of its rows with one record. `EXPIRE` on a hash is refused.
//!
//! # What differs from Redis
//! - Every command decides on the copy of this member: `NX`, `XX`, `GET`, `SETNX`, `HSETNX`, the counts that `DEL` and
//!   `HSET` return. Another member may decide differently at the same moment; the later write wins.
//! - `MSET`, `HSET`, `DEL` of several keys are one write each: refused as a whole for a size, but `BUSY` may stop them halfway.
//!   One of more than 1,024 keys is carried out in pieces, between which other clients have their turn.
//! - `KEYS`, `HGETALL`, `HKEYS` and `HVALS` show the moment of the command when the reply has at most 1 MiB and 2,000 rows were looked at.
//!   A larger reply waits in line until there is memory for it and is then built in pieces, before its first byte is sent: each row that
//!   stays is shown exactly once, as it was when its piece was built, and the announced number is right. One of more than half of the
//!   memory for all replies is refused with `TOOLARGE`. `MGET` and `HMGET` of more than 64 keys or 256 KiB read on as the client reads.
//! - A command that needs a value which is only in the store waits for it, and its reply has its place among the others. A later command
//!   of the client goes on meanwhile if it names its keys and shares none with a command that waits; all others, `FLUSHALL` and `KEYS` for
//!   instance, wait too. So a client sees its own writes, and two commands on one key take effect in their order.
//!   `HGETALL`, `HVALS` and `HSCAN` load such values as they reply: each is shown as it is then, and in the place of
//!   one that was deleted meanwhile or cannot be read stands an error.
//! - `RANDOMKEY` answers with each string and hash with the same chance.
//! - Replies that a client does not read are bounded (see [`rumormill_kit::client_session::ClientOutput`]): it is not read beyond its share, and
//!   closed without a word when it takes nothing while others need the memory. So is one that has begun a command or a transaction of 64 KiB
//!   or more and sends nothing.
//! - `SCAN` and `HSCAN` go in key order and show each key that stays exactly once. Cursors belong to the listener, not to the
//!   connection; the last 16,384 (4 MiB of keys) are remembered, and an older one is answered with an error.
//!   One call looks at 2,000 rows at most, whatever its `COUNT`, and at fewer where its pattern costs much.
//! - A pattern has at most 262,144 bytes, and 1,024 characters and classes behind its first wildcard. A key is compared with it in time
//!   proportional to its length, whatever the pattern.
//! - A call of a client session does a bounded number of steps, about half a millisecond; the rest of a pipeline goes on in the next call.
//! - There is database 0 alone. After a `SELECT` of another one, which is refused, the client can read and write nothing until `SELECT 0` or
//!   `RESET`: what it sends was meant for elsewhere.
//! - `INFO` counts under `expires` the rows of all tables that expire, and has `used_memory` where the driver tells it, the memory of the whole process. `CONFIG RESETSTAT` lets `INFO` count connections and
//!   commands from there on; the driver's metrics go on.
//! - Scripts and functions are refused: a lock or a counter by script needs strong tables, which are to come.
//! - Commands that would lose updates on a gossip table (`INCR`, `APPEND`, ...) and types that are not there are refused with
//!   the reason.
//!
//! # Transactions
//! `MULTI`, `EXEC`, `DISCARD`, `WATCH` and `UNWATCH` answer as Redis 7 does. `EXEC` carries out all commands on this member in one turn: no
//! command of another client of this member comes between them, all rows go into one batch of the store, and to the other members in one
//! push. They are not one write: another member may show some of the rows before others, each row meets writes of other members
//! alone, and a crash of this member may lose some of them when not all were synced or pushed.
//! - An error at queueing discards the transaction; an error when it is carried out is a reply like any other, and undoes nothing.
//! - A transaction has at most 4,096 commands of 4 MiB, reads values of at most 4 MiB, and keeps the other clients waiting for about 4 ms at
//!   most: 2,000 writes of small values, 600 hashes that are made, or 10,000 rows of a listing. What exceeds that is refused whole with
//!   `EXECABORT`. A `DEL`, `SET` or `FLUSHALL` hides the rows of a hash, or all, at once, however many they are. redis-py and others send larger batches without `MULTI` when told so (`pipeline(transaction=False)`).
//! - While the store lags behind, an `EXEC` that writes waits.
//! - Values that are only in the store are loaded first; the watched keys are looked at after that.
//! - `WATCH` compares the version of a string, and for a hash whether anything in it has changed, by whichever member: `EXEC` then
//!   does nothing and answers nil. A key that was absent counts as changed if it came and went meanwhile, when it had expired and was
//!   deleted, and when more than 4,096 other strings were written since. At most 1,024 keys are watched.
//!
//! # Keyspace notifications
//! Always on, for writes of all members: `__keyspace@0__:KEY` and `__keyevent@0__:EVENT` with `set`, `del`, `expired` for
//! strings and `hset`, `hdel`, `hexpired`, `del` for hashes, named by the hash. A key that changed several times
//! before the client was told is told once, with its newest state; an expiry that was set counts as `set`, and
//! emptying the strings with `FLUSHALL` is not told, as in Redis. A client that falls behind the log of changes is told `-LAGGED` and
//! closed. Other channels can be subscribed to and stay silent. A client has at most 256 channels and patterns, with 1 MiB and 4,096
//! characters and classes behind wildcards together; all clients have at most 64 MiB. Many patterns are compared over several turns.
//!
//! # Errors
//! Besides Redis's own `ERR`, `WRONGTYPE`, `NOPROTO` and `WRONGPASS`:
//!
//! | prefix | when |
//! |---|---|
//! | `TOOLARGE` | a key, value, table name, pattern or whole command exceeds the limit that the text names, or asks for more descriptions than there are commands, or its reply would exceed the memory for replies; nothing was changed |
//! | `BUSY` | the store lags behind, or the memory for replies and transactions is used up; try again later |
//! | `EXECABORT` | the transaction was discarded, for the reason that follows; nothing was changed |
//! | `OOM` | the store is out of space; reads are served |
//! | `CLOCK` | this node's wall clock is ahead of all others beyond the drift limit, or nothing can be newer than the row |
//! | `LATER` | the mode of the table answers later, and the command wants its rows at once |
//! | `LEAVING` | the node is leaving, has left or has halted |
//! | `STOPPING` | the node is stopping, and comes back |
//! | `UNREADABLE` | the value is only in the store and could not be read; the log says why |
//! | `GONE` | in the place of a value: the row was deleted while the reply was sent |
//! | `READONLY` | the table belongs to the store itself |
//! | `SIBLINGS` | the hash keeps siblings: a field has several, or a write would have to say which of them its author has seen |
//! | `LAGGED` | this subscriber was too slow; it is closed |

mod client;
mod client_session;
mod commands;
pub mod decoder;
pub mod encoder;
pub mod glob;
mod hold;
mod keyspace;
mod refusal;
mod shared;
mod tasks;
#[cfg(test)]
mod tests;
mod waiting;
mod watched;
mod work;

pub use client_session::{ClientSession, Gateway};
pub use keyspace::{
    ALL_SUBSCRIPTION_BYTES, SUBSCRIPTION_BYTES, SUBSCRIPTION_ELEMENTS, SUBSCRIPTIONS,
};
pub use shared::{CURSOR_BYTES, CURSORS, Describe, Stats, UsedMemory};
pub use work::WORK;
