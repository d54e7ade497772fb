//! Two nodes with one id or one name, leaves, and nodes that look for the others.

use std::vec::Vec;

use super::*;
use crate::wire::Denial;

impl Lab {
    /// Another machine, with the disk of `from`. Its address is its number, which is returned.
    fn copy(&mut self, from: usize, seeds: &[usize]) -> usize {
        let at = self.nodes.len();
        let mut config = self.configs[from].clone();
        config.addr = at.to_string();
        config.seeds = seeds.iter().map(ToString::to_string).collect();
        self.configs.push(config);
        let disk = self.disks[from].clone();
        self.disks.push(disk);
        self.nodes.push(None);
        self.start(at);
        at
    }

    pub(super) fn member(&self, at: usize, id: NodeId) -> MemberInfo {
        let members = self.nodes[at].as_ref().unwrap().members();
        members.into_iter().find(|member| member.id == id).unwrap()
    }

    fn leave(&mut self, i: usize) {
        let now = self.now;
        let input = Input::Request {
            token: Token(i as u64),
            deadline: None,
            request: Request::Leave,
        };
        self.node(i).handle(now, input);
    }

    fn left(&self, i: usize) -> Option<Handover> {
        match self.replies.get(&Token(i as u64)) {
            Some(Ok(Response::Left(handover))) => Some(*handover),
            _ => None,
        }
    }
}

#[test]
fn a_copy_is_refused_while_the_original_answers_and_let_in_when_it_is_gone() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    let id = lab.node(1).id();
    let before = lab.member(0, id).generation;
    let copy = lab.copy(1, &[0]);
    lab.run(20_000);
    let refused = Event::Refused {
        node: id,
        why: HangupReason::IdInUse,
    };
    for i in [0, 2] {
        assert!(lab.events.contains(&(i, refused.clone())), "n{i}");
        assert_eq!(lab.member(i, id).generation, before);
        assert_eq!(lab.member(i, id).state, MemberState::Alive);
    }
    let told = lab.events.iter().filter(|(i, event)| {
        let why = Denial::IdInUse;
        *i == copy && matches!(event, Event::Denied { why: said, .. } if *said == why)
    });
    let told = told.count();
    assert!(
        (2..20).contains(&told),
        "told, and not all the time: {told}"
    );
    lab.put(1, "k", "v");
    lab.quiesce();
    assert_eq!(lab.get(0, "k"), value("v"), "its links are as they were");
    assert_eq!(lab.get(2, "k"), value("v"));
    lab.stop(1);
    lab.run(15_000);
    for i in [0, 2] {
        assert!(
            lab.member(i, id).generation > before,
            "the copy is the member now"
        );
        assert_eq!(lab.member(i, id).state, MemberState::Alive);
    }
}

#[test]
fn a_restart_is_let_in_though_its_old_links_seem_to_be_up() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    let id = lab.node(1).id();
    let before = lab.member(0, id).generation;
    // The power went: no member is told.
    lab.nodes[1] = None;
    lab.run(100);
    lab.start(1);
    lab.run(4_000);
    for i in [0, 2] {
        assert!(lab.member(i, id).generation > before);
        assert_eq!(lab.member(i, id).state, MemberState::Alive);
    }
    lab.put(0, "k", "v");
    lab.quiesce();
    assert_eq!(lab.get(1, "k"), value("v"));
    let denied = |(_, event): &(usize, Event)| matches!(event, Event::Denied { .. });
    assert!(!lab.events.iter().any(denied), "{:?}", lab.events);
}

#[test]
fn a_name_that_is_used_twice_flags_the_later_one_until_it_is_free() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let first = lab.node(1).id();
    let late = lab.copy(0, &[0]);
    lab.stop(late);
    lab.disks[late].clear();
    lab.configs[late].name = "n1".to_string();
    lab.start(late);
    lab.run(3_000);
    let later = lab.node(late).id();
    let flagged = Event::DuplicateName {
        name: "n1".to_string(),
        later,
    };
    for i in [0, 1, late] {
        assert!(lab.events.contains(&(i, flagged.clone())), "n{i}");
        assert!(lab.member(i, later).duplicate_name);
        assert!(!lab.member(i, first).duplicate_name);
        assert_eq!(lab.member(i, later).state, MemberState::Alive);
    }
    lab.leave(1);
    lab.run(5_000);
    assert!(!lab.member(0, later).duplicate_name);
}

/// Nothing passes between the nodes of two groups.
fn apart(left: &'static [usize], right: &'static [usize]) -> Cut {
    Box::new(move |from, to, _| {
        let sides = |a: usize, b: usize| left.contains(&a) && right.contains(&b);
        sides(from, to) || sides(to, from)
    })
}

#[test]
pub(super) fn a_leave_waits_for_acks_of_two_or_says_what_it_leaves_behind() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(3, "k", "v");
    lab.run(2_000);
    lab.cut = apart(&[3], &[1, 2]);
    lab.put(3, "last", "v");
    lab.leave(3);
    lab.run(2_900);
    assert_eq!(lab.left(3), None, "one has everything, and is not enough");
    lab.run(2_000);
    let left = lab.left(3).unwrap();
    assert_eq!((left.others, left.holders, left.wanted), (3, 1, 2));
    assert!(!left.is_complete());
    let text = left.to_string();
    assert!(
        text.contains("1 of 3 other members have everything"),
        "{text}"
    );
}

#[test]
fn one_ack_is_enough_for_a_leaver_that_asks_for_one_or_has_one_other() {
    for (count, acks) in [(2, 2), (4, 1)] {
        let mut lab = Lab::new(count, Storage::Ordered, true);
        let last = count - 1;
        lab.configs[last].timing.leave_acks = acks;
        lab.stop(last);
        lab.start(last);
        lab.run(3_000);
        lab.cut = apart(&[3], &[1, 2]);
        lab.put(last, "last", "v");
        lab.leave(last);
        lab.run(2_500);
        let left = lab.left(last).unwrap();
        assert!(left.is_complete(), "{left}");
        assert_eq!((left.holders, left.others), (1, count - 1));
    }
}

#[test]
fn two_that_leave_at_once_do_not_hand_over_to_each_other() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    lab.run(3_000);
    lab.cut = apart(&[2, 3], &[1]);
    for i in [2, 3] {
        lab.put(i, "mine", "v");
        lab.delete(i, "gone");
    }
    lab.leave(2);
    lab.leave(3);
    lab.run(6_000);
    for i in [2, 3] {
        let left = lab.left(i).unwrap();
        assert!(left.holders <= 1, "n{i}: {left}");
        assert!(!left.is_complete(), "n{i}: {left}");
    }
}

/// A member has left with a row that no other holds, and the others keep a delete for its sake.
fn kept_for_a_leaver() -> Lab {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    // The record of the leave gets through, and no row of users.
    lab.cut = Box::new(|from, _, msg| {
        let users = |rows: &wire::RowBatch| !rows.tables.iter().all(wire::TableRef::is_sys);
        from == 2 && msg.rows().is_some_and(users)
    });
    lab.put(2, "k", "last words");
    lab.leave(2);
    lab.run(6_000);
    assert!(!lab.left(2).unwrap().is_complete());
    lab.stop(2);
    lab.cut = Box::new(|_, _, _| false);
    lab.put(0, "k", "later");
    lab.delete(0, "k");
    lab.run(20_000);
    assert_eq!(lab.tombstones(), [1, 1], "kept for the leaver");
    lab
}

#[test]
pub(super) fn a_delete_is_kept_until_a_leaver_that_held_more_has_come_back() {
    let mut lab = kept_for_a_leaver();
    lab.start(2);
    assert_eq!(lab.get(2, "k"), value("last words"));
    // No member has what it held, and after half a minute any will do.
    lab.run(45_000);
    assert_eq!(lab.everywhere("k"), std::vec![None; 3]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
pub(super) fn a_delete_no_longer_waits_for_a_leaver_whose_last_state_was_declared_lost() {
    let mut lab = kept_for_a_leaver();
    let node = lab.configs[2].name.clone();
    assert!(lab.asks(1, Request::DeclareLost { node }).is_ok());
    lab.run(10_000);
    assert_eq!(lab.tombstones(), [0, 0], "the wait is ended");
}

#[test]
fn a_leave_ends_although_others_go_on_writing() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(2, "k", "v");
    lab.leave(2);
    // Pushes to the leaver are lost: it never agrees with anybody, and their claims arrive all the same.
    lab.cut = Box::new(|_, to, msg| {
        to == 2 && matches!(msg, wire::Message::Gossip(wire::GossipMessage::Push(_)))
    });
    for round in 0..40 {
        lab.put(round % 2, "busy", &round.to_string());
        lab.run(50);
    }
    lab.run(4_000);
    let left = lab.left(2).unwrap();
    assert_eq!(left.holders, 2, "{left}");
}

#[test]
fn halves_that_have_moved_find_each_other_through_a_seed() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    lab.run(3_000);
    let ids: Vec<NodeId> = (0..4).map(|i| lab.node(i).id()).collect();
    (0..4).for_each(|i| lab.stop(i));
    lab.cut = apart(&[4, 5], &[6, 7]);
    // All come back at other addresses; each half knows one of its own, and one half a seed in the other.
    for (from, seeds) in [(0, &[][..]), (1, &[4]), (2, &[4]), (3, &[6, 4])] {
        lab.copy(from, seeds);
    }
    lab.run(60_000);
    assert_eq!(lab.member(6, ids[3]).state, MemberState::Alive);
    assert_eq!(lab.member(6, ids[0]).state, MemberState::Down);
    lab.cut = Box::new(|_, _, _| false);
    lab.run(15_000);
    for at in 4..8 {
        for id in &ids {
            assert_eq!(lab.member(at, *id).state, MemberState::Alive, "at n{at}");
        }
    }
    let links = lab.wires.len();
    assert_eq!(links, 12, "one for each pair");
}

impl Lab {
    /// Starts a machine with this seed, even if another machine has had it before.
    fn start_seeded(&mut self, i: usize, seed: u64) {
        let mut recovery = Recovery::new(self.configs[i].clone(), Seed::from_u64(seed));
        for (key, value) in &self.disks[i] {
            let (key, value) = (key.clone(), value.clone());
            recovery.record(Record { key, value }).unwrap();
        }
        self.nodes[i] = Some(recovery.finish(self.now).unwrap());
    }
}

#[test]
fn a_seed_that_is_used_in_every_boot_repeats_no_dots() {
    for storage in [Storage::None, Storage::Ordered] {
        let mut lab = Lab::new(2, storage, true);
        lab.stop(1);
        lab.disks[1].clear();
        for boot in 0..3 {
            lab.start_seeded(1, 7);
            lab.run(10_000);
            let key = std::format!("of boot {boot}");
            lab.put(1, &key, "v");
            lab.run(2_000);
            assert_eq!(
                lab.everywhere(&key),
                [value("v"), value("v")],
                "{storage:?}"
            );
            lab.stop(1);
        }
    }
}

#[test]
fn of_two_nodes_of_one_seed_the_second_is_refused_with_the_reason() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    for i in [1, 2] {
        lab.stop(i);
        lab.disks[i].clear();
    }
    lab.start_seeded(1, 7);
    lab.run(3_000);
    lab.put(1, "k", "v");
    lab.start_seeded(2, 7);
    lab.run(20_000);
    let node = lab.node(1).id();
    assert_eq!(lab.node(2).id(), node);
    let why = HangupReason::IdInUse;
    let refused = Event::Refused { node, why };
    assert!(lab.events.contains(&(0, refused)), "{:?}", lab.events);
    lab.put(0, "later", "v");
    lab.quiesce();
    for key in ["k", "later"] {
        assert_eq!(lab.get(1, key), value("v"), "{key}");
        assert_eq!(lab.get(2, key), None, "it is no member");
    }
}
