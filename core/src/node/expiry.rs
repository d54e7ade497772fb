//! When rows expire: hidden by this node's own wall clock, ended by those of most members.

use core::time::Duration;

use super::Node;
use super::settled::Vote;
use crate::io::Event;
use crate::mutants::mutated;
use crate::time::Instant;

/// Rows that may be hidden, or end, in one turn.
const BUDGET: usize = 1_024;

/// How often it is looked whether rows have to end. The clocks of others are older than that anyway.
const END_EVERY: Duration = Duration::from_secs(1);

impl Node {
    /// Hiding follows the wall clock; the wait for it is measured on the monotonic one, and at most a second, because the
    /// wall clock may jump.
    pub(super) fn expiry_deadline(&self) -> Option<Instant> {
        self.gossip.first_expiry()?;
        let now = self.fx.now();
        let hide = self.gossip.next_expiry(now.wall).map(|at| {
            let wait = at.as_millis().saturating_sub(now.wall.as_millis());
            now.mono + Duration::from_millis(wait.min(1_000))
        });
        Some(hide.map_or(self.end_rows_at, |hide| hide.min(self.end_rows_at)))
    }

    /// Looks at both clocks, and tells of a step of the wall clock.
    pub(super) fn look_at_clocks(&mut self) {
        if let Some(by_ms) = self.settled.look(&self.fx) {
            self.fx.event(Event::WallStepped { by_ms });
        }
    }

    /// Hides rows whose time has come by this node's clock, and ends those that most clocks have passed.
    pub(super) fn rows_expire(&mut self) {
        self.gossip.hide_expired(&mut self.fx, BUDGET);
        let now = self.fx.now();
        if self.gossip.first_expiry().is_none() || now.mono < self.end_rows_at {
            return;
        }
        self.end_rows_at = now.mono + END_EVERY;
        let joined = self.cluster.joined || mutated!(self.fx, JoinerExpires);
        let here = self.cluster.away.is_none() || mutated!(self.fx, AwayExpires);
        let agreed = match mutated!(self.fx, ExpiresByOwnClock) {
            true => Some(now.wall),
            false if joined && here => self.vote().passed(&self.fx),
            false => None,
        };
        let more = agreed.is_some_and(|at| {
            self.gossip
                .end_expired(&mut self.fx, at.as_millis(), BUDGET)
        });
        if more {
            self.end_rows_at = now.mono;
        }
    }

    /// The clocks of the members whose claims a tombstone needs, and of this node.
    pub(super) fn vote(&self) -> Vote {
        let probe_interval = self.config.timing.probe_interval;
        self.settled.vote(&self.fx, &self.counted(), probe_interval)
    }
}
