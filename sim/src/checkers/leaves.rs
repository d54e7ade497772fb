//! Who leaves waits until others have what it holds, or until its time is up.

use std::fmt::Display;

use rumormill_core::Instant;

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "leaves";

/// Nobody may be told to wait for less, in milliseconds: the lower bound of `gossip.leave_timeout`.
const LEAST_MS: u64 = 100;

/// A leave that was asked for at one instant of the node's own time and answered at another, and what was said of how far it came.
pub fn check(
    (at_us, node): (u64, usize),
    (asked, answered): (Instant, Instant),
    (is_complete, said): (bool, impl Display),
) -> Option<Violation> {
    let waited = u64::try_from(answered.since(asked).as_millis()).unwrap_or(u64::MAX);
    let is_hasty = !is_complete && waited < LEAST_MS;
    is_hasty.then(|| Violation {
        checker: NAME,
        at_us,
        text: format!("n{node} gave up its leave after {waited} ms: {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leave_is_complete_or_takes_its_time() {
        let hasty = |ms: u64, is_complete| {
            let span = (
                Instant::from_micros(7),
                Instant::from_micros(7 + ms * 1_000),
            );
            check((0, 0), span, (is_complete, "so far")).is_some()
        };
        assert!(hasty(0, false) && hasty(99, false));
        assert!(!hasty(0, true) && !hasty(100, false));
    }
}
