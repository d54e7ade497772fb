//! Freeing: when tombstones go, and the members for whose sake they are kept.

use alloc::collections::BTreeSet;

use crate::id::NodeId;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::Waits;
use crate::wire::RumorState;

impl Gossip {
    /// Returns whether tombstones may be looked at again. O(1).
    pub(crate) fn frees_now(&self, look: &Look<'_>) -> bool {
        look.seat.is_full()
            && self.stability.is_due()
            && self.repair.is_none()
            && !self.replica.is_sweeping()
    }

    /// Frees tombstones that every counted member has claimed.
    pub(crate) fn free_tombstones(&mut self, env: &mut Env<'_>) {
        if self.replica.coverage().tombstone_count() == 0 {
            return self.stability.stand_by(|node| self.relays.wants(node));
        }
        // No claim will tell a lone node that it is time.
        let alone = env.seat.members.others().next().is_none();
        // A drop marker is kept until all that it has hidden is removed.
        if self.replica.is_sweeping() {
            return;
        }
        if !env.seat.is_full() || self.repair.is_some() || !(self.stability.is_due() || alone) {
            return;
        }
        if alone {
            self.stability.touch();
        }
        let counted = self.counted(&env.look());
        let lost = |actor| env.seat.members.lost(actor);
        self.stability
            .collect(&mut env.rows(), &mut self.replica, &counted, &lost);
    }

    /// Returns the members whose claims a tombstone needs. O(members).
    pub(crate) fn counted(&self, look: &Look<'_>) -> BTreeSet<NodeId> {
        let coverage = self.replica.coverage();
        let mut counted = look.seat.members.counted(|departure, is_lost| {
            let mut contexts = departure.contexts.iter();
            let excused = look.fx.rules().excuses_lost_leavers() && is_lost;
            let awaited = look.fx.rules().awaits_leavers()
                && !contexts.all(|(class, context)| coverage.includes(*class, context));
            excused || !awaited
        });
        if !look.fx.rules().awaits_down_members() {
            counted.retain(|node| look.seat.detector.state(*node) != Some(RumorState::Down));
        }
        counted
    }

    /// Returns the members that hold up the freeing of tombstones. O(members), and 4,096 tombstones for each that is behind.
    pub(crate) fn holding_up(&self, look: &Look<'_>) -> Waits {
        let lost = |actor| look.seat.members.lost(actor);
        self.stability
            .holding_up(look.fx, &self.replica, &self.counted(look), &lost)
    }
}
