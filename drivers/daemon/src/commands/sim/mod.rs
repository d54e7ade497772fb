//! `sim`: the simulator.

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
use std::path::Path;

use rumormill_sim::plan::Plan;
use rumormill_sim::{FaultSet, Options};

use crate::cli::{Profile, Sim, SimRun};
use crate::failure::Failure;

/// A plan of a day of heavy load is smaller.
const MAX_PLAN_BYTES: u64 = 64 << 20;

pub(crate) fn run(sim: Sim) -> Result<(), Failure> {
    match sim {
        Sim::Run { run, output } => run::run(&run, output),
        Sim::Explain {
            run,
            key,
            message,
            around,
            json,
        } => explain::run(&run, key.as_deref(), message, around, json),
        Sim::Replay { plan, output } => run::run_plan_of(read(&plan)?, output),
        Sim::Swarm {
            seeds,
            from,
            jobs,
            profile: Profile::Gossip,
            json,
        } => swarm::run(seeds, from, jobs, json),
        Sim::Shrink {
            seed,
            plan,
            runs,
            out,
            json,
        } => {
            let plan = match plan {
                Some(path) => read(&path)?,
                None => Plan::swarm(seed.unwrap_or_default()),
            };
            shrink::run(plan, runs, out, json)
        }
        Sim::Mutants {
            seeds,
            jobs,
            only,
            rare,
            json,
        } => mutants::run(seeds, jobs, (only.as_deref(), rare), json),
        Sim::Scale { nodes, seed, json } => scale::run(&nodes, seed, json),
        Sim::Check { file, steps, json } => check::run(&file, steps, json),
    }
}

/// The plan that the flags ask for, and the kinds of faults that it was to have.
fn plan(run: &SimRun) -> Result<(Plan, FaultSet), Failure> {
    if let Some(path) = &run.plan {
        let plan = read(path)?;
        let kinds = plan.kinds();
        return Ok((plan, kinds));
    }
    if run.swarm {
        let plan = Plan::swarm(run.seed);
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
