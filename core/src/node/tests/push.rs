//! Fresh writes on their way: along trees, grafted, together, in fair shares, and not over full links.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::wire::{GossipMessage, Message, RowBatch};

/// Sent messages: from, to, and the message.
pub(super) type Sent = Rc<RefCell<Vec<(usize, usize, Message)>>>;

/// A cluster without disks whose writes go along trees of this fan-out.
fn tree(count: usize, fanout: usize) -> Lab {
    let mut lab = Lab::new(count, Storage::None, true);
    lab.run(8_000);
    set(&mut lab, "gossip.fanout", &fanout.to_string());
    set(&mut lab, "gossip.direct_push_members", "1");
    lab.run(10_000);
    lab
}

pub(super) fn set(lab: &mut Lab, name: &str, value: &str) {
    let now = lab.now;
    lab.node(0)
        .change_settings(now, &[(name, Some(value))])
        .unwrap();
    lab.quiesce();
}

/// Notes what is sent from now on; `lost` says what does not arrive.
pub(super) fn watch(
    lab: &mut Lab,
    lost: impl Fn(usize, usize, &Message) -> bool + 'static,
) -> Sent {
    let sent = Sent::default();
    let notes = Rc::clone(&sent);
    lab.cut = Box::new(move |from, to, msg| {
        notes.borrow_mut().push((from, to, msg.clone()));
        lost(from, to, msg)
    });
    sent
}

fn rows(sent: &Sent) -> Vec<(usize, RowBatch)> {
    let sent = sent.borrow();
    let carries = sent
        .iter()
        .filter_map(|(_, to, msg)| Some((*to, msg.rows()?.clone())));
    carries
        .filter(|(_, batch)| !batch.rows.is_empty())
        .collect()
}

fn count(sent: &Sent, what: impl Fn(&Message) -> bool) -> usize {
    sent.borrow().iter().filter(|(_, _, msg)| what(msg)).count()
}

/// How often a mark was reached, on all nodes together.
fn marked(lab: &Lab, mark: Mark) -> u64 {
    let marks = lab
        .nodes
        .iter()
        .flatten()
        .flat_map(|node| node.inspect().marks());
    marks
        .filter(|(of, _)| *of == mark)
        .map(|(_, count)| count)
        .sum()
}

/// The keys in the order in which a node is sent them.
fn keys(sent: &Sent, to: usize) -> Vec<Bytes> {
    let batches = rows(sent)
        .into_iter()
        .filter(|(receiver, _)| *receiver == to);
    batches
        .flat_map(|(_, batch)| batch.rows)
        .map(|row| row.key)
        .collect()
}

#[test]
fn along_a_tree_a_write_reaches_each_member_once_and_none_sends_it_to_more_than_its_fan_out() {
    for (members, fanout) in [(2, 1), (5, 1), (9, 2), (20, 4)] {
        let mut lab = tree(members, fanout);
        let sent = watch(&mut lab, |_, _, _| false);
        lab.put(1, "k", "v");
        lab.quiesce();
        assert_eq!(lab.everywhere("k"), std::vec![value("v"); members]);
        assert_eq!(rows(&sent).len(), members - 1);
        for node in 0..members {
            let out = sent.borrow();
            let out = out
                .iter()
                .filter(|(from, _, msg)| *from == node && msg.rows().is_some());
            // One more where a part has a hole in its middle.
            assert!(out.count() <= fanout + 1);
        }
        lab.run(5_000);
        assert_eq!(
            count(&sent, |msg| matches!(
                msg,
                Message::Gossip(GossipMessage::Graft(_))
            )),
            0
        );
        assert_eq!(rows(&sent).len(), members - 1, "nothing was sent twice");
    }
}

#[test]
pub(super) fn what_a_member_does_not_pass_on_is_grafted_before_anybody_would_fetch_it() {
    let mut lab = tree(9, 2);
    let sent = watch(&mut lab, |from, _, msg| {
        from != 1 && matches!(msg, Message::Gossip(GossipMessage::Forward { .. }))
    });
    lab.put(1, "k", "v");
    lab.quiesce();
    assert!(lab.everywhere("k").contains(&None));
    lab.run(350);
    assert_eq!(lab.everywhere("k"), std::vec![value("v"); 9]);
    assert_eq!(
        count(&sent, |msg| matches!(
            msg,
            Message::Gossip(GossipMessage::Pull(_))
        )),
        0
    );
    assert!(marked(&lab, Mark::GraftSent) > 0 && marked(&lab, Mark::GraftServed) > 0);
}

#[test]
fn without_ihaves_a_session_brings_what_was_not_passed_on() {
    let mut lab = tree(9, 2);
    watch(&mut lab, |from, _, msg| {
        from != 1 && matches!(msg, Message::Gossip(GossipMessage::Forward { .. }))
            || matches!(msg, Message::Gossip(GossipMessage::IHave(_)))
    });
    lab.put(1, "k", "v");
    lab.run(350);
    assert!(lab.everywhere("k").contains(&None));
    lab.run(20_000);
    assert_eq!(lab.everywhere("k"), std::vec![value("v"); 9]);
}

#[test]
fn a_member_that_was_asked_and_does_not_answer_is_not_the_only_one() {
    let mut lab = tree(9, 2);
    let asked = Rc::new(RefCell::new(Vec::new()));
    let notes = Rc::clone(&asked);
    watch(&mut lab, move |from, to, msg| match msg {
        Message::Gossip(GossipMessage::Forward { .. }) => from != 1,
        // The first graft of each node is lost.
        Message::Gossip(GossipMessage::Graft(_)) => {
            let first = notes.borrow().iter().all(|(node, _)| *node != from);
            notes.borrow_mut().push((from, to));
            first
        }
        _ => false,
    });
    lab.put(1, "k", "v");
    lab.run(450);
    let got = lab
        .everywhere("k")
        .iter()
        .filter(|found| found.is_some())
        .count();
    let asked = asked.borrow();
    let again = asked
        .iter()
        .filter(|(node, to)| asked.iter().any(|(n, t)| n == node && t != to));
    assert!(again.count() > 0, "{asked:?}");
    assert!(got > 3, "{got}");
}

#[test]
fn members_that_disagree_on_the_size_deliver_all_the_same() {
    let mut lab = tree(6, 2);
    // The setting reaches half of the members.
    lab.cut = Box::new(|_, to, _| to >= 3);
    set(&mut lab, "gossip.direct_push_members", "64");
    let sent = watch(&mut lab, |_, _, _| false);
    lab.put(0, "direct", "v");
    lab.put(5, "tree", "v");
    lab.quiesce();
    for key in ["direct", "tree"] {
        assert_eq!(lab.everywhere(key), std::vec![value("v"); 6]);
    }
    assert!(
        count(&sent, |msg| matches!(
            msg,
            Message::Gossip(GossipMessage::Push(_))
        )) >= 5
    );
    assert!(
        count(&sent, |msg| matches!(
            msg,
            Message::Gossip(GossipMessage::Forward { .. })
        )) >= 5
    );
}

#[test]
fn writes_wait_for_each_other_until_the_deadline_or_until_a_message_is_full() {
    let mut lab = Lab::new(2, Storage::None, true);
    lab.run(8_000);
    set(&mut lab, "gossip.flush_deadline", "100ms");
    set(&mut lab, "limits.rows_per_message", "4");
    lab.run(2_000);
    let sent = watch(&mut lab, |_, _, _| false);
    lab.put(1, "a", "1");
    lab.run(60);
    lab.put(1, "b", "2");
    lab.run(30);
    assert_eq!(rows(&sent).len(), 0);
    lab.run(20);
    assert_eq!(rows(&sent).len(), 1, "both at the deadline of the first");
    assert_eq!(keys(&sent, 0), ["a", "b"]);
    for key in ["c", "d", "e", "f"] {
        lab.put(1, key, "3");
    }
    lab.quiesce();
    assert_eq!(lab.get(0, "f"), value("3"), "a full message does not wait");
    let counters = rows(&sent).into_iter().flat_map(|(_, batch)| batch.rows);
    let counters: Vec<u64> = counters.map(|row| row.counter).collect();
    assert!(counters.is_sorted(), "{counters:?}");
    // The store's own rows do not wait either.
    set(&mut lab, "gossip.fanout", "7");
    assert_eq!(lab.node(1).setting("gossip.fanout").unwrap().value, "7");
}

#[test]
fn a_burst_in_one_table_leaves_another_its_share_of_each_message() {
    let mut lab = Lab::new(2, Storage::None, true);
    lab.run(8_000);
    set(&mut lab, "limits.rows_per_message", "10");
    let other = lab.node(0).table("other").unwrap();
    let sent = watch(&mut lab, |_, _, _| false);
    for number in 0..100 {
        lab.put(0, &std::format!("burst{number:03}"), "v");
    }
    let now = lab.now;
    for key in ["x", "y", "z"] {
        let write = Write::Put {
            key: key.as_bytes(),
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        lab.node(0).write(now, other, write).unwrap();
    }
    lab.quiesce();
    let keys = keys(&sent, 1);
    assert_eq!(keys.len(), 103);
    assert!(
        keys.iter().position(|key| key == "z") < Some(10),
        "{keys:?}"
    );
    let burst: Vec<&Bytes> = keys
        .iter()
        .filter(|key| key.starts_with(b"burst"))
        .collect();
    assert!(burst.is_sorted(), "rows of one table keep their order");
}

#[test]
fn a_full_link_gets_no_rows_and_is_repaired_when_it_has_drained() {
    for large in [false, true] {
        let mut lab = Lab::new(4, Storage::None, true);
        lab.run(8_000);
        if large {
            set(&mut lab, "gossip.direct_push_members", "1");
            set(&mut lab, "gossip.fanout", "1");
        }
        lab.run(5_000);
        let ends = lab.wires.iter().find(|(from, to)| from.0 == 0 && to.0 == 3);
        let link = ends.map(|(from, _)| from.1).unwrap();
        let now = lab.now;
        lab.node(0).handle(now, Input::Congested { link });
        let sent = watch(&mut lab, |_, _, _| false);
        for number in 0..1_000 {
            lab.put(0, &std::format!("{number}"), "v");
            lab.quiesce();
        }
        assert_eq!(lab.get(1, "999"), value("v"));
        let to_full = |(from, to, msg): &(usize, usize, Message)| {
            *from == 0 && *to == 3 && msg.rows().is_some()
        };
        assert!(!sent.borrow().iter().any(to_full));
        assert_eq!(
            lab.node(0).inspect().queued(),
            (0, 0),
            "nothing is kept for it"
        );
        // Along a tree another member passes them on.
        assert_eq!(lab.get(3, "999").is_some(), large);
        lab.node(0).handle(now, Input::Drained { link });
        lab.run(5_000);
        for number in 0..1_000 {
            assert_eq!(lab.get(3, &std::format!("{number}")), value("v"));
        }
    }
}

/// Returns the first message that passed rows on, and the node that it went to.
pub(super) fn first_forward(sent: &Sent) -> (usize, Message) {
    let sent = sent.borrow();
    let found = sent
        .iter()
        .find(|(_, _, msg)| matches!(msg, Message::Gossip(GossipMessage::Forward { .. })));
    found.map(|(_, to, msg)| (*to, msg.clone())).unwrap()
}

impl Lab {
    /// A member other than `author` passes a message on to a node.
    pub(super) fn relay(&mut self, to: usize, author: usize, msg: &Message) {
        let mut ends = self.wires.iter();
        let end = ends.find(|(end, peer)| end.0 == to && peer.0 != author);
        let link = end.map(|(end, _)| end.1).unwrap();
        let (now, msg) = (self.now, msg.clone());
        self.node(to).handle(now, Input::Message { link, msg });
        self.quiesce();
    }
}

#[test]
pub(super) fn a_row_that_is_passed_on_counts_only_while_its_authors_generation_goes_on() {
    for ends in ["not", "restarts", "leaves"] {
        let mut lab = Lab::new(4, Storage::Ordered, true);
        lab.run(8_000);
        set(&mut lab, "gossip.direct_push_members", "1");
        lab.run(5_000);
        // A relay holds a row back; it lies in no other way to anybody.
        let sent = watch(&mut lab, |_, _, msg| {
            msg.rows().is_some() || matches!(msg, Message::Gossip(GossipMessage::IHave(_)))
        });
        lab.put(3, "k", "v");
        lab.quiesce();
        let (to, msg) = first_forward(&sent);
        match ends {
            "restarts" => {
                lab.stop(3);
                lab.run(500);
                lab.start(3);
            }
            "leaves" => {
                let (now, token) = (lab.now, Token(77));
                let (deadline, request) = (None, Request::Leave);
                lab.node(3).handle(
                    now,
                    Input::Request {
                        token,
                        deadline,
                        request,
                    },
                );
                // Only the record of the leave gets through.
                watch(&mut lab, |_, _, msg| {
                    msg.rows()
                        .is_some_and(|rows| rows.rows.iter().any(|row| row.key == "k"))
                });
            }
            _ => {}
        }
        lab.run(6_000);
        assert_eq!(lab.get(to, "k"), None, "{ends}");
        lab.relay(to, 3, &msg);
        let ended = ends != "not";
        assert_eq!(lab.get(to, "k").is_none(), ended, "{ends}");
        assert_eq!(
            marked(&lab, Mark::RowOfEndedGeneration) > 0,
            ended,
            "{ends}"
        );
        if ends == "restarts" {
            // A session brings what still counts.
            lab.cut = Box::new(|_, _, _| false);
            lab.run(10_000);
            assert_eq!(lab.everywhere("k"), std::vec![value("v"); 4]);
        }
    }
}

#[test]
fn parts_that_make_no_sense_end_the_link() {
    let id = |number| NodeId(number);
    let empty = RowBatch {
        actors: Vec::new(),
        tables: Vec::new(),
        rows: Vec::new(),
    };
    for cuts in [
        std::vec![id(5), id(5)],
        std::vec![id(1), id(9), id(3)],
        std::vec![id(0); 200],
    ] {
        let mut lab = tree(2, 2);
        let link = lab
            .wires
            .keys()
            .find(|(node, _)| *node == 0)
            .map(|(_, link)| *link)
            .unwrap();
        let (now, rows) = (lab.now, empty.clone());
        let msg = Message::Gossip(GossipMessage::Forward { cuts, rows });
        lab.node(0).handle(now, Input::Message { link, msg });
        assert_eq!(marked(&lab, Mark::ProtocolViolation), 1);
    }
}
