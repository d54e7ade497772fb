//! `sim run`.

use std::path::PathBuf;

use rumormill_sim::{Keep, page, record_plan, run_plan};

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
    // A long run for a file that cannot be written would be in vain.
    let trace = trace.map(OutFile::open).transpose()?;
    let html = html.map(OutFile::open).transpose()?;
    let (plan, faults) = super::plan(run)?;
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
