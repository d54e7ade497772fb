//! Merging: the operations of a full file go into the tables, which takes time, and the file is removed a little after they are durable there.
//!
//! A store merges on a thread of its own, so a merge is no event: it is taken for done when the disk is used after its time.

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};

use super::{Disk, Tables};

/// A merge takes from the first to the second until it is durable, in microseconds.
const MERGE_US: (u64, u64) = (1_000, 500_000);
/// So long the file stays after that.
const REMOVE_US: (u64, u64) = (10, 200_000);

/// The merge that is under way, of the oldest full file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merging {
    durable_us: u64,
    removed_us: u64,
    stage: Stage,
}

/// How far a merge has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Nothing of it is durable.
    Begun,
    /// It is durable, and the file is still there.
    Durable,
}

impl Disk {
    /// Begins to merge the oldest full file, if there is one.
    pub(super) fn begin_merge(&mut self, at_us: u64) {
        self.merging = None;
        if self.log.sealed.is_empty() || self.failed {
            return;
        }
        let durable_us = at_us + self.rng.between(MERGE_US.0, MERGE_US.1);
        self.merging = Some(Merging {
            durable_us,
            removed_us: durable_us + self.rng.between(REMOVE_US.0, REMOVE_US.1),
            stage: Stage::Begun,
        });
    }

    /// Brings the merges to where they are at this time.
    pub(super) fn settle(&mut self, now_us: u64) {
        while let Some(merging) = &mut self.merging {
            let due_us = match merging.stage {
                Stage::Begun => merging.durable_us,
                Stage::Durable => merging.removed_us,
            };
            if now_us < due_us {
                return;
            }
            match std::mem::replace(&mut merging.stage, Stage::Durable) {
                Stage::Begun => self.merge(),
                Stage::Durable => {
                    self.log.sealed.pop_front();
                    self.merges += 1;
                    self.begin_merge(due_us);
                }
            }
        }
    }

    /// Takes the oldest full file into the tables, durably. One with a record that is damaged fails the store.
    fn merge(&mut self) {
        let Some(file) = self.log.sealed.front() else {
            return;
        };
        let is_believed = |whole: bool| whole || !self.rules.checks_records;
        if !file
            .entries
            .iter()
            .all(|entry| is_believed(entry.is_whole()))
        {
            self.failed = true;
            self.merging = None;
            return;
        }
        let ops = file.entries.iter().flat_map(|entry| &entry.ops);
        match self.rules.newest_wins {
            true => ops.for_each(|op| apply(&mut self.tables, op)),
            false => ops.rev().for_each(|op| apply(&mut self.tables, op)),
        }
        if let Some(last) = file.entries.last() {
            self.merged = self.merged.max(last.number);
            self.log.is_merged(self.merged);
        }
    }

    /// The process dies in the middle of what it does. Returns how far the merge had come that was under way.
    pub(super) fn break_merge(&mut self) -> Option<Stage> {
        let stage = self.merging.take()?.stage;
        if stage == Stage::Begun && !self.rules.keeps_unmerged {
            self.log.sealed.pop_front();
        }
        Some(stage)
    }
}

/// Does an operation. What it puts is a copy: the records of a batch share their memory.
pub(super) fn apply(tables: &mut Tables, op: &StoreOp) {
    match op {
        StoreOp::Put(Record { key, value }) => {
            let value = Bytes::copy_from_slice(value);
            match tables.get_mut(key) {
                Some(known) => *known = value,
                None => drop(tables.insert(Bytes::copy_from_slice(key), value)),
            }
        }
        StoreOp::Delete(key) => {
            tables.remove(key);
        }
        StoreOp::DeleteRange { .. } => tables.retain(|key, _| !op.decides(key)),
    }
}
