//! `sim`: the simulator.

mod explain;
mod outfile;
mod run;

use rumormill_sim::{FaultSet, Options};

use crate::cli::{Sim, SimRun};
use crate::failure::Failure;

pub(crate) fn run(sim: Sim) -> Result<(), Failure> {
    match sim {
        Sim::Run {
            run,
            trace,
            html,
            json,
        } => run::run(&options(&run)?, trace, html, json),
        Sim::Explain {
            run,
            key,
            message,
            around,
            json,
        } => explain::run(&options(&run)?, key.as_deref(), message, around, json),
    }
}

/// What the flags ask for, without a trace.
fn options(run: &SimRun) -> Result<Options, Failure> {
    let faults: FaultSet = run
        .faults
        .parse()
        .map_err(|error| Failure::Usage(format!("{error}")))?;
    Ok(Options {
        seed: run.seed,
        nodes: usize::from(run.nodes),
        minutes: run.minutes,
        faults,
        trace: false,
    })
}
