//! Rows that expire, and clocks that are wrong.

use super::*;
use crate::table::RowClass;
use crate::table::gossip;

const DAY_MS: i64 = 86_400_000;

/// As far ahead as a member may be that accepts writes.
const FAST_MS: i64 = 200_000;

/// Longer than it takes until a clock is believed, and what it says has come to all members.
const BELIEVED_MS: u64 = 70_000;

impl Lab {
    /// Writes a row that expires after so many seconds by the node's clock.
    fn put_for(&mut self, i: usize, key: &str, seconds: u64) -> Accepted {
        let now = self.clock(i);
        let write = Write::Put {
            key: key.as_bytes(),
            value: Bytes::from_static(b"v"),
            expires: Some(now.wall + Duration::from_secs(seconds)),
        };
        self.node(i).write(now, TableId::DEFAULT, write).unwrap()
    }

    /// Sets the clocks of nodes ahead of the truth, and lets time pass.
    fn skew(&mut self, nodes: &[usize], ahead_ms: i64, for_ms: u64) {
        for node in nodes {
            self.ahead_ms.insert(*node, ahead_ms);
        }
        self.run(for_ms);
    }

    /// A second node joins the first.
    fn add_second(&mut self) {
        let mut config = Config::new("n1", "1");
        config.seeds = std::vec!["0".to_string()];
        self.join(config);
    }

    fn steps(&self, i: usize) -> Vec<i64> {
        let told = self.events.iter().filter_map(|(node, event)| match event {
            Event::WallStepped { by_ms } if *node == i => Some(*by_ms),
            _ => None,
        });
        told.collect()
    }

    fn status(&self, i: usize) -> NodeStatus {
        self.nodes[i].as_ref().unwrap().status(self.clock(i))
    }

    /// Lists in short the changes that watchers of a node are told from a cursor on.
    fn told(&self, i: usize, from: Cursor) -> Vec<&'static str> {
        let node = self.nodes[i].as_ref().unwrap();
        let view = node.view(self.clock(i));
        let changes = view.changes(TableId::DEFAULT, from, 100).unwrap().changes;
        let kinds = changes.iter().map(|change| match change.kind {
            ChangeKind::Put { .. } => "put",
            ChangeKind::Expired { .. } => "expired",
            _ => "else",
        });
        kinds.collect()
    }
}

/// Three members, and a row with an hour to live.
fn three() -> Lab {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(BELIEVED_MS);
    lab.put_for(0, "k", 3_600);
    lab.run(2_000);
    lab
}

/// Three members of whose clocks nothing is believed yet.
fn young() -> Lab {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab
}

#[test]
pub(super) fn one_clock_that_is_fast_for_a_while_ends_no_row() {
    for while_ms in [1_200, BELIEVED_MS] {
        let mut lab = three();
        lab.skew(&[2], DAY_MS, while_ms);
        assert_eq!(lab.everywhere("k"), [value("v"), value("v"), None]);
        lab.skew(&[2], 0, 2_000);
        let all = std::vec![value("v"); 3];
        assert_eq!(lab.everywhere("k"), all, "one clock");
        assert_eq!(lab.steps(2), [DAY_MS, -DAY_MS]);
        assert_eq!(
            (lab.steps(0), lab.tombstones()),
            (std::vec![], std::vec![0; 3])
        );
    }
}

#[test]
fn what_most_clocks_have_passed_ends_everywhere_although_one_is_in_1970() {
    let mut lab = three();
    lab.skew(&[2], -1_700_000_000_000, 1_000);
    lab.put_for(0, "short", 1);
    let from = lab.nodes[2].as_ref().unwrap().view(lab.now).cursor();
    lab.run(500);
    assert_eq!(lab.everywhere("short"), std::vec![value("v"); 3]);
    lab.run(2_500);
    assert_eq!(lab.everywhere("short"), [None, None, None]);
    assert_eq!(lab.told(2, from), ["expired"], "its own clock hid nothing");
    // The tombstone is freed once every clock has reached that of the write.
    lab.skew(&[2], 0, 10_000);
    assert_eq!(
        (lab.hidden(), lab.tombstones()),
        (std::vec![0; 3], std::vec![0; 3])
    );
    assert_eq!(lab.everywhere("k"), std::vec![value("v"); 3]);
}

#[test]
pub(super) fn two_fast_clocks_of_four_end_no_row() {
    let mut lab = Lab::new(4, Storage::Ordered, true);
    lab.run(BELIEVED_MS);
    lab.put_for(0, "k", 3_600);
    lab.run(2_000);
    lab.skew(&[2, 3], DAY_MS, BELIEVED_MS);
    let waits = lab.status(2).hidden_until;
    let waits = waits.map(|waits| (waits.passed, waits.of));
    assert_eq!(waits, Some((2, 4)), "half of the clocks");
    lab.skew(&[2, 3], 0, 2_000);
    let all = std::vec![value("v"); 4];
    assert_eq!(lab.everywhere("k"), all, "half of the clocks");
}

#[test]
pub(super) fn two_clocks_of_three_that_jump_for_a_moment_end_no_row() {
    let mut lab = three();
    lab.skew(&[1, 2], DAY_MS, 20_000);
    lab.skew(&[1, 2], 0, 2_000);
    let all = std::vec![value("v"); 3];
    assert_eq!(lab.everywhere("k"), all, "a moment");
}

#[test]
pub(super) fn clocks_that_were_fast_and_are_right_again_end_no_row() {
    let mut lab = young();
    lab.skew(&[1, 2], DAY_MS, BELIEVED_MS);
    // So long it takes until all have told what time it is.
    lab.skew(&[1, 2], 0, 6_000);
    lab.put_for(0, "k", 3_600);
    lab.run(5_000);
    let all = std::vec![value("v"); 3];
    assert_eq!(lab.everywhere("k"), all, "right again");
}

#[test]
pub(super) fn a_clock_that_was_heard_long_ago_has_no_vote() {
    let mut lab = three();
    lab.skew(&[2], DAY_MS, BELIEVED_MS);
    lab.stop(2);
    lab.run(BELIEVED_MS);
    lab.skew(&[1], DAY_MS, BELIEVED_MS);
    lab.skew(&[1, 2], 0, 2_000);
    assert_eq!(
        lab.everywhere("k"),
        [value("v"), value("v")],
        "heard long ago"
    );
}

#[test]
pub(super) fn a_joining_node_ends_no_row() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    lab.stop(0);
    lab.disks[0].clear();
    lab.configs[0].seeds = std::vec!["7".to_string()];
    lab.start(0);
    lab.put_for(0, "k", 1);
    lab.run(2 * BELIEVED_MS);
    assert_eq!(lab.status(0).phase, NodePhase::Joining);
    assert_eq!(lab.hidden(), [1], "joining: hidden");
}

#[test]
pub(super) fn a_rejoining_node_ends_no_row() {
    let mut lab = three();
    lab.put_for(0, "short", 10);
    lab.run(2_000);
    for i in [1, 2] {
        let input = Input::Request {
            token: Token(i as u64),
            deadline: None,
            request: Request::Leave,
        };
        let now = lab.clock(i);
        lab.node(i).handle(now, input);
        lab.run(1_000);
        lab.stop(i);
    }
    lab.stop(0);
    lab.start(1);
    lab.start(2);
    lab.run(2 * BELIEVED_MS);
    assert_eq!(lab.status(2).phase, NodePhase::Rejoining);
    assert_eq!(lab.hidden(), [1, 1], "rejoining: hidden");
    lab.start(0);
    lab.run(3 * BELIEVED_MS);
    assert_eq!(
        (lab.hidden(), lab.tombstones()),
        (std::vec![0; 3], std::vec![0; 3])
    );
    assert_eq!(lab.everywhere("k"), std::vec![value("v"); 3]);
}

#[test]
pub(super) fn a_newcomer_gets_rows_from_a_member_that_hides_them() {
    let mut lab = Lab::new(1, Storage::Ordered, true);
    lab.put_for(0, "k", 3_600);
    lab.skew(&[0], DAY_MS, 1_000);
    assert_eq!(lab.hidden(), [1]);
    lab.add_second();
    lab.run(3_000);
    lab.skew(&[0], 0, 1_000);
    assert_eq!(lab.get(1, "k"), value("v"), "the newcomer");
}

#[test]
pub(super) fn a_delete_of_a_row_that_is_hidden_holds_where_it_shows() {
    let mut lab = three();
    lab.put_for(0, "k", 100);
    lab.skew(&[2], FAST_MS, 1_000);
    let now = lab.clock(2);
    let write = Write::Delete { key: b"k" };
    let accepted = lab
        .node(2)
        .write(now, TableId::DEFAULT, write.clone())
        .unwrap();
    assert_eq!(
        (accepted.existed, accepted.wrote),
        (false, true),
        "it wrote"
    );
    let again = lab.node(2).write(now, TableId::DEFAULT, write).unwrap();
    assert_eq!((again.existed, again.wrote), (false, false));
    lab.skew(&[2], 0, 2_000);
    assert_eq!(lab.everywhere("k"), [None, None, None]);
}

#[test]
fn a_write_over_a_row_that_is_hidden_wins_everywhere() {
    let mut lab = three();
    lab.put_for(0, "k", 100);
    lab.skew(&[2], FAST_MS, 1_000);
    let now = lab.clock(2);
    let write = Write::Put {
        key: b"k",
        value: Bytes::from_static(b"new"),
        expires: None,
    };
    let accepted = lab.node(2).write(now, TableId::DEFAULT, write).unwrap();
    assert!(!accepted.existed);
    lab.skew(&[2], 0, 2_000);
    assert_eq!(lab.everywhere("k"), std::vec![value("new"); 3]);
}

#[test]
fn an_expiry_that_is_taken_away_where_the_row_shows_wins_over_hidden_and_ended_ones() {
    let mut lab = young();
    lab.put_for(0, "short", 1);
    lab.skew(&[2], -DAY_MS, 2_000);
    assert_eq!(lab.everywhere("short"), [None, None, value("v")]);
    lab.put(2, "short", "kept");
    lab.skew(&[2], 0, 2 * BELIEVED_MS);
    assert_eq!(lab.everywhere("short"), std::vec![value("kept"); 3]);
}

#[test]
pub(super) fn watchers_are_told_that_a_row_is_hidden_and_shows_again_and_not_that_it_ends() {
    let mut lab = three();
    let from = lab.nodes[2].as_ref().unwrap().view(lab.now).cursor();
    let info = |lab: &Lab| {
        lab.nodes[2]
            .as_ref()
            .unwrap()
            .view(lab.clock(2))
            .len(TableId::DEFAULT)
            .unwrap()
    };
    lab.skew(&[2], DAY_MS, 1_000);
    assert_eq!((lab.told(2, from), info(&lab)), (std::vec!["expired"], 0));
    lab.skew(&[2], 0, 1_000);
    assert_eq!((lab.told(2, from), info(&lab)), (std::vec!["put"], 1));
    lab.skew(&[0, 1, 2], DAY_MS, 1_000);
    let from = lab.nodes[2].as_ref().unwrap().view(lab.now).cursor();
    lab.run(2 * BELIEVED_MS);
    assert_eq!(
        (lab.hidden(), lab.tombstones()),
        (std::vec![0; 3], std::vec![0; 3])
    );
    assert!(lab.told(2, from).is_empty(), "the end is silent");
}

#[test]
fn a_restart_with_a_clock_set_back_shows_what_was_hidden_and_ends_nothing_at_once() {
    let mut lab = young();
    lab.put_for(2, "short", 5);
    lab.run(6_000);
    lab.stop(2);
    lab.ahead_ms.insert(2, -DAY_MS);
    lab.start(2);
    lab.run(1_000);
    assert_eq!(lab.get(2, "short"), value("v"));
    lab.skew(&[2], 0, 1_000);
    assert_eq!(lab.get(2, "short"), None);
    lab.run(2 * BELIEVED_MS);
    assert_eq!(
        (lab.hidden(), lab.tombstones()),
        (std::vec![0; 3], std::vec![0; 3])
    );
}

/// Members that keep values of at most 8 bytes in memory, and nothing of hidden rows.
fn cold_lab(count: usize) -> Lab {
    let mut lab = Lab::new(count, Storage::Ordered, true);
    for i in 0..count {
        lab.stop(i);
        lab.disks[i].clear();
        lab.configs[i].resident_value = Some(8);
        lab.start(i);
    }
    lab.run(BELIEVED_MS);
    lab
}

#[test]
fn a_hidden_row_costs_what_a_tombstone_costs_where_values_may_leave_memory() {
    let mut lab = cold_lab(2);
    lab.put_for(0, "k", 3_600);
    lab.run(2_000);
    lab.skew(&[1], DAY_MS, 1_000);
    assert_eq!(lab.status(1).hidden_bytes, 1, "the key alone");
    lab.skew(&[1], 0, 1_000);
    let node = lab.nodes[1].as_ref().unwrap();
    let found = node.view(lab.now).get(TableId::DEFAULT, b"k");
    assert!(matches!(found, Found::Cold(_)), "{found:?}");
    let key = Bytes::from_static(b"k");
    let request = TableRequest::new(TableId::DEFAULT, TableOp::Get { key }).into();
    let (token, deadline, now) = (Token(1), None, lab.now);
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(1).handle(now, input);
    lab.quiesce();
    assert!(matches!(&lab.replies[&token], Ok(Response::Row(Some(row))) if row.value == "v"));
}

#[test]
fn a_row_that_is_hidden_and_cold_replaces_an_older_one_without_end_of_repairs() {
    let mut lab = cold_lab(2);
    lab.put(0, "k", "old");
    lab.run(3_000);
    let key = gossip::record::row_key(RowClass::UsrDurable, "default", b"k");
    let old = lab.disks[1][&key].clone();
    lab.put_for(0, "k", 3_600);
    lab.run(3_000);
    lab.skew(&[0], DAY_MS, 3_000);
    lab.stop(1);
    lab.disks[1].insert(key, old);
    lab.start(1);
    assert_eq!(lab.get(1, "k"), value("old"));
    lab.run(10_000);
    lab.quiesce();
    assert_eq!(lab.get(1, "k"), value("v"));
    assert!(lab.marked(0, "renewal-loaded"));
    let ends = |lab: &Lab| {
        let node = lab.nodes[0].as_ref().unwrap();
        let mut marks = node.inspect().marks();
        marks
            .find(|(mark, _)| mark.name() == "repair-ends")
            .map(|(_, count)| count)
    };
    let before = ends(&lab);
    lab.run(60_000);
    assert_eq!(ends(&lab), before, "no repair comes again");
}

#[test]
pub(super) fn a_member_whose_clock_is_behind_most_others_follows_them() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(5_000);
    lab.skew(&[2], -DAY_MS, BELIEVED_MS);
    lab.put(0, "k", "old");
    lab.run(3_000);
    lab.delete(0, "k");
    lab.run(30_000);
    assert_eq!(lab.tombstones(), [0, 0, 0], "it has reached the delete");
    lab.put(2, "k", "new");
    lab.run(3_000);
    assert_eq!(
        lab.everywhere("k"),
        [value("new"), value("new"), value("new")]
    );
    // It is the same after a restart, before it has heard of any clock.
    lab.delete(0, "k");
    lab.run(30_000);
    lab.stop(2);
    lab.start(2);
    let (now, newest) = (lab.clock(2), lab.nodes[0].as_ref().unwrap());
    let freed = newest.status(lab.clock(0)).clock;
    assert!(lab.node(2).status(now).clock >= freed);
}

#[test]
fn of_two_members_neither_is_followed_beyond_the_limit() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(5_000);
    lab.skew(&[1], DAY_MS, BELIEVED_MS);
    lab.put(1, "k", "far");
    lab.run(5_000);
    let (now, clock) = (lab.clock(0).wall, lab.status(0).clock);
    assert!(
        clock.wall() <= now + Duration::from_secs(1),
        "nothing tells which is wrong"
    );
}

#[test]
pub(super) fn a_delete_is_kept_while_a_member_has_not_reached_its_clock() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(5_000);
    lab.skew(&[1], DAY_MS, BELIEVED_MS);
    lab.put(1, "k", "far");
    lab.delete(1, "k");
    lab.run(30_000);
    assert_eq!(lab.tombstones(), [1, 1], "it could write below the delete");
}

#[test]
fn a_delete_that_was_freed_far_ahead_draws_no_write_of_a_newcomer() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    lab.skew(&[0], 30 * DAY_MS, 1_000);
    lab.put(0, "k", "far");
    lab.delete(0, "k");
    lab.skew(&[0], 0, 1_000);
    assert_eq!(lab.tombstones(), [0]);
    lab.add_second();
    lab.run(5_000);
    lab.put(1, "k", "near");
    let now = lab.now;
    let row = lab.node(1).view(now).get(TableId::DEFAULT, b"k").row();
    assert!(row.unwrap().version().clock.wall() <= now.wall + Duration::from_secs(1));
    lab.run(5_000);
    assert_eq!(lab.everywhere("k"), [value("near"), value("near")]);
}
