//! An older copy of a disk takes its place, and the node is not told.

use crate::disk::Disk;
use crate::faults::FaultKind;
use crate::injection::Ending;
use crate::plan::FaultWhat;
use crate::trace::{Field, Weight};
use crate::world::World;

/// A copy of the disk of a machine.
pub(crate) struct Copy {
    node: usize,
    at_us: u64,
    disk: Disk,
}

impl World {
    /// Copies the disk of a member, as a snapshot of its machine does. The copy takes the disk's place when the fault ends.
    pub(crate) fn begin_older(&mut self, number: usize, what: &FaultWhat, node: usize) {
        self.finish_turn();
        let Some(node) = self.member_with_disk(node) else {
            return self.try_again(number);
        };
        self.strikes(number, what, node);
        let copy = Copy {
            node,
            at_us: self.now_us,
            disk: self.hosts[node].disk.copy(self.now_us),
        };
        self.course.copies.insert(number, copy);
        self.course.endings.insert(number, Ending::PutBack);
        self.trace
            .event(self.now_us, node, Weight::Story, "copied", &[]);
    }

    /// The machine loses its power, and the copy takes the place of its disk. Not while no other member runs: without one nothing of what the copy
    /// lacks is left.
    pub(crate) fn put_back(&mut self, number: usize) {
        self.finish_turn();
        let Some(Copy { node, at_us, disk }) = self.course.copies.remove(&number) else {
            return;
        };
        if !self.is_member(node) || !self.is_survived(node) || !self.hosts[node].has_disk {
            return;
        }
        let keep = self.hosts[node].disk.unsynced();
        self.power_off(node, keep, false);
        self.hosts[node].disk = disk;
        self.observers.on_put_back(node, at_us);
        self.operator.lost_writes.extend(self.hosts[node].id);
        self.count(FaultKind::Older.name());
        let fields = [Field::Num("age_us", self.now_us - at_us)];
        self.trace
            .event(self.now_us, node, Weight::Story, "put_back", &fields);
        self.break_links(node, false);
        self.start(node);
    }

    /// Drops the copies of a node whose place in its cluster has changed: none from before is put back.
    pub(crate) fn outdate_copies(&mut self, node: usize) {
        self.course.copies.retain(|_, copy| copy.node != node);
    }
}
