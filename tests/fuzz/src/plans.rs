//! Plans of the simulator: whatever happens to a cluster, it keeps its promises.

use arbitrary::{Result, Unstructured};
use rumormill_sim::plan::{Plan, Shape};
use rumormill_sim::{FaultSet, Keep, run_plan};

/// The bytes are a shape and a plan of five seconds for up to four nodes.
pub fn run(data: &[u8]) {
    let Ok(plan) = draw(&mut Unstructured::new(data)) else {
        return;
    };
    let text = plan.to_string();
    let report = run_plan(plan, FaultSet::ALL, Keep::Nothing);
    assert!(report.held(), "{report}\n{text}");
}

fn draw(u: &mut Unstructured<'_>) -> Result<Plan> {
    let shape = Shape {
        seed: u.arbitrary()?,
        nodes: u.int_in_range(1..=4)?,
        active_us: 5_000_000,
        faults: FaultSet::ALL,
        ops_per_s: Some(u.int_in_range(1..=10)?),
    };
    Plan::draw(u, &shape)
}
