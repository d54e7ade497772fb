//! Errors, one enum per operation. Each variant says when it happens; none of them leaves state changed unless it says so.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::id::{NodeId, TableId};
use crate::table::Mode;

/// Why a write was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The key is empty.
    #[error("a key has at least one byte")]
    EmptyKey,
    /// The key is longer than [`Limits::key_bytes`](crate::Limits::key_bytes).
    #[error("the key has {size} bytes, the limit is {limit}")]
    KeyTooLarge {
        /// The key's length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is longer than [`Limits::value_bytes`](crate::Limits::value_bytes).
    #[error("the value has {size} bytes, the limit is {limit}")]
    ValueTooLarge {
        /// The value's length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The table belongs to the store itself.
    #[error("tables of the store itself are read-only")]
    ReadOnlyTable,
    /// The table had no rows any more and was forgotten: ask for it by its name.
    #[error("the table was forgotten: ask for it by its name")]
    TableForgotten,
    /// The store lags behind by more than [`Limits::store_backlog`](crate::Limits::store_backlog) batches or
    /// [`Limits::store_backlog_bytes`](crate::Limits::store_backlog_bytes), or too many requests
    /// or flushes wait. Try again later.
    #[error("the store lags behind or too much waits, the limit is {limit}")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The store is out of space. Reads are served, and deletes for as long as it has space kept back for them; other writes are accepted again when
    /// it has recovered.
    #[error("the store is out of space")]
    StoreStalled,
    /// The row to be replaced, or a drop marker of its table, has the largest clock there is: nothing is newer.
    #[error("the row has the largest clock there is")]
    LastClock,
    /// This node's wall clock is further ahead of the clock of every peer it heard of late than
    /// [`Limits::clock_drift`](crate::Limits::clock_drift), and it heard at least two: the write would hide later ones of other members.
    /// Set the clock right.
    #[error("this node's clock is {ahead_ms} ms ahead of all others, the limit is {limit_ms} ms")]
    ClockAhead {
        /// How far it is ahead of the next, in milliseconds.
        ahead_ms: u64,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The mode of the table answers later: ask with [`Request::Table`](crate::io::Request::Table).
    #[error("the table answers later: ask it with a request")]
    AnsweredLater,
    /// The node is leaving, has left or has halted.
    #[error("the node is leaving the cluster")]
    Leaving,
    /// The node is stopping, or has stopped. It comes back.
    #[error("the node is stopping")]
    Stopping,
    /// The key would have more siblings than [`Limits::siblings`](crate::Limits::siblings): read them, and write with their context.
    #[error(
        "the key has {limit} siblings, which is the limit: read them and write with their context"
    )]
    TooManySiblings {
        /// The most siblings of a key.
        limit: usize,
    },
    /// The siblings of the key would together be longer than one row may be: read them, and write with their context.
    #[error(
        "the siblings of the key would have {size} bytes, the limit is {limit}: read them and write with their context"
    )]
    SiblingsTooLarge {
        /// Their length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A delete in a table that keeps siblings removes what its author has seen, and this one does not say what that is.
    #[error("a delete in a table that keeps siblings needs the context of a read of the key")]
    ContextRequired,
    /// A context was given, and the table keeps no siblings.
    #[error("the table keeps no siblings, so that a context means nothing: write without it")]
    ContextUnused,
    /// The context cannot be used.
    #[error("{0}: read the key again, and write with what that gives")]
    Context(TokenError),
    /// Rows of a table that keeps siblings do not expire.
    #[error("rows of a table that keeps siblings do not expire")]
    ExpiryUnsupported,
}

impl From<TokenError> for WriteError {
    fn from(error: TokenError) -> Self {
        WriteError::Context(error)
    }
}

/// Why a causal token cannot be used. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token.
    #[error("the context is malformed")]
    Malformed,
    /// Its checksum is wrong.
    #[error("the context is damaged: its checksum is wrong")]
    Damaged,
    /// It is of a version or of a kind of table that this program does not know.
    #[error("the context has version {version} and kind {kind}, which are not known")]
    Unknown {
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
    /// It was read from another table or key.
    #[error("the context is of another table or key")]
    OtherKey,
    /// It has seen writes of this node that this node has not accepted.
    #[error("the context has seen writes that this node never accepted")]
    Unissued,
}

/// Why a table was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// A name has 1 to [`Limits::table_name_bytes`](crate::Limits::table_name_bytes) bytes.
    #[error("a table name has 1 to {limit} bytes, this one has {size}")]
    BadName {
        /// The name's length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The name is that of a table of another mode than gossip, and this program keeps none of it yet.
    #[error("{}NAME is the name of a {mode} table, and {mode} tables are not built yet", mode.prefix())]
    ModeNotBuilt {
        /// The mode.
        mode: Mode,
    },
    /// The table exists with other options, which are fixed at creation.
    #[error("the table exists with other options, which are fixed at creation")]
    OptionsDiffer,
    /// The node cannot take the definition now.
    #[error(transparent)]
    Write(WriteError),
}

impl From<WriteError> for TableError {
    fn from(error: WriteError) -> Self {
        TableError::Write(error)
    }
}

/// Why a change of settings was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no setting of that name.
    #[error("there is no setting {name:?}")]
    Unknown {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// The setting has another name, which begins with the machine that it is about.
    #[error("{name} is called {to}")]
    Renamed {
        /// The name, as it was given.
        name: String,
        /// The name that it has.
        to: &'static str,
    },
    /// The name is one of a mode that this program does not have yet.
    #[error("{name:?} would be a setting of {mode} tables, which are not built yet")]
    ModeNotBuilt {
        /// The name, cut to 64 characters.
        name: String,
        /// The mode.
        mode: Mode,
    },
    /// The text is no value of the setting's kind.
    #[error("{name} is {expected}, not {value:?}")]
    Malformed {
        /// The setting.
        name: &'static str,
        /// The text, cut to 64 characters.
        value: String,
        /// The form that it has to have.
        expected: &'static str,
    },
    /// The value is beyond the bounds.
    #[error("{name} is from {min} to {max}, not {value}")]
    OutOfRange {
        /// The setting.
        name: &'static str,
        /// The text, cut to 64 characters.
        value: String,
        /// The smallest value.
        min: String,
        /// The largest value.
        max: String,
    },
    /// The cluster would have set two values that exclude each other.
    #[error("{low} has to be less than {high}, which is set too")]
    Conflict {
        /// The setting that has to be smaller.
        low: &'static str,
        /// The one that has to be larger.
        high: &'static str,
    },
    /// The node cannot take a write now.
    #[error(transparent)]
    Write(WriteError),
}

impl From<WriteError> for SettingError {
    fn from(error: WriteError) -> Self {
        SettingError::Write(error)
    }
}

/// Why a request that went through [`Input::Request`](crate::io::Input::Request) failed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The deadline passed. The operation may still take effect.
    #[error("the deadline passed")]
    DeadlineExceeded,
    /// The driver cancelled it. The operation may still take effect.
    #[error("cancelled")]
    Cancelled,
    /// Too many requests wait; nothing was changed.
    #[error("{limit} requests are waiting already")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The write was refused; nothing was changed.
    #[error(transparent)]
    Write(WriteError),
    /// The table was refused; nothing was changed.
    #[error(transparent)]
    Table(TableError),
    /// The settings were refused; nothing was changed.
    #[error(transparent)]
    Setting(SettingError),
    /// The address could not be joined, for the reason given; nothing was changed.
    #[error("could not join: {0}")]
    Join(String),
    /// The value is only in the store and could not be read; nothing was changed.
    #[error(transparent)]
    Read(ReadError),
    /// The member was not evicted.
    #[error(transparent)]
    Evict(EvictError),
    /// The node was not declared lost.
    #[error(transparent)]
    Lost(LostError),
    /// This node did not go on by itself.
    #[error(transparent)]
    Resume(ResumeError),
    /// The request has an idempotency key, and tables of this mode remember none; nothing was changed.
    #[error("the table remembers no idempotency keys")]
    IdempotencyUnsupported,
    /// The node has halted: what was not acknowledged may be lost.
    #[error("the node has halted")]
    Halted,
}

/// Why a node was not declared lost. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LostError {
    /// It is no id, and no node that is or was a member has this name.
    #[error("no node that is or was a member has this name")]
    NotKnown,
    /// Several nodes have or had this name: give an id.
    #[error("several nodes have this name:{}", Listed(.0))]
    Ambiguous(Vec<NodeId>),
    /// This node is no full member itself: joining, rejoining or leaving.
    #[error("this node is no full member itself")]
    NoMember,
}

/// Why a member was not evicted. It is a member still, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EvictError {
    /// No more than half of the members agreed in time; `force` does without them.
    #[error("{acks} of {members} members agreed and {needed} have to; force evicts without them")]
    NoMajority {
        /// Members that agreed, this node included.
        acks: usize,
        /// Members that would have had to.
        needed: usize,
        /// All members, the one to be evicted included.
        members: usize,
    },
    /// No member has this id or name, or it has left or come back in another generation.
    #[error("there is no such member")]
    NotAMember,
    /// Several members have this name: give an id.
    #[error("several members have this name:{}", Listed(.0))]
    Ambiguous(Vec<NodeId>),
    /// It is this node itself, which may leave.
    #[error("a node does not evict itself: let it leave")]
    Myself,
    /// It answers; `force` evicts it all the same.
    #[error("the member answers; force evicts it all the same")]
    Answers,
    /// This node is no full member itself: joining, rejoining or leaving.
    #[error("this node is no full member itself")]
    NoMember,
}

/// Why a node did not go on by itself. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// The node is not rejoining: it waits for no member, has not joined a cluster yet, or is leaving.
    #[error("this node is not rejoining: it waits for no member")]
    NotRejoining,
    /// This full member answers: the node rejoins through it.
    #[error("the member {0} answers: this node rejoins through it")]
    MemberAnswers(NodeId),
}

/// Why the value of a row that is only in the store could not be read. Nothing was changed, and another read tries again.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The record's checksum, form or version is wrong: the store is damaged.
    #[error("the stored value is damaged: {why}")]
    Damaged {
        /// The fault.
        why: &'static str,
    },
    /// The store has no such record: it is damaged.
    #[error("the stored value is missing")]
    Missing,
    /// The store could not read, in its own words.
    #[error("the store could not read the value: {0}")]
    Store(String),
    /// Too many values wait to be loaded.
    #[error("{limit} values wait to be loaded already")]
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
}

/// Why a node could not be rebuilt from what the store held. The store was not changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecoverError {
    /// The store has records, but not the one that every store has. Start with an empty store, or with an older copy and
    /// [`Config::restored`](crate::Config::restored).
    #[error("the store is damaged: its {what} record is missing")]
    Incomplete {
        /// Which record is missing.
        what: &'static str,
    },
    /// The store was noted to have lost something, and no other member can repair it.
    #[error("{what}")]
    Lost {
        /// The driver's note.
        what: String,
    },
    /// A record's checksum or form is wrong, and no other member can repair it.
    #[error("stored record {key} is damaged: {why}")]
    Damaged {
        /// The record's key, as hex digits.
        key: String,
        /// The fault.
        why: &'static str,
    },
    /// The store was written by a newer version.
    #[error("the store has format {found}, this program knows up to {known}")]
    Version {
        /// The format found.
        found: u64,
        /// The newest format understood.
        known: u64,
    },
    /// The store has a whole record of a kind that this program does not know: a newer version wrote it. To go on without it would lose it.
    #[error(
        "stored record {key} is of a kind that this program does not know: a newer version wrote it"
    )]
    UnknownRecord {
        /// The record's key, as hex digits.
        key: String,
        /// The mode of the record, where its key is of one that this program does not keep.
        mode: Option<Mode>,
    },
    /// The store has rows of a gossip table whose name is that of a table of another mode.
    #[error("the store has rows of gossip table {table}, whose name is that of a {mode} table")]
    ModeNotBuilt {
        /// The name of the table.
        table: String,
        /// The mode that the name means.
        mode: Mode,
    },
    /// The store belongs to a cluster of another name.
    #[error("the store belongs to cluster {found:?}, not to {configured:?}")]
    ClusterName {
        /// The name in the store.
        found: String,
        /// The name in the configuration.
        configured: String,
    },
}

/// Reading a table's changes from this cursor is no longer possible: start again from [`Lagged::restart`] after a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("the watcher lagged behind the log of changes")]
pub struct Lagged {
    /// A cursor at the present end of the log.
    pub restart: crate::table::Cursor,
}

/// The mode of a table answers later, so a view cannot tell its rows, how many they are, or their changes. A row of such a table is read and written
/// with [`Request::Table`](crate::io::Request::Table); nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
#[error("the table answers later: its rows are read and written one by one, with requests")]
pub struct AnswersLater {
    /// The table.
    pub table: TableId,
}

/// Why the changes of a table cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangesError {
    /// The log no longer reaches back to the cursor.
    #[error(transparent)]
    Lagged(#[from] Lagged),
    /// The table answers later.
    #[error(transparent)]
    AnswersLater(#[from] AnswersLater),
}

/// This text, or these bytes, are no cursor of a table that is watched here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CursorError {
    /// They have not the form of a cursor.
    #[error("not a cursor")]
    Malformed,
    /// They are a place in the changes of another mode.
    #[error("a cursor of a {mode} table")]
    OtherMode {
        /// The mode.
        mode: Mode,
    },
}

/// Nodes in a text, each after a blank.
struct Listed<'a>(&'a [NodeId]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|node| write!(f, " {node}"))
    }
}
