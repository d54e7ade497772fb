use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

use super::subtree::Split;
use super::*;
use crate::config::Storage;
use crate::effects::Effects;
use crate::id::{Actor, LinkId, NodeId};
use crate::table::gossip::Coverage;
use crate::table::{Context, RowClass, Runs};
use crate::time::Instant;

const PATIENCE: Duration = Duration::from_millis(500);

/// Members that a member knows, each with a link of the same number.
fn ring(members: &BTreeSet<NodeId>, me: NodeId) -> Vec<(NodeId, LinkId)> {
    let others = members.iter().filter(|node| **node != me);
    others.map(|node| (*node, LinkId(node.0))).collect()
}

fn good(_: NodeId, _: LinkId) -> Fit {
    Fit::Good
}

/// Lets a write of `origin` go down its tree: how often it comes to each member, and how many hops it takes.
fn spread(
    origin: NodeId,
    fanout: usize,
    known: impl Fn(NodeId) -> BTreeSet<NodeId>,
) -> (BTreeMap<NodeId, usize>, usize) {
    let (mut came, mut hops) = (BTreeMap::new(), 0);
    let mut turn = std::vec![(origin, Subtree::whole(origin))];
    while !turn.is_empty() {
        let mut next = Vec::new();
        for (me, subtree) in turn {
            let Split { cuts, links, .. } = subtree.split(&ring(&known(me), me), fanout, good);
            for link in links {
                let to = NodeId(link.0);
                *came.entry(to).or_default() += 1;
                let left = Subtree::received(&cuts, to).unwrap();
                next.push((to, left.expect("a receiver is in a subtree")));
            }
        }
        hops += usize::from(!next.is_empty());
        turn = next;
    }
    (came, hops)
}

#[test]
fn all_are_reached_once_in_as_many_hops_as_the_tree_is_deep() {
    arbtest::arbtest(|u| {
        let members: BTreeSet<NodeId> = match u.ratio(1, 4)? {
            // Ids beside each other, around the end.
            true => (0..40).map(|id: u64| NodeId(id.wrapping_sub(20))).collect(),
            false => u.arbitrary::<Vec<u64>>()?.into_iter().map(NodeId).collect(),
        };
        let all: Vec<NodeId> = members.iter().copied().collect();
        if all.is_empty() {
            return Ok(());
        }
        let origin = *u.choose(&all)?;
        let fanout = u.int_in_range(1..=8)?;
        let (came, hops) = spread(origin, fanout, |_| members.clone());
        let once: BTreeMap<NodeId, usize> = ring(&members, origin)
            .iter()
            .map(|(node, _)| (*node, 1))
            .collect();
        assert_eq!(came, once);
        let (mut depth, mut reached, mut level) = (0, 0, 1);
        while reached + 1 < all.len() {
            level *= fanout;
            reached += level;
            depth += 1;
        }
        assert!(hops <= depth, "{hops} hops for {} members", all.len());
        Ok(())
    });
}

#[test]
fn members_that_know_different_ones_reach_none_twice_and_all_that_one_answers_for() {
    arbtest::arbtest(|u| {
        let members: BTreeSet<NodeId> =
            u.arbitrary::<Vec<u64>>()?.into_iter().map(NodeId).collect();
        let all: Vec<NodeId> = members.iter().copied().collect();
        if all.is_empty() {
            return Ok(());
        }
        let origin = *u.choose(&all)?;
        let fanout = u.int_in_range(1..=4)?;
        // Each member lacks one other.
        let mut unknown: BTreeMap<NodeId, NodeId> = BTreeMap::new();
        for node in &all {
            unknown.insert(*node, *u.choose(&all)?);
        }
        let (came, _) = spread(origin, fanout, |me| {
            let mut known = members.clone();
            known.remove(&unknown[&me]);
            known
        });
        assert!(came.values().all(|count| *count == 1) && !came.contains_key(&origin));
        let pairs = unknown.values().filter(|node| !came.contains_key(node));
        let missed = all.len() - 1 - came.len();
        assert!(missed <= pairs.collect::<BTreeSet<_>>().len());
        Ok(())
    });
}

#[test]
fn a_part_goes_to_a_member_with_room_and_rather_to_one_that_answers() {
    let members: BTreeSet<NodeId> = (1..=9).map(NodeId).collect();
    let ring = ring(&members, NodeId(1));
    let split = Subtree::whole(NodeId(1)).split(&ring, 2, |node, _| match node.0 {
        2 => Fit::Never,
        3 => Fit::Doubtful,
        6.. => Fit::Never,
        _ => Fit::Good,
    });
    assert_eq!(split.links, [LinkId(4)]);
    assert_eq!(split.skipped, 1);
    // It answers for those that were passed over too.
    let subtree = Subtree::received(&split.cuts, NodeId(4)).unwrap().unwrap();
    let links = subtree
        .split(&self::ring(&members, NodeId(4)), 9, good)
        .links;
    assert_eq!(links, [2, 3, 5].map(LinkId));
}

#[test]
fn each_member_is_told_by_two_others_that_are_far_off() {
    for count in [1_usize, 2, 3, 4, 5, 10, 99, 100] {
        let members: BTreeSet<NodeId> = (0..count as u64).map(|id| NodeId(id * 7)).collect();
        let mut told: BTreeMap<LinkId, usize> = BTreeMap::new();
        for me in &members {
            let links = partners(&ring(&members, *me), *me, good);
            assert_eq!(links.len(), 2.min(count - 1));
            assert!(links.iter().all(|link| link.0 != me.0));
            for link in links {
                *told.entry(link).or_default() += 1;
            }
        }
        assert!(
            told.values().all(|times| *times == 2.min(count - 1)),
            "{count}: {told:?}"
        );
    }
}

fn named(actor: Actor, runs: &[(u64, u64)]) -> Vec<(RowClass, Context)> {
    let context = [(actor, Runs::from_wire(runs).unwrap())]
        .into_iter()
        .collect();
    std::vec![(RowClass::UsrDurable, context)]
}

fn actor(number: u64) -> Actor {
    Actor {
        node: NodeId(number),
        boot: number,
    }
}

/// Returns the steps that are due so long after the beginning.
fn due(lazy: &mut Lazy, ms: u64, coverage: &Coverage) -> Vec<Verdict> {
    lazy.due(Instant::from_micros(ms * 1_000), PATIENCE, coverage, |_| {
        true
    })
}

#[test]
fn what_is_named_and_does_not_come_is_asked_for_once_of_each_that_has_it() {
    let (mut lazy, mut coverage) = (Lazy::default(), Coverage::default());
    let mut fx = Effects::new(Storage::None, crate::rules::Rules::default());
    let writer = coverage.intern(actor(1));
    coverage.insert(RowClass::UsrDurable, writer, 2, &mut fx);
    let t0 = Instant::ZERO;
    lazy.on_ihave(
        t0,
        PATIENCE,
        LinkId(7),
        &named(actor(1), &[(1, 3)]),
        &coverage,
    );
    lazy.on_ihave(
        t0,
        PATIENCE,
        LinkId(8),
        &named(actor(1), &[(1, 4)]),
        &coverage,
    );
    assert_eq!(due(&mut lazy, 99, &coverage), []);
    coverage.insert(RowClass::UsrDurable, writer, 1, &mut fx);
    let expected = [
        Verdict::Graft(LinkId(7), named(actor(1), &[(3, 3)])),
        Verdict::Graft(LinkId(8), named(actor(1), &[(4, 4)])),
    ];
    assert_eq!(due(&mut lazy, 100, &coverage), expected);
    assert_eq!(due(&mut lazy, 199, &coverage), []);
    let second = [Verdict::Graft(LinkId(8), named(actor(1), &[(3, 3)]))];
    assert_eq!(due(&mut lazy, 200, &coverage), second);
    assert_eq!(
        due(&mut lazy, 300, &coverage),
        [],
        "the rest is left to anti-entropy"
    );
    assert_eq!(lazy.next_deadline(), None);
}

#[test]
fn notices_gather_dots_until_they_are_due_or_full() {
    let (mut lazy, coverage) = (Lazy::default(), Coverage::default());
    let at = (RowClass::UsrDurable, actor(1));
    for counter in 1..=3 {
        lazy.arrived(Instant::ZERO, PATIENCE, at, counter);
    }
    assert_eq!(due(&mut lazy, 49, &coverage), []);
    let expected = [Verdict::IHave(named(actor(1), &[(1, 3)]))];
    assert_eq!(due(&mut lazy, 50, &coverage), expected);
    for counter in 1..=4_096 {
        lazy.arrived(Instant::ZERO, PATIENCE, at, counter * 2);
    }
    assert_eq!(lazy.next_deadline(), Some(Instant::ZERO));
    assert_eq!(due(&mut lazy, 0, &coverage).len(), 1);
}

#[test]
fn a_peer_that_names_what_it_likes_fills_no_more_than_the_table() {
    let (mut lazy, coverage) = (Lazy::default(), Coverage::default());
    for number in 0..5_000 {
        let have = named(actor(number), &[(1, u64::MAX - 1)]);
        lazy.on_ihave(Instant::ZERO, PATIENCE, LinkId(1), &have, &coverage);
    }
    let runs: Vec<(u64, u64)> = (1..5_000).map(|at| (at * 2, at * 2)).collect();
    lazy.on_ihave(
        Instant::ZERO,
        PATIENCE,
        LinkId(1),
        &named(actor(9_999), &runs),
        &coverage,
    );
    let grafts = due(&mut lazy, 100, &coverage);
    let [Verdict::Graft(_, dots)] = grafts.as_slice() else {
        panic!("{grafts:?}");
    };
    assert_eq!(dots[0].1.len(), 1_024);
}

#[test]
fn what_waits_may_be_split_without_end_of_what_else_is_named() {
    let (mut lazy, mut coverage) = (Lazy::default(), Coverage::default());
    let mut fx = Effects::new(Storage::None, crate::rules::Rules::default());
    let long = named(actor(1), &[(1, 10_000)]);
    lazy.on_ihave(Instant::ZERO, PATIENCE, LinkId(1), &long, &coverage);
    let writer = coverage.intern(actor(1));
    for counter in 1..3_000 {
        coverage.insert(RowClass::UsrDurable, writer, counter * 2, &mut fx);
    }
    assert_eq!(due(&mut lazy, 100, &coverage).len(), 1);
    let more = named(actor(2), &[(1, 1)]);
    lazy.on_ihave(Instant::ZERO, PATIENCE, LinkId(1), &more, &coverage);
    assert_eq!(due(&mut lazy, 200, &coverage), [], "there is no room");
}

#[test]
fn a_shorter_patience_holds_for_what_waits() {
    let (mut lazy, coverage) = (Lazy::default(), Coverage::default());
    lazy.arrived(Instant::ZERO, PATIENCE, (RowClass::Sys, actor(1)), 1);
    let have = named(actor(1), &[(1, 1)]);
    lazy.on_ihave(Instant::ZERO, PATIENCE, LinkId(1), &have, &coverage);
    lazy.retime(Instant::ZERO, PATIENCE / 5);
    assert_eq!(due(&mut lazy, 20, &coverage).len(), 2);
}
