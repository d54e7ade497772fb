//! One machine of the world: a node while it has power, and what outlives the node.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use rumormill_core::{
    Config, Conflict, Cursor, Durability, Node, NodeId, Now, RecoverError, Recovery, Seed, Seq,
    Storage, TableId, TableOptions, Timing, Token,
};

use crate::checkers::no_resurrection::Watch;
use crate::clock::Clock;
use crate::disk::Disk;
use crate::loads::Values;
use crate::plan::Table;
use crate::rng::{Rng, Stream};
use crate::sabotage::Sabotage;

/// A machine.
pub(crate) struct Host {
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    pub(crate) clock: Clock,
    /// Counts the starts.
    pub(crate) life: u32,
    /// Only the process died: the machine still answers that nobody listens.
    pub(crate) answers: bool,
    /// When the earliest wake-up in the queue is due.
    pub(crate) wake_us: Option<u64>,
    /// Turns in a row that ended with a deadline in the past and without any other event.
    pub(crate) spins: u32,
    /// The users' tables on this node, in the order of [`Table::ALL`].
    pub(crate) tables: [TableId; 3],
    pub(crate) cursors: [Cursor; 3],
    /// Tables with changes that the watch has not read.
    pub(crate) changed: Vec<usize>,
    /// Operations that the disk does not have yet, by batch.
    pub(crate) unsynced: VecDeque<(Seq, usize)>,
    /// Operations whose acknowledgement waits for the disk.
    pub(crate) unacked: VecDeque<(Seq, usize)>,
    pub(crate) watch: Watch,
    /// The node is no member of its cluster yet.
    pub(crate) alone: bool,
    pub(crate) disk_rng: Rng,
    pub(crate) load_rng: Rng,
    /// Reads that were not answered yet.
    pub(crate) asked: BTreeMap<Token, (Table, Bytes)>,
    /// Values that reads have shown, in any life: a version has one value.
    pub(crate) values: Values,
    seeds: Rng,
    marks: BTreeMap<&'static str, u64>,
}

impl Host {
    pub(crate) fn new(seed: u64, index: usize) -> Self {
        Host {
            node: None,
            disk: Disk::default(),
            clock: Clock::default(),
            life: 0,
            answers: true,
            wake_us: None,
            spins: 0,
            tables: [TableId::DEFAULT; 3],
            cursors: [Cursor(0); 3],
            changed: Vec::new(),
            unsynced: VecDeque::new(),
            unacked: VecDeque::new(),
            watch: Watch::default(),
            alone: true,
            disk_rng: Rng::new(seed, Stream::Disk, index as u32),
            load_rng: Rng::new(seed, Stream::Loads, index as u32),
            asked: BTreeMap::new(),
            values: Values::new(),
            seeds: Rng::new(seed, Stream::Seeds, index as u32),
            marks: BTreeMap::new(),
        }
    }

    pub(crate) fn now(&self, at_us: u64) -> Now {
        self.clock.now(at_us)
    }

    /// Starts the node from what its disk holds.
    pub(crate) fn start(
        &mut self,
        at_us: u64,
        index: usize,
        timing: &Timing,
        resident_value: Option<u32>,
        sabotage: &mut dyn Sabotage,
    ) -> Result<NodeId, RecoverError> {
        let name = format!("n{index}");
        let mut config = Config::new(&name, &name);
        config.storage = Storage::Ordered;
        config.timing = timing.clone();
        config.resident_value = resident_value;
        if index > 0 {
            config.seeds.push("n0".to_string());
        }
        sabotage.before_start(index, self.disk.durable_mut());
        let now = self.now(at_us);
        let mut recovery = Recovery::new(config, Seed(self.seeds.seed()));
        for record in self.disk.records() {
            recovery.record(record)?;
        }
        let mut node = recovery.finish(now)?;
        self.life += 1;
        self.answers = true;
        self.spins = 0;
        self.watch = Watch::default();
        self.alone = node.status(now).standing != "member";
        for (slot, table) in Table::ALL.into_iter().enumerate() {
            self.tables[slot] = open_table(&mut node, now, table);
            self.cursors[slot] = node.view(now).cursor();
        }
        let id = node.id();
        self.node = Some(node);
        Ok(id)
    }

    /// Takes the node away, and with it all that was only in memory. Its counters are kept.
    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            for (name, count) in node.marks() {
                *self.marks.entry(name).or_insert(0) += count;
            }
        }
        self.wake_us = None;
        self.changed.clear();
        self.asked.clear();
        self.unacked.clear();
    }

    /// The counters of all lives.
    pub(crate) fn marks(&self) -> BTreeMap<&'static str, u64> {
        let mut out = self.marks.clone();
        if let Some(node) = &self.node {
            for (name, count) in node.marks() {
                *out.entry(name).or_insert(0) += count;
            }
        }
        out
    }
}

fn open_table(node: &mut Node, now: Now, table: Table) -> TableId {
    let durability = match table {
        Table::Periodic => return TableId::DEFAULT,
        Table::Sync => Durability::Sync,
        Table::Memory => Durability::Memory,
    };
    let options = TableOptions {
        durability,
        conflict: Conflict::LastWriterWins,
    };
    match node.create_table(now, table.name(), options) {
        Ok((id, _)) => id,
        // Every node opens the same tables with the same options.
        Err(error) => panic!("table {} cannot be opened: {error}", table.name()),
    }
}
