//! Older copies of a store that take its place without a word.

use super::*;

impl Lab {
    fn is_found_by(&self, i: usize) -> bool {
        let mut events = self.events.iter();
        events.any(|(at, event)| *at == i && matches!(event, Event::OlderCopy { .. }))
    }

    /// Puts the older copy in the place of the third member's disk, and starts it as if nothing had happened.
    fn put_back(&mut self, copy: BTreeMap<Bytes, Bytes>) {
        self.disks[2] = copy;
        self.start(2);
        assert_eq!(self.get(2, "gone"), value("v"), "it serves what it has");
        assert!(!self.is_found_by(2));
    }
}

#[test]
pub(super) fn an_older_copy_is_noticed_without_a_word_and_revives_nothing() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    lab.put_back(copy);
    lab.run(10_000);
    assert!(lab.is_found_by(2), "it is noticed");
    assert!(lab.marked(2, "older-copy") && lab.marked(2, "rejoined"));
    lab.expect_only_kept_and_own();
    lab.stop(2);
    lab.events.clear();
    lab.start(2);
    lab.run(10_000);
    assert!(!lab.is_found_by(2), "it has all that it ever had");
    lab.expect_only_kept_and_own();
}

#[test]
fn an_older_copy_that_went_on_alone_and_was_started_again_is_noticed_too() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    (0..2).for_each(|i| lab.stop(i));
    lab.put_back(copy);
    // By now it has written more batches than it ever claimed before.
    for n in 0..200 {
        lab.put(2, &std::format!("more{n}"), "v");
        lab.run(20);
    }
    for _ in 0..3 {
        lab.stop(2);
        lab.start(2);
        lab.run(3_000);
    }
    assert!(!lab.is_found_by(2), "no member is there that could tell");
    // The members remember what they heard.
    (0..2).for_each(|i| lab.start(i));
    lab.run(15_000);
    assert!(lab.is_found_by(2));
    // No member has what it wrote alone, so it waits for one for half a minute.
    lab.run(30_000);
    lab.expect_only_kept_and_own();
    assert_eq!(lab.everywhere("more7"), std::vec![value("v"); 3]);
}

#[test]
pub(super) fn a_member_that_came_after_the_deletes_were_freed_notices_an_older_copy() {
    let (mut lab, copy) = Lab::with_an_old_copy();
    let mut config = Config::new("n3", "3");
    config.storage = Storage::Ordered;
    config.seeds = std::vec!["0".to_string()];
    lab.join(config);
    lab.run(10_000);
    assert!(lab.node(3).is_full());
    (0..2).for_each(|i| lab.stop(i));
    // The newcomer knows the third member's address, and the older copy does not know the newcomer.
    lab.put_back(copy);
    lab.run(15_000);
    assert!(lab.is_found_by(2), "the newcomer was told");
    assert_eq!(lab.get(2, "gone"), None);
    assert_eq!(lab.get(3, "gone"), None);
}

#[test]
pub(super) fn what_a_crash_takes_is_no_older_copy() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "gone", "v");
    lab.run(3_000);
    lab.delete(1, "gone");
    lab.run(20);
    // From now on the third hears nothing and so writes nothing, and the others hear its claims.
    lab.cut = Box::new(|_, to, _| to == 2);
    lab.run(2_000);
    assert!(
        lab.tombstones()[..2].contains(&0),
        "freed on what it has claimed"
    );
    lab.stop(2);
    lab.cut = Box::new(|_, _, _| false);
    lab.start(2);
    lab.run(10_000);
    assert!(!lab.is_found_by(2), "nothing that it has claimed is lost");
    assert_eq!(lab.everywhere("gone"), std::vec![None; 3]);
}

#[test]
fn a_copy_of_the_last_state_is_no_older_copy() {
    let (mut lab, _) = Lab::with_an_old_copy();
    let copy = lab.disks[2].clone();
    lab.start(2);
    lab.put(2, "after", "v");
    lab.delete(2, "own");
    lab.run(20);
    lab.stop(2);
    lab.disks[2] = copy;
    lab.start(2);
    lab.run(10_000);
    assert!(!lab.is_found_by(2), "nothing was freed on what it has lost");
    assert_eq!(lab.everywhere("after"), std::vec![value("v"); 3]);
    assert_eq!(lab.everywhere("own"), std::vec![None; 3]);
}
