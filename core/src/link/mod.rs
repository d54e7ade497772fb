//! Handshake and framing of a byte stream between two nodes, without sockets.
//!
//! Each side writes the magic and its hello at once. The hello carries a [`Nonce`] that was drawn for this stream alone. Each side
//! answers the other's hello with a proof, which is the nonce that the hello carried, and takes messages after the right proof of
//! its own. So bytes that were recorded on another stream bring no link up: they prove the nonce of that stream. The proof shows
//! that the peer reads and speaks now, and shows nothing of its identity: a program that speaks the protocol proves it too.

#[cfg(feature = "std")]
mod connection;
#[cfg(feature = "std")]
pub mod frame;
#[cfg(test)]
mod tests;

use alloc::string::String;
use core::fmt;

#[cfg(feature = "std")]
pub use connection::{Connection, LinkEvent, LinkLimits};
#[cfg(feature = "std")]
pub use frame::{Frames, MAX_MESSAGE_BYTES, encode};

use crate::id::{Actor, ClusterId};

/// The first bytes on every link.
pub const MAGIC: [u8; 4] = *b"RMRM";

/// The oldest and the newest wire version this program speaks.
pub const VERSIONS: (u16, u16) = (6, 6);

/// 128 random bits for the handshake of one stream. No copy of it can be made, so that no stream gets that of another.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct Nonce([u64; 2]);

impl Nonce {
    /// Takes random bits. A node draws them itself: [`Node::nonce`](crate::Node::nonce).
    pub const fn new(bits: [u64; 2]) -> Self {
        Nonce(bits)
    }

    /// The bits, for a handshake of another form than the one here.
    pub const fn bits(&self) -> [u64; 2] {
        self.0
    }
}

/// A node's own description in the handshake. Exhaustive, as all forms on the wire: they are the protocol's business.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct Hello {
    /// The wire versions it speaks, oldest and newest.
    pub versions: (u16, u16),
    /// The cluster's name; another name is refused.
    pub cluster_name: String,
    /// The cluster's id, for the log: whether two clusters may meet is decided after the handshake.
    pub cluster: ClusterId,
    /// The node and its present boot.
    pub actor: Actor,
    /// Grows with every start of the node.
    pub generation: u64,
    /// The member's name.
    pub name: String,
    /// The address its peers dial.
    pub addr: String,
}

/// Why a handshake was refused, by either side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub enum Refusal {
    /// The peer does not speak this protocol.
    Magic,
    /// No wire version in common.
    Version {
        /// The peer's oldest and newest.
        theirs: (u16, u16),
    },
    /// The peer belongs to a cluster of another name.
    ClusterName {
        /// The peer's cluster.
        theirs: String,
    },
    /// The proof of the nonce is wrong, or the peer sent our own nonce: the bytes were recorded on another stream, or come back to us.
    Proof,
    /// The peer refused us for a reason this version does not know.
    Other,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Magic => f.write_str("the peer does not speak the Rumormill protocol"),
            Refusal::Version {
                theirs: (low, high),
            } => {
                write!(f, "the peer speaks wire versions {low} to {high}")
            }
            Refusal::ClusterName { theirs } => write!(f, "the peer belongs to cluster {theirs:?}"),
            Refusal::Proof => {
                f.write_str("the proof belongs to another handshake: a recording, or an echo")
            }
            Refusal::Other => f.write_str("the peer refused the link"),
        }
    }
}
