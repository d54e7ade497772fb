//! Rows are repaired only where a disk has lost some: a repair would hide any other reason.

use rumormill_core::wire::{GossipMessage, Message};
use rumormill_core::{Mark, Node, table::RowClass};

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "repairs";

/// Knows of each node whether it may lack rows that it covers (guarantees, "Damage"): its disk has lost some, or it took over what a node covers of which that
/// is true, or a row in memory had taken the place of a stored one when it stopped.
pub(crate) struct Repairs(Vec<bool>);

impl Repairs {
    pub(crate) fn new(nodes: usize) -> Self {
        Repairs(for_each(nodes))
    }

    /// The disk of the node loses rows.
    pub(crate) fn on_loss(&mut self, node: usize) {
        self.0[node] = true;
    }

    /// The machine of the node has forgotten it.
    pub(crate) fn on_forget(&mut self, node: usize) {
        self.0[node] = false;
    }

    /// The node stops.
    pub(crate) fn on_stop(&mut self, node: usize, running: &Node) {
        // Guarantees, "Which durability": a `memory` write takes the record of an earlier one to the same key with it.
        let mut marks = running.inspect().marks();
        self.0[node] |= marks.any(|(mark, _)| mark == Mark::TwinReplaced);
    }

    /// A message reaches the node. A session ends with what its server covers: if that lacks rows of it, so may its client from now on. And
    /// a row with siblings that was written where others were lost replaces or covers some that it does not hold.
    pub(crate) fn on_receive(&mut self, (from, node): (usize, usize), msg: &Message) {
        let ends = matches!(msg, Message::Gossip(GossipMessage::Page(page)) if page.last.is_some());
        let has_siblings = || {
            let class = RowClass::UsrDurableSiblings as u8;
            let tables = msg.rows().into_iter().flat_map(|rows| &rows.tables);
            tables.into_iter().any(|table| table.class == class)
        };
        if (ends || has_siblings()) && self.0.get(from).is_some_and(|lacks| *lacks) {
            self.0[node] = true;
        }
    }

    /// The node has repaired rows that it lacked. Rows of members whose contexts agree differ only where a disk has lost some.
    pub(crate) fn on_repair(&self, (at_us, node): (u64, usize)) -> Option<Violation> {
        (!self.0[node]).then(|| Violation {
            checker: NAME,
            at_us,
            text: format!("n{node} repaired rows that no disk had lost"),
        })
    }
}
