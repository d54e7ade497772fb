//! Each rule of Lifeguard, and of zones, by itself.

use super::*;

/// Ticks `node`, which hears no answers, until it suspects a member. Returns that time and that member.
fn until_suspect(node: &mut Detector) -> (Instant, NodeId) {
    loop {
        let now = node.next_deadline().unwrap();
        for action in node.tick(now) {
            if let Action::Suspect(member) = action {
                return (now, member);
            }
        }
    }
}

#[test]
fn flapping_storms_are_damped_a_lone_accuser_has_to_be_confirmed() {
    // The nine others are silent, as they seem to a node that is cut off or overloaded.
    let mut node = lone(9);
    let (since, suspect) = until_suspect(&mut node);
    let deadline = |node: &Detector| {
        let suspicion = node.members[&suspect].suspicion.as_ref().unwrap();
        suspicion.deadline().since(since).as_secs()
    };
    assert_eq!(deadline(&node), 24, "alone it waits six times as long");
    let others: Vec<u64> = (2..11).filter(|id| *id != suspect.0).collect();
    let accuse = |node: &mut Detector, from: u64| {
        let says = rumor(suspect.0, 0, RumorState::Suspect, from);
        node.on_ack(since, NodeId(others[0]), 0, &[says])
    };
    assert!(accuse(&mut node, others[1]).is_empty());
    assert_eq!(deadline(&node), 14);
    accuse(&mut node, others[1]);
    assert_eq!(deadline(&node), 14, "the same accuser counts once");
    accuse(&mut node, 99);
    accuse(&mut node, suspect.0);
    assert_eq!(deadline(&node), 14, "strangers and the suspect count never");
    accuse(&mut node, others[2]);
    accuse(&mut node, others[3]);
    assert_eq!(deadline(&node), 4, "three others agree");
    accuse(&mut node, others[4]);
    assert_eq!(deadline(&node), 4);
    node.check();
}

#[test]
fn a_confirmation_is_passed_on_so_that_others_count_it() {
    let mut node = lone(9);
    for from in [2, 4] {
        node.on_ack(
            ms(1),
            NodeId(from),
            0,
            &[rumor(3, 0, RumorState::Suspect, from)],
        );
        let out = node.on_probe(ms(2), NodeId(5), 0, &[]);
        let [Action::Ack { rumors, .. }] = &out[..] else {
            panic!("{out:?}")
        };
        assert_eq!(rumors[0], rumor(3, 0, RumorState::Suspect, from));
    }
}

#[test]
fn a_suspect_is_the_first_to_hear_of_it() {
    let mut node = lone(9);
    let news: Vec<Rumor> = (3..9)
        .map(|id| rumor(id, 0, RumorState::Suspect, 2))
        .collect();
    node.on_ack(ms(1), NodeId(2), 0, &news);
    // Rumors are told three times the logarithm; the suspect is told for as long as it is one.
    for nonce in 0..200 {
        node.on_probe(ms(2), NodeId(10), nonce, &[]);
    }
    node.lost(ms(3), NodeId(7));
    let out = node.tick(ms(3));
    let told = out.iter().find_map(|action| match action {
        Action::Probe {
            to: NodeId(7),
            rumors,
            ..
        } => rumors.first(),
        _ => None,
    });
    assert_eq!(told, Some(&rumor(7, 0, RumorState::Suspect, 2)), "{out:?}");
}

/// Node 1 probes node 2, which is silent; of those that it asks, so many answer that they had no answer either.
fn health_after(answers: usize) -> u32 {
    let mut node = lone(9);
    node.lost(ms(0), NodeId(2));
    node.tick(ms(0));
    let out = node.tick(ms(300));
    let asked: Vec<(NodeId, u64)> = out
        .iter()
        .filter_map(|action| match action {
            Action::IndirectProbe { via, nonce, .. } => Some((*via, *nonce)),
            _ => None,
        })
        .collect();
    assert_eq!(asked.len(), 3);
    for (via, nonce) in asked.iter().take(answers) {
        node.on_indirect_ack(ms(600), *via, *nonce, false, &[]);
        // An answer counts once, and no helper answers for another.
        node.on_indirect_ack(ms(600), *via, *nonce, false, &[]);
        node.on_indirect_ack(ms(600), NodeId(2 + 40), *nonce, false, &[]);
    }
    // A probe of another member may have begun meanwhile: it is answered.
    for id in (3..11).map(NodeId) {
        let _ = node.members[&id].probe.map(|_| node.end_probe(id));
    }
    assert!(node.tick(ms(1_000)).contains(&Action::Suspect(NodeId(2))));
    node.health()
}

#[test]
fn helpers_that_answer_clear_this_node_and_those_that_do_not_blame_it() {
    assert_eq!([3, 2, 1, 0].map(health_after), [0, 1, 2, 3]);
}

#[test]
fn a_helper_says_in_time_that_it_got_no_answer() {
    let mut helper = lone(5);
    // Its own troubles do not make the asker wait.
    helper.health.worsen(8);
    helper.on_indirect_probe(ms(0), NodeId(2), NodeId(3), 77, &[]);
    let out = helper.tick(ms(300));
    let says_no = |action: &Action| {
        matches!(
            action,
            Action::IndirectAck {
                to: NodeId(2),
                nonce: 77,
                alive: false,
                ..
            }
        )
    };
    assert!(out.iter().any(says_no), "{out:?}");
}

#[test]
fn a_node_that_doubts_itself_gives_answers_more_time() {
    let mut node = lone(5);
    node.health.worsen(2);
    node.lost(ms(0), NodeId(2));
    node.tick(ms(0));
    let asks = |out: &[Action]| {
        out.iter()
            .any(|action| matches!(action, Action::IndirectProbe { .. }))
    };
    assert!(!asks(&node.tick(ms(899))));
    assert!(asks(&node.tick(ms(900))), "three times 300 ms");
}

#[test]
fn a_node_that_stood_still_condemns_no_other_before_it_has_read_its_mail() {
    let mut node = lone(9);
    node.on_ack(ms(0), NodeId(2), 0, &[rumor(3, 0, RumorState::Suspect, 2)]);
    let healthy = node.health();
    // The process was stopped for two minutes: the suspect had its time, but not to this node.
    let out = node.tick(ms(120_000));
    assert!(
        !out.iter().any(|action| matches!(action, Action::Down(_))),
        "{out:?}"
    );
    assert_eq!(node.health(), healthy + 1, "it doubts itself");
    node.tick(ms(120_400));
    assert_eq!(node.state(NodeId(3)), Some(RumorState::Suspect));
    let refuted = rumor(3, 1, RumorState::Alive, 3);
    let out = node.on_ack(ms(120_500), NodeId(2), 0, &[refuted]);
    assert_eq!(out, [Action::Up(NodeId(3))]);
    node.check();
    // Without a refutation a period later it is over.
    let mut node = lone(9);
    node.on_ack(ms(0), NodeId(2), 0, &[rumor(3, 0, RumorState::Suspect, 2)]);
    node.tick(ms(120_000));
    assert!(node.tick(ms(121_000)).contains(&Action::Down(NodeId(3))));
    node.check();
}

#[test]
fn only_the_member_itself_takes_back_what_is_said_of_it() {
    let mut node = lone(4);
    node.on_ack(ms(1), NodeId(2), 0, &[rumor(3, 4, RumorState::Suspect, 2)]);
    for incarnation in [0, 3, 4] {
        let hearsay = rumor(3, incarnation, RumorState::Alive, 2);
        assert!(node.on_ack(ms(2), NodeId(2), 0, &[hearsay]).is_empty());
    }
    let refuted = rumor(3, 5, RumorState::Alive, 3);
    let out = node.on_ack(ms(3), NodeId(2), 0, &[refuted]);
    assert_eq!(out, [Action::Up(NodeId(3))]);
}

/// Twelve nodes in three zones, by their number.
fn zoned(seed: u64) -> Net {
    let mut net = Net::new(0, seed);
    let zone = |id: u64| ["a", "b", "c"][id as usize % 3];
    for id in 1..=12 {
        let rng = Rng::new(Seed::from_u64(seed * 1000 + id), Stream::Detector);
        let mut node = Detector::new(
            (NodeId(id), zone(id)),
            GENERATION,
            Instant::ZERO,
            Timing::default(),
            rng,
        );
        for other in (1..=12).filter(|other| *other != id) {
            node.add(Instant::ZERO, NodeId(other), GENERATION, zone(other));
        }
        net.nodes.insert(NodeId(id), node);
    }
    net
}

#[test]
fn a_zone_that_is_cut_off_is_noticed_although_most_probes_stay_at_home() {
    let mut net = zoned(1);
    net.run(60);
    assert!(!net.seen(is_verdict));
    let near = |(_, from, action): &&(Instant, NodeId, Action)| match action {
        Action::Probe { to, .. } => to.0 % 3 == from.0 % 3,
        _ => false,
    };
    let probes = |net: &Net| {
        let is_probe =
            |(_, _, action): &&(Instant, NodeId, Action)| matches!(action, Action::Probe { .. });
        net.log.iter().filter(is_probe).count()
    };
    let (near, all) = (net.log.iter().filter(near).count(), probes(&net));
    assert!(
        near * 10 > all * 7 && near * 10 < all * 8,
        "{near} of {all}"
    );
    let cut = net.now;
    for a in (1..=12).filter(|id| id % 3 == 0) {
        for b in (1..=12).filter(|id| id % 3 != 0) {
            net.cut(a, b);
        }
    }
    net.run(120);
    for (at, of) in [(3, 1), (1, 3), (12, 11), (11, 12)] {
        assert_eq!(net.state(at, of), Some(RumorState::Down), "{of} at {at}");
    }
    assert_eq!(net.state(3, 12), Some(RumorState::Alive));
    assert_eq!(net.state(1, 2), Some(RumorState::Alive));
    let first = net
        .log
        .iter()
        .find(|(_, _, action)| matches!(action, Action::Suspect(_)));
    let (at, ..) = first.unwrap();
    assert!(at.since(cut) < Duration::from_secs(10), "{at}");
}

#[test]
fn a_death_is_noticed_as_soon_with_zones_as_without() {
    let found = |net: &mut Net| {
        net.nodes.remove(&NodeId(7));
        net.run(30);
        net.first(|action| *action == Action::Suspect(NodeId(7)))
            .unwrap()
            .as_micros()
    };
    let (mut with, mut without) = (0, 0);
    for seed in 1..=20 {
        with += found(&mut zoned(seed));
        without += found(&mut Net::new(12, seed));
    }
    assert!(with < without * 3 / 2, "{with} and {without} us for twenty");
}

#[test]
fn a_new_generation_in_another_zone_changes_sides() {
    let mut node = lone(4);
    node.add(ms(1), NodeId(3), GENERATION + 1, "elsewhere");
    node.check();
    // A greeting brings the generation, the record its zone.
    node.direct(ms(2), NodeId(4), GENERATION + 1);
    node.add(ms(2), NodeId(4), GENERATION + 1, "elsewhere");
    node.check();
    assert_eq!(node.members[&NodeId(3)].zone, node.members[&NodeId(4)].zone);
    assert_ne!(node.members[&NodeId(3)].zone, node.zone);
    node.remove(NodeId(3));
    node.remove(NodeId(4));
    node.check();
}

#[test]
fn one_of_the_dead_is_looked_for_in_every_period_and_each_in_its_turn() {
    let mut node = lone(3);
    let news: Vec<Rumor> = (2..5).map(|id| rumor(id, 0, RumorState::Down, 2)).collect();
    node.on_ack(ms(0), NodeId(99), 0, &news);
    assert!(node.active.is_empty());
    let mut sought = Vec::new();
    while let Some(now) = node.next_deadline().filter(|now| *now <= ms(30_000)) {
        for action in node.tick(now) {
            if let Action::Seek(member) = action {
                sought.push(member.0);
            }
        }
    }
    assert_eq!(sought.len(), 30);
    for round in sought.chunks(3) {
        let distinct: BTreeSet<&u64> = round.iter().collect();
        assert_eq!(distinct.len(), 3, "{sought:?}");
    }
}

/// A member that has missed a death says the older state that it knows.
fn stays_dead(mut node: Detector) {
    node.on_ack(ms(1), NodeId(2), 0, &[rumor(3, 1, RumorState::Down, 2)]);
    let late = rumor(3, 1, RumorState::Alive, 3);
    assert_eq!(node.on_ack(ms(2), NodeId(2), 0, &[late]), []);
    assert_eq!(node.state(NodeId(3)), Some(RumorState::Down));
}

#[test]
fn hearsay_makes_no_zombies() {
    stays_dead(lone(4));
}

#[cfg(feature = "mutants")]
#[test]
#[should_panic(expected = "left: [Up")]
fn hearsay_that_revives_is_noticed() {
    let mut node = lone(4);
    node.rules = Rules::without(crate::mutants::Mutant::HearsayRevives);
    stays_dead(node);
}

/// A goodbye of the generation before comes when the next one is known already.
fn hears_a_late_goodbye(mut node: Detector) {
    let now = node.now;
    let up = node.add(now, NodeId(2), GENERATION + 1, "");
    assert!(up.is_empty(), "it was alive before");
    let said = node.stopped(now, NodeId(2), GENERATION);
    assert!(said.is_empty(), "the next generation goes on: {said:?}");
    let said = node.stopped(now, NodeId(2), GENERATION + 1);
    assert_eq!(said, [Action::Down(NodeId(2))]);
    let said = node.stopped(now, NodeId(2), GENERATION + 1);
    assert!(said.is_empty(), "it is down already");
    assert!(node.stopped(now, NodeId(9), GENERATION).is_empty());
    let up = node.direct(now, NodeId(2), GENERATION + 2);
    assert_eq!(up, [Action::Up(NodeId(2))], "it is back");
}

#[test]
fn a_goodbye_ends_the_generation_that_says_it_and_no_other() {
    hears_a_late_goodbye(lone(3));
}

#[test]
#[cfg(feature = "mutants")]
#[should_panic(expected = "the next generation goes on")]
fn planted_a_goodbye_outlives_its_generation() {
    let mut node = lone(3);
    node.rules = Rules::without(crate::mutants::Mutant::GoodbyeOutlives);
    hears_a_late_goodbye(node);
}
