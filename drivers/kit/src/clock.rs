//! The clocks of a driver.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rumormill_core::{Instant as Mono, Now, Wall};

/// The system's clocks; the monotonic one counts from its start.
#[derive(Clone, Copy, Debug)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that begins now.
    pub fn start() -> Self {
        Clock(Instant::now())
    }

    /// The time as a node is told it.
    pub fn now(self) -> Now {
        let micros = u64::try_from(self.0.elapsed().as_micros()).unwrap_or(u64::MAX);
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let millis = u64::try_from(wall.as_millis()).unwrap_or(u64::MAX);
        Now::new(Mono::from_micros(micros), Wall::from_millis(millis))
    }

    /// A node's instant as the system's.
    pub fn instant(self, at: Mono) -> Instant {
        self.0 + Duration::from_micros(at.as_micros())
    }
}
