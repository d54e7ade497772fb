//! The members as operators see them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::{Cluster, HoldsUp, Member, MemberInfo, MemberState};
use crate::detector::Detector;
use crate::id::NodeId;
use crate::table::env::Look;
use crate::table::gossip::Gossip;
use crate::wire::RumorState;

/// A member that a node which is rejoining waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Awaited {
    /// The member.
    pub node: NodeId,
    /// Its name, if it is known.
    pub name: String,
    /// Whether it is linked, and so rejoining itself or about to greet.
    pub here: bool,
}

/// A member for whose sake deleted rows are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HoldUp {
    /// The member.
    pub node: NodeId,
    /// Its name, if it is known.
    pub name: String,
    /// Why.
    pub why: HoldsUp,
}

impl Cluster {
    /// Returns the members that a node which is rejoining waits for.
    pub(crate) fn awaited(&self) -> Vec<Awaited> {
        let rejoining = self.record.rejoining.iter();
        let active = rejoining.flat_map(|rejoining| rejoining.active.iter().copied());
        active.map(|node| self.awaited_one(node)).collect()
    }

    pub(super) fn awaited_one(&self, node: NodeId) -> Awaited {
        Awaited {
            node,
            name: self.name_of(node),
            here: self.links.of(node).is_some(),
        }
    }

    /// Returns the name of a member, empty for a node that never was one. O(log n).
    pub(crate) fn name_of(&self, node: NodeId) -> String {
        let member = self.membership.get(node);
        member.map_or_else(String::new, |member| member.record.name.to_string())
    }

    /// Returns all members ever heard of, by id, with the reasons for which deletes are kept.
    pub(crate) fn members(
        &self,
        detector: &Detector,
        holds_up: impl Fn(NodeId) -> Option<HoldsUp>,
    ) -> Vec<MemberInfo> {
        let info = |(node, member): (NodeId, &Member)| {
            let record = &member.record;
            let me = node == self.id();
            let state = if self.membership.has_departed(node) {
                MemberState::Left
            } else if me {
                MemberState::Alive
            } else {
                match detector.state(node) {
                    Some(RumorState::Alive) => MemberState::Alive,
                    Some(RumorState::Suspect) => MemberState::Suspect,
                    Some(RumorState::Down) | None => MemberState::Down,
                }
            };
            MemberInfo {
                id: node,
                name: record.name.to_string(),
                addr: record.addr.to_string(),
                generation: record.generation,
                zone: record.zone.to_string(),
                protocols: record.protocols.iter().cloned().collect(),
                state,
                me,
                duplicate_name: self.membership.name_is_taken(node),
                stores: record.stores,
                holds_up: holds_up(node),
            }
        };
        self.membership.all().map(info).collect()
    }

    /// Tells which members hold up the collection of tombstones, and why. O(members), and 4,096 tombstones for each that is behind.
    pub(crate) fn holding_up(&self, look: &Look<'_>, gossip: &Gossip) -> Vec<HoldUp> {
        let now = look.fx.now().mono;
        let waits = gossip.holding_up(look);
        let why = |(node, lacks): (NodeId, Option<u64>)| {
            let down = self.evictions.down_since(node);
            let why = match (down, lacks) {
                _ if self.membership.has_departed(node) => HoldsUp::Left,
                (Some(at), _) => HoldsUp::Down {
                    since: now.since(at),
                },
                (None, _) if !look.is_linked(node) => HoldsUp::Unlinked,
                (None, None) => HoldsUp::Unheard,
                (None, Some(deletes)) => HoldsUp::Behind { deletes },
            };
            let name = self.name_of(node);
            HoldUp { node, name, why }
        };
        let claims = waits.claims.into_iter().map(why);
        let writes = waits.writes.into_iter().map(|(node, deletes)| HoldUp {
            node,
            name: self.name_of(node),
            why: HoldsUp::Writes { deletes },
        });
        claims.chain(writes).collect()
    }
}
