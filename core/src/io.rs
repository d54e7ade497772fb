//! Inputs and outputs of a node: the whole contract with a driver, as values.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::error::{ReadError, RequestError};
use crate::id::{DialId, LinkId, LoadId, NodeId, Seq, TableId, Token};
use crate::link::Hello;
use crate::table::{TableOptions, TableRequest};
use crate::time::Instant;
use crate::wire::Message;

/// Something that happened outside.
///
/// Exhaustive on purpose, as [`Output`]: inputs answer outputs, and a program between a driver and a node, such as a simulator, has to know
/// them all.
#[derive(Clone, Debug)]
pub enum Input {
    /// Time has passed, or a turn of the loop is over. Ends the turn: what it collected goes out.
    Tick,
    /// A link finished its handshake.
    LinkUp {
        /// A number never used before.
        link: LinkId,
        /// The dial it answers, `None` when the peer dialled.
        dial: Option<DialId>,
        /// The peer's own description.
        hello: Hello,
    },
    /// A link is gone; nothing more arrives on it. Also answers a [`Output::Hangup`].
    LinkDown {
        /// The link.
        link: LinkId,
        /// Why.
        why: LinkError,
    },
    /// A dial came to nothing.
    DialFailed {
        /// The dial.
        dial: DialId,
        /// Why.
        why: LinkError,
    },
    /// A message arrived on a link that is up.
    Message {
        /// The link.
        link: LinkId,
        /// The message.
        msg: Message,
    },
    /// The link's write queue is above its mark: only [`Lane::Control`] is sent until it drains.
    Congested {
        /// The link.
        link: LinkId,
    },
    /// The link's write queue is low again.
    Drained {
        /// The link.
        link: LinkId,
    },
    /// A caller asks for something that may take a while. Answered by one [`Output::Reply`].
    Request {
        /// Chosen by the driver, unique among the requests that wait.
        token: Token,
        /// When to give up.
        deadline: Option<Instant>,
        /// The request.
        request: Request,
    },
    /// The asker went away. The request is answered with [`RequestError::Cancelled`] if it still waits.
    Cancel {
        /// The request.
        token: Token,
    },
    /// Every batch up to and including this one survives a loss of power.
    Stored {
        /// The watermark.
        upto: Seq,
    },
    /// The store is out of space; what was handed to it waits there. Ended by the next [`Input::Stored`].
    StoreStalled {
        /// The store's words.
        why: String,
    },
    /// The store has begun to use space that it has kept back, or has found more. Batches are stored as before, so [`Input::Stored`] goes on. Meanwhile
    /// the node takes deletes, and neither other writes of clients nor rows of users' tables from other members: these come by a session later.
    StoreShort {
        /// The store's words, `None` once it has space again.
        why: Option<String>,
    },
    /// A write or sync failed. The node halts: it cannot know what survived.
    StoreFailed {
        /// The store's words.
        error: String,
    },
    /// Answers an [`Output::Load`].
    Loaded {
        /// Its number.
        load: LoadId,
        /// The value of the record, `None` when there is no such record, or why it could not be read, in the store's words.
        result: Result<Option<Bytes>, String>,
    },
}

/// Why a link went down or never came up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LinkError {
    /// Closed by either side in good order.
    Closed,
    /// The address could not be reached or resolved.
    Unreachable,
    /// The transport failed.
    Broken,
    /// The peer sent bytes that are no valid frame or message.
    Malformed,
    /// The handshake was refused.
    Refused(crate::link::Refusal),
    /// The handshake or a write took too long.
    TimedOut,
}

/// Something that may take a while.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request {
    /// Does something to a table, of whatever mode.
    Table(TableRequest),
    /// Answers once everything accepted so far is durable.
    Sync,
    /// Creates a table with options; succeeds if it exists with the same ones.
    CreateTable {
        /// Its name.
        name: String,
        /// Its options.
        options: TableOptions,
    },
    /// Changes settings of the whole cluster, all or none; answers once that is durable here.
    ChangeSettings {
        /// Names and values; `None` gives the setting back to each member's own configuration.
        changes: Vec<(String, Option<String>)>,
    },
    /// Dials an address and answers once this node has caught up with the cluster and is linked with its members, or has
    /// waited three seconds for the slowest of them.
    Join {
        /// The address, in the driver's notation.
        addr: String,
    },
    /// Leaves the cluster: answers when [`Timing::leave_acks`](crate::Timing::leave_acks) others durably hold everything, or with
    /// what is left behind when the time is up.
    Leave,
    /// Stops as a member that comes back: takes no more writes, pushes what it has accepted, syncs, tells its peers that it stops, and halts with
    /// [`HaltReason::Stopped`]. Members count it as down and wait for it. Answers when all is durable here. It cuts a leave that is under way.
    Stop,
    /// Ends the present generation of a member that is down: no member waits for it any more, and it comes back by comparing its rows with a
    /// member's. Answers when more than half of the members durably agreed, or refuses with
    /// [`EvictError`](crate::errors::EvictError) after [`Timing::evict_patience`](crate::Timing::evict_patience).
    Evict {
        /// Its id or its name.
        member: String,
        /// Does without a majority then, and ends one that answers: of two sides that do this to each other, what the smaller
        /// one has deleted meanwhile may come back.
        force: bool,
    },
    /// Declares that writes of earlier boots of a node that have not come by now are lost, and what it took with it when it left. Deletes no longer
    /// wait for a leaver's last state, nor in tables that keep siblings for its writes as far as they were made before this, on any member. Should
    /// a node that holds such rows come back all the same, those that the deletes replaced come back with it. Answers once that is durable here, or refuses with
    /// [`LostError`](crate::errors::LostError).
    DeclareLost {
        /// Its id, or the name by which it is or was a member.
        node: String,
    },
    /// Forces a waiting node back to full membership with its local data; all other nodes compare their rows with its rows. Deletes known
    /// only to the lost members may reappear; writes known only to them are lost. Answers once that is durable, or refuses with
    /// [`ResumeError`](crate::errors::ResumeError).
    Resume,
    /// Removes every row of every user table that is here. Answers as [`TableOp::Flush`](crate::table::TableOp::Flush) does.
    FlushAll,
}

impl From<TableRequest> for Request {
    fn from(request: TableRequest) -> Request {
        Request::Table(request)
    }
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// The write was accepted, and is durable if the table says so.
    Written(crate::table::Accepted),
    /// The live row, if there is one.
    Row(Option<crate::table::Row>),
    /// The siblings of the key, in a table that keeps them.
    Siblings(crate::table::Siblings),
    /// Everything accepted before the request is durable.
    Synced,
    /// The table exists, as [`Request::CreateTable`] asked for.
    TableCreated(TableId),
    /// The settings are changed, durably.
    SettingsChanged,
    /// The member that answered.
    Joined(NodeId),
    /// This node has left.
    Left(Handover),
    /// This node has stopped: everything up to this batch is durable.
    Stopped(Seq),
    /// The member is evicted, durably.
    Evicted {
        /// The member.
        node: NodeId,
        /// Members that agreed, this node included.
        acks: usize,
        /// All members, the evicted one included.
        members: usize,
    },
    /// Writes of the node's earlier boots that have not come are declared lost, durably here; other members hear of it.
    DeclaredLost(NodeId),
    /// This node is a full member again, durably, without the members that it waited for.
    Resumed {
        /// The members it waited for that were not linked here, since they rejoin too.
        without: Vec<NodeId>,
    },
}

/// The state that a leaver leaves behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handover {
    /// Other members that answered when it left.
    pub others: usize,
    /// Other members that durably hold all that the leaver held when it was asked to leave.
    pub holders: usize,
    /// The number of such members that it waited for: [`Timing::leave_acks`](crate::Timing::leave_acks), or all others when they are fewer.
    pub wanted: usize,
    /// Members that know of the leave; the rest learn it from them.
    pub told: usize,
}

impl Handover {
    /// Returns whether as many members as it waited for have everything and know that it has left; true of a lone member, which waits for
    /// none.
    pub fn is_complete(&self) -> bool {
        self.holders >= self.wanted && self.told >= self.wanted
    }
}

impl core::fmt::Display for Handover {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let Handover {
            others,
            holders,
            wanted,
            told,
        } = self;
        match (others, self.is_complete()) {
            (0, _) => f.write_str("no other member answered: what this one holds is nowhere else"),
            (_, true) => write!(f, "{holders} of {others} other members have everything"),
            (_, false) => write!(
                f,
                "out of time: {holders} of {others} other members have everything and {told} know of the leave, {wanted} were wanted"
            ),
        }
    }
}

/// Something the driver has to do.
///
/// Exhaustive on purpose: a driver that passes over one it does not know breaks the contract without a word, by a write that is never stored
/// or a request that is never answered. A new output is a new major version, and the compiler names the drivers that lack it.
/// A loop that has no use for some says `_ => {}`.
#[derive(Clone, Debug)]
pub enum Output {
    /// Send a message.
    Send {
        /// Where to.
        to: Links,
        /// How urgent it is. Lanes are emptied in order; within a lane order is kept.
        lane: Lane,
        /// The message, encoded once for all links.
        msg: Arc<Message>,
    },
    /// Connect to an address; answered by [`Input::LinkUp`] or [`Input::DialFailed`].
    Dial {
        /// Echoed in the answer.
        dial: DialId,
        /// The address, resolved by the driver off its loop.
        addr: String,
    },
    /// Close a link after what was sent; answered by [`Input::LinkDown`].
    Hangup {
        /// The link.
        link: LinkId,
        /// Why, for the log.
        why: HangupReason,
    },
    /// Apply a batch atomically, after all earlier ones.
    Store {
        /// Its number; they grow by one.
        seq: Seq,
        /// Its writes, in order. The bytes of its records may lie in one piece of memory, which is not freed before the last of them is dropped:
        /// a store that keeps some for longer than the batch copies them.
        batch: Vec<StoreOp>,
        /// Whether to sync it and everything before it now, and to answer [`Input::Stored`].
        sync: bool,
    },
    /// Read a record; answered by [`Input::Loaded`]. What is read is at least as new as everything reported with
    /// [`Input::Stored`], and reading waits for no sync. At most [`Limits::loads`](crate::Limits::loads) are unanswered.
    Load {
        /// Echoed in the answer.
        load: LoadId,
        /// The key of the record.
        query: Bytes,
    },
    /// Answer a request.
    Reply {
        /// The request's token.
        token: Token,
        /// The answer.
        result: Result<Response, RequestError>,
    },
    /// A table has changes that [`View::changes`](crate::table::View::changes) shows. At most one per table and turn.
    Changed {
        /// The table.
        table: TableId,
    },
    /// Something to log or count.
    Event(Event),
    /// The node has stopped for good; it ignores every further input.
    Halt(HaltReason),
}

/// The links a message goes to. Exhaustive: a driver sends to all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Links {
    /// One.
    One(LinkId),
    /// Several; never empty.
    Many(Arc<[LinkId]>),
}

impl Links {
    /// The links as a slice.
    pub fn as_slice(&self) -> &[LinkId] {
        match self {
            Links::One(link) => core::slice::from_ref(link),
            Links::Many(links) => links,
        }
    }
}

/// How urgent a message is. Exhaustive: a driver has a queue for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Failure detection and greetings: small, never behind data.
    Control,
    /// Rows of the store's own tables.
    Sys,
    /// Rows of users' tables.
    Bulk,
}

impl Lane {
    /// All lanes, most urgent first.
    pub const ALL: [Lane; 3] = [Lane::Control, Lane::Sys, Lane::Bulk];
}

/// One write of a batch; exhaustive, since a store has to apply them all. The store is an ordered map of bytes and never interprets them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreOp {
    /// Set a key.
    Put(Record),
    /// Remove a key; removing one that is not there is fine.
    Delete(Bytes),
    /// Remove every key from one on that is smaller than another, in the order of their bytes: those that earlier operations of the batch have put,
    /// and none that later ones put. A range without keys is fine, and so is one whose end is not above its beginning.
    ///
    /// It has two ends and is no prefix, since a log is cut both ways: before its snapshot and behind a conflict. All keys with a prefix are such
    /// a range too, see [`StoreOp::delete_prefix`]. So a mode names a million records by two keys, of which no batch grows; the store finds
    /// them. Gossip tables have no use for it; it is for the modes to come.
    DeleteRange {
        /// The first key.
        from: Bytes,
        /// The key before which the range ends.
        until: Bytes,
    },
}

impl StoreOp {
    /// Removes every key that begins with `prefix`; `None` when no key is larger than all of these, as for a prefix of bytes 0xff alone.
    #[must_use]
    pub fn delete_prefix(prefix: impl Into<Bytes>) -> Option<StoreOp> {
        let from = prefix.into();
        let last = from.iter().rposition(|byte| *byte < u8::MAX)?;
        let mut until = from[..=last].to_vec();
        until[last] += 1;
        let until = until.into();
        Some(StoreOp::DeleteRange { from, until })
    }

    /// Returns whether it decides what is under a key: it puts it, or removes it.
    pub fn decides(&self, key: &[u8]) -> bool {
        match self {
            StoreOp::Put(record) => record.key == key,
            StoreOp::Delete(deleted) => deleted == key,
            StoreOp::DeleteRange { from, until } => **from <= *key && *key < **until,
        }
    }

    /// Does to a map what a store does to its records. O(log records), for a range times its records.
    pub fn apply(self, records: &mut BTreeMap<Bytes, Bytes>) {
        match self {
            StoreOp::Put(record) => {
                records.insert(record.key, record.value);
            }
            StoreOp::Delete(key) => {
                records.remove(&key);
            }
            StoreOp::DeleteRange { from, until } if from < until => {
                records.extract_if(from..until, |_, _| true).for_each(drop);
            }
            StoreOp::DeleteRange { .. } => {}
        }
    }

    /// Bytes of its key and value, or of the ends of its range.
    pub fn size(&self) -> usize {
        match self {
            StoreOp::Put(record) => record.key.len() + record.value.len(),
            StoreOp::Delete(key) => key.len(),
            StoreOp::DeleteRange { from, until } => from.len() + until.len(),
        }
    }
}

/// One entry of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The key, at most 66 KiB.
    pub key: Bytes,
    /// The value.
    pub value: Bytes,
}

/// Why the core closes a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HangupReason {
    /// Both sides dialled; the other link survives.
    Duplicate,
    /// The peer is this node itself.
    Myself,
    /// An earlier generation of a member that has been seen in a later one.
    Sealed,
    /// The same id is in use by a node that still answers.
    IdInUse,
    /// Both sides belong to different clusters with members.
    OtherCluster,
    /// This node's greeting is no longer true; the dialler tries again.
    Retry,
    /// The member has left.
    Left,
    /// More links than [`Limits::links`](crate::Limits::links).
    TooMany,
    /// The peer broke the protocol.
    Protocol,
    /// The member stopped answering.
    Dead,
    /// The member was evicted.
    Evicted,
    /// The member stops, and comes back.
    Stopped,
}

impl HangupReason {
    /// The reason in words.
    pub const fn text(self) -> &'static str {
        match self {
            HangupReason::Duplicate => "both sides dialled, and the other link stays",
            HangupReason::Myself => "it is this node itself",
            HangupReason::Sealed => {
                "a later generation of it is a member: an older copy of its data was started"
            }
            HangupReason::IdInUse => "another node with its id answers: one of the two is a copy",
            HangupReason::OtherCluster => {
                "both sides belong to different clusters that have members"
            }
            HangupReason::Retry => "a greeting is no longer true; the dialler tries again",
            HangupReason::Left => "it has left",
            HangupReason::TooMany => "there are more links than limits.links",
            HangupReason::Protocol => "it broke the protocol",
            HangupReason::Dead => "it stopped answering",
            HangupReason::Evicted => "it was evicted",
            HangupReason::Stopped => "it has stopped, and comes back",
        }
    }
}

/// Why a node stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HaltReason {
    /// The store failed.
    StoreFailed(String),
    /// It left the cluster, as asked; what it leaves behind.
    Left(Handover),
    /// It stopped, as asked: everything up to this batch is durable. A node without storage has batch 0.
    Stopped(Seq),
}

/// Something an operator may want to read. Drivers log events; nothing depends on them.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A member became known or came back.
    MemberUp(NodeId),
    /// A member is suspected.
    MemberSuspect(NodeId),
    /// A member is considered dead; its data is kept.
    MemberDown(NodeId),
    /// A member left.
    MemberLeft(NodeId),
    /// This node has ended the generation of a member.
    MemberEvicted {
        /// The member.
        node: NodeId,
        /// Members that agreed, this node included.
        acks: usize,
        /// All members, the evicted one included.
        members: usize,
        /// Whether [`Timing::evict_memory_after`](crate::Timing::evict_memory_after) asked for it, and no operator.
        policy: bool,
    },
    /// An operator declared through this node that writes of a node are lost.
    DeclaredLost(NodeId),
    /// Others have evicted this node, or went on without knowing it: it compares its rows with a member's before it goes on.
    Evicted {
        /// The author of the eviction.
        by: NodeId,
    },
    /// This node's store is an older copy of its data, put back without [`Config::restored`](crate::Config::restored): it does not go back to what this node once
    /// claimed to hold. The node compares its rows with a member's before it goes on.
    OlderCopy {
        /// The member that has freed deletes on such a claim.
        by: NodeId,
    },
    /// Two sides evicted each other, and this node's is the larger: it goes on.
    EvictionOutranked {
        /// The author of the eviction.
        by: NodeId,
    },
    /// An operator let this node go on without the members that it waited for: what they had deleted may be back.
    Resumed {
        /// The members it waited for that were not linked here, since they rejoin too.
        without: Vec<NodeId>,
    },
    /// Two members use one name.
    DuplicateName {
        /// The name.
        name: String,
        /// The one that joined later.
        later: NodeId,
    },
    /// This node is no full member yet. Told after five seconds, and then less and less often for as long as that is so.
    Waits {
        /// Joining or rejoining.
        phase: crate::members::NodePhase,
        /// For how many seconds it has waited.
        secs: u64,
        /// The things that it waits for; any one of them will do.
        awaits: Vec<crate::members::Awaits>,
    },
    /// This node, which looked for a cluster before, begins one, or goes on as the one that it was: it was told to.
    Founded,
    /// This node belongs to a cluster now.
    Joined {
        /// The member it joined through.
        through: NodeId,
    },
    /// This node compared its rows with a member's and adopted the member's state.
    Rejoined {
        /// The member.
        with: NodeId,
        /// Rows that the cluster had deleted meanwhile.
        dropped: u64,
        /// Rows that the cluster did not know, written again.
        proposed: u64,
    },
    /// A peer was refused, and told why. With this node's own id and [`HangupReason::IdInUse`]: a later generation of this node has
    /// become a member, so one of the two is a copy.
    Refused {
        /// The peer.
        node: NodeId,
        /// Why.
        why: HangupReason,
    },
    /// A peer refuses this node.
    Denied {
        /// The peer.
        by: NodeId,
        /// Why.
        why: crate::wire::Denial,
    },
    /// A peer sent a message that breaks the protocol; the link was closed and no state changed.
    Protocol {
        /// The peer.
        node: NodeId,
        /// The fault.
        why: &'static str,
    },
    /// This node's wall clock was set, or jumped: it moved by more than a second against the monotonic clock.
    WallStepped {
        /// By how many milliseconds; negative when it went back.
        by_ms: i64,
    },
    /// A row from a far-future clock was merged; the local clock did not follow it.
    ClockDrift {
        /// Milliseconds ahead of the local wall clock.
        ahead_ms: u64,
    },
    /// A wall clock, this node's own or a peer's, differs from others' by more than `limits.clock_drift`. Told when it is found.
    ClockWrong(crate::members::WrongClock),
    /// A clock that was told to be wrong is right again.
    ClockRight {
        /// The member: this node itself or a peer.
        node: NodeId,
        /// Its name, if it is known.
        name: String,
    },
    /// A session brought this node up to a member's state.
    CaughtUp {
        /// The member.
        with: NodeId,
        /// Rows received.
        rows: u64,
    },
    /// This node had lost rows without knowing it; they came from a member.
    Repaired {
        /// The member.
        with: NodeId,
        /// Rows that took their place again.
        rows: u64,
    },
    /// The store was damaged, as [`Node::damage`](crate::Node::damage) says. Unreadable records were dropped, and the rejoin through a member
    /// repairs it.
    Damaged {
        /// How many records could not be read; 0 when that is not known.
        records: u64,
    },
    /// The value of a row is only in the store and could not be read; its members may still have it.
    Unreadable {
        /// The table.
        table: TableId,
        /// The key.
        key: Bytes,
        /// Why.
        why: ReadError,
    },
    /// Another value of a setting is in force here.
    SettingChanged {
        /// The setting.
        name: &'static str,
        /// The value.
        value: String,
    },
    /// The cluster has set a value that is not in force here: this node's own configuration is.
    SettingIgnored {
        /// The setting.
        name: &'static str,
        /// Why.
        why: String,
    },
    /// The store is out of space.
    StoreStalled(String),
    /// The store has space again.
    StoreRecovered,
}

/// When to call [`Input::Tick`] at the latest, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Deadline {
    /// The instant; it may have passed already, which means now.
    pub at: Instant,
    /// The reason.
    pub why: Timer,
}

/// The reason of a deadline, most urgent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Timer {
    /// The turn's pushes and stores are due.
    Flush,
    /// The failure detector.
    Detector,
    /// A member to be dialled.
    Dial,
    /// A session or a mismatch.
    Gossip,
    /// Unsynced stores.
    Sync,
    /// A row that expires.
    Expiry,
    /// A request that gives up.
    Request,
    /// A leave that gives up.
    Leave,
    /// An eviction that asks again or gives up, or a policy that begins one.
    Evict,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(from: &'static [u8], until: &'static [u8]) -> StoreOp {
        let (from, until) = (Bytes::from_static(from), Bytes::from_static(until));
        StoreOp::DeleteRange { from, until }
    }

    fn left(op: StoreOp) -> Vec<&'static [u8]> {
        let keys: [&[u8]; 6] = [b"a", b"a\xff", b"a\xff\xff", b"b", b"b1", b"c"];
        let records = keys.map(|key| (Bytes::from_static(key), Bytes::new()));
        let mut records = BTreeMap::from(records);
        let decided = keys.map(|key| op.decides(key));
        op.apply(&mut records);
        let is_left = keys.map(|key| records.contains_key(key));
        assert_eq!(is_left, decided.map(|decided| !decided));
        let left = keys.into_iter().zip(is_left);
        left.filter_map(|(key, is_left)| is_left.then_some(key))
            .collect()
    }

    #[test]
    fn a_range_has_its_first_key_and_not_its_end() {
        assert_eq!(left(range(b"a\xff", b"b1")), [&b"a"[..], b"b1", b"c"]);
        assert_eq!(left(range(b"", b"b")), [&b"b"[..], b"b1", b"c"]);
        for nothing in [range(b"b", b"b"), range(b"c", b"a"), range(b"d", b"e")] {
            assert_eq!(left(nothing).len(), 6);
        }
    }

    #[test]
    fn a_prefix_is_a_range_unless_no_key_is_larger() {
        let of = |prefix: &'static [u8]| StoreOp::delete_prefix(prefix);
        assert_eq!(of(b"b"), Some(range(b"b", b"c")));
        assert_eq!(of(b"a\xff\xff"), Some(range(b"a\xff\xff", b"b")));
        assert_eq!((of(b""), of(b"\xff\xff")), (None, None));
        let op = of(b"a\xff").unwrap();
        assert_eq!(left(op), [&b"a"[..], b"b", b"b1", b"c"]);
    }

    #[test]
    fn a_range_of_any_number_of_records_is_as_large_as_its_ends_and_is_traced_as_one() {
        let op = range(b"s\0\x07", b"s\0\x08");
        assert_eq!(op.size(), 6);
        let (seq, sync) = (Seq(3), true);
        let batch = Vec::from([op, StoreOp::Delete(Bytes::from_static(b"k"))]);
        let output = Output::Store { seq, batch, sync };
        let told = alloc::format!("{}", crate::trace::Trace(&output));
        assert_eq!(told, "store seq=3 puts=0 deletes=1 ranges=1 sync=true");
    }
}
