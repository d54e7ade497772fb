//! Periods and patience that change at run time: what waits already waits no longer than the new ones allow.

use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Timing;
use crate::id::NodeId;
use crate::time::Instant;

use super::probe::timeout;
use super::{Detector, Due, period};

impl Detector {
    /// Other periods and patience hold from now on, also for probes and suspicions under way. Shorter ones count at once,
    /// longer ones from the next period on; a suspicion under way is measured by the new patience.
    pub(crate) fn retime(&mut self, now: Instant, timing: Timing) {
        self.advance(now);
        self.timing = timing;
        let interval = self.health.stretch(period(&self.timing));
        self.next_probe = self.within(self.next_probe, interval);
        self.next_down = self.within(self.next_down, period(&self.timing));
        self.retime_probes(interval);
        self.retime_suspicions();
    }

    /// A moment at most `most` from now. One that lies further ahead is drawn anew, so that members which learn of a shorter
    /// period together do not probe together.
    fn within(&mut self, at: Instant, most: Duration) -> Instant {
        if at <= self.now + most {
            return at;
        }
        let phase = self.rng.below(most.as_micros() as u64);
        self.now + Duration::from_micros(phase)
    }

    fn retime_probes(&mut self, interval: Duration) {
        let now = self.now;
        let patience = timeout(interval, self.health.stretch(self.timing.probe_timeout));
        for probe in self.probes.values_mut() {
            probe.grace = probe.grace.min(interval - patience);
            let (at, due) = probe.timer;
            let most = if matches!(due, Due::Direct(_)) {
                patience
            } else {
                probe.grace
            };
            self.timers.remove(&probe.timer);
            probe.timer = (at.min(now + most), due);
            self.timers.insert(probe.timer);
        }
        let patience = timeout(period(&self.timing), self.timing.probe_timeout);
        for (nonce, relay) in &mut self.relays {
            self.timers.remove(&(relay.until, Due::Relay(*nonce)));
            relay.until = relay.until.min(now + patience);
            self.timers.insert((relay.until, Due::Relay(*nonce)));
        }
    }

    fn retime_suspicions(&mut self) {
        let n = self.active.len() + 1;
        let mut moved: Vec<(Instant, Instant, NodeId)> = Vec::new();
        for (node, member) in &mut self.members {
            if let Some(suspicion) = &mut member.suspicion {
                let before = suspicion.deadline();
                suspicion.retime(self.now, &self.timing, n);
                moved.push((before, suspicion.deadline(), *node));
            }
        }
        for (before, after, node) in moved {
            self.timers.remove(&(before, Due::Suspicion(node)));
            self.timers.insert((after, Due::Suspicion(node)));
        }
    }
}
