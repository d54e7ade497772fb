//! Drops: what a floor hides at once, and what turns remove.

use super::*;

/// Records of rows of users' durable tables.
fn stored(lab: &Lab, i: usize) -> usize {
    let keys = lab.disks[i].keys();
    keys.filter(|key| key.starts_with(b"r\x01")).count()
}

fn shown(lab: &Lab, i: usize) -> (u64, usize) {
    let view = lab.nodes[i].as_ref().unwrap().view(lab.now);
    let scanned = view.scan(TableId::DEFAULT, ScanRange::default()).count();
    (view.user_rows(), scanned)
}

#[test]
fn a_drop_hides_rows_at_once_and_removes_them_in_turns() {
    for all in [false, true] {
        let mut lab = Lab::new(1, Storage::Ordered, false);
        for i in 0..5_000 {
            lab.put(0, &std::format!("k{i}"), "v");
        }
        lab.run(2_000);
        assert_eq!((shown(&lab, 0), stored(&lab, 0)), ((5_000, 5_000), 5_000));
        let now = lab.now;
        match all {
            true => lab.node(0).flush_all(now).unwrap(),
            false => lab.node(0).flush_table(now, TableId::DEFAULT).unwrap(),
        };
        assert_eq!((shown(&lab, 0), lab.get(0, "k1")), ((0, 0), None));
        // Written before the row that was dropped is removed, whose record it takes over.
        lab.put(0, "k1", "new");
        lab.node(0).handle(now, Input::Tick);
        assert!(lab.node(0).gossip.is_sweeping(), "in several turns");
        assert_eq!((shown(&lab, 0), lab.get(0, "k1")), ((1, 1), value("new")));
        lab.node(0).check();
        lab.run(2_000);
        assert!(!lab.node(0).gossip.is_sweeping());
        assert_eq!((shown(&lab, 0), stored(&lab, 0)), ((1, 1), 1));
        lab.node(0).check();
        lab.stop(0);
        lab.start(0);
        assert_eq!((shown(&lab, 0), lab.get(0, "k1")), ((1, 1), value("new")));
    }
}

#[test]
fn a_crash_between_a_drop_and_its_turns_brings_nothing_back() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    for i in 0..5_000 {
        lab.put(0, &std::format!("k{i}"), "v");
    }
    lab.run(2_000);
    let now = lab.now;
    lab.node(0).flush_all(now).unwrap();
    lab.node(0).handle(now, Input::Tick);
    while let Some(output) = lab.node(0).poll_output() {
        lab.output(0, output, &mut VecDeque::new());
    }
    assert!(stored(&lab, 0) > 0, "some are still on the disk");
    lab.stop(0);
    lab.start(0);
    assert_eq!(lab.get(0, "k1"), None);
    lab.run(2_000);
    assert_eq!((shown(&lab, 0), stored(&lab, 0)), ((0, 0), 0));
    lab.node(0).check();
}

#[test]
fn a_floor_that_comes_late_hides_what_is_below_and_nothing_above() {
    for written in [100, 6_000] {
        let mut lab = Lab::new(2, Storage::Ordered, true);
        lab.run(3_000);
        for i in 0..3_000 {
            lab.put(0, &std::format!("old{i}"), "v");
        }
        lab.run(2_000);
        assert_eq!(shown(&lab, 1), (3_000, 3_000));
        lab.cut = Box::new(|_, _, _| true);
        let now = lab.now;
        lab.node(1).flush_all(now).unwrap();
        lab.run(100);
        for i in 0..written {
            lab.put(0, &std::format!("new{i}"), "v");
        }
        lab.put(0, "old7", "again");
        lab.run(100);
        lab.cut = Box::new(|_, _, _| false);
        lab.run(30_000);
        for i in 0..2 {
            let all = written + 1;
            assert_eq!(shown(&lab, i), (all as u64, all), "{written} on n{i}");
            assert_eq!(stored(&lab, i), all);
            lab.node(i).check();
        }
        assert_eq!(lab.everywhere("old8"), [None, None]);
        assert_eq!(lab.everywhere("old7"), [value("again"), value("again")]);
    }
}

/// A row of node `i`, written while its clock was a day ahead.
fn put_ahead(lab: &mut Lab, i: usize, table: TableId, key: &str) {
    let now = lab.now;
    let wrong = Now::new(now.mono, now.wall + Duration::from_secs(86_400));
    let write = Write::Put {
        key: key.as_bytes(),
        value: Bytes::from_static(b"ahead"),
        expires: None,
    };
    lab.node(i).write(wrong, table, write).unwrap();
}

#[test]
pub(super) fn a_flush_leaves_no_row_that_is_ahead_of_its_clock() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    put_ahead(&mut lab, 1, TableId::DEFAULT, "k");
    lab.put(0, "old", "v");
    lab.run(1_000);
    assert_eq!(lab.everywhere("k"), [value("ahead"), value("ahead")]);
    let now = lab.now;
    lab.node(0).flush_all(now).unwrap();
    lab.put(0, "new", "v");
    lab.run(1_000);
    assert_eq!(lab.everywhere("k"), [None, None]);
    assert_eq!(lab.everywhere("old"), [None, None]);
    assert_eq!(lab.everywhere("new"), [value("v"), value("v")]);
    assert!(lab.marked(0, "flushed-ahead"));
}

#[test]
fn a_flush_of_siblings_that_are_ahead_replaces_all_that_it_saw() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let options = TableOptions {
        conflict: Conflict::Siblings,
        ..TableOptions::default()
    };
    let now = lab.now;
    lab.node(0).create_table(now, "s", options).unwrap();
    lab.run(1_000);
    let theirs = lab.node(1).table("s").unwrap();
    put_ahead(&mut lab, 1, theirs, "k");
    lab.run(1_000);
    let ours = lab.node(0).table("s").unwrap();
    let now = lab.now;
    assert_eq!(lab.node(0).view(now).len(ours), 1);
    lab.node(0).flush_table(now, ours).unwrap();
    lab.run(1_000);
    let now = lab.now;
    assert_eq!(lab.node(0).view(now).len(ours), 0);
    assert_eq!(lab.node(1).view(now).len(theirs), 0);
}

#[test]
fn a_flush_is_answered_when_all_rows_ahead_of_it_are_deleted() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    for i in 0..1_500 {
        put_ahead(&mut lab, 1, TableId::DEFAULT, &std::format!("k{i}"));
    }
    lab.run(5_000);
    assert_eq!(shown(&lab, 0), (1_500, 1_500));
    let (now, token) = (lab.now, Token(7));
    let request = Request::Flush { table: None };
    let deadline = None;
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(0).handle(now, input);
    // It is on no list: it was written after the flush.
    put_ahead(&mut lab, 0, TableId::DEFAULT, "later");
    assert!(shown(&lab, 0).0 > 1_000 && !lab.replies.contains_key(&token));
    lab.run(5_000);
    assert!(matches!(lab.replies[&token], Ok(Response::Written(_))));
    for i in 0..2 {
        assert_eq!(shown(&lab, i), (1, 1), "n{i}");
    }
}

#[test]
pub(super) fn a_floor_is_freed_when_every_member_has_it_and_not_before() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(3_000);
    lab.stop(2);
    let now = lab.now;
    lab.node(1).flush_table(now, TableId::DEFAULT).unwrap();
    lab.run(30_000);
    assert_eq!(lab.tombstones(), [1, 1], "kept for the one that is down");
    lab.start(2);
    assert_eq!(lab.get(2, "k"), value("v"), "the row is back from its disk");
    lab.run(15_000);
    assert_eq!(lab.everywhere("k"), std::vec![None; 3]);
    assert_eq!(lab.tombstones(), [0, 0, 0], "and then it is freed");
    let kept = |disk: &BTreeMap<Bytes, Bytes>| disk.keys().any(|key| key.ends_with(b"tdefault"));
    assert!(!lab.disks.iter().any(kept), "on the disks too");
    lab.put(2, "k", "new");
    lab.run(1_000);
    assert_eq!(lab.everywhere("k"), std::vec![value("new"); 3]);
}

#[test]
fn a_floor_stays_while_what_it_has_hidden_is_removed() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    for i in 0..5_000 {
        lab.put(0, &std::format!("k{i}"), "v");
    }
    lab.run(2_000);
    let now = lab.now;
    lab.node(0).flush_table(now, TableId::DEFAULT).unwrap();
    lab.node(0).handle(now, Input::Tick);
    assert!(lab.node(0).gossip.is_sweeping());
    assert_eq!(lab.tombstones(), [1], "it still hides some");
    lab.run(2_000);
    assert_eq!(lab.tombstones(), [0]);
    assert_eq!((shown(&lab, 0), stored(&lab, 0)), ((0, 0), 0));
    lab.stop(0);
    lab.start(0);
    assert_eq!(shown(&lab, 0), (0, 0));
}
