//! Hunting planted bugs, those of the core and those of its driver: how many seeds of a swarm until a checker notices each, and how small the plan becomes.

mod driver;

use rumormill_core::Config;
use rumormill_core::mutants::Mutant;
use serde_json::{Value, json};

use crate::checkers::Violation;
use crate::plan::{Plan, Profile};
use crate::report::Report;
use crate::run::{report, run_plan};
use crate::sabotage::Sabotage;
use crate::shrink::shrink;
use crate::trace::Keep;
use crate::world::World;
use driver::Driver;

/// Runs spent on making one plan smaller.
const SHRINK_RUNS: u64 = 400;

pub use driver::DriverBug;

/// A planted bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The core lacks a rule.
    Rule(Mutant),
    /// The driver rewrites an input, an output or a record.
    Driver(DriverBug),
}

impl From<Mutant> for Bug {
    fn from(mutant: Mutant) -> Self {
        Bug::Rule(mutant)
    }
}

impl Bug {
    /// Returns all of them.
    pub fn all() -> impl Iterator<Item = Bug> {
        let rules = Mutant::ALL.iter().copied().map(Bug::Rule);
        rules.chain(DriverBug::ALL.iter().copied().map(Bug::Driver))
    }

    /// Returns its name.
    pub const fn name(self) -> &'static str {
        match self {
            Bug::Rule(mutant) => mutant.name(),
            Bug::Driver(bug) => bug.name(),
        }
    }

    /// Returns a description of its fault.
    pub const fn what(self) -> &'static str {
        match self {
            Bug::Rule(mutant) => mutant.what(),
            Bug::Driver(bug) => bug.what(),
        }
    }

    /// Returns whether a swarm of some thousand seeds may not see it.
    pub const fn is_rare(self) -> bool {
        match self {
            Bug::Rule(mutant) => mutant.is_rare(),
            Bug::Driver(_) => false,
        }
    }

    fn sabotage(self) -> Box<dyn Sabotage> {
        match self {
            Bug::Rule(mutant) => Box::new(Awake(mutant)),
            Bug::Driver(bug) => Box::new(Driver::new(bug)),
        }
    }
}

/// A bug of the core that is awake on every node.
struct Awake(Mutant);

impl Sabotage for Awake {
    fn configures(&mut self, _: usize, config: &mut Config) {
        config.mutant = Some(self.0);
    }
}

/// Makes the world of a plan in which every node has the bug.
pub fn world(plan: Plan, bug: impl Into<Bug>, keep: Keep) -> World {
    let mut world = World::new(plan, keep);
    world.sabotage(bug.into().sabotage());
    world
}

/// Runs a plan on nodes with the bug.
pub fn run_mutated(plan: Plan, bug: Bug, keep: Keep) -> Report {
    let (seed, kinds) = (plan.seed, plan.kinds());
    report(world(plan, bug, keep), seed, kinds)
}

/// The outcome of hunting one bug.
#[derive(Clone, Debug)]
pub struct Hunt {
    /// The bug.
    pub bug: Bug,
    /// How many seeds were run.
    pub seeds: u64,
    /// Seeds that break a promise without the bug too, in order: they say nothing about it, and something about the core or a checker.
    pub unsound: Vec<u64>,
    /// The seed and violation that gave it away, if any did.
    pub caught: Option<Catch>,
}

/// How a bug was caught.
#[derive(Clone, Debug)]
pub struct Catch {
    /// The seed.
    pub seed: u64,
    /// The first broken promise.
    pub violation: Violation,
    /// Entries of the seed's plan.
    pub plan_before: usize,
    /// The plan made smaller.
    pub plan: Plan,
}

/// Runs the seeds in order until one breaks a promise that it keeps without the bug, then makes its plan smaller. `go_on` is asked before each seed.
pub fn hunt(
    (bug, profile): (Bug, Profile),
    seeds: impl Iterator<Item = u64>,
    mut go_on: impl FnMut() -> bool,
) -> Hunt {
    let mut hunt = Hunt {
        bug,
        seeds: 0,
        unsound: Vec::new(),
        caught: None,
    };
    for seed in seeds {
        if hunt.caught.is_some() || !go_on() {
            break;
        }
        hunt.seeds += 1;
        let plan = profile.plan(seed);
        let found = run_mutated(plan.clone(), bug, Keep::Nothing);
        let Some(violation) = found.violations.into_iter().next() else {
            continue;
        };
        let kinds = plan.kinds();
        match run_plan(plan.clone(), kinds, Keep::Nothing).held() {
            true => hunt.caught = Some(make_smaller(bug, seed, violation, plan)),
            false => hunt.unsound.push(seed),
        }
    }
    hunt
}

fn make_smaller(bug: Bug, seed: u64, violation: Violation, plan: Plan) -> Catch {
    let fails = |plan: &Plan| {
        let again = run_mutated(plan.clone(), bug, Keep::Nothing);
        let mut checkers = again.violations.iter().map(|found| found.checker);
        checkers.any(|checker| checker == violation.checker)
    };
    let plan_before = plan.entries.len();
    let plan = shrink(plan, SHRINK_RUNS, fails).plan;
    Catch {
        seed,
        violation,
        plan_before,
        plan,
    }
}

impl Hunt {
    /// The hunt as a JSON object.
    pub fn to_json(&self) -> Value {
        let caught = self.caught.as_ref();
        json!({
            "name": self.bug.name(),
            "caught": caught.is_some(),
            "seeds": self.seeds,
            "unsound": self.unsound,
            "checker": caught.map(|caught| caught.violation.checker),
            "plan_before": caught.map(|caught| caught.plan_before),
            "plan_after": caught.map(|caught| caught.plan.entries.len()),
        })
    }
}
