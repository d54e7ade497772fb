//! Measures the cost of a handle above the core's own call, without peers, on a table in memory: `cargo bench -p rumormill-smol`.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a program that only measures"
)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant as Clock;

use rumormill_core::{
    Config, Node, Now, Recovery, Seed, TableId,
    io::Input,
    table::{Durability, TableOptions, Write},
};
use rumormill_smol::{Driver, Handle, Options, Smol};
use smol::Executor;
use smol::future;

const ROUNDS: usize = 200_000;
const KEYS: usize = 100_000;
const PASSES: usize = 5;
const TOGETHER: usize = 64;

fn key(n: usize) -> Vec<u8> {
    format!("key:{:012}", n * 7919 % KEYS).into_bytes()
}

fn memory() -> TableOptions {
    TableOptions::default().durability(Durability::Memory)
}

/// The median pass, in nanoseconds a round.
fn median(mut pass: impl FnMut()) -> f64 {
    let mut passes: Vec<u128> = (0..=PASSES)
        .map(|_| {
            let begun = Clock::now();
            pass();
            begun.elapsed().as_nanos()
        })
        .collect();
    // The first one warms up.
    passes.remove(0);
    passes.sort_unstable();
    passes[PASSES / 2] as f64 / ROUNDS as f64
}

/// The core's own call, each in a turn of its own as the loop has them.
fn core() -> f64 {
    let driver = smol::block_on(bind(Smol::global()));
    let (mut node, now) = (node(&driver), driver.now());
    let (table, _) = node.create_table(now, "bench", memory()).unwrap();
    median(|| {
        for n in 0..ROUNDS {
            let now = driver.now();
            let key = key(n);
            let write = Write::Put {
                key: &key,
                value: "value".into(),
                expires: None,
            };
            black_box(node.write(now, table, write)).unwrap();
            end_turn(&mut node, now);
        }
    })
}

fn end_turn(node: &mut Node, now: Now) {
    node.handle(now, Input::Tick);
    while let Some(output) = node.poll_output() {
        black_box(output);
    }
}

async fn bind(runtime: Smol) -> Driver {
    let options = Options::new(([127, 0, 0, 1], 0).into());
    Driver::bind(runtime, options).await.unwrap()
}

fn node(driver: &Driver) -> Node {
    let config = Config::new("bench", &driver.peers_addr().to_string());
    let recovery = Recovery::new(config, Seed::from_u64(1));
    recovery.finish(driver.now()).unwrap()
}

async fn start(runtime: Smol) -> (Handle, TableId) {
    let driver = bind(runtime.clone()).await;
    let handle = driver.handle();
    let node = node(&driver);
    rumormill_async::Runtime::spawn(&runtime, async move {
        black_box(driver.run(node, None).await);
    });
    let table = handle.create_table("bench", memory()).await.unwrap();
    (handle, table)
}

/// One put after the other.
async fn sequence(handle: Handle, table: TableId, rounds: usize) {
    for n in 0..rounds {
        black_box(handle.put(table, key(n), "value").await).unwrap();
    }
}

/// Puts of many tasks at once.
async fn together(executor: &Executor<'static>, handle: Handle, table: TableId) {
    let tasks: Vec<_> = (0..TOGETHER)
        .map(|_| executor.spawn(sequence(handle.clone(), table, ROUNDS / TOGETHER)))
        .collect();
    for task in tasks {
        task.await;
    }
}

fn main() {
    let core = core();
    println!("core: write and turn                        {core:6.0} ns");
    let show = |name: &str, nanos: f64| {
        println!("{name:43} {nanos:6.0} ns  ({:+.0} ns)", nanos - core);
    };

    let executor = Arc::new(Executor::new());
    let runtime = Smol::on(Arc::clone(&executor));
    let (handle, table) = future::block_on(executor.run(start(runtime)));
    let one = || sequence(handle.clone(), table, ROUNDS);
    let many = || together(&executor, handle.clone(), table);
    let alone = median(|| future::block_on(executor.run(one())));
    show("put().await, loop on the same thread", alone);
    let crowd = median(|| future::block_on(executor.run(many())));
    show("64 tasks, loop on the same thread", crowd);

    let (handle, table) = smol::block_on(start(Smol::global()));
    let executor = Executor::new();
    let one = || sequence(handle.clone(), table, ROUNDS);
    let many = || together(&executor, handle.clone(), table);
    let alone = median(|| future::block_on(one()));
    show("put().await, loop on another thread", alone);
    let crowd = median(|| future::block_on(executor.run(many())));
    show("64 tasks, loop on another thread", crowd);
}
