//! Whether every register of a history behaves as if each operation took effect at one instant between its call and its
//! answer (Herlihy and Wing, "Linearizability", 1990).
//!
//! Linearizability is local: a history has it when each key alone has it. Per key the search is that of Wing and Gong, as Lowe
//! improved it ("Testing for linearizability", 2017): operations are linearized just in time, no state is searched twice.
//!
//! A failed operation is left out, for it did not happen. An operation of unknown outcome may take effect at any time after its call, or
//! never; a read of that kind says nothing. A register holds `null` until it is written.

mod message;
mod problem;
mod search;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::problem::Problem;
use self::search::Found;
use crate::history::{History, Operation, Scalar};

/// The checker's name in reports.
pub const NAME: &str = "linearizability";

/// A good limit of steps for [`check`]: enough for tens of thousands of operations by tens of processes, and seconds of time
/// and some hundred MiB of memory at the worst.
pub const STEPS: u64 = 5_000_000;

/// The verdict on one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There is an order.
    Linearizable,
    /// There is none.
    Broken(Box<Counterexample>),
    /// The search was given up: nothing is known.
    Undecided(Undecided),
}

/// Why a search was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Undecided {
    /// It took more steps than allowed.
    Steps,
    /// Too many calls overlap.
    Overlap,
}

/// Why a key has no order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The operation whose answer ends the shortest prefix of the history that has no order. It is always answered.
    pub stuck: Operation,
    /// How many operations an order of everything before that answer can hold, of the orders that were tried one of the longest.
    pub linearized: usize,
    /// The last of them, oldest first; at most [`SHOWN`].
    pub last: Vec<Operation>,
    /// The values that the register can hold after such an order, leaving aside unknown outcomes that no read saw; at most [`SHOWN`].
    pub could_hold: Vec<Scalar>,
    /// The other operations that were open when `stuck` was answered and not placed in that order; at most [`SHOWN`].
    pub open: Vec<Operation>,
}

/// How much of anything a counterexample shows.
pub const SHOWN: usize = 8;

/// One key's verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// The key.
    pub key: Scalar,
    /// Its operations, those that failed and those that say nothing included.
    pub operations: usize,
    /// How many states the search saw.
    pub steps: u64,
    /// The verdict.
    pub verdict: Verdict,
}

/// Judges every key of a history, each with at most `steps` steps, in the order of the keys.
///
/// A step is a state of the search that was not seen before; a very wide one, with many calls of unknown outcome, counts as
/// several, so that the limit bounds memory too.
pub fn check(history: &History, steps: u64) -> Vec<Judged> {
    let mut keys: BTreeMap<&Scalar, Vec<&Operation>> = BTreeMap::new();
    for operation in history.operations() {
        keys.entry(&operation.key).or_default().push(operation);
    }
    keys.into_iter()
        .map(|(key, operations)| {
            let (steps, verdict) = check_key(&operations, steps);
            Judged {
                key: key.clone(),
                operations: operations.len(),
                steps,
                verdict,
            }
        })
        .collect()
}

fn check_key(operations: &[&Operation], limit: u64) -> (u64, Verdict) {
    let Some(problem) = Problem::new(operations) else {
        return (0, Verdict::Undecided(Undecided::Overlap));
    };
    let (steps, found) = search::search(&problem, limit);
    let verdict = match found {
        Found::Order => Verdict::Linearizable,
        Found::GaveUp => Verdict::Undecided(Undecided::Steps),
        Found::NoOrder(deepest) => {
            Verdict::Broken(Box::new(message::explain(operations, &problem, &deepest)))
        }
    };
    (steps, verdict)
}
