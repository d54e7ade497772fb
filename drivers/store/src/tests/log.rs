//! The log: its end, its damage, its index, and what reaches the tree.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use bytes::Bytes;
use rumormill_kit::store::conformance::{contents, delete, delete_range, put};
use rumormill_kit::store::{Store as _, StoreReader as _};
use tempfile::TempDir;

use super::in_memory;

use rumormill_core::io::{Record, StoreOp};

use crate::beside::Sequences;
use crate::log::{Index, Policy, format};
use crate::{DiskStore, OpenError, Options, Salvage};

type Map = BTreeMap<Bytes, Bytes>;

fn small(log_bytes: u64) -> Options {
    Options {
        log_bytes,
        step: 256,
        reserve: 64,
        thread: false,
        ..Options::default()
    }
}

/// A log of a few batches, of which some were synced.
struct Written {
    dir: TempDir,
    log: Vec<u8>,
    synced: Vec<u8>,
    /// The contents after each number of batches, and where the log ended.
    states: Vec<(Map, usize)>,
}

const BATCHES: usize = 9;
const SYNCED: usize = 5;

impl Written {
    fn new() -> Written {
        let dir = in_memory();
        let mut store = DiskStore::open_with(dir.path(), small(1 << 20)).unwrap();
        let mut states = Vec::new();
        for number in 0..=BATCHES {
            let end = store.shared.view().active.as_ref().unwrap().end;
            states.push((contents(&mut store), end as usize));
            let batch = [
                put("same", &number.to_string()),
                put(&format!("own {number}"), "xy"),
                delete(&format!("own {}", number / 2)),
            ];
            if number < BATCHES {
                store.apply(&batch).unwrap();
            }
            if number + 1 == SYNCED {
                store.sync().unwrap();
            }
        }
        drop(store);
        Written {
            log: fs::read(log(dir.path())).unwrap(),
            synced: fs::read(dir.path().join("db/synced")).unwrap(),
            dir,
            states,
        }
    }

    /// Puts another log in the place of the one that was written, with or without the note of how far it was synced.
    fn put(&self, bytes: &[u8], noted: bool) {
        fs::write(log(self.dir.path()), bytes).unwrap();
        let note = self.dir.path().join("db/synced");
        match noted {
            true => fs::write(note, &self.synced).unwrap(),
            false => fs::remove_file(note).unwrap(),
        }
    }

    fn open(&self, policy: Policy) -> Result<DiskStore, OpenError> {
        DiskStore::open_as(self.dir.path(), small(1 << 20), policy)
    }

    /// How many batches a store has; it must be some number of them.
    fn reached(&self, store: &mut DiskStore, what: &str) -> usize {
        let found = contents(store);
        let at = self.states.iter().position(|(state, _)| *state == found);
        at.unwrap_or_else(|| panic!("{what}: {found:?}"))
    }

    /// The batch in which a byte of the log is.
    fn batch_of(&self, at: usize) -> Option<usize> {
        let ends = self.states.iter().map(|(_, end)| *end);
        let (start, end) = (self.states[0].1, self.states[BATCHES].1);
        (start..end)
            .contains(&at)
            .then(|| ends.filter(|end| *end <= at).count() - 1)
    }
}

fn log(dir: &Path) -> std::path::PathBuf {
    dir.join("db/log/1.log")
}

/// Writes into a store whose end was cut, and finds it again.
fn goes_on(written: &Written, mut store: DiskStore, what: &str) {
    let mut wanted = contents(&mut store);
    store
        .apply(&[put("more", "1"), put("own 0", "again")])
        .unwrap();
    store.sync().unwrap();
    wanted.insert("more".into(), "1".into());
    wanted.insert("own 0".into(), "again".into());
    drop(store);
    let mut store = written
        .open(Policy::Damage)
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(store.cut(), None, "{what}");
    assert_eq!(contents(&mut store), wanted, "{what}");
}

#[test]
pub(super) fn a_log_cut_at_any_byte_ends_with_a_whole_batch_or_is_damaged() {
    let written = Written::new();
    let synced_end = written.states[SYNCED].1;
    let mut outcomes = [0, 0];
    for noted in [true, false] {
        for at in 0..written.log.len() {
            let what = format!("cut at {at}, noted: {noted}");
            written.put(&written.log[..at], noted);
            match written.open(Policy::Damage) {
                Ok(mut store) => {
                    let reached = written.reached(&mut store, &what);
                    let whole = written.states.iter().filter(|(_, end)| *end <= at).count() - 1;
                    assert_eq!(reached, whole, "{what}");
                    assert!(!noted || at >= synced_end, "{what}: it was synced");
                    let torn = written.states[whole].1 != at && whole < BATCHES;
                    assert_eq!(store.cut().is_some(), torn, "{what}");
                    goes_on(&written, store, &what);
                    outcomes[0] += 1;
                }
                Err(OpenError::Damaged { .. }) => {
                    let header = at < written.states[0].1;
                    let known = noted && at < synced_end;
                    // That of the last whole record tells as well.
                    assert!(header || known, "{what}");
                    outcomes[1] += 1;
                }
                Err(error) => panic!("{what}: {error}"),
            }
        }
    }
    assert!(
        outcomes.iter().all(|outcome| *outcome > 100),
        "{outcomes:?}"
    );
}

#[test]
pub(super) fn a_log_with_a_flipped_bit_at_any_byte_is_a_prefix_or_damaged() {
    let written = Written::new();
    let mut outcomes = [0; 4];
    for noted in [true, false] {
        for at in 0..written.log.len() {
            let what = format!("flipped at {at}, noted: {noted}");
            let mut bytes = written.log.clone();
            bytes[at] ^= 1 << (at % 8);
            written.put(&bytes, noted);
            let hit = written.batch_of(at);
            match (written.open(Policy::Damage), hit) {
                (Ok(mut store), Some(hit)) => {
                    assert_eq!(hit, BATCHES - 1, "{what}: one follows it");
                    assert_eq!(written.reached(&mut store, &what), hit, "{what}");
                    assert!(store.cut().is_some(), "{what}");
                    goes_on(&written, store, &what);
                    outcomes[0] += 1;
                }
                (Ok(mut store), None) => {
                    assert_eq!(written.reached(&mut store, &what), BATCHES, "{what}");
                    goes_on(&written, store, &what);
                    outcomes[1] += 1;
                }
                (Err(OpenError::Damaged { .. }), Some(hit)) if hit >= SYNCED => {
                    assert!(hit + 1 < BATCHES, "{what}");
                    let mut store = written.open(Policy::Cut).unwrap();
                    assert_eq!(written.reached(&mut store, &what), hit, "{what}");
                    goes_on(&written, store, &what);
                    outcomes[2] += 1;
                }
                (Err(OpenError::Damaged { found, .. }), hit) => {
                    assert!(hit.is_some() || at < written.states[0].1, "{what}");
                    let cut = written.open(Policy::Cut);
                    assert!(matches!(cut, Err(OpenError::Damaged { .. })), "{what}");
                    if at % 7 == 0 {
                        salvages(&written, found, hit, &what);
                    }
                    outcomes[3] += 1;
                }
                (Err(error), _) => panic!("{what}: {error}"),
            }
        }
    }
    assert!(outcomes.iter().all(|outcome| *outcome > 50), "{outcomes:?}");
}

/// Reads all batches of a damaged log but the one that is damaged.
fn salvages(written: &Written, found: Vec<crate::Damage>, hit: Option<usize>, what: &str) {
    let mut salvage = Salvage::read(written.dir.path(), small(1 << 20), found).unwrap();
    let mut records = Map::new();
    salvage
        .load(&mut |record| {
            records.insert(record.key, record.value);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap();
    salvage.discard();
    records.retain(|key, _| key.starts_with(b"own") || key.starts_with(b"same"));
    let mut wanted = Map::new();
    for number in (0..BATCHES).filter(|number| Some(*number) != hit) {
        wanted.insert("same".into(), number.to_string().into());
        wanted.insert(format!("own {number}").into(), "xy".into());
        wanted.remove(format!("own {}", number / 2).as_bytes());
    }
    assert_eq!(records, wanted, "{what}");
}

/// A store with some full files that are not merged.
fn with_sealed(dir: &Path) -> DiskStore {
    let mut store = DiskStore::open_with(dir, small(300)).unwrap();
    store.merger = None;
    for number in 0..9 {
        store
            .apply(&[put(&format!("key {number}"), &"v".repeat(100))])
            .unwrap();
    }
    assert!(store.shared.view().sealed.len() >= 2);
    store
}

#[test]
fn a_log_file_that_is_gone_is_damage() {
    for gone in ["db/log/1.log", "db/log/2.log", "db/log"] {
        let dir = in_memory();
        drop(with_sealed(dir.path()));
        let path = dir.path().join(gone);
        match path.is_dir() {
            true => fs::remove_dir_all(path).unwrap(),
            false => fs::remove_file(path).unwrap(),
        }
        let error = DiskStore::open(dir.path()).err();
        assert!(
            matches!(error, Some(OpenError::Damaged { .. })),
            "{gone}: {error:?}"
        );
    }
}

#[test]
pub(super) fn a_tree_that_is_behind_its_log_is_damage() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(300)).unwrap();
    for number in 0..20 {
        store
            .apply(&[put(&format!("key {number}"), &"v".repeat(100))])
            .unwrap();
    }
    drop(store);
    let other = in_memory();
    drop(DiskStore::open(other.path()).unwrap());
    fs::remove_dir_all(dir.path().join("db/tree")).unwrap();
    super::damage::copy(&other.path().join("db/tree"), &dir.path().join("db/tree"));
    let error = DiskStore::open(dir.path()).err();
    let error = error
        .expect("the log begins behind the end of the tree")
        .to_string();
    assert!(error.contains("missing at its beginning"), "{error}");
}

/// The manifest alone has the order of tables, but for a note beside it.
#[test]
pub(super) fn a_tree_without_its_manifest_still_shows_the_newest_values() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(3_000)).unwrap();
    let row = |round: u64| {
        // Some keys are written in each file, some in few.
        let key = match round % 3 {
            0 => "often".to_string(),
            _ => format!("key {}", round * round % 61),
        };
        (key, format!("{round} {}", "v".repeat(60)))
    };
    for round in 0..430 {
        let (key, value) = row(round);
        store.apply(&[put(&key, &value)]).unwrap();
    }
    let tree = store.shared.tree();
    let tables = tree.as_ref().unwrap().sequences();
    let merged = tree.as_ref().unwrap().merged().unwrap();
    drop(tree);
    let noted = Sequences::read(&dir.path().join("db")).expect("the order is noted");
    for (table, sequence) in &tables {
        assert_eq!(noted.of(*table), Some(*sequence), "table {table}");
    }
    let ingested = tables.iter().filter(|(_, sequence)| *sequence > 0).count();
    assert!((1..tables.len()).contains(&ingested), "{tables:?}");
    drop(store);
    // The log has newer values than all tables.
    fs::remove_dir_all(dir.path().join("db/log")).unwrap();
    fs::write(dir.path().join("db/tree/current"), "").unwrap();
    let Some(OpenError::Damaged { found, .. }) = DiskStore::open(dir.path()).err() else {
        panic!("it is damaged");
    };
    let mut salvage = Salvage::read(dir.path(), small(1 << 20), found).unwrap();
    let mut read = Map::new();
    salvage
        .load(&mut |record| {
            read.insert(record.key, record.value);
            Ok::<(), std::convert::Infallible>(())
        })
        .unwrap();
    read.retain(|key, _| key.starts_with(b"key") || key.starts_with(b"often"));
    let rows = (0..merged).map(row);
    let wanted: Map = rows
        .map(|(key, value)| (key.into(), value.into()))
        .collect();
    assert_eq!(read, wanted);
}

#[test]
pub(super) fn keys_that_were_put_and_deleted_in_one_file_do_not_reach_the_tree() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(4_000)).unwrap();
    let rows = |store: &DiskStore| store.shared.tree().as_ref().unwrap().rough_len();
    for number in 0..20 {
        store
            .apply(&[put(&format!("brief {number}"), "x")])
            .unwrap();
        store
            .apply(&[delete(&format!("brief {number}")), delete("never")])
            .unwrap();
    }
    store.apply(&[put("stays", "1")]).unwrap();
    seal(&mut store);
    assert_eq!(
        rows(&store),
        3,
        "the row that stays, the filler, and the number"
    );
    store.apply(&[delete("stays")]).unwrap();
    seal(&mut store);
    assert_eq!(store.reader().read(b"stays").unwrap(), None);
    assert!(!contents(&mut store).contains_key(&b"stays"[..]));
    drop(store);
    let mut store = DiskStore::open(dir.path()).unwrap();
    assert_eq!(contents(&mut store).len(), 1, "the filler");
}

/// Fills the file, begins another, and merges the full one.
fn seal(store: &mut DiskStore) {
    store.apply(&[put("filler", &"f".repeat(4_000))]).unwrap();
    store.apply(&[delete("nothing")]).unwrap();
    let merger = store.merger.as_mut().unwrap();
    while merger.work().unwrap() {}
    assert_eq!(store.shared.view().sealed.len(), 0);
}

#[test]
pub(super) fn ranges_that_are_merged_delete_what_the_tree_has_and_nothing_that_was_put_again() {
    // Ends that are alike as far as the tree has keys.
    let long = |end: &str| format!("{}{end}", "k".repeat(60_000));
    let keys = ["a", "b", "c", "d", "e"].map(String::from);
    let ends = ["", "1", "2", "3", "4", "5"].map(long);
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(4_000)).unwrap();
    let all = keys.iter().chain(&ends);
    store
        .apply(&all.map(|key| put(key, "old")).collect::<Vec<_>>())
        .unwrap();
    seal(&mut store);
    let batch = [
        delete_range("b", "d"),
        put("c", "new"),
        delete_range("k", &ends[2]),
        delete_range(&ends[3], &ends[4]),
        put(&ends[1], "new"),
    ];
    store.apply(&batch).unwrap();
    let mut wanted = Map::new();
    for (key, value) in [("a", "old"), ("c", "new"), ("d", "old"), ("e", "old")] {
        wanted.insert(key.into(), value.into());
    }
    for (end, value) in [(1, "new"), (2, "old"), (4, "old"), (5, "old")] {
        wanted.insert(ends[end].clone().into(), value.into());
    }
    for merged in [false, true] {
        if merged {
            seal(&mut store);
        }
        let mut found = contents(&mut store);
        found.remove(&b"filler"[..]);
        assert!(found == wanted, "merged: {merged}, {} keys", found.len());
        let mut reader = store.reader();
        for key in keys.iter().chain(&ends) {
            let read = reader.read(key.as_bytes()).unwrap();
            let name = key.len();
            assert_eq!(
                read.as_ref(),
                wanted.get(key.as_bytes()),
                "{name}, merged: {merged}"
            );
        }
    }
}

#[test]
pub(super) fn keys_of_one_hash_are_told_apart() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(1 << 20)).unwrap();
    store.apply(&[put("a", "1"), put("gone", "1")]).unwrap();
    store.apply(&[delete("gone"), put("b", "2")]).unwrap();
    let mut view = store.shared.view_mut();
    let active = view.active.as_mut().unwrap();
    let hash = |key: &str| Index::hash(key.as_bytes(), active.file.header.salt);
    let (a, b, gone, never) = (hash("a"), hash("b"), hash("gone"), hash("never"));
    let place = active.index.get(b).unwrap();
    for same in [a, gone, never] {
        active.index.insert(same, place);
    }
    drop(view);
    let read_all = |store: &DiskStore, when: &str| {
        let mut reader = store.reader();
        for (key, value) in [
            ("a", Some("1")),
            ("b", Some("2")),
            ("gone", None),
            ("never", None),
        ] {
            let read = reader.read(key.as_bytes()).unwrap();
            assert_eq!(read.as_deref(), value.map(str::as_bytes), "{key}{when}");
        }
    };
    read_all(&store, "");
    // Merging does not mistake one for the other either.
    store.apply(&[put("filler", &"f".repeat(1 << 20))]).unwrap();
    store.apply(&[put("c", "3")]).unwrap();
    while store.merger.as_mut().unwrap().work().unwrap() {}
    assert_eq!(store.shared.view().sealed.len(), 0);
    read_all(&store, ", merged");
}

#[test]
pub(super) fn a_value_that_rots_in_the_log_is_an_error_and_no_value() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(1 << 20)).unwrap();
    store.apply(&[put("key", "value")]).unwrap();
    let mut bytes = fs::read(log(dir.path())).unwrap();
    let at = bytes
        .windows(5)
        .position(|window| window == b"value")
        .unwrap();
    bytes[at] ^= 1;
    fs::write(log(dir.path()), bytes).unwrap();
    let error = store.reader().read(b"key").unwrap_err();
    assert!(error.to_string().contains("checksum"), "{error}");
}

#[test]
pub(super) fn a_reader_sees_each_write_while_files_are_merged() {
    const ROUNDS: u64 = 3_000;
    const KEYS: u64 = 40;
    let dir = in_memory();
    let options = Options {
        thread: true,
        ..small(3_000)
    };
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    let mut reader = store.reader();
    let written: Vec<AtomicU64> = (0..KEYS).map(|_| AtomicU64::new(0)).collect();
    let done = AtomicU64::new(0);
    thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut reads = 0;
            while done.load(Ordering::Acquire) == 0 {
                for key in 0..KEYS {
                    let least = written[key as usize].load(Ordering::Acquire);
                    let value = reader.read(key.to_string().as_bytes()).unwrap();
                    let text = value.map(|value| String::from_utf8(value.to_vec()).unwrap());
                    let shown: u64 = text.map_or(0, |text| text.parse().unwrap());
                    assert!(shown >= least, "{key}: {shown} after {least}");
                    reads += 1;
                }
            }
            reads
        });
        for round in 1..=ROUNDS {
            let key = round % KEYS;
            store
                .apply(&[put(&key.to_string(), &round.to_string())])
                .unwrap();
            written[key as usize].store(round, Ordering::Release);
            if reading.is_finished() {
                break;
            }
        }
        done.store(1, Ordering::Release);
        let reads = reading.join();
        assert!(
            reads.is_ok_and(|reads| reads > 0),
            "each read shows the last write"
        );
    });
    let merged = store
        .shared
        .view()
        .active
        .as_ref()
        .unwrap()
        .file
        .header
        .number;
    assert!(merged > 20, "{merged} files");
    assert_eq!(contents(&mut store).len() as u64, KEYS);
}

#[test]
fn bytes_behind_the_records_of_a_file_that_another_follows_are_damage() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(700)).unwrap();
    let log = dir.path().join("db/log");
    for number in 0.. {
        store
            .apply(&[put("key", &format!("value {number}"))])
            .unwrap();
        if fs::read_dir(&log).unwrap().count() == 2 {
            break;
        }
    }
    store.apply(&[put("key", "newer")]).unwrap();
    drop(store);
    let mut files: Vec<_> = fs::read_dir(&log)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    let mut bytes = fs::read(&files[0]).unwrap();
    assert_eq!(bytes.pop(), Some(0), "there is space behind the records");
    bytes.push(1);
    fs::write(&files[0], bytes).unwrap();
    for policy in [Policy::Damage, Policy::Cut] {
        let opened = DiskStore::open_as(dir.path(), small(700), policy);
        assert!(
            matches!(opened, Err(OpenError::Damaged { .. })),
            "{policy:?}"
        );
    }
}

#[test]
fn a_file_that_deletes_many_ranges_is_full() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(1 << 20)).unwrap();
    for number in 0..300 {
        store
            .apply(&[put("b", "1"), delete_range("c", &format!("d{number}"))])
            .unwrap();
    }
    assert_eq!(store.shared.view().sealed.len(), 1);
}

#[test]
pub(super) fn a_flipped_bit_in_a_table_is_damage() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(4_000)).unwrap();
    // A start reads the last block of the newest table in any case.
    let rows = ["a", "b", "c"].map(|key| put(key, &"v".repeat(4_000)));
    store.apply(&rows).unwrap();
    seal(&mut store);
    drop(store);
    let tables = fs::read_dir(dir.path().join("db/tree/tables")).unwrap();
    for table in tables.map(|table| table.unwrap().path()) {
        let whole = fs::read(&table).unwrap();
        let mut bytes = whole.clone();
        bytes[100] ^= 1;
        fs::write(&table, bytes).unwrap();
        let error = DiskStore::open_with(dir.path(), small(4_000)).err();
        assert!(
            matches!(error, Some(OpenError::Damaged { .. })),
            "a flipped bit in {}",
            table.display()
        );
        fs::write(&table, whole).unwrap();
    }
}

/// A client that knew the salt of a file could put records into its values: one that a torn batch holds would look like a batch behind it.
#[test]
pub(super) fn a_value_that_looks_like_a_record_is_none() {
    let dir = in_memory();
    let mut store = DiskStore::open_with(dir.path(), small(1 << 20)).unwrap();
    let mut record = Vec::new();
    format::begin(&mut record);
    format::push(&mut record, &put("key", "forged"), 0);
    format::finish(&mut record, 3, 0, 0);
    store.apply(&[put("key", "written")]).unwrap();
    let end = store.shared.view().active.as_ref().unwrap().end;
    let value = StoreOp::Put(Record {
        key: "value".into(),
        value: record.into(),
    });
    store.apply(&[value]).unwrap();
    drop(store);
    let mut bytes = fs::read(log(dir.path())).unwrap();
    bytes[end as usize] ^= 1;
    fs::write(log(dir.path()), bytes).unwrap();
    let mut store = DiskStore::open_with(dir.path(), small(1 << 20))
        .unwrap_or_else(|error| panic!("a value is taken for a record: {error}"));
    assert!(store.cut().is_some());
    let found = contents(&mut store);
    assert_eq!(
        found.into_iter().collect::<Vec<_>>(),
        [("key".into(), "written".into())]
    );
}
