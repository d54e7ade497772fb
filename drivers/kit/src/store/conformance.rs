//! The tests that every [`Store`] has to pass.
//!
//! Each check takes a function that opens the data, the same at every call, and is given it empty.
//! A store it returned is dropped before the next call. All checks panic on the first
//! deviation, so they are called from tests.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Debug;

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};

use super::{LoadError, Store, StoreReader};

/// The longest key that the core writes, in bytes: three of its own, a table's name, a user's key.
pub const LONGEST_KEY: usize = 3 + 255 + 65_536;

type Map = BTreeMap<Bytes, Bytes>;

/// Runs every check. `fresh` makes a function that opens data of its own, empty at first.
pub fn all<S: Store, O: FnMut() -> S>(mut fresh: impl FnMut() -> O) {
    starts_empty(fresh());
    last_write_wins(fresh());
    deletes(fresh());
    deletes_ranges(fresh());
    deletes_ranges_of_long_keys(fresh());
    deletes_a_large_range(fresh());
    empty_batches(fresh());
    synced_survives_reopening(fresh());
    unsynced_is_a_prefix(fresh(), drop);
    large_values(fresh());
    long_keys(fresh());
    many_records(fresh());
    agrees_with_a_map(fresh());
    load_stops_when_refused(fresh());
    reads_single_records(fresh());
    reads_beside_writes(fresh());
}

/// A reader shows each record, none for a key that is not there or was deleted, and what was read whole at a start.
pub fn reads_single_records<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    let large = "x".repeat(1 << 20);
    let long = "k".repeat(LONGEST_KEY);
    apply(
        &mut store,
        &[
            put("a", "1"),
            put("empty", ""),
            put("large", &large),
            put(&long, "long"),
            put("gone", "1"),
        ],
    );
    apply(&mut store, &[put("a", "2"), delete("gone")]);
    sync(&mut store);
    for again in [false, true] {
        if again {
            drop(store);
            store = open();
        }
        let mut reader = store.reader();
        let mut read = |key: &str| read_one(&mut reader, key);
        for (key, value) in [
            ("a", "2"),
            ("empty", ""),
            ("large", &large),
            (&long, "long"),
        ] {
            let name = &key[..key.len().min(9)];
            assert!(
                read(key).as_deref() == Some(value.as_bytes()),
                "{name}, again: {again}"
            );
        }
        for key in ["absent", "gone", "lar", "largee"] {
            assert_eq!(read(key), None, "{key}, again: {again}");
        }
    }
}

fn read_one(reader: &mut impl StoreReader, key: &str) -> Option<Bytes> {
    match reader.read(key.as_bytes()) {
        Ok(value) => value,
        Err(error) => panic!("a read fails: {error}"),
    }
}

/// A reader on a thread of its own sees at least what was synced, while more is written.
pub fn reads_beside_writes<S: Store>(mut open: impl FnMut() -> S) {
    const ROUNDS: u64 = 50;
    let mut store = open();
    let mut reader = store.reader();
    let (synced, told) = std::sync::mpsc::channel::<u64>();
    std::thread::scope(|scope| {
        let reading = scope.spawn(move || {
            for round in told {
                let value = read_one(&mut reader, "round").unwrap_or_default();
                let text = String::from_utf8_lossy(&value).into_owned();
                let shown: u64 = text.parse().unwrap_or(0);
                assert!(shown >= round, "{shown} after {round} was synced");
            }
        });
        for round in 1..=ROUNDS {
            apply(&mut store, &[put("round", &round.to_string())]);
            sync(&mut store);
            // The reader has gone when it has found a fault, which is told below.
            let _ = synced.send(round);
        }
        drop(synced);
        assert!(reading.join().is_ok(), "the reader saw what it should");
    });
}

/// No record in data that is new, and none after it was opened again.
pub fn starts_empty<S: Store>(mut open: impl FnMut() -> S) {
    assert_eq!(contents(&mut open()), Map::new(), "new data");
    assert_eq!(contents(&mut open()), Map::new(), "new data opened again");
}

/// The last of several writes to a key wins, within a batch and across batches.
pub fn last_write_wins<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    apply(
        &mut store,
        &[put("a", "1"), put("b", "1"), put("a", "2"), put("c", "1")],
    );
    apply(&mut store, &[put("b", "2"), put("b", "3")]);
    apply(&mut store, &[put("c", "2"), delete("c"), put("c", "3")]);
    let expected = map(&[("a", "2"), ("b", "3"), ("c", "3")]);
    assert_eq!(contents(&mut store), expected, "before a sync");
    sync(&mut store);
    drop(store);
    assert_eq!(contents(&mut open()), expected, "opened again");
}

/// Deleted keys are gone, and deleting a key that is not there changes nothing.
pub fn deletes<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    apply(
        &mut store,
        &[
            delete("absent"),
            put("a", "1"),
            put("b", "1"),
            put("d", "1"),
        ],
    );
    apply(
        &mut store,
        &[delete("a"), put("c", "1"), delete("c"), delete("absent")],
    );
    apply(&mut store, &[delete("d")]);
    apply(&mut store, &[put("d", "2")]);
    let expected = map(&[("b", "1"), ("d", "2")]);
    assert_eq!(contents(&mut store), expected, "before a sync");
    sync(&mut store);
    drop(store);
    assert_eq!(contents(&mut open()), expected, "opened again");
}

/// A range goes with all that earlier operations put there, of its own batch and of others, and nothing that later ones put. Its end is not in it. A
/// reader and a store that was opened again show the same.
pub fn deletes_ranges<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    let mut expected = Map::new();
    let keys = ["a", "b", "b\u{7f}", "bb", "c", "c0", "d", ""];
    let batches: [&[StoreOp]; 8] = [
        // In data that is empty, and without keys.
        &[delete_range("a", "z"), delete_range("a", "a")],
        &[put("a", "1"), put("b", "1"), put("bb", "1"), put("c", "1")],
        // Behind puts of the same batch and before others, twice over.
        &[
            put("b\u{7f}", "2"),
            delete("c"),
            put("c0", "2"),
            delete_range("b", "c"),
            put("bb", "2"),
            delete_range("bb", "bc"),
            put("b", "2"),
        ],
        // Its own end stays, and a range whose end is below its beginning has no key.
        &[
            put("c", "3"),
            delete_range("b\u{7f}", "c"),
            delete_range("d", "a"),
        ],
        // Two that overlap, with a put in both and a delete behind.
        &[
            delete_range("a", "c"),
            put("b", "4"),
            put("bb", "4"),
            delete_range("bb", "c1"),
            put("c0", "4"),
            delete("c0"),
        ],
        &[put("d", "5"), delete_range("d", "d"), delete_range("", "b")],
        // A put that a range has taken is put again.
        &[put("a", "6"), delete_range("a", "b"), put("a", "7")],
        &[delete_range("b", "bb"), put("c", "8")],
    ];
    for (n, batch) in batches.into_iter().enumerate() {
        apply(&mut store, batch);
        write(&mut expected, batch);
        assert_eq!(contents(&mut store), expected, "after batch {n}");
        if n % 2 == 1 {
            sync(&mut store);
            let mut reader = store.reader();
            for key in keys.into_iter().filter(|key| !key.is_empty()) {
                let found = read_one(&mut reader, key);
                assert_eq!(
                    found.as_ref(),
                    expected.get(key.as_bytes()),
                    "{key}, batch {n}"
                );
            }
            drop(reader);
        }
        if n % 4 == 3 {
            drop(store);
            store = open();
            assert_eq!(contents(&mut store), expected, "opened again, batch {n}");
        }
    }
}

/// Ranges with long keys among theirs, and at their ends.
pub fn deletes_ranges_of_long_keys<S: Store>(mut open: impl FnMut() -> S) {
    let key = |len: usize, last: char| format!("{}{last}", "k".repeat(len - 1));
    let lengths = [1, 59_999, 60_000, 60_001, 65_535, LONGEST_KEY];
    let keys: Vec<String> = lengths
        .into_iter()
        .flat_map(|len| ['a', 'k', 'z'].map(|last| key(len, last)))
        .collect();
    let puts: Vec<StoreOp> = keys.iter().map(|key| put(key, "1")).collect();
    let (mut store, mut expected) = (open(), Map::new());
    for from in &keys {
        for until in [&keys[1], &keys[7], &keys[10], &keys[17]] {
            for batch in [&puts[..], &[delete_range(from, until)]] {
                apply(&mut store, batch);
                write(&mut expected, batch);
            }
            let (from, until) = (from.len(), until.len());
            assert!(contents(&mut store) == expected, "{from} to {until} bytes");
        }
        sync(&mut store);
    }
    drop(store);
    assert!(contents(&mut open()) == expected, "opened again");
}

/// A hundred thousand records in one range, between others.
pub fn deletes_a_large_range<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    for batch in 0..100 {
        let batch: Vec<StoreOp> = (0..1_000)
            .map(|n| put(&format!("group 7 {:06}", batch * 1_000 + n), "x"))
            .collect();
        apply(&mut store, &batch);
    }
    let others = [put("group 6", "x"), put("group 8", "x")];
    apply(&mut store, &others);
    apply(&mut store, &[delete_range("group 7", "group 8")]);
    sync(&mut store);
    drop(store);
    let expected = map(&[("group 6", "x"), ("group 8", "x")]);
    assert_eq!(contents(&mut open()), expected);
}

/// A batch without writes is fine, also as the first, and a sync without batches.
pub fn empty_batches<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    sync(&mut store);
    apply(&mut store, &[]);
    sync(&mut store);
    apply(&mut store, &[put("a", "")]);
    apply(&mut store, &[]);
    sync(&mut store);
    sync(&mut store);
    drop(store);
    assert_eq!(contents(&mut open()), map(&[("a", "")]), "opened again");
}

/// Synced records are there after opening again, as often as that happens, and nothing else.
pub fn synced_survives_reopening<S: Store>(mut open: impl FnMut() -> S) {
    let mut expected = Map::new();
    for boot in 0..5 {
        let mut store = open();
        assert_eq!(contents(&mut store), expected, "in boot {boot}");
        for n in 0..3 {
            let batch = [
                put(&format!("{boot}.{n}"), "x"),
                put("last", &format!("{boot}.{n}")),
            ];
            apply(&mut store, &batch);
            write(&mut expected, &batch);
        }
        sync(&mut store);
    }
    assert_eq!(contents(&mut open()), expected, "at the end");
}

/// A crash keeps a prefix of the batches after the last sync, and each whole. `crash` ends a store as a crash does; `drop` is a mild one.
pub fn unsynced_is_a_prefix<S: Store>(mut open: impl FnMut() -> S, mut crash: impl FnMut(S)) {
    const BATCHES: usize = 20;
    for synced in [0, 1, 7, BATCHES] {
        let mut store = open();
        let clear: Vec<StoreOp> = contents(&mut store)
            .into_keys()
            .map(StoreOp::Delete)
            .collect();
        apply(&mut store, &clear);
        sync(&mut store);
        let mut states = vec![Map::new()];
        for n in 0..BATCHES {
            let batch = [
                put("last", &n.to_string()),
                put(&format!("own {n}"), "x"),
                match n % 5 {
                    4 => delete_range("own 1", &format!("own {n}")),
                    _ => delete(&format!("own {}", n / 2)),
                },
            ];
            apply(&mut store, &batch);
            let mut state = states.last().cloned().unwrap_or_default();
            write(&mut state, &batch);
            states.push(state);
            if n + 1 == synced {
                sync(&mut store);
            }
        }
        crash(store);
        let found = contents(&mut open());
        let prefix = states.iter().rposition(|state| *state == found);
        assert!(
            prefix >= Some(synced),
            "{synced} of {BATCHES} batches were synced, but found {found:?}"
        );
    }
}

/// Values of a megabyte and more, several in a batch, replaced by others.
pub fn large_values<S: Store>(mut open: impl FnMut() -> S) {
    let mut expected = Map::new();
    for round in 0..2u8 {
        let mut store = open();
        let batch: Vec<StoreOp> = [1 << 16, 1 << 20, (1 << 20) + 1, 3 << 20]
            .into_iter()
            .map(|len: usize| {
                let value = (0..len)
                    .map(|at| (at % 251) as u8 ^ round)
                    .collect::<Vec<u8>>();
                StoreOp::Put(Record {
                    key: len.to_string().into(),
                    value: value.into(),
                })
            })
            .collect();
        apply(&mut store, &batch);
        write(&mut expected, &batch);
        sync(&mut store);
        assert!(contents(&mut store) == expected, "in round {round}");
        drop(store);
        assert!(
            contents(&mut open()) == expected,
            "opened again after round {round}"
        );
    }
}

/// Keys of every length up to [`LONGEST_KEY`] around which an engine may have a limit, alike but for
/// their last byte; then replaced, then deleted.
pub fn long_keys<S: Store>(mut open: impl FnMut() -> S) {
    let lengths = [
        1,
        255,
        256,
        4_096,
        32_768,
        59_999,
        60_000,
        60_001,
        65_534,
        65_535,
        65_536,
        LONGEST_KEY,
    ];
    let keys = lengths.into_iter().flat_map(|len| {
        [0, 1, 255].map(|last| {
            let mut key = vec![7; len];
            key[len - 1] = last;
            Bytes::from(key)
        })
    });
    let keys: Vec<Bytes> = keys.collect();
    let mut expected = Map::new();
    for round in ["first", "second", ""] {
        let mut store = open();
        let batch: Vec<StoreOp> = keys
            .iter()
            .enumerate()
            .map(|(n, key)| match round {
                "" if n % 2 == 0 => StoreOp::Delete(key.clone()),
                _ => StoreOp::Put(Record {
                    key: key.clone(),
                    value: format!("{round} {n}").into(),
                }),
            })
            .collect();
        apply(&mut store, &batch);
        write(&mut expected, &batch);
        sync(&mut store);
        drop(store);
        assert!(
            contents(&mut open()) == expected,
            "after the round {round:?}"
        );
    }
}

/// Ten thousand records, a third of them replaced and a third deleted.
pub fn many_records<S: Store>(mut open: impl FnMut() -> S) {
    let mut expected = Map::new();
    let mut store = open();
    for batch in 0..100 {
        let batch: Vec<StoreOp> = (0..100)
            .map(|n| put(&format!("{:05}", batch * 100 + n), &format!("value {n}")))
            .collect();
        apply(&mut store, &batch);
        write(&mut expected, &batch);
    }
    assert_eq!(expected.len(), 10_000);
    let changes: Vec<StoreOp> = (0..10_000)
        .map(|n| (n, format!("{n:05}")))
        .filter_map(|(n, key)| match n % 3 {
            0 => Some(put(&key, "replaced")),
            1 => Some(delete(&key)),
            _ => None,
        })
        .collect();
    apply(&mut store, &changes);
    write(&mut expected, &changes);
    sync(&mut store);
    assert!(contents(&mut store) == expected, "before opening again");
    drop(store);
    assert!(contents(&mut open()) == expected, "opened again");
}

/// A few hundred batches of random writes to few keys, with syncs and reopening, leave what they leave in a map.
pub fn agrees_with_a_map<S: Store>(mut open: impl FnMut() -> S) {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut below = |bound: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % bound
    };
    let mut expected = Map::new();
    for _ in 0..6 {
        let mut store = open();
        for _ in 0..50 {
            let batch: Vec<StoreOp> = (0..below(20))
                .map(|_| match (below(12), below(40).to_string()) {
                    (0, key) => delete_range(&key, &below(40).to_string()),
                    (1..4, key) => delete(&key),
                    (_, key) => put(&key, &below(1_000_000).to_string()),
                })
                .collect();
            apply(&mut store, &batch);
            write(&mut expected, &batch);
            if below(10) == 0 {
                sync(&mut store);
                assert_eq!(contents(&mut store), expected, "after a sync");
            }
        }
        sync(&mut store);
        drop(store);
        assert_eq!(contents(&mut open()), expected, "opened again");
    }
}

/// A load ends at the first record that is refused, with the words of the refusal.
pub fn load_stops_when_refused<S: Store>(mut open: impl FnMut() -> S) {
    let mut store = open();
    apply(&mut store, &[put("a", "1"), put("b", "1"), put("c", "1")]);
    let mut seen = 0;
    let loaded = store.load(&mut |_| {
        seen += 1;
        if seen == 2 { Err("enough") } else { Ok(()) }
    });
    assert_eq!(loaded, Err(LoadError::Refused("enough")));
    assert_eq!(seen, 2, "records after the refusal");
    assert_eq!(contents(&mut store).len(), 3, "a load after it");
}

/// Everything a store holds; panics if a record comes twice.
pub fn contents<S: Store>(store: &mut S) -> BTreeMap<Bytes, Bytes> {
    let mut map = Map::new();
    let loaded = store.load(&mut |record| {
        let key = record.key.clone();
        let before = map.insert(record.key, record.value);
        assert_eq!(before, None, "{key:?} was handed over twice");
        Ok::<(), Infallible>(())
    });
    ok(loaded, "load");
    map
}

/// A put of text.
pub fn put(key: &str, value: &str) -> StoreOp {
    StoreOp::Put(Record {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
    })
}

/// A delete of a key of text.
pub fn delete(key: &str) -> StoreOp {
    StoreOp::Delete(key.to_owned().into())
}

/// A delete of a range of keys of text.
pub fn delete_range(from: &str, until: &str) -> StoreOp {
    StoreOp::DeleteRange {
        from: from.to_owned().into(),
        until: until.to_owned().into(),
    }
}

fn map(entries: &[(&'static str, &'static str)]) -> Map {
    entries
        .iter()
        .map(|(key, value)| (Bytes::from(*key), Bytes::from(*value)))
        .collect()
}

fn write(map: &mut Map, batch: &[StoreOp]) {
    for op in batch {
        op.clone().apply(map);
    }
}

fn apply<S: Store>(store: &mut S, batch: &[StoreOp]) {
    ok(store.apply(batch), "apply");
}

fn sync<S: Store>(store: &mut S) {
    ok(store.sync(), "sync");
}

fn ok<T, E: Debug>(result: Result<T, E>, what: &str) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{what}: {error:?}"),
    }
}
