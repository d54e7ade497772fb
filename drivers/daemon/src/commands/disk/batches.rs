//! Synced batches of the store by itself, beside a bare file to which the same bytes are appended.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rumormill_core::io::{Record, StoreOp};
use rumormill_kit::store::{Store as _, StoreError};
use rumormill_store::DiskStore;

use super::figure::{Figure, Goal};
use super::{Bench, cannot, median, micros, remove};
use crate::failure::Failure;

/// Records of a batch, and how many times as long as the bare file it may take.
const SIZES: [(u64, f64); 3] = [(1, 1.15), (100, 1.3), (1_000, 1.5)];

/// Batches of a pass.
const ROUNDS: u64 = 50;

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let mut figures = Vec::new();
    for (size, goal) in SIZES {
        eprintln!("synced batches of {size}");
        let mut times = Times::default();
        for _ in 0..bench.passes {
            let dir = bench.dir("batches")?;
            one_after_the_other(&dir, size, &mut times)?;
            remove(&dir)?;
        }
        let measured = median(times.store);
        let what = format!("synced batch, {size} records of 100 B, us");
        figures.push(Figure {
            what: what.clone(),
            measured,
            beside: median(times.written),
            name: "append + fdatasync",
            goal: Goal::AtMost(goal),
        });
        figures.push(Figure {
            what,
            measured,
            beside: median(times.reserved),
            name: "the same, into reserved space",
            goal: Goal::None,
        });
    }
    Ok(figures)
}

/// The time of each batch: in the store, in a file that was written before, and in one whose space is only reserved, as that of the log is.
#[derive(Default)]
struct Times {
    store: Vec<f64>,
    written: Vec<f64>,
    reserved: Vec<f64>,
}

/// Does all in turn, so that the disk is the same for each.
fn one_after_the_other(dir: &Path, size: u64, times: &mut Times) -> Result<(), Failure> {
    let unusable = |error: rumormill_store::OpenError| Failure::Not(error.to_string());
    let failed = |error: StoreError| Failure::Not(error.to_string());
    let mut database = DiskStore::open(&dir.join("store")).map_err(unusable)?;
    let all = bytes_of(&batch(0, size)).len() * ROUNDS as usize;
    let mut written = written_before(&dir.join("written"), all).map_err(cannot)?;
    let mut reserved = reserved(&dir.join("reserved"), all).map_err(cannot)?;
    for round in 0..ROUNDS {
        let batch = batch(round * size, size);
        let took = timed(|| {
            database.apply(&batch)?;
            database.sync()
        });
        times.store.push(micros(took.map_err(failed)?));
        let bytes = bytes_of(&batch);
        for (file, took) in [
            (&mut written, &mut times.written),
            (&mut reserved, &mut times.reserved),
        ] {
            let done = timed(|| {
                file.write_all(&bytes)?;
                file.sync_data()
            });
            took.push(micros(done.map_err(cannot)?));
        }
    }
    Ok(())
}

fn timed<E>(act: impl FnOnce() -> Result<(), E>) -> Result<Duration, E> {
    let begin = Instant::now();
    act()?;
    Ok(begin.elapsed())
}

/// A file whose bytes are there, to be written over from its beginning.
fn written_before(path: &Path, bytes: usize) -> std::io::Result<File> {
    std::fs::write(path, vec![0; bytes])?;
    let file = File::options().write(true).open(path)?;
    file.sync_all()?;
    Ok(file)
}

/// A file that has its space, in which nothing was written.
fn reserved(path: &Path, bytes: usize) -> std::io::Result<File> {
    let file = File::create(path)?;
    #[cfg(target_os = "linux")]
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes as u64)?;
    #[cfg(not(target_os = "linux"))]
    file.set_len(bytes as u64)?;
    file.sync_all()?;
    Ok(file)
}

fn batch(first: u64, size: u64) -> Vec<StoreOp> {
    let row = |number: u64| {
        StoreOp::Put(Record {
            key: format!("user:{number:012}").into(),
            value: Bytes::from(vec![b'v'; 100]),
        })
    };
    (first..first + size).map(row).collect()
}

/// The keys and values of a batch.
fn bytes_of(batch: &[StoreOp]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for op in batch {
        if let StoreOp::Put(record) = op {
            bytes.extend_from_slice(&record.key);
            bytes.extend_from_slice(&record.value);
        }
    }
    bytes
}
