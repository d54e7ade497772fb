//! The pains of membership, each named after what must not happen.

use rumormill_core::members::MemberState;
use rumormill_sim::Scenario;
use rumormill_sim::plan::FaultWhat;

use crate::story::{count, in_bytes};

/// How many of the nodes take all of them for alive.
fn content(story: &Scenario, nodes: usize) -> usize {
    let sees_all = |node: &usize| {
        let members = story.world().node(*node).map(|node| node.members());
        let alive = members.into_iter().flatten();
        let alive = alive.filter(|member| member.state == MemberState::Alive);
        alive.count() == nodes
    };
    (0..nodes).filter(sees_all).count()
}

#[test]
fn an_isolated_node_never_returns() {
    let mut story = Scenario::new(4);
    story.at(3_000).partition(&[3], &[0, 1, 2]);
    // Two hours alone: all others are dead to it, and it to them, and all have backed off as far as they do.
    story.at(2 * 3_600_000);
    let members = story.world().node(3).unwrap().members();
    let down = members.iter().filter(|m| m.state == MemberState::Down);
    assert_eq!(down.count(), 3);
    // Each side looks for one of the dead in every period. A dial that is under way has to fail first.
    story.heal().wait(5_000);
    assert_eq!(content(&story, 4), 4, "{}", story.story());
    story.expect_converged();
}

fn join_storm(nodes: usize) {
    let mut story = Scenario::with_starts(&vec![0; nodes]);
    story.at(10_000);
    assert_eq!(content(&story, nodes), nodes);
    assert_eq!(count(&story, "member_down"), 0);
    assert_eq!(count(&story, "member_suspect"), 0);
}

#[test]
fn a_join_storm_leaves_members_unknown_or_dead() {
    join_storm(30);
}

#[test]
#[ignore = "a minute: cargo test -p rumormill-sim --test scenarios -- --ignored"]
fn a_join_storm_of_a_hundred_leaves_members_unknown_or_dead() {
    join_storm(100);
}

/// Every node restarts once within a minute, half a gap after it lost its power.
fn mass_restart(nodes: usize) {
    let mut story = Scenario::new(nodes);
    story.at(10_000);
    let gap = 60_000 / nodes as u64;
    for node in 0..nodes {
        story.crash(node).wait(gap / 2).restart(node).wait(gap / 2);
    }
    story.wait(15_000);
    assert_eq!(content(&story, nodes), nodes, "a false death stays");
    assert_eq!(
        count(&story, "member_down"),
        0,
        "nobody was rejoining for long"
    );
    let before = count(&story, "member_suspect");
    story.wait(30_000);
    assert_eq!(count(&story, "member_suspect"), before, "it has settled");
}

#[test]
fn a_mass_restart_leaves_live_nodes_dead() {
    mass_restart(20);
}

#[test]
#[ignore = "a minute: cargo test -p rumormill-sim --test scenarios -- --ignored"]
fn a_hundred_restarts_in_a_minute_leave_live_nodes_dead() {
    mass_restart(100);
}

#[test]
fn all_at_once_restarted_nodes_stay_dead_to_each_other() {
    const NODES: usize = 20;
    let mut story = Scenario::new(NODES);
    story.at(10_000);
    (0..NODES).for_each(|node| {
        story.kill(node);
    });
    story.wait(20_000);
    (0..NODES).for_each(|node| {
        story.restart(node);
    });
    story.wait(20_000);
    assert_eq!(content(&story, NODES), NODES, "{}", story.story());
}

#[test]
fn flapping_storms() {
    flapping(Scenario::new(8));
}

fn flapping(mut story: Scenario) {
    story.at(5_000);
    // A quarter of everything is lost for more than a minute, and one node is stopped again and again for so long that only its own word saves it.
    let loss = story.begin(&FaultWhat::Loss { ppm: 250_000 });
    for _ in 0..15 {
        let pause = story.begin(&FaultWhat::Pause { node: 5 });
        story.wait(3_000).end(pause).wait(2_000);
    }
    let flaps = count(&story, "member_down");
    assert_eq!(flaps, 0, "nobody is taken for dead\n{}", story.story());
    story.end(loss).wait(10_000);
    assert_eq!(content(&story, 8), 8);
    story.expect_converged();
}

#[test]
fn dead_nodes_come_back_as_zombies() {
    let mut story = Scenario::new(5);
    // A suspicion of n4 is refuted, and then it dies.
    story
        .at(3_000)
        .cut(&[4], &[0, 1])
        .at(5_200)
        .heal()
        .at(6_500);
    // One sleeps through its death, and then says what it last heard.
    let sleep = story.begin(&FaultWhat::Pause { node: 3 });
    story.crash(4).at(40_000);
    let since = story.story().len();
    assert!(count(&story, "member_down") >= 3);
    story.end(sleep).at(60_000);
    story
        .partition(&[2], &[0, 1, 3])
        .at(90_000)
        .heal()
        .at(120_000);
    let later = story.story()[since..].to_string();
    assert!(!later.contains("member_up who=n4"), "{later}");
    for node in 0..4 {
        let members = story.world().node(node).unwrap().members();
        let dead = members.iter().filter(|m| m.state != MemberState::Alive);
        assert_eq!(dead.count(), 1, "n{node}");
    }
    // Only itself does.
    story.restart(4).wait(5_000);
    assert_eq!(content(&story, 5), 5);
}

#[test]
fn recorded_links_bring_the_dead_back() {
    recorded(Scenario::of(in_bytes(3)));
}

/// Every link is recorded, and the recording is played back before the next one of the two nodes.
fn recorded(mut story: Scenario) {
    story.at(3_000).put(1, "color", "red").wait(1_000);
    story.crash(1).wait(20_000).restart(1).wait(5_000);
    story.partition(&[2], &[0, 1]).wait(20_000).heal();
    story.wait(10_000);
    assert_eq!(content(&story, 3), 3);
    assert!(story.world().replays() > 4);
    story.expect_converged();
}

/// Bugs that the swarm cannot see, because direct contact heals the harm in the end, and some that it sees.
#[cfg(feature = "mutants")]
mod planted {
    use rumormill_core::mutants::Mutant;
    use rumormill_sim::Scenario;

    use crate::story::{Awake, in_bytes};

    fn mutated(nodes: usize, mutant: Mutant) -> Scenario {
        let mut story = Scenario::new(nodes);
        story.sabotage(Awake(mutant));
        story
    }

    #[test]
    #[should_panic(expected = "nobody is taken for dead")]
    fn without_refutation_suspects_flap() {
        super::flapping(mutated(8, Mutant::RefutationIgnored));
    }

    fn overheard(mutant: Mutant) {
        let mut story = Scenario::of(in_bytes(3));
        story.sabotage(Awake(mutant));
        super::recorded(story);
    }

    #[test]
    #[should_panic(expected = "replays")]
    fn any_proof_will_do() {
        overheard(Mutant::ProofUnchecked);
    }

    #[test]
    #[should_panic(expected = "replays")]
    fn one_nonce_for_all_links() {
        overheard(Mutant::NonceRepeated);
    }
}

/// Checks a story whose cut is not healed: all take all for alive, and a delete made on `node` is freed everywhere.
fn meets_through_others(story: &mut Scenario, nodes: usize, node: usize) {
    assert_eq!(content(story, nodes), nodes, "{}", story.story());
    story.put(node, "k", "v").wait(10_000);
    story.delete(node, "k").wait(30_000);
    let kept: Vec<u64> = (0..nodes).map(|node| story.tombstones(node)).collect();
    assert_eq!(kept, vec![0; nodes], "{}", story.story());
    assert_eq!(content(story, nodes), nodes, "{}", story.story());
}

#[test]
fn two_that_meet_only_through_a_third_stay_dead_to_each_other() {
    let mut story = Scenario::new(3);
    story.at(5_000).partition(&[1], &[2]);
    // Each of the two is alone for longer than a suspicion, and takes the other for dead.
    story.at(30_000).crash(0).wait(20_000).restart(0);
    // The third is a member again within seconds; one of the two asks it about the other in the next period.
    story.wait(10_000);
    meets_through_others(&mut story, 3, 1);
    story.heal().wait(20_000);
    assert_eq!(content(&story, 3), 3);
    story.expect_converged();
}

#[test]
fn a_delete_is_freed_along_a_line_of_members_and_after_one_of_them_restarts() {
    let mut story = Scenario::new(4);
    story.at(10_000);
    // n0 - n1 - n2 - n3
    story.partition(&[0], &[2, 3]).partition(&[1], &[3]);
    story.put(0, "k", "v").wait(10_000);
    story.delete(0, "k").wait(60_000);
    let kept: Vec<u64> = (0..4).map(|node| story.tombstones(node)).collect();
    assert_eq!(kept, vec![0; 4], "{}", story.story());
    // One that has freed the delete and asks for nothing passes claims on all the same.
    story.put(3, "k", "v").wait(10_000);
    story
        .delete(3, "k")
        .wait(500)
        .crash(1)
        .wait(2_000)
        .restart(1);
    story.wait(90_000);
    let kept: Vec<u64> = (0..4).map(|node| story.tombstones(node)).collect();
    assert_eq!(kept, vec![0; 4], "{}", story.story());
    story.heal().wait(20_000);
    story.expect_converged();
}

/// One member after the other leaves and comes back while each of the others writes every two milliseconds. The judge of leaves
/// condemns one that is not handed over.
#[test]
fn a_rolling_restart_under_load_leaves_nothing_behind() {
    const NODES: usize = 5;
    let mut story = Scenario::new(NODES);
    for leaver in 0..NODES {
        story.wait(15_000);
        let mut writes = 0;
        let mut write = |story: &mut Scenario| {
            for node in (0..NODES).filter(|node| *node != leaver) {
                story.put(node, &format!("k{}", writes % 40), &writes.to_string());
                writes += 1;
            }
            story.wait(2);
        };
        (0..300).for_each(|_| write(&mut story));
        let leave = story.begin(&FaultWhat::Leave { node: leaver });
        let begun = story.world().now_us();
        while story.world().node(leaver).is_some() {
            write(&mut story);
        }
        let took_ms = (story.world().now_us() - begun) / 1_000;
        assert!(took_ms < 1_000, "n{leaver} took {took_ms} ms");
        story.wait(1_000).end(leave);
    }
    story.wait(5_000);
    assert_eq!(story.finish(), []);
}
