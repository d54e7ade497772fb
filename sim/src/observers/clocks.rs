//! The observer of clocks, by which others judge rows that expire.

use std::time::Duration;

use rumormill_core::Now;

use super::Observers;
use crate::clock::Clock;

impl Observers {
    /// A machine's node begins a boot, or its clock is set and shows `now`.
    pub(crate) fn on_clock_set(&mut self, machine: usize, now: Now, runs: bool) {
        self.agreed.on_clock_set(machine, now, runs);
    }

    /// A machine's node ends.
    pub(crate) fn on_clock_end(&mut self, machine: usize) {
        self.agreed.on_clock_end(machine);
    }

    /// A clock is about to gain or lose so many millionths.
    pub(crate) fn on_drift(&mut self, ppm: u64) {
        self.agreed.on_drift(ppm);
    }

    /// Whether a machine's node may count other members than before.
    pub(crate) fn counts_anew(&self, machine: usize, revision: (u64, bool)) -> bool {
        self.agreed.counts_anew(machine, revision)
    }

    /// A machine's node counts these machines from now on, if it is a member.
    pub(crate) fn on_counted(
        &mut self,
        machine: usize,
        revision: (u64, bool),
        counts: Option<Vec<usize>>,
    ) {
        self.agreed.on_counted(machine, revision, counts);
    }

    /// Whether it is time to compare the clocks.
    pub(crate) fn clocks_are_due(&self, at_us: u64) -> bool {
        self.agreed.is_due(at_us)
    }

    /// Compares the clocks as they are now. Nodes probe each other once in `probe` at least.
    pub(crate) fn on_clocks(&mut self, at_us: u64, clocks: &[Clock], probe: Duration) {
        self.agreed.compare(at_us, clocks, probe);
    }

    /// The largest time that the wall clock of a machine has shown so far, in milliseconds.
    pub(crate) fn shown_by(&self, machine: usize) -> u64 {
        self.agreed.shown_by(machine)
    }
}
