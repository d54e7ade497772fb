//! `bench`: a bounded load of writes and reads, measured.

use serde_json::{Value, json};

use super::describe::show;
use super::load::{Done, Load, Request};
use super::{disk, restarts, stalls, torture};
use crate::cli::{Bench, BenchOf};
use crate::failure::Failure;
use crate::output::print_line;
use crate::resp::{Client, Reply};
use crate::table::Table;

/// The cost of one kind of request.
struct Measured {
    kind: &'static str,
    requests: u64,
    done: Done,
}

pub(crate) fn run(args: &Bench) -> Result<(), Failure> {
    match &args.what {
        Some(BenchOf::Stalls(stalls)) => return stalls::run(stalls),
        Some(BenchOf::Restarts(restarts)) => return restarts::run(restarts),
        Some(BenchOf::Disk(disk)) => return disk::run(disk),
        Some(BenchOf::Torture(torture)) => return torture::run(torture),
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
    let table = Table::new(&args.table)?;
    let load = Load {
        request: match kind {
            "put" => Request::Put(table),
            _ => Request::Get(table),
        },
        addr: args.server.addr.clone(),
        size: args.size as usize,
        keys: args.keys,
        clients: u64::from(args.clients),
        pipeline: u64::from(args.pipeline),
        requests: args.requests,
    };
    Ok(Measured {
        kind,
        requests: args.requests,
        done: load.run(pid)?,
    })
}

impl Measured {
    fn percentile(&self, per_mille: usize) -> f64 {
        let index = (self.done.batches.len().saturating_sub(1)) * per_mille / 1000;
        self.done
            .batches
            .get(index)
            .map_or(0.0, |time| time.as_secs_f64() * 1e3)
    }

    fn per_second(&self) -> f64 {
        self.requests as f64 / self.done.wall.as_secs_f64().max(1e-9)
    }

    fn cpu_us(&self) -> Option<f64> {
        self.done
            .cpu
            .map(|cpu| cpu.as_secs_f64() * 1e6 / self.requests as f64)
    }

    fn to_row(&self) -> Vec<String> {
        let cpu = self
            .cpu_us()
            .map_or("unknown".into(), |cpu| format!("{cpu:.2}"));
        let times = [500, 990, 999, 1000].map(|at| format!("{:.3}", self.percentile(at)));
        let [p50, p99, p999, max] = times;
        let (requests, errors) = (self.requests.to_string(), self.done.errors.to_string());
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
            "kind": self.kind, "requests": self.requests, "errors": self.done.errors,
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
