//! A plan: everything that will be done to a cluster, explicit and in order of time.
//!
//! A seed is only a way to draw a plan; a fuzzer's bytes are another, and a file is a third: a plan prints as text that reads
//! back as the same plan. What the plan leaves open (each latency, which message a lossy window takes) comes from streams
//! of [`Plan::seed`], so that a plan alone decides a run.

mod caps;
mod draw;
mod renumber;
mod settings;
mod text;

pub use caps::Caps;
pub(crate) use draw::draw_log;
pub use draw::{Profile, Shape, UnknownProfile};
pub use settings::SettingChange;
pub use text::{PlanError, PlanErrorKind};

use crate::faults::{FaultKind, FaultSet};

/// No client and no fault acts before this in a plan that was drawn, so that the cluster can form. In microseconds.
pub const WARM_UP_US: u64 = 3_000_000;
/// The shortest half of a flap, in microseconds.
pub const MIN_FLAP_US: u64 = 1_000;
/// The most bits that one fault flips on a disk, and the most rows that vanish from one.
pub const MAX_STRUCK: u32 = 1_000_000;
/// The most nodes of a plan.
pub const MAX_NODES: usize = 1_000;
/// The latest time of a plan and the longest duration in it, a year in microseconds.
pub const MAX_TIME_US: u64 = 365 * 86_400 * 1_000_000;
/// The most that a wall clock is off, ten years in microseconds.
pub const MAX_STEP_US: u64 = 10 * MAX_TIME_US;

/// A table of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Table {
    /// Synced now and then; acknowledged at once.
    Periodic,
    /// Synced before the acknowledgement.
    Sync,
    /// Never stored.
    Memory,
    /// Keeps siblings, synced now and then. A client reads a key and keeps its context; its puts and deletes hand that back.
    Siblings,
}

impl Table {
    /// All tables of the workload.
    pub const ALL: [Table; 4] = [Table::Periodic, Table::Sync, Table::Memory, Table::Siblings];

    /// The name of the table in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Table::Periodic => "default",
            Table::Sync => "safe",
            Table::Memory => "scratch",
            Table::Siblings => "carts",
        }
    }
}

/// An operation of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Op {
    /// The client that acts. It asks one node until an [`Action::Move`]: at first the node of its own number modulo the number of nodes.
    /// While that node is down, the next one that is up is asked.
    pub client: u32,
    /// The table.
    pub table: Table,
    /// The verb of the operation.
    pub verb: OpVerb,
}

/// A client's verb on a table. Keys are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpVerb {
    /// Writes a value that no other operation writes.
    Put {
        /// The key.
        key: u32,
    },
    /// Writes such a value, to expire after so many milliseconds of the node's own wall clock.
    PutFor {
        /// The key.
        key: u32,
        /// Milliseconds.
        ttl_ms: u64,
    },
    /// Deletes the key.
    Delete {
        /// The key.
        key: u32,
    },
    /// Reads the key.
    Get {
        /// The key.
        key: u32,
    },
    /// Removes every row of the table.
    Flush,
}

/// A fault and how long it lasts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its duration in microseconds.
    pub for_us: u64,
    /// Its kind.
    pub what: FaultWhat,
}

/// The effect of a fault. Rates are parts per million of the messages. Where a node is named that is down, the next one that is up
/// is struck.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultWhat {
    /// Messages are lost.
    Loss {
        /// The rate.
        ppm: u32,
    },
    /// Messages arrive twice.
    Dup {
        /// The rate.
        ppm: u32,
    },
    /// Messages arrive late, and out of order.
    Reorder {
        /// The rate.
        ppm: u32,
        /// By how much at most, in microseconds.
        by_us: u64,
    },
    /// All messages to and from one node take longer.
    Delay {
        /// The node.
        node: usize,
        /// By how much, in microseconds.
        by_us: u64,
    },
    /// The nodes of two groups cannot reach each other.
    Partition {
        /// One side.
        left: Vec<usize>,
        /// The other.
        right: Vec<usize>,
    },
    /// The nodes of one group cannot reach those of another, which can.
    OneWay {
        /// Nodes that are not heard.
        from: Vec<usize>,
        /// Nodes that do not hear them.
        to: Vec<usize>,
    },
    /// Bits of messages flip on their way. Has an effect only in a plan with [`Plan::codec`].
    Corrupt {
        /// The rate.
        ppm: u32,
    },
    /// The write queues of all links of one node are above their mark.
    Congest {
        /// The node.
        node: usize,
    },
    /// The nodes of two groups cannot reach each other; the others reach all.
    Partial {
        /// One group.
        left: Vec<usize>,
        /// The other.
        right: Vec<usize>,
    },
    /// The nodes of two groups cannot reach each other but through the one node that is in neither.
    Bridge {
        /// One side.
        left: Vec<usize>,
        /// The other.
        right: Vec<usize>,
    },
    /// The nodes of two groups cannot reach each other half of the time.
    Flap {
        /// One side.
        left: Vec<usize>,
        /// The other.
        right: Vec<usize>,
        /// How long each half is, in microseconds; at least [`MIN_FLAP_US`].
        every_us: u64,
    },
    /// The node loses its power; it starts again when the fault ends.
    Crash {
        /// The node.
        node: usize,
        /// Whether its peers are told at once, as when only the process dies.
        clean: bool,
    },
    /// The node loses its power and its disk; it starts again, as a new node, when the fault ends. Does nothing while no
    /// other node knows the cluster.
    Wipe {
        /// The node.
        node: usize,
    },
    /// The node's process is stopped; it gets all its input at once when the fault ends.
    Pause {
        /// The node.
        node: usize,
    },
    /// Each input costs the node time.
    Slow {
        /// The node.
        node: usize,
        /// How much, in microseconds.
        by_us: u64,
    },
    /// The node leaves its cluster; it starts again when the fault ends, if it is gone by then, and else once it is gone.
    Leave {
        /// The node.
        node: usize,
    },
    /// The next write or sync of the node's disk fails, so that it halts; it starts again when the fault ends.
    FailDisk {
        /// The node.
        node: usize,
    },
    /// Syncs of the node's disk take longer.
    SlowDisk {
        /// The node.
        node: usize,
        /// By how much, in microseconds.
        by_us: u64,
    },
    /// The node's disk has no space.
    FullDisk {
        /// The node.
        node: usize,
    },
    /// Bits of rows and contexts in the tables of the node's disk, or of batches in its log, flip while it runs; it is stopped and started again when
    /// the fault ends.
    /// Waits for a node with a disk, in a cluster with another member: a node that knows no other refuses to start from a damaged store.
    /// In the tables rows of the store's own stay whole, since they name the other members; where the log has lost them an operator names some.
    Rot {
        /// The node.
        node: usize,
        /// How many bits.
        bits: u32,
    },
    /// The node is stopped, and some of its rows vanish from its disk without a word; it starts when the fault ends. Only rows that
    /// another member shows too.
    Vanish {
        /// The node.
        node: usize,
        /// How many rows.
        rows: u32,
    },
    /// Makes the node, or the next one that is a member, evict a member that it takes for dead. Waits until there is one.
    /// Never two sides at once against each other: what the smaller one has deleted and freed may come back, as is promised.
    Evict {
        /// The node.
        node: usize,
        /// Whether it does without a majority.
        force: bool,
    },
    /// The node's disk is copied. When the fault ends it loses its power, the copy takes the place of the disk, and it starts from that without
    /// being told. Waits for a member with a disk, in a cluster with another member.
    Older {
        /// The node.
        node: usize,
    },
    /// The node stops in good order, after its last sync, and starts again when the fault ends. Waits for a node with a disk that is not leaving:
    /// one without leaves instead.
    Restart {
        /// The node.
        node: usize,
    },
    /// The node's disk is short of space: it stores what it is given, and wants deletes alone.
    ShortDisk {
        /// The node.
        node: usize,
    },
    /// The node's clocks are wrong.
    Skew {
        /// The node; struck even when it is down, for clocks go on.
        node: usize,
        /// How far the wall clock is off, in milliseconds.
        by_ms: i64,
        /// How much both clocks gain, in microseconds per second.
        ppm: i64,
    },
}

impl FaultWhat {
    /// Which kind it is.
    pub const fn kind(&self) -> FaultKind {
        match self {
            FaultWhat::Loss { .. } => FaultKind::Loss,
            FaultWhat::Dup { .. } => FaultKind::Dup,
            FaultWhat::Reorder { .. } => FaultKind::Reorder,
            FaultWhat::Delay { .. } => FaultKind::Delay,
            FaultWhat::Partition { .. } => FaultKind::Partition,
            FaultWhat::OneWay { .. } => FaultKind::OneWay,
            FaultWhat::Crash { .. } => FaultKind::Crash,
            FaultWhat::Skew { .. } => FaultKind::Skew,
            FaultWhat::Corrupt { .. } => FaultKind::Corrupt,
            FaultWhat::Congest { .. } => FaultKind::Congest,
            FaultWhat::Partial { .. } => FaultKind::Partial,
            FaultWhat::Bridge { .. } => FaultKind::Bridge,
            FaultWhat::Flap { .. } => FaultKind::Flap,
            FaultWhat::Wipe { .. } => FaultKind::Wipe,
            FaultWhat::Pause { .. } => FaultKind::Pause,
            FaultWhat::Slow { .. } => FaultKind::Slow,
            FaultWhat::Leave { .. } => FaultKind::Leave,
            FaultWhat::FailDisk { .. } => FaultKind::FailDisk,
            FaultWhat::SlowDisk { .. } => FaultKind::SlowDisk,
            FaultWhat::FullDisk { .. } => FaultKind::FullDisk,
            FaultWhat::Rot { .. } => FaultKind::Rot,
            FaultWhat::Vanish { .. } => FaultKind::Vanish,
            FaultWhat::Evict { .. } => FaultKind::Evict,
            FaultWhat::Older { .. } => FaultKind::Older,
            FaultWhat::Restart { .. } => FaultKind::Restart,
            FaultWhat::ShortDisk { .. } => FaultKind::ShortDisk,
        }
    }
}

/// One entry of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When, in microseconds of virtual time.
    pub at_us: u64,
    /// What.
    pub action: Action,
}

/// The action of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client acts.
    Op(Op),
    /// A client asks another node from now on.
    Move {
        /// The client.
        client: u32,
        /// The node.
        node: usize,
    },
    /// An operator changes a setting of the cluster.
    Set(SettingChange),
    /// A program has a node create a table with its options. In a plan with this nodes do not create it by themselves when they start, and
    /// know it by its name alone.
    Define {
        /// The node.
        node: usize,
        /// The table.
        table: Table,
    },
    /// A fault begins.
    Fault(Fault),
}

/// One machine of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// When it starts, in microseconds.
    pub start_us: u64,
    /// Whether it has a disk; without one its node forgets everything, itself included, whenever it stops.
    pub disk: bool,
}

impl Machine {
    /// One with a disk.
    pub const fn new(start_us: u64) -> Self {
        Machine {
            start_us,
            disk: true,
        }
    }
}

/// Everything that will be done to a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of what the plan leaves open.
    pub seed: u64,
    /// Whether messages really become bytes and frames on their way, and are read back from them.
    pub codec: bool,
    /// Longer values, in bytes, are only on the nodes' disks; `None` keeps all in memory.
    pub resident_value: Option<u32>,
    /// Limits of the nodes that are smaller than usual.
    pub caps: Caps,
    /// The machines; at least one. Machine 0 starts the cluster, the others join through it.
    pub machines: Vec<Machine>,
    /// When clients and faults stop, in microseconds. Every entry comes before.
    pub stop_us: u64,
    /// The entries, in order of time.
    pub entries: Vec<Entry>,
}

impl Plan {
    /// How many entries begin a fault of this kind.
    pub fn count(&self, kind: FaultKind) -> usize {
        self.faults().filter(|found| *found == kind).count()
    }

    /// The kinds of faults that occur.
    pub fn kinds(&self) -> FaultSet {
        self.faults().fold(FaultSet::NONE, FaultSet::with)
    }

    /// Whether clients alone act, after all machines have had time to start.
    pub(crate) fn is_calm(&self) -> bool {
        let mut entries = self.entries.iter();
        let by_clients = entries.all(|entry| {
            let is_theirs = matches!(entry.action, Action::Op(_) | Action::Move { .. });
            is_theirs && entry.at_us >= WARM_UP_US
        });
        let mut machines = self.machines.iter();
        by_clients
            && !self.entries.is_empty()
            && machines.all(|machine| machine.start_us <= WARM_UP_US / 2)
    }

    /// Whether a table is created only when the plan says so.
    pub(crate) fn defines(&self, table: Table) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| matches!(entry.action, Action::Define { table: of, .. } if of == table))
    }

    fn faults(&self) -> impl Iterator<Item = FaultKind> {
        self.entries.iter().filter_map(|entry| match &entry.action {
            Action::Fault(fault) => Some(fault.what.kind()),
            Action::Op(_) | Action::Move { .. } | Action::Set(_) | Action::Define { .. } => None,
        })
    }
}
