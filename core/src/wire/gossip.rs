//! Messages of gossip tables: rows, sessions, range repair and claims. [`Status`] is of gossip too, since all of it serves to find rows
//! that differ, and to free and end rows; greetings and probes carry it.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{Actor, NodeId};
use crate::table::RowClass;

wire! {
    /// A message of gossip tables.
    pub enum GossipMessage {
        /// Rows just accepted by the sender, or asked for with a [`GossipMessage::Graft`]: for the receiver alone.
        Push(RowBatch),
        /// Rows just accepted by another member, for the receiver to pass on.
        Forward {
            /// Ids that cut the ring of all ids into subtrees, ascending and around: a receiver passes the rows on to the members from the
            /// last cut not above itself up to the next, that one excluded.
            cuts: Vec<NodeId>,
            /// The rows.
            rows: RowBatch,
        },
        /// Dots that the sender has seen lately.
        IHave(Vec<ClassContext>),
        /// Asks for the rows of dots that a [`GossipMessage::IHave`] named.
        Graft(Vec<ClassContext>),
        /// Asks for every row the sender lacks, as a session of pages.
        Pull(Pull),
        /// One page of a session.
        Page(Page),
        /// The page before arrived: asks for this one.
        PageAck {
            /// The session.
            session: u64,
            /// The number of the wanted page.
            page: u32,
        },
        /// The sender's digest differs from the receiver's in these parts of the contexts: the session is about them.
        DigestDiff {
            /// The session.
            session: u64,
            /// The parts, by row class.
            scope: Vec<ClassScope>,
            /// The changes that the sender had seen by then; the receiver sends the number back in [`PullBasis::Within`].
            at: u64,
        },
        /// The session cannot be served now.
        Refused {
            /// The session.
            session: u64,
        },
        /// Contexts agree and rows do not: asks which rows the receiver shows in the ranges whose sums differ.
        RangeSum(RangeSum),
        /// The rows that the sender shows in those ranges that differ.
        RangeDots(RangeDots),
        /// Asks for claims of members to which the sender has no link; at most 16.
        AskClaims(Vec<ClaimAsk>),
        /// Claims of other members, which the receiver has asked for; at most 16.
        Claims(Vec<RelayedClaim>),
    }
}

impl GossipMessage {
    /// Its name, as traces print it.
    pub fn kind(&self) -> &'static str {
        match self {
            GossipMessage::Push(_) => "push",
            GossipMessage::Forward { .. } => "forward",
            GossipMessage::IHave(_) => "ihave",
            GossipMessage::Graft(_) => "graft",
            GossipMessage::Pull(_) => "pull",
            GossipMessage::Page(_) => "page",
            GossipMessage::PageAck { .. } => "page_ack",
            GossipMessage::DigestDiff { .. } => "digest_diff",
            GossipMessage::Refused { .. } => "refused",
            GossipMessage::RangeSum(_) => "range_sum",
            GossipMessage::RangeDots(_) => "range_dots",
            GossipMessage::AskClaims(_) => "ask_claims",
            GossipMessage::Claims(_) => "claims",
        }
    }

    /// The rows that it carries.
    pub fn rows(&self) -> Option<&RowBatch> {
        match self {
            GossipMessage::Push(rows) | GossipMessage::Forward { rows, .. } => Some(rows),
            GossipMessage::Page(page) => Some(&page.rows),
            _ => None,
        }
    }
}

/// The number of a claim: the batch that was durable when a node made it. Within a node's generation it only grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub struct ClaimNumber {
    /// The generation of the node that claimed.
    pub generation: u64,
    /// The number of the batch, in the boot of that generation.
    pub batch: u64,
}

wire! {
    /// A question for the claim of a member.
    pub struct ClaimAsk {
        /// The member.
        pub node: NodeId,
        /// The clock of the claim that the sender has, 0 for none: only one of a later clock or of more dots is of use.
        pub clock: u64,
        /// How many dots that claim covers.
        pub dots: u64,
        /// Through how many members more the question may go.
        pub hops: u8,
    }
}

wire! {
    /// A claim of a member, passed on by another.
    pub struct RelayedClaim {
        /// The member.
        pub node: NodeId,
        /// The generation in which it claimed this.
        pub generation: u64,
        /// The batch of that generation that was durable then; 0 of a node without storage.
        pub batch: u64,
        /// Its hybrid logical clock then.
        pub clock: u64,
        /// Its durable coverage then, in all row classes.
        pub contexts: Vec<ClassContext>,
    }
}

wire! {
    /// A node's state in short; constant size. While two nodes agree on it, nothing else is sent between them.
    pub struct Status {
        /// Hash of what the node has seen of `sys`.
        pub sys: u64,
        /// Hash of what the node has seen of `usr`.
        pub usr: u64,
        /// Sum over its live rows that do not expire: members that have seen the same have the same sum.
        pub rows: u64,
        /// Whether everything seen is durable, and the node is a full member: then an equal hash is a claim.
        pub claims: bool,
        /// The last durable batch that names the node's generation: the number of a claim that comes with it. 0 without storage, and before there is one.
        pub batch: u64,
        /// Whether the node waits for claims, because it has tombstones to free or is leaving.
        pub awaits_claims: bool,
        /// The node's hybrid logical clock.
        pub clock: u64,
        /// Its wall clock, in milliseconds since 1970.
        pub wall_ms: u64,
        /// Its settled clock, which no short jump moves, in milliseconds since 1970; 0 while it is unknown.
        pub settled_ms: u64,
    }
}

wire! {
    /// Rows with their versions. Actors and tables are named once and referred to by position.
    pub struct RowBatch {
        /// The actors of the rows.
        pub actors: Vec<Actor>,
        /// The tables of the rows.
        pub tables: Vec<TableRef>,
        /// The rows.
        pub rows: Vec<Row>,
    }
}

wire! {
    /// A table as named on the wire.
    pub struct TableRef {
        /// Its row class, as [`RowClass`] numbers them.
        pub class: u8,
        /// Its name.
        pub name: String,
    }
}

impl TableRef {
    /// Its row class, if this version knows it.
    pub(crate) fn class(&self) -> Option<RowClass> {
        RowClass::from_u8(self.class)
    }

    /// Whether it is one of the store's own.
    pub(crate) fn is_sys(&self) -> bool {
        self.class() == Some(RowClass::Sys)
    }
}

wire! {
    /// A row on the wire.
    pub struct Row {
        /// Position in [`RowBatch::tables`].
        pub table: u32,
        /// Position in [`RowBatch::actors`].
        pub actor: u32,
        /// The dot's counter.
        pub counter: u64,
        /// The hybrid logical clock.
        pub clock: u64,
        /// Wall time of expiry in milliseconds, 0 for never.
        pub expires: u64,
        /// The key.
        pub key: Bytes,
        /// The value, `None` for a tombstone.
        pub value: Option<Bytes>,
    }
}

wire! {
    /// The coverage of a node in one row class.
    pub struct ClassContext {
        /// The row class.
        pub class: u8,
        /// Per actor the covered counters as inclusive runs, ascending and apart.
        pub actors: Vec<(Actor, Vec<(u64, u64)>)>,
    }
}

/// The coverage seen by the sender of a [`Pull`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub enum PullBasis {
    /// Its contexts.
    Whole(Vec<ClassContext>),
    /// Its contexts in short, because they name many actors. The answer is [`GossipMessage::DigestDiff`], and then the sender asks again; or
    /// a last page without rows, if nothing differs.
    Digest(Vec<ClassDigest>),
    /// It takes over all that the receiver has: every row comes, but for those of these dots a dot is enough, since the sender may have the row.
    /// Only row classes in which a dot names one version are in it.
    Compare(Vec<ClassContext>),
    /// Its contexts in the scope that the receiver has named: the session is about nothing else.
    Within {
        /// The scope.
        scope: Vec<ClassScope>,
        /// When the receiver named it, by its own count: what it has changed since may have replaced what is in scope. `None` asks for
        /// rows alone, without contexts to adopt.
        since: Option<u64>,
        /// The contexts.
        contexts: Vec<ClassContext>,
    },
}

wire! {
    /// A digest of a node's coverage in one row class.
    pub struct ClassDigest {
        /// The row class.
        pub class: u8,
        /// Per bucket of actors the sum of the hashes of what is covered of each, 64 of them.
        pub sums: Vec<u64>,
    }
}

wire! {
    /// A part of one row class's contexts.
    pub struct ClassScope {
        /// The row class.
        pub class: u8,
        /// A bit per bucket of actors.
        pub buckets: u64,
    }
}

wire! {
    /// Opens a session: the sender asks for everything it lacks.
    pub struct Pull {
        /// Chosen by the sender, echoed in each page. Numbers grow: one that is not above all before it on its link is a repetition.
        pub session: u64,
        /// The coverage that the sender has seen.
        pub basis: PullBasis,
        /// The durable coverage of the sender, if the receiver waits for claims and the sender may claim it.
        pub durable: Option<Vec<ClassContext>>,
        /// The sender's state in short.
        pub status: Status,
    }
}

wire! {
    /// Dots in order, of one row class, from the first inclusive to the last exclusive.
    pub struct DotRange {
        /// The row class.
        pub class: u8,
        /// The first dot.
        pub from: (Actor, u64),
        /// The first dot behind it; `None` for the end of the row class.
        pub to: Option<(Actor, u64)>,
        /// Sum over the rows of the range.
        pub sum: u64,
    }
}

wire! {
    /// A step of a range repair.
    pub struct RangeSum {
        /// Echoed in the answer.
        pub round: u64,
        /// The sender's hash of `sys`: if the receiver's is another, it has nothing to say.
        pub sys: u64,
        /// The sender's hash of `usr`.
        pub usr: u64,
        /// The ranges, at most 32.
        pub ranges: Vec<DotRange>,
    }
}

wire! {
    /// The answer to a [`RangeSum`].
    pub struct RangeDots {
        /// The number of the question.
        pub round: u64,
        /// The sender's hash of `sys` when it compared.
        pub sys: u64,
        /// The sender's hash of `usr` when it compared.
        pub usr: u64,
        /// The dots of the sender's live rows in the ranges that differ.
        pub shown: Vec<ClassContext>,
    }
}

wire! {
    /// The part of a session besides rows. Adopted whole, after all of them.
    pub struct Snapshot {
        /// The coverage that the server had seen when the session began, without that of the client.
        pub contexts: Vec<ClassContext>,
        /// No tombstone that the server has freed has a larger clock.
        pub freed: u64,
        /// The claims of nodes on which deletes were freed, for a client that is no member yet.
        pub freed_on: Vec<(NodeId, ClaimNumber)>,
    }
}

wire! {
    /// A page of a session.
    pub struct Page {
        /// The session.
        pub session: u64,
        /// Its number, from 0.
        pub page: u32,
        /// The rows.
        pub rows: RowBatch,
        /// The dots of rows that the server has, and that the client has too unless it has lost them: at most 4,096 of those that
        /// [`PullBasis::Compare`] named.
        pub kept: Vec<ClassContext>,
        /// On the last page.
        pub last: Option<Snapshot>,
    }
}
