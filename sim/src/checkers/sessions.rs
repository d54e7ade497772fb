//! The four session guarantees (Terry et al., "Session Guarantees for Weakly Consistent Replicated Data", 1994), judged per
//! key over tables in which the larger version wins.
//!
//! A session is a client that waits for each answer before it asks again. On a last-writer-wins table, where versions of a key
//! are in one order, the guarantees say of each session and key:
//! - *read your writes*: a read shows what the session wrote, or something newer;
//! - *monotonic reads*: a read shows what the session read before, or something newer;
//! - *monotonic writes*: a write gets a larger version than the session's writes before it;
//! - *writes follow reads*: a write gets a larger version than what the session read before it.
//!
//! A read that shows nothing is as new as the newest delete that could explain it, or row that its node may hide. Nothing is judged across keys:
//! the tables promise nothing there.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use bytes::Bytes;
use rumormill_core::table::Version;

use super::{MAX_VIOLATIONS, Shown, Violation};

/// The names of the four checkers in reports.
pub const NAMES: [&str; 4] = [
    READ_YOUR_WRITES,
    MONOTONIC_READS,
    MONOTONIC_WRITES,
    WRITES_FOLLOW_READS,
];

/// A read shows the session's own writes.
pub const READ_YOUR_WRITES: &str = "read_your_writes";
/// A read never shows less than one before it.
pub const MONOTONIC_READS: &str = "monotonic_reads";
/// Writes are ordered as the session made them.
pub const MONOTONIC_WRITES: &str = "monotonic_writes";
/// A write is ordered after what the session had read.
pub const WRITES_FOLLOW_READS: &str = "writes_follow_reads";

/// An answered operation of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionOp {
    /// The session. Its operations stand in the order in which it made them.
    pub session: u32,
    /// When it was answered, in virtual microseconds.
    pub at_us: u64,
    /// The node that answered.
    pub node: usize,
    /// Which of that node's states, one growing out of the other: a restart begins another, and so does whatever replaces all rows.
    pub boot: u32,
    /// The table's name.
    pub table: &'static str,
    /// The key.
    pub key: Bytes,
    /// The deed.
    pub deed: Deed,
}

/// The deed of an operation, and the version that it saw or was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// Read a row.
    Saw(Version),
    /// Read a row that expires some time. It may have been hidden before, since a wall clock may go back.
    SawFor(Version),
    /// Read, and there was no row, or one that the node may hide, because its own clock has reached the expiry: the newest that it may.
    SawNothing(Option<Version>),
    /// Wrote a row.
    Put(Version),
    /// Deleted the row.
    Delete(Version),
    /// Removed the row with all others of its table up to a clock, which need not be beyond what the session has read.
    Flush(Version),
}

impl Deed {
    /// The version of a write that may make a key show nothing, everywhere.
    fn may_hide(&self) -> Option<Version> {
        match self {
            Deed::Delete(version) | Deed::Flush(version) => Some(*version),
            Deed::Saw(_) | Deed::SawFor(_) | Deed::SawNothing(_) | Deed::Put(_) => None,
        }
    }
}

/// How far the guarantees of a session reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// One boot of one node: a crash may take unsynced rows with it, and another node may not have them yet. What a gossip table promises.
    #[default]
    Boot,
    /// One node, through its restarts: what it answered was durable there. They end when the session moves.
    Node,
    /// The whole cluster: they follow the session wherever it goes.
    Cluster,
}

/// Judges the operations of all sessions.
///
/// All writes to the keys have to be among `ops`, also those that no other checker may judge: a read of nothing is explained by them.
/// A write whose answer never came belongs there too, in a session of its own, with the version it got.
pub fn check(ops: &[SessionOp], scope: Scope) -> Vec<Violation> {
    let mut hiding: BTreeMap<(&str, &Bytes), Version> = BTreeMap::new();
    for op in ops {
        if let Some(version) = op.deed.may_hide() {
            let newest = hiding.entry((op.table, &op.key)).or_insert(version);
            *newest = version.max(*newest);
        }
    }
    let mut sessions: BTreeMap<u32, Session<'_>> = BTreeMap::new();
    let mut out = Vec::new();
    for op in ops {
        let session = sessions.entry(op.session).or_default();
        session.go_to(op, scope);
        let newest_hiding = hiding.get(&(op.table, &op.key)).copied();
        let known = session.keys.entry((op.table, &op.key)).or_default();
        for broken in known.observe(op.deed, newest_hiding) {
            let told = out
                .iter()
                .filter(|found: &&Violation| found.checker == broken.checker);
            if told.count() < MAX_VIOLATIONS {
                out.push(broken.report(op));
            }
        }
    }
    out
}

/// The knowledge of one session.
#[derive(Default)]
struct Session<'a> {
    at: Option<(usize, u32)>,
    keys: BTreeMap<(&'static str, &'a Bytes), Known>,
}

impl Session<'_> {
    /// Forgets what the session knows if its guarantees do not reach to where this operation was answered.
    fn go_to(&mut self, op: &SessionOp, scope: Scope) {
        let keeps = self.at.is_none_or(|(node, boot)| match scope {
            Scope::Boot => (node, boot) == (op.node, op.boot),
            Scope::Node => node == op.node,
            Scope::Cluster => true,
        });
        if !keeps {
            self.keys.clear();
        }
        self.at = Some((op.node, op.boot));
    }
}

/// The knowledge of one session about one key.
#[derive(Default)]
struct Known {
    /// The newest version that it wrote.
    written: Option<Version>,
    /// The newest version that it read.
    read: Option<Version>,
    /// The newest version that it knew when a read showed nothing: that is hidden for good.
    hidden: Option<Version>,
}

/// A broken guarantee.
struct Broken {
    checker: &'static str,
    /// The version that the session knew.
    before: Version,
    /// The version that it was shown or given, `None` for nothing.
    now: Option<Version>,
}

impl Known {
    fn observe(&mut self, deed: Deed, newest_hiding: Option<Version>) -> Vec<Broken> {
        match deed {
            Deed::Saw(version) => self.saw(version, false),
            Deed::SawFor(version) => self.saw(version, true),
            Deed::SawNothing(hidden) => self.saw_nothing(newest_hiding.max(hidden)),
            Deed::Put(version) | Deed::Delete(version) => self.wrote(version),
            Deed::Flush(version) => {
                self.written = self.written.max(Some(version));
                Vec::new()
            }
        }
    }

    fn saw(&mut self, version: Version, expires: bool) -> Vec<Broken> {
        let broken = |checker, before| Broken {
            checker,
            before,
            now: Some(version),
        };
        let mut out = Vec::new();
        if let Some(before) = self.written.filter(|before| version < *before) {
            out.push(broken(READ_YOUR_WRITES, before));
        }
        let newest = self.read.filter(|before| version < *before);
        let hidden = self.hidden.filter(|hidden| version <= *hidden && !expires);
        if let Some(before) = newest.max(hidden) {
            out.push(broken(MONOTONIC_READS, before));
        }
        self.read = self.read.max(Some(version));
        self.hidden = None;
        out
    }

    fn saw_nothing(&mut self, newest_hiding: Option<Version>) -> Vec<Broken> {
        let broken = |checker, before| Broken {
            checker,
            before,
            now: None,
        };
        // The version that it knew may itself be a delete or be hidden, or something newer hides it.
        let explained = |before: &Version| newest_hiding >= Some(*before);
        let mut out = Vec::new();
        if let Some(before) = self.written.filter(|before| !explained(before)) {
            out.push(broken(READ_YOUR_WRITES, before));
        }
        if let Some(before) = self.read.filter(|before| !explained(before)) {
            out.push(broken(MONOTONIC_READS, before));
        }
        self.hidden = self.hidden.max(self.read).max(self.written);
        out
    }

    fn wrote(&mut self, version: Version) -> Vec<Broken> {
        let broken = |checker, before| Broken {
            checker,
            before,
            now: Some(version),
        };
        let mut out = Vec::new();
        if let Some(before) = self.written.filter(|before| version <= *before) {
            out.push(broken(MONOTONIC_WRITES, before));
        }
        if let Some(before) = self.read.filter(|before| version <= *before) {
            out.push(broken(WRITES_FOLLOW_READS, before));
        }
        self.written = self.written.max(Some(version));
        out
    }
}

impl Broken {
    fn report(self, op: &SessionOp) -> Violation {
        let did = match op.deed {
            Deed::Saw(_) | Deed::SawFor(_) | Deed::SawNothing(_) => "reads",
            Deed::Put(_) => "puts",
            Deed::Delete(_) => "deletes",
            Deed::Flush(_) => "flushes",
        };
        let now = self
            .now
            .map_or("nothing".to_string(), |version| Shown(version).to_string());
        let knew = match self.checker {
            READ_YOUR_WRITES | MONOTONIC_WRITES => "wrote",
            _ => "had seen",
        };
        Violation {
            checker: self.checker,
            at_us: op.at_us,
            text: format!(
                "session {} {did} {}/{} on n{}: {now}, though it {knew} {}",
                op.session,
                op.table,
                op.key.escape_ascii(),
                op.node,
                Shown(self.before)
            ),
        }
    }
}
