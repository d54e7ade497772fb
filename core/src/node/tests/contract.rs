//! Loops that break the contract, in debug builds.
#![cfg(debug_assertions)]

use super::*;

fn node() -> (Node, Now) {
    let now = Now::new(Instant::ZERO, Wall::from_millis(1_700_000_000_000));
    let mut config = Config::new("a", "a");
    config.seeds.push("b".into());
    let node = Recovery::new(config, Seed::from_u64(1)).finish(now);
    (node.unwrap(), now)
}

fn input() -> Input {
    Input::Drained { link: LinkId(1) }
}

#[test]
#[should_panic(expected = "broken contract: end every turn with `Input::Tick`")]
fn a_loop_that_never_ticks_is_told_so() {
    let (mut node, mut now) = node();
    for _ in 0..2_000 {
        now.mono = now.mono + Duration::from_millis(100);
        node.handle(now, input());
    }
}

#[test]
#[should_panic(expected = "broken contract: carry out every output")]
fn a_loop_that_forgets_outputs_is_told_so() {
    let (mut node, now) = node();
    for _ in 0..2_000 {
        node.handle(now, Input::Tick);
    }
}

#[test]
fn long_turns_and_quiet_ones_are_within_it() {
    let (mut node, mut now) = node();
    for _ in 0..10_000 {
        node.handle(now, input());
    }
    end_turn(&mut node, now);
    node.handle(now, input());
    now.mono = now.mono + Duration::from_secs(3_600);
    for _ in 0..500 {
        node.handle(now, input());
    }
    end_turn(&mut node, now);
    for _ in 0..2_000 {
        now.mono = now.mono + Duration::from_millis(100);
        node.handle(now, input());
        end_turn(&mut node, now);
    }
}

fn end_turn(node: &mut Node, now: Now) {
    node.handle(now, Input::Tick);
    while node.poll_output().is_some() {}
}
