//! Situations of the gossip protocol, told step by step. Their traces are under review: a change of the protocol shows here as a
//! change of text.

use bytes::Bytes;
use rumormill_sim::explain::{Explanation, Subject, explain};
use rumormill_sim::plan::{FaultWhat, Plan, Table};
use rumormill_sim::{Keep, Scenario, run_plan};

#[path = "../../sim/examples/leases.rs"]
#[expect(dead_code, reason = "the example's command line is not run here")]
mod leases;

mod deletes;
mod membership;
mod replication;
mod story;

/// A trace too long to be read proves nothing.
const MAX_LINES: usize = 200;

fn check(name: &str, story: &Scenario) {
    let text = story.story();
    assert!(
        text.lines().count() <= MAX_LINES,
        "{} lines",
        text.lines().count()
    );
    insta::assert_snapshot!(name, text);
}

#[test]
fn join() {
    let mut story = Scenario::new(3);
    story.at(2_000);
    for node in 0..3 {
        let members = story.world().node(node).unwrap().members();
        assert_eq!(members.len(), 3);
    }
    check("join", &story);
}

#[test]
fn push() {
    let mut story = Scenario::new(3);
    story.at(3_000).put(0, "color", "red");
    story
        .wait(5)
        .expect(1, "color", Some("red"))
        .expect(2, "color", Some("red"));
    check("push", &story);
}

#[test]
fn delta_after_a_lost_push() {
    let mut story = Scenario::new(3);
    let loss = story.at(3_000).begin(&FaultWhat::Loss { ppm: 1_000_000 });
    story.put(0, "color", "red").wait(5).end(loss);
    story.expect(1, "color", None).expect(2, "color", None);
    story
        .at(6_000)
        .expect(1, "color", Some("red"))
        .expect(2, "color", Some("red"));
    check("delta_after_a_lost_push", &story);
    story.expect_converged();
}

#[test]
fn two_sided_partition_and_heal() {
    let mut story = Scenario::new(3);
    story.at(3_000).put(0, "color", "red").wait(10);
    story
        .partition(&[0], &[1, 2])
        .put(0, "shape", "round")
        .wait(10)
        .put(1, "color", "green");
    story
        .at(5_000)
        .expect(0, "color", Some("red"))
        .expect(2, "color", Some("green"))
        .expect(2, "shape", None);
    story.heal().at(8_000);
    for node in 0..3 {
        story
            .expect(node, "color", Some("green"))
            .expect(node, "shape", Some("round"));
    }
    check("two_sided_partition_and_heal", &story);
    story.expect_converged();
}

#[test]
fn one_way_link() {
    let mut story = Scenario::new(3);
    story
        .at(3_000)
        .cut(&[0], &[1])
        .put(0, "color", "red")
        .put(1, "shape", "round");
    story
        .wait(20)
        .expect(0, "shape", Some("round"))
        .expect(1, "color", None);
    // Messages of n0 reach n1 through n2.
    story.at(7_000).expect(1, "color", Some("red"));
    check("one_way_link", &story);
    story.expect_converged();
}

#[test]
fn suspicion_refuted() {
    let mut story = Scenario::new(3);
    story
        .at(3_000)
        .cut(&[2], &[0, 1])
        .at(5_200)
        .heal()
        .at(8_000);
    let text = story.story();
    assert!(
        text.contains("member_suspect who=n2") && !text.contains("member_down"),
        "{text}"
    );
    check("suspicion_refuted", &story);
    story.expect_converged();
}

#[test]
fn death_and_rejoin() {
    let mut story = Scenario::new(3);
    story.at(3_000).put(2, "color", "red").at(5_000).crash(2);
    story.at(16_000).put(0, "shape", "round");
    assert!(story.story().contains("member_down who=n2"));
    story.at(17_000).restart(2).at(21_000);
    story
        .expect(2, "shape", Some("round"))
        .expect(0, "color", Some("red"));
    check("death_and_rejoin", &story);
    story.expect_converged();
}

#[test]
fn delete_against_a_late_joiner() {
    let mut story = Scenario::with_starts(&[0, 20, 4_000]);
    story
        .at(3_000)
        .put(0, "color", "red")
        .put(1, "shape", "round");
    // The joiner fetches the row while it is being deleted.
    let delay = story.at(3_900).begin(&FaultWhat::Delay {
        node: 2,
        by_us: 100_000,
    });
    story.at(4_450).delete(1, "color").at(6_000).end(delay);
    story
        .at(9_000)
        .expect(2, "color", None)
        .expect(2, "shape", Some("round"));
    check("delete_against_a_late_joiner", &story);
    story.expect_converged();
}

#[test]
fn crash_losing_unsynced_writes() {
    let mut story = Scenario::new(2);
    story.at(3_000).partition(&[0], &[1]);
    story.put_safe(0, "kept", "yes").wait(20);
    for number in 0..6 {
        story.put(0, &format!("row{number}"), "unsynced").wait(1);
    }
    assert_eq!(story.rows(0), 6);
    story.crash(0).wait(100).restart(0).heal().at(8_000);
    // The first of the unsynced batches may survive, a synced one always does.
    assert!(story.rows(0) < 6);
    story.expect_in(1, Table::Sync, "kept", Some("yes"));
    check("crash_losing_unsynced_writes", &story);
    story.expect_converged();
}

#[test]
fn an_older_copy_of_a_disk() {
    let mut story = Scenario::new(3);
    story
        .at(3_000)
        .put(0, "color", "red")
        .put(1, "shape", "round");
    let copy = story.at(5_000).begin(&FaultWhat::Older { node: 2 });
    story.delete(0, "color").at(9_000);
    let kept: Vec<u64> = (0..3).map(|node| story.tombstones(node)).collect();
    assert_eq!(kept, [0; 3], "the delete is forgotten everywhere");
    story.end(copy).at(15_000);
    assert_eq!(story::count(&story, "older_copy"), 1, "n2 has noticed");
    for node in 0..3 {
        story
            .expect(node, "color", None)
            .expect(node, "shape", Some("round"));
    }
    check("an_older_copy_of_a_disk", &story);
    story.expect_converged();
}

#[test]
fn expiry_under_skewed_clocks() {
    let mut story = Scenario::new(3);
    story.at(3_000).skew(1, 1_500).skew(2, -1_500);
    story
        .at(3_100)
        .put_for(0, "color", "red", 3_000)
        .put(0, "shape", "round");
    story
        .at(5_000)
        .expect(0, "color", Some("red"))
        .expect(1, "color", None)
        .expect(2, "color", Some("red"));
    // A row that is hidden stays a row: it shows again when the clock is set right.
    story.skew(1, 0).at(5_100).expect(1, "color", Some("red"));
    // Each node hides it by its own clock, and no message tells the others.
    story
        .at(6_500)
        .expect(0, "color", None)
        .expect(1, "color", None)
        .expect(2, "color", Some("red"));
    // It ends when most clocks have passed its expiry.
    story.skew(2, 0).at(70_000);
    story
        .expect(0, "color", None)
        .expect(1, "color", None)
        .expect(2, "color", None);
    check("expiry_under_skewed_clocks", &story);
    story.expect_converged();
}

#[test]
fn a_lost_push_explained() {
    let mut story = Scenario::new(2);
    story.record(10_000).at(3_000).partition(&[0], &[1]);
    story.put_safe(0, "color", "red").wait(50).crash(1).wait(50);
    story.restart(1).heal().at(8_000);
    story.expect_in(1, Table::Sync, "color", Some("red"));
    let recording = story.world().trace().recording().unwrap();
    let color = Subject::Key {
        table: "safe".to_string(),
        key: Bytes::from_static(b"color"),
    };
    let of_key = explain(recording, &color, 12).unwrap();
    let first = of_key.lines.iter().find_map(|line| line.message).unwrap();
    let of_message = explain(recording, &Subject::Message(first), 2).unwrap();
    insta::assert_snapshot!(
        "a_lost_push_explained",
        [of_key, of_message].map(told).join("\n")
    );
    let unknown = explain(recording, &Subject::Message(0), 3).unwrap_err();
    assert!(unknown.to_string().contains("message #0 does not occur"));
}

/// An explanation without running numbers, which detail would shift.
fn told(of: Explanation) -> String {
    let lines = of.lines.iter().map(|line| {
        let gap = match line.omitted {
            0 => String::new(),
            count => format!("  ... {count} lines\n"),
        };
        let node = line.node.map_or("-".to_string(), |node| format!("n{node}"));
        let mark = if line.touches { '>' } else { ' ' };
        format!("{gap}{mark} {} {node} {}\n", line.at_us, line.text)
    });
    lines.collect()
}

#[test]
fn the_example_of_an_application_keeps_its_promise_and_notices_its_bug() {
    for seed in 0..4 {
        let outcome = leases::run(seed, false, Keep::Nothing);
        assert!(outcome.report.held(), "{}", outcome.report);
        assert!(outcome.granted > 50 && outcome.steps > 500);
        let again = leases::run(seed, false, Keep::All);
        assert_eq!(outcome.report.hash, again.report.hash, "seed {seed}");
    }
    let caught = (0..4).filter(|seed| {
        let report = leases::run(*seed, true, Keep::Nothing).report;
        report
            .violations
            .iter()
            .any(|found| found.checker == "leases")
    });
    assert!(caught.count() >= 2);
}

/// Plans that broke a promise once, as small as they could be made.
macro_rules! plans {
    ($($name:literal,)+) => {
        [$(($name, include_str!(concat!("plans/", $name, ".plan")))),+]
    };
}

#[test]
fn plans_that_once_failed_hold() {
    let plans = plans![
        "a_disk_emptied_between_two_dials",
        "a_hidden_row_that_a_leaver_proposes_again",
        "a_clock_that_was_told_just_before_a_crash",
        "a_delete_that_waits_for_writes_that_a_crash_took",
        "a_delete_that_waits_for_writes_that_were_renewed",
        "a_delete_after_a_flush_by_a_clock_that_is_behind",
        "a_flush_of_a_row_that_is_hidden",
        "a_flush_of_siblings_of_which_one_is_ahead",
        "a_late_watcher_of_a_row_whose_clock_no_member_follows",
        "a_leave_cut_short_by_a_crash",
        "a_leave_while_another_leaves",
        "a_leaver_whose_last_rows_a_disk_has_lost",
        "a_boot_that_began_during_a_handshake",
        "a_member_without_a_disk_whose_clock_is_behind",
        "a_newcomer_after_a_delete_from_the_far_future",
        "a_rejoin_under_a_clock_that_no_member_follows",
        "a_quarrel_about_a_replaced_sibling",
        "a_newcomer_that_writes_at_once",
        "a_newcomer_that_writes_below_what_was_freed",
        "a_newcomer_whose_row_is_only_on_disk",
        "a_row_announced_while_a_store_is_out_of_space",
        "a_session_asked_for_twice",
        "a_sibling_written_where_one_was_lost",
        "a_write_after_the_end_of_a_row_from_a_fast_clock",
        "a_write_to_a_table_whose_definition_has_rotted",
        "a_table_of_siblings_whose_only_definition_has_rotted",
        "a_table_of_siblings_that_is_created_again",
        "an_eviction_between_a_handshake_and_a_greeting",
        "an_expiring_row_that_a_disk_has_lost",
        "an_old_boot_whose_clock_was_ahead",
        "all_left_and_came_back",
        "all_left_while_one_came_in",
        "expiry-clock",
        "rejoin_through_a_node_that_rejoined",
        "siblings_after_a_flush_whose_clock_no_member_follows",
        "siblings_of_which_one_has_a_clock_that_no_member_follows",
        "siblings_claimed_through_a_third",
        "two_that_meet_only_through_a_third",
        "a_node_that_had_left_alone_remembers_the_cluster",
    ];
    for (name, text) in plans {
        let plan: Plan = text.parse().unwrap();
        let kinds = plan.kinds();
        let report = run_plan(plan, kinds, Keep::Nothing);
        assert!(
            report.violations.is_empty(),
            "{name}: {:?}",
            report.violations
        );
    }
}

/// The rules that some of them brought: a plan fails again without its rule.
#[cfg(feature = "mutants")]
#[test]
fn plans_that_once_failed_fail_without_their_rules() {
    use rumormill_core::mutants::Mutant;

    let plans = plans![
        "a_leave_while_another_leaves",
        "a_boot_that_began_during_a_handshake",
        "siblings_claimed_through_a_third",
        "a_newcomer_that_writes_below_what_was_freed",
        "a_newcomer_that_writes_at_once",
    ];
    let rules = [
        Mutant::HolderGoneUnseen,
        Mutant::OldLinkKept,
        Mutant::NewestDotAwaited,
        Mutant::JoinerWritesBelow,
        Mutant::FreedUnbeaten,
    ];
    for ((name, text), mutant) in plans.into_iter().zip(rules) {
        let plan: Plan = text.parse().unwrap();
        let kinds = plan.kinds();
        let seed = plan.seed;
        let world = rumormill_sim::mutants::world(plan, mutant, Keep::Nothing);
        let report = rumormill_sim::report(world, seed, kinds);
        assert!(!report.violations.is_empty(), "{name}: {}", mutant.name());
    }
}
