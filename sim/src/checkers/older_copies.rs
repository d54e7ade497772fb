//! A node finds its store to be an older copy only where one was put back.

use rumormill_core::io::Event;

use super::{Violation, for_each};

/// The name in reports.
pub const NAME: &str = "older_copies";

/// Knows the nodes that run on an older copy of their disk and have not rejoined.
pub(crate) struct OlderCopies(Vec<bool>);

impl OlderCopies {
    pub(crate) fn new(nodes: usize) -> Self {
        OlderCopies(for_each(nodes))
    }

    /// An older copy takes the place of a node's disk.
    pub(crate) fn on_put_back(&mut self, node: usize) {
        self.0[node] = true;
    }

    /// A node tells what it has come to know. Judges one that says its store is an older copy, though a crash alone has taken something from it.
    pub(crate) fn on_event(
        &mut self,
        (at_us, node): (u64, usize),
        event: &Event,
    ) -> Option<Violation> {
        match event {
            Event::Rejoined { .. } => self.0[node] = false,
            Event::OlderCopy { .. } if !self.0[node] => {
                return Some(Violation {
                    checker: NAME,
                    at_us,
                    text: format!(
                        "n{node} takes its store for an older copy, and none was put back"
                    ),
                });
            }
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use rumormill_core::NodeId;

    use super::*;

    #[test]
    fn only_a_node_whose_disk_was_put_back_may_find_an_older_copy_and_until_it_has_rejoined() {
        let mut copies = OlderCopies::new(2);
        let found = Event::OlderCopy { by: NodeId(7) };
        copies.on_put_back(1);
        assert_eq!(copies.on_event((0, 1), &found), None);
        assert_eq!(copies.on_event((5, 0), &found).unwrap().at_us, 5);
        let rejoined = Event::Rejoined {
            with: NodeId(7),
            dropped: 0,
            proposed: 0,
        };
        assert_eq!(copies.on_event((6, 1), &rejoined), None);
        assert!(copies.on_event((7, 1), &found).is_some());
    }
}
