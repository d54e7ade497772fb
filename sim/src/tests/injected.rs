//! Faults of machines, disks and bytes do what they say, and end.

use std::collections::BTreeMap;

use crate::Scenario;
use crate::plan::{FaultWhat, Plan};
use crate::run::run_plan;
use crate::trace::Keep;

fn count(story: &Scenario, name: &str) -> u64 {
    let faults = story.world().faults_met();
    faults.get(name).copied().unwrap_or(0)
}

#[test]
fn a_paused_node_gets_its_input_at_once() {
    let mut story = Scenario::new(2);
    let pause = story.at(3_000).begin(&FaultWhat::Pause { node: 1 });
    story.put(0, "color", "red").wait(900);
    story.expect(1, "color", None);
    story.end(pause).wait(1).expect(1, "color", Some("red"));
    assert_eq!(count(&story, "pause"), 1);
    story.expect_converged();
}

#[test]
fn a_slow_node_takes_its_time() {
    let mut story = Scenario::new(2);
    let (node, by_us) = (1, 50_000);
    story.at(3_000).begin(&FaultWhat::Slow { node, by_us });
    for number in 0..4 {
        story.put(0, &format!("row{number}"), "v").wait(1);
    }
    story.wait(10);
    assert_eq!(story.rows(1), 1);
    story.wait(200);
    assert_eq!(story.rows(1), 4);
    story.expect_converged();
}

#[test]
fn a_wiped_node_comes_back_as_another() {
    let mut story = Scenario::new(3);
    story.at(3_000).put(1, "color", "red").wait(100);
    let before = story.world().node(0).unwrap().id();
    let wipe = story.begin(&FaultWhat::Wipe { node: 0 });
    story.wait(1_000).end(wipe).wait(2_000);
    assert_ne!(story.world().node(0).unwrap().id(), before);
    story.expect(0, "color", Some("red")).expect_converged();
}

#[test]
fn the_last_node_that_knows_the_cluster_is_not_wiped() {
    let mut story = Scenario::new(2);
    story.at(3_000).crash(1).begin(&FaultWhat::Wipe { node: 0 });
    assert_eq!(count(&story, "wipe"), 0);
    assert!(story.world().node(0).is_some());
}

#[test]
fn a_node_leaves_and_returns() {
    let mut story = Scenario::new(3);
    story.at(3_000).put(2, "color", "red").wait(100);
    let leave = story.begin(&FaultWhat::Leave { node: 2 });
    story.wait(4_000).put(0, "color", "green");
    assert!(story.world().node(2).is_none());
    story.end(leave).wait(3_000);
    story.expect(2, "color", Some("green")).expect_converged();
    assert!(!takes_along(&story), "others had all when it left");
}

/// Returns whether the first write counts as taken along by a node that was no member.
fn takes_along(story: &Scenario) -> bool {
    let mut keys = story.world().model().keys();
    let (.., history) = keys.next().unwrap();
    history.ops().next().unwrap().alone
}

#[test]
fn a_node_that_crashes_while_it_leaves_takes_along_what_it_holds() {
    let mut cut_short = 0;
    for wait_ms in 0..100 {
        let mut story = Scenario::new(3);
        story.at(3_000).put(2, "color", "red").wait(1_000);
        story.begin(&FaultWhat::Leave { node: 2 });
        story.wait(wait_ms);
        if story.world().node(2).is_none() {
            break;
        }
        story.kill(2).wait(10).restart(2);
        // Only once it has stored that it leaves it is no member when it starts.
        assert_eq!(takes_along(&story), story.world().hosts[2].ties.alone);
        cut_short += u32::from(takes_along(&story));
    }
    assert!(cut_short > 0);
}

#[test]
fn a_full_disk_refuses_until_there_is_room() {
    let mut story = Scenario::new(1);
    let full = story.at(3_000).begin(&FaultWhat::FullDisk { node: 0 });
    story.put(0, "color", "red").wait(100);
    let status = |story: &Scenario| {
        let now = story.world().hosts[0].now(story.world().now_us());
        story.world().node(0).unwrap().status(now)
    };
    assert!(status(&story).stalled);
    story.end(full).wait(100);
    assert!(!status(&story).stalled);
    story.put(0, "shape", "round").wait(10).crash(0).restart(0);
    story.expect(0, "color", Some("red")).expect_converged();
}

#[test]
fn a_failed_disk_halts_its_node() {
    let mut story = Scenario::new(2);
    let broken = story.at(3_000).begin(&FaultWhat::FailDisk { node: 1 });
    story.put_safe(0, "color", "red").wait(2_000);
    assert!(story.world().node(1).is_none());
    story.end(broken).wait(3_000);
    assert_eq!(count(&story, "faildisk"), 1);
    story.expect_converged();
}

#[test]
fn flipped_bits_break_links_and_nothing_else() {
    let text = "seed 3\ncodec on\nnode n0 start=0s\nnode n1 start=20ms\nstop 20s\n\
        3s corrupt rate=5% for=10s\n4s put client=c0 table=default key=k1\n";
    let plan: Plan = text.parse().unwrap();
    let report = run_plan(plan.clone(), plan.kinds(), Keep::Nothing);
    assert!(report.held(), "{report}");
    assert!(report.faults["corrupt"] > 2, "{report}");
    assert_eq!(report.marks["link-malformed"], report.faults["corrupt"]);
    assert_eq!(report.counts.get("protocol"), None);
}

#[test]
fn a_client_reads_what_it_wrote() {
    let text = "seed 3\nnode n0 start=0s\nnode n1 start=20ms\nstop 20s\n\
        4s get client=c1 table=default key=k1\n4s put client=c1 table=default key=k1\n\
        4s get client=c1 table=default key=k1\n4.000001s move client=c1 node=n0\n\
        4.000001s get client=c1 table=default key=k1\n";
    let mut world = crate::World::new(text.parse().unwrap(), Keep::Nothing);
    world.run();
    let shown = world.exchanges().iter().map(|exchange| {
        let found = match &exchange.answer {
            crate::Answer::Read(found) => found.as_ref().map(|found| found.value.to_vec()),
            crate::Answer::Wrote { effect, .. } => effect.value().map(|value| value.to_vec()),
        };
        (exchange.node, exchange.boot, found)
    });
    let value = Some(b"v0".to_vec());
    let expected = [
        (1, 1, None),
        (1, 1, value.clone()),
        (1, 1, value),
        (0, 1, None),
    ];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
}

#[test]
fn rotten_rows_come_back_from_a_member() {
    let mut story = Scenario::new(2);
    story.at(3_000);
    for number in 0..8 {
        story.put(0, &format!("row{number}"), "v");
    }
    let rot = FaultWhat::Rot { node: 1, bits: 99 };
    let rot = story.wait(2_000).begin(&rot);
    story.wait(500).end(rot).wait(3_000);
    assert_eq!((count(&story, "rot"), story.rows(1)), (99, 8));
    assert_eq!(story.world().tally.counts["damaged"], 1);
    assert_eq!(story.world().tally.counts["rejoined"], 1);
    story.expect_converged();
}

#[test]
fn rot_waits_for_another_member() {
    let mut story = Scenario::new(2);
    story
        .at(3_000)
        .put_safe(0, "color", "red")
        .wait(100)
        .crash(1);
    story.begin(&FaultWhat::Rot { node: 0, bits: 9 });
    assert_eq!(count(&story, "rot"), 0);
    story.restart(1).wait(3_000);
    story.begin(&FaultWhat::Rot { node: 0, bits: 9 });
    assert_eq!(count(&story, "rot"), 9);
    story.expect_converged();
}

#[test]
fn rows_that_vanish_come_back_without_a_rejoin() {
    let mut story = Scenario::new(2);
    story.at(3_000);
    for number in 0..8 {
        story.put(0, &format!("row{number}"), "v");
    }
    let vanish = FaultWhat::Vanish { node: 1, rows: 5 };
    let vanish = story.wait(2_000).begin(&vanish);
    story.wait(500).end(vanish).wait(100);
    assert_eq!((count(&story, "vanish"), story.rows(1)), (5, 3));
    story.wait(4_000);
    assert_eq!(story.rows(1), 8);
    assert_eq!(story.world().tally.counts["repaired"], 1);
    assert!(!story.world().tally.counts.contains_key("rejoined"));
    story.put(0, "row0", "v2").expect_converged();
    let promised = |story: &Scenario, number| {
        let mut keys = story.world().model().keys();
        let (.., history) = keys.next().unwrap();
        history.promised(history.ops().nth(number).unwrap())
    };
    let lost = (0..8).filter(|number| {
        let mut keys = story.world().model().keys();
        let (.., history) = keys.nth(*number).unwrap();
        history.ops().next().unwrap().lost
    });
    assert_eq!(lost.count(), 5);
    assert!(promised(&story, 1), "the key was whole again");
}

#[test]
fn a_repair_of_what_no_disk_has_lost_is_caught() {
    let mut story = Scenario::new(2);
    story.at(3_000).world.repaired(0);
    let found = story.finish();
    let found: Vec<&str> = found.iter().map(|found| found.checker).collect();
    assert_eq!(found, [crate::checkers::repairs::NAME]);
    // A node that takes over what one covers that lost rows may lack them too.
    let mut story = Scenario::new(2);
    story.at(3_000).put(0, "color", "red").wait(1_000);
    let vanish = story.begin(&FaultWhat::Vanish { node: 1, rows: 1 });
    story.world.repaired(0);
    assert_eq!(story.world().violations().len(), 1);
    story.end(vanish).world.repaired(1);
    assert_eq!(story.world().violations().len(), 1);
}

#[test]
fn a_disk_that_is_short_of_space_takes_deletes_alone_and_recovers() {
    let mut story = Scenario::new(2);
    story.at(3_000).put(0, "color", "red").wait(500);
    let short = story.begin(&FaultWhat::ShortDisk { node: 0 });
    // The next batch finds it out.
    story.put(0, "shape", "round").wait(1_500);
    assert_eq!(count(&story, "shortdisk"), 1);
    assert_eq!(story.world().tally.counts["store_stalled"], 1);
    let refused = |story: &Scenario| story.world().tally.counts.get("ops_refused").copied();
    assert!(story.refuses(0, "size", "large"));
    assert_eq!(refused(&story), Some(1));
    story.delete(0, "color").wait(100).expect(1, "color", None);
    story.put(1, "size", "small").wait(1_000);
    story.expect(0, "size", None);
    assert_eq!(refused(&story), Some(1));
    story.end(short).wait(15_000);
    assert_eq!(story.world().tally.counts["store_recovered"], 1);
    story.expect(0, "size", Some("small"));
    story.expect_converged();
}

#[test]
fn a_node_that_stops_in_good_order_loses_nothing_and_comes_back_as_itself() {
    let mut story = Scenario::new(2);
    story.at(3_000).put(0, "color", "red");
    let stop = story.begin(&FaultWhat::Restart { node: 0 });
    story.wait(500);
    assert!(story.world().node(0).is_none());
    assert_eq!(story.world().tally.counts["member_down"], 1);
    story.expect(1, "color", Some("red"));
    story.end(stop).wait(3_000).expect(0, "color", Some("red"));
    assert_eq!(story.world().tally.counts.get("rejoined"), None);
    story.expect_converged();
}

#[test]
fn a_rotten_value_is_refused_and_repaired() {
    let line = |at: u32, verb: &str, key: u32| {
        format!("{at}ms {verb} client=c0 table=default key=k{key}\n")
    };
    let mut met = BTreeMap::new();
    for seed in 0..16 {
        let mut plan = format!("seed {seed}\nresident_value 0\nnode n0 start=0s\n");
        plan += "node n1 start=20ms\nstop 12s\n";
        plan.extend((0..8).map(|key| line(3_000 + key, "put", key)));
        plan += "6s rot node=n0 bits=99 for=3s\n";
        plan.extend((0..8).map(|key| line(6_001 + key, "get", key)));
        let plan: Plan = plan.parse().unwrap();
        let report = run_plan(plan.clone(), plan.kinds(), Keep::Nothing);
        assert!(report.held(), "{report}");
        assert_eq!(report.rows, 8, "seed {seed}");
        // One whose log has lost the row that names the other member joins anew instead.
        for name in ["reads_of_rot", "logs_damaged", "rejoined"] {
            *met.entry(name).or_default() += report.counts.get(name).copied().unwrap_or(0);
        }
    }
    assert!(met.values().all(|count: &u64| *count > 0), "{met:?}");
}

#[test]
fn a_member_that_is_down_is_evicted_and_comes_back() {
    for (force, nodes) in [(false, 3), (true, 2)] {
        let mut story = Scenario::new(nodes);
        story.at(3_000).put(1, "gone", "v").wait(2_000).crash(1);
        let evict = FaultWhat::Evict { node: 0, force };
        story.wait(15_000).delete(0, "gone").begin(&evict);
        story.wait(5_000);
        assert_eq!(count(&story, "evict"), 1, "of {nodes}");
        story.restart(1).wait(10_000);
        assert_eq!(story.world().tally.counts["evicted"], 1);
        assert_eq!(story.world().tally.counts["rejoined"], 1);
        story.expect_converged();
    }
}

#[test]
fn an_eviction_waits_for_a_member_that_is_down_and_for_a_majority() {
    let mut story = Scenario::new(2);
    story.at(3_000);
    let evict = |force| FaultWhat::Evict { node: 0, force };
    story.begin(&evict(true));
    story.wait(3_500);
    assert_eq!(count(&story, "evict"), 0, "nobody is down");
    story.crash(1).wait(15_000).begin(&evict(false));
    story.wait(5_000);
    assert_eq!(count(&story, "evict"), 0, "one of two is no majority");
    assert_eq!(story.world().tally.counts["evictions_refused"], 1);
    story.restart(1).wait(5_000);
    story.expect_converged();
}

#[test]
#[should_panic(expected = "not within 20 ms: n1 has it")]
fn a_story_does_not_wait_for_ever() {
    let mut story = Scenario::new(2);
    story.at(3_000).partition(&[0], &[1]).put(0, "color", "red");
    story.until(20, "n1 has it", |story| story.rows(1) == 1);
}
