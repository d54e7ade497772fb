//! Rows between members: sessions and claims.

use alloc::vec::Vec;

use super::rejoin::Rejoined;
use crate::cluster::LinkPhase;
use crate::effects::Effects;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, Lane, Links};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::Hlc;
use crate::table::RowClass;
use crate::table::env::{Env, Look};
use crate::table::gossip::Gossip;
use crate::table::gossip::replica::{
    Client, Extent, Form, Merged, PageVerdict, Scope, is_hint, read_contexts, read_digest,
    write_contexts, write_digest,
};
use crate::wire::{
    ClaimNumber, ClassScope, DetectorMessage, GossipMessage, Message, Page, Phase, Pull, PullBasis,
    RowBatch, Status, TableRef,
};

/// Peers that are asked for their state again when a session is complete.
const ASKED_AGAIN: usize = 8;

/// A session of this node's that is complete.
pub(crate) struct Completed {
    pub(crate) link: LinkId,
    pub(crate) with: NodeId,
    rows: u64,
    /// Whether this node was no full member when the last page came.
    enters: bool,
}

/// The meaning of a page for the node.
pub(crate) enum Paged {
    /// Nothing: its rows are merged, if it had any.
    Merged,
    /// The session is complete. Its rows of the store's own tables take effect, and then [`Gossip::end_session`] goes on.
    Complete(Completed),
    /// The session is complete, and this node wrote below what the cluster has freed: the next one is a rejoin.
    TooLow,
    /// The member lacks some of what this node held when it began to rejoin.
    Behind,
    /// A rejoin is complete.
    Rejoined(Rejoined),
}

impl Gossip {
    /// Returns this node's state in short.
    pub(crate) fn own_status(&mut self, env: &Look<'_>) -> Status {
        let coverage = self.replica.coverage_mut();
        let has_tombstones = coverage.tombstone_count() > 0;
        let sys = coverage.hash(RowClass::Sys);
        let with_memory = env.fx.rules().hashes_memory_rows();
        let hashed = |class: &RowClass| class.is_durable() || with_memory;
        let usr = RowClass::USR.into_iter().filter(hashed);
        let usr = usr.fold(0u64, |sum, class| sum.wrapping_add(coverage.hash(class)));
        let rows = match env.fx.rules().compares_rows() {
            true => self.replica.live_sum(),
            false => 0,
        };
        Status {
            sys,
            usr,
            rows,
            claims: self.claims_now(env),
            batch: env.fx.claim_number(),
            awaits_claims: has_tombstones || self.relays.is_asked(),
            clock: self.replica.clock().0,
            wall_ms: env.fx.now().wall.as_millis(),
            settled_ms: self.settled.told(env.fx),
        }
    }

    fn claims_now(&self, env: &Look<'_>) -> bool {
        let rules = env.fx.rules();
        let unsynced = rules.claims_synced_alone() && !self.replica.coverage().all_durable();
        let is_outside = rules.members_alone_claim() && !env.seat.is_full();
        // A node that is about to go takes nothing over: two that leave at once would hand over to each other.
        let stays = !env.seat.is_leaving;
        // Until a drop marker has been looked for among all rows, their sum is that of no set of rows.
        let counted = self.replica.is_counted();
        stays && counted && !is_outside && !unsynced && env.fx.numbers_claims()
    }

    /// Whether the peer has seen exactly what this node has.
    pub(crate) fn agrees(&mut self, env: &Look<'_>, theirs: &Status) -> bool {
        let ours = self.own_status(env);
        let differs = (ours.sys, ours.usr) != (theirs.sys, theirs.usr);
        !(env.fx.rules().notices_mismatch() && differs)
    }

    /// A peer told its state with a probe or an ack.
    pub(crate) fn on_status(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        node: NodeId,
        theirs: &Status,
    ) {
        let now = env.fx.now();
        self.settled.hear(now.mono, node, theirs.settled_ms);
        self.replica.follow_clock(env.fx, Hlc(theirs.clock));
        if let Some(known) = env.links.get_mut(link) {
            known.awaits_claims = theirs.awaits_claims;
        }
        if !env.links.is_ready(link) {
            return;
        }
        let agrees = self.agrees(&env.look(), theirs);
        let now = env.fx.now().mono;
        self.anti_entropy.compare(now, link, agrees);
        if agrees && theirs.claims {
            self.rows_compare(env, link, node, theirs.rows);
            let generation = env.links.get(link).map(|known| known.generation);
            if let Some(generation) = generation.filter(|_| self.has_use_for_claim(node)) {
                let (clock, batch) = (Hlc(theirs.clock), theirs.batch);
                let number = ClaimNumber { generation, batch };
                self.stability
                    .equal(env.fx, &self.replica, (node, number), clock);
            }
        }
    }

    /// Tells a peer this node's state outside the detector's rounds.
    pub(crate) fn send_status(&mut self, env: &mut Env<'_>, link: LinkId) {
        let status = self.own_status(&env.look());
        env.fx.send(
            link,
            Lane::Control,
            Message::Detector(DetectorMessage::Probe {
                nonce: 0,
                status,
                rumors: Vec::new(),
            }),
        );
    }

    /// Merges rows; what became of each.
    pub(crate) fn merge(
        &mut self,
        env: &mut Env<'_>,
        batch: RowBatch,
    ) -> Result<Vec<Merged>, Refusal> {
        let arrivals = self.replica.intern_batch(env.catalog, batch)?.into_iter();
        let merged = arrivals.map(|arrival| self.replica.merge(&mut env.rows(), arrival));
        Ok(merged.collect())
    }

    /// Rows of the greeting: only the store's own tables, whose rows are never deleted and merge in any state.
    pub(crate) fn merge_sys(&mut self, env: &mut Env<'_>, batch: RowBatch) -> Result<(), Refusal> {
        if !batch.tables.iter().all(TableRef::is_sys) {
            return Err(Refusal::UsersRows);
        }
        self.merge(env, batch).map(drop)
    }

    /// A peer asks for everything it lacks.
    pub(crate) fn on_pull(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        node: NodeId,
        pull: Pull,
    ) -> Result<(), Refusal> {
        let durable = pull.durable.as_deref().map(read_contexts).transpose()?;
        let session = pull.session;
        let Some(known) = env.links.get_mut(link) else {
            return Ok(());
        };
        if session <= known.last_pull && env.fx.rules().serves_pulls_once() {
            env.fx.mark(Mark::PullRepeated);
            return Ok(());
        }
        known.last_pull = session;
        if !self.serve(env, link, session, pull.basis)? {
            env.fx.mark(Mark::SessionRefused);
            env.fx.send(
                link,
                Lane::Sys,
                Message::Gossip(GossipMessage::Refused { session }),
            );
            return Ok(());
        }
        if env.links.is_ready(link)
            && let Some(claimed) = durable
        {
            let generation = env.links.get(link).map(|known| known.generation);
            if let Some(generation) = generation.filter(|_| self.has_use_for_claim(node)) {
                let (clock, batch) = (Hlc(pull.status.clock), pull.status.batch);
                let number = ClaimNumber { generation, batch };
                self.stability
                    .claimed(env.fx, &self.replica, (node, number), claimed, clock);
            }
        }
        Ok(())
    }

    /// Serves a session; whether it can.
    fn serve(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        session: u64,
        basis: PullBasis,
    ) -> Result<bool, Refusal> {
        if !env.seat.is_full() {
            return Ok(false);
        }
        let (extent, have) = match basis {
            PullBasis::Whole(contexts) => (Extent::All, read_contexts(&contexts)?),
            PullBasis::Compare(contexts) => {
                let hint = read_contexts(&contexts)?;
                if !is_hint(&hint) {
                    return Err(Refusal::BadKept);
                }
                (Extent::Compared(hint), Vec::new())
            }
            PullBasis::Within {
                scope,
                since,
                contexts,
            } => {
                let since = match env.fx.rules().scopes_follow_changes() {
                    true => since,
                    false => Some(u64::MAX),
                };
                let scope = Scope::from_wire(&scope)?;
                (Extent::Part { scope, since }, read_contexts(&contexts)?)
            }
            PullBasis::Digest(digest) => {
                let scope = self.replica.differing(&read_digest(&digest)?);
                if !scope.is_empty() {
                    return Ok(self.name_scope(env, link, session, scope));
                }
                (Extent::Nothing, Vec::new())
            }
        };
        let Some(known) = env.links.get(link) else {
            return Ok(true);
        };
        let client = Client {
            link,
            gate: known.recorded,
            enters: !known.is_to_member(),
        };
        Ok(self
            .replica
            .serve(&mut env.rows(), client, session, extent, &have))
    }

    /// Tells a client in which parts the contexts differ; whether it could be served now.
    fn name_scope(&mut self, env: &mut Env<'_>, link: LinkId, session: u64, scope: Scope) -> bool {
        let may = self.replica.may_serve(link);
        if may {
            env.fx.mark(Mark::DigestDiffers);
            let scope = scope.to_wire();
            let at = env.changes.next();
            let msg = Message::Gossip(GossipMessage::DigestDiff { session, scope, at });
            env.fx.send(link, Lane::Sys, msg);
        }
        may
    }

    /// The server named the parts in which its contexts differ from this node's: now they are exchanged.
    pub(crate) fn on_digest_diff(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        session: u64,
        (scope, at): (&[ClassScope], u64),
    ) -> Result<(), Refusal> {
        let scope = Scope::from_wire(scope)?;
        if let Some(session) = self.anti_entropy.scoped(env.fx.now().mono, link, session) {
            let basis = PullBasis::Within {
                scope: scope.to_wire(),
                since: Some(at),
                contexts: write_contexts(&self.replica.contexts_in(&scope)),
            };
            self.send_pull(env, link, session, basis);
        }
        Ok(())
    }

    /// Pulls from the peer with which this node has disagreed for long enough.
    pub(crate) fn pulls_due(&mut self, env: &mut Env<'_>) {
        while let Some(link) = self.anti_entropy.due(env.fx) {
            let Some(known) = env.links.get(link) else {
                self.anti_entropy.link_down(link);
                continue;
            };
            let (node, phase) = (known.node, known.phase());
            let theirs = known.theirs.as_ref().map(|theirs| theirs.phase.clone());
            let may = match phase {
                LinkPhase::Ready => true,
                LinkPhase::Rejoining => !env.seat.is_full() && theirs != Some(Phase::Joining),
                LinkPhase::Greeting | LinkPhase::Closing => false,
            };
            let busy = self.pending_rejoin.is_some() || env.takes_no_rows();
            if busy || !may || (env.seat.joining.is_some() && env.seat.joining != Some(link)) {
                self.anti_entropy.compare(env.fx.now().mono, link, true);
                continue;
            }
            // Rows written before this node belonged to the cluster may be older than deletes that the cluster has freed.
            // A rejoining node may cover more than it has.
            let rejoin =
                !env.seat.is_full() && (env.seat.is_rejoining || self.replica.has_user_dots());
            let many =
                self.replica.coverage().actors_seen() > env.seat.config.limits.context_actors;
            let (form, basis) = match (rejoin, many) {
                (true, _) => self.ask_to_compare(),
                (false, true) => {
                    let digest = self.replica.coverage_mut().digest();
                    (Form::Digest, PullBasis::Digest(write_digest(&digest)))
                }
                (false, false) => {
                    let contexts = write_contexts(&self.replica.contexts());
                    (Form::Whole, PullBasis::Whole(contexts))
                }
            };
            let now = env.fx.now().mono;
            let session = self.anti_entropy.begin(now, (link, node), form);
            self.send_pull(env, link, session, basis);
        }
    }

    pub(crate) fn send_pull(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        session: u64,
        basis: PullBasis,
    ) {
        let Some(known) = env.links.get(link) else {
            return;
        };
        let (gate, awaited) = (known.recorded, known.awaits_claims);
        // Under a steady load equal hashes may never be seen: a member that waits for claims is told one whenever contexts are.
        let claims =
            awaited && env.seat.is_full() && !env.seat.is_leaving && env.fx.numbers_claims();
        let claims = claims && !matches!(basis, PullBasis::Digest(_));
        let durable = claims.then(|| {
            write_contexts(&if env.fx.rules().claims_synced_alone() {
                self.replica.durable_contexts()
            } else {
                self.replica.contexts()
            })
        });
        let msg = Message::Gossip(GossipMessage::Pull(Pull {
            session,
            basis,
            durable,
            status: self.own_status(&env.look()),
        }));
        env.fx.send_after(gate, Links::One(link), Lane::Sys, msg);
    }

    /// Whether this node, which is entering a cluster, wrote rows under its session whose clocks are not above what the cluster has freed. The next
    /// session is a rejoin then, since there are rows here.
    fn wrote_too_low(&self, fx: &Effects, freed: Hlc) -> bool {
        self.replica.wrote_below(freed) && fx.rules().joiners_write_above_freed()
    }

    /// Takes a page of a session in. What the end of a session means for the node's place in its cluster is the verdict.
    ///
    /// # Errors
    /// The reason to refuse the page.
    pub(crate) fn on_page(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        page: Page,
    ) -> Result<Paged, Refusal> {
        let session = page.session;
        if env.seat.takes_no_rows {
            return Ok(Paged::Merged);
        }
        let numbers = page.last.as_ref().map(|last| last.freed_on.clone());
        let verdict = self.anti_entropy.page(env.fx, link, page)?;
        if let PageVerdict::Complete { .. } | PageVerdict::Rejoin { .. } = verdict {
            // Not after what is covered with them.
            let (me, known) = (env.seat.me, self.replica.freed_on_mut());
            known.take_over(env.fx, me, &numbers.unwrap_or_default());
        }
        match verdict {
            PageVerdict::Ignore => {}
            PageVerdict::Merge(rows) => self.merge_page(env, session, rows)?,
            PageVerdict::Complete {
                rows,
                adopt,
                freed,
                with,
                count,
            } => {
                self.merge_page(env, session, rows)?;
                self.repair_complete(env, session);
                let enters = !env.seat.is_full();
                if enters && self.wrote_too_low(env.fx, freed) {
                    // Its own rows have to be raised above deletes that are freed already, as in every rejoin.
                    env.fx.mark(Mark::JoinWroteBelow);
                    return Ok(Paged::TooLow);
                }
                self.replica.adopt(env.fx, &adopt, freed);
                return Ok(Paged::Complete(Completed {
                    link,
                    with,
                    rows: count,
                    enters,
                }));
            }
            PageVerdict::Rejoin {
                staged,
                adopt,
                freed,
                with,
            } => {
                if self.is_behind(env.fx, &adopt) {
                    return Ok(Paged::Behind);
                }
                let rejoin = self
                    .replica
                    .begin_rejoin(env.catalog, staged, adopt, freed)?;
                let rejoined = self.rejoin(env, link, with, rejoin);
                return Ok(rejoined.map_or(Paged::Merged, Paged::Rejoined));
            }
        }
        Ok(Paged::Merged)
    }

    /// Ends a session, after its rows of the store's own tables have taken effect. Returns whether this node has everything of the cluster that it is
    /// entering.
    pub(crate) fn end_session(&mut self, env: &mut Env<'_>, done: &Completed) -> bool {
        env.fx.mark(Mark::SessionComplete);
        let (with, rows) = (done.with, done.rows);
        if rows > 0 {
            env.fx.event(Event::CaughtUp { with, rows });
        }
        let phase = env.links.get(done.link).map(|known| known.phase());
        if env.seat.is_full() {
            // Now both may be equal: the answer is a claim, a round of the detector earlier.
            self.send_status(env, done.link);
            for other in self.anti_entropy.outdate(ASKED_AGAIN) {
                self.send_status(env, other);
            }
            return false;
        }
        done.enters && phase.is_some_and(|phase| phase != LinkPhase::Closing)
    }
}
