//! How fast the simulator is on one core.
//!
//! Five nodes at 100 client operations per second: events per second, median of five runs. Then many nodes for one simulated minute at 10 operations per second: time and peak memory. How many is an argument,
//! `cargo bench -p rumormill-sim --bench speed -- 1000`, for a cluster whose members all greet each other at the start costs the cube
//! of their number. The hashes show which runs they were.

use std::time::Duration;

use rumormill_sim::plan::{Plan, Shape};
use rumormill_sim::{FaultSet, Keep, Report, World, run_plan};

/// Nodes of the large run, unless an argument says how many.
const MANY: usize = 100;

fn main() {
    let many = std::env::args().find_map(|arg| arg.parse().ok());
    for faults in [FaultSet::NONE, FaultSet::ALL] {
        five_nodes(faults);
    }
    many_nodes(many.unwrap_or(MANY).max(1));
}

fn plan(nodes: usize, seconds: u64, faults: FaultSet, ops_per_s: u32) -> Plan {
    let mut plan = Plan::from_seed(&Shape {
        seed: 7,
        nodes,
        active_us: seconds * 1_000_000,
        faults,
        ops_per_s: Some(ops_per_s),
    });
    // The simulator is measured, not the codec.
    plan.codec = false;
    plan
}

fn five_nodes(faults: FaultSet) {
    let plan = plan(5, 300, faults, 100);
    let run = |_| timed(|| run_plan(plan.clone(), faults, Keep::Nothing));
    let mut runs: Vec<(Duration, Report)> = (0..5).map(run).collect();
    runs.sort_by_key(|(took, _)| *took);
    let (took, report) = &runs[2];
    let per_second = |number: u64| u128::from(number) * 1_000_000 / took.as_micros().max(1);
    println!(
        "5 nodes, faults {faults}: {} events/s, {}x real time, {} events in {} simulated s ({}/s), hash {:016x}",
        per_second(report.events),
        per_second(report.sim_ms) / 1_000,
        report.events,
        report.sim_ms / 1_000,
        report.events * 1_000 / report.sim_ms.max(1),
        report.hash
    );
}

fn many_nodes(nodes: usize) {
    let mut world = World::new(plan(nodes, 60, FaultSet::NONE, 10), Keep::Nothing);
    let (joined, ()) = timed(|| world.run_until(5_000_000));
    let (rest, ()) = timed(|| world.run_until(60_000_000));
    println!(
        "{nodes} nodes: 60 simulated s in {:.1} s, of which the first 5, when all meet, {:.1} s; peak memory of all runs {}, hash {:016x}",
        (joined + rest).as_secs_f64(),
        joined.as_secs_f64(),
        peak_memory(),
        world.trace().hash()
    );
}

// The one place that reads a clock: it measures, and nothing that is simulated sees it.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begin = std::time::Instant::now();
    let out = work();
    (begin.elapsed(), out)
}

/// The peak of this process, as Linux tells it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or("unknown".to_string(), |size| size.trim().to_string())
}
