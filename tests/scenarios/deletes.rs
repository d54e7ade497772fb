//! The pains of deletes and of members for whose sake they are kept, each named after what must not happen.

use rumormill_sim::Scenario;
use rumormill_sim::plan::{FaultWhat, Machine, Plan, Table};

use crate::story::{alive, count, phase, plan};

#[test]
fn deletes_that_are_forgotten_by_time_come_back() {
    absent_for_an_hour(Scenario::new(3));
}

fn absent_for_an_hour(mut story: Scenario) {
    story.at(3_000).put(0, "color", "red").at(5_000).crash(2);
    story.at(10_000).delete(0, "color");
    story.at(20_000).put(1, "shape", "round").at(3_600_000);
    let kept = [0, 1].map(|node| story.tombstones(node));
    story.restart(2).wait(3_000).expect(2, "color", None);
    assert_eq!(kept, [1; 2], "both kept it for the third");
    story.wait(5_000).expect_converged();
    let kept: Vec<u64> = (0..3).map(|node| story.tombstones(node)).collect();
    assert_eq!(kept, [0; 3], "nobody has to be told any more");
}

#[test]
fn a_joiner_or_an_unsynced_crash_brings_a_delete_back() {
    joiner_and_crash(Scenario::with_starts(&[0, 20, 6_000]));
}

fn joiner_and_crash(mut story: Scenario) {
    story
        .at(3_000)
        .put(0, "color", "red")
        .put(1, "shape", "round");
    story
        .at(5_000)
        .delete(1, "color")
        .wait(700)
        .crash_unsynced(0)
        .wait(500);
    // n0 has the row on disk, and not its delete.
    story.restart(0).at(9_000);
    for node in 0..3 {
        story
            .expect(node, "color", None)
            .expect(node, "shape", Some("round"));
    }
    story.expect_converged();
}

#[test]
fn a_fast_scale_down_loses_deletes() {
    scale_down(Scenario::new(5));
}

fn scale_down(mut story: Scenario) {
    story.at(3_000).put(0, "color", "red").at(6_000);
    story.partition(&[4], &[0, 1, 2, 3]).wait(3_000);
    // n0 alone has the delete when it is told to leave, and n1 follows at its heels.
    let lost = story.begin(&FaultWhat::Loss { ppm: 1_000_000 });
    story.delete(0, "color");
    story.begin(&FaultWhat::Leave { node: 0 });
    story.wait(400).end(lost).wait(1_500);
    story.begin(&FaultWhat::Leave { node: 1 });
    story.wait(1_500);
    assert_eq!(count(&story, "halt"), 2, "both are gone\n{}", story.story());
    let handed_over = [2, 3].map(|node| story.tombstones(node));
    story.heal().wait(10_000);
    for node in 2..5 {
        story.expect(node, "color", None);
    }
    assert_eq!(handed_over, [1; 2], "both who stayed have the delete");
    story.wait(10_000);
    assert!((2..5).all(|node| story.tombstones(node) == 0));
}

/// Three members with disks, and one that keeps nothing.
fn with_a_forgetful_one() -> Plan {
    let mut plan = plan(4);
    plan.machines[3] = Machine {
        disk: false,
        ..Machine::new(60_000)
    };
    plan
}

#[test]
fn a_ghost_member_has_to_be_forgotten_by_hand() {
    let mut story = Scenario::of(with_a_forgetful_one());
    story.at(3_000).set(0, "cluster.evict_memory_after", "30s");
    story.put(0, "color", "red").at(6_000).crash(3);
    story.at(20_000).delete(0, "color").wait(5_000);
    assert_eq!(alive(&story, 0), 3);
    assert!((0..3).all(|node| story.tombstones(node) == 1));
    story.wait(60_000);
    assert_eq!(count(&story, "member_evicted"), 1);
    for node in 0..3 {
        assert_eq!(story.tombstones(node), 0, "nobody waits for a ghost");
        assert_eq!(alive(&story, node), 3);
    }
    // A new node in its place is welcome.
    story.restart(3).wait(8_000);
    assert!((0..4).all(|node| alive(&story, node) == 4));
}

#[test]
fn a_minority_evicts_members_of_the_majority() {
    minority(Scenario::new(5));
}

fn minority(mut story: Scenario) {
    story.at(3_000).partition(&[0, 1], &[2, 3, 4]).wait(20_000);
    let evict = |node| FaultWhat::Evict { node, force: false };
    story.begin(&evict(0));
    story.wait(9_000);
    story.begin(&evict(2));
    story.wait(9_000);
    let by: Vec<String> = (story.story().lines())
        .filter(|line| line.contains(" member_evicted "))
        .map(|line| line.split(' ').nth(1).unwrap_or("").to_string())
        .collect();
    assert_eq!(by, ["n2"], "only the majority evicts\n{}", story.story());
    story.heal().expect_converged();
}

#[test]
fn members_that_are_gone_for_good_are_waited_for_for_ever() {
    orphaned(Scenario::new(3));
}

fn orphaned(mut story: Scenario) {
    story.at(3_000).put(1, "kept", "yes").put(1, "color", "red");
    story.at(6_000).partition(&[0], &[1, 2]).wait(15_000);
    for _ in 0..2 {
        story.begin(&FaultWhat::Evict {
            node: 0,
            force: true,
        });
        story.wait(9_000);
    }
    assert_eq!(alive(&story, 0), 1);
    // The others hear that they were evicted, and before they can rejoin the only node that was named is no more.
    let slow = story.begin(&FaultWhat::Delay {
        node: 0,
        by_us: 400_000,
    });
    story.heal();
    story.until(30_000, "both are rejoining", |story| {
        phase(story, 1) == "rejoining" && phase(story, 2) == "rejoining"
    });
    let wipe = story.begin(&FaultWhat::Wipe { node: 0 });
    story.end(slow).wait(3_000);
    assert_eq!(
        (phase(&story, 1), phase(&story, 2)),
        ("rejoining", "rejoining")
    );
    story.wait(40_000);
    assert_eq!(count(&story, "resume"), 1, "one operator, once");
    assert_eq!((phase(&story, 1), phase(&story, 2)), ("member", "member"));
    story.end(wipe).wait(10_000);
    for node in 0..3 {
        assert_eq!(phase(&story, node), "member");
        story
            .expect(node, "kept", Some("yes"))
            .expect(node, "color", Some("red"));
    }
    story.put_safe(2, "after", "yes").expect_converged();
    story.expect_in(0, Table::Sync, "after", Some("yes"));
}

/// The same stories with the rule taken away.
#[cfg(feature = "mutants")]
mod planted {
    use rumormill_core::mutants::Mutant;
    use rumormill_sim::Scenario;

    use crate::story::Awake;

    fn mutated(mut story: Scenario, mutant: Mutant) -> Scenario {
        story.sabotage(Awake(mutant));
        story
    }

    #[test]
    #[should_panic(expected = "color on n2")]
    fn freed_by_time() {
        super::absent_for_an_hour(mutated(Scenario::new(3), Mutant::FreedByTime));
    }

    #[test]
    #[should_panic(expected = "color on n0")]
    fn claimed_before_it_is_synced() {
        let story = Scenario::with_starts(&[0, 20, 6_000]);
        super::joiner_and_crash(mutated(story, Mutant::ClaimBeforeSync));
    }

    #[test]
    #[should_panic(expected = "color on n2")]
    fn freed_without_asking_members_that_are_down() {
        super::absent_for_an_hour(mutated(Scenario::new(3), Mutant::FreedWithoutDown));
    }

    #[test]
    #[should_panic(expected = "color on n2")]
    fn a_leave_that_waits_for_no_member() {
        super::scale_down(mutated(Scenario::new(5), Mutant::LeaveUnasked));
    }

    #[test]
    #[should_panic(expected = "only the majority evicts")]
    fn evicted_without_a_majority() {
        super::minority(mutated(Scenario::new(5), Mutant::EvictWithoutMajority));
    }
}
