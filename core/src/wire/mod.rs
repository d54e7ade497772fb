//! Messages between nodes, nested by the machine that they are for, and their form as bytes.
//!
//! # On the wire
//! A message is `tag u8 | msgpack`. The tag names the machine, and each table mode is a machine with a tag of its own: so a mode that
//! comes later changes no format of the others. A tag never changes its meaning.
//!
//! | tag | machine | form of the msgpack |
//! |---|---|---|
//! | 0 | [`ClusterMessage`] | named: each struct is a map from field names to values |
//! | 1 | [`DetectorMessage`] | positional: each struct is an array |
//! | 2 | [`GossipMessage`] | positional |
//! | 3 | reserved for strong tables (`strong:` names) | |
//! | 4 | reserved for quorum tables (`quorum:` names) | |
//!
//! In either form a message is a map from its variant's name to its content, or the bare name where it has none. Named forms grow within a
//! version: a reader skips fields that it does not know, and a field that a later version adds has a default. Positional
//! forms change with the version that the handshake agrees on. No type is recursive.
//!
//! Settings and records of a mode carry the mode's name or tag likewise: settings are named `gossip.*`, `strong.*` and `quorum.*`, and a
//! record of a mode has the mode in its key.

/// Defines a type of messages, with its msgpack where there is a standard library.
macro_rules! wire {
    ($(#[$doc:meta])* pub struct $name:ident { $($(#[$fdoc:meta])* pub $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name { $($(#[$fdoc])* pub $field: $ty,)* }
    };
    ($(#[$doc:meta])* pub enum $name:ident { $($body:tt)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
        pub enum $name { $($body)* }
    };
}

mod cluster;
#[cfg(feature = "std")]
mod codec;
mod detector;
mod gossip;

pub use cluster::{ClusterMessage, Denial, Greeting, Phase};
#[cfg(feature = "std")]
pub(crate) use codec::decode_all;
#[cfg(feature = "std")]
pub use codec::{DecodeError, EncodeError, decode, encode};
pub use detector::{DetectorMessage, Rumor, RumorState};
pub use gossip::{
    ClaimAsk, ClaimNumber, ClassContext, ClassDigest, ClassScope, DotRange, GossipMessage, Page,
    Pull, PullBasis, RangeDots, RangeSum, RelayedClaim, Row, RowBatch, Snapshot, Status, TableRef,
};

/// Defines [`Message`]: for each machine its tag, the form of its msgpack, and its messages.
macro_rules! machines {
    ($($(#[$doc:meta])* $tag:literal, $form:ident, $machine:ident($msg:ty);)+) => {
        /// A message between two nodes. A table mode that comes later adds its own.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Message {
            $($(#[$doc])* $machine($msg),)+
        }

        impl Message {
            /// Its name within its machine, as traces print it.
            pub fn kind(&self) -> &'static str {
                match self {
                    $(Message::$machine(msg) => msg.kind(),)+
                }
            }
        }

        impl core::fmt::Display for crate::Trace<'_, Message> {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                match self.0 {
                    $(Message::$machine(msg) => crate::Trace(msg).fmt(f),)+
                }
            }
        }

        #[cfg(feature = "std")]
        impl Message {
            /// Appends the tag and the msgpack.
            fn write(&self, out: &mut alloc::vec::Vec<u8>) -> Result<(), EncodeError> {
                match self {
                    $(Message::$machine(msg) => {
                        out.push($tag);
                        codec::$form(msg, out)
                    })+
                }
            }

            /// Reads the msgpack behind a tag.
            fn read(tag: u8, bytes: &[u8]) -> Result<Message, DecodeError> {
                match tag {
                    $($tag => decode_all(bytes).map(Message::$machine),)+
                    tag => Err(DecodeError::UnknownMachine { tag }),
                }
            }
        }
    };
}

machines! {
    /// Messages of the cluster's members: greetings, leaves and evictions.
    0, named, Cluster(ClusterMessage);
    /// Messages of the failure detector.
    1, positional, Detector(DetectorMessage);
    /// Messages of gossip tables.
    2, positional, Gossip(GossipMessage);
}

impl Message {
    /// The rows that it carries between members, but for those of a greeting.
    pub fn rows(&self) -> Option<&RowBatch> {
        match self {
            Message::Gossip(msg) => msg.rows(),
            Message::Cluster(_) | Message::Detector(_) => None,
        }
    }

    /// The rumors that it carries.
    pub fn rumors(&self) -> Option<&[Rumor]> {
        match self {
            Message::Detector(msg) => Some(msg.rumors()),
            Message::Cluster(_) | Message::Gossip(_) => None,
        }
    }
}
