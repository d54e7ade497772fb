//! The clock of this node: issued, followed, and never to fall below what was promised.

use super::Replica;
use crate::effects::Effects;
use crate::io::Event;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::store::record;
use crate::table::{Hlc, RowClass};
use crate::time::Wall;

impl Replica {
    pub(super) fn issue_clock(&mut self, fx: &mut Effects, above: Hlc) -> Hlc {
        let clock = self.clock.issue(fx.now().wall, above);
        self.reserve_clocks(fx);
        match fx.rules().writes_above_rows() {
            true => clock,
            false => Hlc::at(fx.now().wall),
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

    /// Most members' clocks have passed this time, if it is known: the drift limit counts from there when the wall clock here is behind.
    pub(crate) fn set_agreed_time(&mut self, agreed: Option<Wall>) {
        self.clock.set_agreed(agreed);
    }

    /// Most peers that were heard lately show this time; `None` when none was heard.
    pub(crate) fn set_shown_by_others(&mut self, wall: Option<Wall>) {
        self.others = wall;
    }

    /// Returns the clock that a write to a key without a row here has to be above: a delete of the key may have been freed, and be a row elsewhere
    /// still. Clocks that were freed so far ahead that neither this node nor most of its peers follow count for nothing, or one such delete would
    /// draw all writes after it.
    pub(super) fn freed_to_beat(&self, fx: &Effects) -> Hlc {
        let is_above = fx.rules().writes_above_freed() && self.freed > self.clock.last();
        let reached = is_above && self.clock.reaches(fx.now().wall, self.others, self.freed);
        if reached { self.freed } else { Hlc(0) }
    }

    /// Whether a live row that this node wrote in this boot has a clock that is not above `freed`, in a table where the larger clock stands: a
    /// delete of its key that is newer may have been freed. O(rows written in this boot).
    pub(crate) fn wrote_below(&self, freed: Hlc) -> bool {
        let classes = RowClass::USR.into_iter();
        let mut single = classes.filter(|class| !class.has_siblings());
        single.any(|class| {
            let mut own = self.coverage.range(class, self.me, 0, u64::MAX);
            own.any(|(_, slot)| {
                let row = self.rows.row(slot);
                row.is_some_and(|row| !row.value.is_dead() && row.clock <= freed)
            })
        })
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
