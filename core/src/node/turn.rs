//! Time, and the end of a turn.

use super::Node;
use crate::id::Seq;
use crate::io::{Deadline, Event, HangupReason, Timer};
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::table::gossip::AT_ONCE;
use crate::wire::RumorState;

/// Changes beyond a limit that was lowered, and that are forgotten in one turn.
const TRIM_BUDGET: usize = 4_096;

/// Tables that are used no more, and are forgotten in one turn.
const FORGET_BUDGET: usize = 256;

/// Rows that a floor has hidden, and that are removed in one turn: half a millisecond.
const SWEEP_BUDGET: usize = 256;

impl Node {
    /// The earliest moment at which [`Input::Tick`](crate::Input::Tick) is needed, and why. Pure. A moment in the past means
    /// now.
    pub fn next_deadline(&self) -> Option<Deadline> {
        if self.halted {
            return None;
        }
        let now = self.fx.now().mono;
        let collect = self.is_full() && self.stability.is_due() && self.repair.is_none();
        let collect = collect && !self.gossip.is_sweeping();
        let sweep = self.gossip.is_sweeping() || self.gossip.is_flushing();
        let sweep = sweep && !self.pressure();
        let flush = (self.fx.turn_open() || collect || sweep).then_some(now);
        let room = self.links.len() < self.config.limits.links;
        let dial = self.links.next_deadline().filter(|_| room);
        let timers = [
            (flush, Timer::Flush),
            (self.push_deadline(), Timer::Flush),
            (self.detector.next_deadline(), Timer::Detector),
            (dial, Timer::Dial),
            (self.links.mute_deadline(), Timer::Dial),
            (self.sync.next_deadline(), Timer::Gossip),
            (self.repair_deadline(), Timer::Gossip),
            (self.lazy.next_deadline(), Timer::Gossip),
            (self.strays_deadline(), Timer::Gossip),
            (self.relays.next_deadline(), Timer::Gossip),
            (self.sync_at, Timer::Sync),
            (self.expiry_deadline(), Timer::Expiry),
            (self.requests.next_deadline(), Timer::Request),
            (self.leave_deadline(), Timer::Leave),
            (self.evict_deadline(), Timer::Evict),
            (self.found_deadline(), Timer::Dial),
        ];
        let due = timers.into_iter().filter_map(|(at, why)| Some((at?, why)));
        due.min().map(|(at, why)| Deadline { at, why })
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
        self.gossip.serve_expire(now, &self.config.timing);
        self.pulls_due();
        self.repair_due();
        self.lazy_due();
        self.rows_expire();
        self.strays_due();
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
        self.claims_due();
        self.gossip.trim_changes(TRIM_BUDGET);
        // A store that lags gets no more to do.
        if !self.pressure() {
            self.flushes_due(AT_ONCE);
            self.gossip.sweep(&mut self.fx, SWEEP_BUDGET);
        }
        self.collect_tombstones();
        self.gossip.forget_names(&mut self.fx, FORGET_BUDGET);
        self.flush();
    }

    /// Ends the turn: stores and pushes go out, in this order.
    fn flush(&mut self) {
        if self.halted {
            return;
        }
        self.gossip.cover_mut().store_changes(&mut self.fx);
        self.fx.flush();
        self.push();
        if self.fx.unsynced() && self.sync_at.is_none() {
            self.sync_at = Some(self.fx.now().mono + self.config.timing.sync_interval);
        }
    }

    fn collect_tombstones(&mut self) {
        if self.gossip.cover().tombstone_count() == 0 {
            return self.stability.rest(|node| self.relays.wants(node));
        }
        // No claim will tell a lone node that it is time.
        let alone = self.is_alone();
        // A floor is kept until all that it has hidden is removed.
        if self.gossip.is_sweeping() {
            return;
        }
        if !self.is_full() || self.repair.is_some() || !(self.stability.is_due() || alone) {
            return;
        }
        if alone {
            self.stability.touch();
        }
        let counted = self.counted();
        let lost = |actor| self.membership.lost(actor);
        self.stability
            .collect(&mut self.fx, &mut self.gossip, &counted, &lost);
    }

    pub(super) fn counted(&self) -> alloc::collections::BTreeSet<crate::NodeId> {
        let cover = self.gossip.cover();
        let mut counted = self.membership.counted(|departure, is_lost| {
            let mut contexts = departure.contexts.iter();
            let is_lost = match mutated!(self.fx, LostLeaverCounted) {
                true => false,
                false => is_lost,
            };
            is_lost
                || contexts.all(|(class, context)| cover.includes(*class, context))
                || mutated!(self.fx, LeaverUncounted)
        });
        if mutated!(self.fx, FreedWithoutDown) {
            counted.retain(|node| self.detector.state(*node) != Some(RumorState::Down));
        }
        counted
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
            self.stability.stored();
        }
        // What was just synced may be the last thing others wait for.
        if self.leaving.is_some() {
            self.leave_due();
        }
    }
}
