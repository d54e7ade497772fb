//! The node through its contract: inputs in, outputs out, virtual time.

use std::boxed::Box;
use std::collections::{BTreeMap, VecDeque};
use std::string::ToString;
use std::vec::Vec;

use bytes::Bytes;
use core::time::Duration;

use crate::testing::*;

mod anti_entropy;
mod checkpoints;
mod contract;
mod copies;
mod damage;
mod drop_markers;
mod evict;
mod expiry;
mod flood;
mod full;
mod greet;
mod ids;
mod later;
mod leave;
mod links;
mod loads;
mod membership;
mod modes;
mod names;
mod namesake;
#[cfg(feature = "mutants")]
pub(crate) mod planted;
mod push;
mod refusals;
mod relay;
mod repair;
mod settings;
mod siblings;
mod skew;
mod stop;
mod waits;

/// Whether a message from one node to another is lost.
type Cut = Box<dyn Fn(usize, usize, &wire::Message) -> bool>;

/// Nodes wired back to back: every message arrives at once, in order, unless the pair is cut.
struct Lab {
    now: Now,
    nodes: Vec<Option<Node>>,
    /// By how many milliseconds the wall clocks of nodes are ahead of `now`.
    ahead_ms: BTreeMap<usize, i64>,
    disks: Vec<BTreeMap<Bytes, Bytes>>,
    configs: Vec<Config>,
    /// Both ends of each link: (node, link) to (node, link).
    wires: BTreeMap<(usize, LinkId), (usize, LinkId)>,
    next_link: u64,
    replies: BTreeMap<Token, Result<Response, RequestError>>,
    events: Vec<(usize, Event)>,
    cut: Cut,
    /// Loads that the test answers itself, once `holds_loads` is set.
    loads: Vec<(usize, LoadId, Bytes)>,
    holds_loads: bool,
}

impl Lab {
    fn new(count: usize, storage: Storage, seeds: bool) -> Lab {
        let mut lab = Lab {
            now: Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000)),
            nodes: Vec::new(),
            ahead_ms: BTreeMap::new(),
            disks: Vec::new(),
            configs: Vec::new(),
            wires: BTreeMap::new(),
            next_link: 1,
            replies: BTreeMap::new(),
            events: Vec::new(),
            cut: Box::new(|_, _, _| false),
            loads: Vec::new(),
            holds_loads: false,
        };
        for i in 0..count {
            let mut config = Config::new(&std::format!("n{i}"), &i.to_string());
            config.storage = storage;
            if seeds && i > 0 {
                config.seeds = std::vec!["0".to_string()];
            }
            lab.join(config);
        }
        lab
    }

    /// Starts one more node, with an empty disk.
    fn join(&mut self, config: Config) {
        let i = self.nodes.len();
        self.configs.push(config);
        self.disks.push(BTreeMap::new());
        self.nodes.push(None);
        self.start(i);
    }

    /// Starts so many nodes with a store, the first of which is the seed of the others, configured as `change` says for each.
    fn configured(count: usize, change: impl Fn(usize, &mut Config)) -> Lab {
        let mut lab = Lab::new(0, Storage::Ordered, false);
        for i in 0..count {
            let mut config = Config::new(&std::format!("n{i}"), &i.to_string());
            config.storage = Storage::Ordered;
            config.seeds = (i > 0).then(|| "0".to_string()).into_iter().collect();
            change(i, &mut config);
            lab.join(config);
        }
        lab
    }

    fn start(&mut self, i: usize) {
        let seed = Seed::from_u64(1_000 + i as u64 + self.now.mono.as_micros());
        #[cfg(feature = "mutants")]
        {
            self.configs[i].mutant = planted::awake();
        }
        let mut recovery = Recovery::new(self.configs[i].clone(), seed);
        for (key, value) in &self.disks[i] {
            recovery
                .record(Record {
                    key: key.clone(),
                    value: value.clone(),
                })
                .unwrap();
        }
        self.nodes[i] = Some(recovery.finish(self.clock(i)).unwrap());
    }

    fn stop(&mut self, i: usize) {
        self.nodes[i] = None;
        let ends: Vec<_> = self
            .wires
            .iter()
            .filter(|(a, b)| a.0 == i || b.0 == i)
            .map(|(a, _)| *a)
            .collect();
        for end in ends {
            self.wires.remove(&end);
            if let Some(node) = &mut self.nodes[end.0] {
                node.handle(
                    self.now,
                    Input::LinkDown {
                        link: end.1,
                        why: LinkError::Broken,
                    },
                );
            }
        }
    }

    /// Reads the clocks of a node.
    fn clock(&self, i: usize) -> Now {
        let ahead_ms = self.ahead_ms.get(&i).copied().unwrap_or(0);
        let wall_ms = self.now.wall.as_millis().saturating_add_signed(ahead_ms);
        Now::new(self.now.mono, Wall::from_millis(wall_ms))
    }

    fn node(&mut self, i: usize) -> &mut Node {
        self.nodes[i].as_mut().unwrap()
    }

    /// Handles everything until no node has an output left.
    fn quiesce(&mut self) {
        let mut inputs: VecDeque<(usize, Input)> = VecDeque::new();
        loop {
            for i in 0..self.nodes.len() {
                let now = self.clock(i);
                let Some(node) = &mut self.nodes[i] else {
                    continue;
                };
                node.handle(now, Input::Tick);
                node.inspect().check();
                while let Some(output) = self.nodes[i].as_mut().and_then(Node::poll_output) {
                    self.output(i, output, &mut inputs);
                }
            }
            if inputs.is_empty() {
                return;
            }
            for (to, input) in core::mem::take(&mut inputs) {
                let now = self.clock(to);
                if let Some(node) = &mut self.nodes[to] {
                    node.handle(now, input);
                }
            }
        }
    }

    fn output(&mut self, i: usize, output: Output, inputs: &mut VecDeque<(usize, Input)>) {
        match output {
            Output::Send { to, msg, .. } => {
                for link in to.as_slice() {
                    let Some((peer, theirs)) = self.wires.get(&(i, *link)).copied() else {
                        continue;
                    };
                    if !(self.cut)(i, peer, &msg) {
                        inputs.push_back((
                            peer,
                            Input::Message {
                                link: theirs,
                                msg: (*msg).clone(),
                            },
                        ));
                    }
                }
            }
            Output::Dial { dial, addr } => {
                let peer: usize = addr.parse().unwrap();
                if self.nodes.get(peer).is_none_or(Option::is_none) {
                    return inputs.push_back((
                        i,
                        Input::DialFailed {
                            dial,
                            why: LinkError::Unreachable,
                        },
                    ));
                }
                let (ours, theirs) = (LinkId(self.next_link), LinkId(self.next_link + 1));
                self.next_link += 2;
                self.wires.insert((i, ours), (peer, theirs));
                self.wires.insert((peer, theirs), (i, ours));
                let (mine, other) = (self.node(i).hello(), self.node(peer).hello());
                inputs.push_back((
                    i,
                    Input::LinkUp {
                        link: ours,
                        dial: Some(dial),
                        hello: other,
                    },
                ));
                inputs.push_back((
                    peer,
                    Input::LinkUp {
                        link: theirs,
                        dial: None,
                        hello: mine,
                    },
                ));
            }
            Output::Hangup { link, .. } => {
                if let Some((peer, theirs)) = self.wires.remove(&(i, link)) {
                    self.wires.remove(&(peer, theirs));
                    inputs.push_back((
                        peer,
                        Input::LinkDown {
                            link: theirs,
                            why: LinkError::Closed,
                        },
                    ));
                }
                inputs.push_back((
                    i,
                    Input::LinkDown {
                        link,
                        why: LinkError::Closed,
                    },
                ));
            }
            Output::Store { seq, batch, sync } => {
                for op in batch {
                    op.apply(&mut self.disks[i]);
                }
                if sync {
                    inputs.push_back((i, Input::Stored { upto: seq }));
                }
            }
            Output::Load { load, query } if self.holds_loads => self.loads.push((i, load, query)),
            Output::Load { load, query } => {
                let result = Ok(self.disks[i].get(&query).cloned());
                inputs.push_back((i, Input::Loaded { load, result }));
            }
            Output::Reply { token, result } => {
                self.replies.insert(token, result);
            }
            Output::Event(event) => self.events.push((i, event)),
            Output::Changed { .. } | Output::Halt(_) => {}
        }
    }

    fn run(&mut self, millis: u64) {
        let end = self.now.mono + Duration::from_millis(millis);
        loop {
            self.quiesce();
            let next = self
                .nodes
                .iter()
                .flatten()
                .filter_map(Node::next_deadline)
                .map(|d| d.at)
                .min();
            let next = next
                .map_or(end, |at| at.max(self.now.mono + Duration::from_micros(100)))
                .min(end);
            let step = next.since(self.now.mono);
            self.now = Now::new(
                next,
                Wall::from_millis(1_700_000_000_000 + next.as_micros() / 1_000),
            );
            if step.is_zero() && next == end {
                return;
            }
            if next == end {
                self.quiesce();
                return;
            }
        }
    }

    fn put(&mut self, i: usize, key: &str, value: &str) {
        let now = self.clock(i);
        let value = Bytes::copy_from_slice(value.as_bytes());
        let write = Write::Put {
            key: key.as_bytes(),
            value,
            expires: None,
        };
        self.node(i).write(now, TableId::DEFAULT, write).unwrap();
    }

    fn delete(&mut self, i: usize, key: &str) {
        let now = self.clock(i);
        self.node(i)
            .write(
                now,
                TableId::DEFAULT,
                Write::Delete {
                    key: key.as_bytes(),
                },
            )
            .unwrap();
    }

    fn get(&self, i: usize, key: &str) -> Option<Bytes> {
        let node = self.nodes[i].as_ref().unwrap();
        node.view(self.clock(i))
            .get(TableId::DEFAULT, key.as_bytes())
            .row()
            .and_then(|row| row.value().cloned())
    }

    fn everywhere(&self, key: &str) -> Vec<Option<Bytes>> {
        (0..self.nodes.len())
            .filter(|i| self.nodes[*i].is_some())
            .map(|i| self.get(i, key))
            .collect()
    }

    /// Rows that each node hides.
    fn hidden(&self) -> Vec<u64> {
        let nodes = self.nodes.iter().flatten();
        nodes
            .map(|node| node.status(self.now).hidden_rows)
            .collect()
    }

    fn tombstones(&self) -> Vec<u64> {
        self.nodes
            .iter()
            .flatten()
            .map(|node| node.status(self.now).tombstones)
            .collect()
    }
}

fn value(text: &str) -> Option<Bytes> {
    Some(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn a_write_reaches_every_member() {
    for storage in [Storage::None, Storage::Ordered] {
        let mut lab = Lab::new(3, storage, true);
        lab.run(3_000);
        for node in lab.nodes.iter().flatten() {
            assert_eq!(node.status(lab.now).phase, NodePhase::Member);
            assert_eq!(node.members().len(), 3, "{:?}", lab.events);
        }
        lab.put(1, "k", "v");
        lab.quiesce();
        assert_eq!(lab.everywhere("k"), std::vec![value("v"); 3]);
    }
}

#[test]
fn two_populated_singles_become_one_cluster_with_the_rows_of_both() {
    let mut lab = Lab::new(3, Storage::Ordered, false);
    lab.put(0, "a", "0");
    lab.put(1, "b", "1");
    lab.run(500);
    for (i, token) in [(1, 7), (2, 8)] {
        let request = Request::Join {
            addr: "0".to_string(),
        };
        let now = lab.now;
        lab.node(i).handle(
            now,
            Input::Request {
                token: Token(token),
                deadline: None,
                request,
            },
        );
        lab.run(3_000);
        assert!(
            matches!(
                lab.replies.get(&Token(token)),
                Some(Ok(Response::Joined(_)))
            ),
            "{:?}",
            lab.replies
        );
    }
    assert_eq!(lab.everywhere("a"), std::vec![value("0"); 3]);
    assert_eq!(lab.everywhere("b"), std::vec![value("1"); 3]);
}

#[test]
fn a_lost_push_is_fetched() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.cut = Box::new(|_, to, msg| {
        to == 2 && matches!(msg, wire::Message::Gossip(wire::GossipMessage::Push(_)))
    });
    lab.put(0, "k", "v");
    lab.quiesce();
    assert_eq!(lab.get(2, "k"), None);
    lab.run(4_000);
    assert_eq!(lab.get(2, "k"), value("v"));
}

#[test]
fn a_delete_is_freed_when_every_member_has_it_and_not_before() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(3_000);
    lab.stop(2);
    lab.delete(1, "k");
    lab.run(30_000);
    assert_eq!(lab.tombstones(), [1, 1]);
    lab.start(2);
    assert_eq!(lab.get(2, "k"), value("v"), "the row is back from its disk");
    lab.run(15_000);
    assert_eq!(lab.everywhere("k"), std::vec![None; 3]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn a_leaver_hands_over_and_rejoins() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "gone", "v");
    lab.put(0, "kept", "v");
    lab.run(3_000);
    let now = lab.now;
    lab.node(2).handle(
        now,
        Input::Request {
            token: Token(1),
            deadline: None,
            request: Request::Leave,
        },
    );
    lab.run(5_000);
    let whole = Handover {
        others: 2,
        holders: 2,
        wanted: 2,
        told: 2,
    };
    assert_eq!(lab.replies.get(&Token(1)), Some(&Ok(Response::Left(whole))));
    lab.stop(2);
    lab.delete(1, "gone");
    lab.put(1, "new", "v");
    lab.run(5_000);
    assert_eq!(lab.tombstones(), [0, 0], "nobody waits for one that left");
    lab.start(2);
    assert_eq!(lab.get(2, "gone"), value("v"));
    lab.run(10_000);
    assert_eq!(
        lab.everywhere("gone"),
        std::vec![None; 3],
        "{:?}",
        lab.events
    );
    assert_eq!(lab.everywhere("kept"), std::vec![value("v"); 3]);
    assert_eq!(lab.everywhere("new"), std::vec![value("v"); 3]);
    lab.put(2, "again", "v");
    lab.quiesce();
    assert_eq!(lab.everywhere("again"), std::vec![value("v"); 3]);
}

#[test]
fn a_leaver_that_no_member_hears_does_not_spin() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let mut now = lab.now;
    let node = lab.node(0);
    let (token, deadline) = (Token(1), None);
    let request = Request::Leave;
    node.handle(
        now,
        Input::Request {
            token,
            deadline,
            request,
        },
    );
    // Nothing it sends arrives and nothing it stores is synced. Past its time it announces its departure, and waits again.
    now.mono = now.mono + Duration::from_millis(3_100);
    for _ in 0..2 {
        node.handle(now, Input::Tick);
    }
    let next = node.next_deadline().unwrap();
    assert!(next.at > now.mono, "{next:?}");
}

#[test]
fn a_cluster_that_left_one_by_one_comes_back_whole() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    for i in 0..3 {
        lab.put(i, &std::format!("k{i}"), "v");
        lab.run(2_500);
        let now = lab.now;
        let token = Token(i as u64);
        lab.node(i).handle(
            now,
            Input::Request {
                token,
                deadline: None,
                request: Request::Leave,
            },
        );
        lab.run(6_000);
        assert!(lab.replies.contains_key(&token));
        lab.stop(i);
    }
    for i in 0..3 {
        lab.start(i);
        lab.run(5_000);
    }
    lab.run(10_000);
    for key in ["k0", "k1", "k2"] {
        assert_eq!(
            lab.everywhere(key),
            std::vec![value("v"); 3],
            "{:?}",
            lab.events
        );
    }
}

#[test]
fn a_lone_node_that_left_comes_back_as_a_member_and_can_be_joined() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.stop(1);
    lab.disks[1].clear();
    lab.put(0, "k", "v");
    lab.run(2_000);
    let (now, token) = (lab.now, Token(1));
    let (deadline, request) = (None, Request::Leave);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(0).handle(now, input);
    lab.run(5_000);
    assert!(lab.replies.contains_key(&token));
    lab.stop(0);
    lab.start(0);
    assert_eq!(lab.node(0).status(now).phase, NodePhase::Member);
    lab.start(1);
    lab.run(5_000);
    assert_eq!(lab.everywhere("k"), [value("v"), value("v")]);
}

#[test]
fn a_flush_kills_older_rows_in_whatever_order_they_arrive() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "old", "v");
    lab.quiesce();
    let now = lab.now;
    lab.node(1).flush(now, None).unwrap();
    lab.put(1, "new", "v");
    lab.run(1_000);
    assert_eq!(lab.everywhere("old"), [None, None]);
    assert_eq!(lab.everywhere("new"), [value("v"), value("v")]);
}

#[test]
fn an_expired_row_is_gone_everywhere_and_freed() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let now = lab.now;
    let expires = Some(now.wall + Duration::from_millis(500));
    let write = Write::Put {
        key: b"k",
        value: Bytes::from_static(b"v"),
        expires,
    };
    lab.node(0).write(now, TableId::DEFAULT, write).unwrap();
    lab.quiesce();
    assert_eq!(lab.everywhere("k"), [value("v"), value("v")]);
    lab.run(600);
    assert_eq!(lab.everywhere("k"), [None, None]);
    assert_eq!(lab.hidden(), [1, 1], "it waits for the clocks of both");
    lab.run(70_000);
    assert_eq!(
        (lab.hidden(), lab.tombstones()),
        (std::vec![0, 0], std::vec![0, 0])
    );
}

#[test]
fn once_a_join_is_answered_a_write_anywhere_reaches_all_at_once() {
    let mut lab = Lab::new(4, Storage::Ordered, false);
    for i in 1..4 {
        let (now, token) = (lab.now, Token(i as u64));
        let addr = "0".to_string();
        let request = Request::Join { addr };
        let deadline = None;
        lab.node(i).handle(
            now,
            Input::Request {
                token,
                deadline,
                request,
            },
        );
        for _ in 0..500 {
            lab.run(10);
            if lab.replies.contains_key(&token) {
                break;
            }
        }
        assert!(lab.replies[&token].is_ok());
        lab.put(i - 1, &std::format!("k{i}"), "v");
        lab.quiesce();
        for at in 0..=i {
            assert_eq!(lab.get(at, &std::format!("k{i}")), value("v"), "node {at}");
        }
    }
}

impl Lab {
    /// Runs three members, deletes a row that the third holds on its disk, and ends the third once every member has freed the delete.
    /// Returns the disk as it was before the delete.
    fn with_an_old_copy() -> (Lab, BTreeMap<Bytes, Bytes>) {
        let mut lab = Lab::new(3, Storage::Ordered, true);
        lab.run(3_000);
        lab.put(0, "gone", "v");
        lab.put(1, "kept", "v");
        lab.put(2, "own", "v");
        lab.run(3_000);
        let copy = lab.disks[2].clone();
        lab.delete(1, "gone");
        lab.put(1, "kept", "newer");
        lab.run(10_000);
        assert_eq!(lab.tombstones(), [0, 0, 0]);
        lab.stop(2);
        (lab, copy)
    }

    fn marked(&self, i: usize, name: &str) -> bool {
        let node = self.nodes[i].as_ref().unwrap();
        node.inspect().marks().any(|(mark, _)| mark.name() == name)
    }

    fn expect_only_kept_and_own(&self) {
        assert_eq!(self.everywhere("gone"), std::vec![None; 3]);
        assert_eq!(self.everywhere("kept"), std::vec![value("newer"); 3]);
        assert_eq!(self.everywhere("own"), std::vec![value("v"); 3]);
        let phases = self.nodes.iter().flatten();
        assert!(
            phases
                .map(|node| node.status(self.now).phase)
                .all(|s| s == NodePhase::Member)
        );
    }
}

#[test]
fn a_restored_store_revives_nothing() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    lab.disks[2] = copy;
    lab.configs[2].restored = true;
    lab.start(2);
    assert_eq!(lab.get(2, "gone"), value("v"), "it serves what it has");
    lab.run(10_000);
    assert!(lab.marked(2, "behind") && lab.marked(2, "rejoined"));
    lab.expect_only_kept_and_own();
    lab.put(2, "after", "v");
    lab.quiesce();
    assert_eq!(lab.everywhere("after"), std::vec![value("v"); 3]);
}

#[test]
fn a_whole_cluster_that_was_restored_goes_on_from_the_newest_copy() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    lab.disks[2] = copy;
    for i in 0..3 {
        lab.stop(i);
        lab.configs[i].restored = true;
    }
    for i in [2, 1, 0] {
        lab.start(i);
        lab.run(3_000);
    }
    lab.run(10_000);
    lab.expect_only_kept_and_own();
}

#[test]
fn an_evicted_node_rejoins() {
    let (mut lab, _) = Lab::with_an_old_copy();
    lab.put(0, "again", "v");
    lab.run(3_000);
    // An eviction writes the end of that generation, and the contexts it had seen.
    let id = lab.nodes[0].as_ref().map(|node| node.members()).unwrap();
    let evicted = id.iter().find(|member| member.name == "n2").unwrap();
    let key = crate::cluster::membership::departure_key(evicted.id, evicted.generation);
    let departure = crate::cluster::membership::Departure {
        contexts: Vec::new(),
        active: Vec::new(),
        evicted: None,
    };
    let now = lab.now;
    let node = lab.node(0);
    node.fx.set_now(now);
    node.modes.gossip.replica_mut().write_sys(
        &mut node.shared.rows(&mut node.fx),
        crate::table::sys::DEPARTED,
        &key,
        departure.encode(),
    );
    lab.run(3_000);
    lab.delete(1, "own");
    lab.run(5_000);
    assert_eq!(
        lab.tombstones(),
        [0, 0],
        "nobody waits for one that was evicted"
    );
    lab.start(2);
    assert_eq!(lab.get(2, "own"), value("v"));
    lab.run(10_000);
    assert_eq!(
        lab.everywhere("own"),
        std::vec![None; 3],
        "{:?}",
        lab.events
    );
    assert_eq!(lab.everywhere("again"), std::vec![value("v"); 3]);
}

impl Node {
    /// Returns this node's state in short.
    pub(super) fn own_status(&mut self) -> crate::wire::Status {
        self.modes_door(|modes, env| modes.gossip.own_status(&env.look()))
    }

    /// Returns how far a leave has come.
    pub(super) fn leaving_so_far(&mut self) -> crate::io::Handover {
        let (cluster, env) = self.cluster_door();
        cluster.leaving_so_far(&env)
    }
}
