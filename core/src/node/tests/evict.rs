//! Evictions: which node may end whose generation, and what becomes of the nodes whose generation was ended.

use std::string::ToString;
use std::vec::Vec;

use super::*;

impl Lab {
    /// Asks a node to evict another; the answer comes later.
    fn evict(&mut self, by: usize, member: &str, force: bool) -> Token {
        let token = Token(10_000 + self.replies.len() as u64 * 100 + by as u64);
        let (now, member) = (self.now, member.to_string());
        let request = Request::Evict { member, force };
        let input = Input::Request {
            token,
            deadline: None,
            request,
        };
        self.node(by).handle(now, input);
        token
    }

    /// Asks, waits, and gives the answer.
    fn evicts(
        &mut self,
        by: usize,
        member: &str,
        force: bool,
    ) -> Result<(usize, usize), EvictError> {
        let token = self.evict(by, member, force);
        self.run(5_000);
        match self.replies.remove(&token) {
            Some(Ok(Response::Evicted { acks, members, .. })) => Ok((acks, members)),
            Some(Err(RequestError::Evict(error))) => Err(error),
            other => panic!("{other:?}"),
        }
    }

    fn phases(&self) -> Vec<&'static str> {
        let running = self.nodes.iter().flatten();
        running
            .map(|node| node.status(self.now).phase.name())
            .collect()
    }

    /// Members of two groups cannot hear each other.
    fn split(&mut self, left: &'static [usize]) {
        self.cut = Box::new(|a, b, _| left.contains(&a) != left.contains(&b));
    }

    fn heal(&mut self) {
        self.cut = Box::new(|_, _, _| false);
    }
}

#[test]
fn a_dead_member_is_evicted_by_a_majority_and_comes_back_by_rejoin() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "gone", "v");
    lab.put(2, "own", "v");
    lab.run(3_000);
    lab.stop(2);
    assert_eq!(lab.evicts(0, "n2", false), Err(EvictError::Answers));
    lab.run(15_000);
    lab.delete(1, "gone");
    lab.run(5_000);
    assert_eq!(lab.tombstones(), [1, 1], "it still counts");
    assert_eq!(lab.evicts(0, "n2", false), Ok((2, 3)));
    assert_eq!(lab.tombstones(), [0, 0], "it no longer counts");
    assert_eq!(
        lab.evicts(1, "n2", false),
        Err(EvictError::NotAMember),
        "it has gone"
    );
    lab.start(2);
    assert_eq!(lab.get(2, "gone"), value("v"));
    lab.run(10_000);
    assert!(lab.marked(2, "evicted") && lab.marked(2, "rejoined"));
    assert_eq!(lab.everywhere("gone"), std::vec![None; 3]);
    assert_eq!(lab.everywhere("own"), std::vec![value("v"); 3]);
    assert_eq!(lab.phases(), ["member"; 3]);
    lab.put(2, "again", "v");
    lab.quiesce();
    assert_eq!(lab.everywhere("again"), std::vec![value("v"); 3]);
    lab.stop(2);
    lab.start(2);
    assert_eq!(
        lab.phases(),
        ["member"; 3],
        "it has made good once and for all"
    );
}

/// Deletes are freed without an evicted member, so no member may take its rows, also while it leaves.
#[test]
fn a_leaver_that_hears_of_its_eviction_brings_nothing_back() {
    for wait in [0, 100, 3_300] {
        let mut lab = Lab::new(4, Storage::Ordered, true);
        lab.run(3_000);
        lab.put(0, "gone", "v");
        lab.run(3_000);
        lab.split(&[3]);
        lab.run(15_000);
        lab.delete(1, "gone");
        lab.put(3, "own", "v");
        assert_eq!(lab.evicts(0, "n3", false), Ok((3, 4)));
        lab.run(5_000);
        assert_eq!(lab.tombstones()[..3], [0; 3], "freed without it");
        let now = lab.now;
        let (token, deadline, request) = (Token(3), None, Request::Leave);
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        lab.node(3).handle(now, input);
        lab.run(wait);
        lab.heal();
        lab.run(6_000);
        let gone: Vec<_> = (0..3).map(|i| lab.get(i, "gone")).collect();
        assert_eq!(gone, [None, None, None], "after {wait} ms");
        lab.stop(3);
        lab.start(3);
        // No member has all that it held, and after half a minute any will do.
        lab.run(45_000);
        assert_eq!(
            lab.everywhere("gone"),
            std::vec![None; 4],
            "after {wait} ms"
        );
        assert_eq!(lab.everywhere("own"), std::vec![value("v"); 4]);
        assert_eq!(lab.phases(), ["member"; 4]);
    }
}

/// Two evicted nodes do not go on without the members that evicted them, though one of them wrote down that it left only the other.
#[test]
fn what_an_evicted_node_waits_for_outlives_a_restart_though_it_left() {
    let mut lab = Lab::new(5, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "gone", "v");
    lab.run(3_000);
    lab.split(&[3, 4]);
    lab.run(15_000);
    lab.delete(1, "gone");
    assert_eq!(lab.evicts(0, "n3", false), Ok((3, 5)));
    assert_eq!(lab.evicts(0, "n4", false), Ok((3, 4)));
    lab.run(5_000);
    let now = lab.now;
    let (token, deadline, request) = (Token(3), None, Request::Leave);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(3).handle(now, input);
    lab.run(5_000);
    lab.stop(3);
    // It hears of the evictions, and of no rows.
    lab.cut = Box::new(|_, to, msg| {
        to > 2
            && matches!(
                msg,
                crate::wire::Message::Gossip(crate::wire::GossipMessage::Page(_))
            )
    });
    lab.start(3);
    lab.run(10_000);
    (0..5).for_each(|i| lab.stop(i));
    lab.heal();
    lab.start(3);
    lab.start(4);
    lab.run(20_000);
    assert_eq!(lab.phases(), ["rejoining"; 2]);
    (0..3).for_each(|i| lab.start(i));
    lab.run(45_000);
    assert_eq!(lab.phases(), ["member"; 5]);
    assert_eq!(lab.everywhere("gone"), std::vec![None; 5]);
}

#[test]
fn what_cannot_be_evicted_is_refused_with_the_reason() {
    let mut lab = Lab::new(4, Storage::Ordered, false);
    for i in 1..4 {
        lab.stop(i);
        lab.configs[i].seeds = std::vec!["0".to_string()];
        lab.configs[i].name = if i == 1 { "one" } else { "two" }.to_string();
        lab.disks[i].clear();
        lab.start(i);
    }
    lab.run(5_000);
    assert_eq!(lab.evicts(0, "n0", true), Err(EvictError::Myself));
    assert_eq!(lab.evicts(0, "nobody", true), Err(EvictError::NotAMember));
    let ambiguous = lab.evicts(0, "two", true);
    assert!(
        matches!(&ambiguous, Err(EvictError::Ambiguous(ids)) if ids.len() == 2),
        "{ambiguous:?}"
    );
    lab.stop(2);
    lab.stop(3);
    lab.run(20_000);
    let members = lab.nodes[0].as_ref().unwrap().members();
    let dead = members.iter().find(|member| member.name == "two").unwrap();
    let dead = dead.id.to_string();
    assert_eq!(
        lab.evicts(0, &dead, false),
        Err(EvictError::NoMajority {
            acks: 2,
            needed: 3,
            members: 4
        }),
        "half is no majority"
    );
    assert_eq!(lab.evicts(0, &dead, true), Ok((2, 4)));
    assert_eq!(
        lab.evicts(1, "two", false),
        Ok((2, 3)),
        "one is left of that name"
    );
}

#[test]
pub(super) fn of_two_that_want_to_evict_each_other_a_member_agrees_with_one() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    // Nothing passes between n0 and n2, and n1 does not answer n0 in time.
    lab.cut = Box::new(|a, b, msg| {
        let apart = a + b == 2 && a != b;
        apart
            || (b == 0
                && matches!(
                    msg,
                    wire::Message::Cluster(wire::ClusterMessage::EvictVote { .. })
                ))
    });
    lab.evict(0, "n2", true);
    lab.run(1_000);
    assert!(lab.marked(1, "eviction-agreed") && !lab.marked(1, "eviction-refused"));
    let stored = lab.disks[1].keys().any(|key| **key == b"magreed"[..]);
    assert!(stored, "it is bound after a crash too");
    let token = lab.evict(2, "n0", true);
    lab.run(1_000);
    assert!(lab.marked(1, "eviction-refused"));
    assert!(
        !lab.replies.contains_key(&token),
        "it waits for a majority in vain"
    );
}

#[test]
fn an_agreement_ends_when_the_asker_gives_up() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    lab.run(3_000);
    lab.stop(3);
    lab.stop(2);
    lab.run(20_000);
    let refused = lab.evicts(0, "n3", false);
    assert!(matches!(
        refused,
        Err(EvictError::NoMajority { acks: 2, .. })
    ));
    lab.start(3);
    lab.run(5_000);
    // The one that was to be evicted asks in turn: n1 is free to agree.
    lab.stop(0);
    lab.run(20_000);
    let refused = lab.evicts(3, "n0", false);
    assert!(
        matches!(refused, Err(EvictError::NoMajority { acks: 2, .. })),
        "{refused:?}"
    );
}

#[test]
fn an_agreement_ends_with_the_generation_of_the_asker() {
    for leaves in [false, true] {
        let mut lab = Lab::new(5, Storage::Ordered, true);
        lab.run(3_000);
        lab.cut = Box::new(|a, b, msg| match msg {
            wire::Message::Cluster(wire::ClusterMessage::EvictVote { .. }) => b == 0,
            wire::Message::Cluster(wire::ClusterMessage::EvictCancel { .. }) => a == 0,
            _ => false,
        });
        lab.evict(0, "n4", true);
        lab.quiesce();
        let bound =
            |lab: &Lab, i: usize| lab.nodes[i].as_ref().unwrap().cluster.evictions.is_bound();
        assert!(bound(&lab, 1) && bound(&lab, 2));
        if leaves {
            let (now, request) = (lab.now, Request::Leave);
            let (token, deadline) = (Token(1), None);
            let input = Input::Request {
                token,
                deadline,
                request,
            };
            lab.node(0).handle(now, input);
            lab.run(2_500);
            lab.heal();
        } else {
            lab.stop(0);
            lab.run(20_000);
            lab.heal();
            assert!(bound(&lab, 1), "it may come back");
            assert_eq!(lab.evicts(1, "n0", false), Ok((3, 5)));
        }
        assert!(!bound(&lab, 1) && !bound(&lab, 2), "leaves: {leaves}");
        lab.stop(3);
        lab.run(20_000);
        assert_eq!(lab.evicts(4, "n3", false), Ok((3, 4)), "leaves: {leaves}");
    }
}

#[test]
fn an_evicted_member_that_lives_is_no_longer_heard_and_rejoins() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "gone", "v");
    lab.run(3_000);
    lab.split(&[2]);
    lab.put(2, "alone", "v");
    lab.run(20_000);
    assert_eq!(lab.evicts(0, "n2", false), Ok((2, 3)));
    lab.delete(0, "gone");
    lab.run(10_000);
    assert_eq!(lab.tombstones()[..2], [0, 0]);
    lab.heal();
    lab.run(60_000);
    assert!(lab.marked(2, "evicted") && lab.marked(2, "rejoined"));
    assert_eq!(lab.phases(), ["member"; 3]);
    assert_eq!(lab.everywhere("gone"), std::vec![None; 3]);
    assert_eq!(lab.everywhere("alone"), std::vec![value("v"); 3]);
}

#[test]
fn of_two_sides_that_evict_each_other_the_smaller_rejoins_through_the_larger() {
    for left in [&[0, 1, 2][..], &[1, 4], &[0, 4, 3]] {
        let mut lab = Lab::new(5, Storage::Ordered, true);
        lab.run(4_000);
        let side: &'static [usize] = if left == [0, 1, 2] {
            &[0, 1, 2]
        } else if left == [1, 4] {
            &[1, 4]
        } else {
            &[0, 3, 4]
        };
        lab.split(side);
        lab.run(20_000);
        let (mine, theirs): (Vec<usize>, Vec<usize>) = (0..5).partition(|i| side.contains(i));
        for (by, others) in [(mine[0], &theirs), (theirs[0], &mine)] {
            for other in others {
                lab.evicts(by, &std::format!("n{other}"), true).unwrap();
            }
            lab.put(by, &std::format!("k{by}"), "v");
        }
        lab.run(3_000);
        lab.heal();
        lab.run(90_000);
        let events = &lab.events;
        assert_eq!(lab.phases(), ["member"; 5], "{events:?}");
        let larger = if mine.len() > 2 { &mine } else { &theirs };
        for i in 0..5 {
            assert_eq!(lab.marked(i, "evicted"), !larger.contains(&i), "n{i}");
        }
        for by in [mine[0], theirs[0]] {
            let everywhere = lab.everywhere(&std::format!("k{by}"));
            assert_eq!(everywhere, std::vec![value("v"); 5]);
        }
    }
}

#[test]
fn two_that_evict_each_other_do_not_both_go() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.split(&[0]);
    lab.run(20_000);
    let no = lab.evicts(0, "n1", false);
    assert!(matches!(no, Err(EvictError::NoMajority { needed: 2, .. })));
    assert_eq!(lab.evicts(0, "n1", true), Ok((1, 2)));
    assert_eq!(lab.evicts(1, "n0", true), Ok((1, 2)));
    lab.heal();
    lab.run(60_000);
    assert_eq!(lab.phases(), ["member"; 2], "{:?}", lab.events);
    let ended: Vec<bool> = (0..2).map(|i| lab.marked(i, "evicted")).collect();
    assert_eq!(ended.iter().filter(|ended| **ended).count(), 1, "{ended:?}");
}

#[test]
fn a_node_that_joined_through_an_evicted_member_rejoins_too() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    lab.stop(3);
    lab.disks[3].clear();
    lab.configs[3].seeds = std::vec!["2".to_string()];
    lab.run(3_000);
    let known = lab.nodes[0].as_ref().unwrap().members();
    if known.len() == 4 {
        // The first generation of n3 is known: it is another node now.
        let old = known.iter().find(|member| member.name == "n3").unwrap();
        let id = old.id.to_string();
        lab.run(20_000);
        lab.evicts(0, &id, false).unwrap();
    }
    lab.put(0, "gone", "v");
    lab.run(3_000);
    lab.split(&[2, 3]);
    lab.run(15_000);
    lab.start(3);
    lab.run(10_000);
    assert_eq!(lab.get(3, "gone"), value("v"), "it joined through n2");
    assert_eq!(lab.evicts(0, "n2", false), Ok((2, 3)));
    lab.delete(0, "gone");
    lab.run(10_000);
    assert_eq!(lab.tombstones()[..2], [0, 0]);
    lab.heal();
    lab.run(60_000);
    assert_eq!(
        lab.everywhere("gone"),
        std::vec![None; 4],
        "{:?}",
        lab.events
    );
    assert_eq!(lab.phases(), ["member"; 4]);
}

#[test]
fn members_without_a_disk_are_evicted_by_policy_and_others_are_not() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    for i in 0..4 {
        lab.stop(i);
        lab.disks[i].clear();
        lab.configs[i].timing.evict_memory_after = Some(Duration::from_secs(60));
        if i == 3 {
            lab.configs[i].storage = Storage::None;
        }
        lab.start(i);
    }
    lab.run(5_000);
    lab.stop(3);
    lab.stop(2);
    lab.run(30_000);
    let evicted = |lab: &Lab| {
        let events = lab.events.iter();
        let by_policy = |event: &Event| matches!(event, Event::MemberEvicted { policy: true, .. });
        events.filter(|(_, event)| by_policy(event)).count()
    };
    assert_eq!(evicted(&lab), 0);
    lab.run(60_000);
    assert_eq!(evicted(&lab), 0, "two of four are no majority");
    lab.start(2);
    lab.run(70_000);
    assert_eq!(evicted(&lab), 1);
    lab.stop(2);
    lab.run(120_000);
    assert_eq!(evicted(&lab), 1, "a member with a disk stays one");
}

#[test]
fn members_that_hold_up_collection_are_told_with_the_reason() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(3_000);
    lab.stop(2);
    lab.run(20_000);
    lab.delete(0, "k");
    lab.run(10_000);
    let node = lab.nodes[0].as_ref().unwrap();
    let status = node.status(lab.now);
    let [waits] = status.waiting_for.as_slice() else {
        panic!("{:?}", status.waiting_for);
    };
    assert_eq!(waits.name, "n2");
    let HoldsUp::Down { since } = waits.why else {
        panic!("{waits:?}");
    };
    assert!((10..30).contains(&since.as_secs()), "{since:?}");
    let holding = node
        .members()
        .into_iter()
        .filter(|one| one.holds_up.is_some());
    assert_eq!(holding.map(|one| one.name).collect::<Vec<_>>(), ["n2"]);
}

/// n0 ends the others by force and loses its disk once they have heard of it: they wait for a node that is no more.
fn orphaned() -> Lab {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(1, "kept", "v");
    lab.put(1, "deleted", "v");
    lab.run(3_000);
    lab.split(&[0]);
    lab.run(15_000);
    for member in ["n1", "n2"] {
        lab.evicts(0, member, true).unwrap();
    }
    lab.delete(0, "deleted");
    lab.cut =
        Box::new(|_, _, msg| matches!(msg, wire::Message::Gossip(wire::GossipMessage::Page(_))));
    lab.run(12_000);
    assert_eq!(lab.phases(), ["member", "rejoining", "rejoining"]);
    lab.stop(0);
    lab.heal();
    lab.run(60_000);
    lab
}

impl Lab {
    fn resume(&mut self, i: usize) -> Result<usize, ResumeError> {
        let (now, token, deadline) = (self.now, Token(7_000 + i as u64), None);
        let request = Request::Resume;
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        self.node(i).handle(now, input);
        self.quiesce();
        match self.replies.remove(&token) {
            Some(Ok(Response::Resumed { without })) => Ok(without.len()),
            Some(Err(RequestError::Resume(error))) => Err(error),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_node_that_waits_for_members_that_are_no_more_goes_on_when_told_so() {
    let mut lab = orphaned();
    assert_eq!(lab.phases(), ["rejoining", "rejoining"]);
    let status = lab.nodes[1].as_ref().unwrap().status(lab.now);
    let awaited: Vec<_> = status.rejoin_through.iter().map(|one| &*one.name).collect();
    assert_eq!(
        awaited,
        ["n2", "n0"],
        "n2 was still counted when n1 was ended"
    );
    lab.disks[0].clear();
    lab.start(0);
    lab.run(20_000);
    assert_eq!(lab.phases(), ["joining", "rejoining", "rejoining"]);
    assert_eq!(lab.resume(0), Err(ResumeError::NotRejoining));
    assert_eq!(lab.resume(1), Ok(1));
    lab.run(60_000);
    assert_eq!(lab.phases(), ["member"; 3]);
    assert_eq!(lab.resume(1), Err(ResumeError::NotRejoining));
    assert_eq!(lab.everywhere("kept"), std::vec![value("v"); 3]);
    assert_eq!(lab.everywhere("deleted"), std::vec![value("v"); 3]);
    lab.stop(1);
    lab.start(1);
    lab.run(5_000);
    assert_eq!(lab.phases(), ["member"; 3], "it went on once and for all");
}

#[test]
fn a_node_that_waits_does_not_go_on_while_a_member_answers() {
    let mut lab = orphaned();
    lab.cut =
        Box::new(|_, _, msg| matches!(msg, wire::Message::Gossip(wire::GossipMessage::Page(_))));
    lab.start(0);
    lab.run(10_000);
    let member = lab.nodes[0].as_ref().unwrap().id();
    assert_eq!(lab.resume(1), Err(ResumeError::MemberAnswers(member)));
    lab.heal();
    lab.run(60_000);
    assert_eq!(lab.phases(), ["member"; 3]);
    assert_eq!(lab.everywhere("deleted"), std::vec![None; 3]);
}

#[test]
pub(super) fn of_two_that_go_on_and_one_that_was_not_gone_one_is_the_base() {
    let mut lab = orphaned();
    lab.split(&[1]);
    lab.run(15_000);
    assert_eq!((lab.resume(1), lab.resume(2)), (Ok(1), Ok(1)));
    lab.put(1, "one", "v");
    lab.put(2, "two", "v");
    lab.cut = Box::new(|_, _, _| true);
    lab.start(0);
    lab.put(0, "zero", "v");
    lab.run(10_000);
    lab.heal();
    lab.run(90_000);
    assert_eq!(lab.phases(), ["member"; 3]);
    for key in ["kept", "zero", "one", "two"] {
        assert_eq!(lab.everywhere(key), std::vec![value("v"); 3], "{key}");
    }
    let deleted = lab.everywhere("deleted");
    assert!(deleted.iter().all(|row| *row == deleted[0]), "{deleted:?}");
    // They came to agree by rejoin, and not because a repair noticed that they did not.
    assert!((0..3).all(|i| !lab.marked(i, "row-repaired")));
}
