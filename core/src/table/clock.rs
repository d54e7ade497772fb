//! Hybrid logical clocks (Kulkarni et al., "Logical Physical Clocks", 2014), packed into one integer.

use core::fmt;
use core::time::Duration;

use crate::time::Wall;

/// A hybrid logical clock: 48 bits of wall milliseconds above 16 bits of counting. Adding one carries from the logical into
/// the physical part, so that more than 65,536 writes in a millisecond borrow from the next one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hlc(pub u64);

impl Hlc {
    const LOGICAL_BITS: u32 = 16;

    /// The largest clock that a row may have. No write can follow such a row.
    pub const MAX: Hlc = Hlc(u64::MAX - 1);

    /// The first clock of a wall millisecond, 34 years below the largest at most: a wrong wall clock does not use them up.
    pub const fn at(wall: Wall) -> Self {
        let millis = wall.as_millis();
        let max = (Self::MAX.0 >> Self::LOGICAL_BITS) - (1 << 40);
        Hlc((if millis > max { max } else { millis }) << Self::LOGICAL_BITS)
    }

    /// The physical part.
    pub const fn wall(self) -> Wall {
        Wall::from_millis(self.0 >> Self::LOGICAL_BITS)
    }

    /// The next clock; none is larger than [`Hlc::MAX`].
    pub const fn next(self) -> Self {
        if self.0 < Self::MAX.0 {
            Hlc(self.0 + 1)
        } else {
            Self::MAX
        }
    }
}

impl fmt::Display for Hlc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.wall().as_millis(), self.0 & 0xffff)
    }
}

/// The clock of one node: never goes back, and follows others only within the drift limit, which counts from the wall clock or from the time
/// that most members' clocks have passed, whichever is later.
#[derive(Clone, Debug)]
pub(crate) struct HlcSource {
    last: Hlc,
    drift: Duration,
    /// The time that most members' clocks have passed, as far as it is known: the wall clock here may be behind.
    agreed: Wall,
}

impl HlcSource {
    pub(crate) fn new(start: Hlc, drift: Duration) -> Self {
        HlcSource {
            last: start,
            drift,
            agreed: Wall::from_millis(0),
        }
    }

    pub(crate) fn last(&self) -> Hlc {
        self.last
    }

    /// Follows others so far ahead from now on. What was followed stays.
    pub(crate) fn set_drift(&mut self, drift: Duration) {
        self.drift = drift;
    }

    /// Most members' clocks have passed this time, whatever the wall clock here shows; `None` when nothing is known of them.
    pub(crate) fn set_agreed(&mut self, agreed: Option<Wall>) {
        self.agreed = agreed.unwrap_or(Wall::from_millis(0));
    }

    /// Whether a clock is within the drift limit of a wall clock, or of the later one that others show.
    pub(crate) fn reaches(&self, wall: Wall, others: Option<Wall>, clock: Hlc) -> bool {
        clock <= self.limit(others.map_or(wall, |others| wall.max(others)))
    }

    /// A clock for a local write: above every clock issued or followed here, and above the clock `above`.
    pub(crate) fn issue(&mut self, wall: Wall, above: Hlc) -> Hlc {
        let clock = Hlc::at(wall).max(self.last.next()).max(above.next());
        // A clock beyond the drift limit is obeyed for this one row, and not followed by the clock itself.
        if clock <= self.limit(wall) || clock == self.last.next() {
            self.last = clock;
        }
        clock
    }

    /// Follows a foreign clock.
    ///
    /// # Errors
    /// The milliseconds by which it is ahead of the wall, when that is beyond the limit; the local clock then stays.
    pub(crate) fn observe(&mut self, wall: Wall, foreign: Hlc) -> Result<(), u64> {
        if foreign <= self.last {
            return Ok(());
        }
        if foreign > self.limit(wall) {
            return Err(foreign.wall().as_millis().saturating_sub(wall.as_millis()));
        }
        self.last = foreign;
        Ok(())
    }

    fn limit(&self, wall: Wall) -> Hlc {
        Hlc::at(wall.max(self.agreed) + self.drift)
    }
}
