use rumormill_core::{Actor, table::Hlc};

use super::*;

fn version(clock: u64) -> Version {
    Version {
        clock: Hlc(clock),
        actor: Actor::default(),
        counter: clock,
    }
}

/// Session 1 on boot 1 of node 0, unless changed.
fn op(deed: Deed) -> SessionOp {
    SessionOp {
        session: 1,
        at_us: 0,
        node: 0,
        boot: 1,
        table: "default",
        key: Bytes::from_static(b"k"),
        deed,
    }
}

fn saw(clock: u64) -> SessionOp {
    op(Deed::Saw(version(clock)))
}

fn put(clock: u64) -> SessionOp {
    op(Deed::Put(version(clock)))
}

fn delete(clock: u64) -> SessionOp {
    op(Deed::Delete(version(clock)))
}

fn nothing() -> SessionOp {
    op(Deed::SawNothing(None))
}

fn by(session: u32, op: SessionOp) -> SessionOp {
    SessionOp { session, ..op }
}

fn broken(ops: &[SessionOp], scope: Scope) -> Vec<&'static str> {
    let found = check(ops, scope);
    found.into_iter().map(|found| found.checker).collect()
}

#[track_caller]
fn holds(ops: &[SessionOp]) {
    assert_eq!(check(ops, Scope::Boot), []);
    assert_eq!(check(ops, Scope::Cluster), []);
}

#[track_caller]
fn breaks(checker: &str, ops: &[SessionOp]) {
    assert_eq!(broken(ops, Scope::Boot), [checker]);
    assert_eq!(broken(ops, Scope::Cluster), [checker]);
}

#[test]
fn a_session_reads_what_it_wrote_or_newer() {
    holds(&[put(5), saw(5), by(2, put(9)), saw(9)]);
    breaks(READ_YOUR_WRITES, &[by(2, put(3)), put(5), saw(3)]);
    breaks(READ_YOUR_WRITES, &[put(5), nothing()]);
    breaks(READ_YOUR_WRITES, &[by(2, put(3)), delete(5), saw(3)]);
}

#[test]
fn a_read_of_nothing_is_explained_by_a_delete_or_a_row_that_its_node_hides() {
    holds(&[put(5), delete(6), nothing()]);
    holds(&[put(5), by(2, delete(6)), nothing()]);
    let hidden = |clock| op(Deed::SawNothing(Some(version(clock))));
    holds(&[put(5), hidden(5)]);
    holds(&[by(2, put(5)), saw(5), hidden(6)]);
    breaks(READ_YOUR_WRITES, &[put(5), hidden(4)]);
    // A row that one node hides does not explain what another shows.
    breaks(MONOTONIC_READS, &[by(2, hidden(5)), saw(5), nothing()]);
    // A delete that the write is newer than explains nothing, nor does one of another key or table.
    breaks(READ_YOUR_WRITES, &[by(2, delete(4)), put(5), nothing()]);
    let key = Bytes::from_static(b"other");
    let elsewhere = SessionOp {
        key,
        ..by(2, delete(6))
    };
    breaks(READ_YOUR_WRITES, &[elsewhere, put(5), nothing()]);
    let elsewhere = SessionOp {
        table: "safe",
        ..by(2, delete(6))
    };
    breaks(READ_YOUR_WRITES, &[elsewhere, put(5), nothing()]);
}

#[test]
fn reads_do_not_go_back() {
    holds(&[nothing(), saw(5), saw(5), saw(6), by(2, saw(5))]);
    breaks(MONOTONIC_READS, &[saw(6), saw(5)]);
    breaks(MONOTONIC_READS, &[by(2, put(5)), saw(5), nothing()]);
    // A hidden version does not come back, a newer one may come.
    holds(&[by(2, delete(6)), saw(5), nothing(), saw(7)]);
    breaks(
        MONOTONIC_READS,
        &[by(2, delete(6)), saw(5), nothing(), saw(5)],
    );
}

#[test]
fn writes_are_in_the_order_of_their_session() {
    holds(&[put(5), delete(6), put(7), by(2, put(4))]);
    breaks(MONOTONIC_WRITES, &[put(6), put(5)]);
    breaks(MONOTONIC_WRITES, &[delete(6), put(6)]);
}

#[test]
fn writes_are_newer_than_what_was_read_before() {
    holds(&[saw(5), put(6)]);
    breaks(WRITES_FOLLOW_READS, &[saw(6), put(5)]);
    breaks(WRITES_FOLLOW_READS, &[saw(6), delete(6)]);
}

#[test]
fn keys_are_judged_alone() {
    let key = Bytes::from_static(b"other");
    holds(&[saw(6), SessionOp { key, ..put(5) }]);
}

#[test]
fn a_guarantee_ends_where_its_scope_does() {
    let next_boot = |op| SessionOp { boot: 2, ..op };
    let other_node = |op| SessionOp { node: 1, ..op };
    let restarted = [by(2, put(3)), put(5), next_boot(saw(3))];
    assert_eq!(broken(&restarted, Scope::Boot), [""; 0]);
    assert_eq!(broken(&restarted, Scope::Node), [READ_YOUR_WRITES]);
    assert_eq!(broken(&restarted, Scope::Cluster), [READ_YOUR_WRITES]);
    let moved = [by(2, put(3)), put(5), other_node(saw(3)), saw(3)];
    assert_eq!(broken(&moved, Scope::Boot), [""; 0]);
    assert_eq!(broken(&moved, Scope::Node), [""; 0]);
    assert_eq!(broken(&moved, Scope::Cluster), [READ_YOUR_WRITES; 2]);
    // A new boot begins afresh, and is held to what happens in it.
    let again = [saw(6), next_boot(saw(5)), next_boot(saw(4))];
    assert_eq!(broken(&again, Scope::Boot), [MONOTONIC_READS]);
}

#[test]
fn a_report_says_which_client_saw_what_and_stays_short() {
    let found = check(&[put(5), nothing()], Scope::Boot);
    let expected = format!(
        "session 1 reads default/k on n0: nothing, though it wrote {}",
        Shown(version(5))
    );
    assert_eq!(found[0].text, expected);
    let ops: Vec<SessionOp> = (0..100).rev().map(saw).collect();
    assert_eq!(check(&ops, Scope::Boot).len(), MAX_VIOLATIONS);
}

#[test]
fn what_expires_may_show_again_and_a_flush_need_not_be_newest() {
    let saw_for = |clock| op(Deed::SawFor(version(clock)));
    let hidden = op(Deed::SawNothing(Some(version(3))));
    holds(&[put(3), hidden, saw_for(3)]);
    breaks(MONOTONIC_READS, &[put(3), saw(4), saw_for(3)]);
    let flush = op(Deed::Flush(version(5)));
    holds(&[saw(9), flush.clone(), saw(9), put(10), saw(10)]);
    breaks(READ_YOUR_WRITES, &[flush, saw(4)]);
}
