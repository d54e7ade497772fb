//! A full disk: what is kept back takes deletes, and space comes back by itself.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rumormill_kit::store::conformance::{contents, delete, put};
use rumormill_kit::store::{Store as _, StoreError};

use super::in_memory;
use crate::disk::{Disk, RealDisk};
use crate::{DiskStore, Options};

const NO_SPACE: i32 = 28;

/// A disk on which the files of a directory may take so many bytes together.
struct Quota {
    dir: PathBuf,
    bytes: AtomicU64,
}

impl Quota {
    fn used(&self) -> u64 {
        let mut todo = vec![self.dir.clone()];
        let mut used = 0;
        while let Some(dir) = todo.pop() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                match path.is_dir() {
                    true => todo.push(path),
                    false => used += fs::metadata(path).map_or(0, |about| about.len()),
                }
            }
        }
        used
    }
}

impl Disk for Quota {
    fn create(&self, path: &Path) -> io::Result<File> {
        RealDisk.create(path)
    }

    fn open(&self, path: &Path) -> io::Result<File> {
        RealDisk.open(path)
    }

    fn preallocate(&self, file: &File, from: u64, to: u64) -> io::Result<()> {
        match to - from <= self.room(&self.dir)? {
            true => RealDisk.preallocate(file, from, to),
            false => Err(io::Error::from_raw_os_error(NO_SPACE)),
        }
    }

    fn room(&self, _: &Path) -> io::Result<u64> {
        Ok(self
            .bytes
            .load(Ordering::Relaxed)
            .saturating_sub(self.used()))
    }

    fn write(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        RealDisk.write(file, bytes, at)
    }

    fn read(&self, file: &File, buffer: &mut [u8], at: u64) -> io::Result<()> {
        RealDisk.read(file, buffer, at)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        RealDisk.sync(file)
    }

    fn cut(&self, file: &File, len: u64) -> io::Result<()> {
        RealDisk.cut(file, len)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.rename(from, to)
    }

    fn create_directory(&self, dir: &Path) -> io::Result<()> {
        RealDisk.create_directory(dir)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealDisk.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealDisk.remove(path)
    }

    fn sync_directory(&self, dir: &Path) -> io::Result<()> {
        RealDisk.sync_directory(dir)
    }

    fn note(&self, file: &File, bytes: &[u8], at: u64) -> io::Result<()> {
        RealDisk.note(file, bytes, at)
    }

    fn replace(&self, path: &Path, bytes: &[u8], durable: bool) -> io::Result<()> {
        match bytes.len() as u64 <= self.room(&self.dir)? {
            true => RealDisk.replace(path, bytes, durable),
            false => Err(io::Error::from_raw_os_error(NO_SPACE)),
        }
    }
}

/// Opens a store on a disk of so many bytes.
fn open(dir: &Path, bytes: u64) -> (DiskStore, Arc<Quota>, Options) {
    let quota = Arc::new(Quota {
        dir: dir.into(),
        bytes: AtomicU64::new(bytes),
    });
    let options = Options {
        log_bytes: 4 << 20,
        step: 256 << 10,
        reserve: 64 << 10,
        thread: false,
        disk: Arc::clone(&quota) as _,
        ..Options::default()
    };
    let store = DiskStore::open_with(dir, options.clone()).unwrap();
    (store, quota, options)
}

const VALUE: usize = 10_000;
const DISK: u64 = (1 << 20) + (200 << 10);

/// Writes until there is no space, and returns how many keys that took.
fn fill(store: &mut DiskStore) -> usize {
    let value = "v".repeat(VALUE);
    let mut written = 0;
    while store.short(false).is_none() {
        store
            .apply(&[put(&format!("key {written}"), &value)])
            .unwrap_or_else(|error| panic!("nothing is kept back: {error}"));
        written += 1;
        assert!(written < 1_000, "the disk is not full");
    }
    store.sync().unwrap();
    written
}

#[test]
pub(super) fn a_full_disk_takes_small_batches_until_what_is_kept_back_is_used_up() {
    let dir = in_memory();
    let (mut store, quota, options) = open(dir.path(), DISK);
    let keys = fill(&mut store);
    let mut more = 0;
    let refused = loop {
        match store.apply(&[delete(&format!("key {}", more % keys))]) {
            Ok(()) => more += 1,
            Err(error) => break error,
        }
        assert!(more < 10_000, "what is kept back has no end");
    };
    assert!(matches!(refused, StoreError::Full(_)), "{refused}");
    assert!(more > 500, "{more} deletes");
    store.sync().unwrap();
    // Nothing of it depends on the process that found the disk full.
    drop(store);
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    assert_eq!(contents(&mut store).len(), 0);
    assert!(store.apply(&[put("key", "v")]).is_err());
    quota.bytes.fetch_add(1 << 20, Ordering::Relaxed);
    store.apply(&[put("key", "v")]).unwrap();
    assert_eq!(store.short(false), None);
    store.sync().unwrap();
    assert_eq!(contents(&mut store).len(), 1);
}

#[test]
pub(super) fn deletes_give_space_back_without_more_from_elsewhere() {
    let dir = in_memory();
    let (mut store, _, options) = open(dir.path(), DISK);
    let keys = fill(&mut store);
    for number in 0..keys {
        // While it is written to, the file is not sealed: what is deleted next would be merged all the same.
        assert!(store.short(true).is_some());
        store.apply(&[delete(&format!("key {number}"))]).unwrap();
    }
    store.apply(&[delete("nothing")]).unwrap();
    store.sync().unwrap();
    assert!(store.short(true).is_some());
    assert_eq!(store.shared.view().sealed.len(), 0);
    assert!(store.short(true).is_some());
    assert_eq!(
        store.shared.view().sealed.len(),
        1,
        "it is sealed to be merged"
    );
    store.apply(&[delete("nothing")]).unwrap();
    assert!(store.short(true).is_some(), "not before it is merged");
    while store.merger.as_mut().unwrap().work().unwrap() {}
    assert_eq!(store.short(true), None);
    assert_eq!(fill(&mut store), keys, "all space is there again");
    drop(store);
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    assert_eq!(contents(&mut store).len(), keys);
}

/// Lets the store look for space as long as that changes anything, as it does by itself while nothing is written.
fn look(store: &mut DiskStore) {
    for _ in 0..4 {
        let _ = store.short(true);
        while store.merger.as_mut().unwrap().work().unwrap() {}
    }
}

/// A pause among the deletes lets the rows that are left into the tree. What deletes them later has to reach them there.
#[test]
fn deletes_after_a_pause_give_space_back_too() {
    let dir = in_memory();
    let (mut store, _, options) = open(dir.path(), DISK);
    let keys = fill(&mut store);
    let mut all = 0;
    for pause in 0..3 {
        let rows = if pause == 0 { keys } else { fill(&mut store) };
        all = all.max(rows);
        for number in 0..rows {
            if number == rows * 2 / 3 {
                look(&mut store);
            }
            store.apply(&[delete(&format!("key {number}"))]).unwrap();
        }
        store.sync().unwrap();
        look(&mut store);
        assert_eq!(store.short(true), None, "pause {pause}");
    }
    let again = fill(&mut store);
    assert!(again > keys * 3 / 4, "{again} of {keys} fit again");
    drop(store);
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    assert_eq!(contents(&mut store).len(), again);
}

#[test]
fn a_file_whose_rows_have_no_room_elsewhere_is_not_sealed() {
    let dir = in_memory();
    let (mut store, _, _) = open(dir.path(), DISK);
    let keys = fill(&mut store);
    for number in 0..keys / 3 {
        store.apply(&[delete(&format!("key {number}"))]).unwrap();
    }
    for _ in 0..3 {
        assert!(store.short(true).is_some());
    }
    assert_eq!(store.shared.view().sealed.len(), 0);
    store.apply(&[delete("key 0")]).unwrap();
    assert_eq!(contents(&mut store).len(), keys - keys / 3);
}
