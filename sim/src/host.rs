//! One machine of the world: a node while it has power, and what outlives the node.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rumormill_core::{
    Config, Node, NodeId, Now, Seed, Seq, Storage, TableId, Timing,
    errors::{RecoverError, TableError},
    members::NodePhase,
    table::{Conflict, Cursor, Durability, TableOptions},
};

use crate::clock::Clock;
use crate::disk::{Cut, Disk};
use crate::event::Event;
use crate::hurt::{Hurt, Hurts};
use crate::observers::Sight;
use crate::opening::{Opened, Start};
use crate::plan::{Caps, Machine, Table};
use crate::rng::{Rng, Stream};
use crate::sabotage::Sabotage;

/// A machine.
pub(crate) struct Host {
    pub(crate) node: Option<Node>,
    pub(crate) disk: Disk,
    pub(crate) drive: Drive,
    pub(crate) ties: Ties,
    pub(crate) process: Process,
    /// The node has the table `default` only.
    pub(crate) is_plain: bool,
    /// Whether clients write to the table that keeps siblings: else it is not created.
    pub(crate) has_siblings: bool,
    /// The tables that are created only when the plan says so, in the order of [`Table::ALL`].
    pub(crate) late: [bool; Table::ALL.len()],
    /// Whether there is a disk at all.
    pub(crate) has_disk: bool,
    pub(crate) clock: Clock,
    /// Its present faults.
    pub(crate) hurts: Hurts,
    /// The id that the node has, or had.
    pub(crate) id: Option<NodeId>,
    /// The id of each of its boots.
    pub(crate) names: Vec<NodeId>,
    /// Counts the starts.
    pub(crate) boot: u32,
    /// Turns it has ended, in all boots.
    pub(crate) turns: u64,
    /// The users' tables on this node, in the order of [`Table::ALL`].
    pub(crate) tables: [TableId; Table::ALL.len()],
    seeds: Rng,
    marks: BTreeMap<&'static str, u64>,
}

/// The disk of a machine as the process sees it: its faults, and the chance in its times.
pub(crate) struct Drive {
    /// The store has no space, and the node will be told or has been.
    pub(crate) stalled: bool,
    /// The node has been told that there is no space, and of no batch that was synced since.
    pub(crate) told_stalled: bool,
    /// The store is short of space, and the node will be told or has been.
    pub(crate) short: bool,
    /// The node has been told that.
    pub(crate) told_short: bool,
    /// A sync was due while there was no space.
    pub(crate) sync_held: bool,
    /// The store has failed: it takes nothing more.
    pub(crate) store_failed: bool,
    pub(crate) disk_rng: Rng,
    pub(crate) load_rng: Rng,
}

/// The ties of a machine's node to its cluster.
pub(crate) struct Ties {
    /// The node has been asked to leave.
    pub(crate) leaving: bool,
    /// The node has been asked to stop in good order.
    pub(crate) stopping: bool,
    /// It stopped while it was leaving, without an answer: what it holds it proposes anew if it is no member when it starts.
    pub(crate) takes_along: bool,
    /// Whether the leaver said that everything was handed over.
    pub(crate) handed_over: Option<bool>,
    /// In which boot bits of its disk flipped, until the node has rejoined through a member.
    pub(crate) rotten: Option<u32>,
    /// The node is no member of its cluster yet.
    pub(crate) alone: bool,
    /// It was a member once, and its disk tells of it.
    pub(crate) remembers: bool,
}

/// The process of a machine: its pending input and wake-up.
pub(crate) struct Process {
    /// Events that wait until the process goes on or has handled the earlier ones.
    pub(crate) held: VecDeque<Event>,
    /// Until when the process works on what it got.
    pub(crate) busy_us: u64,
    /// When the earliest wake-up in the queue is due.
    pub(crate) wake_us: Option<u64>,
    /// Only the process died: the machine still answers that no process listens.
    pub(crate) answers: bool,
}

/// A node that has started.
pub(crate) struct Started {
    pub(crate) id: NodeId,
    /// Where a watching client of each table begins.
    pub(crate) cursors: Vec<Cursor>,
    /// The end of its log that was cut off.
    pub(crate) cut: Option<Cut>,
    /// Whether its disk was damaged.
    pub(crate) is_damaged: bool,
}

impl Host {
    pub(crate) fn new(seed: u64, index: usize, machine: &Machine) -> Self {
        Host {
            node: None,
            disk: Disk::new(Rng::new(seed, Stream::Log, index as u32)),
            drive: Drive {
                stalled: false,
                told_stalled: false,
                short: false,
                told_short: false,
                sync_held: false,
                store_failed: false,
                disk_rng: Rng::new(seed, Stream::Disk, index as u32),
                load_rng: Rng::new(seed, Stream::Loads, index as u32),
            },
            ties: Ties {
                leaving: false,
                stopping: false,
                takes_along: false,
                handed_over: None,
                rotten: None,
                alone: true,
                remembers: false,
            },
            process: Process {
                held: VecDeque::new(),
                busy_us: 0,
                wake_us: None,
                answers: true,
            },
            is_plain: false,
            has_siblings: false,
            late: [false; Table::ALL.len()],
            has_disk: machine.disk,
            clock: Clock::default(),
            hurts: Hurts::default(),
            id: None,
            names: Vec::new(),
            boot: 0,
            turns: 0,
            tables: [TableId::DEFAULT; Table::ALL.len()],
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
        (index, seeds): (usize, Vec<String>),
        timing: &Timing,
        (resident_value, caps): (Option<u32>, &Caps),
        sabotage: &mut dyn Sabotage,
    ) -> Result<Started, RecoverError> {
        let name = format!("n{index}");
        let mut config = Config::new(&name, &name);
        config.storage = match self.has_disk {
            true => Storage::Ordered,
            false => Storage::None,
        };
        config.timing = timing.clone();
        config.resident_value = resident_value;
        caps.apply(&mut config.limits);
        config.seeds = seeds;
        if self.forgot() {
            // Others may go on, out of reach for longer than any fault of a swarm lasts.
            config.timing.found_patience = Duration::from_secs(30);
        }
        sabotage.configures(index, &mut config);
        let now = self.now(at_us);
        let mut start = Start {
            at_us,
            now,
            index,
            config,
            seed: Seed(self.seeds.seed()),
            sabotage,
        };
        let opened = start.open(&mut self.disk)?;
        let Opened {
            mut node,
            cut,
            is_damaged,
        } = opened;
        self.boot += 1;
        self.process.answers = true;
        let tables = self.opened().len();
        let mut cursors = Vec::new();
        for (slot, table) in Table::ALL.into_iter().enumerate().take(tables) {
            self.tables[slot] = match table {
                Table::Siblings if !self.has_siblings => named(&mut node, table),
                _ if self.late[slot] => named(&mut node, table),
                // Every node opens the same tables with the same options.
                _ => match open_table(&mut node, now, table) {
                    Ok(id) => id,
                    // Its definition has rotted, and its rows have not: it comes with the rejoin.
                    Err(_) if node.damage().is_some() => named(&mut node, table),
                    Err(error) => panic!("table {} cannot be opened: {error}", table.name()),
                },
            };
            cursors.push(node.view(now).cursor());
        }
        let id = node.id();
        self.id = Some(id);
        self.names.push(id);
        self.node = Some(node);
        self.ties.alone = self.phase() != Some(NodePhase::Member);
        Ok(Started {
            id,
            cursors,
            cut,
            is_damaged,
        })
    }

    /// Shows the machine, which has this number, to its observers.
    pub(crate) fn sight(&self, (at_us, node): (u64, usize)) -> Sight<'_> {
        Sight {
            at_us,
            node,
            running: self.node.as_ref(),
            now: self.now(at_us),
            turn: self.turns,
            stored: self.disk.last(),
            synced: match self.has_disk {
                true => self.disk.synced(),
                false => Seq(u64::MAX),
            },
            is_well: !self.ties.leaving && !self.ties.stopping && !self.hurts.is_hurt(),
        }
    }

    /// Returns the users' tables that it has opened.
    pub(crate) fn opened(&self) -> &[TableId] {
        &self.tables[..if self.is_plain { 1 } else { Table::ALL.len() }]
    }

    /// Returns the node's phase, if it runs.
    pub(crate) fn phase(&self) -> Option<NodePhase> {
        Some(self.node.as_ref()?.phase())
    }

    /// The node is a member of its cluster: it proposes nothing of what it had taken along.
    pub(crate) fn belongs(&mut self) {
        self.ties.alone = false;
        self.ties.remembers = true;
        self.ties.rotten = None;
        self.ties.takes_along = false;
    }

    /// Whether the machine had a node, and has lost all that it knew.
    fn forgot(&self) -> bool {
        self.boot > 0 && self.disk.is_empty()
    }

    /// Takes the node away, and with it all that was only in memory. Its counters are kept.
    pub(crate) fn stop(&mut self) {
        if let Some(node) = self.node.take() {
            // A fault in it would go with it.
            node.inspect().check();
            for (mark, count) in node.inspect().marks() {
                *self.marks.entry(mark.name()).or_insert(0) += count;
            }
        }
        self.process.wake_us = None;
        self.process.busy_us = 0;
        self.ties.leaving = false;
        self.ties.stopping = false;
        self.drive.stalled = false;
        self.drive.told_stalled = false;
        self.drive.short = false;
        self.drive.told_short = false;
        self.drive.sync_held = false;
        self.drive.store_failed = false;
        self.hurts.process_ends();
    }

    /// Whether input has to wait: the process is stopped or has not done with what it got.
    pub(crate) fn is_busy(&self, now_us: u64) -> bool {
        self.process.busy_us > now_us || self.hurts.has(Hurt::Paused)
    }

    /// The counters of all boots.
    pub(crate) fn marks(&self) -> BTreeMap<&'static str, u64> {
        let mut out = self.marks.clone();
        if let Some(node) = &self.node {
            for (mark, count) in node.inspect().marks() {
                *out.entry(mark.name()).or_insert(0) += count;
            }
        }
        out
    }
}

/// The table as it is without options.
fn named(node: &mut Node, table: Table) -> TableId {
    match node.table(table.name()) {
        Ok(id) => id,
        Err(error) => panic!("table {} cannot be named: {error}", table.name()),
    }
}

/// Creates a table with its options.
pub(crate) fn open_table(node: &mut Node, now: Now, table: Table) -> Result<TableId, TableError> {
    let durability = match table {
        Table::Periodic => return Ok(TableId::DEFAULT),
        Table::Sync => Durability::Sync,
        Table::Memory => Durability::Memory,
        Table::Siblings => Durability::Periodic,
    };
    let conflict = match table {
        Table::Siblings => Conflict::Siblings,
        _ => Conflict::LastWriterWins,
    };
    let options = TableOptions::default()
        .durability(durability)
        .conflict(conflict);
    let created = node.create_table(now, table.name(), options);
    created.map(|(id, _)| id)
}
