//! Messages of the cluster machine: nodes meet, leave and end each other's generations.

use alloc::vec::Vec;

use super::{ClaimNumber, ClassContext, RowBatch, Status};
use crate::id::{ClusterId, NodeId};

wire! {
    /// A message about the members of the cluster. Its msgpack is named, so that it can grow.
    pub enum ClusterMessage {
        /// First on every link: the sender's place in its cluster, and the rows about the two nodes.
        Greeting(Greeting),
        /// The evictions of which the sender has heard, each by its hash: the receiver's greeting says that it has heard of others,
        /// and comes again with those.
        EvictionDigest(Vec<u64>),
        /// The sender refuses the receiver and closes the link.
        Denial(Denial),
        /// The sender takes its leave: it sends nothing more on this link.
        Leave,
        /// The sender stops, and comes back as the same member: it sends nothing more in this generation.
        Stop,
        /// Asks whether the receiver agrees that this generation of a member be ended.
        Evict {
            /// Echoed in the answer.
            round: u64,
            /// The member.
            node: NodeId,
            /// Its generation.
            generation: u64,
            /// Whether the member may still answer the receiver.
            force: bool,
        },
        /// The answer to a [`ClusterMessage::Evict`]; that the sender agrees is durable.
        EvictVote {
            /// The number of the question.
            round: u64,
            /// Whether it agrees.
            agrees: bool,
        },
        /// The sender has given up ending this generation: a receiver that agreed is free to agree with another.
        EvictCancel {
            /// The member.
            node: NodeId,
            /// Its generation.
            generation: u64,
        },
        /// The sender leaves, and takes no more rows. Asks whether the receiver durably holds all that the sender covers.
        Handover {
            /// Echoed in the answer; grows when the sender covers more.
            round: u64,
            /// Whether it has asked for a while: a receiver that lacks something fetches it now.
            insists: bool,
            /// All that the sender covers.
            held: Vec<ClassContext>,
        },
        /// The answer to a [`ClusterMessage::Handover`]: the sender durably holds all of it. There is no other answer.
        Takeover {
            /// The number of the question.
            round: u64,
        },
        /// Answers a greeting that told claims of the sender: its store goes back to all of them.
        Holds(Vec<ClaimNumber>),
    }
}

impl ClusterMessage {
    /// Its name, as traces print it.
    pub fn kind(&self) -> &'static str {
        match self {
            ClusterMessage::Greeting(_) => "greeting",
            ClusterMessage::EvictionDigest(_) => "eviction_digest",
            ClusterMessage::Denial(_) => "denial",
            ClusterMessage::Leave => "leave",
            ClusterMessage::Stop => "stop",
            ClusterMessage::Evict { .. } => "evict",
            ClusterMessage::EvictVote { .. } => "evict_vote",
            ClusterMessage::EvictCancel { .. } => "evict_cancel",
            ClusterMessage::Handover { .. } => "handover",
            ClusterMessage::Takeover { .. } => "takeover",
            ClusterMessage::Holds(_) => "holds",
        }
    }

    /// Whether it has a meaning before the greetings of a link are through.
    pub(crate) fn greets(&self) -> bool {
        matches!(
            self,
            ClusterMessage::Greeting(_)
                | ClusterMessage::EvictionDigest(_)
                | ClusterMessage::Denial(_)
        )
    }
}

/// Why a peer is refused, for its operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub enum Denial {
    /// Another node uses the peer's id, and answers.
    IdInUse,
    /// The peer is an earlier generation of a member.
    Sealed,
    /// There are too many links.
    TooMany,
    /// The sender is leaving.
    Leaving,
}

impl Denial {
    /// The reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            Denial::IdInUse => "another node with this node's id answers: one of the two is a copy",
            Denial::Sealed => "a later generation of this node is a member",
            Denial::TooMany => "the peer has too many links",
            Denial::Leaving => "the peer is leaving",
        }
    }
}

wire! {
    /// The greeting. Both sides compare the two greetings of a link and reach the same verdict.
    pub struct Greeting {
        /// The sender's cluster.
        pub cluster: ClusterId,
        /// Whether the sender has ever had a fellow member.
        pub has_fellows: bool,
        /// Whether the sender has looked for a cluster for long enough to begin one with others that have too.
        #[cfg_attr(feature = "std", serde(default))]
        pub founds: bool,
        /// The phase of the sender in its cluster.
        pub phase: Phase,
        /// Sum of the hashes of all evictions of which the sender has heard.
        pub evictions: u64,
        /// Whether the rows tell of all of them of which the receiver has not heard, by what it said.
        #[cfg_attr(feature = "std", serde(default))]
        pub whole: bool,
        /// The rows of `sys.members` and `sys.departed` about the sender, and those about the receiver that the sender has, so
        /// that no row of users is exchanged between nodes that have not recorded each other.
        pub rows: RowBatch,
        /// Claims of the receiver, made in earlier generations, on which deletes were freed. Its store is an older copy if it does not go back to them.
        #[cfg_attr(feature = "std", serde(default))]
        pub freed_on: Vec<ClaimNumber>,
        /// Its state in short.
        pub status: Status,
    }
}

wire! {
    /// Where a node stands towards its cluster.
    pub enum Phase {
        /// A member.
        Member,
        /// New, and still fetching what the cluster holds: it serves, pushes and claims nothing.
        Joining,
        /// Left or evicted, or restored from a copy: it must rejoin before it pushes or claims anything.
        Rejoining {
            /// The clock of its leave.
            since: u64,
            /// Members that were active when it left; empty when it was the last one.
            active: Vec<NodeId>,
        },
    }
}
