//! The kinds of faults, and sets of them as the command line names them.

use std::fmt;
use std::str::FromStr;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultKind {
    /// Messages are lost.
    Loss,
    /// Messages arrive twice.
    Dup,
    /// Messages overtake each other.
    Reorder,
    /// One node's messages take long.
    Delay,
    /// Bits of messages flip on their way, where messages become bytes.
    Corrupt,
    /// The write queues of one node's links are full.
    Congest,
    /// Two sides cannot reach each other.
    Partition,
    /// One side cannot reach the other, which can.
    OneWay,
    /// Some nodes cannot reach some others; the rest reach all.
    Partial,
    /// Two sides reach each other through one node only.
    Bridge,
    /// Two sides lose each other and find each other, again and again.
    Flap,
    /// A node loses its power and comes back.
    Crash,
    /// A node loses its power and its disk, and comes back as a new one.
    Wipe,
    /// A node's process is stopped, and later gets all its input at once.
    Pause,
    /// Each input costs a node time.
    Slow,
    /// A node leaves its cluster, and comes back.
    Leave,
    /// A node's clocks are wrong: they jump, go too fast or too slow, and jump back.
    Skew,
    /// A write or sync of a node's disk fails.
    FailDisk,
    /// Syncs of a node's disk take long.
    SlowDisk,
    /// A node's disk has no space.
    FullDisk,
    /// Bits of what a node has stored flip.
    Rot,
    /// Rows vanish from a node's disk without a word.
    Vanish,
    /// A member that is down is evicted.
    Evict,
    /// An older copy takes the place of a node's disk, and the node is not told.
    Older,
    /// A node stops in good order and comes back.
    Restart,
    /// A node's disk is short of space: what is left is for deletes.
    ShortDisk,
}

impl FaultKind {
    /// All kinds.
    pub const ALL: [FaultKind; 26] = [
        FaultKind::Loss,
        FaultKind::Dup,
        FaultKind::Reorder,
        FaultKind::Delay,
        FaultKind::Corrupt,
        FaultKind::Congest,
        FaultKind::Partition,
        FaultKind::OneWay,
        FaultKind::Partial,
        FaultKind::Bridge,
        FaultKind::Flap,
        FaultKind::Crash,
        FaultKind::Wipe,
        FaultKind::Pause,
        FaultKind::Slow,
        FaultKind::Leave,
        FaultKind::Skew,
        FaultKind::FailDisk,
        FaultKind::SlowDisk,
        FaultKind::FullDisk,
        FaultKind::Rot,
        FaultKind::Vanish,
        FaultKind::Evict,
        FaultKind::Older,
        FaultKind::Restart,
        FaultKind::ShortDisk,
    ];

    /// Its name on the command line, in plans and in reports.
    pub const fn name(self) -> &'static str {
        match self {
            FaultKind::Loss => "loss",
            FaultKind::Dup => "dup",
            FaultKind::Reorder => "reorder",
            FaultKind::Delay => "delay",
            FaultKind::Corrupt => "corrupt",
            FaultKind::Congest => "congest",
            FaultKind::Partition => "partition",
            FaultKind::OneWay => "oneway",
            FaultKind::Partial => "partial",
            FaultKind::Bridge => "bridge",
            FaultKind::Flap => "flap",
            FaultKind::Crash => "crash",
            FaultKind::Wipe => "wipe",
            FaultKind::Pause => "pause",
            FaultKind::Slow => "slow",
            FaultKind::Leave => "leave",
            FaultKind::Skew => "skew",
            FaultKind::FailDisk => "faildisk",
            FaultKind::SlowDisk => "slowdisk",
            FaultKind::FullDisk => "fulldisk",
            FaultKind::Rot => "rot",
            FaultKind::Vanish => "vanish",
            FaultKind::Evict => "evict",
            FaultKind::Older => "older",
            FaultKind::Restart => "restart",
            FaultKind::ShortDisk => "shortdisk",
        }
    }

    /// The fewest nodes among which it can strike.
    pub(crate) const fn least_nodes(self) -> usize {
        match self {
            FaultKind::Crash
            | FaultKind::Pause
            | FaultKind::Slow
            | FaultKind::Skew
            | FaultKind::FailDisk
            | FaultKind::SlowDisk
            | FaultKind::FullDisk
            | FaultKind::Restart
            | FaultKind::ShortDisk => 1,
            FaultKind::Loss
            | FaultKind::Dup
            | FaultKind::Reorder
            | FaultKind::Delay
            | FaultKind::Corrupt
            | FaultKind::Congest
            | FaultKind::Partition
            | FaultKind::OneWay
            | FaultKind::Flap
            | FaultKind::Wipe
            | FaultKind::Leave
            | FaultKind::Rot
            | FaultKind::Older
            | FaultKind::Vanish
            | FaultKind::Evict => 2,
            FaultKind::Partial | FaultKind::Bridge => 3,
        }
    }

    /// How the trace says that it begins.
    pub(crate) const fn begins(self) -> &'static str {
        match self {
            FaultKind::Loss => "loss_begins",
            FaultKind::Dup => "dup_begins",
            FaultKind::Reorder => "reorder_begins",
            FaultKind::Delay => "delay_begins",
            FaultKind::Corrupt => "corrupt_begins",
            FaultKind::Congest => "congest_begins",
            FaultKind::Partition => "partition_begins",
            FaultKind::OneWay => "oneway_begins",
            FaultKind::Partial => "partial_begins",
            FaultKind::Bridge => "bridge_begins",
            FaultKind::Flap => "flap_begins",
            FaultKind::Crash => "crash_begins",
            FaultKind::Wipe => "wipe_begins",
            FaultKind::Pause => "pause_begins",
            FaultKind::Slow => "slow_begins",
            FaultKind::Leave => "leave_begins",
            FaultKind::Skew => "skew_begins",
            FaultKind::FailDisk => "faildisk_begins",
            FaultKind::SlowDisk => "slowdisk_begins",
            FaultKind::FullDisk => "fulldisk_begins",
            FaultKind::Rot => "rot_begins",
            FaultKind::Vanish => "vanish_begins",
            FaultKind::Evict => "evict_begins",
            FaultKind::Older => "older_begins",
            FaultKind::Restart => "restart_begins",
            FaultKind::ShortDisk => "shortdisk_begins",
        }
    }
}

/// A set of fault kinds. Its text form is `none`, `all`, or names with commas between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u32);

impl FaultSet {
    /// No fault at all.
    pub const NONE: FaultSet = FaultSet(0);
    /// Every kind.
    pub const ALL: FaultSet = FaultSet((1 << FaultKind::ALL.len()) - 1);

    /// The kinds that plans of swarms are drawn from. The others are drawn apart, from a stream of their own, so that no seed of before has become
    /// another plan.
    pub(crate) const DRAWN: FaultSet = FaultSet(Self::ALL.0 & !Self::APART.0);

    /// The kinds that are drawn apart.
    const APART: FaultSet = FaultSet::NONE
        .with(FaultKind::Older)
        .with(FaultKind::Restart)
        .with(FaultKind::ShortDisk);

    /// The set with `kind` in it.
    #[must_use]
    pub const fn with(self, kind: FaultKind) -> Self {
        FaultSet(self.0 | (1 << kind as u8))
    }

    /// Whether `kind` is in the set.
    pub const fn contains(self, kind: FaultKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// The kinds in the set.
    pub fn iter(self) -> impl Iterator<Item = FaultKind> {
        FaultKind::ALL
            .into_iter()
            .filter(move |kind| self.contains(*kind))
    }
}

impl fmt::Display for FaultSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            FaultSet::NONE => f.write_str("none"),
            FaultSet::ALL => f.write_str("all"),
            _ => {
                for (i, kind) in self.iter().enumerate() {
                    let comma = if i == 0 { "" } else { "," };
                    write!(f, "{comma}{}", kind.name())?;
                }
                Ok(())
            }
        }
    }
}

/// A word that names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown fault {0:?}: expected none, all, or some of {names}", names = FaultKind::ALL.map(FaultKind::name).join(","))]
pub struct UnknownFault(
    /// The word.
    pub String,
);

impl FromStr for FaultSet {
    type Err = UnknownFault;

    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        match text {
            "none" => return Ok(FaultSet::NONE),
            "all" => return Ok(FaultSet::ALL),
            _ => {}
        }
        text.split(',')
            .map(str::trim)
            .try_fold(FaultSet::NONE, |set, word| {
                let kind = FaultKind::ALL.into_iter().find(|kind| kind.name() == word);
                kind.map(|kind| set.with(kind))
                    .ok_or_else(|| UnknownFault(word.to_string()))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_read_back_as_written() {
        for text in ["none", "all", "loss", "dup,crash,skew"] {
            assert_eq!(text.parse::<FaultSet>().unwrap().to_string(), text);
        }
        assert_eq!(
            "loss,lightning".parse::<FaultSet>(),
            Err(UnknownFault("lightning".to_string()))
        );
        let known = FaultSet::ALL
            .iter()
            .map(FaultKind::name)
            .collect::<Vec<_>>();
        assert_eq!(
            UnknownFault("lightning".to_string()).to_string(),
            format!(
                "unknown fault \"lightning\": expected none, all, or some of {}",
                known.join(",")
            )
        );
    }
}
