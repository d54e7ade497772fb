//! The clock of this node: issued, followed, and never to fall below what was promised.

use super::Gossip;
use crate::effects::Effects;
use crate::io::Event;
use crate::marks::Mark;
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::store::record;
use crate::table::Hlc;

impl Gossip {
    pub(super) fn issue_clock(&mut self, fx: &mut Effects, above: Hlc) -> Hlc {
        let clock = self.clock.issue(fx.now().wall, above);
        self.reserve_clocks(fx);
        match mutated!(fx, WallClockWrites) {
            true => Hlc::at(fx.now().wall),
            false => clock,
        }
    }

    /// Follows the clock of a member: what is written here from now on is newer than what the member has ever freed.
    pub(crate) fn follow_clock(&mut self, fx: &mut Effects, theirs: Hlc) {
        if let Err(ahead_ms) = self.clock.observe(fx.now().wall, theirs) {
            fx.mark(Mark::ClockDrift);
            fx.refuse(Refusal::ClockAhead);
            fx.event(Event::ClockDrift { ahead_ms });
        }
        self.reserve_clocks(fx);
    }

    /// Stores a ceiling above every clock issued or followed here, in the batch of the row that raised it. A restart begins
    /// at the ceiling: a clock that this node has claimed to have reached it never falls below again, though the wall
    /// clock went back and the row has been freed.
    fn reserve_clocks(&mut self, fx: &mut Effects) {
        const AHEAD_MS: u64 = 3_000;
        let clock = self.clock.last();
        let margin = |millis: u64| clock.0.saturating_add(millis << 16);
        if fx.has_storage() && margin(AHEAD_MS / 2) > self.ceiling.0 {
            self.ceiling = Hlc(margin(AHEAD_MS));
            fx.store(record::clock_ceiling(self.ceiling));
        }
    }
}
