//! How much one call of a client session may do before the other clients of the loop have their turn.

/// Steps of one call: about half a millisecond of a core.
pub const WORK: usize = 500_000;

/// Steps that the parts of a command count for; one step is about a nanosecond.
pub(crate) const COMMAND: usize = 300;
/// A row that is looked at in order.
pub(crate) const ROW: usize = 250;
/// A row that is written.
pub(crate) const WRITE: usize = 1_500;
/// The most that one call of the node does for a flush: it deletes 256 rows.
pub(crate) const FLUSH: usize = 256 * WRITE;
/// A name that becomes that of a table, or is looked up to become one.
pub(crate) const TABLE: usize = 5_000;

/// The steps that are left to the call at hand. Client sessions read no clock, so what they do is counted.
#[derive(Debug)]
pub(crate) struct Work {
    left: usize,
}

impl Work {
    pub(crate) fn new() -> Work {
        Work { left: WORK }
    }

    /// Begins another call.
    pub(crate) fn renew(&mut self) {
        self.left = WORK;
    }

    /// Counts steps that were done.
    pub(crate) fn spend(&mut self, steps: usize) {
        self.left = self.left.saturating_sub(steps);
    }

    /// Whether the rest has to wait for the next call.
    pub(crate) fn is_spent(&self) -> bool {
        self.left == 0
    }
}
