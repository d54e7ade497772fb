//! Greetings, and what they settle: which node joins which, and which must reunite first.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Node, SeedState};
use crate::config::Storage;
use crate::error::RequestError;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, HangupReason};
use crate::marks::Mark;
use crate::membership::{GreetingFacts, Link, LinkPhase, MemberRecord, member_key};
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::store::record;
use crate::table::Hlc;
use crate::table::sys;
use crate::wire::{Greeting, Phase};

/// What two greetings settle. Both sides compute it from the same two greetings.
enum Verdict {
    /// Both are of one cluster.
    Same,
    /// This node enters the peer's cluster.
    Join,
    /// The peer enters this node's cluster.
    Welcome,
    /// Two clusters with members: they never merge by accident.
    Refuse,
    /// Both look for a cluster still: a third may know one.
    Wait,
}

/// A node that never had a fellow member joins one that had; of two such nodes one without users' rows joins one with, then
/// the smaller cluster id joins the larger. Two that had are of one cluster that broke in two while it formed, if each knows
/// the other as a member: then too the smaller id joins the larger. Otherwise they are strangers.
fn verdict(ours: &GreetingFacts, theirs: &GreetingFacts) -> Verdict {
    if ours.cluster == theirs.cluster {
        return Verdict::Same;
    }
    match (ours.settled, theirs.settled) {
        (true, true) if !(ours.knows_peer && theirs.knows_peer) => Verdict::Refuse,
        (true, true) if ours.cluster < theirs.cluster => Verdict::Join,
        (true, true) => Verdict::Welcome,
        (false, true) => Verdict::Join,
        (true, false) => Verdict::Welcome,
        (false, false) => {
            let founder = |greeting: &GreetingFacts| greeting.phase == Phase::Member;
            let patient = !(ours.founds && theirs.founds);
            if patient && !founder(ours) && !founder(theirs) {
                return Verdict::Wait;
            }
            let rank = |greeting: &GreetingFacts| {
                let is_founder = founder(greeting);
                (greeting.has_rows, is_founder, greeting.cluster)
            };
            if rank(ours) < rank(theirs) {
                Verdict::Join
            } else {
                Verdict::Welcome
            }
        }
    }
}

/// Whether a node is among the members that the greeting names.
fn knows(greeting: &Greeting, node: NodeId) -> bool {
    let key = member_key(node);
    greeting.rows.rows.iter().any(|row| row.key == key)
}

impl Node {
    /// A new life begins: its row in `sys.members` is written, and what the store held takes effect.
    pub(super) fn begin_life(&mut self, now: crate::time::Now, fresh: bool, behind: bool) {
        for table in [sys::SETTINGS, sys::MEMBERS, sys::DEPARTED] {
            if table == sys::SETTINGS && mutated!(self.fx, SettingsForgotten) {
                continue;
            }
            let keys: Vec<_> = self
                .gossip
                .replica()
                .rows()
                .live(table)
                .map(|live| live.keys().cloned().collect())
                .unwrap_or_default();
            for key in keys {
                self.sys_row_changed(table, &key);
            }
        }
        self.membership.begin();
        self.fx.set_now(now);
        self.return_from_leave();
        if behind {
            self.fall_behind();
        }
        if fresh {
            self.fx.mark(Mark::FirstLife);
        }
        if self.cluster.away.is_some() {
            self.look_for_members();
        }
        self.write_own_row();
        self.after_input();
    }

    /// Writes this member's row in `sys.members`.
    pub(super) fn write_own_row(&mut self) {
        let mut protocols = self.config.protocols.clone();
        protocols.insert("gossip".to_string(), self.config.addr.clone());
        let record = MemberRecord {
            actor: self.actor(),
            epoch: self.identity.epoch,
            name: self.config.name.clone(),
            addr: self.config.addr.clone(),
            zone: self.config.zone.clone(),
            protocols: protocols.into_iter().collect(),
            stores: self.config.storage == Storage::Ordered,
        };
        let key = member_key(self.id());
        self.gossip
            .replica_mut()
            .write_sys(&mut self.fx, sys::MEMBERS, &key, record.encode());
    }

    /// Returns whether this node has a fellow member, or a node may be becoming one: either way it stays where it is.
    pub(super) fn is_settled(&self) -> bool {
        self.cluster.settled || !self.welcoming.is_empty()
    }

    /// Whether this node has looked for a cluster for long enough to begin one with others like it.
    pub(super) fn founds(&self) -> bool {
        let looked = self.fx.now().mono.since(self.begun);
        looked >= self.config.timing.found_patience
    }

    pub(super) fn phase(&self) -> Phase {
        match (&self.cluster.away, self.cluster.joined) {
            (Some(away), _) => Phase::Away {
                since: away.since.0,
                active: away.active.clone(),
            },
            (None, false) => Phase::Joining,
            (None, true) => Phase::Member,
        }
    }

    pub(super) fn welcomed(&mut self, link: LinkId, theirs: Greeting) -> Result<(), Refusal> {
        let Some(known) = self.links.get(link) else {
            return Ok(());
        };
        let (Some(ours), node, again) = (
            known.sent.clone(),
            known.node,
            known.phase() != LinkPhase::Greeting,
        ) else {
            return Ok(());
        };
        let mut founds = false;
        // Only nodes of two clusters ask whether they know each other.
        let knows_me = ours.cluster != theirs.cluster && knows(&theirs, self.id());
        let said = GreetingFacts::new(&theirs, knows_me);
        match verdict(&ours, &said) {
            Verdict::Refuse => {
                self.refuse_stranger(link, node);
                return Ok(());
            }
            Verdict::Wait => {
                self.fx.mark(Mark::FoundingWaits);
                self.seed_behind(link, SeedState::Joining);
                self.hang_up(link, HangupReason::Retry);
                return Ok(());
            }
            _ if (again && ours.cluster != theirs.cluster) || ours.cluster != self.cluster.id => {
                self.hang_up(link, HangupReason::Retry);
                return Ok(());
            }
            Verdict::Join | Verdict::Welcome
                if ours.settled != self.is_settled() || self.joining.is_some() =>
            {
                self.fx.mark(Mark::JoinRetry);
                self.hang_up(link, HangupReason::Retry);
                return Ok(());
            }
            _ if self.has_unheard_evictions(link, &theirs) => {
                self.ask_for_evictions(link);
                return Ok(());
            }
            Verdict::Join => {
                self.fx.mark(Mark::JoinBegins);
                self.cluster.joined = false;
                self.joining = Some(link);
            }
            Verdict::Welcome => {
                // The peer's own greeting says when it has entered; until then it may go elsewhere.
                self.welcoming.insert(link);
                founds = !self.cluster.joined;
            }
            Verdict::Same => self.settle(),
        }
        if !again {
            self.void_agreements(node);
        }
        self.record_peer(link, said, theirs)?;
        if founds {
            // The base of a new cluster has no member to catch up with.
            self.become_full();
        }
        Ok(())
    }

    /// Refuses a node of another cluster, where both clusters have members, and tells every caller that asked to join it.
    fn refuse_stranger(&mut self, link: LinkId, node: NodeId) {
        let why = HangupReason::OtherCluster;
        self.fx.mark(Mark::OtherCluster);
        self.seed_behind(link, SeedState::OtherCluster);
        self.fx.event(Event::Refused { node, why });
        for (token, _) in self.requests.joined(node) {
            let why = "both sides belong to different clusters that have members".to_string();
            self.answer(token, Err(RequestError::Join(why)));
        }
        self.hang_up(link, why);
    }

    /// Takes in what the peer knows of members; rows pass once that is durable.
    fn record_peer(
        &mut self,
        link: LinkId,
        said: GreetingFacts,
        theirs: Greeting,
    ) -> Result<(), Refusal> {
        let evictions = self.membership.evictions();
        if !mutated!(self.fx, PeersUnrecorded) {
            self.merge_sys(theirs.rows)?;
        }
        if self.membership.evictions() > evictions {
            self.join_anew(link);
        }
        let status = theirs.status;
        self.gossip
            .replica_mut()
            .follow_clock(&mut self.fx, Hlc(status.clock));
        if said.phase == Phase::Member {
            self.greeted_by_clock(status.wall_ms);
        }
        let life = self.links.get(link).map(|known| (known.node, known.epoch));
        // It learns of its eviction from this node's greeting, and comes back in another life.
        let evicted = life.is_some_and(|(node, epoch)| self.membership.is_evicted(node, epoch));
        let newer = |(node, epoch)| {
            let member = self.membership.get(node);
            member.is_some_and(|member| member.record.epoch > epoch)
        };
        if life.is_some_and(newer) && (evicted || !mutated!(self.fx, OldLinkKept)) {
            // The peer has begun another life since it made the handshake, and claims of that life need another link.
            self.hang_up(link, HangupReason::Retry);
            return Ok(());
        }
        let ready = self.is_full() && said.phase == Phase::Member && !evicted;
        self.links.enter(
            link,
            if ready {
                LinkPhase::Ready
            } else {
                LinkPhase::Away
            },
        );
        let (node, epoch) = match self.links.get_mut(link) {
            Some(known) => {
                known.recorded = known.recorded.max(self.fx.open_seq());
                known.awaits_claims = said.awaits_claims;
                known.theirs = Some(said);
                (known.node, known.epoch)
            }
            None => return Ok(()),
        };
        self.fx.sync_this_turn();
        let now = self.fx.now().mono;
        let actions = self.detector.direct(now, node, epoch);
        self.act(actions);
        self.join_answered(node);
        self.set_outbox();
        if ready {
            self.ask_newcomer();
            let (gossip, env) = self.gossip_door();
            let agrees = gossip.agrees(&env.look(), &status);
            self.gossip.note_agreement(now, link, agrees);
            if !agrees {
                self.gossip.expedite(now, link);
            }
        } else {
            self.catch_up(link);
        }
        Ok(())
    }

    /// A node that is no full member fetches from one that is, or finds out that it may go on by itself.
    fn catch_up(&mut self, link: LinkId) {
        if self.is_full() {
            return;
        }
        let now = self.fx.now().mono;
        let theirs = self
            .links
            .get(link)
            .and_then(|known| known.theirs.as_ref())
            .map(|w| w.phase.clone());
        if let Some(Phase::Away { .. }) = theirs {
            self.seed_behind(link, SeedState::Away);
        }
        match (&self.cluster.away, theirs) {
            (_, Some(Phase::Member)) => {
                // The first of several members is asked; the others wait until it has answered or gone.
                if self.joining.is_none_or(|at| at == link) {
                    self.joining = Some(link);
                    self.gossip.pull_at_once(now, link);
                }
            }
            // The peer enters this node's cluster, or both are new: a node that the other welcomed is full already.
            (None, _) => self.gossip.pull_at_once(now, link),
            (Some(_), Some(Phase::Away { .. })) => self.resume_if_last(),
            (Some(_), _) => {}
        }
    }

    /// The link to join or reunite through is gone: any other member will do.
    pub(super) fn catch_up_elsewhere(&mut self) {
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase() == LinkPhase::Away)
            .map(|(id, _)| id)
            .collect();
        for link in links {
            self.catch_up(link);
        }
    }

    /// This node is a full member from now on, and says so on every link.
    pub(super) fn become_full(&mut self) {
        self.joining = None;
        self.gossip.became_full();
        self.cluster.joined = true;
        if self.cluster.away.take().is_some() {
            self.stop_looking();
        }
        self.leave_anew();
        self.repaired_damage();
        self.fx.store(record::cluster(&self.cluster));
        self.fx.sync_this_turn();
        self.greet_again();
        self.set_outbox();
    }

    /// The peer's standing is known already; only ours has changed.
    pub(super) fn reconsider(&mut self, link: LinkId) {
        let full = self.is_full();
        let evicted = |known: &Link| self.membership.is_evicted(known.node, known.epoch);
        if self.links.get(link).is_none_or(evicted) {
            return;
        }
        let now = self.fx.now().mono;
        let known = self.links.get(link);
        let Some(theirs) = known.and_then(|known| known.theirs.as_ref()) else {
            return;
        };
        if full && theirs.phase == Phase::Member {
            self.links.enter(link, LinkPhase::Ready);
            self.ask_newcomer();
            self.gossip.expedite(now, link);
        }
    }

    /// A fellow member of this node's own cluster: from now on it never joins another.
    fn settle(&mut self) {
        if !self.cluster.settled {
            self.cluster.settled = true;
            self.fx.store(record::cluster(&self.cluster));
        }
    }

    /// Everything of the cluster that this node joined is here.
    pub(super) fn joined(&mut self, link: LinkId, with: NodeId) {
        let theirs = self
            .links
            .get(link)
            .and_then(|known| known.theirs.as_ref())
            .map(|theirs| theirs.cluster);
        if let Some(cluster) = theirs {
            self.cluster.id = cluster;
        }
        self.cluster.settled = true;
        self.fx.event(Event::Joined { through: with });
        self.fx.mark(Mark::Joined);
        self.become_full();
    }
}
