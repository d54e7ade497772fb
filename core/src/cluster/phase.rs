//! The phase of a node, as its operators see it.

use core::fmt;

/// Tells whether a node is a full member of its cluster, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NodePhase {
    /// It is on its way into a cluster.
    Joining,
    /// It is a full member: caught up and counted.
    Member,
    /// It has to compare its rows with a member's before it counts again.
    Rejoining,
    /// It leaves.
    Leaving,
    /// It stops, and comes back as the same member.
    Stopping,
    /// It has left or stopped, or its store failed: it does nothing until it starts again.
    Halted,
}

impl NodePhase {
    /// Returns its name: `joining`, `member`, `rejoining`, `leaving`, `stopping` or `halted`.
    pub const fn name(self) -> &'static str {
        match self {
            NodePhase::Joining => "joining",
            NodePhase::Member => "member",
            NodePhase::Rejoining => "rejoining",
            NodePhase::Leaving => "leaving",
            NodePhase::Stopping => "stopping",
            NodePhase::Halted => "halted",
        }
    }
}

impl fmt::Display for NodePhase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
