//! A disk as the embedded store uses it: a commit log over tables, with a durable half and a volatile one.
//!
//! A batch is a record of the log. A sync makes all records durable that were written when it began. A file of the log that is long enough is
//! sealed then, and its operations are merged into the tables, which takes time; the file is removed a little after the tables are durable. A
//! point read looks into the log first, the newest operation before the others. The rules are those of `drivers/store`.

mod log;
mod merge;
mod open;
mod record;
mod rot;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use foldhash::fast::FixedState;
use hashbrown::HashMap;
use rumormill_core::{Seq, io::StoreOp};

use self::log::{Log, Mark};
use self::merge::Merging;
pub(crate) use self::merge::Stage;
pub(crate) use self::open::{Cut, Policy};
use crate::rng::Rng;

/// The records of the tables, looked up and written all the time and read in order only at a start: they are sorted then.
type Tables = HashMap<Bytes, Bytes, FixedState>;

/// The rules of a store. A planted bug takes one of them away.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// A sync is done before it is told.
    pub syncs: bool,
    /// A file of the log is removed once its merge is durable.
    pub keeps_unmerged: bool,
    /// Whole records behind a bad one are looked for.
    pub looks_behind: bool,
    /// A record is believed only if its sums are right.
    pub checks_records: bool,
    /// A merge takes the newer one of two operations on a key.
    pub newest_wins: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            syncs: true,
            keeps_unmerged: true,
            looks_behind: true,
            checks_records: true,
            newest_wins: true,
        }
    }
}

/// The storage of one node. Batches are applied in order; unsynced ones may be lost from the end by a crash.
#[derive(Clone)]
pub(crate) struct Disk {
    log: Log,
    tables: Tables,
    merging: Option<Merging>,
    /// A merge has met a record that is damaged: the store takes nothing more.
    failed: bool,
    /// The last batch of this boot.
    last: Seq,
    /// Covered by the sync that runs.
    syncing: Option<Mark>,
    /// The largest batch for which a sync was asked.
    wanted: Seq,
    synced: Seq,
    rules: Rules,
    /// The tables have all records up to this one.
    merged: u64,
    /// Merges that are done.
    merges: u64,
    rng: Rng,
}

/// The loss of a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The last batch that survived.
    pub(crate) upto: Seq,
    /// Batches that did not.
    pub(crate) lost: usize,
    /// Whether a part of the next one is left.
    pub(crate) torn: bool,
    /// How far the merge had come that was under way, if one was.
    pub(crate) merge: Option<Stage>,
}

impl Disk {
    /// An empty disk. All that it leaves to chance comes from this stream: the size of its files, the time of a merge, what a crash tears.
    pub(crate) fn new(mut rng: Rng) -> Disk {
        Disk {
            log: Log::new(&mut rng),
            tables: Tables::default(),
            merging: None,
            failed: false,
            last: Seq(0),
            syncing: None,
            wanted: Seq(0),
            synced: Seq(0),
            rules: Rules::default(),
            merged: 0,
            merges: 0,
            rng,
        }
    }

    /// Sets the rules, before the first batch.
    pub(crate) fn set_rules(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Empties the disk: another takes its place.
    pub(crate) fn wipe(&mut self) {
        self.log = Log::new(&mut self.rng);
        self.tables = Tables::default();
        self.merging = None;
        self.failed = false;
        self.merged = 0;
        self.begin_boot();
    }

    /// Takes the batch `seq`. Returns whether a sync begins now, which the caller ends with [`Disk::sync_done`].
    pub(crate) fn store(&mut self, now_us: u64, seq: Seq, batch: Vec<StoreOp>, sync: bool) -> bool {
        self.settle(now_us);
        self.log.append(now_us, seq, batch);
        self.last = seq;
        if sync {
            self.wanted = seq;
        }
        self.begin()
    }

    /// The running sync is over: the watermark, and whether the next sync begins at once.
    pub(crate) fn sync_done(&mut self, now_us: u64) -> (Option<Seq>, bool) {
        let Some(upto) = self.syncing.take() else {
            return (None, false);
        };
        self.settle(now_us);
        self.synced = upto.seq;
        self.log.sync(upto.number, self.rules.syncs);
        if self.log.seal() && self.merging.is_none() {
            self.begin_merge(now_us);
        }
        (Some(upto.seq), self.begin())
    }

    /// Everything that is there is to be synced. Returns whether a sync begins now.
    pub(crate) fn want_all(&mut self) -> bool {
        self.wanted = self.last;
        self.begin()
    }

    /// Every batch up to here survives a crash.
    pub(crate) fn synced(&self) -> Seq {
        self.synced
    }

    /// The last batch that it took.
    pub(crate) fn last(&self) -> Seq {
        self.last
    }

    /// Whether a restart finds nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.tables.is_empty() && !self.log.has_durable()
    }

    /// Batches that a crash may lose.
    pub(crate) fn unsynced(&self) -> usize {
        self.log.unsynced()
    }

    /// Whether the store has failed for good: it has found damage while it ran.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed
    }

    /// How many files of the log were merged.
    pub(crate) fn merges(&self) -> u64 {
        self.merges
    }

    /// The process dies, and with it the machine's power unless `clean`. Of the unsynced batches the first `keep` survive. A part of the next one
    /// may be left behind them.
    pub(crate) fn crash(&mut self, now_us: u64, keep: usize, clean: bool) -> Crash {
        self.settle(now_us);
        let merge = self.break_merge();
        let (_, synced) = self.log.numbers();
        let upto = self.log.crash(keep, clean);
        let lost = self.log.after(upto.number);
        let tears = lost > 0 && self.rng.below(2) == 0;
        let torn = tears && self.log.tear(upto.number, clean, &mut self.rng);
        self.log.truncate(upto.number, torn);
        if !clean {
            self.log.lose_note(&mut self.rng);
        }
        // A record that was merged has no place in the log any more.
        let seq = match upto.number >= synced {
            true => upto.seq.max(self.synced),
            false => upto.seq,
        };
        self.begin_boot();
        Crash {
            upto: seq,
            lost,
            torn,
            merge,
        }
    }

    /// A copy of all that is written, synced or not, as a snapshot of the machine has it.
    pub(crate) fn copy(&self, now_us: u64) -> Disk {
        let mut copy = self.clone();
        copy.crash(now_us, usize::MAX, true);
        copy
    }

    /// The value of a key as the last batch left it, synced or not.
    ///
    /// # Errors
    /// The store's words, where the record that has the value is damaged.
    pub(crate) fn read(&self, key: &[u8]) -> Result<Option<Bytes>, String> {
        match self.log.newest(key) {
            Some(found) => found,
            None => Ok(self.tables.get(key).cloned()),
        }
    }

    /// Returns the records that a restart finds, in key order. O(records log records).
    pub(crate) fn records(&self) -> BTreeMap<Bytes, Bytes> {
        self.view().into_iter().collect()
    }

    /// Takes away all that it has of some keys, without a trace. O(records).
    pub(crate) fn lose(&mut self, keys: &BTreeSet<Bytes>) {
        self.log.lose(keys);
        self.tables.retain(|key, _| !keys.contains(key));
    }

    /// Returns the tables as they would be if all that is durable in the log were merged.
    fn view(&self) -> Tables {
        let mut view = self.tables.clone();
        for op in self.log.durable_ops() {
            merge::apply(&mut view, op);
        }
        view
    }

    fn begin(&mut self) -> bool {
        let begins = self.syncing.is_none() && self.wanted > self.synced;
        if begins {
            // A sync covers all that was written when it began, not only what asked for it.
            self.syncing = Some(self.log.end());
        }
        begins
    }

    /// Forgets what only a process knows.
    fn begin_boot(&mut self) {
        (self.last, self.wanted, self.synced) = (Seq(0), Seq(0), Seq(0));
        self.syncing = None;
        self.log.begin_boot();
    }
}
