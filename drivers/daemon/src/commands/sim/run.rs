//! `sim run`.

use std::path::PathBuf;

use rumormill_sim::plan::Plan;
use rumormill_sim::{FaultSet, Keep, page, record_plan, run_plan};

use super::outfile::OutFile;
use crate::cli::SimRun;
use crate::commands::rows::print_line;
use crate::failure::Failure;

pub(crate) fn run(
    run: &SimRun,
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    let files = Files::open(trace, html)?;
    let (plan, faults) = super::plan(run)?;
    run_and_print(plan, faults, files, json)
}

/// Runs a plan from a file.
pub(super) fn run_plan_of(
    plan: Plan,
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    let kinds = plan.kinds();
    run_and_print(plan, kinds, Files::open(trace, html)?, json)
}

/// Where more than the summary goes.
struct Files {
    trace: Option<OutFile>,
    html: Option<OutFile>,
}

impl Files {
    /// A long run for a file that cannot be written would be in vain.
    fn open(trace: Option<PathBuf>, html: Option<PathBuf>) -> Result<Self, Failure> {
        Ok(Files {
            trace: trace.map(OutFile::open).transpose()?,
            html: html.map(OutFile::open).transpose()?,
        })
    }
}

fn run_and_print(plan: Plan, faults: FaultSet, files: Files, json: bool) -> Result<(), Failure> {
    let Files { trace, html } = files;
    let keep = match trace {
        Some(_) => Keep::All,
        None => Keep::Nothing,
    };
    let report = match html {
        Some(_) => record_plan(plan, faults, keep, page::PAGE_EVENTS),
        None => run_plan(plan, faults, keep),
    };
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
