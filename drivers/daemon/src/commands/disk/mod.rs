//! `bench disk`: the cost of durability, beside a Redis that appends to a file as well.

mod batches;
mod figure;
mod rows;
mod writes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use self::figure::Figure;
use super::describe::show;
use super::server::Server;
use crate::cli::BenchDisk;
use crate::failure::Failure;
use crate::output::print_line;

pub(crate) fn run(args: &BenchDisk) -> Result<(), Failure> {
    let bench = Bench::new(args)?;
    let mut figures = writes::measure(&bench)?;
    figures.extend(batches::measure(&bench)?);
    figures.extend(rows::measure(&bench)?);
    if args.json {
        let figures: Vec<Value> = figures.iter().map(Figure::to_json).collect();
        let document = json!({
            "requests": args.requests, "rows": args.rows, "passes": args.passes,
            "redis": bench.redis.is_some(), "figures": figures,
        });
        return print_line(&document.to_string());
    }
    let header = ["", "measured", "beside it", "", "times", "goal"];
    show(&header, figures.iter().map(Figure::to_row))
}

/// How much is measured, where, and beside which Redis.
struct Bench {
    root: TempDir,
    requests: u64,
    rows: u64,
    passes: u16,
    /// The Redis to compare with, if it starts.
    redis: Option<String>,
}

impl Bench {
    fn new(args: &BenchDisk) -> Result<Bench, Failure> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("rumormill-disk-");
        let root = match &args.dir {
            Some(dir) => builder.tempdir_in(dir),
            None => builder.tempdir(),
        };
        let mut bench = Bench {
            root: root.map_err(cannot)?,
            requests: args.requests,
            rows: args.rows,
            passes: args.passes,
            redis: None,
        };
        if args.redis_server != "off" {
            let program = args.redis_server.clone();
            match Server::redis(&program, bench.root.path(), &[]) {
                Ok(_) => bench.redis = Some(program),
                Err(failure) => eprintln!("{failure}: nothing to compare with"),
            }
        }
        Ok(bench)
    }

    /// Makes a directory that is not there yet.
    fn dir(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.root.path().join(name);
        std::fs::create_dir(&dir).map_err(cannot)?;
        Ok(dir)
    }

    /// Starts the Redis that is compared with, if there is one: it appends to a file in `dir`, and syncs it as `fsync` says.
    fn start_redis(&self, dir: &Path, fsync: &str) -> Result<Option<Server>, Failure> {
        let flags = ["--appendonly", "yes", "--appendfsync", fsync];
        let program = self.redis.as_ref();
        let server = program.map(|program| Server::redis(program, dir, &flags));
        server.transpose()
    }
}

/// The failure of something with files.
fn cannot(error: std::io::Error) -> Failure {
    Failure::Not(format!("the directory cannot be used: {error}"))
}

fn remove(dir: &Path) -> Result<(), Failure> {
    std::fs::remove_dir_all(dir).map_err(cannot)
}

/// The median, if there is one.
fn median(mut all: Vec<f64>) -> Option<f64> {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}
