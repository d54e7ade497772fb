//! One seed from plan to report.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::checkers::{
    Violation, ahead, bounds, convergence, damage, durability, evictions, flushes, grafts, hearsay,
    hidden, leaves, liveness, neighbours, no_resurrection, older_copies, pages, phase, pushes,
    repairs, replays, sessions, siblings, space, stops, watching,
};
use crate::faults::FaultSet;
use crate::plan::{Plan, Shape, WARM_UP_US};
use crate::report::Report;
use crate::trace::Keep;
use crate::world::World;

/// The names of all checkers. `invariants` are the node's own assertions, `recovery` that a node starts from what its disk
/// held, and `liveness` that no node keeps its driver busy for nothing.
pub const CHECKERS: [&str; 30] = [
    convergence::NAME,
    durability::NAME,
    no_resurrection::NAME,
    older_copies::NAME,
    damage::NAME,
    bounds::NAME,
    sessions::READ_YOUR_WRITES,
    sessions::MONOTONIC_READS,
    sessions::MONOTONIC_WRITES,
    sessions::WRITES_FOLLOW_READS,
    watching::NAME,
    evictions::NAME,
    hearsay::NAME,
    hidden::NAME,
    pushes::NAME,
    pages::NAME,
    grafts::NAME,
    phase::NAME,
    leaves::NAME,
    neighbours::NAME,
    replays::NAME,
    ahead::NAME,
    siblings::NAME,
    repairs::NAME,
    flushes::NAME,
    space::NAME,
    stops::NAME,
    "invariants",
    "recovery",
    liveness::NAME,
];

/// The options of a run.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// The seed.
    pub seed: u64,
    /// Nodes, at least 1; more than 100 are slow.
    pub nodes: usize,
    /// Virtual minutes under load and faults; the time to come to rest comes on top.
    pub minutes: u64,
    /// The kinds of faults.
    pub faults: FaultSet,
    /// Whether to keep the lines of the trace.
    pub trace: bool,
}

impl Options {
    /// The plan that the options stand for.
    pub fn plan(&self) -> Plan {
        let active_us = self
            .minutes
            .saturating_mul(60_000_000)
            .saturating_sub(WARM_UP_US)
            .max(5_000_000);
        Plan::from_seed(&Shape {
            seed: self.seed,
            nodes: self.nodes.max(1),
            active_us,
            faults: self.faults,
            ops_per_s: None,
        })
    }

    fn keep(&self) -> Keep {
        match self.trace {
            true => Keep::All,
            false => Keep::Nothing,
        }
    }
}

/// Runs a seed.
pub fn run(options: &Options) -> Report {
    run_plan(options.plan(), options.faults, options.keep())
}

/// Runs a seed and records it, at most `events` events: see [`Report::recording`].
pub fn record(options: &Options, events: usize) -> Report {
    record_plan(options.plan(), options.faults, options.keep(), events)
}

/// Runs a plan.
pub fn run_plan(plan: Plan, requested: FaultSet, keep: Keep) -> Report {
    let seed = plan.seed;
    report(World::new(plan, keep), seed, requested)
}

/// Runs a plan and records it, at most `events` events: see [`Report::recording`].
pub fn record_plan(plan: Plan, requested: FaultSet, keep: Keep, events: usize) -> Report {
    let seed = plan.seed;
    let mut world = World::new(plan, keep);
    world.record(events);
    report(world, seed, requested)
}

/// Runs a world to its end. A panic of a node's own assertions is a violation like any other.
pub fn report(mut world: World, seed: u64, requested: FaultSet) -> Report {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| world.run())) {
        let text = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_string()))
            .unwrap_or_else(|| "a panic without words".to_string());
        let at_us = world.now_us;
        world.observers.on_found([Violation {
            checker: "invariants",
            at_us,
            text,
        }]);
    }
    world.into_report(seed, requested)
}

impl World {
    pub(crate) fn into_report(self, seed: u64, requested: FaultSet) -> Report {
        let mut marks = std::collections::BTreeMap::new();
        for host in &self.hosts {
            for (name, count) in host.marks() {
                *marks.entry(name.to_string()).or_insert(0) += count;
            }
        }
        let faults = self.faults_met();
        let hash = self.trace.hash();
        let rows = self
            .running_from(0)
            .and_then(|node| self.contents(node))
            .map_or(0, |rows| rows.len() as u64);
        let (trace, recording) = self.trace.into_parts();
        let merges = self
            .hosts
            .iter()
            .map(|host| host.disk.merges())
            .sum::<u64>();
        let owned = |(name, count): (&str, u64)| (name.to_string(), count);
        let rest = self
            .tally
            .counts
            .iter()
            .chain([
                (&"messages", &self.tally.messages),
                (&"log_merges", &merges),
            ])
            .filter(|(name, _)| !faults.contains_key(**name));
        Report {
            seed,
            nodes: self.hosts.len(),
            requested,
            hash,
            events: self.tally.events,
            sim_ms: self.now_us / 1000,
            counts: rest
                .map(|(name, count)| owned((name, *count)))
                .chain(self.observers.peaks().map(owned))
                .collect(),
            rows,
            faults: faults.into_iter().map(owned).collect(),
            marks,
            violations: self.observers.into_found(),
            trace,
            recording,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::{Path, PathBuf};

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "the order does not matter")]
    fn sources(dir: &Path, out: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => sources(&path, out),
                false => out.push(path),
            }
        }
    }

    /// Judges of something else than a run: histories of registers, and what tests put beside the store.
    const ELSEWHERE: [&str; 3] = ["linearizability", "greetings", "chatter"];

    const GUARANTEES: &str = include_str!("../../core/docs/guarantees.md");

    const RULES: &str = include_str!("../../core/src/table/gossip/README.md");

    /// The comments of a source that are not about the whole file, each in one line.
    fn comments(source: &str) -> Vec<String> {
        let mut comments = vec![String::new()];
        for line in source.lines() {
            let comment = line.trim_start().strip_prefix("//");
            match comment.filter(|line| !line.starts_with('!')) {
                Some(line) => {
                    let last = comments.last_mut().unwrap();
                    last.push(' ');
                    last.push_str(line.trim_start_matches('/').trim());
                }
                None => comments.push(String::new()),
            }
        }
        comments
    }

    #[test]
    fn every_promise_that_an_excuse_names_has_its_section() {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        let headed =
            |page: &'static str, mark| page.lines().filter_map(move |l| l.strip_prefix(mark));
        let sections: BTreeSet<_> = headed(GUARANTEES, "# ").collect();
        let rules = headed(RULES, "## ").filter_map(|line| line.split_once(". "));
        let rules: BTreeSet<_> = rules.map(|(number, _)| number).collect();
        let (mut named, mut ruled) = (0, 0);
        for file in files {
            for comment in comments(&fs::read_to_string(&file).unwrap()) {
                let of = format!("{}: {comment}", file.display());
                if comment.contains("uarantees") {
                    let quoted = comment.split('"').skip(1).step_by(2);
                    for section in quoted.filter(|quoted| quoted.starts_with(char::is_uppercase)) {
                        assert!(sections.contains(section), "{section} in {of}");
                        named += 1;
                    }
                }
                for rest in comment.split("ule ").skip(1) {
                    let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
                    if !number.is_empty() {
                        assert!(rules.contains(&*number), "rule {number} in {of}");
                        ruled += 1;
                    }
                }
            }
        }
        assert!(named > 25 && ruled >= 5, "{named} {ruled}");
    }

    #[test]
    fn every_checker_of_a_run_is_in_the_list() {
        let mut files = Vec::new();
        sources(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("src"),
            &mut files,
        );
        let mut named = BTreeSet::new();
        for file in files {
            let text = fs::read_to_string(file).unwrap();
            for mark in ["const NAME: &str = \"", "checker: \""] {
                let after = text.split(mark).skip(1);
                named.extend(after.filter_map(|rest| Some(rest.split_once('"')?.0.to_string())));
            }
        }
        named.retain(|name| !name.is_empty() && !ELSEWHERE.contains(&&name[..]));
        named.extend(sessions::NAMES.map(String::from));
        let mut listed = CHECKERS.map(String::from).to_vec();
        listed.sort();
        assert_eq!(named.into_iter().collect::<Vec<_>>(), listed);
    }
}
