//! Failure domains: chooses by zone the members to probe and the members to ask for probes.
//!
//! Most probes stay in the own zone, where they are cheap and fast and where a death is noticed first; some always cross, so that a
//! zone that is cut off is noticed. Without zones, or with one, all members are near.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::roster::Roster;
use crate::id::NodeId;
use crate::rng::Rng;

/// A zone as the detector names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Zone(u32);

/// The names of zones.
#[derive(Clone, Debug, Default)]
pub(super) struct ZoneNames(BTreeMap<String, Zone>);

impl ZoneNames {
    pub(super) fn intern(&mut self, name: &str) -> Zone {
        if let Some(zone) = self.0.get(name) {
            return *zone;
        }
        let zone = Zone(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.insert(String::from(name), zone);
        zone
    }
}

/// The most of `ONE` turns that go to the own zone when it has fewer members than that share of all.
const MOST: u64 = ONE * 3 / 4;

/// A member of the own zone has at most so many turns for each of one elsewhere.
const PREFERENCE: u64 = 8;

const ONE: u64 = 1 << 16;

/// Members that are probed in turn, near ones more often. Each near member has a turn within as many turns as there are members; each far
/// one within four times the number of far ones, or within the number of all members if that is more.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    near: Roster<NodeId>,
    far: Roster<NodeId>,
    /// Turns owed to the own zone, in parts of [`ONE`].
    owed: u64,
}

impl Turns {
    pub(super) fn len(&self) -> usize {
        self.near.len() + self.far.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.near.contains(node) || self.far.contains(node)
    }

    pub(super) fn insert(&mut self, node: NodeId, is_near: bool) {
        let (to, from) = match is_near {
            true => (&mut self.near, &mut self.far),
            false => (&mut self.far, &mut self.near),
        };
        from.remove(node);
        to.insert(node);
    }

    pub(super) fn remove(&mut self, node: NodeId) {
        let _ = self.near.remove(node) || self.far.remove(node);
    }

    /// Returns the member whose turn it is.
    pub(super) fn step(&mut self, rng: &mut Rng) -> Option<NodeId> {
        if self.far.is_empty() {
            return self.near.step(rng);
        }
        self.owed += near_share(self.near.len(), self.far.len());
        if self.owed >= ONE {
            self.owed -= ONE;
            self.near.step(rng)
        } else {
            self.far.step(rng)
        }
    }

    pub(super) fn check(&self) {
        self.near.check();
        self.far.check();
        assert!(self.owed < ONE);
    }
}

/// The share of turns that stay in the own zone, in parts of [`ONE`]: three quarters, unless a small zone's members would then have
/// most of the turns, and never less than their number asks for. So a member gets about one probe in a period from all the others
/// together, in whatever zone it is.
fn near_share(near: usize, far: usize) -> u64 {
    let (near, far) = (near as u64, far as u64);
    let even = near * ONE / (near + far).max(1);
    let preferred = near * PREFERENCE * ONE / (near * PREFERENCE + far).max(1);
    even.max(preferred.min(MOST))
}

/// Members that may be asked to probe.
#[derive(Clone, Debug, Default)]
pub(super) struct Helpers {
    all: Roster<NodeId>,
    zones: Roster<Zone>,
    in_zone: BTreeMap<Zone, Roster<NodeId>>,
}

impl Helpers {
    pub(super) fn contains(&self, node: NodeId) -> bool {
        self.all.contains(node)
    }

    /// The next one in the order of ids, around from the last to the first.
    pub(super) fn after(&self, node: NodeId) -> Option<NodeId> {
        self.all.after(node)
    }

    pub(super) fn insert(&mut self, node: NodeId, zone: Zone) {
        self.all.insert(node);
        self.zones.insert(zone);
        self.in_zone.entry(zone).or_default().insert(node);
    }

    pub(super) fn remove(&mut self, node: NodeId, zone: Zone) {
        self.all.remove(node);
        let Some(roster) = self.in_zone.get_mut(&zone) else {
            return;
        };
        roster.remove(node);
        if roster.is_empty() {
            self.in_zone.remove(&zone);
            self.zones.remove(zone);
        }
    }

    /// Chooses up to `count` members other than `target`: one of its zone, which tells a dead member from a zone that is cut off, and the
    /// others from as many zones as there are.
    pub(super) fn choose(
        &self,
        rng: &mut Rng,
        count: usize,
        (target, zone): (NodeId, Zone),
    ) -> Vec<NodeId> {
        if self.zones.len() < 2 {
            return self.all.sample(rng, count, target);
        }
        let others = self.zones.sample(rng, count, zone);
        let mut chosen = Vec::with_capacity(count);
        for zone in core::iter::once(zone).chain(others) {
            let roster = self.in_zone.get(&zone).filter(|_| chosen.len() < count);
            chosen.extend(roster.and_then(|roster| roster.sample(rng, 1, target).pop()));
        }
        let more = self
            .all
            .sample(rng, count.saturating_add(chosen.len()), target);
        for node in more {
            if chosen.len() < count && !chosen.contains(&node) {
                chosen.push(node);
            }
        }
        chosen
    }

    pub(super) fn check(&self) {
        self.all.check();
        self.zones.check();
        assert_eq!(self.zones.len(), self.in_zone.len());
        let sum: usize = self.in_zone.values().map(Roster::len).sum();
        assert_eq!(sum, self.all.len());
        self.in_zone.values().for_each(Roster::check);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Seed, Stream};

    fn turns(near: u64, far: u64) -> Turns {
        let mut turns = Turns::default();
        (0..near).for_each(|id| turns.insert(NodeId(id), true));
        (near..near + far).for_each(|id| turns.insert(NodeId(id), false));
        turns
    }

    fn rng() -> Rng {
        Rng::new(Seed::from_u64(3), Stream::Detector)
    }

    #[test]
    fn most_turns_are_near_and_each_member_has_one_in_bounded_time() {
        for (near, far) in [(33, 66), (5, 5), (1, 98), (10, 90), (98, 1), (0, 7), (7, 0)] {
            let (mut turns, mut rng) = (turns(near, far), rng());
            let mut waits: BTreeMap<NodeId, u64> = BTreeMap::new();
            let mut nearby = 0;
            let rounds = 4_000;
            for turn in 1..=rounds {
                let node = turns.step(&mut rng).unwrap();
                nearby += u64::from(node.0 < near);
                let last = waits.insert(node, turn).unwrap_or(0);
                // Between two turns lie at most two rounds: first in one, last in the next.
                let round = if node.0 < near {
                    near + far
                } else {
                    (4 * far).max(near + far)
                };
                assert!(turn - last <= 2 * round + 4, "{near} near, {far} far");
            }
            turns.check();
            assert_eq!(waits.len() as u64, near + far);
            let share = nearby * 100 / rounds;
            let expected = match (near, far) {
                (33, 66) | (5, 5) => 74..=75,
                (98, 1) => 98..=99,
                (10, 90) => 46..=48,
                (1, 98) => 7..=8,
                (0, _) => 0..=0,
                _ => 100..=100,
            };
            assert!(expected.contains(&share), "{near} near, {far} far: {share}");
        }
    }

    #[test]
    fn helpers_come_from_the_zone_of_the_target_and_from_different_ones() {
        let mut helpers = Helpers::default();
        (0..30).for_each(|id| helpers.insert(NodeId(id), Zone(id as u32 / 10)));
        let mut rng = rng();
        for _ in 0..200 {
            let chosen = helpers.choose(&mut rng, 3, (NodeId(4), Zone(0)));
            let zones: Vec<u64> = chosen.iter().map(|node| node.0 / 10).collect();
            assert_eq!(zones[0], 0, "{chosen:?}");
            assert!(zones.contains(&1) && zones.contains(&2), "{chosen:?}");
            assert!(!chosen.contains(&NodeId(4)));
            let five = helpers.choose(&mut rng, 5, (NodeId(4), Zone(0)));
            let distinct: alloc::collections::BTreeSet<_> = five.iter().collect();
            assert_eq!((five.len(), distinct.len()), (5, 5));
        }
        (0..10).for_each(|id| helpers.remove(NodeId(id), Zone(0)));
        helpers.check();
        assert_eq!(helpers.choose(&mut rng, 3, (NodeId(4), Zone(0))).len(), 3);
    }
}
