//! A node as simulators, tests and metrics look into it.

use super::Node;
use crate::marks::Mark;
use crate::refusals::Refusal;

/// The inside of a node, to look at: see [`Node::inspect`].
#[derive(Clone, Copy)]
pub struct Inspect<'a> {
    pub(super) node: &'a Node,
}

impl<'a> Inspect<'a> {
    /// Returns the rare branches that were taken in this boot, and how often.
    pub fn marks(self) -> impl Iterator<Item = (Mark, u64)> + use<'a> {
        self.node.fx.marks()
    }

    /// Returns the refusals of this boot, by reason, and how often.
    pub fn refusals(self) -> impl Iterator<Item = (Refusal, u64)> + use<'a> {
        self.node.fx.refusals()
    }

    /// Returns the outputs that wait for the driver, and the outputs withheld until a batch is durable.
    pub fn queued(self) -> (usize, usize) {
        (self.node.fx.queued(), self.node.fx.gated())
    }

    /// Asserts all of the node's own invariants, never a peer's good behaviour. O(actors, members and rows).
    ///
    /// # Panics
    /// When an invariant does not hold: a bug in this crate.
    pub fn check(self) {
        self.check_turn();
        let node = self.node;
        node.modes.check();
        node.cluster.check();
        node.detector.check();
        node.settings.check();
        let tunables = node.settings.effective();
        let (timing, limits) = (&node.config.timing, &node.config.limits);
        assert!(
            *timing == tunables.timing && *limits == tunables.limits,
            "what is set is what the node goes by"
        );
    }

    /// Asserts those invariants that can be seen in O(1): for after every turn, between sweeps of [`Inspect::check`].
    ///
    /// # Panics
    /// When an invariant does not hold: a bug in this crate.
    pub fn check_turn(self) {
        let node = self.node;
        assert!(
            node.cluster.joining.is_none() || !node.is_full(),
            "only a node that is no full member yet is joining"
        );
        node.loads.check();
    }
}
