//! Verifying checkpoints and data directories: a flipped byte anywhere is told, with the file and what it held.

use std::fs;
use std::path::{Path, PathBuf};

use rumormill_kit::store::Store as _;

use super::checkpoint::{Book, options, verified};
use super::in_memory;
use super::lab::{Lab, config};
use crate::{CheckpointError, DiskStore, Progress, VerifyError, check, verify};

/// All files of a directory but locks, each below it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut todo = vec![dir.to_path_buf()];
    while let Some(next) = todo.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => todo.push(path),
                false if path.ends_with("lock") => {}
                false => files.push(path.strip_prefix(dir).unwrap().into()),
            }
        }
    }
    files.sort_unstable();
    files
}

/// Flips each byte of each file, and hands over the file and the place.
fn flip_each(dir: &Path, each: &mut dyn FnMut(&Path, usize)) -> usize {
    let mut flips = 0;
    for file in files(dir) {
        let path = dir.join(&file);
        let whole = fs::read(&path).unwrap();
        // A second name of the store's file must not change that.
        fs::remove_file(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, bytes).unwrap();
            each(&file, at);
            flips += 1;
        }
        fs::write(&path, whole).unwrap();
    }
    flips
}

#[test]
fn a_flipped_byte_anywhere_in_a_checkpoint_is_told_with_the_file_and_what_it_held() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(DiskStore::open_with(dir.path(), options()).unwrap());
    book.write(24);
    book.checkpoint(to.path()).unwrap();
    assert!(verified(to.path()).is_clean());
    let mut held = std::collections::BTreeSet::new();
    let flips = flip_each(to.path(), &mut |file, at| {
        let found = verified(to.path());
        let told = found
            .faults
            .iter()
            .find(|fault| Path::new(&fault.file) == file);
        let told = told.unwrap_or_else(|| panic!("{}, byte {at}: {found:?}", file.display()));
        assert!(!told.held.is_empty() && !told.to_string().contains('\n'));
        held.insert(told.held.clone());
    });
    assert!(verified(to.path()).is_clean());
    assert!(flips > 2_000, "{flips} bytes");
    let held: Vec<String> = held.into_iter().collect();
    let all = held.join("\n");
    for words in [
        "rows and deletes, from ",
        "the list of 1 table",
        "db/log/",
        "the pointer to the list of tables",
        "the list of the checkpoint's files",
    ] {
        assert!(all.contains(words), "{words} is not in\n{all}");
    }
}

/// lsm-tree would ask for as much memory as a damaged table of contents says, which may be more than there is.
#[test]
fn a_table_is_opened_only_with_a_whole_table_of_contents() {
    let dir = in_memory();
    let mut book = Book::new(DiskStore::open_with(dir.path(), options()).unwrap());
    book.write(30);
    drop(book);
    let tables = dir.path().join("db/tree/tables");
    let table = fs::read_dir(&tables).unwrap().next().unwrap().unwrap();
    let whole = fs::read(table.path()).unwrap();
    assert!(check::has_contents(&table.path()).unwrap());
    let from = u64::from_le_bytes(*whole[..whole.len() - 8].last_chunk().unwrap()) as usize;
    // The length at the end is read by none.
    for at in from..whole.len() - 8 {
        for bit in 0..8 {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << bit;
            fs::write(table.path(), bytes).unwrap();
            let is_whole = check::has_contents(&table.path()).unwrap();
            assert!(!is_whole, "bit {bit} of byte {at} of {}", whole.len());
        }
    }
    for len in [0, 10, whole.len() - 1] {
        fs::write(table.path(), &whole[..len]).unwrap();
        assert!(!check::has_contents(&table.path()).unwrap(), "{len} bytes");
    }
}

#[test]
fn a_flipped_byte_in_a_data_directory_is_told_unless_nothing_was_there() {
    let dir = in_memory();
    let mut book = Book::new(DiskStore::open_with(dir.path(), options()).unwrap());
    book.write(30);
    book.store.sync().unwrap();
    drop(book);
    let clean = verified(dir.path());
    assert!(clean.is_clean() && !clean.checkpoint, "{clean:?}");
    assert_eq!(clean.watermark, 30);
    let last = files(dir.path());
    let last = last
        .iter()
        .rfind(|file| file.starts_with("db/log"))
        .unwrap();
    let bytes = fs::read(dir.path().join(last)).unwrap();
    let end = 1 + bytes.iter().rposition(|byte| *byte != 0).unwrap();
    let current = fs::read(dir.path().join("db/tree/current")).unwrap();
    let version = u64::from_le_bytes(current[..8].try_into().unwrap());
    let version = format!("db/tree/v{version}");
    let mut zeros = 0;
    flip_each(dir.path(), &mut |file, at| {
        let found = verified(dir.path());
        let name = file.to_str().unwrap();
        // A note has two slots, of which one is enough.
        if name == "db/synced" {
            return;
        }
        // Room for batches to come, which looks like one that was begun.
        if file == last && at >= end {
            assert!(found.is_clean());
            zeros += 1;
            return;
        }
        // A version that another has replaced: the next start removes it.
        if name.starts_with("db/tree/v") && name != version {
            return;
        }
        let is_manifest = name.starts_with("db/tree/v") || name == "db/tree/current";
        let told = found
            .faults
            .iter()
            .any(|fault| fault.file == name || (is_manifest && fault.file.starts_with("db/tree/")));
        assert!(told, "{name}, byte {at}: {found:?}");
    });
    assert!(zeros < 300, "{zeros} bytes of room");
}

#[test]
fn a_missing_or_cut_file_of_a_checkpoint_is_told() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(DiskStore::open_with(dir.path(), options()).unwrap());
    book.write(24);
    book.checkpoint(to.path()).unwrap();
    for file in files(to.path()) {
        let path = to.path().join(&file);
        let whole = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let found = verified(to.path());
        let missing = found
            .faults
            .iter()
            .filter(|fault| fault.why == "it is missing");
        assert_eq!(missing.count(), 1, "{}: {found:?}", file.display());
        fs::write(&path, &whole[..whole.len() - 1]).unwrap();
        let found = verified(to.path());
        assert_eq!(Path::new(&found.faults[0].file), file, "{found:?}");
        fs::write(&path, whole).unwrap();
    }
}

/// Tables and logs of a real node, so that their records are looked into as well.
#[test]
fn the_records_of_a_node_are_read_and_its_cluster_is_told_from_others() {
    let (dir, to) = (in_memory(), in_memory());
    let mut lab = Lab::new(1, std::collections::BTreeMap::new());
    lab.start_stored(dir.path(), config(1, &[])).unwrap();
    lab.run(1_000);
    for number in 0..200 {
        lab.put(
            1,
            "fruits",
            &format!("key {number}"),
            "a value of some length",
        );
        if number % 10 == 0 {
            lab.run(10);
        }
    }
    lab.run(3_000);
    let store = lab.store.as_ref().unwrap();
    let checkpointer = store.checkpointer();
    let made = checkpointer
        .checkpoint(to.path(), ("n1", 5), &Progress::new())
        .unwrap();
    assert!(made.files > 3, "{made:?}");
    let found = verify(to.path(), &Progress::new()).unwrap();
    assert!(found.is_clean() && found.rows > 200, "{found:?}");
    lab.stop_stored();
    let found = verify(dir.path(), &Progress::new()).unwrap();
    assert!(found.is_clean() && found.rows > 200, "{found:?}");
    // Another node of another cluster.
    let other = in_memory();
    lab.start_stored(other.path(), config(1, &[])).unwrap();
    lab.run(1_000);
    let checkpointer = lab.store.as_ref().unwrap().checkpointer();
    let error = checkpointer.checkpoint(to.path(), ("n1", 6), &Progress::new());
    let Err(CheckpointError::OtherCluster { name, .. }) = error else {
        panic!("{error:?}");
    };
    assert_eq!(name, "rumormill");
    lab.stop_stored();
    assert!(verify(to.path(), &Progress::new()).unwrap().is_clean());
}

#[test]
fn records_that_are_none_of_a_node_are_told_where_they_are_looked_into() {
    let dir = in_memory();
    let mut book = Book::new(DiskStore::open_with(dir.path(), options()).unwrap());
    book.write(30);
    drop(book);
    let found = verify(dir.path(), &Progress::new()).unwrap();
    let in_table = found
        .faults
        .iter()
        .any(|fault| fault.file.contains("tables"));
    let in_log = found.faults.iter().any(|fault| fault.file.contains("log"));
    assert!(in_table && in_log, "{found:?}");
}

#[test]
fn what_is_no_store_or_in_use_is_not_verified() {
    let dir = in_memory();
    let error = verify(dir.path(), &Progress::new()).unwrap_err();
    assert!(matches!(error, VerifyError::Neither { .. }), "{error}");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    let store = DiskStore::open_with(dir.path(), options()).unwrap();
    let error = verify(dir.path(), &Progress::new()).unwrap_err();
    assert!(matches!(error, VerifyError::InUse { .. }), "{error}");
    drop(store);
    assert!(verify(dir.path(), &Progress::new()).unwrap().is_clean());
}

#[test]
fn a_scrub_beside_writes_is_clean_and_names_a_table_that_rots() {
    let dir = in_memory();
    let options = crate::Options {
        thread: true,
        ..options()
    };
    let mut book = Book::new(DiskStore::open_with(dir.path(), options).unwrap());
    let scrubber = book.store.scrubber();
    let depth = crate::verify::Depth { records: false };
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let passes = scope.spawn(|| {
            let mut passes = 0;
            while !done.load(std::sync::atomic::Ordering::Relaxed) || passes < 5 {
                let found = scrubber.scrub_to(depth, &Progress::new()).unwrap();
                assert!(found.is_clean(), "{found:?}");
                passes += 1;
            }
        });
        book.write(400);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        passes.join().unwrap();
    });
    book.store.wait_idle();
    let tables = dir.path().join("db/tree/tables");
    let table = fs::read_dir(&tables).unwrap().next().unwrap().unwrap();
    let mut bytes = fs::read(table.path()).unwrap();
    bytes[30] ^= 1;
    fs::write(table.path(), bytes).unwrap();
    let found = scrubber.scrub_to(depth, &Progress::new()).unwrap();
    let name = table.file_name().into_string().unwrap();
    assert_eq!(found.faults[0].file, format!("db/tree/tables/{name}"));
    assert!(found.faults[0].held.contains("rows and deletes, from "));
    drop(book);
    let closed = scrubber.scrub_to(depth, &Progress::new());
    assert!(matches!(closed, Err(VerifyError::Stopped)), "{closed:?}");
}

#[test]
fn a_pass_goes_no_faster_than_its_rate_and_is_stopped_at_once() {
    let (dir, progress) = (in_memory(), Progress::new());
    let mut book = Book::new(DiskStore::open_with(dir.path(), options()).unwrap());
    book.write(60);
    let scrubber = book.store.scrubber();
    // A byte a second: it would take an hour.
    progress.limit(1);
    let depth = crate::verify::Depth { records: false };
    std::thread::scope(|scope| {
        let pass = scope.spawn(|| scrubber.scrub_to(depth, &progress));
        while progress.bytes().0 == 0 {
            std::thread::yield_now();
        }
        let (read, all) = progress.bytes();
        assert!(read < all, "{read} of {all}");
        progress.stop();
        assert!(matches!(pass.join().unwrap(), Err(VerifyError::Stopped)));
    });
}
