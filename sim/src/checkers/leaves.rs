//! Who leaves waits until others have what it holds, or until its time is up.

use rumormill_core::{Handover, Instant};

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "leaves";

/// Nobody may be told to wait for less, in milliseconds: the lower bound of `gossip.leave_timeout`.
const LEAST_MS: u64 = 100;

/// A leave that was asked for at one instant of the node's own time and answered at another.
pub fn check(
    (at_us, node): (u64, usize),
    (asked, answered): (Instant, Instant),
    handover: &Handover,
) -> Option<Violation> {
    let waited = u64::try_from(answered.since(asked).as_millis()).unwrap_or(u64::MAX);
    let is_hasty = !handover.is_complete() && waited < LEAST_MS;
    is_hasty.then(|| Violation {
        checker: NAME,
        at_us,
        text: format!("n{node} gave up its leave after {waited} ms: {handover}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leave_is_complete_or_takes_its_time() {
        let handover = |holders, told| Handover {
            others: 3,
            holders,
            wanted: 2,
            told,
        };
        let hasty = |ms: u64, handover: Handover| {
            let (asked, answered) = (
                Instant::from_micros(7),
                Instant::from_micros(7 + ms * 1_000),
            );
            check((0, 0), (asked, answered), &handover).is_some()
        };
        assert!(hasty(0, handover(0, 0)) && hasty(99, handover(2, 1)));
        assert!(!hasty(0, handover(2, 2)) && !hasty(100, handover(0, 0)));
    }
}
