//! Leaves under load: what is handed over stays what it is, and is on the disks of the members that say so.

use std::vec::Vec;

use super::*;
use crate::wire::{ClusterMessage, GossipMessage, Message};

/// The leaver has gone, and says how far it came.
fn left(lab: &Lab, i: usize) -> Option<Handover> {
    match lab.replies.get(&Token(i as u64)) {
        Some(Ok(Response::Left(handover))) => Some(*handover),
        _ => None,
    }
}

fn ask_to_leave(lab: &mut Lab, i: usize) {
    let (now, deadline) = (lab.now, None);
    let (token, request) = (Token(i as u64), Request::Leave);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(i).handle(now, input);
}

/// All but the leaver write every two milliseconds, until it has gone; how long that took, in milliseconds.
fn leaves_under_load(count: usize) -> (u64, Handover) {
    let mut lab = Lab::new(count, Storage::Ordered, true);
    lab.run(3_000);
    let last = count - 1;
    let begun = lab.now.mono;
    for round in 0..4_000 {
        if round == 300 {
            lab.put(last, "mine", "v");
            ask_to_leave(&mut lab, last);
        }
        let writer = round % last;
        lab.put(writer, &std::format!("k{}", round % 50), "v");
        lab.run(2);
        if let Some(handover) = left(&lab, last) {
            let took = lab.now.mono.since(begun).as_millis() as u64 - 600;
            assert_eq!(lab.get(0, "mine"), value("v"));
            return (took, handover);
        }
    }
    panic!("it is still there");
}

#[test]
pub(super) fn a_leave_under_load_is_handed_over_within_a_moment() {
    for count in [2, 3, 5] {
        let (took, handover) = leaves_under_load(count);
        assert!(handover.is_complete(), "of {count}: {handover}");
        assert!(took < 500, "of {count}: {took} ms");
    }
}

#[test]
pub(super) fn what_comes_after_the_leave_has_begun_is_not_on_the_leavers_disk() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    // The leaver is told of nothing that others hold: the leave lasts.
    lab.cut = Box::new(|_, to, msg| {
        to == 2 && matches!(msg, Message::Cluster(ClusterMessage::Takeover { .. }))
    });
    ask_to_leave(&mut lab, 2);
    lab.run(100);
    lab.put(0, "late", "v");
    lab.run(5_000);
    assert_eq!(lab.get(1, "late"), value("v"));
    assert!(!left(&lab, 2).unwrap().is_complete());
    let names = |bytes: &Bytes| bytes.windows(4).any(|four| four == b"late");
    let mut records = lab.disks[2].iter();
    let held = records.any(|(key, value)| names(key) || names(value));
    assert!(!held, "the record of its leave says all that it holds");
}

#[test]
fn a_leaver_refuses_writes_by_name() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    ask_to_leave(&mut lab, 2);
    let now = lab.now;
    let write = Write::Put {
        key: b"k",
        value: Bytes::from_static(b"v"),
        expires: None,
    };
    let refused = lab.node(2).write(now, TableId::DEFAULT, write);
    assert_eq!(refused.err(), Some(WriteError::Leaving));
}

#[test]
pub(super) fn no_member_says_that_it_holds_what_is_not_synced() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    let now = lab.now;
    let held = crate::table::gossip::write_contexts(&lab.node(0).modes.gossip.replica().contexts());
    let peer = lab.node(1).id();
    let link = lab.node(0).cluster.links.of(peer).unwrap();
    let msg = Message::Cluster(ClusterMessage::Handover {
        round: 7,
        insists: false,
        held,
    });
    lab.node(0).handle(now, Input::Message { link, msg });
    lab.node(0).handle(now, Input::Tick);
    let mut synced = None;
    let mut answers = |node: &mut Node| {
        let mut found = 0;
        while let Some(output) = node.poll_output() {
            match output {
                Output::Store {
                    seq, sync: true, ..
                } => synced = Some(seq),
                Output::Send { msg, .. }
                    if *msg == (Message::Cluster(ClusterMessage::Takeover { round: 7 })) =>
                {
                    found += 1
                }
                _ => {}
            }
        }
        (found, synced)
    };
    let (found, synced) = answers(lab.node(0));
    assert_eq!(found, 0, "not before it is synced");
    let upto = synced.expect("it is synced at once");
    lab.node(0).handle(now, Input::Stored { upto });
    assert_eq!(answers(lab.node(0)).0, 1);
}

#[test]
fn a_member_that_lacks_what_a_leaver_holds_fetches_it_at_once() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    // No push of the leaver arrives: it holds the only copy.
    lab.cut = Box::new(|from, _, msg| {
        from == 2 && matches!(msg, Message::Gossip(GossipMessage::Push(_)))
    });
    let keys: Vec<_> = (0..20).map(|i| std::format!("k{i}")).collect();
    for key in &keys {
        lab.put(2, key, "v");
    }
    lab.run(10);
    ask_to_leave(&mut lab, 2);
    lab.run(1_500);
    let handover = left(&lab, 2).expect("it has gone");
    assert!(handover.is_complete(), "{handover}");
    for key in &keys {
        assert_eq!(lab.get(0, key), value("v"));
        assert_eq!(lab.get(1, key), value("v"));
    }
}

#[test]
fn along_a_tree_a_leaver_passes_on_what_it_does_not_take() {
    let mut lab = Lab::new(7, Storage::Ordered, true);
    for i in 0..7 {
        lab.configs[i].limits.direct_push_members = 1;
        lab.configs[i].limits.fanout = 1;
        lab.stop(i);
        lab.start(i);
    }
    lab.run(5_000);
    // The leave lasts, and only what is pushed arrives.
    lab.cut = Box::new(|_, to, msg| {
        let fetched = matches!(
            msg,
            Message::Gossip(
                GossipMessage::Pull(_) | GossipMessage::Graft(_) | GossipMessage::Page(_)
            )
        );
        fetched || to == 3 && matches!(msg, Message::Cluster(ClusterMessage::Takeover { .. }))
    });
    ask_to_leave(&mut lab, 3);
    lab.run(200);
    for i in (0..7).filter(|i| *i != 3) {
        lab.put(i, &std::format!("k{i}"), "v");
    }
    lab.run(50);
    for i in (0..7).filter(|i| *i != 3) {
        let key = std::format!("k{i}");
        for at in (0..7).filter(|at| *at != 3) {
            assert_eq!(lab.get(at, &key), value("v"), "{key} at n{at}");
        }
        assert_eq!(lab.get(3, &key), None);
    }
}

/// A question names all that the leaver covers.
#[test]
fn a_leaver_that_is_not_answered_asks_less_and_less_often() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    let asked = std::rc::Rc::new(std::cell::Cell::new(0));
    let counts = asked.clone();
    lab.cut = Box::new(move |_, _, msg| {
        counts.set(
            counts.get()
                + u32::from(matches!(
                    msg,
                    Message::Cluster(ClusterMessage::Handover { .. })
                )),
        );
        matches!(msg, Message::Cluster(ClusterMessage::Takeover { .. }))
    });
    ask_to_leave(&mut lab, 2);
    lab.run(300);
    assert!(asked.get() >= 6, "soon at first: {}", asked.get());
    lab.run(5_000);
    assert!(!left(&lab, 2).expect("it has gone").is_complete());
    assert!(asked.get() <= 60, "to two members: {}", asked.get());
}

/// A member that was not asked for a while is not waited for until the next question.
#[test]
fn a_member_that_comes_into_reach_is_asked_at_once() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.stop(1);
    lab.cut = Box::new(|from, _, msg| {
        from == 0 && matches!(msg, Message::Cluster(ClusterMessage::Takeover { .. }))
    });
    ask_to_leave(&mut lab, 2);
    lab.run(1_500);
    lab.start(1);
    lab.run(200);
    let holders = lab.node(2).leaving_so_far().holders;
    assert_eq!(holders, 1, "it has everything, and was asked");
}
