//! Greetings, and what they decide: which node joins which, and which must rejoin first.

use alloc::string::ToString;
use alloc::vec::Vec;

use super::{Cluster, Env, SeedState};
use crate::cluster::membership::{GreetingFacts, Link, LinkPhase, MemberRecord, member_key};
use crate::config::Storage;
use crate::error::RequestError;
use crate::id::{LinkId, NodeId};
use crate::io::{Event, HangupReason};
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::store::record;
use crate::table::Hlc;
use crate::table::sys;
use crate::wire::{Greeting, Phase};

/// The outcome of two greetings. Both sides compute it from the same two greetings.
enum Verdict {
    /// Both are of one cluster.
    Same,
    /// This node enters the peer's cluster.
    Join,
    /// The peer enters this node's cluster.
    Admit,
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
    match (ours.has_fellows, theirs.has_fellows) {
        (true, true) if !(ours.knows_peer && theirs.knows_peer) => Verdict::Refuse,
        (true, true) if ours.cluster < theirs.cluster => Verdict::Join,
        (true, true) => Verdict::Admit,
        (false, true) => Verdict::Join,
        (true, false) => Verdict::Admit,
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
                Verdict::Admit
            }
        }
    }
}

/// Whether a node is among the members that the greeting names.
fn knows(greeting: &Greeting, node: NodeId) -> bool {
    let key = member_key(node);
    greeting.rows.rows.iter().any(|row| row.key == key)
}

impl Cluster {
    /// Lets the rows of members that the store held take effect.
    pub(crate) fn restore_rows(&mut self, env: &mut Env<'_>) {
        for table in [sys::MEMBERS, sys::DEPARTED] {
            for key in env.modes.gossip.sys_keys(table) {
                // An eviction that the store holds was judged when it came.
                let _ = self.row_changed(env, table, &key);
            }
        }
        self.membership.begin();
    }

    /// Begins a boot: has to rejoin where others may have gone on without this node, and writes its row.
    pub(crate) fn begin_boot(&mut self, env: &mut Env<'_>, fresh: bool, behind: bool) {
        self.return_from_leave(env);
        if behind {
            self.fall_behind(env);
        }
        self.hold_checkpoint(env);
        if fresh {
            env.fx.mark(Mark::FirstBoot);
        }
        if self.has_fellows() || !self.is_alone() {
            self.number_batches(env);
        }
        if self.record.rejoining.is_some() {
            self.look_for_members(env);
        }
        self.write_own_row(env);
    }

    /// Writes this member's row in `sys.members`.
    pub(crate) fn write_own_row(&mut self, env: &mut Env<'_>) {
        let mut protocols = env.config.protocols.clone();
        protocols.insert("gossip".to_string(), env.config.addr.clone());
        let record = MemberRecord {
            actor: self.actor(),
            generation: self.identity.generation,
            name: env.config.name.clone(),
            addr: env.config.addr.clone(),
            zone: env.config.zone.clone(),
            protocols: protocols.into_iter().collect(),
            stores: env.config.storage == Storage::Ordered,
        };
        let key = member_key(self.id());
        env.write_sys(sys::MEMBERS, &key, record.encode());
    }

    /// Returns whether this node has a fellow member, or a node may be becoming one: either way it stays where it is.
    pub(crate) fn has_fellows(&self) -> bool {
        self.record.has_fellows || !self.admitting.is_empty()
    }

    /// Whether this node has looked for a cluster for long enough to begin one with others like it.
    pub(crate) fn founds(&self, env: &Env<'_>) -> bool {
        let looked = env.fx.now().mono.since(self.begun);
        looked >= env.config.timing.found_patience
    }

    pub(crate) fn phase(&self) -> Phase {
        match (&self.record.rejoining, self.record.joined) {
            (Some(rejoining), _) => Phase::Rejoining {
                since: rejoining.since.0,
                active: rejoining.active.clone(),
            },
            (None, false) => Phase::Joining,
            (None, true) => Phase::Member,
        }
    }

    pub(crate) fn on_greeting(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        mut theirs: Greeting,
    ) -> Result<(), Refusal> {
        let claims = core::mem::take(&mut theirs.freed_on);
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
                self.refuse_stranger(env, link, node);
                return Ok(());
            }
            Verdict::Wait => {
                env.fx.mark(Mark::FoundingWaits);
                self.seed_behind(env, link, SeedState::Joining);
                self.hang_up(env, link, HangupReason::Retry);
                return Ok(());
            }
            _ if (again && ours.cluster != theirs.cluster) || ours.cluster != self.record.id => {
                self.hang_up(env, link, HangupReason::Retry);
                return Ok(());
            }
            Verdict::Join | Verdict::Admit
                if ours.has_fellows != self.has_fellows() || self.joining.is_some() =>
            {
                env.fx.mark(Mark::JoinRetry);
                self.hang_up(env, link, HangupReason::Retry);
                return Ok(());
            }
            _ if self.has_unheard_evictions(link, &theirs) => {
                self.ask_for_evictions(env, link);
                return Ok(());
            }
            Verdict::Join => {
                env.fx.mark(Mark::JoinBegins);
                self.record.joined = false;
                self.joining = Some(link);
            }
            Verdict::Admit => {
                // The peer's own greeting says when it has entered; until then it may go elsewhere.
                self.admitting.insert(link);
                founds = !self.record.joined;
            }
            Verdict::Same => self.note_fellow(env),
        }
        if !again {
            self.void_agreements(env, node);
        }
        self.record_peer(env, link, said, theirs)?;
        self.answer_for(env, (link, node), claims);
        if founds {
            // The base of a new cluster has no member to catch up with.
            self.become_full(env);
        }
        Ok(())
    }

    /// Refuses a node of another cluster, where both clusters have members, and tells every caller that asked to join it.
    fn refuse_stranger(&mut self, env: &mut Env<'_>, link: LinkId, node: NodeId) {
        let why = HangupReason::OtherCluster;
        env.fx.mark(Mark::OtherCluster);
        self.seed_behind(env, link, SeedState::OtherCluster);
        env.fx.event(Event::Refused { node, why });
        for (token, _) in self.joins.joined(node) {
            let why = "both sides belong to different clusters that have members".to_string();
            env.answer(token, Err(RequestError::Join(why)));
        }
        self.hang_up(env, link, why);
    }

    /// Takes in what the peer knows of members; rows pass once that is durable.
    fn record_peer(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        said: GreetingFacts,
        theirs: Greeting,
    ) -> Result<(), Refusal> {
        let evictions = self.membership.evictions();
        if env.fx.rules().records_peers() {
            let (modes, mut tables) = self.tables(env);
            modes.gossip.merge_sys(&mut tables, theirs.rows)?;
            self.rows_changed(env);
        }
        if self.membership.evictions() > evictions {
            self.join_anew(env, link);
        }
        let status = theirs.status;
        env.modes.gossip.follow_clock(env.fx, Hlc(status.clock));
        if said.phase == Phase::Member {
            self.greeted_by_clock(env, status.wall_ms);
        }
        let Some(known) = self.links.get(link) else {
            return Ok(());
        };
        let (node, generation) = (known.node, known.generation);
        // It learns of its eviction from this node's greeting, and comes back in another generation.
        let evicted = self.membership.is_evicted(node, generation);
        let member = self.membership.get(node);
        let newer = member.is_some_and(|member| member.record.generation > generation);
        if newer && (evicted || env.fx.rules().closes_old_links()) {
            // The peer has begun another generation since it made the handshake, and claims of that generation need another link.
            self.hang_up(env, link, HangupReason::Retry);
            return Ok(());
        }
        let ready = self.is_full() && said.phase == Phase::Member && !evicted;
        self.links.enter(
            link,
            if ready {
                LinkPhase::Ready
            } else {
                LinkPhase::Rejoining
            },
        );
        if let Some(known) = self.links.get_mut(link) {
            known.recorded = known.recorded.max(env.fx.open_seq());
            known.awaits_claims = said.awaits_claims;
            known.theirs = Some(said);
        }
        env.fx.sync_this_turn();
        let now = env.fx.now().mono;
        let actions = env.detector.direct(now, node, generation);
        self.act(env, actions);
        self.join_answered(env, node);
        self.set_outbox(env);
        if ready {
            self.ask_newcomer(env);
            let (modes, tables) = self.tables(env);
            let agrees = modes.gossip.agrees(&tables.look(), &status);
            env.modes.gossip.note_agreement(now, link, agrees);
            if !agrees {
                env.modes.gossip.expedite(now, link);
            }
        } else {
            self.catch_up(env, link);
        }
        Ok(())
    }

    /// A node that is no full member fetches from one that is, or finds out that it may go on by itself.
    fn catch_up(&mut self, env: &mut Env<'_>, link: LinkId) {
        if self.is_full() {
            return;
        }
        let now = env.fx.now().mono;
        let theirs = self
            .links
            .get(link)
            .and_then(|known| known.theirs.as_ref())
            .map(|w| w.phase.clone());
        if let Some(Phase::Rejoining { .. }) = theirs {
            self.seed_behind(env, link, SeedState::Rejoining);
        }
        match (&self.record.rejoining, theirs) {
            (_, Some(Phase::Member)) => {
                // The first of several members is asked; the others wait until it has answered or gone.
                if self.joining.is_none_or(|at| at == link) {
                    self.joining = Some(link);
                    env.modes.gossip.pull_at_once(now, link);
                }
            }
            // The peer enters this node's cluster, or both are new: a node that the other admitted is full already.
            (None, _) => env.modes.gossip.pull_at_once(now, link),
            (Some(_), Some(Phase::Rejoining { .. })) => self.resume_if_last(env),
            (Some(_), _) => {}
        }
    }

    /// The link to join or rejoin through is gone: any other member will do.
    pub(crate) fn catch_up_elsewhere(&mut self, env: &mut Env<'_>) {
        let links: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| link.phase() == LinkPhase::Rejoining)
            .map(|(id, _)| id)
            .collect();
        for link in links {
            self.catch_up(env, link);
        }
    }

    /// This node is a full member from now on, and says so on every link.
    pub(crate) fn become_full(&mut self, env: &mut Env<'_>) {
        self.joining = None;
        env.modes.gossip.became_full();
        self.record.joined = true;
        if self.record.rejoining.take().is_some() {
            self.stop_looking();
        }
        self.leave_anew(env);
        self.repaired_damage(env);
        self.settle_checkpoint(env);
        self.hold_all_before(env);
        env.fx.store(record::cluster(&self.record));
        env.fx.sync_this_turn();
        self.greet_again(env);
        self.set_outbox(env);
    }

    /// The peer's phase is known already; only ours has changed.
    pub(crate) fn reconsider(&mut self, env: &mut Env<'_>, link: LinkId) {
        let full = self.is_full();
        let evicted = |known: &Link| self.membership.is_evicted(known.node, known.generation);
        if self.links.get(link).is_none_or(evicted) {
            return;
        }
        let now = env.fx.now().mono;
        let known = self.links.get(link);
        let Some(theirs) = known.and_then(|known| known.theirs.as_ref()) else {
            return;
        };
        if full && theirs.phase == Phase::Member {
            self.links.enter(link, LinkPhase::Ready);
            self.ask_newcomer(env);
            env.modes.gossip.expedite(now, link);
        }
    }

    /// A fellow member of this node's own cluster: from now on it never joins another.
    fn note_fellow(&mut self, env: &mut Env<'_>) {
        if !self.record.has_fellows {
            self.record.has_fellows = true;
            env.fx.store(record::cluster(&self.record));
        }
    }

    /// Everything of the cluster that this node joined is here.
    pub(crate) fn joined(&mut self, env: &mut Env<'_>, link: LinkId, with: NodeId) {
        let theirs = self
            .links
            .get(link)
            .and_then(|known| known.theirs.as_ref())
            .map(|theirs| theirs.cluster);
        if let Some(cluster) = theirs {
            self.record.id = cluster;
        }
        self.record.has_fellows = true;
        env.fx.event(Event::Joined { through: with });
        env.fx.mark(Mark::Joined);
        self.become_full(env);
    }
}
