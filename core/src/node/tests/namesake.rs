//! A member without a disk that comes back under its name and address.

use std::vec::Vec;

use super::*;

impl Lab {
    /// The state of each member called `name` that a node knows, by when it came.
    fn called(&self, at: usize, name: &str) -> Vec<MemberState> {
        let mut members = self.nodes[at].as_ref().unwrap().members();
        members.retain(|member| member.name == name);
        members.sort_by_key(|member| member.generation);
        members.into_iter().map(|member| member.state).collect()
    }
}

#[test]
pub(super) fn a_new_boot_without_a_disk_takes_the_place_of_the_old_one() {
    let mut lab = Lab::new(3, Storage::None, true);
    lab.run(5_000);
    lab.put(0, "k", "v");
    lab.run(1_000);
    lab.stop(2);
    lab.run(1_000);
    lab.delete(0, "k");
    lab.start(2);
    lab.run(40_000);
    let ended = [MemberState::Left, MemberState::Alive];
    for at in 0..3 {
        assert_eq!(lab.called(at, "n2"), ended, "one takes the other's place");
        let live = lab.node(at).live_members();
        assert_eq!(live.len(), 3);
    }
    assert_eq!(lab.tombstones(), [0, 0, 0]);
    assert_eq!(lab.everywhere("k"), [None, None, None]);
    let evicted = |(_, event): &(usize, Event)| matches!(event, Event::Evicted { .. });
    assert!(!lab.events.iter().any(evicted), "all others are counted");
}

#[test]
pub(super) fn an_old_boot_whose_clock_was_ahead_is_ended_too() {
    let mut lab = Lab::new(3, Storage::None, true);
    lab.run(5_000);
    lab.stop(2);
    lab.run(1_000);
    lab.ahead_ms.insert(2, 3_600_000);
    lab.start(2);
    lab.run(5_000);
    lab.stop(2);
    lab.run(1_000);
    lab.ahead_ms.remove(&2);
    lab.start(2);
    lab.run(60_000);
    for at in 0..3 {
        let called = lab.called(at, "n2");
        let left = called.iter().filter(|state| **state == MemberState::Left);
        assert_eq!((left.count(), called.len()), (2, 3), "both boots are ended");
    }
}

#[test]
fn of_two_members_one_comes_back_again_and_again_and_leaves_nothing() {
    let mut lab = Lab::new(2, Storage::None, true);
    lab.run(5_000);
    for boot in 1..=3 {
        lab.stop(1);
        lab.run(1_000);
        lab.start(1);
        lab.run(60_000);
        let called = lab.called(0, "n1");
        let left = called.iter().filter(|state| **state == MemberState::Left);
        assert_eq!((left.count(), called.len()), (boot, boot + 1), "{called:?}");
    }
}

#[test]
pub(super) fn a_member_that_keeps_a_disk_is_waited_for_by_its_namesake() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(5_000);
    lab.stop(2);
    lab.disks[2].clear();
    lab.run(1_000);
    lab.start(2);
    lab.run(60_000);
    let waits = [MemberState::Down, MemberState::Alive];
    assert_eq!(lab.called(0, "n2"), waits, "its disk may come back");
}

#[test]
fn two_that_live_under_one_name_and_address_leave_each_other_alone() {
    let mut lab = Lab::new(3, Storage::None, true);
    lab.run(5_000);
    let mut config = lab.configs[2].clone();
    config.seeds = std::vec!["0".to_string()];
    lab.join(config);
    lab.run(60_000);
    let both = [MemberState::Alive, MemberState::Alive];
    for at in 0..4 {
        assert_eq!(lab.called(at, "n2"), both, "{:?}", lab.events);
    }
}

#[test]
fn without_a_majority_the_old_boot_is_waited_for() {
    let mut lab = Lab::new(4, Storage::None, true);
    lab.run(5_000);
    // Three of five, the new boot included, would have to agree.
    [1, 2, 3].into_iter().for_each(|i| lab.stop(i));
    lab.run(1_000);
    lab.start(3);
    lab.run(60_000);
    assert_eq!(lab.called(0, "n3"), [MemberState::Down, MemberState::Alive]);
    lab.start(1);
    lab.start(2);
    lab.run(60_000);
    for name in ["n1", "n2", "n3"] {
        assert_eq!(lab.called(0, name), [MemberState::Left, MemberState::Alive]);
    }
}
