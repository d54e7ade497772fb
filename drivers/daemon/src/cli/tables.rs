//! The commands on tables, and the options that they take.

use clap::{Subcommand, ValueEnum};

use super::ServerArgs;

/// The commands on tables.
#[derive(Debug, Subcommand)]
pub(crate) enum Tables {
    /// Create a table with options, which are fixed from then on
    ///
    /// A table that is merely written to comes into being with the default options. Creating one again with the same options is fine.
    Create {
        /// Its name
        name: String,
        /// When a write is safe on the member that accepted it
        #[arg(long, value_enum, default_value = "periodic")]
        durability: Durability,
        /// The rule for two writes of one key
        #[arg(long, value_enum, default_value = "last-writer-wins")]
        conflict: Conflict,
        #[command(flatten)]
        server: ServerArgs,
    },
}

/// When a write is safe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Durability {
    /// A restart forgets it, and other members bring it back
    Memory,
    /// Synced about once a second
    Periodic,
    /// Synced before it is acknowledged
    Sync,
}

/// The rule for two writes of one key
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Conflict {
    /// The later write wins, by hybrid logical clocks
    #[value(alias = "last_writer_wins")]
    LastWriterWins,
    /// All writes that did not know of each other stay, until one replaces them whose author has read them: `get` prints a context, and
    /// `put --context` gives it back
    Siblings,
}

/// A value of a flag as the server and files write it.
pub(crate) fn word(value: impl ValueEnum) -> String {
    let value = value.to_possible_value();
    value.map_or_else(String::new, |value| value.get_name().replace('-', "_"))
}

/// The value that the server and files write so.
pub(crate) fn of_word<T: ValueEnum>(text: &str) -> Option<T> {
    let mut values = T::value_variants().iter();
    values.find(|value| word((*value).clone()) == text).cloned()
}
