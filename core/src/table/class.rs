//! Row classes: rows of one class share contexts and counters.

use super::TableOptions;

/// When a write of a gossip table is safe on the member that accepted it. Exhaustive: every driver that shows tables has to say what each means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Durability {
    /// Never: a restart forgets it, and other members bring it back.
    Memory,
    /// Synced with the next periodic sync ([`Timing::sync_interval`](crate::Timing::sync_interval)); acknowledged at once.
    Periodic,
    /// Synced before it is acknowledged.
    Sync,
}

/// The rule for two writes of one key of a gossip table. Exhaustive: a program that reads a table has to know how its keys look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Conflict {
    /// The version with the larger (clock, actor, counter) wins.
    LastWriterWins,
    /// Both stay, until a write replaces them whose author has seen them.
    Siblings,
}

/// Namespace, durability class and conflict rule: contexts, counters and indexes exist once per row class. Rows carry their
/// row class, so a row that arrives before its table's definition merges rightly. A `Memory` row class restarts with an empty
/// context; one context over durable and memory tables would claim rows that a restart lost. Exhaustive, as what is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RowClass {
    /// The store's own tables.
    Sys = 0,
    /// Users' tables that survive a restart.
    UsrDurable = 1,
    /// Users' tables that do not.
    UsrMemory = 2,
    /// Users' tables that survive a restart and keep siblings.
    UsrDurableSiblings = 3,
    /// Users' tables that do not and keep siblings.
    UsrMemorySiblings = 4,
}

impl RowClass {
    /// Every row class, in order.
    pub const ALL: [RowClass; 5] = [
        RowClass::Sys,
        RowClass::UsrDurable,
        RowClass::UsrMemory,
        RowClass::UsrDurableSiblings,
        RowClass::UsrMemorySiblings,
    ];

    /// The row classes of users' tables, in order.
    pub const USR: [RowClass; 4] = [
        RowClass::UsrDurable,
        RowClass::UsrMemory,
        RowClass::UsrDurableSiblings,
        RowClass::UsrMemorySiblings,
    ];

    /// Returns the row class of a user's table with these options.
    pub const fn of(options: TableOptions) -> RowClass {
        match (options.conflict, options.durability) {
            (Conflict::LastWriterWins, Durability::Memory) => RowClass::UsrMemory,
            (Conflict::LastWriterWins, _) => RowClass::UsrDurable,
            (Conflict::Siblings, Durability::Memory) => RowClass::UsrMemorySiblings,
            (Conflict::Siblings, _) => RowClass::UsrDurableSiblings,
        }
    }

    /// Returns the row class with this number on the wire and in the store.
    pub const fn from_u8(number: u8) -> Option<RowClass> {
        match number {
            0 => Some(RowClass::Sys),
            1 => Some(RowClass::UsrDurable),
            2 => Some(RowClass::UsrMemory),
            3 => Some(RowClass::UsrDurableSiblings),
            4 => Some(RowClass::UsrMemorySiblings),
            _ => None,
        }
    }

    /// Returns whether rows of this class are stored.
    pub const fn is_durable(self) -> bool {
        !matches!(self, RowClass::UsrMemory | RowClass::UsrMemorySiblings)
    }

    /// Returns the rule of its tables for two writes of one key.
    pub const fn conflict(self) -> Conflict {
        match self {
            RowClass::UsrDurableSiblings | RowClass::UsrMemorySiblings => Conflict::Siblings,
            RowClass::Sys | RowClass::UsrDurable | RowClass::UsrMemory => Conflict::LastWriterWins,
        }
    }

    pub(crate) const fn has_siblings(self) -> bool {
        matches!(self.conflict(), Conflict::Siblings)
    }

    pub(crate) const fn index(self) -> usize {
        self as usize
    }
}
