//! Links come and go, and members with them.

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::{Node, SeedState};
use crate::detector::Action;
use crate::error::RequestError;
use crate::id::{DialId, LinkId, NodeId, Token};
use crate::io::{Event, HangupReason, Lane, LinkError};
use crate::link::Hello;
use crate::marks::Mark;
use crate::membership::{Change, Link, LinkPhase};
use crate::mutants::mutated;
use crate::refusals::Refusal;
use crate::wire::{DetectorMessage, Message};

/// How long the answer to a join waits for links with the other members; past it the join has succeeded all the same.
const JOIN_PATIENCE: Duration = Duration::from_secs(3);

impl Node {
    pub(super) fn link_up(&mut self, link: LinkId, dial: Option<DialId>, hello: &Hello) {
        let now = self.fx.now().mono;
        let node = hello.actor.node;
        let dialled = dial.and_then(|dial| self.links.succeeded(now, dial, node));
        let (addr, asked_by) =
            dialled.map_or_else(Default::default, |done| (done.addr, done.asked_by));
        self.evictions.link_changed(node);
        self.seed_is(&addr, SeedState::Answers);
        if let Some(why) = self.refusal(hello).or_else(|| self.rival(link, hello)) {
            self.links.refuse(now, link, hello, dial.is_some());
            self.seed_is(&addr, refused_seed(why));
            match why {
                HangupReason::Sealed => self.fx.refuse(Refusal::SealedLife),
                HangupReason::IdInUse => self.fx.refuse(Refusal::IdInUse),
                _ => {}
            }
            if why == HangupReason::Retry {
                // A join goes on until the older life has had its time to answer.
                self.requests.join_waits(node, &addr, asked_by);
                self.ask_again(node);
            } else {
                self.links.put_off(now, node);
                for token in asked_by {
                    let text = refusal_text(why).to_string();
                    self.answer(token, Err(RequestError::Join(text)));
                }
            }
            return self.deny(link, node, why);
        }
        let duplicate = self.links.add(now, link, hello, dial.is_some());
        if !addr.is_empty()
            && let Some(known) = self.links.get_mut(link)
        {
            known.reached = Some(addr.as_str().into());
        }
        self.requests.join_waits(node, &addr, asked_by);
        match duplicate {
            Some(old) if old == link => return self.hang_up(link, HangupReason::Duplicate),
            Some(old) => self.hang_up(old, HangupReason::Duplicate),
            None => {}
        }
        self.greet(link);
    }

    fn refusal(&self, hello: &Hello) -> Option<HangupReason> {
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
        if self.links.len() >= self.config.limits.links {
            return Some(HangupReason::TooMany);
        }
        let known = self.membership.get(node).map(|member| &member.record);
        if known.is_some_and(|record| record.epoch > hello.epoch) {
            return Some(HangupReason::Sealed);
        }
        // The same epoch under another run number: a copy of the disk was started beside the original.
        if known.is_some_and(|record| {
            record.epoch == hello.epoch && record.actor.run != hello.actor.run
        }) {
            return Some(HangupReason::IdInUse);
        }
        None
    }

    pub(super) fn hang_up(&mut self, link: LinkId, why: HangupReason) {
        if self
            .links
            .get(link)
            .is_none_or(|l| l.phase() == LinkPhase::Closing)
        {
            return;
        }
        let node = self.links.get(link).map(|l| l.node);
        self.links.closing(link);
        self.link_unusable(link, node);
        self.fx.hangup(link, why);
    }

    /// What a link carried has ended, though the transport may linger.
    fn link_unusable(&mut self, link: LinkId, node: Option<NodeId>) {
        let (gossip, mut env) = self.gossip_door();
        gossip.link_gone(&mut env, link);
        self.welcoming.remove(&link);
        self.rival_gone(link, node);
        if self.joining == Some(link) {
            self.joining = None;
            self.catch_up_elsewhere();
        }
        if let Some(node) = node {
            let now = self.fx.now().mono;
            self.evictions.link_changed(node);
            self.links.back_off(now, node);
            match self.links.of(node).and_then(|link| self.links.get(link)) {
                None => {
                    self.detector.lost(now, node);
                    self.ask_again(node);
                }
                // The link that survives has been greeted already.
                Some(other) if other.theirs.is_some() => self.join_answered(node),
                Some(_) => {}
            }
        }
        self.set_outbox();
    }

    pub(super) fn link_down(&mut self, link: LinkId, why: &LinkError) {
        let Some(gone) = self.links.remove(link) else {
            return;
        };
        if *why == LinkError::Malformed {
            self.fx.mark(Mark::LinkMalformed);
        }
        if gone.phase() != LinkPhase::Closing {
            self.link_unusable(link, Some(gone.node));
        }
    }

    pub(super) fn dial_failed(&mut self, dial: DialId, why: &LinkError) {
        let now = self.fx.now().mono;
        let Some(failed) = self.links.failed(now, dial) else {
            return;
        };
        self.seed_is(&failed.addr, SeedState::Failed(why.clone()));
        for token in failed.asked_by {
            self.answer(token, Err(RequestError::Join(dial_text(why))));
        }
    }

    pub(super) fn congested(&mut self, link: LinkId, congested: bool) {
        if let Some(known) = self.links.get_mut(link) {
            known.congested = congested;
            if congested {
                self.fx.mark(Mark::LinkCongested);
            } else {
                // What was not pushed meanwhile is fetched.
                self.send_status(link);
            }
        }
    }

    /// Carries out what the detector decided.
    pub(super) fn act(&mut self, actions: Vec<Action>) {
        for action in actions {
            if let Some((to, rumors)) = action.receiver()
                && !self.is_greeted(to)
                && !mutated!(self.fx, BeliefToldOnce)
            {
                // Nothing is sent, so nothing has been told.
                self.detector.untold(to, rumors);
                continue;
            }
            let (to, msg) = match action {
                Action::Seek(node) => {
                    self.links.hurry(self.fx.now().mono, node);
                    continue;
                }
                Action::Probe { to, nonce, rumors } => {
                    let status = self.own_status();
                    let probe = DetectorMessage::Probe {
                        nonce,
                        status,
                        rumors,
                    };
                    (to, probe)
                }
                Action::Ack { to, nonce, rumors } => {
                    let status = self.own_status();
                    let ack = DetectorMessage::Ack {
                        nonce,
                        status,
                        rumors,
                    };
                    (to, ack)
                }
                Action::ProbeFor {
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
                Action::ProbedFor {
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
                    self.judge(&verdict);
                    continue;
                }
            };
            self.send_control(to, Message::Detector(msg));
        }
    }

    /// A member's state has changed.
    fn judge(&mut self, verdict: &Action) {
        if let Action::Up(_) | Action::Suspect(_) | Action::Down(_) = verdict {
            self.members_revision += 1;
        }
        match *verdict {
            Action::Up(node) => {
                self.evictions.up(node);
                self.fx.event(Event::MemberUp(node));
            }
            Action::Suspect(node) => {
                self.fx.mark(Mark::MemberSuspect);
                self.fx.event(Event::MemberSuspect(node));
            }
            Action::Down(node) => {
                self.fx.mark(Mark::MemberDown);
                self.fx.event(Event::MemberDown(node));
                let now = self.fx.now().mono;
                let member = self.membership.get(node);
                let stores = member.is_none_or(|member| member.record.stores);
                self.evictions.down(node, stores, now);
                self.notes_namesake(node);
                // A link that carries nothing any more is made anew.
                if let Some(link) = self.links.of(node) {
                    self.hang_up(link, HangupReason::Dead);
                }
            }
            Action::Refuted => self.fx.mark(Mark::SuspicionRefuted),
            Action::Seek(_)
            | Action::Probe { .. }
            | Action::Ack { .. }
            | Action::ProbeFor { .. }
            | Action::ProbedFor { .. } => {}
        }
    }

    /// Whether there is a link to a node over which the greetings are through.
    fn is_greeted(&self, node: NodeId) -> bool {
        let link = self.links.of(node).and_then(|link| self.links.get(link));
        link.is_some_and(|link| link.phase() != LinkPhase::Greeting)
    }

    fn send_control(&mut self, to: NodeId, msg: Message) {
        if let Some(link) = self.links.of(to)
            && self.is_greeted(to)
        {
            self.fx.send(link, Lane::Control, msg);
        }
    }

    /// A row of `sys.members` or `sys.departed` took effect.
    pub(super) fn membership_changed(&mut self, change: Change) {
        let now = self.fx.now().mono;
        match change {
            Change::Known(node, epoch) => {
                self.evictions.up(node);
                self.gossip.forget_claim(node);
                if node == self.id() {
                    return self.own_row_changed(epoch);
                }
                let Some(member) = self.membership.get(node) else {
                    return;
                };
                self.links.want(now, node, &member.record.addr);
                let name = member.record.name.clone();
                for later in self.membership.namesakes(node) {
                    let name = name.clone();
                    self.fx.mark(Mark::DuplicateName);
                    self.fx.event(Event::DuplicateName { name, later });
                }
                let Some(member) = self.membership.get(node) else {
                    return;
                };
                let news = self.detector.add(now, node, epoch, &member.record.zone);
                if news.is_empty() {
                    self.fx.event(Event::MemberUp(node));
                }
                self.act(news);
                self.gossip.members_changed();
            }
            Change::Departed(node) => {
                self.gossip.members_changed();
                if node == self.id() {
                    return self.departed_myself();
                }
                self.detector.remove(node);
                self.gossip.forget_clock(node);
                self.evictions.up(node);
                self.release_departed();
                if self.cluster.away.is_none() && !self.membership.is_forced_out(node) {
                    self.links.unwant(node);
                }
                self.fx.mark(Mark::MemberLeft);
                self.fx.event(Event::MemberLeft(node));
            }
            Change::None => {}
        }
    }

    /// Joins through an address. A node that is linked already and answers there is not dialled again: the new link would take the place of
    /// the one that a join may be using.
    pub(super) fn join(&mut self, token: Token, addr: String) {
        let answers_there = |(_, link): &(LinkId, &Link)| {
            let member = self.membership.get(link.node);
            link.phase() != LinkPhase::Closing
                && (link.reached.as_deref() == Some(&*addr)
                    || member.is_some_and(|member| member.record.addr == addr))
        };
        let link = self.links.iter().find(answers_there);
        let Some((node, greeted)) = link.map(|(_, link)| (link.node, link.theirs.is_some())) else {
            return self.links.ask(self.fx.now().mono, addr, token);
        };
        self.fx.mark(Mark::JoinLinked);
        self.requests.join_waits(node, &addr, [token].into());
        if greeted {
            self.join_answered(node);
        }
    }

    /// Joins whose link went before the greetings were through are tried again until their deadline.
    fn ask_again(&mut self, node: NodeId) {
        let at = self.fx.now().mono + self.config.timing.dial_backoff;
        for (token, addr) in self.requests.joined(node) {
            self.links.ask(at, addr, token);
        }
    }

    /// The greetings with a node are through.
    pub(super) fn join_answered(&mut self, node: NodeId) {
        let until = self.fx.now().mono + JOIN_PATIENCE;
        for (token, _) in self.requests.joined(node) {
            self.requests.settle(token, node, until);
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
        HangupReason::Sealed => "the peer is an earlier life of a member",
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
