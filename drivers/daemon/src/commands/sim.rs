//! `sim run`, and the way to the other commands of the simulator.

use std::fs;

use rumormill_sim::{FaultSet, Options, run as simulate};

use super::rows::print_line;
use super::sim_check;
use crate::cli::Sim;
use crate::failure::Failure;

pub(crate) fn run(sim: Sim) -> Result<(), Failure> {
    let (seed, nodes, minutes, faults, trace, json) = match sim {
        Sim::Run {
            seed,
            nodes,
            minutes,
            faults,
            trace,
            json,
        } => (seed, nodes, minutes, faults, trace, json),
        Sim::Check { file, steps, json } => return sim_check::run(&file, steps, json),
    };
    let faults: FaultSet = faults
        .parse()
        .map_err(|error| Failure::Usage(format!("{error}")))?;
    let report = simulate(&Options {
        seed,
        nodes: usize::from(nodes),
        minutes,
        faults,
        trace: trace.is_some(),
    });
    if let Some(path) = trace {
        let mut text = report.trace.join("\n");
        text.push('\n');
        fs::write(&path, text)
            .map_err(|error| Failure::Usage(format!("cannot write {}: {error}", path.display())))?;
    }
    match json {
        true => print_line(&report.to_json())?,
        false => print_line(report.to_string().trim_end())?,
    }
    match report.violations.len() {
        0 => Ok(()),
        count => Err(Failure::Not(format!("{count} violations"))),
    }
}
