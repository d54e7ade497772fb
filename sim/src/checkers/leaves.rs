//! A leaver waits until others have what it holds, or until its time is up. While nothing disturbs it, they have it in time.

use std::fmt::Display;

use rumormill_core::{Instant, io::Handover};

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "leaves";

/// The shortest wait that may be set, in milliseconds: the lower bound of `cluster.leave_timeout`. Guarantees, "Leave, stop and crash": a leave that is
/// out of time is not complete.
const LEAST_MS: u64 = 100;

/// A cluster is itself again so long after the last fault and start, in microseconds.
const CALM_US: u64 = 4_000_000;

/// A leave that was asked for at one instant of the node's own time and answered at another, whether it was calm (no fault since well
/// before it began, all others linked and well), and what was said of how far it came. Guarantees, "Leave, stop and crash": a leave hands over.
fn check(
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

/// The last leave of one node.
#[derive(Default)]
struct Leave {
    /// When it was asked for, by the node's own clock.
    since: Instant,
    /// Nothing has disturbed it so far.
    is_calm: bool,
}

/// Watches the leaves of each node, and what disturbs them.
pub(crate) struct Leaves {
    nodes: Vec<Leave>,
    /// When a fault last began or ended, or a machine started or stopped.
    disturbed_us: u64,
}

impl Leaves {
    pub(crate) fn new(nodes: usize) -> Self {
        Leaves {
            nodes: for_each(nodes),
            disturbed_us: 0,
        }
    }

    /// A fault begins or ends, or a machine starts or stops: whatever is under way is disturbed.
    pub(crate) fn on_disturbance(&mut self, at_us: u64) {
        self.disturbed_us = at_us;
        for leave in &mut self.nodes {
            leave.is_calm = false;
        }
    }

    /// Whether nothing has begun or ended for a while.
    pub(crate) fn is_quiet(&self, at_us: u64) -> bool {
        at_us.saturating_sub(self.disturbed_us) >= CALM_US
    }

    /// The node is asked to leave, at this time of its own clock.
    pub(crate) fn on_leave(&mut self, node: usize, since: Instant) {
        self.nodes[node].since = since;
    }

    /// Nothing was wrong when the node was asked to leave.
    pub(crate) fn on_calm_leave(&mut self, node: usize) {
        self.nodes[node].is_calm = true;
    }

    /// Whether nothing has disturbed the leave of the node.
    pub(crate) fn is_calm(&self, node: usize) -> bool {
        self.nodes[node].is_calm
    }

    /// Judges a leave that ends, at this time of the node's own clock.
    pub(crate) fn on_left(
        &self,
        (at_us, node): (u64, usize),
        answered: Instant,
        handover: &Handover,
    ) -> Option<Violation> {
        let Leave { since, is_calm } = self.nodes[node];
        let said = (handover.is_complete(), handover);
        check((at_us, node), ((since, answered), is_calm), said)
    }
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
