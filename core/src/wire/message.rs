//! The messages. Positional msgpack under the version both sides agreed on in the handshake; no type is recursive.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::id::{Actor, ClusterId, NodeId};
use crate::table::RowClass;

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

wire! {
    /// A message between two nodes.
    pub enum Message {
        /// First on every link: what the sender is to the cluster and which members it knows.
        Welcome(Welcome),
        /// The evictions of which the sender has heard, each by its hash: the receiver's greeting says that it has heard of others,
        /// and comes again with those.
        Heard(Vec<u64>),
        /// Are you there?
        Probe {
            /// Echoed in the answer.
            nonce: u64,
            /// The sender's state in short.
            status: Status,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// I am here.
        Ack {
            /// The probe's number.
            nonce: u64,
            /// The sender's state in short.
            status: Status,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// Please probe `target` for me.
        ProbeFor {
            /// Echoed in the answer.
            nonce: u64,
            /// The member to probe.
            target: NodeId,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// The target of a [`Message::ProbeFor`] answered (`alive`), or did not within the prober's patience.
        ProbedFor {
            /// The request's number.
            nonce: u64,
            /// Whether the target answered.
            alive: bool,
            /// Fresh news about members.
            rumors: Vec<Rumor>,
        },
        /// Rows just accepted by the sender, or asked for with a [`Message::Graft`]: for the receiver alone.
        Push(RowBatch),
        /// Asks for every row the sender lacks, as a session of pages.
        Pull(Pull),
        /// One page of a session.
        Page(Page),
        /// The page arrived, send more.
        More {
            /// The session.
            session: u64,
            /// The number of the wanted page.
            page: u32,
        },
        /// The sender's digest differs from the receiver's in these parts of the contexts: the session is about them.
        Differs {
            /// The session.
            session: u64,
            /// The parts, by domain.
            scope: Vec<DomainScope>,
            /// The changes that the sender had seen by then; the receiver sends the number back in [`Have::Within`].
            at: u64,
        },
        /// Contexts agree and rows do not: what does the receiver show in these ranges?
        Compare(Compare),
        /// What the sender shows in those ranges that differ.
        Compared(Compared),
        /// The session cannot be served now.
        Refused {
            /// The session.
            session: u64,
        },
        /// The sender takes its leave; what follows on this link comes from no member.
        Goodbye,
        /// The sender refuses the receiver and closes the link.
        Denied(Denial),
        /// Do you agree that this life of a member be ended?
        Evict {
            /// Echoed in the answer.
            round: u64,
            /// The member.
            node: NodeId,
            /// Its life.
            epoch: u64,
            /// Evict even if the member still answers the receiver.
            force: bool,
        },
        /// The answer; that the sender agrees is durable.
        Agreed {
            /// The number of the question.
            round: u64,
            /// Whether it agrees.
            agrees: bool,
        },
        /// The sender has given up ending this life: a member that agreed is free.
        Withdrawn {
            /// The member.
            node: NodeId,
            /// Its life.
            epoch: u64,
        },
        /// Rows just accepted somewhere, for the receiver to pass on.
        Forward {
            /// Ids that cut the ring of all ids into parts, ascending and around: a receiver passes the rows on to the members from the
            /// last cut not above itself up to the next, that one excluded.
            cuts: Vec<NodeId>,
            /// The rows.
            rows: RowBatch,
        },
        /// Dots that the sender has seen lately.
        Have(Vec<DomainContext>),
        /// Asks for the rows of dots that a [`Message::Have`] named.
        Graft(Vec<DomainContext>),
        /// Asks for claims of members to which the sender has no link; at most 16.
        AskClaims(Vec<ClaimAsk>),
        /// Claims of other members, which the receiver has asked for; at most 16.
        Claims(Vec<RelayedClaim>),
        /// The sender leaves, and takes no more rows. Do you durably hold what it covers?
        Handover {
            /// Echoed in the answer; grows when the sender covers more.
            round: u64,
            /// Whether it has asked for a while: a receiver that lacks something fetches it now.
            insists: bool,
            /// What it covers.
            held: Vec<DomainContext>,
        },
        /// The answer to a [`Message::Handover`]: the sender durably holds all of it. There is no other answer.
        TakenOver {
            /// The number of the question.
            round: u64,
        },
    }
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
        /// The life in which it claimed this.
        pub epoch: u64,
        /// Its hybrid logical clock then.
        pub clock: u64,
        /// What it had durably covered then, in all domains.
        pub contexts: Vec<DomainContext>,
    }
}

impl Message {
    /// The rows that it carries between members, but for those of a greeting.
    pub fn rows(&self) -> Option<&RowBatch> {
        match self {
            Message::Push(rows) | Message::Forward { rows, .. } => Some(rows),
            Message::Page(page) => Some(&page.rows),
            _ => None,
        }
    }
}

/// Why a peer is refused, for its operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub enum Denial {
    /// Another node uses the peer's id, and answers.
    IdInUse,
    /// The peer is an earlier life of a member.
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
            Denial::Sealed => "a later life of this node is a member",
            Denial::TooMany => "the peer has too many links",
            Denial::Leaving => "the peer is leaving",
        }
    }
}

wire! {
    /// The greeting. Both sides compare the two greetings of a link and reach the same verdict.
    pub struct Welcome {
        /// The sender's cluster.
        pub cluster: ClusterId,
        /// Whether the sender has ever had a fellow member.
        pub settled: bool,
        /// Whether the sender has looked for a cluster for long enough to begin one with others that have too.
        pub founds: bool,
        /// The sender's standing in the cluster.
        pub standing: Standing,
        /// Sum of the hashes of all evictions of which the sender has heard.
        pub evictions: u64,
        /// Whether the rows tell of all of them of which the receiver has not heard, by what it said.
        pub whole: bool,
        /// The rows of `sys.members` and `sys.departed` about the sender, and those about the receiver that the sender has, so
        /// that no row of users is exchanged between nodes that have not recorded each other.
        pub rows: RowBatch,
        /// Its state in short.
        pub status: Status,
    }
}

wire! {
    /// Where a node stands towards its cluster.
    pub enum Standing {
        /// A member.
        Member,
        /// New, and still fetching what the cluster holds: it serves, pushes and claims nothing.
        Joining,
        /// Left or evicted, or restored from a copy: it must reunite before it pushes or claims anything.
        Away {
            /// The clock of its leave.
            since: u64,
            /// Members that were active when it left; empty when it was the last one.
            active: Vec<NodeId>,
        },
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
    /// News about a member's life.
    pub struct Rumor {
        /// The member.
        pub node: NodeId,
        /// Which of its lives: grows with each start.
        pub epoch: u64,
        /// How often it has refuted a suspicion in this life.
        pub incarnation: u64,
        /// What is said of it.
        pub state: RumorState,
        /// The member that says so first; confirmations count distinct ones.
        pub from: NodeId,
    }
}

/// What a rumor says. The order is the order of precedence within one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub enum RumorState {
    /// It answered.
    Alive,
    /// It did not answer.
    Suspect,
    /// It is taken for dead.
    Down,
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
        /// Its domain, as [`RowClass`](crate::table::RowClass) numbers them.
        pub domain: u8,
        /// Its name.
        pub name: String,
    }
}

impl TableRef {
    /// Its domain, if this version knows it.
    pub(crate) fn domain(&self) -> Option<RowClass> {
        RowClass::from_u8(self.domain)
    }

    /// Whether it is one of the store's own.
    pub(crate) fn is_sys(&self) -> bool {
        self.domain() == Some(RowClass::Sys)
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
    /// What a node covers, in one domain.
    pub struct DomainContext {
        /// The domain.
        pub domain: u8,
        /// Per actor the covered counters as inclusive runs, ascending and apart.
        pub actors: Vec<(Actor, Vec<(u64, u64)>)>,
    }
}

/// What the sender of a [`Pull`] has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "std", derive(serde::Serialize, serde::Deserialize))]
pub enum Have {
    /// Its contexts.
    Whole(Vec<DomainContext>),
    /// Its contexts in short, because they name many actors. The answer is [`Message::Differs`], and then the sender asks again; or
    /// a last page without rows, if nothing differs.
    Digest(Vec<DomainDigest>),
    /// Its contexts in the scope that the receiver has named: the session is about nothing else.
    Within {
        /// The scope.
        scope: Vec<DomainScope>,
        /// When the receiver named it, by its own count: what it has changed since may have replaced what is in scope. `None` asks for
        /// rows alone, without contexts to adopt.
        since: Option<u64>,
        /// The contexts.
        contexts: Vec<DomainContext>,
    },
}

wire! {
    /// What a node covers, in one domain, in short.
    pub struct DomainDigest {
        /// The domain.
        pub domain: u8,
        /// Per bucket of actors the sum of the hashes of what is covered of each, 64 of them.
        pub sums: Vec<u64>,
    }
}

wire! {
    /// A part of one domain's contexts.
    pub struct DomainScope {
        /// The domain.
        pub domain: u8,
        /// A bit per bucket of actors.
        pub buckets: u64,
    }
}

wire! {
    /// Opens a session: the sender asks for everything it lacks.
    pub struct Pull {
        /// Chosen by the sender, echoed in each page. Numbers grow: one that is not above all before it on its link is a repetition.
        pub session: u64,
        /// What the sender has seen.
        pub have: Have,
        /// What the sender holds durably, if the receiver waits for claims and the sender may claim it.
        pub durable: Option<Vec<DomainContext>>,
        /// The sender's state in short.
        pub status: Status,
    }
}

wire! {
    /// Dots in order, of one domain, from the first inclusive to the last exclusive.
    pub struct DotRange {
        /// The domain.
        pub domain: u8,
        /// The first dot.
        pub from: (Actor, u64),
        /// The first dot behind it; `None` for the end of the domain.
        pub to: Option<(Actor, u64)>,
        /// Sum over the rows of the range.
        pub sum: u64,
    }
}

wire! {
    /// A step of a range repair.
    pub struct Compare {
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
    /// The answer to a [`Compare`].
    pub struct Compared {
        /// The number of the question.
        pub round: u64,
        /// The sender's hash of `sys` when it compared.
        pub sys: u64,
        /// The sender's hash of `usr` when it compared.
        pub usr: u64,
        /// The dots of the sender's live rows in the ranges that differ.
        pub shown: Vec<DomainContext>,
    }
}

wire! {
    /// What a session brings besides rows. Adopted whole, after all of them.
    pub struct Snapshot {
        /// What the server had seen when the session began, without what the client had.
        pub contexts: Vec<DomainContext>,
        /// No tombstone that the server has freed has a larger clock.
        pub freed: u64,
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
        /// On the last page.
        pub last: Option<Snapshot>,
    }
}
