//! The members of the cluster, as its rows in `sys` tell.

mod evictions;
mod links;
mod record;
mod ring;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;
use core::time::Duration;

use evictions::Evictions;
pub(crate) use links::{GreetingFacts, Link, LinkPhase, Links};
pub(crate) use record::{
    Departure, Eviction, MemberRecord, departure_key, departure_of, eviction_key, lost_key,
    lost_of, member_key,
};

use rapidhash::v3::rapidhash_v3;

use crate::id::{Actor, NodeId};
use crate::table::Hlc;

/// A member as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// The address its peers dial.
    pub addr: String,
    /// Grows with every start, eviction and rejoin.
    pub generation: u64,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// The protocols it serves: protocol to endpoint.
    pub protocols: BTreeMap<String, String>,
    /// Whether it answers.
    pub state: MemberState,
    /// Whether it is this node.
    pub me: bool,
    /// Whether a member that joined earlier has the same name.
    pub duplicate_name: bool,
    /// Whether it keeps anything on disk.
    pub stores: bool,
    /// Why the oldest deletes are kept for its sake, if they are.
    pub holds_up: Option<HoldsUp>,
}

/// Whether a member answers, as far as this node knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum MemberState {
    /// It does.
    Alive,
    /// It did not lately; it has a while to refute that.
    Suspect,
    /// It is taken for dead. It still counts: its data may be the only copy.
    Down,
    /// It left, or was evicted.
    Left,
}

/// Why deleted rows are kept for a member's sake. It ends when the member answers, or is evicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum HoldsUp {
    /// It has not answered for so long: it may hold what was deleted meanwhile.
    Down {
        /// For how long this node has taken it for dead.
        since: Duration,
    },
    /// It has left, and this node has not got all of its last state.
    Left,
    /// It has not yet said what it holds.
    Unheard,
    /// This node has no link to it: the others are asked what it holds, and none has told enough yet.
    Unlinked,
    /// Its last claim lacks so many deletes, of the 4,096 oldest.
    Behind {
        /// How many.
        deletes: u64,
    },
    /// In tables that keep siblings, so many deletes of the 4,096 oldest replaced writes of it that have not come here. They are kept
    /// until those writes come. [`Request::DeclareLost`](crate::io::Request::DeclareLost) ends the wait.
    Writes {
        /// How many.
        deletes: u64,
    },
}

impl MemberState {
    /// Whether the member answers, as far as this node knows: it does, or it has a while left to show it.
    pub const fn is_live(self) -> bool {
        matches!(self, MemberState::Alive | MemberState::Suspect)
    }
}

impl fmt::Display for HoldsUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HoldsUp::Down { since } => write!(f, "down for {} s", since.as_secs()),
            HoldsUp::Left => f.write_str("has left, and its last state is not here yet"),
            HoldsUp::Unheard => f.write_str("has not yet said what it holds"),
            HoldsUp::Unlinked => {
                f.write_str("has no link to this node, and others are asked what it holds")
            }
            HoldsUp::Behind { deletes: 1 } => f.write_str("lacks 1 delete"),
            HoldsUp::Behind { deletes } => write!(f, "lacks {deletes} deletes"),
            HoldsUp::Writes { deletes: 1 } => {
                f.write_str("1 delete waits for writes of it that have not come here")
            }
            HoldsUp::Writes { deletes } => {
                write!(
                    f,
                    "{deletes} deletes wait for writes of it that have not come here"
                )
            }
        }
    }
}

/// A change that a row of the store's own brought.
pub(crate) enum Change {
    /// A member is known, or known in a new generation.
    Known(NodeId, u64),
    /// A generation of a member has ended.
    Departed(NodeId),
    /// Nothing that matters.
    None,
}

/// One member.
pub(crate) struct Member {
    pub(crate) record: MemberRecord,
    /// When its row was written: of two members with one name the later is flagged.
    pub(crate) since: Hlc,
}

/// All members ever heard of, with their departures.
pub(crate) struct Membership {
    me: NodeId,
    /// Whether rows come from others by now, and no longer from the store.
    begun: bool,
    members: BTreeMap<NodeId, Member>,
    /// How many of them, besides this node, have not departed.
    others_count: usize,
    /// The nodes that have, or had, a name of this hash.
    names: BTreeSet<(u64, NodeId)>,
    /// The latest departure of each node: generation, clock of the record, record.
    departed: BTreeMap<NodeId, (u64, Hlc, Departure)>,
    evictions: Evictions,
    /// The nodes that an operator declared lost.
    lost: BTreeMap<NodeId, Hlc>,
}

/// An eviction that this node has just heard of.
#[must_use = "it has to be judged"]
pub(crate) struct Verdict {
    pub(crate) node: NodeId,
    pub(crate) generation: u64,
    pub(crate) clock: Hlc,
    pub(crate) eviction: Eviction,
    /// The members that its author counted, the author included.
    pub(crate) counted: Vec<NodeId>,
}

impl Membership {
    pub(crate) fn new(me: NodeId) -> Self {
        Membership {
            me,
            begun: false,
            members: BTreeMap::new(),
            others_count: 0,
            names: BTreeSet::new(),
            departed: BTreeMap::new(),
            evictions: Evictions::default(),
            lost: BTreeMap::new(),
        }
    }

    /// All that the store held has been taken in.
    pub(crate) fn begin(&mut self) {
        self.begun = true;
    }

    /// A row of `sys.members` has changed.
    pub(crate) fn member_changed(&mut self, key: &[u8], value: &[u8], clock: Hlc) -> Change {
        let Some(record) = MemberRecord::decode(key, value) else {
            return Change::None;
        };
        let (node, generation) = (record.actor.node, record.generation);
        let known = self
            .members
            .get(&node)
            .map(|member| member.record.generation);
        let since = match self.members.get(&node) {
            Some(member) if member.record.name == record.name => member.since,
            _ => clock,
        };
        self.rename(node, &record.name);
        let before = self.is_present(node);
        self.members.insert(node, Member { record, since });
        self.recount(node, before);
        if known.is_none_or(|known| known < generation) && !self.has_departed(node) {
            Change::Known(node, generation)
        } else {
            Change::None
        }
    }

    /// A row of `sys.departed` has come.
    pub(crate) fn departed_changed(&mut self, key: &[u8], value: &[u8], clock: Hlc) -> Change {
        let Some((node, generation)) = departure_of(key) else {
            return Change::None;
        };
        let Some(departure) = Departure::decode(value) else {
            return Change::None;
        };
        if self
            .departed
            .get(&node)
            .is_some_and(|(known, ..)| *known >= generation)
        {
            return Change::None;
        }
        let evicted = departure.evicted.is_some();
        let before = self.is_present(node);
        self.departed.insert(node, (generation, clock, departure));
        self.recount(node, before);
        // Records of this node itself in the store were dealt with. An eviction that it hears of only now, of whatever generation, it has not made good: it
        // began its present generation as if it were still a member.
        // Evictions of this node are weighed on their own.
        let counts = if node == self.me {
            self.begun && !evicted
        } else {
            self.has_departed(node)
        };
        if counts {
            Change::Departed(node)
        } else {
            Change::None
        }
    }

    /// Takes a row of `sys.departed` that declares a node lost. Returns whether it is such a row.
    pub(crate) fn lost_changed(&mut self, key: &[u8], clock: Hlc) -> bool {
        let Some(node) = lost_of(key) else {
            return false;
        };
        let at = self.lost.entry(node).or_default();
        *at = clock.max(*at);
        true
    }

    /// The clock of the last declaration that the node of an actor is lost. It is about boots that have ended: writes of a member's
    /// present boot are on their way.
    pub(crate) fn lost(&self, actor: Actor) -> Option<Hlc> {
        let member = self.members.get(&actor.node);
        let lives = member.is_some_and(|member| member.record.actor == actor)
            && !self.has_departed(actor.node);
        self.lost.get(&actor.node).filter(|_| !lives).copied()
    }

    /// A row of `sys.departed` has come: the eviction it tells of, when that is news.
    pub(crate) fn eviction_changed(
        &mut self,
        key: &[u8],
        value: &[u8],
        clock: Hlc,
    ) -> Option<Verdict> {
        let (node, generation) = departure_of(key)?;
        let departure = Departure::decode(value)?;
        let eviction = departure.evicted?;
        let counted = departure.active;
        let ended = (node, generation, eviction.by);
        let is_news = self.evictions.insert(ended, eviction, counted.clone());
        (is_news && self.begun).then_some(Verdict {
            node,
            generation,
            clock,
            eviction,
            counted,
        })
    }

    /// Equal for two nodes that have heard of the same evictions.
    pub(crate) fn evictions_sum(&self) -> u64 {
        self.evictions.sum()
    }

    /// All evictions this node has heard of, each by its hash.
    pub(crate) fn evictions_heard(&self) -> Vec<u64> {
        self.evictions.hashes()
    }

    /// The keys of the records of those evictions of which another has not heard. O(evictions log evictions).
    pub(crate) fn evictions_unheard(&self, heard: &[u64]) -> Vec<Vec<u8>> {
        self.evictions.unheard(heard)
    }

    /// How many evictions this node has heard of.
    pub(crate) fn evictions(&self) -> usize {
        self.evictions.len()
    }

    /// Whether others have ended this generation of a node.
    pub(crate) fn is_evicted(&self, node: NodeId, generation: u64) -> bool {
        self.evictions.since(node, generation).next().is_some()
    }

    /// Returns whether the last generation of a node was ended by force: it may have done the same to this node's side, and then no link comes
    /// about unless both dial.
    pub(crate) fn is_forced_out(&self, node: NodeId) -> bool {
        let Some(last) = self.departed_generation(node) else {
            return false;
        };
        let mut records = self.evictions.since(node, last);
        self.has_departed(node) && records.any(|(eviction, _)| eviction.forced)
    }

    /// Whether this node's side has ended the generation in which the author of an eviction wrote it, and goes before the author's.
    /// Both sides, once they have both records, find the same.
    pub(crate) fn outranks(&self, theirs: &Verdict) -> bool {
        let author = theirs.eviction;
        let mut ours = self.evictions.since(author.by, author.generation);
        ours.any(|(eviction, counted)| {
            counted.contains(&self.me) && self.lineage(eviction) > self.lineage(&author)
        })
    }

    /// Ranks two sides that evicted each other: more members left after the author's last eviction win, ties go to the smaller node id.
    fn lineage(&self, author: &Eviction) -> (usize, Reverse<NodeId>) {
        let all = self.evictions.iter();
        // A node that goes on by itself says so by ending its own earlier generation, and counts no other member.
        let his = all.filter(|((node, ..), (other, _))| {
            (other.by, other.generation) == (author.by, author.generation) && *node != author.by
        });
        let left = his.map(|(_, (_, counted))| counted.len()).min();
        (left.unwrap_or(0), Reverse(author.by))
    }

    /// Whether the last known generation of a node has ended.
    pub(crate) fn has_departed(&self, node: NodeId) -> bool {
        let Some((left, ..)) = self.departed.get(&node) else {
            return false;
        };
        self.members
            .get(&node)
            .is_none_or(|member| member.record.generation <= *left)
    }

    /// The last generation of a node that is known to have ended.
    pub(crate) fn departed_generation(&self, node: NodeId) -> Option<u64> {
        self.departed.get(&node).map(|(generation, ..)| *generation)
    }

    /// The departure that ended the last generation of a node, with its clock.
    pub(crate) fn departure(&self, node: NodeId) -> Option<(Hlc, &Departure)> {
        self.has_departed(node)
            .then(|| {
                self.departed
                    .get(&node)
                    .map(|(_, clock, departure)| (*clock, departure))
            })
            .flatten()
    }

    /// The latest departure of this node itself, whichever generation it ended.
    pub(crate) fn own_departure(&self) -> Option<(Hlc, &Departure)> {
        let (_, clock, departure) = self.departed.get(&self.me)?;
        Some((*clock, departure))
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// A member besides this node that has not departed. O(log members).
    pub(crate) fn present(&self, node: NodeId) -> Option<&Member> {
        let other = node != self.me && !self.has_departed(node);
        self.members.get(&node).filter(|_| other)
    }

    /// Whether this is a member besides this node that has not departed. O(log members).
    pub(crate) fn is_present(&self, node: NodeId) -> bool {
        self.present(node).is_some()
    }

    /// The members besides this node that have not departed.
    pub(crate) fn others(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members
            .iter()
            .filter(|(node, _)| **node != self.me && !self.has_departed(**node))
            .map(|(node, member)| (*node, member))
    }

    /// Returns all nodes ever heard of.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter().map(|(node, member)| (*node, member))
    }

    /// Tells whose claims a tombstone needs besides this node's own: those of the members, and of leavers whose departure is not done with. `is_done`
    /// is told whether the leaver was declared lost since.
    pub(crate) fn counted(&self, is_done: impl Fn(&Departure, bool) -> bool) -> BTreeSet<NodeId> {
        let leavers = self.departed.iter().filter(|(node, (_, left, departure))| {
            let is_lost = self.lost.get(node).is_some_and(|lost| lost > left);
            **node != self.me && self.has_departed(**node) && !is_done(departure, is_lost)
        });
        self.others()
            .map(|(node, _)| node)
            .chain(leavers.map(|(node, _)| *node))
            .collect()
    }

    /// Whether a member that took the name earlier is still there.
    pub(crate) fn name_is_taken(&self, node: NodeId) -> bool {
        let Some(member) = self.members.get(&node) else {
            return false;
        };
        let mut bearers = self.bearers(&member.record.name);
        bearers.any(|other| self.is_earlier(other, node) && !self.has_departed(other))
    }

    /// Whether one node took its name before another did.
    pub(crate) fn is_earlier(&self, one: NodeId, other: NodeId) -> bool {
        let since = |node: NodeId| self.members.get(&node).map(|member| (member.since, node));
        let (one, other) = (since(one), since(other));
        one.is_some() && other.is_some() && one < other
    }

    /// Returns the members that are flagged for the name of `node`: `node` itself, or those that took the name later.
    pub(crate) fn namesakes(&self, node: NodeId) -> Vec<NodeId> {
        let Some(member) = self.members.get(&node) else {
            return Vec::new();
        };
        if self.name_is_taken(node) {
            return Vec::from([node]);
        }
        let later = self.bearers(&member.record.name).filter(|other| {
            *other != node && !self.has_departed(*other) && self.name_is_taken(*other)
        });
        later.collect()
    }

    /// Returns all nodes ever heard of that have this name.
    fn bearers(&self, name: &str) -> impl Iterator<Item = NodeId> {
        let hash = hash_of(name);
        let same = self
            .names
            .range((hash, NodeId(0))..=(hash, NodeId(u64::MAX)));
        same.map(|(_, node)| *node).filter(move |node| {
            let member = self.members.get(node);
            member.is_some_and(|member| member.record.name == name)
        })
    }

    fn rename(&mut self, node: NodeId, name: &str) {
        let before = self.members.get(&node).map(|member| &member.record.name);
        if before.is_some_and(|before| before == name) {
            return;
        }
        if let Some(before) = before {
            self.names.remove(&(hash_of(before), node));
        }
        self.names.insert((hash_of(name), node));
    }

    /// Members besides this node that have not departed. O(1).
    pub(crate) fn count_others(&self) -> usize {
        self.others_count
    }

    /// A node's row or departure has changed: it may count now, or no longer.
    fn recount(&mut self, node: NodeId, before: bool) {
        match (before, self.is_present(node)) {
            (false, true) => self.others_count += 1,
            (true, false) => self.others_count -= 1,
            _ => {}
        }
    }

    pub(crate) fn check(&self) {
        let others = self.others().count();
        assert_eq!(self.others_count, others, "the members are counted");
    }

    pub(crate) fn others_ids(&self) -> Vec<NodeId> {
        self.others().map(|(node, _)| node).collect()
    }
}

fn hash_of(name: &str) -> u64 {
    rapidhash_v3(name.as_bytes())
}
