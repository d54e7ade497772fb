//! How long a suspect has to refute: long for a lone accuser, short once others agree.

use alloc::collections::BTreeSet;
use core::time::Duration;

use crate::config::Timing;
use crate::id::NodeId;
use crate::time::Instant;

/// Confirmations by others that bring the patience down to its minimum.
pub(super) const CONFIRMATIONS: usize = 3;

/// The longest patience, in multiples of the shortest.
const MAX_FACTOR: u32 = 6;

/// log(c + 1) / log(CONFIRMATIONS + 1) in thousandths.
const SHRINK: [u32; CONFIRMATIONS + 1] = [0, 500, 792, 1000];

/// 1000 * log10 of 1 to 9.
const LOG10: [u32; 9] = [0, 301, 477, 602, 698, 778, 845, 903, 954];

/// A running suspicion.
#[derive(Clone, Debug)]
pub(super) struct Suspicion {
    started: Instant,
    least: Duration,
    accusers: BTreeSet<NodeId>,
    /// Confirmations that can be had; 0 when the cluster is too small for them.
    wanted: usize,
    deadline: Instant,
}

impl Suspicion {
    /// `n` counts the members not taken for dead, this node included.
    pub(super) fn new(now: Instant, timing: &Timing, n: usize, accuser: NodeId) -> Self {
        let others = n.saturating_sub(2);
        let mut suspicion = Suspicion {
            started: now,
            least: least(timing, n),
            accusers: BTreeSet::from([accuser]),
            wanted: if others < CONFIRMATIONS {
                0
            } else {
                CONFIRMATIONS
            },
            deadline: now,
        };
        suspicion.deadline = now + suspicion.patience();
        suspicion
    }

    /// Other periods hold from `now` on; the suspicion began when it began, and ends now or later.
    pub(super) fn retime(&mut self, now: Instant, timing: &Timing, n: usize) {
        self.least = least(timing, n);
        self.deadline = now.max(self.started + self.patience());
    }

    /// Counts an independent accuser at `now`. True when it shortened the patience, which then ends now or later.
    pub(super) fn confirm(&mut self, now: Instant, accuser: NodeId) -> bool {
        let counts = self.accusers.len() <= self.wanted && self.accusers.insert(accuser);
        if counts {
            self.deadline = now.max(self.started + self.patience());
        }
        counts
    }

    /// Gives the suspect time until `at`.
    pub(super) fn put_off(&mut self, at: Instant) {
        self.deadline = at;
    }

    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    fn patience(&self) -> Duration {
        if self.wanted == 0 {
            return self.least;
        }
        let most = self.least.saturating_mul(MAX_FACTOR);
        let span = most - self.least;
        let confirmed = (self.accusers.len() - 1).min(CONFIRMATIONS);
        most - span / 1000 * SHRINK[confirmed]
    }
}

/// `suspicion_mult * max(1, log10(n))` periods.
fn least(timing: &Timing, n: usize) -> Duration {
    let periods = timing
        .suspicion_mult
        .max(1)
        .saturating_mul(log10_thousandths(n).max(1000));
    super::period(timing).saturating_mul(periods) / 1000
}

/// 1000 * log10(n), from the leading digit; a table, since floats may differ between machines.
fn log10_thousandths(n: usize) -> u32 {
    let n = n.max(1);
    let digits = n.ilog10();
    let lead = n / 10usize.pow(digits);
    digits * 1000 + LOG10[lead - 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_grows_with_the_logarithm_of_the_cluster() {
        let timing = Timing::default();
        assert_eq!(least(&timing, 2), Duration::from_secs(4));
        assert_eq!(least(&timing, 10), Duration::from_secs(4));
        assert_eq!(least(&timing, 100), Duration::from_secs(8));
        assert_eq!(log10_thousandths(5000), 3698);
    }

    #[test]
    fn distinct_confirmations_shorten_the_patience_to_its_minimum() {
        let mut suspicion = Suspicion::new(Instant::ZERO, &Timing::default(), 10, NodeId(1));
        let mut left = [suspicion.deadline(); 4];
        assert!(!suspicion.confirm(Instant::ZERO, NodeId(1)));
        for (i, left) in left.iter_mut().enumerate().skip(1) {
            assert!(suspicion.confirm(Instant::ZERO, NodeId(1 + i as u64)));
            *left = suspicion.deadline();
        }
        assert!(!suspicion.confirm(Instant::ZERO, NodeId(9)));
        let seconds = left.map(|at| at.as_micros() / 1_000_000);
        assert_eq!(seconds, [24, 14, 8, 4]);
    }

    #[test]
    fn a_late_confirmation_ends_the_patience_now_and_not_in_the_past() {
        let mut suspicion = Suspicion::new(Instant::ZERO, &Timing::default(), 10, NodeId(1));
        let now = Instant::from_micros(20_000_000);
        assert!(suspicion.confirm(now, NodeId(2)));
        assert_eq!(suspicion.deadline(), now);
    }

    #[test]
    fn a_cluster_too_small_to_confirm_uses_the_minimum_at_once() {
        let suspicion = Suspicion::new(Instant::ZERO, &Timing::default(), 4, NodeId(1));
        assert_eq!(suspicion.deadline(), Instant::from_micros(4_000_000));
    }
}
