//! Links to peers: the members to dial and when, and which of two links to one peer survives.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::ring::Ring;
use crate::config::Timing;
use crate::id::{ClusterId, DialId, LinkId, NodeId, Seq, Token};
use crate::link::Hello;
use crate::rng::Rng;
use crate::time::Instant;
use crate::wire::{Greeting, Phase};

/// Two nodes may have dialled each other when both links come up within this time.
const DOUBLE_DIAL: Duration = Duration::from_secs(10);

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkPhase {
    /// The greetings are under way.
    Greeting,
    /// Both sides are members of one cluster.
    Ready,
    /// One side must rejoin first: nothing is pushed.
    Rejoining,
    /// Told to close.
    Closing,
}

/// The facts of a greeting about its sender, without the rows it carried.
#[derive(Clone, Debug)]
pub(crate) struct GreetingFacts {
    pub(crate) cluster: ClusterId,
    pub(crate) has_fellows: bool,
    pub(crate) founds: bool,
    pub(crate) phase: Phase,
    /// Whether it holds rows of users.
    pub(crate) has_rows: bool,
    /// Whether it waits for claims.
    pub(crate) awaits_claims: bool,
    /// Whether its rows name the one it greets as a member.
    pub(crate) knows_peer: bool,
    /// Which evictions it has heard of.
    pub(crate) evictions: u64,
}

impl GreetingFacts {
    pub(crate) fn new(greeting: &Greeting, knows_peer: bool) -> Self {
        GreetingFacts {
            cluster: greeting.cluster,
            has_fellows: greeting.has_fellows,
            founds: greeting.founds,
            phase: greeting.phase.clone(),
            has_rows: greeting.status.usr != 0,
            awaits_claims: greeting.status.awaits_claims,
            knows_peer,
            evictions: greeting.evictions,
        }
    }
}

/// A link that is up.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) node: NodeId,
    pub(crate) generation: u64,
    /// Whether this side dialled.
    pub(crate) dialled: bool,
    phase: LinkPhase,
    /// The greeting this side sent: the verdict rests on it.
    pub(crate) sent: Option<GreetingFacts>,
    /// The peer's greeting.
    pub(crate) theirs: Option<GreetingFacts>,
    /// The batch that records the peer: rows wait for it.
    pub(crate) recorded: Seq,
    pub(crate) congested: bool,
    /// The last session that the peer has asked for.
    pub(crate) last_pull: u64,
    /// Whether the peer has said that it waits for claims.
    pub(crate) awaits_claims: bool,
    /// The address that this side dialled.
    pub(crate) reached: Option<Box<str>>,
    /// When it came up.
    since: Instant,
}

impl Link {
    fn new(now: Instant, hello: &Hello, dialled: bool, phase: LinkPhase) -> Self {
        Link {
            node: hello.actor.node,
            generation: hello.generation,
            dialled,
            phase,
            sent: None,
            theirs: None,
            recorded: Seq(0),
            congested: false,
            awaits_claims: false,
            last_pull: 0,
            reached: None,
            since: now,
        }
    }

    pub(crate) fn phase(&self) -> LinkPhase {
        self.phase
    }

    /// Whether both sides are members of one cluster, and rows may pass.
    pub(crate) fn is_ready(&self) -> bool {
        self.phase == LinkPhase::Ready
    }

    /// Whether rows may pass and there is room for them.
    pub(crate) fn has_room(&self) -> bool {
        self.is_ready() && !self.congested
    }

    /// Whether the peer said that it is a full member of this node's cluster. A newcomer is one of a cluster of its own until it joins.
    pub(crate) fn is_to_member(&self) -> bool {
        let cluster = self.sent.as_ref().map(|sent| sent.cluster);
        let theirs = self.theirs.as_ref();
        self.phase != LinkPhase::Closing
            && theirs.is_some_and(|theirs| {
                theirs.phase == Phase::Member && Some(theirs.cluster) == cluster
            })
    }

    /// Whether one of the two sides can fetch from the other, as far as is known.
    fn may_answer(&self) -> bool {
        let is_member = |greeting: &GreetingFacts| greeting.phase == Phase::Member;
        match self.phase {
            LinkPhase::Ready => true,
            LinkPhase::Rejoining => [&self.sent, &self.theirs]
                .into_iter()
                .flatten()
                .any(is_member),
            LinkPhase::Greeting | LinkPhase::Closing => false,
        }
    }
}

/// Where a dial goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Member(NodeId),
    /// A seed, or an address that a caller asked to join.
    Addr(String),
}

#[derive(Debug, Default)]
struct Attempt {
    addr: String,
    next: Instant,
    failures: u32,
    dialling: Option<DialId>,
    /// The node that answered at the member's address instead of it, or at the seed's.
    tenant: Option<NodeId>,
    /// When it is due among the attempts to dial members.
    queued: Option<Instant>,
    /// Dropped once it has failed or succeeded, unlike seeds and members.
    asked_by: Vec<Token>,
}

/// The outcome of a dial.
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
    pub(super) by_node: BTreeMap<NodeId, LinkId>,
    /// Outdated when a link comes, goes, or enters another phase.
    pub(super) ring: Ring,
    attempts: BTreeMap<Target, Attempt>,
    /// When to dial each member that has neither a link nor a dial under way: the first is found in O(log members).
    due: BTreeSet<(Instant, NodeId)>,
    /// Dials under way.
    dials: BTreeMap<DialId, Target>,
    /// Links by when they came up, from the first whose greetings are under way.
    greeting: BTreeSet<(Instant, LinkId)>,
    seeds: BTreeSet<String>,
    looks_further: bool,
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
            ring: Ring::default(),
            attempts: BTreeMap::new(),
            due: BTreeSet::new(),
            dials: BTreeMap::new(),
            greeting: BTreeSet::new(),
            seeds: BTreeSet::new(),
            looks_further: false,
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

    /// Other delays hold from now on: no dial waits for longer than they allow.
    pub(crate) fn retime(&mut self, now: Instant, timing: Timing) {
        self.timing = timing;
        let longest = self.timing.dial_backoff_max;
        let mut members = Vec::new();
        for (target, attempt) in &mut self.attempts {
            if attempt.next > now + longest * 3 / 2 {
                attempt.next = now + self.rng.jitter(longest, 50);
                members.extend(match target {
                    Target::Member(node) => Some(*node),
                    Target::Addr(_) => None,
                });
            }
        }
        for node in members {
            self.requeue(node);
        }
    }

    pub(crate) fn get(&self, link: LinkId) -> Option<&Link> {
        self.links.get(&link)
    }

    pub(crate) fn get_mut(&mut self, link: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&link)
    }

    /// The greetings say what may pass from now on.
    pub(crate) fn enter(&mut self, link: LinkId, phase: LinkPhase) {
        self.ring.outdate();
        if let Some(link) = self.links.get_mut(&link) {
            link.phase = phase;
        }
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
            .filter(|(_, link)| link.has_room())
            .map(|(id, _)| *id)
            .collect()
    }

    pub(crate) fn any_ready(&self) -> bool {
        self.links.values().any(Link::is_ready)
    }

    /// Whether rows may pass over this link.
    pub(crate) fn is_ready(&self, link: LinkId) -> bool {
        self.links.get(&link).is_some_and(Link::is_ready)
    }

    /// Whether no member of a smaller id is linked as such.
    pub(crate) fn is_first_ready(&self) -> bool {
        let mut smaller = self.by_node.range(..self.me);
        !smaller.any(|(_, link)| self.is_ready(*link))
    }

    /// Takes in a new link. Returns the one to close when there are two to one peer now: of two that come up within [`DOUBLE_DIAL`] the one dialled by
    /// the smaller id survives, of two dialled by the same side the newer; a link of a newer generation always survives.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        id: LinkId,
        hello: &Hello,
        dialled: bool,
    ) -> Option<LinkId> {
        let node = hello.actor.node;
        let link = Link::new(now, hello, dialled, LinkPhase::Greeting);
        self.ring.outdate();
        self.links.insert(id, link);
        self.greeting.insert((now, id));
        let old = self.by_node.insert(node, id);
        self.requeue(node);
        let old = old?;
        let keep_old = self.links.get(&old).is_some_and(|link| {
            // A peer dials only while it has no link, so it has forgotten an older one; only a double dial leaves two good links.
            now.since(link.since) < DOUBLE_DIAL
                && link.phase != LinkPhase::Closing
                && link.generation == hello.generation
                && link.dialled != dialled
                && link.dialled == (self.me < node)
        });
        if keep_old {
            self.by_node.insert(node, old);
            return Some(id);
        }
        Some(old)
    }

    /// Takes in a link that is to be closed: it replaces no other link.
    pub(crate) fn refuse(&mut self, now: Instant, id: LinkId, hello: &Hello, dialled: bool) {
        let link = Link::new(now, hello, dialled, LinkPhase::Closing);
        self.links.insert(id, link);
    }

    pub(crate) fn closing(&mut self, id: LinkId) {
        self.enter(id, LinkPhase::Closing);
        if let Some(node) = self.get(id).map(|link| link.node) {
            self.unindex(node, id);
        }
    }

    pub(crate) fn remove(&mut self, id: LinkId) -> Option<Link> {
        self.ring.outdate();
        let link = self.links.remove(&id)?;
        self.unindex(link.node, id);
        Some(link)
    }

    /// Forgets that the link is the one to its peer; the peer may have to be dialled.
    fn unindex(&mut self, node: NodeId, id: LinkId) {
        if self.by_node.get(&node) == Some(&id) {
            self.by_node.remove(&node);
            self.requeue(node);
        }
    }

    /// Something has changed that decides when a member is dialled.
    fn requeue(&mut self, node: NodeId) {
        let linked = self.by_node.contains_key(&node);
        let Some(attempt) = self.attempts.get_mut(&Target::Member(node)) else {
            return;
        };
        let at = (!linked && attempt.dialling.is_none()).then_some(attempt.next);
        let before = core::mem::replace(&mut attempt.queued, at);
        if before == at {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(before, node));
        }
        if let Some(at) = at {
            self.due.insert((at, node));
        }
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
            attempt.tenant = None;
            attempt.next = next;
        }
        self.requeue(node);
    }

    /// A link to the member was lost: not dialled again at once.
    pub(crate) fn back_off(&mut self, now: Instant, node: NodeId) {
        let wait = self.rng.jitter(self.timing.dial_backoff, 50);
        if let Some(attempt) = self.attempts.get_mut(&Target::Member(node)) {
            attempt.next = attempt.next.max(now + wait);
        }
        self.requeue(node);
    }

    /// The node refuses this one, or this one it: nothing will have changed soon.
    pub(crate) fn put_off(&mut self, now: Instant, node: NodeId) {
        let next = now + self.rng.jitter(self.timing.dial_backoff_max, 50);
        if let Some(attempt) = self.attempts.get_mut(&Target::Member(node)) {
            attempt.next = attempt.next.max(next);
        }
        self.requeue(node);
        for seed in &self.seeds {
            if let Some(attempt) = self.attempts.get_mut(&Target::Addr(seed.clone()))
                && attempt.tenant == Some(node)
            {
                attempt.next = attempt.next.max(next);
            }
        }
    }

    /// A member is dialled now, however often that failed.
    pub(crate) fn expedite(&mut self, now: Instant, node: NodeId) {
        if let Some(attempt) = self.attempts.get_mut(&Target::Member(node)) {
            attempt.next = attempt.next.min(now);
        }
        self.requeue(node);
    }

    /// Sets whether seeds are tried although members answer: missing members may be found at other addresses.
    pub(crate) fn look_further(&mut self, on: bool) {
        self.looks_further = on;
    }

    pub(crate) fn unwant(&mut self, node: NodeId) {
        let attempt = self.attempts.remove(&Target::Member(node));
        if let Some(at) = attempt.and_then(|attempt| attempt.queued) {
            self.due.remove(&(at, node));
        }
    }

    /// Dials this address, since a caller asks to join through it.
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

    /// Attempts at addresses that are open and wanted: seeds are tried as long as no member answers, since another link to
    /// a peer that is being fetched from would take the place of the first, and the session would begin anew. Once this node has
    /// caught up they are also tried while some member is missing, unless a linked node is known to answer there.
    fn addresses(&self) -> impl Iterator<Item = (&Target, &Attempt)> {
        let addresses = self.attempts.range(Target::Addr(String::new())..);
        let is_linked = move |node: NodeId| node == self.me || self.by_node.contains_key(&node);
        let wanted = move |attempt: &Attempt| {
            !attempt.asked_by.is_empty()
                || !self.links.values().any(Link::may_answer)
                || (self.looks_further && !attempt.tenant.is_some_and(is_linked))
        };
        addresses.filter(move |(_, attempt)| attempt.dialling.is_none() && wanted(attempt))
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let member = self.due.first().map(|(at, _)| *at);
        let addresses = self.addresses().map(|(_, attempt)| attempt.next);
        member.into_iter().chain(addresses).min()
    }

    fn is_greeting(&self, id: LinkId) -> bool {
        let link = self.links.get(&id);
        link.is_some_and(|link| link.phase == LinkPhase::Greeting)
    }

    /// Links whose greetings have come to nothing.
    pub(crate) fn overdue_greetings(&mut self, now: Instant) -> Vec<LinkId> {
        while let Some((_, first)) = self.greeting.first()
            && !self.is_greeting(*first)
        {
            self.greeting.pop_first();
        }
        let timeout = self.timing.session_timeout;
        let mut overdue: Vec<LinkId> = self
            .greeting
            .iter()
            .take_while(|(since, _)| now.since(*since) >= timeout)
            .filter(|(_, id)| self.is_greeting(*id))
            .map(|(_, id)| *id)
            .collect();
        overdue.sort_unstable();
        overdue
    }

    /// When the next greeting is given up.
    pub(crate) fn greeting_deadline(&self) -> Option<Instant> {
        let first = self.greeting.iter().find(|(_, id)| self.is_greeting(*id));
        first.map(|(since, _)| *since + self.timing.session_timeout)
    }

    /// The dials that are due.
    pub(crate) fn due(&mut self, now: Instant, room: usize) -> Vec<(DialId, String)> {
        self.spare_tenants(now);
        let members = self.due.range(..=(now, NodeId(u64::MAX)));
        let mut due: Vec<Target> = members.map(|(_, node)| Target::Member(*node)).collect();
        due.sort_unstable();
        let addresses = self.addresses().filter(|(_, attempt)| attempt.next <= now);
        due.extend(addresses.map(|(target, _)| target.clone()));
        due.truncate(room);
        let mut out = Vec::new();
        for target in due {
            let dial = DialId(self.next_dial);
            self.next_dial += 1;
            if let Some(attempt) = self.attempts.get_mut(&target) {
                attempt.dialling = Some(dial);
                out.push((dial, attempt.addr.clone()));
            }
            if let Target::Member(node) = target {
                self.requeue(node);
            }
            self.dials.insert(dial, target);
        }
        out
    }

    /// Puts off dials that would make a second link to a node which has taken another's address, as one does that comes
    /// back with an empty disk: the new link would take the place of the first, and end the session it carries.
    fn spare_tenants(&mut self, now: Instant) {
        let members = self.due.range(..=(now, NodeId(u64::MAX)));
        let due: Vec<NodeId> = members.map(|(_, node)| *node).collect();
        for node in due {
            let Some(attempt) = self.attempts.get_mut(&Target::Member(node)) else {
                continue;
            };
            let linked = |tenant| tenant == self.me || self.by_node.contains_key(&tenant);
            if attempt.tenant.is_some_and(linked) {
                attempt.next = now + self.rng.jitter(self.timing.dial_backoff_max, 50);
                self.requeue(node);
            }
        }
    }

    /// A dial failed: try again later. Requests get the answer now.
    pub(crate) fn failed(&mut self, now: Instant, dial: DialId) -> Option<Dialled> {
        self.ended(now, dial, None)
    }

    /// A dial made a link to this node, which may be another than the dialled one.
    pub(crate) fn succeeded(
        &mut self,
        now: Instant,
        dial: DialId,
        node: NodeId,
    ) -> Option<Dialled> {
        self.ended(now, dial, Some(node))
    }

    fn ended(&mut self, now: Instant, dial: DialId, found: Option<NodeId>) -> Option<Dialled> {
        let target = self.dials.remove(&dial)?;
        let (tenant, good) = match target {
            Target::Member(node) => (found.filter(|found| *found != node), found == Some(node)),
            Target::Addr(_) => (found, found.is_some()),
        };
        let timing = &self.timing;
        // The member may have left meanwhile.
        let attempt = self.attempts.get_mut(&target)?;
        if attempt.dialling != Some(dial) {
            return None;
        }
        attempt.dialling = None;
        attempt.tenant = tenant;
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
        match &target {
            Target::Member(node) => self.requeue(*node),
            Target::Addr(addr) if !self.seeds.contains(addr) => {
                self.attempts.remove(&target);
            }
            Target::Addr(_) => {}
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
        let mut queued = 0;
        for (target, attempt) in &self.attempts {
            let Target::Member(node) = target else {
                continue;
            };
            let open = attempt.dialling.is_none() && !self.by_node.contains_key(node);
            assert_eq!(attempt.queued, open.then_some(attempt.next));
            if let Some(at) = attempt.queued {
                queued += 1;
                assert!(self.due.contains(&(at, *node)));
            }
        }
        assert_eq!(self.due.len(), queued, "what is queued is an open attempt");
    }
}
