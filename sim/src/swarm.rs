//! Many seeds: what they met, and what broke.
//!
//! Running them side by side is the caller's business, for nothing in this crate spawns: [`run_seed`] is one run, and summaries
//! add up in whatever order they come.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rumormill_core::Mark;
use serde_json::{Value, json};

use crate::faults::FaultKind;
use crate::plan::Profile;
use crate::report::{Report, object, section};
use crate::run::run_plan;
use crate::trace::Keep;

/// Failures kept with their text; beyond it only their seeds are.
const MAX_TEXTS: usize = 100;

/// Runs one seed of a swarm, without a trace.
pub fn run_seed(profile: Profile, seed: u64) -> Report {
    let plan = profile.plan(seed);
    let kinds = plan.kinds();
    run_plan(plan, kinds, Keep::Nothing)
}

/// A seed whose run broke a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The checker that found it first.
    pub checker: &'static str,
    /// Its report; empty when there are too many failures to keep all texts.
    pub text: String,
}

/// The sum of many runs.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How many runs.
    pub seeds: u64,
    /// The runs that broke a promise, by seed.
    pub failures: BTreeMap<u64, Failure>,
    /// How often each kind of fault took effect; kinds that never did are there with 0.
    pub faults: BTreeMap<String, u64>,
    /// How often each mark was reached; those that never were are there with 0.
    pub marks: BTreeMap<String, u64>,
    /// Other events.
    pub counts: BTreeMap<String, u64>,
    /// Inputs that nodes handled.
    pub events: u64,
    /// Virtual time, in milliseconds.
    pub sim_ms: u64,
    /// Rolls all runs' hashes into one, whatever their order: equal for equal swarms.
    pub hash: u64,
}

impl Default for Summary {
    fn default() -> Self {
        let zero = |name: &str| (name.to_string(), 0);
        Summary {
            seeds: 0,
            failures: BTreeMap::new(),
            faults: FaultKind::ALL
                .iter()
                .map(|kind| zero(kind.name()))
                .collect(),
            marks: Mark::ALL.iter().map(|mark| zero(mark.name())).collect(),
            counts: BTreeMap::new(),
            events: 0,
            sim_ms: 0,
            hash: 0,
        }
    }
}

impl Summary {
    /// Takes in one run.
    pub fn add(&mut self, report: &Report) {
        self.seeds += 1;
        if let Some(found) = report.violations.first() {
            let keep = self.failures.len() < MAX_TEXTS;
            let failure = Failure {
                seed: report.seed,
                checker: found.checker,
                text: if keep {
                    found.text.clone()
                } else {
                    String::new()
                },
            };
            self.failures.insert(report.seed, failure);
        }
        add_up(&mut self.faults, &report.faults);
        add_up(&mut self.marks, &report.marks);
        add_up(&mut self.counts, &report.counts);
        self.events += report.events;
        self.sim_ms += report.sim_ms;
        // A sum does not depend on the order; multiplied by its odd number, a run cannot take another's place.
        let place = report.seed.wrapping_mul(2).wrapping_add(1);
        self.hash = self.hash.wrapping_add(report.hash.wrapping_mul(place));
    }

    /// Takes in other runs.
    pub fn merge(&mut self, other: Summary) {
        self.seeds += other.seeds;
        self.failures.extend(other.failures);
        add_up(&mut self.faults, &other.faults);
        add_up(&mut self.marks, &other.marks);
        add_up(&mut self.counts, &other.counts);
        self.events += other.events;
        self.sim_ms += other.sim_ms;
        self.hash = self.hash.wrapping_add(other.hash);
    }

    /// Whether every promise held in every run.
    pub fn held(&self) -> bool {
        self.failures.is_empty()
    }

    /// Marks that no run reached, of those that honest runs can reach.
    pub fn unreached(&self) -> impl Iterator<Item = &str> {
        let honest = Mark::ALL
            .iter()
            .filter(|mark| mark.beyond_honest_runs().is_none());
        let names = honest.map(|mark| mark.name());
        names.filter(|name| self.marks.get(*name).is_none_or(|count| *count == 0))
    }

    /// Inputs per second and virtual seconds per second, for the time that all cores together were busy.
    pub fn rates(&self, busy: Duration) -> (u64, u64) {
        let micros = u64::try_from(busy.as_micros()).unwrap_or(u64::MAX).max(1);
        let per_second = |n: u64| n.saturating_mul(1_000_000) / micros;
        (per_second(self.events), per_second(self.sim_ms) / 1_000)
    }

    /// The summary as one JSON object, with the rates of one core.
    pub fn to_json(&self, busy: Duration) -> Value {
        let failures: Vec<Value> = self
            .failures
            .values()
            .map(|failure| {
                json!({ "seed": failure.seed, "checker": failure.checker, "text": failure.text })
            })
            .collect();
        let (events_per_s, sim_s_per_s) = self.rates(busy);
        json!({
            "seeds": self.seeds,
            "failures": failures,
            "faults": object(&self.faults),
            "marks": object(&self.marks),
            "counts": object(&self.counts),
            "events": self.events,
            "sim_ms": self.sim_ms,
            "hash": format!("{:016x}", self.hash),
            "events_per_s": events_per_s,
            "sim_s_per_s": sim_s_per_s,
        })
    }
}

fn add_up(to: &mut BTreeMap<String, u64>, from: &BTreeMap<String, u64>) {
    for (name, count) in from {
        match to.get_mut(name) {
            // Peaks of many runs have a peak, and no sum.
            Some(sum) if name.starts_with("peak_") => *sum = (*sum).max(*count),
            Some(sum) => *sum += count,
            None => {
                to.insert(name.clone(), *count);
            }
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} events, {} s of virtual time, hash {:016x}",
            self.seeds,
            self.events,
            self.sim_ms / 1_000,
            self.hash
        )?;
        writeln!(f, "\nfaults that took effect")?;
        section(f, &self.faults)?;
        writeln!(f, "\nmarks reached")?;
        section(f, &self.marks)?;
        for name in self.unreached() {
            writeln!(f, "  {name:<24} NEVER")?;
        }
        writeln!(f, "\nhappened")?;
        section(f, &self.counts)?;
        writeln!(f, "\nfailures: {}", self.failures.len())?;
        for failure in self.failures.values() {
            writeln!(
                f,
                "  seed {} {}: {}",
                failure.seed, failure.checker, failure.text
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_add_up_in_any_order() {
        let reports: Vec<Report> = (1..=4)
            .map(|seed| run_seed(Profile::Gossip, seed))
            .collect();
        let mut forth = Summary::default();
        reports.iter().for_each(|report| forth.add(report));
        let (mut back, mut rest) = (Summary::default(), Summary::default());
        reports[2..].iter().for_each(|report| rest.add(report));
        back.merge(rest);
        reports[..2].iter().for_each(|report| back.add(report));
        let busy = Duration::from_secs(1);
        assert_eq!(forth.to_json(busy), back.to_json(busy));
        assert_eq!(forth.seeds, 4);
        assert!(forth.held(), "{forth}");
        let mut twice = Summary::default();
        [&reports[0], &reports[0]]
            .into_iter()
            .for_each(|report| twice.add(report));
        assert_ne!(forth.hash, twice.hash);
    }
}
