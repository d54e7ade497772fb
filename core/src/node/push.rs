//! Fresh rows on their way to all members: straight in a small cluster, along trees in a large one, and grafts of what got lost.

use alloc::vec::Vec;

use super::Node;
use crate::id::{Actor, LinkId, NodeId, Seq};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::membership::Link;
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::table::Hlc;
use crate::table::gossip::{
    Duty, Fit, LazyVerdict, Merged, partners, read_contexts, write_contexts,
};
use crate::time::Instant;
use crate::wire::{DomainContext, Message, Row, RowBatch, RumorState, TableRef};

impl Node {
    /// Whether fresh writes are to be collected for others.
    pub(super) fn set_outbox(&mut self) {
        let open = self.is_full() && self.links.any_ready();
        self.gossip.outbox_mut().set_open(open);
    }

    /// Whether there are more members than a write is pushed to by its origin alone.
    fn is_large(&mut self) -> bool {
        self.links.ring().len() >= self.config.limits.direct_push_members
    }

    /// When the fresh writes go out; with a full batch, rows of the store's own or a leave under way that is at the end of the turn.
    pub(super) fn push_deadline(&self) -> Option<Instant> {
        let since = self.gossip.outbox().since()?;
        let wait = self.config.timing.flush_deadline;
        let waits = self.leaving.is_none() && !self.gossip.must_push();
        Some(if waits { since + wait } else { since })
    }

    /// Sends the fresh writes that are due to every member.
    pub(super) fn push(&mut self) {
        let now = self.fx.now().mono;
        if self.push_deadline().is_none_or(|at| at > now) {
            return;
        }
        let large = self.is_large();
        for (is_sys, batch) in self.gossip.take_pushes() {
            if large {
                self.announce(&batch);
                self.share(&Duty::whole(self.id()), batch);
            } else {
                let links = self.links.ready();
                self.send_rows(is_sys, links, Message::Push(batch));
            }
        }
    }

    /// Rows wait until every receiver is recorded.
    fn send_rows(&mut self, is_sys: bool, links: Vec<LinkId>, msg: Message) {
        if links.is_empty() {
            return;
        }
        let known = links.iter().filter_map(|link| self.links.get(*link));
        let gate = known.map(|known| known.recorded).max().unwrap_or(Seq(0));
        let lane = if is_sys { Lane::Sys } else { Lane::Bulk };
        self.fx
            .send_after(gate, Links::Many(links.into()), lane, msg);
    }

    /// Passes rows on to some members, each of which answers for a part of the others.
    fn share(&mut self, duty: &Duty, batch: RowBatch) {
        let ring = self.links.ring();
        let fanout = self.config.limits.fanout;
        let share = duty.share(&ring, fanout, |node, link| self.fit(node, link));
        if share.skipped > 0 {
            self.fx.mark(Mark::BranchCongested);
        }
        let is_sys = batch.tables.iter().all(TableRef::is_sys);
        let msg = Message::Forward {
            cuts: share.cuts,
            rows: batch,
        };
        self.send_rows(is_sys, share.links, msg);
    }

    fn fit(&self, node: NodeId, link: LinkId) -> Fit {
        if self.links.get(link).is_none_or(|known| known.congested) {
            return Fit::Never;
        }
        match self.detector.state(node) {
            Some(RumorState::Alive) => Fit::Good,
            _ => Fit::Doubtful,
        }
    }

    /// Some others will be told that these rows are here.
    fn announce(&mut self, batch: &RowBatch) {
        let now = self.fx.now().mono;
        let patience = self.config.timing.mismatch_patience;
        for row in &batch.rows {
            let table = batch.tables.get(row.table as usize);
            let class = table.and_then(TableRef::domain);
            let actor = batch.actors.get(row.actor as usize);
            if let (Some(class), Some(actor)) = (class, actor) {
                self.lazy
                    .arrived(now, patience, (class, *actor), row.counter);
            }
        }
    }

    /// Rows that a member has just accepted or received. A node that is still joining drops them: a session brings them.
    pub(super) fn pushed(&mut self, batch: RowBatch) -> Result<(), Refusal> {
        self.received(batch, None)
    }

    /// Takes rows that this node has to pass on to the members that the message makes it answer for.
    pub(super) fn forwarded(&mut self, cuts: &[NodeId], batch: RowBatch) -> Result<(), Refusal> {
        let duty = Duty::received(cuts, self.id())?;
        let batch = self.without_ended(batch);
        self.received(batch, duty)
    }

    /// Takes out users' rows of lives that have ended: the sender may not know of the end yet, and the deletes of these rows may have been
    /// freed here without their author. Rows that still count come with a session.
    fn without_ended(&mut self, mut batch: RowBatch) -> RowBatch {
        let ended = |actor: &Actor| {
            let member = self.membership.get(actor.node);
            let present = member.is_some_and(|member| member.record.actor == *actor);
            !present || self.membership.has_departed(actor.node)
        };
        let of_ended: Vec<bool> = batch.actors.iter().map(ended).collect();
        // A row that names nothing is refused with its batch.
        let passes = |row: &Row| {
            let table = batch.tables.get(row.table as usize);
            let is_sys = table.is_none_or(TableRef::is_sys);
            let of_ended = of_ended.get(row.actor as usize).is_some_and(|ended| *ended);
            let brings = || self.gossip.brings_siblings_of(&batch.tables, row, ended);
            is_sys || !(of_ended || brings())
        };
        let pass: Vec<bool> = batch.rows.iter().map(passes).collect();
        if pass.contains(&false) && !mutated!(self.fx, EndedForwarded) {
            self.fx.mark(Mark::RowOfEndedLife);
            let mut pass = pass.into_iter();
            batch.rows.retain(|_| pass.next() != Some(false));
        }
        batch
    }

    fn received(&mut self, batch: RowBatch, duty: Option<Duty>) -> Result<(), Refusal> {
        if !self.is_full() {
            self.fx.mark(Mark::PushBeforeJoined);
            return Ok(());
        }
        if self.takes_no_rows() && !batch.tables.iter().all(TableRef::is_sys) {
            // The members it answers for get the rows all the same.
            if let Some(duty) = duty {
                self.share(&duty, batch);
            }
            return Ok(());
        }
        if duty.is_none() && !self.is_large() {
            self.merge(batch)?;
            return Ok(());
        }
        let mut fresh = batch.clone();
        let mut merged = self.merge(batch)?.into_iter();
        let RowBatch {
            actors,
            tables,
            rows,
        } = &mut fresh;
        // A row that a session has brought here may still be missing elsewhere; a row that is obsolete and not here helps no member. A row
        // of a `memory` table that a delete or a drop marker has taken may be new to a member that has freed it and restarted since: a
        // session brings it the coverage.
        rows.retain(|row| match merged.next() {
            Some(Merged::Obsolete) => self.gossip.has_row(actors, tables, row),
            Some(Merged::Lost) => {
                !self.gossip.is_deleted_in_memory(tables, row) || mutated!(self.fx, DeadForwarded)
            }
            _ => true,
        });
        if fresh.rows.is_empty() {
            return Ok(());
        }
        self.announce(&fresh);
        if let Some(duty) = duty
            && !mutated!(self.fx, ForwardUnsent)
        {
            self.fx.mark(Mark::RowsForwarded);
            self.share(&duty, fresh);
        }
        Ok(())
    }

    /// A peer tells which dots it has.
    pub(super) fn noticed(&mut self, link: LinkId, have: &[DomainContext]) -> Result<(), Refusal> {
        let have = read_contexts(have)?;
        if !self.is_full() || self.takes_no_rows() {
            return Ok(());
        }
        if mutated!(self.fx, NoticeCovers) {
            self.gossip.adopt(&mut self.fx, &have, Hlc(0));
        }
        let now = self.fx.now().mono;
        let patience = self.config.timing.mismatch_patience;
        self.lazy
            .noticed(now, patience, link, &have, self.gossip.cover());
        Ok(())
    }

    /// A peer asks for rows that this node has announced.
    pub(super) fn grafted(&mut self, link: LinkId, dots: &[DomainContext]) -> Result<(), Refusal> {
        let dots = read_contexts(dots)?;
        if !self.is_full() || !self.links.get(link).is_some_and(Link::has_room) {
            return Ok(());
        }
        for (is_sys, batch) in self.gossip.rows_of(&dots) {
            self.fx.mark(Mark::GraftServed);
            self.send_rows(is_sys, [link].into(), Message::Push(batch));
        }
        Ok(())
    }

    /// Sends the notices and grafts that are due.
    pub(super) fn lazy_due(&mut self) {
        let now = self.fx.now().mono;
        let patience = self.config.timing.mismatch_patience;
        let links = &self.links;
        let usable = |link: LinkId| links.get(link).is_some_and(Link::has_room);
        let due = self.lazy.due(now, patience, self.gossip.cover(), usable);
        for verdict in due {
            if !self.is_full() {
                continue;
            }
            let (links, msg) = match verdict {
                LazyVerdict::Notify(have) => {
                    let ring = self.links.ring();
                    let links = partners(&ring, self.id(), |node, link| self.fit(node, link));
                    (links, Message::Have(write_contexts(&have)))
                }
                LazyVerdict::Graft(..) if mutated!(self.fx, GraftUnsent) => continue,
                LazyVerdict::Graft(link, dots) => {
                    self.fx.mark(Mark::GraftSent);
                    ([link].into(), Message::Graft(write_contexts(&dots)))
                }
            };
            self.send_rows(true, links, msg);
        }
    }
}
