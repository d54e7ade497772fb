//! `sim`: the simulator.

mod bug;
mod check;
mod explain;
mod jobs;
mod mutants;
mod run;
mod scale;
mod shrink;
mod swarm;

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rumormill_sim::plan::{Plan, Profile};
use rumormill_sim::{FaultSet, Options};

use crate::cli::{Sim, SimRun};
use crate::commands::outfile::OutFile;
use crate::failure::Failure;
use crate::output::print_line;

/// A plan of a day of heavy load is smaller.
const MAX_PLAN_BYTES: u64 = 64 << 20;

pub(crate) fn run(sim: Sim) -> Result<(), Failure> {
    match sim {
        Sim::Run { run, bug, output } => run::run(&run, &bug, output),
        Sim::Plan { run, out } => print_plan(&run, out),
        Sim::Explain {
            run,
            bug,
            key,
            message,
            around,
            json,
        } => {
            let subject = explain::subject(key.as_deref(), message)?;
            explain::run((&run, &bug), &subject, around, json)
        }
        Sim::Replay { plan, bug, output } => run::run_plan_of(read(&plan)?, &bug, output),
        Sim::Swarm {
            seeds,
            from,
            jobs,
            profile,
            bug,
            json,
        } => swarm::run((profile, &bug), (from, seeds), jobs, json),
        Sim::Shrink {
            seed,
            profile,
            bug,
            plan,
            runs,
            out,
            json,
        } => {
            let plan = match plan {
                Some(path) => read(&path)?,
                None => profile.plan(seed.unwrap_or_default()),
            };
            shrink::run((plan, &bug), runs, out, json)
        }
        Sim::Mutants {
            seeds,
            profile,
            jobs,
            only,
            rare,
            json,
        } => mutants::run((profile, seeds), jobs, (only.as_deref(), rare), json),
        Sim::Scale { nodes, seed, json } => scale::run(&nodes, seed, json),
        Sim::Check { file, steps, json } => check::run(&file, steps, json),
    }
}

/// Prints the plan that the flags ask for.
fn print_plan(run: &SimRun, out: Option<PathBuf>) -> Result<(), Failure> {
    let out = out.map(OutFile::open).transpose()?;
    let text = plan(run)?.0.to_string();
    match out {
        Some(file) => file.finish(&text),
        None => print_line(text.trim_end()),
    }
}

/// The plan that the flags ask for, and the kinds of faults that it was to have.
fn plan(run: &SimRun) -> Result<(Plan, FaultSet), Failure> {
    if let Some(path) = &run.plan {
        let plan = read(path)?;
        let kinds = plan.kinds();
        return Ok((plan, kinds));
    }
    if let Some(profile) = run.profile.or(run.swarm.then_some(Profile::Gossip)) {
        let plan = profile.plan(run.seed);
        let kinds = plan.kinds();
        return Ok((plan, kinds));
    }
    let faults: FaultSet = run
        .faults
        .parse()
        .map_err(|error| Failure::Usage(format!("{error}")))?;
    let options = Options {
        seed: run.seed,
        nodes: usize::from(run.nodes),
        minutes: run.minutes,
        faults,
        trace: false,
    };
    Ok((options.plan(), faults))
}

fn read(path: &Path) -> Result<Plan, Failure> {
    let failed = |why: &dyn std::fmt::Display| {
        Failure::Usage(format!("cannot read the plan {}: {why}", path.display()))
    };
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_PLAN_BYTES + 1).read_to_string(&mut text))
        .map_err(|error| failed(&error))?;
    if text.len() as u64 > MAX_PLAN_BYTES {
        return Err(failed(&format!("it has more than {MAX_PLAN_BYTES} bytes")));
    }
    text.parse().map_err(|error| failed(&error))
}
