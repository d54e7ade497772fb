//! Machines lose their power: measures which members notice, and when.

use std::collections::BTreeMap;
use std::ops::Range;

use rumormill_core::NodeId;

use super::figure::percentile;
use super::{Figure, Goal, Lab, Measured};
use crate::rng::{Rng, Stream};

/// So many deaths at least, unless one round has more.
const SAMPLES: usize = 100;
/// So many in one round at most.
const MOST_AT_ONCE: usize = 100;
/// How long a death may go unnoticed.
const PATIENCE_US: u64 = 180_000_000;
/// Probe periods until some member first probes a given one, on the average: 1 / (1 - 1/e).
const FIRST_PROBE: f64 = 1.58;

/// The machines that die in each round: a tenth, never the first.
pub(super) fn victims(nodes: usize) -> Range<usize> {
    1..1 + (nodes / 10).clamp(1, MOST_AT_ONCE)
}

/// When a node died, and when its death was first suspected, first noticed, and noticed by the last member.
#[derive(Clone, Copy, Default)]
struct Death {
    at_us: u64,
    suspected_us: Option<u64>,
    first_us: Option<u64>,
    last_us: u64,
    by: usize,
}

pub(super) fn deaths(lab: &mut Lab) -> Measured {
    let mut rng = Rng::new(lab.seed, Stream::Deaths, 0);
    let rounds = SAMPLES.div_ceil(victims(lab.nodes()).len());
    let mut all = Vec::new();
    for left in (0..rounds).rev() {
        all.extend(round(lab, &mut rng).into_values());
        if left > 0 {
            for node in victims(lab.nodes()) {
                lab.world.start(node);
            }
            lab.wait_formed();
            lab.pass(lab.period_us() * 3);
        }
    }
    figures(lab, &all)
}

/// Each victim dies at some time of a period; waits until all survivors know of all.
fn round(lab: &mut Lab, rng: &mut Rng) -> BTreeMap<NodeId, Death> {
    lab.begin();
    let period_us = lab.period_us();
    let survivors = lab.nodes() - victims(lab.nodes()).len();
    let mut times: Vec<(u64, usize)> = victims(lab.nodes())
        .map(|node| (lab.world.now_us() + rng.below(period_us), node))
        .collect();
    times.sort_unstable();
    let mut dead = BTreeMap::new();
    for (at_us, node) in times {
        lab.world.run_until(at_us);
        if let Some(id) = lab.world.node(node).map(rumormill_core::Node::id) {
            let death = Death {
                at_us,
                ..Death::default()
            };
            dead.insert(id, death);
        }
        lab.world.crash(node, false);
    }
    let mut read = 0;
    lab.wait((period_us, PATIENCE_US), |lab| {
        let verdicts = &lab.meter().verdicts;
        for verdict in &verdicts[read..] {
            // The living may be suspected too.
            let death = dead.get_mut(&verdict.about);
            if let Some(death) = death.filter(|death| verdict.at_us >= death.at_us) {
                death.verdict(verdict.at_us, verdict.dead);
            }
        }
        read = verdicts.len();
        dead.values().all(|death| death.by >= survivors)
    });
    for death in dead.values_mut() {
        if death.by < survivors {
            death.by = 0;
        }
    }
    dead
}

impl Death {
    fn verdict(&mut self, at_us: u64, dead: bool) {
        self.suspected_us.get_or_insert(at_us);
        if dead {
            self.first_us.get_or_insert(at_us);
            self.last_us = at_us;
            self.by += 1;
        }
    }
}

fn figures(lab: &Lab, all: &[Death]) -> Measured {
    let period_us = lab.period_us() as f64;
    // A death that was missed leaves no figure at all.
    let over = |per_mille: usize, when: fn(&Death) -> Option<u64>| {
        let times = all.iter().map(|death| Some(when(death)? - death.at_us));
        let mut times = times.collect::<Option<Vec<u64>>>()?;
        Some(percentile(&mut times, per_mille)? as f64 / period_us)
    };
    let mult = f64::from(lab.world.timing.suspicion_mult);
    let suspicion = mult * (lab.nodes() as f64).log10().max(1.0);
    let figure = |name, value| Figure::new(name, "periods", value);
    let suspected = |death: &Death| death.suspected_us;
    let first = |death: &Death| death.first_us;
    let last = |death: &Death| (death.by > 0).then_some(death.last_us);
    Measured {
        figures: vec![
            figure("death, first suspected p50", over(500, suspected))
                .bound(FIRST_PROBE)
                .goal(Goal::Limit(2.0)),
            figure("death, first suspected p99", over(990, suspected))
                .bound(FIRST_PROBE)
                .goal(Goal::Limit(5.0)),
            figure("death, first declared p50", over(500, first))
                .bound(FIRST_PROBE + suspicion)
                .goal(Goal::Limit(2.0 + suspicion)),
            figure("death, first declared p99", over(990, first))
                .bound(FIRST_PROBE + suspicion)
                .goal(Goal::Limit(5.0 + suspicion)),
            figure("death, known everywhere p50", over(500, last)),
            figure("death, known everywhere p99", over(990, last)),
        ],
        work: None,
    }
}
