//! Seeds, and plans from any bytes: every promise holds, and one seed is one run.

use crate::faults::FaultSet;
use crate::plan::{Plan, Profile, Shape};
use crate::report::Report;
use crate::run::run_plan;
use crate::swarm::{Summary, run_seed};
use crate::trace::Keep;

fn shape(seed: u64) -> Shape {
    Shape {
        seed,
        nodes: 3 + (seed % 3) as usize,
        active_us: 17_000_000,
        faults: FaultSet::ALL,
        ops_per_s: None,
    }
}

fn run(seed: u64, keep: Keep) -> Report {
    run_plan(Plan::from_seed(&shape(seed)), FaultSet::ALL, keep)
}

#[test]
fn random_plans_converge() {
    for seed in 0..60 {
        let report = run(seed, Keep::Nothing);
        assert!(report.held(), "{report}");
    }
}

#[test]
fn some_seeds_keep_values_on_disk_only_and_load_them() {
    let cold = |seed: &u64| Plan::from_seed(&shape(*seed)).resident_value.is_some();
    let (mut loads, mut marks) = (0, std::collections::BTreeMap::new());
    for seed in (0..120).filter(cold).take(20) {
        let report = run(seed, Keep::Nothing);
        assert!(report.held(), "{report}");
        loads += report.counts.get("loads").copied().unwrap_or(0);
        for (mark, count) in report.marks {
            *marks.entry(mark).or_insert(0) += count;
        }
    }
    assert!(loads > 100, "{loads}");
    for mark in [
        "request-waits-for-load",
        "page-waits-for-loads",
        "load-needless",
    ] {
        assert!(
            marks.get(mark).is_some_and(|count| *count > 0),
            "{mark} in {marks:?}"
        );
    }
}

#[test]
fn plans_from_any_bytes_converge() {
    let property = |u: &mut arbitrary::Unstructured<'_>| {
        let shape = Shape {
            nodes: u.int_in_range(1..=5)?,
            active_us: 8_000_000,
            ..shape(u.arbitrary()?)
        };
        let report = run_plan(Plan::draw(u, &shape)?, FaultSet::ALL, Keep::Nothing);
        assert!(report.held(), "{report}");
        Ok(())
    };
    arbtest::arbtest(property).budget_ms(4_000).size_max(4_096);
}

#[test]
fn one_seed_is_one_run() {
    for seed in [7, 50, 100] {
        let (first, second) = (run(seed, Keep::Nothing), run(seed, Keep::All));
        assert_eq!(first.hash, second.hash, "seed {seed}");
        assert_eq!(first.to_json(), second.to_json(), "seed {seed}");
        assert!(!second.trace.is_empty());
    }
    assert_ne!(run(7, Keep::Nothing).hash, run(8, Keep::Nothing).hash);
}

#[test]
fn a_swarm_holds() {
    for seed in 0..60 {
        let report = run_plan(Plan::swarm(seed), FaultSet::NONE, Keep::Nothing);
        assert!(report.held(), "{report}");
    }
}

#[test]
fn a_long_swarm_meets_what_it_is_about() {
    let mut summary = Summary::default();
    (0..20).for_each(|seed| summary.add(&run_seed(Profile::Long, seed)));
    let met = |name: &str| {
        let count = summary.faults.get(name).or(summary.counts.get(name));
        count.copied().unwrap_or(0)
    };
    let whats = [
        "skew",
        "crash",
        "leave",
        "wipe",
        "evict",
        "partial",
        "bridge",
        "oneway",
        "partition",
        "rows_a_clock_hid",
        "rows_apart_at_heal",
        "late_newcomers",
    ];
    for what in whats {
        assert!(met(what) > 0, "{what} in {summary}");
    }
}

#[test]
fn a_plan_read_from_its_text_is_the_same_run() {
    for seed in [1, 8, 30] {
        let plan = Plan::swarm(seed);
        let read: Plan = plan.to_string().parse().unwrap();
        let hashes = [plan, read].map(|plan| run_plan(plan, FaultSet::NONE, Keep::Nothing).hash);
        assert_eq!(hashes[0], hashes[1], "seed {seed}");
    }
}
