//! Sessions: what two members that disagree tell each other.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::table::gossip::write_digest;
use crate::wire::{GossipMessage, Message, PullBasis};

/// Messages of sessions that were delivered, as (from, to, message).
type Told = Rc<RefCell<Vec<(usize, usize, Message)>>>;

/// Members whose contexts never go whole, as those of large clusters, and what they tell each other.
fn digesting_lab(count: usize) -> (Lab, Told) {
    let mut lab = Lab::configured(count, |_, config| {
        config.limits.context_actors = 0;
    });
    lab.run(3_000);
    (lab, Told::default())
}

/// Pushes to `deaf` are lost; what belongs to sessions is noted.
fn lose_pushes_to(lab: &mut Lab, deaf: usize, told: &Told) {
    let told = Rc::clone(told);
    lab.cut = Box::new(move |from, to, msg| {
        if matches!(
            msg,
            Message::Gossip(
                GossipMessage::Pull(_) | GossipMessage::DigestDiff { .. } | GossipMessage::Page(_)
            )
        ) {
            told.borrow_mut().push((from, to, msg.clone()));
        }
        to == deaf && matches!(msg, Message::Gossip(GossipMessage::Push(_)))
    });
}

impl Lab {
    /// Now, and a link of a node.
    fn end_of(&self, i: usize) -> (Now, LinkId) {
        let mut ends = self.wires.keys().filter(|(node, _)| *node == i);
        (self.now, ends.next().unwrap().1)
    }
}

fn context_actors(msg: &Message) -> usize {
    let contexts = match msg {
        Message::Gossip(GossipMessage::Pull(wire::Pull {
            basis: PullBasis::Whole(contexts) | PullBasis::Within { contexts, .. },
            ..
        })) => contexts,
        Message::Gossip(GossipMessage::Page(wire::Page {
            last: Some(snapshot),
            ..
        })) => &snapshot.contexts,
        _ => return 0,
    };
    contexts.iter().map(|class| class.actors.len()).sum()
}

#[test]
fn a_digest_narrows_a_session_to_what_differs() {
    let (mut lab, told) = digesting_lab(6);
    for i in 0..6 {
        lab.put(i, &std::format!("of {i}"), "v");
    }
    lab.run(3_000);
    lose_pushes_to(&mut lab, 5, &told);
    lab.put(0, "k", "v");
    lab.delete(0, "of 3");
    lab.run(4_000);
    assert_eq!(lab.everywhere("k"), std::vec![value("v"); 6]);
    assert_eq!(lab.everywhere("of 3"), std::vec![None; 6]);
    let told = told.borrow();
    let fetched: Vec<&Message> = told
        .iter()
        .filter(|(from, to, _)| *from == 5 || *to == 5)
        .map(|(.., msg)| msg)
        .collect();
    let digests = fetched
        .iter()
        .filter(|msg| matches!(msg, Message::Gossip(GossipMessage::Pull(pull)) if matches!(pull.basis, PullBasis::Digest(_))));
    assert!(digests.count() >= 1);
    let whole = fetched
        .iter()
        .any(|msg| matches!(msg, Message::Gossip(GossipMessage::Pull(pull)) if matches!(pull.basis, PullBasis::Whole(_))));
    assert!(!whole, "no contexts go whole");
    // Six nodes have an actor in `sys` and one in `usr` each; one of them differs, and few share its bucket.
    let most = fetched.iter().map(|msg| context_actors(msg)).max();
    assert!(most < Some(6), "{most:?} actors were named for one");
}

#[test]
fn a_digest_that_agrees_by_now_ends_the_session() {
    let (mut lab, told) = digesting_lab(2);
    lose_pushes_to(&mut lab, 1, &told);
    let digest = write_digest(
        &lab.node(0)
            .modes
            .gossip
            .replica_mut()
            .coverage_mut()
            .digest(),
    );
    let status = lab.node(0).own_status();
    let (now, link) = lab.end_of(0);
    let msg = Message::Gossip(GossipMessage::Pull(wire::Pull {
        session: 7,
        basis: PullBasis::Digest(digest),
        durable: None,
        status,
    }));
    lab.node(0).handle(now, Input::Message { link, msg });
    lab.quiesce();
    let told = told.borrow();
    let ends = |(from, _, msg): &(usize, usize, Message)| {
        *from == 0
            && matches!(msg, Message::Gossip(GossipMessage::Page(page)) if page.last.is_some())
    };
    assert!(told.len() == 1 && ends(&told[0]), "{told:?}");
    assert_eq!(context_actors(&told[0].2), 0);
}

#[test]
fn a_scope_that_was_not_asked_for_is_ignored() {
    let (mut lab, told) = digesting_lab(2);
    lose_pushes_to(&mut lab, 1, &told);
    let (now, link) = lab.end_of(0);
    let msg = Message::Gossip(GossipMessage::DigestDiff {
        session: 9,
        scope: std::vec![wire::ClassScope {
            class: 1,
            buckets: u64::MAX,
        }],
        at: 1,
    });
    lab.node(0).handle(now, Input::Message { link, msg });
    lab.quiesce();
    assert!(told.borrow().is_empty(), "{:?}", told.borrow());
}

#[test]
fn contexts_are_claimed_only_to_members_that_wait_for_claims() {
    let (mut lab, told) = digesting_lab(3);
    lose_pushes_to(&mut lab, 2, &told);
    lab.put(0, "k", "v");
    lab.run(4_000);
    let claims = |told: &Told| {
        let told = told.borrow();
        let claim = |msg: &Message| matches!(msg, Message::Gossip(GossipMessage::Pull(pull)) if pull.durable.is_some());
        told.iter().filter(|(.., msg)| claim(msg)).count()
    };
    assert_eq!(claims(&told), 0, "there is nothing to free");
    lab.delete(0, "k");
    lab.run(6_000);
    assert!(claims(&told) > 0);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
pub(super) fn a_session_about_a_part_brings_what_has_replaced_its_rows_since() {
    let (mut lab, told) = digesting_lab(3);
    lab.put(0, "mine", "v");
    lab.run(1_000);
    lose_pushes_to(&mut lab, 1, &told);
    lab.put(0, "k", "old");
    lab.quiesce();
    let actor = lab.nodes[0].as_ref().unwrap().hello().actor;
    let mut lacked = crate::table::Context::new();
    lacked.insert(actor, 2);
    let scope =
        crate::table::gossip::Scope::around(&[(crate::table::RowClass::UsrDurable, lacked)]);
    let at = lab.node(0).shared.changes.next();
    lab.put(2, "k", "new");
    lab.quiesce();
    assert_eq!(lab.get(0, "k"), value("new"));
    let pull = |session, since, status| {
        Message::Gossip(GossipMessage::Pull(wire::Pull {
            session,
            basis: PullBasis::Within {
                scope: scope.to_wire(),
                since,
                contexts: Vec::new(),
            },
            durable: None,
            status,
        }))
    };
    let (now, link) = lab.end_of(0);
    // Without the changes since, the client would adopt the dot of the old row and have neither.
    for (session, since, (rows, adopted)) in [
        (100, Some(at), (2, 1)),
        (101, None, (1, 0)),
        (102, Some(0), (0, 0)),
    ] {
        told.borrow_mut().clear();
        let status = lab.node(0).own_status();
        let msg = pull(session, since, status);
        lab.node(0).handle(now, Input::Message { link, msg });
        while let Some(output) = lab.node(0).poll_output() {
            let Output::Send { msg, .. } = output else {
                continue;
            };
            if let Message::Gossip(GossipMessage::Page(page)) = &*msg {
                let contexts = page.last.as_ref().unwrap().contexts.iter();
                let actors: usize = contexts.map(|class| class.actors.len()).sum();
                assert_eq!((page.rows.rows.len(), actors), (rows, adopted), "{since:?}");
                told.borrow_mut().push((0, 0, msg.as_ref().clone()));
            }
        }
        assert_eq!(
            told.borrow().len(),
            usize::from(since != Some(0)),
            "{since:?}: refused"
        );
    }
}

/// Returns the pages that a node sends for a session asked for over one link.
fn pages(lab: &mut Lab, i: usize, (link, msg): (LinkId, Message)) -> Vec<wire::Page> {
    let now = lab.now;
    lab.node(i).handle(now, Input::Message { link, msg });
    let mut pages = Vec::new();
    while let Some(output) = lab.node(i).poll_output() {
        if let Output::Send { msg, .. } = output
            && let Message::Gossip(GossipMessage::Page(page)) = &*msg
        {
            pages.push(page.clone());
        }
    }
    pages
}

fn pull_all(lab: &mut Lab, i: usize, session: u64) -> (LinkId, Message) {
    let status = lab.node(i).own_status();
    let pull = wire::Pull {
        session,
        basis: PullBasis::Whole(Vec::new()),
        durable: None,
        status,
    };
    (lab.end_of(i).1, Message::Gossip(GossipMessage::Pull(pull)))
}

#[test]
pub(super) fn a_session_that_is_asked_for_twice_is_served_once() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(1_000);
    let asked = pull_all(&mut lab, 0, 100);
    assert_eq!(pages(&mut lab, 0, asked.clone()).len(), 1);
    let again = pages(&mut lab, 0, asked);
    assert!(again.is_empty(), "it is served once: {again:?}");
    let next = pull_all(&mut lab, 0, 101);
    assert_eq!(pages(&mut lab, 0, next).len(), 1);
}

#[test]
pub(super) fn a_drop_marker_written_under_a_session_is_sent_at_its_end() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let large = "v".repeat(100_000);
    for i in 0..40 {
        lab.put(0, &std::format!("k{i}"), &large);
    }
    lab.run(1_000);
    let asked = pull_all(&mut lab, 0, 100);
    let link = asked.0;
    let first = pages(&mut lab, 0, asked);
    assert!(first.iter().all(|page| page.last.is_none()), "it goes on");
    let now = lab.now;
    lab.node(0).flush(now, None).unwrap();
    let mut page = u32::try_from(first.len()).unwrap();
    let last = loop {
        let session = 100;
        let more = Message::Gossip(GossipMessage::PageAck { session, page });
        let mut next = pages(&mut lab, 0, (link, more));
        let Some(last) = next.pop() else {
            panic!("the session does not end");
        };
        page += u32::try_from(next.len()).unwrap() + 1;
        if last.last.is_some() {
            break last;
        }
    };
    let tables = last.rows.tables.iter();
    let markers = tables.filter(|table| table.name == "drop_markers");
    assert_eq!(
        markers.count(),
        1,
        "the drop marker, at the end of the session"
    );
}
