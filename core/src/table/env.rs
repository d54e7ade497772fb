//! The node as a table machine sees it during one call: never the node itself, and never another mode.

use crate::cluster::{Clocks, Links, Membership};
use crate::config::Config;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::error::{RequestError, WriteError};
use crate::id::{LinkId, NodeId, Seq, Token};
use crate::io::Response;
use crate::refusals::Refusal;
use crate::requests::Requests;
use crate::table::catalog::Catalog;
use crate::table::changes::ChangeLog;
use crate::table::loads::Loads;
use crate::time::Instant;

/// The node's place in its cluster, as it stands when a call begins. A machine cannot change it: a call that has consequences for it returns a verdict.
#[derive(Clone, Copy)]
pub(crate) struct Seat<'a> {
    /// This node.
    pub(crate) me: NodeId,
    /// When this boot began.
    pub(crate) begun: Instant,
    /// Whether this node has ever caught up with its cluster.
    pub(crate) joined: bool,
    /// Whether this node must rejoin before it counts.
    pub(crate) is_rejoining: bool,
    /// Whether this node is about to go.
    pub(crate) is_leaving: bool,
    /// Whether it goes as a member that comes back.
    pub(crate) is_stopping: bool,
    /// Whether it takes no rows of users' tables any more, because it is about to go.
    pub(crate) takes_no_rows: bool,
    /// The link through which this node is joining a cluster or rejoining it.
    pub(crate) joining: Option<LinkId>,
    /// The configuration in force.
    pub(crate) config: &'a Config,
    /// The members.
    pub(crate) members: &'a Membership,
    /// The members that answer.
    pub(crate) detector: &'a Detector,
    /// The wall clocks of peers.
    pub(crate) clocks: &'a Clocks,
}

impl Seat<'_> {
    /// Returns whether this node is a full member: caught up, and not rejoining.
    pub(crate) fn is_full(&self) -> bool {
        self.joined && !self.is_rejoining
    }

    /// Returns whether this node may take clients' writes at present, or at least their deletes, into whatever table.
    #[inline]
    pub(crate) fn admits(&self, fx: &mut Effects, deletes: bool) -> Result<(), WriteError> {
        if self.is_stopping && fx.rules().stopping_takes_no_writes() {
            return Err(WriteError::Stopping);
        }
        let is_leaving = self.is_leaving && !self.is_stopping;
        if fx.is_halted() || is_leaving {
            return Err(WriteError::Leaving);
        }
        let takes_deletes_alone = fx.is_short() && fx.rules().short_takes_deletes_alone();
        if fx.is_stalled() || takes_deletes_alone && !deletes {
            return Err(WriteError::StoreStalled);
        }
        let limits = &self.config.limits;
        let limit = limits.store_backlog;
        if fx.backlog() >= limit && fx.rules().bounds_backlog() {
            return Err(WriteError::Busy { limit });
        }
        let limit = limits.store_backlog_bytes;
        if fx.backlog_bytes() >= limit {
            return Err(WriteError::Busy { limit });
        }
        if let Err(refusal) = self.clocks.check(fx.now(), limits.clock_drift)
            && fx.rules().refuses_clock_ahead()
        {
            fx.refuse(Refusal::WriteClockAhead);
            return Err(refusal);
        }
        Ok(())
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
    /// Requests that wait for an answer.
    pub(crate) requests: &'a mut Requests,
    /// The tables of all modes.
    pub(crate) catalog: &'a mut Catalog,
    /// The log of changes of all tables.
    pub(crate) changes: &'a mut ChangeLog,
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

    /// Returns the part of the node that a change of rows needs.
    pub(crate) fn rows(&mut self) -> RowEnv<'_> {
        RowEnv {
            fx: self.fx,
            catalog: self.catalog,
            changes: self.changes,
        }
    }

    /// Returns whether this node may take clients' writes at present, or at least their deletes, into whatever table.
    pub(crate) fn admits(&mut self, deletes: bool) -> Result<(), WriteError> {
        self.seat.admits(self.fx, deletes)
    }

    /// Returns whether this node takes no rows of users' tables from others at present, because it is about to go or its store is out of space. One
    /// that has yet to catch up with its cluster takes them all the same: until then others wait for it.
    pub(crate) fn takes_no_rows(&self) -> bool {
        let short = (self.fx.is_stalled() || self.fx.is_short()) && self.seat.is_full();
        self.seat.takes_no_rows || short && self.fx.rules().short_takes_no_rows()
    }

    /// Replies to a request: once a batch is durable, if that is promised.
    pub(crate) fn reply_safely(
        &mut self,
        gate: (Seq, bool),
        token: Token,
        deadline: Option<Instant>,
        shown: Result<Response, RequestError>,
    ) {
        self.requests
            .reply_safely(self.fx, gate, token, deadline, shown);
    }
}

/// The part of the node that a change of rows needs: the door to the world, and the state that all modes share.
pub(crate) struct RowEnv<'a> {
    /// The door to the world.
    pub(crate) fx: &'a mut Effects,
    /// The tables of all modes.
    pub(crate) catalog: &'a mut Catalog,
    /// The log of changes of all tables.
    pub(crate) changes: &'a mut ChangeLog,
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
