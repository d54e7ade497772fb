//! One flipped bit anywhere in a data directory: never a wrong row, never a lost one that is not told, never a panic or a wait without end.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use bytes::Bytes;
use rumormill_core::io::Event;
use tempfile::TempDir;

use super::lab::{Lab, Rows, TABLES, config, options};
use crate::{DiskStore, Failure, Progress, restore};

/// How many bits are flipped, one after the other: more where `RUMORMILL_FLIPS` says so.
fn flips() -> usize {
    let said = std::env::var("RUMORMILL_FLIPS").ok();
    said.and_then(|flips| flips.parse().ok()).unwrap_or(30)
}

/// A node that was closed in peace: its directory, and what its fellow member holds.
struct Built {
    dir: TempDir,
    millis: u64,
    disk: BTreeMap<Bytes, Bytes>,
    rows: Rows,
}

/// Fills a store over several boots, so that it has tables and a log, and deletes that were freed and others that were not.
fn build(alone: bool) -> Built {
    let dir = TempDir::new().unwrap();
    let mut lab = Lab::new(1, BTreeMap::new());
    let seeds: &[usize] = if alone { &[] } else { &[0] };
    if !alone {
        lab.start_member();
    }
    for boot in 0..3 {
        lab.start_stored(dir.path(), config(1, seeds)).unwrap();
        lab.run(3_000);
        for number in 0..150 {
            let table = TABLES[number % 3];
            let from = if alone { 1 } else { number % 2 };
            let value = format!("{boot} {number} {}", "x".repeat(number));
            lab.put(from, table, &format!("key {number}"), &value);
            if number % 10 == 9 {
                lab.run(100);
            }
        }
        lab.run(3_000);
        for number in (boot..150).step_by(7) {
            lab.delete(1, TABLES[number % 3], &format!("key {number}"));
        }
        lab.run(5_000);
        lab.stop_stored();
    }
    lab.start_stored(dir.path(), config(1, seeds)).unwrap();
    lab.run(5_000);
    let rows = lab.rows(1);
    if !alone {
        same(&lab.rows(0), &rows, "as they were built");
    }
    lab.stop_stored();
    assert!(rows.len() > 100, "{} rows", rows.len());
    Built {
        dir,
        millis: lab.now.mono.as_micros() / 1_000,
        disk: std::mem::take(&mut lab.disk),
        rows,
    }
}

fn same(found: &Rows, wanted: &Rows, what: &str) {
    let differ = |key: &&(String, String)| found.get(*key) != wanted.get(*key);
    let keys = found.keys().chain(wanted.keys()).filter(differ);
    let keys: Vec<_> = keys.collect();
    assert!(keys.is_empty(), "{what}: other rows at {keys:?}");
}

/// All files of a directory but the locks, with their sizes.
fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            let len = fs::metadata(&path).unwrap().len();
            match path.is_dir() {
                true => todo.push(path),
                false if path.ends_with("lock") || len == 0 => {}
                false => files.push((path.strip_prefix(dir).unwrap().to_path_buf(), len)),
            }
        }
    }
    files.sort();
    files
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(fs::copy(entry.path(), to).unwrap()),
        }
    }
}

/// Flips one bit at a time in every file, and judges what a start makes of it. The outcomes are counted.
fn for_each_flip(
    built: &Built,
    judge: impl Fn(&Path, &str) -> &'static str + Sync,
) -> BTreeMap<&'static str, usize> {
    let files = files(built.dir.path());
    assert!(files.len() > 8, "{files:?}");
    let next = AtomicUsize::new(0);
    let work = || {
        let mut counts = Vec::new();
        loop {
            let flip = next.fetch_add(1, Ordering::Relaxed);
            if flip >= flips() {
                return counts;
            }
            let (file, len) = &files[flip % files.len()];
            // Places are spread over each file by the golden ratio, its ends included.
            let round = (flip / files.len()) as u64;
            let at = match round {
                0 => 0,
                1 => len - 1,
                _ => round.wrapping_mul(0x9e37_79b9_7f4a_7c15) % len,
            };
            let dir = TempDir::new().unwrap();
            let data = dir.path().join("data");
            copy(built.dir.path(), &data);
            let mut bytes = fs::read(data.join(file)).unwrap();
            bytes[at as usize] ^= 1 << (flip % 8);
            fs::write(data.join(file), bytes).unwrap();
            let what = format!("{} at {at} bit {}", file.display(), flip % 8);
            counts.push(judge(&data, &what));
        }
    };
    let all: Vec<&'static str> = thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(work)).collect();
        let done = threads.into_iter().map(|thread| thread.join().unwrap());
        done.flatten().collect()
    });
    let mut counts = BTreeMap::new();
    all.into_iter()
        .for_each(|outcome| *counts.entry(outcome).or_default() += 1);
    counts
}

#[test]
fn alone_a_node_starts_with_all_rows_or_names_what_is_damaged() {
    let built = build(true);
    let counts = for_each_flip(&built, |dir, what| {
        let before = files(dir);
        let mut lab = Lab::new(built.millis, BTreeMap::new());
        match lab.start_stored(dir, config(1, &[])) {
            Ok(None) => {
                lab.run(2_000);
                same(&lab.rows(1), &built.rows, what);
                "whole"
            }
            Ok(Some(set_aside)) => panic!("{what}: {set_aside}"),
            Err(Failure::Alone { what: named, .. }) => {
                let file = what.split(" at ").next().unwrap();
                let known = named.contains(file) || named.contains(" and v");
                assert!(known, "{what} is called {named}");
                assert_eq!(files(dir), before, "{what}: nothing was changed");
                accepts(dir, &built, what);
                "refused"
            }
            Err(failure) => panic!("{what}: {failure}"),
        }
    });
    assert!(counts["refused"] > counts["whole"], "{counts:?}");
}

/// Told to go on with what is left, the node shows no row that was never written.
fn accepts(dir: &Path, built: &Built, what: &str) {
    let mut lab = Lab::new(built.millis, BTreeMap::new());
    let mut config = config(1, &[]);
    config.accept_damage = true;
    let set_aside = lab.start_stored(dir, config).unwrap().unwrap();
    assert!(set_aside.aside.join("tree/current").exists());
    lab.run(2_000);
    for ((table, key), value) in lab.rows(1) {
        let number = key.rsplit(' ').next().unwrap();
        let fits = value.split(' ').nth(1) == Some(number);
        assert!(fits, "{what}: {table}/{key} is {value}");
    }
    assert!(
        lab.rows(1).len() > built.rows.len() / 2,
        "{what}: much is left"
    );
    lab.stop_stored();
    // It was accepted, and is no damage any more.
    let again = lab.start_stored(dir, super::lab::config(1, &[]));
    assert_eq!(again.unwrap(), None, "{what}");
}

#[test]
fn with_a_member_a_node_starts_whatever_bit_was_flipped() {
    let built = build(false);
    let counts = for_each_flip(&built, |dir, what| {
        let mut lab = Lab::new(built.millis, built.disk.clone());
        lab.start_member();
        let id = lab.node(0).members().into_iter().map(|member| member.id);
        let before: Vec<_> = id.collect();
        let started = lab.start_stored(dir, config(1, &[0]));
        let set_aside = started.unwrap_or_else(|failure| panic!("{what}: {failure}"));
        let damage = lab.node(1).damage().map(str::to_string);
        assert_eq!(damage.is_some(), set_aside.is_some(), "{what}: it is told");
        lab.run(60_000);
        same(&lab.rows(0), &built.rows, what);
        same(&lab.rows(1), &built.rows, what);
        for i in 0..2 {
            let (now, node) = (lab.now, lab.nodes[i].as_ref().unwrap());
            let status = node.status(now);
            assert_eq!(
                (status.phase.name(), status.tombstones),
                ("member", 0),
                "{what}"
            );
            assert_eq!(status.damage, None, "{what}: it is repaired");
            let members: Vec<_> = node.members().into_iter().map(|one| one.id).collect();
            assert_eq!(members, before, "{what}: it is the same member");
        }
        let Some(set_aside) = set_aside else {
            return "whole";
        };
        let told = lab
            .events
            .iter()
            .any(|(i, event)| matches!((i, event), (1, Event::Damaged { .. })));
        assert!(told, "{what}");
        assert!(set_aside.aside.is_dir(), "{what}: nothing is deleted");
        let said = damage.unwrap();
        assert!(
            said.contains(&set_aside.aside.display().to_string()),
            "{said}"
        );
        "repaired"
    });
    assert!(counts["repaired"] > counts["whole"], "{counts:?}");
}

#[test]
pub(super) fn a_database_that_is_gone_or_cannot_be_opened_at_all_is_rebuilt_under_the_same_id() {
    let built = build(false);
    let wreck: [fn(&Path); 2] = [
        |dir| fs::remove_dir_all(dir.join("db")).unwrap(),
        |dir| {
            for (file, _) in files(&dir.join("db")) {
                fs::write(dir.join("db").join(file), "wrecked").unwrap();
            }
        },
    ];
    for wreck in wreck {
        let dir = TempDir::new().unwrap();
        copy(built.dir.path(), dir.path());
        wreck(dir.path());
        let mut lab = Lab::new(built.millis, built.disk.clone());
        lab.start_member();
        let set_aside = lab.start_stored(dir.path(), config(1, &[0])).unwrap();
        assert_eq!(
            set_aside.map(|set_aside| set_aside.records),
            Some(0),
            "it is set aside"
        );
        lab.run(60_000);
        same(&lab.rows(1), &built.rows, "all are there");
        assert_eq!(lab.node(0).members().len(), 2, "no ghost is left");
    }
}

#[test]
fn without_the_copy_of_its_identity_a_node_says_that_it_is_a_new_one() {
    let built = build(false);
    let dir = TempDir::new().unwrap();
    copy(built.dir.path(), dir.path());
    fs::remove_file(dir.path().join("identity")).unwrap();
    for (file, _) in files(&dir.path().join("db")) {
        fs::write(dir.path().join("db").join(file), "wrecked").unwrap();
    }
    let mut lab = Lab::new(built.millis, built.disk.clone());
    lab.start_member();
    lab.start_stored(dir.path(), config(1, &[0])).unwrap();
    let said = lab.node(1).damage().unwrap().to_string();
    assert!(said.ends_with("the old one has to be evicted"), "{said}");
    lab.run(60_000);
    same(&lab.rows(1), &built.rows, "all are there");
    assert_eq!(lab.node(0).members().len(), 3, "the old one is a ghost");
}

#[test]
pub(super) fn a_restored_directory_that_is_damaged_before_its_first_start_holds_a_new_node_too() {
    let built = build(false);
    let [copied, saved, dir] = [(); 3].map(|()| TempDir::new().unwrap());
    copy(built.dir.path(), copied.path());
    let _started = super::STARTING.read();
    let store = DiskStore::open_with(copied.path(), options()).unwrap();
    let (who, progress) = (("n1", 1), Progress::new());
    let made = store
        .checkpointer()
        .checkpoint(saved.path(), who, &progress);
    made.unwrap();
    restore(saved.path(), dir.path(), options(), &progress).unwrap();
    // The last batch of the log is the note that the node is a new one.
    let log = dir.path().join("db/log");
    let logs = fs::read_dir(&log).unwrap().map(|file| file.unwrap().path());
    let number = |path: &PathBuf| path.file_stem()?.to_str()?.parse::<u64>().ok();
    let last = logs.max_by_key(number).unwrap();
    let mut bytes = fs::read(&last).unwrap();
    let at = bytes.iter().rposition(|byte| *byte != 0).unwrap();
    bytes[at] ^= 1;
    fs::write(&last, bytes).unwrap();
    drop(_started);
    let mut lab = Lab::new(built.millis, built.disk.clone());
    lab.start_member();
    lab.start_stored(dir.path(), config(1, &[0])).unwrap();
    lab.run(60_000);
    same(&lab.rows(1), &built.rows, "all are there");
    assert_eq!(lab.node(0).members().len(), 3, "it is another node");
}

#[test]
fn a_swap_that_a_crash_cut_is_completed() {
    let built = build(true);
    let dir = TempDir::new().unwrap();
    copy(built.dir.path(), dir.path());
    fs::rename(dir.path().join("db"), dir.path().join("db.next")).unwrap();
    let mut lab = Lab::new(built.millis, BTreeMap::new());
    assert_eq!(lab.start_stored(dir.path(), config(1, &[])).unwrap(), None);
    same(&lab.rows(1), &built.rows, "all are there");
}

#[test]
fn damaged_databases_do_not_fill_the_disk() {
    let built = build(true);
    let dir = TempDir::new().unwrap();
    copy(built.dir.path(), dir.path());
    fs::write(dir.path().join("db/tree/current"), "").unwrap();
    for number in 3..11 {
        fs::create_dir(dir.path().join(format!("damaged-{number}"))).unwrap();
    }
    let mut lab = Lab::new(built.millis, BTreeMap::new());
    let mut config = config(1, &[]);
    config.accept_damage = true;
    let failure = lab.start_stored(dir.path(), config.clone()).unwrap_err();
    assert!(
        failure.to_string().starts_with("8 damaged databases"),
        "{failure}"
    );
    fs::remove_dir(dir.path().join("damaged-4")).unwrap();
    let set_aside = lab.start_stored(dir.path(), config).unwrap().unwrap();
    assert_eq!(set_aside.earlier, 7);
    assert!(set_aside.aside.ends_with("damaged-11"));
    same(&lab.rows(1), &built.rows, "every row could be read");
}
