//! Opening a disk at a start: where the log ends, what of it is damaged, and what can be read of one that is.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};

use super::{Disk, Tables, merge, record};

/// How to judge a record that is not whole although others follow it, if nothing proves that it was ever synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// It is damage.
    Damage,
    /// It is the end.
    Cut,
}

/// The end of a log that was cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Bytes.
    pub(crate) bytes: u64,
    /// Whether the rules of the store cut there.
    pub(crate) is_due: bool,
    /// When the first of them was written that had been synced, in virtual microseconds: the store cannot know it.
    pub(crate) synced_us: Option<u64>,
}

/// The first record that is not whole.
#[derive(Clone, Copy)]
struct Bad {
    number: u64,
    /// The number of its file.
    file: u64,
    is_last: bool,
    /// Whether a record is whole behind it.
    behind: bool,
}

/// A log, read.
struct Scan {
    bad: Option<Bad>,
    /// The highest record that is proved to have been synced: by the note beside the log, by a later record, or by a later file.
    known: u64,
    /// The first record and the last one that is whole.
    first: u64,
    last: u64,
}

impl Disk {
    /// Opens the disk: cuts off the end of the log where it is not whole, and makes all durable that is left. Returns what was cut.
    ///
    /// # Errors
    /// The damaged part, in the store's words; nothing was changed.
    pub(crate) fn open(&mut self, now_us: u64, policy: Policy) -> Result<Option<Cut>, String> {
        let scan = self.scan();
        let cut = self.judge(&scan, policy)?;
        let bad = scan.bad.filter(|_| cut.is_some());
        let last = bad.map_or(scan.last, |bad| bad.number - 1);
        self.log.truncate(last, false);
        self.believe();
        self.log.is_open(last);
        // All damaged records are cut off, if there were any.
        (self.failed, self.merged) = (false, self.merged.min(last));
        self.begin_merge(now_us);
        Ok(cut)
    }

    /// Returns all records that can be read of a damaged disk, in key order.
    pub(crate) fn salvage(&self) -> BTreeMap<Bytes, Bytes> {
        let mut left: Tables = self.tables.clone();
        let whole = self.log.durable().filter(|entry| entry.is_whole());
        whole
            .flat_map(|entry| &entry.ops)
            .for_each(|op| merge::apply(&mut left, op));
        left.into_iter().collect()
    }

    /// Returns the copies beside the store of the records that say which node it is.
    pub(crate) fn spares(&self) -> Vec<Record> {
        let mut spares: BTreeMap<Bytes, Record> = BTreeMap::new();
        let tables = self.tables.iter().map(|(key, value)| Record {
            key: key.clone(),
            value: value.clone(),
        });
        let logged = self.log.durable().flat_map(|entry| &entry.ops);
        let logged = logged.filter_map(|op| match op {
            StoreOp::Put(record) => Some(record.clone()),
            StoreOp::Delete(_) | StoreOp::DeleteRange { .. } => None,
        });
        for record in tables.chain(logged).filter(Record::says_which_node) {
            spares.insert(record.key.clone(), record);
        }
        spares.into_values().collect()
    }

    /// Sets the disk aside and begins a new one with these records, which are durable.
    pub(crate) fn replace(&mut self, records: BTreeMap<Bytes, Bytes>) {
        let (last, _) = self.log.numbers();
        self.log.clear();
        self.log.is_open(last);
        (self.merging, self.failed, self.merged) = (None, false, last);
        self.tables = records.into_iter().collect();
    }

    fn scan(&self) -> Scan {
        let (end, _) = self.log.numbers();
        let first = self.log.entries().next().map(|entry| entry.number);
        let mut scan = Scan {
            bad: None,
            known: self.log.note(),
            first: first.unwrap_or(end + 1),
            last: first.map_or(end, |first| first - 1),
        };
        let files = self.log.sealed.iter().chain([&self.log.active]);
        let before_last = self.log.sealed.len();
        for (at, file) in files.enumerate() {
            let first = file.entries.first();
            // A file is synced before the next one is made.
            let proved = first.map_or(scan.last, |first| first.number - 1);
            scan.known = scan.known.max(proved);
            for entry in &file.entries {
                let bytes = entry.damaged.as_deref();
                let header = bytes.map_or(Some(entry.known), record::known);
                scan.known = scan.known.max(header.unwrap_or(0));
                let is_believed = header.is_some() && !self.rules.checks_records;
                if entry.is_whole() || is_believed {
                    scan.last = entry.number;
                    scan.bad.iter_mut().for_each(|bad| bad.behind = true);
                } else {
                    scan.bad.get_or_insert(Bad {
                        number: entry.number,
                        file: self.log.number - (before_last - at) as u64,
                        is_last: at == before_last,
                        behind: false,
                    });
                }
            }
        }
        scan
    }

    /// Decides whether the log ends in a cut, if it has a bad record, or is damaged.
    fn judge(&self, scan: &Scan, policy: Policy) -> Result<Option<Cut>, String> {
        let missing = |count: u64, place| format!("db/log ({count} batches are missing {place})");
        if self.merged + 1 < scan.first {
            return Err(missing(scan.first - self.merged - 1, "at its beginning"));
        }
        let Some(bad) = scan.bad else {
            let known = scan.known.max(self.merged);
            return match scan.last < known {
                true => Err(missing(known - scan.last, "at its end")),
                false => Ok(None),
            };
        };
        let is_end = bad.is_last && bad.number > scan.known && bad.number > self.merged;
        let ends = is_end && (!bad.behind || policy == Policy::Cut);
        if !ends && self.rules.looks_behind {
            let Bad { file, number, .. } = bad;
            return Err(format!("db/log/{file}.log (batch {number} is not whole)"));
        }
        let (_, synced) = self.log.numbers();
        let behind = || {
            self.log
                .entries()
                .filter(|entry| entry.number >= bad.number)
        };
        let lost = behind().find(|entry| entry.number <= synced);
        Ok(Some(Cut {
            bytes: behind().map(|entry| entry.size() as u64).sum(),
            is_due: ends,
            synced_us: lost.map(|entry| entry.at_us),
        }))
    }

    /// Takes damaged records for what can be read of them, where nothing checks their sums.
    fn believe(&mut self) {
        for entry in self.log.entries_mut() {
            if let Some(bytes) = entry.damaged.take_if(|_| !self.rules.checks_records) {
                entry.ops = record::decode_unchecked(&bytes);
            }
        }
    }
}
