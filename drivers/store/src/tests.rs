//! The store in directories of its own: conformance, locking, crashes and damage.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::RwLock;

use bytes::Bytes;
use rumormill_core::io::StoreOp;
use rumormill_core::{Config, Instant, Now, Wall};
use rumormill_kit::store::Store;
use rumormill_kit::store::conformance::{self, contents, put};
use tempfile::TempDir;

use crate::rules::Rules;
use crate::{DiskStore, OpenError, Options};

mod checkpoint;
#[cfg(unix)]
mod cuts;
mod damage;
mod faults;
mod full;
mod lab;
mod log;
mod page;
#[cfg(feature = "mutants")]
pub(crate) mod planted;
mod verify;

/// Held for writing while a process is started: until it runs its own program it shares the locks of all stores that are open here, and a
/// store that is closed meanwhile would be in use when it is opened again.
static STARTING: RwLock<()> = RwLock::new(());

fn open(dir: &Path) -> DiskStore {
    let _started = STARTING.read();
    DiskStore::open(dir).unwrap()
}

/// Gives a check of the suite a directory of its own.
macro_rules! conforms {
    ($($check:ident)*) => {
        mod conforms {
            $(
                #[test]
                fn $check() {
                    let dir = super::TempDir::new().unwrap();
                    super::conformance::$check(|| super::open(dir.path()));
                }
            )*
        }
    };
}

conforms! {
    starts_empty
    last_write_wins
    deletes
    deletes_ranges
    deletes_ranges_of_long_keys
    deletes_a_large_range
    empty_batches
    synced_survives_reopening
    large_values
    long_keys
    many_records
    agrees_with_a_map
    load_stops_when_refused
    reads_single_records
    reads_beside_writes
}

/// The same with files of the log so small that most records are merged.
mod conforms_merged {
    fn open(dir: &std::path::Path) -> crate::DiskStore {
        let _started = super::STARTING.read();
        let options = crate::Options {
            log_bytes: 2_000,
            step: 1_000,
            reserve: 200,
            ..crate::Options::default()
        };
        crate::DiskStore::open_with(dir, options).unwrap()
    }

    #[test]
    fn all() {
        super::conformance::all(|| {
            let dir = super::TempDir::new().unwrap();
            move || open(dir.path())
        });
    }
}

#[test]
fn unsynced_batches_are_lost_from_the_end() {
    let dir = TempDir::new().unwrap();
    conformance::unsynced_is_a_prefix(|| open(dir.path()), drop);
}

const CRASH_DIR: &str = "RUMORMILL_TEST_CRASH_DIR";
const CRASH_BATCHES: usize = 30;

/// The process that dies: it writes as told by the environment and aborts after the last sync.
#[test]
fn child_that_aborts() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else {
        return;
    };
    let mut store = open(dir.as_ref());
    for n in 0..CRASH_BATCHES {
        store
            .apply(&[
                put("last", &n.to_string()),
                put(&format!("own {n}"), &"x".repeat(100_000)),
            ])
            .unwrap();
        if n % 3 == 0 {
            store.sync().unwrap();
        }
    }
    store.sync().unwrap();
    store
        .apply(&[put("last", "unsynced"), put("more", "unsynced")])
        .unwrap();
    std::process::abort();
}

#[test]
fn a_killed_process_keeps_what_it_synced() {
    let dir = TempDir::new().unwrap();
    for _ in 0..3 {
        let starting = STARTING.write();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::child_that_aborts", "--nocapture"])
            .env(CRASH_DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Only what it says shows that it runs: the system lets a parent go on before the child has let go of inherited files.
        let mut said = child.stdout.take().unwrap();
        said.read_exact(&mut [0]).unwrap();
        drop(starting);
        let status = child.wait().unwrap();
        assert!(!status.success(), "the child was to abort");
        let found = contents(&mut open(dir.path()));
        for n in 0..CRASH_BATCHES {
            assert!(
                found.contains_key(format!("own {n}").as_bytes()),
                "batch {n} is gone"
            );
        }
        let last = (CRASH_BATCHES - 1).to_string();
        let (last_found, more) = (&found[&b"last"[..]], found.get(&b"more"[..]));
        match more {
            Some(_) => assert_eq!(last_found, "unsynced", "half of the last batch"),
            None => assert_eq!(*last_found, last, "half of the last batch"),
        }
    }
}

#[test]
fn a_directory_is_used_once_at_a_time() {
    let dir = TempDir::new().unwrap();
    let store = open(dir.path());
    let error = DiskStore::open(dir.path()).err().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    let words = error.to_string();
    assert_eq!(
        words,
        format!(
            "the data directory {} is in use by another process",
            dir.path().display()
        )
    );
    drop(store);
    open(dir.path());
}

#[test]
fn a_directory_that_cannot_be_made_is_named() {
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = DiskStore::open(&file.join("data")).err().unwrap();
    assert!(matches!(error, OpenError::Unusable { .. }), "{error:?}");
    let words = error.to_string();
    assert!(
        words.starts_with("cannot use the data directory ") && words.contains("file/data"),
        "{words}"
    );
}

#[test]
fn missing_parents_are_made() {
    let dir = TempDir::new().unwrap();
    let deep = dir.path().join("a/b/c");
    let mut store = open(&deep);
    store.apply(&[put("a", "1")]).unwrap();
    store.sync().unwrap();
    drop(store);
    assert_eq!(contents(&mut open(&deep)).len(), 1);
}

#[test]
fn an_interrupted_creation_starts_over() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    fs::rename(dir.path().join("db"), dir.path().join("db.new")).unwrap();
    fs::write(dir.path().join("db.new/tree/current"), "").unwrap();
    drop(open(dir.path()));
    assert!(!dir.path().join("db.new").exists());
}

#[test]
fn files_without_a_name_yet_go_at_a_start() {
    let dir = filled();
    let left = ["log/2.new", "tree/.tmpA1b2C3"].map(|name| dir.path().join("db").join(name));
    for path in &left {
        fs::write(path, "half").unwrap();
    }
    let mut store = open(dir.path());
    assert_eq!(contents(&mut store).len(), 1);
    assert!(left.iter().all(|path| !path.exists()));
}

#[test]
fn damage_is_an_error_and_no_panic() {
    for damage in [
        garbled as fn(&Path),
        |path| fs::remove_file(path).unwrap(),
        |path| fs::write(path, "").unwrap(),
    ] {
        for name in ["tree/current", "log/1.log"] {
            let dir = filled();
            damage(&dir.path().join("db").join(name));
            let error = DiskStore::open(dir.path()).err();
            assert!(
                matches!(error, Some(OpenError::Damaged { .. })),
                "{name}: {error:?}"
            );
            assert!(!error.unwrap().to_string().contains('\n'));
        }
    }
}

#[test]
fn a_record_of_another_layout_is_an_error() {
    let dir = filled();
    let mut store = open(dir.path());
    let row = (Bytes::from_static(&[1, 9]), Some(Bytes::from_static(b"x")));
    let tree = store.shared.tree();
    let tree_ref = tree.as_ref().unwrap();
    tree_ref
        .ingest([Ok(row)].into_iter(), 0, Rules::default())
        .unwrap();
    drop(tree);
    let loaded = store.load(&mut |_| Ok::<(), std::convert::Infallible>(()));
    assert!(loaded.unwrap_err().to_string().contains("unknown layout"));
}

#[test]
fn another_version_is_refused_by_its_number_and_nothing_is_changed() {
    let older = TempDir::new().unwrap();
    fs::create_dir_all(older.path().join("db/keyspaces/1")).unwrap();
    let newer = filled();
    let log = newer.path().join("db/log/1.log");
    let mut bytes = fs::read(&log).unwrap();
    for at in [0, 48] {
        bytes[at + 8..at + 12].copy_from_slice(&7_u32.to_le_bytes());
        let sum = xxhash_rust::xxh3::xxh3_64(&bytes[at..at + 40]);
        bytes[at + 40..at + 48].copy_from_slice(&sum.to_le_bytes());
    }
    fs::write(&log, &bytes).unwrap();
    for (dir, version, advice) in [
        (older.path(), 0, "export its tables"),
        (newer.path(), 7, "start it with the newer program"),
    ] {
        let config = Config::new("a", "127.0.0.1:1");
        let seed = rumormill_core::Seed::from_u64(1);
        let now = Now::new(Instant::ZERO, Wall::from_millis(1));
        // A recovery sets a damaged database aside: this is none.
        let failure = crate::recover(dir, Options::default(), config, seed, now).err();
        let said = failure.expect("a refusal").to_string();
        let numbers = format!("version {version} of the store, and this program reads version 1");
        assert!(said.contains(&numbers) && said.contains(advice), "{said}");
        assert!(!said.contains('\n'), "{said}");
        assert!(!dir.join("damaged-1").exists(), "{said}");
    }
    assert!(fs::read(&log).unwrap() == bytes, "the log was changed");
}

/// Makes a directory in memory where the system has such, for tests that open hundreds of stores: a real sync would take most of their time.
fn in_memory() -> TempDir {
    TempDir::new_in("/dev/shm")
        .or_else(|_| TempDir::new())
        .unwrap()
}

fn filled() -> TempDir {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    store.apply(&[put("a", "1")]).unwrap();
    store.sync().unwrap();
    dir
}

fn garbled(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(path, bytes).unwrap();
}

#[test]
fn more_than_a_log_file_holds() {
    let dir = TempDir::new().unwrap();
    let mut store = open(dir.path());
    let value = Bytes::from(
        (0..1 << 20)
            .map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect::<Vec<_>>(),
    );
    for n in 0..120 {
        let record = rumormill_core::io::Record {
            key: format!("{:02}", n % 60).into(),
            value: value.clone(),
        };
        store.apply(&[StoreOp::Put(record)]).unwrap();
    }
    store.sync().unwrap();
    drop(store);
    let found = contents(&mut open(dir.path()));
    assert_eq!(found.len(), 60);
    assert!(found.values().all(|found| *found == value));
}
