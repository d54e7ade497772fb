//! Rows that a disk lost without a word.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::table::RowClass;
use crate::table::gossip;
use crate::wire::{GossipMessage, Message};

fn record_of(key: &str) -> Bytes {
    gossip::record::row_key(RowClass::UsrDurable, "default", key.as_bytes())
}

impl Lab {
    /// A restart after which the store lacks the rows of these keys.
    fn restart_without(&mut self, i: usize, keys: &[&str]) {
        self.stop(i);
        for key in keys {
            self.disks[i].remove(&record_of(key)).unwrap();
        }
        self.start(i);
    }
}

#[test]
fn a_row_that_a_disk_lost_comes_back() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    for key in ["a", "b", "c"] {
        lab.put(2, key, key);
    }
    lab.run(3_000);
    lab.restart_without(2, &["b"]);
    assert_eq!(lab.get(2, "b"), None);
    lab.run(8_000);
    for key in ["a", "b", "c"] {
        assert_eq!(lab.everywhere(key), std::vec![value(key); 3]);
    }
    assert!(lab.marked(2, "row-repaired"));
    let told = |(node, event): &(usize, Event)| {
        *node == 2 && matches!(event, Event::Repaired { rows: 1, .. })
    };
    assert!(lab.events.iter().any(told));
}

#[test]
fn however_many_rows_are_lost_they_come_back() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    let keys: Vec<std::string::String> = (0..9_000).map(|i| std::format!("k{i}")).collect();
    for (i, key) in keys.iter().enumerate() {
        lab.put(i % 2, key, "v");
    }
    lab.run(3_000);
    let lost: Vec<&str> = keys.iter().map(AsRef::as_ref).skip(10).collect();
    lab.restart_without(1, &lost);
    lab.run(60_000);
    let lacking = keys.iter().filter(|key| lab.get(1, key).is_none());
    assert_eq!(lacking.count(), 0);
}

#[test]
fn an_old_row_that_a_lost_write_left_gives_way_to_the_delete() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(3_000);
    let old = lab.disks[2][&record_of("k")].clone();
    // No member may free the delete while one that has not got it is down.
    lab.stop(1);
    lab.delete(0, "k");
    lab.run(3_000);
    lab.stop(2);
    lab.disks[2].insert(record_of("k"), old);
    lab.start(2);
    assert_eq!(lab.get(2, "k"), value("v"));
    lab.run(8_000);
    assert_eq!(lab.get(2, "k"), None);
    lab.start(1);
    lab.run(8_000);
    assert_eq!(lab.everywhere("k"), [None, None, None]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}

#[test]
fn what_is_deleted_during_a_repair_stays_deleted() {
    let mut lab = Lab::new(3, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "k", "v");
    lab.run(3_000);
    lab.configs[2].timing.session_timeout = Duration::from_secs(20);
    lab.restart_without(2, &["k"]);
    let late = Rc::new(RefCell::new(Vec::new()));
    let held = Rc::clone(&late);
    lab.cut = Box::new(move |from, to, msg| {
        let holds = to == 2
            && matches!(msg, Message::Gossip(GossipMessage::Page(page)) if !page.rows.rows.is_empty());
        if holds {
            held.borrow_mut().push((from, msg.clone()));
        }
        holds
    });
    while late.borrow().is_empty() {
        lab.run(100);
    }
    lab.delete(0, "k");
    lab.run(8_000);
    let (from, msg) = late.borrow_mut().remove(0);
    let mut ends = lab
        .wires
        .iter()
        .filter(|((node, _), to)| *node == 2 && to.0 == from);
    let ((_, link), _) = ends.next().unwrap();
    let (now, link) = (lab.now, *link);
    lab.node(2).handle(now, Input::Message { link, msg });
    lab.run(8_000);
    assert_eq!(lab.everywhere("k"), [None, None, None]);
    assert_eq!(lab.tombstones(), [0, 0, 0]);
}
