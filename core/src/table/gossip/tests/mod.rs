//! The machine of gossip tables by itself: there is no [`Node`](crate::Node), and each test says what the machine is told.

pub(crate) mod kept;
pub(crate) mod rejoin;
mod sessions;
mod stability;

use std::collections::BTreeMap;
use std::string::{String, ToString};
use std::vec::Vec;

use bytes::Bytes;
use core::time::Duration;

use super::*;
use crate::cluster::membership::{MemberRecord, member_key};
use crate::cluster::{Clocks, LinkPhase, Links, Membership};
use crate::config::Storage;
use crate::detector::Detector;
use crate::effects::Effects;
use crate::id::{Actor, ClusterId, LoadId, Seq, TableId};
use crate::io::{self, Output};
use crate::link::{Hello, VERSIONS};
use crate::marks::Mark;
use crate::requests::Requests;
use crate::rng::{Seed, Stream};
use crate::rules::Rules;
use crate::table::env::Seat;
use crate::table::loads::Loads;
use crate::table::shared::Shared;
use crate::table::{Hlc, Write};
use crate::time::{Now, Wall};
use crate::wire::{Message, Page, Pull, PullBasis, Status};

/// The wall clock when a test begins.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// The user's table of all tests.
const TABLE: TableId = TableId::DEFAULT;

/// Returns the actor of a node in its first boot.
fn actor(node: u64) -> Actor {
    let node = NodeId(node);
    Actor { node, boot: 1 }
}

/// Returns the link of a machine to a node.
fn link_to(node: u64) -> LinkId {
    LinkId(node)
}

/// A machine, and a node around it that does nothing by itself: a full member, with a link to each other member.
struct Machine {
    me: u64,
    config: Config,
    fx: Effects,
    gossip: Gossip,
    shared: Shared,
    links: Links,
    loads: Loads,
    requests: Requests,
    members: Membership,
    detector: Detector,
    clocks: Clocks,
    joined: bool,
    is_rejoining: bool,
    /// The records of its store.
    disk: BTreeMap<Bytes, Bytes>,
    /// Loads that the store was asked for.
    asked: Vec<(LoadId, Bytes)>,
}

impl Machine {
    /// Makes the machine of one of the nodes 1 to `nodes`, without a store.
    fn new(me: u64, nodes: u64) -> Machine {
        Machine::with(Config::new(&me.to_string(), "a"), me, nodes)
    }

    /// Makes the machine of a node that has a store.
    fn with_store(me: u64, nodes: u64) -> Machine {
        let mut config = Config::new(&me.to_string(), "a");
        config.storage = Storage::Ordered;
        Machine::with(config, me, nodes)
    }

    fn with(config: Config, me: u64, nodes: u64) -> Machine {
        #[cfg(feature = "mutants")]
        let config = Config {
            mutant: crate::node::tests::planted::awake(),
            ..config
        };
        let now = Now::new(Instant::ZERO, Wall::from_millis(BEGIN_MS));
        let (id, start) = (NodeId(me), now.mono);
        let rng = |stream| Rng::new(Seed::from_u64(me), stream);
        let timing = config.timing.clone();
        let mut fx = Effects::new(config.storage, Rules::of(&config));
        fx.set_now(now);
        let shared = Shared::new(&config.limits);
        let (limits, resident) = (config.limits.clone(), config.resident_value);
        let replica = Replica::new(&shared.catalog, actor(me), limits, resident, Hlc(0));
        let links = Links::new(
            id,
            timing.clone(),
            rng(Stream::Membership),
            Vec::new(),
            start,
        );
        let mut machine = Machine {
            me,
            fx,
            gossip: Gossip::new(start, &config, rng(Stream::Gossip), replica),
            shared,
            links,
            loads: Loads::new(&config.limits),
            requests: Requests::default(),
            members: Membership::new(id),
            detector: Detector::new((id, ""), 1, start, timing, rng(Stream::Detector)),
            clocks: Clocks::default(),
            joined: true,
            is_rejoining: false,
            config,
            disk: BTreeMap::new(),
            asked: Vec::new(),
        };
        for node in 1..=nodes {
            machine.meets(node);
        }
        machine.act(Gossip::set_outbox);
        machine
    }

    /// Learns of a member, and has a link to it.
    fn meets(&mut self, node: u64) {
        let record = MemberRecord {
            actor: actor(node),
            generation: 1,
            name: node.to_string(),
            addr: node.to_string(),
            zone: String::new(),
            protocols: Vec::new(),
            stores: true,
        };
        let key = member_key(NodeId(node));
        let _ = self.members.member_changed(&key, &record.encode(), Hlc(1));
        if node != self.me {
            let hello = Hello {
                versions: VERSIONS,
                cluster_name: "rumormill".into(),
                cluster: ClusterId(1),
                actor: actor(node),
                generation: 1,
                name: record.name,
                addr: record.addr,
            };
            let _ = self.links.add(self.now(), link_to(node), &hello, true);
            self.links.enter(link_to(node), LinkPhase::Ready);
        }
    }

    fn now(&self) -> Instant {
        self.fx.now().mono
    }

    fn wait(&mut self, time: Duration) {
        let Now { mono, wall } = self.fx.now();
        let wall = Wall::from_millis(wall.as_millis() + time.as_millis() as u64);
        self.fx.set_now(Now::new(mono + time, wall));
    }

    /// Calls the machine as a node does.
    fn act<T>(&mut self, call: impl FnOnce(&mut Gossip, &mut Env<'_>) -> T) -> T {
        let seat = Seat {
            me: NodeId(self.me),
            begun: Instant::ZERO,
            joined: self.joined,
            is_rejoining: self.is_rejoining,
            is_leaving: false,
            is_stopping: false,
            takes_no_rows: false,
            joining: None,
            config: &self.config,
            members: &self.members,
            detector: &self.detector,
            clocks: &self.clocks,
        };
        let mut env = Env {
            fx: &mut self.fx,
            links: &mut self.links,
            loads: &mut self.loads,
            requests: &mut self.requests,
            catalog: &mut self.shared.catalog,
            changes: &mut self.shared.changes,
            seat,
        };
        call(&mut self.gossip, &mut env)
    }

    fn put(&mut self, key: &str, value: &str) {
        let value = Bytes::copy_from_slice(value.as_bytes());
        let (key, expires) = (key.as_bytes(), None);
        let write = Write::Put {
            key,
            value,
            expires,
        };
        let written = self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.write(&mut env.rows(), TABLE, write)
        });
        assert!(written.unwrap().wrote);
    }

    fn delete(&mut self, key: &str) {
        let write = Write::Delete {
            key: key.as_bytes(),
        };
        let written = self.act(|gossip, env| {
            let replica = gossip.replica_mut();
            replica.write(&mut env.rows(), TABLE, write)
        });
        assert!(written.unwrap().wrote);
    }

    /// Returns the row of a key, deleted or not.
    fn row(&self, key: &str) -> Option<&StoredRow> {
        let replica = self.gossip.replica();
        replica.get(&self.shared.catalog, TABLE, key.as_bytes())
    }

    /// Returns the value of a key, if it has one in memory.
    fn get(&self, key: &str) -> Option<&str> {
        let row = self.row(key)?;
        row.value
            .resident()
            .map(|value| core::str::from_utf8(value).unwrap())
    }

    fn clock(&self) -> Hlc {
        self.gossip.clock()
    }

    fn contexts(&self) -> Contexts {
        self.gossip.contexts()
    }

    fn has_seen(&self, contexts: &Contexts) -> bool {
        self.gossip.has_seen(contexts)
    }

    fn tombstones(&self) -> u64 {
        self.gossip.replica().coverage().tombstone_count()
    }

    fn has_marked(&self, mark: Mark) -> bool {
        self.fx.marks().any(|(reached, _)| reached == mark)
    }

    /// Ends a turn.
    fn end_turn(&mut self) {
        self.act(Gossip::seal);
        self.fx.flush();
        self.gossip.check();
    }

    /// Ends a turn, and lets its batch become durable.
    fn end_durable_turn(&mut self) {
        self.end_turn();
        let last = Seq(self.fx.backlog() as u64 + self.fx.durable().0);
        let answered = self.fx.stored(last);
        assert!(answered.is_empty(), "no request waits in these tests");
        let durable = self.fx.durable();
        self.gossip.stored(durable);
    }

    /// Returns the rows that were written since the last call, as pushes.
    fn pushes(&mut self) -> Vec<GossipMessage> {
        let batches = self
            .gossip
            .replica_mut()
            .take_pushes(&self.shared.catalog)
            .into_iter();
        batches
            .map(|(_, batch)| GossipMessage::Push(batch))
            .collect()
    }

    /// Takes in a message of another node.
    fn hear(&mut self, from: u64, msg: GossipMessage) -> Paged {
        let from = (link_to(from), NodeId(from));
        let heard = self.act(|gossip, env| gossip.on_message(env, from, msg));
        heard.unwrap()
    }

    /// Returns what was sent since the last call, with the receivers.
    fn sent(&mut self) -> Vec<(u64, GossipMessage)> {
        let mut sent = Vec::new();
        while let Some(output) = self.fx.pop() {
            match output {
                Output::Send { to, msg, .. } => {
                    let Message::Gossip(msg) = &*msg else {
                        continue;
                    };
                    let links = match to {
                        io::Links::One(link) => std::vec![link],
                        io::Links::Many(links) => links.to_vec(),
                    };
                    sent.extend(links.iter().map(|link| (link.0, msg.clone())));
                }
                Output::Store { batch, .. } => {
                    batch.into_iter().for_each(|op| op.apply(&mut self.disk));
                }
                Output::Load { load, query } => self.asked.push((load, query)),
                _ => {}
            }
        }
        sent
    }

    /// Returns the pages that were sent since the last call.
    fn pages(&mut self) -> Vec<Page> {
        let pages = self.sent().into_iter().filter_map(|(_, msg)| match msg {
            GossipMessage::Page(page) => Some(page),
            _ => None,
        });
        pages.collect()
    }

    /// Asks another node for what this one lacks.
    fn pull(&mut self, from: u64) -> Vec<(u64, GossipMessage)> {
        let now = self.now();
        self.gossip.pull_at_once(now, link_to(from));
        self.act(Gossip::tick);
        self.sent()
    }

    /// Hears from a member, played by the test, that it durably holds this.
    fn claims(&mut self, node: u64, contexts: &Contexts, clock: Hlc) {
        // The number of this session does not count: the member may have a machine that numbers its own.
        let last = self.renumber(node, 0);
        let wire = write_contexts(contexts);
        let pull = Pull {
            session: 1,
            basis: PullBasis::Whole(wire.clone()),
            durable: Some(wire),
            status: Status {
                sys: 0,
                usr: 0,
                rows: 0,
                claims: false,
                batch: 7,
                awaits_claims: false,
                clock: clock.0,
                wall_ms: 0,
                settled_ms: 0,
            },
        };
        let heard = self.hear(node, GossipMessage::Pull(pull));
        assert!(matches!(heard, Paged::Merged));
        self.renumber(node, last);
    }

    /// Sets the last session that a member has asked for, and returns what it was.
    fn renumber(&mut self, node: u64, session: u64) -> u64 {
        let known = self.links.get_mut(link_to(node)).unwrap();
        core::mem::replace(&mut known.last_pull, session)
    }

    /// Does as a node does with the meaning of a page. Returns whether this node is a full member because of it.
    fn paged(&mut self, paged: &Paged) -> bool {
        match paged {
            Paged::Complete(done) => {
                let enters = self.act(|gossip, env| gossip.end_session(env, done));
                self.joined |= enters;
                enters
            }
            _ => false,
        }
    }
}

/// Has a node fetch from another until neither says more. Returns what the last page meant.
fn fetch(client: &mut Machine, server: &mut Machine) -> Paged {
    let mut said = client.pull(server.me);
    let mut meant = Paged::Merged;
    while !said.is_empty() {
        for (to, msg) in said {
            assert_eq!(to, server.me);
            server.hear(client.me, msg);
        }
        for (to, msg) in server.sent() {
            assert_eq!(to, client.me);
            meant = client.hear(server.me, msg);
            client.paged(&meant);
        }
        said = client.sent();
    }
    meant
}
