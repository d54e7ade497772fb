//! Each call to the file system fails once, and each is the last one before a crash.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rumormill_core::io::StoreOp;
use rumormill_kit::store::conformance::{contents, delete, delete_range, put};
use rumormill_kit::store::{Store as _, StoreError, StoreReader as _};

use super::in_memory;

use super::damage::copy;
use crate::disk::{Disk, RealDisk};
use crate::{DiskStore, OpenError, Options};

pub(super) type Map = BTreeMap<Bytes, Bytes>;

const NO_SPACE: i32 = 28;
const BROKEN: i32 = 5;

/// A disk that is told before each call, and may fail it.
struct Faulty<F> {
    calls: AtomicUsize,
    /// Is told the number and name of a call; an error number fails it.
    fail: F,
}

impl<F: Fn(usize, &str) -> Option<i32>> Faulty<F> {
    fn call(&self, name: &str) -> io::Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        match (self.fail)(call, name) {
            Some(code) => Err(io::Error::from_raw_os_error(code)),
            None => Ok(()),
        }
    }
}

impl<F: Fn(usize, &str) -> Option<i32> + Send + Sync> Disk for Faulty<F> {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call("create")?;
        RealDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        self.call("open")?;
        RealDisk.open(path)
    }

    fn preallocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        self.call("preallocate")?;
        RealDisk.preallocate(file, from, to)
    }

    fn room(&self, dir: &Path) -> io::Result<u64> {
        RealDisk.room(dir)
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let failed = self.call("write");
        if failed.is_err() {
            RealDisk.write(file, &bytes[..bytes.len() / 2], at)?;
        }
        failed?;
        RealDisk.write(file, bytes, at)
    }

    fn read(&self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.call("read")?;
        RealDisk.read(file, buffer, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.call("sync")?;
        RealDisk.sync(file)
    }

    fn cut(&self, file: &File, len: u64) -> io::Result<()> {
        self.call("cut")?;
        RealDisk.cut(file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename")?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove")?;
        RealDisk.remove(path)
    }

    fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        self.call("sync_directory")?;
        RealDisk.sync_directory(dir)
    }

    fn create_directory(&self, dir: &Path) -> io::Result<()> {
        self.call("create_directory")?;
        RealDisk.create_directory(dir)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link")?;
        RealDisk.link(from, to)
    }

    fn note(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        let failed = self.call("note");
        if failed.is_err() {
            RealDisk.note(file, &bytes[..bytes.len() / 2], at)?;
        }
        failed?;
        RealDisk.note(file, bytes, at)
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        let failed = self.call("replace");
        if failed.is_err() {
            fs::write(path.with_extension("new"), &bytes[..bytes.len() / 2])?;
        }
        failed?;
        RealDisk.replace(path, bytes, durable)
    }
}

pub(super) fn small(disk: Arc<dyn Disk>) -> Options {
    Options {
        log_bytes: 700,
        step: 300,
        reserve: 100,
        thread: false,
        disk,
        ..Options::default()
    }
}

pub(super) fn faulty(
    fail: impl Fn(usize, &str) -> Option<i32> + Send + Sync + 'static,
) -> Arc<dyn Disk> {
    Arc::new(Faulty {
        calls: AtomicUsize::new(0),
        fail,
    })
}

const BATCHES: usize = 24;

fn batch(number: usize) -> Vec<StoreOp> {
    vec![
        put(&format!("key {}", number % 7), &format!("value {number}")),
        put(&format!("own {number}"), &"x".repeat(number * 3)),
        match number % 5 {
            4 => delete_range("own 1", &format!("own {number}")),
            _ => delete(&format!("own {}", number / 2)),
        },
        put("last", &number.to_string()),
    ]
}

/// The contents after each number of batches.
fn states() -> Vec<Map> {
    let mut states = vec![Map::new()];
    for number in 0..BATCHES {
        let mut state = states[number].clone();
        for op in batch(number) {
            op.apply(&mut state);
        }
        states.push(state);
    }
    states
}

/// How far a run came.
#[derive(Default)]
struct Progress {
    /// Batches that were begun, and that were synced.
    begun: AtomicUsize,
    synced: AtomicUsize,
}

/// Writes all batches, a sync after every third, as the worker does: a lack of space is tried again.
fn run(store: &mut DiskStore, progress: &Progress) -> Result<(), StoreError> {
    let mut unsynced: Vec<StoreOp> = Vec::new();
    for number in 0..BATCHES {
        progress.begun.store(number + 1, Ordering::Relaxed);
        let ops = batch(number);
        unsynced.extend(ops.iter().cloned());
        let mut done = store.apply(&ops);
        while let Err(StoreError::Full(_)) = done {
            done = store.apply(&unsynced);
        }
        done?;
        if number % 3 == 2 {
            store.sync()?;
            progress.synced.store(number + 1, Ordering::Relaxed);
            unsynced.clear();
        }
    }
    Ok(())
}

fn assert_between(found: &Map, states: &[Map], synced: usize, begun: usize, what: &str) {
    let at = states.iter().rposition(|state| state == found);
    let fits = at.is_some_and(|at| (synced..=begun).contains(&at));
    assert!(
        fits,
        "{what}: {synced} batches were synced and {begun} begun, found {at:?}: {found:?}"
    );
}

#[test]
pub(super) fn each_call_fails_once_and_nothing_that_was_synced_is_lost() {
    let states = states();
    for code in [NO_SPACE, BROKEN] {
        let mut failed = 0;
        for n in 0.. {
            let hit = Arc::new(Mutex::new(None));
            let seen = Arc::clone(&hit);
            let disk = faulty(move |call, name| {
                (call == n).then(|| *seen.lock().unwrap() = Some(name.to_string()))?;
                Some(code)
            });
            let dir = in_memory();
            let progress = Progress::default();
            let opened = DiskStore::open_with(dir.path(), small(disk));
            let outcome = match opened {
                Ok(mut store) => Some(run(&mut store, &progress)),
                Err(OpenError::Unusable { .. }) => None,
                Err(error) => panic!("call {n}: {error}"),
            };
            let Some(name) = hit.lock().unwrap().take() else {
                assert_eq!(outcome, Some(Ok(())));
                break;
            };
            let what = format!("error {code} of call {n}, {name}");
            match &outcome {
                // A sync that failed is final whatever the reason, and so is what cannot be undone.
                Some(Err(error)) => {
                    assert!(matches!(error, StoreError::Failed(_)), "{what}: {error}");
                    let ends = ["sync", "sync_directory", "remove"].contains(&&*name);
                    assert!(code == BROKEN || ends, "{what}: {error}");
                    failed += 1;
                }
                Some(Ok(())) => {
                    let tried_again = code == NO_SPACE || name == "remove";
                    // Each is a copy, and an older one is good as well.
                    let is_copy = ["note", "replace"].contains(&&*name);
                    assert!(tried_again || is_copy, "{what} went unnoticed");
                }
                None => {}
            }
            let mut store = DiskStore::open_with(dir.path(), small(Arc::new(RealDisk)))
                .unwrap_or_else(|error| panic!("{what}: {error}"));
            let found = contents(&mut store);
            let synced = progress.synced.load(Ordering::Relaxed);
            let begun = progress.begun.load(Ordering::Relaxed);
            assert_between(&found, &states, synced, begun, &what);
        }
        assert!(
            failed > 10,
            "{failed} calls with error {code} ended the store"
        );
    }
}

/// Opens a copy of the directory as it is before each call, and cut off there.
#[test]
pub(super) fn a_crash_before_each_call_leaves_what_was_synced() {
    let states = states();
    let dir = in_memory();
    let copies = in_memory();
    let progress = Arc::new(Progress::default());
    let images = Arc::new(Mutex::new(Vec::new()));
    let (from, to) = (dir.path().to_path_buf(), copies.path().to_path_buf());
    let (so_far, taken) = (Arc::clone(&progress), Arc::clone(&images));
    let disk = faulty(move |call, name| {
        let image = to.join(call.to_string());
        copy(&from, &image);
        let (synced, begun) = (&so_far.synced, &so_far.begun);
        let at = (
            synced.load(Ordering::Relaxed),
            begun.load(Ordering::Relaxed),
        );
        taken.lock().unwrap().push((image, name.to_string(), at));
        None
    });
    let mut store = DiskStore::open_with(dir.path(), small(disk)).unwrap();
    run(&mut store, &progress).unwrap();
    drop(store);
    let images = images.lock().unwrap();
    let mut names: Vec<&str> = images.iter().map(|(_, name, _)| &**name).collect();
    names.sort_unstable();
    names.dedup();
    let wanted = [
        "create",
        "note",
        "open",
        "preallocate",
        "read",
        "remove",
        "rename",
        "replace",
        "sync",
        "sync_directory",
        "write",
    ];
    assert_eq!(names, wanted);
    for (image, name, (synced, begun)) in images.iter() {
        let what = format!("before {name}, {}", image.display());
        for again in 0..2 {
            let opened = DiskStore::open_with(image, small(Arc::new(RealDisk)));
            let mut store = opened.unwrap_or_else(|error| panic!("{what}, {again}: {error}"));
            let found = contents(&mut store);
            assert_between(&found, &states, *synced, *begun, &what);
            // It is of use as well.
            store.apply(&[put("last", "again")]).unwrap();
            store.sync().unwrap();
            store
                .apply(&[put("last", found.get(&b"last"[..]).map_or("", text))])
                .unwrap();
            if !found.contains_key(&b"last"[..]) {
                store.apply(&[delete("last")]).unwrap();
            }
        }
    }
}

fn text(bytes: &Bytes) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
pub(super) fn merging_without_space_lets_writes_go_on_up_to_a_bound() {
    let dir = in_memory();
    let full = Arc::new(AtomicBool::new(false));
    let is_full = Arc::clone(&full);
    let disk = faulty(move |_, name| {
        (name == "read" && is_full.load(Ordering::Relaxed)).then_some(NO_SPACE)
    });
    let options = Options {
        thread: true,
        ..small(disk)
    };
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    full.store(true, Ordering::Relaxed);
    let value = "v".repeat(600);
    let mut written = 0;
    let refused = loop {
        match store.apply(&[put(&format!("key {written:03}"), &value)]) {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 100, "it is unbounded");
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert!(written >= crate::writer::SEALED, "{written} batches");
    store.sync().unwrap();
    full.store(false, Ordering::Relaxed);
    store.shared.wait_while(None, |state| state.short.is_some());
    store.apply(&[put("more", "1")]).unwrap();
    let mut reader = store.reader();
    assert_eq!(reader.read(b"key 000").unwrap().unwrap(), value);
    assert_eq!(contents(&mut store).len(), written + 1);
    drop(store);
    let mut store = DiskStore::open(dir.path()).unwrap();
    assert_eq!(contents(&mut store).len(), written + 1);
}

#[test]
pub(super) fn a_write_that_failed_half_way_leaves_nothing_behind_a_shorter_one() {
    let dir = in_memory();
    let failing = Arc::new(AtomicBool::new(false));
    let fails = Arc::clone(&failing);
    let disk = faulty(move |_, name| {
        (name == "write" && fails.load(Ordering::Relaxed)).then_some(NO_SPACE)
    });
    let options = Options {
        log_bytes: 1 << 20,
        step: 1 << 16,
        ..small(disk)
    };
    let mut store = DiskStore::open_with(dir.path(), options.clone()).unwrap();
    store.apply(&[put("a", "1")]).unwrap();
    failing.store(true, Ordering::Relaxed);
    let long = [put("long", &"x".repeat(10_000))];
    assert!(matches!(store.apply(&long), Err(StoreError::Full(_))));
    failing.store(false, Ordering::Relaxed);
    store.apply(&[put("b", "2")]).unwrap();
    store.sync().unwrap();
    drop(store);
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    assert_eq!(store.cut(), None);
    let keys: Vec<Bytes> = contents(&mut store).into_keys().collect();
    assert_eq!(keys, [&b"a"[..], b"b"]);
}

#[test]
pub(super) fn a_start_writes_what_is_not_known_to_be_synced_once_more() {
    let dir = in_memory();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&calls);
    let disk = faulty(move |_, name| {
        told.lock().unwrap().push(name.to_string());
        None
    });
    let options = Options {
        log_bytes: 1 << 20,
        ..small(disk)
    };
    for (synced, again) in [(true, false), (false, true)] {
        let mut store = DiskStore::open_with(dir.path(), options.clone()).unwrap();
        store.apply(&[put("a", "1")]).unwrap();
        if synced {
            store.sync().unwrap();
        }
        drop(store);
        calls.lock().unwrap().clear();
        drop(DiskStore::open_with(dir.path(), options.clone()).unwrap());
        let calls = std::mem::take(&mut *calls.lock().unwrap());
        let written = calls.iter().position(|name| name == "write");
        let kept = calls.iter().rposition(|name| name == "sync");
        assert_eq!(written.is_some(), again, "{calls:?}");
        assert!(written < kept, "{calls:?}");
    }
}

#[test]
pub(super) fn a_merge_that_fails_hides_no_row() {
    let dir = in_memory();
    let disk = faulty(|_, name| (name == "read").then_some(NO_SPACE));
    let mut store = DiskStore::open_with(dir.path(), small(disk)).unwrap();
    let mut merger = store.merger.take().unwrap();
    let value = "v".repeat(800);
    store.apply(&[put("key", &value)]).unwrap();
    store.apply(&[put("other", "1")]).unwrap();
    assert_eq!(store.shared.view().sealed.len(), 1);
    for _ in 0..3 {
        let _ = merger.work();
    }
    let waiting = store.shared.view().sealed.len();
    assert_eq!(waiting, 1, "the row is still to be read");
    assert!(matches!(merger.work(), Err(StoreError::Full(_))));
}

#[test]
fn no_space_for_a_while_from_any_call_on_is_waited_for() {
    let states = states();
    let takes_space = ["create", "preallocate", "write", "rename"];
    for length in [2, 5] {
        for n in 0.. {
            let hit = Arc::new(AtomicUsize::new(0));
            let hits = Arc::clone(&hit);
            let disk = faulty(move |call, name| {
                let so_far = hits.load(Ordering::Relaxed);
                let fails = call >= n && so_far < length && takes_space.contains(&name);
                hits.fetch_add(usize::from(fails), Ordering::Relaxed);
                fails.then_some(NO_SPACE)
            });
            let dir = in_memory();
            let progress = Progress::default();
            let what = format!("no space for {length} calls from {n} on");
            if let Ok(mut store) = DiskStore::open_with(dir.path(), small(disk)) {
                let outcome = run(&mut store, &progress);
                assert_eq!(outcome, Ok(()), "{what}");
                assert_eq!(contents(&mut store), states[BATCHES], "{what}");
                drop(store);
                let mut store =
                    DiskStore::open_with(dir.path(), small(Arc::new(RealDisk))).unwrap();
                assert_eq!(contents(&mut store), states[BATCHES], "{what}");
            }
            if hit.load(Ordering::Relaxed) < length {
                break;
            }
        }
    }
}
