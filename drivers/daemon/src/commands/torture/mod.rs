//! `bench torture`: a node is killed again and again while it writes and while it starts, and each acknowledged write is looked for.

mod history;
mod writer;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use self::history::Verdict;
use self::writer::{Counts, Judged, Random, Target, Writer};
use super::http::{self, Ask};
use crate::cli::BenchTorture;
use crate::failure::Failure;
use crate::node;
use crate::output::print_line;
use crate::resp::{Client, Reply};

/// A write to a periodic table, and a flush of any, is synced within so long.
const INTERVAL: Duration = Duration::from_secs(1);
/// How many keys that lack something are described.
const DESCRIBED: usize = 20;

pub(crate) fn run(args: &BenchTorture) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::Not(format!("no directory: {error}"));
    let seed = match args.seed {
        Some(seed) => seed,
        None => fresh_seed().map_err(cannot)?,
    };
    let mut builder = tempfile::Builder::new();
    let builder = builder.prefix("rumormill-torture-");
    let root = match &args.dir {
        Some(dir) => builder.tempdir_in(dir),
        None => builder.tempdir(),
    };
    let root = root.map_err(cannot)?;
    let mut torture = Torture::new(args, seed, root.path().join("node"));
    let outcome = torture.run();
    let is_whole = outcome.is_ok() && torture.found.is_whole();
    torture.bar.finish_and_clear();
    let kept = (!is_whole).then(|| root.keep());
    if !torture.found.starts.is_empty() {
        torture.report(kept.as_deref())?;
    }
    let kept = kept.map_or(String::new(), |dir| {
        format!("; seed {seed}; {} is kept", dir.display())
    });
    match outcome {
        Ok(()) if is_whole => Ok(()),
        Ok(()) => Err(Failure::Not(format!("acknowledged writes were lost{kept}"))),
        Err(failure) => Err(Failure::Not(format!("{failure}{kept}"))),
    }
}

fn fresh_seed() -> std::io::Result<u64> {
    let bytes = rumormill_kit::random_seed()?.0;
    // Short enough to be typed.
    Ok(bytes
        .first_chunk()
        .map_or(0, |four| u32::from_le_bytes(*four))
        .into())
}

/// The counts of a run.
#[derive(Default)]
struct Found {
    /// Kills while it wrote, and while it started.
    writing: u64,
    starting: u64,
    starts: Vec<Duration>,
    lost_sync: u64,
    lost_periodic: u64,
    /// Keys without a write that may be gone.
    unpromised: u64,
    lost: Vec<String>,
}

impl Found {
    fn is_whole(&self) -> bool {
        self.lost_sync == 0 && self.lost_periodic == 0
    }

    fn add(&mut self, judged: Judged) {
        match (judged.verdict, judged.is_sync) {
            (Verdict::Whole, _) => {}
            (Verdict::Unpromised, _) => self.unpromised += 1,
            (Verdict::Lost, true) => self.lost_sync += 1,
            (Verdict::Lost, false) => self.lost_periodic += 1,
        }
        if judged.verdict == Verdict::Lost && self.lost.len() < DESCRIBED {
            self.lost.push(judged.what);
        }
    }
}

/// A run.
struct Torture<'a> {
    args: &'a BenchTorture,
    seed: u64,
    dir: PathBuf,
    flags: Vec<String>,
    random: Random,
    writers: Vec<Writer>,
    found: Found,
    bar: ProgressBar,
}

/// A node that is ready.
struct Ready {
    child: Child,
    redis: String,
    http: String,
}

impl Drop for Ready {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl<'a> Torture<'a> {
    fn new(args: &'a BenchTorture, seed: u64, dir: PathBuf) -> Torture<'a> {
        let interval = INTERVAL.as_millis().to_string();
        let log_bytes = args.store_log_bytes.to_string();
        let mut flags = vec!["--log", "error", "--sync-interval-ms", &interval];
        flags.extend(["--store-log-bytes", &log_bytes]);
        if let Some(name) = &args.store_mutant {
            flags.extend(["--store-mutant", name]);
        }
        let bar = ProgressBar::new(args.kills);
        let style = ProgressStyle::with_template("{pos}/{len} kills, {elapsed}, {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Torture {
            args,
            seed,
            dir,
            flags: flags.into_iter().map(String::from).collect(),
            random: Random::new(seed),
            writers: (0..usize::from(args.clients))
                .map(|number| Writer::new(number, seed))
                .collect(),
            found: Found::default(),
            bar,
        }
    }

    fn run(&mut self) -> Result<(), Failure> {
        let mut node = self.start()?;
        self.create_tables(&node.http)?;
        loop {
            let killed = self.write_until_killed(node)?;
            while self.kills() < self.args.kills && self.random.below(4) == 0 {
                self.kill_starting()?;
            }
            node = self.start()?;
            self.check(&node, killed)?;
            if self.kills() >= self.args.kills || !self.found.is_whole() {
                return Ok(());
            }
        }
    }

    fn kills(&self) -> u64 {
        self.found.writing + self.found.starting
    }

    fn spawn(&self) -> Result<node::Starting, Failure> {
        let flags: Vec<&str> = self.flags.iter().map(String::as_str).collect();
        node::spawn("torture", Some(&self.dir), &flags)
    }

    fn start(&mut self) -> Result<Ready, Failure> {
        let begun = Instant::now();
        let (child, ready) = self.spawn()?.ready()?;
        self.found.starts.push(begun.elapsed());
        let addr = |of: &str| ready[of].as_str().unwrap_or("").to_string();
        Ok(Ready {
            child,
            redis: addr("redis"),
            http: addr("http"),
        })
    }

    fn create_tables(&self, http: &str) -> Result<(), Failure> {
        let writers = 0..self.writers.len();
        let targets = writers.flat_map(Target::all);
        let durabilities: std::collections::BTreeMap<String, &str> = targets
            .map(|target| {
                (
                    target.name,
                    if target.is_sync { "sync" } else { "periodic" },
                )
            })
            .collect();
        for (name, durability) in durabilities {
            let new = json!({ "name": name, "durability": durability }).to_string();
            let ask = Ask::new("POST", "/v1/tables").header("Content-Type", "application/json");
            let answer = http::ask(http, &ask.body(new.as_bytes()))?;
            if answer.status != 201 {
                return Err(answer.refusal());
            }
        }
        Ok(())
    }

    /// Lets all writers write, and kills the node meanwhile. Returns when.
    fn write_until_killed(&mut self, mut node: Ready) -> Result<Instant, Failure> {
        let pause = Duration::from_millis(match self.random.below(8) {
            // Soon after a start, which goes on merging what it found.
            0 | 1 => self.random.below(60),
            2..=6 => 60 + self.random.below(700),
            _ => 1_500 + self.random.below(1_500),
        });
        let addr = node.redis.clone();
        let killed = thread::scope(|scope| {
            let writers = self.writers.iter_mut();
            let writing: Vec<_> = writers
                .map(|writer| scope.spawn(|| writer.write(&addr)))
                .collect();
            thread::sleep(pause);
            let killed = Instant::now();
            let kill = node.child.kill().and_then(|()| node.child.wait());
            for one in writing {
                let stopped = |_| Failure::Not("a writer stopped".into());
                one.join().map_err(stopped)??;
            }
            kill.map_err(|error| Failure::Not(format!("the node cannot be killed: {error}")))?;
            Ok::<_, Failure>(killed)
        })?;
        self.found.writing += 1;
        self.bar.inc(1);
        Ok(killed)
    }

    /// Kills a node before it is ready, or just when it is.
    fn kill_starting(&mut self) -> Result<(), Failure> {
        let starting = self.spawn()?;
        thread::sleep(Duration::from_millis(self.random.below(120)));
        starting.kill();
        self.found.starting += 1;
        self.bar.inc(1);
        Ok(())
    }

    /// Looks for each write.
    fn check(&mut self, node: &Ready, killed: Instant) -> Result<(), Failure> {
        let promised = killed.checked_sub(INTERVAL).unwrap_or(killed);
        let mut client = Client::connect(&node.redis)?;
        for writer in &mut self.writers {
            for judged in writer.judge(&mut client, promised)? {
                self.found.add(judged);
            }
        }
        let strangers = self.strangers(&mut client)?;
        strangers
            .into_iter()
            .for_each(|judged| self.found.add(judged));
        let counts = self.counts();
        self.bar.set_message(format!(
            "{} writes acknowledged, lost: {} sync, {} periodic",
            counts.sync + counts.periodic,
            self.found.lost_sync,
            self.found.lost_periodic
        ));
        Ok(())
    }

    /// Returns the keys that no writer has.
    fn strangers(&self, client: &mut Client) -> Result<Vec<Judged>, Failure> {
        let targets = (0..self.writers.len()).flat_map(Target::all);
        let tables: BTreeSet<(String, bool)> = targets
            .map(|target| (target.name, target.is_sync))
            .collect();
        let known: BTreeSet<Vec<u8>> = self.writers.iter().flat_map(Writer::keys).collect();
        let mut judged = Vec::new();
        for (name, is_sync) in tables {
            let Reply::Array(keys) = client.call(&[b"HKEYS", name.as_bytes()])?.accepted()? else {
                return Err(Failure::Not(format!("HKEYS {name} answered no list")));
            };
            for key in keys {
                if let Reply::Bulk(Some(key)) = key
                    && !known.contains(&key)
                {
                    judged.push(Judged {
                        is_sync,
                        verdict: Verdict::Lost,
                        what: format!("{name}/{}: never written", key.escape_ascii()),
                    });
                }
            }
        }
        Ok(judged)
    }

    fn counts(&self) -> Counts {
        let mut all = Counts::default();
        for writer in &self.writers {
            let Counts {
                sync,
                periodic,
                open,
                refused,
            } = writer.counts;
            all.sync += sync;
            all.periodic += periodic;
            all.open += open;
            all.refused += refused;
        }
        all
    }

    fn report(&self, kept: Option<&Path>) -> Result<(), Failure> {
        let (found, counts) = (&self.found, self.counts());
        let mut starts = found.starts.clone();
        starts.sort_unstable();
        let seconds = |at: usize| starts.get(at).map_or(0.0, Duration::as_secs_f64);
        let (median, slowest) = (seconds(starts.len() / 2), seconds(starts.len() - 1));
        if self.args.json {
            let document: Value = json!({
                "kills": { "writing": found.writing, "starting": found.starting },
                "starts": { "count": starts.len(), "median_s": median, "slowest_s": slowest },
                "acknowledged": { "sync": counts.sync, "periodic": counts.periodic },
                "open": counts.open, "refused": counts.refused,
                "lost": { "sync": found.lost_sync, "periodic": found.lost_periodic },
                "gone_within_the_interval": found.unpromised,
                "examples": found.lost, "seed": self.seed, "kept": kept,
            });
            return print_line(&document.to_string());
        }
        for line in &found.lost {
            print_line(line)?;
        }
        let kills = self.kills();
        print_line(&format!(
            "kills: {kills}, {} of them while it wrote and {} while it started",
            found.writing, found.starting
        ))?;
        let count = starts.len();
        print_line(&format!(
            "starts: {count}, median {median:.3} s, slowest {slowest:.3} s"
        ))?;
        print_line(&format!(
            "writes acknowledged: {} sync, {} periodic; without an answer {}, refused {}",
            counts.sync, counts.periodic, counts.open, counts.refused
        ))?;
        print_line(&format!(
            "lost: {} sync, {} periodic; keys without a periodic write, or a flush, of the last second before a kill: {}",
            found.lost_sync, found.lost_periodic, found.unpromised
        ))?;
        print_line(&format!("seed: {}", self.seed))
    }
}
