//! Rejoining: a generation that begins, or goes on, after others may have counted this node out. Until it has rejoined it serves, pushes
//! and claims nothing.

use alloc::vec::Vec;

use super::{Cluster, Env};
use crate::cluster::membership::{Departure, Eviction, Link, LinkPhase, eviction_key};
use crate::error::ResumeError;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, HangupReason, StoreOp};
use crate::marks::Mark;
use crate::store::record::{self, Rejoining};
use crate::table::Hlc;
use crate::table::sys;
use crate::wire::Phase;

impl Cluster {
    /// This boot follows a leave. The last one to leave has missed nothing: it goes on where it was.
    pub(crate) fn return_from_leave(&mut self, env: &mut Env<'_>) {
        let Some((since, departure)) = self.membership.departure(self.id()) else {
            return;
        };
        if departure.active.is_empty() || !env.fx.rules().rejoins_after_leave() {
            return;
        }
        let active = departure.active.clone();
        match self.record.rejoining {
            // It has heard of an eviction since it left: the members that this counted may be full too.
            Some(_) => self.wait_for(env, since, &active),
            None => self.begin_rejoining(env, since, active),
        }
    }

    /// The store holds less than this node once claimed: others may have freed what it has lost, so it has to rejoin. Its
    /// clock tells how far its data goes: of a whole cluster that was restored, the one with the newest goes on.
    pub(crate) fn fall_behind(&mut self, env: &mut Env<'_>) {
        let active = self.membership.others_ids();
        if active.is_empty() || self.record.rejoining.is_some() {
            return;
        }
        env.fx.mark(Mark::Behind);
        let since = env.modes.gossip.clock();
        self.begin_rejoining(env, since, active);
    }

    /// The store is damaged and names no other member: this node enters the cluster through its seeds, as one that holds rows already. Where an
    /// operator has accepted the damage it goes on by itself.
    pub(crate) fn begin_outside(&mut self, env: &mut Env<'_>, accepted: bool) {
        self.record.joined = accepted;
        self.record.rejoining = None;
        env.fx.store(record::cluster(&self.record));
        if accepted {
            env.fx.store(StoreOp::Delete(record::damage_key()));
        }
    }

    /// This node has all that a member has.
    pub(crate) fn repaired_damage(&mut self, env: &mut Env<'_>) {
        if self.damage.take().is_some() {
            env.fx.store(StoreOp::Delete(record::damage_key()));
        }
    }

    /// This node holds rows of a checkpoint, and enters a cluster: a member that lacks some of them may not have heard of their deletes yet.
    pub(crate) fn hold_checkpoint(&mut self, env: &mut Env<'_>) {
        if self.restored && env.fx.rules().restored_awaits_past() {
            env.modes.gossip.on_rejoining();
        }
    }

    /// This node has a place of its own: nothing of the checkpoint is left to be settled.
    pub(crate) fn settle_checkpoint(&mut self, env: &mut Env<'_>) {
        if core::mem::take(&mut self.restored) {
            env.fx.store(StoreOp::Delete(record::restored_key()));
        }
    }

    /// A leave of this node's is recorded, and it is not gone. Evictions are weighed in `evict`.
    pub(crate) fn departed_myself(&mut self, env: &mut Env<'_>) {
        if self.leaving.is_some() || self.record.rejoining.is_some() {
            return;
        }
        env.fx.mark(Mark::Evicted);
        let Some((since, departure)) = self.membership.own_departure() else {
            return;
        };
        let active = departure.active.clone();
        self.begin_rejoining(env, since, active);
        self.look_for_members(env);
        self.begin_generation(env, self.identity.generation);
    }

    /// Begins another generation, after others ended an earlier one: this node's links begin anew with it.
    pub(crate) fn begin_generation(&mut self, env: &mut Env<'_>, ended: u64) {
        self.end_generation(env);
        self.identity.generation = self.identity.generation.max(ended).saturating_add(1);
        self.number_batches(env);
        if env.fx.rules().refutes_for_new_generation() {
            env.detector.begin_generation(self.identity.generation);
        }
        env.fx.store(record::identity(&self.identity));
        self.write_own_row(env);
        self.set_outbox(env);
        let links: Vec<LinkId> = self.links.iter().map(|(id, _)| id).collect();
        for link in links {
            self.hang_up(env, link, HangupReason::Retry);
        }
    }

    pub(crate) fn begin_rejoining(&mut self, env: &mut Env<'_>, since: Hlc, active: Vec<NodeId>) {
        let (modes, mut tables) = self.tables(env);
        modes.gossip.end_repair(&mut tables);
        self.record.rejoining = Some(Rejoining { since, active });
        env.fx.store(record::cluster(&self.record));
    }

    /// Notes what this node holds, since the member that it rejoins through has to hold all of it. Dials every node it ever heard of: one
    /// whose last known generation has ended may be back by now.
    pub(crate) fn look_for_members(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        env.modes.gossip.on_rejoining();
        for (node, member) in self.membership.all() {
            self.links.want(now, node, &member.record.addr);
        }
    }

    /// Stops dialling departed nodes: this node is back among the members.
    pub(crate) fn stop_looking(&mut self) {
        for (node, _) in self.membership.all() {
            if self.membership.has_departed(node) && !self.membership.is_forced_out(node) {
                self.links.unwant(node);
            }
        }
    }

    /// Makes this node the base that others rejoin through, if it left last. That holds when every member that was active at its departure is
    /// linked here and either is rejoining with an earlier departure or never came in: then no member has gone on without it.
    pub(crate) fn resume_if_last(&mut self, env: &mut Env<'_>) {
        let Some(rejoining) = self.record.rejoining.clone() else {
            return;
        };
        let mine = (rejoining.since.0, self.id());
        let earlier = |node: &NodeId| {
            let link = self.links.of(*node).and_then(|link| self.links.get(link));
            match link
                .and_then(|link| link.theirs.as_ref())
                .map(|theirs| &theirs.phase)
            {
                Some(Phase::Rejoining { since, .. }) => (*since, *node) < mine,
                // It was on its way in and has never got there: nothing was ever freed or acknowledged by it as a member.
                Some(Phase::Joining) => true,
                _ => false,
            }
        };
        // A member that answers has gone on, whichever members this node was waiting for.
        if rejoining.active.iter().all(earlier) && self.member_that_answers().is_none() {
            env.fx.mark(Mark::RejoiningResumes);
            self.become_full(env);
        }
    }

    /// A full member with a link to this node.
    fn member_that_answers(&self) -> Option<NodeId> {
        let mut links = self.links.iter();
        let member = links.find(|(_, link)| {
            let evicted = self.membership.is_evicted(link.node, link.generation);
            link.is_to_member() && !evicted
        });
        member.map(|(_, link)| link.node)
    }

    /// Lets this node go on with what it holds, on an operator's word that no member will come that could let it in. The record of it ends
    /// this node's own earlier generation and names no other member. So every node that hears of it rejoins: a node that waits like this one, a
    /// second one that goes on at the same time, and a node that was thought to be gone. Returns the members it waited for that are not
    /// here.
    pub(crate) fn resume(&mut self, env: &mut Env<'_>) -> Result<Vec<NodeId>, ResumeError> {
        let waits = self.record.rejoining.as_ref();
        let Some(rejoining) = waits.filter(|_| self.leaving.is_none()) else {
            return Err(ResumeError::NotRejoining);
        };
        if let Some(member) = self.member_that_answers() {
            return Err(ResumeError::MemberAnswers(member));
        }
        let is_here = |node: &NodeId| self.links.of(*node).is_some();
        let without = rejoining.active.iter().filter(|node| !is_here(node));
        let without: Vec<NodeId> = without.copied().collect();
        let ended = self.identity.generation;
        self.begin_generation(env, ended);
        if env.fx.rules().records_resumption() {
            self.record_resumption(env, ended);
        }
        env.fx.mark(Mark::Resumes);
        let gone = without.clone();
        env.fx.event(Event::Resumed { without: gone });
        self.become_full(env);
        Ok(without)
    }

    fn record_resumption(&mut self, env: &mut Env<'_>, ended: u64) {
        let me = self.id();
        let departure = Departure {
            contexts: Vec::new(),
            active: Vec::from([me]),
            evicted: Some(Eviction {
                by: me,
                generation: self.identity.generation,
                forced: true,
            }),
        };
        let key = eviction_key(me, ended, me);
        env.write_sys(sys::DEPARTED, &key, departure.encode());
    }

    /// Adds the members named by an eviction that does not name this node, which is rejoining already: they may be full members too, so this
    /// node does not go on before they are here.
    pub(crate) fn wait_for(&mut self, env: &mut Env<'_>, since: Hlc, counted: &[NodeId]) {
        let me = self.id();
        let Some(rejoining) = &mut self.record.rejoining else {
            return;
        };
        rejoining.since = rejoining.since.max(since);
        rejoining.active.extend_from_slice(counted);
        rejoining.active.sort_unstable();
        rejoining.active.dedup();
        rejoining.active.retain(|node| *node != me);
        env.fx.store(record::cluster(&self.record));
    }

    /// Another member may know more, and this one will too.
    pub(crate) fn put_off_rejoin(&mut self, env: &mut Env<'_>, link: LinkId) {
        env.fx.mark(Mark::RejoinPutOff);
        if let Some(with) = self.links.get(link).map(|known| known.node) {
            self.is_put_off(with);
        }
        let is_member = |known: &Link| {
            let theirs = known.theirs.as_ref();
            known.phase() == LinkPhase::Rejoining
                && theirs.is_some_and(|theirs| theirs.phase == Phase::Member)
        };
        let members = self.links.iter().filter(|(_, known)| is_member(known));
        let members: Vec<LinkId> = members.map(|(id, _)| id).collect();
        let next = members.iter().find(|id| **id > link).or(members.first());
        self.joining = next.copied();
        if let Some(next) = self.joining {
            env.modes
                .gossip
                .note_agreement(env.fx.now().mono, next, false);
        }
    }
}
