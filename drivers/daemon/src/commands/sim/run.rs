//! `sim run`.

use std::path::PathBuf;

use rumormill_sim::{Options, page, record, run as simulate};

use super::outfile::OutFile;
use crate::commands::rows::print_line;
use crate::failure::Failure;

pub(crate) fn run(
    options: &Options,
    trace: Option<PathBuf>,
    html: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    // A long run for a file that cannot be written would be in vain.
    let trace = trace.map(OutFile::open).transpose()?;
    let html = html.map(OutFile::open).transpose()?;
    let options = Options {
        trace: trace.is_some(),
        ..*options
    };
    let report = match html {
        Some(_) => record(&options, page::PAGE_EVENTS),
        None => simulate(&options),
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
