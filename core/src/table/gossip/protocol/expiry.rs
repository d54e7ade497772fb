//! When rows expire: hidden by this node's own wall clock, ended by those of most members.

use core::time::Duration;

use super::settled::Vote;
use crate::effects::Effects;
use crate::io::Event;
use crate::members::ClocksPassed;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::time::Instant;

/// Rows that may be hidden, or end, in one turn.
const BUDGET: usize = 1_024;

/// How often it is looked whether rows have to end. The clocks of others are older than that anyway.
const END_EVERY: Duration = Duration::from_secs(1);

impl Gossip {
    /// Hiding follows the wall clock; the wait for it is measured on the monotonic one, and at most a second, because the
    /// wall clock may jump.
    pub(crate) fn expiry_deadline(&self, env: &Look<'_>) -> Option<Instant> {
        self.replica.first_expiry()?;
        let now = env.fx.now();
        let hide = self.replica.next_expiry(now.wall).map(|at| {
            let wait = at.as_millis().saturating_sub(now.wall.as_millis());
            now.mono + Duration::from_millis(wait.min(1_000))
        });
        Some(hide.map_or(self.end_rows_at, |hide| hide.min(self.end_rows_at)))
    }

    /// Looks at both clocks, and tells of a step of the wall clock.
    pub(crate) fn look_at_clocks(&mut self, fx: &mut Effects) {
        if let Some(by_ms) = self.settled.look(fx) {
            fx.event(Event::WallStepped { by_ms });
        }
    }

    /// Hides rows whose time has come by this node's clock, and ends those that most clocks have passed.
    pub(crate) fn rows_expire(&mut self, env: &mut Env<'_>) {
        self.replica.hide_expired(&mut env.rows(), BUDGET);
        let now = env.fx.now();
        if self.replica.first_expiry().is_none() || now.mono < self.end_rows_at {
            return;
        }
        self.end_rows_at = now.mono + END_EVERY;
        let rules = env.fx.rules();
        let joins = rules.joiners_end_no_rows() && !env.seat.joined;
        let is_rejoining = rules.rejoining_ends_no_rows() && env.seat.is_rejoining;
        let agreed = match rules.majority_ends_rows() {
            true if joins || is_rejoining => None,
            true => self.vote(&env.look()).passed(env.fx),
            false => Some(now.wall),
        };
        let more = agreed.is_some_and(|at| {
            self.replica
                .end_expired(&mut env.rows(), at.as_millis(), BUDGET)
        });
        if more {
            self.end_rows_at = now.mono;
        }
    }

    /// The clocks of the members whose claims a tombstone needs, and of this node.
    pub(crate) fn vote(&self, env: &Look<'_>) -> Vote {
        let probe_interval = env.seat.config.timing.probe_interval;
        self.settled
            .vote(env.fx, &self.counted(env), probe_interval)
    }

    /// Returns which clocks have passed the expiry of the row that expires first.
    pub(crate) fn hidden_until(&self, look: &Look<'_>) -> Option<ClocksPassed> {
        let first = self.replica.first_expiry()?;
        let (passed, of) = self.vote(look).past(first);
        Some(ClocksPassed { passed, of })
    }
}
