//! The policy: members that keep nothing on disk are evicted when they have been down for long enough.

use alloc::vec::Vec;

use crate::cluster::{Cluster, Env};
use crate::config::Config;
use crate::id::NodeId;
use crate::time::Instant;

/// Members that the policy evicts in one go.
const POLICY_AT_ONCE: usize = 8;

impl Cluster {
    /// When the policy has something to do: O(log members), as long as the member of the smallest id is linked.
    pub(crate) fn policy_deadline(&self, config: &Config) -> Option<Instant> {
        let after = config.timing.evict_memory_after;
        let after = after.filter(|after| !after.is_zero())?;
        let (since, _) = self.evictions.forgetful.first()?;
        // One tries, and not all at once.
        let mine = self.is_full() && self.leaving.is_none() && self.links.is_first_ready();
        mine.then(|| (*since + after).max(self.evictions.policy_at))
    }

    pub(crate) fn policy_due(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        if self.policy_deadline(env.config).is_none_or(|at| at > now) {
            return;
        }
        let after = env.config.timing.evict_memory_after.unwrap_or_default();
        let longest = self.evictions.forgetful.iter();
        let due = longest.take_while(|(since, _)| *since + after <= now);
        let due: Vec<NodeId> = due.map(|(_, node)| *node).take(POLICY_AT_ONCE).collect();
        self.evictions.policy_at = now + env.config.timing.evict_patience * 4;
        for node in due {
            self.begin_eviction(env, node, None, false);
        }
    }
}
