//! Older copies of disks: drawn apart, so that a seed's plan is what it was before, with one fault more.

use crate::faults::FaultSet;
use crate::plan::{Action, Entry, Fault, FaultWhat, Plan, WARM_UP_US};
use crate::rng::{Rng, Stream};

/// Larger clusters take too long for what such a copy shows.
const MOST_NODES: usize = 7;

/// The shortest time from a copy until it is put back, in microseconds.
const YOUNGEST_US: u64 = 200_000;

/// In one of three small plans in which something goes wrong already, the disk of a node is copied at some time and put back at a later one.
pub(super) fn add_to(mut plan: Plan) -> Plan {
    let mut rng = Rng::new(plan.seed, Stream::Older, 0);
    let nodes = plan.machines.len();
    let fits = (2..=MOST_NODES).contains(&nodes) && plan.kinds() != FaultSet::NONE;
    if rng.below(3) != 0 || !fits || plan.stop_us <= WARM_UP_US + 2 * YOUNGEST_US {
        return plan;
    }
    let node = rng.below(nodes as u64) as usize;
    let at_us = rng.between(WARM_UP_US, plan.stop_us - 2 * YOUNGEST_US);
    let for_us = rng.between(YOUNGEST_US, plan.stop_us - YOUNGEST_US - at_us);
    let what = FaultWhat::Older { node };
    let action = Action::Fault(Fault { for_us, what });
    let place = plan.entries.partition_point(|entry| entry.at_us <= at_us);
    plan.entries.insert(place, Entry { at_us, action });
    plan
}
