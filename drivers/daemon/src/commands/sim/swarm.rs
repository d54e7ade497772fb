//! `sim swarm`.

use std::num::NonZeroU16;

use rumormill_sim::Keep;
use rumormill_sim::plan::Profile;
use rumormill_sim::swarm::Summary;

use super::bug::Bug;
use super::jobs::{self, Spread};
use crate::cli::PlantedBug;
use crate::failure::Failure;
use crate::output::print_line;

pub(crate) fn run(
    (profile, bug): (Profile, &PlantedBug),
    (from, seeds): (u64, u64),
    jobs: NonZeroU16,
    json: bool,
) -> Result<(), Failure> {
    let planted = Bug::named(bug)?;
    let interrupted = jobs::interrupt()?;
    jobs::quiet_panics();
    let bar = jobs::bar(seeds, "seeds");
    let range = from..from.saturating_add(seeds);
    let Spread { parts, busy, rest } =
        jobs::spread(jobs, range, &interrupted, |summary: &mut Summary, seed| {
            let report = planted.run(profile.plan(seed), Keep::Nothing);
            if let Some(found) = report.violations.first() {
                bar.println(format!("seed {seed} {}: {}", found.checker, found.text));
            }
            summary.add(&report);
            bar.inc(1);
        });
    bar.finish_and_clear();
    let mut summary = Summary::default();
    parts.into_iter().for_each(|part| summary.merge(part));
    if json {
        let mut out = summary.to_json(busy);
        out["remaining"] = serde_json::json!((!rest.is_empty()).then_some([rest.start, rest.end]));
        print_line(&out.to_string())?;
    } else {
        print_line(summary.to_string().trim_end())?;
        let (events, virtual_s) = summary.rates(busy);
        print_line(&format!(
            "{events} events/s and {virtual_s} s of virtual time per second and core"
        ))?;
        if let Some(seed) = summary.failures.keys().next() {
            let mutant = bug.mutant.iter().map(|name| format!(" --mutant {name}"));
            let mutant: String = mutant.collect();
            print_line(&format!(
                "look closer: rumormill sim shrink --profile {profile} --seed {seed}{mutant}"
            ))?;
        }
    }
    if !summary.held() {
        return Err(Failure::Not(format!(
            "{} seeds failed",
            summary.failures.len()
        )));
    }
    if !rest.is_empty() {
        let left = rest.end - rest.start;
        return Err(Failure::Not(format!(
            "interrupted: go on with --from {} --seeds {left}",
            rest.start
        )));
    }
    Ok(())
}
