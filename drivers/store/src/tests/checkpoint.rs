//! Checkpoints: made beside writes, after each other, cut off at each step, and restored.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;

use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::Store as _;
use rumormill_kit::store::conformance::{contents, delete, put};
use tempfile::TempDir;

use super::faults::{Map, faulty, small};
use super::in_memory;
use crate::checkpoint::STAGING;
use crate::disk::RealDisk;
use crate::verify::{Depth, verify_to};
use crate::{
    CheckpointError, DiskStore, Made, OpenError, Options, Progress, Restored, Verified, restore,
};

const WHO: (&str, u64) = ("n1", 1_700_000_000_000);

pub(super) fn options() -> Options {
    small(Arc::new(RealDisk))
}

fn open(dir: &Path) -> DiskStore {
    let _started = super::STARTING.read();
    DiskStore::open_with(dir, options()).unwrap()
}

/// A store whose content is known after each batch.
pub(super) struct Book {
    pub(super) store: DiskStore,
    states: BTreeMap<u64, Map>,
}

impl Book {
    pub(super) fn new(store: DiskStore) -> Book {
        Book {
            store,
            states: BTreeMap::from([(0, Map::new())]),
        }
    }

    /// Writes so many batches, some of which delete.
    pub(super) fn write(&mut self, batches: usize) {
        for _ in 0..batches {
            let (last, state) = self.states.last_key_value().unwrap();
            let (number, mut state) = (last + 1, state.clone());
            let batch = vec![
                put(&format!("key {}", number % 13), &format!("value {number}")),
                delete(&format!("key {}", number % 5)),
            ];
            self.store.apply(&batch).unwrap();
            batch.into_iter().for_each(|op| op.apply(&mut state));
            self.states.insert(number, state);
        }
    }

    pub(super) fn checkpoint(&self, dir: &Path) -> Result<Made, CheckpointError> {
        checkpoint(&self.store, dir)
    }

    /// Restores a checkpoint somewhere, and compares it with the content at its watermark.
    fn expect_restorable(&self, dir: &Path) -> u64 {
        let to = in_memory();
        let restored = restored(dir, to.path()).unwrap();
        assert_eq!(without_note(to.path()), self.states[&restored.watermark]);
        restored.watermark
    }
}

fn checkpoint(store: &DiskStore, dir: &Path) -> Result<Made, CheckpointError> {
    store.checkpointer().checkpoint(dir, WHO, &Progress::new())
}

fn restored(dir: &Path, to: &Path) -> Result<Restored, CheckpointError> {
    restore(dir, to, options(), &Progress::new())
}

pub(super) fn verified(dir: &Path) -> Verified {
    verify_to(dir, Depth { records: false }, &Progress::new()).unwrap()
}

fn without_note(dir: &Path) -> Map {
    let mut found = contents(&mut open(dir));
    let note = Record::restored();
    assert_eq!(found.remove(&note.key), Some(note.value));
    found
}

fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names
}

#[test]
fn checkpoints_hold_all_up_to_their_watermarks_and_keep_what_has_not_changed() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    let to = to.path().join("a/b");
    let mut kept = 0;
    for round in 0..8 {
        // Between some of them files are merged, between others not.
        book.write(if round % 2 == 0 { 40 } else { 1 });
        let made = book.checkpoint(&to).unwrap();
        assert_eq!(made.watermark, book.store.last());
        kept += made.kept;
        let found = verified(&to);
        assert!(found.is_clean() && found.checkpoint, "{found:?}");
        assert_eq!(found.files, made.files + 1, "the manifest is one more");
        assert_eq!(book.expect_restorable(&to), made.watermark);
        assert_eq!(names(&to.join("files")).len() as u64, made.files);
        assert_eq!(names(dir.path()), ["db", "lock"], "nothing is left");
    }
    assert!(kept > 8, "{kept} files were kept");
    let again = book.checkpoint(&to).unwrap();
    assert_eq!(again.kept + 1, again.files, "all but the log's last file");
}

#[test]
pub(super) fn nothing_that_is_written_later_reaches_a_checkpoint_through_a_second_name() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(60);
    let made = book.checkpoint(to.path()).unwrap();
    assert!(made.linked > 0);
    for _ in 0..4 {
        book.write(50);
        book.store.sync().unwrap();
        let Book { store, states } = book;
        drop(store);
        book = Book {
            store: open(dir.path()),
            states,
        };
        assert!(verified(to.path()).is_clean());
    }
    assert_eq!(book.expect_restorable(to.path()), made.watermark);
}

#[test]
fn a_checkpoint_is_made_beside_writes_and_merges() {
    let (dir, to) = (in_memory(), in_memory());
    let options = Options {
        thread: true,
        ..options()
    };
    let mut store = DiskStore::open_with(dir.path(), options).unwrap();
    let checkpointer = store.checkpointer();
    let done = AtomicBool::new(false);
    let acknowledged = AtomicU64::new(0);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 1_u64.. {
                let (last, own) = (number.to_string(), format!("own {number}"));
                store.apply(&[put("last", &last), put(&own, "v")]).unwrap();
                acknowledged.store(number, Ordering::Release);
                if done.load(Ordering::Relaxed) && number > 500 {
                    return;
                }
            }
        });
        for _ in 0..12 {
            let before = acknowledged.load(Ordering::Acquire);
            let made = checkpointer
                .checkpoint(to.path(), WHO, &Progress::new())
                .unwrap();
            assert!(made.watermark >= before, "what was acknowledged is in it");
            assert!(verified(to.path()).is_clean());
            let new = in_memory();
            restored(to.path(), new.path()).unwrap();
            let found = without_note(new.path());
            let last = made.watermark.to_string();
            if made.watermark > 0 {
                assert_eq!(found[&b"last"[..]], last);
            }
            for number in 1..=made.watermark {
                assert!(found.contains_key(format!("own {number}").as_bytes()));
            }
            assert_eq!(
                found.len() as u64,
                made.watermark + u64::from(made.watermark > 0)
            );
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn the_writer_goes_on_while_files_are_taken_for_a_checkpoint() {
    let dir = in_memory();
    let options = Options {
        thread: true,
        ..options()
    };
    let mut book = Book::new(DiskStore::open_with(dir.path(), options).unwrap());
    book.store.wait_idle();
    let shared = Arc::clone(&book.store.shared);
    let kept = shared.keep_files();
    let file = book
        .store
        .shared
        .view()
        .active
        .as_ref()
        .unwrap()
        .file
        .header;
    // Two files are filled and begun anew, which nothing merges meanwhile.
    while book.store.shared.view().sealed.len() < 2 {
        book.write(1);
    }
    let now = book
        .store
        .shared
        .view()
        .active
        .as_ref()
        .unwrap()
        .file
        .header;
    assert_eq!(now.number, file.number + 2);
    drop(kept);
    book.store.wait_idle();
    assert!(shared.view().sealed.is_empty());
}

/// The store's files may have no second name there, or lie on another disk.
#[test]
fn where_files_cannot_be_linked_they_are_copied() {
    const NOT_PERMITTED: i32 = 1;
    const OTHER_DISK: i32 = 18;
    for (code, first_only) in [
        (NOT_PERMITTED, false),
        (OTHER_DISK, false),
        (OTHER_DISK, true),
    ] {
        let (dir, to) = (in_memory(), in_memory());
        let links = AtomicUsize::new(0);
        let disk = faulty(move |_, name| {
            let fails = name == "link" && links.fetch_add(1, Ordering::Relaxed).is_multiple_of(2);
            (name == "link" && (fails || !first_only)).then_some(code)
        });
        let mut book = Book::new(DiskStore::open_with(dir.path(), small(disk)).unwrap());
        for _ in 0..3 {
            book.write(40);
            let made = book.checkpoint(to.path()).unwrap();
            assert!(first_only || made.linked == 0);
            assert!(verified(to.path()).is_clean());
            assert_eq!(book.expect_restorable(to.path()), made.watermark);
        }
        assert!(book.checkpoint(to.path()).unwrap().kept > 0);
    }
}

/// Every call to the file system is the last one before a crash, or fails; the same checkpoint is then made again.
#[test]
pub(super) fn a_crash_at_any_step_leaves_the_earlier_checkpoint_whole() {
    let mut first_lost = 0;
    for n in 0.. {
        let (dir, to) = (in_memory(), in_memory());
        let calls = Arc::new(AtomicUsize::new(usize::MAX / 2));
        let counted = Arc::clone(&calls);
        let disk = faulty(move |_, _| {
            let call = counted.fetch_add(1, Ordering::Relaxed);
            (n..usize::MAX / 2).contains(&call).then_some(5)
        });
        let mut book = Book::new(DiskStore::open_with(dir.path(), small(disk)).unwrap());
        book.write(40);
        let earlier = book.checkpoint(to.path()).unwrap();
        book.write(35);
        calls.store(0, Ordering::Relaxed);
        let outcome = book.checkpoint(to.path());
        let made = calls.swap(usize::MAX / 2, Ordering::Relaxed);
        let found = verified(to.path());
        assert!(found.is_clean(), "call {n}: {found:?}");
        let watermark = book.expect_restorable(to.path());
        match &outcome {
            Ok(made) => assert_eq!(watermark, made.watermark),
            Err(error) => {
                assert!(matches!(error, CheckpointError::Unusable { .. }), "{error}");
                assert!([earlier.watermark, book.store.last()].contains(&watermark));
                first_lost += usize::from(watermark == earlier.watermark);
            }
        }
        let again = book.checkpoint(to.path()).unwrap();
        assert_eq!(book.expect_restorable(to.path()), again.watermark);
        assert_eq!(names(&to.path().join("files")).len() as u64, again.files);
        assert!(!dir.path().join(STAGING).exists());
        if outcome.is_ok() && made <= n {
            assert!(n > 20, "{n} calls");
            break;
        }
    }
    assert!(first_lost > 15, "{first_lost} left the earlier one");
}

/// Every call to the file system fails once for lack of space, one after the other.
#[test]
pub(super) fn a_checkpoint_that_fails_leaves_no_file_of_its_own() {
    let (mut failed, mut n) = (0, 0);
    loop {
        let (dir, to) = (in_memory(), in_memory());
        let calls = Arc::new(AtomicUsize::new(usize::MAX / 2));
        let counted = Arc::clone(&calls);
        let disk = faulty(move |_, _| {
            let call = counted.fetch_add(1, Ordering::Relaxed);
            (call == n).then_some(28)
        });
        let mut book = Book::new(DiskStore::open_with(dir.path(), small(disk)).unwrap());
        book.write(40);
        book.checkpoint(to.path()).unwrap();
        let (folder, list) = (to.path().join("files"), to.path().join("manifest"));
        let (earlier, manifest) = (names(&folder), fs::read(&list).unwrap());
        book.write(35);
        calls.store(0, Ordering::Relaxed);
        let outcome = book.checkpoint(to.path());
        if calls.swap(usize::MAX / 2, Ordering::Relaxed) <= n {
            outcome.unwrap();
            break;
        }
        if outcome.is_err() && fs::read(&list).unwrap() == manifest {
            failed += 1;
            assert_eq!(names(&folder), earlier, "call {n}: nothing is left");
        }
        book.expect_restorable(to.path());
        n += 1;
    }
    assert!(failed > 10, "{failed} of {n}");
}

#[test]
fn links_that_a_crash_has_left_are_removed_at_the_start() {
    let dir = in_memory();
    drop(open(dir.path()));
    fs::create_dir(dir.path().join(STAGING)).unwrap();
    fs::write(dir.path().join(STAGING).join("7"), "x").unwrap();
    drop(open(dir.path()));
    assert!(!dir.path().join(STAGING).exists());
}

#[test]
fn a_directory_that_holds_anything_else_is_refused_and_left_as_it_is() {
    let dir = in_memory();
    let mut book = Book::new(open(dir.path()));
    book.write(3);
    let refused = |to: &Path| book.checkpoint(to).unwrap_err();
    let sum = format!("files/{:032x}", 7);
    for name in ["photo.jpg", "files/photo.jpg", &sum] {
        let to = TempDir::new().unwrap();
        fs::create_dir(to.path().join("files")).unwrap();
        fs::write(to.path().join(name), "x").unwrap();
        let error = refused(to.path());
        assert!(matches!(error, CheckpointError::Occupied { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
        assert_eq!(fs::read_to_string(to.path().join(name)).unwrap(), "x");
    }
    let file = dir.path().join("lock");
    assert!(matches!(
        refused(&file),
        CheckpointError::Inside { .. } | CheckpointError::Occupied { .. }
    ));
    for inside in ["", "db", "copy", "copy/deep"] {
        let error = refused(&dir.path().join(inside));
        assert!(matches!(error, CheckpointError::Inside { .. }), "{error}");
    }
    assert!(!dir.path().join("copy").exists());
    // Behind a name that does not exist nothing says where it leads.
    let elsewhere = in_memory();
    let back = elsewhere.path().join("no/../../..").join("tmp/copy");
    let error = refused(&back);
    assert!(error.to_string().contains("goes back"), "{error}");
}

#[test]
fn one_checkpoint_is_made_at_a_time() {
    let (dir, to) = (in_memory(), in_memory());
    let book = Book::new(open(dir.path()));
    let held = book.store.shared.checkpoint.try_lock().unwrap();
    let error = book.checkpoint(to.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::Busy), "{error}");
    drop(held);
    book.checkpoint(to.path()).unwrap();
    // Nor by two nodes in one place.
    let other = fs::File::open(to.path().join("lock")).unwrap();
    other.try_lock().unwrap();
    let error = book.checkpoint(to.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }), "{error}");
}

#[test]
fn restores_of_one_checkpoint_do_not_wait_for_each_other_and_none_is_made_there_meanwhile() {
    let (dir, to) = (in_memory(), in_memory());
    let book = Book::new(open(dir.path()));
    book.checkpoint(to.path()).unwrap();
    // As another restore has it.
    let other = fs::File::open(to.path().join("lock")).unwrap();
    other.try_lock_shared().unwrap();
    let new = in_memory();
    restored(to.path(), &new.path().join("data")).unwrap();
    let error = book.checkpoint(to.path()).unwrap_err();
    assert!(matches!(error, CheckpointError::InUse { .. }), "{error}");
}

#[test]
fn a_checkpoint_that_is_told_to_stop_or_whose_store_closes_leaves_the_earlier_one() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(30);
    let made = book.checkpoint(to.path()).unwrap();
    book.write(30);
    let progress = Progress::new();
    progress.stop();
    let checkpointer = book.store.checkpointer();
    let error = checkpointer.checkpoint(to.path(), WHO, &progress);
    assert!(matches!(error, Err(CheckpointError::Stopped)), "{error:?}");
    assert_eq!(book.expect_restorable(to.path()), made.watermark);
    let Book { store, .. } = book;
    drop(store);
    let error = checkpointer.checkpoint(to.path(), WHO, &Progress::new());
    assert!(matches!(error, Err(CheckpointError::Closed)), "{error:?}");
    assert!(verified(to.path()).is_clean());
}

#[test]
pub(super) fn a_table_that_has_rotted_in_the_store_is_named_and_reaches_no_checkpoint() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(40);
    let tables = dir.path().join("db/tree/tables");
    let table = tables.join(&names(&tables)[0]);
    let mut bytes = fs::read(&table).unwrap();
    bytes[40] ^= 4;
    fs::write(&table, bytes).unwrap();
    let error = book.checkpoint(to.path()).unwrap_err();
    let CheckpointError::Damaged { found, .. } = &error else {
        panic!("{error}");
    };
    let name = table.file_name().unwrap().to_str().unwrap();
    assert_eq!(found[0].file, format!("db/tree/tables/{name}"));
    assert!(!to.path().join("manifest").exists());
}

#[test]
pub(super) fn a_file_of_the_earlier_checkpoint_that_has_rotted_is_replaced() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(40);
    book.checkpoint(to.path()).unwrap();
    for name in names(&to.path().join("files")) {
        let path = to.path().join("files").join(name);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        // Another file than the store's.
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    assert!(!verified(to.path()).is_clean());
    book.checkpoint(to.path()).unwrap();
    assert!(verified(to.path()).is_clean());
    book.expect_restorable(to.path());
}

#[test]
pub(super) fn a_restore_wants_an_empty_place_and_half_of_one_is_never_opened() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(40);
    book.checkpoint(to.path()).unwrap();
    let new = in_memory();
    fs::write(new.path().join("notes"), "x").unwrap();
    let error = restored(to.path(), new.path()).unwrap_err();
    assert!(error.to_string().ends_with("it holds notes"), "{error}");
    fs::remove_file(new.path().join("notes")).unwrap();
    // One that was cut off: all is there but its last name.
    restored(to.path(), new.path()).unwrap();
    fs::rename(new.path().join("db"), new.path().join("db.restoring")).unwrap();
    let error = DiskStore::open_with(new.path(), options()).err().unwrap();
    assert!(matches!(error, OpenError::Unfinished { .. }), "{error}");
    restored(to.path(), new.path()).unwrap();
    assert_eq!(names(new.path()), ["db", "identity", "lock"]);
    let error = restored(to.path(), new.path()).unwrap_err();
    assert!(error.to_string().ends_with("it holds db"), "{error}");
    for nothing in [PathBuf::from("/nowhere"), new.path().into()] {
        let error = restored(&nothing, &in_memory().path().join("x")).unwrap_err();
        assert!(
            matches!(error, CheckpointError::NoCheckpoint { .. }),
            "{error}"
        );
    }
}

#[test]
fn a_restore_of_a_damaged_checkpoint_names_the_file_and_leaves_nothing_that_starts() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(40);
    book.checkpoint(to.path()).unwrap();
    for name in names(&to.path().join("files")) {
        let path = to.path().join("files").join(&name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
        let new = in_memory();
        let error = restored(to.path(), new.path()).unwrap_err();
        assert!(error.to_string().contains(&name), "{error}");
        assert!(DiskStore::open_with(new.path(), options()).is_err());
        fs::write(&path, whole).unwrap();
    }
}

/// A checkpoint from elsewhere may hold anything.
#[cfg(unix)]
#[test]
fn what_is_no_file_or_has_another_length_is_named_and_not_read() {
    let (dir, to) = (in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(40);
    book.checkpoint(to.path()).unwrap();
    let name = names(&to.path().join("files")).remove(0);
    let path = to.path().join("files").join(&name);
    let whole = fs::read(&path).unwrap();
    let put: [fn(&Path, &[u8]); 3] = [
        |path, _| std::os::unix::fs::symlink("/dev/zero", path).unwrap(),
        |path, _| fs::create_dir(path).unwrap(),
        |path, whole| fs::write(path, [whole, b"x"].concat()).unwrap(),
    ];
    for (put, why) in put
        .into_iter()
        .zip(["no file", "no file", "bytes instead of"])
    {
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir(&path));
        put(&path, &whole);
        let found = verified(to.path());
        let told =
            |fault: &crate::verify::Fault| fault.file.ends_with(&name) && fault.why.contains(why);
        assert!(found.faults.iter().any(told), "{found:?}");
        let new = in_memory();
        let error = restored(to.path(), new.path()).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    }
}

#[test]
pub(super) fn a_store_is_of_use_after_a_restore() {
    let (dir, to, new) = (in_memory(), in_memory(), in_memory());
    let mut book = Book::new(open(dir.path()));
    book.write(40);
    let made = book.checkpoint(to.path()).unwrap();
    restored(to.path(), new.path()).unwrap();
    let mut store = open(new.path());
    assert_eq!(store.last(), made.watermark + 1, "the note is one more");
    for number in 0..50 {
        let batch: Vec<StoreOp> = vec![put("more", &number.to_string())];
        store.apply(&batch).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    assert_eq!(contents(&mut open(new.path()))[&b"more"[..]], "49");
    assert!(verified(to.path()).is_clean());
    assert!(verified(new.path()).is_clean());
}
