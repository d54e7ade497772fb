//! Tables: their options, the rows as a reader sees them, and the sub-machines that keep them.

pub(crate) mod catalog;
pub(crate) mod causal;
pub(crate) mod changes;
mod class;
mod clock;
mod context;
pub(crate) mod env;
pub(crate) mod gossip;
pub(crate) mod loads;
pub(crate) mod modes;
mod request;
pub(crate) mod shared;
pub(crate) mod siblings;
mod slot;
#[cfg(test)]
mod tests;
mod view;

use alloc::string::String;
use core::fmt;

use bytes::Bytes;

pub(crate) use catalog::sys;
pub use causal::CausalToken;
pub use class::{Conflict, Durability, RowClass};
pub use clock::Hlc;
pub use context::{Context, Runs};
pub use gossip::{RowsReceived, StrayRows};
pub use request::{Caller, IdempotencyKey, TableOp, TableRequest};
pub(crate) use slot::Slot;
pub(crate) use view::Reads;
pub use view::{
    Change, ChangeKind, Changes, Cursor, Found, Row, RowRef, Scan, ScanRange, Siblings, TableInfo,
    View,
};

use crate::error::TableError;
use crate::id::{Actor, Seq};
use crate::time::Wall;

/// The way in which the members keep a table. Its name alone decides, so that no member that has not heard of a definition takes a table
/// for one of another mode. Exhaustive: there is no fourth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Mode {
    /// Every member has every row and takes writes at once: all names without a prefix of another mode.
    Gossip = 0,
    /// A majority agrees on each write: `strong:NAME`. Not built yet.
    Strong = 1,
    /// Some members have each row, and several of them answer: `quorum:NAME`. Not built yet.
    Quorum = 2,
}

impl Mode {
    /// Every mode.
    pub(crate) const ALL: [Mode; 3] = [Mode::Gossip, Mode::Strong, Mode::Quorum];

    /// Returns the mode of the table of this name.
    pub fn of(name: &str) -> Mode {
        let named = [Mode::Strong, Mode::Quorum].into_iter();
        let mut named = named.filter(|mode| name.starts_with(mode.prefix()));
        named.next().unwrap_or(Mode::Gossip)
    }

    /// Returns the beginning of the names of its tables; nothing for gossip.
    pub const fn prefix(self) -> &'static str {
        match self {
            Mode::Gossip => "",
            Mode::Strong => "strong:",
            Mode::Quorum => "quorum:",
        }
    }

    /// The mode of the table of this name, if this program keeps tables of that mode. For what asks for a table without making it: a table
    /// that is not there and one that cannot be are not the same.
    ///
    /// # Errors
    /// [`TableError::ModeNotBuilt`].
    pub fn built(name: &str) -> Result<Mode, TableError> {
        let mode = Mode::of(name);
        match mode.is_built() {
            true => Ok(mode),
            false => Err(TableError::ModeNotBuilt { mode }),
        }
    }

    /// Whether this program keeps tables of this mode.
    pub const fn is_built(self) -> bool {
        matches!(self, Mode::Gossip)
    }

    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Gossip => "gossip",
            Mode::Strong => "strong",
            Mode::Quorum => "quorum",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The options fixed when a table is created. A table that is merely written to gets the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TableOptions {
    /// When a write is safe.
    pub durability: Durability,
    /// The rule for two writes of one key by two members.
    pub conflict: Conflict,
}

impl TableOptions {
    /// These options with another durability.
    #[must_use = "it returns other options"]
    pub const fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    /// These options with another rule for two writes to one key.
    #[must_use = "it returns other options"]
    pub const fn conflict(mut self, conflict: Conflict) -> Self {
        self.conflict = conflict;
        self
    }
}

impl Default for TableOptions {
    fn default() -> Self {
        TableOptions {
            durability: Durability::Periodic,
            conflict: Conflict::LastWriterWins,
        }
    }
}

/// A write to one row. Exhaustive: a program that records or judges writes has to know them all.
#[derive(Clone, Debug)]
pub enum Write<'a> {
    /// Sets the value.
    Put {
        /// The key, 1 byte or more.
        key: &'a [u8],
        /// The value; the row owns it, so it must not be a slice of a larger buffer.
        value: Bytes,
        /// When the row expires, `None` for never.
        expires: Option<Wall>,
    },
    /// Removes the row. Deleting a row that is not there is no write and is accepted with the version it has; deleting one that has expired
    /// here and may show elsewhere is a write.
    Delete {
        /// The key, 1 byte or more.
        key: &'a [u8],
    },
    /// Puts a value in the place of the siblings that its author has seen, in a table that keeps siblings. There `Put`
    /// replaces nothing and adds a sibling, for its author has seen nothing.
    Replace {
        /// The key, 1 byte or more.
        key: &'a [u8],
        /// The value; the row owns it, so it must not be a slice of a larger buffer.
        value: Bytes,
        /// The versions that the author has seen: [`RowRef::context`].
        context: &'a CausalToken,
    },
    /// Removes the siblings that the author has seen, in a table that keeps siblings. Where none of them is left it is no
    /// write and is accepted with the version the row has.
    Remove {
        /// The key, 1 byte or more.
        key: &'a [u8],
        /// The versions that the author has seen: [`RowRef::context`].
        context: &'a CausalToken,
    },
}

impl Write<'_> {
    /// Returns whether it leaves less than was there.
    pub(crate) fn is_delete(&self) -> bool {
        matches!(self, Write::Delete { .. } | Write::Remove { .. })
    }
}

/// The identity and order of one version of a row. Exhaustive: these three order versions, for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The hybrid logical clock of the write.
    pub clock: Hlc,
    /// The actor that accepted it.
    pub actor: Actor,
    /// The actor's counter: together with the actor the dot of the write.
    pub counter: u64,
}

/// A write was accepted: it is visible here and goes to every member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// The version it got.
    pub version: Version,
    /// The batch that makes it durable: wait for [`Node::durable`](crate::Node::durable) to reach it.
    pub seq: Seq,
    /// Whether the table promises durability before the acknowledgement, so that a driver must wait.
    pub sync: bool,
    /// Whether a live row was there before, by this node's clock.
    pub existed: bool,
    /// Whether a version was written. A delete of what is nowhere writes none; one of a row that is hidden here, since it has expired by
    /// this node's clock, does: it may show elsewhere.
    pub wrote: bool,
}

/// The name of a table as the store prints it: namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TableName {
    /// `sys` or `usr`.
    pub namespace: Namespace,
    /// The name.
    pub name: String,
}

/// The owner of a table. Exhaustive: there is no third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Namespace {
    /// The store.
    Sys,
    /// Its users.
    Usr,
}
