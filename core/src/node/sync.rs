//! Rows between members: sessions and claims.

use alloc::vec::Vec;

use super::Node;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, Lane, Links};
use crate::marks::Mark;
use crate::membership::{Link, Phase};
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::table::Hlc;
use crate::table::RowClass;
use crate::table::gossip::{
    Extent, Form, Merged, Scope, SyncVerdict, read_contexts, read_digest, write_contexts,
    write_digest,
};
use crate::wire::{DomainScope, Have, Message, Page, Pull, RowBatch, Standing, Status, TableRef};

/// Peers that are asked for their state again when a session is complete.
const ASKED_AGAIN: usize = 8;

impl Node {
    pub(super) fn own_status(&mut self) -> Status {
        let cover = self.gossip.cover_mut();
        let has_tombstones = cover.tombstone_count() > 0;
        let sys = cover.hash(RowClass::Sys);
        let without_memory = mutated!(self.fx, HashWithoutMemory);
        let hashed = |class: &RowClass| class.is_durable() || !without_memory;
        let usr = RowClass::USR.into_iter().filter(hashed);
        let usr = usr.fold(0u64, |sum, class| sum.wrapping_add(cover.hash(class)));
        let rows = match mutated!(self.fx, LossUnseen) {
            true => 0,
            false => self.gossip.live_sum(),
        };
        Status {
            sys,
            usr,
            rows,
            claims: self.claims_now(),
            awaits_claims: has_tombstones || self.relays.is_asked(),
            clock: self.gossip.clock().0,
            wall_ms: self.fx.now().wall.as_millis(),
            settled_ms: self.settled.told(&self.fx),
        }
    }

    fn claims_now(&self) -> bool {
        let durable = self.gossip.cover().all_durable() || mutated!(self.fx, ClaimBeforeSync);
        // A node that is about to go takes nothing over: two that leave at once would hand over to each other.
        let stays = self.leaving.is_none();
        // Until a floor has been looked for among all rows, their sum is that of no set of rows.
        let counted = self.gossip.is_counted();
        stays && counted && (self.is_full() || mutated!(self.fx, JoinerClaims)) && durable
    }

    /// Whether the peer has seen exactly what this node has.
    pub(super) fn agrees(&mut self, theirs: &Status) -> bool {
        let ours = self.own_status();
        (ours.sys, ours.usr) == (theirs.sys, theirs.usr) || mutated!(self.fx, MismatchUnseen)
    }

    /// A peer told its state with a probe or an ack.
    pub(super) fn heard_status(&mut self, link: LinkId, node: NodeId, theirs: &Status) {
        let now = self.fx.now();
        self.clocks.hear(now, node, theirs.wall_ms);
        self.skews.hear(now, node, theirs.wall_ms);
        self.settled.hear(now.mono, node, theirs.settled_ms);
        self.gossip.follow_clock(&mut self.fx, Hlc(theirs.clock));
        if let Some(known) = self.links.get_mut(link) {
            known.awaits_claims = theirs.awaits_claims;
        }
        if theirs.claims && self.is_full() {
            self.peer_is_full(link);
        }
        if !self.links.is_ready(link) {
            return;
        }
        let agrees = self.agrees(theirs);
        let now = self.fx.now().mono;
        self.sync.compare(now, link, agrees);
        if agrees && theirs.claims {
            self.rows_compare(link, node, theirs.rows);
            let epoch = self.links.get(link).map(|known| known.epoch);
            if let Some(epoch) = epoch.filter(|_| self.has_use_for_claim(node)) {
                let clock = Hlc(theirs.clock);
                self.stability
                    .equal(&self.fx, &self.gossip, (node, epoch), clock);
            }
        }
    }

    /// A peer that claims is a full member, though its greeting that said so may have been lost.
    fn peer_is_full(&mut self, link: LinkId) {
        let is_away = |known: &Link| known.phase() == Phase::Away;
        if !self.links.get(link).is_some_and(is_away) {
            return;
        }
        self.links.enter(link, Phase::Ready);
        if let Some(known) = self.links.get_mut(link) {
            if let Some(theirs) = &mut known.theirs {
                theirs.standing = Standing::Member;
            }
            self.set_outbox();
        }
    }

    /// Tells a peer this node's state outside the detector's rounds.
    pub(super) fn send_status(&mut self, link: LinkId) {
        let status = self.own_status();
        self.fx.send(
            link,
            Lane::Control,
            Message::Probe {
                nonce: 0,
                status,
                rumors: Vec::new(),
            },
        );
    }

    /// Merges rows; what became of each.
    pub(super) fn merge(&mut self, batch: RowBatch) -> Result<Vec<Merged>, Refusal> {
        let arrivals = self.gossip.intern_batch(batch)?.into_iter();
        let merged = arrivals.map(|arrival| self.gossip.merge(&mut self.fx, arrival));
        Ok(merged.collect())
    }

    /// Rows of the greeting: only the store's own tables, whose rows are never deleted and merge in any state.
    pub(super) fn merge_sys(&mut self, batch: RowBatch) -> Result<(), Refusal> {
        if !batch.tables.iter().all(TableRef::is_sys) {
            return Err(Refusal::UsersRows);
        }
        self.merge(batch)?;
        self.after_input();
        Ok(())
    }

    /// A peer asks for everything it lacks.
    pub(super) fn pulled(&mut self, link: LinkId, node: NodeId, pull: Pull) -> Result<(), Refusal> {
        let durable = pull.durable.as_deref().map(read_contexts).transpose()?;
        let session = pull.session;
        let Some(known) = self.links.get_mut(link) else {
            return Ok(());
        };
        if session <= known.last_pull && !mutated!(self.fx, PullRepeated) {
            self.fx.mark(Mark::PullRepeated);
            return Ok(());
        }
        known.last_pull = session;
        if !self.serve(link, session, pull.have)? {
            self.fx.mark(Mark::SessionRefused);
            self.fx.send(link, Lane::Sys, Message::Refused { session });
            return Ok(());
        }
        if self.links.is_ready(link)
            && let Some(claimed) = durable
        {
            let epoch = self.links.get(link).map(|known| known.epoch);
            if let Some(epoch) = epoch.filter(|_| self.has_use_for_claim(node)) {
                let clock = Hlc(pull.status.clock);
                self.stability
                    .claimed(&mut self.fx, &self.gossip, (node, epoch), claimed, clock);
            }
        }
        Ok(())
    }

    /// Serves a session; whether it can.
    fn serve(&mut self, link: LinkId, session: u64, have: Have) -> Result<bool, Refusal> {
        if !self.is_full() {
            return Ok(false);
        }
        let (extent, have) = match have {
            Have::Whole(contexts) => (Extent::All, read_contexts(&contexts)?),
            Have::Within {
                scope,
                since,
                contexts,
            } => {
                let since = match mutated!(self.fx, ScopeOutdated) {
                    true => Some(u64::MAX),
                    false => since,
                };
                let scope = Scope::from_wire(&scope)?;
                (Extent::Part { scope, since }, read_contexts(&contexts)?)
            }
            Have::Digest(digest) => {
                let scope = self.gossip.differing(&read_digest(&digest)?);
                if !scope.is_empty() {
                    return Ok(self.name_scope(link, session, scope));
                }
                (Extent::Nothing, Vec::new())
            }
        };
        let Some(gate) = self.links.get(link).map(|known| known.recorded) else {
            return Ok(true);
        };
        let fx = &mut self.fx;
        Ok(self.gossip.serve(fx, (link, gate), session, &extent, &have))
    }

    /// Tells a client in which parts the contexts differ; whether it could be served now.
    fn name_scope(&mut self, link: LinkId, session: u64, scope: Scope) -> bool {
        let may = self.gossip.may_serve(link);
        if may {
            self.fx.mark(Mark::DigestDiffers);
            let mut scope = scope.to_wire();
            if mutated!(self.fx, ScopeCut) {
                scope.pop();
            }
            let at = self.gossip.changes().next();
            let msg = Message::Differs { session, scope, at };
            self.fx.send(link, Lane::Sys, msg);
        }
        may
    }

    /// The server named the parts in which its contexts differ from this node's: now they are exchanged.
    pub(super) fn differs(
        &mut self,
        link: LinkId,
        session: u64,
        (scope, at): (&[DomainScope], u64),
    ) -> Result<(), Refusal> {
        let scope = Scope::from_wire(scope)?;
        if let Some(session) = self.sync.scoped(self.fx.now().mono, link, session) {
            let have = Have::Within {
                scope: scope.to_wire(),
                since: Some(at),
                contexts: write_contexts(&self.gossip.contexts_in(&scope)),
            };
            self.send_pull(link, session, have);
        }
        Ok(())
    }

    /// Pulls from the peer with which this node has disagreed for long enough.
    pub(super) fn pulls_due(&mut self) {
        while let Some(link) = self.sync.due(&mut self.fx) {
            let Some(known) = self.links.get(link) else {
                self.sync.link_down(link);
                continue;
            };
            let (node, phase) = (known.node, known.phase());
            let theirs = known.theirs.as_ref().map(|theirs| theirs.standing.clone());
            let may = match phase {
                Phase::Ready => true,
                Phase::Away => !self.is_full() && theirs != Some(Standing::Joining),
                Phase::Greeting | Phase::Closing => false,
            };
            let busy = self.reuniting.is_some() || self.takes_no_rows();
            if busy || !may || (self.joining.is_some() && self.joining != Some(link)) {
                self.sync.compare(self.fx.now().mono, link, true);
                continue;
            }
            // What was written before this node belonged to the cluster may be older than deletes that the cluster has freed.
            // What an away node covers may be more than it has.
            let reunion =
                !self.is_full() && (self.cluster.away.is_some() || self.gossip.has_user_dots());
            let many = self.gossip.cover().actors_seen() > self.config.limits.context_actors;
            let (form, have) = match (reunion, many) {
                (true, _) => (Form::Reunion, Have::Whole(Vec::new())),
                (false, true) => {
                    let digest = self.gossip.cover_mut().digest();
                    (Form::Digest, Have::Digest(write_digest(&digest)))
                }
                (false, false) => {
                    let contexts = write_contexts(&self.gossip.contexts());
                    (Form::Whole, Have::Whole(contexts))
                }
            };
            let now = self.fx.now().mono;
            let session = self.sync.begin(now, (link, node), form);
            self.send_pull(link, session, have);
        }
    }

    pub(super) fn send_pull(&mut self, link: LinkId, session: u64, have: Have) {
        let Some(known) = self.links.get(link) else {
            return;
        };
        let (gate, awaited) = (known.recorded, known.awaits_claims);
        // Under a steady load equal hashes may never be seen: a member that waits for claims is told one whenever contexts are.
        let claims = awaited && self.is_full() && self.leaving.is_none();
        let claims = claims && !matches!(have, Have::Digest(_));
        let durable = claims.then(|| {
            write_contexts(&if mutated!(self.fx, ClaimBeforeSync) {
                self.gossip.contexts()
            } else {
                self.gossip.durable_contexts()
            })
        });
        let msg = Message::Pull(Pull {
            session,
            have,
            durable,
            status: self.own_status(),
        });
        self.fx.send_after(gate, Links::One(link), Lane::Sys, msg);
    }

    /// Whether this node, which is entering a cluster, wrote rows under its session whose clocks are not above what the cluster has freed. The next
    /// session is a reunion then, since there are rows here.
    fn wrote_too_low(&self, freed: Hlc) -> bool {
        self.gossip.wrote_below(freed) && !mutated!(self.fx, JoinerWritesBelow)
    }

    pub(super) fn paged(&mut self, link: LinkId, page: Page) -> Result<(), Refusal> {
        let session = page.session;
        if self.takes_no_rows() {
            return Ok(());
        }
        match self.sync.page(&mut self.fx, link, page)? {
            SyncVerdict::Ignore => {}
            SyncVerdict::Merge(rows) => self.merge_page(session, rows)?,
            SyncVerdict::Complete {
                rows,
                adopt,
                freed,
                with,
                count,
            } => {
                let was_full = self.is_full();
                self.merge_page(session, rows)?;
                self.repair_complete(session);
                if !was_full && self.wrote_too_low(freed) {
                    // What it wrote has to be raised above deletes that are freed already, as in every reunion.
                    self.fx.mark(Mark::JoinWroteBelow);
                    self.after_input();
                    self.sync.urge(self.fx.now().mono, link);
                    return Ok(());
                }
                self.gossip.adopt(&mut self.fx, &adopt, freed);
                self.after_input();
                self.fx.mark(Mark::SessionComplete);
                if count > 0 {
                    self.fx.event(Event::Synced { with, rows: count });
                }
                let open = self.links.get(link).map(|known| known.phase());
                if self.is_full() {
                    // Now both may be equal: the answer is a claim, a round of the detector earlier.
                    self.send_status(link);
                    for other in self.sync.outdate(ASKED_AGAIN) {
                        self.send_status(other);
                    }
                } else if !was_full && open.is_some_and(|phase| phase != Phase::Closing) {
                    self.joined(link, with);
                }
            }
            SyncVerdict::Reunite {
                rows,
                adopt,
                freed,
                with,
            } => {
                if self.is_behind(&adopt) {
                    self.put_off_reunion(link);
                } else {
                    let reunion = self.gossip.begin_reunion(rows, adopt, freed)?;
                    self.reunite(link, with, reunion);
                }
            }
        }
        Ok(())
    }
}
