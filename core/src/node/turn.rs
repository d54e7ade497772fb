//! Time, and the end of a turn.

use super::Node;
use crate::id::Seq;
use crate::io::{Deadline, Event, HangupReason, Timer};
use crate::marks::Mark;
use crate::table::gossip::AT_ONCE;

impl Node {
    /// The earliest moment at which [`Input::Tick`](crate::Input::Tick) is needed, and why. Pure. A moment in the past means
    /// now.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.halted {
            return None;
        }
        let now = self.fx.now().mono;
        let flush = self.fx.turn_open().then_some(now);
        let room = self.links.len() < self.config.limits.links;
        let dial = self.links.next_deadline().filter(|_| room);
        let timers = [
            (flush, Timer::Flush),
            (self.detector.next_deadline(), Timer::Detector),
            (dial, Timer::Dial),
            (self.links.mute_deadline(), Timer::Dial),
            (self.sync_at, Timer::Sync),
            (self.requests.next_deadline(), Timer::Request),
            (self.leave_deadline(), Timer::Leave),
            (self.evict_deadline(), Timer::Evict),
            (self.found_deadline(), Timer::Dial),
        ];
        let due = timers.into_iter().filter_map(|(at, why)| Some((at?, why)));
        let gossip = self.gossip.next_deadline(&self.look());
        due.chain(gossip)
            .min()
            .map(|(at, why)| Deadline { at, why })
    }

    pub(super) fn tick(&mut self) {
        let now = self.fx.now().mono;
        let actions = self.detector.tick(now);
        self.act(actions);
        for link in self.links.mute(now) {
            self.fx.mark(Mark::GreetingTimeout);
            self.hang_up(link, HangupReason::Retry);
        }
        self.links
            .look_further(self.detector.any_down() && self.is_full());
        let room = self.config.limits.links.saturating_sub(self.links.len());
        for (dial, addr) in self.links.due(now, room) {
            self.fx.dial(dial, addr);
        }
        let (gossip, mut env) = self.gossip_door();
        gossip.tick(&mut env);
        self.requests_due();
        self.leave_due();
        self.evictions_due();
        self.skews_due();
        self.waits_due();
        if self.sync_at.is_some_and(|at| at <= now) {
            self.sync_at = None;
            self.fx.sync_this_turn();
        }
        self.after_input();
        let (gossip, mut env) = self.gossip_door();
        gossip.wind_up(&mut env);
        // A store that lags gets no more to do.
        if !self.pressure() {
            self.flushes_due(AT_ONCE);
        }
        let (gossip, mut env) = self.gossip_door();
        gossip.seal(&mut env);
        self.flush();
    }

    /// Ends the turn: stores and pushes go out, in this order.
    fn flush(&mut self) {
        if self.halted {
            return;
        }
        let (gossip, mut env) = self.gossip_door();
        gossip.store_coverage(&mut env);
        env.fx.flush();
        gossip.push(&mut env);
        if self.fx.unsynced() && self.sync_at.is_none() {
            self.sync_at = Some(self.fx.now().mono + self.config.timing.sync_interval);
        }
    }

    pub(super) fn stored(&mut self, upto: Seq) {
        if core::mem::replace(&mut self.stalled, false) {
            self.fx.event(Event::StoreRecovered);
        }
        let before = self.fx.durable();
        let answered = self.fx.stored(upto);
        self.let_through(answered);
        let durable = self.fx.durable();
        if durable > before {
            self.gossip.stored(durable);
        }
        // What was just synced may be the last thing others wait for.
        if self.leaving.is_some() {
            self.leave_due();
        }
    }
}
