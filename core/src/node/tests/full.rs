//! A store that is short of space: deletes go on, nothing else is taken in, and all comes once there is space.

use super::*;

impl Lab {
    /// Says that the store of a node is short of space, or is so no longer.
    fn short(&mut self, i: usize, why: Option<&str>) {
        let (now, why) = (self.now, why.map(str::to_string));
        self.node(i).handle(now, Input::StoreShort { why });
        self.run(10);
    }

    /// Returns how often a node has told that its store is out of space, and that it has space again.
    fn told_of_space(&self, i: usize) -> (usize, usize) {
        let count = |is: fn(&Event) -> bool| {
            let of_node = self.events.iter().filter(|(node, _)| *node == i);
            of_node.filter(|(_, event)| is(event)).count()
        };
        (
            count(|event| matches!(event, Event::StoreStalled(_))),
            count(|event| matches!(event, Event::StoreRecovered)),
        )
    }
}

fn put(key: &'static [u8]) -> Write<'static> {
    Write::Put {
        key,
        value: Bytes::from_static(b"v"),
        expires: None,
    }
}

#[test]
pub(super) fn a_node_that_is_short_of_space_takes_deletes_alone() {
    let mut lab = Lab::new(1, Storage::Ordered, true);
    lab.run(1_000);
    lab.put(0, "a", "1");
    lab.put(0, "b", "1");
    lab.short(0, Some("little is left"));
    let now = lab.now;
    let node = lab.node(0);
    assert!(node.status(now).stalled);
    let refused = node.write(now, TableId::DEFAULT, put(b"c"));
    let needs_space = "a write that needs space";
    assert_eq!(refused, Err(WriteError::StoreStalled), "{needs_space}");
    let created = node.create_table(now, "fruits", TableOptions::default());
    assert!(created.is_err(), "{needs_space}");
    let delete = Write::Delete { key: b"a" };
    let seq = node.write(now, TableId::DEFAULT, delete).unwrap().seq;
    lab.run(2_000);
    assert!(lab.node(0).durable() >= seq, "the delete is stored");
    let now = lab.now;
    let (_, left) = lab.node(0).flush(now, None).unwrap();
    assert_eq!(left, None);
    assert_eq!((lab.get(0, "a"), lab.get(0, "b")), (None, None));
    assert!(
        lab.node(0).status(now).stalled,
        "a batch that is stored ends nothing"
    );
    // Once even that is used up, nothing goes on until all that waits is stored.
    let why = "nothing is left".to_string();
    lab.node(0).handle(now, Input::StoreStalled { why });
    let refused = lab
        .node(0)
        .write(now, TableId::DEFAULT, Write::Delete { key: b"a" });
    assert_eq!(refused, Err(WriteError::StoreStalled));
    let upto = lab.node(0).durable();
    lab.node(0).handle(now, Input::Stored { upto });
    lab.short(0, None);
    lab.put(0, "c", "1");
    assert_eq!(lab.told_of_space(0), (1, 1));
}

#[test]
pub(super) fn rows_of_others_come_once_there_is_space() {
    let mut lab = Lab::new(2, Storage::Ordered, true);
    lab.run(3_000);
    lab.put(0, "before", "1");
    lab.run(1_000);
    lab.short(1, Some("little is left"));
    lab.put(0, "meanwhile", "1");
    lab.run(10_000);
    assert_eq!(lab.get(1, "meanwhile"), None, "a row that needs space");
    assert!(lab.get(1, "before").is_some());
    lab.short(1, None);
    lab.run(10_000);
    assert!(lab.get(1, "meanwhile").is_some(), "a session brings it");
}
