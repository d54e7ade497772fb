//! Modes: the ways in which the members of a cluster keep a table.

use core::fmt;

use crate::error::TableError;

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
