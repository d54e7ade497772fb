//! Writes: one by one, at once, for a while, under loss, and on both sides of a cut.

use rumormill_core::Limits;

use super::figure::percentile;
use super::lab::{DELAY_US, KEY_BYTES, VALUE_BYTES};
use super::{Figure, Goal, Lab, Measured, Work};
use crate::plan::FaultWhat;

/// Writes of a stage, times the nodes that take them in, at most.
const MOST_UPDATES: u64 = 1_000_000;

const SINGLES: usize = 200;
const SINGLE_STEP_US: u64 = 50_000;

const BURST: u64 = 10_000;
/// Writes that a client's pipeline brings in one turn.
const PIPELINE: u64 = 100;

const STEADY_PER_MS: u64 = 10;
const STEADY_MS: u64 = 2_000;
const STEADY_KEYS: u64 = 1_000;

const LOSS_PPM: u32 = 50_000;
const LOSS_US: u64 = 60_000_000;
const CUT_US: u64 = 30_000_000;
/// Writes while the network is hurt.
const HURT_WRITES: usize = 100;

/// How long writes may take to be shown everywhere.
const PATIENCE_US: u64 = 60_000_000;

/// Writes on a healthy network, each when the last one has long arrived.
pub(super) fn single(lab: &mut Lab) -> Measured {
    lab.begin();
    let nodes = lab.nodes();
    for number in 0..SINGLES {
        lab.write(spread(number, nodes), SINGLES as u64);
        lab.pass(SINGLE_STEP_US);
    }
    let shown = lab.wait_shown(PATIENCE_US);
    let copies = lab.meter().copies as f64 / SINGLES as f64;
    let mut delay = |per_mille| {
        let us = percentile(&mut lab.meter().delays, per_mille);
        us.filter(|_| shown).map(|us| us as f64 / DELAY_US as f64)
    };
    let (p50, p99) = (delay(500), delay(990));
    let (bound, [goal50, goal99]) = if is_direct(nodes) {
        (1.0, [Goal::Times(1.2), Goal::Times(2.0)])
    } else {
        // In each hop every node that has it could tell so many others.
        let fanout = Limits::default().fanout as f64;
        let hops = (nodes as f64).ln() / (1.0 + fanout).ln();
        (hops, [Goal::TimesAnd(1.3, 1.0); 2])
    };
    let delay = |name, value| Figure::new(name, "one-way delays", value).bound(bound);
    Measured {
        figures: vec![
            delay("delivery p50", p50).goal(goal50),
            delay("delivery p99", p99).goal(goal99),
            Figure::new("copies per write", "copies", Some(copies))
                .bound((nodes - 1) as f64)
                .goal(copies_goal(nodes)),
        ],
        work: None,
    }
}

/// Many writes at one instant, in the pipeline of one client.
pub(super) fn burst(lab: &mut Lab) -> Measured {
    lab.pass(1_000_000);
    lab.begin();
    let nodes = lab.nodes() as u64;
    let burst = BURST.min(MOST_UPDATES / nodes);
    let mut accepted = 0;
    for number in 0..burst {
        accepted += u64::from(lab.write(0, burst));
        if (number + 1) % PIPELINE == 0 {
            lab.world.finish_turn();
        }
    }
    let begun_us = lab.world.now_us();
    let shown = lab.wait_shown(PATIENCE_US) && accepted == burst;
    let took_ms = (lab.meter().last_us.saturating_sub(begun_us)) as f64 / 1e3;
    let bytes = lab.meter().carrying.bytes as f64 / burst as f64;
    let least = (nodes - 1) as f64 * (KEY_BYTES + VALUE_BYTES) as f64;
    Measured {
        figures: vec![
            Figure::new("burst, writes", "", Some(burst as f64)),
            Figure::new(
                "burst, until shown everywhere",
                "ms",
                shown.then_some(took_ms),
            )
            .bound(DELAY_US as f64 / 1e3)
            .goal(Goal::Limit(1_000.0)),
            Figure::new("burst, bytes per write", "B", shown.then_some(bytes))
                .bound(least)
                .goal(Goal::Times(1.15)),
        ],
        work: Some(Work {
            name: "burst, CPU per update and node",
            pieces: burst * nodes,
            goal_us: 2.0,
        }),
    }
}

/// Writes to all members in turn, for a while.
pub(super) fn steady(lab: &mut Lab) -> Measured {
    lab.pass(1_000_000);
    lab.begin();
    let nodes = lab.nodes();
    // So many in all that large clusters get fewer.
    let most = (MOST_UPDATES / nodes as u64).min(STEADY_PER_MS * STEADY_MS);
    let mut written = 0;
    for ms in 1..=STEADY_MS {
        while written < most * ms / STEADY_MS {
            lab.write(spread(ms as usize, nodes), STEADY_KEYS);
            written += 1;
        }
        lab.pass(1_000);
    }
    let shown = lab.wait_shown(PATIENCE_US);
    let lag = |us: Option<u64>| us.filter(|_| shown).map(|us| us as f64 / 1e3);
    let p99 = lag(percentile(&mut lab.meter().delays, 990));
    let most_lag = lag(percentile(&mut lab.meter().delays, 1_000));
    let rate = written as f64 * 1e3 / STEADY_MS as f64;
    let figure = |name, value| {
        Figure::new(name, "ms", value)
            .bound(DELAY_US as f64 / 1e3)
            .goal(Goal::Limit(100.0))
    };
    Measured {
        figures: vec![
            Figure::new("steady, writes", "/s", Some(rate)),
            figure("steady, lag p99", p99),
            figure("steady, longest lag", most_lag),
        ],
        work: None,
    }
}

/// The network loses messages, and all nodes are alive.
pub(super) fn loss(lab: &mut Lab) -> Measured {
    lab.pass(1_000_000);
    lab.begin();
    let nodes = lab.nodes();
    let fault = lab.begin_fault(&FaultWhat::Loss { ppm: LOSS_PPM });
    for number in 0..HURT_WRITES {
        lab.write(spread(number, nodes), HURT_WRITES as u64);
        lab.pass(LOSS_US / HURT_WRITES as u64);
    }
    let shown = lab.wait_shown(PATIENCE_US);
    let copies = lab.meter().copies as f64 / HURT_WRITES as f64;
    let p99 = percentile(&mut lab.meter().delays, 990);
    let dead = lab.meter().verdicts.iter().filter(|one| one.dead).count();
    let suspected = lab.meter().verdicts.len() - dead;
    lab.end_fault(fault);
    lab.wait_formed();
    let arrives = 1.0 - f64::from(LOSS_PPM) / 1e6;
    let p99_s = p99.filter(|_| shown).map(|us| us as f64 / 1e6);
    Measured {
        figures: vec![
            Figure::new("5 % loss, false deaths", "", Some(dead as f64)).goal(Goal::Limit(0.0)),
            Figure::new("5 % loss, false suspicions", "", Some(suspected as f64)),
            Figure::new(
                "5 % loss, copies per write",
                "copies",
                shown.then_some(copies),
            )
            .bound((nodes - 1) as f64 / arrives)
            .goal(copies_goal(nodes)),
            Figure::new("5 % loss, delivery p99", "s", p99_s),
        ],
        work: None,
    }
}

/// Two halves that cannot reach each other both write, until they can.
pub(super) fn partition(lab: &mut Lab) -> Measured {
    lab.pass(1_000_000);
    lab.begin();
    let nodes = lab.nodes();
    let (left, right) = ((0..nodes / 2).collect(), (nodes / 2..nodes).collect());
    let fault = lab.begin_fault(&FaultWhat::Partition { left, right });
    for number in 0..HURT_WRITES {
        lab.write(spread(number, nodes), HURT_WRITES as u64);
        lab.pass(CUT_US / HURT_WRITES as u64);
    }
    lab.end_fault(fault);
    let healed_us = lab.world.now_us();
    let shown = lab.wait_shown(PATIENCE_US);
    let periods = |us: u64| us.saturating_sub(healed_us) as f64 / lab.period_us() as f64;
    let rows = lab.world.meter.as_ref().map(|meter| periods(meter.last_us));
    let linked = lab.wait_formed();
    let linked_after = (lab.world.now_us() - healed_us) as f64 / lab.period_us() as f64;
    let rounds = f64::from(nodes.next_power_of_two().ilog2());
    Measured {
        figures: vec![
            Figure::new(
                "after a partition, rows agree",
                "periods",
                rows.filter(|_| shown),
            )
            .bound(rounds)
            .goal(Goal::TimesAnd(1.0, 2.0)),
            Figure::new(
                "after a partition, all linked",
                "periods",
                linked.then_some(linked_after),
            ),
        ],
        work: None,
    }
}

/// A tree pays for its branches.
fn copies_goal(nodes: usize) -> Goal {
    match is_direct(nodes) {
        true => Goal::Times(1.05),
        false => Goal::Times(1.3),
    }
}

/// Returns whether a write goes from its origin straight to all members.
fn is_direct(nodes: usize) -> bool {
    nodes <= Limits::default().direct_push_members
}

/// Nodes in an order that jumps about.
const fn spread(number: usize, nodes: usize) -> usize {
    number * 7_919 % nodes
}
