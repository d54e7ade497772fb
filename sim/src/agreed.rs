//! How far rows may have expired, by what the simulator itself knows of clocks.
//!
//! The store promises that a row ends before its time only if the clocks of more than half of the members that one member counts are
//! ahead of it, each for longer than [`SETTLES`], and all within the time for which what was heard of a clock counts. So a judge
//! excuses a row that is gone only by [`Agreed::passed_since`]. It errs on the side of the store: a clock counts as settled after exactly
//! that time, and every member has heard of it.

use std::collections::VecDeque;
use std::time::Duration;

use rumormill_core::{Instant, Node, NodeId, Now, members::MemberState};

use crate::clock::{Clock, shows_beyond_drift};
use crate::model::{Effect, Told};
use crate::world::World;

/// A clock that has been ahead for less is not believed.
const SETTLES: Duration = Duration::from_secs(30);
/// The last telling of a clock counts for so long at least.
const COUNTS: Duration = Duration::from_secs(30);
/// How often the clocks are compared, in microseconds of virtual time; besides whenever one is set, and when a node ends.
const EVERY_US: u64 = 1_000_000;
/// By how much a comparison may come late, in milliseconds: a clock gains at most half as much again.
const LATE_MS: u64 = 1_500;

/// The clocks of one machine as far as its members believe them.
#[derive(Clone, Debug, Default)]
struct Believed {
    /// When the node's boot began by its monotonic clock; `None` while it does not run.
    begun: Option<Instant>,
    /// By how many milliseconds the wall clock was ahead of the monotonic one, and since when by the latter; oldest first.
    offsets: VecDeque<(Instant, i64)>,
    /// When, in microseconds of virtual time, and what the settled clock showed, in milliseconds: only what no later one exceeds, when it is
    /// carried on; oldest first.
    told: VecDeque<(u64, u64)>,
    /// The machines of the members that it counts, itself included, if it is one: some twice, whose earlier boots are counted too.
    counts: Option<Vec<usize>>,
    /// The largest time that the wall clock has shown while a node ran, in milliseconds.
    largest_ms: u64,
    /// The revision of its members for which that holds, and whether it was a full member then.
    revision: Option<(u64, bool)>,
}

impl Believed {
    fn is_set(&mut self, now: Now) {
        let offset = now.wall.as_millis() as i64 - (now.mono.as_micros() / 1_000) as i64;
        self.offsets.push_back((now.mono, offset));
    }

    /// Returns the time that the settled clock shows, in milliseconds; nothing in the first time of a boot.
    fn settled(&mut self, now: Now) -> Option<u64> {
        let begun = self.begun?;
        let from = now
            .mono
            .as_micros()
            .checked_sub(SETTLES.as_micros() as u64)?;
        while self
            .offsets
            .get(1)
            .is_some_and(|(since, _)| since.as_micros() <= from)
        {
            self.offsets.pop_front();
        }
        let least = self.offsets.iter().map(|(_, offset)| *offset).min()?;
        let shown = (now.mono.as_micros() / 1_000) as i64 + least;
        (begun.as_micros() <= from).then_some(shown.max(0) as u64)
    }
}

/// The times that the settled clocks of majorities have passed.
#[derive(Debug, Default)]
pub(crate) struct Agreed {
    clocks: Vec<Believed>,
    /// The time that a majority had passed, in milliseconds of wall time, and when it had, in microseconds of virtual time: only those that no
    /// later one exceeds, oldest first.
    passed: Vec<(u64, u64)>,
    /// When a majority had first passed a time that none had passed before, in microseconds of virtual time, and that time; oldest first.
    first: Vec<(u64, u64)>,
    /// When the clocks are compared next.
    next_us: u64,
    /// The most that any clock gains or loses, in millionths.
    drift_ppm: u64,
}

impl Agreed {
    pub(crate) fn new(machines: usize) -> Self {
        Agreed {
            clocks: vec![Believed::default(); machines],
            ..Agreed::default()
        }
    }

    /// The latest time that the settled clocks of a majority have passed since `at_us`, in milliseconds of wall time.
    pub(crate) fn passed_since(&self, at_us: u64) -> u64 {
        let first = self.passed.partition_point(|(us, _)| *us < at_us);
        let latest = self.passed.get(first).map_or(0, |(_, ms)| *ms);
        latest + LATE_MS
    }

    /// The latest time that the settled clocks of a majority had passed by `at_us`, in milliseconds of wall time.
    pub(crate) fn passed_by(&self, at_us: u64) -> u64 {
        // A comparison may come late.
        let until_us = at_us + LATE_MS * 1_000;
        let later = self.first.partition_point(|(us, _)| *us <= until_us);
        let latest = later.checked_sub(1).map_or(0, |last| self.first[last].1);
        latest + LATE_MS
    }

    /// Whether a row that was written to expire may have ended.
    pub(crate) fn may_have_ended(&self, op: &Told) -> bool {
        let Effect::PutFor(_, expires_ms) = op.effect else {
            return false;
        };
        expires_ms <= self.passed_since(op.at_us)
    }

    /// Whether a row that was written to expire may have ended before this moment.
    pub(crate) fn may_have_ended_by(&self, op: &Told, by_us: u64) -> bool {
        let Effect::PutFor(_, expires_ms) = op.effect else {
            return false;
        };
        self.may_have_ended(op) && expires_ms <= self.passed_by(by_us)
    }

    /// A machine's node begins a boot, or its clock is set and shows `now`.
    pub(crate) fn on_clock_set(&mut self, machine: usize, now: Now, runs: bool) {
        let known = &mut self.clocks[machine];
        if runs && known.begun.is_none() {
            known.begun = Some(now.mono);
            known.offsets.clear();
        }
        if runs {
            known.largest_ms = known.largest_ms.max(now.wall.as_millis());
        }
        known.is_set(now);
    }

    /// A machine's node ends.
    pub(crate) fn on_clock_end(&mut self, machine: usize) {
        let known = &mut self.clocks[machine];
        (known.begun, known.counts, known.revision) = (None, None, None);
    }

    /// A clock is about to gain or lose so many millionths.
    pub(crate) fn on_drift(&mut self, ppm: u64) {
        self.drift_ppm = self.drift_ppm.max(ppm);
    }

    /// Whether a machine's node may count other members than before.
    pub(crate) fn counts_anew(&self, machine: usize, revision: (u64, bool)) -> bool {
        self.clocks[machine].revision != Some(revision)
    }

    /// A machine's node counts these machines from now on, if it is a member.
    pub(crate) fn on_counted(
        &mut self,
        machine: usize,
        revision: (u64, bool),
        counts: Option<Vec<usize>>,
    ) {
        let known = &mut self.clocks[machine];
        (known.revision, known.counts) = (Some(revision), counts);
    }

    /// Whether it is time to compare the clocks.
    pub(crate) fn is_due(&self, at_us: u64) -> bool {
        self.next_us <= at_us
    }

    /// Whether a clock has shown a time that is still so far ahead that not every member follows what it gave out.
    pub(crate) fn was_beyond_drift(&self, at_us: u64) -> bool {
        let mut clocks = self.clocks.iter();
        clocks.any(|known| shows_beyond_drift(known.largest_ms, at_us))
    }

    /// The largest time that the wall clock of a machine has shown so far, in milliseconds.
    pub(crate) fn shown_by(&self, machine: usize) -> u64 {
        self.clocks[machine].largest_ms + LATE_MS
    }

    /// For so long counts what was heard of a clock, in microseconds of virtual time.
    fn counts_us(&self, probe: Duration) -> u64 {
        let all = self.clocks.len() as u32 + 1;
        let counts_us = COUNTS.max(probe * 4 * all).as_micros() as u64;
        // A monotonic clock may be slow.
        counts_us * 1_000_000 / (1_000_000 - self.drift_ppm)
    }

    /// Compares the clocks as they are now.
    pub(crate) fn compare(&mut self, at_us: u64, clocks: &[Clock], probe: Duration) {
        self.next_us = at_us + EVERY_US;
        let from_us = at_us.saturating_sub(self.counts_us(probe));
        let gain = 1_000_000 + self.drift_ppm;
        let mut latest: Vec<Option<u64>> = Vec::new();
        for (known, clock) in self.clocks.iter_mut().zip(clocks) {
            let now = clock.now(at_us);
            if known.begun.is_some() {
                known.largest_ms = known.largest_ms.max(now.wall.as_millis());
            }
            let carried = |(us, ms): &(u64, u64)| ms + (at_us - us) / 1_000 * gain / 1_000_000;
            if let Some(ms) = known.settled(now) {
                while known.told.back().is_some_and(|told| carried(told) <= ms) {
                    known.told.pop_back();
                }
                known.told.push_back((at_us, ms));
            }
            while known.told.front().is_some_and(|(us, _)| *us < from_us) {
                known.told.pop_front();
            }
            latest.push(known.told.front().map(carried));
        }
        let counted = self.clocks.iter().filter_map(|known| known.counts.as_ref());
        let passed = counted.filter_map(|counted| most_have_passed(counted, &latest));
        let Some(passed) = passed.max() else {
            return;
        };
        if self.first.last().is_none_or(|(_, ms)| *ms < passed) {
            self.first.push((at_us, passed));
        }
        while self.passed.last().is_some_and(|(_, ms)| *ms <= passed) {
            self.passed.pop();
        }
        self.passed.push((at_us, passed));
    }
}

/// The time that the clocks of more than half of these machines have passed.
fn most_have_passed(counted: &[usize], latest: &[Option<u64>]) -> Option<u64> {
    let mut votes: Vec<u64> = counted
        .iter()
        .filter_map(|machine| latest.get(*machine).copied().flatten())
        .collect();
    votes.sort_unstable_by(|a, b| b.cmp(a));
    votes.get(counted.len() / 2).copied()
}

impl World {
    /// A machine's node begins a boot, or its clock is set.
    pub(crate) fn clock_is_set(&mut self, node: usize) {
        let host = &self.hosts[node];
        let (now, runs) = (host.now(self.now_us), host.node.is_some());
        self.observers.on_clock_set(node, now, runs);
    }

    /// A machine's node ends. What it has told of its clock until now counts for a while.
    pub(crate) fn clock_ends(&mut self, node: usize) {
        self.compare_clocks();
        self.observers.on_clock_end(node);
    }

    /// A clock is about to gain or lose so many millionths.
    pub(crate) fn clock_drifts(&mut self, ppm: i64) {
        let ppm = ppm.unsigned_abs().min(crate::clock::MAX_DRIFT_PPM as u64);
        self.observers.on_drift(ppm);
    }

    /// A node has ended a turn: it may count other members.
    pub(crate) fn clocks_counted_by(&mut self, node: usize) {
        let running = self.hosts[node].node.as_ref();
        let Some(running) = running.filter(|_| self.meter.is_none()) else {
            return;
        };
        let revision = (running.members_revision(), running.is_full());
        if self.observers.counts_anew(node, revision) {
            let counts = self.counted(running);
            self.observers.on_counted(node, revision, counts);
            self.compare_clocks();
        }
    }

    /// The machines of the members that a node counts, if it is one. Of a member that no machine has been, no clock is known.
    fn counted(&self, node: &Node) -> Option<Vec<usize>> {
        let members = node.members();
        let staying = members
            .iter()
            .filter(|member| member.state != MemberState::Left);
        let machine = |id: NodeId| {
            let mut hosts = self.hosts.iter();
            let found = hosts.position(|host| host.names.contains(&id));
            found.unwrap_or(self.hosts.len())
        };
        node.is_full()
            .then(|| staying.map(|member| machine(member.id)).collect())
    }

    /// Compares the clocks when it is time to.
    pub(crate) fn clocks_due(&mut self) {
        if self.observers.clocks_are_due(self.now_us) {
            self.compare_clocks();
        }
    }

    pub(crate) fn compare_clocks(&mut self) {
        if self.meter.is_some() {
            return;
        }
        let running = self.hosts.iter().filter_map(|host| host.node.as_ref());
        let probes = running.map(|node| node.config().timing.probe_interval);
        let probe = probes.max().unwrap_or_default();
        let clocks: Vec<Clock> = self.hosts.iter().map(|host| host.clock.clone()).collect();
        self.observers.on_clocks(self.now_us, &clocks, probe);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The judge's view of three members, of which so many have a clock that is an hour ahead for so many seconds.
    fn passed_ahead(fast: usize, seconds: u64) -> bool {
        const HOUR_MS: i64 = 3_600_000;
        let mut clocks = vec![Clock::default(); 3];
        let mut agreed = Agreed::new(3);
        for (known, clock) in agreed.clocks.iter_mut().zip(&clocks) {
            known.begun = Some(clock.now(0).mono);
            known.counts = Some(vec![0, 1, 2]);
            known.is_set(clock.now(0));
        }
        for second in 0..200 {
            let at_us = second * 1_000_000;
            let set = [(100, HOUR_MS), (100 + seconds, 0)];
            for (_, ahead_ms) in set.into_iter().filter(|(from, _)| *from == second) {
                agreed.compare(at_us, &clocks, Duration::from_secs(1));
                let known = agreed.clocks.iter_mut().zip(&mut clocks);
                for (known, clock) in known.take(fast) {
                    clock.set(at_us, ahead_ms, 0);
                    known.is_set(clock.now(at_us));
                }
            }
            agreed.compare(at_us, &clocks, Duration::from_secs(1));
        }
        let truth_ms = Clock::default().now(200_000_000).wall.as_millis();
        agreed.passed_since(0) > truth_ms + 1_000_000
    }

    /// The judge's view of a node that counts itself alone beside two that count each other, when one clock is an hour ahead.
    fn passed_alone(fast: &[usize]) -> bool {
        let mut clocks = vec![Clock::default(); 3];
        for machine in fast {
            clocks[*machine].set(0, 3_600_000, 0);
        }
        let mut agreed = Agreed::new(3);
        let counts = [vec![0], vec![1, 2], vec![2, 1]];
        for ((known, clock), counts) in agreed.clocks.iter_mut().zip(&clocks).zip(counts) {
            known.begun = Some(clock.now(0).mono);
            known.counts = Some(counts);
            known.is_set(clock.now(0));
        }
        for second in 0..100 {
            agreed.compare(second * 1_000_000, &clocks, Duration::from_secs(1));
        }
        let truth_ms = Clock::default().now(100_000_000).wall.as_millis();
        agreed.passed_since(0) > truth_ms + 1_000_000
    }

    #[test]
    fn a_row_is_excused_where_most_clocks_were_ahead_for_long_enough_and_nowhere_else() {
        assert!(passed_ahead(2, 31));
        assert!(!passed_ahead(2, 29));
        assert!(!passed_ahead(1, 90));
    }

    #[test]
    fn a_node_that_counts_itself_alone_excuses_rows_by_its_own_clock_and_by_no_other() {
        assert!(!passed_alone(&[1]), "the clock of another");
        assert!(passed_alone(&[0]), "its own");
        assert!(passed_alone(&[1, 2]), "both of those that count each other");
    }

    #[test]
    fn what_had_been_passed_before_a_row_was_written_is_no_excuse() {
        let mut agreed = Agreed::new(0);
        agreed.passed = vec![(5, 900_000), (9, 1_000)];
        assert_eq!(agreed.passed_since(5), 900_000 + LATE_MS);
        assert_eq!(agreed.passed_since(6), 1_000 + LATE_MS);
        assert_eq!(agreed.passed_since(10), LATE_MS);
    }
}
