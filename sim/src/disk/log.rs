//! The commit log: files of records, of which the last one is written, and the note beside them of how far they were synced.

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use rumormill_core::{Seq, io::StoreOp};

use super::record;
use crate::rng::Rng;

/// A file of this length, in bytes, is sealed: from 512 to 32 KiB, drawn for each disk.
const SHORTEST_LOG2: u64 = 9;
const LONGEST_LOG2: u64 = 15;
/// Files that may wait to be merged. With as many, the one that is written grows on.
const SEALED: usize = 4;

/// A place in the log: the number of a record, and its batch in this boot, 0 for a record of an earlier one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mark {
    pub(super) number: u64,
    pub(super) seq: Seq,
}

/// A record of the log.
#[derive(Clone)]
pub(super) struct Entry {
    /// Counts up from 1, through all boots.
    pub(super) number: u64,
    seq: Seq,
    pub(super) at_us: u64,
    /// The last record that was known to be synced when this one was written.
    pub(super) known: u64,
    /// The operations that were put into it: the index of a process that runs.
    pub(super) ops: Vec<StoreOp>,
    /// Its bytes, if they are not those that were written.
    pub(super) damaged: Option<Vec<u8>>,
}

impl Entry {
    /// Returns whether its sums are right.
    pub(super) fn is_whole(&self) -> bool {
        self.damaged
            .as_ref()
            .is_none_or(|bytes| record::is_whole(bytes))
    }

    /// Returns whether the bytes of one of its operations are not those that were written.
    fn is_rotten_at(&self, op: usize) -> bool {
        let Some(bytes) = &self.damaged else {
            return false;
        };
        let written = record::encode(self.number, self.known, &self.ops);
        let place = record::places(&self.ops).nth(op);
        place.is_some_and(|place| bytes.get(place.clone()) != written.get(place))
    }

    /// Returns its length on the disk.
    pub(super) fn size(&self) -> usize {
        record::size(&self.ops)
    }

    /// Changes its bytes on the disk.
    pub(super) fn damage(&mut self, change: impl FnOnce(&mut [u8])) {
        let written = || record::encode(self.number, self.known, &self.ops);
        let mut bytes = self.damaged.take().unwrap_or_else(written);
        change(&mut bytes);
        self.damaged = (bytes != written()).then_some(bytes);
    }
}

/// A file of the log.
#[derive(Clone, Default)]
pub(super) struct File {
    pub(super) entries: Vec<Entry>,
    bytes: usize,
}

/// All files.
#[derive(Clone)]
pub(super) struct Log {
    /// Full files, the oldest first.
    pub(super) sealed: VecDeque<File>,
    pub(super) active: File,
    /// The number of the file that is written.
    pub(super) number: u64,
    /// A file of so many bytes is full.
    full: usize,
    /// The last record, the last that is taken for synced, and the last that is.
    last: u64,
    synced: u64,
    hard: u64,
    /// The note of the last sync, and that of the one before: they take turns in two slots, and are not synced themselves.
    note: u64,
    note_before: u64,
    /// The last record of the earlier boots.
    base: u64,
}

impl Log {
    pub(super) fn new(rng: &mut Rng) -> Log {
        Log {
            sealed: VecDeque::new(),
            active: File::default(),
            number: 1,
            full: 1 << rng.between(SHORTEST_LOG2, LONGEST_LOG2),
            last: 0,
            synced: 0,
            hard: 0,
            note: 0,
            note_before: 0,
            base: 0,
        }
    }

    pub(super) fn append(&mut self, at_us: u64, seq: Seq, ops: Vec<StoreOp>) {
        self.last += 1;
        self.active.bytes += record::size(&ops);
        self.active.entries.push(Entry {
            number: self.last,
            seq,
            at_us,
            known: self.synced,
            ops,
            damaged: None,
        });
    }

    /// A sync is over that covers all records up to this one.
    pub(super) fn sync(&mut self, number: u64, is_done: bool) {
        self.synced = number;
        if is_done {
            self.hard = number;
        }
        (self.note_before, self.note) = (self.note, number);
    }

    /// Begins the next file if this one is full. Returns whether it does. A driver writes nothing while a sync runs: what came since the last one
    /// began is the first of the next file.
    pub(super) fn seal(&mut self) -> bool {
        if self.active.bytes < self.full || self.sealed.len() >= SEALED {
            return false;
        }
        let entries = &mut self.active.entries;
        let synced = entries.partition_point(|entry| entry.number <= self.synced);
        let next = entries.split_off(synced);
        let bytes = next.iter().map(Entry::size).sum();
        let next = File {
            entries: next,
            bytes,
        };
        let full = std::mem::replace(&mut self.active, next);
        self.sealed.push_back(full);
        self.number += 1;
        true
    }

    /// Returns the last record.
    pub(super) fn end(&self) -> Mark {
        self.mark(self.last)
    }

    fn mark(&self, number: u64) -> Mark {
        let of_boot = self.entries().rev().find(|entry| entry.number == number);
        let seq = of_boot.filter(|entry| entry.number > self.base);
        Mark {
            number,
            seq: seq.map_or(Seq(0), |entry| entry.seq),
        }
    }

    pub(super) fn unsynced(&self) -> usize {
        (self.last - self.synced) as usize
    }

    /// Whether a record is durable.
    pub(super) fn has_durable(&self) -> bool {
        self.entries()
            .next()
            .is_some_and(|entry| entry.number <= self.synced)
    }

    /// All records, the oldest first.
    pub(super) fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        let sealed = self.sealed.iter().flat_map(|file| &file.entries);
        sealed.chain(&self.active.entries)
    }

    pub(super) fn entries_mut(&mut self) -> impl Iterator<Item = &mut Entry> {
        let sealed = self.sealed.iter_mut().flat_map(|file| &mut file.entries);
        sealed.chain(&mut self.active.entries)
    }

    /// The durable records, the oldest first.
    pub(super) fn durable(&self) -> impl Iterator<Item = &Entry> {
        self.entries()
            .take_while(|entry| entry.number <= self.synced)
    }

    pub(super) fn durable_ops(&self) -> impl Iterator<Item = &StoreOp> {
        self.durable().flat_map(|entry| &entry.ops)
    }

    /// The newest operation on a key, as a process reads it that knows where that lies.
    pub(super) fn newest(&self, key: &[u8]) -> Option<Result<Option<Bytes>, String>> {
        self.entries().rev().find_map(|entry| {
            let at = entry.ops.iter().rposition(|op| op.decides(key))?;
            if entry.is_rotten_at(at) {
                return Some(Err(format!(
                    "record {} of the log has rotted",
                    entry.number
                )));
            }
            Some(Ok(match entry.ops.get(at)? {
                StoreOp::Put(record) => Some(record.value.clone()),
                StoreOp::Delete(_) | StoreOp::DeleteRange { .. } => None,
            }))
        })
    }

    /// Takes away each operation that puts one of these keys or removes it alone.
    pub(super) fn lose(&mut self, keys: &BTreeSet<Bytes>) {
        for entry in self.entries_mut() {
            entry.ops.retain(|op| match op {
                StoreOp::Put(record) => !keys.contains(&record.key),
                StoreOp::Delete(key) => !keys.contains(key),
                StoreOp::DeleteRange { .. } => true,
            });
        }
    }

    /// Returns the last record that survives a crash in which the first `keep` of the unsynced ones do.
    pub(super) fn crash(&self, keep: usize, clean: bool) -> Mark {
        let kept = self.synced.saturating_add(keep as u64).min(self.last);
        // Nothing of what a sync has only claimed to write outlives the power.
        let is_true = clean || self.hard == self.synced;
        self.mark(if is_true { kept } else { self.hard })
    }

    /// Counts the records behind this one.
    pub(super) fn after(&self, number: u64) -> usize {
        (self.last - number) as usize
    }

    /// Writes a part of the record behind this one: all up to some byte, or, where the power failed, all but a hole. The space behind it had been
    /// reserved, and is zero. Returns whether that leaves it damaged.
    pub(super) fn tear(&mut self, number: u64, clean: bool, rng: &mut Rng) -> bool {
        let Some(torn) = self.entries_mut().find(|entry| entry.number > number) else {
            return false;
        };
        let hole = hole(&torn.ops, torn.size(), clean, rng);
        torn.damage(|bytes| bytes[hole].fill(0));
        let left = torn.damaged.as_deref().unwrap_or_default();
        left.iter().any(|byte| *byte != 0)
    }

    /// Drops what is behind a record, but for one that is torn.
    pub(super) fn truncate(&mut self, number: u64, torn: bool) {
        let end = number + u64::from(torn);
        let is_behind = |file: &File| file.entries.last().is_some_and(|last| last.number > end);
        while let Some(full) = self.sealed.pop_back_if(|file| is_behind(file)) {
            self.active = full;
            self.number -= 1;
        }
        let is_kept = |entry: &Entry| entry.number <= end;
        let kept = self.active.entries.partition_point(is_kept);
        self.active.entries.truncate(kept);
        self.active.bytes = self.active.entries.iter().map(Entry::size).sum();
        (self.last, self.synced, self.hard) = (number, number, number);
    }

    /// The power has failed: the note of the last sync may be an older one.
    pub(super) fn lose_note(&mut self, rng: &mut Rng) {
        self.note = match rng.below(3) {
            0 => 0,
            1 => self.note_before,
            _ => self.note,
        };
    }

    /// The note is of this record.
    #[cfg(test)]
    pub(super) fn lose_note_at(&mut self, number: u64) {
        self.note = number;
    }

    pub(super) fn begin_boot(&mut self) {
        self.base = self.last;
        self.note_before = self.note;
    }

    /// A merge has made all records up to this one durable.
    pub(super) fn is_merged(&mut self, number: u64) {
        self.hard = self.hard.max(number);
    }

    /// A start has made all records up to this one durable, and notes that.
    pub(super) fn is_open(&mut self, number: u64) {
        (self.last, self.synced, self.hard) = (number, number, number);
        self.note = number;
        self.begin_boot();
    }

    pub(super) fn note(&self) -> u64 {
        self.note
    }

    /// Returns the number of the last record, and of the last that is taken for synced.
    pub(super) fn numbers(&self) -> (u64, u64) {
        (self.last, self.synced)
    }

    /// Empties the log: its records are in the tables.
    pub(super) fn clear(&mut self) {
        self.sealed.clear();
        self.active = File::default();
    }
}

/// Draws the part of a record that a crash keeps from the disk. Every second one ends where an operation does, which the form of the operations does
/// not show.
fn hole(ops: &[StoreOp], len: usize, clean: bool, rng: &mut Rng) -> std::ops::Range<usize> {
    let at_op = rng.below(2) == 0;
    let from = match record::places(ops).nth(rng.below(ops.len() as u64) as usize) {
        Some(place) if at_op => place.start,
        _ => rng.below(len as u64) as usize,
    };
    let until = match !clean && rng.below(2) == 0 {
        true => from + 1 + rng.below((len - from) as u64) as usize,
        false => len,
    };
    from..until.min(len)
}
