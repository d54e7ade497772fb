//! Names of things: small copies of integers, so that nothing on the hot path compares strings.

use core::fmt;
use core::str::FromStr;

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

macro_rules! random_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }

        impl FromStr for $name {
            type Err = core::num::ParseIntError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                u64::from_str_radix(text, 16).map($name)
            }
        }
    };
}

random_id! {
    /// A member's identity: random, minted once per data directory, printed as 16 hex digits.
    NodeId
}
random_id! {
    /// The identity of a cluster: random, minted by its first member. Nodes of different clusters refuse each other.
    ClusterId
}
serial! {
    /// A connection to a peer. The driver numbers them and never uses a number twice.
    LinkId
}
serial! {
    /// One attempt to reach an address, named by the core and echoed by the driver.
    DialId
}
serial! {
    /// A request of the driver, chosen by it and echoed in the reply.
    Token
}
serial! {
    /// One reading of a record, named by the core and echoed by the driver.
    LoadId
}
serial! {
    /// The position of a batch in the order of stores. Batch `n` is durable once `Stored { upto: n }` has been handed in.
    Seq
}

/// One boot of a node: its id and random bits. Dots are minted by actors, so that a copied or
/// rolled-back disk can never reuse one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct Actor {
    /// The node.
    pub node: NodeId,
    /// Random 64 bits drawn at the start of this boot.
    pub boot: u64,
}

impl Actor {
    /// Not above any actor.
    pub(crate) const MIN: Actor = Actor {
        node: NodeId(0),
        boot: 0,
    };
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:016x}", self.node, self.boot)
    }
}

/// A flush of this node whose rows ahead of the clock are not all deleted yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlushId(pub(crate) u64);

/// A table of this node, interned: valid on the node that gave it. One that [`Node::table`](crate::Node::table) or
/// [`Node::create_table`](crate::Node::create_table) gave is valid for the node's lifetime, any other as long as the table has rows or options, and for
/// some seconds after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub(crate) u32);

impl TableId {
    /// The user table `default`, where plain Redis strings live.
    pub const DEFAULT: TableId = TableId(0);
}
