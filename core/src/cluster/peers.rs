//! Links come and go, and members with them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Cluster, Env, SeedState};
use crate::cluster::membership::{Change, Link, LinkPhase};
use crate::detector::Action;
use crate::error::RequestError;
use crate::id::{DialId, LinkId, NodeId, Token};
use crate::io::{Event, HangupReason, Lane, LinkError, Response, Timer};
use crate::link::Hello;
use crate::marks::Mark;
use crate::refusals::Refusal;
use crate::table::env::Look;
use crate::time::Instant;
use crate::wire::{DetectorMessage, Message, Phase, RumorState, Status};

/// How long the answer to a join waits for links with the other members; past it the join has succeeded all the same.
const JOIN_PATIENCE: Duration = Duration::from_secs(3);

impl Cluster {
    /// Returns the earliest moment at which [`Cluster::dial`], [`Cluster::tick`] or a leave has something to do, and why.
    pub(crate) fn next_deadline(&self, look: &Look<'_>) -> Option<(Instant, Timer)> {
        let room = self.links.len() < look.seat.config.limits.links;
        let timers = [
            (self.links.next_deadline().filter(|_| room), Timer::Dial),
            (self.links.greeting_deadline(), Timer::Dial),
            (self.joins.next_deadline(), Timer::Request),
            (self.leave_deadline(look.seat.config), Timer::Leave),
            (self.evict_deadline(look.seat.config), Timer::Evict),
            (self.found_deadline(look), Timer::Dial),
        ];
        let due = timers.into_iter().filter_map(|(at, why)| Some((at?, why)));
        due.min()
    }

    /// Probes members, gives up links whose greetings take too long, and dials.
    pub(crate) fn dial(&mut self, env: &mut Env<'_>) {
        let now = env.fx.now().mono;
        let actions = env.detector.tick(now);
        self.act(env, actions);
        for link in self.links.overdue_greetings(now) {
            env.fx.mark(Mark::GreetingTimeout);
            self.hang_up(env, link, HangupReason::Retry);
        }
        self.links
            .look_further(env.detector.any_down() && self.is_full());
        let room = env.config.limits.links.saturating_sub(self.links.len());
        for (dial, addr) in self.links.due(now, room) {
            env.fx.dial(dial, addr);
        }
    }

    /// Does what is due: evictions, wrong clocks, and the wait of a node that is no full member.
    pub(crate) fn tick(&mut self, env: &mut Env<'_>) {
        self.evictions_due(env);
        self.skews_due(env);
        self.waits_due(env);
    }

    /// Takes in the wall clock that a peer told, and its word that it is a full member.
    pub(crate) fn on_status(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        node: NodeId,
        theirs: &Status,
    ) {
        let now = env.fx.now();
        self.clocks.hear(now, node, theirs.wall_ms);
        self.skews.hear(now, node, theirs.wall_ms);
        if theirs.claims && self.is_full() {
            self.peer_is_full(env, link);
        }
    }

    /// Counts a peer that claims as a full member, though its greeting that said so may have been lost.
    fn peer_is_full(&mut self, env: &mut Env<'_>, link: LinkId) {
        let is_rejoining = |known: &Link| known.phase() == LinkPhase::Rejoining;
        if !self.links.get(link).is_some_and(is_rejoining) {
            return;
        }
        self.links.enter(link, LinkPhase::Ready);
        if let Some(known) = self.links.get_mut(link) {
            if let Some(theirs) = &mut known.theirs {
                theirs.phase = Phase::Member;
            }
            self.set_outbox(env);
        }
    }

    /// Collects fresh writes for others, or stops doing so, by this node's place and its links.
    pub(super) fn set_outbox(&mut self, env: &mut Env<'_>) {
        let (modes, mut tables) = self.tables(env);
        modes.gossip.set_outbox(&mut tables);
    }

    /// Returns this node's state in short.
    pub(super) fn own_status(&mut self, env: &mut Env<'_>) -> Status {
        let (modes, tables) = self.tables(env);
        modes.gossip.own_status(&tables.look())
    }

    /// Tells a peer this node's state outside the detector's rounds.
    fn send_status(&mut self, env: &mut Env<'_>, link: LinkId) {
        let (modes, mut tables) = self.tables(env);
        modes.gossip.send_status(&mut tables, link);
    }

    /// Answers joins that are greeted: once this node has caught up, or when they have waited for long enough.
    pub(crate) fn joins_due(&mut self, env: &mut Env<'_>) {
        if !self.joins.is_holding() {
            return;
        }
        let (now, all) = (env.fx.now().mono, self.is_linked_with_all(env));
        for (token, node) in self.joins.take_due(now, all) {
            env.answer(token, Ok(Response::Joined(node)));
        }
    }

    /// Returns whether this node has caught up and writes reach every member that answers at once.
    fn is_linked_with_all(&self, env: &Env<'_>) -> bool {
        let linked = |node| {
            let link = self.links.of(node);
            link.is_some_and(|link| self.links.is_ready(link))
                || env.detector.state(node) == Some(RumorState::Down)
        };
        self.is_full()
            && env.modes.gossip.sessions() == 0
            && self.membership.others().all(|(node, _)| linked(node))
    }

    pub(crate) fn link_up(
        &mut self,
        env: &mut Env<'_>,
        link: LinkId,
        dial: Option<DialId>,
        hello: &Hello,
    ) {
        let now = env.fx.now().mono;
        let node = hello.actor.node;
        let dialled = dial.and_then(|dial| self.links.succeeded(now, dial, node));
        let (addr, asked_by) =
            dialled.map_or_else(Default::default, |done| (done.addr, done.asked_by));
        self.evictions.link_changed(node);
        self.seed_is(env, &addr, SeedState::Answers);
        if let Some(why) = self
            .refusal(env, hello)
            .or_else(|| self.id_conflict(env, link, hello))
        {
            self.links.refuse(now, link, hello, dial.is_some());
            self.seed_is(env, &addr, refused_seed(why));
            match why {
                HangupReason::Sealed => env.fx.refuse(Refusal::SealedGeneration),
                HangupReason::IdInUse => env.fx.refuse(Refusal::IdInUse),
                _ => {}
            }
            if why == HangupReason::Retry {
                // A join goes on until the older generation has had its time to answer.
                self.joins.join_waits(node, &addr, asked_by);
                self.ask_again(env, node);
            } else {
                self.links.put_off(now, node);
                for token in asked_by {
                    let text = refusal_text(why).to_string();
                    env.answer(token, Err(RequestError::Join(text)));
                }
            }
            return self.deny(env, link, node, why);
        }
        // No delete is freed any more on what an earlier generation of the peer claimed: it could not be told in time.
        env.modes
            .gossip
            .forget_earlier_claim(node, hello.generation);
        let duplicate = self.links.add(now, link, hello, dial.is_some());
        if !addr.is_empty()
            && let Some(known) = self.links.get_mut(link)
        {
            known.reached = Some(addr.as_str().into());
        }
        self.joins.join_waits(node, &addr, asked_by);
        match duplicate {
            Some(old) if old == link => return self.hang_up(env, link, HangupReason::Duplicate),
            Some(old) => self.hang_up(env, old, HangupReason::Duplicate),
            None => {}
        }
        self.greet(env, link);
    }

    fn refusal(&self, env: &Env<'_>, hello: &Hello) -> Option<HangupReason> {
        let node = hello.actor.node;
        if hello.actor == self.actor() {
            return Some(HangupReason::Myself);
        }
        if node == self.id() {
            return Some(HangupReason::IdInUse);
        }
        if self
            .leaving
            .as_ref()
            .is_some_and(|leaving| leaving.announced)
        {
            return Some(HangupReason::Left);
        }
        if self.links.len() >= env.config.limits.links {
            return Some(HangupReason::TooMany);
        }
        let known = self.membership.get(node).map(|member| &member.record);
        if known.is_some_and(|record| record.generation > hello.generation) {
            return Some(HangupReason::Sealed);
        }
        // The same generation under another boot number: a copy of the disk was started beside the original.
        if known.is_some_and(|record| {
            record.generation == hello.generation && record.actor.boot != hello.actor.boot
        }) {
            return Some(HangupReason::IdInUse);
        }
        None
    }

    pub(crate) fn hang_up(&mut self, env: &mut Env<'_>, link: LinkId, why: HangupReason) {
        if self
            .links
            .get(link)
            .is_none_or(|l| l.phase() == LinkPhase::Closing)
        {
            return;
        }
        let node = self.links.get(link).map(|l| l.node);
        self.links.closing(link);
        self.link_unusable(env, link, node);
        env.fx.hangup(link, why);
    }

    /// Ends all that a link carried, though the transport may linger.
    fn link_unusable(&mut self, env: &mut Env<'_>, link: LinkId, node: Option<NodeId>) {
        let (modes, mut tables) = self.tables(env);
        modes.link_gone(&mut tables, link);
        self.admitting.remove(&link);
        self.id_conflict_gone(link, node);
        if self.joining == Some(link) {
            self.joining = None;
            self.catch_up_elsewhere(env);
        }
        if let Some(node) = node {
            let now = env.fx.now().mono;
            self.evictions.link_changed(node);
            self.links.back_off(now, node);
            match self.links.of(node).and_then(|link| self.links.get(link)) {
                None => {
                    env.detector.lost(now, node);
                    self.ask_again(env, node);
                }
                // The link that survives has been greeted already.
                Some(other) if other.theirs.is_some() => self.join_answered(env, node),
                Some(_) => {}
            }
        }
        self.set_outbox(env);
    }

    pub(crate) fn link_down(&mut self, env: &mut Env<'_>, link: LinkId, why: &LinkError) {
        let Some(gone) = self.links.remove(link) else {
            return;
        };
        if *why == LinkError::Malformed {
            env.fx.mark(Mark::LinkMalformed);
        }
        if gone.phase() != LinkPhase::Closing {
            self.link_unusable(env, link, Some(gone.node));
        }
    }

    pub(crate) fn dial_failed(&mut self, env: &mut Env<'_>, dial: DialId, why: &LinkError) {
        let now = env.fx.now().mono;
        let Some(failed) = self.links.failed(now, dial) else {
            return;
        };
        self.seed_is(env, &failed.addr, SeedState::Failed(why.clone()));
        for token in failed.asked_by {
            env.answer(token, Err(RequestError::Join(dial_text(why))));
        }
    }

    pub(crate) fn congested(&mut self, env: &mut Env<'_>, link: LinkId, congested: bool) {
        if let Some(known) = self.links.get_mut(link) {
            known.congested = congested;
            if congested {
                env.fx.mark(Mark::LinkCongested);
            } else {
                // Rows that were not pushed meanwhile are fetched.
                self.send_status(env, link);
            }
        }
    }

    /// Carries out what the detector decided.
    pub(crate) fn act(&mut self, env: &mut Env<'_>, actions: Vec<Action>) {
        for action in actions {
            if let Some((to, rumors)) = action.receiver()
                && !self.is_greeted(to)
                && env.fx.rules().beliefs_await_links()
            {
                // Nothing is sent, so nothing has been told.
                env.detector.untold(to, rumors);
                continue;
            }
            let (to, msg) = match action {
                Action::Seek(node) => {
                    self.links.expedite(env.fx.now().mono, node);
                    continue;
                }
                Action::Probe { to, nonce, rumors } => {
                    let status = self.own_status(env);
                    let probe = DetectorMessage::Probe {
                        nonce,
                        status,
                        rumors,
                    };
                    (to, probe)
                }
                Action::Ack { to, nonce, rumors } => {
                    let status = self.own_status(env);
                    let ack = DetectorMessage::Ack {
                        nonce,
                        status,
                        rumors,
                    };
                    (to, ack)
                }
                Action::IndirectProbe {
                    via,
                    target,
                    nonce,
                    rumors,
                } => {
                    let probe = DetectorMessage::IndirectProbe {
                        nonce,
                        target,
                        rumors,
                    };
                    (via, probe)
                }
                Action::IndirectAck {
                    to,
                    nonce,
                    alive,
                    rumors,
                } => {
                    let ack = DetectorMessage::IndirectAck {
                        nonce,
                        alive,
                        rumors,
                    };
                    (to, ack)
                }
                verdict => {
                    self.judge(env, &verdict);
                    continue;
                }
            };
            self.send_control(env, to, Message::Detector(msg));
        }
    }

    /// A member's state has changed.
    fn judge(&mut self, env: &mut Env<'_>, verdict: &Action) {
        if let Action::Up(_) | Action::Suspect(_) | Action::Down(_) = verdict {
            self.members_revision += 1;
        }
        match *verdict {
            Action::Up(node) => {
                self.evictions.up(node);
                env.fx.event(Event::MemberUp(node));
            }
            Action::Suspect(node) => {
                env.fx.mark(Mark::MemberSuspect);
                env.fx.event(Event::MemberSuspect(node));
            }
            Action::Down(node) => {
                env.fx.mark(Mark::MemberDown);
                env.fx.event(Event::MemberDown(node));
                let now = env.fx.now().mono;
                let member = self.membership.get(node);
                let stores = member.is_none_or(|member| member.record.stores);
                self.evictions.down(node, stores, now);
                self.notes_namesake(env, node);
                // A link that carries nothing any more is made anew.
                if let Some(link) = self.links.of(node) {
                    self.hang_up(env, link, HangupReason::Dead);
                }
            }
            Action::Refuted => env.fx.mark(Mark::SuspicionRefuted),
            Action::Seek(_)
            | Action::Probe { .. }
            | Action::Ack { .. }
            | Action::IndirectProbe { .. }
            | Action::IndirectAck { .. } => {}
        }
    }

    /// Whether there is a link to a node over which the greetings are through.
    fn is_greeted(&self, node: NodeId) -> bool {
        let link = self.links.of(node).and_then(|link| self.links.get(link));
        link.is_some_and(|link| link.phase() != LinkPhase::Greeting)
    }

    fn send_control(&mut self, env: &mut Env<'_>, to: NodeId, msg: Message) {
        if let Some(link) = self.links.of(to)
            && self.is_greeted(to)
        {
            env.fx.send(link, Lane::Control, msg);
        }
    }

    /// A row of `sys.members` or `sys.departed` took effect.
    pub(crate) fn membership_changed(&mut self, env: &mut Env<'_>, change: Change) {
        let now = env.fx.now().mono;
        match change {
            Change::Known(node, generation) => {
                self.evictions.up(node);
                env.modes.gossip.forget_claim(node);
                if node == self.id() {
                    return self.own_row_changed(env, generation);
                }
                let Some(member) = self.membership.get(node) else {
                    return;
                };
                self.links.want(now, node, &member.record.addr);
                let name = member.record.name.clone();
                for later in self.membership.namesakes(node) {
                    let name = name.clone();
                    env.fx.mark(Mark::DuplicateName);
                    env.fx.event(Event::DuplicateName { name, later });
                }
                let Some(member) = self.membership.get(node) else {
                    return;
                };
                let news = env.detector.add(now, node, generation, &member.record.zone);
                if news.is_empty() {
                    env.fx.event(Event::MemberUp(node));
                }
                self.act(env, news);
                env.modes.gossip.members_changed();
            }
            Change::Departed(node) => {
                env.modes.gossip.members_changed();
                if node == self.id() {
                    return self.departed_myself(env);
                }
                env.detector.remove(node);
                env.modes.gossip.forget_clock(node);
                self.evictions.up(node);
                self.release_departed(env);
                if self.record.rejoining.is_none() && !self.membership.is_forced_out(node) {
                    self.links.unwant(node);
                }
                env.fx.mark(Mark::MemberLeft);
                env.fx.event(Event::MemberLeft(node));
            }
            Change::None => {}
        }
    }

    /// Joins through an address. A node that is linked already and answers there is not dialled again: the new link would take the place of
    /// the one that a join may be using.
    pub(crate) fn join(&mut self, env: &mut Env<'_>, token: Token, addr: String) {
        let answers_there = |(_, link): &(LinkId, &Link)| {
            let member = self.membership.get(link.node);
            link.phase() != LinkPhase::Closing
                && (link.reached.as_deref() == Some(&*addr)
                    || member.is_some_and(|member| member.record.addr == addr))
        };
        let link = self.links.iter().find(answers_there);
        let Some((node, greeted)) = link.map(|(_, link)| (link.node, link.theirs.is_some())) else {
            return self.links.ask(env.fx.now().mono, addr, token);
        };
        env.fx.mark(Mark::JoinLinked);
        self.joins.join_waits(node, &addr, [token].into());
        if greeted {
            self.join_answered(env, node);
        }
    }

    /// Joins whose link went before the greetings were through are tried again until their deadline.
    fn ask_again(&mut self, env: &mut Env<'_>, node: NodeId) {
        let at = env.fx.now().mono + env.config.timing.dial_backoff;
        for (token, addr) in self.joins.joined(node) {
            self.links.ask(at, addr, token);
        }
    }

    /// The greetings with a node are through.
    pub(crate) fn join_answered(&mut self, env: &mut Env<'_>, node: NodeId) {
        let until = env.fx.now().mono + JOIN_PATIENCE;
        for (token, _) in self.joins.joined(node) {
            self.joins.hold(token, node, until);
        }
    }
}

fn refused_seed(why: HangupReason) -> SeedState {
    match why {
        HangupReason::Myself => SeedState::Myself,
        why => SeedState::Refused(why),
    }
}

fn refusal_text(why: HangupReason) -> &'static str {
    match why {
        HangupReason::Myself => "the address leads back to this node",
        HangupReason::IdInUse => "the peer uses this node's id, or a copy of another member's",
        HangupReason::Sealed => "the peer is an earlier generation of a member",
        HangupReason::TooMany => "too many links",
        HangupReason::Left => "this node is leaving",
        _ => "refused",
    }
}

fn dial_text(why: &LinkError) -> String {
    match why {
        LinkError::Closed => "the peer closed the link".to_string(),
        LinkError::Unreachable => "the address cannot be reached".to_string(),
        LinkError::Broken => "the link broke".to_string(),
        LinkError::Malformed => "the peer does not speak this protocol".to_string(),
        LinkError::Refused(refusal) => refusal.to_string(),
        LinkError::TimedOut => "the peer did not answer in time".to_string(),
    }
}
