//! An acknowledged sibling stays until a write replaces it whose author has seen it, and then it stays away.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{MAX_VIOLATIONS, Violation};
use crate::clock::is_beyond_drift;
use crate::model::{Effect, History, Model, Told};
use crate::plan::Table;

/// The checker's name in reports.
pub const NAME: &str = "siblings";

/// The values of every key on one node.
pub type Shown = BTreeMap<Bytes, BTreeSet<Bytes>>;

/// The knowledge of the authors of operations, by the numbers of these in the model.
#[derive(Debug, Default)]
pub(crate) struct Authors {
    /// The values that each had read.
    seen: BTreeMap<usize, Vec<Bytes>>,
    /// Writes whose node had not heard that the table keeps siblings: the last write that such nodes accept under one key may be all that
    /// is left, and it has to show.
    early: BTreeSet<usize>,
}

impl Authors {
    /// A node accepts a write, which has this number, of a client that has read these values.
    pub(crate) fn on_write(&mut self, number: usize, seen: Vec<Bytes>, is_early: bool) {
        self.seen.insert(number, seen);
        if is_early {
            self.early.insert(number);
        }
    }

    /// Judges what nodes show at the end.
    pub(crate) fn check(
        &self,
        at_us: u64,
        shown: &[(usize, Shown)],
        model: &Model,
    ) -> Vec<Violation> {
        check(at_us, shown, model, self)
    }

    fn has_seen(&self, number: usize, value: &Bytes) -> bool {
        let seen = self.seen.get(&number);
        seen.is_some_and(|seen| seen.contains(value))
    }

    fn were_early(&self, numbers: [usize; 2]) -> bool {
        numbers.iter().all(|number| self.early.contains(number))
    }
}

fn check(at_us: u64, shown: &[(usize, Shown)], model: &Model, authors: &Authors) -> Vec<Violation> {
    let nothing = BTreeSet::new();
    let mut out = Vec::new();
    let keys = model.keys().filter(|(table, ..)| *table == Table::Siblings);
    for (_, key, history) in keys {
        for (node, rows) in shown {
            let values = rows.get(key).unwrap_or(&nothing);
            let lost = lost(values, history, authors);
            let wrong = lost.or_else(|| back(values, history, authors));
            let wrong = wrong.or_else(|| invented(values, history));
            if let Some(text) = wrong {
                out.push(Violation {
                    checker: NAME,
                    at_us,
                    text: format!("{} on n{node}: {text}", key.escape_ascii()),
                });
            }
        }
        if out.len() >= MAX_VIOLATIONS {
            break;
        }
    }
    out
}

fn lost(values: &BTreeSet<Bytes>, history: History<'_>, authors: &Authors) -> Option<String> {
    let gone = |at: usize, put: &Told, value: &Bytes| {
        history.numbered().any(|(number, op)| {
            let flushed = op.flush && (op.alone || op.version.clock >= put.version.clock);
            // Guarantees, "Rejoining": a write that a node took along while it was no member became as new as its joining. "Siblings": of the
            // rows of a key that came before the definition the newest is sure to become a sibling.
            let is_newer = op.alone || op.version > put.version;
            let replaced = authors.were_early([at, number]) && is_newer;
            flushed || replaced || authors.has_seen(number, value)
        })
    };
    history.numbered().find_map(|(at, put)| {
        let Effect::Put(value) = &put.effect else {
            return None;
        };
        let missing = history.promised(put) && !values.contains(value) && !gone(at, put, value);
        missing.then(|| {
            let (value, node) = (value.escape_ascii(), put.node);
            format!(
                "{value}, acknowledged by n{node} at {}, is missing",
                put.at_us
            )
        })
    })
}

fn back(values: &BTreeSet<Bytes>, history: History<'_>, authors: &Authors) -> Option<String> {
    values.iter().find_map(|value| {
        // Guarantees, "Rejoining": a write that a node took along is proposed again, and the delete of it may have been freed.
        let writer = history.writer(value)?;
        let replaced = |(number, op): &(usize, &Told)| {
            // Guarantees, "Flushes": a flush has seen nothing, it goes by the clock. Once one with a clock that not every member follows is freed
            // nothing tells of it, and later writes have smaller ones.
            let freed = is_beyond_drift(op.version.clock, op.at_us) && writer.at_us > op.at_us;
            let flushed = op.flush && op.version.clock >= writer.version.clock && !freed;
            history.promised(op) && (flushed || authors.has_seen(*number, value))
        };
        let (_, op) = history
            .numbered()
            .find(replaced)
            .filter(|_| !writer.alone)?;
        let (value, node) = (value.escape_ascii(), op.node);
        Some(format!(
            "{value} shows, which an operation at n{node} at {} had replaced",
            op.at_us
        ))
    })
}

fn invented(values: &BTreeSet<Bytes>, history: History<'_>) -> Option<String> {
    let unknown = values
        .iter()
        .find(|value| history.writer(value).is_none())?;
    Some(format!("{} was never written", unknown.escape_ascii()))
}

#[cfg(test)]
mod tests {
    use rumormill_core::{
        Actor, NodeId,
        table::{Hlc, Version},
    };

    use super::*;
    use crate::model::Accepted;

    /// The answers to clients of one key, by the clocks of their operations.
    #[derive(Default)]
    struct Cart {
        model: Model,
        authors: Authors,
    }

    impl Cart {
        /// A client that had seen `seen` puts a value, or deletes.
        fn write(&mut self, clock: u64, value: Option<&'static str>, seen: &[&'static str]) {
            let effect = value.map_or(Effect::Delete, |value| Effect::Put(value.into()));
            let number = self.accept(clock, Some("k"), effect);
            let seen = seen.iter().map(|value| Bytes::from(*value)).collect();
            self.authors.seen.insert(number, seen);
        }

        fn flush(&mut self, clock: u64) {
            self.accept(clock, None, Effect::Delete);
        }

        fn accept(&mut self, clock: u64, key: Option<&'static str>, effect: Effect) -> usize {
            self.accept_at(clock, clock, key, effect)
        }

        fn accept_at(
            &mut self,
            at_us: u64,
            clock: u64,
            key: Option<&'static str>,
            effect: Effect,
        ) -> usize {
            let actor = Actor {
                node: NodeId(1),
                boot: 1,
            };
            let version = Version {
                clock: Hlc(clock),
                actor,
                counter: clock,
            };
            let op = Accepted {
                at_us,
                node: 0,
                version,
                effect,
                alone: false,
            };
            let key = key.map(Bytes::from);
            let number = self.model.accepted(Table::Siblings, key.as_ref(), op);
            self.model.acked(number);
            number
        }

        /// Returns the judge's words when the key shows these values.
        fn judge(&self, values: &[&'static str]) -> String {
            let values = values.iter().map(|value| Bytes::from(*value)).collect();
            let shown = Shown::from([(Bytes::from("k"), values)]);
            let found = check(0, &[(0, shown)], &self.model, &self.authors);
            found.into_iter().map(|found| found.text).collect()
        }
    }

    #[test]
    fn what_no_writer_has_seen_and_replaced_stays() {
        let mut cart = Cart::default();
        cart.write(1, Some("milk"), &[]);
        cart.write(2, Some("bread"), &[]);
        assert_eq!(cart.judge(&["milk", "bread"]), "");
        assert!(cart.judge(&["bread"]).contains("milk, acknowledged by n0"));
        cart.write(3, None, &["milk"]);
        assert_eq!(cart.judge(&["bread"]), "");
    }

    #[test]
    fn of_what_came_before_the_definition_the_last_write_stays() {
        let mut cart = Cart::default();
        for (clock, value) in [(1, "milk"), (2, "bread")] {
            cart.write(clock, Some(value), &[]);
        }
        cart.authors.early.insert(0);
        assert!(cart.judge(&["bread"]).contains("milk, acknowledged by n0"));
        cart.authors.early.insert(1);
        assert_eq!(cart.judge(&["bread"]), "");
        assert_eq!(cart.judge(&["milk", "bread"]), "");
        assert!(cart.judge(&["milk"]).contains("bread, acknowledged by n0"));
    }

    #[test]
    fn what_was_replaced_stays_away() {
        let mut cart = Cart::default();
        cart.write(1, Some("milk"), &[]);
        cart.write(2, Some("bread"), &["milk"]);
        assert!(cart.judge(&["milk", "bread"]).contains("milk shows"));
        cart.flush(2);
        assert_eq!(cart.judge(&[]), "");
        assert!(cart.judge(&["bread"]).contains("bread shows"));
        cart.write(3, Some("butter"), &[]);
        assert_eq!(cart.judge(&["butter"]), "", "it is newer than the flush");
    }

    #[test]
    fn a_flush_with_a_clock_that_no_member_follows_replaces_what_was_written_before_it_only() {
        for (at_us, written) in [(1, "milk shows"), (9, "")] {
            let mut cart = Cart::default();
            cart.write(at_us, Some("milk"), &[]);
            cart.accept_at(5, u64::MAX, None, Effect::Delete);
            let said = cart.judge(&["milk"]);
            assert!(said.contains(written) && said.is_empty() == written.is_empty());
        }
    }

    #[test]
    fn what_no_client_wrote_is_invented() {
        let mut cart = Cart::default();
        cart.write(1, Some("milk"), &[]);
        assert_eq!(
            cart.judge(&["milk", "tea"]),
            "k on n0: tea was never written"
        );
    }
}
