//! The pains of replication, each named after what must not happen.

use std::collections::BTreeMap;

use rumormill_core::wire::{DetectorMessage, GossipMessage, Message, encode};
use rumormill_core::{Config, Limits};
use rumormill_sim::plan::{Caps, FaultWhat, Machine, Plan};
use rumormill_sim::{Sabotage, Scenario};

use crate::story::{Sent, capped, count, in_bytes, listen, phase, plan};

fn put_many(story: &mut Scenario, node: usize, rows: usize) {
    for number in 0..rows {
        story.put(node, &format!("row{number}"), "value").wait(1);
    }
}

/// The bytes of the largest message of these.
fn largest(sent: &Sent, what: impl Fn(&Message) -> bool) -> usize {
    let sent = sent.borrow();
    let sizes = sent.iter().filter(|(.., msg)| what(msg)).map(|(.., msg)| {
        let mut bytes = Vec::new();
        assert!(encode(msg, &mut bytes).is_ok());
        bytes.len()
    });
    sizes.max().unwrap_or(0)
}

fn is_probe(msg: &Message) -> bool {
    matches!(
        msg,
        Message::Detector(DetectorMessage::Probe { .. } | DetectorMessage::Ack { .. })
    )
}

fn is_question(msg: &Message) -> bool {
    matches!(
        msg,
        Message::Gossip(GossipMessage::Pull(_) | GossipMessage::DigestDiff { .. })
    )
}

#[test]
fn a_digest_outgrows_its_packet() {
    digests(8);
}

#[test]
#[should_panic(expected = "a question of")]
fn without_digests_it_does() {
    digests(1_000_000);
}

/// Each start of a node that writes is an actor in the contexts.
fn digests(context_actors: u32) {
    let mut story = capped(
        3,
        Caps {
            context_actors: Some(context_actors),
            ..Caps::default()
        },
    );
    story.at(3_000);
    for boot in 0..150 {
        story.put_safe(2, &format!("boot{boot}"), "began").wait(60);
        story.kill(2).restart(2).wait(400);
    }
    story.wait(5_000);
    let sent = listen(&mut story);
    // One push is lost, and everything is compared.
    let loss = story.begin(&FaultWhat::Loss { ppm: 1_000_000 });
    story.put(0, "color", "red").wait(5).end(loss).wait(10_000);
    story.expect(1, "color", Some("red"));
    let (probe, question) = (largest(&sent, is_probe), largest(&sent, is_question));
    assert!((1..400).contains(&probe), "a probe of {probe} bytes");
    assert!(
        (1..1_800).contains(&question),
        "a question of {question} bytes"
    );
    story.expect_converged();
}

#[test]
fn a_big_state_blocks_discovery() {
    const ROWS: usize = 400;
    let mut story = Scenario::of(Plan {
        caps: pages_of(4),
        machines: [0, 20, 40, 9_000]
            .map(|ms| Machine::new(ms * 1_000))
            .to_vec(),
        ..plan(4)
    });
    story.at(2_000);
    put_many(&mut story, 0, ROWS);
    // n3 comes to a cluster with many rows, over a slow network, and its seed is the only one that answers.
    story
        .set(0, "limits.session_replaced", "77")
        .partition(&[3], &[1, 2]);
    story.begin(&FaultWhat::Delay {
        node: 3,
        by_us: 100_000,
    });
    story.at(9_500);
    story.until(30_000, "n3 knows all members and the setting", |story| {
        let members = story.world().node(3).unwrap().members();
        members.len() == 4 && knows_setting(story, 3)
    });
    assert!(
        story.rows(3) < ROWS / 4,
        "{} rows came first",
        story.rows(3)
    );
    story.wait(20_000);
    assert_eq!(story.rows(3), ROWS);
    story.heal().expect_converged();
}

fn knows_setting(story: &Scenario, node: usize) -> bool {
    let node = story.world().node(node);
    let setting = node.map(|node| node.setting("limits.session_replaced"));
    setting.is_some_and(|setting| setting.is_ok_and(|setting| setting.value == "77"))
}

#[test]
fn a_value_over_the_limit_stops_replication() {
    let limit = Limits::default().value_bytes;
    let mut story = Scenario::of(in_bytes(3));
    story.at(3_000);
    assert!(story.refuses(0, "large", &"x".repeat(limit + 1)));
    // An allowed value is cut into frames.
    let largest = "x".repeat(limit);
    story.put(0, "large", &largest).put(0, "color", "red");
    story.wait(50);
    for node in 0..3 {
        story
            .expect(node, "large", Some(&largest))
            .expect(node, "color", Some("red"));
    }
    assert_eq!(count(&story, "protocol"), 0);
    story.expect_converged();
}

/// Rows in pages of sessions that were sent to each node.
fn served(sent: &Sent) -> BTreeMap<usize, usize> {
    let mut rows = BTreeMap::new();
    for (_, to, msg) in sent.borrow().iter() {
        if let Message::Gossip(GossipMessage::Page(page)) = msg {
            *rows.entry(*to).or_default() += page.rows.rows.len();
        }
    }
    rows
}

#[test]
fn a_node_that_starts_anew_brings_a_storm() {
    const ROWS: usize = 300;
    const TIMES: usize = 5;
    let mut story = Scenario::new(5);
    story.at(3_000);
    put_many(&mut story, 0, ROWS);
    story.wait(3_000);
    let sent = listen(&mut story);
    for _ in 0..TIMES {
        let wipe = story.begin(&FaultWhat::Wipe { node: 4 });
        story.wait(100).end(wipe).wait(4_000);
        assert_eq!(story.rows(4), ROWS);
        story.put(0, "row0", "written meanwhile");
    }
    let served = served(&sent);
    let anew = served.get(&4).copied().unwrap_or(0);
    assert!(anew >= TIMES * ROWS, "{served:?}");
    // The members' own rows come on top, and no other node has lost anything.
    assert!(anew < TIMES * (ROWS + 40), "{served:?}");
    let others: usize = (0..4).filter_map(|node| served.get(&node)).sum();
    assert!(others < 60, "{served:?}");
    story.expect_converged();
}

#[test]
fn a_page_that_was_lost_counts_as_seen() {
    lost_page(OnePageLost::default());
}

/// The network takes one page away, shortly before the last one.
#[derive(Default)]
struct OnePageLost {
    is_lost: bool,
    #[cfg(feature = "mutants")]
    mutant: Option<rumormill_core::mutants::Mutant>,
}

impl Sabotage for OnePageLost {
    #[cfg(feature = "mutants")]
    fn configures(&mut self, _: usize, config: &mut Config) {
        config.mutant = self.mutant;
    }

    fn swallows(&mut self, _: usize, _: usize, message: &Message) -> bool {
        let found =
            matches!(message, Message::Gossip(GossipMessage::Page(page)) if page.page == 57);
        let takes = found && !self.is_lost;
        self.is_lost |= takes;
        takes
    }
}

fn lost_page(network: OnePageLost) {
    let mut story = capped(2, pages_of(1));
    story.sabotage(network).at(3_000).crash(1).wait(100);
    put_many(&mut story, 0, 60);
    story.wait(2_000).restart(1).wait(20_000);
    assert_eq!(story.rows(1), 60);
    assert!(count(&story, "page") > 60, "one page came again");
    story.expect_converged();
}

fn pages_of(rows: u32) -> Caps {
    Caps {
        rows_per_message: Some(rows),
        ..Caps::default()
    }
}

#[test]
fn what_changes_under_a_session_and_is_lost_leaves_holes() {
    change_under_a_session(capped(2, pages_of(1)), |story| {
        story.put(0, "row39", "newer");
    });
    change_under_a_session(capped(2, pages_of(1)), |story| {
        story.flush(0);
    });
}

/// n1 comes anew and fetches everything. What n0 changes meanwhile it loses with its power when n1 has adopted its contexts: the old
/// rows are back there, and n1 must not cover them without having what replaced them.
fn change_under_a_session(mut story: Scenario, change: impl Fn(&mut Scenario)) {
    story.at(3_000);
    put_many(&mut story, 0, 40);
    story.wait(3_000);
    let delay = story.begin(&FaultWhat::Delay {
        node: 1,
        by_us: 50_000,
    });
    let wipe = story.begin(&FaultWhat::Wipe { node: 1 });
    story.wait(15_000).end(wipe);
    story.until(30_000, "n1 has the first rows", |story| story.rows(1) >= 10);
    let slow = story.begin(&FaultWhat::SlowDisk {
        node: 0,
        by_us: 10_000_000,
    });
    change(&mut story);
    story.until(30_000, "n1 is a member", |story| {
        phase(story, 1) == "member"
    });
    story
        .crash_unsynced(0)
        .end(slow)
        .wait(100)
        .end(delay)
        .restart(0);
    story.wait(10_000).expect_converged();
}

#[test]
fn a_batch_that_a_crash_took_counts_as_seen() {
    unsynced_batch(Scenario::new(3));
}

fn unsynced_batch(mut story: Scenario) {
    story
        .at(3_000)
        .put(0, "old", "row")
        .wait(2_000)
        .crash(1)
        .wait(100);
    put_many(&mut story, 0, 40);
    story.delete(0, "old").wait(2_000).restart(1);
    // n1 fetches everything, the delete too, and its disk takes its time.
    let slow = story.begin(&FaultWhat::SlowDisk {
        node: 1,
        by_us: 30_000_000,
    });
    story.until(60_000, "n1 has all rows", |story| story.rows(1) >= 40);
    story.wait(8_000).crash_unsynced(1).end(slow).wait(500);
    story.restart(1).wait(5_000);
    for node in 0..3 {
        story.expect(node, "old", None);
        assert_eq!(story.rows(node), 40);
    }
    story.expect_converged();
}

#[test]
fn one_clock_far_ahead_poisons_what_others_write() {
    let mut story = Scenario::new(3);
    story.at(8_000).skew(0, 30 * 86_400_000);
    assert!(story.refuses(0, "color", "red"), "it is ahead of both");
    story.skew(0, 0).put(0, "color", "green").wait(50);
    story.expect_converged();

    // Which of two clocks is wrong cannot be known.
    let mut story = Scenario::new(2);
    story
        .at(3_000)
        .skew(0, 30 * 86_400_000)
        .put(0, "color", "red");
    story.wait(50).put(1, "shape", "round").wait(50);
    let now = story.world().clock(1).unwrap();
    let status = story.world().node(1).unwrap().status(now);
    let limit = Limits::default().clock_drift.as_millis() as u64;
    let ahead = (status.clock.0 >> 16).saturating_sub(now.wall.as_millis());
    assert!(ahead <= limit, "n1 follows");
    // Any member can replace the row of the wrong clock, at once.
    story.put(1, "color", "blue").wait(50);
    story.skew(0, 0).wait(2_000);
    for node in 0..2 {
        story
            .expect(node, "color", Some("blue"))
            .expect(node, "shape", Some("round"));
    }
    story.expect_converged();
}

/// The protocols of each member and their endpoints: far more than a packet holds.
struct Endpoints;

impl Sabotage for Endpoints {
    fn configures(&mut self, node: usize, config: &mut Config) {
        for number in 0..500 {
            let endpoint = format!("https://n{node}.example.org:{number}/{}", "x".repeat(100));
            config
                .protocols
                .insert(format!("service{number}"), endpoint);
        }
    }
}

#[test]
fn what_a_member_says_of_itself_is_cut_at_512_bytes() {
    let mut story = Scenario::of(in_bytes(4));
    story.sabotage(Endpoints).at(4_000);
    for node in 0..4 {
        for member in story.world().node(node).unwrap().members() {
            // Its gossip address comes on top.
            assert_eq!(member.protocols.len(), 501, "{} on n{node}", member.name);
        }
    }
    story.expect_converged();
}

/// The same stories with the rule taken away.
#[cfg(feature = "mutants")]
mod planted {
    use rumormill_core::mutants::Mutant;

    use rumormill_sim::Scenario;

    use super::{OnePageLost, capped, change_under_a_session, lost_page, pages_of, unsynced_batch};
    use crate::story::Awake;

    #[test]
    #[should_panic(expected = "n1 repaired rows that no disk had lost")]
    fn replaced_rows_are_forgotten() {
        let story = mutated(Mutant::ReplacedForgotten);
        change_under_a_session(story, |story| {
            story.put(0, "row39", "newer");
        });
    }

    #[test]
    #[should_panic(expected = "n1 repaired rows that no disk had lost")]
    fn drop_markers_are_forgotten() {
        let story = mutated(Mutant::DropMarkerForgotten);
        change_under_a_session(story, |story| {
            story.flush(0);
        });
    }

    fn mutated(mutant: Mutant) -> Scenario {
        let mut story = capped(2, pages_of(1));
        story.sabotage(Awake(mutant));
        story
    }

    #[test]
    #[should_panic(expected = "old on n0")]
    fn durable_before_its_sync() {
        let mut story = Scenario::new(3);
        story.sabotage(Awake(Mutant::DurableAtOnce));
        unsynced_batch(story);
    }

    #[test]
    #[should_panic(expected = "n1 repaired rows that no disk had lost")]
    fn adopted_without_its_pages() {
        lost_page(OnePageLost {
            mutant: Some(Mutant::AdoptEarly),
            ..OnePageLost::default()
        });
    }
}
