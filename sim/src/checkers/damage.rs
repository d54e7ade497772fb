//! A node finds its store damaged only where something has rotted on its disk.

use rumormill_core::io::Event;

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "damage";

/// Knows the machines on whose disks bits have flipped.
pub(crate) struct Damages(Vec<bool>);

impl Damages {
    pub(crate) fn new(nodes: usize) -> Self {
        Damages(for_each(nodes))
    }

    /// Bits of the disk of a node flip.
    pub(crate) fn on_rot(&mut self, node: usize) {
        self.0[node] = true;
    }

    /// The machine of a node gets another disk.
    pub(crate) fn on_forget(&mut self, node: usize) {
        self.0[node] = false;
    }

    /// A node tells what it has come to know. Judges one that says its store is damaged, though a crash alone has struck it.
    pub(crate) fn on_event(&self, (at_us, node): (u64, usize), event: &Event) -> Option<Violation> {
        let is_wrong = matches!(event, Event::Damaged { .. }) && !self.0[node];
        is_wrong.then(|| Violation {
            checker: NAME,
            at_us,
            text: format!("n{node} takes its store for damaged, and nothing of it has rotted"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_node_whose_disk_has_rotted_finds_it_damaged_until_it_gets_another() {
        let mut damages = Damages::new(2);
        let found = Event::Damaged { records: 1 };
        damages.on_rot(1);
        assert_eq!(damages.on_event((0, 1), &found), None);
        assert_eq!(damages.on_event((5, 0), &found).unwrap().at_us, 5);
        damages.on_forget(1);
        assert!(damages.on_event((6, 1), &found).is_some());
    }
}
