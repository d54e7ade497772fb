//! Tombstones go on proof of every member, and on nothing less.

use super::*;
use crate::cluster::membership::{Departure, departure_key};

/// Makes the first of three members, which has deleted a row durably.
fn deleter() -> Machine {
    let mut machine = Machine::with_store(1, 3);
    machine.put("k", "v");
    machine.delete("k");
    machine.end_durable_turn();
    assert_eq!(machine.tombstones(), 1);
    machine
}

#[test]
fn the_last_of_the_claims_frees_a_delete() {
    let mut one = deleter();
    let (seen, clock) = (one.contexts(), one.clock());
    one.claims(2, &seen, clock);
    one.end_turn();
    assert_eq!(one.tombstones(), 1);
    one.claims(3, &seen, clock);
    one.end_turn();
    assert_eq!(one.tombstones(), 0);
}

#[test]
fn a_claim_without_the_delete_or_below_its_clock_frees_nothing() {
    let mut one = Machine::with_store(1, 2);
    one.put("k", "v");
    let (before, early) = (one.contexts(), one.clock());
    one.delete("k");
    one.end_durable_turn();
    one.claims(2, &before, one.clock());
    one.end_turn();
    assert_eq!(one.tombstones(), 1, "without the delete");
    one.claims(2, &one.contexts(), early);
    one.end_turn();
    assert_eq!(one.tombstones(), 1, "below its clock");
    one.claims(2, &one.contexts(), one.clock());
    one.end_turn();
    assert_eq!(one.tombstones(), 0);
}

#[test]
fn a_claim_of_more_than_is_here_waits_until_that_has_come() {
    let (mut one, mut two) = (Machine::with_store(1, 2), Machine::new(2, 2));
    one.put("k", "v");
    one.delete("k");
    one.end_durable_turn();
    fetch(&mut two, &mut one);
    two.put("other", "v");
    one.claims(2, &two.contexts(), two.clock());
    let every = one.config.timing.probe_interval * 4;
    for _ in 0..3 {
        one.wait(every);
        one.end_turn();
    }
    assert!(one.has_marked(Mark::ClaimEarly));
    assert_eq!(one.tombstones(), 1);
    for push in two.pushes() {
        one.hear(2, push);
    }
    for _ in 0..3 {
        one.wait(every);
        one.end_turn();
    }
    assert_eq!(one.tombstones(), 0);
}

#[test]
fn a_delete_that_all_claim_goes_once_it_is_durable_here() {
    let mut one = Machine::with_store(1, 2);
    one.put("k", "v");
    one.delete("k");
    one.end_turn();
    one.claims(2, &one.contexts(), one.clock());
    one.end_turn();
    assert_eq!(one.tombstones(), 1);
    one.end_durable_turn();
    one.end_turn();
    assert_eq!(one.tombstones(), 0);
}

#[test]
fn a_claim_of_a_generation_that_has_ended_counts_no_more() {
    let mut one = deleter();
    let (seen, clock) = (one.contexts(), one.clock());
    one.claims(2, &seen, clock);
    one.gossip.forget_claim(NodeId(2));
    one.claims(3, &seen, clock);
    one.end_turn();
    assert_eq!(one.tombstones(), 1);
    one.claims(2, &seen, clock);
    one.end_turn();
    assert_eq!(one.tombstones(), 0);
}

#[test]
fn a_leaver_is_waited_for_until_all_that_it_held_is_here() {
    let (mut one, mut three) = (deleter(), Machine::new(3, 3));
    three.put("other", "v");
    let departure = Departure {
        contexts: three.contexts(),
        active: Vec::new(),
        evicted: None,
    };
    let key = departure_key(NodeId(3), 1);
    let value = departure.encode();
    let _ = one.members.departed_changed(&key, &value, Hlc(2));
    one.gossip.members_changed();
    one.claims(2, &one.contexts(), one.clock());
    one.end_turn();
    assert_eq!(one.tombstones(), 1);
    for push in three.pushes() {
        one.hear(2, push);
    }
    one.gossip.members_changed();
    one.end_turn();
    assert_eq!(one.tombstones(), 0);
}
