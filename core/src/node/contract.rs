//! Rules of the contract that a loop can break without noticing, asserted in debug builds.

use core::time::Duration;

use crate::io::Input;
use crate::time::Instant;

/// A turn takes no longer, when it has [`TURN_INPUTS`] inputs.
const TURN: Duration = Duration::from_secs(60);
const TURN_INPUTS: u32 = 1_000;

/// So many turns may end before outputs that wait are looked at.
const UNSEEN_TURNS: u32 = 1_000;

/// The duties of the loop around a node.
#[derive(Default)]
pub(super) struct Contract {
    /// When the first input of this turn came, and how many came since.
    turn: Option<(Instant, u32)>,
    /// Turns that ended since an output was asked for.
    unseen: u32,
}

impl Contract {
    pub(super) fn seen(&mut self) {
        self.unseen = 0;
    }

    /// Holds the loop to the contract, with an input and the outputs that wait.
    ///
    /// # Panics
    /// In debug builds: when a turn does not end, or outputs pile up.
    pub(super) fn take(&mut self, now: Instant, input: &Input, queued: usize) {
        if matches!(input, Input::Tick) {
            self.turn = None;
            self.unseen = self.unseen.saturating_add(1);
            debug_assert!(
                self.unseen <= UNSEEN_TURNS || queued == 0,
                "broken contract: carry out every output after `Input::Tick`; {} wait for `Node::poll_output`",
                queued
            );
            return;
        }
        let (since, inputs) = self.turn.unwrap_or((now, 0));
        let inputs = inputs.saturating_add(1);
        self.turn = Some((since, inputs));
        debug_assert!(
            inputs < TURN_INPUTS || now.since(since) < TURN,
            "broken contract: end every turn with `Input::Tick`; {inputs} inputs came since the last one"
        );
    }
}
