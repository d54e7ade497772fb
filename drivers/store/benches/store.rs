//! Rows in batches, synced batches, opening again, and point reads from disk. Prints CPU and medians; `--records N` sets how many are reopened.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{Store, StoreReader};
use rumormill_store::{DiskStore, Options};
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
