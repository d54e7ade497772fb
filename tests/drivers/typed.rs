//! Typed tables: one script comes to the same over every driver.

use bytes::Bytes;
use rumormill_core::{
    Config, Recovery, Seed, Storage, Wall,
    table::{Conflict, TableOptions},
};
use rumormill_kit::answer::block_on;
use rumormill_kit::handle::{self, Handle};
use rumormill_kit::store::{MemoryStore, StoreWorker};
use rumormill_kit::typed::{BlockingTable, Change, Error, Key, Rows, Table};
use serde::{Deserialize, Serialize};

use crate::parity::real::{Mio, Runner, Smol, Tokio};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Dot,
    Line {
        length: f32,
    },
    /// Has no encoding.
    #[serde(skip)]
    Secret,
}

/// By sheet and height, which may be below the ground.
type Shapes = BlockingTable<(String, i16), Shape>;

fn at(sheet: &str, height: i16) -> (String, i16) {
    (sheet.to_owned(), height)
}

/// A node on a driver, and a member of the other's cluster if that is given.
fn start(runner: &impl Runner, name: &str, seeds: &[String]) -> (Handle, String) {
    let mut started = None;
    let cluster = crate::cluster_name();
    runner.run(|handle, addr, now| {
        let mut config = Config::new(name, &addr);
        config.cluster_name = cluster;
        config.seeds = seeds.to_vec();
        config.storage = Storage::Ordered;
        let store = StoreWorker::spawn(MemoryStore::new(), 10_000, handle.notifier());
        let random = Seed::from_u64(seeds.len() as u64);
        let node = Recovery::new(config, random).finish(now);
        started = Some((handle, addr));
        (node.unwrap(), store.unwrap())
    });
    started.expect("the runner makes a node")
}

fn open<K, V>(handle: &Handle, name: &str) -> BlockingTable<K, V> {
    block_on(Table::open(handle, name)).unwrap().blocking()
}

/// The rows of a page, as lines.
fn lines<K: Key + std::fmt::Debug>(page: Rows<K, Shape>) -> Vec<String> {
    assert_eq!(page.next, None);
    let rows = page.rows.into_iter().map(|row| match row {
        Ok((key, row)) => format!("{key:?} is {:?}", row.value),
        Err(error) => error.to_string(),
    });
    rows.collect()
}

/// Runs two members, and returns the outcome: one writes, the other hears of it, reads and answers.
fn outcome(runner: &impl Runner) -> Vec<String> {
    let (first, addr) = start(runner, "first", &[]);
    let (second, _) = start(runner, "second", std::slice::from_ref(&addr));
    block_on(second.join(addr, std::time::Duration::from_secs(20))).unwrap();
    let (here, there): (Shapes, Shapes) = (open(&first, "shapes"), open(&second, "shapes"));
    let mut changes = there.watch().unwrap();
    let mut told = Vec::new();
    let mut hear = || {
        let change = changes.next().expect("the loop runs");
        told.push(match change {
            Ok(change) => format!("{change:?}"),
            Err(error) => error.to_string(),
        });
    };
    let line = |length| Shape::Line { length };
    for (key, shape) in [
        (at("b", -3), Shape::Dot),
        (at("b", 10), line(0.5)),
        (at("a", 400), Shape::Dot),
        (at("bb", -30), line(2.0)),
        (at("b", 2), line(1.0)),
    ] {
        here.put(&key, &shape).unwrap();
        hear();
    }
    assert!(there.delete(&at("b", 10)).unwrap().existed);
    hear();
    let expires = Wall::from_millis(u64::MAX >> 8);
    here.put_until(&at("c", 0), &Shape::Dot, expires).unwrap();
    hear();
    let row = there.get(&at("c", 0)).unwrap().unwrap();
    assert_eq!((row.value, row.expires), (Shape::Dot, Some(expires)));

    // Rows that others have written: neither is lost, and neither hides the rest.
    let (raw, table) = (first.blocking(), block_on(first.table("shapes")).unwrap());
    raw.put(table, "no end", "text").unwrap();
    hear();
    let key = Bytes::from_static(b"b\0\0\x80\x01");
    raw.put(table, key.clone(), "text").unwrap();
    hear();
    here.put(&at("d", 0), &Shape::Dot).unwrap();
    hear();
    let Err(Error::Decode(error)) = there.get(&at("b", 1)) else {
        panic!("text is no shape");
    };
    assert_eq!(error.key, key);

    told.extend(scanned(&there));
    let refused = here.put(&at("d", 0), &Shape::Secret).unwrap_err();
    assert!(matches!(refused, Error::Encode { .. }), "{refused}");
    assert_eq!(
        here.get(&at("d", 0)).unwrap().map(|row| row.value),
        Some(Shape::Dot)
    );
    siblings(&first);
    for handle in [second, first] {
        block_on(handle.shutdown()).unwrap();
    }
    assert!(changes.next().is_none());
    let closed = there.put(&at("d", 0), &Shape::Dot);
    assert_eq!(closed, Err(Error::Handle(handle::Error::Closed)));
    told
}

/// The table, one first part of its keys, and a range of them.
fn scanned(shapes: &Shapes) -> Vec<String> {
    let mut shown = lines(shapes.scan(.., None).unwrap());
    shown.push("of b:".to_owned());
    shown.extend(lines(shapes.scan_first("b", None).unwrap()));
    shown.push("a range:".to_owned());
    let range = at("a", 400)..=at("b", -3);
    shown.extend(lines(shapes.scan(range, None).unwrap()));
    let excluded = shapes.scan(at("bb", -30)..at("d", 0), None).unwrap();
    assert_eq!(lines(excluded).len(), 2);
    shown
}

fn siblings(handle: &Handle) {
    let options = TableOptions::default().conflict(Conflict::Siblings);
    let table = block_on(Table::<String, Shape>::create(handle, "drafts", options)).unwrap();
    let drafts = table.blocking();
    let mut changes = drafts.watch().unwrap();
    assert_eq!(drafts.siblings("k"), Ok(None));
    drafts.put("k", &Shape::Dot).unwrap();
    drafts.put("k", &Shape::Line { length: 1.0 }).unwrap();
    let several = Error::Handle(handle::Error::Siblings);
    assert_eq!(drafts.get("k"), Err(several));
    let seen = drafts.siblings("k").unwrap().unwrap();
    let values: Vec<&Shape> = seen.values.iter().map(|(value, _)| value).collect();
    assert_eq!(values, [&Shape::Dot, &Shape::Line { length: 1.0 }]);
    drafts
        .replace("k", Some(&Shape::Dot), seen.context)
        .unwrap();
    assert_eq!(
        drafts.get("k").unwrap().map(|row| row.value),
        Some(Shape::Dot)
    );
    // Each was told as it was when the watch looked.
    let mut told = changes.by_ref().map(Result::unwrap).filter_map(|change| {
        let Change::Siblings { key, siblings } = change else {
            panic!("{change:?}");
        };
        assert_eq!(key, "k");
        (siblings.values.len() == 1).then_some(siblings)
    });
    let only = told.next().expect("the loop runs");
    assert_eq!(only.values[0].0, Shape::Dot);
    assert!(drafts.replace("k", None, only.context).is_ok());
}

const BAD_KEY: &str =
    r#"the key of row b"no end" is of another type: it is no encoding of a key of this table"#;

const BAD_VALUE: &str = r#"the value of row b"b\0\0\x80\x01" is of another type: invalid value: integer `116`, expected variant index 0 <= i < 2"#;

const OUTCOME: &[&str] = &[
    r#"Put { key: ("b", -3), value: Some(Dot), expires: None }"#,
    r#"Put { key: ("b", 10), value: Some(Line { length: 0.5 }), expires: None }"#,
    r#"Put { key: ("a", 400), value: Some(Dot), expires: None }"#,
    r#"Put { key: ("bb", -30), value: Some(Line { length: 2.0 }), expires: None }"#,
    r#"Put { key: ("b", 2), value: Some(Line { length: 1.0 }), expires: None }"#,
    r#"Deleted { key: ("b", 10) }"#,
    r#"Put { key: ("c", 0), value: Some(Dot), expires: Some(Wall(72057594037927935)) }"#,
    BAD_KEY,
    BAD_VALUE,
    r#"Put { key: ("d", 0), value: Some(Dot), expires: None }"#,
    r#"("a", 400) is Dot"#,
    r#"("b", -3) is Dot"#,
    BAD_VALUE,
    r#"("b", 2) is Line { length: 1.0 }"#,
    r#"("bb", -30) is Line { length: 2.0 }"#,
    r#"("c", 0) is Dot"#,
    r#"("d", 0) is Dot"#,
    BAD_KEY,
    "of b:",
    r#"("b", -3) is Dot"#,
    BAD_VALUE,
    r#"("b", 2) is Line { length: 1.0 }"#,
    "a range:",
    r#"("a", 400) is Dot"#,
    r#"("b", -3) is Dot"#,
];

#[test]
fn mio() {
    assert_eq!(outcome(&Mio), OUTCOME);
}

#[test]
fn smol() {
    assert_eq!(outcome(&Smol), OUTCOME);
}

#[test]
fn tokio() {
    assert_eq!(outcome(&Tokio::new()), OUTCOME);
}
