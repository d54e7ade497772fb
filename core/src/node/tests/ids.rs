//! Ids that were given out, and rows that were written, before the definition of their table came.

use std::vec::Vec;

use super::*;

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
    fn put_by(&mut self, i: usize, id: TableId, key: &str, value: &str) {
        let now = self.now;
        let write = Write::Put {
            key: key.as_bytes(),
            value: Bytes::copy_from_slice(value.as_bytes()),
            expires: None,
        };
        self.node(i).write(now, id, write).unwrap();
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
        let scanned = view.scan(id, ScanRange::default());
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
        lab.run(3_000);
        lab.both_show("l", Some("second"));
        let view = lab.nodes[1].as_ref().unwrap().view(lab.now);
        let info = view.table_info(id).unwrap();
        assert_eq!((info.options, info.explicit), (options, true));
        let listed: Vec<_> = view.user_tables(None).collect();
        assert_eq!(listed.len(), 1, "one table of the name is listed");
        assert_eq!((listed[0].id, listed[0].rows), (id, 2));
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
            }
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
