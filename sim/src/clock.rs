//! The clocks of one node: a wall clock that is wrong, and a monotonic clock that runs at the wrong speed.

use std::time::Duration;

use rumormill_core::{Instant, Limits, Now, Wall, table::Hlc};

/// Wall time at the start of every simulation, in microseconds since the Unix epoch.
const EPOCH_US: i64 = 1_700_000_000_000_000;
/// The most a clock may gain or lose, in microseconds per second.
pub(crate) const MAX_DRIFT_PPM: i64 = 500_000;

/// How far ahead of the truth every member follows a clock, whatever limit a plan has set.
fn followed() -> Duration {
    Limits::default().clock_drift / 2
}

/// Whether a clock was given out so far from the truth that not every member follows it.
pub(crate) fn is_beyond_drift(clock: Hlc, at_us: u64) -> bool {
    let truth = Clock::default().now(at_us).wall;
    clock > Hlc::at(truth + followed())
}

/// Whether a wall clock that shows so many milliseconds is so far ahead of the truth.
pub(crate) fn shows_beyond_drift(wall_ms: u64, at_us: u64) -> bool {
    is_beyond_drift(Hlc::at(Wall::from_millis(wall_ms)), at_us)
}

/// Both clocks of a node as functions of true (virtual) time, in whole microseconds.
#[derive(Clone, Debug)]
pub struct Clock {
    since_us: u64,
    mono_us: u64,
    wall_us: i64,
    ppm: i64,
}

impl Default for Clock {
    fn default() -> Self {
        Clock {
            since_us: 0,
            mono_us: 0,
            wall_us: EPOCH_US,
            ppm: 0,
        }
    }
}

impl Clock {
    /// Returns the node's reading at true time `at_us`.
    pub fn now(&self, at_us: u64) -> Now {
        let wall_us = self.wall_us + self.elapsed(at_us) as i64;
        Now::new(
            Instant::from_micros(self.mono_us + self.elapsed(at_us)),
            Wall::from_millis((wall_us / 1000) as u64),
        )
    }

    /// The first true time, at or after `at_us`, at which the monotonic clock shows `instant` or more.
    pub fn when(&self, instant: Instant, at_us: u64) -> u64 {
        let ahead = instant.as_micros().saturating_sub(self.mono_us);
        let true_us = match self.ppm {
            // Most clocks are right, and a wide division is slow.
            0 => ahead,
            ppm => {
                let rate = (1_000_000 + ppm) as u128;
                let true_us = (u128::from(ahead) * 1_000_000).div_ceil(rate);
                u64::try_from(true_us).unwrap_or(u64::MAX)
            }
        };
        let due = self.since_us.saturating_add(true_us);
        due.max(at_us)
    }

    /// From `at_us` on the wall clock is `skew_ms` off the truth and both clocks gain `ppm` microseconds per second. The
    /// monotonic clock does not jump.
    pub fn set(&mut self, at_us: u64, skew_ms: i64, ppm: i64) {
        self.mono_us += self.elapsed(at_us);
        self.wall_us = EPOCH_US + at_us as i64 + skew_ms * 1000;
        self.since_us = at_us;
        self.ppm = ppm.clamp(-MAX_DRIFT_PPM, MAX_DRIFT_PPM);
    }

    fn elapsed(&self, at_us: u64) -> u64 {
        let true_us = at_us.saturating_sub(self.since_us);
        if self.ppm == 0 {
            return true_us;
        }
        (i128::from(true_us) * i128::from(1_000_000 + self.ppm) / 1_000_000) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_met_and_not_a_microsecond_late() {
        let mut clock = Clock::default();
        for (at, ppm) in [
            (0, 0),
            (1_000, 300),
            (77_777, -250_000),
            (5_000_000, 499_999),
        ] {
            clock.set(at, -40, ppm);
            for ahead in [0, 1, 7, 999, 1_000_003] {
                let goal = Instant::from_micros(clock.now(at).mono.as_micros() + ahead);
                let due = clock.when(goal, at);
                assert!(clock.now(due).mono >= goal);
                assert!(due == at || clock.now(due - 1).mono < goal);
            }
        }
    }

    #[test]
    fn a_clock_is_beyond_drift_when_not_every_member_follows() {
        let truth = Clock::default().now(7_000_000).wall;
        let least = Limits::default().clock_drift / 2;
        let ahead = |ms| Hlc::at(truth + least + Duration::from_millis(ms));
        assert!(!is_beyond_drift(ahead(0), 7_000_000));
        assert!(is_beyond_drift(ahead(1), 7_000_000));
        assert!(!is_beyond_drift(Hlc::at(truth), 7_000_000));
    }

    #[test]
    fn a_jump_moves_the_wall_only() {
        let mut clock = Clock::default();
        let before = clock.now(1_000_000);
        clock.set(1_000_000, -5_000, 0);
        let after = clock.now(1_000_000);
        assert_eq!(before.mono, after.mono);
        assert_eq!(before.wall.as_millis() - 5_000, after.wall.as_millis());
    }
}
