//! Errors, one enum per operation. Each variant says when it happens; none of them leaves state changed unless it says so.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::id::NodeId;
use crate::table::Mode;

/// Why a write was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WriteError {
    /// The key is empty.
    EmptyKey,
    /// The key is longer than [`Limits::key_bytes`](crate::Limits::key_bytes).
    KeyTooLarge {
        /// The key's length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The value is longer than [`Limits::value_bytes`](crate::Limits::value_bytes).
    ValueTooLarge {
        /// The value's length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The table belongs to the store itself.
    ReadOnlyTable,
    /// The table had no rows any more and was forgotten: ask for it by its name.
    TableForgotten,
    /// The store lags behind by more than [`Limits::store_backlog`](crate::Limits::store_backlog) batches or
    /// [`Limits::store_backlog_bytes`](crate::Limits::store_backlog_bytes), or too many requests
    /// or flushes wait. Try again later.
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The store is out of space. Reads are served; writes are accepted again when it has recovered.
    StoreStalled,
    /// The row to be replaced, or a floor of its table, has the largest clock there is: nothing is newer.
    LastClock,
    /// This node's wall clock is further ahead of the clock of every peer it heard of late than
    /// [`Limits::clock_drift`](crate::Limits::clock_drift), and it heard at least two: the write would hide later ones of other members.
    /// Set the clock right.
    ClockAhead {
        /// How far it is ahead of the next, in milliseconds.
        ahead_ms: u64,
        /// The limit in milliseconds.
        limit_ms: u64,
    },
    /// The node is leaving, has left or has halted.
    Leaving,
    /// The key would have more siblings than [`Limits::siblings`](crate::Limits::siblings): read them, and write with their context.
    TooManySiblings {
        /// The most siblings of a key.
        limit: usize,
    },
    /// The siblings of the key would together be longer than one row may be: read them, and write with their context.
    SiblingsTooLarge {
        /// Their length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// A delete in a table that keeps siblings removes what its author has seen, and this one does not say what that is.
    ContextRequired,
    /// A context was given, and the table keeps no siblings.
    ContextUnused,
    /// The context cannot be used.
    Context(TokenError),
    /// Rows of a table that keeps siblings do not expire.
    ExpiryUnsupported,
}

impl fmt::Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WriteError::EmptyKey => f.write_str("a key has at least one byte"),
            WriteError::KeyTooLarge { size, limit } => {
                write!(f, "the key has {size} bytes, the limit is {limit}")
            }
            WriteError::ValueTooLarge { size, limit } => {
                write!(f, "the value has {size} bytes, the limit is {limit}")
            }
            WriteError::TableForgotten => {
                f.write_str("the table was forgotten: ask for it by its name")
            }
            WriteError::ReadOnlyTable => f.write_str("tables of the store itself are read-only"),
            WriteError::Busy { limit } => {
                write!(
                    f,
                    "the store lags behind or too much waits, the limit is {limit}"
                )
            }
            WriteError::StoreStalled => f.write_str("the store is out of space"),
            WriteError::LastClock => f.write_str("the row has the largest clock there is"),
            WriteError::ClockAhead { ahead_ms, limit_ms } => write!(
                f,
                "this node's clock is {ahead_ms} ms ahead of all others, the limit is {limit_ms} ms"
            ),
            WriteError::Leaving => f.write_str("the node is leaving the cluster"),
            WriteError::TooManySiblings { limit } => write!(
                f,
                "the key has {limit} siblings, which is the limit: read them and write with their context"
            ),
            WriteError::SiblingsTooLarge { size, limit } => write!(
                f,
                "the siblings of the key would have {size} bytes, the limit is {limit}: read them and write with their context"
            ),
            WriteError::ContextRequired => f.write_str(
                "a delete in a table that keeps siblings needs the context of a read of the key",
            ),
            WriteError::ContextUnused => f.write_str(
                "the table keeps no siblings, so that a context means nothing: write without it",
            ),
            WriteError::Context(error) => {
                write!(
                    f,
                    "{error}: read the key again, and write with what that gives"
                )
            }
            WriteError::ExpiryUnsupported => {
                f.write_str("rows of a table that keeps siblings do not expire")
            }
        }
    }
}

impl core::error::Error for WriteError {}

impl From<TokenError> for WriteError {
    fn from(error: TokenError) -> Self {
        WriteError::Context(error)
    }
}

/// Why a causal token cannot be used. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenError {
    /// It is no token.
    Malformed,
    /// Its checksum is wrong.
    Damaged,
    /// It is of a version or of a kind of table that this program does not know.
    Unknown {
        /// Its version.
        version: u8,
        /// Its kind.
        kind: u8,
    },
    /// It was read from another table or key.
    OtherKey,
    /// It has seen writes of this node that this node has not accepted.
    Unissued,
}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TokenError::Malformed => f.write_str("the context is malformed"),
            TokenError::Damaged => f.write_str("the context is damaged: its checksum is wrong"),
            TokenError::Unknown { version, kind } => write!(
                f,
                "the context has version {version} and kind {kind}, which are not known"
            ),
            TokenError::OtherKey => f.write_str("the context is of another table or key"),
            TokenError::Unissued => {
                f.write_str("the context has seen writes that this node never accepted")
            }
        }
    }
}

impl core::error::Error for TokenError {}

/// Why a table was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// A name has 1 to [`Limits::table_name_bytes`](crate::Limits::table_name_bytes) bytes.
    BadName {
        /// The name's length in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The name is that of a table of another mode than gossip, and this program keeps none of it yet.
    ModeNotBuilt {
        /// The mode.
        mode: Mode,
    },
    /// The table exists with other options, which are fixed at creation.
    OptionsDiffer,
    /// The node cannot take the definition now.
    Write(WriteError),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TableError::BadName { size, limit } => {
                write!(
                    f,
                    "a table name has 1 to {limit} bytes, this one has {size}"
                )
            }
            TableError::ModeNotBuilt { mode } => {
                let prefix = mode.prefix();
                write!(
                    f,
                    "{prefix}NAME is the name of a {mode} table, and {mode} tables are not built yet"
                )
            }
            TableError::OptionsDiffer => {
                f.write_str("the table exists with other options, which are fixed at creation")
            }
            TableError::Write(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for TableError {}

impl From<WriteError> for TableError {
    fn from(error: WriteError) -> Self {
        TableError::Write(error)
    }
}

/// Why a change of settings was refused. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingError {
    /// There is no setting of that name.
    Unknown {
        /// The name, cut to 64 characters.
        name: String,
    },
    /// The setting has another name, which begins with the machine that it is about.
    Renamed {
        /// The name, as it was given.
        name: String,
        /// The name that it has.
        to: &'static str,
    },
    /// The name is one of a mode that this program does not have yet.
    ModeNotBuilt {
        /// The name, cut to 64 characters.
        name: String,
        /// The mode.
        mode: Mode,
    },
    /// The text is no value of the setting's kind.
    Malformed {
        /// The setting.
        name: &'static str,
        /// The text, cut to 64 characters.
        value: String,
        /// The form that it has to have.
        expected: &'static str,
    },
    /// The value is beyond the bounds.
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
    Conflict {
        /// The setting that has to be smaller.
        low: &'static str,
        /// The one that has to be larger.
        high: &'static str,
    },
    /// The node cannot take a write now.
    Write(WriteError),
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingError::Unknown { name } => write!(f, "there is no setting {name:?}"),
            SettingError::Renamed { name, to } => write!(f, "{name} is called {to}"),
            SettingError::ModeNotBuilt { name, mode } => {
                write!(
                    f,
                    "{name:?} would be a setting of {mode} tables, which are not built yet"
                )
            }
            SettingError::Malformed {
                name,
                value,
                expected,
            } => write!(f, "{name} is {expected}, not {value:?}"),
            SettingError::OutOfRange {
                name,
                value,
                min,
                max,
            } => write!(f, "{name} is from {min} to {max}, not {value}"),
            SettingError::Conflict { low, high } => {
                write!(f, "{low} has to be less than {high}, which is set too")
            }
            SettingError::Write(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SettingError {}

impl From<WriteError> for SettingError {
    fn from(error: WriteError) -> Self {
        SettingError::Write(error)
    }
}

/// Why a request that went through [`Input::Request`](crate::Input::Request) failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestError {
    /// The deadline passed. The operation may still take effect.
    DeadlineExceeded,
    /// The driver cancelled it. The operation may still take effect.
    Cancelled,
    /// Too many requests wait; nothing was changed.
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
    /// The write was refused; nothing was changed.
    Write(WriteError),
    /// The table was refused; nothing was changed.
    Table(TableError),
    /// The settings were refused; nothing was changed.
    Setting(SettingError),
    /// The address could not be joined, for the reason given; nothing was changed.
    Join(String),
    /// The value is only in the store and could not be read; nothing was changed.
    Read(ReadError),
    /// The member was not evicted.
    Evict(EvictError),
    /// The node was not declared lost.
    Lost(LostError),
    /// This node did not go on by itself.
    Resume(ResumeError),
    /// The node has halted: what was not acknowledged may be lost.
    Halted,
}

/// Why a node was not declared lost. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LostError {
    /// It is no id, and no node that is or was a member has this name.
    NotKnown,
    /// Several nodes have or had this name: give an id.
    Ambiguous(Vec<NodeId>),
    /// This node is no full member itself: joining, away or leaving.
    NoMember,
}

impl fmt::Display for LostError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LostError::NotKnown => f.write_str("no node that is or was a member has this name"),
            LostError::Ambiguous(ids) => {
                f.write_str("several nodes have this name:")?;
                ids.iter().try_for_each(|id| write!(f, " {id}"))
            }
            LostError::NoMember => f.write_str("this node is no full member itself"),
        }
    }
}

impl core::error::Error for LostError {}

/// Why a member was not evicted. It is a member still, and nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EvictError {
    /// No more than half of the members agreed in time; `force` does without them.
    NoMajority {
        /// Members that agreed, this node included.
        acks: usize,
        /// Members that would have had to.
        needed: usize,
        /// All members, the one to be evicted included.
        members: usize,
    },
    /// No member has this id or name, or it has left or come back in another life.
    NotAMember,
    /// Several members have this name: give an id.
    Ambiguous(Vec<NodeId>),
    /// It is this node itself, which may leave.
    Myself,
    /// It answers; `force` evicts it all the same.
    Answers,
    /// This node is no full member itself: joining, away or leaving.
    NoMember,
}

impl fmt::Display for EvictError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EvictError::NoMajority {
                acks,
                needed,
                members,
            } => write!(
                f,
                "{acks} of {members} members agreed and {needed} have to; force evicts without them"
            ),
            EvictError::NotAMember => f.write_str("there is no such member"),
            EvictError::Ambiguous(ids) => {
                f.write_str("several members have this name:")?;
                ids.iter().try_for_each(|id| write!(f, " {id}"))
            }
            EvictError::Myself => f.write_str("a node does not evict itself: let it leave"),
            EvictError::Answers => f.write_str("the member answers; force evicts it all the same"),
            EvictError::NoMember => f.write_str("this node is no full member itself"),
        }
    }
}

impl core::error::Error for EvictError {}

/// Why a node did not go on by itself. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResumeError {
    /// The node is not away: it waits for no member, has not joined a cluster yet, or is leaving.
    NotAway,
    /// This full member answers: the node reunites with it.
    MemberAnswers(NodeId),
}

impl fmt::Display for ResumeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ResumeError::NotAway => f.write_str("this node is not away: it waits for no member"),
            ResumeError::MemberAnswers(node) => {
                write!(f, "the member {node} answers: this node reunites with it")
            }
        }
    }
}

impl core::error::Error for ResumeError {}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RequestError::DeadlineExceeded => f.write_str("the deadline passed"),
            RequestError::Cancelled => f.write_str("cancelled"),
            RequestError::Busy { limit } => write!(f, "{limit} requests are waiting already"),
            RequestError::Write(error) => error.fmt(f),
            RequestError::Table(error) => error.fmt(f),
            RequestError::Setting(error) => error.fmt(f),
            RequestError::Join(why) => write!(f, "could not join: {why}"),
            RequestError::Read(error) => error.fmt(f),
            RequestError::Evict(error) => error.fmt(f),
            RequestError::Lost(error) => error.fmt(f),
            RequestError::Resume(error) => error.fmt(f),
            RequestError::Halted => f.write_str("the node has halted"),
        }
    }
}

impl core::error::Error for RequestError {}

/// Why the value of a row that is only in the store could not be read. Nothing was changed, and another read tries again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReadError {
    /// The record's checksum, form or version is wrong: the store is damaged.
    Damaged {
        /// The fault.
        why: &'static str,
    },
    /// The store has no such record: it is damaged.
    Missing,
    /// The store could not read, in its own words.
    Store(String),
    /// Too many values wait to be loaded.
    Busy {
        /// The limit that was reached.
        limit: usize,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Damaged { why } => write!(f, "the stored value is damaged: {why}"),
            ReadError::Missing => f.write_str("the stored value is missing"),
            ReadError::Store(why) => write!(f, "the store could not read the value: {why}"),
            ReadError::Busy { limit } => write!(f, "{limit} values wait to be loaded already"),
        }
    }
}

impl core::error::Error for ReadError {}

/// Why a node could not be rebuilt from what the store held. The store was not changed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RecoverError {
    /// The store has records, but not the one that every store has. Start with an empty store, or with an older copy and
    /// [`Config::restored`](crate::Config::restored).
    Incomplete {
        /// Which record is missing.
        what: &'static str,
    },
    /// The store was noted to have lost something, and no other member can repair it.
    Lost {
        /// The driver's note.
        what: String,
    },
    /// A record's checksum or form is wrong, and no other member can repair it.
    Damaged {
        /// The record's key, as hex digits.
        key: String,
        /// The fault.
        why: &'static str,
    },
    /// The store was written by a newer version.
    Version {
        /// The format found.
        found: u64,
        /// The newest format understood.
        known: u64,
    },
    /// The store has rows of a gossip table whose name is that of a table of another mode.
    ModeNotBuilt {
        /// The name of the table.
        table: String,
        /// The mode that the name means.
        mode: Mode,
    },
    /// The store belongs to a cluster of another name.
    ClusterName {
        /// The name in the store.
        found: String,
        /// The name in the configuration.
        configured: String,
    },
}

impl fmt::Display for RecoverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecoverError::Lost { what } => f.write_str(what),
            RecoverError::ModeNotBuilt { table, mode } => write!(
                f,
                "the store has rows of gossip table {table}, whose name is that of a {mode} table"
            ),
            RecoverError::Damaged { key, why } => {
                write!(f, "stored record {key} is damaged: {why}")
            }
            RecoverError::Incomplete { what } => {
                write!(f, "the store is damaged: its {what} record is missing")
            }
            RecoverError::Version { found, known } => {
                write!(
                    f,
                    "the store has format {found}, this program knows up to {known}"
                )
            }
            RecoverError::ClusterName { found, configured } => {
                write!(
                    f,
                    "the store belongs to cluster {found:?}, not to {configured:?}"
                )
            }
        }
    }
}

impl core::error::Error for RecoverError {}

/// Reading a table's changes from this cursor is no longer possible: start again from [`Lagged::restart`] after a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lagged {
    /// A cursor at the present end of the log.
    pub restart: crate::Cursor,
}

impl fmt::Display for Lagged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the watcher lagged behind the log of changes")
    }
}

impl core::error::Error for Lagged {}
