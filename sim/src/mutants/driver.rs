//! Planted bugs of a driver and its store: what they rewrite is an input, an output or a record of a node, or what its disk does, and no rule of the
//! core.

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::store::{RecordKind, inspect};
use rumormill_core::wire::{GossipMessage, Message};
use rumormill_core::{
    Config, Instant, Now, Recovery, Seed, Storage, Wall,
    io::{Input, Output, Record, StoreOp},
};

use crate::disk::Rules as DiskRules;
use crate::sabotage::Sabotage;

/// Defines the bugs from one table: of each its name, and the harm it does.
macro_rules! faults {
    ($($fault:ident = $name:literal, $what:literal;)+) => {
        /// A planted bug of a driver.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum DriverBug {
            $(#[doc = $what] $fault,)+
        }

        impl DriverBug {
            /// All of them.
            pub const ALL: &'static [DriverBug] = &[$(DriverBug::$fault),+];

            /// Returns its name.
            pub const fn name(self) -> &'static str {
                match self {
                    $(DriverBug::$fault => $name,)+
                }
            }

            /// Returns a description of its fault.
            pub const fn what(self) -> &'static str {
                match self {
                    $(DriverBug::$fault => $what,)+
                }
            }
        }
    };
}

faults! {
    WatermarkAhead = "watermark-ahead", "A sync counts for batches that came after it began.";
    TombstoneNotStored = "tombstone-not-stored", "Deletes are not stored.";
    CeilingIgnored = "ceiling-ignored", "A restart begins below clocks that were issued.";
    DamageTrusted = "damage-trusted", "A damaged record is dropped before the node starts, and its dot stays covered.";
    LogUnsynced = "log-unsynced", "A disk says that it has synced, and has not.";
    LogRemovedEarly = "log-removed-early", "A file of the log is removed before its merge is durable.";
    LogCutBehind = "log-cut-behind", "A log is cut at the first record that is bad, although whole ones follow it.";
    LogTornBelieved = "log-torn-believed", "A record of the log that is torn is believed.";
    MergeTakesOlder = "merge-takes-older", "A merge takes an older operation over a newer one.";
    ScopeCut = "scope-cut", "The last of the parts in which contexts differ from a digest is not named.";
}

/// A driver with a bug, on every node.
pub(super) struct Driver {
    bug: DriverBug,
    /// The value of a record of a ceiling that is below all clocks of a run.
    ceiling: Option<Bytes>,
}

impl Driver {
    pub(super) fn new(bug: DriverBug) -> Self {
        Driver {
            bug,
            ceiling: (bug == DriverBug::CeilingIgnored)
                .then(lowest_ceiling)
                .flatten(),
        }
    }
}

impl Sabotage for Driver {
    fn rewrites(&mut self, _: usize, message: &Message) -> Option<Message> {
        let Message::Gossip(GossipMessage::DigestDiff { session, scope, at }) = message else {
            return None;
        };
        if self.bug != DriverBug::ScopeCut {
            return None;
        }
        let (_, rest) = scope.split_last()?;
        let cut = GossipMessage::DigestDiff {
            session: *session,
            scope: rest.to_vec(),
            at: *at,
        };
        Some(Message::Gossip(cut))
    }

    fn overstates(&mut self, _: usize) -> bool {
        self.bug == DriverBug::WatermarkAhead
    }

    fn stores(&mut self, _: usize, batch: &mut Vec<StoreOp>) {
        if self.bug == DriverBug::TombstoneNotStored {
            batch.retain(|op| !matches!(op, StoreOp::Put(record) if inspect(record).deleted));
        }
    }

    fn disk(&self) -> DiskRules {
        let is = |bug| self.bug == bug;
        DiskRules {
            syncs: !is(DriverBug::LogUnsynced),
            keeps_unmerged: !is(DriverBug::LogRemovedEarly),
            looks_behind: !is(DriverBug::LogCutBehind),
            checks_records: !is(DriverBug::LogTornBelieved),
            newest_wins: !is(DriverBug::MergeTakesOlder),
        }
    }

    fn before_start(&mut self, _: usize, records: &mut BTreeMap<Bytes, Bytes>) {
        if let Some(lowest) = &self.ceiling {
            let ceilings = records.iter_mut().filter(|(key, _)| is_ceiling(key));
            ceilings.for_each(|(_, value)| *value = lowest.clone());
        }
        if self.bug == DriverBug::DamageTrusted {
            records.retain(|key, value| {
                let (key, value) = (key.clone(), value.clone());
                inspect(&Record { key, value }).whole
            });
        }
    }
}

/// Returns the ceiling of a node whose wall clock is at the beginning of time.
fn lowest_ceiling() -> Option<Bytes> {
    let now = Now::new(Instant::ZERO, Wall::from_millis(0));
    let mut config = Config::new("early", "early");
    config.storage = Storage::Ordered;
    let mut node = Recovery::new(config, Seed::from_u64(0)).finish(now).ok()?;
    node.handle(now, Input::Tick);
    let outputs = std::iter::from_fn(|| node.poll_output());
    let batches = outputs.filter_map(|output| match output {
        Output::Store { batch, .. } => Some(batch),
        _ => None,
    });
    batches.flatten().find_map(|op| match op {
        StoreOp::Put(record) if is_ceiling(&record.key) => Some(record.value),
        _ => None,
    })
}

fn is_ceiling(key: &Bytes) -> bool {
    RecordKind::of(key) == RecordKind::Node { name: b"ceiling" }
}
