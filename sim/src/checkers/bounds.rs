//! Every queue has a cap.

use rumormill_core::Limits;

use super::{Violation, for_each};

/// The checker's name in reports.
pub const NAME: &str = "bounds";

/// Lengths of queues: of one node at the end of a turn, the largest of a run, or the most that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Queues {
    /// Outputs that one turn leaves to the driver.
    outputs: usize,
    /// Outputs withheld until a batch is durable.
    gated: usize,
    /// Batches that the disk has not synced.
    backlog: usize,
    /// Messages on their way from the node, over all links.
    in_flight: usize,
}

impl Queues {
    /// Nothing anywhere.
    const EMPTY: Queues = Queues {
        outputs: 0,
        gated: 0,
        backlog: 0,
        in_flight: 0,
    };

    /// Returns the bounds of a node in a cluster of so many. Clients' load on it is limited; its peers' messages come on top,
    /// and each may have as much again on its way.
    fn allowed(limits: &Limits, nodes: usize) -> Self {
        let batches = limits.store_backlog * 2;
        Queues {
            outputs: limits.store_backlog + 64 * nodes,
            gated: batches,
            backlog: batches,
            in_flight: limits.store_backlog * nodes,
        }
    }

    fn named(&self) -> [(&'static str, usize); 4] {
        [
            ("peak_outputs", self.outputs),
            ("peak_gated", self.gated),
            ("peak_backlog", self.backlog),
            ("peak_in_flight", self.in_flight),
        ]
    }

    /// Takes down what is larger than before.
    fn grow(&mut self, seen: &Queues) {
        self.outputs = self.outputs.max(seen.outputs);
        self.gated = self.gated.max(seen.gated);
        self.backlog = self.backlog.max(seen.backlog);
        self.in_flight = self.in_flight.max(seen.in_flight);
    }

    /// The lengths under the names they have in reports.
    fn report(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.named()
            .into_iter()
            .map(|(name, length)| (name, length as u64))
    }
}

/// The longest that queues have been, and the longest they may be.
pub(crate) struct Bounds {
    peaks: Queues,
    allowed: Queues,
    /// Messages on their way from each node, in all its boots.
    in_flight: Vec<usize>,
}

impl Bounds {
    pub(crate) fn new(nodes: usize) -> Self {
        Bounds {
            peaks: Queues::EMPTY,
            allowed: Queues::allowed(&Limits::default(), nodes),
            in_flight: for_each(nodes),
        }
    }

    /// A message of a node is on its way.
    pub(crate) fn on_dispatch(&mut self, node: usize) {
        self.in_flight[node] += 1;
    }

    /// A message of a machine, or from nowhere, is no longer on its way.
    pub(crate) fn on_arrival(&mut self, machine: usize) {
        if let Some(in_flight) = self.in_flight.get_mut(machine) {
            *in_flight -= 1;
        }
    }

    /// Judges the queues of a node before its driver empties them: its outputs, those withheld, and the batches that its disk has not synced.
    pub(crate) fn on_turn(
        &mut self,
        (at_us, node): (u64, usize),
        (outputs, gated): (usize, usize),
        backlog: usize,
    ) -> Option<Violation> {
        let seen = Queues {
            outputs,
            gated,
            backlog,
            in_flight: self.in_flight[node],
        };
        self.peaks.grow(&seen);
        check(at_us, node, &seen, &self.allowed)
    }

    /// The longest that queues have been, under the names they have in reports.
    pub(crate) fn report(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.peaks.report()
    }
}

/// Compares the queues of a node with what is allowed.
fn check(at_us: u64, node: usize, seen: &Queues, allowed: &Queues) -> Option<Violation> {
    let pairs = seen.named().into_iter().zip(allowed.named());
    let mut over = pairs.filter(|((_, length), (_, most))| length > most);
    over.next().map(|((name, length), (_, most))| Violation {
        checker: NAME,
        at_us,
        text: format!("{name} of n{node} is {length}, allowed are {most}"),
    })
}

/// Whether a node could accept a client's write while so many batches were `waiting` for its disk.
pub(crate) fn check_accepted(
    (at_us, node): (u64, usize),
    waiting: usize,
    limit: usize,
) -> Option<Violation> {
    (waiting >= limit).then(|| Violation {
        checker: NAME,
        at_us,
        text: format!(
            "n{node} accepted a write with {waiting} batches waiting, allowed are {limit}"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_accepted_at_the_limit() {
        assert_eq!(check_accepted((5, 1), 7, 8), None);
        let found = check_accepted((5, 1), 8, 8).unwrap();
        assert_eq!((found.checker, found.at_us), (NAME, 5));
    }

    #[test]
    fn one_more_than_allowed_is_too_many() {
        let allowed = Queues::allowed(&Limits::default(), 3);
        assert_eq!(check(5, 1, &allowed, &allowed), None);
        for queue in 0..4 {
            let mut seen = allowed;
            let fields = [
                &mut seen.outputs,
                &mut seen.gated,
                &mut seen.backlog,
                &mut seen.in_flight,
            ];
            *fields.into_iter().nth(queue).unwrap() += 1;
            let found = check(5, 1, &seen, &allowed).unwrap();
            assert_eq!((found.checker, found.at_us), (NAME, 5));
        }
    }
}
