//! Sessions: a client adopts what its server has seen after all rows, and never what it did not get.

use super::*;

/// Makes two members, the first of which holds this many rows; a page has room for one.
fn pair(rows: u32) -> (Machine, Machine) {
    let mut config = Config::new("1", "a");
    config.limits.rows_per_message = 1;
    let mut one = Machine::with(config, 1, 2);
    for row in 0..rows {
        one.put(&std::format!("k{row}"), "v");
    }
    (one, Machine::new(2, 2))
}

/// Has the second member ask the first.
fn ask(one: &mut Machine, two: &mut Machine) {
    for (_, msg) in two.pull(1) {
        one.hear(2, msg);
    }
}

#[test]
fn what_a_server_has_seen_is_adopted_after_all_rows_in_whatever_order_they_come() {
    let (mut one, mut two) = pair(3);
    // The dot of the first version has no row any more.
    one.put("k0", "w");
    ask(&mut one, &mut two);
    let mut pages = one.pages();
    pages.reverse();
    assert!(pages.len() > 2 && pages[0].last.is_some());
    let last = pages.pop().unwrap();
    for page in pages {
        let paged = two.hear(1, GossipMessage::Page(page));
        assert!(matches!(paged, Paged::Merged));
        assert!(!two.has_seen(&one.contexts()));
    }
    let paged = two.hear(1, GossipMessage::Page(last));
    assert!(matches!(paged, Paged::Complete(_)));
    assert!(two.has_seen(&one.contexts()));
    assert_eq!(two.get("k0"), Some("w"));
}

#[test]
fn a_page_counts_once_and_in_its_own_session_alone() {
    let (mut one, mut two) = pair(3);
    ask(&mut one, &mut two);
    let pages = one.pages();
    let (first, last) = (&pages[0], &pages[pages.len() - 1]);
    assert!(pages.len() > 2 && last.last.is_some());
    for page in pages[1..].iter().map(|_| first).chain([last]) {
        two.hear(1, GossipMessage::Page(page.clone()));
    }
    let mut other = pages[1].clone();
    other.session += 1;
    two.hear(1, GossipMessage::Page(other));
    assert!(!two.has_seen(&one.contexts()));
    assert_eq!((two.get("k1"), two.gossip.sessions()), (None, 1));
}

#[test]
fn a_row_that_is_replaced_before_its_page_is_sent_at_the_end() {
    let (mut one, mut two) = pair(10);
    ask(&mut one, &mut two);
    let first = one.pages();
    assert!(first.len() < 10);
    one.put("k9", "w");
    let mut pages = first;
    while !pages.is_empty() {
        for page in pages {
            two.hear(1, GossipMessage::Page(page));
        }
        for (_, more) in two.sent() {
            one.hear(2, more);
        }
        pages = one.pages();
    }
    assert_eq!(two.gossip.sessions(), 0);
    assert_eq!(two.get("k9"), Some("w"));
}

#[test]
fn a_node_that_is_no_full_member_refuses_and_is_asked_again_later() {
    let (mut one, mut two) = pair(1);
    one.joined = false;
    ask(&mut one, &mut two);
    let answer = one.sent();
    assert!(matches!(answer[..], [(2, GossipMessage::Refused { .. })]));
    for (_, refused) in answer {
        two.hear(1, refused);
    }
    assert_eq!(two.gossip.sessions(), 0);
    two.act(Gossip::tick);
    assert!(two.sent().is_empty());
    one.joined = true;
    two.wait(two.config.timing.mismatch_patience * 3);
    two.act(Gossip::tick);
    assert!(matches!(two.sent()[..], [(1, GossipMessage::Pull(_))]));
}

#[test]
fn a_silent_session_is_given_up_and_its_late_pages_are_nothing() {
    let (mut one, mut two) = pair(2);
    ask(&mut one, &mut two);
    let late = one.pages();
    two.wait(two.config.timing.session_timeout);
    two.act(Gossip::tick);
    assert!(two.has_marked(Mark::SessionTimeout));
    for page in late {
        two.hear(1, GossipMessage::Page(page));
    }
    assert_eq!(two.get("k0"), None);
    two.wait(two.config.timing.mismatch_patience * 3);
    assert!(matches!(fetch(&mut two, &mut one), Paged::Complete(_)));
    assert!(two.has_seen(&one.contexts()));
}

#[test]
fn a_session_that_is_asked_for_twice_is_served_once() {
    let (mut one, mut two) = pair(2);
    let asked = two.pull(1);
    for (_, msg) in [asked.clone(), asked].concat() {
        one.hear(2, msg);
    }
    let pages: Vec<u32> = one.pages().iter().map(|page| page.page).collect();
    assert_eq!(pages, (0..pages.len() as u32).collect::<Vec<_>>());
    assert!(one.has_marked(Mark::PullRepeated));
}

#[test]
fn a_newcomer_that_wrote_below_what_was_freed_adopts_nothing() {
    let (mut one, mut two) = pair(1);
    one.wait(Duration::from_secs(5));
    one.delete("k0");
    one.claims(2, &one.contexts(), one.clock());
    one.end_turn();
    one.sent();
    assert_eq!(one.tombstones(), 0);
    two.joined = false;
    ask(&mut one, &mut two);
    two.put("k1", "w");
    let mut pages = one.pages();
    let last = pages.pop().unwrap();
    for page in pages {
        two.hear(1, GossipMessage::Page(page));
    }
    let paged = two.hear(1, GossipMessage::Page(last));
    assert!(matches!(paged, Paged::TooLow));
    assert!(!two.has_seen(&one.contexts()));
}
