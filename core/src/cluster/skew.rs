//! Wall clocks that are wrong, this node's or a peer's: each is told when it is found and when it is right again.
//!
//! Two or more peers that were heard lately judge this node's clock: if it is further ahead of all of them than the drift limit, or
//! further behind all of them, it is the one that is wrong. Otherwise each peer beyond the limit is named. With one peer the two
//! name each other, for nothing tells which of them is wrong.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::{Cluster, Env};
use crate::error::WriteError;
use crate::id::NodeId;
use crate::io::Event;
use crate::time::{Instant, Now, Wall};

/// How long a peer's clock counts after it was heard.
const WINDOW: Duration = Duration::from_secs(45);

/// How often the clocks are compared.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A member whose wall clock differs from others' by more than `limits.clock_drift`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WrongClock {
    /// The member.
    pub node: NodeId,
    /// Its name, if it is known.
    pub name: String,
    /// Whether it is this node, judged by the clocks of two peers at least. Else it is a peer, compared with this node.
    pub me: bool,
    /// By how many milliseconds its clock is ahead, negative when it is behind. This node's own is compared with the peer that is nearest.
    pub by_ms: i64,
}

impl core::fmt::Display for WrongClock {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let WrongClock { node, name, .. } = self;
        let by = self.by_ms.unsigned_abs();
        let (secs, millis) = (by / 1_000, by % 1_000);
        let side = if self.by_ms < 0 { "behind" } else { "ahead of" };
        match self.me {
            true => write!(
                f,
                "the clock of this node, {name} ({node}), is {secs}.{millis:03} s {side} those of all others"
            ),
            false => write!(
                f,
                "the clock of {name} ({node}) is {secs}.{millis:03} s {side} this node's"
            ),
        }
    }
}

/// The clocks of peers as they were heard last, and those that are wrong. O(peers heard lately).
#[derive(Default)]
pub(super) struct Skews {
    /// Per peer its wall clock minus this node's monotonic clock, in milliseconds, and when it was heard.
    heard: BTreeMap<NodeId, (i128, Instant)>,
    /// By how many milliseconds a clock is ahead.
    wrong: BTreeMap<NodeId, i64>,
    look_at: Instant,
    /// The clock that the last greeting of a member told, and when: it counts until a peer tells its own with a probe.
    greeted: Option<(i128, Instant)>,
}

impl Skews {
    /// A member told its wall clock with its greeting.
    pub(super) fn greet(&mut self, now: Now, wall_ms: u64) {
        self.greeted = Some((offset(now, wall_ms), now.mono));
    }

    /// The wall clock that more than half of the peers heard lately have reached; `None` when none was heard. O(peers log peers).
    pub(super) fn shown_by_most(&self, now: Now) -> Option<Wall> {
        let is_recent = |at: Instant| now.mono.since(at) < WINDOW;
        let heard = self.heard.values().filter(|(_, at)| is_recent(*at));
        let mut offsets: Vec<i128> = heard.map(|(offset, _)| *offset).collect();
        if offsets.is_empty() {
            let greeted = self.greeted.filter(|(_, at)| is_recent(*at));
            offsets.extend(greeted.map(|(offset, _)| offset));
        }
        offsets.sort_unstable_by(|a, b| b.cmp(a));
        let most = offsets.get(offsets.len() / 2)?;
        let wall_ms = most + i128::from(now.mono.as_micros() / 1_000);
        Some(Wall::from_millis(u64::try_from(wall_ms).unwrap_or(0)))
    }

    /// A peer told its wall clock.
    pub(super) fn hear(&mut self, now: Now, peer: NodeId, wall_ms: u64) {
        self.heard.insert(peer, (offset(now, wall_ms), now.mono));
    }

    /// Whether another comparison is due.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = now >= self.look_at;
        if due {
            self.look_at = now + LOOK_EVERY;
        }
        due
    }

    /// The clocks that are wrong now. One that was told stays so until it is within nine tenths of the limit, so that one at the limit
    /// does not come and go.
    fn judge(&mut self, now: Now, me: NodeId, limit: Duration) -> BTreeMap<NodeId, i64> {
        self.heard.retain(|_, (_, at)| now.mono.since(*at) < WINDOW);
        let ours = i128::from(now.wall.as_millis()) - i128::from(now.mono.as_micros() / 1_000);
        let limit = limit.as_millis() as i128;
        let is_wrong = |node: NodeId, by: i128| match self.wrong.contains_key(&node) {
            true => by.abs() * 10 > limit * 9,
            false => by.abs() > limit,
        };
        let ahead = |node: &NodeId| self.heard.get(node).map(|(theirs, _)| theirs - ours);
        let all = || self.heard.keys().filter_map(ahead);
        // The peer that is nearest, if all of them are on one side.
        let nearest = match (all().min(), all().max()) {
            (Some(least), _) if least > 0 => -least,
            (_, Some(most)) if most < 0 => -most,
            _ => 0,
        };
        if self.heard.len() >= 2 && is_wrong(me, nearest) {
            return BTreeMap::from([(me, clamp(nearest))]);
        }
        let peers = self.heard.keys().filter_map(|node| {
            let by = ahead(node)?;
            is_wrong(*node, by).then_some((*node, clamp(by)))
        });
        peers.collect()
    }
}

/// A wall clock, minus this node's monotonic one, in milliseconds.
fn offset(now: Now, wall_ms: u64) -> i128 {
    i128::from(wall_ms) - i128::from(now.mono.as_micros() / 1_000)
}

fn clamp(ms: i128) -> i64 {
    let (least, most) = (i128::from(i64::MIN), i128::from(i64::MAX));
    ms.clamp(least, most) as i64
}

impl Cluster {
    /// Compares the clocks once a second, and tells which have become wrong and which are right again.
    pub(super) fn skews_due(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now();
        if !self.skews.is_due(now.mono) {
            return;
        }
        self.learn_agreed_time(env);
        if !env.fx.rules().tells_skew() {
            return;
        }
        let limit = env.config.limits.clock_drift;
        let me = self.id();
        let mut wrong = self.skews.judge(now, me, limit);
        // A node that refuses writes for its clock says so.
        if let Err(WriteError::ClockAhead { ahead_ms, .. }) = self.clocks.check(now, limit) {
            let ahead_ms = i64::try_from(ahead_ms).unwrap_or(i64::MAX);
            wrong = BTreeMap::from([(me, ahead_ms)]);
        }
        let before = core::mem::replace(&mut self.skews.wrong, wrong);
        for clock in self.wrong_clocks() {
            let side = |by: &i64| by.is_negative();
            let told = before.get(&clock.node).map(side);
            if told != Some(side(&clock.by_ms)) {
                env.fx.event(Event::ClockWrong(clock));
            }
        }
        for node in before.into_keys() {
            let is_heard = node == me || self.skews.heard.contains_key(&node);
            if is_heard && !self.skews.wrong.contains_key(&node) {
                let name = self.name_of(node);
                env.fx.event(Event::ClockRight { node, name });
            }
        }
    }

    /// Learns how far this node's clock may be behind: the drift limit counts from the time that the settled clocks of most members have passed.
    /// O(members log members).
    fn learn_agreed_time(&mut self, env: &mut Env<'_>) {
        let counts = self.is_full() && env.fx.rules().follows_agreed_time();
        let agreed = counts
            .then(|| {
                env.modes
                    .gossip
                    .vote(&self.look(env.fx, env.config, env.detector))
                    .passed(env.fx)
            })
            .flatten();
        let shown = self.skews.shown_by_most(env.fx.now());
        env.modes.gossip.set_others_time(Some(agreed), shown);
    }

    /// A member told its wall clock with its greeting: there may be no other for a second.
    pub(super) fn greeted_by_clock(&mut self, env: &mut Env<'_>, wall_ms: u64) {
        let now = env.fx.now();
        self.skews.greet(now, wall_ms);
        let shown = self.skews.shown_by_most(now);
        env.modes.gossip.set_others_time(None, shown);
    }

    /// The clocks that are wrong, as they were found within the last second. O(such clocks).
    pub(crate) fn wrong_clocks(&self) -> Vec<WrongClock> {
        let me = self.id();
        let wrong = self.skews.wrong.iter();
        let clock = |(node, by_ms): (&NodeId, &i64)| WrongClock {
            node: *node,
            name: self.name_of(*node),
            me: *node == me,
            by_ms: *by_ms,
        };
        wrong.map(clock).collect()
    }
}
