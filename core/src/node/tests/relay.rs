//! Claims that come through a third, between two members that have no link.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::wire::{ClaimAsk, DetectorMessage, GossipMessage, Message, Rumor, RumorState};

/// Three members, of which the last two never meet.
fn star(storage: Storage) -> Lab {
    let mut lab = Lab::new(3, storage, true);
    lab.cut = Box::new(|from, to, _| is_cut(from, to));
    lab.run(15_000);
    for node in lab.nodes.iter().flatten() {
        let alive = node.live_members();
        assert_eq!(alive.len(), 3, "{} takes all for alive", node.config().name);
    }
    lab
}

fn is_cut(from: usize, to: usize) -> bool {
    matches!((from, to), (1, 2) | (2, 1))
}

impl Lab {
    /// The link of a node to another, which is up.
    fn link_to(&self, from: usize, to: usize) -> LinkId {
        let mut wires = self.wires.iter();
        let found = wires.rfind(|((node, _), (peer, _))| (*node, *peer) == (from, to));
        found.unwrap().0.1
    }

    fn say(&mut self, from: usize, to: usize, msg: Message) {
        let (now, link) = (self.now, self.link_to(to, from));
        self.node(to).handle(now, Input::Message { link, msg });
    }

    fn waits_for(&self, at: usize) -> Vec<HoldUp> {
        self.nodes[at]
            .as_ref()
            .unwrap()
            .status(self.now)
            .waiting_for
    }
}

#[test]
pub(super) fn claims_pass_through_a_third_so_that_deletes_are_freed() {
    for storage in [Storage::Ordered, Storage::None] {
        let mut lab = star(storage);
        lab.put(1, "k", "v");
        lab.run(5_000);
        assert_eq!(lab.everywhere("k"), [value("v"), value("v"), value("v")]);
        lab.delete(1, "k");
        lab.run(30_000);
        assert_eq!(lab.everywhere("k"), [None, None, None]);
        assert_eq!(lab.tombstones(), [0, 0, 0], "freed everywhere");
    }
}

#[test]
fn under_a_steady_load_claims_pass_through_a_third_too() {
    let mut lab = star(Storage::Ordered);
    lab.put(1, "k", "v");
    lab.run(5_000);
    lab.delete(1, "k");
    for round in 0..300 {
        lab.put(1 + round % 2, &std::format!("k{}", round % 7), "v");
        lab.run(200);
    }
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn claims_pass_through_a_third_where_a_link_is_up_and_carries_nothing() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(5_000);
    lab.cut = Box::new(|from, to, _| is_cut(from, to));
    lab.put(1, "k", "v");
    lab.run(5_000);
    lab.delete(1, "k");
    lab.run(60_000);
    assert_eq!(lab.everywhere("k"), [None, None, None]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
pub(super) fn a_death_that_had_no_member_to_go_to_is_told_when_one_is_there() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(5_000);
    lab.stop(0);
    lab.cut = Box::new(|from, to, _| is_cut(from, to));
    lab.run(120_000);
    let accused = lab.node(2).id();
    let told = Rc::new(RefCell::new(0));
    let count = Rc::clone(&told);
    lab.cut = Box::new(move |from, to, msg| {
        let rumors = match msg {
            Message::Detector(
                DetectorMessage::Probe { rumors, .. } | DetectorMessage::Ack { rumors, .. },
            ) => &rumors[..],
            _ => &[],
        };
        let accuses = |rumor: &Rumor| rumor.node == accused && rumor.state == RumorState::Down;
        *count.borrow_mut() += usize::from((from, to) == (1, 0) && rumors.iter().any(accuses));
        // Only what is told unasked counts.
        is_cut(from, to) || matches!(msg, Message::Detector(DetectorMessage::IndirectAck { .. }))
    });
    lab.start(0);
    lab.run(10_000);
    assert!(*told.borrow() > 0, "the belief is told");
}

#[test]
pub(super) fn a_member_that_was_evicted_and_is_back_refutes_what_is_said_of_it() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(5_000);
    let now = lab.now;
    let request = Request::Evict {
        member: "n2".into(),
        force: true,
    };
    lab.node(0).handle(
        now,
        Input::Request {
            token: Token(99),
            request,
            deadline: None,
        },
    );
    lab.run(30_000);
    let node = lab.node(2).id();
    let seen = lab.node(0).live_members();
    let back = seen.iter().find(|member| member.id == node).unwrap();
    let rumor = Rumor {
        node,
        generation: back.generation,
        incarnation: 0,
        state: RumorState::Down,
        from: lab.node(0).id(),
    };
    let question = Message::Detector(DetectorMessage::IndirectProbe {
        nonce: 1,
        target: node,
        rumors: std::vec![rumor],
    });
    lab.say(0, 2, question);
    let incarnation = lab.node(2).status(now).incarnation;
    assert_eq!(incarnation, 1, "it is accused, and alive");
}

#[test]
fn a_node_that_waits_for_a_member_without_a_link_says_so() {
    let mut lab = star(Storage::Ordered);
    lab.cut = Box::new(|from, to, msg| {
        is_cut(from, to) || matches!(msg, Message::Gossip(GossipMessage::Claims(_)))
    });
    lab.put(1, "k", "v");
    lab.run(5_000);
    lab.delete(1, "k");
    lab.run(30_000);
    assert_eq!(lab.tombstones(), [0, 1, 1]);
    let (first, second) = (lab.waits_for(1), lab.waits_for(2));
    assert_eq!((first.len(), second.len()), (1, 1));
    assert_eq!((first[0].why, &*first[0].name), (HoldsUp::Unlinked, "n2"));
    assert_eq!((second[0].why, &*second[0].name), (HoldsUp::Unlinked, "n1"));
}

#[test]
pub(super) fn a_claim_that_is_passed_on_counts_only_while_its_generation_goes_on() {
    let mut lab = star(Storage::Ordered);
    let held: Rc<RefCell<Vec<Message>>> = Rc::default();
    let kept = Rc::clone(&held);
    lab.cut = Box::new(move |from, to, msg| {
        let claims = matches!(msg, Message::Gossip(GossipMessage::Claims(_))) && to == 1;
        if claims {
            kept.borrow_mut().push(msg.clone());
        }
        claims || is_cut(from, to)
    });
    lab.put(1, "k", "v");
    lab.run(5_000);
    lab.delete(1, "k");
    lab.run(30_000);
    assert_eq!(lab.tombstones()[1], 1, "its claims are held back");
    lab.stop(2);
    lab.run(500);
    lab.start(2);
    lab.run(10_000);
    let old = held.borrow_mut().remove(0);
    lab.say(0, 1, old);
    lab.run(100);
    assert_eq!(lab.tombstones()[1], 1, "that generation has ended");
    // A claim of the present generation does.
    let new = held.borrow_mut().pop().unwrap();
    lab.say(0, 1, new);
    lab.run(100);
    assert_eq!(lab.tombstones()[1], 0);
}

#[test]
fn questions_for_claims_are_bounded_and_end() {
    let mut lab = star(Storage::Ordered);
    let stranger = |i: u64| ClaimAsk {
        node: NodeId(i),
        clock: 0,
        dots: 0,
        hops: u8::MAX,
    };
    lab.say(
        1,
        0,
        Message::Gossip(GossipMessage::AskClaims((0..16).map(stranger).collect())),
    );
    lab.quiesce();
    let asked = Rc::new(RefCell::new(0));
    let count = Rc::clone(&asked);
    lab.cut = Box::new(move |from, to, msg| {
        *count.borrow_mut() +=
            u32::from(matches!(msg, Message::Gossip(GossipMessage::AskClaims(_))));
        is_cut(from, to)
    });
    let absent = lab.node(2).id();
    let ask = ClaimAsk {
        node: absent,
        clock: u64::MAX,
        dots: u64::MAX,
        hops: u8::MAX,
    };
    lab.say(
        1,
        0,
        Message::Gossip(GossipMessage::AskClaims(std::vec![ask])),
    );
    lab.run(300_000);
    assert_eq!(*asked.borrow(), 0, "the one that is asked has a link");
    lab.say(
        1,
        0,
        Message::Gossip(GossipMessage::AskClaims((0..17).map(stranger).collect())),
    );
    lab.quiesce();
    let refused = |(_, event): &(usize, Event)| matches!(event, Event::Protocol { why, .. } if *why == "too-many-claims");
    assert!(lab.events.iter().any(refused), "{:?}", lab.events);
}
