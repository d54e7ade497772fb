//! Compares this node's wall clock with the clocks of peers: a clock ahead of all others is the wrong one.

use core::time::Duration;

use crate::error::WriteError;
use crate::id::NodeId;
use crate::time::{Instant, Now};

/// How long a peer's clock counts after it was heard, at least; twice that at most.
const WINDOW: Duration = Duration::from_secs(30);

/// The clocks heard in one window.
#[derive(Clone, Copy, Default)]
struct Window {
    /// The first peer heard, and the largest wall clock of all of them, minus this node's monotonic one, in milliseconds.
    heard: Option<(NodeId, i128)>,
    /// Whether more than one peer was heard.
    several: bool,
}

impl Window {
    fn hear(&mut self, peer: NodeId, offset: i128) {
        let (first, largest) = self.heard.unwrap_or((peer, offset));
        self.several |= first != peer;
        self.heard = Some((first, largest.max(offset)));
    }
}

/// The wall clocks of peers, against this node's monotonic clock: so a jump of the wall clock here shows at once. Constant size.
#[derive(Default)]
pub(crate) struct Clocks {
    now: Window,
    before: Window,
    since: Instant,
}

impl Clocks {
    /// A peer told its wall clock.
    pub(super) fn hear(&mut self, now: Now, peer: NodeId, wall_ms: u64) {
        self.turn(now.mono);
        self.now.hear(peer, i128::from(wall_ms) - millis(now.mono));
    }

    fn turn(&mut self, now: Instant) {
        let age = now.since(self.since);
        if age >= WINDOW {
            let last = core::mem::take(&mut self.now);
            self.before = if age < WINDOW * 2 {
                last
            } else {
                Window::default()
            };
            self.since = now;
        }
    }

    /// Returns by how many milliseconds this node's wall clock is ahead of the clock of every peer heard lately, negative if one is ahead
    /// of it; `None` unless at least two were heard, for of two clocks it cannot be known which is wrong.
    pub(super) fn ahead_ms(&self, now: Now) -> Option<i128> {
        if now.mono.since(self.since) >= WINDOW * 2 {
            return None;
        }
        let mut both = self.before;
        let (peer, largest) = self.now.heard.or(self.before.heard)?;
        both.hear(peer, largest);
        let (_, largest) = both.heard?;
        let ours = i128::from(now.wall.as_millis()) - millis(now.mono);
        (both.several || self.now.several).then_some(ours - largest)
    }

    /// Whether this node may give out clocks.
    ///
    /// # Errors
    /// [`WriteError::ClockAhead`] while its wall clock is further ahead of all others than `limit`.
    pub(crate) fn check(&self, now: Now, limit: Duration) -> Result<(), WriteError> {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        match self.ahead_ms(now) {
            Some(ahead) if ahead > i128::from(limit_ms) => Err(WriteError::ClockAhead {
                ahead_ms: u64::try_from(ahead).unwrap_or(u64::MAX),
                limit_ms,
            }),
            _ => Ok(()),
        }
    }
}

fn millis(mono: Instant) -> i128 {
    i128::from(mono.as_micros() / 1_000)
}
