//! The two clocks of a node, as plain integers that the driver hands in.

use core::fmt;
use core::ops::Add;
use core::time::Duration;

/// A point on the driver's monotonic clock, in microseconds since any fixed origin. Timers live on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The origin of the driver's clock.
    pub const ZERO: Instant = Instant(0);

    /// The instant that lies `micros` microseconds after the origin.
    pub const fn from_micros(micros: u64) -> Self {
        Instant(micros)
    }

    /// Microseconds since the origin.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to `self`, zero when `earlier` is later.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Instant {
    type Output = Instant;

    /// Saturates at the end of time.
    fn add(self, rhs: Duration) -> Instant {
        let micros = u64::try_from(rhs.as_micros()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A reading of the wall clock, in milliseconds since the Unix epoch. Versions and expiry use it, timers never do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Wall(u64);

impl Wall {
    /// The wall time `millis` milliseconds after the Unix epoch.
    pub const fn from_millis(millis: u64) -> Self {
        Wall(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> u64 {
        self.0
    }
}

impl Add<Duration> for Wall {
    type Output = Wall;

    /// Saturates at the end of time.
    fn add(self, rhs: Duration) -> Wall {
        let millis = u64::try_from(rhs.as_millis()).unwrap_or(u64::MAX);
        Wall(self.0.saturating_add(millis))
    }
}

/// The time on both clocks. A driver reads both once per turn and passes the pair with every call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// The monotonic clock; a reading earlier than the last one is taken as the last one.
    pub mono: Instant,
    /// The wall clock; it may jump in either direction.
    pub wall: Wall,
}

impl Now {
    /// Both readings as one value.
    pub const fn new(mono: Instant, wall: Wall) -> Self {
        Now { mono, wall }
    }
}
