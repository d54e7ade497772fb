//! `sim shrink`.

use std::path::PathBuf;

use rumormill_sim::Keep;
use rumormill_sim::plan::Plan;
use rumormill_sim::shrink::shrink;
use serde_json::json;

use super::bug::Bug;
use crate::cli::PlantedBug;
use crate::commands::outfile::OutFile;
use crate::failure::Failure;
use crate::output::print_line;

pub(crate) fn run(
    (plan, bug): (Plan, &PlantedBug),
    max_runs: u64,
    out: Option<PathBuf>,
    json: bool,
) -> Result<(), Failure> {
    let bug = Bug::named(bug)?;
    let out = out.map(OutFile::open).transpose()?;
    super::jobs::quiet_panics();
    let judge = |plan: &Plan, keep| bug.run(plan.clone(), keep);
    let whole = judge(&plan, Keep::Nothing);
    let Some(found) = whole.violations.first() else {
        return print_line(match json {
            true => "null",
            false => "every promise held: there is nothing to shrink",
        });
    };
    let before = plan.entries.len();
    let small = shrink(plan, max_runs, |plan| {
        let again = judge(plan, Keep::Nothing).violations;
        again.iter().any(|other| other.checker == found.checker)
    });
    let report = judge(&small.plan, Keep::All);
    let after = small.plan.entries.len();
    let text = small.plan.to_string();
    if let Some(file) = out {
        file.finish(&text)?;
    }
    if json {
        let out = json!({
            "checker": found.checker,
            "plan_before": before,
            "plan_after": after,
            "runs": small.runs,
            "cut_short": small.cut_short,
            "plan": text,
            "trace": report.trace,
        });
        print_line(&out.to_string())?;
    } else {
        print_line(text.trim_end())?;
        print_line("")?;
        print_line(&report.trace.join("\n"))?;
        for found in &report.violations {
            print_line(&format!(
                "{} at {} us: {}",
                found.checker, found.at_us, found.text
            ))?;
        }
        let spent = if small.cut_short {
            ", all that were allowed"
        } else {
            ""
        };
        print_line(&format!(
            "{before} entries became {after}, in {} runs{spent}",
            small.runs
        ))?;
    }
    Err(Failure::Not(format!("{} is broken", found.checker)))
}
