//! Rows in batches, synced batches, opening again, and point reads from disk. Prints CPU and medians; `--records N` sets how many are reopened;
//! `--checkpoint` measures checkpoints of about 1 GB alone.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{Store, StoreReader};
use rumormill_store::{DiskStore, Options, Progress};
use rustix::time::{ClockId, clock_gettime};

const ROUNDS: usize = 50;
const DEFAULT_RECORDS: u64 = 100_000;

/// How many rows are written to see what one costs, in batches as a busy turn of a node makes them, with a sync now and then.
const ROWS: u64 = 2_000_000;
const TURN: u64 = 800;
const TURNS_A_SYNC: u64 = 250;

/// The rows that are read from disk have ten times the bytes that the cache has.
const CACHE_BYTES: u64 = 4 << 20;
const READ_ROWS: u64 = 350_000;
const READS: u64 = 50_000;

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    if std::env::args().any(|argument| argument == "--checkpoint") {
        return checkpoints();
    }
    // First, since the disk is busy for a while after the others.
    for size in [1, 100, 1_000] {
        let median = synced_batches(size)?;
        println!("synced batch of {size:>5} records of 100 B: {median:>12.1?}");
    }
    for keys in [0, 100_000] {
        let (cpu, rows) = written(keys)?;
        let what = match keys {
            0 => "new keys".into(),
            keys => format!("{keys} keys over and over"),
        };
        println!(
            "a row of 130 B in batches of {TURN}, {what}: {cpu:.2} us of CPU, {rows:.0} rows/s"
        );
    }
    for filters in [true, false] {
        let [hit, miss] = point_reads(filters)?;
        let with = if filters { "with" } else { "without" };
        println!(
            "read from tables ten times the cache, {with} bloom filters: hit {hit:.2} us, miss {miss:.2} us"
        );
    }
    let records = records_asked_for()?;
    let (open, load) = reopening(records)?;
    println!("opening {records} records: {open:.1?}, loading them: {load:.1?}");
    Ok(())
}

/// The rows of a store of about 1 GB, and the time between two writes beside a checkpoint.
const LARGE_ROWS: u64 = 1_000_000;
const LARGE_ROW: usize = 1_000;
const PAUSE: Duration = Duration::from_millis(2);

/// Prints how fast a checkpoint of about 1 GB is made, on the same disk and on another, and how long writes take meanwhile.
fn checkpoints() -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let mut store = DiskStore::open(dir.path())?;
    let mut random = 88_172_645_463_325_252_u64;
    let mut value = || {
        let words = (0..LARGE_ROW / 8).flat_map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random.to_le_bytes()
        });
        Bytes::from(words.collect::<Vec<u8>>())
    };
    let mut row = |number: u64| {
        StoreOp::Put(Record {
            key: format!("row/durable/default/key:{number:012}").into(),
            value: value(),
        })
    };
    for first in (0..LARGE_ROWS).step_by(1_000) {
        store.apply(&(first..first + 1_000).map(&mut row).collect::<Vec<_>>())?;
    }
    store.sync()?;
    store.wait_idle();
    let beside = tempfile::tempdir()?;
    // Another file system, so that all bytes are copied; in memory, so that it is the store's disk that is read.
    let elsewhere = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir())?;
    writes(&mut store, None, &mut row)?;
    for (what, to) in [
        ("first, on the same disk", beside.path()),
        ("the next one there", beside.path()),
        ("first, on another file system", elsewhere.path()),
        ("the next one there", elsewhere.path()),
    ] {
        println!("checkpoint {what}:");
        writes(&mut store, Some(to), &mut row)?;
    }
    Ok(())
}

/// Writes and syncs a row every few milliseconds, for two seconds or while a checkpoint is made, and prints how long that took.
fn writes(
    store: &mut DiskStore,
    to: Option<&std::path::Path>,
    row: &mut impl FnMut(u64) -> StoreOp,
) -> Outcome<()> {
    let checkpointer = store.checkpointer();
    let mut times = Vec::new();
    std::thread::scope(|scope| -> Outcome<()> {
        let begun = Instant::now();
        let made = to.map(|to| {
            scope.spawn(move || {
                let made = checkpointer.checkpoint(to, ("bench", 0), &Progress::new());
                (made, begun.elapsed())
            })
        });
        let goes_on = || match &made {
            Some(made) => !made.is_finished(),
            None => begun.elapsed() < Duration::from_secs(2),
        };
        while goes_on() {
            let one = [row(LARGE_ROWS)];
            let begun = Instant::now();
            store.apply(&one)?;
            store.sync()?;
            times.push(begun.elapsed());
            std::thread::sleep(PAUSE);
        }
        if let Some(made) = made {
            let (made, took) = made.join().map_err(|_| "it panicked")?;
            let made = made?;
            let rate = made.bytes as f64 / took.as_secs_f64() / 1e6;
            println!(
                "  {} files, {:.2} GB, {} kept, {} linked: {took:.2?}, {rate:.0} MB/s",
                made.files,
                made.bytes as f64 / 1e9,
                made.kept,
                made.linked,
            );
        }
        Ok(())
    })?;
    times.sort_unstable();
    let (middle, last) = (times.get(times.len() / 2), times.last());
    println!(
        "  {} writes of 1 KB, each with a sync: median {:.2?}, longest {:.2?}",
        times.len(),
        middle.copied().unwrap_or_default(),
        last.copied().unwrap_or_default(),
    );
    Ok(())
}

fn records_asked_for() -> Outcome<u64> {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--records")
        .skip(1);
    Ok(arguments
        .next()
        .map_or(Ok(DEFAULT_RECORDS), |count| count.parse())?)
}

/// The CPU time of all threads, in seconds.
fn cpu() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The CPU that a row costs beyond making it, all merges included, and rows per second. With `keys` 0 every key is new.
fn written(keys: u64) -> Outcome<(f64, f64)> {
    let mut random = 88_172_645_463_325_252_u64;
    let mut next = 0;
    let mut turn = || -> Vec<StoreOp> {
        let rows = (0..TURN).map(|_| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            next += 1;
            let key = if keys == 0 { next } else { random % keys };
            StoreOp::Put(Record {
                key: format!("row/durable/default/key:{key:012}").into(),
                value: Bytes::from(vec![b'v'; 130]),
            })
        });
        rows.collect()
    };
    let begun = cpu();
    for _ in 0..ROWS / TURN {
        std::hint::black_box(turn());
    }
    let making = cpu() - begun;
    let dir = tempfile::tempdir()?;
    let mut store = DiskStore::open(dir.path())?;
    let (begun, clock) = (cpu(), Instant::now());
    for number in 0..ROWS / TURN {
        store.apply(&turn())?;
        if number % TURNS_A_SYNC == 0 {
            store.sync()?;
        }
    }
    store.sync()?;
    let took = clock.elapsed();
    store.wait_idle();
    let micros = (cpu() - begun - making) * 1e6 / ROWS as f64;
    Ok((micros, ROWS as f64 / took.as_secs_f64()))
}

/// Microseconds that a point read takes whose key is there, and one whose key is not.
fn point_reads(filters: bool) -> Outcome<[f64; 2]> {
    let dir = tempfile::tempdir()?;
    let options = Options::default()
        .log_bytes(2 << 20)
        .cache_bytes(CACHE_BYTES);
    let options = match filters {
        true => options,
        false => options.without_filters(),
    };
    let mut store = DiskStore::open_with(dir.path(), options)?;
    // Keys of each file are spread over all, so that a read has to ask each run.
    let place = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % READ_ROWS * 2;
    for first in (0..READ_ROWS).step_by(1_000) {
        let rows = (first..READ_ROWS.min(first + 1_000)).map(|number| row(place(number)));
        store.apply(&rows.collect::<Vec<_>>())?;
    }
    store.sync()?;
    store.wait_idle();
    let mut reader = store.reader();
    let mut random = 88_172_645_463_325_252_u64;
    let mut outcomes = [0.0; 2];
    for (odd, outcome) in outcomes.iter_mut().enumerate() {
        let begun = Instant::now();
        let mut found = 0;
        for _ in 0..READS {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let key = place(random % READ_ROWS) + odd as u64;
            found += u64::from(reader.read(user(key).as_bytes())?.is_some());
        }
        *outcome = begun.elapsed().as_secs_f64() * 1e6 / READS as f64;
        assert_eq!(found, if odd == 0 { READS } else { 0 }, "rows found");
    }
    Ok(outcomes)
}

fn synced_batches(size: u64) -> Outcome<Duration> {
    let dir = tempfile::tempdir()?;
    let mut store = DiskStore::open(dir.path())?;
    let mut times = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS as u64 {
        let batch = batch(round * size, size);
        let begun = Instant::now();
        store.apply(&batch)?;
        store.sync()?;
        times.push(begun.elapsed());
    }
    Ok(median(times))
}

fn reopening(records: u64) -> Outcome<(Duration, Duration)> {
    let dir = tempfile::tempdir()?;
    let mut store = DiskStore::open(dir.path())?;
    for first in (0..records).step_by(1_000) {
        store.apply(&batch(first, 1_000.min(records - first)))?;
    }
    store.sync()?;
    drop(store);
    let (mut opens, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let begun = Instant::now();
        let mut store = DiskStore::open(dir.path())?;
        opens.push(begun.elapsed());
        let begun = Instant::now();
        let mut found = 0;
        store.load(&mut |_| {
            found += 1;
            Ok::<(), std::convert::Infallible>(())
        })?;
        loads.push(begun.elapsed());
        assert_eq!(found, records, "records found again");
    }
    Ok((median(opens), median(loads)))
}

fn batch(first: u64, size: u64) -> Vec<StoreOp> {
    (first..first + size).map(row).collect()
}

fn row(number: u64) -> StoreOp {
    StoreOp::Put(Record {
        key: user(number).into(),
        value: Bytes::from(vec![b'v'; 100]),
    })
}

fn user(number: u64) -> String {
    format!("user:{number:012}")
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
