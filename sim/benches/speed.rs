//! Events per second of the simulator on one core: five nodes, 100 client operations per second, median of five runs. The hash shows that they were one run.

use rumormill_sim::plan::{Plan, Shape};
use rumormill_sim::{FaultSet, Keep, run_plan};

// The one place that reads a clock: it measures, and nothing that is simulated sees it.
#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn main() {
    for faults in [FaultSet::NONE, FaultSet::ALL] {
        let shape = Shape {
            seed: 7,
            nodes: 5,
            active_us: 300_000_000,
            faults,
            ops_per_s: Some(100),
        };
        let mut plan = Plan::from_seed(&shape);
        // The simulator is measured, not the codec.
        plan.codec = false;
        let mut rates: Vec<u128> = Vec::new();
        let mut last = None;
        for _ in 0..5 {
            let begin = std::time::Instant::now();
            let report = run_plan(plan.clone(), faults, Keep::Nothing);
            let micros = begin.elapsed().as_micros().max(1);
            rates.push(u128::from(report.events) * 1_000_000 / micros);
            last = Some((report, micros));
        }
        rates.sort_unstable();
        if let Some((report, micros)) = last {
            let times_real = u128::from(report.sim_ms) * 1_000 / micros;
            println!(
                "5 nodes, faults {faults}: {} events/s, {times_real}x real time, {} events in {} s, hash {:016x}",
                rates[2],
                report.events,
                report.sim_ms / 1_000,
                report.hash
            );
        }
    }
}
