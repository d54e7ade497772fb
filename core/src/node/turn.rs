//! Time, and the end of a turn.

use super::Node;
use crate::id::Seq;
use crate::io::{Deadline, HaltReason, Timer};
use crate::table::modes::Modes;

impl Node {
    /// The earliest moment at which [`Input::Tick`](crate::io::Input::Tick) is needed, and why. Pure. A moment in the past means
    /// now.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.fx.is_halted() {
            return None;
        }
        let now = self.fx.now().mono;
        let flush = self.fx.turn_open().then_some(now);
        let timers = [
            (flush, Timer::Flush),
            (self.detector.next_deadline(), Timer::Detector),
            (self.sync_at, Timer::Sync),
            (self.requests.next_deadline(), Timer::Request),
        ];
        let due = timers.into_iter().filter_map(|(at, why)| Some((at?, why)));
        let look = self.cluster.look(&self.fx, &self.config, &self.detector);
        due.chain(self.cluster.next_deadline(&look))
            .chain(self.modes.next_deadline(&look))
            .min()
            .map(|(at, why)| Deadline { at, why })
    }

    pub(super) fn tick(&mut self) {
        let now = self.fx.now().mono;
        let (cluster, mut env) = self.cluster_door();
        cluster.dial(&mut env);
        self.modes_door(Modes::tick);
        self.requests_due();
        self.modes_door(Modes::requests_due);
        self.leave_on();
        let (cluster, mut env) = self.cluster_door();
        cluster.tick(&mut env);
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync_at = None;
            self.fx.sync_this_turn();
        }
        self.after_input();
        self.modes_door(Modes::seal);
        self.end_turn();
    }

    /// Ends the turn: stores and pushes go out, in this order.
    fn end_turn(&mut self) {
        if self.fx.is_halted() {
            return;
        }
        self.fx.flush();
        self.modes_door(Modes::send);
        if self.fx.unsynced() && self.sync_at.is_none() {
            self.sync_at = Some(self.fx.now().mono + self.config.timing.sync_interval);
        }
        self.stop_on();
    }

    pub(super) fn stored(&mut self, upto: Seq) {
        self.fx.set_stalled(None);
        let before = self.fx.durable();
        for token in self.fx.stored(upto) {
            self.requests.end(token);
        }
        let durable = self.fx.durable();
        if durable > before {
            self.modes.stored(durable);
        }
        // The batch that was just synced may be the last thing others wait for.
        if self.cluster.leaving.is_some() {
            self.leave_on();
        }
    }

    /// Goes on with a stop once the pushes of a turn are out, and halts when everything is durable.
    fn stop_on(&mut self) {
        let (cluster, mut env) = self.cluster_door();
        if let Some(upto) = cluster.stop_due(&mut env) {
            self.halt(HaltReason::Stopped(upto));
        }
    }

    /// Goes on with a leave, and halts once it is over.
    pub(super) fn leave_on(&mut self) {
        let (cluster, mut env) = self.cluster_door();
        if let Some(handover) = cluster.leave_due(&mut env) {
            self.halt(HaltReason::Left(handover));
        }
    }
}
