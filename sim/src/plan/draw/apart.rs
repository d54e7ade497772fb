//! Faults that are drawn apart, so that a seed's plan is what it was before, with one fault more of each kind.

use crate::faults::FaultSet;
use crate::plan::{Action, Entry, Fault, FaultWhat, Plan, WARM_UP_US};
use crate::rng::{Rng, Stream};

/// Larger clusters take too long for what such a fault shows.
const MOST_NODES: usize = 7;

/// The shortest time that one lasts, in microseconds.
const SHORTEST_US: u64 = 200_000;

/// In one of three small plans in which something goes wrong already, the disk of a node is copied at some time and put back at a later one. In as
/// many a node stops in good order and comes back, and in as many the disk of one is short of space.
pub(super) fn add_to(plan: Plan) -> Plan {
    let kinds = plan.kinds();
    let plan = add(plan, kinds, (Stream::Older, 2), |node| FaultWhat::Older {
        node,
    });
    let plan = add(plan, kinds, (Stream::Restart, 1), |node| {
        FaultWhat::Restart { node }
    });
    add(plan, kinds, (Stream::ShortDisk, 1), |node| {
        FaultWhat::ShortDisk { node }
    })
}

/// Adds a fault of one node, drawn from a stream of its own, to one of three plans with enough nodes.
fn add(
    mut plan: Plan,
    kinds: FaultSet,
    (stream, least): (Stream, usize),
    what: impl Fn(usize) -> FaultWhat,
) -> Plan {
    let mut rng = Rng::new(plan.seed, stream, 0);
    let nodes = plan.machines.len();
    let fits = (least..=MOST_NODES).contains(&nodes) && kinds != FaultSet::NONE;
    if rng.below(3) != 0 || !fits || plan.stop_us <= WARM_UP_US + 2 * SHORTEST_US {
        return plan;
    }
    let node = rng.below(nodes as u64) as usize;
    let at_us = rng.between(WARM_UP_US, plan.stop_us - 2 * SHORTEST_US);
    let for_us = rng.between(SHORTEST_US, plan.stop_us - SHORTEST_US - at_us);
    let action = Action::Fault(Fault {
        for_us,
        what: what(node),
    });
    let place = plan.entries.partition_point(|entry| entry.at_us <= at_us);
    plan.entries.insert(place, Entry { at_us, action });
    plan
}
