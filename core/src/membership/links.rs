//! Links to peers: whom to dial and when, and which of two links to one peer survives.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::Timing;
use crate::id::{DialId, LinkId, NodeId, Seq, Token};
use crate::link::Hello;
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::{Standing, Welcome};

/// Two nodes may have dialled each other when both links come up within this time.
const DOUBLE_DIAL: Duration = Duration::from_secs(10);

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The greetings are under way.
    Greeting,
    /// Both sides are members of one cluster.
    Ready,
    /// One side must reunite first: nothing is pushed.
    Away,
    /// Told to close.
    Closing,
}

/// A link that is up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) epoch: u64,
    /// Whether this side dialled.
    pub(crate) dialled: bool,
    pub(crate) phase: Phase,
    /// The greeting this side sent: the verdict rests on it.
    pub(crate) sent: Option<Welcome>,
    /// The peer's greeting.
    pub(crate) theirs: Option<Welcome>,
    /// The batch that records the peer: rows wait for it.
    pub(crate) recorded: Seq,
    pub(crate) congested: bool,
    /// When it came up.
    pub(crate) since: Instant,
}

impl Link {
    /// Whether one of the two sides can fetch from the other, as far as is known.
    fn may_answer(&self) -> bool {
        let is_member = |welcome: &Welcome| welcome.standing == Standing::Member;
        match self.phase {
            Phase::Ready => true,
            Phase::Away => [&self.sent, &self.theirs]
                .into_iter()
                .flatten()
                .any(is_member),
            Phase::Greeting | Phase::Closing => false,
        }
    }
}

/// Where a dial goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Member(NodeId),
    /// A seed or an address somebody asked to join.
    Addr(String),
}

#[derive(Debug, Default)]
struct Attempt {
    addr: String,
    next: Instant,
    failures: u32,
    dialling: Option<DialId>,
    /// Dropped once it has failed or succeeded, unlike seeds and members.
    asked_by: Vec<Token>,
}

/// What came of a dial.
pub(crate) struct Dialled {
    /// The address.
    pub(crate) addr: String,
    /// Requests that wait for it.
    pub(crate) asked_by: Vec<Token>,
}

/// All links and attempts to get some.
pub(crate) struct Links {
    me: NodeId,
    timing: Timing,
    rng: Rng,
    links: BTreeMap<LinkId, Link>,
    by_node: BTreeMap<NodeId, LinkId>,
    attempts: BTreeMap<Target, Attempt>,
    seeds: BTreeSet<String>,
    next_dial: u64,
}

impl Links {
    pub(crate) fn new(
        me: NodeId,
        timing: Timing,
        rng: Rng,
        seeds: Vec<String>,
        now: Instant,
    ) -> Self {
        let mut links = Links {
            me,
            timing,
            rng,
            links: BTreeMap::new(),
            by_node: BTreeMap::new(),
            attempts: BTreeMap::new(),
            seeds: BTreeSet::new(),
            next_dial: 1,
        };
        for seed in seeds {
            let attempt = Attempt {
                addr: seed.clone(),
                next: now,
                ..Attempt::default()
            };
            links.attempts.insert(Target::Addr(seed.clone()), attempt);
            links.seeds.insert(seed);
        }
        links
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&link)
    }

    pub(crate) fn of(&self, node: NodeId) -> Option<LinkId> {
        self.by_node.get(&node).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.links.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// Links over which rows may go to full members, congested ones left out.
    pub(crate) fn ready(&self) -> Vec<LinkId> {
        self.links
            .iter()
            .filter(|(_, link)| link.phase == Phase::Ready && !link.congested)
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn any_ready(&self) -> bool {
        self.links.values().any(|link| link.phase == Phase::Ready)
    }

    /// Takes in a new link. Returns the one to close when there are two to one peer now: of two links the one dialled by
    /// the smaller id survives, of two dialled by the same side the newer; a link of a newer life always survives.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        id: LinkId,
        hello: &Hello,
        dialled: bool,
    ) -> Option<LinkId> {
        let node = hello.actor.node;
        let link = Link {
            node,
            epoch: hello.epoch,
            dialled,
            phase: Phase::Greeting,
            sent: None,
            theirs: None,
            recorded: Seq(0),
            congested: false,
            since: now,
        };
        self.links.insert(id, link);
        let old = self.by_node.insert(node, id)?;
        let keep_old = self.links.get(&old).is_some_and(|link| {
            // Nobody dials who has a link: an old one that the peer has forgotten carries nothing.
            now.since(link.since) < DOUBLE_DIAL
                && link.phase != Phase::Closing
                && link.epoch == hello.epoch
                && link.dialled != dialled
                && link.dialled == (self.me < node)
        });
        if keep_old {
            self.by_node.insert(node, old);
            return Some(id);
        }
        Some(old)
    }

    pub(crate) fn closing(&mut self, id: LinkId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.phase = Phase::Closing;
            if self.by_node.get(&link.node) == Some(&id) {
                self.by_node.remove(&link.node);
            }
        }
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        let link = self.links.remove(&id)?;
        if self.by_node.get(&link.node) == Some(&id) {
            self.by_node.remove(&link.node);
        }
        Some(link)
    }

    /// A member is known: it is dialled unless a link to it comes up first.
    pub(crate) fn want(&mut self, now: Instant, node: NodeId, addr: &str) {
        if node == self.me {
            return;
        }
        // The smaller id dials first, so that most pairs dial once.
        let wait = if self.me < node {
            Duration::ZERO
        } else {
            self.timing.dial_backoff
        };
        let next = now + self.rng.jitter(wait, 50);
        let attempt = self
            .attempts
            .entry(Target::Member(node))
            .or_insert_with(|| Attempt {
                next,
                ..Attempt::default()
            });
        if attempt.addr != addr {
            attempt.addr = String::from(addr);
            attempt.failures = 0;
            attempt.next = next;
        }
    }

    /// A link to the member was lost: not dialled again at once.
    pub(crate) fn back_off(&mut self, now: Instant, node: NodeId) {
        let wait = self.rng.jitter(self.timing.dial_backoff, 50);
        if let Some(attempt) = self.attempts.get_mut(&Target::Member(node)) {
            attempt.next = attempt.next.max(now + wait);
        }
    }

    pub(crate) fn unwant(&mut self, node: NodeId) {
        self.attempts.remove(&Target::Member(node));
    }

    /// Somebody asks to join through this address.
    pub(crate) fn ask(&mut self, at: Instant, addr: String, token: Token) {
        let attempt = self.attempts.entry(Target::Addr(addr.clone())).or_default();
        attempt.addr = addr;
        attempt.next = at;
        attempt.asked_by.push(token);
    }

    /// Forgets that a request waits for an address.
    pub(crate) fn unask(&mut self, token: Token) {
        for attempt in self.attempts.values_mut() {
            attempt.asked_by.retain(|waiting| *waiting != token);
        }
    }

    fn wanted(&self, target: &Target, attempt: &Attempt) -> bool {
        match target {
            Target::Member(node) => !self.by_node.contains_key(node),
            // Seeds are tried as long as no member answers: another link to a peer that is being fetched from would take
            // the place of the first, and the session would begin anew.
            Target::Addr(_) => {
                !attempt.asked_by.is_empty() || !self.links.values().any(Link::may_answer)
            }
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let open = self
            .attempts
            .iter()
            .filter(|(target, a)| a.dialling.is_none() && self.wanted(target, a));
        open.map(|(_, attempt)| attempt.next).min()
    }

    /// Links whose greetings have come to nothing.
    pub(crate) fn mute(&self, now: Instant) -> Vec<LinkId> {
        let mute = |link: &Link| {
            link.phase == Phase::Greeting && now.since(link.since) >= self.timing.session_timeout
        };
        self.links
            .iter()
            .filter(|(_, link)| mute(link))
            .map(|(id, _)| *id)
            .collect()
    }

    /// When the next greeting is given up.
    pub(crate) fn mute_deadline(&self) -> Option<Instant> {
        self.links
            .values()
            .filter(|link| link.phase == Phase::Greeting)
            .map(|link| link.since + self.timing.session_timeout)
            .min()
    }

    /// The dials that are due.
    pub(crate) fn due(&mut self, now: Instant, room: usize) -> Vec<(DialId, String)> {
        let due: Vec<Target> = self
            .attempts
            .iter()
            .filter(|(target, a)| a.dialling.is_none() && a.next <= now && self.wanted(target, a))
            .map(|(target, _)| target.clone())
            .take(room)
            .collect();
        let mut out = Vec::new();
        for target in due {
            let dial = DialId(self.next_dial);
            self.next_dial += 1;
            if let Some(attempt) = self.attempts.get_mut(&target) {
                attempt.dialling = Some(dial);
                out.push((dial, attempt.addr.clone()));
            }
        }
        out
    }

    /// A dial failed, or the link it made was of no use: try again later. Requests get the answer now.
    pub(crate) fn failed(&mut self, now: Instant, dial: DialId) -> Option<Dialled> {
        self.ended(now, dial, false)
    }

    /// A dial made a link.
    pub(crate) fn succeeded(&mut self, now: Instant, dial: DialId) -> Option<Dialled> {
        self.ended(now, dial, true)
    }

    fn ended(&mut self, now: Instant, dial: DialId, good: bool) -> Option<Dialled> {
        let target = self
            .attempts
            .iter()
            .find(|(_, attempt)| attempt.dialling == Some(dial))
            .map(|(t, _)| t.clone())?;
        let timing = &self.timing;
        let attempt = self.attempts.get_mut(&target)?;
        attempt.dialling = None;
        attempt.failures = if good {
            0
        } else {
            attempt.failures.saturating_add(1)
        };
        let exponent = attempt.failures.saturating_sub(1).min(16);
        let wait = (timing.dial_backoff * (1 << exponent)).min(timing.dial_backoff_max);
        attempt.next = now + self.rng.jitter(wait, 50);
        let asked_by = core::mem::take(&mut attempt.asked_by);
        let dialled = Dialled {
            addr: attempt.addr.clone(),
            asked_by,
        };
        if let Target::Addr(addr) = &target
            && !self.seeds.contains(addr)
        {
            self.attempts.remove(&target);
        }
        Some(dialled)
    }

    pub(crate) fn check(&self) {
        for (node, link) in &self.by_node {
            assert!(
                self.links.get(link).is_some_and(|l| l.node == *node),
                "the index of links is right"
            );
        }
    }
}
