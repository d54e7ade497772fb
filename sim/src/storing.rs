//! The storage thread of a driver, in virtual time: syncs that take long, fail, or find no space.

use rumormill_core::{
    Seq,
    io::{Input, StoreOp},
};

use crate::event::Event;
use crate::faults::FaultKind;
use crate::hurt::Hurt;
use crate::trace::{Field, Weight};
use crate::world::World;

/// A sync takes from the first to the second, in microseconds.
const SYNC_US: (u64, u64) = (200, 4_000);

impl World {
    pub(crate) fn store(&mut self, node: usize, seq: Seq, mut batch: Vec<StoreOp>, sync: bool) {
        self.sabotage.stores(node, &mut batch);
        let fields = [
            Field::Num("seq", seq.0),
            Field::Num("ops", batch.len() as u64),
            Field::Num("sync", u64::from(sync)),
        ];
        self.trace
            .event(self.now_us, node, Weight::Detail, "store", &fields);
        self.trace.stored(node, &batch);
        if self.store_fails(node) {
            return;
        }
        let lies = sync && self.sabotage.syncs_early(node);
        let host = &mut self.hosts[node];
        let full = host.hurts.strike(Hurt::DiskFull);
        let stalls = full && !std::mem::replace(&mut host.drive.stalled, full);
        let boot = host.boot;
        if host.disk.store(seq, batch, sync && !lies) {
            self.begin_sync(node);
        }
        if stalls {
            self.count(FaultKind::FullDisk.name());
            self.push(self.now_us + SYNC_US.0, Event::StoreStalls { node, boot });
        }
        if lies {
            self.input(node, Input::Stored { upto: seq });
        }
    }

    /// Whether the disk refuses for good. The node is told so a little later, and once.
    fn store_fails(&mut self, node: usize) -> bool {
        let host = &mut self.hosts[node];
        if host.hurts.strike(Hurt::DiskFails)
            && !std::mem::replace(&mut host.drive.store_failed, true)
        {
            let boot = host.boot;
            self.count(FaultKind::FailDisk.name());
            self.push(self.now_us + SYNC_US.0, Event::StoreFails { node, boot });
        }
        self.hosts[node].drive.store_failed
    }

    pub(crate) fn begin_sync(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        let slow_us = host.hurts.sync_us();
        let at_us = self.now_us + host.drive.disk_rng.between(SYNC_US.0, SYNC_US.1) + slow_us;
        let boot = host.boot;
        if slow_us > 0 {
            self.count(FaultKind::SlowDisk.name());
        }
        self.push(at_us, Event::Synced { node, boot });
    }

    pub(crate) fn synced(&mut self, node: usize) {
        if self.store_fails(node) {
            return;
        }
        let host = &mut self.hosts[node];
        if host.drive.stalled {
            host.drive.sync_held = true;
            return;
        }
        let (upto, again) = host.disk.sync_done();
        if again {
            self.begin_sync(node);
        }
        let Some(upto) = upto else { return };
        self.count("syncs");
        self.trace.event(
            self.now_us,
            node,
            Weight::Detail,
            "synced",
            &[Field::Num("upto", upto.0)],
        );
        self.observers.on_synced(node, upto);
        let upto = match self.sabotage.overstates(node) {
            true => self.hosts[node].disk.last(),
            false => upto,
        };
        self.input(node, Input::Stored { upto });
    }

    pub(crate) fn store_stalls(&mut self, node: usize) {
        let why = "no space left on the disk".to_string();
        self.input(node, Input::StoreStalled { why });
    }

    pub(crate) fn store_failed(&mut self, node: usize) {
        let error = "the disk failed".to_string();
        self.input(node, Input::StoreFailed { error });
    }

    /// The disk has space again: all that waits is written and synced.
    pub(crate) fn space_returns(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.hurts.has(Hurt::DiskFull) || !std::mem::take(&mut host.drive.stalled) {
            return;
        }
        let begins = host.disk.want_all();
        if std::mem::take(&mut host.drive.sync_held) || begins {
            self.begin_sync(node);
        }
    }
}
