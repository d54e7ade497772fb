//! A table of 1,000,000 rows (20 B keys, 100 B values) without storage or peers, beside a bare `HashMap<Bytes, Bytes>` in the
//! same run. Prints medians of five passes in nanoseconds per operation: `cargo bench -p rumormill-core --bench table`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    missing_docs
)]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant as Stopwatch;

use bytes::Bytes;
use rumormill_core::{
    Config, Instant, Node, Now, Recovery, Seed, TableId, Wall, io::Input, table::Write,
};

const ROWS: u64 = 1_000_000;
const HOT: u64 = 20_000;
const PASSES: usize = 5;

fn key(n: u64) -> [u8; 20] {
    let mut key = *b"key:0000000000000000";
    // Scattered, so that neither side profits from an ordered load.
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    for (i, digit) in key[4..].iter_mut().enumerate() {
        *digit = b"0123456789abcdef"[(scattered >> (60 - 4 * i)) as usize & 15];
    }
    key
}

fn now(n: u64) -> Now {
    Now::new(
        Instant::from_micros(n),
        Wall::from_millis(1_700_000_000_000 + n / 1_000),
    )
}

fn put(node: &mut Node, n: u64, at: u64) {
    let value = Bytes::copy_from_slice(&[b'x'; 100]);
    let write = Write::Put {
        key: &key(n),
        value,
        expires: None,
    };
    node.write(now(at), TableId::DEFAULT, write).unwrap();
    if n.is_multiple_of(64) {
        node.handle(now(at), Input::Tick);
        while node.poll_output().is_some() {}
    }
}

fn ns_per_op(ops: u64, run: impl FnOnce()) -> f64 {
    let start = Stopwatch::now();
    run();
    start.elapsed().as_nanos() as f64 / ops as f64
}

fn median(name: &str, mut passes: Vec<f64>) -> f64 {
    passes.sort_by(f64::total_cmp);
    let median = passes[passes.len() / 2];
    println!("{name:<34} {median:>8.0} ns");
    median
}

fn main() {
    let fresh = || {
        let config = Config::new("bench", "none");
        Recovery::new(config, Seed::from_u64(1))
            .finish(now(0))
            .unwrap()
    };
    let mut inserts = Vec::new();
    let mut node = fresh();
    for _ in 0..PASSES {
        node = fresh();
        inserts.push(ns_per_op(ROWS, || {
            (0..ROWS).for_each(|n| put(&mut node, n, n))
        }));
    }
    median("new key", inserts);
    let overwrites = (0..PASSES).map(|pass| {
        let base = ROWS * (pass as u64 + 1);
        ns_per_op(ROWS, || {
            (0..ROWS).for_each(|n| put(&mut node, (n * 7_919) % ROWS, base + n))
        })
    });
    median("overwrite", overwrites.collect());

    let map: HashMap<Bytes, Bytes> = (0..ROWS)
        .map(|n| {
            (
                Bytes::copy_from_slice(&key(n)),
                Bytes::copy_from_slice(&[b'x'; 100]),
            )
        })
        .collect();
    for (name, span) in [("uniform among 1M", ROWS), ("hot 20,000", HOT)] {
        let keys: Vec<[u8; 20]> = (0..ROWS).map(|n| key((n * 104_729) % span)).collect();
        let view = node.view(now(ROWS * 10));
        let mut ours = Vec::new();
        let mut theirs = Vec::new();
        for _ in 0..PASSES {
            ours.push(ns_per_op(ROWS, || {
                for key in &keys {
                    black_box(
                        view.get(TableId::DEFAULT, key)
                            .row()
                            .unwrap()
                            .value()
                            .unwrap()[0],
                    );
                }
            }));
            theirs.push(ns_per_op(ROWS, || {
                for key in &keys {
                    black_box(map.get(key.as_slice()).unwrap()[0]);
                }
            }));
        }
        let ours = median(&format!("read, {name}"), ours);
        let theirs = median(&format!("HashMap read, {name}"), theirs);
        println!("{:<34} {:>8.2} x", "  ratio", ours / theirs);
    }
}
