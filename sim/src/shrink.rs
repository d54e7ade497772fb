//! Shrinking: from a plan that breaks a promise to a small one that still breaks it.
//!
//! Delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002) over the entries, then
//! over machines, time, and the details of what is left, again and again until nothing can go or the runs are used up. A smaller
//! plan counts only if the same checker fails: another bug is another story.

use crate::plan::{Action, Fault, OpVerb, Plan, WARM_UP_US};

/// A plan that was made smaller.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// The smallest plan found.
    pub plan: Plan,
    /// How often a plan was run.
    pub runs: u64,
    /// Whether the runs were used up before nothing could go any more.
    pub cut_short: bool,
}

/// Makes `plan` smaller for as long as `fails` says that the same promise is broken, with at most `max_runs` calls of it.
pub fn shrink(plan: Plan, max_runs: u64, fails: impl FnMut(&Plan) -> bool) -> Shrunk {
    let mut search = Search {
        plan,
        fails,
        runs: 0,
        max_runs,
    };
    loop {
        let before = search.plan.clone();
        search.entries();
        search.machines();
        search.time();
        search.details();
        if search.plan == before || search.is_spent() {
            break;
        }
    }
    Shrunk {
        cut_short: search.is_spent(),
        plan: search.plan,
        runs: search.runs,
    }
}

struct Search<F> {
    plan: Plan,
    fails: F,
    runs: u64,
    max_runs: u64,
}

impl<F: FnMut(&Plan) -> bool> Search<F> {
    fn is_spent(&self) -> bool {
        self.runs >= self.max_runs
    }

    /// Keeps `smaller` if it still fails.
    fn attempt(&mut self, smaller: Plan) -> bool {
        if self.is_spent() || smaller == self.plan {
            return false;
        }
        self.runs += 1;
        let fails = (self.fails)(&smaller);
        if fails {
            self.plan = smaller;
        }
        fails
    }

    /// Drops entries: halves first, then ever smaller pieces, down to single ones.
    fn entries(&mut self) {
        let mut size = self.plan.entries.len().div_ceil(2).max(1);
        loop {
            let mut at = 0;
            while at < self.plan.entries.len() && !self.is_spent() {
                let mut smaller = self.plan.clone();
                let end = (at + size).min(smaller.entries.len());
                smaller.entries.drain(at..end);
                if !self.attempt(smaller) {
                    at += size;
                }
            }
            if size == 1 || self.is_spent() {
                return;
            }
            size = size.div_ceil(2);
        }
    }

    /// Drops machines, the last first: machine 0 founds the cluster.
    fn machines(&mut self) {
        let mut machine = self.plan.machines.len();
        while machine > 1 && !self.is_spent() {
            machine -= 1;
            let smaller = self.plan.without_machine(machine);
            self.attempt(smaller);
        }
    }

    /// Ends sooner, and closes gaps in which nothing is done.
    fn time(&mut self) {
        let last_us = self.plan.entries.last().map(|entry| entry.at_us);
        let mut sooner = self.plan.clone();
        sooner.stop_us = last_us.map_or(WARM_UP_US, |at| at + 1).min(sooner.stop_us);
        self.attempt(sooner);
        let mut at = 0;
        while at < self.plan.entries.len() && !self.is_spent() {
            let before_us = match at {
                0 => 0,
                _ => self.plan.entries[at - 1].at_us,
            };
            let gap_us = self.plan.entries[at].at_us - before_us;
            // Half the gap, while that is more than a hundredth of a second.
            if gap_us < 20_000 || !self.attempt(pulled_together(&self.plan, at, gap_us / 2)) {
                at += 1;
            }
        }
    }

    /// Simpler forms of what is left.
    fn details(&mut self) {
        let mut plain = self.plan.clone();
        plain.codec = false;
        self.attempt(plain);
        for machine in 0..self.plan.machines.len() {
            let mut plain = self.plan.clone();
            plain.machines[machine].start_us = machine as u64 * 20_000;
            self.attempt(plain);
        }
        for at in 0..self.plan.entries.len() {
            for simpler in simpler_actions(&self.plan.entries[at].action) {
                let mut plain = self.plan.clone();
                plain.entries[at].action = simpler;
                if self.attempt(plain) {
                    break;
                }
            }
        }
    }
}

/// Moves the entries from `at` on to earlier times.
fn pulled_together(plan: &Plan, at: usize, by_us: u64) -> Plan {
    let mut out = plan.clone();
    for entry in &mut out.entries[at..] {
        entry.at_us -= by_us;
    }
    out.stop_us -= by_us;
    out
}

fn simpler_actions(action: &Action) -> Vec<Action> {
    match action {
        Action::Op(op) => {
            let mut simpler = op.clone();
            simpler.verb = match op.verb {
                OpVerb::PutFor { key, .. } => OpVerb::Put { key },
                _ => return Vec::new(),
            };
            vec![Action::Op(simpler)]
        }
        Action::Fault(Fault { for_us, what }) if *for_us > 2_000 => {
            let half = Fault {
                for_us: for_us / 2,
                what: what.clone(),
            };
            vec![Action::Fault(half)]
        }
        Action::Fault(_) | Action::Move { .. } | Action::Set(_) | Action::Define { .. } => {
            Vec::new()
        }
    }
}
