//! `sim mutants`: only a program built for it carries the planted bugs.

use std::num::NonZeroU16;

use rumormill_sim::plan::Profile;

use crate::failure::Failure;

#[cfg(not(feature = "mutants"))]
pub(crate) fn run(
    _: (Profile, u64),
    _: NonZeroU16,
    _: (Option<&str>, bool),
    _: bool,
) -> Result<(), Failure> {
    Err(super::bug::none_here())
}

#[cfg(feature = "mutants")]
pub(crate) use hunt::run;

#[cfg(feature = "mutants")]
mod hunt {
    use std::collections::BTreeSet;
    use std::sync::atomic::Ordering;

    use rumormill_sim::mutants::{Bug, Hunt, hunt};
    use serde_json::Value;

    use super::super::bug::find;
    use super::super::jobs;
    use super::{Failure, NonZeroU16, Profile};
    use crate::output::print_line;

    pub(crate) fn run(
        (profile, seeds): (Profile, u64),
        jobs: NonZeroU16,
        (only, rare): (Option<&str>, bool),
        json: bool,
    ) -> Result<(), Failure> {
        let bugs = chosen(only, rare)?;
        let interrupted = jobs::interrupt()?;
        jobs::quiet_panics();
        let bar = jobs::bar(bugs.len() as u64, "bugs");
        let all = 0..bugs.len() as u64;
        let spread = jobs::spread(jobs, all, &interrupted, |hunts: &mut Vec<Hunt>, number| {
            let bug = bugs[number as usize];
            let go_on = || !interrupted.load(Ordering::Relaxed);
            hunts.push(hunt((bug, profile), 1..=seeds, go_on));
            bar.inc(1);
        });
        bar.finish_and_clear();
        let mut hunts = spread.parts.into_iter().flatten().collect::<Vec<Hunt>>();
        hunts.sort_by_key(|hunt| hunt.bug);
        match json {
            true => {
                let all: Vec<Value> = hunts.iter().map(Hunt::to_json).collect();
                print_line(&Value::Array(all).to_string())?;
            }
            false => print(&hunts)?,
        }
        let missed = hunts.iter().filter(|hunt| hunt.caught.is_none()).count();
        let unsound: BTreeSet<u64> = hunts
            .iter()
            .flat_map(|hunt| &hunt.unsound)
            .copied()
            .collect();
        if let Some(first) = unsound.first() {
            return Err(Failure::Not(format!(
                "{} seeds break a promise without any planted bug, the first is {first}",
                unsound.len()
            )));
        }
        match (missed, spread.rest.is_empty()) {
            (0, true) => Ok(()),
            (0, false) => Err(Failure::Not("interrupted".to_string())),
            (count, _) => Err(Failure::Not(format!(
                "{count} planted bugs were not caught"
            ))),
        }
    }

    fn chosen(only: Option<&str>, rare: bool) -> Result<Vec<Bug>, Failure> {
        let Some(name) = only else {
            return Ok(Bug::all().filter(|bug| rare || !bug.is_rare()).collect());
        };
        find(name).map(|bug| vec![bug])
    }

    fn print(hunts: &[Hunt]) -> Result<(), Failure> {
        print_line(&format!(
            "{:<24} {:>6}  {:<16} {:>6} {:>6}",
            "bug", "seeds", "caught by", "plan", "shrunk"
        ))?;
        for hunt in hunts {
            let name = hunt.bug.name();
            let line = match &hunt.caught {
                Some(caught) => format!(
                    "{name:<24} {:>6}  {:<16} {:>6} {:>6}",
                    hunt.seeds,
                    caught.violation.checker,
                    caught.plan_before,
                    caught.plan.entries.len()
                ),
                None => format!(
                    "{name:<24} {:>6}  NOT CAUGHT      {}",
                    hunt.seeds,
                    hunt.bug.what()
                ),
            };
            print_line(&line)?;
        }
        let mut seeds: Vec<u64> = hunts
            .iter()
            .filter(|hunt| hunt.caught.is_some())
            .map(|hunt| hunt.seeds)
            .collect();
        seeds.sort_unstable();
        let median = seeds.get(seeds.len() / 2).copied().unwrap_or(0);
        print_line(&format!(
            "{} of {} caught, median {median} seeds",
            seeds.len(),
            hunts.len()
        ))
    }
}
