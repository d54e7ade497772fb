//! Drops: what a drop marker hides at once, and what turns remove.

use super::push::{first_forward, set, watch};
use super::*;
use crate::table::gossip::WAITING;
use crate::wire::{GossipMessage, Message};

/// Records of rows of users' durable tables.
fn stored(lab: &Lab, i: usize) -> usize {
    let keys = lab.disks[i].keys();
    keys.filter(|key| key.starts_with(b"r\x01")).count()
}

fn shown(lab: &Lab, i: usize) -> (u64, usize) {
    let view = lab.nodes[i].as_ref().unwrap().view(lab.now);
    let scanned = view
        .scan(TableId::DEFAULT, ScanRange::default())
        .unwrap()
        .count();
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
            true => lab.node(0).flush(now, None).unwrap(),
            false => lab.node(0).flush(now, Some(TableId::DEFAULT)).unwrap(),
        };
        assert_eq!((shown(&lab, 0), lab.get(0, "k1")), ((0, 0), None));
        // Written before the row that was dropped is removed, whose record it takes over.
        lab.put(0, "k1", "new");
        lab.node(0).handle(now, Input::Tick);
        assert!(
            lab.node(0).modes.gossip.replica().is_sweeping(),
            "in several turns"
        );
        assert_eq!((shown(&lab, 0), lab.get(0, "k1")), ((1, 1), value("new")));
        lab.node(0).inspect().check();
        lab.run(2_000);
        assert!(!lab.node(0).modes.gossip.replica().is_sweeping());
        assert_eq!((shown(&lab, 0), stored(&lab, 0)), ((1, 1), 1));
        lab.node(0).inspect().check();
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
    lab.node(0).flush(now, None).unwrap();
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
    lab.node(0).inspect().check();
}

#[test]
fn a_drop_marker_that_comes_late_hides_what_is_below_and_nothing_above() {
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
        lab.node(1).flush(now, None).unwrap();
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
            lab.node(i).inspect().check();
        }
        assert_eq!(lab.everywhere("old8"), [None, None]);
        assert_eq!(lab.everywhere("old7"), [value("again"), value("again")]);
    }
}

/// A row of node `i`, written while its clock was a day ahead.
fn put_ahead(lab: &mut Lab, i: usize, table: TableId, key: &str) {
    put_ahead_for(lab, i, table, key, None);
}

/// The same, with an expiry by the right clock.
fn put_ahead_for(lab: &mut Lab, i: usize, table: TableId, key: &str, expires: Option<Wall>) {
    let now = lab.now;
    let wrong = Now::new(now.mono, now.wall + Duration::from_secs(86_400));
    let write = Write::Put {
        key: key.as_bytes(),
        value: Bytes::from_static(b"ahead"),
        expires,
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
    lab.node(0).flush(now, None).unwrap();
    lab.put(0, "new", "v");
    lab.run(1_000);
    assert_eq!(lab.everywhere("k"), [None, None]);
    assert_eq!(lab.everywhere("old"), [None, None]);
    assert_eq!(lab.everywhere("new"), [value("v"), value("v")]);
    assert!(lab.marked(0, "flushed-ahead"));
}

/// Two members with `count` rows that are a day ahead, and expire in `for_ms`; after `run_ms`.
fn with_rows_that_expire(count: usize, for_ms: u64, run_ms: u64) -> Lab {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let expires = lab.now.wall + Duration::from_millis(for_ms);
    for i in 0..count {
        let key = std::format!("k{i}");
        put_ahead_for(&mut lab, 1, TableId::DEFAULT, &key, Some(expires));
    }
    lab.run(run_ms);
    lab
}

/// Rows of the default table that have not been deleted, hidden ones included.
fn not_deleted(lab: &Lab, i: usize) -> usize {
    let rows = lab.nodes[i].as_ref().unwrap().modes.gossip.replica().rows();
    let rows = rows.of_table(TableId::DEFAULT);
    rows.filter(|(_, row)| !row.value.is_dead()).count()
}

#[test]
fn a_flush_deletes_hidden_rows_that_are_ahead_of_its_clock() {
    let mut lab = with_rows_that_expire(3, 1_000, 3_000);
    assert_eq!((shown(&lab, 0), lab.hidden()), ((0, 0), std::vec![3, 3]));
    let now = lab.now;
    lab.node(0).flush(now, None).unwrap();
    lab.run(1_000);
    assert_eq!([not_deleted(&lab, 0), not_deleted(&lab, 1)], [0, 0]);
    for i in 0..2 {
        lab.ahead_ms.insert(i, -10_000);
    }
    lab.run(1_000);
    assert_eq!((shown(&lab, 0), shown(&lab, 1)), ((0, 0), (0, 0)));
}

#[test]
pub(super) fn a_flush_deletes_rows_that_are_hidden_before_it_has_come_to_them() {
    let mut lab = with_rows_that_expire(1_500, 6_000, 5_000);
    assert_eq!(shown(&lab, 0), (1_500, 1_500));
    let (now, token) = (lab.now, Token(7));
    let input = Input::Request {
        token,
        deadline: None,
        request: Request::FlushAll,
    };
    lab.node(0).handle(now, input);
    assert!(not_deleted(&lab, 0) > 1_000, "the rest is for turns");
    let later = Duration::from_secs(2);
    lab.now = Now::new(now.mono + later, now.wall + later);
    lab.run(2_000);
    assert!(matches!(lab.replies[&token], Ok(Response::Written(_))));
    let left = [not_deleted(&lab, 0), not_deleted(&lab, 1)];
    assert_eq!(left, [0, 0], "all are dead");
}

#[test]
fn a_flush_of_all_is_told_to_watchers_of_every_kind_of_table() {
    let siblings = TableOptions {
        conflict: Conflict::Siblings,
        ..TableOptions::default()
    };
    let memory = TableOptions::default().durability(Durability::Memory);
    for options in [TableOptions::default(), memory, siblings] {
        let mut lab = Lab::new(2, Storage::Ordered, true);
        lab.run(3_000);
        let now = lab.now;
        // Asked for before the definition is there, so that the name means another table then.
        let watched = lab.node(1).table("t").unwrap();
        lab.node(0).create_table(now, "t", options).unwrap();
        lab.run(1_000);
        let table = lab.node(0).table("t").unwrap();
        let now = lab.now;
        let write = Write::Put {
            key: b"k",
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        lab.node(0).write(now, table, write).unwrap();
        lab.run(1_000);
        let now = lab.now;
        let from = lab.node(1).view(now).cursor();
        lab.node(0).flush(now, None).unwrap();
        lab.run(1_000);
        let now = lab.now;
        let changes = lab.node(1).view(now).changes(watched, from, 9).unwrap();
        let told: Vec<_> = changes.changes.iter().map(|c| (c.table, &c.kind)).collect();
        let all = ChangeKind::Flushed { all: true };
        assert_eq!(told, [(watched, &all)], "{options:?}");
        assert_eq!(lab.node(1).view(now).len(watched).unwrap(), 0);
    }
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
    assert_eq!(lab.node(0).view(now).len(ours).unwrap(), 1);
    lab.node(0).flush(now, Some(ours)).unwrap();
    lab.run(1_000);
    let now = lab.now;
    assert_eq!(lab.node(0).view(now).len(ours).unwrap(), 0);
    assert_eq!(lab.node(1).view(now).len(theirs).unwrap(), 0);
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
    let request = Request::FlushAll;
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

/// A node with `count` rows that are a day ahead of its clock.
fn with_rows_ahead(count: usize) -> Lab {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    for i in 0..count {
        put_ahead(&mut lab, 1, TableId::DEFAULT, &std::format!("k{i}"));
    }
    lab.run(5_000);
    assert_eq!(shown(&lab, 0).1, count);
    lab
}

#[test]
fn flushes_that_wait_are_bounded() {
    let mut lab = with_rows_ahead(300);
    let (now, token) = (lab.now, Token(7));
    let table = lab.node(0).table("t").unwrap();
    for _ in 0..WAITING {
        let (_, left) = lab.node(0).flush(now, Some(table)).unwrap();
        assert!(
            left.is_some(),
            "it has not looked at all rows that are ahead"
        );
    }
    let busy = WriteError::Busy { limit: WAITING };
    assert_eq!(lab.node(0).flush(now, None), Err(busy.clone()));
    assert_eq!(lab.node(0).flush(now, Some(table)), Err(busy.clone()));
    assert_eq!(lab.node(0).flush(now, None), Err(busy.clone()));
    let request = Request::FlushAll;
    let deadline = None;
    let input = Input::Request {
        token,
        deadline,
        request,
    };
    lab.node(0).handle(now, input);
    lab.run(5_000);
    assert_eq!(lab.replies[&token], Err(RequestError::Write(busy)));
    assert_eq!(shown(&lab, 0).1, 300, "none of them took these rows");
    let now = lab.now;
    assert!(lab.node(0).flush(now, None).is_ok(), "they are done");
}

#[test]
fn what_a_flush_looks_at_is_bounded_whatever_other_tables_hold() {
    for (others, is_known) in [(10, true), (5_000, false)] {
        let mut lab = with_rows_ahead(others);
        let table = lab.node(0).table("t").unwrap();
        for i in 0..2_000 {
            let now = lab.now;
            let key = std::format!("t{i}");
            let write = Write::Put {
                key: key.as_bytes(),
                value: Bytes::from_static(b"v"),
                expires: None,
            };
            lab.node(0).write(now, table, write).unwrap();
        }
        lab.run(1_000);
        let theirs = lab.node(1).table("t").unwrap();
        put_ahead(&mut lab, 1, theirs, "ahead");
        lab.run(1_000);
        let now = lab.now;
        lab.node(0).flush(now, Some(table)).unwrap();
        assert_eq!(
            lab.node(0).modes.gossip.replica().is_counted(),
            is_known,
            "{others}"
        );
        lab.run(10_000);
        let now = lab.now;
        assert_eq!(lab.node(0).view(now).len(table).unwrap(), 0);
        assert_eq!(shown(&lab, 0).1, others);
    }
}

#[test]
fn a_flush_waits_for_the_disk_only_where_a_table_promises_that() {
    for (durability, waits) in [
        (Durability::Sync, true),
        (Durability::Periodic, false),
        (Durability::Memory, false),
    ] {
        let mut lab = Lab::new(2, Storage::Ordered, true);
        lab.run(3_000);
        let options = TableOptions::default().durability(durability);
        let now = lab.now;
        lab.node(0).create_table(now, "t", options).unwrap();
        lab.run(1_000);
        let tables = [0, 1].map(|i| lab.node(i).table("t").unwrap());
        for i in 0..300 {
            let key = std::format!("k{i}");
            put_ahead(&mut lab, 1, tables[1], &key);
        }
        lab.run(5_000);
        let (now, table) = (lab.now, tables[0]);
        let (accepted, left) = lab.node(0).flush(now, Some(table)).unwrap();
        assert_eq!(accepted.sync, waits, "{durability:?}");
        let mut more = (0..9).filter_map(|_| lab.node(0).flush_more(now, left.unwrap()));
        let upto = more.next().unwrap();
        assert_eq!(upto > lab.node(0).durable(), waits, "{durability:?}");
        assert_eq!(lab.node(0).view(now).len(table).unwrap(), 0);
    }
}

#[test]
pub(super) fn a_drop_marker_is_freed_when_every_member_has_it_and_not_before() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(3_000);
    lab.stop(2);
    let now = lab.now;
    lab.node(1).flush(now, Some(TableId::DEFAULT)).unwrap();
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
fn a_drop_marker_stays_while_what_it_has_hidden_is_removed() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    for i in 0..5_000 {
        lab.put(0, &std::format!("k{i}"), "v");
    }
    lab.run(2_000);
    let now = lab.now;
    lab.node(0).flush(now, Some(TableId::DEFAULT)).unwrap();
    lab.node(0).handle(now, Input::Tick);
    assert!(lab.node(0).modes.gossip.replica().is_sweeping());
    assert_eq!(lab.tombstones(), [1], "it still hides some");
    lab.run(2_000);
    assert_eq!(lab.tombstones(), [0]);
    assert_eq!((shown(&lab, 0), stored(&lab, 0)), ((0, 0), 0));
    lab.stop(0);
    lab.start(0);
    assert_eq!(shown(&lab, 0), (0, 0));
}

/// A table with options that three nodes know, the third of which writes, while all are cut off from each other, with a clock that is a minute ahead.
fn written_apart(key: &str) -> (Lab, [TableId; 3], CausalToken) {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    let options = TableOptions {
        conflict: Conflict::Siblings,
        ..TableOptions::default()
    };
    let now = lab.now;
    lab.node(0).create_table(now, "s", options).unwrap();
    lab.run(3_000);
    let tables = [0, 1, 2].map(|i| lab.node(i).table("s").unwrap());
    lab.cut = Box::new(|from, to, _| from == 2 || to == 2);
    let ahead = Now::new(lab.now.mono, lab.now.wall + Duration::from_secs(60));
    let key = key.as_bytes();
    let write = Write::Put {
        key,
        value: Bytes::from_static(b"theirs"),
        expires: None,
    };
    lab.node(2).write(ahead, tables[2], write).unwrap();
    let context = match lab.node(2).view(ahead).get(tables[2], key) {
        Found::Siblings(row) => row.siblings().unwrap().context,
        other => panic!("{other:?}"),
    };
    (lab, tables, context)
}

#[test]
pub(super) fn what_a_flushed_sibling_had_replaced_stays_away() {
    // The write that replaced it is flushed where it was made, on another member, or comes after the flush.
    for (author, late, many) in [
        (0, false, false),
        (0, false, true),
        (1, false, false),
        (1, true, false),
    ] {
        let (mut lab, tables, context) = written_apart("k");
        if late {
            lab.cut = Box::new(|_, _, _| true);
        }
        let now = lab.now;
        let replace = Write::Replace {
            key: b"k",
            value: Bytes::from_static(b"ours"),
            context: &context,
        };
        lab.node(author)
            .write(now, tables[author], replace)
            .unwrap();
        for i in 0..if many { 3_000 } else { 0 } {
            let key = std::format!("k{i}");
            let write = Write::Put {
                key: key.as_bytes(),
                value: Bytes::from_static(b"v"),
                expires: None,
            };
            lab.node(0).write(now, tables[0], write).unwrap();
        }
        lab.run(100);
        let now = lab.now;
        lab.node(0).flush(now, Some(tables[0])).unwrap();
        if !many {
            lab.run(30_000);
        }
        lab.cut = Box::new(|_, _, _| false);
        for _ in 0..20 {
            lab.run(2_000);
            for (i, table) in tables.iter().enumerate().take(2) {
                let now = lab.now;
                let shown = lab.node(i).view(now).len(*table).unwrap();
                assert_eq!(
                    shown, 0,
                    "n{i} shows what was replaced: {author} {late} {many}"
                );
            }
        }
        let now = lab.now;
        assert_eq!(lab.node(2).view(now).len(tables[2]).unwrap(), 0);
        assert_eq!(lab.tombstones(), [0, 0, 0], "it has come, and all is freed");
        for (i, table) in tables.into_iter().enumerate() {
            lab.stop(i);
            lab.start(i);
            let now = lab.now;
            assert_eq!(
                lab.node(i).view(now).len(table).unwrap(),
                0,
                "n{i} restarts"
            );
        }
    }
}

#[test]
fn what_a_flushed_sibling_had_replaced_is_known_after_a_restart() {
    let (mut lab, tables, context) = written_apart("k");
    let now = lab.now;
    let replace = Write::Replace {
        key: b"k",
        value: Bytes::from_static(b"ours"),
        context: &context,
    };
    lab.node(0).write(now, tables[0], replace).unwrap();
    lab.run(3_000);
    let now = lab.now;
    lab.node(0).flush(now, Some(tables[0])).unwrap();
    lab.run(3_000);
    lab.stop(0);
    lab.start(0);
    lab.stop(1);
    lab.start(1);
    lab.cut = Box::new(|_, _, _| false);
    lab.run(30_000);
    for i in 0..3 {
        let table = lab.node(i).table("s").unwrap();
        let now = lab.now;
        assert_eq!(lab.node(i).view(now).len(table).unwrap(), 0, "n{i}");
    }
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
pub(super) fn a_row_of_a_memory_table_that_comes_after_its_drop_marker_was_freed_stays_away() {
    for flushed in [true, false] {
        let mut lab = Lab::new(3, Storage::Ordered, true);
        lab.run(8_000);
        set(&mut lab, "gossip.fanout", "1");
        set(&mut lab, "gossip.direct_push_members", "1");
        let options = TableOptions {
            durability: Durability::Memory,
            ..TableOptions::default()
        };
        let now = lab.now;
        lab.node(0).create_table(now, "m", options).unwrap();
        lab.run(5_000);
        let tables = [0, 1, 2].map(|i| lab.node(i).table("m").unwrap());
        let with_row = |msg: &Message| {
            let mut rows = msg.rows().into_iter().flat_map(|batch| &batch.rows);
            rows.any(|row| row.key == "k")
                || matches!(msg, Message::Gossip(GossipMessage::IHave(_)))
        };
        let sent = watch(&mut lab, move |_, _, msg| with_row(msg));
        let put = Write::Put {
            key: b"k",
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        let now = lab.now;
        lab.node(2).write(now, tables[2], put).unwrap();
        lab.quiesce();
        let (relay, msg) = first_forward(&sent);
        let other = 1 - relay;
        // The member that is to pass the row on hears of the delete, and not of the row.
        watch(&mut lab, move |_, to, msg| {
            let to_relay = to == relay && matches!(msg, Message::Gossip(GossipMessage::Page(_)));
            to_relay || flushed && with_row(msg)
        });
        let now = lab.now;
        match flushed {
            true => lab.node(2).flush(now, Some(tables[2])).unwrap().0,
            false => lab
                .node(2)
                .write(now, tables[2], Write::Delete { key: b"k" })
                .unwrap(),
        };
        lab.run(20_000);
        assert_eq!(lab.tombstones()[other], 0, "freed on the other member");
        assert_eq!(
            lab.tombstones()[relay],
            1,
            "and not on that which lacks the row"
        );
        lab.stop(other);
        lab.start(other);
        watch(&mut lab, move |_, _, msg| {
            matches!(msg, Message::Gossip(GossipMessage::Page(_)))
        });
        lab.run(3_000);
        lab.relay(relay, 2, &msg);
        let table = lab.node(other).table("m").unwrap();
        let now = lab.now;
        assert_eq!(
            lab.node(other).view(now).len(table).unwrap(),
            0,
            "the member that restarted"
        );
        lab.cut = Box::new(|_, _, _| false);
        lab.run(20_000);
        for i in 0..3 {
            let table = lab.node(i).table("m").unwrap();
            let now = lab.now;
            assert_eq!(lab.node(i).view(now).len(table).unwrap(), 0, "n{i}");
        }
        assert_eq!(lab.tombstones(), [0, 0, 0]);
    }
}
