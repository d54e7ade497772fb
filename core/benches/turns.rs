//! The longest single call of a node with 1,000,000 rows, and of one with 100,000 tables, without storage or peers, while tables are dropped
//! and asked about: no call may take longer than 5 ms. `cargo bench -p rumormill-core --bench turns`.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    missing_docs
)]

use std::hint::black_box;
use std::time::{Duration, Instant as Stopwatch};

use bytes::Bytes;
use rumormill_core::{
    Config, Instant, Node, Now, Recovery, Seed, TableId, Wall,
    io::Input,
    table::{ScanRange, Write},
};

const ROWS: u64 = 1_000_000;
const TABLES: u64 = 100_000;

fn now(n: u64) -> Now {
    Now::new(
        Instant::from_micros(n),
        Wall::from_millis(1_700_000_000_000 + n / 1_000),
    )
}

fn fresh() -> Node {
    let config = Config::new("bench", "none");
    let recovery = Recovery::new(config, Seed::from_u64(1));
    recovery.finish(now(0)).unwrap()
}

fn put(node: &mut Node, table: TableId, key: u64, at: u64) {
    let name = format!("key:{:016x}", key.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let write = Write::Put {
        key: name.as_bytes(),
        value: Bytes::from_static(&[b'x'; 100]),
        expires: None,
    };
    node.write(now(at), table, write).unwrap();
    if key.is_multiple_of(64) {
        tick(node, at);
    }
}

fn tick(node: &mut Node, at: u64) {
    node.handle(now(at), Input::Tick);
    while node.poll_output().is_some() {}
}

fn filled(tables: u64, rows: u64) -> Node {
    let mut node = fresh();
    for n in 0..rows {
        let table = match tables {
            1 => TableId::DEFAULT,
            _ => node.table(&format!("hash:{}", n % tables)).unwrap(),
        };
        put(&mut node, table, n, n);
    }
    node
}

fn took(run: impl FnOnce()) -> Duration {
    let start = Stopwatch::now();
    run();
    start.elapsed()
}

fn show(name: &str, call: Duration) {
    println!("{name:<64} {:>10.3} ms", call.as_secs_f64() * 1e3);
}

/// Prints how long a call took, and the longest of the turns that follow until nothing is due any more.
fn drop_and_sweep(name: &str, node: &mut Node, drop: impl FnOnce(&mut Node)) {
    show(name, took(|| drop(node)));
    let (mut longest, mut turns, mut all) = (Duration::ZERO, 0_u32, Duration::ZERO);
    let mut at = ROWS * 2;
    loop {
        let turn = took(|| tick(node, at));
        (longest, all, turns) = (longest.max(turn), all + turn, turns + 1);
        at += 1;
        if node.next_deadline().is_none_or(|due| due.at > now(at).mono) {
            break;
        }
    }
    show(
        &format!("  the longest of {turns} turns behind it"),
        longest,
    );
    show("  all of them", all);
}

fn looks(what: &str, node: &Node) {
    let view = node.view(now(ROWS * 2));
    show(
        &format!("{what}: counts, 100 draws, 100 tables by name"),
        took(|| {
            black_box((view.user_rows(), view.populated_tables()));
            for random in 0..100 {
                black_box(view.sample(TableId::DEFAULT, random).is_ok());
                black_box(view.sample_table(random, None).is_some());
            }
            black_box(view.user_tables(Some("hash:5")).take(100).count());
        }),
    );
    show(
        &format!("{what}: status"),
        took(|| {
            black_box(node.status(now(ROWS * 2)));
        }),
    );
    show(
        &format!("{what}: the first row of a scan"),
        took(|| {
            let rows = view.scan(TableId::DEFAULT, ScanRange::default());
            black_box(rows.is_ok_and(|mut rows| rows.next().is_some()));
        }),
    );
}

fn main() {
    let mut node = filled(1, ROWS);
    looks("1M rows", &node);
    let hash = node.table("hash").unwrap();
    put(&mut node, hash, 1, ROWS + 1);
    drop_and_sweep("a table of one row dropped beside 1M", &mut node, |node| {
        node.flush(now(ROWS + 2), Some(hash)).unwrap();
    });
    drop_and_sweep("a table of 1M rows dropped", &mut node, |node| {
        node.flush(now(ROWS + 3), Some(TableId::DEFAULT)).unwrap();
    });
    drop(node);
    let mut node = filled(1, ROWS);
    drop_and_sweep("all tables dropped, 1M rows", &mut node, |node| {
        node.flush(now(ROWS + 3), None).unwrap();
    });
    drop(node);
    let mut node = filled(TABLES, TABLES);
    looks("100,000 tables", &node);
    drop_and_sweep("all of 100,000 tables dropped", &mut node, |node| {
        node.flush(now(ROWS + 3), None).unwrap();
    });
    looks("100,000 tables that were", &node);
    drop(node);
    come_and_go();
}

/// 100,000 hashes of one field are made and deleted; once the log of changes has moved on no name of them is known.
fn come_and_go() {
    let mut node = fresh();
    let name = |n: u64| format!("hash:{n}");
    let (mut longest, mut at) = (Duration::ZERO, 1);
    let mut timed = |node: &mut Node, step: u64, call: &mut dyn FnMut(&mut Node, u64)| {
        at += step;
        longest = longest.max(took(|| call(node, at)));
        longest = longest.max(took(|| tick(node, at)));
    };
    for n in 0..TABLES {
        timed(&mut node, 10, &mut |node, at| {
            let table = node.table_to_write(&name(n)).unwrap();
            put(node, table, 1, at);
        });
    }
    for n in 0..TABLES {
        timed(&mut node, 10, &mut |node, at| {
            let table = node.user_table(&name(n)).unwrap();
            node.flush(now(at), Some(table)).unwrap();
        });
    }
    for n in 0..TABLES {
        timed(&mut node, 200, &mut |node, at| {
            put(node, TableId::DEFAULT, n, at)
        });
    }
    let known = (0..TABLES).filter(|n| node.user_table(&name(*n)).is_some());
    println!(
        "100,000 hashes made and deleted: {} names are left",
        known.count()
    );
    show("  the longest call", longest);
}
