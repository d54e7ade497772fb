//! A member without a disk that crashed and is back under its name and address: the new boot takes the place of the old one.
//!
//! Without a disk a node begins each boot under a new id, so that the boot before stays behind as a member that is down for good, and deletes wait for it.
//! Nothing of that boot is left anywhere but with the others. The new boot has the others agree to end it, like any eviction: by more than
//! half of the members, each of which has to take it for dead itself. So two nodes that run under one name never end each other while
//! both answer; and one that was only cut off rejoins like any evicted member.

use alloc::vec::Vec;

use crate::cluster::{Cluster, Env};
use crate::id::NodeId;
use crate::time::Instant;

/// Old boots that are ended in one go.
const AT_ONCE: usize = 8;

impl Cluster {
    /// A member is taken for dead: it may be an earlier boot of this node's.
    pub(crate) fn notes_namesake(&mut self, env: &mut Env<'_>, node: NodeId) {
        if self.is_earlier_self(env, node) && env.fx.rules().ends_namesakes() {
            let now = env.fx.now().mono;
            self.evictions.namesakes.insert(node, now);
        }
    }

    /// Whether a member without a disk has this node's name and address. Since when it has them says nothing: the clock of that boot may have been
    /// ahead.
    fn is_earlier_self(&self, env: &Env<'_>, node: NodeId) -> bool {
        let Some(member) = self.membership.present(node) else {
            return false;
        };
        let record = &member.record;
        let same = (&record.name, &record.addr) == (&env.config.name, &env.config.addr);
        let awaited = env.fx.rules().awaits_disks() && record.stores;
        let counts =
            env.fx.rules().ends_later_namesakes() || self.membership.is_earlier(node, self.id());
        same && !awaited && node != self.id() && counts
    }

    /// When an old boot of this node's is to be ended. O(old boots).
    pub(crate) fn namesake_deadline(&self) -> Option<Instant> {
        let may = self.is_full() && self.leaving.is_none();
        let first = self.evictions.namesakes.values().min();
        first.copied().filter(|_| may)
    }

    pub(crate) fn namesakes_due(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        if self.namesake_deadline().is_none_or(|at| at > now) {
            return;
        }
        let again = now + env.config.timing.evict_patience * 4;
        let due = self.evictions.namesakes.iter_mut();
        let due = due.filter(|(_, at)| **at <= now).take(AT_ONCE);
        let due: Vec<NodeId> = due
            .map(|(node, at)| {
                *at = again;
                *node
            })
            .collect();
        for node in due {
            if self.is_earlier_self(env, node) {
                self.begin_eviction(env, node, None, false);
            } else {
                self.evictions.namesakes.remove(&node);
            }
        }
    }
}
