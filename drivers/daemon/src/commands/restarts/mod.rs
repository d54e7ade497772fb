//! `bench restarts`: each node of a cluster is stopped by SIGTERM and started again under load. Every acknowledged write is looked for on all
//! members in the end, and each node says how many rows it was sent for its return.

mod load;
mod nodes;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::load::{Load, Written};
use self::nodes::Member;
use super::describe::show;
use crate::cli::BenchRestarts;
use crate::failure::Failure;
use crate::output::print_line;

/// How long the cluster may take until all members hold the rows, or a node until it has caught up.
const PATIENCE: Duration = Duration::from_secs(600);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// The restart of one node.
struct Restart {
    name: String,
    stop: Duration,
    ready: Duration,
    /// From the start of the process until it has all that the others had when it was ready.
    everything: Duration,
    fetched: u64,
    compared: u64,
    pushed: u64,
    /// Whether the process ended with exit code 0.
    is_clean: bool,
}

pub(crate) fn run(args: &BenchRestarts) -> Result<(), Failure> {
    let root = tempfile::Builder::new()
        .prefix("rumormill-restarts-")
        .tempdir()
        .map_err(|error| Failure::Not(format!("no temporary directory: {error}")))?;
    let mut members = start(args, root.path())?;
    eprintln!("loading {} rows", args.rows);
    let loaded = Written::rows(args.rows, args.size);
    loaded.load(&members[0])?;
    for member in &members {
        wait_for(PATIENCE, || Ok(member.number("rows")? >= args.rows))?;
    }
    let load = Load::new(&members, args.size);
    let mut restarts = Vec::new();
    let outcome = thread::scope(|scope| {
        load.begin(scope);
        for index in 0..members.len() {
            let restart = restart(args, &mut members, index);
            match restart {
                Ok(restart) => restarts.push(restart),
                Err(failure) => {
                    load.end();
                    return Err(failure);
                }
            }
            eprintln!("{} is back", members[index].name);
        }
        load.end();
        Ok(())
    });
    outcome?;
    let written = load.written();
    let lost = look_for(&members, &loaded, &written)?;
    report(args, &restarts, &written, lost)
}

fn start(args: &BenchRestarts, root: &Path) -> Result<Vec<Member>, Failure> {
    let mut members: Vec<Member> = Vec::new();
    for number in 1..=args.nodes {
        let name = format!("node-{number}");
        let first = members.first().map(|member| member.peers.clone());
        members.push(Member::start(&name, &root.join(&name), first)?);
    }
    let all = u64::from(args.nodes);
    for member in &members {
        wait_for(PATIENCE, || Ok(member.number("members")? == all))?;
    }
    Ok(members)
}

/// Stops a node and starts it again, and waits until it has all that the others had when it was ready.
fn restart(args: &BenchRestarts, members: &mut [Member], index: usize) -> Result<Restart, Failure> {
    let begin = Instant::now();
    let is_clean = members[index].stop()?;
    let stop = begin.elapsed();
    // The others write meanwhile: there is something to fetch.
    thread::sleep(Duration::from_millis(args.down));
    let begin = Instant::now();
    members[index].start_again()?;
    let member = &members[index];
    wait_for(PATIENCE, || Ok(member.is_ready()))?;
    let ready = begin.elapsed();
    let mut most = 0;
    for other in members.iter().filter(|other| other.name != member.name) {
        most = most.max(other.number("rows")?);
    }
    wait_for(PATIENCE, || Ok(member.number("rows")? >= most))?;
    Ok(Restart {
        name: member.name.clone(),
        stop,
        ready,
        everything: begin.elapsed(),
        fetched: member.number("rows_fetched")?,
        compared: member.number("rows_compared")?,
        pushed: member.number("rows_pushed")?,
        is_clean,
    })
}

/// Looks for every acknowledged write on all members. Returns how many are missing or wrong, each counted once for each member that lacks it.
fn look_for(members: &[Member], loaded: &Written, written: &[Written]) -> Result<u64, Failure> {
    let acknowledged: u64 = written.iter().map(Written::count).sum();
    eprintln!(
        "looking for {} writes on each node",
        loaded.count() + acknowledged
    );
    let least = loaded.count() + acknowledged;
    let mut lost = 0;
    for member in members {
        // A write that is not there in time is lost.
        let _ = wait_for(Duration::from_secs(30), || {
            Ok(member.number("rows")? >= least)
        });
        for writes in written.iter().chain([loaded]) {
            lost += writes.missing(member)?;
        }
    }
    Ok(lost)
}

fn wait_for(
    patience: Duration,
    mut holds: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let begin = Instant::now();
    while !holds()? {
        if begin.elapsed() > patience {
            return Err(Failure::Not(
                "the cluster did not come to rest in time".into(),
            ));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

fn report(
    args: &BenchRestarts,
    restarts: &[Restart],
    written: &[Written],
    lost: u64,
) -> Result<(), Failure> {
    let acknowledged: u64 = written.iter().map(Written::count).sum();
    let compared: u64 = restarts.iter().map(|restart| restart.compared).sum();
    if args.json {
        let nodes: Vec<Value> = restarts.iter().map(Restart::to_json).collect();
        let document = json!({
            "rows": args.rows, "size": args.size, "acknowledged": acknowledged, "lost": lost, "nodes": nodes,
        });
        print_line(&document.to_string())?;
    } else {
        let header = [
            "",
            "stop s",
            "ready s",
            "everything s",
            "fetched",
            "compared",
            "pushed",
            "exit",
        ];
        show(&header, restarts.iter().map(Restart::to_row))?;
        let nodes = restarts.len();
        print_line(&format!(
            "{acknowledged} writes acknowledged meanwhile, {} rows before them: {lost} lost on {nodes} nodes, {compared} compared",
            args.rows
        ))?;
    }
    match lost == 0 && restarts.iter().all(|restart| restart.is_clean) {
        true => Ok(()),
        false => Err(Failure::Not(
            "writes were lost, or a node did not stop in good order".into(),
        )),
    }
}

impl Restart {
    fn to_row(&self) -> Vec<String> {
        let seconds = |time: Duration| format!("{:.3}", time.as_secs_f64());
        vec![
            self.name.clone(),
            seconds(self.stop),
            seconds(self.ready),
            seconds(self.everything),
            self.fetched.to_string(),
            self.compared.to_string(),
            self.pushed.to_string(),
            if self.is_clean { "0" } else { "not 0" }.to_string(),
        ]
    }

    fn to_json(&self) -> Value {
        json!({
            "name": self.name, "stop_s": self.stop.as_secs_f64(), "ready_s": self.ready.as_secs_f64(),
            "everything_s": self.everything.as_secs_f64(), "fetched": self.fetched,
            "compared": self.compared, "pushed": self.pushed, "clean": self.is_clean,
        })
    }
}
