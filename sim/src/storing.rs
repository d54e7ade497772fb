//! The storage thread of a driver, in virtual time: syncs that take long, fail, or find no space.

use rumormill_core::{
    Seq,
    io::{Input, StoreOp},
};

use crate::disk::{Crash, Stage};
use crate::event::Event;
use crate::faults::FaultKind;
use crate::host::Started;
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
        let short = host.hurts.strike(Hurt::DiskShort);
        let is_short = short && !std::mem::replace(&mut host.drive.short, short);
        let boot = host.boot;
        if host.disk.store(self.now_us, seq, batch, sync && !lies) {
            self.begin_sync(node);
        }
        if stalls {
            self.count(FaultKind::FullDisk.name());
            self.push(self.now_us + SYNC_US.0, Event::StoreStalls { node, boot });
        }
        if is_short {
            self.count(FaultKind::ShortDisk.name());
            self.push(self.now_us + SYNC_US.0, Event::StoreIsShort { node, boot });
        }
        if lies {
            self.input(node, Input::Stored { upto: seq });
        }
    }

    /// Whether the disk refuses for good. The node is told so a little later, and once.
    fn store_fails(&mut self, node: usize) -> bool {
        let host = &mut self.hosts[node];
        let (strikes, is_rotten) = (host.hurts.strike(Hurt::DiskFails), host.disk.has_failed());
        if (strikes || is_rotten) && !std::mem::replace(&mut host.drive.store_failed, true) {
            let boot = host.boot;
            self.count(match strikes {
                true => FaultKind::FailDisk.name(),
                false => "merges_of_rot",
            });
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
        let (upto, again) = host.disk.sync_done(self.now_us);
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
        self.hosts[node].drive.told_stalled = false;
        self.input(node, Input::Stored { upto });
    }

    pub(crate) fn store_stalls(&mut self, node: usize) {
        self.hosts[node].drive.told_stalled = true;
        let why = "no space left on the disk".to_string();
        self.input(node, Input::StoreStalled { why });
    }

    /// The node is told that its store is short of space, unless that is over already.
    pub(crate) fn store_is_short(&mut self, node: usize) {
        if !self.hosts[node].drive.short {
            return;
        }
        self.hosts[node].drive.told_short = true;
        let why = Some("what is left of the disk is for deletes".to_string());
        self.input(node, Input::StoreShort { why });
    }

    /// The disk is no longer short of space.
    pub(crate) fn space_suffices(&mut self, node: usize) {
        let host = &mut self.hosts[node];
        if host.hurts.has(Hurt::DiskShort) || !std::mem::take(&mut host.drive.short) {
            return;
        }
        if std::mem::take(&mut host.drive.told_short) {
            self.input(node, Input::StoreShort { why: None });
        }
    }

    pub(crate) fn store_failed(&mut self, node: usize) {
        let error = "the disk failed".to_string();
        self.input(node, Input::StoreFailed { error });
    }

    /// Takes down what a crash has broken of what a disk was doing.
    pub(crate) fn count_broken(&mut self, crash: &Crash) {
        self.count_by("records_torn", u64::from(crash.torn));
        match crash.merge {
            Some(Stage::Begun) => self.count("merges_undone"),
            Some(Stage::Durable) => self.count("merges_before_removal"),
            None => {}
        }
    }

    /// A node has started: takes down what was wrong with its disk.
    pub(crate) fn opened(&mut self, node: usize, started: &Started) {
        if started.is_damaged {
            self.count("logs_damaged");
        }
        let Some(cut) = started.cut else { return };
        self.count("log_ends_cut");
        let fields = [Field::Num("bytes", cut.bytes)];
        self.trace
            .event(self.now_us, node, Weight::Story, "cut", &fields);
        // A record that has rotted at the end of a log cannot be told from one that is torn: the disk is an older copy of itself.
        if let Some(since_us) = cut.synced_us.filter(|_| cut.is_due) {
            self.count("log_ends_lost");
            self.observers.on_put_back(node, since_us);
            self.operator.lost_writes.extend(self.hosts[node].id);
        }
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
