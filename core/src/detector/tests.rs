//! Several detectors in virtual time, with chosen losses.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::*;
use crate::rng::{Seed, Stream};

mod lifeguard;

const GENERATION: u64 = 7;
const LATENCY: Duration = Duration::from_millis(5);

struct Net {
    nodes: BTreeMap<NodeId, Detector>,
    wire: BTreeMap<(Instant, u64), (NodeId, Action)>,
    cut: BTreeSet<(u64, u64)>,
    sent: u64,
    now: Instant,
    /// Everything ever asked for, in order.
    log: Vec<(Instant, NodeId, Action)>,
}

impl Net {
    fn new(count: u64, seed: u64) -> Self {
        let mut net = Net {
            nodes: BTreeMap::new(),
            wire: BTreeMap::new(),
            cut: BTreeSet::new(),
            sent: 0,
            now: Instant::ZERO,
            log: Vec::new(),
        };
        for id in 1..=count {
            let mut node = detector(id, seed);
            for other in (1..=count).filter(|other| *other != id) {
                assert!(
                    node.add(Instant::ZERO, NodeId(other), GENERATION, "")
                        .is_empty()
                );
            }
            net.nodes.insert(NodeId(id), node);
        }
        net
    }

    fn run(&mut self, seconds: u64) {
        let end = self.now + Duration::from_secs(seconds);
        loop {
            let due = self
                .nodes
                .iter()
                .filter_map(|(id, node)| Some((node.next_deadline()?, *id)))
                .min();
            let arrival = self.wire.first_key_value().map(|(key, _)| key.0);
            let Some(at) = due
                .map(|(at, _)| at)
                .into_iter()
                .chain(arrival)
                .min()
                .filter(|at| *at <= end)
            else {
                break;
            };
            self.now = self.now.max(at);
            if arrival == Some(at) {
                let Some((_, (from, action))) = self.wire.pop_first() else {
                    break;
                };
                self.deliver(from, action);
            } else if let Some((at, id)) = due {
                let now = self.now;
                let node = self.nodes.get_mut(&id).unwrap();
                let actions = node.tick(now);
                assert!(node.next_deadline() > Some(at), "a tick moves the deadline");
                self.carry_out(id, actions);
            }
        }
        self.now = end;
    }

    fn deliver(&mut self, from: NodeId, action: Action) {
        let now = self.now;
        let (to, actions) = match action {
            Action::Probe { to, nonce, rumors } => (
                to,
                self.nodes
                    .get_mut(&to)
                    .map(|n| n.on_probe(now, from, nonce, &rumors)),
            ),
            Action::Ack { to, nonce, rumors } => (
                to,
                self.nodes
                    .get_mut(&to)
                    .map(|n| n.on_ack(now, from, nonce, &rumors)),
            ),
            Action::IndirectProbe {
                via,
                target,
                nonce,
                rumors,
            } => (
                via,
                self.nodes
                    .get_mut(&via)
                    .map(|n| n.on_indirect_probe(now, from, target, nonce, &rumors)),
            ),
            Action::IndirectAck {
                to,
                nonce,
                alive,
                rumors,
            } => (
                to,
                self.nodes
                    .get_mut(&to)
                    .map(|n| n.on_indirect_ack(now, from, nonce, alive, &rumors)),
            ),
            verdict => panic!("{verdict:?} is not sent"),
        };
        self.carry_out(to, actions.unwrap_or_default());
    }

    fn carry_out(&mut self, from: NodeId, actions: Vec<Action>) {
        if let Some(node) = self.nodes.get(&from) {
            node.check();
        }
        for action in actions {
            self.log.push((self.now, from, action.clone()));
            let (to, rumors) = match &action {
                Action::Probe { to, rumors, .. }
                | Action::Ack { to, rumors, .. }
                | Action::IndirectAck { to, rumors, .. } => (*to, rumors),
                Action::IndirectProbe { via, rumors, .. } => (*via, rumors),
                _ => continue,
            };
            assert!(rumors.len() <= 8);
            if !self.cut.contains(&(from.0, to.0)) && self.nodes.contains_key(&to) {
                self.sent += 1;
                self.wire
                    .insert((self.now + LATENCY, self.sent), (from, action));
            }
        }
    }

    fn cut(&mut self, a: u64, b: u64) {
        self.cut.extend([(a, b), (b, a)]);
    }

    fn isolate(&mut self, a: u64) {
        let others: Vec<u64> = self
            .nodes
            .keys()
            .map(|id| id.0)
            .filter(|id| *id != a)
            .collect();
        others.into_iter().for_each(|b| self.cut(a, b));
    }

    fn state(&self, at: u64, of: u64) -> Option<RumorState> {
        self.nodes[&NodeId(at)].state(NodeId(of))
    }

    fn first(&self, wanted: impl Fn(&Action) -> bool) -> Option<Instant> {
        self.log
            .iter()
            .find(|(_, _, action)| wanted(action))
            .map(|(at, _, _)| *at)
    }

    fn seen(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.first(wanted).is_some()
    }
}

fn detector(id: u64, seed: u64) -> Detector {
    let rng = Rng::new(Seed::from_u64(seed * 1000 + id), Stream::Detector);
    Detector::new(
        (NodeId(id), ""),
        GENERATION,
        Instant::ZERO,
        Timing::default(),
        rng,
    )
}

/// Node 1 knowing `others` members from 2 on.
fn lone(others: u64) -> Detector {
    let mut node = detector(1, 1);
    for other in 2..2 + others {
        node.add(Instant::ZERO, NodeId(other), GENERATION, "");
    }
    node
}

fn rumor(node: u64, incarnation: u64, state: RumorState, from: u64) -> Rumor {
    Rumor {
        node: NodeId(node),
        generation: GENERATION,
        incarnation,
        state,
        from: NodeId(from),
    }
}

fn ms(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn is_verdict(action: &Action) -> bool {
    matches!(
        action,
        Action::Up(_) | Action::Suspect(_) | Action::Down(_) | Action::Refuted
    )
}

#[test]
fn a_healthy_cluster_gives_no_verdicts_and_rumors_dry_up() {
    let mut net = Net::new(8, 1);
    net.run(60);
    assert!(!net.seen(is_verdict));
    let probes = net
        .log
        .iter()
        .filter(|(_, _, action)| matches!(action, Action::Probe { .. }))
        .count();
    assert!(
        (8 * 59..=8 * 61).contains(&probes),
        "one probe a period: {probes}"
    );
    assert!(net.nodes.values().all(|node| node.health() == 0));
}

#[test]
fn silence_is_suspected_and_then_taken_for_death_in_time() {
    let mut net = Net::new(5, 2);
    net.run(5);
    net.nodes.remove(&NodeId(5));
    net.run(40);
    let suspect = net
        .first(|action| *action == Action::Suspect(NodeId(5)))
        .unwrap();
    let down = net
        .first(|action| *action == Action::Down(NodeId(5)))
        .unwrap();
    assert!(
        suspect.since(ms(5000)) <= Duration::from_secs(5),
        "{suspect}"
    );
    let patience = down.since(suspect);
    assert!(
        patience >= Duration::from_secs(4) && patience <= Duration::from_secs(24),
        "{patience:?}"
    );
    assert!((1..=4).all(|at| net.state(at, 5) == Some(RumorState::Down)));
    assert!((1..=4).all(|at| net.state(at, at % 4 + 1) == Some(RumorState::Alive)));
}

#[test]
fn a_death_is_agreed_on_within_a_period_so_that_the_shortest_patience_holds() {
    for seed in 1..=20 {
        let mut net = Net::new(10, seed);
        net.run(5);
        net.nodes.remove(&NodeId(10));
        net.run(40);
        let first = |verdict: Action| net.first(|action| *action == verdict).unwrap();
        let suspect = first(Action::Suspect(NodeId(10)));
        let patience = first(Action::Down(NodeId(10))).since(suspect);
        assert!(
            patience <= Duration::from_millis(4_500),
            "seed {seed}: {patience:?}"
        );
    }
}

#[test]
fn two_nodes_use_the_shortest_patience() {
    let mut net = Net::new(2, 3);
    net.nodes.remove(&NodeId(2));
    net.run(10);
    let suspect = net
        .first(|action| *action == Action::Suspect(NodeId(2)))
        .unwrap();
    let down = net
        .first(|action| *action == Action::Down(NodeId(2)))
        .unwrap();
    assert_eq!(down.since(suspect), Duration::from_secs(4));
}

#[test]
fn an_accused_member_refutes_everywhere() {
    let mut net = Net::new(6, 4);
    net.run(3);
    let now = net.now;
    let accuser = net.nodes.get_mut(&NodeId(1)).unwrap();
    let out = accuser.on_ack(now, NodeId(2), 0, &[rumor(6, 0, RumorState::Suspect, 2)]);
    net.carry_out(NodeId(1), out);
    net.run(20);
    assert!(net.seen(|action| *action == Action::Refuted));
    assert!(!net.seen(|action| matches!(action, Action::Down(_))));
    assert!((1..=5).all(|at| net.state(at, 6) == Some(RumorState::Alive)));
    assert!((1..=5).all(|at| net.nodes[&NodeId(at)].members[&NodeId(6)].incarnation == 1));
}

#[test]
fn a_probe_through_others_saves_a_pair_that_is_cut() {
    let mut net = Net::new(4, 5);
    net.cut(1, 2);
    net.run(60);
    assert!(net.seen(|action| matches!(action, Action::IndirectAck { alive: true, .. })));
    assert!(!net.seen(|action| matches!(action, Action::Suspect(_))));
}

#[test]
fn an_isolated_node_returns_by_itself() {
    let mut net = Net::new(4, 6);
    net.isolate(4);
    net.run(90);
    assert!((1..=3).all(|other| net.state(4, other) == Some(RumorState::Down)));
    assert!((1..=3).all(|at| net.state(at, 4) == Some(RumorState::Down)));
    net.cut.clear();
    net.run(8);
    assert!((1..=3).all(|other| net.state(4, other) == Some(RumorState::Alive)));
    assert!((1..=3).all(|at| net.state(at, 4) == Some(RumorState::Alive)));
    let before = net.log.len();
    net.run(30);
    assert!(
        !net.log[before..]
            .iter()
            .any(|(_, _, action)| is_verdict(action)),
        "at rest"
    );
}

#[test]
fn the_dead_return_by_direct_contact_and_not_by_hearsay() {
    let mut node = lone(4);
    let out = node.on_ack(ms(1), NodeId(2), 0, &[rumor(3, 0, RumorState::Down, 2)]);
    assert_eq!(out, [Action::Down(NodeId(3))]);
    assert!(
        node.on_ack(ms(2), NodeId(2), 0, &[rumor(3, 0, RumorState::Alive, 2)])
            .is_empty()
    );
    let stranger = Rumor {
        generation: GENERATION + 1,
        ..rumor(3, 9, RumorState::Alive, 2)
    };
    assert!(node.on_ack(ms(2), NodeId(2), 0, &[stranger]).is_empty());
    assert_eq!(node.state(NodeId(3)), Some(RumorState::Down));
    assert!(node.direct(ms(3), NodeId(3), GENERATION - 1).is_empty());
    assert_eq!(
        node.direct(ms(3), NodeId(3), GENERATION),
        [Action::Up(NodeId(3))]
    );
    // The old rumor still travels; we have just spoken with the member, and tell it.
    assert!(
        node.on_ack(ms(4), NodeId(2), 0, &[rumor(3, 0, RumorState::Down, 2)])
            .is_empty()
    );
    let out = node.on_probe(ms(5), NodeId(3), 1, &[]);
    let [Action::Ack { rumors, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(rumors[0], rumor(3, 0, RumorState::Down, 2));
    node.check();
}

#[test]
fn a_newer_generation_is_alive_and_the_older_one_is_ignored() {
    let mut node = lone(4);
    node.on_ack(ms(1), NodeId(2), 0, &[rumor(3, 5, RumorState::Down, 2)]);
    assert_eq!(
        node.add(ms(2), NodeId(3), GENERATION + 1, ""),
        [Action::Up(NodeId(3))]
    );
    assert!(
        node.on_ack(ms(3), NodeId(2), 0, &[rumor(3, 6, RumorState::Down, 2)])
            .is_empty()
    );
    assert!(node.add(ms(3), NodeId(3), GENERATION, "").is_empty());
    assert_eq!(node.state(NodeId(3)), Some(RumorState::Alive));
    assert!(node.direct(ms(4), NodeId(3), GENERATION + 2).is_empty());
    assert_eq!(node.members[&NodeId(3)].generation, GENERATION + 2);
    node.check();
}

#[test]
fn a_node_that_gets_no_answers_doubts_itself() {
    let mut net = Net::new(8, 7);
    net.run(5);
    net.isolate(8);
    net.run(8);
    assert!(net.nodes[&NodeId(8)].health() >= 3, "missed answers count");
    assert!(net.nodes[&NodeId(1)].health() <= 2, "the others stay well");
    let probes = |net: &Net, id| {
        net.log
            .iter()
            .filter(|(at, from, action)| {
                *at >= ms(13_000) && *from == NodeId(id) && matches!(action, Action::Probe { .. })
            })
            .count()
    };
    net.run(6);
    assert!(
        probes(&net, 8) * 2 < probes(&net, 1),
        "its period is stretched"
    );
    let mut stretched = lone(1);
    stretched.health.worsen(99);
    assert_eq!(stretched.health(), 8);
    let start = stretched.next_deadline().unwrap();
    stretched.tick(start);
    assert_eq!(
        stretched.next_deadline().unwrap().since(start),
        Duration::from_millis(2700)
    );
}

#[test]
fn accusations_of_this_node_are_outbid() {
    let mut node = lone(2);
    let out = node.on_probe(ms(1), NodeId(2), 4, &[rumor(1, 0, RumorState::Suspect, 3)]);
    assert_eq!(out[0], Action::Refuted);
    let [_, Action::Ack { rumors, .. }] = &out[..] else {
        panic!("{out:?}")
    };
    assert_eq!(rumors[0], rumor(1, 1, RumorState::Alive, 1));
    node.on_probe(ms(1), NodeId(2), 4, &[rumor(1, 40, RumorState::Alive, 3)]);
    assert_eq!(node.incarnation(), 41);
    let out = node.on_probe(ms(1), NodeId(2), 4, &[rumor(1, 3, RumorState::Down, 3)]);
    assert!(
        !out.contains(&Action::Refuted),
        "an old accusation is only answered"
    );
    node.on_probe(
        ms(1),
        NodeId(2),
        4,
        &[rumor(1, u64::MAX, RumorState::Down, 3)],
    );
    assert_eq!(node.incarnation(), 41, "no incarnation refutes that");
    let other_generation = Rumor {
        generation: GENERATION + 1,
        ..rumor(1, 50, RumorState::Down, 3)
    };
    node.on_probe(ms(1), NodeId(2), 4, &[other_generation]);
    assert_eq!(node.incarnation(), 41);
}

#[test]
fn rumors_add_no_member_and_stay_bounded() {
    let mut node = lone(3);
    let strangers: Vec<Rumor> = (10..60)
        .map(|id| rumor(id, 0, RumorState::Suspect, 2))
        .collect();
    assert!(node.on_ack(ms(1), NodeId(2), 0, &strangers).is_empty());
    assert_eq!(node.iter().count(), 3);
    node.on_ack(ms(1), NodeId(2), 0, &[rumor(3, 0, RumorState::Suspect, 2)]);
    let mut told = 0;
    for nonce in 0..100 {
        for action in node.on_probe(ms(2), NodeId(4), nonce, &[]) {
            let Action::Ack { rumors, .. } = action else {
                panic!()
            };
            told += rumors.len();
        }
    }
    assert_eq!(told, 9, "3 * ceil(log2(4 + 1))");
    node.remove(NodeId(3));
    node.check();
    assert_eq!(node.state(NodeId(3)), None);
}

#[test]
fn a_lost_link_is_probed_at_once_and_only_once() {
    let mut node = lone(3);
    node.lost(ms(1), NodeId(3));
    node.lost(ms(1), NodeId(99));
    assert_eq!(node.next_deadline(), Some(ms(1)));
    let out = node.tick(ms(1));
    assert!(
        out.iter()
            .any(|action| matches!(action, Action::Probe { to: NodeId(3), .. }))
    );
    node.lost(ms(1), NodeId(3));
    assert!(node.tick(ms(1)).is_empty(), "already under way");
    assert!(node.next_deadline() > Some(ms(1)));
    node.check();
}

#[test]
fn many_lost_links_wait_for_room_without_a_busy_loop() {
    let mut node = lone(200);
    (2..202).for_each(|id| node.lost(ms(0), NodeId(id)));
    let mut now = ms(0);
    for _ in 0..2000 {
        let Some(at) = node.next_deadline() else {
            break;
        };
        now = now.max(at);
        node.tick(now);
        assert!(node.next_deadline().is_none_or(|next| next > now));
        node.check();
    }
    assert!(node.iter().all(|(_, state)| state == RumorState::Down));
}

#[test]
fn requests_to_probe_are_capped_and_answered() {
    let mut node = lone(2);
    let own = node.on_indirect_probe(ms(1), NodeId(2), NodeId(1), 5, &[]);
    assert_eq!(
        own,
        [Action::IndirectAck {
            to: NodeId(2),
            nonce: 5,
            alive: true,
            rumors: vec![]
        }]
    );
    for nonce in 0..3000 {
        node.on_indirect_probe(ms(1), NodeId(2), NodeId(3), nonce, &[]);
    }
    assert_eq!(node.relays.len(), MAX_RELAYS);
    let out = node.tick(ms(301));
    let nacks = out
        .iter()
        .filter(|action| matches!(action, Action::IndirectAck { alive: false, .. }))
        .count();
    assert_eq!(nacks, MAX_RELAYS);
    node.check();
}

#[test]
fn one_seed_gives_one_run() {
    let run = |seed| {
        let mut net = Net::new(6, seed);
        net.cut(1, 2);
        net.run(10);
        net.isolate(6);
        net.run(30);
        net.cut.clear();
        net.run(20);
        net.log
    };
    assert_eq!(run(11), run(11));
    assert_ne!(run(11), run(12));
}

#[test]
fn two_that_took_each_other_for_dead_alone_hear_of_it_through_a_third() {
    for seed in 1..=20 {
        let mut net = Net::new(4, seed);
        net.run(3);
        net.cut(2, 3);
        // No member is there to be told, until all rumors are used up.
        net.isolate(1);
        net.isolate(4);
        net.run(120);
        assert_eq!(net.state(2, 3), Some(RumorState::Down));
        assert_eq!(net.state(3, 2), Some(RumorState::Down));
        net.cut.clear();
        net.cut(2, 3);
        net.run(15);
        for (at, of) in [(2, 3), (3, 2), (1, 2), (4, 3), (2, 1), (3, 4)] {
            assert_eq!(net.state(at, of), Some(RumorState::Alive), "{at} of {of}");
        }
    }
}

#[test]
fn each_of_the_living_is_asked_about_each_of_the_dead_one_question_a_period() {
    let mut net = Net::new(7, 5);
    net.run(3);
    for dead in [6, 7] {
        net.nodes.remove(&NodeId(dead));
    }
    net.run(60);
    net.log.clear();
    net.run(8);
    let asked = net.log.iter().filter_map(|(_, from, action)| match action {
        Action::IndirectProbe { via, target, .. } if *from == NodeId(1) => Some((via.0, target.0)),
        _ => None,
    });
    let asked: Vec<(u64, u64)> = asked.collect();
    let pairs: BTreeSet<(u64, u64)> = asked.iter().copied().collect();
    assert!((7..=9).contains(&asked.len()), "{asked:?}");
    assert_eq!(pairs.len(), 8.min(asked.len()), "{asked:?}");
}
