//! The node as a table machine sees it during one call: never the node itself, and never another mode.

use crate::cluster::{Links, Membership};
use crate::config::Config;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::id::{LinkId, NodeId};
use crate::table::loads::Loads;
use crate::time::Instant;

/// The node's place in its cluster, as it stands when a call begins. A machine cannot change it: a call that has consequences for it returns a verdict.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// This node.
    pub(crate) me: NodeId,
    /// When this life began.
    pub(crate) begun: Instant,
    /// Whether this node has ever caught up with its cluster.
    pub(crate) joined: bool,
    /// Whether this node must reunite before it counts.
    pub(crate) is_away: bool,
    /// Whether this node is about to go.
    pub(crate) is_leaving: bool,
    /// Whether it takes no rows of users' tables any more, because it is about to go.
    pub(crate) takes_no_rows: bool,
    /// The link through which this node is joining a cluster or reuniting with it.
    pub(crate) joining: Option<LinkId>,
    /// The configuration in force.
    pub(crate) config: &'a Config,
    /// The members.
    pub(crate) members: &'a Membership,
    /// The members that answer.
    pub(crate) detector: &'a Detector,
}

impl Seat<'_> {
    /// Returns whether this node is a full member: caught up, and not away.
    pub(crate) fn is_full(&self) -> bool {
        self.joined && !self.is_away
    }
}

/// The node for a call that acts.
pub(crate) struct Env<'a> {
    /// The door to the world.
    pub(crate) fx: &'a mut Effects,
    /// The links to peers.
    pub(crate) links: &'a mut Links,
    /// Values that are only in the store.
    pub(crate) loads: &'a mut Loads,
    /// The node's place in its cluster.
    pub(crate) seat: Seat<'a>,
}

impl Env<'_> {
    /// Returns the node for a call that only looks.
    pub(crate) fn look(&self) -> Look<'_> {
        Look {
            fx: self.fx,
            links: self.links,
            seat: self.seat,
        }
    }
}

/// The node for a call that only looks.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    /// The door to the world.
    pub(crate) fx: &'a Effects,
    /// The links to peers.
    pub(crate) links: &'a Links,
    /// The node's place in its cluster.
    pub(crate) seat: Seat<'a>,
}

impl Look<'_> {
    /// Returns whether there is a link to a node over which rows may pass, and do: one that is up may carry nothing for many minutes.
    pub(crate) fn is_linked(&self, node: NodeId) -> bool {
        let link = self.links.of(node);
        link.is_some_and(|link| self.links.is_ready(link)) && !self.seat.detector.is_mute(node)
    }
}
