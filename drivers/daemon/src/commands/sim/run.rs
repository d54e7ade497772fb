//! `sim run`.

use rumormill_sim::plan::Plan;
use rumormill_sim::{FaultSet, Keep, page, report};

use super::bug::Bug;
use crate::cli::{PlantedBug, SimOutput, SimRun};
use crate::commands::outfile::OutFile;
use crate::failure::Failure;
use crate::output::print_line;

pub(crate) fn run(run: &SimRun, bug: &PlantedBug, output: SimOutput) -> Result<(), Failure> {
    let bug = Bug::named(bug)?;
    let output = Output::open(output)?;
    let (plan, faults) = super::plan(run)?;
    run_and_print((plan, bug), faults, output)
}

/// Runs a plan from a file.
pub(super) fn run_plan_of(plan: Plan, bug: &PlantedBug, output: SimOutput) -> Result<(), Failure> {
    let (kinds, bug) = (plan.kinds(), Bug::named(bug)?);
    run_and_print((plan, bug), kinds, Output::open(output)?)
}

/// [`SimOutput`] with its files open.
struct Output {
    trace: Option<OutFile>,
    html: Option<OutFile>,
    json: bool,
}

impl Output {
    /// A long run for a file that cannot be written would be in vain.
    fn open(wanted: SimOutput) -> Result<Self, Failure> {
        Ok(Output {
            trace: wanted.trace.map(OutFile::open).transpose()?,
            html: wanted.html.map(OutFile::open).transpose()?,
            json: wanted.json,
        })
    }
}

fn run_and_print(
    (plan, bug): (Plan, Bug),
    faults: FaultSet,
    output: Output,
) -> Result<(), Failure> {
    let Output { trace, html, json } = output;
    let keep = match trace {
        Some(_) => Keep::All,
        None => Keep::Nothing,
    };
    let seed = plan.seed;
    let mut world = bug.world(plan, keep);
    if html.is_some() {
        world.record(page::PAGE_EVENTS);
    }
    let report = report(world, seed, faults);
    if let Some(file) = trace {
        let mut text = report.trace.join("\n");
        text.push('\n');
        file.finish(&text)?;
    }
    if let (Some(file), Some(recording)) = (html, &report.recording) {
        file.finish(&page::render(&report, recording))?;
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
