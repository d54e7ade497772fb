//! `bench`: a bounded load of writes and reads, measured.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::describe::show;
use super::{restarts, stalls};
use crate::cli::{Bench, BenchOf};
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::{Client, Reply};
use crate::table::Table;

/// The cost of one kind of request.
struct Measured {
    kind: &'static str,
    requests: u64,
    errors: u64,
    wall: Duration,
    server_cpu: Option<Duration>,
    /// Time of each batch from sending to its last reply, ascending.
    batches: Vec<Duration>,
}

pub(crate) fn run(args: &Bench) -> Result<(), Failure> {
    match &args.what {
        Some(BenchOf::Stalls(stalls)) => return stalls::run(stalls),
        Some(BenchOf::Restarts(restarts)) => return restarts::run(restarts),
        None => {}
    }
    let mut control = Client::connect(&args.server.addr)?;
    let pid = if control.is_local() {
        server_pid(&mut control)
    } else {
        None
    };
    let mut results = Vec::new();
    for kind in ["put", "get"] {
        results.push(measure(args, kind, pid)?);
    }
    if args.server.json {
        let results: Vec<Value> = results.iter().map(Measured::to_json).collect();
        return print_line(
            &json!({
                "clients": args.clients, "pipeline": args.pipeline, "size": args.size,
                "keys": args.keys, "table": args.table, "results": results,
            })
            .to_string(),
        );
    }
    let header = [
        "",
        "requests",
        "errors",
        "per second",
        "p50 ms",
        "p99 ms",
        "p99.9 ms",
        "max ms",
        "server CPU us",
    ];
    show(&header, results.iter().map(Measured::to_row))
}

fn measure(args: &Bench, kind: &'static str, pid: Option<u32>) -> Result<Measured, Failure> {
    let cpu_before = pid.and_then(cpu_time);
    let begin = Instant::now();
    let clients = u64::from(args.clients);
    let workers: Vec<_> = (0..clients)
        .map(|client| {
            let share = args.requests / clients + u64::from(client < args.requests % clients);
            let args = Load {
                table: Table::new(&args.table)?,
                addr: args.server.addr.clone(),
                value: vec![b'x'; args.size as usize],
                keys: args.keys,
                pipeline: u64::from(args.pipeline),
                requests: share,
                seed: client + 1,
                write: kind == "put",
            };
            Ok(thread::spawn(move || args.run()))
        })
        .collect::<Result<_, Failure>>()?;
    let (mut errors, mut batches) = (0, Vec::new());
    for worker in workers {
        let stopped = || Failure::Not("a client thread stopped".into());
        let (failed, times) = worker.join().map_err(|_| stopped())??;
        errors += failed;
        batches.extend(times);
    }
    let wall = begin.elapsed();
    let cpu_after = pid.and_then(cpu_time);
    batches.sort_unstable();
    let server_cpu = cpu_before
        .zip(cpu_after)
        .map(|(before, after)| after.saturating_sub(before));
    Ok(Measured {
        kind,
        requests: args.requests,
        errors,
        wall,
        server_cpu,
        batches,
    })
}

/// The load of one connection.
struct Load {
    table: Table,
    addr: String,
    value: Vec<u8>,
    keys: u64,
    pipeline: u64,
    requests: u64,
    seed: u64,
    write: bool,
}

impl Load {
    fn run(self) -> Result<(u64, Vec<Duration>), Failure> {
        let mut client = Client::connect(&self.addr)?;
        let (mut left, mut errors, mut times) = (self.requests, 0, Vec::new());
        let mut state = self.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        while left > 0 {
            let batch = left.min(self.pipeline);
            for _ in 0..batch {
                state = next_random(state);
                let key = format!("key:{:016}", state % self.keys);
                match self.write {
                    true => client.send(&self.table.put(key.as_bytes(), &self.value))?,
                    false => client.send(&self.table.get(key.as_bytes()))?,
                }
            }
            let begin = Instant::now();
            client.flush()?;
            for _ in 0..batch {
                errors += u64::from(matches!(client.receive()?, Reply::Error(_)));
            }
            times.push(begin.elapsed());
            left -= batch;
        }
        Ok((errors, times))
    }
}

/// The xorshift generator of Marsaglia: good enough to spread keys, and the same in every run.
fn next_random(mut state: u64) -> u64 {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    state
}

impl Measured {
    fn percentile(&self, per_mille: usize) -> f64 {
        let index = (self.batches.len().saturating_sub(1)) * per_mille / 1000;
        self.batches
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    fn per_second(&self) -> f64 {
        self.requests as f64 / self.wall.as_secs_f64().max(1e-9)
    }

    fn cpu_us(&self) -> Option<f64> {
        self.server_cpu
            .map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests as f64)
    }

    fn to_row(&self) -> Vec<String> {
        let cpu = self
            .cpu_us()
            .map_or("unknown".into(), |cpu| format!("{cpu:.2}"));
        let times = [500, 990, 999, 1000].map(|at| format!("{:.3}", self.percentile(at)));
        let [p50, p99, p999, max] = times;
        let (requests, errors) = (self.requests.to_string(), self.errors.to_string());
        vec![
            self.kind.into(),
            requests,
            errors,
            format!("{:.0}", self.per_second()),
            p50,
            p99,
            p999,
            max,
            cpu,
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "kind": self.kind, "requests": self.requests, "errors": self.errors,
            "per_second": self.per_second(),
            "p50_ms": self.percentile(500), "p99_ms": self.percentile(990),
            "p999_ms": self.percentile(999), "max_ms": self.percentile(1000),
            "server_cpu_us": self.cpu_us(),
        })
    }
}

fn server_pid(client: &mut Client) -> Option<u32> {
    let Ok(Reply::Bulk(Some(info))) = client.call(&[b"INFO", b"server"]) else {
        return None;
    };
    let info = String::from_utf8(info).ok()?;
    info.lines()
        .find_map(|line| line.strip_prefix("process_id:"))?
        .trim()
        .parse()
        .ok()
}

/// User and system time of a process, which Linux counts in hundredths of a second.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 10))
}
