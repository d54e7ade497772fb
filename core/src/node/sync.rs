//! Rows between members: pushes, sessions and claims.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::Node;
use crate::id::{LinkId, NodeId, Seq};
use crate::io::{Event, Lane, Links};
use crate::marks::Mark;
use crate::membership::Phase;
use crate::mutants::mutated;
use crate::table::Domain;
use crate::table::Hlc;
use crate::table::gossip::{SyncVerdict, read_contexts, write_contexts};
use crate::wire::{Message, Page, Pull, RowBatch, Standing, Status};

/// Peers that are asked for their state again when a session is complete.
const ASKED_AGAIN: usize = 8;

impl Node {
    pub(super) fn own_status(&mut self) -> Status {
        let cover = self.gossip.cover_mut();
        let sys = cover.hash(Domain::Sys);
        let without_memory = mutated!(self.fx, HashWithoutMemory);
        let hashed = |domain: &Domain| domain.is_durable() || !without_memory;
        let usr = Domain::USR.into_iter().filter(hashed);
        let usr = usr.fold(0u64, |sum, domain| sum.wrapping_add(cover.hash(domain)));
        Status {
            sys,
            usr,
            claims: self.claims_now(),
            clock: self.gossip.clock().0,
        }
    }

    fn claims_now(&self) -> bool {
        let durable = self.gossip.cover().all_durable() || mutated!(self.fx, ClaimBeforeSync);
        // Who is about to go takes nothing over: two that leave at once would hand over to each other.
        let stays = self.leaving.is_none();
        stays && (self.is_full() || mutated!(self.fx, JoinerClaims)) && durable
    }

    /// Whether the peer has seen exactly what this node has.
    pub(super) fn agrees(&mut self, theirs: &Status) -> bool {
        let ours = self.own_status();
        (ours.sys, ours.usr) == (theirs.sys, theirs.usr) || mutated!(self.fx, MismatchUnseen)
    }

    /// A peer told its state with a probe or an ack.
    pub(super) fn heard_status(&mut self, link: LinkId, node: NodeId, theirs: &Status) {
        self.gossip.follow_clock(&mut self.fx, Hlc(theirs.clock));
        if theirs.claims && self.is_full() {
            self.peer_is_full(link);
        }
        if self
            .links
            .get(link)
            .is_none_or(|known| known.phase != Phase::Ready)
        {
            return;
        }
        let agrees = self.agrees(theirs);
        let now = self.fx.now().mono;
        self.sync.compare(now, link, agrees);
        if agrees && theirs.claims {
            self.stability
                .equal(&self.fx, &self.gossip, node, Hlc(theirs.clock));
        }
        self.leave_progress(node, agrees, theirs.claims);
    }

    /// A peer that claims is a full member, though its greeting that said so may have been lost.
    fn peer_is_full(&mut self, link: LinkId) {
        let Some(known) = self.links.get_mut(link) else {
            return;
        };
        if known.phase == Phase::Away {
            known.phase = Phase::Ready;
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

    /// Whether fresh writes are to be collected for others.
    pub(super) fn set_outbox(&mut self) {
        let open = self.is_full() && self.links.any_ready();
        self.gossip.outbox_mut().set_open(open);
    }

    /// Sends the turn's fresh writes to every member.
    pub(super) fn push(&mut self) {
        let pushes = self.gossip.take_pushes();
        if pushes.is_empty() {
            return;
        }
        let links: Arc<[LinkId]> = self.links.ready().into();
        if links.is_empty() {
            return;
        }
        let gate = links
            .iter()
            .filter_map(|link| self.links.get(*link))
            .map(|l| l.recorded)
            .max();
        for (sys, batch) in pushes {
            let lane = if sys { Lane::Sys } else { Lane::Bulk };
            let gate = gate.unwrap_or(Seq(0));
            self.fx.send_after(
                gate,
                Links::Many(Arc::clone(&links)),
                lane,
                Message::Push(batch),
            );
        }
    }

    /// Rows that a member has just accepted. A node that is still joining drops them: a session brings them.
    pub(super) fn pushed(&mut self, batch: RowBatch) -> Result<(), &'static str> {
        if !self.is_full() {
            self.fx.mark(Mark::PushBeforeJoined);
            return Ok(());
        }
        self.merge(batch)
    }

    fn merge(&mut self, batch: RowBatch) -> Result<(), &'static str> {
        for arrival in self.gossip.intern_batch(batch)? {
            self.gossip.merge(&mut self.fx, arrival);
        }
        Ok(())
    }

    /// Rows of the greeting: only the store's own tables, whose rows are never deleted and merge in any state.
    pub(super) fn merge_sys(&mut self, batch: RowBatch) -> Result<(), &'static str> {
        if batch
            .tables
            .iter()
            .any(|table| table.domain != Domain::Sys as u8)
        {
            return Err("a greeting carries rows of users");
        }
        self.merge(batch)?;
        self.after_input();
        Ok(())
    }

    /// A peer asks for everything it lacks.
    pub(super) fn pulled(
        &mut self,
        link: LinkId,
        node: NodeId,
        pull: Pull,
    ) -> Result<(), &'static str> {
        let have = read_contexts(&pull.have)?;
        let durable = pull.durable.as_deref().map(read_contexts).transpose()?;
        let Some(known) = self.links.get(link) else {
            return Ok(());
        };
        let gate = known.recorded;
        let serves = self.is_full()
            && self
                .gossip
                .serve(&mut self.fx, link, gate, pull.session, &have);
        if !serves {
            self.fx.mark(Mark::SessionRefused);
            self.fx.send(
                link,
                Lane::Sys,
                Message::Refused {
                    session: pull.session,
                },
            );
            return Ok(());
        }
        let is_member = self
            .links
            .get(link)
            .is_some_and(|known| known.phase == Phase::Ready);
        if is_member && let Some(claimed) = durable {
            self.leave_claimed(node, &claimed);
            self.stability.claimed(
                &mut self.fx,
                &self.gossip,
                node,
                claimed,
                Hlc(pull.status.clock),
            );
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
            let (node, gate, phase) = (known.node, known.recorded, known.phase);
            let theirs = known.theirs.as_ref().map(|theirs| theirs.standing.clone());
            let may = match phase {
                Phase::Ready => true,
                Phase::Away => !self.is_full() && theirs != Some(Standing::Joining),
                Phase::Greeting | Phase::Closing => false,
            };
            let busy = self.reuniting.is_some();
            if busy || !may || (self.joining.is_some() && self.joining != Some(link)) {
                self.sync.compare(self.fx.now().mono, link, true);
                continue;
            }
            // What was written before this node belonged to the cluster may be older than deletes that the cluster has freed.
            // What an away node covers may be more than it has.
            let reunion =
                !self.is_full() && (self.cluster.away.is_some() || self.gossip.has_user_dots());
            let have = if reunion {
                Vec::new()
            } else {
                self.gossip.contexts()
            };
            // A claim goes along: under a steady load equal hashes may never be seen.
            let claim = (self.is_full() && self.leaving.is_none()).then(|| {
                if mutated!(self.fx, ClaimBeforeSync) {
                    write_contexts(&self.gossip.contexts())
                } else {
                    write_contexts(&self.gossip.durable_contexts())
                }
            });
            let status = self.own_status();
            self.sync.pull(
                &mut self.fx,
                (link, node, gate),
                &have,
                claim,
                status,
                reunion,
            );
        }
    }

    pub(super) fn paged(&mut self, link: LinkId, page: Page) -> Result<(), &'static str> {
        match self.sync.page(&mut self.fx, link, page)? {
            SyncVerdict::Ignore => {}
            SyncVerdict::Merge(rows) => self.merge(rows)?,
            SyncVerdict::Complete {
                rows,
                adopt,
                freed,
                with,
                count,
            } => {
                let was_full = self.is_full();
                self.merge(rows)?;
                self.gossip.adopt(&mut self.fx, &adopt, freed);
                self.after_input();
                self.fx.mark(Mark::SessionComplete);
                if count > 0 {
                    self.fx.event(Event::Synced { with, rows: count });
                }
                let open = self.links.get(link).map(|known| known.phase);
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
