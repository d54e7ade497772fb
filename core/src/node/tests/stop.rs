//! Stops: a member goes for a while, says so, and comes back as what it was.

use std::vec::Vec;

use super::*;
use crate::cluster::MemberState;
use crate::io::HaltReason;

const STOP: Token = Token(77);

fn ask_to_stop(lab: &mut Lab, i: usize) {
    let now = lab.clock(i);
    let (token, deadline, request) = (STOP, None, Request::Stop);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(i).handle(now, input);
}

/// Returns how each node but the last sees the last one.
fn seen_of_last(lab: &mut Lab) -> Vec<MemberState> {
    let last = lab.nodes.len() - 1;
    let id = lab.node(last).id();
    (0..last).map(|i| lab.member(i, id).state).collect()
}

#[test]
pub(super) fn a_member_that_stops_is_down_at_once_and_comes_back_as_the_same_one() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(2, "mine", "v");
    lab.put(2, "old", "v");
    lab.run(100);
    let id = lab.node(2).id();
    ask_to_stop(&mut lab, 2);
    lab.quiesce();
    assert!(matches!(lab.replies[&STOP], Ok(Response::Stopped(_))));
    let down = [MemberState::Down, MemberState::Down];
    assert_eq!(seen_of_last(&mut lab), down, "they know at once");
    lab.delete(0, "old");
    lab.run(120_000);
    assert_eq!(seen_of_last(&mut lab), down, "it is a member for ever");
    let waiting = lab.tombstones();
    assert!(
        waiting[..2].iter().all(|count| *count > 0),
        "the delete waits for it: {waiting:?}"
    );
    lab.start(2);
    lab.events.clear();
    lab.run(10_000);
    assert_eq!(lab.node(2).id(), id);
    let alive = [MemberState::Alive, MemberState::Alive];
    assert_eq!(seen_of_last(&mut lab), alive);
    for (_, event) in &lab.events {
        assert!(!matches!(event, Event::Rejoined { .. }), "{event:?}");
    }
    assert_eq!(lab.get(2, "mine"), value("v"));
    assert_eq!(lab.get(2, "old"), None);
    lab.run(60_000);
    assert_eq!(lab.tombstones(), [0, 0, 0], "it has the delete");
}

/// Ticks a node; whether that halts it, and whether it has stored something.
fn tick(node: &mut Node, now: Now) -> (bool, Option<Seq>) {
    node.handle(now, Input::Tick);
    let (mut halted, mut stored) = (false, None);
    while let Some(output) = node.poll_output() {
        match output {
            Output::Store { seq, .. } => stored = Some(seq),
            Output::Halt(HaltReason::Stopped(_)) => halted = true,
            _ => {}
        }
    }
    (halted, stored)
}

#[test]
pub(super) fn a_stop_waits_until_the_last_batch_is_synced_and_takes_no_more_writes() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    lab.run(3_000);
    lab.put(0, "k", "v");
    let now = lab.now;
    ask_to_stop(&mut lab, 0);
    let node = lab.node(0);
    let write = |node: &mut Node| {
        let write = Write::Put {
            key: b"late",
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        node.write(now, TableId::DEFAULT, write).err()
    };
    let refused = Some(WriteError::Stopping);
    assert_eq!(write(node), refused, "it takes no more");
    assert_eq!(node.phase(), NodePhase::Stopping);
    let (halted, stored) = tick(node, now);
    assert!(!halted, "not before it is synced");
    let upto = stored.unwrap();
    node.handle(now, Input::Stored { upto });
    assert_eq!(tick(node, now), (true, None));
    assert_eq!(write(node), refused);
}

#[test]
pub(super) fn rows_that_wait_to_be_pushed_go_out_before_the_goodbye() {
    let mut lab = Lab::configured(2, |_, config| {
        config.timing.flush_deadline = Duration::from_secs(10);
    });
    lab.run(30_000);
    lab.put(1, "k", "v");
    lab.quiesce();
    assert_eq!(lab.get(0, "k"), None, "it waits to be pushed");
    ask_to_stop(&mut lab, 1);
    lab.quiesce();
    assert!(lab.replies.contains_key(&STOP));
    assert_eq!(lab.get(0, "k"), value("v"), "it was pushed");
}

#[test]
fn a_node_that_is_asked_too_much_stops_and_leaves_all_the_same() {
    for request in [Request::Stop, Request::Leave] {
        let mut lab = Lab::configured(1, |_, config| config.limits.requests = 0);
        let (now, token, deadline) = (lab.now, STOP, None);
        let input = Input::Request {
            token,
            deadline,
            request,
        };
        lab.node(0).handle(now, input);
        lab.run(1_000);
        assert!(lab.replies[&STOP].is_ok());
    }
}

#[test]
fn a_node_without_a_store_stops_at_the_end_of_the_turn() {
    let mut lab = Lab::new(2, Storage::None, true);
    lab.run(3_000);
    lab.put(1, "k", "v");
    ask_to_stop(&mut lab, 1);
    let now = lab.clock(1);
    lab.node(1).handle(now, Input::Tick);
    assert_eq!(lab.node(1).phase(), NodePhase::Halted);
    lab.quiesce();
    assert_eq!(lab.get(0, "k"), value("v"));
}

#[test]
fn a_stop_cuts_a_leave_and_the_node_stays_a_member() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.cut = Box::new(|_, to, msg| {
        to == 1
            && matches!(
                msg,
                wire::Message::Cluster(wire::ClusterMessage::Takeover { .. })
            )
    });
    let now = lab.now;
    let (token, deadline, request) = (Token(1), None, Request::Leave);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(1).handle(now, input);
    lab.run(100);
    ask_to_stop(&mut lab, 1);
    lab.quiesce();
    assert_eq!(lab.replies[&Token(1)], Err(RequestError::Halted));
    assert_eq!(seen_of_last(&mut lab), [MemberState::Down]);
}

#[test]
pub(super) fn a_node_that_stops_begins_no_leave() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    ask_to_stop(&mut lab, 1);
    let now = lab.clock(1);
    let (token, deadline, request) = (Token(1), None, Request::Leave);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(1).handle(now, input);
    assert!(lab.node(1).cluster.leaving.is_none(), "no leave begins");
    lab.quiesce();
    assert_eq!(lab.replies[&Token(1)], Err(RequestError::Halted));
    assert_eq!(seen_of_last(&mut lab), [MemberState::Down]);
}
