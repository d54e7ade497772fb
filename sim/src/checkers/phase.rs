//! A node that is no full member claims nothing.

use rumormill_core::Node;
use rumormill_core::wire::{DetectorMessage, Message};

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "phase";

/// Whether a message claims what only a full member may claim. A probe and an ack leave at once, so that their sender is what it was
/// when it wrote them; of what waits for the disk that cannot be said.
fn claims(message: &Message) -> bool {
    match message {
        Message::Detector(
            DetectorMessage::Probe { status, .. } | DetectorMessage::Ack { status, .. },
        ) => status.claims,
        _ => false,
    }
}

/// Knows of each node whether it was a full member when its last turn ended.
pub(crate) struct FullMembers(Vec<bool>);

impl FullMembers {
    pub(crate) fn new(nodes: usize) -> Self {
        FullMembers(for_each(nodes))
    }

    /// A boot of the node begins.
    pub(crate) fn on_start(&mut self, node: usize) {
        self.0[node] = false;
    }

    /// Whether the node was a full member when its last turn ended.
    pub(crate) fn was_full(&self, node: usize) -> bool {
        self.0[node]
    }

    /// The node, if it runs, ends a turn.
    pub(crate) fn on_turn_end(&mut self, node: usize, running: Option<&Node>) {
        self.0[node] = running.is_some_and(Node::is_full);
    }

    /// Judges a message of the node. Rule 4: a node that is no full member claims nothing. Within a turn a node may have claimed and then learned that it is no full member any more: one that was a
    /// full member when the turn began counts as one.
    pub(crate) fn on_send(
        &self,
        (at_us, node): (u64, usize),
        running: Option<&Node>,
        message: &Message,
    ) -> Option<Violation> {
        let is_full = self.0[node] || running.is_none_or(Node::is_full);
        (!is_full && claims(message)).then(|| Violation {
            checker: NAME,
            at_us,
            text: format!("n{node} claims what it has seen, and is no full member"),
        })
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::wire::{ClusterMessage, Status};

    use super::*;

    #[test]
    fn a_probe_that_claims_is_a_claim() {
        let probe = |claims| {
            Message::Detector(DetectorMessage::Probe {
                nonce: 1,
                status: Status {
                    sys: 0,
                    usr: 0,
                    rows: 1,
                    claims,
                    batch: 7,
                    awaits_claims: false,
                    clock: 0,
                    wall_ms: 0,
                    settled_ms: 0,
                },
                rumors: Vec::new(),
            })
        };
        assert!(claims(&probe(true)) && !claims(&probe(false)));
        assert!(!claims(&Message::Cluster(ClusterMessage::Leave)));
    }
}
