//! `sim explain`.

use bytes::Bytes;
use rumormill_sim::explain::{Subject, explain};
use rumormill_sim::{Keep, report};

use super::bug::Bug;
use crate::cli::{PlantedBug, SimRun};
use crate::failure::Failure;
use crate::output::print_line;

/// About 1 GB of memory; a run of five nodes has as many in an hour of virtual time.
const MAX_EVENTS: usize = 4_000_000;

pub(crate) fn run(
    (run, bug): (&SimRun, &PlantedBug),
    subject: &Subject,
    around: usize,
    json: bool,
) -> Result<(), Failure> {
    let bug = Bug::named(bug)?;
    let (plan, faults) = super::plan(run)?;
    let seed = plan.seed;
    let mut world = bug.world(plan, Keep::Nothing);
    world.record(MAX_EVENTS);
    let report = report(world, seed, faults);
    let Some(recording) = &report.recording else {
        return Err(Failure::Not("the run was not recorded".to_string()));
    };
    let explanation =
        explain(recording, subject, around).map_err(|error| Failure::Not(format!("{error}")))?;
    match json {
        true => print_line(&explanation.to_json()),
        false => print_line(explanation.to_string().trim_end()),
    }
}

pub(super) fn subject(key: Option<&str>, message: Option<u64>) -> Result<Subject, Failure> {
    let Some(named) = key else {
        let number = message
            .ok_or_else(|| Failure::Usage("expected --key TABLE/KEY or --message N".to_string()))?;
        return Ok(Subject::Message(number));
    };
    match named.split_once('/') {
        Some((table, key)) if !table.is_empty() && !key.is_empty() => Ok(Subject::Key {
            table: table.to_string(),
            key: Bytes::copy_from_slice(key.as_bytes()),
        }),
        _ => Err(Failure::Usage(format!(
            "--key {named}: expected TABLE/KEY, such as default/k7"
        ))),
    }
}
