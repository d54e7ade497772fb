//! A disk: an ordered map with a durable half and a volatile one.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::{
    Seq,
    io::{Record, StoreOp},
};

/// The storage of one node. Batches are applied in order; unsynced ones may be lost from the end by a crash.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// Looked up and written all the time and read in order only at a start: it is sorted then.
    durable: HashMap<Bytes, Bytes, FixedState>,
    volatile: VecDeque<(Seq, Vec<StoreOp>)>,
    last: Seq,
    /// Covered by the sync that runs.
    syncing: Option<Seq>,
    /// The largest batch for which a sync was asked.
    wanted: Seq,
    synced: Seq,
}

impl Disk {
    /// Takes the batch `seq`. Returns whether a sync begins now, which the caller ends with [`Disk::sync_done`].
    pub fn store(&mut self, seq: Seq, batch: Vec<StoreOp>, sync: bool) -> bool {
        self.volatile.push_back((seq, batch));
        self.last = seq;
        if sync {
            self.wanted = seq;
        }
        self.begin()
    }

    /// The running sync is over: the watermark, and whether the next sync begins at once.
    pub fn sync_done(&mut self) -> (Option<Seq>, bool) {
        let Some(upto) = self.syncing.take() else {
            return (None, false);
        };
        self.harden(upto);
        (Some(upto), self.begin())
    }

    /// Everything that is there is to be synced. Returns whether a sync begins now.
    pub fn want_all(&mut self) -> bool {
        self.wanted = self.last;
        self.begin()
    }

    /// Every batch up to here survives a crash.
    pub fn synced(&self) -> Seq {
        self.synced
    }

    /// The last batch that it took.
    pub fn last(&self) -> Seq {
        self.last
    }

    /// Whether a restart finds nothing.
    pub fn is_empty(&self) -> bool {
        self.durable.is_empty()
    }

    /// Batches that a crash may lose.
    pub fn unsynced(&self) -> usize {
        self.volatile.len()
    }

    /// The power fails: of the unsynced batches the first `keep` survive. Returns the last batch that did, and how many did not.
    pub fn crash(&mut self, keep: usize) -> (Seq, usize) {
        let upto = match self.volatile.iter().take(keep).next_back() {
            Some((seq, _)) => *seq,
            None => self.synced,
        };
        self.harden(upto);
        let lost = self.volatile.len();
        *self = Disk {
            durable: std::mem::take(&mut self.durable),
            ..Disk::default()
        };
        (upto, lost)
    }

    /// A copy of all that is written, synced or not, as a snapshot of the machine has it.
    pub fn copy(&self) -> Disk {
        let mut copy = self.clone();
        copy.crash(usize::MAX);
        copy
    }

    /// The value of a key as the last batch left it, synced or not.
    pub fn read(&self, key: &[u8]) -> Option<Bytes> {
        let batches = self.volatile.iter().rev();
        let mut ops = batches.flat_map(|(_, batch)| batch.iter().rev());
        match ops.find(|op| op.decides(key)) {
            Some(StoreOp::Put(record)) => Some(record.value.clone()),
            Some(StoreOp::Delete(_) | StoreOp::DeleteRange { .. }) => None,
            None => self.durable.get(key).cloned(),
        }
    }

    /// Returns the records that a restart finds, in key order. O(records log records).
    pub fn records(&self) -> impl Iterator<Item = Record> {
        let mut records: Vec<(&Bytes, &Bytes)> = self.durable.iter().collect();
        records.sort_unstable();
        records.into_iter().map(|(key, value)| Record {
            key: key.clone(),
            value: value.clone(),
        })
    }

    /// The keys that a restart finds, in order. O(records log records).
    pub fn keys(&self) -> Vec<&Bytes> {
        let mut keys: Vec<&Bytes> = self.durable.keys().collect();
        keys.sort_unstable();
        keys
    }

    /// Changes the durable half, for planted bugs and rot. O(records log records).
    pub fn change_durable(&mut self, change: impl FnOnce(&mut BTreeMap<Bytes, Bytes>)) {
        let mut records = std::mem::take(&mut self.durable).into_iter().collect();
        change(&mut records);
        self.durable.extend(records);
    }

    fn begin(&mut self) -> bool {
        let begins = self.syncing.is_none() && self.wanted > self.synced;
        if begins {
            // A sync covers all that was written when it began, not only what asked for it.
            self.syncing = Some(self.last);
        }
        begins
    }

    fn harden(&mut self, upto: Seq) {
        while let Some((seq, batch)) = self.volatile.pop_front_if(|(seq, _)| *seq <= upto) {
            for op in batch {
                match op {
                    StoreOp::Put(Record { key, value }) => {
                        // A copy: the records of a batch share their memory.
                        let value = Bytes::copy_from_slice(&value);
                        match self.durable.get_mut(&key) {
                            Some(known) => *known = value,
                            None => drop(self.durable.insert(Bytes::copy_from_slice(&key), value)),
                        }
                    }
                    StoreOp::Delete(key) => {
                        self.durable.remove(&key);
                    }
                    StoreOp::DeleteRange { .. } => self.durable.retain(|key, _| !op.decides(key)),
                }
            }
            self.synced = seq;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(key: &str, value: &str) -> Vec<StoreOp> {
        let record = Record {
            key: Bytes::copy_from_slice(key.as_bytes()),
            value: Bytes::copy_from_slice(value.as_bytes()),
        };
        vec![StoreOp::Put(record)]
    }

    fn keys(disk: &Disk) -> String {
        disk.records()
            .map(|record| String::from_utf8_lossy(&record.key).into_owned())
            .collect()
    }

    #[test]
    fn a_crash_keeps_the_synced_and_a_prefix() {
        let mut disk = Disk::default();
        assert!(disk.store(Seq(1), put("a", "1"), true));
        assert!(!disk.store(Seq(2), put("b", "1"), false));
        assert_eq!(disk.sync_done(), (Some(Seq(1)), false));
        disk.store(Seq(3), put("c", "1"), false);
        disk.store(Seq(4), put("d", "1"), false);
        assert_eq!(disk.crash(2), (Seq(3), 1));
        assert_eq!(keys(&disk), "abc");
        assert_eq!(disk.crash(9), (Seq(0), 0));
    }

    #[test]
    fn a_range_takes_what_was_before_it_synced_or_not_and_nothing_behind() {
        let mut disk = Disk::default();
        for (n, key) in ["a", "b", "bb", "c"].into_iter().enumerate() {
            disk.store(Seq(1 + n as u64), put(key, "1"), n == 1);
        }
        disk.sync_done();
        let (from, until) = (Bytes::from("b"), Bytes::from("c"));
        let mut batch = vec![StoreOp::DeleteRange { from, until }];
        batch.extend(put("bbb", "2"));
        disk.store(Seq(5), batch, true);
        for synced in [false, true] {
            if synced {
                while disk.sync_done().0.is_some() {}
                assert_eq!(keys(&disk), "abbbc");
            }
            let there = ["a", "b", "bb", "bbb", "c"].map(|key| disk.read(key.as_bytes()).is_some());
            assert_eq!(there, [true, false, false, true, true], "synced: {synced}");
        }
    }

    #[test]
    fn a_sync_covers_what_was_there_when_it_began() {
        let mut disk = Disk::default();
        disk.store(Seq(1), put("a", "1"), false);
        assert!(disk.store(Seq(2), vec![StoreOp::Delete("a".into())], true));
        assert!(!disk.store(Seq(3), put("c", "1"), true));
        assert_eq!(disk.sync_done(), (Some(Seq(2)), true));
        assert_eq!(keys(&disk), "");
        assert_eq!(disk.sync_done(), (Some(Seq(3)), false));
        assert_eq!((keys(&disk).as_str(), disk.synced()), ("c", Seq(3)));
        assert_eq!(disk.sync_done(), (None, false));
    }
}
