//! Settled clocks: what time it is by the clocks of most members, so that one that is wrong ends no row.
//!
//! A wall clock jumps: by a step of NTP, in a machine that was suspended, on a board without a battery. So a node believes of its own clock
//! only the least that it has shown against the monotonic one for half a minute: a step back counts at once, a step forward after
//! that time, and in the first half minute of a boot nothing does. Members tell each other this *settled* clock. What was
//! heard is carried on by the monotonic clock here and counts for a while. A row has expired for good when the settled clocks of more than
//! half of the counted members have passed its expiry. A member that is silent has no vote, and is in the half that has to be beaten.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::time::Duration;

use crate::effects::Effects;
use crate::id::NodeId;
use crate::time::{Instant, Wall};

/// A clock is believed once it has shown the time for so long, and after twice that at most.
const SETTLES: Duration = Duration::from_secs(30);

/// The last telling of a member's clock counts for so long at least.
const COUNTS: Duration = Duration::from_secs(30);

/// A wall clock that moves further against the monotonic one between two looks has made a step, in milliseconds.
const STEP_MS: u64 = 1_000;

/// A wall clock in milliseconds, minus the monotonic clock of this node.
type Offset = i128;

/// This node's own clock: the least offset of this window and of the one before.
#[derive(Clone, Copy)]
struct Own {
    last: Offset,
    now: Offset,
    before: Option<Offset>,
    /// When this window began.
    since: Instant,
}

/// The last telling of a member's clock.
#[derive(Clone, Copy)]
struct Telling {
    offset: Offset,
    at: Instant,
}

/// The settled clock of this node, and those that it has heard of. O(members).
#[derive(Default)]
pub(crate) struct Settled {
    own: Option<Own>,
    heard: BTreeMap<NodeId, Telling>,
}

impl Settled {
    /// Looks at this node's clocks; returns by how many milliseconds the wall clock has made a step, if it has. O(1).
    pub(crate) fn look(&mut self, fx: &Effects) -> Option<i64> {
        let now = fx.now();
        let offset = offset(now.wall.as_millis(), now.mono);
        let fresh = Own {
            last: offset,
            now: offset,
            before: None,
            since: now.mono,
        };
        let Some(own) = &mut self.own else {
            self.own = Some(fresh);
            return None;
        };
        let step = offset - core::mem::replace(&mut own.last, offset);
        let age = now.mono.since(own.since);
        if age >= SETTLES * 2 {
            // After so long without a look it is not known what the clock showed meanwhile.
            *own = fresh;
        } else if age >= SETTLES {
            own.before = Some(own.now);
            (own.now, own.since) = (offset, now.mono);
        } else if fx.rules().notices_steps_back() {
            own.now = own.now.min(offset);
        }
        let step = i64::try_from(step).unwrap_or(if step < 0 { i64::MIN } else { i64::MAX });
        (step.unsigned_abs() > STEP_MS).then_some(step)
    }

    fn own(&self, fx: &Effects) -> Option<Offset> {
        let own = self.own?;
        if !fx.rules().clocks_settle() {
            return Some(own.last);
        }
        Some(own.before?.min(own.now))
    }

    /// This node's settled clock as it tells it, in milliseconds since 1970: 0 while it is unknown.
    pub(crate) fn told(&self, fx: &Effects) -> u64 {
        let told = self.own(fx).map(|own| own + millis(fx.now().mono));
        told.map_or(0, |ms| u64::try_from(ms.max(1)).unwrap_or(u64::MAX))
    }

    /// A member told its settled clock: the last one of each member counts.
    pub(crate) fn hear(&mut self, now: Instant, member: NodeId, settled_ms: u64) {
        if settled_ms == 0 {
            self.heard.remove(&member);
            return;
        }
        let telling = Telling {
            offset: offset(settled_ms, now),
            at: now,
        };
        self.heard.insert(member, telling);
    }

    /// A member has left, or was evicted: its clock counts no more.
    pub(crate) fn forget(&mut self, member: NodeId) {
        self.heard.remove(&member);
    }

    /// The votes of this node and of the `counted` others. O(members log members).
    pub(crate) fn vote(
        &self,
        fx: &Effects,
        counted: &BTreeSet<NodeId>,
        probe_interval: Duration,
    ) -> Vote {
        let now = fx.now().mono;
        let lasts = lasting(counted.len() + 1, probe_interval);
        let others = counted.iter().filter_map(|node| self.heard.get(node));
        let others = others.filter(|telling| counts(fx, now, telling, lasts));
        let offsets = others.map(|telling| telling.offset).chain(self.own(fx));
        let mut clocks: Vec<i128> = offsets.map(|offset| offset + millis(now)).collect();
        clocks.sort_unstable_by(|a, b| b.cmp(a));
        Vote {
            clocks,
            of: counted.len() + 1,
        }
    }
}

/// For how long what was heard of a clock counts among so many members: each hears of each other in less.
fn lasting(members: usize, probe_interval: Duration) -> Duration {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    COUNTS.max(probe_interval.saturating_mul(4).saturating_mul(members))
}

fn counts(fx: &Effects, now: Instant, telling: &Telling, lasts: Duration) -> bool {
    !(fx.rules().tellings_fade() && now.since(telling.at) > lasts)
}

/// The settled clocks that count, in milliseconds since 1970, the largest first.
pub(crate) struct Vote {
    clocks: Vec<i128>,
    /// How many members are counted.
    of: usize,
}

impl Vote {
    /// The time that more than half of the counted members have passed.
    pub(crate) fn passed(&self, fx: &Effects) -> Option<Wall> {
        let needed = match fx.rules().majority_exceeds_half() {
            true => self.of / 2 + 1,
            false => (self.of / 2).max(1),
        };
        let least = self.clocks.get(needed - 1)?;
        u64::try_from(*least).ok().map(Wall::from_millis)
    }

    /// How many members are known to have passed a time, and of how many.
    pub(crate) fn past(&self, at: Wall) -> (usize, usize) {
        let at = i128::from(at.as_millis());
        (self.clocks.partition_point(|clock| *clock >= at), self.of)
    }
}

fn offset(wall_ms: u64, mono: Instant) -> Offset {
    i128::from(wall_ms) - millis(mono)
}

fn millis(mono: Instant) -> i128 {
    i128::from(mono.as_micros() / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Storage;
    use crate::time::Now;

    /// A node's clocks, looked at every second.
    struct Clocks {
        fx: Effects,
        settled: Settled,
        second: u64,
        ahead_ms: i64,
    }

    const EPOCH_MS: i64 = 1_700_000_000_000;

    impl Clocks {
        fn new() -> Self {
            Clocks {
                fx: Effects::new(Storage::None, crate::rules::Rules::default()),
                settled: Settled::default(),
                second: 0,
                ahead_ms: 0,
            }
        }

        /// So many seconds pass; returns the steps that were seen.
        fn pass(&mut self, seconds: u64) -> Vec<i64> {
            let mut steps = Vec::new();
            for _ in 0..seconds {
                let wall_ms = EPOCH_MS + self.second as i64 * 1_000 + self.ahead_ms;
                let mono = Instant::from_micros(self.second * 1_000_000);
                self.fx
                    .set_now(Now::new(mono, Wall::from_millis(wall_ms as u64)));
                steps.extend(self.settled.look(&self.fx));
                self.second += 1;
            }
            steps
        }

        /// By how many milliseconds the settled clock is ahead of the truth.
        fn ahead(&self) -> Option<i64> {
            let told = self.settled.told(&self.fx);
            let truth = EPOCH_MS + (self.second as i64 - 1) * 1_000;
            (told != 0).then(|| told as i64 - truth)
        }

        fn vote(&self, others: &[u64]) -> Vote {
            let counted = others.iter().map(|id| NodeId(*id)).collect();
            self.settled
                .vote(&self.fx, &counted, Duration::from_secs(1))
        }
    }

    const DAY: i64 = 86_400_000;

    #[test]
    fn a_clock_is_unknown_in_the_first_half_minute_of_a_boot() {
        let mut clocks = Clocks::new();
        clocks.pass(30);
        assert_eq!(clocks.ahead(), None);
        clocks.pass(1);
        assert_eq!(clocks.ahead(), Some(0));
    }

    #[test]
    fn a_step_forward_counts_after_half_a_minute_and_one_back_at_once() {
        let mut clocks = Clocks::new();
        clocks.pass(100);
        clocks.ahead_ms = DAY;
        assert_eq!(clocks.pass(29), [DAY]);
        assert_eq!(clocks.ahead(), Some(0));
        clocks.pass(32);
        assert_eq!(clocks.ahead(), Some(DAY));
        clocks.ahead_ms = -DAY;
        assert_eq!(clocks.pass(1), [-2 * DAY]);
        assert_eq!(clocks.ahead(), Some(-DAY));
    }

    #[test]
    fn a_clock_without_a_look_for_a_minute_is_unknown() {
        let mut clocks = Clocks::new();
        clocks.pass(100);
        clocks.second += 70;
        clocks.pass(30);
        assert_eq!(clocks.ahead(), None);
        clocks.pass(1);
        assert_eq!(clocks.ahead(), Some(0));
    }

    #[test]
    fn small_changes_are_no_steps() {
        let mut clocks = Clocks::new();
        clocks.pass(3);
        clocks.ahead_ms = 1_000;
        assert_eq!(clocks.pass(1), []);
        clocks.ahead_ms = -1;
        assert_eq!(clocks.pass(1), [-1_001]);
    }

    #[test]
    fn more_than_half_of_those_counted_have_to_have_passed_a_time() {
        let mut clocks = Clocks::new();
        clocks.pass(100);
        let now = clocks.fx.now();
        let truth = now.wall;
        assert_eq!(clocks.vote(&[]).passed(&clocks.fx), Some(truth), "alone");
        assert_eq!(clocks.vote(&[1]).passed(&clocks.fx), None, "one of two");
        let ahead = |by: u64| truth.as_millis() + by;
        clocks.settled.hear(now.mono, NodeId(1), ahead(5_000));
        assert_eq!(
            clocks.vote(&[1]).passed(&clocks.fx),
            Some(truth),
            "the slower"
        );
        assert_eq!(clocks.vote(&[1, 2]).passed(&clocks.fx), Some(truth));
        assert_eq!(
            clocks.vote(&[1, 2, 3]).passed(&clocks.fx),
            None,
            "two of four"
        );
        clocks.settled.hear(now.mono, NodeId(2), ahead(9_000));
        let third = Wall::from_millis(ahead(5_000));
        assert_eq!(clocks.vote(&[1, 2]).passed(&clocks.fx), Some(third));
        assert_eq!(clocks.vote(&[1, 2]).past(third), (2, 3));
        clocks.settled.hear(now.mono, NodeId(2), 0);
        assert_eq!(clocks.vote(&[1, 2]).past(third), (1, 3), "unknown again");
    }

    #[test]
    fn what_was_heard_is_carried_on_and_counts_for_a_while() {
        let mut clocks = Clocks::new();
        clocks.pass(100);
        let told = clocks.settled.told(&clocks.fx);
        clocks.settled.hear(clocks.fx.now().mono, NodeId(1), told);
        clocks.pass(30);
        let truth = clocks.fx.now().wall;
        assert_eq!(clocks.vote(&[1]).passed(&clocks.fx), Some(truth));
        clocks.pass(1);
        assert_eq!(clocks.vote(&[1]).passed(&clocks.fx), None);
    }
}
