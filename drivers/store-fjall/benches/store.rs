//! Synced batches, and opening again. Prints medians; `--records N` sets how many are reopened.

use std::error::Error;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::Store;
use rumormill_store_fjall::FjallStore;

const ROUNDS: usize = 50;
const DEFAULT_RECORDS: u64 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    for size in [1, 100, 1_000] {
        let median = synced_batches(size)?;
        println!("synced batch of {size:>5} records of 100 B: {median:>12.1?}");
    }
    let records = records_asked_for()?;
    let (open, load) = reopening(records)?;
    println!("opening {records} records: {open:.1?}, loading them: {load:.1?}");
    Ok(())
}

fn records_asked_for() -> Result<u64, Box<dyn Error>> {
    let mut arguments = std::env::args()
        .skip_while(|argument| argument != "--records")
        .skip(1);
    Ok(arguments
        .next()
        .map_or(Ok(DEFAULT_RECORDS), |count| count.parse())?)
}

fn synced_batches(size: u64) -> Result<Duration, Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut store = FjallStore::open(dir.path())?;
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

fn reopening(records: u64) -> Result<(Duration, Duration), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let mut store = FjallStore::open(dir.path())?;
    for first in (0..records).step_by(1_000) {
        store.apply(&batch(first, 1_000.min(records - first)))?;
    }
    store.sync()?;
    drop(store);
    let (mut opens, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let begun = Instant::now();
        let mut store = FjallStore::open(dir.path())?;
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
    let value = Bytes::from(vec![b'v'; 100]);
    (first..first + size)
        .map(|n| {
            StoreOp::Put(Record {
                key: format!("user:{n:012}").into(),
                value: value.clone(),
            })
        })
        .collect()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
