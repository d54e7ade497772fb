//! Who belongs to the cluster, as its rows in `sys` tell.

mod links;
mod record;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

pub(crate) use links::{Greeting, Link, Links, Phase};
pub(crate) use record::{Departure, MemberRecord, departure_key, departure_of, member_key};

use crate::id::NodeId;
use crate::table::Hlc;

/// A member as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberInfo {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// The address its peers dial.
    pub addr: String,
    /// Which of its lives this is; grows with every start.
    pub epoch: u64,
    /// Its failure domain; may be empty.
    pub zone: String,
    /// What it serves: protocol to endpoint.
    pub protocols: BTreeMap<String, String>,
    /// Whether it answers.
    pub state: MemberState,
    /// Whether it is this node.
    pub me: bool,
    /// Whether a member that joined earlier has the same name.
    pub duplicate_name: bool,
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

/// What changed with a row of the store's own.
pub(crate) enum Change {
    /// A member is known, or known in a new life.
    Known(NodeId, u64),
    /// A life of a member has ended.
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
    /// Who goes, or went, by each name.
    names: BTreeMap<String, Vec<NodeId>>,
    /// The latest departure of each node: epoch, clock of the record, record.
    departed: BTreeMap<NodeId, (u64, Hlc, Departure)>,
}

impl Membership {
    pub(crate) fn new(me: NodeId) -> Self {
        Membership {
            me,
            begun: false,
            members: BTreeMap::new(),
            names: BTreeMap::new(),
            departed: BTreeMap::new(),
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
        let (node, epoch) = (record.actor.node, record.epoch);
        let known = self.members.get(&node).map(|member| member.record.epoch);
        let since = match self.members.get(&node) {
            Some(member) if member.record.name == record.name => member.since,
            _ => clock,
        };
        self.rename(node, &record.name);
        self.members.insert(node, Member { record, since });
        if known.is_none_or(|known| known < epoch) && !self.has_departed(node) {
            Change::Known(node, epoch)
        } else {
            Change::None
        }
    }

    /// A row of `sys.departed` has come.
    pub(crate) fn departed_changed(&mut self, key: &[u8], value: &[u8], clock: Hlc) -> Change {
        let Some((node, epoch)) = departure_of(key) else {
            return Change::None;
        };
        let Some(departure) = Departure::decode(value) else {
            return Change::None;
        };
        if self
            .departed
            .get(&node)
            .is_some_and(|(known, ..)| *known >= epoch)
        {
            return Change::None;
        }
        self.departed.insert(node, (epoch, clock, departure));
        // What the store held of this node itself was dealt with. Of an eviction it hears only now, of whatever life, it has not
        // made good: it began its present life as if it were still a member.
        let counts = if node == self.me {
            self.begun
        } else {
            self.has_departed(node)
        };
        if counts {
            Change::Departed(node)
        } else {
            Change::None
        }
    }

    /// Whether the last known life of a node has ended.
    pub(crate) fn has_departed(&self, node: NodeId) -> bool {
        let Some((left, ..)) = self.departed.get(&node) else {
            return false;
        };
        self.members
            .get(&node)
            .is_none_or(|member| member.record.epoch <= *left)
    }

    /// The last life of a node that is known to have ended.
    pub(crate) fn departed_epoch(&self, node: NodeId) -> Option<u64> {
        self.departed.get(&node).map(|(epoch, ..)| *epoch)
    }

    /// The departure that ended the last life of a node, with its clock.
    pub(crate) fn departure(&self, node: NodeId) -> Option<(Hlc, &Departure)> {
        self.has_departed(node)
            .then(|| {
                self.departed
                    .get(&node)
                    .map(|(_, clock, departure)| (*clock, departure))
            })
            .flatten()
    }

    /// The latest departure of this node itself, whichever life it ended.
    pub(crate) fn own_departure(&self) -> Option<(Hlc, &Departure)> {
        let (_, clock, departure) = self.departed.get(&self.me)?;
        Some((*clock, departure))
    }

    pub(crate) fn get(&self, node: NodeId) -> Option<&Member> {
        self.members.get(&node)
    }

    /// The members besides this node that have not departed.
    pub(crate) fn others(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members
            .iter()
            .filter(|(node, _)| **node != self.me && !self.has_departed(**node))
            .map(|(node, member)| (*node, member))
    }

    /// Everybody ever heard of.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NodeId, &Member)> {
        self.members.iter().map(|(node, member)| (*node, member))
    }

    /// Those besides this node whose claims a tombstone needs: the members, and leavers whose last state is not covered here.
    pub(crate) fn counted(&self, covered: impl Fn(&Departure) -> bool) -> BTreeSet<NodeId> {
        let leavers = self.departed.iter().filter(|(node, (_, _, departure))| {
            **node != self.me && self.has_departed(**node) && !covered(departure)
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
        let same = self.names.get(&member.record.name);
        same.into_iter().flatten().any(|other| {
            let theirs = self.members.get(other);
            *other != node
                && !self.has_departed(*other)
                && theirs.is_some_and(|theirs| (theirs.since, *other) < (member.since, node))
        })
    }

    fn rename(&mut self, node: NodeId, name: &str) {
        let before = self.members.get(&node).map(|member| &member.record.name);
        if before.is_some_and(|before| before == name) {
            return;
        }
        if let Some(before) = before
            && let Some(same) = self.names.get_mut(before)
        {
            same.retain(|other| *other != node);
            if same.is_empty() {
                self.names.remove(before);
            }
        }
        let same = self.names.entry(String::from(name)).or_default();
        same.push(node);
    }

    /// Members besides this node that have not departed.
    pub(crate) fn count_others(&self) -> usize {
        self.others().count()
    }

    pub(crate) fn others_ids(&self) -> Vec<NodeId> {
        self.others().map(|(node, _)| node).collect()
    }
}
