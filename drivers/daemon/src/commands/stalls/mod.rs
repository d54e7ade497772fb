//! `bench stalls`: whether anything that a client may do holds up the loop of a node, and how long it takes beside Redis.

mod probe;
mod things;

use std::io::{BufWriter, Write};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use self::things::{Measured, Sizes};
use super::describe::show;
use super::server::Server;
use crate::cli::BenchStalls;
use crate::failure::Failure;
use crate::output::print_line;

/// The goals: of a thousand PINGs, how long all but one may take at most, and how much longer than Redis a thing may take.
const GOAL_MS: f64 = 5.0;
const GOAL_TIMES: f64 = 3.0;

/// A Redis that keeps nothing on disk, and tells subscribers of what a node tells them of.
const REDIS: [&str; 4] = ["--appendonly", "no", "--notify-keyspace-events", "KEg$hx"];

pub(crate) fn run(args: &BenchStalls) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Not(format!("no temporary directory: {error}"));
    let root = tempfile::Builder::new()
        .prefix("rumormill-stalls-")
        .tempdir()
        .map_err(cannot)?;
    let file = root.path().join("rows.jsonl");
    write_lines(&file, args.rows).map_err(cannot)?;
    let sizes = Sizes {
        rows: args.rows,
        tables: args.tables,
        settle: Duration::from_millis(args.settle),
    };
    let dir = root.path().join("node");
    let dir = (!args.memory).then_some(dir.as_path());
    let node = things::measure(&Server::node("stalls", dir)?, sizes, &file)?;
    let redis = match args.redis_server.as_str() {
        "off" => Vec::new(),
        program => match Server::redis(program, root.path(), &REDIS) {
            Ok(server) => things::measure(&server, sizes, &file)?,
            Err(failure) => {
                eprintln!("{failure}: nothing to compare with");
                Vec::new()
            }
        },
    };
    let found: Vec<Compared<'_>> = node
        .iter()
        .map(|node| Compared {
            node,
            redis: redis.iter().find(|redis| redis.thing == node.thing),
        })
        .collect();
    report(args, &found)
}

/// Writes the lines of a table of so many rows.
fn write_lines(file: &Path, rows: u64) -> std::io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(file)?);
    let value = "v".repeat(100);
    for n in 0..rows {
        writeln!(out, r#"{{"key":"field:{n:012}","value":"{value}"}}"#)?;
    }
    out.flush()
}

/// A thing done to both servers, or to the node alone.
struct Compared<'a> {
    node: &'a Measured,
    redis: Option<&'a Measured>,
}

impl Compared<'_> {
    /// How many times as long as Redis the node took.
    fn times(&self) -> Option<f64> {
        let redis = self.redis?.took.as_secs_f64();
        (redis > 0.0).then(|| self.node.took.as_secs_f64() / redis)
    }

    fn to_row(&self) -> Vec<String> {
        let millis = |measured: &Measured| format!("{:.3}", measured.took.as_secs_f64() * 1e3);
        let missed = |value: f64, goal: f64| if value > goal { "!" } else { "" };
        let pings = &self.node.pings;
        let [p50, p99, p999, max] = [500, 990, 999, 1000].map(|at| pings.percentile(at));
        let times = self.times().map_or(String::new(), |times| {
            format!("{times:.1}{}", missed(times, GOAL_TIMES))
        });
        let redis_max = |redis: &Measured| format!("{:.1}", redis.pings.percentile(1000));
        vec![
            self.node.thing.clone(),
            millis(self.node),
            self.redis.map_or(String::new(), millis),
            times,
            format!("{p50:.2}"),
            format!("{p99:.2}"),
            format!("{p999:.2}{}", missed(p999, GOAL_MS)),
            format!("{max:.1}"),
            self.redis.map_or(String::new(), redis_max),
        ]
    }

    fn to_json(&self) -> Value {
        let of = |measured: &Measured| {
            let pings = &measured.pings;
            json!({
                "took_ms": measured.took.as_secs_f64() * 1e3, "pings": pings.count(),
                "p50_ms": pings.percentile(500), "p99_ms": pings.percentile(990),
                "p999_ms": pings.percentile(999), "max_ms": pings.percentile(1000),
            })
        };
        json!({ "thing": self.node.thing, "node": of(self.node), "redis": self.redis.map(of), "times": self.times() })
    }
}

fn report(args: &BenchStalls, found: &[Compared<'_>]) -> Result<(), Failure> {
    if args.json {
        let things: Vec<Value> = found.iter().map(Compared::to_json).collect();
        let document = json!({ "rows": args.rows, "tables": args.tables, "memory": args.memory, "things": things });
        return print_line(&document.to_string());
    }
    let header = [
        "",
        "ms",
        "Redis ms",
        "times",
        "PING p50",
        "p99",
        "p99.9",
        "max",
        "Redis max",
    ];
    show(&header, found.iter().map(Compared::to_row))
}
