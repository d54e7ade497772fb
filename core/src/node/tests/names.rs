//! Names of tables that come and go.

use super::*;

impl Lab {
    /// Writes a row of a table that is known by its name for the moment.
    fn put_in(&mut self, i: usize, name: &str, key: &str) -> TableId {
        let now = self.now;
        let table = self.node(i).table_to_write(name).unwrap();
        let write = Write::Put {
            key: key.as_bytes(),
            value: Bytes::from_static(b"v"),
            expires: None,
        };
        self.node(i).write(now, table, write).unwrap();
        table
    }

    /// Names of users' tables, drop markers, records on the disk and rows of a node.
    fn left_of_names(&self, i: usize) -> (usize, usize, usize, usize) {
        let node = self.nodes[i].as_ref().unwrap();
        let (gossip, catalog) = (node.modes.gossip.replica(), &node.shared.catalog);
        let keys = self.disks[i].keys();
        let stored = keys.filter(|key| key.windows(5).any(|part| part == b"hash:"));
        let rows = gossip.rows().iter();
        let rows = rows.filter(|(_, row)| catalog.listed(row.table).is_some());
        let (names, drop_markers) = gossip.names_and_drop_markers(catalog);
        (names, drop_markers, stored.count(), rows.count())
    }
}

#[test]
fn hashes_that_come_and_go_leave_nothing() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    for i in 0..2 {
        lab.configs[i].limits.change_log = 64;
        lab.stop(i);
        lab.start(i);
    }
    lab.run(8_000);
    for round in 0..3 {
        for n in 0..500 {
            lab.put_in(0, &std::format!("hash:{round}.{n}"), "f");
        }
        lab.run(100);
        assert_eq!(lab.left_of_names(1).0, 501);
        for n in 0..500 {
            let name = std::format!("hash:{round}.{n}");
            let (now, table) = (lab.now, lab.node(0).user_table(&name).unwrap());
            match n % 2 {
                0 => lab.node(0).flush(now, Some(table)).unwrap().0,
                _ => lab
                    .node(0)
                    .write(now, table, Write::Delete { key: b"f" })
                    .unwrap(),
            };
        }
        lab.run(20_000);
        // No watcher can learn of them any more.
        for n in 0..80 {
            lab.put(0, &std::format!("k{n}"), "v");
        }
        lab.run(20_000);
        for i in 0..2 {
            assert_eq!(
                lab.left_of_names(i),
                (1, 0, 0, 80),
                "n{i}: the default table is left"
            );
            lab.node(i).inspect().check();
        }
    }
    // Tables of every kind take ids that others had.
    for (name, options) in [
        ("m", TableOptions::default().durability(Durability::Memory)),
        (
            "s",
            TableOptions {
                conflict: Conflict::Siblings,
                ..TableOptions::default()
            },
        ),
    ] {
        let now = lab.now;
        lab.node(0).create_table(now, name, options).unwrap();
        lab.put_in(0, name, "f");
        lab.run(100);
        for i in 0..2 {
            let now = lab.now;
            let table = lab.node(i).user_table(name).unwrap();
            assert_eq!(
                lab.node(i).view(now).len(table).unwrap(),
                1,
                "{name} on n{i}"
            );
            lab.node(i).inspect().check();
        }
    }
    lab.put_in(1, "hash:0.1", "f");
    lab.run(100);
    assert_eq!(
        lab.left_of_names(0).0,
        4,
        "a name that comes back is known again"
    );
}

#[test]
pub(super) fn a_name_is_kept_while_anything_can_ask_for_it() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    lab.configs[0].limits.change_log = 64;
    lab.stop(0);
    lab.start(0);
    let shown = lab.put_in(0, "hash:shown", "f");
    let asked = lab.node(0).table("asked").unwrap();
    let now = lab.now;
    let options = TableOptions::default().durability(Durability::Sync);
    lab.node(0).create_table(now, "defined", options).unwrap();
    let gone = lab.put_in(0, "hash:gone", "f");
    let told = lab.node(0).view(now).cursor();
    lab.node(0).flush(now, Some(gone)).unwrap();
    lab.run(20_000);
    assert_eq!(
        lab.node(0).user_table("hash:gone"),
        Some(gone),
        "its end is in the log"
    );
    let now = lab.now;
    assert!(lab.node(0).view(now).all_changes(told, 64).is_ok());
    for n in 0..80 {
        lab.put(0, &std::format!("k{n}"), "v");
    }
    lab.run(2_000);
    let now = lab.now;
    assert!(
        lab.node(0).view(now).all_changes(told, 64).is_err(),
        "who has not read of it is told"
    );
    assert_eq!(lab.node(0).user_table("hash:gone"), None);
    let write = Write::Delete { key: b"f" };
    let refused = lab.node(0).write(now, gone, write);
    assert_eq!(refused, Err(WriteError::TableForgotten));
    assert_eq!(
        lab.node(0).flush(now, Some(gone)),
        Err(WriteError::TableForgotten)
    );
    assert_eq!(lab.node(0).user_table("hash:shown"), Some(shown));
    assert_eq!(lab.node(0).user_table("asked"), Some(asked));
    assert!(lab.node(0).user_table("defined").is_some());
    let again = lab.put_in(0, "hash:gone", "f");
    assert_ne!(again, gone, "an id is not given out again soon");
}

#[test]
fn a_table_that_is_flushed_with_all_others_has_changed_at_once() {
    let mut lab = Lab::new(1, Storage::Ordered, false);
    let table = lab.put_in(0, "hash:h", "f");
    lab.run(1_000);
    let now = lab.now;
    let before = lab.node(0).view(now).revision(table);
    lab.node(0).flush(now, None).unwrap();
    assert_ne!(lab.node(0).view(now).revision(table), before);
}
