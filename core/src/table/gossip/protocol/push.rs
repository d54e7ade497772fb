//! Fresh rows on their way to all members: straight in a small cluster, along trees in a large one, and grafts of what got lost.

use alloc::vec::Vec;

use crate::cluster::Link;
use crate::id::{Actor, LinkId, NodeId, Seq};
use crate::io::{Lane, Links};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::Hlc;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{
    Fit, LazyVerdict, Merged, Subtree, partners, read_contexts, write_contexts,
};
use crate::time::Instant;
use crate::wire::{ClassContext, GossipMessage, Message, Row, RowBatch, RumorState, TableRef};

impl Gossip {
    /// Whether fresh writes are to be collected for others.
    pub(crate) fn set_outbox(&mut self, env: &mut Env<'_>) {
        let open = env.seat.is_full() && env.links.any_ready();
        self.replica.outbox_mut().set_open(open);
    }

    /// Whether there are more members than a write is pushed to by its origin alone.
    fn is_large(&mut self, env: &mut Env<'_>) -> bool {
        env.links.ring().len() >= env.seat.config.limits.direct_push_members
    }

    /// When the fresh writes go out; with a full batch, rows of the store's own, or a leave or stop under way that is at the end of the turn.
    pub(crate) fn push_deadline(&self, env: &Look<'_>) -> Option<Instant> {
        let since = self.replica.outbox().since()?;
        let wait = env.seat.config.timing.flush_deadline;
        let goes = match env.seat.is_stopping {
            true => env.fx.rules().stops_after_pushes(),
            false => env.seat.is_leaving,
        };
        let waits = !goes && !self.replica.must_push();
        Some(if waits { since + wait } else { since })
    }

    /// Sends the fresh writes that are due to every member.
    pub(crate) fn push(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        if self.push_deadline(&env.look()).is_none_or(|at| at > now) {
            return;
        }
        let large = self.is_large(env);
        for (is_sys, batch) in self.replica.take_pushes(env.catalog) {
            if large {
                self.announce(env, &batch);
                self.pass_on(env, &Subtree::whole(env.seat.me), batch);
            } else {
                let links = env.links.ready();
                self.send_rows(
                    env,
                    is_sys,
                    links,
                    Message::Gossip(GossipMessage::Push(batch)),
                );
            }
        }
    }

    /// Rows wait until every receiver is recorded.
    fn send_rows(&mut self, env: &mut Env<'_>, is_sys: bool, links: Vec<LinkId>, msg: Message) {
        if links.is_empty() {
            return;
        }
        let known = links.iter().filter_map(|link| env.links.get(*link));
        let gate = known.map(|known| known.recorded).max().unwrap_or(Seq(0));
        let lane = if is_sys { Lane::Sys } else { Lane::Bulk };
        env.fx
            .send_after(gate, Links::Many(links.into()), lane, msg);
    }

    /// Passes rows on to some members, each of which answers for a subtree of the others.
    fn pass_on(&mut self, env: &mut Env<'_>, subtree: &Subtree, batch: RowBatch) {
        let ring = env.links.ring();
        let fanout = env.seat.config.limits.fanout;
        let look = env.look();
        let split = subtree.split(&ring, fanout, |node, link| fit(&look, node, link));
        if split.skipped > 0 {
            env.fx.mark(Mark::BranchCongested);
        }
        let is_sys = batch.tables.iter().all(TableRef::is_sys);
        let msg = Message::Gossip(GossipMessage::Forward {
            cuts: split.cuts,
            rows: batch,
        });
        self.send_rows(env, is_sys, split.links, msg);
    }

    /// Some others will be told that these rows are here.
    fn announce(&mut self, env: &mut Env<'_>, batch: &RowBatch) {
        let now = env.fx.now().mono;
        let patience = env.seat.config.timing.mismatch_patience;
        for row in &batch.rows {
            let table = batch.tables.get(row.table as usize);
            let class = table.and_then(TableRef::class);
            let actor = batch.actors.get(row.actor as usize);
            if let (Some(class), Some(actor)) = (class, actor) {
                self.lazy
                    .arrived(now, patience, (class, *actor), row.counter);
            }
        }
    }

    /// Rows that a member has just accepted or received. A node that is still joining drops them: a session brings them.
    pub(crate) fn on_push(&mut self, env: &mut Env<'_>, batch: RowBatch) -> Result<(), Refusal> {
        self.received(env, batch, None)
    }

    /// Takes rows that this node has to pass on to the members that the message makes it answer for.
    pub(crate) fn on_forward(
        &mut self,
        env: &mut Env<'_>,
        cuts: &[NodeId],
        batch: RowBatch,
    ) -> Result<(), Refusal> {
        let subtree = Subtree::received(cuts, env.seat.me)?;
        let batch = self.without_ended(env, batch);
        self.received(env, batch, subtree)
    }

    /// Takes out users' rows of generations that have ended: the sender may not know of the end yet, and the deletes of these rows may have been
    /// freed here without their author. Rows that still count come with a session.
    fn without_ended(&mut self, env: &mut Env<'_>, mut batch: RowBatch) -> RowBatch {
        let ended = |actor: &Actor| {
            let member = env.seat.members.get(actor.node);
            let present = member.is_some_and(|member| member.record.actor == *actor);
            !present || env.seat.members.has_departed(actor.node)
        };
        let of_ended: Vec<bool> = batch.actors.iter().map(ended).collect();
        // A row that names nothing is refused with its batch.
        let passes = |row: &Row| {
            let table = batch.tables.get(row.table as usize);
            let is_sys = table.is_none_or(TableRef::is_sys);
            let of_ended = of_ended.get(row.actor as usize).is_some_and(|ended| *ended);
            let brings = || self.replica.brings_siblings_of(&batch.tables, row, ended);
            is_sys || !(of_ended || brings())
        };
        let pass: Vec<bool> = batch.rows.iter().map(passes).collect();
        if pass.contains(&false) && env.fx.rules().refuses_rows_of_ended() {
            env.fx.mark(Mark::RowOfEndedGeneration);
            let mut pass = pass.into_iter();
            batch.rows.retain(|_| pass.next() != Some(false));
        }
        batch
    }

    fn received(
        &mut self,
        env: &mut Env<'_>,
        batch: RowBatch,
        subtree: Option<Subtree>,
    ) -> Result<(), Refusal> {
        if !env.seat.is_full() {
            env.fx.mark(Mark::PushBeforeJoined);
            return Ok(());
        }
        if env.takes_no_rows() && !batch.tables.iter().all(TableRef::is_sys) {
            // The members it answers for get the rows all the same.
            if let Some(subtree) = subtree {
                self.pass_on(env, &subtree, batch);
            }
            return Ok(());
        }
        if subtree.is_none() && !self.is_large(env) {
            self.merge(env, batch)?;
            return Ok(());
        }
        let mut fresh = batch.clone();
        let mut merged = self.merge(env, batch)?.into_iter();
        let RowBatch {
            actors,
            tables,
            rows,
        } = &mut fresh;
        // A row that a session has brought here may still be missing elsewhere; a row that is obsolete and not here helps no member. A row
        // of a `memory` table that a delete or a drop marker has taken may be new to a member that has freed it and restarted since: a
        // session brings it the coverage.
        rows.retain(|row| match merged.next() {
            Some(Merged::Obsolete) => self.replica.has_row(actors, tables, row),
            Some(Merged::Lost) => {
                !(env.fx.rules().withholds_dead_rows()
                    && self.replica.is_deleted_in_memory(env.catalog, tables, row))
            }
            _ => true,
        });
        if fresh.rows.is_empty() {
            return Ok(());
        }
        self.announce(env, &fresh);
        if let Some(subtree) = subtree
            && env.fx.rules().forwards_rows()
        {
            env.fx.mark(Mark::RowsForwarded);
            self.pass_on(env, &subtree, fresh);
        }
        Ok(())
    }

    /// A peer tells which dots it has.
    pub(crate) fn on_ihave(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        have: &[ClassContext],
    ) -> Result<(), Refusal> {
        let have = read_contexts(have)?;
        if !env.seat.is_full() || env.takes_no_rows() {
            return Ok(());
        }
        if !env.fx.rules().ihaves_cover_nothing() {
            self.replica.adopt(env.fx, &have, Hlc(0));
        }
        let now = env.fx.now().mono;
        let patience = env.seat.config.timing.mismatch_patience;
        self.lazy
            .on_ihave(now, patience, link, &have, self.replica.coverage());
        Ok(())
    }

    /// A peer asks for rows that this node has announced.
    pub(crate) fn on_graft(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        dots: &[ClassContext],
    ) -> Result<(), Refusal> {
        let dots = read_contexts(dots)?;
        if !env.seat.is_full() || !env.links.get(link).is_some_and(Link::has_room) {
            return Ok(());
        }
        for (is_sys, batch) in self.replica.rows_of(env.catalog, &dots) {
            env.fx.mark(Mark::GraftServed);
            self.send_rows(
                env,
                is_sys,
                [link].into(),
                Message::Gossip(GossipMessage::Push(batch)),
            );
        }
        Ok(())
    }

    /// Sends the IHAVEs and grafts that are due.
    pub(crate) fn lazy_due(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        let patience = env.seat.config.timing.mismatch_patience;
        let links = &env.links;
        let usable = |link: LinkId| links.get(link).is_some_and(Link::has_room);
        let due = self
            .lazy
            .due(now, patience, self.replica.coverage(), usable);
        for verdict in due {
            if !env.seat.is_full() {
                continue;
            }
            let (links, msg) = match verdict {
                LazyVerdict::IHave(have) => {
                    let ring = env.links.ring();
                    let look = env.look();
                    let links = partners(&ring, look.seat.me, |node, link| fit(&look, node, link));
                    (
                        links,
                        Message::Gossip(GossipMessage::IHave(write_contexts(&have))),
                    )
                }
                LazyVerdict::Graft(..) if !env.fx.rules().grafts_missing() => continue,
                LazyVerdict::Graft(link, dots) => {
                    env.fx.mark(Mark::GraftSent);
                    (
                        [link].into(),
                        Message::Gossip(GossipMessage::Graft(write_contexts(&dots))),
                    )
                }
            };
            self.send_rows(env, true, links, msg);
        }
    }
}

/// Returns how fit a member is to pass rows on.
fn fit(look: &Look<'_>, node: NodeId, link: LinkId) -> Fit {
    if look.links.get(link).is_none_or(|known| known.congested) {
        return Fit::Never;
    }
    match look.seat.detector.state(node) {
        Some(RumorState::Alive) => Fit::Good,
        _ => Fit::Doubtful,
    }
}
