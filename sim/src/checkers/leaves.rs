//! A leaver waits until others have what it holds, or until its time is up. While nothing disturbs it, they have it in time.

use std::fmt::Display;

use rumormill_core::Instant;

use super::Violation;

/// The checker's name in reports.
pub const NAME: &str = "leaves";

/// The shortest wait that may be set, in milliseconds: the lower bound of `cluster.leave_timeout`.
const LEAST_MS: u64 = 100;

/// A leave that was asked for at one instant of the node's own time and answered at another, whether it was calm (no fault since well
/// before it began, all others linked and well), and what was said of how far it came. Guarantees, "Leave and crash": a leave hands over.
pub fn check(
    (at_us, node): (u64, usize),
    ((asked, answered), is_calm): ((Instant, Instant), bool),
    (is_complete, said): (bool, impl Display),
) -> Option<Violation> {
    let waited = u64::try_from(answered.since(asked).as_millis()).unwrap_or(u64::MAX);
    let why = match (is_complete, waited < LEAST_MS, is_calm) {
        (true, ..) | (_, false, false) => return None,
        (_, true, _) => "gave up its leave",
        (_, _, true) => "was not handed over, though nothing was wrong,",
    };
    Some(Violation {
        checker: NAME,
        at_us,
        text: format!("n{node} {why} after {waited} ms: {said}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leave_is_complete_or_takes_its_time() {
        let wrong = |ms: u64, is_complete, is_calm| {
            let span = (
                Instant::from_micros(7),
                Instant::from_micros(7 + ms * 1_000),
            );
            check((0, 0), (span, is_calm), (is_complete, "so far")).is_some()
        };
        assert!(wrong(0, false, false) && wrong(99, false, false));
        assert!(!wrong(0, true, false) && !wrong(100, false, false));
        assert!(wrong(4_500, false, true) && !wrong(4_500, true, true));
    }
}
