//! Local health: a node that misses answers doubts itself first, and gives others more time.

use core::time::Duration;

/// The score of Lifeguard's local health awareness, 0 when well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Health(u32);

impl Health {
    pub(super) const WORST: u32 = 8;

    pub(super) fn worsen(&mut self, by: usize) {
        let by = u32::try_from(by).unwrap_or(u32::MAX);
        self.0 = self.0.saturating_add(by).min(Self::WORST);
    }

    pub(super) fn improve(&mut self) {
        self.0 = self.0.saturating_sub(1);
    }

    pub(super) fn score(self) -> u32 {
        self.0
    }

    pub(super) fn stretch(self, base: Duration) -> Duration {
        base.saturating_mul(self.0 + 1)
    }
}
