//! The disk keeps what it has synced, whatever a crash breaks, and says what it has lost to rot. Each rule that is taken away is noticed.

use rumormill_core::io::Record;

use super::*;
use crate::rng::Stream;

/// Longer than any merge.
const MERGED_US: u64 = 1_000_000;

fn disk(seed: u64) -> Disk {
    Disk::new(Rng::new(seed, Stream::Log, 0))
}

fn put(key: &str, value: &str) -> Vec<StoreOp> {
    vec![StoreOp::Put(Record {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: Bytes::copy_from_slice(value.as_bytes()),
    })]
}

fn keys(disk: &Disk) -> String {
    let keys = disk.records().into_keys();
    keys.map(|key| String::from_utf8_lossy(&key).into_owned())
        .collect()
}

/// A disk with batches that are synced one by one, and as many as fill two files.
fn with_full_files(seed: u64, rules: Rules) -> (Disk, Rows) {
    let (mut disk, mut rows) = (disk(seed), Rows::new());
    disk.set_rules(rules);
    for number in 1..1_000 {
        let batch = put(&format!("k{}", number % 9), &format!("{number:0>200}"));
        apply(&mut rows, &batch);
        disk.store(0, Seq(number), batch, true);
        disk.sync_done(0);
        if disk.log.sealed.len() == 2 && !disk.log.active.entries.is_empty() {
            return (disk, rows);
        }
    }
    panic!("no file is ever full")
}

type Rows = BTreeMap<Bytes, Bytes>;

fn apply(rows: &mut Rows, batch: &[StoreOp]) {
    batch.iter().cloned().for_each(|op| op.apply(rows));
}

#[test]
fn a_crash_keeps_the_synced_and_a_prefix() {
    for seed in 0..20 {
        let mut disk = disk(seed);
        assert!(disk.store(0, Seq(1), put("a", "1"), true));
        assert!(!disk.store(0, Seq(2), put("b", "1"), false));
        assert_eq!(disk.sync_done(0), (Some(Seq(1)), false));
        disk.store(0, Seq(3), put("c", "1"), false);
        disk.store(0, Seq(4), put("d", "1"), false);
        let crash = disk.crash(0, 2, false);
        assert_eq!((crash.upto, crash.lost), (Seq(3), 1));
        let cut = disk.open(0, Policy::Damage).unwrap();
        assert_eq!((cut.is_some(), keys(&disk).as_str()), (crash.torn, "abc"));
        let crash = disk.crash(0, 9, false);
        assert_eq!((crash.upto, crash.lost), (Seq(0), 0));
    }
}

#[test]
fn a_range_takes_what_was_before_it_synced_or_not_and_nothing_behind() {
    let mut disk = disk(1);
    for (n, key) in ["a", "b", "bb", "c"].into_iter().enumerate() {
        disk.store(0, Seq(1 + n as u64), put(key, "1"), n == 1);
    }
    disk.sync_done(0);
    let (from, until) = (Bytes::from("b"), Bytes::from("c"));
    let mut batch = vec![StoreOp::DeleteRange { from, until }];
    batch.extend(put("bbb", "2"));
    disk.store(0, Seq(5), batch, true);
    for synced in [false, true] {
        if synced {
            while disk.sync_done(0).0.is_some() {}
            assert_eq!(keys(&disk), "abbbc");
        }
        let there =
            ["a", "b", "bb", "bbb", "c"].map(|key| disk.read(key.as_bytes()).unwrap().is_some());
        assert_eq!(there, [true, false, false, true, true], "synced: {synced}");
    }
}

#[test]
fn a_sync_covers_what_was_there_when_it_began() {
    let mut disk = disk(1);
    disk.store(0, Seq(1), put("a", "1"), false);
    assert!(disk.store(0, Seq(2), vec![StoreOp::Delete("a".into())], true));
    assert!(!disk.store(0, Seq(3), put("c", "1"), true));
    assert_eq!(disk.sync_done(0), (Some(Seq(2)), true));
    assert_eq!(keys(&disk), "");
    assert_eq!(disk.sync_done(0), (Some(Seq(3)), false));
    assert_eq!((keys(&disk).as_str(), disk.synced()), ("c", Seq(3)));
    assert_eq!(disk.sync_done(0), (None, false));
}

#[test]
fn full_files_go_into_the_tables_and_readers_see_each_write_meanwhile() {
    for seed in 0..20 {
        let (mut disk, rows) = with_full_files(seed, Rules::default());
        assert!(disk.tables.is_empty());
        for now_us in (0..2 * MERGED_US).step_by(10_000) {
            disk.settle(now_us);
            assert_eq!(disk.records(), rows);
            for (key, value) in &rows {
                assert_eq!(disk.read(key), Ok(Some(value.clone())));
            }
        }
        assert_eq!((disk.merges(), disk.log.sealed.len()), (2, 0));
        assert!(!disk.tables.is_empty());
    }
}

/// Whether a crash at a time leaves all rows that were synced, the log whole, and the files to be merged once more.
fn survives_at(now_us: u64, seed: u64, rules: Rules) -> (bool, Option<Stage>) {
    let (mut disk, rows) = with_full_files(seed, rules);
    let crash = disk.crash(now_us, 0, false);
    let is_whole = disk.open(now_us, Policy::Damage) == Ok(None) && disk.records() == rows;
    disk.settle(now_us + 2 * MERGED_US);
    let is_merged = disk.log.sealed.is_empty() && disk.records() == rows;
    (is_whole && is_merged, crash.merge)
}

#[test]
fn a_crash_in_the_middle_of_a_merge_leaves_the_same_rows() {
    let mut met = BTreeSet::new();
    for seed in 0..5 {
        for now_us in (0..MERGED_US).step_by(10_000) {
            let (survives, stage) = survives_at(now_us, seed, Rules::default());
            assert!(survives, "seed {seed} at {now_us}");
            met.insert(format!("{stage:?}"));
        }
    }
    let all = ["None", "Some(Begun)", "Some(Durable)"];
    assert_eq!(met.iter().map(String::as_str).collect::<Vec<_>>(), all);
}

#[test]
fn a_file_that_is_removed_before_its_merge_is_durable_is_missed() {
    let rules = Rules {
        keeps_unmerged: false,
        ..Rules::default()
    };
    assert!(!survives_at(1, 0, rules).0);
}

#[test]
fn a_merge_that_takes_older_operations_is_noticed() {
    let rules = Rules {
        newest_wins: false,
        ..Rules::default()
    };
    let (mut disk, rows) = with_full_files(3, rules);
    disk.settle(2 * MERGED_US);
    assert_ne!(disk.records(), rows);
}

/// Crashes a disk some batches of which are not synced, by a loss of power that tears the first of those. Returns the rows that a start finds, and
/// those before and behind that batch.
fn torn(seed: u64, rules: Rules) -> Option<[Rows; 3]> {
    let mut disk = disk(seed);
    disk.set_rules(rules);
    let mut before = Rows::new();
    for number in 1..4 {
        let batch = put(&format!("k{number}"), "synced");
        apply(&mut before, &batch);
        disk.store(0, Seq(number), batch, number == 3);
    }
    disk.sync_done(0);
    let mut batch = put("k1", "torn");
    batch.push(StoreOp::Delete("k2".into()));
    batch.extend(put("k4", "torn"));
    let mut behind = before.clone();
    apply(&mut behind, &batch);
    disk.store(0, Seq(4), batch, false);
    disk.store(0, Seq(5), put("k5", "lost"), false);
    let is_torn = disk.crash(0, 0, seed.is_multiple_of(2)).torn;
    let cut = disk.open(0, Policy::Damage).unwrap();
    assert_eq!(
        cut.is_some(),
        is_torn && rules.checks_records,
        "seed {seed}"
    );
    is_torn.then(|| [disk.records(), before, behind])
}

#[test]
fn a_record_that_is_torn_is_cut_off() {
    let torn: Vec<_> = (0..200)
        .filter_map(|seed| torn(seed, Rules::default()))
        .collect();
    assert!(torn.len() > 50);
    for [found, before, _] in torn {
        assert_eq!(found, before);
    }
}

#[test]
fn a_record_that_is_torn_and_believed_is_half_a_batch() {
    let rules = Rules {
        checks_records: false,
        ..Rules::default()
    };
    let mut halves = 0;
    for number in 0..200 {
        // One whose header is torn is cut off all the same.
        let Ok(Some([found, before, behind])) = std::panic::catch_unwind(|| torn(number, rules))
        else {
            continue;
        };
        halves += u32::from(found != before && found != behind);
    }
    assert!(halves > 10, "{halves}");
}

#[test]
fn a_sync_that_is_skipped_loses_what_was_told() {
    for (syncs, kept) in [(true, "ab"), (false, "")] {
        let mut disk = disk(1);
        disk.set_rules(Rules {
            syncs,
            ..Rules::default()
        });
        disk.store(0, Seq(1), put("a", "1"), false);
        disk.store(0, Seq(2), put("b", "1"), true);
        assert_eq!(disk.sync_done(0).0, Some(Seq(2)));
        disk.crash(0, 0, false);
        let opened = disk.open(0, Policy::Damage);
        assert!(opened.is_ok_and(|cut| cut.is_none()) || !syncs);
        assert_eq!(keys(&disk), kept);
    }
}

/// Damages the record of a batch in the log of five, of which all are synced, and crashes. The note of the last sync survives, or not.
fn rotten(batch: usize, noted: bool, rules: Rules) -> Disk {
    let mut disk = disk(1);
    disk.set_rules(rules);
    for (number, key) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        disk.store(number as u64, Seq(1 + number as u64), put(key, "1"), true);
        disk.sync_done(number as u64);
    }
    let entry = disk.log.entries_mut().nth(batch).unwrap();
    entry.damage(|bytes| bytes[42] ^= 8);
    assert!(!entry.is_whole());
    disk.crash(9, 0, true);
    if !noted {
        disk.log.lose_note_at(0);
    }
    disk
}

#[test]
fn a_bad_record_with_whole_ones_behind_is_damage_and_the_rest_is_read() {
    let mut disk = rotten(2, false, Rules::default());
    let words = disk.open(9, Policy::Damage).unwrap_err();
    assert_eq!(words, "db/log/1.log (batch 3 is not whole)");
    // The records behind it prove that it was synced.
    assert_eq!(disk.open(9, Policy::Cut), Err(words));
    let left = disk.salvage();
    disk.replace(left);
    assert_eq!(keys(&disk), "abde");
    disk.crash(9, 0, false);
    assert_eq!(disk.open(9, Policy::Damage), Ok(None));
    assert_eq!(keys(&disk), "abde");
}

#[test]
fn the_last_record_is_cut_off_unless_the_note_of_its_sync_is_left() {
    let mut noted = rotten(4, true, Rules::default());
    assert!(noted.open(9, Policy::Damage).is_err());
    let mut unnoted = rotten(4, false, Rules::default());
    let cut = unnoted.open(9, Policy::Damage).unwrap().unwrap();
    assert_eq!((cut.is_due, cut.synced_us), (true, Some(4)));
    assert_eq!(keys(&unnoted), "abcd");
}

#[test]
fn a_log_that_is_cut_in_the_middle_is_noticed() {
    let rules = Rules {
        looks_behind: false,
        ..Rules::default()
    };
    let mut disk = rotten(2, true, rules);
    assert!(!disk.open(9, Policy::Damage).unwrap().unwrap().is_due);
    assert_eq!(keys(&disk), "ab");
}

#[test]
fn rot_is_met_by_reads_and_ends_a_merge() {
    let (mut disk, _) = with_full_files(3, Rules::default());
    let at = disk.log.sealed[0].entries.len() - 1;
    let entry = disk.log.entries_mut().nth(at).unwrap();
    // A bit of its value, which is the last that the record has.
    entry.damage(|bytes| *bytes.last_mut().unwrap() ^= 1);
    let StoreOp::Put(record) = entry.ops[0].clone() else {
        panic!("it puts")
    };
    let is_newest = disk.log.newest(&record.key);
    assert!(!disk.has_failed() && is_newest.is_some());
    disk.settle(MERGED_US);
    assert!(disk.has_failed());
    assert_eq!((disk.merges(), disk.tables.len()), (0, 0));
    disk.crash(MERGED_US, 0, false);
    assert!(disk.open(MERGED_US, Policy::Damage).is_err());
    assert!(disk.has_failed(), "nothing was changed");
    // Where the log is cut there, against the rules, the store goes on without the rest.
    disk.set_rules(Rules {
        looks_behind: false,
        ..Rules::default()
    });
    assert!(disk.open(MERGED_US, Policy::Damage).is_ok());
    disk.settle(3 * MERGED_US);
    assert!(!disk.has_failed());
}

#[test]
fn bits_flip_where_there_is_something() {
    let mut empty = disk(1);
    let struck = empty.rot(0, 3, |_| true);
    assert!(struck.keys.is_empty() && struck.written_us.is_empty());
    let (mut logged, mut stored) = (0, 0);
    for seed in 0..40 {
        let (mut disk, _) = with_full_files(seed, Rules::default());
        let struck = disk.rot(2 * MERGED_US, 3, |_| true);
        assert_eq!(struck.keys.len() + struck.written_us.len(), 3);
        logged += struck.written_us.len();
        stored += struck.keys.len();
    }
    assert!(logged > 20 && stored > 20, "{logged} {stored}");
}
