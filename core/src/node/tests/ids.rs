//! Ids that were given out, and rows that were written, before the definition of their table came.

use std::cell::RefCell;
use std::rc::Rc;
use std::vec::Vec;

use super::*;
use crate::table::RowClass;
use crate::table::gossip;

const NAME: &str = "t";

fn memory() -> TableOptions {
    TableOptions::default().durability(Durability::Memory)
}

/// Two members, of which the second has not heard of the definition that the first has made, and of nothing since.
fn lab(options: TableOptions) -> (Lab, TableId) {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.cut = Box::new(|_, _, _| true);
    let now = lab.now;
    let id = lab.node(1).table(NAME).unwrap();
    lab.node(0).create_table(now, NAME, options).unwrap();
    (lab, id)
}

impl Lab {
    fn put_by(&mut self, i: usize, id: TableId, key: &str, value: &str) -> Version {
        let now = self.now;
        let write = Write::Put {
            key: key.as_bytes(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expires: None,
        };
        self.node(i).write(now, id, write).unwrap().version
    }

    fn delete_by(&mut self, i: usize, id: TableId, key: &str) {
        let (now, key) = (self.now, key.as_bytes());
        self.node(i).write(now, id, Write::Delete { key }).unwrap();
    }

    fn id(&self, i: usize) -> TableId {
        let node = self.nodes[i].as_ref().unwrap();
        node.user_table(NAME).unwrap()
    }

    /// The value of a key by every way to read it, which all agree.
    fn shown_by(&self, i: usize, id: TableId, key: &str) -> Option<Bytes> {
        let view = self.nodes[i].as_ref().unwrap().view(self.now);
        let row = view.get(id, key.as_bytes()).row();
        let value = row.and_then(|row| row.value().cloned());
        let scanned = view.scan(id, ScanRange::default()).unwrap();
        let scanned = scanned.filter(|row| row.key() == key).count();
        assert_eq!(scanned, usize::from(row.is_some()), "scans show the same");
        value
    }

    fn both_show(&self, key: &str, text: Option<&str>) {
        let expected = text.and_then(value);
        for i in 0..2 {
            let shown = self.shown_by(i, self.id(i), key);
            assert_eq!(shown, expected, "n{i}: {key}");
        }
    }

    fn meet(&mut self) {
        self.cut = Box::new(|_, _, _| false);
        self.run(20_000);
    }

    fn restart(&mut self, i: usize) {
        self.stop(i);
        self.run(100);
        self.start(i);
        self.run(20_000);
    }
}

#[test]
pub(super) fn an_id_follows_its_definition() {
    let siblings = TableOptions::default().conflict(Conflict::Siblings);
    let sync = TableOptions::default().durability(Durability::Sync);
    for options in [memory(), siblings, sync] {
        let (mut lab, id) = lab(options);
        let now = lab.now;
        let cursor = lab.node(1).view(now).cursor();
        let other = lab.id(0);
        lab.put_by(0, other, "k", "first");
        lab.meet();
        assert_eq!(lab.shown_by(1, id, "k"), value("first"));
        assert_eq!(lab.id(1), id, "one id");
        lab.put_by(1, id, "l", "second");
        assert_eq!(lab.shown_by(1, id, "l"), value("second"), "at once");
        lab.run(3_000);
        lab.both_show("l", Some("second"));
        let view = lab.nodes[1].as_ref().unwrap().view(lab.now);
        let info = view.table_info(id).unwrap();
        assert_eq!((info.options, info.explicit), (options, true));
        let listed: Vec<_> = view.user_tables(None).collect();
        assert_eq!(listed.len(), 1, "one table of the name is listed");
        assert_eq!((listed[0].id, listed[0].rows), (id, Some(2)));
        let changes = view.changes(id, cursor, 100).unwrap().changes;
        let told = changes.iter().filter(|change| {
            assert_eq!(change.table, id, "by the id that was given out");
            !matches!(change.kind, ChangeKind::Flushed { .. })
        });
        assert_eq!(told.count(), 2, "a watch tells of both");
    }
}

#[test]
pub(super) fn a_row_that_was_written_before_its_definition_came_is_shown_by_all() {
    let (mut lab, id) = lab(memory());
    lab.put_by(1, id, "k", "early");
    lab.put_by(1, id, "kept", "early");
    lab.meet();
    lab.both_show("k", Some("early"));
    lab.restart(1);
    lab.both_show("k", Some("early"));
    let id = lab.id(1);
    lab.put_by(1, id, "k", "late");
    lab.run(3_000);
    lab.both_show("k", Some("late"));
    lab.delete_by(0, id, "k");
    lab.run(20_000);
    lab.both_show("k", None);
    assert_eq!(lab.tombstones(), [0, 0], "freed");
    for i in [0, 1] {
        lab.restart(i);
        lab.both_show("k", None);
        lab.both_show("kept", Some("early"));
    }
}

#[test]
pub(super) fn of_two_rows_in_both_tables_of_a_name_the_newer_one_wins_everywhere() {
    for memory_first in [true, false] {
        let (mut lab, id) = lab(memory());
        let other = lab.id(0);
        for turn in [memory_first, !memory_first] {
            match turn {
                true => lab.put_by(0, other, "k", "memory"),
                false => lab.put_by(1, id, "k", "durable"),
            };
            lab.run(100);
        }
        lab.meet();
        let newer = if memory_first { "durable" } else { "memory" };
        lab.both_show("k", Some(newer));
        lab.delete_by(1, id, "k");
        lab.run(20_000);
        lab.both_show("k", None);
        assert_eq!(lab.tombstones(), [0, 0], "freed");
        lab.restart(1);
        lab.both_show("k", None);
    }
}

fn siblings() -> TableOptions {
    TableOptions::default().conflict(Conflict::Siblings)
}

impl Lab {
    /// The values of a key in a table of siblings, each as often as it is there.
    fn all_values(&self, i: usize, key: &str) -> Vec<Bytes> {
        let node = self.nodes[i].as_ref().unwrap();
        let row = node.view(self.now).get(self.id(i), key.as_bytes()).row();
        let row = row.and_then(|row| row.siblings());
        let values = row.into_iter().flat_map(|siblings| siblings.values);
        let mut values: Vec<Bytes> = values.map(|(value, _)| value).collect();
        values.sort();
        values
    }

    fn all_have(&self, key: &str, expected: &[&str]) {
        for i in (0..self.nodes.len()).filter(|i| self.nodes[*i].is_some()) {
            assert_eq!(self.all_values(i, key), expected, "values on n{i}");
        }
    }

    fn waiting(&self, i: usize) -> u64 {
        let node = self.nodes[i].as_ref().unwrap();
        let strays = node.status(self.now).strays;
        strays.iter().map(|strays| strays.rows).sum()
    }
}

#[test]
pub(super) fn a_row_that_was_written_before_its_table_kept_siblings_becomes_one() {
    let (mut lab, id) = lab(siblings());
    let other = lab.id(0);
    for (number, key) in ["k", "l", "m"].into_iter().enumerate() {
        lab.put_by(1, id, key, "early");
        if number == 0 {
            lab.put_by(0, other, key, "sibling");
        }
    }
    let cursor = lab.nodes[1].as_ref().unwrap().view(lab.now).cursor();
    lab.meet();
    for again in [false, true] {
        lab.all_have("k", &["early", "sibling"]);
        lab.all_have("l", &["early"]);
        assert_eq!((lab.waiting(0), lab.waiting(1)), (0, 0), "none waits");
        assert_eq!(lab.tombstones(), [0, 0], "freed");
        if !again {
            let view = lab.nodes[1].as_ref().unwrap().view(lab.now);
            let changes = view.changes(id, cursor, 100).unwrap().changes;
            let flushed = |change: &&Change| matches!(change.kind, ChangeKind::Flushed { .. });
            assert_eq!(
                changes.iter().filter(flushed).count(),
                1,
                "watches begin anew"
            );
            lab.restart(1);
        }
    }
}

#[test]
fn a_row_that_becomes_a_sibling_keeps_the_clock_by_which_a_flush_judges_it() {
    let (mut lab, id) = lab(siblings());
    let early = lab.put_by(1, id, "k", "early");
    lab.run(100);
    let other = lab.id(0);
    lab.meet();
    let row = lab.nodes[0]
        .as_ref()
        .unwrap()
        .view(lab.now)
        .get(other, b"k")
        .row();
    let shown = row.and_then(|row| row.siblings()).unwrap().values;
    let clocks: Vec<_> = shown.iter().map(|(_, version)| version.clock).collect();
    assert_eq!(clocks, [early.clock]);
}

#[test]
pub(super) fn a_row_that_is_moved_again_after_a_crash_is_the_same_sibling() {
    for is_removed in [false, true] {
        let (mut lab, id) = lab(siblings());
        lab.put_by(1, id, "k", "early");
        lab.run(3_000);
        lab.cut = Box::new(|_, _, _| false);
        let moved = gossip::record::row_key(RowClass::UsrDurableSiblings, NAME, b"k");
        while !lab.disks[1].contains_key(&moved) {
            lab.run(10);
        }
        lab.run(10);
        // It crashes before the old version is deleted.
        lab.stop(1);
        lab.all_have("k", &["early"]);
        let other = lab.id(0);
        if is_removed {
            let row = lab.nodes[0].as_ref().unwrap().view(lab.now);
            let row = row.get(other, b"k").row().unwrap();
            let context = row.siblings().unwrap().context;
            let now = lab.now;
            let remove = Write::Remove {
                key: b"k",
                context: &context,
            };
            lab.node(0).write(now, other, remove).unwrap();
        }
        lab.start(1);
        assert_eq!(lab.waiting(1), 1, "it is there again");
        lab.run(20_000);
        let left: &[&str] = if is_removed { &[] } else { &["early"] };
        lab.all_have("k", left);
        assert_eq!((lab.waiting(0), lab.waiting(1)), (0, 0), "none waits");
        assert_eq!(lab.tombstones(), [0, 0], "freed");
    }
}

#[test]
fn a_row_becomes_a_sibling_though_its_key_has_as_many_as_clients_may_write() {
    let (mut lab, id) = lab(siblings());
    lab.put_by(1, id, "k", "early");
    let other = lab.id(0);
    let limit = lab.node(0).config().limits.siblings;
    for number in 0..limit {
        lab.put_by(0, other, "k", &std::format!("{number}"));
    }
    lab.meet();
    for i in 0..2 {
        let values = lab.all_values(i, "k");
        assert_eq!((values.len(), lab.waiting(i)), (limit + 1, 0), "n{i}");
    }
}

#[test]
pub(super) fn siblings_in_memory_move_to_the_stored_table_that_the_name_means_in_the_end() {
    let in_memory = siblings().durability(Durability::Memory);
    for (first, second) in [(siblings(), in_memory), (in_memory, siblings())] {
        let (mut lab, id) = lab(first);
        let other = lab.id(0);
        for value in ["a", "b"] {
            lab.put_by(0, other, "k", value);
        }
        lab.run(1_000);
        let now = lab.now;
        lab.node(1).create_table(now, NAME, second).unwrap();
        for value in ["c", "d"] {
            lab.put_by(1, id, "k", value);
        }
        lab.meet();
        lab.all_have("k", &["a", "b", "c", "d"]);
        let view = lab.nodes[1].as_ref().unwrap().view(lab.now);
        let info = view.table_info(id).unwrap();
        assert_eq!(info.options, siblings(), "the one that is stored");
        assert_eq!((lab.waiting(0), lab.waiting(1)), (0, 0), "none waits");
        assert_eq!(lab.tombstones(), [0, 0], "freed");
        lab.restart(1);
        lab.all_have("k", &["a", "b", "c", "d"]);
    }
}

/// A table is flushed, or its row deleted, and then its name means another one.
#[test]
pub(super) fn a_watcher_of_a_name_hears_that_rows_have_gone_before_it_meant_another_table() {
    for is_flushed in [false, true] {
        let (mut lab, id) = lab(siblings());
        lab.put_by(1, id, "k", "early");
        let cursor = lab.nodes[1].as_ref().unwrap().view(lab.now).cursor();
        let now = lab.now;
        match is_flushed {
            true => drop(lab.node(1).flush(now, Some(id)).unwrap()),
            false => lab.delete_by(1, id, "k"),
        }
        lab.meet();
        let view = lab.nodes[1].as_ref().unwrap().view(lab.now);
        assert_eq!(view.scan(id, ScanRange::default()).unwrap().count(), 0);
        let changes = view.changes(id, cursor, 100).unwrap().changes;
        let kinds = changes.iter().map(|change| &change.kind);
        let flushes = kinds.filter(|kind| matches!(kind, ChangeKind::Flushed { .. }));
        assert_eq!(flushes.count(), 1, "watches begin anew");
    }
}

#[test]
fn siblings_whose_definition_was_lost_show_when_it_is_made_again() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.cut = Box::new(|_, _, _| true);
    let now = lab.now;
    let (id, _) = lab.node(0).create_table(now, NAME, siblings()).unwrap();
    lab.put_by(0, id, "k", "v");
    lab.run(100);
    lab.stop(0);
    let definition = gossip::record::row_key(RowClass::Sys, "tables", NAME.as_bytes());
    assert!(lab.disks[0].remove(&definition).is_some());
    lab.start(0);
    lab.meet();
    for i in 0..2 {
        let strays = lab.nodes[i].as_ref().unwrap().status(lab.now).strays;
        assert_eq!((strays[0].rows, strays[0].defined), (1, false), "n{i}");
        assert!(strays[0].to_string().contains("created again"));
    }
    let now = lab.now;
    lab.node(1).create_table(now, NAME, siblings()).unwrap();
    lab.run(10_000);
    lab.all_have("k", &["v"]);
    assert_eq!((lab.waiting(0), lab.waiting(1)), (0, 0), "none waits");
}

#[test]
fn a_row_on_disk_becomes_a_sibling_after_a_restart() {
    let (mut lab, id) = lab(siblings());
    lab.stop(1);
    lab.configs[1].resident_value = Some(2);
    lab.start(1);
    lab.run(3_000);
    let again = lab.node(1).table(NAME).unwrap();
    assert_eq!(again, id);
    lab.put_by(1, id, "k", "only on disk");
    lab.run(3_000);
    lab.restart(1);
    lab.meet();
    lab.all_have("k", &["only on disk"]);
    assert_eq!((lab.waiting(0), lab.waiting(1)), (0, 0), "none waits");
}

#[test]
fn a_row_whose_value_comes_after_the_leave_has_begun_is_not_moved() {
    for leaves in [false, true] {
        let (mut lab, _) = lab(siblings());
        lab.stop(1);
        lab.configs[1].resident_value = Some(2);
        lab.start(1);
        lab.run(3_000);
        let id = lab.node(1).table(NAME).unwrap();
        lab.put_by(1, id, "k", "only on disk");
        lab.run(3_000);
        lab.restart(1);
        lab.holds_loads = true;
        lab.meet();
        let (_, load, query) = lab.loads.remove(0);
        let (now, token) = (lab.now, Token(7));
        let deadline = None;
        let input = Input::Request {
            token,
            deadline,
            request: Request::Leave,
        };
        if leaves {
            lab.node(1).handle(now, input);
        }
        let result = Ok(lab.disks[1].get(&query).cloned());
        lab.node(1).handle(now, Input::Loaded { load, result });
        let moved = if leaves { 0 } else { 1 };
        assert_eq!(lab.all_values(1, "k").len(), moved, "{leaves}");
    }
}

#[test]
fn rows_of_a_writer_that_is_gone_wait_until_it_is_evicted() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.cut = Box::new(|from, to, _| from == 0 || to == 0);
    let id = lab.node(1).table(NAME).unwrap();
    lab.put_by(1, id, "k", "early");
    lab.run(1_000);
    lab.stop(1);
    let now = lab.now;
    lab.node(0).create_table(now, NAME, siblings()).unwrap();
    lab.meet();
    assert_eq!(
        (lab.waiting(0), lab.waiting(2)),
        (1, 1),
        "its writer may be back"
    );
    lab.all_have("k", &[]);
    let now = lab.now;
    lab.node(0).handle(
        now,
        Input::Request {
            token: Token(1),
            deadline: None,
            request: Request::Evict {
                member: "n1".to_string(),
                force: false,
            },
        },
    );
    lab.run(30_000);
    lab.all_have("k", &["early"]);
    assert_eq!((lab.waiting(0), lab.waiting(2)), (0, 0), "none waits");
}

#[test]
pub(super) fn of_two_definitions_at_once_the_one_that_keeps_siblings_counts() {
    let (mut lab, id) = lab(siblings());
    let other = lab.id(0);
    lab.put_by(0, other, "k", "sibling");
    lab.run(1_000);
    let now = lab.now;
    lab.node(1).create_table(now, NAME, memory()).unwrap();
    lab.put_by(1, id, "k", "memory");
    lab.meet();
    for i in 0..2 {
        let view = lab.nodes[i].as_ref().unwrap().view(lab.now);
        let info = view.table_info(lab.id(i)).unwrap();
        assert_eq!(info.options, siblings(), "n{i} keeps siblings");
    }
    lab.all_have("k", &["memory", "sibling"]);
}

#[test]
pub(super) fn what_is_not_stored_is_claimed_after_the_stored_versions_that_it_has_replaced() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.stop(1);
    lab.configs[1].timing.sync_interval = Duration::from_secs(3_600);
    lab.start(1);
    lab.run(20_000);
    // Rows of the second member are late on their way to the first, which hears its claims.
    let late = Rc::new(RefCell::new(Vec::new()));
    let kept = Rc::clone(&late);
    lab.cut = Box::new(move |from, _, msg| match msg {
        wire::Message::Gossip(wire::GossipMessage::Push(_)) if from == 1 => {
            kept.borrow_mut().push(msg.clone());
            true
        }
        wire::Message::Gossip(wire::GossipMessage::Page(_)) => from == 1,
        _ => false,
    });
    let id = lab.node(1).table(NAME).unwrap();
    lab.put_by(1, id, "k", "stored");
    lab.run(100);
    let now = lab.now;
    lab.node(0).create_table(now, NAME, memory()).unwrap();
    lab.run(3_000);
    lab.put_by(1, id, "k", "not stored");
    lab.run(1_000);
    let other = lab.id(0);
    lab.put_by(0, other, "k", "newer");
    lab.delete_by(0, other, "k");
    lab.run(20_000);
    let links = lab.wires.iter().find(|((node, _), _)| *node == 0);
    let link = links.map(|((_, link), _)| *link).unwrap();
    for msg in late.borrow_mut().drain(..) {
        let now = lab.now;
        lab.node(0).handle(now, Input::Message { link, msg });
    }
    assert_eq!(lab.shown_by(0, other, "k"), None, "the delete stands");
    lab.meet();
    lab.both_show("k", None);
}
