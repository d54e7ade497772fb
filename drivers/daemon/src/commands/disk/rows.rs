//! Many rows: the memory and the disk that they take, and how long a start takes after `kill -9`.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rumormill_store::Options;

use super::figure::{Figure, Goal};
use super::{Bench, cannot, median};
use crate::commands::load::set_strings;
use crate::commands::process;
use crate::commands::server::Server;
use crate::failure::Failure;
use crate::resp::{Client, Reply};

/// Bytes of a row: its key and its value.
const ROW: u64 = 16 + 100;

/// Memory that a row may take beyond that of a node without a disk, in bytes.
const MEMORY: u64 = 20;

/// How long a server is left alone, so that it syncs and merges.
const REST: Duration = Duration::from_millis(1_500);
/// The longest time until its files are at rest.
const PATIENCE: Duration = Duration::from_secs(60);

const MIB: f64 = 1_048_576.0;

/// The server beside, as the table names it.
const REDIS: &str = "Redis everysec";

/// The time of a start on the wall and its CPU time, of each pass.
#[derive(Default)]
struct Starts {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Figure>, Failure> {
    let rows = bench.rows;
    let (node_dir, redis_dir) = (bench.dir("node")?, bench.dir("redis")?);
    eprintln!("{rows} rows");
    let memory = filled(rows, &Server::node("disk", None)?)?;
    let node = Server::node("disk", Some(&node_dir))?;
    let on_disk = filled(rows, &node)?;
    let disk = at_rest(&node_dir)?;
    drop(node);
    let redis = bench.start_redis(&redis_dir, "everysec")?;
    let beside = redis.as_ref().map(|redis| filled(rows, redis));
    let beside = beside.transpose()?.flatten();
    drop(redis);
    let (mut ours, mut theirs) = (Starts::default(), Starts::default());
    for pass in 0..bench.passes {
        eprintln!("starts: pass {} of {}", pass + 1, bench.passes);
        start(rows, &mut ours, || {
            Server::node("disk", Some(&node_dir)).map(Some)
        })?;
        start(rows, &mut theirs, || {
            bench.start_redis(&redis_dir, "everysec")
        })?;
    }
    let beyond = on_disk.zip(memory).map(|(disk, memory)| disk - memory);
    let allowed = (MEMORY * rows + 2 * Options::LOG_BYTES) as f64 / MIB;
    let mut figures = starts(rows, ours, theirs);
    figures.extend([
        Figure {
            what: "the same rows on disk at rest, MiB".into(),
            measured: Some(disk as f64 / MIB),
            beside: Some((rows * ROW) as f64 / MIB),
            name: "keys and values",
            goal: Goal::AtMost(1.3),
        },
        Figure {
            what: "resident memory, MiB".into(),
            measured: on_disk,
            beside,
            name: REDIS,
            goal: Goal::None,
        },
        Figure {
            what: "resident memory with --memory, MiB".into(),
            measured: memory,
            beside,
            name: REDIS,
            goal: Goal::None,
        },
        Figure {
            what: "memory beyond that of --memory, MiB".into(),
            measured: beyond,
            beside: Some(allowed),
            name: "20 B a row + 2 x store.log_bytes",
            goal: Goal::AtMost(1.0),
        },
    ]);
    Ok(figures)
}

/// The figures of the starts.
fn starts(rows: u64, ours: Starts, theirs: Starts) -> Vec<Figure> {
    vec![
        Figure {
            what: format!("start after kill -9 with {rows} rows, s"),
            measured: median(ours.wall),
            beside: median(theirs.wall),
            name: REDIS,
            goal: Goal::AtMost(1.5),
        },
        Figure {
            what: "the same, CPU, s".into(),
            measured: median(ours.cpu),
            beside: median(theirs.cpu),
            name: REDIS,
            goal: Goal::None,
        },
    ]
}

/// Fills a server with rows. Returns its resident memory a moment later, in MiB.
fn filled(rows: u64, server: &Server) -> Result<Option<f64>, Failure> {
    set_strings(&mut Client::connect(&server.addr)?, rows)?;
    // Everything is synced meanwhile.
    thread::sleep(REST);
    let resident = process::resident(server.pid());
    Ok(resident.map(|bytes| bytes as f64 / MIB))
}

/// Measures a start, which ends with a first answer that counts all rows, and kills the server.
fn start(
    rows: u64,
    starts: &mut Starts,
    server: impl FnOnce() -> Result<Option<Server>, Failure>,
) -> Result<(), Failure> {
    let begin = Instant::now();
    let Some(server) = server()? else {
        return Ok(());
    };
    let mut client = Client::connect(&server.addr)?;
    let found = client.call(&[b"DBSIZE"])?.accepted()?;
    starts.wall.push(begin.elapsed().as_secs_f64());
    let cpu = process::cpu_time(server.pid());
    starts.cpu.extend(cpu.map(|cpu| cpu.as_secs_f64()));
    match found == Reply::Int(rows as i64) {
        true => Ok(()),
        false => Err(Failure::Not(format!(
            "{found:?} in place of {rows} rows were there after a kill"
        ))),
    }
}

/// Waits until the files of a directory keep their sizes. Returns the sum of these.
fn at_rest(dir: &Path) -> Result<u64, Failure> {
    let begin = Instant::now();
    let mut before = size_of(dir).map_err(cannot)?;
    loop {
        thread::sleep(REST);
        let now = size_of(dir).map_err(cannot)?;
        if now == before || begin.elapsed() >= PATIENCE {
            return Ok(now);
        }
        before = now;
    }
}

/// The sizes of all files in a directory and in those within; one that goes meanwhile counts nothing.
fn size_of(dir: &Path) -> std::io::Result<u64> {
    let mut sum = 0;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        sum += match entry.metadata() {
            Ok(data) if data.is_dir() => size_of(&entry.path()).unwrap_or(0),
            Ok(data) => data.len(),
            Err(_) => 0,
        };
    }
    Ok(sum)
}
