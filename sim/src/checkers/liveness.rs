//! No node keeps its driver busy for nothing.

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "liveness";

/// A node whose deadline stays in the past for so many turns, without anything else happening to it, will never rest.
const MAX_SPINS: u32 = 1_000;

/// Counts for each node the turns in a row that ended with a deadline in the past and without any other event.
pub(crate) struct Liveness(Vec<u32>);

impl Liveness {
    pub(crate) fn new(nodes: usize) -> Self {
        Liveness(for_each(nodes))
    }

    /// A boot of the node begins, or something other than its own deadline calls it.
    pub(crate) fn on_call(&mut self, node: usize) {
        self.0[node] = 0;
    }

    /// The deadline of the node, which has this name, wakes it.
    pub(crate) fn on_wake(&mut self, (at_us, node): (u64, usize), why: &str) -> Option<Violation> {
        let spins = &mut self.0[node];
        *spins += 1;
        (*spins == MAX_SPINS).then(|| Violation {
            checker: NAME,
            at_us,
            text: format!("n{node} never rests: its {why} deadline stays in the past"),
        })
    }

    /// Whether only its own deadlines have called the node lately.
    pub(crate) fn spins(&self, node: usize) -> bool {
        self.0[node] > 0
    }

    /// Whether the node was found never to rest: it is woken no more.
    pub(crate) fn never_rests(&self, node: usize) -> bool {
        self.0[node] >= MAX_SPINS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_only_its_deadlines_call_is_found_once() {
        let mut liveness = Liveness::new(1);
        let mut wakes = |count: u32| {
            let found = (0..count).filter_map(|_| liveness.on_wake((5, 0), "tick"));
            (found.count(), liveness.never_rests(0))
        };
        assert_eq!(wakes(MAX_SPINS - 1), (0, false));
        assert_eq!(wakes(3), (1, true));
        liveness.on_call(0);
        assert!(!liveness.spins(0) && !liveness.never_rests(0));
    }
}
